/*
 * answer - the text of an answer: hits as lines, paths or JSON, with what is shown of each
 * document. Only the documents shown are unpacked.
 */
#ifndef KOLM_RAG_ANSWER_H
#define KOLM_RAG_ANSWER_H

#include "plan.h"

struct rag_answer {
	struct rag_plan *pl;
	enum rag_format form;
	bool explain;
	struct rag_entry *entries;	    /* owned: of each want; df 0: not in the index */
	double *idf, *values;		    /* owned: of each want */
	struct rag_unpacked frame;	    /* that of the hit before often holds the next */
	struct buf whole, preview, excerpt; /* room */
	uint64_t from, to;		    /* lines (pages) of the excerpt; 0: not known */
	struct rag_piece piece;
};

/* rag_answer_init(an, pl, form, explain): -ENOMEM, -EUCLEAN. Release in any case. */
int rag_answer_init(struct rag_answer *an, struct rag_plan *pl, enum rag_format form, bool explain);
void rag_answer_release(struct rag_answer *an);

/* rag_answer_put(an, hits, n, out): append the whole answer. -ENOMEM, -EUCLEAN. */
int rag_answer_put(struct rag_answer *an, const struct rag_hit *hits, size_t n, struct buf *out);

#endif
