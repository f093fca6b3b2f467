/* bin_write - the sections of an index.bin, in the order of the file; see bin.h. The lists are made
 * in list_write.c, the bytes put in bin_put.c. */
#include "bin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "bin_put.h"
#include "keys.h"
#include "list_write.h"

enum { ZSTD_LEVEL = 1 };

_Static_assert(sizeof(struct rag_bin_header) <= RAG_HEADER_BYTES - sizeof(uint64_t),
	"the header has its room");
_Static_assert(sizeof(struct rag_bin_doc) == 40 && sizeof(struct rag_bin_frame) == 16 &&
		       sizeof(struct rag_bin_piece) == 32 && sizeof(struct rag_bin_head) == 24,
	"no padding in what is mapped");

int rag_writer_init(struct rag_writer *w, int fd, struct buf *mem, int tmpfd,
	const struct rag_mode *mode, struct err *err)
{
	static const char zeros[RAG_HEADER_BYTES];
	struct rag_spool *const spools[] = {
		&w->frames, &w->docs, &w->paths, &w->pieces, &w->titles, &w->dict, &w->order};

	*w = (struct rag_writer){.fd = fd, .mem = mem};
	for (size_t i = 0; i < sizeof(spools) / sizeof(*spools); i++)
		rag_spool_init(spools[i], tmpfd);
	memcpy(w->header.magic, RAG_BIN_MAGIC, sizeof(w->header.magic));
	memcpy(w->header.analyser, mode->analyser, sizeof(w->header.analyser));
	w->header.major = RAG_BIN_MAJOR;
	w->header.zstd_version = ZSTD_versionNumber();
	w->bm = (struct rag_bm25){.k1 = mode->k1, .b = mode->b};
	w->sum = XXH3_createState();
	w->page = XXH3_createState();
	w->zstd = ZSTD_createCCtx();
	if (!w->sum || !w->page || !w->zstd || buf_add(&w->pending, zeros, sizeof(zeros)) < 0)
		return err_nomem(err);
	XXH3_64bits_reset(w->page);
	w->off = RAG_HEADER_BYTES;
	return rag_section_begin(w, RAG_STORE, err);
}

void rag_writer_release(struct rag_writer *w)
{
	struct buf *const bufs[] = {&w->pending, &w->frame, &w->packed, &w->lens, &w->path,
		&w->sums, &w->heads, &w->term, &w->list_bytes, &w->list.skip, &w->list.blocks};
	struct rag_spool *const spools[] = {
		&w->frames, &w->docs, &w->paths, &w->pieces, &w->titles, &w->dict, &w->order};

	if (!w->sum && !w->page) /* never initialised */
		return;
	XXH3_freeState(w->sum);
	XXH3_freeState(w->page);
	XXH3_freeState(w->identity);
	ZSTD_freeCCtx(w->zstd);
	for (size_t i = 0; i < sizeof(bufs) / sizeof(*bufs); i++)
		buf_release(bufs[i]);
	for (size_t i = 0; i < sizeof(spools) / sizeof(*spools); i++)
		rag_spool_release(spools[i]);
	w->sum = w->identity = w->page = NULL;
	w->zstd = NULL;
	free(w->norms);
	w->norms = NULL;
}

/* ---- documents ---- */

static int put_frame(
	struct rag_writer *w, const void *packed, size_t len, uint32_t raw, struct err *err)
{
	struct rag_bin_frame head = {.offset = w->store_len, .packed = (uint32_t)len, .raw = raw};
	int rc = rag_put(w, packed, len, err);

	w->store_len += len;
	return rc < 0 ? rc : rag_spool_add(&w->frames, &head, sizeof(head), err);
}

static int frame_flush(struct rag_writer *w, struct err *err)
{
	size_t n, bound = ZSTD_compressBound(w->frame.len);
	int rc;

	if (w->frame.len == 0)
		return 0;
	buf_reset(&w->packed);
	if (buf_reserve(&w->packed, bound) < 0)
		return err_nomem(err);
	n = ZSTD_compressCCtx(
		w->zstd, w->packed.data, bound, w->frame.data, w->frame.len, ZSTD_LEVEL);
	if (ZSTD_isError(n))
		return err_set(err, EIO, "cannot compress a document: %s", ZSTD_getErrorName(n));
	rc = put_frame(w, w->packed.data, n, (uint32_t)w->frame.len, err);
	/* one huge document must not keep its memory for the rest of the build */
	if (w->frame.cap > 16 * RAG_FRAME_BYTES_MAX) {
		buf_release(&w->frame);
		buf_release(&w->packed);
	}
	buf_reset(&w->frame);
	return rc;
}

static uint32_t frames_done(const struct rag_writer *w)
{
	return (uint32_t)(w->frames.len / sizeof(struct rag_bin_frame));
}

/* the pieces of one file share its path */
static int put_path(
	struct rag_writer *w, const char *path, size_t len, uint64_t *at, struct err *err)
{
	int rc = 0;

	if (w->paths.len == 0 || w->path.len != len || memcmp(w->path.data, path, len) != 0) {
		w->path_at = w->paths.len;
		buf_reset(&w->path);
		rc = rag_spool_add(&w->paths, path, len, err);
		if (rc == 0 && buf_add(&w->path, path, len) < 0)
			rc = err_nomem(err);
	}
	*at = w->path_at;
	return rc;
}

static int put_piece(struct rag_writer *w, const struct rag_piece *pc, struct err *err)
{
	struct rag_bin_piece piece = {.from = pc->from,
		.to = pc->to,
		.title = w->titles.len,
		.title_len = (uint32_t)pc->title_len};
	int rc = rag_spool_add(&w->pieces, &piece, sizeof(piece), err);

	return rc < 0 || pc->title_len == 0
		       ? rc
		       : rag_spool_add(&w->titles, pc->title, pc->title_len, err);
}

static int put_doc(struct rag_writer *w, const struct rag_writer_doc *in, struct rag_bin_doc *doc,
	struct err *err)
{
	int rc;

	if (w->header.n_docs >= UINT32_MAX - 1)
		return err_set(err, EFBIG, "too many documents for one index");
	doc->path_len = (uint32_t)in->path_len;
	memcpy(doc->content, in->content, sizeof(doc->content));
	rc = put_path(w, in->path, in->path_len, &doc->path, err);
	if (rc == 0)
		rc = rag_spool_add(&w->docs, doc, sizeof(*doc), err);
	if (rc == 0 && buf_add(&w->lens, &in->words, sizeof(in->words)) < 0)
		rc = err_nomem(err);
	if (rc == 0 && in->piece)
		rc = put_piece(w, in->piece, err);
	w->header.n_docs++;
	w->header.total_words += in->words;
	return rc;
}

int rag_writer_doc(struct rag_writer *w, const struct rag_writer_doc *in, struct err *err)
{
	struct rag_bin_doc doc = {.frame = RAG_NO_FRAME};
	int rc;

	if (in->text) {
		doc.frame = frames_done(w);
		doc.frame_pos = (uint32_t)w->frame.len;
		doc.text_len = (uint32_t)in->text_len;
		if (buf_add(&w->frame, in->text, in->text_len) < 0)
			return err_nomem(err);
	}
	rc = put_doc(w, in, &doc, err);
	return rc == 0 && in->text && rag_frame_ends(w->frame.len, in->content)
		       ? frame_flush(w, err)
		       : rc;
}

bool rag_writer_at_frame(const struct rag_writer *w)
{
	return w->frame.len == 0;
}

int rag_writer_frame(
	struct rag_writer *w, const void *packed, size_t len, uint32_t raw, struct err *err)
{
	return put_frame(w, packed, len, raw, err);
}

int rag_writer_doc_in(
	struct rag_writer *w, const struct rag_writer_doc *in, uint32_t frame_pos, struct err *err)
{
	struct rag_bin_doc doc = {.frame = frames_done(w) - 1,
		.frame_pos = frame_pos,
		.text_len = (uint32_t)in->text_len};

	return put_doc(w, in, &doc, err);
}

static int make_norms(struct rag_writer *w)
{
	w->norms = malloc(sizeof(*w->norms));
	if (!w->norms)
		return -ENOMEM;
	w->norms->bm = &w->bm;
	w->norms->lens = (const uint32_t *)(const void *)w->lens.data;
	for (uint32_t len = 0; len < RAG_NORMS; len++)
		w->norms->of_len[len] = rag_norm(&w->bm, len);
	return 0;
}

int rag_writer_terms(struct rag_writer *w, double avgdl, struct err *err)
{
	struct rag_bin_header *h = &w->header;
	int rc = frame_flush(w, err);

	rag_section_end(w);
	buf_release(&w->frame);
	buf_release(&w->packed);
	if (avgdl < 0)
		avgdl = h->n_docs ? (double)h->total_words / (double)h->n_docs : 0;
	w->bm.avgdl = avgdl;
	if (rc == 0 && make_norms(w) < 0)
		rc = err_nomem(err);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_FRAMES, &w->frames, err);
	w->identity = XXH3_createState();
	if (!w->identity)
		return err_nomem(err);
	XXH3_128bits_reset(w->identity);
	XXH3_128bits_update(w->identity, h->analyser, sizeof(h->analyser));
	XXH3_128bits_update(w->identity, &h->n_docs, sizeof(h->n_docs));
	XXH3_128bits_update(w->identity, &w->bm, sizeof(w->bm));
	if (rc == 0)
		rc = rag_put_spool(w, RAG_DOCS, &w->docs, err);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_PATHS_TEXT, &w->paths, err);
	if (rc == 0)
		rc = rag_section_begin(w, RAG_LENS, err);
	if (rc == 0)
		rc = rag_put(w, w->lens.data, w->lens.len, err);
	rag_section_end(w);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_PIECES, &w->pieces, err);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_TITLES, &w->titles, err);
	return rc < 0 ? rc : rag_section_begin(w, RAG_POST, err);
}

int rag_writer_docs(struct rag_writer *w, size_t *len, struct err *err)
{
	*len = (size_t)w->off;
	return rag_put_flush(w, NULL, 0, err);
}

void rag_writer_view(const struct rag_writer *w, const void *data, struct rag_bin *out)
{
	const struct rag_bin_header *h = &w->header;

	*out = (struct rag_bin){.header = h};
	for (uint32_t i = 0; i < h->n_sections; i++) {
		out->section[h->sections[i].id] =
			(const unsigned char *)data + h->sections[i].offset;
		out->len[h->sections[i].id] = h->sections[i].len;
	}
	out->docs = (const void *)out->section[RAG_DOCS];
	out->lens = (const void *)out->section[RAG_LENS];
	out->n_frames = out->len[RAG_FRAMES] / sizeof(struct rag_bin_frame);
}

/* ---- terms ---- */

int rag_writer_pairs(
	struct rag_writer *w, const uint32_t *docs, const uint32_t *tfs, size_t n, struct err *err)
{
	w->header.n_pairs += n;
	return n && rag_list_pairs(&w->list, w->norms, docs, tfs, n) < 0 ? err_nomem(err) : 0;
}

int rag_writer_pair(struct rag_writer *w, uint32_t doc, uint32_t tf, struct err *err)
{
	return rag_writer_pairs(w, &doc, &tf, 1, err);
}

void rag_writer_packed(
	struct rag_writer *w, size_t n, uint32_t low, const uint8_t *bytes, size_t len)
{
	rag_list_packed(&w->list, n, low, bytes, len);
}

static uint64_t prefix_of(const char *word, size_t len)
{
	unsigned char bytes[8] = {0};
	uint64_t x;

	memcpy(bytes, word, len < sizeof(bytes) ? len : sizeof(bytes));
	memcpy(&x, bytes, sizeof(x));
	return __builtin_bswap64(x);
}

/* the term's name, less what it shares with the one before; starts a new head in each sixteenth */
static int put_name(struct rag_writer *w, const char *word, size_t len, struct err *err)
{
	size_t shared = 0;
	uint8_t counts[2];
	int rc;

	if (w->header.n_terms % RAG_HEAD_TERMS == 0) {
		struct rag_bin_head head = {
			.prefix = prefix_of(word, len), .dict = w->dict.len, .post = w->post_len};

		if (buf_add(&w->heads, &head, sizeof(head)) < 0)
			return err_nomem(err);
	} else {
		while (shared < len && shared < w->term.len && w->term.data[shared] == word[shared])
			shared++;
	}
	counts[0] = (uint8_t)shared;
	counts[1] = (uint8_t)(len - shared);
	rc = rag_spool_add(&w->dict, counts, sizeof(counts), err);
	if (rc == 0)
		rc = rag_spool_add(&w->dict, word + shared, len - shared, err);
	buf_reset(&w->term);
	if (rc == 0 && buf_add(&w->term, word, len) < 0)
		rc = err_nomem(err);
	return rc;
}

int rag_writer_term(
	struct rag_writer *w, const char *word, size_t len, uint32_t rank, struct err *err)
{
	uint8_t said[RAG_LIST_SAID_BYTES], order[10];
	struct rag_key key = {.df = w->list.df};
	size_t n_said;
	int rc = put_name(w, word, len, err);

	if (w->header.n_terms >= UINT32_MAX - 1)
		return err_set(err, EFBIG, "too many different words for one index");
	buf_reset(&w->list_bytes);
	if (rc == 0 && rag_list_end(&w->list, &w->list_bytes, said, &n_said) < 0)
		rc = err_nomem(err);
	if (rc == 0)
		rc = rag_spool_add(&w->dict, said, n_said, err);
	if (rc == 0)
		rc = rag_spool_add(&w->order, order, rag_vbyte_put(order, rank), err);
	if (rc == 0)
		rc = rag_put(w, w->list_bytes.data, w->list_bytes.len, err);
	if (rc == 0 && w->keys) {
		key.post = key.df == 1 ? w->list.first_doc : w->post_len;
		key.post_len = key.df == 1 ? w->list.first_tf : w->list_bytes.len;
		rc = rag_keys_add(w->keys, &key, word, len, w->list.first_doc, rank, err);
	}
	w->post_len += w->list_bytes.len;
	w->header.n_terms++;
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

int rag_writer_finish(struct rag_writer *w, struct err *err)
{
	static const char slack[RAG_POST_SLACK];
	XXH128_canonical_t canonical;
	struct buf sums = BUF_INIT;
	uint32_t last;
	int rc = rag_put(w, slack, sizeof(slack), err);

	rag_section_end(w);
	w->header.avgdl = w->bm.avgdl;
	w->header.k1 = w->bm.k1;
	w->header.b = w->bm.b;
	if (rc == 0)
		rc = rag_put_section(w, RAG_HEADS, &w->heads, err);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_DICT, &w->dict, err);
	if (rc == 0)
		rc = rag_put_spool(w, RAG_ORDER, &w->order, err);
	if (rc < 0)
		return rc;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(w->identity));
	memcpy(w->header.generation, canonical.digest, sizeof(w->header.generation));
	rc = rag_section_begin(w, RAG_SUMS, err);
	/* the last page ends where SUMS begins */
	last = (uint32_t)XXH3_64bits_digest(w->page);
	if (rc == 0 && w->page_len && buf_add(&w->sums, &last, sizeof(last)) < 0)
		rc = err_nomem(err);
	sums = w->sums; /* putting them would add to them */
	w->sums = BUF_INIT;
	if (rc == 0)
		rc = rag_put(w, sums.data, sums.len, err);
	rag_section_end(w);
	buf_release(&sums);
	if (rc == 0)
		rc = rag_put_flush(w, NULL, 0, err);
	return rc < 0 ? rc : put_header(w, err);
}
