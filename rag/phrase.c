/* phrase - words that must stand side by side: the lists narrow down where, the text decides. */
#include <errno.h>
#include <string.h>

#include "plan.h"

struct gather {
	struct rag_plan *pl;
	struct rag_phrase *ph;
	enum rag_need need;
	bool has_word;
};

/* in the lists: every word and pair that says something; in the text: every word */
static int gather_token(void *arg, const struct rag_token *tk)
{
	struct gather *ga = arg;
	int rc = 0;

	if (tk->kind == RAG_TOKEN_WORD) {
		buf_add(&ga->ph->terms, tk->term, tk->len);
		rc = buf_putc(&ga->ph->terms, '\0');
		ga->ph->n++;
	}
	if (rc < 0 || ga->need == RAG_NOT || tk->is_stop || tk->kind == RAG_TOKEN_WHOLE ||
		tk->kind == RAG_TOKEN_PART)
		return rc;
	ga->has_word = true;
	return rag_plan_add(
		ga->pl, tk->term, tk->len, tk->kind == RAG_TOKEN_PAIR ? 0.1 : 1, RAG_MUST);
}

/* "to be or not to be": only stop words, so they are what narrows down */
static int add_stops(struct rag_plan *pl, const struct rag_phrase *ph)
{
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < ph->terms.len;) {
		const char *term = ph->terms.data + at;
		size_t len = strlen(term);

		rc = rag_plan_add(pl, term, len, 1, RAG_MUST);
		at += len + 1;
	}
	return rc;
}

int rag_plan_phrase(struct rag_plan *pl, const char *text, size_t len, enum rag_need need)
{
	struct rag_phrase *ph = &pl->phrases[pl->n_phrases];
	struct gather ga = {.pl = pl, .ph = ph, .need = need};
	int rc;

	*ph = (struct rag_phrase){.is_not = need == RAG_NOT};
	pl->n_phrases++;
	rc = rag_analyze(&pl->an, text, len, gather_token, &ga);
	if (rc == 0 && ph->n == 0) { /* only punctuation: nothing to ask of a text */
		buf_release(&ph->terms);
		pl->n_phrases--;
	} else if (rc == 0 && need != RAG_NOT && !ga.has_word) {
		rc = add_stops(pl, ph);
	}
	return rc;
}

/* a walk over a text's words that looks for one phrase */
struct search {
	const struct rag_phrase *ph;
	size_t at[64]; /* offsets of the next term, for each place where the phrase may have begun
			*/
	size_t n;
	bool is_found;
};

static int match_token(void *arg, const struct rag_token *tk)
{
	struct search *se = arg;
	const char *terms = se->ph->terms.data;
	size_t kept = 0;

	if (tk->kind != RAG_TOKEN_WORD)
		return 0;
	if (se->n < sizeof(se->at) / sizeof(*se->at))
		se->at[se->n++] = 0;
	for (size_t i = 0; i < se->n; i++) {
		const char *want = terms + se->at[i];
		size_t len = strlen(want);

		if (len != tk->len || memcmp(want, tk->term, len) != 0)
			continue;
		se->at[kept] = se->at[i] + len + 1;
		if (se->at[kept] == se->ph->terms.len) {
			se->is_found = true;
			return -ECANCELED;
		}
		kept++;
	}
	se->n = kept;
	return 0;
}

static int is_in(struct rag_plan *pl, const struct rag_phrase *ph, const char *text, size_t len)
{
	struct search se = {.ph = ph};
	int rc = rag_analyze(&pl->an, text, len, match_token, &se);

	return rc == -ECANCELED ? 1 : rc < 0 ? rc : 0;
}

static bool is_in_group(struct rag_group *gr, uint32_t doc)
{
	for (size_t i = 0; i < gr->n; i++)
		if (rag_cursor_seek(&gr->cursors[i], doc) == doc)
			return true;
	return false;
}

bool rag_plan_accept(void *arg, uint32_t doc)
{
	struct rag_plan *pl = arg;
	const char *text;
	size_t len;
	int rc;

	if (pl->failed < 0)
		return false;
	for (size_t i = 0; i < pl->n_groups; i++)
		if (!is_in_group(&pl->groups[i], doc))
			return false;
	if (pl->n_phrases == 0)
		return true;
	rc = rag_bin_text(&pl->ix->bin, doc, &pl->frame, &text, &len);
	for (size_t i = 0; rc == 0 && i < pl->n_phrases; i++) {
		int found = is_in(pl, &pl->phrases[i], text, len);

		rc = found < 0 ? found : 0;
		if (found >= 0 && found == pl->phrases[i].is_not)
			return false;
	}
	pl->failed = rc;
	return rc == 0;
}
