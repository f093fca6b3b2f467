/*
 * lines - the lines of a file that may hold anything: NULs, holes of zeros, gigabytes without a
 * line feed.
 *
 * Of a line longer than the limit only its last bytes are kept: that is where a whole record may be
 * glued to what a killed writer or a power cut left.
 */
#include "store/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { CHUNK_BYTES = 256 * 1024, FIRST_BYTES = 64 * 1024, MARK_BYTES = 4096 };

void lines_init(struct lines *ls, int fd, uint64_t from, uint64_t end, size_t max)
{
	*ls = (struct lines){
		.fd = fd, .max = max, .pos = from, .end = end < from ? from : end, .start = from};
}

void lines_release(struct lines *ls)
{
	free(ls->buf);
	ls->buf = NULL;
}

/* room for more behind buf[len]: drop what was returned, shorten a line that is over, grow */
static int make_room(struct lines *ls)
{
	size_t cap;
	char *p;

	if (ls->len - ls->from > ls->max) {
		ls->over = true;
		ls->from = ls->len - ls->max;
	}
	if (ls->from > 0) {
		memmove(ls->buf, ls->buf + ls->from, ls->len - ls->from);
		ls->len -= ls->from;
		ls->seen -= ls->from;
		ls->from = 0;
	}
	if (ls->cap - ls->len >= FIRST_BYTES / 2)
		return 0;
	cap = ls->cap == 0 ? FIRST_BYTES : ls->cap * 2;
	if (cap > ls->max + CHUNK_BYTES)
		cap = ls->max + CHUNK_BYTES;
	p = realloc(ls->buf, cap);
	if (p == NULL)
		return -ENOMEM;
	ls->buf = p;
	ls->cap = cap;
	return 0;
}

/* inside a line that is over anyway, zeros that take no room on the disk need not be read */
static void skip_hole(struct lines *ls)
{
	off_t data = lseek(ls->fd, (off_t)ls->pos, SEEK_DATA);

	if (data < 0 && errno == ENXIO)
		data = lseek(ls->fd, 0, SEEK_END);
	if (data <= (off_t)ls->pos)
		return;
	ls->pos = (uint64_t)data < ls->end ? (uint64_t)data : ls->end;
	ls->from = ls->len = ls->seen = 0;
}

static int fill(struct lines *ls, struct err *err)
{
	uint64_t left;
	ssize_t n;

	if (make_room(ls) < 0)
		return err_nomem(err);
	if (ls->over)
		skip_hole(ls);
	left = ls->end - ls->pos;
	do {
		size_t want = ls->cap - ls->len;

		n = left == 0 ? 0
			      : pread(ls->fd, ls->buf + ls->len, want < left ? want : (size_t)left,
					(off_t)ls->pos);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "cannot read at offset %llu", (unsigned long long)ls->pos);
	ls->len += (size_t)n;
	ls->pos += (uint64_t)n;
	return n > 0;
}

int lines_next(struct lines *ls, struct line *out, struct err *err)
{
	for (;;) {
		const char *text = ls->buf != NULL ? ls->buf + ls->from : "";
		const char *lf = ls->seen < ls->len
					 ? memchr(ls->buf + ls->seen, '\n', ls->len - ls->seen)
					 : NULL;
		int rc = 1;

		if (lf == NULL) {
			ls->seen = ls->len;
			rc = fill(ls, err);
			if (rc < 0)
				return rc;
			if (rc > 0)
				continue;
			if (ls->pos == ls->start)
				return 0;
			text = ls->buf + ls->from;
		}
		out->text = text;
		out->len = lf != NULL ? (size_t)(lf - text) : ls->len - ls->from;
		out->whole = lf != NULL;
		out->offset = ls->start;
		out->next = ls->pos - (ls->len - ls->from) + out->len + (lf != NULL);
		out->at = out->next - (lf != NULL) - out->len;
		out->over = ls->over || out->len > ls->max;
		if (out->len > ls->max) {
			out->at += out->len - ls->max;
			out->text += out->len - ls->max;
			out->len = ls->max;
		}
		ls->from = lf != NULL ? (size_t)(lf - ls->buf) + 1 : ls->len;
		ls->seen = ls->from;
		ls->start = out->next;
		ls->over = false;
		return 1;
	}
}

int mark_before(int fd, uint64_t end, uint64_t *out, struct err *err)
{
	char text[MARK_BYTES];
	size_t want = end < MARK_BYTES ? (size_t)end : MARK_BYTES;
	ssize_t n = pread(fd, text, want, (off_t)(end - want));

	if (n < 0)
		return err_sys(err, "cannot read at offset %llu", (unsigned long long)(end - want));
	*out = XXH3_64bits(text, (size_t)n);
	return 0;
}
