/*
 * chunk - cuts an extracted text into pieces: at headings, records and pages, and where a part is
 * long, at a paragraph, a line or a sentence near the wished size.
 */
#ifndef KOLM_RAG_CHUNK_H
#define KOLM_RAG_CHUNK_H

#include "extract.h"

enum {
	RAG_CHUNK_PARAGRAPH = 1600, /* bytes behind which a paragraph's end is a good place */
	RAG_CHUNK_LINE = 2400,
	RAG_CHUNK_SENTENCE = 3200,
	RAG_CHUNK_MAX = 4800,
	RAG_CHUNK_BODY = 64, /* a part with less is not alone: the next heading goes with it */
};

struct rag_chunk {
	size_t start, end;	 /* of ex->text, without empty lines around */
	const struct buf *title; /* its headings, outermost first, " > " between; borrowed */
	uint64_t from, to;	 /* lines or pages, from 1; 0: not known */
};

/* rag_chunks(ex, each, arg): call ${each} for the pieces in order. -ENOMEM, or what ${each}
 * returned below zero. */
typedef int rag_chunk_each(void *arg, const struct rag_chunk *ck);
int rag_chunks(const struct rag_extract *ex, rag_chunk_each *each, void *arg);

#endif
