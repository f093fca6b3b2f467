/*
 * tail - see tail.h.
 */
#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "texts.h"

#define LOG_NAME "tune.jsonl"

struct tail {
	struct tails *ts;
	unsigned users; /* under tails.lock */
	int fd;
	dev_t dev;
	ino_t ino;
};

struct tails {
	pthread_mutex_t lock;
	struct tail *last; /* the one opened last, not counted; NULL when nobody has it */
};

int tails_new(struct tails **out, struct err *err)
{
	struct tails *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return err_nomem(err);
	pthread_mutex_init(&ts->lock, NULL);
	*out = ts;
	return 0;
}

void tails_free(struct tails *ts)
{
	if (!ts)
		return;
	pthread_mutex_destroy(&ts->lock);
	free(ts);
}

bool tail_is_last(struct server *sv, const struct tail *tl)
{
	struct stat st;

	return fstatat(sv->st->logs, LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == tl->dev && st.st_ino == tl->ino;
}

/* one more of an open descriptor, which it takes over */
static int tail_new(struct tails *ts, int fd, struct tail **out, struct err *err)
{
	struct tail *tl = calloc(1, sizeof(*tl));
	struct stat st;

	if (!tl) {
		close(fd);
		return err_nomem(err);
	}
	if (fstat(fd, &st) < 0) {
		int rc = err_sys(err, "cannot look at '%s'", LOG_NAME);

		close(fd);
		free(tl);
		return rc;
	}
	*tl = (struct tail){.ts = ts, .fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	*out = tl;
	return 0;
}

int tail_get(struct server *sv, struct tail **out, struct err *err)
{
	struct tails *ts = sv->tails;
	struct tail *tl;
	int rc = 0;

	pthread_mutex_lock(&ts->lock);
	tl = ts->last;
	if (!tl || !tail_is_last(sv, tl)) {
		const struct place nowhere = {0};
		int fd = tune_log_open(sv, &nowhere, err);

		rc = fd < 0 ? fd : tail_new(ts, fd, &tl, err);
	}
	if (rc == 0) {
		tl->users++;
		ts->last = tl;
		*out = tl;
	}
	pthread_mutex_unlock(&ts->lock);
	return rc;
}

void tail_put(struct tail *tl)
{
	struct tails *ts;
	bool is_unused;

	if (!tl)
		return;
	ts = tl->ts;
	pthread_mutex_lock(&ts->lock);
	is_unused = --tl->users == 0;
	if (is_unused && ts->last == tl)
		ts->last = NULL;
	pthread_mutex_unlock(&ts->lock);
	if (!is_unused)
		return;
	close(tl->fd);
	free(tl);
}

int tail_fd(const struct tail *tl)
{
	return tl->fd;
}
