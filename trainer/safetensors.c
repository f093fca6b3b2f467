#include "trainer/safetensors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"
#include "base/guard.h"

struct item {
	struct safetensors_entry pub;
	char *name; /* owned */
	size_t begin, end;
};

struct safetensors {
	unsigned char *map;
	size_t size;
	struct item *item; /* owned */
	size_t count;
};

/* byte size by dtype; the names are static, so entries can borrow them */
static const struct {
	const char *name;
	unsigned bytes;
} dtypes[] = {
	{"F32", 4},
	{"F16", 2},
	{"BF16", 2},
	{"F64", 8},
	{"I64", 8},
	{"I32", 4},
	{"I16", 2},
	{"I8", 1},
	{"U64", 8},
	{"U32", 4},
	{"U16", 2},
	{"U8", 1},
	{"BOOL", 1},
	{"F8_E4M3", 1},
	{"F8_E5M2", 1},
};

static uint64_t load64(const unsigned char *p)
{
	uint64_t x = 0;

	for (int i = 7; i >= 0; i--)
		x = x << 8 | p[i];
	return x;
}

const char *safetensors_shape(const struct safetensors_entry *entry, char out[96])
{
	struct buf bf = BUF_INIT;

	for (int i = 0; i < entry->dims; i++)
		buf_addf(&bf, "%s%lld", i ? "x" : "", (long long)entry->shape[i]);
	if (entry->dims == 0)
		buf_puts(&bf, "scalar");
	size_t n = bf.len < 95 ? bf.len : 95;

	memcpy(out, buf_str(&bf), n);
	out[n] = '\0';
	buf_release(&bf);
	return out;
}

static int bad(const struct item *it, struct err *err, const char *what)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	return err_set(err, EBADMSG, "tensor \"%s\": %s",
		err_quote(quoted, it->name, strlen(it->name)), what);
}

static bool whole(struct json_slice value, int64_t *out)
{
	return json_kind_of(value) == JSON_NUMBER &&
	       num_whole(value.text, value.len, 0, INT64_MAX, out) == 0;
}

static int parse_dtype(struct item *it, struct json_slice value, unsigned *bytes, struct err *err)
{
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
		size_t n = strlen(dtypes[i].name);

		if (value.len == n + 2 && memcmp(value.text + 1, dtypes[i].name, n) == 0) {
			it->pub.dtype = dtypes[i].name;
			*bytes = dtypes[i].bytes;
			return 0;
		}
	}
	return bad(it, err, "dtype is not known");
}

/* shape and offsets of one entry against each other; ${data} is how many bytes of data the file has
 */
static int parse_entry(struct item *it, struct json_slice object, size_t data, struct err *err)
{
	struct json_slice dtype, shape, offsets, value;
	unsigned width = 0;
	uint64_t bytes;
	int64_t pair[2];
	size_t pos = 0;
	int n = 0;

	if (json_kind_of(object) != JSON_OBJECT || !json_member(object, "dtype", &dtype) ||
		json_kind_of(dtype) != JSON_STRING)
		return bad(it, err, "dtype is not known");
	if (!json_member(object, "shape", &shape) || json_kind_of(shape) != JSON_ARRAY)
		return bad(it, err, "shape is missing");
	if (!json_member(object, "data_offsets", &offsets) || json_kind_of(offsets) != JSON_ARRAY)
		return bad(it, err, "offsets are missing");
	int rc = parse_dtype(it, dtype, &width, err);

	if (rc < 0)
		return rc;
	bytes = width;
	while (json_next(shape, &pos, NULL, &value)) {
		int64_t dim;

		if (it->pub.dims == SAFETENSORS_DIMS_MAX || !whole(value, &dim) ||
			__builtin_mul_overflow(bytes, (uint64_t)dim, &bytes))
			return bad(it, err, "shape is not one this program can hold");
		it->pub.shape[it->pub.dims++] = dim;
	}
	pos = 0;
	while (json_next(offsets, &pos, NULL, &value))
		if (n == 2 || !whole(value, &pair[n++]))
			return bad(it, err, "offsets are not two whole numbers");
	if (n != 2 || pair[0] > pair[1] || (uint64_t)pair[1] > data)
		return bad(it, err, "offsets run past the end or backwards");
	it->begin = (size_t)pair[0];
	it->end = (size_t)pair[1];
	it->pub.bytes = it->end - it->begin;
	if (it->pub.bytes != bytes) {
		char quoted[ERR_QUOTE_BYTES + 8], dims[96];

		return err_set(err, EBADMSG, "tensor \"%s\": %zu bytes for %s %s",
			err_quote(quoted, it->name, strlen(it->name)), it->pub.bytes,
			safetensors_shape(&it->pub, dims), it->pub.dtype);
	}
	return 0;
}

static int item_order(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

static int read_items(
	struct safetensors *st, struct json_slice header, size_t data_at, struct err *err)
{
	struct json_slice key, value;
	size_t pos = 0, n = 0, at = 0;

	while (json_next(header, &pos, &key, &value))
		n++;
	st->item = calloc(n ? n : 1, sizeof(*st->item));
	if (!st->item)
		return err_nomem(err);
	for (pos = 0; json_next(header, &pos, &key, &value);) {
		struct item *it = &st->item[st->count];
		struct buf name = BUF_INIT;

		if (json_string(key, &name) < 0 || !(it->name = buf_detach(&name))) {
			buf_release(&name);
			return err_nomem(err);
		}
		if (strcmp(it->name, "__metadata__") == 0) {
			free(it->name);
			it->name = NULL;
			continue;
		}
		st->count++;
		it->pub.name = it->name;
		int rc = parse_entry(it, value, st->size - data_at, err);

		if (rc < 0)
			return rc;
	}
	qsort(st->item, st->count, sizeof(*st->item), item_order);
	for (size_t i = 0; i < st->count; i++) {
		if (st->item[i].begin != at)
			return bad(&st->item[i], err,
				st->item[i].begin < at ? "offsets overlap another tensor"
						       : "offsets leave a hole");
		at = st->item[i].end;
		st->item[i].pub.data = st->map + data_at + st->item[i].begin;
	}
	if (at != st->size - data_at)
		return err_set(err, EBADMSG,
			"%zu bytes behind the last tensor belong to none (offsets)",
			st->size - data_at - at);
	return 0;
}

int safetensors_open(int fd, struct safetensors **out, struct err *err)
{
	struct safetensors *st;
	struct stat sb;
	char *text;
	uint64_t len;
	void *at;
	int rc;

	if (fstat(fd, &sb) < 0)
		return err_sys(err, "cannot look at a safetensors file");
	if (!S_ISREG(sb.st_mode))
		return err_set(err, EINVAL, "a safetensors file must be a regular file");
	if (sb.st_size < 10)
		return err_set(err, EBADMSG,
			"header length: a file of %lld bytes is no safetensors file",
			(long long)sb.st_size);
	st = calloc(1, sizeof(*st));
	if (!st)
		return err_nomem(err);
	st->size = (size_t)sb.st_size;
	rc = guard_map(fd, st->size, &at, err);
	if (rc < 0)
		goto fail;
	st->map = at;
	len = load64(st->map);
	if (len < 2 || len > SAFETENSORS_HEADER_MAX || len > st->size - 8) {
		rc = err_set(err, EBADMSG, "header length %llu does not fit a file of %zu bytes",
			(unsigned long long)len, st->size);
		goto fail;
	}
	/* a copy: what was checked must be what is read, whatever happens to the file */
	text = malloc((size_t)len);
	if (!text) {
		rc = err_nomem(err);
		goto fail;
	}
	memcpy(text, st->map + 8, (size_t)len);
	struct json_slice header = {text, (size_t)len};

	rc = json_check(header.text, header.len, err);
	if (rc == 0)
		while (header.len && strchr(" \t\r\n", *header.text)) {
			header.text++;
			header.len--;
		}
	if (rc == 0 && json_kind_of(header) != JSON_OBJECT)
		rc = err_set(err, EBADMSG, "safetensors header is not a JSON object");
	if (rc == 0)
		rc = read_items(st, header, 8 + (size_t)len, err);
	free(text);
	if (rc == 0 && guard_lost(st->map))
		rc = err_set(err, ESTALE, "the file was cut short while it was read");
	if (rc < 0)
		goto fail;
	*out = st;
	return 0;

fail:
	safetensors_close(st);
	return rc;
}

void safetensors_close(struct safetensors *st)
{
	if (!st)
		return;
	for (size_t i = 0; st->item && i < st->count; i++)
		free(st->item[i].name);
	free(st->item);
	guard_unmap(st->map, st->size);
	free(st);
}

size_t safetensors_count(const struct safetensors *st)
{
	return st->count;
}

const struct safetensors_entry *safetensors_at(const struct safetensors *st, size_t i)
{
	return &st->item[i].pub;
}

const struct safetensors_entry *safetensors_find(const struct safetensors *st, const char *name)
{
	for (size_t i = 0; i < st->count; i++)
		if (strcmp(st->item[i].name, name) == 0)
			return &st->item[i].pub;
	return NULL;
}

static float half_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023u, bits;
	float f;

	if (exp == 0) {
		f = (float)man * 0x1p-24f;
		return sign ? -f : f;
	}
	bits = sign | (exp == 31 ? 0x7f800000u : (exp + 112) << 23) | man << 13;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

int safetensors_floats(const struct safetensors_entry *entry, float *out)
{
	const unsigned char *p = entry->data;
	bool is_half = strcmp(entry->dtype, "F16") == 0;

	if (strcmp(entry->dtype, "F32") == 0) {
		memcpy(out, p, entry->bytes);
		return guard_lost(p) ? -ESTALE : 0;
	}
	if (!is_half && strcmp(entry->dtype, "BF16") != 0)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < entry->bytes / 2; i++) {
		uint16_t h = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
		uint32_t bits = (uint32_t)h << 16;

		if (is_half)
			out[i] = half_float(h);
		else
			memcpy(&out[i], &bits, sizeof(bits));
	}
	return guard_lost(p) ? -ESTALE : 0;
}

int safetensors_write(int fd, const struct safetensors_put *put, size_t n, struct err *err)
{
	struct buf head = BUF_INIT;
	unsigned char length[8];
	size_t at = 0;
	int rc;

	buf_puts(&head, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < n; i++) {
		size_t bytes = (size_t)(put[i].rows * put[i].cols) * sizeof(float);

		buf_putc(&head, ',');
		json_put_string(&head, put[i].name, strlen(put[i].name));
		buf_addf(&head,
			":{\"dtype\":\"F32\",\"shape\":[%lld,%lld],\"data_offsets\":[%zu,%zu]}",
			(long long)put[i].rows, (long long)put[i].cols, at, at + bytes);
		at += bytes;
	}
	buf_putc(&head, '}');
	while (head.len % 8 != 0 && !head.failed)
		buf_putc(&head, ' '); /* data starts aligned */
	if (head.failed) {
		buf_release(&head);
		return err_nomem(err);
	}
	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char)((uint64_t)head.len >> (8 * i));
	rc = write_all(fd, length, sizeof(length), err);
	if (rc == 0)
		rc = write_all(fd, head.data, head.len, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = write_all(
			fd, put[i].data, (size_t)(put[i].rows * put[i].cols) * sizeof(float), err);
	buf_release(&head);
	return rc;
}
