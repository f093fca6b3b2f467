/*
 * eval - the artifact's held-out cases through recipes + base + vN, one at a time, warm, in a
 * runner of its own; HEAD measured beside it in the same job when it is another revision (DESIGN
 * section 4, PROTOCOLS section 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "loop/measure.h"
#include "loop/private.h"

enum { CASES_BYTES_MAX = 1 << 30 };

struct eval {
	struct job *jb; /* borrowed */
	struct tune tn;
	struct config cf;
	struct artifact *af;
	char rev[REV_BYTES], head[REV_BYTES]; /* head "" when it is rev itself */
	char adapter[65], head_adapter[65];
	uint64_t base_bytes;
	char base_xxh3[33];
	int out, log;
	struct buf walls, engine, settings, lines;
	struct measured own, beside;
	int done, of;
};

int loop_eval(struct kolm *k, const char *slug, const char *rev, int64_t timeout_s,
	const struct by *by, uint64_t *id, struct err *err)
{
	struct artifact *af;
	struct head hd;
	struct tune tn;
	int rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = head_load(&tn, &hd, err);
	if (rc < 0)
		goto out;
	if (rev == NULL)
		rev = hd.head;
	rc = rev_check(rev, strlen(rev), err);
	if (rc == 0)
		rc = revision_verify(&tn, rev, NULL, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, slug, &af, err);
	if (rc < 0)
		goto out;
	if (artifact_cases(af) == 0)
		rc = err_set(err, EINVAL, "no eval cases: nothing to measure");
	artifact_free(af);
	if (rc < 0)
		goto out;
	rc = job_accept_rev(k, JOB_EVAL, &tn, rev, timeout_s, by, id, err);
out:
	tune_close(&tn);
	return rc;
}

static void on_case(void *arg, struct json_slice line)
{
	struct eval *ev = arg;
	struct json_slice v;

	if (!json_member(line, "event", &v))
		return;
	ev->done++;
	job_progress(ev->jb, "%d %d cases", ev->done, ev->of);
	(void)!write(ev->log, line.text, line.len);
	(void)!write(ev->log, "\n", 1);
}

static int open_eval(struct eval *ev, const char *rev, struct err *err)
{
	struct kolm *k = ev->jb->k;
	struct head hd;
	int rc;

	rc = config_load(&ev->tn, &ev->cf, err);
	if (rc == 0)
		rc = head_load(&ev->tn, &hd, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, ev->jb->slug, &ev->af, err);
	if (rc < 0)
		return rc;
	(void)snprintf(ev->rev, sizeof(ev->rev), "%s", rev);
	if (strcmp(hd.head, rev) != 0)
		(void)snprintf(ev->head, sizeof(ev->head), "%s", hd.head);
	rc = revision_verify(&ev->tn, ev->rev, ev->adapter, err);
	if (rc == 0 && ev->head[0] != '\0')
		rc = revision_verify(&ev->tn, ev->head, ev->head_adapter, err);
	if (rc == 0)
		rc = base_identify(k,
			ev->cf.base_path != NULL ? ev->cf.base_path : ev->cf.base_model,
			&ev->base_bytes, ev->base_xxh3, err);
	ev->of = (int)artifact_cases(ev->af) * (ev->head[0] != '\0' ? 2 : 1);
	return rc;
}

/* what the runner says of itself, as members of eval.json */
static void said(struct eval *ev, struct json_slice answer)
{
	struct json_slice v;

	if (json_member(answer, "engine", &v))
		(void)json_compact(v, &ev->engine);
	(void)buf_puts(&ev->settings, ",\"threads\":");
	if (json_member(answer, "threads", &v))
		(void)json_compact(v, &ev->settings);
	else
		(void)buf_puts(&ev->settings, "null");
	(void)buf_puts(&ev->settings, ",\"kernel\":");
	if (json_member(answer, "kernel", &v))
		(void)json_compact(v, &ev->settings);
	else
		(void)buf_puts(&ev->settings, "null");
}

/* the report of a canary started for this eval; a wall that is missing means no eval, not a weaker
 * one */
static int prove_walls(struct eval *ev, struct runner *rn, struct err *err)
{
	static const char request[] = "{\"id\":1,\"op\":\"check\"}";
	struct json_slice name, value, walls = {0};
	char quoted[ERR_QUOTE_BYTES + 8];
	struct buf answer = BUF_INIT;
	int rc = runner_call(rn, request, sizeof(request) - 1, NULL, NULL, &answer, err);

	if (rc == 0 &&
		(!json_member((struct json_slice){answer.data, answer.len}, "walls", &walls) ||
			json_kind_of(walls) != JSON_OBJECT || walls.len <= 2))
		rc = err_set(err, EOPNOTSUPP,
			"sandbox: no report of the walls; recipes will not be run");
	for (size_t pos = 0; rc == 0 && json_next(walls, &pos, &name, &value);)
		if (value.len != 10 || memcmp(value.text, "\"in force\"", 10) != 0)
			rc = err_set(err, EOPNOTSUPP,
				"sandbox: %.*s unavailable (%s); recipes will not be run",
				(int)(name.len - 2), name.text + 1,
				err_quote(quoted, value.text, value.len));
	if (rc == 0 && buf_add(&ev->walls, walls.text, walls.len) < 0)
		rc = err_nomem(err);
	buf_release(&answer);
	return rc;
}

static int measure(struct eval *ev, struct err *err)
{
	struct job *jb = ev->jb;
	struct buf request = BUF_INIT, answer = BUF_INIT;
	struct runner_start rs = {.artifact = ev->cf.artifact_path,
		.slug = jb->slug,
		.base = ev->cf.base_path,
		.fds = &ev->out,
		.nfds = 1,
		.log = ev->log,
		.job = jb};
	struct runner *rn;
	int rc;

	ev->out = openat(jb->dir, "cases.jsonl", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (ev->out < 0)
		return err_sys(err, "cannot create cases.jsonl");
	rc = runner_start(jb->k, &rs, &rn, err);
	if (rc < 0)
		return rc;
	rc = job_worker_set(jb, runner_pid(rn), err);
	if (rc == 0)
		rc = prove_walls(ev, rn, err);
	if (rc == 0) {
		(void)buf_addf(&request, "{\"id\":2,\"op\":\"eval\",\"revs\":[\"%s\"", ev->rev);
		if (ev->head[0] != '\0')
			(void)buf_addf(&request, ",\"%s\"", ev->head);
		(void)buf_puts(&request, "],\"out\":10");
		if (jb->timeout_s > 0)
			(void)buf_addf(&request, ",\"timeout\":%lld", (long long)jb->timeout_s);
		(void)buf_putc(&request, '}');
		rc = request.failed ? err_nomem(err)
				    : runner_call(rn, request.data, request.len, on_case, ev,
					      &answer, err);
	}
	if (rc == 0)
		rc = answer_is_of(
			(struct json_slice){answer.data, answer.len}, artifact_sha256(ev->af), err);
	if (rc == 0)
		said(ev, (struct json_slice){answer.data, answer.len});
	(void)job_worker_set(jb, 0, NULL);
	runner_end(rn, rc < 0);
	buf_release(&request);
	buf_release(&answer);
	if (rc < 0 && jb->cancel)
		return err_set(err, ECANCELED, "cancelled");
	return rc;
}

static int read_cases(struct eval *ev, struct err *err)
{
	int rc;

	if (lseek(ev->out, 0, SEEK_SET) < 0)
		return err_sys(err, "cannot read the measured cases");
	rc = read_fd(ev->out, CASES_BYTES_MAX, &ev->lines, err);
	for (size_t at = 0; rc == 0 && at < ev->lines.len;) {
		char *lf = memchr(ev->lines.data + at, '\n', ev->lines.len - at);
		struct json_slice line = {ev->lines.data + at,
					  lf != NULL ? (size_t)(lf - ev->lines.data) - at
						     : ev->lines.len - at},
				  rev;

		rc = json_check(line.text, line.len, err);
		if (rc == 0 && json_member(line, "rev", &rev)) {
			bool own = rev.len == strlen(ev->rev) + 2 &&
				   memcmp(rev.text + 1, ev->rev, rev.len - 2) == 0;

			rc = measured_add(own ? &ev->own : &ev->beside, line) < 0 ? err_nomem(err)
										  : 0;
		}
		at += line.len + 1;
	}
	if (rc < 0)
		return rc;
	measured_finish(&ev->own);
	measured_finish(&ev->beside);
	if (ev->own.n != artifact_cases(ev->af) ||
		(ev->head[0] != '\0' && ev->beside.n != artifact_cases(ev->af)))
		return err_set(err, EIO, "the runner measured %zu and %zu of %zu cases", ev->own.n,
			ev->beside.n, artifact_cases(ev->af));
	return 0;
}

/* ---- eval.json ---- */

static void put_case(struct buf *b, struct json_slice object)
{
	static const char *const keys[] = {
		"id", "pass", "output", "expected", "error", "latency_us", "lm_us", "egress"};
	struct json_slice v;
	size_t n = 0;

	(void)buf_putc(b, '{');
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		bool there = json_member(object, keys[i], &v);

		if (!there && i == 7)
			continue;
		(void)buf_addf(b, "%s\"%s\":", n++ > 0 ? "," : "", keys[i]);
		if (there)
			(void)json_compact(v, b);
		else
			(void)buf_puts(b, "null");
	}
	(void)buf_putc(b, '}');
}

static void put_compared(struct buf *b, const struct eval *ev)
{
	struct kscore ks;
	double median, noise;

	if (ev->head[0] == '\0') {
		(void)buf_puts(b, "null");
		return;
	}
	measured_k(&ev->beside, artifact_bytes(ev->af), NAN, &ks);
	noise = measured_noise(&ev->own, &ev->beside, &median);
	(void)buf_addf(b, "{\"revision\":\"%s\",\"accuracy\":", ev->head);
	(void)json_put_number(b, ev->beside.accuracy);
	(void)buf_puts(b, ",\"p50_latency_us\":");
	(void)json_put_number(b, ev->beside.p50_us);
	(void)buf_puts(b, ",\"latency_noise_us\":");
	(void)json_put_number(b, noise);
	(void)buf_puts(b, ",\"k\":");
	(void)json_put_number(b, ks.composite);
	(void)buf_addf(b, ",\"adapter_sha256\":\"%s\",\"latency_median_us\":", ev->head_adapter);
	(void)json_put_number(b, median);
	(void)buf_putc(b, '}');
}

static int render(const struct eval *ev, const struct kscore *ks, struct buf *out)
{
	struct buf b = BUF_INIT;
	char ts[TIME_TEXT_BYTES];
	int rc;

	(void)buf_addf(&b,
		"{\"spec\":\"kolm-eval-1\",\"revision\":\"%s\",\"ts\":\"%s\",\"artifact\":{"
		"\"file\":",
		ev->rev, time_text(time_now(), ts));
	(void)json_put_text(&b, ev->cf.artifact);
	(void)buf_addf(&b, ",\"sha256\":\"%s\"},\"base\":{\"path\":", artifact_sha256(ev->af));
	(void)json_put_text(&b, ev->cf.base_path != NULL ? ev->cf.base_path : ev->cf.base_model);
	(void)buf_addf(&b,
		",\"bytes\":%llu,\"xxh3\":\"%s\",\"types\":null},\"adapter_sha256\":\"%s\","
		"\"engine\":%s",
		(unsigned long long)ev->base_bytes, ev->base_xxh3, ev->adapter,
		ev->engine.len > 0 ? ev->engine.data : "null");
	(void)buf_addf(&b, ",\"passed\":%d,\"total\":%zu,\"accuracy\":", ev->own.passed, ev->own.n);
	(void)json_put_number(&b, ev->own.accuracy);
	(void)buf_puts(&b, ",\"coverage\":1,\"p50_latency_us\":");
	(void)json_put_number(&b, ev->own.p50_us);
	(void)buf_puts(&b, ",\"k\":");
	(void)json_put_number(&b, ks->composite);
	(void)buf_puts(&b, ",\"k_score\":");
	(void)kscore_render(ks, false, &b);
	(void)buf_puts(&b, ",\"compared\":");
	put_compared(&b, ev);
	(void)buf_addf(&b, ",\"egress\":%d,\"walls\":%s,\"cases\":[",
		ev->own.egress + ev->beside.egress, ev->walls.len > 0 ? ev->walls.data : "{}");
	for (size_t i = 0; i < ev->own.n; i++) {
		if (i > 0)
			(void)buf_putc(&b, ',');
		put_case(&b, ev->own.list[i].json);
	}
	(void)buf_puts(&b, "],\"settings\":{\"gate_k_min\":");
	(void)json_put_number(&b, ev->cf.k_min);
	(void)buf_addf(&b, ",\"gate_require_improvement\":%s",
		ev->cf.require_improvement ? "true" : "false");
	(void)buf_puts(&b, buf_str(&ev->settings));
	if (ev->jb->timeout_s > 0)
		(void)buf_addf(&b, ",\"timeout\":%lld", (long long)ev->jb->timeout_s);
	(void)buf_puts(&b, "}}");
	rc = b.failed ? -ENOMEM : json_pretty((struct json_slice){b.data, b.len}, out);
	buf_release(&b);
	return rc;
}

/* eval.receipt.json beside it: signed, over the inputs of the cases and what came of them */
static int keep_receipt(struct eval *ev, int dir, const struct buf *eval, struct err *err)
{
	struct proof p = {.is_eval = true,
		.af = ev->af,
		.artifact_file = ev->cf.artifact,
		.revision = ev->rev,
		.walls = {buf_str(&ev->walls), ev->walls.len},
		.passed = (size_t)ev->own.passed,
		.total = ev->own.n};
	struct json_slice cases = {"[]", 2};
	struct buf text = BUF_INIT;
	int rc;

	(void)json_member((struct json_slice){eval->data, eval->len}, "cases", &cases);
	if (proof_inputs(ev->af, p.input_sha256) < 0 || proof_cases(cases, p.output_sha256) < 0)
		return err_nomem(err);
	rc = kolm_prove(ev->jb->k, ev->jb->slug, &p, &text, err);
	if (rc == 0)
		rc = replace_file(dir, "eval.receipt.json", text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

/* a file as it was before; where that cannot be had back there is none: an eval is made again */
static void put_back(int dir, const char *name, int was, const struct buf *text)
{
	if (was < 0 || replace_file(dir, name, text->data, text->len, 0600, NULL) < 0)
		(void)unlinkat(dir, name, 0);
}

/* the receipt, the eval, the line of the log: all of them, or what was there before. An attempt to
 * reach the network stays recorded whatever fails. */
static int keep(struct eval *ev, int dir, const struct buf *text, double k, struct err *err)
{
	int egress = ev->own.egress + ev->beside.egress;
	struct buf eval = BUF_INIT, receipt = BUF_INIT;
	int had_eval = read_file(dir, "eval.json", CASES_BYTES_MAX, &eval, NULL),
	    had_receipt = read_file(dir, "eval.receipt.json", CASES_BYTES_MAX, &receipt, NULL);
	char kt[NUM_TEXT_BYTES], accuracy[NUM_TEXT_BYTES];
	struct job *jb = ev->jb;
	int rc = keep_receipt(ev, dir, text, err);

	if (rc == 0 || egress > 0) {
		int rc2 = replace_file(
			dir, "eval.json", text->data, text->len, 0600, rc == 0 ? err : NULL);

		rc = rc == 0 ? rc2 : rc;
	}
	if (rc == 0 && egress > 0)
		rc = log_event(jb->k, jb->slug, jb->rec.id, &jb->by, err, "egress_blocked",
			"\"revision\":\"%s\",\"attempts\":%d", ev->rev, egress);
	else if (rc == 0)
		rc = log_event(jb->k, jb->slug, jb->rec.id, &jb->by, err, "eval_complete",
			"\"revision\":\"%s\",\"k\":%s,\"accuracy\":%s", ev->rev, num_text(k, kt),
			num_text(ev->own.accuracy, accuracy));
	if (rc < 0 && egress == 0) {
		put_back(dir, "eval.json", had_eval, &eval);
		put_back(dir, "eval.receipt.json", had_receipt, &receipt);
	}
	buf_release(&eval);
	buf_release(&receipt);
	return rc;
}

static int record(struct eval *ev, struct err *err)
{
	int egress = ev->own.egress + ev->beside.egress, dir = -1, rc;
	struct job *jb = ev->jb;
	struct buf text = BUF_INIT;
	struct kscore ks;

	measured_k(&ev->own, artifact_bytes(ev->af), NAN, &ks);
	rc = render(ev, &ks, &text) < 0 ? err_nomem(err) : 0;
	if (rc == 0)
		rc = dir = revision_open(&ev->tn, ev->rev, err);
	if (dir >= 0) {
		rc = keep(ev, dir, &text, ks.composite, err);
		close(dir);
	}
	buf_release(&text);
	if (rc < 0)
		return rc;
	job_measured(jb, ks.composite, ev->own.passed, (int)ev->own.n);
	return egress == 0
		       ? 0
		       : err_set(err, EPERM,
				 "egress attempt: %d cases tried to reach the network; %s cannot "
				 "be promoted",
				 egress, ev->rev);
}

int eval_run(struct job *jb, const char *rev, struct err *err)
{
	struct eval ev = {.jb = jb, .out = -1, .log = -1};
	int rc;

	rc = tune_open(&jb->k->st, jb->slug, &ev.tn, err);
	if (rc < 0)
		return rc;
	ev.log = rc = job_log_open(jb, err);
	if (rc >= 0)
		rc = open_eval(&ev, rev, err);
	if (rc == 0)
		rc = measure(&ev, err);
	if (rc == 0)
		rc = read_cases(&ev, err);
	if (rc == 0)
		rc = record(&ev, err);
	if (ev.out >= 0)
		close(ev.out);
	if (ev.log >= 0)
		close(ev.log);
	measured_release(&ev.own);
	measured_release(&ev.beside);
	buf_release(&ev.walls);
	buf_release(&ev.engine);
	buf_release(&ev.settings);
	buf_release(&ev.lines);
	artifact_free(ev.af);
	config_release(&ev.cf);
	tune_close(&ev.tn);
	return rc;
}
