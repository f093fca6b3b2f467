/*
 * score - a ranking while it is made: score_lists.c looks its lists up, score.c walks them.
 */
#ifndef KOLM_RAG_SCORE_H
#define KOLM_RAG_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bin.h"
#include "rank.h"

enum { RANKING_WINDOW = 4096 };

struct list {
	double idf, weight;
	double step;	    /* what one step of a maximum is worth, rounded up */
	double max, window; /* bounds: of the whole list; of the window */
	float scale;	    /* weight * idf * (k1 + 1) */
	bool is_essential;  /* in this window */
	bool is_must;
	struct rag_cursor cur;
};

struct ranking {
	const struct rag_bin *bin;
	const struct rag_ask *ask;
	struct rag_bm25 bm;
	float c0, c1;	      /* k1*(1-b), k1*b/avgdl */
	struct list *lists;   /* in the order of the question */
	struct list **by_max; /* those that score, weakest first */
	struct list **others; /* room: of a window, those to be probed, strongest first */
	size_t n, n_scoring, n_others;
	struct list *nots, *musts; /* that only filter */
	size_t n_nots, n_musts;
	bool has_must;
	struct rag_hit *heap; /* the worst of the best on top */
	size_t n_heap;
	double threshold; /* a document must be above it; -1: none yet */
	float low;	  /* the same for sums of floats, rounded down */
	double slack;	  /* 1 - what floats may be wrong by */
	const uint32_t *lens;
	bool is_damaged;
	float sum[RANKING_WINDOW];
	uint64_t seen[RANKING_WINDOW / 64];
};

/* ranking_threshold(rk, threshold): from now on a document must be above it. */
static inline void ranking_threshold(struct ranking *rk, double threshold)
{
	rk->threshold = threshold;
	rk->low = (float)(threshold * (threshold > 0 ? rk->slack : 1));
}

/* ranking_is_odd(bm): parameters of which no bound is known: everything is scored. */
bool ranking_is_odd(const struct rag_bm25 *bm);

/* ranking_look_up(rk): the lists of what is asked, and the threshold they are sure to reach. 1:
 * there is something to walk; 0: no document can be wanted; -EUCLEAN. */
int ranking_look_up(struct ranking *rk);

#endif
