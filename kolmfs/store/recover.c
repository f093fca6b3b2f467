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

typedef void each_name(void *arg, int dirfd, const char *name);

static void for_names(int dirfd, const char *sub, each_name *each, void *arg)
{
	int fd = openat(dirfd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			each(arg, fd, d->d_name);
	closedir(dir);
}

/* what a process that lives is making or removing is not ours to touch; our own cannot be in use,
 * we are only starting */
static bool owner_lives(const char *name)
{
	const char *pid = strstr(name, ".tmp.");
	int64_t x;

	if (pid == NULL)
		pid = strstr(name, ".removed.");
	if (pid == NULL)
		return false;
	pid = strchr(pid + 1, '.') + 1;
	return num_whole(pid, strspn(pid, "0123456789"), 1, INT32_MAX, &x) == 0 &&
	       (pid_t)x != getpid() && kill((pid_t)x, 0) == 0;
}

static void take_temporary(void *arg, int dirfd, const char *name)
{
	unsigned *n = arg;

	if (name_is_temporary(name) && !owner_lives(name) && dir_remove(dirfd, name, NULL) == 0)
		(*n)++;
}

static void take_in_revision(void *arg, int dirfd, const char *name)
{
	take_temporary(arg, dirfd, name);
	if (rev_number(name) >= 0)
		for_names(dirfd, name, take_temporary, arg);
}

static void say_removed(const struct store *st, const char *slug, unsigned n)
{
	char fields[80];

	if (n == 0)
		return;
	(void)snprintf(
		fields, sizeof(fields), "\"what\":\"temporary_names_removed\",\"count\":%u", n);
	(void)log_recovered(st, slug, fields, NULL);
}

/* jobs nobody runs any more */
static void end_jobs(const struct store *st, int dirfd, const char *slug)
{
	struct job_record *list;
	struct by by = by_self();
	size_t n;

	if (journal_load(dirfd, &list, &n, NULL) < 0)
		return;
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
		jr->state = JOB_DONE;
		jr->outcome = JOB_INTERRUPTED;
		/* a clock that jumped says nothing */
		jr->elapsed = ran > 0 ? (double)ran / 1000 : 0;
		(void)snprintf(jr->error, sizeof(jr->error), "the process that ran it ended");
		if (journal_append(dirfd, jr, NULL) == 0)
			(void)log_append(st, &entry, NULL);
	}
	free(list);
}

static void recover_slug(void *arg, int dirfd, const char *name)
{
	const struct store *st = arg;
	struct tune tn, probe;
	struct intent in = {0};
	unsigned removed = 0;
	int lock, job;

	if (slug_check(name, strlen(name), NULL) < 0) {
		take_temporary(&removed, dirfd, name);
		say_removed(st, NULL, removed);
		return;
	}
	tn = (struct tune){.st = st, .dir = dir_open(st->tune, name, NULL)};
	if (tn.dir < 0)
		return;
	(void)snprintf(tn.slug, sizeof(tn.slug), "%s", name);
	lock = lock_open(tn.dir, ".lock", NULL);
	if (lock < 0 || flock_wait(lock, LOCK_EX | LOCK_NB, NULL) < 0)
		goto out;
	if (tune_open(st, name, &probe, NULL) < 0)
		goto out;
	tune_close(&probe);
	(void)head_recover(&tn, NULL);
	/* without an intent nobody needs it */
	if (intent_read(&tn, &in, NULL) == -ENOENT)
		removed += unlinkat(tn.dir, HEAD_NEXT, 0) == 0;
	else
		intent_release(&in);
	for_names(st->tune, name, take_temporary, &removed);
	if (tune_lock_job(&tn, &job, NULL) == 0) {
		for_names(tn.dir, "revisions", take_in_revision, &removed);
		end_jobs(st, tn.dir, name);
		close(job);
	}
	say_removed(st, name, removed);
out:
	if (lock >= 0)
		close(lock);
	tune_close(&tn);
}

/* rag/.NAME.JOB/: an index that was being built */
static void take_half_index(void *arg, int dirfd, const char *name)
{
	const char *dot = name[0] == '.' ? strrchr(name, '.') : NULL;
	unsigned *n = arg;
	int64_t job;

	if (name_is_temporary(name))
		take_temporary(arg, dirfd, name);
	else if (dot > name && num_whole(dot + 1, strlen(dot + 1), 1, INT64_MAX / 2, &job) == 0 &&
		 dir_remove(dirfd, name, NULL) == 0)
		(*n)++;
}

int store_recover(const struct store *st, struct err *err)
{
	unsigned removed = 0;
	int lock;

	(void)err;
	for_names(st->dir, ".", take_temporary, &removed);
	for_names(st->logs, ".", take_temporary, &removed);
	for_names(st->tune, ".", recover_slug, (void *)(uintptr_t)st);
	/* index jobs hold it shared: store_lock_index() */
	lock = lock_open(st->rag, ".job.lock", NULL);
	if (lock >= 0 && flock_wait(lock, LOCK_EX | LOCK_NB, NULL) == 0) {
		for_names(st->rag, ".", take_half_index, &removed);
		end_jobs(st, st->rag, NULL);
	}
	if (lock >= 0)
		close(lock);
	say_removed(st, NULL, removed);
	return 0;
}
