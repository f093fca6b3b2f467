/*
 * plan - what a question asks of an index: weighted terms for rank.h, ranges of documents, and what
 * only a look at a document can decide (a phrase, one of several words that must be there).
 *
 * In rag-bm25-1 the words of the question, each once and with weight 1; in kolm-2 the clauses of
 * lang.h through the analyser the index was made with.
 */
#ifndef KOLM_RAG_PLAN_H
#define KOLM_RAG_PLAN_H

#include "analyze.h"
#include "index.h"
#include "lang.h"

enum {
	RAG_WANTS_MAX = 1024,
	RAG_EXPAND_MAX = 64, /* words that a pre* or a word~ stands for */
	RAG_GROUPS_MAX = RAG_CLAUSES_MAX,
};

/* at least one of some terms must be there */
struct rag_group {
	size_t n;
	struct rag_entry *entries;  /* owned */
	struct rag_cursor *cursors; /* owned; set at the start of each ranking */
};

/* words side by side, of which the text itself is asked */
struct rag_phrase {
	struct buf terms; /* each with a NUL behind it */
	size_t n;
	bool is_not;
};

struct rag_plan {
	const struct rag_index *ix;
	bool is_kolm2;
	struct rag_analyzer an; /* kolm-2 */
	struct rag_terms words; /* owned texts of the wants, in their order */
	struct rag_want *wants; /* owned */
	size_t n, cap;
	struct rag_range *ranges;
	size_t n_ranges;
	bool is_ranged; /* only ranges count; none: no document */
	struct rag_group groups[RAG_GROUPS_MAX];
	size_t n_groups;
	struct rag_phrase phrases[RAG_CLAUSES_MAX];
	size_t n_phrases;
	struct buf frame; /* room for a document's text */
	int failed;	  /* what accept met: -ENOMEM, -EUCLEAN */
};

/* rag_plan_make(pl, ix, text, len, path, path_len, err): ${path}: only files whose path begins so;
 * NULL all. -EINVAL the question or too many terms; -EUCLEAN, -ENOMEM. Release in any case. */
int rag_plan_make(struct rag_plan *pl, const struct rag_index *ix, const char *text, size_t len,
	const char *path, size_t path_len, struct err *err);
void rag_plan_release(struct rag_plan *pl);

/* rag_plan_rank(pl, k, after, out, n): as rag_rank(). */
int rag_plan_rank(struct rag_plan *pl, size_t k, const struct rag_hit *after, struct rag_hit **out,
	size_t *n);

/* rag_plan_add(pl, term, len, weight, need): one more want, or more of one that is there. -E2BIG
 * above RAG_WANTS_MAX. */
int rag_plan_add(
	struct rag_plan *pl, const char *term, size_t len, double weight, enum rag_need need);

/* expand.c: rag_plan_prefix(pl, word, len, need), rag_plan_fuzzy(): the words of the dictionary
 * that a pre* or word~ stands for. */
int rag_plan_prefix(struct rag_plan *pl, const char *word, size_t len, enum rag_need need);
int rag_plan_fuzzy(struct rag_plan *pl, const char *word, size_t len, enum rag_need need);

/* phrase.c: rag_plan_accept(pl, doc): the accept() of rank.h. rag_plan_phrase(pl, text, len, need):
 * take in a phrase. */
bool rag_plan_accept(void *pl, uint32_t doc);
int rag_plan_phrase(struct rag_plan *pl, const char *text, size_t len, enum rag_need need);

/* ranges.c: rag_plan_paths(pl, q, path, path_len): the ranges of the path: clauses and of ${path}.
 */
int rag_plan_paths(
	struct rag_plan *pl, const struct rag_question *q, const char *path, size_t path_len);

#endif
