/*
 * expand - the words of the dictionary that a pre* or a word~ stands for: at most RAG_EXPAND_MAX,
 * the nearest first, then those in most documents. Pairs and fields are passed over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { FUZZY_BYTES = 64, FUZZY_LONG = 6 }; /* letters from which on two may differ */

struct found {
	char word[RAG_MODE_TERM_BYTES + 1];
	size_t len;
	unsigned distance;
	struct rag_entry entry;
};

struct expansion {
	struct found *at; /* RAG_EXPAND_MAX, the best first */
	size_t n;
};

static bool is_nearer(const struct found *a, unsigned distance, uint32_t df)
{
	return a->distance < distance || (a->distance == distance && a->entry.df >= df);
}

static void keep(struct expansion *ex, const struct rag_dict_it *it, unsigned distance)
{
	size_t i = ex->n;

	while (i > 0 && !is_nearer(&ex->at[i - 1], distance, it->entry.df))
		i--;
	if (i == RAG_EXPAND_MAX)
		return;
	if (ex->n < RAG_EXPAND_MAX)
		ex->n++;
	memmove(&ex->at[i + 1], &ex->at[i], (ex->n - i - 1) * sizeof(*ex->at));
	ex->at[i].len = it->len;
	ex->at[i].distance = distance;
	ex->at[i].entry = it->entry;
	memcpy(ex->at[i].word, it->word, it->len + 1);
}

/* the next plain word; the pairs that begin with one are jumped over, a field's terms are not met
 * under a word's letters except as "title" or "ext", so they are left out one by one */
static int next_word(struct rag_dict_it *it)
{
	for (;;) {
		char *blank;
		int rc = rag_dict_next(it);

		if (rc <= 0)
			return rc;
		blank = memchr(it->word, ' ', it->len);
		if (blank) {
			char behind[RAG_MODE_TERM_BYTES + 1];
			size_t n = (size_t)(blank - it->word);

			memcpy(behind, it->word, n);
			behind[n] = ' ' + 1;
			rc = rag_dict_seek(it->bin, behind, n + 1, it);
			if (rc < 0)
				return rc;
		} else if (!memchr(it->word, ':', it->len)) {
			return 1;
		}
	}
}

/* of two words of bytes, or ${max} + 1 when it is more */
static unsigned edit_distance(const char *a, size_t an, const char *b, size_t bn, unsigned max)
{
	unsigned row[3][FUZZY_BYTES + 1], *before = row[0], *last = row[1], *now = row[2];

	if (an > FUZZY_BYTES || bn > FUZZY_BYTES || an > bn + max || bn > an + max)
		return max + 1;
	for (size_t j = 0; j <= bn; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= an; i++) {
		unsigned best = now[0] = (unsigned)i, *spare = before;

		for (size_t j = 1; j <= bn; j++) {
			unsigned d = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < d)
				d = last[j] + 1;
			if (now[j - 1] + 1 < d)
				d = now[j - 1] + 1;
			/* two letters in the wrong order are one slip */
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
			if (d < best)
				best = d;
		}
		if (best > max)
			return max + 1;
		before = last;
		last = now;
		now = spare;
	}
	return last[bn];
}

static int keep_group(struct rag_plan *pl, const struct expansion *ex)
{
	struct rag_group *gr = &pl->groups[pl->n_groups];

	if (pl->n_groups == RAG_GROUPS_MAX)
		return -E2BIG;
	gr->entries = calloc(ex->n + 1, sizeof(*gr->entries));
	gr->cursors = calloc(ex->n + 1, sizeof(*gr->cursors));
	if (!gr->entries || !gr->cursors) {
		free(gr->entries);
		free(gr->cursors);
		return -ENOMEM;
	}
	for (size_t i = 0; i < ex->n; i++)
		gr->entries[i] = ex->at[i].entry;
	gr->n = ex->n;
	pl->n_groups++;
	return 0;
}

static int take(struct rag_plan *pl, const struct expansion *ex, const char *word, size_t len,
	enum rag_need need)
{
	static const double by_distance[] = {1, 0.6, 0.4};
	bool is_group = need == RAG_MUST && ex->n > 1;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ex->n; i++)
		rc = rag_plan_add(pl, ex->at[i].word, ex->at[i].len,
			need == RAG_NOT ? 0 : by_distance[ex->at[i].distance],
			is_group ? RAG_SHOULD : need);
	if (rc == 0 && is_group)
		rc = keep_group(pl, ex);
	/* nothing begins so: the word itself, so that what must be there is not, and the question
	 * does not look empty */
	if (rc == 0 && ex->n == 0 && len <= RAG_MODE_TERM_BYTES)
		rc = rag_plan_add(pl, word, len, need == RAG_NOT ? 0 : 1, need);
	return rc;
}

static int expansion_init(struct expansion *ex)
{
	*ex = (struct expansion){.at = calloc(RAG_EXPAND_MAX + 1, sizeof(*ex->at))};
	return ex->at ? 0 : -ENOMEM;
}

int rag_plan_prefix(struct rag_plan *pl, const char *word, size_t len, enum rag_need need)
{
	struct buf pre = BUF_INIT;
	struct expansion ex;
	struct rag_dict_it it;
	int rc = expansion_init(&ex);

	if (rc == 0)
		rc = rag_analyze_word(&pl->an, word, len, false, &pre);
	if (rc == 0 && pre.len > 0 && pre.len <= RAG_MODE_TERM_BYTES)
		rc = rag_dict_seek(&pl->ix->bin, pre.data, pre.len, &it);
	else if (rc == 0)
		rc = -ENOENT;
	while (rc == 0 && (rc = next_word(&it)) == 1) {
		rc = 0;
		if (it.len < pre.len || memcmp(it.word, pre.data, pre.len) != 0)
			break;
		keep(&ex, &it, it.len == pre.len ? 0 : 1);
	}
	if (rc == 0)
		rc = take(pl, &ex, pre.data, pre.len, need);
	free(ex.at);
	buf_release(&pre);
	return rc == -ENOENT ? 0 : rc;
}

int rag_plan_fuzzy(struct rag_plan *pl, const char *word, size_t len, enum rag_need need)
{
	struct buf stem = BUF_INIT;
	struct expansion ex;
	struct rag_dict_it it;
	unsigned max;
	size_t first = 1;
	int rc = expansion_init(&ex);

	if (rc == 0)
		rc = rag_analyze_word(&pl->an, word, len, true, &stem);
	if (rc == 0 && (stem.len == 0 || stem.len > FUZZY_BYTES))
		rc = -ENOENT;
	max = stem.len >= FUZZY_LONG ? 2 : 1;
	/* the first letter must be right: the words under it are what is looked through */
	while (first < stem.len && ((unsigned char)stem.data[first] & 0xc0) == 0x80)
		first++;
	if (rc == 0)
		rc = rag_dict_seek(&pl->ix->bin, stem.data, first, &it);
	while (rc == 0 && (rc = next_word(&it)) == 1) {
		unsigned distance;

		rc = 0;
		if (it.len < first || memcmp(it.word, stem.data, first) != 0)
			break;
		distance = edit_distance(stem.data, stem.len, it.word, it.len, max);
		if (distance <= max)
			keep(&ex, &it, distance);
	}
	if (rc == 0)
		rc = take(pl, &ex, stem.data, stem.len, need);
	free(ex.at);
	buf_release(&stem);
	return rc == -ENOENT ? 0 : rc;
}
