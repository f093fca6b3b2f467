/*
 * open - see open.h.
 */
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "notify.h"
#include "opens.h"
#include "park.h"
#include "reply.h"
#include "replies.h"
#include "work.h"

enum { TEXT_FRESH_MS = 1000 }; /* a lookup rendered it a moment ago: what its size was said of */

struct open *open_get(struct open *o)
{
	atomic_fetch_add(&o->refs, 1);
	return o;
}

void open_put(struct open *o)
{
	if (!o || atomic_fetch_sub(&o->refs, 1) != 1)
		return;
	if (o->fd >= 0)
		close(o->fd);
	text_put(o->text);
	follower_end(&o->follower);
	if (o->ph)
		poll_drop(o->ph);
	buf_release(&o->in);
	buf_release(&o->out);
	node_put(o->sv, o->nd);
	pthread_mutex_destroy(&o->lock);
	pthread_mutex_destroy(&o->writing);
	free(o);
}

/* counts the changes the file shows */
static uint64_t generation(const struct open *o)
{
	const struct name *what = o->nd->at.what;
	char key[2 * SLUG_BYTES];

	if (!what->watch)
		return 0;
	names_key(&o->nd->at, key);
	/* what the root says of all slugs changes with each of them; its `error` is its own */
	return notify_generation(
		o->sv, !*key && !(what->watch & CHANGE_ERROR) ? NULL : key, what->watch);
}

static int check_mode(const struct name *what, int flags, struct err *err)
{
	int how = flags & O_ACCMODE;

	if (how != O_WRONLY && !(what->mode & 0400))
		return err_set(err, EACCES, "%s cannot be read", what->name);
	if (how != O_RDONLY && !(what->mode & 0200))
		return err_set(err, EACCES, "%s is read-only", what->name);
	return 0;
}

/* what a read will show: a descriptor, a text, or a stream's beginning */
static int take_snapshot(struct open *o, struct err *err)
{
	const struct name *what = o->nd->at.what;
	int rc;

	o->seen = generation(o);
	if (what->bind)
		return what->bind(o->sv, o, err);
	if ((o->flags & O_ACCMODE) == O_WRONLY)
		return 0;
	if (what->render)
		return node_text(o->sv, o->nd, TEXT_FRESH_MS, &o->text, err);
	if (what->length) {
		struct timespec grown;
		uint64_t len;

		return what->length(o->sv, &o->nd->at, &len, &grown, err);
	}
	rc = what->open(o->sv, &o->nd->at, err);
	if (rc == -ENOENT && !(what->flags & NAME_MAYBE))
		return 0;
	o->fd = rc < 0 ? -1 : rc;
	return rc < 0 ? rc : 0;
}

int open_new(struct server *sv, struct node *nd, int flags, const struct by *by, struct open **out,
	struct err *err)
{
	struct open *o;
	int rc = check_mode(nd->at.what, flags, err);

	if (rc < 0)
		return rc;
	o = calloc(1, sizeof(*o));
	if (!o)
		return err_nomem(err);
	o->sv = sv;
	o->nd = node_get(sv, nd->id);
	o->flags = flags;
	o->fd = -1;
	o->by = *by;
	atomic_init(&o->refs, 1);
	pthread_mutex_init(&o->lock, NULL);
	pthread_mutex_init(&o->writing, NULL);
	rc = take_snapshot(o, err);
	if (rc == 0)
		rc = opens_add(sv, o, err);
	if (rc < 0) {
		open_put(o);
		return rc;
	}
	node_opened(sv, nd);
	*out = o;
	return 0;
}

/* ---- answers ---- */

void open_answer(struct open *o)
{
	const struct name *what = o->nd->at.what;
	struct buf text = BUF_INIT, answer = BUF_INIT;
	struct err err = ERR_NONE;
	char key[2 * SLUG_BYTES];
	int rc;

	pthread_mutex_lock(&o->lock);
	text = o->in;
	o->in = BUF_INIT;
	pthread_mutex_unlock(&o->lock);
	if (text.len && text.data[text.len - 1] ==
				'\n') /* as at the end of a standard input (FORMATS 19.2) */
		text.data[--text.len] = '\0';
	rc = what->answer(o->sv, &o->nd->at, buf_str(&text), text.len, &answer, &err);
	if (rc == 0 && answer.failed)
		rc = err_nomem(&err);
	names_key(&o->nd->at, key);
	if (rc < 0)
		refused(o->sv, key, &o->by, &err);
	else
		replies_set(o->sv, key, "ok");
	buf_release(&text);
	pthread_mutex_lock(&o->lock);
	buf_release(&o->out);
	o->out = answer;
	o->out_no = rc < 0 ? -rc : 0;
	o->has_base = false;
	o->talk = TALK_DONE;
	pthread_mutex_unlock(&o->lock);
	park_wake(o->sv, o);
	open_tell(o);
}

static void answer_task(void *arg)
{
	open_answer(arg);
	open_put(arg);
}

/* somebody asks for the answer to what was written; with o->lock */
static void start_answer(struct open *o)
{
	struct err err = ERR_NONE;

	o->talk = TALK_RUNNING;
	if (work_do(o->sv->work, answer_task, open_get(o), &err) == 0)
		return;
	open_put(o);
	o->talk = TALK_DONE;
	o->out_no = err.no;
	buf_reset(&o->out);
	buf_release(&o->in); /* the next write is another question */
}

bool open_is_asked(struct open *o)
{
	bool is_asked = false;

	if (!(o->nd->at.what->flags & NAME_QUICK))
		return false;
	pthread_mutex_lock(&o->lock);
	if (o->talk == TALK_WRITTEN) {
		o->talk = TALK_RUNNING;
		is_asked = true;
	}
	pthread_mutex_unlock(&o->lock);
	return is_asked;
}

void open_not_asked(struct open *o)
{
	pthread_mutex_lock(&o->lock);
	o->talk = TALK_WRITTEN;
	pthread_mutex_unlock(&o->lock);
	/* reads that came meanwhile wait for an answer nobody makes: the first asks again */
	park_wake(o->sv, o);
}

void open_say(struct open *o, const char *text)
{
	pthread_mutex_lock(&o->lock);
	buf_reset(&o->out);
	buf_puts(&o->out, text);
	buf_putc(&o->out, '\n');
	o->out_no = 0;
	o->has_base = false;
	o->talk = TALK_DONE;
	pthread_mutex_unlock(&o->lock);
}

/* ---- reading ---- */

static int slice(
	const char *data, size_t have, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	size_t n = off < have ? have - (size_t)off : 0;

	if (n > size)
		n = size;
	return n && buf_add(out, data + off, n) < 0 ? err_nomem(err) : 1;
}

static int read_answer(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	if (o->talk == TALK_WRITTEN)
		start_answer(o);
	if (o->talk == TALK_RUNNING)
		return 0;
	if (o->out_no) /* its sentence was said when it failed */
		return -o->out_no;
	/* a shared file offset already stands behind what was written: the first read says where
	 * the answer begins */
	if (!o->has_base || off < o->base) {
		o->base = off;
		o->has_base = true;
	}
	return slice(o->out.data, o->out.len, size, off - o->base, out, err);
}

static int read_stream(struct open *o, size_t size, struct buf *out, struct err *err)
{
	size_t n;
	int rc = 1;

	if (!o->out.len && !o->ended)
		rc = o->nd->at.what->ready(o->sv, o, err);
	if (rc <= 0)
		return rc;
	n = o->out.len < size ? o->out.len : size;
	if (n && buf_add(out, o->out.data, n) < 0)
		return err_nomem(err);
	buf_consume(&o->out, n);
	o->seen = generation(o);
	return 1;
}

static int read_file_at(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	const struct name *what = o->nd->at.what;
	ssize_t n;
	int fd;

	if (what->flags & NAME_LIVE) {
		o->seen = generation(o);
		fd = what->open(o->sv, &o->nd->at, NULL);
		if (fd >= 0 && o->fd >= 0)
			close(o->fd);
		if (fd >= 0)
			o->fd = fd;
	}
	if (o->fd < 0)
		return 1;
	if (buf_reserve(out, size) < 0)
		return err_nomem(err);
	do {
		n = pread(o->fd, out->data, size, (off_t)off);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(
			err, "cannot read '%s' at %llu", o->nd->path, (unsigned long long)off);
	out->len = (size_t)n;
	return 1;
}

static int read_grown(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	int rc;

	o->seen = generation(o);
	rc = o->nd->at.what->read(o->sv, &o->nd->at, off, size, out, err);
	return rc < 0 ? rc : 1;
}

static int read_text(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	struct text *tx;

	/* rewinding looks again: poll, seek to 0, read */
	if (!o->text || (off == 0 && o->was_read)) {
		uint64_t now = generation(o);
		int rc = node_text(o->sv, o->nd, 0, &tx, err);

		if (rc < 0)
			return rc;
		text_put(o->text);
		o->text = tx;
		o->seen = now;
	}
	o->was_read = true;
	return slice(o->text->data, o->text->len, size, off, out, err);
}

int open_read(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err)
{
	const struct name *what = o->nd->at.what;
	int rc;

	pthread_mutex_lock(&o->lock);
	if (what->ready)
		rc = read_stream(o, size, out, err);
	else if (o->talk != TALK_NONE)
		rc = read_answer(o, size, off, out, err);
	else if (what->read)
		rc = read_grown(o, size, off, out, err);
	else if (what->render)
		rc = read_text(o, size, off, out, err);
	else
		rc = read_file_at(o, size, off, out, err);
	pthread_mutex_unlock(&o->lock);
	return rc == 0 && (o->flags & O_NONBLOCK) ? -EAGAIN : rc;
}

ssize_t open_write(
	struct open *o, const char *data, size_t len, const struct by *by, struct err *err)
{
	ssize_t n;

	pthread_mutex_lock(&o->writing);
	n = o->nd->at.what->write(o->sv, o, data, len, by, err);
	pthread_mutex_unlock(&o->writing);
	return n;
}

/* ---- poll ---- */

bool open_ready(struct open *o)
{
	bool is_ready = true;

	pthread_mutex_lock(&o->lock);
	if (o->nd->at.what->ready)
		is_ready = o->out.len || o->ended || o->nd->at.what->ready(o->sv, o, NULL) != 0;
	if (o->talk == TALK_WRITTEN)
		start_answer(o);
	if (o->talk == TALK_RUNNING)
		is_ready = false;
	pthread_mutex_unlock(&o->lock);
	return is_ready;
}

bool open_changed(struct open *o)
{
	bool has_changed;

	pthread_mutex_lock(&o->lock);
	has_changed = generation(o) != o->seen;
	pthread_mutex_unlock(&o->lock);
	return has_changed;
}

void open_poll(struct open *o, struct fuse_pollhandle *ph)
{
	struct fuse_pollhandle *old;

	if (!ph)
		return;
	pthread_mutex_lock(&o->lock);
	old = o->ph;
	o->ph = ph;
	atomic_store(&o->is_polled, true);
	pthread_mutex_unlock(&o->lock);
	if (old)
		poll_drop(old);
}

void open_tell(struct open *o)
{
	struct fuse_pollhandle *ph;

	pthread_mutex_lock(&o->lock);
	ph = o->ph;
	o->ph = NULL;
	pthread_mutex_unlock(&o->lock);
	if (!ph)
		return;
	poll_tell(ph); /* without the lock; it stays good for the next change */
	pthread_mutex_lock(&o->lock);
	if (!o->ph) {
		o->ph = ph;
		ph = NULL;
	}
	pthread_mutex_unlock(&o->lock);
	if (ph)
		poll_drop(ph);
}

/* ---- closing ---- */

bool open_needs_flush(const struct open *o)
{
	return o->nd->at.what->flush && (o->flags & O_ACCMODE) != O_RDONLY;
}

static void flush(struct open *o, bool is_last)
{
	if (!open_needs_flush(o))
		return;
	pthread_mutex_lock(&o->writing);
	o->nd->at.what->flush(o, is_last);
	pthread_mutex_unlock(&o->writing);
}

void open_flush(struct open *o)
{
	flush(o, false);
}

void open_close(struct open *o)
{
	flush(o, true);
	opens_remove(o->sv, o);
	node_closed(o->sv, o->nd);
	open_put(o);
}
