/*
 * watch - the thread that turns rows into cycles: when files of the store changed (store/eye.h), at
 * most once a second, it looks at the slugs whose watch is on; rows that teach and came after the
 * last completed step, whatever the gate said of it, are counted against the threshold. Nothing is
 * kept in memory that a restart needs: what the last step saw stands in the newest revision's
 * train.json. Also puts interrupted steps back into the queue at the start.
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
#include "loop/watch_state.h"
#include "store/tally.h"

/* what is known of a watched slug; a restart may forget it */
struct watched {
	struct watched *next;
	char slug[SLUG_BYTES + 1];
	bool is_wanted;		    /* its config said so when it was last read */
	char made[TIME_TEXT_BYTES]; /* created_at of that config: which slug of this name it is */
	struct watch_state state;
	struct capture_cache rows;
	struct stat files[2]; /* its config and its captures when it was last looked at */
	uint64_t count;	      /* eye_count() when it was last looked at; 0 it was not, or unknown */
	bool was_seen;
	bool is_listed; /* by the listing that is going on */
	int error;	/* the errno last told of: the same one is not told every minute */
};

/* one look at one slug */
struct look {
	struct round *r;
	struct watched *w;
	const struct tune *tn;
	const struct config *cf;
	int cap; /* captures.jsonl, -ENOENT when there is none */
};

struct round {
	struct kolm *k;
	struct watched **all;
	uint64_t listed; /* eye_count() of the folder of slugs, as of its last listing */
	bool is_waiting; /* a slug waits for the clock, or for another process */
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
	struct tally_counts counts;
	char newest[REV_BYTES] = "v0";
	struct artifact *af;
	uint64_t from = 0;
	long *list = NULL;
	size_t n = 0;
	int rc;

	rc = revision_list(tn, &list, &n, err);
	if (rc < 0)
		return rc;
	if (n > 0)
		(void)snprintf(newest, sizeof(newest), "v%d", (int)list[n - 1]);
	free(list);
	rc = captures_seen(tn, cap, newest, &from, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, tn->slug, &af, err);
	if (rc < 0)
		return rc;
	rc = captures_tally(k, tn->slug, cap, from, af, &counts, err);
	artifact_free(af);
	if (rc < 0)
		return rc;
	*fresh = counts.fresh;
	*rows = counts.rows.rows;
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

	if (why->no == w->error)
		return;
	w->error = why->no;
	(void)json_put_text(&quoted, why->text);
	(void)log_event(
		r->k, w->slug, 0, &by, NULL, "tick_error", "\"error\":%s", buf_str(&quoted));
	buf_release(&quoted);
}

/* ---- how the decisions of watch_state.c reach the store ---- */

static int see(void *arg, uint64_t job, struct watch_seen *seen, struct err *err)
{
	struct look *lk = arg;
	struct job_record jr;
	struct stat st;

	seen->now = clock_ms();
	seen->threshold = (uint64_t)lk->cf->threshold_rows;
	seen->busy = job_busy(lk->r->k, lk->w->slug, NULL) < 0;
	if (job != 0 && !seen->busy) {
		/* one whose end could not be written down, or whose slug was removed, is over too
		 */
		seen->is_over = true;
		seen->is_failed = kolm_job(lk->r->k, lk->w->slug, job, &jr, NULL) < 0 ||
				  jr.state != JOB_DONE ||
				  (jr.outcome != JOB_OK && jr.outcome != JOB_GATE);
	}
	/* before the count: what comes during it is counted at the next look */
	if (lk->cap >= 0) {
		if (fstat(lk->cap, &st) < 0)
			return err_sys(err, "cannot stat captures.jsonl");
		seen->stamp.part[0] = st.st_size;
		seen->stamp.part[1] = st.st_mtim.tv_sec;
		seen->stamp.part[2] = st.st_mtim.tv_nsec;
	}
	/* a revision published or taken away changes what is fresh */
	if (fstatat(lk->tn->dir, "revisions", &st, AT_SYMLINK_NOFOLLOW) == 0) {
		seen->stamp.part[3] = st.st_mtim.tv_sec;
		seen->stamp.part[4] = st.st_mtim.tv_nsec;
	}
	return 0;
}

static int count(void *arg, uint64_t *fresh, uint64_t *rows, struct err *err)
{
	struct look *lk = arg;
	int rc = 0;

	*fresh = *rows = 0;
	if (lk->cap >= 0)
		rc = count_fresh(lk->r->k, lk->tn, lk->cap, fresh, rows, err);
	if (rc == 0 && *fresh < (uint64_t)lk->cf->threshold_rows)
		lk->w->error = 0;
	return rc;
}

static int say_started(void *arg, uint64_t rows, struct err *err)
{
	struct look *lk = arg;
	struct by by = by_self();

	return log_event(lk->r->k, lk->w->slug, 0, &by, err, "watch_started",
		"\"captures\":%llu,\"threshold\":%d", (unsigned long long)rows,
		lk->cf->threshold_rows);
}

static int say_triggered(void *arg, uint64_t rows, struct err *err)
{
	struct look *lk = arg;
	struct by by = by_self();

	return log_event(lk->r->k, lk->w->slug, 0, &by, err, "step_triggered", "\"captures\":%llu",
		(unsigned long long)rows);
}

static int begin(void *arg, uint64_t *job, struct err *err)
{
	struct look *lk = arg;
	struct by by = by_self();
	int rc = loop_cycle(lk->r->k, lk->w->slug, &by, job, err);

	if (rc == 0)
		lk->w->error = 0;
	return rc;
}

static void look(struct round *r, struct watched *w, const struct tune *tn, const struct config *cf)
{
	static const struct watch_effects effects = {see, count, say_started, say_triggered, begin};
	struct look lk = {.r = r, .w = w, .tn = tn, .cf = cf};
	struct err err = ERR_NONE;
	int rc;

	lk.cap = captures_open(tn, &err);
	w->state.sleeps = false;
	rc = lk.cap < 0 && lk.cap != -ENOENT ? lk.cap : watch_look(&w->state, &effects, &lk, &err);
	if (rc < 0 && rc != -EBUSY)
		tick_error(r, w, &err);
	if (!w->state.sleeps)
		r->is_waiting = true;
	if (lk.cap >= 0)
		close(lk.cap);
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

/* one that was removed and made again has its name, and perhaps its inode, and nothing else of what
 * is known */
static void check_same(struct watched *w, const struct config *cf)
{
	const char *made = json_get_string(cf->json, "created_at");
	char now[TIME_TEXT_BYTES];

	(void)snprintf(now, sizeof(now), "%s", made != NULL ? made : "");
	if (strcmp(now, w->made) != 0) {
		w->state = (struct watch_state){0};
		w->rows = (struct capture_cache){0};
		w->error = 0;
	}
	memcpy(w->made, now, sizeof(now));
}

static void look_at(struct round *r, struct watched *w)
{
	uint64_t count = eye_count(r->k->eye, w->slug);
	bool is_known = w->was_seen, same;
	struct config cf;
	struct tune tn;
	int rc;

	if (!w->is_wanted && count != 0 && count == w->count)
		return;
	w->count = count;
	w->was_seen = true;
	same = is_still(r->k, w);
	if (is_known && !same)
		change(r->k, w->slug, CHANGE_FOUND | CHANGE_STATUS);
	/* one that is wanted and has not begun waits for a job to end, or to be tried again */
	if (same && !w->is_wanted)
		return;
	rc = tune_open(&r->k->st, w->slug, &tn, NULL);
	if (rc < 0) {
		r->is_waiting |= w->is_wanted && rc != -ENOENT;
		return;
	}
	rc = config_load(&tn, &cf, NULL);
	if (rc == 0) {
		w->is_wanted = cf.watch_on;
		check_same(w, &cf);
		check_rows(r, w, &tn);
		if (cf.watch_on)
			look(r, w, &tn, &cf);
		else
			w->state = (struct watch_state){0};
		config_release(&cf);
	} else {
		r->is_waiting |= w->is_wanted && rc != -ENOENT;
	}
	tune_close(&tn);
}

static void one_slug(void *arg, const char *slug)
{
	struct round *r = arg;
	struct watched *w = watched_get(r, slug);

	if (w == NULL) /* memory is short, and the next listing tries again */
		return;
	w->is_listed = true;
	look_at(r, w);
}

/* after a whole listing: what was kept of slugs that are gone goes too */
static void drop_gone(struct round *r)
{
	for (struct watched **p = r->all; *p != NULL;) {
		struct watched *w = *p;

		if (w->is_listed) {
			w->is_listed = false;
			p = &w->next;
			continue;
		}
		*p = w->next;
		note_gone(r->k, w->slug);
		change(r->k, w->slug, CHANGE_FOUND | CHANGE_STATUS);
		free(w);
	}
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

/* every slug; the folder itself is read when something came or went */
static void look_round(struct round *r)
{
	uint64_t count = eye_count(r->k->eye, "");
	int rc;

	r->is_waiting = false;
	if (count != 0 && count == r->listed) {
		for (struct watched *w = *r->all; w != NULL; w = w->next)
			look_at(r, w);
	} else {
		rc = tune_list(&r->k->st, one_slug, r, NULL);
		r->listed = rc < 0 ? 0 : count;
		if (rc >= 0)
			drop_gone(r);
	}
	if (r->is_waiting)
		eye_poke(r->k->eye);
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
	do {
		change(k, NULL, CHANGE_SEEN);
		captures_settle(k);
		indexes_settle(k);
		look_round(&r);
	} while (eye_wait(k->eye));
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
