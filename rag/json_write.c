/* json_write - index.json, manifest.json and state.json, byte for byte; see build.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"
#include "build.h"
#include "docs.h"
#include "json_out.h"
#include "keys.h"
#include "text.h"

void rag_put_text(struct buf *bf, const char *text)
{
	rag_put_json(bf, text, strlen(text));
}

void rag_put_real(struct buf *bf, double x)
{
	char text[NUM_TEXT_BYTES];

	buf_puts(bf, num_text(x, text));
}

void rag_put_whole(struct buf *bf, uint64_t x)
{
	char text[20];
	size_t n = sizeof(text);

	do
		text[--n] = (char)('0' + x % 10);
	while (x /= 10);
	buf_add(bf, text + n, sizeof(text) - n);
}

int rag_put_path(struct buf *out, const char *file)
{
	size_t from = out->len;

	if (buf_puts(out, file) < 0)
		return -ENOMEM;
	for (size_t i = from; i < out->len; i++)
		if (out->data[i] == '\\')
			out->data[i] = '/';
	return 0;
}

static void put_key(
	struct buf *bf, const struct rag_keys *ks, const struct rag_key *key, bool first)
{
	char *p;

	if (buf_reserve(bf, (size_t)key->len + 5) < 0)
		return;
	/* words hold nothing that needs an escape */
	p = bf->data + bf->len;
	if (!first)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, ks->text + key->text, key->len);
	p += key->len;
	*p++ = '"';
	*p++ = ':';
	bf->len = (size_t)(p - bf->data);
}

static int put_df(struct rag_out *o, const struct rag_keys *ks, struct err *err)
{
	int rc = 0;

	buf_puts(&o->bf, "],\"df\":{");
	for (size_t i = 0; rc == 0 && i < ks->n; i++) {
		const struct rag_key *key = rag_keys_nth(ks, i, NULL);

		put_key(&o->bf, ks, key, i == 0);
		rag_put_whole(&o->bf, key->df);
		rc = rag_out_flush_some(o, err);
	}
	return rc;
}

/* the four digits of each number below 10,000 */
static void fill_quads(char quads[10000][4])
{
	for (int i = 0; i < 10000; i++) {
		quads[i][0] = (char)('0' + i / 1000);
		quads[i][1] = (char)('0' + i / 100 % 10);
		quads[i][2] = (char)('0' + i / 10 % 10);
		quads[i][3] = (char)('0' + i % 10);
	}
}

/* up to four bytes more than the digits are written */
static inline char *put_digits(char quads[10000][4], char *p, uint32_t x)
{
	unsigned skip;

	if (x < 10) {
		*p = (char)('0' + x);
		return p + 1;
	}
	if (x >= 10000) {
		p = put_digits(quads, p, x / 10000);
		memcpy(p, quads[x % 10000], 4);
		return p + 4;
	}
	skip = x < 100 ? 2 : x < 1000;
	memcpy(p, quads[x] + skip, 4 - skip);
	return p + 4 - skip;
}

/* the pairs of a block of a list */
static void put_block(
	char quads[10000][4], struct buf *bf, const struct rag_cursor *cur, bool is_first)
{
	char *p;

	if (buf_reserve(bf, (size_t)cur->n * 24) < 0)
		return;
	p = bf->data + bf->len;
	for (uint32_t i = 0; i < cur->n; i++) {
		*p++ = is_first && i == 0 ? '[' : ',';
		*p++ = '[';
		p = put_digits(quads, p, cur->doc[i]);
		*p++ = ',';
		p = put_digits(quads, p, cur->tf[i]);
		*p++ = ']';
	}
	bf->len = (size_t)(p - bf->data);
}

static int put_list(char quads[10000][4], struct rag_out *o, const struct rag_bin *bin,
	const struct rag_key *key, struct err *err)
{
	struct rag_entry en = {.df = key->df};
	struct rag_cursor cur;
	int rc = 0;

	if (key->df == 1) {
		en.only_doc = (uint32_t)key->post;
		en.only_tf = (uint32_t)key->post_len;
	} else {
		en.data = bin->section[RAG_POST] + key->post;
		en.len = (size_t)key->post_len;
	}
	rag_cursor_init(&cur, bin, &en);
	for (bool is_first = true; rc == 0 && cur.block < cur.n_blocks; is_first = false) {
		if (!rag_cursor_load(&cur) || !rag_cursor_load_tf(&cur))
			break;
		put_block(quads, &o->bf, &cur, is_first);
		rag_cursor_shallow(&cur, cur.last + 1);
		rc = rag_out_flush_some(o, err);
	}
	if (cur.is_damaged)
		return rag_bin_what(bin, err);
	buf_putc(&o->bf, ']');
	return rc;
}

static int put_postings(
	struct rag_out *o, const struct rag_bin *bin, const struct rag_keys *ks, struct err *err)
{
	char quads[10000][4];
	int rc = 0;

	fill_quads(quads);
	buf_puts(&o->bf, "},\"postings\":{");
	for (size_t i = 0; rc == 0 && i < ks->n; i++) {
		const struct rag_key *key = rag_keys_nth(ks, i, bin->section[RAG_POST]);

		put_key(&o->bf, ks, key, i == 0);
		rc = put_list(quads, o, bin, key, err);
	}
	buf_puts(&o->bf, "}}");
	return rc < 0 ? rc : rag_out_flush(o, err);
}

int rag_seal(int fd, const char *name, struct rag_facts *facts, struct err *err)
{
	struct stat st;

	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot write '%s'", name);
	facts->bytes = (uint64_t)st.st_size;
	facts->mtime_sec = st.st_mtim.tv_sec;
	facts->mtime_nsec = st.st_mtim.tv_nsec;
	return 0;
}

static int put_lists(struct rag_json *js, const struct rag_bin *bin, struct err *err)
{
	int rc = rag_keys_sort(&js->keys, err);

	if (rc == 0)
		rc = put_df(&js->out, &js->keys, err);
	return rc < 0 ? rc : put_postings(&js->out, bin, &js->keys, err);
}

int rag_json_end(struct rag_json *js, struct rag_facts *facts, const struct rag_bin *bin,
	void (*tick)(void *arg), void *arg, struct err *err)
{
	struct rag_out *o = &js->out;
	int late, rc = rag_json_docs(js, err);

	o->tick = tick;
	o->arg = arg;
	if (rc == 0 && !rag_json_fits(0, bin->header->n_pairs + o->len / 6))
		o->is_too_long = true;
	else if (rc == 0)
		rc = put_lists(js, bin, err);
	late = rag_out_end(o, rc == 0 ? err : NULL);
	rc = rc == 0 ? late : rc;
	if (rc == 0 && !o->is_too_long)
		rc = rag_seal(o->fd, "index.json", facts, err);
	if (rc == 0 && !o->is_too_long)
		rag_sha256_hex(o->sum, facts->sha256);
	if (rc < 0 || o->is_too_long)
		unlinkat(js->dirfd, "index.json", 0);
	if (o->is_too_long) {
		*err = ERR_NONE;
		rc = 0;
	} else if (rc == 0) {
		rc = 1;
	}
	rag_json_release(js);
	return rc;
}

static int write_small(int dirfd, const char *name, struct buf *bf, struct err *err)
{
	int rc = bf->failed ? err_nomem(err)
			    : replace_file(dirfd, name, buf_str(bf), bf->len, 0600, err);

	buf_release(bf);
	return rc;
}

/* that of index.json; where there is none, of index.bin beside */
static void put_index_path(struct buf *bf, const struct rag_facts *f)
{
	const char *slash = strrchr(f->index_path, '/');
	struct buf path = BUF_INIT;

	if (f->has_json)
		buf_puts(&path, f->index_path);
	else
		buf_addf(&path, "%.*sindex.bin", slash ? (int)(slash - f->index_path + 1) : 0,
			f->index_path);
	bf->failed |= path.failed;
	rag_put_text(bf, buf_str(&path));
	buf_release(&path);
}

int rag_write_manifest(int dirfd, const struct rag_facts *f, struct err *err)
{
	struct buf bf = BUF_INIT;

	buf_addf(&bf, "{\n  \"spec\": \"%s\",\n  \"name\": ", f->mode->spec);
	rag_put_text(&bf, f->name);
	buf_puts(&bf, ",\n  \"root\": ");
	rag_put_text(&bf, f->root);
	buf_puts(&bf, ",\n  \"n_docs\": ");
	rag_put_whole(&bf, f->n_docs);
	buf_puts(&bf, ",\n  \"avgdl\": ");
	rag_put_real(&bf, f->bm.avgdl);
	buf_puts(&bf, ",\n  \"created_at\": ");
	rag_put_text(&bf, f->created_at);
	buf_puts(&bf, ",\n  \"index_path\": ");
	put_index_path(&bf, f);
	if (strcmp(f->mode->spec, RAG_SPEC) != 0) {
		buf_puts(&bf, ",\n  \"analyser\": ");
		rag_put_text(&bf, f->mode->analyser);
	}
	buf_addf(&bf, ",\n  \"sha256\": \"%s\",\n  \"size_bytes\": %llu\n}", f->sha256,
		(unsigned long long)f->bytes);
	return write_small(dirfd, "manifest.json", &bf, err);
}

int rag_write_state(int dirfd, const struct rag_facts *f, struct err *err)
{
	struct buf bf = BUF_INIT;

	buf_addf(&bf,
		"{\n  \"spec\": \"" RAG_STATE_SPEC
		"\",\n  \"generation\": \"%s\",\n  \"index_sha256\": \"%s\",\n  \"index_bytes\": "
		"%llu,\n"
		"  \"index_mtime\": \"%lld.%09lld\",\n  \"ext\": ",
		f->generation, f->sha256, (unsigned long long)f->bytes, (long long)f->mtime_sec,
		(long long)f->mtime_nsec);
	rag_put_text(&bf, f->ext);
	buf_addf(&bf, ",\n  \"max_bytes\": %llu\n}", (unsigned long long)f->max_bytes);
	return write_small(dirfd, "state.json", &bf, err);
}
