#include "bin.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

static const char *const section_names[RAG_SECTION_END] = {
	[RAG_STORE] = "STORE",
	[RAG_FRAMES] = "FRAMES",
	[RAG_DOCS] = "DOCS",
	[RAG_PATHS_TEXT] = "PATHS",
	[RAG_TERMS] = "TERMS",
	[RAG_DICT] = "DICT",
	[RAG_POST] = "POST",
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
	if (h->major != RAG_BIN_MAJOR ||
		strncmp(h->analyser, RAG_ANALYSER, sizeof(h->analyser)) != 0)
		return err_set(err, EUCLEAN, "index.bin has version %u, this program reads %d",
			h->major, RAG_BIN_MAJOR);
	if (h->file_bytes != len)
		return err_set(err, EUCLEAN, "index.bin has %zu bytes and should have %llu", len,
			(unsigned long long)h->file_bytes);
	if (h->n_sections > RAG_SECTIONS_MAX)
		return err_set(err, EUCLEAN, "index.bin names %u sections", h->n_sections);
	return 0;
}

static int check_sections(
	const unsigned char *data, size_t len, struct rag_bin *bin, struct err *err)
{
	const struct rag_bin_header *h = bin->header;

	for (uint32_t i = 0; i < h->n_sections; i++) {
		const struct rag_bin_section *sec = &h->sections[i];

		if (sec->id == 0 || sec->id >= RAG_SECTION_END)
			continue;
		if (sec->offset % RAG_SECTION_ALIGN || sec->offset > len ||
			sec->len > len - sec->offset || bin->section[sec->id])
			return err_set(err, EUCLEAN, "section %s of index.bin lies outside it",
				section_names[sec->id]);
		if (sec->xxh3 != XXH3_64bits(data + sec->offset, sec->len))
			return err_set(err, EUCLEAN,
				"section %s of index.bin does not match its checksum",
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
		h->n_terms >= UINT32_MAX ||
		(h->n_terms + 1) * sizeof(struct rag_bin_term) != bin->len[RAG_DICT] ||
		bin->len[RAG_FRAMES] % sizeof(struct rag_bin_frame))
		return err_set(err, EUCLEAN, "the counts of index.bin do not fit its sections");
	/* the negations catch what is not a number */
	if (!(h->k1 >= 0 && h->k1 < 1e9) || !(h->b >= 0 && h->b <= 1) ||
		(h->n_docs && !(h->avgdl > 0 && h->avgdl < 1e18)))
		return err_set(err, EUCLEAN, "the parameters of index.bin are out of range");
	return 0;
}

int rag_bin_open(const void *data, size_t len, struct rag_bin *out, struct err *err)
{
	struct rag_bin bin = {.header = data};
	int rc = check_header(data, len, err);

	if (rc == 0)
		rc = check_sections(data, len, &bin, err);
	if (rc == 0)
		rc = check_counts(&bin, err);
	if (rc < 0)
		return rc;
	bin.docs = (const void *)bin.section[RAG_DOCS];
	bin.dict = (const void *)bin.section[RAG_DICT];
	bin.n_frames = bin.len[RAG_FRAMES] / sizeof(struct rag_bin_frame);
	*out = bin;
	return 0;
}

/* order of term ${i} and ${word}; INT_MIN-like: -2 when the dictionary is damaged there */
static int term_order(const struct rag_bin *bin, size_t i, const char *word, size_t len)
{
	const struct rag_bin_term *t = &bin->dict[i];
	size_t n;
	int order;

	if (t[0].text > t[1].text || t[1].text > bin->len[RAG_TERMS])
		return -2;
	n = t[1].text - t[0].text;
	order = memcmp(bin->section[RAG_TERMS] + t->text, word, n < len ? n : len);
	if (order == 0)
		order = n < len ? -1 : n > len;
	return order < 0 ? -1 : order > 0;
}

int rag_bin_find(const struct rag_bin *bin, const char *word, size_t len, struct rag_post *post)
{
	size_t low = 0, high = bin->header->n_terms;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct rag_bin_term *t = &bin->dict[mid];
		int order = term_order(bin, mid, word, len);

		if (order == -2)
			return -EUCLEAN;
		if (order == 0) {
			if (t[0].post > t[1].post || t[1].post > bin->len[RAG_POST] ||
				t->df > bin->header->n_docs || t->df == 0)
				return -EUCLEAN;
			rag_post_init(post, bin->section[RAG_POST] + t->post, t[1].post - t->post,
				t->df, bin->header->n_docs);
			return 1;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

int rag_bin_path(const struct rag_bin *bin, uint32_t doc, const char **path, size_t *len)
{
	const struct rag_bin_doc *d = &bin->docs[doc];

	if (d->path > bin->len[RAG_PATHS_TEXT] || d->path_len > bin->len[RAG_PATHS_TEXT] - d->path)
		return -EUCLEAN;
	*path = (const char *)bin->section[RAG_PATHS_TEXT] + d->path;
	*len = d->path_len;
	return 0;
}

int rag_bin_text(
	const struct rag_bin *bin, uint32_t doc, struct buf *frame, const char **text, size_t *len)
{
	const struct rag_bin_doc *d = &bin->docs[doc];
	const struct rag_bin_frame *f;
	const unsigned char *packed;

	if (d->frame == RAG_NO_FRAME)
		return -ENODATA;
	if (d->frame >= bin->n_frames)
		return -EUCLEAN;
	f = (const struct rag_bin_frame *)(const void *)bin->section[RAG_FRAMES] + d->frame;
	if (f->offset > bin->len[RAG_STORE] || f->packed > bin->len[RAG_STORE] - f->offset ||
		d->frame_pos > f->raw || d->text_len > f->raw - d->frame_pos ||
		f->raw > 3u * RAG_FILE_BYTES_MAX + RAG_FRAME_BYTES)
		return -EUCLEAN;
	packed = bin->section[RAG_STORE] + f->offset;
	if (ZSTD_getFrameContentSize(packed, f->packed) != f->raw)
		return -EUCLEAN;
	buf_reset(frame);
	if (buf_reserve(frame, f->raw) < 0)
		return -ENOMEM;
	if (ZSTD_decompress(frame->data, f->raw, packed, f->packed) != f->raw)
		return -EUCLEAN;
	*text = frame->data + d->frame_pos;
	*len = d->text_len;
	return 0;
}

void rag_bin_generation(const struct rag_bin_header *header, char out[XXH3_HEX_BYTES])
{
	hex_encode(header->generation, sizeof(header->generation), out);
}
