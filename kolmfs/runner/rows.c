/*
 * rows - what a capture teaches (DESIGN section 4). A row says what the recipe should return; the
 * model must learn what it should have said. So the recipe is run on the row's input with a
 * recording lib.lm: each call's prompt is the training prompt, exactly as served, and the answers
 * are searched that make the recipe return the row's output.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"
#include "runner/rows.h"
#include "store/captures.h"

static void call_reset(struct call *c)
{
	buf_reset(&c->prompt);
	buf_reset(&c->system);
	buf_reset(&c->choices);
	buf_reset(&c->options);
}

/* what the model is bound to: kept by the names grammar_of() knows */
static int record_bounds(
	struct search *s, struct call *c, struct json_slice options, struct err *err)
{
	struct lm_grammar *g;
	struct json_slice v;

	if (buf_add(&c->options, options.text, options.len) < 0)
		return err_nomem(err);
	if (json_member(options, "choices", &v) && buf_add(&c->choices, v.text, v.len) < 0)
		return err_nomem(err);
	return call_grammar(s, c, &g, err); /* a wrong one is told to the recipe, as when served */
}

/* the answer to a call nothing is known of yet: the shortest there is */
static int first_answer(struct search *s, const struct call *c, struct buf *out, struct err *err)
{
	struct lm_grammar *g;
	int rc = call_grammar(s, c, &g, err);

	if (rc == 0 && g != NULL && !lm_grammar_other(g, NULL, 0, out))
		rc = err_nomem(err);
	return rc;
}

/* lib.lm during a search: record the question, give the answer under trial; a call past it gets the
 * first choice, or the shortest text */
static int record(
	void *arg, struct json_slice frame, bool choose, struct buf *answer, struct err *err)
{
	struct search *s = arg;
	struct json_slice v = {"null", 4}, options, one;
	struct call *c;
	int i = s->ncalls;

	if (i == CALLS_MAX)
		return err_set(err, E2BIG, "more than %d model calls for one row", CALLS_MAX);
	c = &s->call[s->ncalls++];
	call_reset(c);
	c->choose = choose;
	s->ever_called = true;
	if (!json_member(frame, "prompt", &v) || json_kind_of(v) != JSON_STRING)
		return err_set(err, EINVAL, "lib.lm: prompt: text expected"); /* as served */
	if (buf_add(&c->prompt, v.text, v.len) < 0)
		return err_nomem(err);
	v = (struct json_slice){"null", 4};
	if (json_member(frame, "options", &options) && json_member(options, "system", &one) &&
		json_kind_of(one) == JSON_STRING)
		v = one;
	(void)buf_add(&c->system, v.text, v.len);
	if (!choose) {
		struct buf first = BUF_INIT;
		const struct buf *text = i < s->nanswers ? s->answer[i] : &first;
		int rc = json_member(frame, "options", &options) ? record_bounds(s, c, options, err)
								 : 0;

		if (rc == 0 && text == &first)
			rc = first_answer(s, c, &first, err);
		(void)buf_puts(answer, "{\"text\":");
		(void)json_put_string(answer, buf_str(text), text->len);
		(void)buf_putc(answer, '}');
		buf_release(&first);
		return rc;
	}
	if (!json_member(frame, "choices", &v) || buf_add(&c->choices, v.text, v.len) < 0)
		return err_nomem(err);
	size_t at = 0, index = 0;
	for (size_t pos = 0; json_next(v, &pos, NULL, &one); at++) {
		struct buf text = BUF_INIT;

		if (i < s->nanswers && json_kind_of(one) == JSON_STRING &&
			json_string(one, &text) == 0 && text.len == s->answer[i]->len &&
			memcmp(buf_str(&text), buf_str(s->answer[i]), text.len) == 0)
			index = at;
		buf_release(&text);
	}
	(void)buf_addf(answer, "{\"index\":%zu,\"scores\":[", index);
	for (size_t n = 0; n < at; n++) /* certain of it, as far as a recipe can see */
		(void)buf_addf(answer, "%s%d", n > 0 ? "," : "", n == index ? 0 : -100);
	(void)buf_puts(answer, "]}");
	return 0;
}

/* run the recipe under the answers chosen so far; 0 also when the recipe failed (then it does not
 * fit) */
static int try_once(struct search *s, struct err *err)
{
	struct host host = {.arg = s, .lm = record};
	struct outcome oc;
	int rc;

	s->fits = false;
	s->tries++;
	/* a cell that died is asked once more, since it may not have been the recipe's doing; a
	 * spawner that is gone fails the second program_ready() */
	for (int i = 0; i < 2; i++) {
		s->ncalls = 0;
		rc = program_ready(s->rn, true, err);
		if (rc < 0)
			return rc;
		s->err = ERR_NONE;
		rc = program_call(s->rn, s->input, (struct json_slice){"", 0}, &host, &oc, &s->err);
		if (rc == 0)
			s->fits = oc.output.len > 0 &&
				  json_same((struct json_slice){oc.output.data, oc.output.len},
					  s->output);
		outcome_release(&oc);
		if (rc != -EIO)
			break;
	}
	return 0;
}

/* ---- the search ---- */

/* 1 found, 0 not; found: s->answer[0..nanswers) are what the model should have said */
static int search(struct search *s, struct err *err)
{
	struct candidates cs = {0};
	int level = s->nanswers, rc;

	rc = try_once(s, err);
	if (rc < 0)
		return rc;
	if (s->ncalls <= level)
		return s->fits && s->ncalls == level;
	rc = candidates_for(s, level, &cs, err);
	for (size_t i = 0; rc == 0 && i < cs.n && s->tries < TRIES_MAX; i++) {
		s->answer[level] = &cs.list[i].text;
		s->source[level] = cs.list[i].source;
		s->nanswers = level + 1;
		rc = search(s, err);
	}
	if (rc == 1) {
		/* keep what was found beyond the life of this list */
		struct buf *kept = calloc(1, sizeof(*kept));

		if (kept == NULL ||
			buf_add(kept, buf_str(s->answer[level]), s->answer[level]->len) < 0)
			rc = err_nomem(err);
		s->answer[level] = kept;
	} else {
		s->nanswers = level;
	}
	candidates_release(&cs);
	return rc;
}

/* call ${i} with another answer than ${mine}, the empty text when nothing binds it: 1 it fits too
 */
static int other_answer(struct search *s, int i, const struct buf *mine, struct err *err)
{
	struct buf other = BUF_INIT;
	struct lm_grammar *g;
	int rc = call_grammar(s, &s->call[i], &g, err);
	bool is_other = g == NULL
				? mine->len > 0
				: rc == 0 && lm_grammar_other(g, buf_str(mine), mine->len, &other);

	/* the same value with another blank is the same answer */
	if (is_other && g != NULL && json_check(buf_str(&other), other.len, NULL) == 0 &&
		json_check(buf_str(mine), mine->len, NULL) == 0 &&
		json_same((struct json_slice){buf_str(&other), other.len},
			(struct json_slice){buf_str(mine), mine->len}))
		is_other = false;
	if (rc == 0 && is_other) {
		s->answer[i] = &other;
		rc = try_once(s, err);
		if (rc == 0)
			rc = s->fits;
	}
	buf_release(&other);
	return rc;
}

/* would another answer have done as well? Only guesses must prove that they matter. 1 free, 0 not
 */
static int is_free(struct search *s, struct err *err)
{
	int n = s->nanswers, rc = 0;

	for (int i = 0; rc == 0 && i < n; i++) {
		const struct buf *mine = s->answer[i];
		struct json_slice one, choices;
		struct buf list = BUF_INIT;

		if (s->source[i] != FROM_GUESS)
			continue;
		if (s->call[i].choices.len == 0) {
			rc = other_answer(s, i, mine, err);
		} else {
			/* the calls are recorded anew by each try */
			(void)buf_add(&list, s->call[i].choices.data, s->call[i].choices.len);
			choices = (struct json_slice){buf_str(&list), list.len};
			for (size_t pos = 0; rc == 0 && s->tries < 2 * TRIES_MAX &&
					     json_next(choices, &pos, NULL, &one);) {
				struct buf other = BUF_INIT;

				if (json_kind_of(one) == JSON_STRING &&
					json_string(one, &other) == 0 &&
					(other.len != mine->len ||
						memcmp(buf_str(&other), buf_str(mine), mine->len) !=
							0)) {
					s->answer[i] = &other;
					rc = try_once(s, err);
					if (rc == 0)
						rc = s->fits;
				}
				buf_release(&other);
			}
			buf_release(&list);
		}
		s->answer[i] = mine;
	}
	/* the calls as they are under the found answers, for the row's lines */
	if (rc == 0)
		rc = try_once(s, err);
	return rc;
}

static void search_release(struct search *s, bool found)
{
	for (int i = 0; found && i < s->nanswers; i++) {
		struct buf *kept = (struct buf *)(uintptr_t)s->answer[i];

		if (kept != NULL)
			buf_release(kept);
		free(kept);
	}
	for (int i = 0; i < CALLS_MAX; i++) {
		buf_release(&s->call[i].prompt);
		buf_release(&s->call[i].system);
		buf_release(&s->call[i].choices);
		buf_release(&s->call[i].options);
	}
}

/* ---- rows ---- */

struct said {
	uint64_t number;
	char *text; /* raw JSON of the row's "answer" */
};

struct rows {
	struct runner *rn;
	struct buf out;
	uint64_t written;
	uint64_t unreachable, free, uncalled;
	bool any_called;
	struct buf plain; /* the same rows as input -> output, for a recipe that never calls the
			     model */
	uint64_t nplain;
	struct said *said;
	size_t nsaid;
};

static void put_row(struct buf *b, struct json_slice prompt, struct json_slice system,
	const char *answer, size_t len, uint64_t row, int call)
{
	(void)buf_puts(b, "{\"prompt\":");
	(void)buf_add(b, prompt.text, prompt.len);
	(void)buf_puts(b, ",\"system\":");
	(void)buf_add(b, system.text, system.len);
	(void)buf_puts(b, ",\"answer\":");
	(void)json_put_string(b, answer, len);
	(void)buf_addf(b, ",\"row\":%llu,\"call\":%d}\n", (unsigned long long)row, call);
}

/* text as it is, anything else compact JSON; as a JSON string */
static void put_as_text(struct json_slice v, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &text);
	else
		(void)json_compact(v, &text);
	(void)buf_add(out, buf_str(&text), text.len);
	buf_release(&text);
}

static void put_plain(struct rows *rs, const struct search *s, uint64_t row)
{
	struct buf input = BUF_INIT, prompt = BUF_INIT, output = BUF_INIT;

	put_as_text(s->input, &input);
	(void)json_put_string(&prompt, buf_str(&input), input.len);
	put_as_text(s->output, &output);
	put_row(&rs->plain, (struct json_slice){prompt.data, prompt.len},
		(struct json_slice){"null", 4}, buf_str(&output), output.len, row, 0);
	rs->nplain++;
	buf_release(&input);
	buf_release(&prompt);
	buf_release(&output);
}

/* the last run made the calls that the row is written from: one that was stopped on a busy machine
 * left those of a run before it */
static bool is_whole(const struct search *s)
{
	return s->fits && s->ncalls == s->nanswers;
}

static int one_row(struct rows *rs, const struct teach_row *row, struct err *err)
{
	struct search s = {.rn = rs->rn,
		.input = {row->input, row->input_len},
		.output = {row->output, row->output_len}};
	bool found;
	int rc;

	for (size_t i = 0; i < rs->nsaid; i++)
		if (rs->said[i].number == row->number)
			s.said = (struct json_slice){rs->said[i].text, strlen(rs->said[i].text)};
	rc = search(&s, err);
	found = rc == 1;
	if (found && s.nanswers > 0)
		rc = is_free(&s, err);
	rs->any_called |= s.ever_called;
	if (!s.ever_called && rc >= 0) {
		rs->uncalled++;
		put_plain(rs, &s, row->number);
	} else if (rc >= 0 && (!found || (rc == 0 && !is_whole(&s)))) {
		rs->unreachable++;
	} else if (rc == 1) {
		rs->free++;
	} else if (rc == 0) {
		for (int i = 0; i < s.nanswers; i++)
			put_row(&rs->out,
				(struct json_slice){s.call[i].prompt.data, s.call[i].prompt.len},
				(struct json_slice){s.call[i].system.data, s.call[i].system.len},
				buf_str(s.answer[i]), s.answer[i]->len, row->number, i);
		rs->written++;
	}
	search_release(&s, found);
	return rc < 0 ? rc : 0;
}

static int collect_said(void *arg, const struct capture_row *row, struct err *err)
{
	struct rows *rs = arg;
	struct json_slice v;
	struct said *more;

	if (!json_member(row->line, "answer", &v) ||
		(json_kind_of(v) != JSON_STRING && json_kind_of(v) != JSON_ARRAY))
		return 0;
	more = realloc(rs->said, (rs->nsaid + 1) * sizeof(*more));
	if (more == NULL)
		return err_nomem(err);
	rs->said = more;
	rs->said[rs->nsaid] = (struct said){row->number, strndup(v.text, v.len)};
	if (rs->said[rs->nsaid].text == NULL)
		return err_nomem(err);
	rs->nsaid++;
	return 0;
}

static int teach_load(struct runner *rn, struct json_slice request, struct teach *te,
	struct rows *rs, struct err *err)
{
	int fd = (int)member_whole(request, "captures", -1), rc;
	struct teach_options opt = {.from = (uint64_t)member_whole(request, "from", 0),
		.end = (uint64_t)member_whole(request, "bytes", 0),
		.replay = (uint64_t)member_whole(request, "replay", 0),
		.seed = (uint64_t)member_whole(request, "seed", 0)};
	struct json_slice v, *cases;
	struct capture_counts counts;

	opt.all = json_member(request, "policy", &v) && v.len == 5 &&
		  memcmp(v.text, "\"all\"", 5) == 0;
	opt.ncases = artifact_cases(rn->af);
	cases = calloc(opt.ncases + 1, sizeof(*cases));
	if (cases == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < opt.ncases; i++)
		cases[i] = artifact_case(rn->af, i)->input;
	opt.cases = cases;
	rc = captures_teach(fd, &opt, te, err);
	free(cases);
	if (rc == 0)
		rc = captures_scan(fd, opt.end, collect_said, rs, &counts, err);
	return rc;
}

static void put_answer(
	const struct rows *rs, const struct teach *te, bool fixed, struct buf *answer)
{
	(void)buf_addf(answer,
		",\"rows\":%llu,\"skipped\":{\"model\":%llu,\"unreachable\":%llu,\"broken\":%llu,"
		"\"superseded\":%llu,\"free\":%llu,\"case\":%llu,\"uncalled\":%llu,"
		"\"dropped\":%llu},\"fixed\":%s",
		(unsigned long long)(fixed ? rs->nplain : rs->written),
		(unsigned long long)te->model, (unsigned long long)rs->unreachable,
		(unsigned long long)te->broken, (unsigned long long)te->superseded,
		(unsigned long long)rs->free, (unsigned long long)te->cases,
		(unsigned long long)(fixed ? 0 : rs->uncalled), (unsigned long long)te->dropped,
		fixed ? "true" : "false");
}

int op_rows(struct runner *rn, struct json_slice request, struct buf *answer, struct err *err)
{
	int out = (int)member_whole(request, "out", -1), rc;
	struct rows rs = {.rn = rn};
	struct teach te = {0};
	const struct buf *text;

	rc = program_open(rn, err);
	if (rc == 0)
		rc = model_head(rn, err); /* lib.lm.revision and lib.lm.base, as served */
	if (rc == 0 && rn->slug != NULL)
		rc = model_headers(rn, err);
	if (rc == 0)
		rc = teach_load(rn, request, &te, &rs, err);
	for (size_t i = 0; rc == 0 && i < te.n; i++)
		rc = one_row(&rs, &te.row[i], err);
	if (rc == 0) {
		bool fixed = !rs.any_called && rs.nplain > 0;

		text = fixed ? &rs.plain : &rs.out;
		rc = text->failed ? err_nomem(err) : write_all(out, buf_str(text), text->len, err);
		put_answer(&rs, &te, fixed, answer);
	}
	teach_release(&te);
	for (size_t i = 0; i < rs.nsaid; i++)
		free(rs.said[i].text);
	free(rs.said);
	buf_release(&rs.out);
	buf_release(&rs.plain);
	return rc;
}
