/*
 * slug_log - see slug_log.h. A step is a place in the log where a line of the slug begins, and
 * where it begins in the text; there is one in each 64 KiB of the log that has such a line, so a
 * read looks through that much at most before it finds its first byte.
 */
#include "store/slug_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"

enum { STEP_BYTES = 64 << 10, STEPS_MIN = 16 };

struct step {
	uint64_t at, off; /* in the log, in the text */
};

struct slug_log {
	struct buf slug; /* as JSON writes it */
	struct stat seen;
	uint64_t at;   /* the log was read up to here, whole lines */
	uint64_t mark; /* of the bytes before */
	uint64_t len;
	struct timespec grown;
	struct step *step;
	size_t n, cap;
};

int slug_log_new(const char *slug, struct slug_log **out, struct err *err)
{
	struct slug_log *sl = calloc(1, sizeof(*sl));

	if (sl == NULL || json_put_text(&sl->slug, slug) < 0) {
		slug_log_free(sl);
		return err_nomem(err);
	}
	*out = sl;
	return 0;
}

void slug_log_free(struct slug_log *sl)
{
	if (sl == NULL)
		return;
	buf_release(&sl->slug);
	free(sl->step);
	free(sl);
}

static void reset(struct slug_log *sl)
{
	sl->seen = (struct stat){0};
	sl->grown = (struct timespec){0};
	sl->at = sl->len = 0;
	sl->n = 0;
}

static int add_step(struct slug_log *sl, uint64_t at, struct err *err)
{
	if (sl->n > 0 && at - sl->step[sl->n - 1].at < STEP_BYTES)
		return 0;
	if (sl->n == sl->cap) {
		size_t cap = sl->cap == 0 ? STEPS_MIN : sl->cap * 2;
		struct step *grown = realloc(sl->step, cap * sizeof(*grown));

		if (grown == NULL)
			return err_nomem(err);
		sl->step = grown;
		sl->cap = cap;
	}
	sl->step[sl->n++] = (struct step){at, sl->len};
	return 0;
}

/* the whole lines behind sl->at */
static int read_on(struct slug_log *sl, int fd, struct err *err)
{
	struct lines ls;
	struct line ln;
	int rc;

	lines_init(&ls, fd, sl->at, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0 && ln.whole) {
		rc = line_is_of(&ln, &sl->slug, err);
		if (rc > 0)
			rc = add_step(sl, ln.offset, err) < 0 ? -ENOMEM : 1;
		if (rc < 0)
			break;
		if (rc > 0)
			sl->len += ln.len + 1;
		sl->at = ln.next;
	}
	lines_release(&ls);
	return rc < 0 ? rc : 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* is what was read still the beginning of the log? A cut one has other bytes there, or none; an
 * older part's inode may be the new log's. */
static int is_grown(const struct slug_log *sl, int fd, const struct stat *st, struct err *err)
{
	uint64_t mark;
	int rc;

	if (st->st_dev != sl->seen.st_dev || st->st_ino != sl->seen.st_ino)
		return 0;
	rc = mark_before(fd, sl->at, &mark, err);
	return rc < 0 ? rc : mark == sl->mark;
}

static int look(struct slug_log *sl, int fd, struct err *err)
{
	uint64_t before;
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot look at 'tune.jsonl'");
	if (is_same(&st, &sl->seen))
		return 0;
	rc = is_grown(sl, fd, &st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		reset(sl);
	before = sl->len;
	rc = read_on(sl, fd, err);
	if (sl->len != before)
		sl->grown = st.st_mtim;
	if (rc == 0)
		rc = mark_before(fd, sl->at, &sl->mark, err);
	if (rc < 0) /* half read: not to be taken for what it was before */
		reset(sl);
	else
		sl->seen = st;
	return rc;
}

/* the log, looked at; 0 and *${fd} -1 when there is none */
static int open_and_look(struct slug_log *sl, const struct store *st, int *fd, struct err *err)
{
	int rc = *fd = log_open(st, err);

	if (rc == -ENOENT) {
		reset(sl);
		return 0;
	}
	if (rc >= 0)
		rc = look(sl, *fd, err);
	if (rc < 0 && *fd >= 0)
		close(*fd);
	return rc;
}

int slug_log_look(struct slug_log *sl, const struct store *st, uint64_t *len,
	struct timespec *grown, struct err *err)
{
	int fd, rc = open_and_look(sl, st, &fd, err);

	if (rc < 0)
		return rc;
	if (fd >= 0)
		close(fd);
	*len = sl->len;
	*grown = sl->grown;
	return 0;
}

/* the last step at or before ${off}, which is inside of the text */
static struct step step_before(const struct slug_log *sl, uint64_t off)
{
	size_t lo = 0, hi = sl->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (sl->step[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return sl->step[lo];
}

static int copy_lines(
	struct slug_log *sl, int fd, uint64_t off, size_t size, struct buf *out, struct err *err)
{
	struct step here = step_before(sl, off);
	uint64_t end = size < sl->len - off ? off + size : sl->len, pos = here.off;
	struct lines ls;
	struct line ln;
	int rc = 0;

	lines_init(&ls, fd, here.at, sl->at, LOG_LINE_BYTES);
	while (rc >= 0 && pos < end && (rc = lines_next(&ls, &ln, err)) > 0 && ln.whole) {
		uint64_t next = pos + ln.len + 1, from, to;

		rc = line_is_of(&ln, &sl->slug, err);
		if (rc <= 0)
			continue;
		from = off > pos ? off - pos : 0;
		to = end < next ? end - pos : ln.len + 1;
		if (from < ln.len && from < to)
			(void)buf_add(out, ln.text + from,
				(to < ln.len ? (size_t)to : ln.len) - (size_t)from);
		if (to == ln.len + 1 && from < to)
			(void)buf_putc(out, '\n');
		if (out->failed)
			rc = err_nomem(err);
		pos = next;
	}
	lines_release(&ls);
	return rc < 0 ? rc : 0;
}

int slug_log_read(struct slug_log *sl, const struct store *st, uint64_t off, size_t size,
	struct buf *out, struct err *err)
{
	int fd, rc = open_and_look(sl, st, &fd, err);

	if (rc < 0 || fd < 0)
		return rc;
	if (off < sl->len && size > 0)
		rc = copy_lines(sl, fd, off, size, out, err);
	close(fd);
	return rc;
}
