/*
 * watch - the thread that turns rows into cycles: every second it looks at the slugs whose watch is
 * on; rows that teach and came after the last completed step, whatever the gate said of it, are
 * counted against the threshold. Nothing is kept in memory that a restart needs: what the last step
 * saw stands in the newest revision's train.json. Also puts interrupted steps back into the queue
 * at the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"

enum { LOOK_MS = 1000, RETRY_MS = 60000, LIST_ROUNDS = 10 };

/* what is known of a watched slug; a restart may forget it */
struct watched {
	struct watched *next;
	char slug[SLUG_BYTES + 1];
	off_t size; /* of captures.jsonl when it was last counted */
	struct timespec mtime;
	struct capture_cache rows;
	struct stat files[2]; /* its config and its captures when it was last looked at */
	int64_t retry_at;     /* after a failed step: not before */
	uint64_t job;	      /* the cycle it started last */
	int error;	      /* the errno last told of: the same one is not told every minute */
	bool on;
};

struct round {
	struct kolm *k;
	struct watched **all;
	struct timespec listed; /* when the folder of slugs last changed, as of its last listing */
	unsigned rounds;
};

static struct watched *watched_get(struct round *r, const char *slug)
{
	struct watched *w;

	for (w = *r->all; w != NULL; w = w->next)
		if (strcmp(w->slug, slug) == 0)
			return w;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	(void)snprintf(w->slug, sizeof(w->slug), "%s", slug);
	w->next = *r->all;
	*r->all = w;
	return w;
}

/* rows that teach and came after the newest completed step */
static int count_fresh(struct kolm *k, const struct tune *tn, int cap, uint64_t *fresh,
	uint64_t *rows, struct err *err)
{
	struct teach_options opt = {.end = UINT64_MAX};
	struct capture_counts counts;
	char newest[REV_BYTES] = "v0";
	struct artifact *af;
	struct teach te;
	long *list = NULL;
	size_t n = 0;
	int rc;

	rc = revision_list(tn, &list, &n, err);
	if (rc < 0)
		return rc;
	if (n > 0)
		(void)snprintf(newest, sizeof(newest), "v%d", (int)list[n - 1]);
	free(list);
	rc = captures_seen(tn, cap, newest, &opt.from, err);
	if (rc == 0)
		rc = captures_scan(cap, UINT64_MAX, NULL, NULL, &counts, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, tn->slug, &af, err);
	if (rc < 0)
		return rc;
	opt.cases = case_inputs(af, &opt.ncases);
	rc = opt.cases == NULL ? err_nomem(err) : captures_teach(cap, &opt, &te, err);
	free((void *)opt.cases);
	artifact_free(af);
	if (rc < 0)
		return rc;
	*fresh = te.fresh;
	*rows = counts.rows;
	teach_release(&te);
	return 0;
}

int loop_fresh(struct kolm *k, const char *slug, uint64_t *fresh, uint64_t *rows, struct err *err)
{
	struct tune tn;
	int cap, rc = tune_open(&k->st, slug, &tn, err);

	if (rc < 0)
		return rc;
	*fresh = *rows = 0;
	cap = captures_open(&tn, err);
	if (cap >= 0) {
		rc = count_fresh(k, &tn, cap, fresh, rows, err);
		close(cap);
	} else if (cap != -ENOENT) {
		rc = cap;
	}
	tune_close(&tn);
	return rc;
}

/* it cannot be done now; said once, tried again */
static void tick_error(struct round *r, struct watched *w, const struct err *why)
{
	struct by by = by_self();
	struct buf quoted = BUF_INIT;

	w->retry_at = time_now() + RETRY_MS;
	w->size = -1;
	if (why->no == w->error)
		return;
	w->error = why->no;
	(void)json_put_text(&quoted, why->text);
	(void)log_event(
		r->k, w->slug, 0, &by, NULL, "tick_error", "\"error\":%s", buf_str(&quoted));
	buf_release(&quoted);
}

static void trigger(struct round *r, struct watched *w, uint64_t rows)
{
	struct by by = by_self();
	struct err err = ERR_NONE;

	/* one that could not begin was told of already */
	if ((w->error != 0 || log_event(r->k, w->slug, 0, &by, &err, "step_triggered",
				      "\"captures\":%llu", (unsigned long long)rows) == 0) &&
		loop_cycle(r->k, w->slug, &by, &w->job, &err) == 0) {
		w->error = 0;
		return;
	}
	if (err.no == EBUSY)
		w->size = -1; /* look again when the job is over */
	else
		tick_error(r, w, &err);
}

/* after a cycle that failed (not at the gate) its rows are still untrained: wait a little, then
 * look again */
static void follow_up(struct round *r, struct watched *w)
{
	struct job_record jr;

	if (w->job == 0 || kolm_job(r->k, w->slug, w->job, &jr, NULL) < 0 || jr.state != JOB_DONE)
		return;
	w->job = 0;
	w->size = -1;
	if (jr.outcome != JOB_OK && jr.outcome != JOB_GATE)
		w->retry_at = time_now() + RETRY_MS;
}

static void look(struct round *r, struct watched *w, const struct tune *tn, const struct config *cf)
{
	struct err err = ERR_NONE;
	uint64_t fresh = 0, rows = 0;
	struct by by = by_self();
	struct stat st;
	int cap;

	follow_up(r, w);
	cap = captures_open(tn, &err);
	if (cap >= 0 && fstat(cap, &st) == 0) {
		bool same = w->on && st.st_size == w->size &&
			    st.st_mtim.tv_sec == w->mtime.tv_sec &&
			    st.st_mtim.tv_nsec == w->mtime.tv_nsec;

		if (same || w->job != 0 || time_now() < w->retry_at ||
			job_busy(r->k, w->slug, NULL) < 0) {
			close(cap);
			return;
		}
		if (count_fresh(r->k, tn, cap, &fresh, &rows, &err) < 0) {
			tick_error(r, w, &err);
		} else {
			if (fresh < (uint64_t)cf->threshold_rows)
				w->error = 0;
			w->size = st.st_size;
			w->mtime = st.st_mtim;
		}
	}
	if (!w->on && log_event(r->k, w->slug, 0, &by, &err, "watch_started",
			      "\"captures\":%llu,\"threshold\":%d", (unsigned long long)rows,
			      cf->threshold_rows) == 0)
		w->on = true;
	if (fresh >= (uint64_t)cf->threshold_rows)
		trigger(r, w, rows);
	if (cap >= 0)
		close(cap);
}

/* F08: who cuts or replaces the file behind our back takes rows away; that stands in the log */
static void check_rows(struct round *r, struct watched *w, const struct tune *tn)
{
	struct capture_counts counts;
	struct err err = ERR_NONE;
	struct by by = by_self();

	if (captures_count(tn, &w->rows, &counts, &err) == -ESTALE)
		(void)log_event(r->k, w->slug, 0, &by, NULL, "captures_replaced",
			"\"error\":\"captures.jsonl was replaced or cut; counts start anew\"");
}

/* a slug that was not watched, and nothing of which has changed since: nearly all of them, nearly
 * always */
static bool is_still(struct kolm *k, struct watched *w)
{
	static const char *const names[] = {"tune-config.json", "captures.jsonl"};
	bool same = true;

	for (size_t i = 0; i < 2; i++) {
		char path[SLUG_BYTES + 32];
		struct stat st, *was = &w->files[i];

		(void)snprintf(path, sizeof(path), "%s/%s", w->slug, names[i]);
		if (fstatat(k->st.tune, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			st = (struct stat){0};
		same = same && st.st_ino == was->st_ino && st.st_size == was->st_size &&
		       st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
		       st.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
		*was = st;
	}
	return same;
}

static void one_slug(void *arg, const char *slug)
{
	struct round *r = arg;
	struct watched *w = watched_get(r, slug);
	struct config cf;
	struct tune tn;

	if (w != NULL && is_still(r->k, w) && !w->on)
		return;
	if (tune_open(&r->k->st, slug, &tn, NULL) < 0)
		return;
	if (config_load(&tn, &cf, NULL) == 0) {
		if (w != NULL)
			check_rows(r, w, &tn);
		if (w != NULL && cf.watch_on)
			look(r, w, &tn, &cf);
		else if (w != NULL)
			w->on = false;
		config_release(&cf);
	}
	tune_close(&tn);
}

/* ---- interrupted steps ---- */

static int parse_verb(struct job *jb)
{
	char words[sizeof(jb->rec.verb)];
	unsigned seen = 0;

	(void)snprintf(words, sizeof(words), "%s", jb->rec.verb);
	char *save = NULL, *w = strtok_r(words, " ", &save);
	if (w == NULL || (strcmp(w, "step") != 0 && strcmp(w, "cycle") != 0))
		return -EINVAL;
	jb->kind = strcmp(w, "step") == 0 ? JOB_STEP : JOB_CYCLE;
	step_options_default(&jb->step);
	while ((w = strtok_r(NULL, " ", &save)) != NULL) {
		char *eq = strchr(w, '=');

		if (eq == NULL)
			return -EINVAL;
		*eq = '\0';
		if (step_option(&jb->step, w, eq + 1, &seen, NULL) < 0)
			return -EINVAL;
	}
	return 0;
}

/* a step cut short by the end of its server goes on with the rows and the number it had */
static void requeue(void *arg, const char *slug)
{
	struct round *r = arg;
	struct by by = by_self();
	struct job_record last;
	struct job *jb;
	struct tune tn;
	uint64_t id;

	if (kolm_job(r->k, slug, 0, &last, NULL) < 0 || last.state != JOB_DONE ||
		last.outcome != JOB_INTERRUPTED)
		return;
	if (tune_open(&r->k->st, slug, &tn, NULL) < 0)
		return;
	jb = job_new(r->k, JOB_STEP, slug, &by);
	if (jb != NULL) {
		jb->rec = last;
		jb->rec.state = JOB_QUEUED;
		jb->rec.outcome = JOB_OK;
		jb->rec.error[0] = '\0';
		jb->rec.signal = 0;
		jb->resumed = true;
		if (jb->rec.rev[0] == '\0' || parse_verb(jb) < 0 ||
			tune_lock_job(&tn, &jb->slug_lock, NULL) < 0)
			free(jb);
		else
			(void)job_accept(r->k, jb, &id, NULL);
	}
	tune_close(&tn);
}

/* every slug; the folder itself is read when something came or went, and now and then */
static void look_round(struct round *r)
{
	struct stat st;

	if (fstat(r->k->st.tune, &st) == 0 && st.st_mtim.tv_sec == r->listed.tv_sec &&
		st.st_mtim.tv_nsec == r->listed.tv_nsec && ++r->rounds % LIST_ROUNDS != 0) {
		for (struct watched *w = *r->all; w != NULL; w = w->next)
			one_slug(r, w->slug);
		return;
	}
	r->listed = st.st_mtim;
	(void)tune_list(&r->k->st, one_slug, r, NULL);
}

static void *watch_main(void *arg)
{
	struct kolm *k = arg;
	struct watched *all = NULL;
	struct round r = {.k = k, .all = &all};

	struct buf walls = BUF_INIT;

	/* the canary takes a second; who reads `status` first should not wait for it */
	(void)spawner_walls(k->sp, &walls, NULL);
	buf_release(&walls);
	for (;;) {
		struct timespec until;
		bool closing;

		captures_settle(k);
		look_round(&r);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += LOOK_MS / 1000;
		pthread_mutex_lock(&k->lock);
		if (!k->closing)
			(void)pthread_cond_timedwait(&k->wake, &k->lock, &until);
		closing = k->closing;
		pthread_mutex_unlock(&k->lock);
		if (closing)
			break;
	}
	while (all != NULL) {
		struct watched *next = all->next;

		free(all);
		all = next;
	}
	return NULL;
}

int watch_start(struct kolm *k, struct err *err)
{
	struct watched *none = NULL;
	struct round r = {.k = k, .all = &none};
	int rc;

	/* before the first reader: `wait` must not say interrupted of what goes on */
	(void)tune_list(&k->st, requeue, &r, NULL);
	rc = pthread_create(&k->watch, NULL, watch_main, k);
	if (rc != 0)
		return err_set(err, rc, "cannot start the watch: %s", strerror(rc));
	k->has_watch = true;
	return 0;
}
