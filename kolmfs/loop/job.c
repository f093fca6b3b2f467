/*
 * job - work that outlives the command that asked for it: accepted, numbered and journalled at
 * once, done on a thread of its own.
 *
 * Jobs that use the model run one at a time: in the order accepted within a process, and by
 * flock(jobs.lock) against others. A slug has at most one job (flock(.job.lock) of the slug, held
 * from acceptance to the end).
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"

static const char *const kind_names[] = {[JOB_STEP] = "step",
	[JOB_EVAL] = "eval",
	[JOB_CYCLE] = "cycle",
	[JOB_INDEX] = "index",
	[JOB_REPLAY] = "replay"};

struct job *job_new(struct kolm *k, enum job_kind kind, const char *slug, const struct by *by)
{
	struct job *jb = calloc(1, sizeof(*jb));

	if (jb == NULL)
		return NULL;
	jb->k = k;
	jb->kind = kind;
	jb->by = *by;
	jb->dir = -1;
	jb->slug_lock = -1;
	jb->rec.k = NAN;
	if (slug != NULL)
		(void)snprintf(jb->slug, sizeof(jb->slug), "%s", slug);
	(void)snprintf(jb->progress, sizeof(jb->progress), "-");
	return jb;
}

static void job_free(struct job *jb)
{
	if (jb->dir >= 0)
		close(jb->dir);
	if (jb->slug_lock >= 0)
		close(jb->slug_lock);
	free(jb);
}

int job_busy(struct kolm *k, const char *slug, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&k->lock);
	for (struct job *jb = k->jobs; jb != NULL && rc == 0; jb = jb->next)
		if (strcmp(jb->slug, slug) == 0 && jb->rec.state != JOB_DONE)
			rc = err_set(err, EBUSY, "job %llu (%s) is running",
				(unsigned long long)jb->rec.id, kind_names[jb->kind]);
	pthread_mutex_unlock(&k->lock);
	return rc;
}

void job_progress(struct job *jb, const char *fmt, ...)
{
	char text[sizeof(jb->progress)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&jb->k->lock);
	memcpy(jb->progress, text, sizeof(text));
	pthread_mutex_unlock(&jb->k->lock);
	change(jb->k, jb->slug, CHANGE_STATUS | CHANGE_LOG);
}

int job_worker_set(struct job *jb, pid_t pid, struct err *err)
{
	bool cancelled;

	pthread_mutex_lock(&jb->k->lock);
	cancelled = jb->cancel && pid > 0;
	jb->worker = cancelled ? 0 : pid;
	pthread_mutex_unlock(&jb->k->lock);
	if (!cancelled)
		return 0;
	(void)spawner_kill(jb->k->sp, pid, SIGKILL, NULL);
	return err_set(err, ECANCELED, "cancelled");
}

int job_log_open(struct job *jb, struct err *err)
{
	int fd = openat(
		jb->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(err, "cannot open the job's log") : fd;
}

static bool uses_model(const struct job *jb)
{
	return jb->kind != JOB_INDEX;
}

/* wait until every model job accepted before this one is over; false when cancelled meanwhile */
static bool wait_turn(struct job *jb)
{
	struct kolm *k = jb->k;
	bool first;

	pthread_mutex_lock(&k->lock);
	for (;;) {
		struct job *other = k->jobs;

		while (other != jb && !uses_model(other))
			other = other->next;
		first = other == jb;
		if (first || jb->cancel)
			break;
		pthread_cond_wait(&k->wake, &k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return first && !jb->cancel;
}

void job_measured(struct job *jb, double k, int pass, int total)
{
	pthread_mutex_lock(&jb->k->lock);
	jb->rec.k = k;
	jb->rec.pass = pass;
	jb->rec.total = total;
	pthread_mutex_unlock(&jb->k->lock);
}

void job_died(struct job *jb, int signal)
{
	pthread_mutex_lock(&jb->k->lock);
	jb->rec.signal = signal;
	pthread_mutex_unlock(&jb->k->lock);
}

void job_no_revision(struct job *jb)
{
	pthread_mutex_lock(&jb->k->lock);
	jb->rec.rev[0] = '\0';
	pthread_mutex_unlock(&jb->k->lock);
}

static int save_state(struct job *jb, enum job_state state, struct err *err)
{
	struct job_record rec;
	int home, rc;

	pthread_mutex_lock(&jb->k->lock);
	jb->rec.state = state;
	rec = jb->rec;
	pthread_mutex_unlock(&jb->k->lock);
	home = job_home(jb->k, jb->slug, err);
	if (home < 0)
		return home;
	rc = journal_append(home, &rec, err);
	close(home);
	if (rc == 0)
		change(jb->k, jb->slug, CHANGE_JOB | CHANGE_STATUS);
	return rc;
}

/* under k->lock */
static void unlink_job(struct job **list, const struct job *jb)
{
	while (*list != jb)
		list = &(*list)->next;
	*list = jb->next;
}

/*
 * Jobs whose end could not be written stay in k->ended, so that who waits for them hears of it.
 * They are tried again when the next job has found room for its own line, and at the end; none is
 * accepted in between, so these are few.
 */
static void ended_push(struct job *jb)
{
	jb->next = jb->k->ended;
	jb->k->ended = jb;
}

void jobs_settle(struct kolm *k)
{
	struct job *jb;

	do {
		pthread_mutex_lock(&k->lock);
		jb = k->ended;
		if (jb != NULL)
			k->ended = jb->next;
		pthread_mutex_unlock(&k->lock);
		if (jb != NULL && save_state(jb, JOB_DONE, NULL) < 0) {
			pthread_mutex_lock(&k->lock);
			ended_push(jb);
			pthread_mutex_unlock(&k->lock);
			return;
		}
		if (jb != NULL)
			job_free(jb);
	} while (jb != NULL);
}

void jobs_forget(struct kolm *k)
{
	for (struct job *jb = k->ended, *next; jb != NULL; jb = next) {
		next = jb->next;
		job_free(jb);
	}
}

/* 1 when ${rev} is HEAD: the server died between the promotion and the end of this job, and nothing
 * is left to do but to say what was measured */
static int is_promoted(struct job *jb, const char *rev, struct err *err)
{
	cJSON *eval = NULL;
	struct head hd;
	struct tune tn;
	int rc = tune_open(&jb->k->st, jb->slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = head_load(&tn, &hd, err);
	if (rc == 0)
		rc = strcmp(hd.head, rev) == 0;
	if (rc > 0 && rev_json(&tn, rev, "eval.json", &eval, NULL) == 0) {
		job_measured(jb, json_get_number(eval, "k", NAN),
			(int)json_get_number(eval, "passed", 0),
			(int)json_get_number(eval, "total", 0));
		cJSON_Delete(eval);
	}
	tune_close(&tn);
	return rc;
}

/* step, eval, promote as one job; a refused gate is an outcome, not a failure. What is cancelled
 * does not go on with its next part. */
static int cycle_run(struct job *jb, struct err *err)
{
	struct head now;
	char rev[REV_BYTES];
	int rc;

	rc = step_run(jb, err);
	if (rc < 0)
		return rc;
	memcpy(rev, jb->rec.rev, sizeof(rev));
	rc = jb->resumed ? is_promoted(jb, rev, err) : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = jb->cancel ? err_set(err, ECANCELED, "cancelled") : eval_run(jb, rev, err);
	if (rc == 0 && jb->cancel)
		rc = err_set(err, ECANCELED, "cancelled");
	if (rc < 0)
		return rc;
	return promote_gated(jb->k, jb->slug, rev, false, NULL, &jb->by, jb->rec.id, &now, err);
}

static int run_body(struct job *jb, struct err *err)
{
	switch (jb->kind) {
	case JOB_STEP:
		return step_run(jb, err);
	case JOB_EVAL:
		return eval_run(jb, jb->rev, err);
	case JOB_CYCLE:
		return cycle_run(jb, err);
	case JOB_REPLAY:
		return replay_run(jb, err);
	default:
		return index_run(jb, err);
	}
}

static void set_outcome(struct job *jb, int rc, const struct err *err)
{
	struct job_record *r = &jb->rec;

	if (rc == 0)
		r->outcome = JOB_OK;
	else if (strcmp(err->code, "K_GATE") == 0)
		r->outcome = JOB_GATE;
	else if (jb->cancel)
		r->outcome = jb->stop_keeps ? JOB_INTERRUPTED : JOB_CANCELLED;
	else
		r->outcome = r->signal != 0 ? JOB_CRASHED : JOB_FAILED;
	if (rc < 0)
		(void)snprintf(r->error, sizeof(r->error), "%s", err->text);
}

/* a step that ended before it began has no revision, and needs no checkpoint of an earlier try */
static void leave_number(struct job *jb)
{
	if (jb->stop_keeps || (jb->kind != JOB_STEP && jb->kind != JOB_CYCLE))
		return;
	job_no_revision(jb);
	(void)dir_remove(jb->dir, "out", NULL);
}

static void *job_main(void *arg)
{
	struct job *jb = arg;
	struct kolm *k = jb->k;
	struct err err = ERR_NONE;
	int model_lock = -1, rc = 0;

	if (uses_model(jb) && !wait_turn(jb))
		rc = err_set(&err, ECANCELED, "cancelled before it began");
	else if (uses_model(jb))
		rc = store_lock_jobs(&k->st, &jb->cancel, &model_lock, &err);
	pthread_mutex_lock(&k->lock);
	jb->rec.started_ms = time_now();
	jb->begun = clock_ms();
	pthread_mutex_unlock(&k->lock);
	if (rc == 0)
		rc = save_state(jb, JOB_RUNNING, &err);
	if (rc == 0)
		rc = run_body(jb, &err);
	else
		leave_number(jb);
	if (model_lock >= 0)
		close(model_lock);
	pthread_mutex_lock(&k->lock);
	jb->rec.elapsed = (double)(clock_ms() - jb->begun) / 1000;
	set_outcome(jb, rc, &err);
	pthread_mutex_unlock(&k->lock);
	/* who sees the job done may start the next one at once */
	if (jb->slug_lock >= 0)
		close(jb->slug_lock);
	jb->slug_lock = -1;
	bool is_saved = save_state(jb, JOB_DONE, &err) == 0;
	if (!is_saved)
		(void)fprintf(
			stderr, "kolm: job %llu: %s\n", (unsigned long long)jb->rec.id, err.text);
	/* last touch of k: kolm_close() may return as soon as the list is seen empty */
	pthread_mutex_lock(&k->lock);
	unlink_job(&k->jobs, jb);
	if (!is_saved)
		ended_push(jb);
	k->changes++;
	pthread_cond_broadcast(&k->wake);
	pthread_mutex_unlock(&k->lock);
	if (is_saved)
		job_free(jb);
	return NULL;
}

/* a slug has one job, and ${jb} holds its lock; index jobs have none of their own */
static int take_number(struct job *jb, int home, struct err *err)
{
	int lock = -1, rc = 0;

	if (jb->resumed)
		return journal_append(home, &jb->rec, err);
	if (jb->kind == JOB_INDEX)
		rc = store_lock_index_number(&jb->k->st, &lock, err);
	if (rc == 0)
		rc = journal_new(home, &jb->rec, err);
	if (lock >= 0)
		close(lock);
	return rc;
}

static int reserve(struct job *jb, struct err *err)
{
	char name[24];
	int home, jobs, rc;

	home = job_home(jb->k, jb->slug, err);
	if (home < 0)
		return home;
	rc = take_number(jb, home, err);
	if (rc == 0) {
		rc = jobs = dir_make(home, "jobs", err);
		if (rc >= 0) {
			(void)snprintf(name, sizeof(name), "%llu", (unsigned long long)jb->rec.id);
			/* one whose process died between its line and its folder has none yet */
			rc = jb->dir = dir_make(jobs, name, err);
			close(jobs);
		}
	}
	close(home);
	return rc < 0 ? rc : 0;
}

int job_accept(struct kolm *k, struct job *jb, uint64_t *id, struct err *err)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_mutex_lock(&k->lock);
	bool closing = k->closing;
	pthread_mutex_unlock(&k->lock);
	if (closing) {
		job_free(jb);
		return err_set(err, EBUSY, "the server is shutting down");
	}
	rc = reserve(jb, err);
	if (rc < 0) {
		job_free(jb);
		return rc;
	}
	*id = jb->rec.id;
	jobs_settle(k);
	pthread_mutex_lock(&k->lock);
	struct job **tail = &k->jobs;
	while (*tail != NULL)
		tail = &(*tail)->next;
	*tail = jb;
	pthread_mutex_unlock(&k->lock);
	change(k, jb->slug, CHANGE_JOB | CHANGE_STATUS);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, job_main, jb);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	/* no thread to be had: the job is over before it began */
	pthread_mutex_lock(&k->lock);
	unlink_job(&k->jobs, jb);
	jb->rec.outcome = JOB_FAILED;
	(void)snprintf(
		jb->rec.error, sizeof(jb->rec.error), "cannot start a thread: %s", strerror(rc));
	pthread_mutex_unlock(&k->lock);
	(void)save_state(jb, JOB_DONE, NULL);
	job_free(jb);
	return err_set(err, rc, "cannot start a thread: %s", strerror(rc));
}

int job_accept_rev(struct kolm *k, enum job_kind kind, const struct tune *tn, const char *rev,
	int64_t timeout_s, const struct by *by, uint64_t *id, struct err *err)
{
	struct job *jb = job_new(k, kind, tn->slug, by);
	int rc;

	if (jb == NULL)
		return err_nomem(err);
	rc = tune_lock_job(tn, &jb->slug_lock, err);
	if (rc < 0) {
		free(jb);
		return rc;
	}
	(void)snprintf(jb->rev, sizeof(jb->rev), "%s", rev);
	(void)snprintf(jb->rec.rev, sizeof(jb->rec.rev), "%s", rev);
	jb->timeout_s = timeout_s;
	if (timeout_s > 0)
		(void)snprintf(jb->rec.verb, sizeof(jb->rec.verb), "%s %s timeout=%lld",
			kind_names[kind], rev, (long long)timeout_s);
	else
		(void)snprintf(jb->rec.verb, sizeof(jb->rec.verb), "%s %s", kind_names[kind], rev);
	return job_accept(k, jb, id, err);
}

int loop_cancel(struct kolm *k, const char *slug, uint64_t id, const struct by *by, struct err *err)
{
	bool was_cancelled = false;
	struct job *jb;
	pid_t worker = 0;

	pthread_mutex_lock(&k->lock);
	for (jb = k->jobs; jb != NULL; jb = jb->next)
		/* one that is over may be seen a little longer than its slug is taken */
		if (strcmp(jb->slug, slug != NULL ? slug : "") == 0 &&
			(id == 0 || jb->rec.id == id) && jb->rec.state != JOB_DONE)
			break;
	if (jb != NULL) {
		was_cancelled = jb->cancel;
		jb->cancel = true;
		worker = jb->worker;
		id = jb->rec.id;
	}
	pthread_mutex_unlock(&k->lock);
	if (jb == NULL)
		return err_set(err, ESRCH, "no job is running");
	/* what the job did is its own line's to say; that it did not end by itself is said here, as
	 * well as a full disk lets it: the job must end also there */
	if (!was_cancelled)
		(void)log_event(k, slug, id, by, NULL, "cancelled", "%s", "");
	pthread_mutex_lock(&k->lock);
	pthread_cond_broadcast(&k->wake);
	pthread_mutex_unlock(&k->lock);
	if (worker > 0)
		(void)spawner_kill(k->sp, worker, SIGTERM, NULL);
	return 0;
}
