/*
 * docs - the documents of a new index, in order: to index.bin and to sources.bin. A document is
 * new, or taken from an older index; whole frames of its store are taken as they are where the same
 * documents stand in the same order.
 */
#ifndef KOLM_RAG_DOCS_H
#define KOLM_RAG_DOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bin.h"
#include "sources.h"
#include "spool.h"

/* index.json is not made when it would be longer: no reader of it can hold it (V8's longest text)
 */
#define RAG_JSON_BYTES_MAX 536870888ULL

/* an older index that documents are taken from */
struct rag_part {
	const struct rag_bin *bin;  /* borrowed */
	struct rag_sources sources; /* owned */
	uint32_t *map;		    /* owned: its documents in the new index, or RAG_NO_DOC */
};

struct rag_docs {
	struct rag_writer *writer; /* borrowed */
	struct rag_spool sources;
	uint32_t n_sources;
	struct buf path, content_frame;
	/* the text of a frame of an older index */
	const struct rag_part *frame_part;
	uint32_t frame;
	/* documents that wait to see whether all of their frame comes */
	struct rag_part *part;
	uint32_t first, n;
	struct buf names; /* const char *: their files */
};

void rag_docs_init(struct rag_docs *dc, struct rag_writer *w, int tmpfd);
void rag_docs_release(struct rag_docs *dc);

/* rag_docs_new(dc, doc, file, id, err): ${doc} is of the file ${file} (decoded, below the root).
 * Its path is made of that. */
int rag_docs_new(struct rag_docs *dc, struct rag_writer_doc *doc, const char *file, uint32_t *id,
	struct err *err);

/* rag_docs_old(dc, part, old, file, err): document ${old} of ${part}, unchanged; part->map gets its
 * number, at the latest when rag_docs_end() returns. ${file} must stay till then. */
int rag_docs_old(struct rag_docs *dc, struct rag_part *part, uint32_t old, const char *file,
	struct err *err);
int rag_docs_end(struct rag_docs *dc, struct err *err);

/* rag_docs_source(dc, src, name, err): the next file for sources.bin. */
int rag_docs_source(
	struct rag_docs *dc, const struct rag_source *src, const char *name, struct err *err);

/* rag_docs_next(dc): the number of the next document. */
uint32_t rag_docs_next(const struct rag_docs *dc);

#endif
