/*
 * streams - see streams.h.
 */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "tail.h"
#include "texts.h"

enum { FOLLOW_CHUNK_BYTES = 64 << 10, FOLLOW_LINE_BYTES = 4 << 20 };

static const char *slug_or_rag(const struct open *o)
{
	return o->nd->at.rag ? NULL : o->nd->at.slug;
}

int wait_bind(struct server *sv, struct open *o, struct err *err)
{
	struct job_record jr;
	int rc = kolm_job(sv->k, slug_or_rag(o), 0, &jr, err);

	if (rc == 0)
		o->job = jr.id;
	return rc == -ENODATA || rc == -ENOENT ? 0 : rc;
}

int wait_ready(struct server *sv, struct open *o, struct err *err)
{
	struct job_record jr;
	int rc;

	if (o->job == 0)
		return err_set(err, ENODATA, "no job ever ran");
	rc = kolm_job(sv->k, slug_or_rag(o), o->job, &jr, err);
	if (rc < 0)
		return rc;
	if (jr.state != JOB_DONE)
		return 0;
	kolm_job_line(&jr, &o->out);
	o->ended = true;
	return 1;
}

int follow_bind(struct server *sv, struct open *o, struct err *err)
{
	int rc = tail_get(sv, &o->tail, err);
	off_t end;

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	end = lseek(tail_fd(o->tail), 0, SEEK_END);
	o->pos = end > 0 ? (uint64_t)end : 0;
	return 0;
}

static bool is_of_slug(const char *line, size_t len, const char *slug)
{
	struct json_slice value, whole = {line, len};
	size_t n = strlen(slug);

	if (json_check(line, len, NULL) < 0 || !json_member(whole, "slug", &value))
		return false;
	return value.len == n + 2 && memcmp(value.text + 1, slug, n) == 0;
}

/* the whole lines of a chunk; how many bytes they are */
static size_t take_lines(struct open *o, const char *data, size_t len)
{
	size_t pos = 0;

	for (const char *lf; (lf = memchr(data + pos, '\n', len - pos)) && !o->out.len;
		pos = (size_t)(lf - data) + 1)
		if (is_of_slug(data + pos, (size_t)(lf - (data + pos)), o->nd->at.slug))
			buf_add(&o->out, data + pos, (size_t)(lf - (data + pos)) + 1);
	return pos;
}

/* from o->pos on, to the first line of the slug */
static int read_lines(struct open *o, struct err *err)
{
	size_t size = FOLLOW_CHUNK_BYTES;
	int fd = tail_fd(o->tail), rc = 0;
	char *chunk = malloc(size);

	while (chunk && !o->out.len) {
		ssize_t n = pread(fd, chunk, size, (off_t)o->pos);
		size_t used = n > 0 ? take_lines(o, chunk, (size_t)n) : 0;

		if (n < 0)
			rc = err_sys(err, "cannot read 'tune.jsonl'");
		o->pos += used;
		if (used == 0 && n == (ssize_t)size && size < FOLLOW_LINE_BYTES) {
			char *more = realloc(chunk, size * 2); /* a line longer than the chunk */

			if (!more)
				break;
			chunk = more;
			size *= 2;
		} else if (used == 0) {
			break;
		}
	}
	if (!chunk)
		rc = err_nomem(err);
	free(chunk);
	return rc;
}

int follow_ready(struct server *sv, struct open *o, struct err *err)
{
	bool is_last = false;
	int rc = 0;

	while (rc == 0 && !o->out.len && !is_last) {
		if (!o->tail) {
			rc = tail_get(sv, &o->tail, err);
			if (rc < 0)
				return rc == -ENOENT ? 0 : rc;
		}
		/* asked before it is read: what stands behind its name then is all there will be */
		is_last = tail_is_last(sv, o->tail);
		if (lseek(tail_fd(o->tail), 0, SEEK_END) < (off_t)o->pos)
			o->pos = 0; /* somebody cut it */
		rc = read_lines(o, err);
		if (rc == 0 && !o->out.len && !is_last) {
			/* the log turned over, and this was the rest of its older part */
			tail_put(o->tail);
			o->tail = NULL;
			o->pos = 0;
		}
	}
	return rc < 0 ? rc : o->out.len > 0;
}

/* ---- what others do ---- */

/* identity of the file a stream's news come by */
static uint64_t look_at(struct server *sv, const struct open *o)
{
	char path[SLUG_BYTES + 16], stamp[STAMP_BYTES] = "";
	struct stat st;
	int rc;

	if (o->nd->at.what->ready == follow_ready) {
		rc = fstatat(sv->st->logs, "tune.jsonl", &st, AT_SYMLINK_NOFOLLOW);
	} else if (o->nd->at.rag) {
		rc = fstatat(sv->st->rag, "jobs.jsonl", &st, AT_SYMLINK_NOFOLLOW);
	} else {
		snprintf(path, sizeof(path), "%s/jobs.jsonl", o->nd->at.slug);
		rc = fstatat(sv->st->tune, path, &st, AT_SYMLINK_NOFOLLOW);
	}
	if (rc == 0)
		stamp_stat(&st, stamp);
	return XXH3_64bits(stamp, strlen(stamp)) | 1;
}

bool stream_moved(struct server *sv, struct open *o, struct look *lk)
{
	char key[2 * SLUG_BYTES];

	names_key(&o->nd->at, key);
	if (lk->seen == 0 || lk->ready != o->nd->at.what->ready || strcmp(lk->key, key) != 0) {
		lk->ready = o->nd->at.what->ready;
		memcpy(lk->key, key, sizeof(key));
		lk->seen = look_at(sv, o);
	}
	return atomic_exchange(&o->looked, lk->seen) != lk->seen;
}
