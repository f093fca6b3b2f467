/*
 * eval - the artifact's cases through recipes + base + revision, one at a time; with two revisions
 * each case through both, in turns, so that what the machine does meanwhile falls on both alike.
 * The first case runs once unmeasured for each: an eval is of a warm model.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"
#include "runner/runner.h"

enum { REVS_MAX = 2 };

struct eval {
	struct runner *rn;
	char rev[REVS_MAX][REV_BYTES];
	int nrevs;
	int64_t id;
	struct buf lines; /* one a measured case; written when the cell has ended well */
	/* the case measured last: not a line before it is known how its cell went on */
	struct held {
		const char *rev; /* NULL: none */
		size_t i;
		bool pass;
		struct outcome oc;
		struct err why;
	} held;
};

static void put_held(struct eval *ev)
{
	const struct artifact_case *c;
	const struct outcome *oc = &ev->held.oc;
	const struct err *err = &ev->held.why;
	struct buf *b = &ev->lines;

	if (ev->held.rev == NULL)
		return;
	c = artifact_case(ev->rn->af, ev->held.i);
	(void)buf_addf(b, "{\"rev\":\"%s\",\"id\":", ev->held.rev);
	(void)json_put_text(b, c->id);
	(void)buf_addf(b, ",\"pass\":%s,\"output\":", ev->held.pass ? "true" : "false");
	(void)buf_add(b, oc->output.len > 0 ? oc->output.data : "null",
		oc->output.len > 0 ? oc->output.len : 4);
	(void)buf_puts(b, ",\"expected\":");
	(void)json_compact(c->expected, b);
	(void)buf_puts(b, ",\"error\":");
	(void)json_put_text(b, err->no != 0 ? err->text : NULL);
	(void)buf_addf(b, ",\"latency_us\":%lld,\"lm_us\":%lld", (long long)oc->latency_us,
		(long long)oc->lm_us);
	if (oc->egress.len > 0)
		(void)buf_addf(b, ",\"egress\":%s", oc->egress.data);
	(void)buf_puts(b, "}\n");
	outcome_release(&ev->held.oc);
	ev->held = (struct held){0};
}

static int tell(
	struct eval *ev, const char *rev, size_t i, bool pass, int64_t latency_us, struct err *err)
{
	struct buf line = BUF_INIT;
	int rc;

	(void)buf_addf(&line,
		"{\"id\":%lld,\"event\":\"case\",\"rev\":\"%s\",\"i\":%zu,\"of\":%zu,\"pass\":%s,"
		"\"latency_us\":%lld}",
		(long long)ev->id, rev, i, artifact_cases(ev->rn->af), pass ? "true" : "false",
		(long long)latency_us);
	rc = say(&line, err);
	buf_release(&line);
	return rc;
}

/* an attempt that was seen after the answer of the case measured last is that case's */
static void blame_held(struct eval *ev)
{
	struct buf *seen = &ev->rn->egress;

	if (seen->len == 0 || ev->held.rev == NULL)
		return;
	buf_reset(&ev->held.oc.egress);
	(void)buf_addf(&ev->held.oc.egress, "[%s]", seen->data);
	buf_reset(seen);
	ev->held.pass = false;
	if (ev->held.why.no == 0)
		(void)err_set(&ev->held.why, EPERM, "egress attempt, seen after the answer");
}

/* a recipe that fails fails its case; what is not the recipe's fault ends the eval */
static int one_case(struct eval *ev, const char *rev, size_t i, bool warm_up, struct err *err)
{
	struct runner *rn = ev->rn;
	const struct artifact_case *c = artifact_case(rn->af, i);
	struct host host = model_host(rn);
	struct err why = ERR_NONE;
	struct outcome oc = {0};
	bool pass;
	int rc;

	rc = model_use(rn, rev, err);
	if (rc == 0)
		rc = program_ready(rn, true, err);
	if (rc < 0)
		return rc;
	blame_held(ev);
	rc = program_call(rn, c->input, c->params, &host, &oc, &why);
	if (rc < 0 && rn->lm_err.no != 0 && rn->lm_err.no != ETIMEDOUT &&
		rn->lm_err.no != EMSGSIZE && rn->lm_err.no != E2BIG && rn->lm_err.no != EILSEQ &&
		rn->lm_err.no != ERANGE && rn->lm_err.no != EINVAL) {
		outcome_release(&oc);
		*err = rn->lm_err;
		return -err->no;
	}
	pass = rc == 0 && oc.egress.len == 0 &&
	       comparator_match(artifact_comparator(rn->af),
		       (struct json_slice){buf_str(&oc.output), oc.output.len}, c->expected);
	if (warm_up) {
		/* not measured, but an attempt is one: the next outcome tells it */
		if (oc.egress.len > 2)
			(void)buf_add(&rn->egress, oc.egress.data + 1, oc.egress.len - 2);
		outcome_release(&oc);
		return 0;
	}
	put_held(ev);
	ev->held = (struct held){rev, i, pass, oc, why};
	return tell(ev, rev, i, pass, oc.latency_us, err);
}

/* no case passes before the spawner said how the cell ended; an attempt seen only now is the last
 * case's */
static int last_word(struct eval *ev, struct err *err)
{
	struct runner *rn = ev->rn;
	struct err end = ERR_NONE;
	int rc = rn->loaded ? cell_last(rn, &end) : 0;

	if (rc < 0 && rn->egress.len > 0 && ev->held.rev != NULL) {
		blame_held(ev);
		rc = 0;
	}
	if (rc < 0) {
		*err = end;
		return rc;
	}
	put_held(ev);
	return 0;
}

static int read_revs(struct eval *ev, struct json_slice request, struct err *err)
{
	struct json_slice list, one;

	if (!json_member(request, "revs", &list))
		return err_set(err, EINVAL, "eval: revs is missing");
	for (size_t pos = 0; json_next(list, &pos, NULL, &one); ev->nrevs++) {
		if (ev->nrevs == REVS_MAX || json_kind_of(one) != JSON_STRING ||
			one.len - 2 >= REV_BYTES)
			return err_set(err, EINVAL, "eval: one or two revisions");
		memcpy(ev->rev[ev->nrevs], one.text + 1, one.len - 2);
	}
	return ev->nrevs > 0 ? 0 : err_set(err, EINVAL, "eval: one or two revisions");
}

static int all_cases(struct eval *ev, struct err *err)
{
	size_t n = artifact_cases(ev->rn->af);
	int rc = 0;

	if (n == 0)
		return err_set(err, EINVAL, "no eval cases: nothing to measure");
	for (int r = 0; rc == 0 && r < ev->nrevs; r++)
		rc = one_case(ev, ev->rev[r], 0, true, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		for (int r = 0; rc == 0 && r < ev->nrevs; r++)
			rc = one_case(ev, ev->rev[(size_t)ev->nrevs == 2 && i % 2 == 1 ? 1 - r : r],
				i, false, err);
	return rc;
}

int op_eval(struct runner *rn, struct json_slice request, int64_t id, struct buf *answer,
	struct err *err)
{
	struct eval ev = {.rn = rn, .id = id};
	int out = (int)member_whole(request, "out", -1), rc;

	rc = out < 3 ? err_set(err, EINVAL, "eval: out is a descriptor")
		     : read_revs(&ev, request, err);
	if (rc == 0)
		rc = program_open(rn, err);
	if (rc == 0)
		rc = all_cases(&ev, err);
	if (rc == 0)
		rc = last_word(&ev, err);
	if (rc == 0)
		rc = ev.lines.failed ? err_nomem(err)
				     : write_all(out, ev.lines.data, ev.lines.len, err);
	if (rc == 0) {
		(void)buf_puts(answer, ",\"engine\":\"kolmlm-" KOLM_VERSION "\",\"threads\":");
		(void)buf_addf(answer, "%d,\"kernel\":", rn->lm != NULL ? lm_threads(rn->lm) : 0);
		(void)json_put_text(answer, rn->lm != NULL ? lm_kernel(rn->lm) : NULL);
	}
	outcome_release(&ev.held.oc);
	buf_release(&ev.lines);
	return rc;
}
