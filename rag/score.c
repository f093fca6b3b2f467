/*
 * score - see rank.h. Documents are walked upwards in windows that end where a block of an
 * essential list ends.
 *
 * A list is essential if a document without it and all stronger ones might still be among the best;
 * a document in none of the essential lists cannot be. In each window the maxima of the blocks
 * there decide again. One essential list is walked, and the others are probed, the strongest first;
 * several are summed up in an array of the window. Those sums are floats: what they leave over is
 * scored again as the formula says.
 */
#include "score.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_better(const struct rag_hit *a, const struct rag_hit *b)
{
	return a->score > b->score || (a->score == b->score && a->doc < b->doc);
}

static void sink(struct rag_hit *heap, size_t n, size_t i)
{
	for (;;) {
		size_t worst = i, child = 2 * i + 1;
		struct rag_hit swap;

		for (size_t c = child; c < child + 2 && c < n; c++)
			if (is_better(&heap[worst], &heap[c]))
				worst = c;
		if (worst == i)
			return;
		swap = heap[i];
		heap[i] = heap[worst];
		heap[worst] = swap;
		i = worst;
	}
}

static int hit_compare(const void *a, const void *b)
{
	return is_better(b, a) ? 1 : -1;
}

/* the place of ${doc} in the block of the list where it would stand, or -1 */
static int place_of(struct rag_cursor *cur, uint32_t doc)
{
	uint32_t pos = 0, n;

	if (!rag_cursor_shallow(cur, doc) || cur->low > doc || !rag_cursor_load(cur))
		return -1;
	n = cur->n;
	for (uint32_t step = RAG_BLOCK / 2; step; step /= 2)
		if (pos + step < n && cur->doc[pos + step] <= doc)
			pos += step;
	return cur->doc[pos] == doc ? (int)pos : -1;
}

static bool is_wanted(struct ranking *rk, uint32_t doc)
{
	for (size_t i = 0; i < rk->n_nots; i++)
		if (place_of(&rk->nots[i].cur, doc) >= 0)
			return false;
	return !rk->ask->accept || rk->ask->accept(rk->ask->arg, doc);
}

/* the formula, term by term in the order of the question */
static double exact_score(struct ranking *rk, uint32_t doc)
{
	uint32_t len = rk->lens[doc];
	double score = 0;

	for (size_t i = 0; i < rk->n; i++) {
		struct list *ls = &rk->lists[i];
		int at = place_of(&ls->cur, doc);

		if (at >= 0 && rag_cursor_load_tf(&ls->cur))
			score += ls->weight * rag_weight(&rk->bm, ls->idf, ls->cur.tf[at], len);
	}
	return score;
}

static void consider(struct ranking *rk, uint32_t doc)
{
	struct rag_hit hit = {.doc = doc};

	if (!rag_bin_len_good(rk->bin, doc)) {
		rk->is_damaged = true;
		return;
	}
	hit.score = exact_score(rk, doc);
	if (hit.score <= rk->threshold || (rk->ask->after && !is_better(rk->ask->after, &hit)) ||
		!is_wanted(rk, doc))
		return;
	if (rk->n_heap < rk->ask->k) {
		rk->heap[rk->n_heap++] = hit;
		if (rk->n_heap < rk->ask->k)
			return;
		for (size_t i = rk->n_heap / 2; i-- > 0;)
			sink(rk->heap, rk->n_heap, i);
	} else {
		rk->heap[0] = hit;
		sink(rk->heap, rk->n_heap, 0);
	}
	if (!(rk->heap[0].score < rk->threshold))
		ranking_threshold(rk, rk->heap[0].score);
}

/* about what a pair adds */
static inline float about(
	const struct ranking *rk, const struct list *ls, uint32_t tf, uint32_t doc)
{
	float x = (float)tf;

	return ls->scale * x / (x + rk->c0 + rk->c1 * (float)rk->lens[doc]);
}

/* a document with the sum ${s} of the essential lists: is it worth scoring? */
static void probe(struct ranking *rk, uint32_t doc, float s, float rest)
{
	for (size_t i = 0; i < rk->n_others; i++) {
		struct list *ls = rk->others[i];
		int at;

		if (s + rest <= rk->low)
			return;
		rest -= (float)ls->window;
		at = place_of(&ls->cur, doc);
		if (at < 0)
			continue;
		if (!rag_cursor_load_tf(&ls->cur))
			break;
		s += about(rk, ls, ls->cur.tf[at], doc);
	}
	if (!(s <= rk->low))
		consider(rk, doc);
}

static float sum_of_others(const struct ranking *rk)
{
	double sum = 0;

	for (size_t i = 0; i < rk->n_others; i++)
		sum += rk->others[i]->window;
	/* above, so that taking the parts away one by one leaves no less than is left */
	return (float)(sum * (2 - rk->slack));
}

/* the first place in the block whose document is not below ${from} */
static uint32_t first_place(const struct rag_cursor *cur, uint32_t from)
{
	uint32_t pos = 0;

	if (cur->doc[0] >= from)
		return 0;
	for (uint32_t step = RAG_BLOCK / 2; step; step /= 2)
		if (pos + step < cur->n && cur->doc[pos + step] < from)
			pos += step;
	return pos + 1;
}

static void walk_one(struct ranking *rk, struct list *ls, uint32_t from, uint32_t last)
{
	struct rag_cursor *cur = &ls->cur;
	float rest = sum_of_others(rk);

	if (!rag_cursor_load(cur) || !rag_cursor_load_tf(cur))
		return;
	for (uint32_t pos = first_place(cur, from); pos < cur->n && cur->doc[pos] <= last; pos++) {
		uint32_t doc = cur->doc[pos];
		float s;

		if (!rag_bin_len_good(rk->bin, doc)) {
			rk->is_damaged = true;
			return;
		}
		s = about(rk, ls, cur->tf[pos], doc);
		if (!(s + rest <= rk->low))
			probe(rk, doc, s, rest);
	}
}

static void add_window(struct ranking *rk, struct list *ls, uint32_t from, uint32_t last)
{
	struct rag_cursor *cur = &ls->cur;

	if (cur->low > last || !rag_cursor_load(cur) || !rag_cursor_load_tf(cur))
		return;
	for (uint32_t pos = first_place(cur, from); pos < cur->n && cur->doc[pos] <= last; pos++) {
		uint32_t doc = cur->doc[pos], at = doc - from;

		rk->sum[at] += about(rk, ls, cur->tf[pos], doc);
		rk->seen[at / 64] |= 1ULL << at % 64;
	}
}

static void walk_several(struct ranking *rk, uint32_t from, uint32_t last)
{
	float rest = sum_of_others(rk);

	if (!rag_bin_good(rk->bin, &rk->lens[from], (size_t)(last - from + 1) * sizeof(uint32_t))) {
		rk->is_damaged = true;
		return;
	}
	for (size_t i = 0; i < rk->n_scoring; i++)
		if (rk->by_max[i]->is_essential)
			add_window(rk, rk->by_max[i], from, last);
	for (uint32_t w = 0; w <= (last - from) / 64; w++) {
		uint64_t bits = rk->seen[w];

		rk->seen[w] = 0;
		for (; bits; bits &= bits - 1) {
			uint32_t at = w * 64 + (uint32_t)__builtin_ctzll(bits);
			float s = rk->sum[at];

			rk->sum[at] = 0;
			if (!(s + rest <= rk->low))
				probe(rk, from + at, s, rest);
		}
	}
}

static bool is_over(const struct list *ls)
{
	return ls->cur.block >= ls->cur.n_blocks;
}

/* how many of the weakest lists no document can do with alone */
static size_t count_weak(const struct ranking *rk)
{
	double sum = 0;
	size_t n = 0;

	while (n < rk->n_scoring && (sum += rk->by_max[n]->max) <= rk->threshold)
		n++;
	return n;
}

/* the lists of a window that must be probed only, among those that are not weak as such; the bounds
 * of all lists are set. The number of essential ones left */
static size_t choose(struct ranking *rk, size_t weak, uint32_t last)
{
	size_t n = 0, left = 0;
	double sum = 0;

	for (size_t i = 0; i < rk->n_scoring; i++) {
		struct list *ls = rk->by_max[i];
		struct rag_cursor *cur = &ls->cur;

		ls->window = is_over(ls) || cur->low > last
				     ? 0
				     : (double)(i < weak ? rag_cursor_max_until(cur, last)
							 : rag_cursor_max(cur)) *
					       ls->step;
		ls->is_essential = false;
		if (ls->window > 0 || ls->step == INFINITY) {
			size_t at = n++;

			for (; at > 0 && rk->others[at - 1]->window > ls->window; at--)
				rk->others[at] = rk->others[at - 1];
			rk->others[at] = ls;
			ls->is_essential = i >= weak;
		}
	}
	/* weakest first here: as many as fit below the threshold are not essential; a list that is
	 * weak as such is never made essential, for its block may end before the window */
	for (size_t i = 0; i < n; i++)
		if (!rk->others[i]->is_essential)
			sum += rk->others[i]->window;
	for (size_t i = 0; i < n; i++) {
		struct list *ls = rk->others[i];

		if (ls->is_essential && sum + ls->window <= rk->threshold) {
			sum += ls->window;
			ls->is_essential = false;
		}
		left += ls->is_essential;
	}
	rk->n_others = 0;
	for (size_t i = 0; i < n; i++)
		if (!rk->others[i]->is_essential)
			rk->others[rk->n_others++] = rk->others[i];
	for (size_t i = 0; i < rk->n_others / 2; i++) {
		struct list *swap = rk->others[i];

		rk->others[i] = rk->others[rk->n_others - 1 - i];
		rk->others[rk->n_others - 1 - i] = swap;
	}
	return left;
}

/* where the next window begins and ends; false: no document is left */
static bool next_window(struct ranking *rk, size_t weak, uint32_t *from, uint32_t *last)
{
	uint32_t low = RAG_NO_DOC, end = *last;
	size_t alive = 0;

	for (size_t i = weak; i < rk->n_scoring; i++) {
		struct rag_cursor *cur = &rk->by_max[i]->cur;

		if (!rag_cursor_shallow(cur, *from))
			continue;
		alive++;
		low = cur->low < low ? cur->low : low;
	}
	if (alive == 0 || low > *last)
		return false;
	if (low > *from)
		*from = low;
	for (size_t i = weak; i < rk->n_scoring; i++) {
		struct rag_cursor *cur = &rk->by_max[i]->cur;

		if (is_over(rk->by_max[i]))
			continue;
		/* a block that begins behind ends the window too */
		if (cur->low > *from)
			end = cur->low - 1 < end ? cur->low - 1 : end;
		else
			end = cur->last < end ? cur->last : end;
	}
	*last = end;
	return true;
}

static void walk_range(struct ranking *rk, uint32_t from, uint32_t to)
{
	while (from < to && !rk->is_damaged) {
		uint32_t last = to - 1;
		size_t weak = count_weak(rk), left;

		if (weak == rk->n_scoring || !next_window(rk, weak, &from, &last))
			return;
		for (size_t i = 0; i < weak; i++)
			rag_cursor_shallow(&rk->by_max[i]->cur, from);
		left = choose(rk, weak, last);
		if (left > 1) {
			if (last - from >= RANKING_WINDOW)
				last = from + RANKING_WINDOW - 1;
			walk_several(rk, from, last);
		} else if (left == 1) {
			for (size_t i = weak; i < rk->n_scoring; i++)
				if (rk->by_max[i]->is_essential)
					walk_one(rk, rk->by_max[i], from, last);
		}
		from = last + 1;
	}
}

/* documents that all required terms stand in */
static void walk_musts(struct ranking *rk, uint32_t from, uint32_t to)
{
	while (from < to && !rk->is_damaged) {
		uint32_t doc = from;

		for (size_t i = 0; i < rk->n + rk->n_musts && doc == from; i++) {
			struct list *ls = i < rk->n ? &rk->lists[i] : &rk->musts[i - rk->n];

			if (ls->is_must)
				doc = rag_cursor_seek(&ls->cur, from);
		}
		if (doc >= to)
			return;
		if (doc == from) {
			consider(rk, doc);
			doc++;
		}
		from = doc;
	}
}

static bool any_damaged(const struct ranking *rk)
{
	for (size_t i = 0; i < rk->n; i++)
		if (rk->lists[i].cur.is_damaged)
			return true;
	for (size_t i = 0; i < rk->n_nots; i++)
		if (rk->nots[i].cur.is_damaged)
			return true;
	for (size_t i = 0; i < rk->n_musts; i++)
		if (rk->musts[i].cur.is_damaged)
			return true;
	return rk->is_damaged;
}

static int walk_all(struct ranking *rk)
{
	struct rag_range all = {0, (uint32_t)rk->bin->header->n_docs};
	const struct rag_range *ranges = rk->ask->n_ranges ? rk->ask->ranges : &all;
	size_t n = rk->ask->n_ranges ? rk->ask->n_ranges : 1;

	for (size_t i = 0; i < n; i++) {
		uint32_t to = ranges[i].to < all.to ? ranges[i].to : all.to;

		if (rk->has_must)
			walk_musts(rk, ranges[i].from, to);
		else
			walk_range(rk, ranges[i].from, to);
	}
	return any_damaged(rk) ? -EUCLEAN : 0;
}

int rag_rank(const struct rag_bin *bin, const struct rag_ask *ask, struct rag_hit **out, size_t *n)
{
	struct ranking *rk = malloc(sizeof(*rk));
	size_t room = ask->k < bin->header->n_docs ? ask->k : (size_t)bin->header->n_docs;
	struct rag_ask limited = *ask;
	int rc = -ENOMEM;

	if (!rk)
		return -ENOMEM;
	memset(rk, 0, offsetof(struct ranking, sum));
	memset(rk->sum, 0, sizeof(rk->sum));
	memset(rk->seen, 0, sizeof(rk->seen));
	limited.k = room;
	rk->bin = bin;
	rk->ask = &limited;
	rk->lens = bin->lens;
	rk->bm = (struct rag_bm25){
		.k1 = bin->header->k1, .b = bin->header->b, .avgdl = bin->header->avgdl};
	if (!ranking_is_odd(&rk->bm)) {
		rk->c0 = (float)(rk->bm.k1 * (1 - rk->bm.b));
		rk->c1 = (float)(rk->bm.k1 * rk->bm.b / rk->bm.avgdl);
	}
	rk->heap = malloc((room + 1) * sizeof(*rk->heap));
	rk->lists = malloc((3 * ask->n + 1) * sizeof(*rk->lists));
	rk->by_max = malloc((2 * ask->n + 1) * sizeof(*rk->by_max));
	if (rk->heap && rk->lists && rk->by_max) {
		rk->others = rk->by_max + ask->n;
		rc = room ? ranking_look_up(rk) : 0;
		if (rc > 0)
			rc = walk_all(rk);
	}
	if (rc == 0) {
		qsort(rk->heap, rk->n_heap, sizeof(*rk->heap), hit_compare);
		*out = rk->heap;
		*n = rk->n_heap;
		rk->heap = NULL;
	}
	free(rk->heap);
	free(rk->lists);
	free(rk->by_max);
	free(rk);
	return rc;
}
