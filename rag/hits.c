/* hits - where in a text the words of a question stand, to be shown there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "tokenize.h"

struct marking {
	const struct rag_plan *pl;
	unsigned char *is_hit; /* of each byte */
};

static bool is_wanted(const struct rag_plan *pl, const char *word, size_t len)
{
	for (size_t i = 0; i < pl->n; i++) {
		const struct rag_want *w = &pl->wants[i];

		if (w->need != RAG_NOT && w->len == len && memcmp(w->word, word, len) == 0)
			return true;
	}
	return false;
}

static int mark_token(void *arg, const struct rag_token *tk)
{
	struct marking *mk = arg;

	/* a pair of words is its words */
	if (tk->kind != RAG_TOKEN_PAIR && is_wanted(mk->pl, tk->term, tk->len))
		memset(mk->is_hit + tk->start, 1, tk->end - tk->start);
	return 0;
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* rag-bm25-1: runs of ASCII, in any case */
static void mark_words(struct marking *mk, const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n + 1) {
		struct rag_words ws;

		for (n = 0; i + n < len && is_word_char(text[i + n]); n++)
			;
		rag_words_init(&ws, text + i, n);
		if (rag_words_next(&ws) && is_wanted(mk->pl, ws.word, ws.word_len))
			memset(mk->is_hit + i, 1, n);
	}
}

int rag_hits(const struct rag_index *ix, const char *question, size_t question_len,
	const char *text, size_t len, struct buf *out)
{
	struct rag_plan pl;
	struct marking mk = {.pl = &pl, .is_hit = calloc(len + 1, 1)};
	int rc =
		mk.is_hit ? rag_plan_make(&pl, ix, question, question_len, NULL, 0, NULL) : -ENOMEM;

	if (!mk.is_hit)
		return rc;
	if (rc == 0 && pl.is_kolm2)
		rc = rag_analyze(&pl.an, text, len, mark_token, &mk);
	else if (rc == 0)
		mark_words(&mk, text, len);
	for (size_t i = 0; rc == 0 && i < len; i++)
		if (mk.is_hit[i]) {
			struct rag_hit_at at = {i, i};

			while (at.end < len && mk.is_hit[at.end])
				at.end++;
			rc = buf_add(out, &at, sizeof(at)) < 0 ? -ENOMEM : 0;
			i = at.end;
		}
	rag_plan_release(&pl);
	free(mk.is_hit);
	return rc;
}
