/*
 * log_tail - see log_tail.h.
 */
#include "store/log_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"

enum { LAST_BYTES = 64 << 10 }; /* in which the last line is looked for */

struct tail {
	struct tails *ts;
	unsigned users; /* under tails.lock */
	int fd;
	dev_t dev;
	ino_t ino;
};

struct tails {
	const struct store *st;
	pthread_mutex_t lock;
	struct tail *last; /* the one opened last, not counted; NULL when nobody has it */
};

int tails_new(const struct store *st, struct tails **out, struct err *err)
{
	struct tails *ts = calloc(1, sizeof(*ts));

	if (ts == NULL)
		return err_nomem(err);
	ts->st = st;
	pthread_mutex_init(&ts->lock, NULL);
	*out = ts;
	return 0;
}

void tails_free(struct tails *ts)
{
	if (ts == NULL)
		return;
	pthread_mutex_destroy(&ts->lock);
	free(ts);
}

/* does the log's name still lead here? Once it does not, no line is ever added to it (log_parts.c):
 * who asks before reading has read all of it. */
static bool is_last(const struct tail *tl)
{
	struct stat st;

	return fstatat(tl->ts->st->logs, "tune.jsonl", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == tl->dev && st.st_ino == tl->ino;
}

/* one more of an open descriptor, which it takes over */
static int tail_new(struct tails *ts, int fd, struct tail **out, struct err *err)
{
	struct tail *tl = calloc(1, sizeof(*tl));
	struct stat st;

	if (tl == NULL) {
		close(fd);
		return err_nomem(err);
	}
	if (fstat(fd, &st) < 0) {
		int rc = err_sys(err, "cannot look at 'tune.jsonl'");

		close(fd);
		free(tl);
		return rc;
	}
	*tl = (struct tail){.ts = ts, .fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	*out = tl;
	return 0;
}

/* the log of now, counted; -ENOENT when there is none */
static int tail_get(struct tails *ts, struct tail **out, struct err *err)
{
	struct tail *tl;
	int rc = 0;

	pthread_mutex_lock(&ts->lock);
	tl = ts->last;
	if (tl == NULL || !is_last(tl)) {
		int fd = log_open(ts->st, err);

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

static void tail_put(struct tail *tl)
{
	struct tails *ts = tl->ts;
	bool is_unused;

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

/* ---- following ---- */

/* the number of the last line before ${end}; 0: it has none, as those of the reference */
static int last_seq(int fd, uint64_t end, uint64_t *seq, struct err *err)
{
	char prev[HASH_HEX_BYTES];
	struct lines ls;
	struct line ln;
	int rc;

	*seq = 0;
	lines_init(&ls, fd, end > LAST_BYTES ? end - LAST_BYTES : 0, end, LAST_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0)
		if (line_chain(&ln, seq, prev) < 0) {
			rc = err_nomem(err);
			break;
		}
	lines_release(&ls);
	return rc;
}

static int open_part(struct tails *ts, struct log_part *p, struct err *err)
{
	int fd = part_open(ts->st, LOG_STEM, p, err);

	if (fd == -ENOENT && !p->is_packed) { /* it was packed meanwhile */
		p->is_packed = true;
		fd = part_open(ts->st, LOG_STEM, p, err);
	}
	return fd;
}

/* the oldest part behind line ${seq}, which has turned over as well; 0 and NULL: there is none. One
 * that cannot be unpacked is passed over: log_verify() names it. */
static int part_behind(struct tails *ts, uint64_t seq, struct tail **out, struct err *err)
{
	struct log_parts ps;
	int fd = -EUCLEAN, rc = parts_list(ts->st, LOG_STEM, &ps, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ps.n && (fd == -EUCLEAN || fd == -EFBIG); i++)
		if (ps.part[i].number > seq)
			fd = open_part(ts, &ps.part[i], err);
	parts_release(&ps);
	if (fd < 0)
		return fd == -EUCLEAN || fd == -EFBIG ? 0 : fd;
	rc = tail_new(ts, fd, out, err);
	if (rc == 0)
		(*out)->users = 1;
	return rc;
}

/* all of ${fo}'s file was read, and the log's name leads elsewhere: to what comes after it */
static int go_on(struct tails *ts, struct follower *fo, struct err *err)
{
	struct tail *now, *part = NULL;
	uint64_t seq;
	int rc = last_seq(fo->tail->fd, fo->pos, &seq, err);

	if (rc == 0)
		rc = tail_get(ts, &now, err); /* before the parts are listed: none comes between */
	if (rc < 0)
		return rc;
	if (seq > 0)
		rc = part_behind(ts, seq, &part, err);
	if (rc < 0 || part != NULL)
		tail_put(now);
	if (rc < 0)
		return rc;
	follower_end(fo);
	fo->tail = part != NULL ? part : now;
	return 0;
}

int follower_begin(struct tails *ts, struct follower *fo, struct err *err)
{
	int rc = tail_get(ts, &fo->tail, err);
	off_t end;

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	end = lseek(fo->tail->fd, 0, SEEK_END);
	fo->pos = end > 0 ? (uint64_t)end : 0;
	return 0;
}

int follower_next(
	struct tails *ts, struct follower *fo, const char *slug, struct buf *out, struct err *err)
{
	bool is_end = false;
	int rc = 0;

	while (rc == 0 && out->len == 0 && !is_end) {
		if (fo->tail == NULL)
			rc = tail_get(ts, &fo->tail, err);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		is_end = is_last(fo->tail); /* before it is read */
		if (lseek(fo->tail->fd, 0, SEEK_END) < (off_t)fo->pos)
			fo->pos = 0; /* somebody cut it */
		rc = log_slug_next(fo->tail->fd, slug, &fo->pos, out, err);
		if (rc == 0 && out->len == 0 && !is_end) /* that was the rest of an older part */
			rc = go_on(ts, fo, err);
	}
	if (rc == -ENOENT) /* of an older part, and there is no newer */
		return 0;
	if (rc < 0)
		buf_release(out);
	return rc < 0 ? rc : out->len > 0;
}

void follower_end(struct follower *fo)
{
	if (fo->tail != NULL)
		tail_put(fo->tail);
	*fo = (struct follower){0};
}
