/*
 * rows_candidates - what the model may have said for the recipe to return a row's output: the row's
 * own word, the recipe's answer(), then guesses made of the output; none that the call's grammar
 * would not let it say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/rows.h"

int call_grammar(struct search *s, const struct call *c, struct lm_grammar **out, struct err *err)
{
	return grammar_of(
		s->rn, (struct json_slice){buf_str(&c->options), c->options.len}, out, err);
}

static void add(struct candidates *cs, const char *text, size_t len, enum source source)
{
	for (size_t i = 0; i < cs->n; i++)
		if (cs->list[i].text.len == len &&
			memcmp(buf_str(&cs->list[i].text), text, len) == 0)
			return;
	if (cs->n >= TRIES_MAX)
		return;
	if (cs->n == cs->cap) {
		size_t cap = cs->cap == 0 ? 8 : cs->cap * 2;
		struct candidate *more = realloc(cs->list, cap * sizeof(*more));

		if (more == NULL) {
			cs->failed = true;
			return;
		}
		cs->list = more;
		cs->cap = cap;
	}
	struct candidate *c = &cs->list[cs->n++];
	*c = (struct candidate){.source = source};
	if (buf_add(&c->text, text, len) < 0)
		cs->failed = true;
}

static void add_string(struct candidates *cs, struct json_slice value, enum source source)
{
	struct buf text = BUF_INIT;

	if (json_string(value, &text) == 0)
		add(cs, buf_str(&text), text.len, source);
	buf_release(&text);
}

/* every text inside a value, in order */
static void add_texts(struct candidates *cs, struct json_slice value)
{
	struct json_slice one;

	if (json_kind_of(value) == JSON_STRING)
		add_string(cs, value, FROM_GUESS);
	else if (json_kind_of(value) == JSON_OBJECT || json_kind_of(value) == JSON_ARRAY)
		for (size_t pos = 0; json_next(value, &pos, NULL, &one);)
			add_texts(cs, one);
}

/* a recipe that unpacks one member of what the model says: {"label":output} for each of the
 * schema's members */
static void add_members(struct candidates *cs, const struct call *c, struct json_slice output)
{
	struct json_slice schema, properties, key, v;

	if (!json_member((struct json_slice){buf_str(&c->options), c->options.len}, "grammar",
		    &schema) ||
		!json_member(schema, "properties", &properties))
		return;
	for (size_t pos = 0; json_next(properties, &pos, &key, &v);) {
		struct buf text = BUF_INIT;

		(void)buf_putc(&text, '{');
		(void)json_compact(key, &text);
		(void)buf_putc(&text, ':');
		(void)json_compact(output, &text);
		if (buf_putc(&text, '}') == 0)
			add(cs, text.data, text.len, FROM_GUESS);
		else
			cs->failed = true;
		buf_release(&text);
	}
}

/* an answer the call's grammar forbids is one that will never be served */
static int keep_sayable(
	struct search *s, const struct call *c, struct candidates *cs, struct err *err)
{
	struct lm_grammar *g;
	size_t kept = 0;
	int rc = c->choose ? 0 : call_grammar(s, c, &g, err);

	if (rc < 0 || c->choose || g == NULL)
		return rc;
	for (size_t i = 0; i < cs->n; i++) {
		if (lm_grammar_holds(g, buf_str(&cs->list[i].text), cs->list[i].text.len))
			cs->list[kept++] = cs->list[i];
		else
			buf_release(&cs->list[i].text);
	}
	cs->n = kept;
	return 0;
}

void candidates_release(struct candidates *cs)
{
	for (size_t i = 0; i < cs->n; i++)
		buf_release(&cs->list[i].text);
	free(cs->list);
}

int candidates_for(struct search *s, int i, struct candidates *cs, struct err *err)
{
	struct call *c = &s->call[i];
	struct buf own = BUF_INIT, text = BUF_INIT;
	struct json_slice one;
	int at = 0, rc;

	if (s->said.len > 0 && json_kind_of(s->said) == JSON_STRING && i == 0)
		add_string(cs, s->said, FROM_ROW);
	else if (s->said.len > 0 && json_kind_of(s->said) == JSON_ARRAY)
		for (size_t pos = 0; json_next(s->said, &pos, NULL, &one); at++)
			if (at == i && json_kind_of(one) == JSON_STRING)
				add_string(cs, one, FROM_ROW);
	rc = program_ready(s->rn, true, err); /* the try before may have cost the cell */
	if (rc < 0)
		return rc;
	rc = program_answer(s->rn, s->input, s->output,
		(struct json_slice){c->prompt.data, c->prompt.len}, i, &own, err);
	if (rc == 1)
		add(cs, buf_str(&own), own.len, FROM_RECIPE);
	if (rc == -ENOMEM)
		goto out;
	rc = 0;
	if (c->choices.len > 0) {
		for (size_t pos = 0; json_next((struct json_slice){c->choices.data, c->choices.len},
			     &pos, NULL, &one);)
			if (json_kind_of(one) == JSON_STRING)
				add_string(cs, one, FROM_GUESS);
	} else {
		if (json_kind_of(s->output) == JSON_STRING)
			add_string(cs, s->output, FROM_GUESS);
		if (json_compact(s->output, &text) == 0)
			add(cs, buf_str(&text), text.len, FROM_GUESS);
		add_texts(cs, s->output);
		add_members(cs, c, s->output);
	}
	if (cs->failed)
		rc = err_nomem(err);
	if (rc == 0)
		rc = keep_sayable(s, c, cs, err);
out:
	buf_release(&own);
	buf_release(&text);
	return rc;
}
