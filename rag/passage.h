/*
 * passage - the piece of a kolm-2 document that is shown with a hit: the window that covers most of
 * what the question asks for, by idf, from the start of a sentence where one is near.
 */
#ifndef KOLM_RAG_PASSAGE_H
#define KOLM_RAG_PASSAGE_H

#include "plan.h"

enum {
	RAG_PASSAGE_BYTES = 280, /* of text shown, about */
	RAG_PASSAGE_TERMS = 64,	 /* of the question that are looked for */
};

struct rag_passage {
	size_t start, end; /* bytes of the text */
};

/*
 * rag_passage_find(pl, values, text, len, out): ${values}: what each want of ${pl} is worth, 0 for
 * those not to be looked for. Without a hit the text's beginning. -ENOMEM.
 */
int rag_passage_find(struct rag_plan *pl, const double *values, const char *text, size_t len,
	struct rag_passage *out);

/* rag_passage_put(text, len, pg, out): append it, white space collapsed, with "…" where it was cut.
 * -ENOMEM. */
int rag_passage_put(const char *text, size_t len, struct rag_passage pg, struct buf *out);

#endif
