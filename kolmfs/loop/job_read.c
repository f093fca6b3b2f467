/*
 * job_read - what there is to know of jobs: those of this process from memory, all others from the
 * journal of their folder; and waiting for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "loop/private.h"

int job_home(struct kolm *k, const char *slug, struct err *err)
{
	struct tune tn;
	int fd, rc;

	if (slug == NULL || slug[0] == '\0') {
		fd = fcntl(k->st.rag, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? err_sys(err, "cannot open the store's rag folder") : fd;
	}
	rc = tune_open(&k->st, slug, &tn, err);
	return rc < 0 ? rc : tn.dir;
}

static bool live_job(
	struct kolm *k, const char *slug, uint64_t id, struct job_record *out, char progress[96])
{
	bool found = false;

	pthread_mutex_lock(&k->lock);
	for (struct job *jb = k->jobs; jb != NULL; jb = jb->next) {
		if (strcmp(jb->slug, slug != NULL ? slug : "") != 0 ||
			(id != 0 && jb->rec.id != id))
			continue;
		found = true;
		if (out != NULL) {
			*out = jb->rec;
			if (out->state == JOB_RUNNING)
				out->elapsed = (double)(clock_ms() - jb->begun) / 1000;
		}
		if (progress != NULL)
			memcpy(progress, jb->progress, 96);
	}
	for (struct job *jb = k->ended; jb != NULL && id != 0; jb = jb->next)
		if (jb->rec.id == id && strcmp(jb->slug, slug != NULL ? slug : "") == 0) {
			found = true;
			if (out != NULL)
				*out = jb->rec;
		}
	pthread_mutex_unlock(&k->lock);
	return found;
}

/* of a job that another process runs, there is only the time of day it began */
static void guess_elapsed(struct job_record *jr)
{
	int64_t ran = time_now() - jr->started_ms;

	if (jr->state == JOB_RUNNING && jr->started_ms != 0)
		jr->elapsed = ran > 0 ? (double)ran / 1000 : 0;
}

int kolm_jobs(
	struct kolm *k, const char *slug, struct job_record **list, size_t *n, struct err *err)
{
	int home = job_home(k, slug, err), rc;

	if (home < 0)
		return home;
	rc = journal_load(home, list, n, err);
	close(home);
	for (size_t i = 0; rc == 0 && i < *n; i++) {
		guess_elapsed(&(*list)[i]);
		(void)live_job(k, slug, (*list)[i].id, &(*list)[i], NULL);
	}
	return rc;
}

/* each status asks, and each change that is told: the journal is read once for each of its states
 */
static int last_job(
	struct kolm *k, const char *slug, int home, struct job_record *out, struct err *err)
{
	const char *key = slug != NULL ? slug : "";
	struct job_record *list = NULL;
	struct stat st = {0};
	size_t n = 0;
	int rc;

	if (fstatat(home, "jobs.jsonl", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!note_last(k, key, &st, out)) {
		rc = journal_load(home, &list, &n, err);
		if (rc == 0 && n == 0)
			rc = err_set(err, ENODATA, "no job has run yet");
		if (rc == 0) {
			*out = list[n - 1];
			note_last_set(k, key, &st, out);
		}
		free(list);
		if (rc < 0)
			return rc;
	}
	guess_elapsed(out);
	(void)live_job(k, slug, out->id, out, NULL);
	return 0;
}

int kolm_job(struct kolm *k, const char *slug, uint64_t id, struct job_record *out, struct err *err)
{
	int home, rc;

	if (live_job(k, slug, id, out, NULL))
		return 0;
	home = job_home(k, slug, err);
	if (home < 0)
		return home;
	if (id == 0) {
		rc = last_job(k, slug, home, out, err);
	} else {
		rc = journal_get(home, id, out, err);
		if (rc == 0)
			guess_elapsed(out);
	}
	close(home);
	return rc;
}

int kolm_job_progress(struct kolm *k, const char *slug, uint64_t id, char out[96])
{
	(void)snprintf(out, 96, "-");
	(void)live_job(k, slug, id, NULL, out);
	return 0;
}

int kolm_job_dir(struct kolm *k, const char *slug, uint64_t id, struct err *err)
{
	char name[40];
	int home = job_home(k, slug, err), fd;

	if (home < 0)
		return home;
	(void)snprintf(name, sizeof(name), "jobs/%llu", (unsigned long long)id);
	fd = dir_open(home, name, err);
	close(home);
	return fd;
}

void kolm_job_line(const struct job_record *jr, struct buf *out)
{
	char outcome[40], k[NUM_TEXT_BYTES], verb[sizeof(jr->verb)];

	/* the first word of the line as written */
	(void)snprintf(verb, sizeof(verb), "%s", jr->verb);
	verb[strcspn(verb, " ")] = '\0';
	if (jr->state == JOB_DONE)
		(void)job_outcome_name(jr->outcome, jr->signal, outcome);
	else
		(void)snprintf(outcome, sizeof(outcome), "-");
	(void)buf_addf(out, "%llu %s %s rev=%s", (unsigned long long)jr->id, verb, outcome,
		jr->rev[0] != '\0' ? jr->rev : "-");
	(void)buf_addf(out, " k=%s", isnan(jr->k) ? "-" : num_fixed(jr->k, 4, k));
	if (jr->total > 0)
		(void)buf_addf(out, " pass=%d/%d", jr->pass, jr->total);
	else
		(void)buf_puts(out, " pass=-");
	(void)buf_addf(out, " elapsed=%.1f", jr->elapsed);
	if (jr->state == JOB_DONE && jr->outcome != JOB_OK)
		(void)buf_addf(out, " error=%s", jr->error);
	(void)buf_putc(out, '\n');
}

int kolm_job_wait(struct kolm *k, const char *slug, uint64_t id, void (*tick)(void *, const char *),
	void *arg, struct job_record *out, struct err *err)
{
	char progress[96];
	int rc;

	for (;;) {
		struct timespec until;
		unsigned long seen;

		pthread_mutex_lock(&k->lock);
		seen = k->changes;
		pthread_mutex_unlock(&k->lock);
		rc = kolm_job(k, slug, id, out, err);
		if (rc < 0 || out->state == JOB_DONE)
			return rc;
		if (tick != NULL) {
			(void)kolm_job_progress(k, slug, id, progress);
			tick(arg, progress);
		}
		/* not the wall clock, as in watch_main() */
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_mutex_lock(&k->lock);
		/* a job of this process wakes us; one of another is looked at every second */
		if (k->changes == seen)
			(void)pthread_cond_clockwait(&k->wake, &k->lock, CLOCK_MONOTONIC, &until);
		pthread_mutex_unlock(&k->lock);
	}
}
