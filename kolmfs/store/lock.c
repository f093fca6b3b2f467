/* lock - the flock()s of a store; their order stands in store.h. A process's death frees them, a
 * process id in a file never decides. */
#include "store/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/*
 * In pauses of 20 ms: thirty seconds for a dead server's spawner to end what it started (a tenth of
 * one, but five were not enough on a machine with twelve times the work it has processors for) and
 * for a server that said it is ending, whose step may be writing its checkpoint; a moment for one
 * whose mount was just taken away and who does not know it yet.
 */
enum { OVER_TRIES = 1500, MOMENT_TRIES = 10 };
#define ENDING_MARK " ending\n"

static int lock_take(int dirfd, const char *name, int op, int *fd, struct err *err)
{
	int lock = lock_open(dirfd, name, err), rc;

	if (lock < 0)
		return lock;
	rc = flock_wait(lock, op, err);
	if (rc < 0) {
		close(lock);
		return rc;
	}
	*fd = lock;
	return 0;
}

/* a server that is dead, or a zombie: what still holds its lock is its spawner, cleaning up */
static bool is_over(const char *pid)
{
	char path[64], state = 'X';
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	f = pid[0] != '\0' ? fopen(path, "re") : NULL;
	if (f == NULL)
		return pid[0] != '\0';
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	(void)fclose(f);
	return state == 'Z' || state == 'X';
}

/* the process id in it, and whether it is ending */
static bool read_holder(int lock, char who[32])
{
	ssize_t len = pread(lock, who, 31, 0);
	size_t digits;
	bool is_ending;

	who[len > 0 ? (size_t)len : 0] = '\0';
	digits = strspn(who, "0123456789");
	is_ending = strcmp(who + digits, ENDING_MARK) == 0;
	who[digits] = '\0';
	return is_ending;
}

void store_lock_ending(int lock)
{
	char text[48];
	int n = snprintf(text, sizeof(text), "%d" ENDING_MARK, (int)getpid());

	if (pwrite(lock, text, (size_t)n, 0) < 0)
		errno = 0; /* then nobody waits for us */
}

int store_lock_server(const struct store *st, int *fd, struct err *err)
{
	static const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	char who[32] = "";
	bool is_ending = false;
	int lock, rc, n;

	lock = lock_open(st->dir, ".lock", err);
	if (lock < 0)
		return lock;
	rc = flock_wait(lock, LOCK_EX | LOCK_NB, err);
	for (int i = 0; rc == -EWOULDBLOCK; i++) {
		is_ending = read_holder(lock, who);
		if (i >= (is_over(who) || is_ending ? OVER_TRIES : MOMENT_TRIES))
			break;
		nanosleep(&pause, NULL);
		rc = flock_wait(lock, LOCK_EX | LOCK_NB, err);
	}
	if (rc == -EWOULDBLOCK) {
		is_ending = read_holder(lock, who);
		rc = err_set(err, EBUSY, "store is in use by process %s%s",
			who[0] != '\0' ? who : "(unknown)",
			is_ending ? ", which is ending; try again" : "");
	}
	if (rc < 0) {
		close(lock);
		return rc;
	}
	/* for people only; a read-only store cannot say it */
	n = snprintf(who, sizeof(who), "%d\n", (int)getpid());
	if (ftruncate(lock, 0) < 0 || pwrite(lock, who, (size_t)n, 0) < 0)
		errno = 0;
	*fd = lock;
	return 0;
}

int store_lock_jobs(const struct store *st, const atomic_bool *cancel, int *fd, struct err *err)
{
	static const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};

	if (cancel == NULL)
		return lock_take(st->dir, "jobs.lock", LOCK_EX, fd, err);
	for (;;) {
		int rc;

		if (*cancel)
			return err_set(err, ECANCELED, "cancelled while it waited for another job");
		rc = lock_take(st->dir, "jobs.lock", LOCK_EX | LOCK_NB, fd, err);
		if (rc != -EWOULDBLOCK)
			return rc;
		nanosleep(&pause, NULL);
	}
}

int tune_lock(const struct tune *tn, int *fd, struct err *err)
{
	return lock_take(tn->dir, ".lock", LOCK_EX, fd, err);
}

int tune_lock_job(const struct tune *tn, int *fd, struct err *err)
{
	int rc = lock_take(tn->dir, ".job.lock", LOCK_EX | LOCK_NB, fd, err);

	return rc == -EWOULDBLOCK ? err_set(err, EBUSY, "a job of another process is running") : rc;
}

int store_lock_index(const struct store *st, int *fd, struct err *err)
{
	return lock_take(st->rag, ".job.lock", LOCK_SH, fd, err);
}

int store_lock_index_number(const struct store *st, int *fd, struct err *err)
{
	return lock_take(st->rag, ".number.lock", LOCK_EX, fd, err);
}
