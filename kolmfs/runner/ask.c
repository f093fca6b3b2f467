/*
 * ask - the answers to lib.lm: what a recipe asked, read and bounded, put to the model.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/runner.h"

/* ---- grammars ---- */

static const struct {
	const char *option;
	enum lm_grammar_kind kind;
} grammar_options[] = {
	{"grammar", LM_GRAMMAR_SCHEMA},
	{"regex", LM_GRAMMAR_REGEX},
	{"choices", LM_GRAMMAR_CHOICES},
};

void grammars_free(struct runner *rn)
{
	for (int i = 0; i < LM_GRAMMARS_MAX; i++) {
		lm_grammar_free(rn->grammar[i].g);
		free(rn->grammar[i].key);
	}
}

static int grammar_make(struct runner *rn, int i, enum lm_grammar_kind kind, const char *key,
	struct json_slice v, struct err *err)
{
	struct lm_grammar *g = NULL;
	char *copy = strdup(key);
	int rc = copy == NULL ? err_nomem(err) : lm_grammar(rn->lm, kind, v.text, v.len, &g, err);

	if (rc < 0) {
		free(copy);
		return rc;
	}
	lm_grammar_free(rn->grammar[i].g);
	free(rn->grammar[i].key);
	rn->grammar[i] = (struct known_grammar){.key = copy, .g = g};
	return 0;
}

/* its states are used up by answers before: none may depend on those */
static void grammar_forget(struct runner *rn, const struct lm_grammar *g)
{
	for (int i = 0; i < LM_GRAMMARS_MAX; i++) {
		if (rn->grammar[i].g != g)
			continue;
		lm_grammar_free(rn->grammar[i].g);
		free(rn->grammar[i].key);
		rn->grammar[i] = (struct known_grammar){0};
	}
}

int grammar_of(
	struct runner *rn, struct json_slice options, struct lm_grammar **out, struct err *err)
{
	struct buf key = BUF_INIT;
	struct json_slice v, found = {NULL, 0};
	size_t which = 0;
	int n = 0, rc = 0;

	*out = NULL;
	for (size_t i = 0; i < sizeof(grammar_options) / sizeof(grammar_options[0]); i++) {
		if (!json_member(options, grammar_options[i].option, &v) ||
			json_kind_of(v) == JSON_NULL)
			continue;
		found = v;
		which = i;
		n++;
	}
	if (n == 0)
		return 0;
	if (n > 1)
		return err_set(
			err, EINVAL, "lib.lm: grammar, regex and choices exclude each other");
	if (json_member(options, "stop", &v) && json_kind_of(v) != JSON_NULL)
		return err_set(err, EINVAL, "lib.lm: stop would cut what %s makes whole",
			grammar_options[which].option);
	/* one made for a model also knows its tokens */
	(void)buf_addf(&key, "%zu %d ", which, rn->lm != NULL);
	if (buf_add(&key, found.text, found.len) < 0)
		rc = err_nomem(err);
	for (int i = 0; rc == 0 && *out == NULL && i < LM_GRAMMARS_MAX; i++)
		if (rn->grammar[i].key != NULL && strcmp(rn->grammar[i].key, key.data) == 0)
			*out = rn->grammar[i].g;
	if (rc == 0 && *out == NULL) {
		rc = grammar_make(
			rn, rn->grammar_turn, grammar_options[which].kind, key.data, found, err);
		if (rc < 0)
			rc = err_prefix(err, "lib.lm: ");
		else
			*out = rn->grammar[rn->grammar_turn].g;
		rn->grammar_turn = (rn->grammar_turn + (rc == 0)) % LM_GRAMMARS_MAX;
	}
	buf_release(&key);
	return rc;
}

/* ---- questions ---- */

struct question {
	struct buf prompt, system;
	bool has_system;
	struct lm_generate opt;
	int64_t limit_ms; /* the operator's, or the recipe's own when that is shorter */
	int64_t run_ms;	  /* what all calls of the run may take, when that is nearer; else 0 */
	struct buf stop[LM_STOPS_MAX];
	const char *stop_list[LM_STOPS_MAX + 1];
};

static void question_release(struct question *q)
{
	buf_release(&q->prompt);
	buf_release(&q->system);
	for (int i = 0; i < LM_STOPS_MAX; i++)
		buf_release(&q->stop[i]);
}

static int read_stops(struct question *q, struct json_slice stop, struct err *err)
{
	struct json_slice one;
	size_t n = 0;

	if (json_kind_of(stop) == JSON_STRING) {
		(void)json_string(stop, &q->stop[n++]);
	} else if (json_kind_of(stop) == JSON_ARRAY) {
		for (size_t pos = 0; json_next(stop, &pos, NULL, &one);) {
			if (n == LM_STOPS_MAX || json_kind_of(one) != JSON_STRING)
				return err_set(err, EINVAL, "lib.lm: stop: at most %d texts",
					LM_STOPS_MAX);
			(void)json_string(one, &q->stop[n++]);
		}
	}
	for (size_t i = 0; i < n; i++)
		q->stop_list[i] = buf_str(&q->stop[i]);
	q->opt.stop = n > 0 ? q->stop_list : NULL;
	return 0;
}

static int64_t call_limit_ms(const struct runner *rn)
{
	return rn->lm_limit_ms > 0 ? rn->lm_limit_ms : LM_CALL_MS;
}

static int read_question(
	struct runner *rn, struct json_slice frame, struct question *q, struct err *err)
{
	struct json_slice v, options = {"{}", 2};

	if (!json_member(frame, "prompt", &v) || json_kind_of(v) != JSON_STRING ||
		json_string(v, &q->prompt) < 0)
		return err_set(err, EINVAL, "lib.lm: prompt: text expected");
	(void)json_member(frame, "options", &options);
	if (json_member(options, "system", &v) && json_kind_of(v) == JSON_STRING) {
		q->has_system = true;
		(void)json_string(v, &q->system);
	}
	int64_t max = member_whole(options, "max_tokens", LM_TOKENS_DEFAULT);
	if (max < 1 || max > LM_TOKENS_MAX)
		return err_set(err, ERANGE, "lib.lm: max_tokens: 1 to %d", LM_TOKENS_MAX);
	q->opt.max_tokens = (int)max;
	q->opt.seed = (uint64_t)member_whole(options, "seed", 0);
	q->limit_ms = call_limit_ms(rn);
	if (json_member(options, "timeout", &v) && json_kind_of(v) == JSON_NUMBER) {
		double seconds = json_double(v);

		if (!(seconds > 0))
			return err_set(err, ERANGE, "lib.lm: timeout: more than 0 seconds");
		if (seconds * 1000 < (double)q->limit_ms)
			q->limit_ms = (int64_t)(seconds * 1000);
	}
	if (json_member(options, "temperature", &v) && json_kind_of(v) == JSON_NUMBER)
		q->opt.temperature = json_double(v);
	if (!(q->opt.temperature >= 0 && q->opt.temperature <= 100))
		return err_set(err, ERANGE, "lib.lm: temperature: 0 to 100");
	if (json_member(options, "stop", &v))
		return read_stops(q, v, err);
	return 0;
}

static int generate(struct runner *rn, struct question *q, struct json_slice frame,
	struct buf *answer, struct err *err)
{
	struct json_slice options = {"{}", 2};
	struct buf text = BUF_INIT;
	int rc = -E2BIG;

	(void)json_member(frame, "options", &options);
	q->opt.system = q->has_system ? buf_str(&q->system) : NULL;
	q->opt.deadline_ms = clock_us() / 1000 + q->limit_ms;
	/* a grammar full of what earlier answers needed is made anew */
	for (int i = 0; i < 2 && rc == -E2BIG; i++) {
		rc = grammar_of(rn, options, &q->opt.grammar, err);
		if (rc < 0)
			return rc;
		buf_reset(&text);
		rc = lm_generate(rn->lm, buf_str(&q->prompt), q->prompt.len, &q->opt, &text, err);
		if (rc == -E2BIG)
			grammar_forget(rn, q->opt.grammar);
	}
	if (rc >= 0) {
		(void)buf_puts(answer, "{\"text\":");
		(void)json_put_string(answer, buf_str(&text), text.len);
		(void)buf_putc(answer, '}');
		rc = 0;
	}
	buf_release(&text);
	return rc;
}

static int choose_among(struct runner *rn, struct question *q, const struct lm_choice *list,
	size_t n, struct buf *answer, struct err *err)
{
	double *scores = calloc(n, sizeof(*scores));
	size_t best = 0;
	int rc;

	if (scores == NULL)
		return err_nomem(err);
	rc = lm_choose(rn->lm, buf_str(&q->prompt), q->prompt.len,
		q->has_system ? buf_str(&q->system) : NULL, list, n,
		clock_us() / 1000 + q->limit_ms, scores, &best, err);
	if (rc >= 0) {
		rc = 0;
		(void)buf_addf(answer, "{\"index\":%zu,\"scores\":[", best);
		for (size_t i = 0; i < n; i++) {
			if (i > 0)
				(void)buf_putc(answer, ',');
			(void)json_put_number(answer, scores[i]);
		}
		(void)buf_puts(answer, "]}");
	}
	free(scores);
	return rc;
}

static int choose(struct runner *rn, struct question *q, struct json_slice frame,
	struct buf *answer, struct err *err)
{
	struct json_slice choices, one;
	struct lm_choice *list;
	struct buf *text;
	size_t n = 0, i = 0;
	int rc = 0;

	if (!json_member(frame, "choices", &choices))
		return err_set(err, EINVAL, "lib.lm.choose: no choices");
	for (size_t pos = 0; json_next(choices, &pos, NULL, &one);)
		n++;
	if (n == 0 || n > LM_CHOICES_MAX)
		return err_set(err, ERANGE, "lib.lm.choose: 1 to %d choices", LM_CHOICES_MAX);
	list = calloc(n, sizeof(*list));
	text = calloc(n, sizeof(*text));
	if (list == NULL || text == NULL)
		rc = err_nomem(err);
	for (size_t pos = 0; rc == 0 && i < n && json_next(choices, &pos, NULL, &one); i++) {
		rc = json_kind_of(one) != JSON_STRING
			     ? err_set(err, EINVAL, "lib.lm.choose: texts expected")
			     : json_string(one, &text[i]);
		list[i] = (struct lm_choice){buf_str(&text[i]), text[i].len};
	}
	if (rc == 0)
		rc = choose_among(rn, q, list, n, answer, err);
	for (i = 0; text != NULL && i < n; i++)
		buf_release(&text[i]);
	free(text);
	free(list);
	return rc;
}

/* the calls of a run share a time; the last one has what the others left */
static int share_time(const struct runner *rn, struct question *q)
{
	int64_t all = call_limit_ms(rn) * LM_RUN_CALLS, left = all - rn->lm_asked_us / 1000;

	if (left < q->limit_ms) {
		q->run_ms = all;
		q->limit_ms = left;
	}
	return left > 0 ? 0 : -ETIMEDOUT;
}

/* a run that has used its time up is told so, whatever failed in it before */
static int stopped(struct runner *rn, const struct question *q, struct err *err)
{
	if (q->run_ms == 0)
		return err_set(
			err, ETIMEDOUT, "model call stopped after %lld ms", (long long)q->limit_ms);
	rn->lm_err = ERR_NONE;
	return err_set(err, ETIMEDOUT, "model calls of one run stopped after %lld ms in all",
		(long long)q->run_ms);
}

static int ask_model(
	void *arg, struct json_slice frame, bool is_choice, struct buf *answer, struct err *err)
{
	struct runner *rn = arg;
	struct question q = {0};
	int64_t from = clock_us(), asked;
	int rc;

	rn->lm_called = true;
	rc = read_question(rn, frame, &q, err);
	if (rc == 0)
		rc = model_ready(rn, err);
	asked = clock_us();
	if (rc == 0)
		rc = share_time(rn, &q);
	if (rc == 0)
		rc = is_choice ? choose(rn, &q, frame, answer, err)
			       : generate(rn, &q, frame, answer, err);
	if (rc == -ETIMEDOUT)
		(void)stopped(rn, &q, err);
	question_release(&q);
	if (rc < 0 && rn->lm_err.no == 0)
		rn->lm_err = *err;
	rn->lm_us += clock_us() - from;
	rn->lm_asked_us += clock_us() - asked;
	return rc;
}

struct host model_host(struct runner *rn)
{
	return (struct host){.arg = rn, .lm = rn->slug != NULL ? ask_model : NULL};
}
