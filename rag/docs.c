#include "docs.h"

#include <errno.h>
#include <string.h>

#include "build.h"

void rag_docs_init(struct rag_docs *dc, struct rag_writer *w, int tmpfd)
{
	*dc = (struct rag_docs){.writer = w};
	rag_spool_init(&dc->sources, tmpfd);
}

void rag_docs_release(struct rag_docs *dc)
{
	rag_spool_release(&dc->sources);
	buf_release(&dc->path);
	buf_release(&dc->content_frame);
	buf_release(&dc->names);
}

uint32_t rag_docs_next(const struct rag_docs *dc)
{
	return (uint32_t)dc->writer->header.n_docs + dc->n;
}

int rag_docs_source(
	struct rag_docs *dc, const struct rag_source *src, const char *name, struct err *err)
{
	dc->n_sources++;
	return rag_source_add(&dc->sources, src, name, err);
}

/* ${place}: in the frame that was put before, or SIZE_MAX: its text is put now */
static int put_doc(struct rag_docs *dc, struct rag_writer_doc *doc, const char *file, size_t place,
	struct err *err)
{
	buf_reset(&dc->path);
	if (rag_put_path(&dc->path, file) < 0)
		return err_nomem(err);
	doc->path = buf_str(&dc->path);
	doc->path_len = dc->path.len;
	return place == SIZE_MAX ? rag_writer_doc(dc->writer, doc, err)
				 : rag_writer_doc_in(dc->writer, doc, (uint32_t)place, err);
}

int rag_docs_new(struct rag_docs *dc, struct rag_writer_doc *doc, const char *file, uint32_t *id,
	struct err *err)
{
	int rc = rag_docs_end(dc, err);

	if (rc < 0)
		return rc;
	*id = (uint32_t)dc->writer->header.n_docs;
	return put_doc(dc, doc, file, SIZE_MAX, err);
}

static int bad_part(const struct rag_part *part, struct err *err)
{
	return rag_bin_what(part->bin, err);
}

/* what is known of an old document; its text when it is wanted */
static int read_old(struct rag_docs *dc, const struct rag_part *part, uint32_t old, bool with_text,
	struct rag_writer_doc *doc, struct rag_piece *piece, struct err *err)
{
	const struct rag_bin_doc *d = &part->bin->docs[old];

	if (!rag_bin_good(part->bin, d, sizeof(*d)) || !rag_bin_len_good(part->bin, old) ||
		rag_bin_piece(part->bin, old, piece) < 0)
		return bad_part(part, err);
	*doc = (struct rag_writer_doc){.words = part->bin->lens[old],
		.piece = part->bin->len[RAG_PIECES] ? piece : NULL,
		.text_len = d->text_len};
	memcpy(doc->content, d->content, sizeof(doc->content));
	if (!with_text)
		return 0;
	if (dc->frame_part != part || dc->frame != d->frame) {
		int rc = rag_bin_unpack(part->bin, d->frame, &dc->content_frame);

		dc->frame_part = NULL;
		if (rc < 0)
			return rc == -ENOMEM ? err_nomem(err) : bad_part(part, err);
		dc->frame_part = part;
		dc->frame = d->frame;
	}
	if (d->frame_pos > dc->content_frame.len ||
		d->text_len > dc->content_frame.len - d->frame_pos)
		return bad_part(part, err);
	doc->text = dc->content_frame.data + d->frame_pos;
	return 0;
}

static int put_old(struct rag_docs *dc, struct rag_part *part, uint32_t old, const char *file,
	bool is_in_frame, struct err *err)
{
	struct rag_writer_doc doc;
	struct rag_piece piece;
	int rc = read_old(dc, part, old, !is_in_frame, &doc, &piece, err);

	if (rc < 0)
		return rc;
	part->map[old] = (uint32_t)dc->writer->header.n_docs;
	return put_doc(
		dc, &doc, file, is_in_frame ? part->bin->docs[old].frame_pos : SIZE_MAX, err);
}

static bool is_first_of_frame(const struct rag_bin *bin, uint32_t doc)
{
	return doc == 0 || bin->docs[doc - 1].frame != bin->docs[doc].frame;
}

static bool is_last_of_frame(const struct rag_bin *bin, uint32_t doc)
{
	return doc + 1 == bin->header->n_docs || bin->docs[doc + 1].frame != bin->docs[doc].frame;
}

static const char *name_of(const struct rag_docs *dc, uint32_t i)
{
	return ((const char **)(void *)dc->names.data)[i];
}

/* those that waited did so in vain: one by one */
int rag_docs_end(struct rag_docs *dc, struct err *err)
{
	uint32_t n = dc->n;
	int rc = 0;

	dc->n = 0;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = put_old(dc, dc->part, dc->first + i, name_of(dc, i), false, err);
	buf_reset(&dc->names);
	return rc;
}

/* all documents of a frame wait: it is taken as it is */
static int take_frame(struct rag_docs *dc, struct err *err)
{
	const struct rag_bin *bin = dc->part->bin;
	struct rag_bin_frame f;
	uint32_t n = dc->n;
	int rc;

	if (rag_bin_frame(bin, bin->docs[dc->first].frame, &f) < 0)
		return bad_part(dc->part, err);
	dc->n = 0;
	rc = rag_writer_frame(dc->writer, bin->section[RAG_STORE] + f.offset, f.packed, f.raw, err);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = put_old(dc, dc->part, dc->first + i, name_of(dc, i), true, err);
	buf_reset(&dc->names);
	return rc;
}

int rag_docs_old(
	struct rag_docs *dc, struct rag_part *part, uint32_t old, const char *file, struct err *err)
{
	const struct rag_bin *bin = part->bin;
	const struct rag_bin_doc *d = &bin->docs[old];
	int rc = 0;

	if (old >= bin->header->n_docs || !rag_bin_good(bin, d, sizeof(*d)))
		return bad_part(part, err);
	if (dc->n && (dc->part != part || old != dc->first + dc->n))
		rc = rag_docs_end(dc, err);
	if (rc < 0)
		return rc;
	if (dc->n == 0) {
		if (!rag_writer_at_frame(dc->writer) || !is_first_of_frame(bin, old))
			return put_old(dc, part, old, file, false, err);
		dc->part = part;
		dc->first = old;
	}
	if (buf_add(&dc->names, &file, sizeof(file)) < 0)
		return err_nomem(err);
	dc->n++;
	if (!is_last_of_frame(bin, old))
		return 0;
	/* the last frame of all may have ended because the documents did */
	if (rag_frame_ends((size_t)d->frame_pos + d->text_len, d->content))
		return take_frame(dc, err);
	return rag_docs_end(dc, err);
}
