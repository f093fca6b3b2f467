#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokenize.h"

/* what a term of each kind is worth in a question; design/rag.md section 5, tools/rag-eval */
static const double weights[] = {
	[RAG_TOKEN_WORD] = 1,
	[RAG_TOKEN_WHOLE] = 0.5,
	[RAG_TOKEN_PART] = 0.5,
	[RAG_TOKEN_GRAM] = 1,
	[RAG_TOKEN_PAIR] = 0.1,
};

int rag_plan_add(
	struct rag_plan *pl, const char *term, size_t len, double weight, enum rag_need need)
{
	uint32_t at;
	int rc = rag_terms_add(&pl->words, term, len, &at);

	if (rc < 0)
		return rc;
	if (rc == 0) { /* a word again: it weighs more, and the stronger need holds */
		struct rag_want *w = &pl->wants[at];

		w->weight += pl->is_kolm2 ? weight : 0;
		if (need > w->need)
			w->need = need;
		return 0;
	}
	if (pl->is_kolm2 && pl->n == RAG_WANTS_MAX)
		return -E2BIG;
	if (pl->n == pl->cap) {
		size_t cap = pl->cap ? pl->cap * 2 : 16;
		struct rag_want *wants = reallocarray(pl->wants, cap, sizeof(*wants));

		if (!wants)
			return -ENOMEM;
		pl->wants = wants;
		pl->cap = cap;
	}
	/* word: when all are there, since rag_terms moves its texts */
	pl->wants[pl->n++] = (struct rag_want){.len = len, .weight = weight, .need = need};
	return 0;
}

/* ---- kolm-2: the terms of a clause ---- */

struct gather {
	struct rag_plan *pl;
	const struct rag_clause *clause;
	bool has_word, has_whole, has_gram; /* words: such as say something */
	bool keep_stops;
};

static int look(void *arg, const struct rag_token *tk)
{
	struct gather *ga = arg;

	ga->has_word |= tk->kind == RAG_TOKEN_WORD && !tk->is_stop;
	ga->has_whole |= tk->kind == RAG_TOKEN_WHOLE;
	ga->has_gram |= tk->kind == RAG_TOKEN_GRAM;
	return 0;
}

/* +e-mail needs "email", +中文 its pairs of characters, +word the word: what must be there, of all
 * the terms that a word gives */
static bool is_key(const struct gather *ga, const struct rag_token *tk)
{
	if (ga->has_whole)
		return tk->kind == RAG_TOKEN_WHOLE;
	if (ga->has_gram)
		return tk->kind == RAG_TOKEN_GRAM;
	return tk->kind == RAG_TOKEN_WORD;
}

static int add_token(void *arg, const struct rag_token *tk)
{
	struct gather *ga = arg;
	enum rag_need need = ga->clause->need;

	if (need == RAG_NOT)
		return is_key(ga, tk) ? rag_plan_add(ga->pl, tk->term, tk->len, 0, RAG_NOT) : 0;
	if (tk->is_stop && !ga->keep_stops)
		return 0;
	return rag_plan_add(ga->pl, tk->term, tk->len, weights[tk->kind],
		need == RAG_MUST && is_key(ga, tk) ? RAG_MUST : RAG_SHOULD);
}

/* ${keep_stops}: a question of stop words alone is about them */
static int add_text(struct rag_plan *pl, const struct rag_clause *clause, bool keep_stops)
{
	struct gather ga = {.pl = pl, .clause = clause};
	int rc = rag_analyze(&pl->an, clause->text, clause->len, look, &ga);

	ga.keep_stops = keep_stops || (clause->need != RAG_SHOULD && !ga.has_word);
	return rc < 0 ? rc : rag_analyze(&pl->an, clause->text, clause->len, add_token, &ga);
}

static int add_title_word(void *arg, const struct rag_token *tk)
{
	struct gather *ga = arg;
	char term[RAG_MODE_TERM_BYTES];
	static const char field[] = "title:";
	size_t n = sizeof(field) - 1;

	if (!is_key(ga, tk) || tk->len + n > sizeof(term))
		return 0;
	memcpy(term, field, n);
	memcpy(term + n, tk->term, tk->len);
	return rag_plan_add(
		ga->pl, term, n + tk->len, ga->clause->need == RAG_NOT ? 0 : 1, ga->clause->need);
}

static int add_title(struct rag_plan *pl, const struct rag_clause *clause)
{
	struct gather ga = {.pl = pl, .clause = clause};
	int rc = rag_analyze(&pl->an, clause->text, clause->len, look, &ga);

	return rc < 0 ? rc : rag_analyze(&pl->an, clause->text, clause->len, add_title_word, &ga);
}

static int add_ext(struct rag_plan *pl, const struct rag_clause *clause)
{
	char term[64] = "ext:";
	size_t n = strlen(term);
	const char *text = clause->text;
	size_t len = clause->len;

	if (len > 0 && text[0] == '.') {
		text++;
		len--;
	}
	if (len > sizeof(term) - n)
		len = sizeof(term) - n; /* longer than any that is indexed */
	for (size_t i = 0; i < len; i++)
		term[n++] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
	return rag_plan_add(pl, term, n, 0, clause->need);
}

static int add_clause(struct rag_plan *pl, const struct rag_clause *clause)
{
	switch (clause->kind) {
	case RAG_CLAUSE_TEXT:
		return add_text(pl, clause, false);
	case RAG_CLAUSE_PHRASE:
		return rag_plan_phrase(pl, clause->text, clause->len, clause->need);
	case RAG_CLAUSE_PREFIX:
		return rag_plan_prefix(pl, clause->text, clause->len, clause->need);
	case RAG_CLAUSE_FUZZY:
		return rag_plan_fuzzy(pl, clause->text, clause->len, clause->need);
	case RAG_CLAUSE_EXT:
		return add_ext(pl, clause);
	case RAG_CLAUSE_TITLE:
		return add_title(pl, clause);
	case RAG_CLAUSE_PATH:
		break;
	}
	return 0;
}

static int plan_kolm2(struct rag_plan *pl, const struct rag_question *q, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < q->n; i++)
		rc = add_clause(pl, &q->at[i]);
	if (rc == 0 && pl->n == 0)
		for (size_t i = 0; rc == 0 && i < q->n; i++)
			if (q->at[i].kind == RAG_CLAUSE_TEXT)
				rc = add_text(pl, &q->at[i], true);
	if (rc == -E2BIG)
		return err_set(err, EINVAL, "q: more than %d terms", RAG_WANTS_MAX);
	return rc;
}

static int plan_words(struct rag_plan *pl, const char *text, size_t len)
{
	struct rag_words ws;
	int rc = 0;

	rag_words_init(&ws, text, len);
	while (rc == 0 && rag_words_next(&ws))
		rc = rag_plan_add(pl, ws.word, ws.word_len, 1, RAG_SHOULD);
	return rc;
}

int rag_plan_make(struct rag_plan *pl, const struct rag_index *ix, const char *text, size_t len,
	const char *path, size_t path_len, struct err *err)
{
	struct rag_question q = {.n = 0};
	char lang[RAG_LANG_BYTES];
	int rc = 0;

	*pl = (struct rag_plan){.ix = ix};
	pl->is_kolm2 = rag_analyzer_lang(ix->bin.header->analyser, lang) == 0;
	if (pl->is_kolm2) {
		rc = rag_analyzer_init(&pl->an, lang, err);
		if (rc == 0)
			rc = rag_question_parse(text, len, &q, err);
		if (rc == 0)
			rc = plan_kolm2(pl, &q, err);
	} else {
		rc = plan_words(pl, text, len);
	}
	if (rc == 0)
		rc = rag_plan_paths(pl, &q, path, path_len);
	for (size_t i = 0; rc == 0 && i < pl->n; i++)
		pl->wants[i].word = rag_terms_text(&pl->words, i);
	return rc;
}

void rag_plan_release(struct rag_plan *pl)
{
	for (size_t i = 0; i < pl->n_groups; i++) {
		free(pl->groups[i].entries);
		free(pl->groups[i].cursors);
	}
	for (size_t i = 0; i < pl->n_phrases; i++)
		buf_release(&pl->phrases[i].terms);
	buf_release(&pl->frame);
	free(pl->ranges);
	free(pl->wants);
	rag_terms_release(&pl->words);
	rag_analyzer_release(&pl->an);
}

int rag_plan_rank(
	struct rag_plan *pl, size_t k, const struct rag_hit *after, struct rag_hit **out, size_t *n)
{
	struct rag_ask ask = {.wants = pl->wants,
		.n = pl->n,
		.k = k,
		.ranges = pl->ranges,
		.n_ranges = pl->n_ranges,
		.after = after};
	int rc;

	*out = NULL;
	*n = 0;
	if (pl->n == 0 || (pl->is_ranged && pl->n_ranges == 0))
		return 0;
	if (pl->n_groups > 0 || pl->n_phrases > 0) {
		ask.accept = rag_plan_accept;
		ask.arg = pl;
		for (size_t i = 0; i < pl->n_groups; i++)
			for (size_t j = 0; j < pl->groups[i].n; j++)
				rag_cursor_init(&pl->groups[i].cursors[j], &pl->ix->bin,
					&pl->groups[i].entries[j]);
	}
	pl->failed = 0;
	rc = rag_rank(&pl->ix->bin, &ask, out, n);
	if (rc == 0 && pl->failed < 0) {
		free(*out);
		*out = NULL;
		rc = pl->failed;
	}
	return rc;
}
