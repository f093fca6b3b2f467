/* bin_terms - the terms held in memory, into an index.bin. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bin.h"
#include "post.h"

/* what the comparison looks into: qsort_r's argument */
static int term_compare(const void *a, const void *b, void *arg)
{
	const struct rag_terms *ts = arg;
	const struct rag_term *x = &ts->at[*(const uint32_t *)a],
			      *y = &ts->at[*(const uint32_t *)b];
	int order = memcmp(ts->text.data + x->text, ts->text.data + y->text,
		x->len < y->len ? x->len : y->len);

	return order ? order : (int)x->len - (int)y->len;
}

int rag_writer_all(struct rag_writer *w, const struct rag_terms *ts, struct err *err)
{
	uint32_t *order = malloc((ts->n + 1) * sizeof(*order));
	int rc = 0;

	if (!order)
		return err_nomem(err);
	for (size_t i = 0; i < ts->n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, ts->n, sizeof(*order), term_compare, (void *)(uintptr_t)ts);
	for (size_t i = 0; rc == 0 && i < ts->n; i++) {
		const struct rag_term *t = &ts->at[order[i]];
		struct rag_post ps;

		if (t->df == 0)
			continue;
		rag_post_init(&ps, t->post, t->post_len, t->df, w->header.n_docs);
		while (rc == 0 && rag_post_next(&ps))
			rc = rag_writer_pair(w, ps.doc, ps.tf, err);
		if (rc == 0)
			rc = rag_writer_term(w, rag_terms_text(ts, order[i]), t->len, t->rank, err);
	}
	free(order);
	return rc;
}
