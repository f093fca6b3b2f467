/* ranges - the documents whose path begins as a question says. They stand in the order of their
 * paths, so each such beginning is one range. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "plan.h"

struct prefix {
	const char *text;
	size_t len;
};

static struct prefix plain(const char *text, size_t len)
{
	if (len >= 2 && text[0] == '.' && text[1] == '/') {
		text += 2;
		len -= 2;
	}
	while (len > 0 && text[0] == '/') {
		text++;
		len--;
	}
	return (struct prefix){text, len};
}

static bool begins(const char *path, size_t len, struct prefix pre)
{
	return len >= pre.len && memcmp(path, pre.text, pre.len) == 0;
}

/* the first document from ${low} on whose path is not below ${pre}, or, ${behind}, that does not
 * begin with it */
static int bound(
	const struct rag_bin *bin, uint32_t low, struct prefix pre, bool behind, uint32_t *out)
{
	uint32_t high = (uint32_t)bin->header->n_docs;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const char *path;
		size_t len;
		int rc = rag_bin_path(bin, mid, &path, &len);

		if (rc < 0)
			return rc;
		if (behind ? begins(path, len, pre)
			   : utf16_compare(path, len, pre.text, pre.len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*out = low;
	return 0;
}

static int range_of(const struct rag_bin *bin, struct prefix pre, struct rag_range *out)
{
	int rc = bound(bin, 0, pre, false, &out->from);

	return rc < 0 ? rc : bound(bin, out->from, pre, true, &out->to);
}

static int add_range(struct rag_plan *pl, uint32_t from, uint32_t to)
{
	struct rag_range *ranges;

	if (from >= to)
		return 0;
	ranges = reallocarray(pl->ranges, pl->n_ranges + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	pl->ranges = ranges;
	ranges[pl->n_ranges++] = (struct rag_range){from, to};
	return 0;
}

static int range_compare(const void *a, const void *b)
{
	const struct rag_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

static void join(struct rag_plan *pl)
{
	size_t n = 0;

	if (pl->n_ranges == 0)
		return;
	qsort(pl->ranges, pl->n_ranges, sizeof(*pl->ranges), range_compare);
	for (size_t i = 1; i < pl->n_ranges; i++) {
		if (pl->ranges[i].from > pl->ranges[n].to)
			pl->ranges[++n] = pl->ranges[i];
		else if (pl->ranges[i].to > pl->ranges[n].to)
			pl->ranges[n].to = pl->ranges[i].to;
	}
	pl->n_ranges = n + 1;
}

/* keep (or leave out) one range of those there are */
static int narrow(struct rag_plan *pl, struct rag_range by, bool is_not)
{
	struct rag_range *was = pl->ranges;
	size_t n = pl->n_ranges;
	int rc = 0;

	pl->ranges = NULL;
	pl->n_ranges = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint32_t from = was[i].from, to = was[i].to;

		if (is_not) {
			rc = add_range(pl, from, to < by.from ? to : by.from);
			if (rc == 0)
				rc = add_range(pl, from > by.to ? from : by.to, to);
		} else {
			rc = add_range(
				pl, from > by.from ? from : by.from, to < by.to ? to : by.to);
		}
	}
	free(was);
	return rc;
}

int rag_plan_paths(
	struct rag_plan *pl, const struct rag_question *q, const char *path, size_t path_len)
{
	const struct rag_bin *bin = &pl->ix->bin;
	struct rag_range range;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < q->n; i++) {
		if (q->at[i].kind != RAG_CLAUSE_PATH || q->at[i].need == RAG_NOT)
			continue;
		pl->is_ranged = true;
		rc = range_of(bin, plain(q->at[i].text, q->at[i].len), &range);
		if (rc == 0)
			rc = add_range(pl, range.from, range.to);
	}
	join(pl);
	if (rc == 0 && !pl->is_ranged)
		rc = add_range(pl, 0, (uint32_t)bin->header->n_docs);
	for (size_t i = 0; rc == 0 && i < q->n; i++) {
		if (q->at[i].kind != RAG_CLAUSE_PATH || q->at[i].need != RAG_NOT)
			continue;
		pl->is_ranged = true;
		rc = range_of(bin, plain(q->at[i].text, q->at[i].len), &range);
		if (rc == 0)
			rc = narrow(pl, range, true);
	}
	if (rc == 0 && path) {
		pl->is_ranged = true;
		rc = range_of(bin, plain(path, path_len), &range);
		if (rc == 0)
			rc = narrow(pl, range, false);
	}
	if (rc == 0 && !pl->is_ranged) /* all documents: the ranker need not look */
		pl->n_ranges = 0;
	return rc;
}
