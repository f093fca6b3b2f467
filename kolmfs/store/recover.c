/*
 * recover - what a start does about processes that died (reliability.md 9.1, 9.4).
 *
 * Everything durable changes by one rename or one appended line, so there is little to do: finish
 * or undo the change whose intent is there, close jobs nobody runs any more, take away temporary
 * names. Nothing else is ever deleted.
 */
#include "store/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "store/journal.h"

/* a recovery, or a look at what one would do */
struct recovery {
	const struct store *st;
	stale_found *found; /* NULL: do it; else only tell */
	void *arg;
	char at[STORE_PATH_BYTES / 8]; /* the folder looked at, below the store */
	unsigned removed;
	bool every;		       /* look into every revision */
	const struct job_record *jobs; /* of the slug at hand, borrowed */
	size_t njobs;
};

typedef void each_name(void *arg, int dirfd, const char *name);

/* not readdir(): a start lists many folders, and what opendir() asks besides costs more than the
 * list */
static void for_names(int dirfd, const char *sub, each_name *each, void *arg)
{
	int fd = openat(dirfd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_Alignas(struct dirent64) char page[4096];
	const struct dirent64 *d;
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = getdents64(fd, page, sizeof(page))) > 0) {
		for (ssize_t at = 0; at < n; at += d->d_reclen) {
			d = (const struct dirent64 *)(const void *)(page + at);
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				each(arg, fd, d->d_name);
		}
	}
	close(fd);
}

/* what a process that lives is making or removing is not ours to touch; our own cannot be in use,
 * we are only starting */
static bool owner_lives(const char *name)
{
	pid_t pid = name_owner(name);

	return pid != 0 && pid != getpid() && kill(pid, 0) == 0;
}

static void tell(const struct recovery *r, const char *name, const char *text)
{
	char path[sizeof(r->at) + 300];

	(void)snprintf(path, sizeof(path), "%s%s%s", r->at, r->at[0] != '\0' ? "/" : "", name);
	r->found(r->arg, path, text);
}

/* remove ${name}, or tell of it */
static void take(struct recovery *r, int dirfd, const char *name, const char *text)
{
	if (r->found != NULL)
		tell(r, name, text);
	else
		r->removed += dir_remove(dirfd, name, NULL) == 0;
}

static void take_temporary(void *arg, int dirfd, const char *name)
{
	if (name_is_temporary(name) && !owner_lives(name))
		take(arg, dirfd, name, "left by a process that died");
}

/* in a folder people put files of their own into: only what has a process's number in its name */
static void take_numbered(void *arg, int dirfd, const char *name)
{
	if (name_owner(name) != 0)
		take_temporary(arg, dirfd, name);
}

/* is ${rev} one that a job which died may have been writing into? */
static bool is_unfinished(const struct recovery *r, const char *rev)
{
	for (size_t i = 0; i < r->njobs; i++)
		if (strcmp(r->jobs[i].rev, rev) == 0 &&
			(r->jobs[i].state != JOB_DONE || r->jobs[i].outcome == JOB_INTERRUPTED))
			return true;
	return false;
}

/*
 * A revision is born whole, and from then on only an eval writes into it: a start opens the ones
 * that a job which died had to do with. To open ten thousand takes it longer than all the rest;
 * `kolm fsck` does.
 */
static void take_in_revision(void *arg, int dirfd, const char *name)
{
	struct recovery *r = arg;
	size_t n = strlen(r->at);

	take_temporary(arg, dirfd, name);
	if (rev_number(name) < 0 || !(r->every || is_unfinished(r, name)))
		return;
	(void)snprintf(r->at + n, sizeof(r->at) - n, "/%s", name);
	for_names(dirfd, name, take_temporary, arg);
	r->at[n] = '\0';
}

static void in_folder(
	struct recovery *r, const char *at, int dirfd, const char *sub, each_name *each)
{
	(void)snprintf(r->at, sizeof(r->at), "%s", at);
	for_names(dirfd, sub, each, r);
}

static void say_removed(struct recovery *r, const char *slug)
{
	char fields[80];

	if (r->removed == 0)
		return;
	(void)snprintf(fields, sizeof(fields), "\"what\":\"temporary_names_removed\",\"count\":%u",
		r->removed);
	(void)log_recovered(r->st, slug, fields, NULL);
	r->removed = 0;
}

/* jobs nobody runs any more */
static void end_jobs(
	struct recovery *r, int dirfd, const char *slug, struct job_record *list, size_t n)
{
	struct by by = by_self();

	for (size_t i = 0; i < n; i++) {
		struct job_record *jr = &list[i];
		struct log_entry entry = {.event = "recovered",
			.fields = "\"what\":\"job_interrupted\"",
			.slug = slug,
			.job = jr->id,
			.by = &by};
		int64_t ran = jr->started_ms == 0 ? 0 : time_now() - jr->started_ms;

		if (jr->state == JOB_DONE)
			continue;
		if (r->found != NULL) {
			char name[40];

			(void)snprintf(name, sizeof(name), "jobs/%" PRIu64, jr->id);
			tell(r, name, "a job whose process died");
			continue;
		}
		jr->state = JOB_DONE;
		jr->outcome = JOB_INTERRUPTED;
		/* a clock that jumped says nothing */
		jr->elapsed = ran > 0 ? (double)ran / 1000 : 0;
		(void)snprintf(jr->error, sizeof(jr->error), "the process that ran it ended");
		if (journal_append(dirfd, jr, NULL) == 0)
			(void)log_append(r->st, &entry, NULL);
	}
}

/* under the job lock */
static void recover_jobs(struct recovery *r, const char *at, const struct tune *tn)
{
	char revisions[SLUG_BYTES + 32];
	struct job_record *list = NULL;
	size_t n = 0;

	if (journal_load(tn->dir, &list, &n, NULL) < 0)
		n = 0;
	end_jobs(r, tn->dir, tn->slug, list, n);
	(void)snprintf(revisions, sizeof(revisions), "%s/revisions", at);
	r->jobs = list;
	r->njobs = n;
	in_folder(r, revisions, tn->dir, "revisions", take_in_revision);
	r->jobs = NULL;
	r->njobs = 0;
	free(list);
}

static void recover_head(struct recovery *r, const struct tune *tn)
{
	struct intent in = {0};
	int rc;

	if (r->found == NULL)
		(void)head_recover(tn, NULL);
	rc = intent_read(tn, &in, NULL);
	if (rc == 0) {
		if (r->found != NULL)
			tell(r, ".intent", "a change of HEAD whose process died");
		intent_release(&in);
	} else if (rc == -ENOENT && faccessat(tn->dir, HEAD_NEXT, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		/* without an intent nobody needs it */
		take(r, tn->dir, HEAD_NEXT, "left by a process that died");
	}
}

static void recover_slug(void *arg, int dirfd, const char *name)
{
	struct recovery *r = arg;
	struct tune tn, probe;
	char at[SLUG_BYTES + 16];
	int lock, job;

	if (slug_check(name, strlen(name), NULL) < 0) {
		take_temporary(r, dirfd, name);
		return;
	}
	tn = (struct tune){.st = r->st, .dir = dir_open(r->st->tune, name, NULL)};
	if (tn.dir < 0)
		return;
	say_removed(r, NULL);
	(void)snprintf(tn.slug, sizeof(tn.slug), "%s", name);
	(void)snprintf(at, sizeof(at), "tune/%s", name);
	lock = lock_open(tn.dir, ".lock", NULL);
	if (lock < 0 || flock_wait(lock, LOCK_EX | LOCK_NB, NULL) < 0)
		goto out;
	if (tune_open(r->st, name, &probe, NULL) < 0)
		goto out;
	tune_close(&probe);
	(void)snprintf(r->at, sizeof(r->at), "%s", at);
	recover_head(r, &tn);
	in_folder(r, at, r->st->tune, name, take_temporary);
	if (tune_lock_job(&tn, &job, NULL) == 0) {
		recover_jobs(r, at, &tn);
		close(job);
	}
	say_removed(r, name);
out:
	if (lock >= 0)
		close(lock);
	tune_close(&tn);
	(void)snprintf(r->at, sizeof(r->at), "tune");
}

/* rag/.NAME.JOB/: an index that was being built */
static void take_half_index(void *arg, int dirfd, const char *name)
{
	const char *dot = name[0] == '.' ? strrchr(name, '.') : NULL;
	struct stat sb;
	int64_t job;

	if (name_is_temporary(name))
		take_temporary(arg, dirfd, name);
	else if (dot > name && num_whole(dot + 1, strlen(dot + 1), 1, INT64_MAX / 2, &job) == 0 &&
		 fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(sb.st_mode))
		take(arg, dirfd, name, "an index whose builder died");
}

static void recover_rag(struct recovery *r, const struct store *st)
{
	struct job_record *list = NULL;
	size_t n;

	in_folder(r, "rag", st->rag, ".", take_half_index);
	if (journal_load(st->rag, &list, &n, NULL) == 0)
		end_jobs(r, st->rag, NULL, list, n);
	free(list);
}

static void recover_all(struct recovery *r)
{
	const struct store *st = r->st;
	int lock;

	in_folder(r, "", st->dir, ".", take_temporary);
	in_folder(r, "logs", st->logs, ".", take_temporary);
	in_folder(r, "receipts", st->dir, "receipts", take_numbered);
	in_folder(r, "artifacts", st->dir, "artifacts", take_numbered);
	if (r->found == NULL)
		logs_pack(st);
	in_folder(r, "tune", st->tune, ".", recover_slug);
	/* index jobs hold it shared: store_lock_index() */
	lock = lock_open(st->rag, ".job.lock", NULL);
	if (lock >= 0 && flock_wait(lock, LOCK_EX | LOCK_NB, NULL) == 0)
		recover_rag(r, st);
	if (lock >= 0)
		close(lock);
	say_removed(r, NULL);
}

int store_recover(const struct store *st, struct err *err)
{
	struct recovery r = {.st = st};

	(void)err;
	recover_all(&r);
	return 0;
}

void store_recover_every(const struct store *st)
{
	struct recovery r = {.st = st, .every = true};

	recover_all(&r);
}

void store_stale(const struct store *st, stale_found *found, void *arg)
{
	struct recovery r = {.st = st, .found = found, .arg = arg, .every = true};

	recover_all(&r);
}
