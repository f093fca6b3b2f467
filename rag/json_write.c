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
#include "post.h"
#include "text.h"

enum { FLUSH_BYTES = 1 << 20 };

/* a file written through a piece of memory */
struct out {
	int fd;
	struct buf bf;
	void (*tick)(void *arg);
	void *arg;
};

static int out_flush(struct out *o, struct err *err)
{
	int rc;

	if (o->bf.failed)
		return err_nomem(err);
	rc = write_all(o->fd, buf_str(&o->bf), o->bf.len, err);
	buf_reset(&o->bf);
	if (o->tick)
		o->tick(o->arg);
	return rc;
}

static int out_flush_some(struct out *o, struct err *err)
{
	return o->bf.failed || o->bf.len >= FLUSH_BYTES ? out_flush(o, err) : 0;
}

static void put_text(struct buf *bf, const char *text)
{
	rag_put_json(bf, text, strlen(text));
}

static void put_real(struct buf *bf, double x)
{
	char text[NUM_TEXT_BYTES];

	buf_puts(bf, num_text(x, text));
}

static void put_whole(struct buf *bf, uint64_t x)
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

static const char *root_joint(const char *root)
{
	size_t len = strlen(root);

	return len && root[len - 1] == '/' ? "" : "/";
}

int rag_docs_put(struct buf *docs, uint64_t id, const char *root, const char *file, uint32_t words,
	const char *text, size_t len)
{
	struct buf bf = BUF_INIT;

	buf_puts(docs, docs->len ? ",{\"id\":" : "{\"id\":");
	put_whole(docs, id);
	buf_puts(docs, ",\"path\":");
	rag_put_path(&bf, file);
	rag_put_json(docs, buf_str(&bf), bf.len);
	buf_reset(&bf);
	buf_addf(&bf, "%s%s%s", root, root_joint(root), file);
	buf_puts(docs, ",\"abs\":");
	rag_put_json(docs, buf_str(&bf), bf.len);
	buf_puts(docs, ",\"len\":");
	put_whole(docs, words);
	buf_reset(&bf);
	rag_slice(text, len, 0, RAG_PREVIEW_UNITS, &bf);
	buf_puts(docs, ",\"preview\":");
	rag_put_json(docs, buf_str(&bf), bf.len);
	buf_putc(docs, '}');
	docs->failed |= bf.failed;
	buf_release(&bf);
	return docs->failed ? -ENOMEM : 0;
}

/* the number a key stands for among the array indices of JavaScript; false when it is an ordinary
 * key */
static bool array_index(const char *word, size_t len, uint64_t *out)
{
	uint64_t x = 0;

	if (len > 10 || (len > 1 && word[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		x = x * 10 + (uint64_t)(word[i] - '0');
	}
	*out = x;
	return x <= 4294967294;
}

struct key {
	uint64_t rank; /* the array index, or 2^32 + order of first appearance */
	uint32_t term;
};

static int key_compare(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static struct key *keys_in_order(const struct rag_terms *ts)
{
	struct key *keys = malloc((ts->n + 1) * sizeof(*keys));

	for (size_t i = 0; keys && i < ts->n; i++) {
		keys[i].term = (uint32_t)i;
		if (!array_index(rag_terms_text(ts, i), ts->at[i].len, &keys[i].rank))
			keys[i].rank = (1ULL << 32) + i;
	}
	if (keys)
		qsort(keys, ts->n, sizeof(*keys), key_compare);
	return keys;
}

static void put_key(struct buf *bf, const struct rag_terms *ts, uint32_t term, bool is_first)
{
	/* words hold nothing that needs an escape */
	buf_puts(bf, is_first ? "\"" : ",\"");
	buf_add(bf, rag_terms_text(ts, term), ts->at[term].len);
	buf_puts(bf, "\":");
}

static int put_df(
	struct out *o, const struct rag_terms *ts, const struct key *keys, struct err *err)
{
	int rc = 0;

	buf_puts(&o->bf, "],\"df\":{");
	for (size_t i = 0; rc == 0 && i < ts->n; i++) {
		put_key(&o->bf, ts, keys[i].term, i == 0);
		put_whole(&o->bf, ts->at[keys[i].term].df);
		rc = out_flush_some(o, err);
	}
	return rc;
}

static int put_postings(struct out *o, const struct rag_terms *ts, const struct key *keys,
	uint64_t n_docs, struct err *err)
{
	int rc = 0;

	buf_puts(&o->bf, "},\"postings\":{");
	for (size_t i = 0; rc == 0 && i < ts->n; i++) {
		const struct rag_term *t = &ts->at[keys[i].term];
		struct rag_post ps;

		put_key(&o->bf, ts, keys[i].term, i == 0);
		rag_post_init(&ps, t->post, t->post_len, t->df, n_docs);
		for (bool is_first = true; rag_post_next(&ps); is_first = false) {
			buf_puts(&o->bf, is_first ? "[[" : ",[");
			put_whole(&o->bf, ps.doc);
			buf_putc(&o->bf, ',');
			put_whole(&o->bf, ps.tf);
			buf_putc(&o->bf, ']');
		}
		buf_putc(&o->bf, ']');
		rc = out_flush_some(o, err);
	}
	buf_puts(&o->bf, "}}");
	return rc < 0 ? rc : out_flush(o, err);
}

static void put_head(struct buf *bf, const struct rag_facts *f)
{
	buf_puts(bf, "{\"spec\":\"" RAG_SPEC "\",\"name\":");
	put_text(bf, f->name);
	buf_puts(bf, ",\"created_at\":");
	put_text(bf, f->created_at);
	buf_puts(bf, ",\"root\":");
	put_text(bf, f->root);
	buf_puts(bf, ",\"n_docs\":");
	put_whole(bf, f->n_docs);
	buf_puts(bf, ",\"avgdl\":");
	put_real(bf, f->bm.avgdl);
	buf_puts(bf, ",\"k1\":");
	put_real(bf, f->bm.k1);
	buf_puts(bf, ",\"b\":");
	put_real(bf, f->bm.b);
	buf_puts(bf, ",\"docs\":[");
}

static int seal(int fd, struct rag_facts *facts, struct err *err)
{
	struct stat st;

	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot write 'index.json'");
	facts->bytes = (uint64_t)st.st_size;
	facts->mtime_sec = st.st_mtim.tv_sec;
	facts->mtime_nsec = st.st_mtim.tv_nsec;
	return sha256_fd(fd, 0, facts->bytes, facts->sha256, err);
}

int rag_write_json(int dirfd, struct rag_facts *facts, const struct buf *docs,
	const struct rag_terms *terms, void (*tick)(void *arg), void *arg, struct err *err)
{
	struct out o = {.bf = BUF_INIT, .tick = tick, .arg = arg};
	struct key *keys = keys_in_order(terms);
	int rc;

	if (!keys)
		return err_nomem(err);
	o.fd = openat(
		dirfd, "index.json", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (o.fd < 0) {
		rc = err_sys(err, "cannot create 'index.json'");
		goto out_keys;
	}
	put_head(&o.bf, facts);
	rc = out_flush(&o, err);
	if (rc == 0)
		rc = write_all(o.fd, buf_str(docs), docs->len, err);
	if (rc == 0)
		rc = put_df(&o, terms, keys, err);
	if (rc == 0)
		rc = put_postings(&o, terms, keys, facts->n_docs, err);
	if (rc == 0)
		rc = seal(o.fd, facts, err);
	if (close(o.fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write 'index.json'");
out_keys:
	buf_release(&o.bf);
	free(keys);
	return rc;
}

static int write_small(int dirfd, const char *name, struct buf *bf, struct err *err)
{
	int rc = bf->failed ? err_nomem(err)
			    : replace_file(dirfd, name, buf_str(bf), bf->len, 0600, err);

	buf_release(bf);
	return rc;
}

int rag_write_manifest(int dirfd, const struct rag_facts *f, struct err *err)
{
	struct buf bf = BUF_INIT;

	buf_puts(&bf, "{\n  \"spec\": \"" RAG_SPEC "\",\n  \"name\": ");
	put_text(&bf, f->name);
	buf_puts(&bf, ",\n  \"root\": ");
	put_text(&bf, f->root);
	buf_puts(&bf, ",\n  \"n_docs\": ");
	put_whole(&bf, f->n_docs);
	buf_puts(&bf, ",\n  \"avgdl\": ");
	put_real(&bf, f->bm.avgdl);
	buf_puts(&bf, ",\n  \"created_at\": ");
	put_text(&bf, f->created_at);
	buf_puts(&bf, ",\n  \"index_path\": ");
	put_text(&bf, f->index_path);
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
		"  \"index_mtime\": \"%lld.%09lld\"\n}",
		f->generation, f->sha256, (unsigned long long)f->bytes, (long long)f->mtime_sec,
		(long long)f->mtime_nsec);
	return write_small(dirfd, "state.json", &bf, err);
}
