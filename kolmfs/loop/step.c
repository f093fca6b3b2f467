/*
 * step - captures become a candidate revision: rows (a runner finds out what the model should have
 * said), the worker behind walls, and a revision published whole or not at all (DESIGN section 4,
 * PROTOCOLS sections 1, 2 and 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"
#include "loop/train.h"

/* ---- before the job: what can be refused at the write ---- */

int captures_seen(
	const struct tune *tn, int capfd, const char *rev, uint64_t *bytes, struct err *err)
{
	cJSON *train = NULL;
	const cJSON *cap;
	const char *want;
	char sha[65];
	int rc;

	*bytes = 0;
	rc = rev_json(tn, rev, "train.json", &train, err);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	cap = cJSON_GetObjectItemCaseSensitive(train, "captures");
	want = json_get_string(cap, "sha256");
	double end = json_get_number(cap, "bytes", 0);
	if (want != NULL && end > 0 && end < 9e15 &&
		sha256_fd(capfd, 0, (uint64_t)end, sha, NULL) == 0 && strcmp(sha, want) == 0)
		*bytes = (uint64_t)end;
	cJSON_Delete(train);
	return 0;
}

struct json_slice *case_inputs(const struct artifact *af, size_t *n)
{
	struct json_slice *list;

	*n = artifact_cases(af);
	list = calloc(*n + 1, sizeof(*list));
	for (size_t i = 0; list != NULL && i < *n; i++)
		list[i] = artifact_case(af, i)->input;
	return list;
}

/* -ENODATA with the reason when nothing at or after ${from} teaches */
static int something_teaches(int capfd, const struct artifact *af, const struct step_options *o,
	uint64_t from, struct err *err)
{
	struct teach_options opt = {
		.from = from, .end = UINT64_MAX, .seed = (uint64_t)o->seed, .all = o->all};
	struct capture_counts counts;
	struct teach te;
	int rc;

	rc = captures_scan(capfd, UINT64_MAX, NULL, NULL, &counts, err);
	if (rc < 0)
		return rc;
	uint64_t bad = counts.broken + counts.torn + counts.oversize;
	if (counts.rows == 0)
		return bad == 0 ? err_set(err, ENODATA, "no captures yet")
				: err_set(err, ENODATA, "no usable captures (%llu skipped)",
					  (unsigned long long)bad);
	opt.cases = case_inputs(af, &opt.ncases);
	if (opt.cases == NULL)
		return err_nomem(err);
	rc = captures_teach(capfd, &opt, &te, err);
	free((void *)opt.cases);
	if (rc < 0)
		return rc;
	if (te.fresh == 0 && te.model > 0)
		rc = err_set(err, ENODATA,
			"nothing teaches yet: %llu rows the model answered itself wait for a look "
			"(append corrections, or kolm captures confirm)",
			(unsigned long long)te.model);
	else if (te.fresh == 0)
		rc = err_set(err, ENODATA,
			"no captures yet that teach something new (%llu known, %llu equal to a "
			"test case, %llu dropped)",
			(unsigned long long)te.n, (unsigned long long)te.cases,
			(unsigned long long)te.dropped);
	teach_release(&te);
	return rc;
}

static int check_step(struct kolm *k, const struct tune *tn, const struct step_options *o,
	const struct artifact *af, struct err *err)
{
	char from[REV_BYTES];
	struct head hd;
	uint64_t seen;
	int cap, rc;

	rc = head_load(tn, &hd, err);
	if (rc < 0)
		return rc;
	(void)snprintf(from, sizeof(from), "%s", o->from[0] != '\0' ? o->from : hd.head);
	rc = revision_open(tn, from, err);
	if (rc < 0)
		return rc;
	close(rc);
	cap = captures_open(tn, err);
	if (cap == -ENOENT)
		return err_set(err, ENODATA, "no captures yet");
	if (cap < 0)
		return cap;
	rc = captures_seen(tn, cap, from, &seen, err);
	if (rc == 0)
		rc = something_teaches(cap, af, o, seen, err);
	close(cap);
	(void)k;
	return rc;
}

int step_accept(struct kolm *k, const char *slug, const struct step_options *o, const struct by *by,
	enum job_kind kind, uint64_t *id, struct err *err)
{
	struct artifact *af;
	struct job *jb;
	struct tune tn;
	int lock, rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, slug, &af, err);
	if (rc < 0)
		goto out;
	rc = check_step(k, &tn, o, af, err);
	artifact_free(af);
	if (rc < 0)
		goto out;
	jb = job_new(k, kind, slug, by);
	if (jb == NULL) {
		rc = err_nomem(err);
		goto out;
	}
	rc = tune_lock_job(&tn, &jb->slug_lock, err);
	if (rc == 0)
		rc = tune_lock(&tn, &lock, err);
	if (rc < 0) {
		if (jb->slug_lock >= 0)
			close(jb->slug_lock);
		free(jb);
		goto out;
	}
	jb->step = *o;
	(void)snprintf(jb->rec.verb, sizeof(jb->rec.verb), "%s%s",
		kind == JOB_CYCLE ? "cycle" : "step", o->given);
	rc = revision_next(&tn, jb->rec.rev, err);
	if (rc == 0) {
		rc = job_accept(k, jb, id, err);
	} else {
		close(jb->slug_lock);
		free(jb);
	}
	close(lock);
out:
	tune_close(&tn);
	return rc;
}

int loop_step(struct kolm *k, const char *slug, const struct step_options *o, const struct by *by,
	uint64_t *job, struct err *err)
{
	return step_accept(k, slug, o, by, JOB_STEP, job, err);
}

int loop_cycle(
	struct kolm *k, const char *slug, const struct by *by, uint64_t *job, struct err *err)
{
	struct step_options o;

	step_options_default(&o);
	return step_accept(k, slug, &o, by, JOB_CYCLE, job, err);
}

/* ---- the job ---- */

/* plan.json: what was frozen, so that a step cut short goes on with the same rows */
static int save_plan(const struct train *t, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_addf(&text,
		"{\"from\":\"%s\",\"rows\":%llu,\"bytes\":%llu,\"sha256\":\"%s\",\"seen\":%llu}",
		t->from, (unsigned long long)t->captures_rows,
		(unsigned long long)t->captures_bytes, t->captures_sha256,
		(unsigned long long)t->captures_from);
	rc = text.failed ? err_nomem(err)
			 : replace_file(t->jb->dir, "plan.json", text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

static int load_plan(struct train *t, struct err *err)
{
	struct buf text = BUF_INIT;
	cJSON *plan = NULL;
	int rc;

	rc = read_file(t->jb->dir, "plan.json", 4096, &text, err);
	if (rc == 0)
		rc = json_parse(text.data, text.len, &plan, err);
	buf_release(&text);
	if (rc < 0)
		return rc;
	const char *from = json_get_string(plan, "from"), *sha = json_get_string(plan, "sha256");
	(void)snprintf(t->from, sizeof(t->from), "%s", from != NULL ? from : "");
	t->captures_rows = (uint64_t)json_get_number(plan, "rows", 0);
	t->captures_bytes = (uint64_t)json_get_number(plan, "bytes", 0);
	t->captures_from = (uint64_t)json_get_number(plan, "seen", 0);
	rc = sha256_fd(t->capfd, 0, t->captures_bytes, t->captures_sha256, err);
	if (rc == 0 && (sha == NULL || strcmp(sha, t->captures_sha256) != 0))
		rc = err_set(
			err, ESTALE, "captures.jsonl was replaced or cut since the step began");
	cJSON_Delete(plan);
	return rc;
}

/* freeze: what is appended from here on counts toward the next step */
static int make_plan(struct train *t, struct err *err)
{
	struct capture_counts counts;
	struct head hd;
	int rc;

	rc = head_load(&t->tn, &hd, err);
	if (rc < 0)
		return rc;
	(void)snprintf(t->from, sizeof(t->from), "%s",
		t->jb->step.from[0] != '\0' ? t->jb->step.from : hd.head);
	rc = captures_scan(t->capfd, UINT64_MAX, NULL, NULL, &counts, err);
	if (rc == 0)
		rc = sha256_fd(t->capfd, 0, counts.bytes, t->captures_sha256, err);
	t->captures_rows = counts.rows;
	t->captures_bytes = counts.bytes;
	if (rc == 0)
		rc = captures_seen(&t->tn, t->capfd, t->from, &t->captures_from, err);
	return rc < 0 ? rc : save_plan(t, err);
}

static int open_all(struct train *t, struct err *err)
{
	struct kolm *k = t->jb->k;
	int rc;

	rc = config_load(&t->tn, &t->cf, err);
	if (rc < 0)
		return rc;
	rc = kolm_artifact_open(k, t->jb->slug, &t->af, err);
	if (rc < 0)
		return rc;
	rc = base_identify(k, t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model,
		&t->base_bytes, t->base_xxh3, err);
	if (rc < 0)
		return rc;
	t->capfd = captures_open(&t->tn, err);
	if (t->capfd < 0)
		return t->capfd;
	/* one that was stopped before it had a plan begins now */
	rc = t->jb->resumed && faccessat(t->jb->dir, "plan.json", F_OK, 0) == 0 ? load_plan(t, err)
										: make_plan(t, err);
	return rc < 0 ? rc : train_same_base(t, err);
}

/* rows.jsonl: prompts as served, and the answers that would have been right */
static int make_rows(struct train *t, struct err *err)
{
	struct job *jb = t->jb;
	struct buf request = BUF_INIT, answer = BUF_INIT;
	int fds[2], rc;
	struct runner_start rs = {.artifact = t->cf.artifact_path,
		.slug = jb->slug,
		.base = t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model,
		.fds = fds,
		.nfds = 2,
		.log = t->log,
		.job = jb};
	struct json_slice line, v;
	struct runner *rn;

	fds[0] = t->capfd;
	fds[1] = openat(jb->dir, "rows.jsonl", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fds[1] < 0)
		return err_sys(err, "cannot create rows.jsonl");
	(void)buf_addf(&request,
		"{\"id\":1,\"op\":\"rows\",\"captures\":10,\"bytes\":%llu,\"from\":%llu,\"replay\":"
		"%d,\"seed\":%lld,\"policy\":\"%s\",\"out\":11}",
		(unsigned long long)t->captures_bytes, (unsigned long long)t->captures_from,
		t->cf.sample_size, (long long)jb->step.seed, jb->step.all ? "all" : "teach");
	rc = request.failed ? err_nomem(err) : runner_start(jb->k, &rs, &rn, err);
	if (rc == 0) {
		rc = job_worker_set(jb, runner_pid(rn), err);
		if (rc == 0)
			rc = runner_call(rn, request.data, request.len, NULL, NULL, &answer, err);
		(void)job_worker_set(jb, 0, NULL);
		runner_end(rn, rc < 0);
	}
	if (rc < 0 && jb->cancel) /* what the runner was ended by, not that it ended */
		rc = err_set(err, ECANCELED, "cancelled");
	line = (struct json_slice){buf_str(&answer), answer.len};
	if (rc == 0)
		rc = answer_is_of(line, t->af != NULL ? artifact_sha256(t->af) : NULL, err);
	if (rc == 0) {
		t->rows = json_member(line, "rows", &v) ? (uint64_t)json_double(v) : 0;
		t->fixed = json_member(line, "fixed", &v) && json_true(v);
		if (json_member(line, "skipped", &v)) {
			struct json_slice n;

			for (size_t pos = 0; json_next(v, &pos, NULL, &n);)
				t->skipped_total += (uint64_t)json_double(n);
			rc = buf_add(&t->skipped, v.text, v.len) < 0 ? err_nomem(err) : 0;
		}
	}
	if (rc == 0 && t->rows == 0)
		rc = err_set(err, ENODATA, "no usable captures (%llu skipped)",
			(unsigned long long)t->skipped_total);
	if (rc == 0)
		rc = sha256_fd(fds[1], 0, UINT64_MAX, t->rows_sha256, err);
	close(fds[1]);
	buf_release(&request);
	buf_release(&answer);
	return rc;
}

/* --captures: the training rows in captures form, so that a worker of the reference's kind trains
 * what is served */
static int make_captures(struct train *t, struct err *err)
{
	struct buf rows = BUF_INIT, out = BUF_INIT;
	int rc = read_file(t->jb->dir, "rows.jsonl", 1 << 30, &rows, err);

	for (char *p = rows.data; rc == 0 && p != NULL && p < rows.data + rows.len;) {
		char *lf = memchr(p, '\n', (size_t)(rows.data + rows.len - p));
		struct json_slice line = {p,
					  (size_t)((lf != NULL ? lf : rows.data + rows.len) - p)},
				  prompt, answer;

		rc = json_check(line.text, line.len, NULL);
		if (rc < 0) {
			rc = rc == -ENOMEM
				     ? err_nomem(err)
				     : err_set(err, EIO, "the runner wrote rows that are no JSON");
			break;
		}
		if (json_member(line, "prompt", &prompt) && json_member(line, "answer", &answer)) {
			(void)buf_puts(&out, "{\"input\":");
			(void)buf_add(&out, prompt.text, prompt.len);
			(void)buf_puts(&out, ",\"output\":");
			(void)buf_add(&out, answer.text, answer.len);
			(void)buf_puts(&out, "}\n");
		}
		p = lf != NULL ? lf + 1 : NULL;
	}
	if (rc == 0)
		rc = out.failed ? err_nomem(err)
				: replace_file(t->jb->dir, "captures.jsonl", buf_str(&out), out.len,
					  0600, err);
	buf_release(&rows);
	buf_release(&out);
	return rc;
}

int train_rows(struct train *t, struct err *err)
{
	int rc;

	job_progress(t->jb, "reading what the rows teach");
	rc = make_rows(t, err);
	return rc == 0 ? make_captures(t, err) : rc;
}

static int step_body(struct train *t, struct err *err)
{
	struct job *jb = t->jb;
	int rc;

	t->log = rc = job_log_open(jb, err);
	if (rc < 0)
		return rc;
	rc = open_all(t, err);
	if (rc == 0)
		rc = train_room(t, err);
	if (rc == 0)
		rc = train_rows(t, err);
	if (rc == 0)
		rc = train_work(t, err);
	if (rc == 0)
		rc = train_publish(t, err);
	return rc;
}

/* the line of a finished step; how many epochs it needed, where its worker says that (0: not) */
static int log_complete(
	const struct train *t, double elapsed_sec, double epochs, bool recovered, struct err *err)
{
	const struct job *jb = t->jb;
	char more[32] = "";

	if (epochs >= 1 && epochs <= 1000)
		(void)snprintf(more, sizeof(more), ",\"epochs_trained\":%.0f", epochs);
	return log_event(jb->k, jb->slug, jb->rec.id, &jb->by, err, "step_complete",
		"\"revision\":\"%s\",\"elapsed_sec\":%.2f%s%s", jb->rec.rev, elapsed_sec, more,
		recovered ? ",\"recovered\":true" : "");
}

/* a server that died between publishing and the line of the log: the line comes now, once */
static int say_complete(const struct train *t, struct err *err)
{
	struct job *jb = t->jb;
	struct buf lines = BUF_INIT;
	cJSON *train = NULL;
	char want[80];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2; i++) /* it may have turned over since */
		rc = log_slug_back(&jb->k->st, jb->slug, i, &lines, err);
	if (rc == -ENOENT)
		rc = 0;
	(void)snprintf(want, sizeof(want), "{\"event\":\"step_complete\",\"revision\":\"%s\",",
		jb->rec.rev);
	if (rc == 0 && strstr(buf_str(&lines), want) == NULL) {
		(void)rev_json(&t->tn, jb->rec.rev, "train.json", &train, NULL);
		rc = log_complete(t, json_get_number(train, "elapsed_sec", 0),
			json_get_number(train, "epochs_trained", 0), true, err);
		cJSON_Delete(train);
	}
	buf_release(&lines);
	return rc;
}

int step_run(struct job *jb, struct err *err)
{
	struct train t = {
		.jb = jb, .capfd = -1, .log = -1, .begun = clock_ms(), .last_heldout = NAN};
	struct buf quoted = BUF_INIT;
	int rc;

	rc = tune_open(&jb->k->st, jb->slug, &t.tn, err);
	if (rc < 0)
		return rc;
	/* a resumed one may have been published just before its server ended */
	rc = jb->resumed ? revision_open(&t.tn, jb->rec.rev, NULL) : -1;
	if (rc >= 0) {
		close(rc);
		rc = say_complete(&t, err);
		train_release(&t);
		return rc;
	}
	rc = step_body(&t, err);
	if (rc == 0) {
		struct json_slice result = {t.result.data, t.result.len}, v;
		double epochs = json_member(result, "epochs_trained", &v) ? json_double(v) : 0;

		rc = log_complete(&t, (double)(clock_ms() - t.begun) / 1000, epochs, false, err);
		if (rc < 0)
			train_unpublish(&t);
	} else if (!jb->stop_keeps) {
		(void)json_put_text(&quoted, err->text);
		(void)log_event(jb->k, jb->slug, jb->rec.id, &jb->by, NULL, "step_failed",
			"\"error\":%s,\"code\":\"%s\"", buf_str(&quoted),
			err->code[0] != '\0' ? err->code : err_name(-rc));
		buf_release(&quoted);
	}
	/* what a killed or failed step left, unless it is to go on at the next start, under the
	 * same number */
	if (rc < 0 && !jb->stop_keeps)
		job_no_revision(jb);
	if (!jb->stop_keeps)
		(void)dir_remove(jb->dir, "out", NULL);
	train_release(&t);
	return rc;
}
