/*
 * rank - the best documents for some weighted terms, exactly.
 *
 * Scores are summed in the order of the terms, by the formula as it is written (bm25.h), so their
 * bits are those of any other implementation; equal scores keep id order. What cannot be among the
 * best is passed over by upper bounds (MaxScore with block maxima); bounds and sums that decide
 * what to look at are rounded away from skipping, so they never change an answer.
 */
#ifndef KOLM_RAG_RANK_H
#define KOLM_RAG_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rag_bin;
struct rag_terms;

struct rag_hit {
	double score;
	uint32_t doc;
};

enum rag_need { RAG_SHOULD, RAG_MUST, RAG_NOT };

struct rag_want {
	const char *word; /* borrowed */
	size_t len;
	double weight; /* times its BM25 weight; 1, or 0 to filter only. Not negative */
	enum rag_need need;
};

struct rag_range {
	uint32_t from, to; /* ids [from, to) */
};

struct rag_ask {
	const struct rag_want *wants; /* of words that differ */
	size_t n, k;
	const struct rag_range *ranges; /* ascending, apart; none: all documents */
	size_t n_ranges;
	/* NULL, or: may this one be shown? Asked in ascending id order, of documents good enough
	 * only */
	bool (*accept)(void *arg, uint32_t doc);
	void *arg;
	const struct rag_hit *after; /* NULL, or: only what ranks behind it */
};

/* rag_rank(bin, ask, out, n): the best ask->k documents with a wanted term, best first; ${out} is
 * owned by the caller. -ENOMEM, -EUCLEAN (rag_bin_what() says what). */
int rag_rank(const struct rag_bin *bin, const struct rag_ask *ask, struct rag_hit **out, size_t *n);

/* rag_rank_words(bin, words, k, out, n): the same for the words of a question, each with weight 1.
 */
int rag_rank_words(const struct rag_bin *bin, const struct rag_terms *words, size_t k,
	struct rag_hit **out, size_t *n);

#endif
