/*
 * streams - see streams.h.
 */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "texts.h"

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
	return follower_begin(sv->tails, &o->follower, err);
}

int follow_ready(struct server *sv, struct open *o, struct err *err)
{
	return follower_next(sv->tails, &o->follower, o->nd->at.slug, &o->out, err);
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
