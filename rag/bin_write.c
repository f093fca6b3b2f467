#include "bin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/replace.h"

enum { PENDING_BYTES = 1 << 20, ZSTD_LEVEL = 3 };

_Static_assert(sizeof(struct rag_bin_header) <= RAG_HEADER_BYTES - sizeof(uint64_t),
	"the header has its room");
_Static_assert(sizeof(struct rag_bin_doc) == 48 && sizeof(struct rag_bin_frame) == 16 &&
		       sizeof(struct rag_bin_term) == 16,
	"no padding in what is mapped");

static int flush(struct rag_writer *w, struct err *err)
{
	int rc = 0;

	if (w->pending.failed)
		return err_nomem(err);
	if (w->fd >= 0)
		rc = write_all(w->fd, w->pending.data, w->pending.len, err);
	else if (buf_add(w->mem, w->pending.data, w->pending.len) < 0)
		rc = err_nomem(err);
	buf_reset(&w->pending);
	return rc;
}

static int put(struct rag_writer *w, const void *data, size_t len, struct err *err)
{
	if (len == 0)
		return 0;
	XXH3_64bits_update(w->sum, data, len);
	if (w->identity)
		XXH3_128bits_update(w->identity, data, len);
	if (buf_add(&w->pending, data, len) < 0)
		return err_nomem(err);
	w->off += len;
	return w->pending.len >= PENDING_BYTES ? flush(w, err) : 0;
}

static int pad(struct rag_writer *w, size_t align, struct err *err)
{
	static const char zeros[RAG_SECTION_ALIGN];
	size_t n = (align - (size_t)(w->off % align)) % align;

	if (buf_add(&w->pending, zeros, n) < 0)
		return err_nomem(err);
	w->off += n;
	return 0;
}

static int section_begin(struct rag_writer *w, enum rag_section id, struct err *err)
{
	int rc = pad(w, RAG_SECTION_ALIGN, err);

	if (rc < 0)
		return rc;
	XXH3_64bits_reset(w->sum);
	w->header.sections[w->header.n_sections] =
		(struct rag_bin_section){.id = id, .offset = w->off};
	return 0;
}

static void section_end(struct rag_writer *w)
{
	struct rag_bin_section *sec = &w->header.sections[w->header.n_sections++];

	sec->len = w->off - sec->offset;
	sec->xxh3 = XXH3_64bits_digest(w->sum);
}

static int section_put(
	struct rag_writer *w, enum rag_section id, const struct buf *bf, struct err *err)
{
	int rc = section_begin(w, id, err);

	if (rc == 0)
		rc = put(w, bf->data, bf->len, err);
	section_end(w);
	return rc;
}

int rag_writer_init(struct rag_writer *w, int fd, struct buf *mem, struct err *err)
{
	static const char zeros[RAG_HEADER_BYTES];

	*w = (struct rag_writer){.fd = fd, .mem = mem};
	w->sum = XXH3_createState();
	w->zstd = ZSTD_createCCtx();
	if (!w->sum || !w->zstd || buf_add(&w->pending, zeros, sizeof(zeros)) < 0)
		return err_nomem(err);
	w->off = RAG_HEADER_BYTES;
	return section_begin(w, RAG_STORE, err);
}

void rag_writer_release(struct rag_writer *w)
{
	XXH3_freeState(w->sum);
	XXH3_freeState(w->identity);
	ZSTD_freeCCtx(w->zstd);
	buf_release(&w->pending);
	buf_release(&w->frame);
	buf_release(&w->frames);
	buf_release(&w->docs);
	buf_release(&w->paths);
}

static int frame_flush(struct rag_writer *w, struct err *err)
{
	struct rag_bin_frame head = {.offset = w->store_len, .raw = (uint32_t)w->frame.len};
	struct buf packed = BUF_INIT;
	size_t n, bound = ZSTD_compressBound(w->frame.len);
	int rc;

	if (w->frame.len == 0)
		return 0;
	if (buf_reserve(&packed, bound) < 0)
		return err_nomem(err);
	n = ZSTD_compressCCtx(w->zstd, packed.data, bound, w->frame.data, w->frame.len, ZSTD_LEVEL);
	if (ZSTD_isError(n)) {
		rc = err_set(err, EIO, "cannot compress a document: %s", ZSTD_getErrorName(n));
		goto out;
	}
	head.packed = (uint32_t)n;
	rc = put(w, packed.data, n, err);
	if (rc == 0 && buf_add(&w->frames, &head, sizeof(head)) < 0)
		rc = err_nomem(err);
	w->store_len += n;
	/* one huge document must not keep its memory for the rest of the build */
	if (w->frame.cap > 16 * RAG_FRAME_BYTES)
		buf_release(&w->frame);
	buf_reset(&w->frame);
out:
	buf_release(&packed);
	return rc;
}

int rag_writer_doc(struct rag_writer *w, const char *path, size_t path_len, uint32_t words,
	const unsigned char content[16], const char *text, size_t len, struct err *err)
{
	struct rag_bin_doc doc = {.path = w->paths.len,
		.path_len = (uint32_t)path_len,
		.len = words,
		.frame = RAG_NO_FRAME};

	memcpy(doc.content, content, sizeof(doc.content));
	if (text) {
		doc.frame = (uint32_t)(w->frames.len / sizeof(struct rag_bin_frame));
		doc.frame_pos = (uint32_t)w->frame.len;
		doc.text_len = (uint32_t)len;
		if (buf_add(&w->frame, text, len) < 0)
			return err_nomem(err);
	}
	if (buf_add(&w->paths, path, path_len) < 0 || buf_add(&w->docs, &doc, sizeof(doc)) < 0)
		return err_nomem(err);
	w->header.n_docs++;
	w->header.total_words += words;
	return w->frame.len >= RAG_FRAME_BYTES ? frame_flush(w, err) : 0;
}

/* whom the comparison of terms asks: qsort_r's argument */
static int term_compare(const void *a, const void *b, void *arg)
{
	const struct rag_terms *ts = arg;
	const struct rag_term *x = &ts->at[*(const uint32_t *)a],
			      *y = &ts->at[*(const uint32_t *)b];
	int order = memcmp(ts->text.data + x->text, ts->text.data + y->text,
		x->len < y->len ? x->len : y->len);

	return order ? order : (int)x->len - (int)y->len;
}

static int put_terms(
	struct rag_writer *w, const struct rag_terms *ts, const uint32_t *order, struct err *err)
{
	struct rag_bin_term term = {0};
	struct buf dict = BUF_INIT;
	uint64_t text = 0, post = 0;
	int rc = section_begin(w, RAG_TERMS, err);

	for (size_t i = 0; rc == 0 && i <= ts->n; i++) {
		const struct rag_term *t = i < ts->n ? &ts->at[order[i]] : NULL;

		term = (struct rag_bin_term){
			.post = post, .text = (uint32_t)text, .df = t ? t->df : 0};
		if (buf_add(&dict, &term, sizeof(term)) < 0)
			rc = err_nomem(err);
		else if (t)
			rc = put(w, ts->text.data + t->text, t->len, err);
		text += t ? t->len : 0;
		post += t ? t->post_len : 0;
	}
	section_end(w);
	if (rc == 0 && text > UINT32_MAX)
		rc = err_set(err, EFBIG, "too many different words for one index");
	if (rc == 0)
		rc = section_put(w, RAG_DICT, &dict, err);
	buf_release(&dict);
	if (rc == 0)
		rc = section_begin(w, RAG_POST, err);
	for (size_t i = 0; rc == 0 && i < ts->n; i++)
		rc = put(w, ts->at[order[i]].post, ts->at[order[i]].post_len, err);
	section_end(w);
	return rc;
}

static int put_header(struct rag_writer *w, struct err *err)
{
	unsigned char head[RAG_HEADER_BYTES] = {0};
	uint64_t sum;

	w->header.file_bytes = w->off;
	memcpy(head, &w->header, sizeof(w->header));
	sum = XXH3_64bits(head, sizeof(head) - sizeof(sum));
	memcpy(head + sizeof(head) - sizeof(sum), &sum, sizeof(sum));
	if (w->fd < 0) {
		memcpy(w->mem->data, head, sizeof(head));
		return 0;
	}
	if (pwrite(w->fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return err_sys(err, "cannot write 'index.bin'");
	return 0;
}

static int put_sections(struct rag_writer *w, const struct rag_terms *ts, struct err *err)
{
	uint32_t *order = malloc((ts->n + 1) * sizeof(*order));
	int rc;

	w->identity = XXH3_createState();
	if (!order || !w->identity) {
		rc = err_nomem(err);
		goto out;
	}
	for (size_t i = 0; i < ts->n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, ts->n, sizeof(*order), term_compare, (void *)(uintptr_t)ts);
	XXH3_128bits_reset(w->identity);
	XXH3_128bits_update(w->identity, w->header.analyser, sizeof(w->header.analyser));
	XXH3_128bits_update(w->identity, &w->header.n_docs, sizeof(uint64_t));
	XXH3_128bits_update(w->identity, &w->header.avgdl, 3 * sizeof(double));
	rc = section_put(w, RAG_DOCS, &w->docs, err);
	if (rc == 0)
		rc = section_put(w, RAG_PATHS_TEXT, &w->paths, err);
	if (rc == 0)
		rc = put_terms(w, ts, order, err);
out:
	free(order);
	return rc;
}

int rag_writer_finish(struct rag_writer *w, const struct rag_terms *ts, const struct rag_bm25 *bm,
	struct err *err)
{
	XXH128_canonical_t canonical;
	int rc = frame_flush(w, err);

	section_end(w);
	memcpy(w->header.magic, RAG_BIN_MAGIC, sizeof(w->header.magic));
	memcpy(w->header.analyser, RAG_ANALYSER, sizeof(RAG_ANALYSER));
	w->header.major = RAG_BIN_MAJOR;
	w->header.n_terms = ts->n;
	w->header.avgdl = bm->avgdl;
	w->header.k1 = bm->k1;
	w->header.b = bm->b;
	if (rc == 0)
		rc = section_put(w, RAG_FRAMES, &w->frames, err);
	if (rc == 0)
		rc = put_sections(w, ts, err);
	if (rc < 0)
		return rc;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(w->identity));
	memcpy(w->header.generation, canonical.digest, sizeof(w->header.generation));
	rc = flush(w, err);
	return rc < 0 ? rc : put_header(w, err);
}

size_t rag_writer_bytes(const struct rag_writer *w)
{
	return w->pending.cap + w->frame.cap + w->frames.cap + w->docs.cap + w->paths.cap;
}
