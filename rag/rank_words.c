/* rank_words - the plain question of rag-bm25-1: every word counts once. */
#include <errno.h>
#include <stdlib.h>

#include "rank.h"
#include "terms.h"

int rag_rank_words(const struct rag_bin *bin, const struct rag_terms *words, size_t k,
	struct rag_hit **out, size_t *n)
{
	struct rag_want *wants = calloc(words->n + 1, sizeof(*wants));
	struct rag_ask ask = {.wants = wants, .n = words->n, .k = k};
	int rc;

	if (!wants)
		return -ENOMEM;
	for (size_t i = 0; i < words->n; i++)
		wants[i] = (struct rag_want){
			.word = rag_terms_text(words, i), .len = words->at[i].len, .weight = 1};
	rc = rag_rank(bin, &ask, out, n);
	free(wants);
	return rc;
}
