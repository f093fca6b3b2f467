/* score_lists - what a question asks for, looked up in the dictionary, and what can be said of its
 * best answers before any list is read. */
#include "score.h"

#include <math.h>
#include <stdlib.h>

bool ranking_is_odd(const struct rag_bm25 *bm)
{
	return !(bm->k1 <= 1e4) || !(bm->avgdl >= 1e-3) || !(bm->avgdl <= 1e12);
}

static void list_init(struct ranking *rk, struct list *ls, const struct rag_want *want,
	const struct rag_entry *en)
{
	ls->idf = rag_idf(rk->bin->header->n_docs, en->df);
	ls->weight = want->weight;
	ls->is_must = want->need == RAG_MUST;
	ls->scale = (float)(ls->weight * ls->idf * (rk->bm.k1 + 1));
	ls->step = ls->weight * ls->idf * (rk->bm.k1 + 1) / RAG_MAX_STEPS * (1 + 1e-9);
	if (ranking_is_odd(&rk->bm)) /* nothing is known of it: everything is scored */
		ls->step = ls->scale = INFINITY;
	ls->max = (double)en->max * ls->step;
	rag_cursor_init(&ls->cur, rk->bin, en);
}

/* ten, or a hundred, documents reach this by one term alone */
static double sure_of(const struct ranking *rk, const struct list *ls, const struct rag_entry *en)
{
	uint32_t steps = rk->ask->k <= 10 ? en->tenth : rk->ask->k <= 100 ? en->hundredth : 0;

	if (rk->ask->n_ranges || rk->ask->accept || rk->ask->after || rk->n_nots || steps == 0 ||
		rk->has_must || ranking_is_odd(&rk->bm))
		return -1;
	return ls->step * steps * (1 - 1e-8);
}

static int list_compare(const void *a, const void *b)
{
	const struct list *x = *(struct list *const *)a, *y = *(struct list *const *)b;

	return x->max < y->max ? -1 : x->max > y->max ? 1 : (x > y) - (x < y);
}

/* what the question has at all */
struct kinds {
	bool has_words, has_scoring;
};

static struct kinds count_kinds(struct ranking *rk)
{
	struct kinds kinds = {false, false};

	for (size_t i = 0; i < rk->ask->n; i++) {
		const struct rag_want *want = &rk->ask->wants[i];

		rk->has_must |= want->need == RAG_MUST;
		rk->n_nots += want->need == RAG_NOT;
		kinds.has_words |= want->need == RAG_SHOULD && want->weight > 0;
		kinds.has_scoring |= want->need == RAG_MUST && want->weight > 0;
	}
	return kinds;
}

/* the list of a term that is there; NULL: it neither scores nor filters */
static struct list *list_of(struct ranking *rk, const struct rag_want *want, size_t *n_nots)
{
	if (want->need == RAG_NOT)
		return &rk->nots[(*n_nots)++];
	if (want->weight > 0)
		return &rk->lists[rk->n++];
	return want->need == RAG_MUST ? &rk->musts[rk->n_musts++] : NULL;
}

int ranking_look_up(struct ranking *rk)
{
	struct kinds kinds = count_kinds(rk);
	double sure = -1;

	rk->slack = 1 - 1e-6 * (double)(rk->ask->n + 8);
	rk->nots = rk->lists + rk->ask->n;
	rk->musts = rk->nots + rk->ask->n;
	for (size_t i = 0, n_nots = 0; i < rk->ask->n; i++) {
		const struct rag_want *want = &rk->ask->wants[i];
		struct rag_entry en;
		struct list *ls;
		double x;
		int rc = rag_bin_find(rk->bin, want->word, want->len, &en);

		if (rc < 0)
			return rc;
		if (rc == 0 && want->need == RAG_MUST)
			return 0;
		if (rc == 0) {
			rk->n_nots -= want->need == RAG_NOT;
			continue;
		}
		ls = list_of(rk, want, &n_nots);
		if (!ls)
			continue;
		list_init(rk, ls, want, &en);
		x = ls >= rk->nots ? -1 : sure_of(rk, ls, &en);
		sure = x > sure ? x : sure;
	}
	for (size_t i = 0; i < rk->n; i++)
		rk->by_max[rk->n_scoring++] = &rk->lists[i];
	qsort(rk->by_max, rk->n_scoring, sizeof(struct list *), list_compare);
	/* what only filters does not answer a question that also has words */
	if (rk->has_must && kinds.has_words && !kinds.has_scoring && sure < 0)
		sure = 0;
	ranking_threshold(rk, sure);
	return rk->n + rk->n_musts > 0;
}
