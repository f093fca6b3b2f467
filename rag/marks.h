/*
 * marks - a text folded as rag-bm25-1 does it (FORMATS 10.3), with a bit for each byte that is of a
 * word. Words begin and end where the bits change.
 */
#ifndef KOLM_RAG_MARKS_H
#define KOLM_RAG_MARKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	RAG_MARKS = 64,	    /* bytes of text that a word of marks is about */
	RAG_MARKS_PAD = 16, /* bytes behind the text that can be read */
};

struct rag_marks {
	struct buf text; /* in lower case, 0 for what separates */
	struct buf bits; /* uint64_t */
	size_t n;	 /* of these; the last bit is 0 */
};

void rag_marks_release(struct rag_marks *mk);
size_t rag_marks_bytes(const struct rag_marks *mk); /* memory held */

/* rag_marks_make(mk, text, len): instead of those before. -ENOMEM, also for 4 GiB. */
int rag_marks_make(struct rag_marks *mk, const char *text, size_t len);

const uint64_t *rag_marks_at(const struct rag_marks *mk);

#endif
