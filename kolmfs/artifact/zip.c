/*
 * zip - the entries of a .kolm file.
 *
 * Zip readers differ in what they make of odd archives, and a difference between what was signed
 * and what is run is a hole. So the structure is checked here, byte for byte, before libzip sees
 * it: one end record at the very end, the directory before it, local entries from offset 0 without
 * gap or overlap, and every local header saying what the directory says. libzip then only inflates.
 */
#include "artifact/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>
#include <zip.h>
#include <zlib.h>

enum {
	END_BYTES = 22,
	DIR_BYTES = 46,
	LOCAL_BYTES = 30,
	LOCATOR_BYTES = 20,
	FLAG_ENCRYPTED = 0x0001 | 0x0040 | 0x2000,
	FLAG_DESCRIPTOR = 0x0008,
	FLAGS_KNOWN = 0x0001 | 0x0006 | 0x0008 | 0x0040 | 0x0800 | 0x2000,
	DOS_LABEL_OR_DIR = 0x18,
};

/* one line of the directory */
struct dirent_zip {
	const char *name;
	size_t name_len;
	uint32_t flags, method, crc, packed, size, attr, offset;
	size_t end; /* of its data and descriptor in the file */
	char *folded;
};

struct scan {
	const unsigned char *p;
	size_t len, dir_at, dir_len, count;
	struct dirent_zip *entries;
};

static uint32_t le16(const unsigned char *p)
{
	return (uint32_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const unsigned char *p)
{
	return le16(p) | le16(p + 2) << 16;
}

static int bad(struct err *err, const struct dirent_zip *e, const char *what)
{
	char q[ERR_QUOTE_BYTES + 8];

	return err_set(err, EBADMSG, "%s: entry \"%s\"", what, err_quote(q, e->name, e->name_len));
}

/* find_end(s, at, err): where the end record stands; it must be the last thing in the file. */
static int find_end(const struct scan *s, size_t *at, struct err *err)
{
	bool local = s->len >= 4 && memcmp(s->p, "PK\3\4", 4) == 0;
	size_t lowest;

	if (s->len < END_BYTES)
		return err_set(err, EBADMSG,
			"not a .kolm file: too short (%zu bytes; empty or truncated)", s->len);
	lowest = s->len > END_BYTES + 65535 ? s->len - END_BYTES - 65535 : 0;
	for (size_t i = s->len - END_BYTES + 1; i-- > lowest;) {
		if (s->p[i] != 'P' || memcmp(s->p + i, "PK\5\6", 4) != 0)
			continue;
		if (i + END_BYTES != s->len)
			return err_set(err, EBADMSG, "extra bytes after the end record: %zu",
				s->len - END_BYTES - i);
		*at = i;
		return 0;
	}
	return local ? err_set(err, EBADMSG, "truncated zip: end record not found")
		     : err_set(err, EBADMSG,
			       "not a zip: no entry at the start, no end record at the end");
}

static int read_end(struct scan *s, struct err *err)
{
	const unsigned char *p;
	size_t at = 0;
	int rc = find_end(s, &at, err);

	if (rc < 0)
		return rc;
	p = s->p + at;
	if (le16(p + 20) != 0)
		return err_set(err, EBADMSG,
			"truncated zip: the end record announces %u more bytes", le16(p + 20));
	s->count = le16(p + 10);
	s->dir_len = le32(p + 12);
	s->dir_at = le32(p + 16);
	if (le16(p + 8) != s->count || le16(p + 4) != 0 || le16(p + 6) != 0)
		return err_set(err, EBADMSG,
			"headers disagree: the end record contradicts itself, or spans several "
			"disks");
	if (s->count == 0xffff)
		return err_set(err, EFBIG, "more than %d entries", ARTIFACT_ENTRIES_MAX);
	if (s->dir_len == UINT32_MAX || s->dir_at == UINT32_MAX ||
		(at >= LOCATOR_BYTES && memcmp(p - LOCATOR_BYTES, "PK\6\7", 4) == 0))
		return err_set(err, EFBIG, "too large: zip64");
	if (s->dir_at > at || s->dir_len > at - s->dir_at)
		return err_set(
			err, EBADMSG, "truncated zip: its directory lies outside of the file");
	if (s->dir_at + s->dir_len != at)
		return err_set(err, EBADMSG,
			"extra bytes before the first entry or between directory and end record: "
			"%zu",
			at - s->dir_at - s->dir_len);
	if (s->count * DIR_BYTES > s->dir_len)
		return err_set(err, EBADMSG,
			"headers disagree: %zu entries do not fit in the directory", s->count);
	if (s->count > ARTIFACT_ENTRIES_MAX)
		return err_set(err, EFBIG, "more than %d entries", ARTIFACT_ENTRIES_MAX);
	return 0;
}

static int read_directory(struct scan *s, struct err *err)
{
	size_t at = s->dir_at, end = s->dir_at + s->dir_len;

	s->entries = calloc(s->count + 1, sizeof(*s->entries));
	if (s->entries == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < s->count; i++) {
		struct dirent_zip *e = &s->entries[i];
		const unsigned char *p = s->p + at;
		size_t extra, comment;

		if (end - at < DIR_BYTES || memcmp(p, "PK\1\2", 4) != 0)
			return err_set(
				err, EBADMSG, "truncated zip: directory damaged at entry %zu", i);
		e->flags = le16(p + 8);
		e->method = le16(p + 10);
		e->crc = le32(p + 16);
		e->packed = le32(p + 20);
		e->size = le32(p + 24);
		e->name_len = le16(p + 28);
		extra = le16(p + 30);
		comment = le16(p + 32);
		e->attr = le32(p + 38);
		e->offset = le32(p + 42);
		e->name = (const char *)p + DIR_BYTES;
		if (e->name_len + extra + comment > end - at - DIR_BYTES)
			return err_set(
				err, EBADMSG, "truncated zip: directory damaged at entry %zu", i);
		if (le16(p + 34) != 0)
			return err_set(
				err, EBADMSG, "headers disagree: entry %zu is on another disk", i);
		if (comment != 0)
			return bad(err, e, "extra bytes: comment");
		at += DIR_BYTES + e->name_len + extra + comment;
	}
	if (at != end)
		return err_set(err, EBADMSG, "extra bytes in the directory: %zu", end - at);
	return 0;
}

static bool name_is_safe(const char *name, size_t len)
{
	size_t from = 0;

	if (len == 0 || len > ZIP_NAME_BYTES_MAX || utf8_check(name, len) != len ||
		(len > 1 && name[1] == ':'))
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i < len &&
			((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '\\'))
			return false;
		if (i < len && name[i] != '/')
			continue;
		size_t n = i - from;
		if (n == 0 || (n == 1 && name[from] == '.') ||
			(n == 2 && name[from] == '.' && name[from + 1] == '.'))
			return false;
		from = i + 1;
	}
	return true;
}

static int check_names(struct scan *s, struct err *err)
{
	for (size_t i = 0; i < s->count; i++) {
		struct dirent_zip *e = &s->entries[i];
		bool is_dir = e->name_len > 1 && e->name[e->name_len - 1] == '/';
		uint32_t type = (e->attr >> 16) & S_IFMT;

		if (!name_is_safe(e->name, e->name_len - is_dir))
			return bad(err, e, "unsafe entry name");
		if (is_dir || (type != 0 && type != S_IFREG) || (e->attr & DOS_LABEL_OR_DIR) != 0)
			return bad(err, e, "entry is not a regular file");
		if (utf8proc_map((const utf8proc_uint8_t *)e->name, (utf8proc_ssize_t)e->name_len,
			    (utf8proc_uint8_t **)&e->folded,
			    UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD) < 0)
			return err_nomem(err);
		for (size_t j = 0; j < i; j++) {
			const struct dirent_zip *o = &s->entries[j];
			if (o->name_len == e->name_len &&
				memcmp(o->name, e->name, e->name_len) == 0) {
				char q[ERR_QUOTE_BYTES + 8];
				return err_set(err, EBADMSG, "duplicate entry \"%s\"",
					err_quote(q, e->name, e->name_len));
			}
			if (strcmp(o->folded, e->folded) == 0)
				return bad(err, e,
					"ambiguous entry, names differ only in letter case");
			if (o->offset == e->offset)
				return bad(err, e, "entries overlap");
		}
	}
	return 0;
}

/* the 12 bytes crc, packed, size at ${p} against the directory; ${zero_ok}: a header that leaves
 * them to the descriptor */
static bool sizes_agree(const unsigned char *p, const struct dirent_zip *e, bool zero_ok)
{
	const uint32_t want[3] = {e->crc, e->packed, e->size};

	for (int i = 0; i < 3; i++) {
		uint32_t have = le32(p + 4 * i);
		if (have != want[i] && !(zero_ok && have == 0))
			return false;
	}
	return true;
}

static int check_local(const struct scan *s, struct dirent_zip *e, struct err *err)
{
	const unsigned char *p = s->p + e->offset;
	size_t room, head;

	if (e->packed == UINT32_MAX || e->size == UINT32_MAX || e->offset == UINT32_MAX)
		return err_set(err, EFBIG, "too large: zip64");
	if (e->offset > s->dir_at || s->dir_at - e->offset < LOCAL_BYTES)
		return bad(err, e, "truncated zip: local header outside of the file");
	room = s->dir_at - e->offset;
	if (memcmp(p, "PK\3\4", 4) != 0)
		return bad(err, e, "headers disagree: no local header");
	head = LOCAL_BYTES + le16(p + 26) + le16(p + 28);
	if (le16(p + 26) != e->name_len || head > room ||
		memcmp(p + LOCAL_BYTES, e->name, e->name_len) != 0)
		return bad(err, e, "headers disagree in the name");
	if (le16(p + 6) != e->flags || le16(p + 8) != e->method)
		return bad(err, e, "headers disagree in flags or method");
	if (!sizes_agree(p + 14, e, (e->flags & FLAG_DESCRIPTOR) != 0))
		return bad(err, e, "headers disagree in size or checksum");
	if (e->packed > room - head)
		return bad(err, e, "headers disagree: data runs into the directory");
	e->end = e->offset + head + e->packed;
	if ((e->flags & FLAG_DESCRIPTOR) == 0)
		return 0;
	p = s->p + e->end;
	room = s->dir_at - e->end;
	if (room >= 16 && memcmp(p, "PK\7\10", 4) == 0 && sizes_agree(p + 4, e, false))
		e->end += 16;
	else if (room >= 12 && sizes_agree(p, e, false))
		e->end += 12;
	else
		return bad(err, e, "headers disagree with the data descriptor");
	return 0;
}

static int check_method(const struct dirent_zip *e, struct err *err)
{
	char q[ERR_QUOTE_BYTES + 8];

	err_quote(q, e->name, e->name_len);
	if ((e->flags & FLAG_ENCRYPTED) != 0)
		return err_set(err, EOPNOTSUPP, "entry \"%s\" is encrypted", q);
	if (e->method != ZIP_CM_STORE && e->method != ZIP_CM_DEFLATE)
		return err_set(err, EOPNOTSUPP,
			"entry \"%s\" has compression method %u; only stored and deflate are read",
			q, e->method);
	if ((e->flags & ~(uint32_t)FLAGS_KNOWN) != 0)
		return err_set(err, EOPNOTSUPP, "entry \"%s\" has unknown flags %#x", q, e->flags);
	if ((e->method == ZIP_CM_STORE && e->size != e->packed) ||
		(e->method == ZIP_CM_DEFLATE && e->size / ZIP_DEFLATE_RATIO_MAX > e->packed))
		return bad(err, e, "size does not match");
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct dirent_zip *x = *(const struct dirent_zip *const *)a,
				*y = *(const struct dirent_zip *const *)b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* the entries fill [0, dir_at) without hole or overlap */
static int check_layout(const struct scan *s, struct err *err)
{
	const struct dirent_zip **order = calloc(s->count + 1, sizeof(*order));
	size_t at = 0;
	int rc = 0;

	if (order == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < s->count; i++)
		order[i] = &s->entries[i];
	qsort(order, s->count, sizeof(*order), by_offset);
	for (size_t i = 0; i < s->count && rc == 0; i++) {
		if (order[i]->offset < at)
			rc = bad(err, order[i], "entries overlap");
		else if (order[i]->offset > at)
			rc = bad(err, order[i], "extra bytes before the");
		at = order[i]->end;
	}
	if (rc == 0 && at != s->dir_at)
		rc = err_set(err, EBADMSG, "extra bytes before the directory: %zu", s->dir_at - at);
	free(order);
	return rc;
}

static int check_structure(struct scan *s, struct err *err)
{
	uint64_t total = 0;
	int rc = read_end(s, err);

	if (rc == 0)
		rc = read_directory(s, err);
	if (rc == 0)
		rc = check_names(s, err);
	for (size_t i = 0; i < s->count && rc == 0; i++) {
		rc = check_local(s, &s->entries[i], err);
		total += s->entries[i].size;
	}
	if (rc == 0 && total > ARTIFACT_BYTES_MAX)
		rc = err_set(err, EFBIG, "expands past 256 MiB");
	if (rc == 0)
		rc = check_layout(s, err);
	for (size_t i = 0; i < s->count && rc == 0; i++)
		rc = check_method(&s->entries[i], err);
	return rc;
}

/* "no zip" of one whose end record check_structure() has seen: libzip could not read on for want of
 * memory, and forgot why */
static bool is_nomem(const zip_error_t *ze)
{
	const int code = zip_error_code_zip(ze);

	return code == ZIP_ER_MEMORY || code == ZIP_ER_NOZIP ||
	       (code == ZIP_ER_ZLIB && zip_error_code_system(ze) == Z_MEM_ERROR);
}

static int inflate_failed(const struct dirent_zip *e, zip_error_t *ze, size_t got, struct err *err)
{
	if (is_nomem(ze))
		return err_nomem(err);
	switch (zip_error_code_zip(ze)) {
	case ZIP_ER_CRC:
		return bad(err, e,
			got == e->size ? "checksum does not match" : "damaged deflate data");
	case ZIP_ER_INCONS:
		return bad(err, e, "size does not match");
	default:
		return bad(err, e, "damaged deflate data");
	}
}

static int expand(
	zip_t *za, size_t i, const struct dirent_zip *e, struct entry *out, struct err *err)
{
	zip_file_t *zf = zip_fopen_index(za, i, 0);
	char *data = malloc((size_t)e->size + 2), *name = strndup(e->name, e->name_len);
	size_t got = 0;
	zip_int64_t n = -1;
	int rc = 0;

	if (data == NULL || name == NULL)
		rc = err_nomem(err);
	else if (zf == NULL)
		rc = inflate_failed(e, zip_get_error(za), 0, err);
	/* one byte more than announced: a longer stream shows itself, a right one reports its
	 * checksum at the end */
	while (rc == 0 && got <= e->size && (n = zip_fread(zf, data + got, e->size + 1 - got)) > 0)
		got += (size_t)n;
	if (rc == 0 && n < 0)
		rc = inflate_failed(e, zip_file_get_error(zf), got, err);
	else if (rc == 0 && got != e->size)
		rc = bad(err, e, "size does not match");
	if (zf != NULL)
		zip_fclose(zf);
	if (rc < 0) {
		free(data);
		free(name);
		return rc;
	}
	data[got] = '\0';
	out->face = (struct artifact_entry){name, data, got};
	sha256_hex(data, got, out->sha256);
	return 0;
}

static int expand_all(const struct scan *s, struct artifact *af, struct err *err)
{
	zip_source_t *src;
	zip_error_t ze;
	zip_t *za;
	int rc = 0;

	zip_error_init(&ze);
	src = zip_source_buffer_create(s->p, s->len, 0, &ze);
	za = src != NULL ? zip_open_from_source(src, ZIP_RDONLY, &ze) : NULL;
	if (za == NULL) {
		zip_source_free(src);
		if (src == NULL || is_nomem(&ze))
			return err_nomem(err);
		return err_set(err, EBADMSG, "not a zip: headers disagree");
	}
	if (zip_get_num_entries(za, 0) != (zip_int64_t)s->count)
		rc = err_set(err, EBADMSG, "headers disagree: number of entries");
	for (size_t i = 0; i < s->count && rc == 0; i++) {
		rc = expand(za, i, &s->entries[i], &af->entries[i], err);
		af->n += rc == 0;
	}
	zip_discard(za);
	return rc;
}

int zip_read(const char *data, size_t len, struct artifact *af, struct err *err)
{
	struct scan s = {.p = (const unsigned char *)data, .len = len};
	int rc = check_structure(&s, err);

	if (rc == 0 && s.count == 0)
		rc = err_set(err, EBADMSG, "manifest.json missing: the zip is empty");
	if (rc == 0) {
		af->entries = calloc(s.count, sizeof(*af->entries));
		rc = af->entries != NULL ? expand_all(&s, af, err) : err_nomem(err);
	}
	for (size_t i = 0; i < s.count && s.entries != NULL; i++)
		free(s.entries[i].folded);
	free(s.entries);
	return rc;
}
