#include "bin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static const char *const section_names[RAG_SECTION_END] = {
	[RAG_STORE] = "STORE",
	[RAG_FRAMES] = "FRAMES",
	[RAG_DOCS] = "DOCS",
	[RAG_PATHS_TEXT] = "PATHS",
	[RAG_LENS] = "LENS",
	[RAG_PIECES] = "PIECES",
	[RAG_TITLES] = "TITLES",
	[RAG_POST] = "POST",
	[RAG_HEADS] = "HEADS",
	[RAG_DICT] = "DICT",
	[RAG_ORDER] = "ORDER",
	[RAG_SUMS] = "SUMS",
};

static int check_header(const unsigned char *data, size_t len, struct err *err)
{
	const struct rag_bin_header *h = (const void *)data;
	uint64_t sum;

	if (len < RAG_HEADER_BYTES)
		return err_set(err, EUCLEAN, "index.bin has %zu bytes, fewer than its header", len);
	if (memcmp(h->magic, RAG_BIN_MAGIC, sizeof(h->magic)) != 0)
		return err_set(err, EUCLEAN, "index.bin does not begin as one");
	memcpy(&sum, data + RAG_HEADER_BYTES - sizeof(sum), sizeof(sum));
	if (sum != XXH3_64bits(data, RAG_HEADER_BYTES - sizeof(sum)))
		return err_set(err, EUCLEAN, "the header of index.bin does not match its checksum");
	if (h->major != RAG_BIN_MAJOR)
		return err_set(err, ENOTSUP, "index.bin has version %u, this program reads %d",
			h->major, RAG_BIN_MAJOR);
	if (h->file_bytes != len)
		return err_set(err, EUCLEAN, "index.bin has %zu bytes and should have %llu", len,
			(unsigned long long)h->file_bytes);
	if (h->n_sections > RAG_SECTIONS_MAX || !memchr(h->analyser, '\0', sizeof(h->analyser)))
		return err_set(err, EUCLEAN, "index.bin names %u sections", h->n_sections);
	return 0;
}

static int find_sections(
	const unsigned char *data, size_t len, struct rag_bin *bin, struct err *err)
{
	const struct rag_bin_header *h = bin->header;

	for (uint32_t i = 0; i < h->n_sections; i++) {
		const struct rag_bin_section *sec = &h->sections[i];

		if (sec->id == 0 || sec->id >= RAG_SECTION_END)
			continue;
		if (sec->offset % RAG_SECTION_ALIGN || sec->offset < RAG_HEADER_BYTES ||
			sec->offset > len || sec->len > len - sec->offset || bin->section[sec->id])
			return err_set(err, EUCLEAN, "section %s of index.bin lies outside it",
				section_names[sec->id]);
		bin->section[sec->id] = data + sec->offset;
		bin->len[sec->id] = sec->len;
	}
	for (int id = 1; id < RAG_SECTION_END; id++)
		if (!bin->section[id])
			return err_set(err, EUCLEAN, "section %s of index.bin is missing",
				section_names[id]);
	return 0;
}

static int check_counts(struct rag_bin *bin, struct err *err)
{
	const struct rag_bin_header *h = bin->header;

	if (h->n_docs >= UINT32_MAX ||
		h->n_docs * sizeof(struct rag_bin_doc) != bin->len[RAG_DOCS] ||
		h->n_docs * sizeof(uint32_t) != bin->len[RAG_LENS] ||
		(bin->len[RAG_PIECES] &&
			h->n_docs * sizeof(struct rag_bin_piece) != bin->len[RAG_PIECES]) ||
		h->n_terms >= UINT32_MAX || bin->len[RAG_POST] < RAG_POST_SLACK ||
		(h->n_terms + RAG_HEAD_TERMS - 1) / RAG_HEAD_TERMS * sizeof(struct rag_bin_head) !=
			bin->len[RAG_HEADS] ||
		bin->len[RAG_FRAMES] % sizeof(struct rag_bin_frame))
		return err_set(err, EUCLEAN, "the counts of index.bin do not fit its sections");
	/* the negations catch what is not a number */
	if (!(h->k1 >= 0 && h->k1 < 1e9) || !(h->b >= 0 && h->b <= 1) ||
		(h->n_docs && !(h->avgdl > 0 && h->avgdl < 1e18)))
		return err_set(err, EUCLEAN, "the parameters of index.bin are out of range");
	return 0;
}

static int open_pages(struct rag_bin *bin, struct err *err)
{
	const struct rag_bin_header *h = bin->header;
	size_t behind = (size_t)(bin->section[RAG_SUMS] - (const unsigned char *)h) -
			RAG_HEADER_BYTES,
	       n = (behind + RAG_PAGE_BYTES - 1) / RAG_PAGE_BYTES;
	uint64_t sum = XXH3_64bits(bin->section[RAG_SUMS], bin->len[RAG_SUMS]);

	for (uint32_t i = 0; i < h->n_sections; i++)
		if (h->sections[i].id == RAG_SUMS && h->sections[i].xxh3 != sum)
			return err_set(err, EUCLEAN,
				"section SUMS of index.bin does not match its checksum");
	/* all that is used has to lie in front of SUMS */
	for (int id = 1; id < RAG_SUMS; id++)
		if (bin->section[id] + bin->len[id] > bin->section[RAG_SUMS])
			return err_set(err, EUCLEAN, "section %s of index.bin lies behind its sums",
				section_names[id]);
	if (bin->len[RAG_SUMS] != n * sizeof(uint32_t))
		return err_set(err, EUCLEAN, "the counts of index.bin do not fit its sections");
	bin->pages = calloc(1, sizeof(*bin->pages) + n);
	if (!bin->pages)
		return err_nomem(err);
	bin->pages->sums = (const void *)bin->section[RAG_SUMS];
	bin->pages->n = n;
	bin->unpacker = &bin->pages->unpacker;
	return 0;
}

int rag_bin_open(
	const void *data, size_t len, bool is_checked, struct rag_bin *out, struct err *err)
{
	struct rag_bin bin = {.header = data};
	int rc = check_header(data, len, err);

	if (rc == 0)
		rc = find_sections(data, len, &bin, err);
	if (rc == 0)
		rc = check_counts(&bin, err);
	if (rc == 0 && is_checked)
		rc = open_pages(&bin, err);
	if (rc < 0)
		return rc;
	bin.docs = (const void *)bin.section[RAG_DOCS];
	bin.lens = (const void *)bin.section[RAG_LENS];
	bin.heads = (const void *)bin.section[RAG_HEADS];
	bin.n_frames = bin.len[RAG_FRAMES] / sizeof(struct rag_bin_frame);
	bin.n_heads = bin.len[RAG_HEADS] / sizeof(struct rag_bin_head);
	*out = bin;
	return 0;
}

void rag_bin_close(struct rag_bin *bin)
{
	if (bin->pages)
		ZSTD_freeDCtx(atomic_load(&bin->pages->unpacker));
	free(bin->pages);
	bin->pages = NULL;
}

static bool is_section_good(const struct rag_bin *bin, const struct rag_bin_section *sec)
{
	return sec->xxh3 == XXH3_64bits(bin->section[sec->id], sec->len);
}

/* remember which section it is that a bad page spoils; several may lie on it */
static void mark_bad(const struct rag_bin *bin, size_t page)
{
	const struct rag_bin_header *h = bin->header;
	const unsigned char *at =
		(const unsigned char *)h + RAG_HEADER_BYTES + page * RAG_PAGE_BYTES;

	for (uint32_t i = 0; i < h->n_sections; i++) {
		const struct rag_bin_section *sec = &h->sections[i];

		if (sec->id && sec->id < RAG_SECTION_END &&
			bin->section[sec->id] < at + RAG_PAGE_BYTES &&
			bin->section[sec->id] + sec->len > at && !is_section_good(bin, sec))
			atomic_store(&bin->pages->bad, (int)sec->id);
	}
}

bool rag_pages_look(const struct rag_bin *bin, size_t first, size_t last)
{
	struct rag_pages *pages = bin->pages;
	const unsigned char *from = (const unsigned char *)bin->header + RAG_HEADER_BYTES;
	size_t all = (size_t)(bin->section[RAG_SUMS] - from);

	for (size_t i = first; i <= last; i++) {
		size_t at = i * RAG_PAGE_BYTES, n = RAG_PAGE_BYTES;

		if (i >= pages->n)
			return false;
		if (atomic_load_explicit(&pages->good[i], memory_order_relaxed))
			continue;
		n = all - at < n ? all - at : n;
		if ((uint32_t)XXH3_64bits(from + at, n) != pages->sums[i]) {
			mark_bad(bin, i);
			return false;
		}
		atomic_store_explicit(&pages->good[i], 1, memory_order_relaxed);
	}
	return true;
}

int rag_bin_check(const struct rag_bin *bin, struct err *err)
{
	const struct rag_bin_header *h = bin->header;

	for (uint32_t i = 0; i < h->n_sections; i++) {
		const struct rag_bin_section *sec = &h->sections[i];

		if (sec->id && sec->id < RAG_SECTION_END && !is_section_good(bin, sec))
			return err_set(err, EUCLEAN,
				"section %s of index.bin does not match its checksum",
				section_names[sec->id]);
	}
	return 0;
}

int rag_bin_what(const struct rag_bin *bin, struct err *err)
{
	int bad = bin->pages ? atomic_load(&bin->pages->bad) : 0;

	if (bad)
		return err_set(err, EUCLEAN, "section %s of index.bin does not match its checksum",
			section_names[bad]);
	return err_set(err, EUCLEAN, "a list or a document of index.bin is not one");
}

/* ---- documents ---- */

int rag_bin_path(const struct rag_bin *bin, uint32_t doc, const char **path, size_t *len)
{
	const struct rag_bin_doc *d = &bin->docs[doc];

	if (!rag_bin_good(bin, d, sizeof(*d)) || d->path > bin->len[RAG_PATHS_TEXT] ||
		d->path_len > bin->len[RAG_PATHS_TEXT] - d->path)
		return -EUCLEAN;
	*path = (const char *)bin->section[RAG_PATHS_TEXT] + d->path;
	*len = d->path_len;
	return rag_bin_good(bin, *path, *len) ? 0 : -EUCLEAN;
}

int rag_bin_piece(const struct rag_bin *bin, uint32_t doc, struct rag_piece *out)
{
	const struct rag_bin_piece *p =
		(const struct rag_bin_piece *)(const void *)bin->section[RAG_PIECES] + doc;

	*out = (struct rag_piece){.title = ""};
	if (bin->len[RAG_PIECES] == 0)
		return 0;
	if (!rag_bin_good(bin, p, sizeof(*p)) || p->title > bin->len[RAG_TITLES] ||
		p->title_len > bin->len[RAG_TITLES] - p->title)
		return -EUCLEAN;
	out->from = p->from;
	out->to = p->to;
	out->title = (const char *)bin->section[RAG_TITLES] + p->title;
	out->title_len = p->title_len;
	return rag_bin_good(bin, out->title, out->title_len) ? 0 : -EUCLEAN;
}

int rag_bin_frame(const struct rag_bin *bin, uint32_t frame, struct rag_bin_frame *out)
{
	const struct rag_bin_frame *f =
		(const struct rag_bin_frame *)(const void *)bin->section[RAG_FRAMES] + frame;

	if (frame >= bin->n_frames || !rag_bin_good(bin, f, sizeof(*f)))
		return -EUCLEAN;
	if (f->offset > bin->len[RAG_STORE] || f->packed > bin->len[RAG_STORE] - f->offset ||
		f->raw > 3u * RAG_FILE_BYTES_MAX + RAG_FRAME_BYTES_MAX ||
		!rag_bin_good(bin, bin->section[RAG_STORE] + f->offset, f->packed))
		return -EUCLEAN;
	*out = *f;
	return 0;
}

/* making one costs more than a frame; one is kept, whoever needs a second makes it */
static ZSTD_DCtx *take_unpacker(const struct rag_bin *bin)
{
	ZSTD_DCtx *dctx = bin->unpacker ? atomic_exchange(bin->unpacker, NULL) : NULL;

	return dctx ? dctx : ZSTD_createDCtx();
}

static void give_unpacker(const struct rag_bin *bin, ZSTD_DCtx *dctx)
{
	if (bin->unpacker)
		dctx = atomic_exchange(bin->unpacker, dctx);
	ZSTD_freeDCtx(dctx);
}

int rag_bin_unpack(const struct rag_bin *bin, uint32_t frame, struct buf *out)
{
	struct rag_bin_frame f;
	const unsigned char *packed;
	ZSTD_DCtx *dctx;
	size_t n;

	if (rag_bin_frame(bin, frame, &f) < 0)
		return -EUCLEAN;
	packed = bin->section[RAG_STORE] + f.offset;
	if (ZSTD_getFrameContentSize(packed, f.packed) != f.raw)
		return -EUCLEAN;
	buf_reset(out);
	if (buf_reserve(out, (size_t)f.raw + 1) < 0)
		return -ENOMEM;
	dctx = take_unpacker(bin);
	if (!dctx)
		return -ENOMEM;
	n = ZSTD_decompressDCtx(dctx, out->data, f.raw, packed, f.packed);
	give_unpacker(bin, dctx);
	if (n != f.raw)
		return -EUCLEAN;
	out->len = f.raw;
	return 0;
}

int rag_bin_text_kept(const struct rag_bin *bin, uint32_t doc, struct rag_unpacked *up,
	const char **text, size_t *len)
{
	const struct rag_bin_doc *d = &bin->docs[doc];

	if (!rag_bin_good(bin, d, sizeof(*d)))
		return -EUCLEAN;
	if (d->frame == RAG_NO_FRAME)
		return -ENODATA;
	if (up->frame != d->frame + 1) {
		int rc = rag_bin_unpack(bin, d->frame, &up->text);

		up->frame = rc < 0 ? 0 : d->frame + 1;
		if (rc < 0)
			return rc;
	}
	if (d->frame_pos > up->text.len || d->text_len > up->text.len - d->frame_pos)
		return -EUCLEAN;
	*text = up->text.data + d->frame_pos;
	*len = d->text_len;
	return 0;
}

int rag_bin_text(
	const struct rag_bin *bin, uint32_t doc, struct buf *frame, const char **text, size_t *len)
{
	struct rag_unpacked up = {.text = *frame};
	int rc = rag_bin_text_kept(bin, doc, &up, text, len);

	*frame = up.text;
	return rc;
}

void rag_bin_generation(const struct rag_bin_header *header, char out[XXH3_HEX_BYTES])
{
	hex_encode(header->generation, sizeof(header->generation), out);
}
