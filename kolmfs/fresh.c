/*
 * fresh - see fresh.h. A stamp is a hash over one stat() of each file: files that are replaced get
 * a new inode, files that grow a new size. What is made of many files of a slug goes by the count
 * of its changes, as the kernel tells them.
 */
#include "fresh.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "notify.h"
#include "store/eye.h"

/* where the artifact of a slug lies, as of one state of its config: stat() needs the path, and to
 * parse the config for it would cost more than all the rest */
struct known {
	char slug[SLUG_BYTES + 1];
	uint64_t config;
	uint64_t count; /* of the slug's changes when the config was looked at */
	char *artifact; /* owned, NULL none */
	struct known *next;
};

struct fresh {
	pthread_mutex_t lock;
	struct known *first;
};

int fresh_new(struct fresh **out, struct err *err)
{
	struct fresh *fr = calloc(1, sizeof(*fr));

	if (!fr)
		return err_nomem(err);
	pthread_mutex_init(&fr->lock, NULL);
	*out = fr;
	return 0;
}

void fresh_free(struct fresh *fr)
{
	struct known *kn, *next;

	if (!fr)
		return;
	for (kn = fr->first; kn; kn = next) {
		next = kn->next;
		free(kn->artifact);
		free(kn);
	}
	pthread_mutex_destroy(&fr->lock);
	free(fr);
}

/* what is hashed of a file; absent ones count as such */
struct trace {
	uint64_t words[6];
};

static uint64_t look(int dirfd, const char *path, uint64_t before)
{
	struct stat st;
	struct trace tr = {{before}};

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		tr = (struct trace){{before, st.st_dev, st.st_ino, (uint64_t)st.st_size,
			(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec}};
	return XXH3_64bits(&tr, sizeof(tr));
}

/* files of the slug's folder; their paths are put together by hand: beside a stat() snprintf() is
 * not cheap */
static uint64_t look_in(
	const struct server *sv, const char *slug, const char *const *names, uint64_t sum)
{
	char path[SLUG_BYTES + 32];
	size_t len = strlen(slug);

	memcpy(path, slug, len);
	path[len++] = '/';
	for (; *names; names++) {
		size_t n = strlen(*names) + 1;

		assert(len + n <= sizeof(path));
		memcpy(path + len, *names, n);
		sum = look(sv->st->tune, path, sum);
	}
	return sum;
}

/* and the changes announced of it */
static uint64_t look_at(struct server *sv, const struct place *at, const char *const *names)
{
	return look_in(sv, at->slug, names, notify_generation(sv, at->slug, ~0u));
}

uint64_t fresh_files(const struct server *sv, const char *slug)
{
	static const char *const names[] = {"tune-config.json", "captures.jsonl", NULL};

	return look_in(sv, slug, names, 1) | 1;
}

static int done(uint64_t sum, char out[STAMP_BYTES])
{
	char *p = out;

	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = "0123456789abcdef"[sum >> shift & 15];
	*p = '\0';
	return 0;
}

/* of the changes of the slug: those announced, and ${count}, those the kernel told of its folder
 * and its revisions/. 0: not known */
static uint64_t look_by_eye(struct server *sv, const char *slug, uint64_t *count)
{
	uint64_t sum[2] = {eye_count(kolm_eye(sv->k), slug), notify_generation(sv, slug, ~0u)};

	*count = sum[0];
	return sum[0] == 0 ? 0 : XXH3_64bits(sum, sizeof(sum)) | 1;
}

STAMPER(head_stamp)
{
	uint64_t count, sum = look_by_eye(sv, at->slug, &count);

	(void)err;
	*out = '\0';
	return sum == 0 ? 0 : done(sum, out);
}

STAMPER(config_stamp)
{
	static const char *const names[] = {"tune-config.json", NULL};

	(void)err;
	return done(look_at(sv, at, names), out);
}

STAMPER(job_stamp)
{
	static const char *const names[] = {"jobs.jsonl", NULL};

	(void)err;
	if (at->rag)
		return done(
			look(sv->st->rag, "jobs.jsonl", notify_generation(sv, "rag", ~0u)), out);
	return done(look_at(sv, at, names), out);
}

static char *artifact_path(struct server *sv, const char *slug)
{
	char *path = NULL;
	struct config cf;

	if (config_of(sv->st, slug, &cf, NULL) < 0)
		return NULL;
	path = cf.artifact_path ? strdup(cf.artifact_path) : NULL;
	config_release(&cf);
	return path;
}

/* under the lock; NULL when memory is short */
static struct known *known_of(struct fresh *fr, const char *slug)
{
	struct known *kn = fr->first;

	while (kn && strcmp(kn->slug, slug) != 0)
		kn = kn->next;
	if (kn)
		return kn;
	kn = calloc(1, sizeof(*kn));
	if (!kn)
		return NULL;
	snprintf(kn->slug, sizeof(kn->slug), "%s", slug);
	kn->next = fr->first;
	fr->first = kn;
	return kn;
}

/* under the lock: where the artifact lies, as of ${count} changes of the slug */
static void know_artifact(struct server *sv, struct known *kn, uint64_t count)
{
	static const char *const settings[] = {"tune-config.json", NULL};
	uint64_t config;

	if (kn->count == count)
		return;
	config = look_in(sv, kn->slug, settings, 1);
	if (kn->config != config) {
		free(kn->artifact);
		kn->artifact = artifact_path(sv, kn->slug);
		kn->config = config;
	}
	kn->count = count;
}

/* and of the slug's artifact, which lies anywhere */
STAMPER(status_stamp)
{
	uint64_t count, sum = look_by_eye(sv, at->slug, &count);
	struct known *kn;

	*out = '\0';
	if (sum == 0)
		return 0;
	pthread_mutex_lock(&sv->fresh->lock);
	kn = known_of(sv->fresh, at->slug);
	if (kn)
		know_artifact(sv, kn, count);
	if (kn && kn->artifact)
		sum = look(AT_FDCWD, kn->artifact, sum);
	pthread_mutex_unlock(&sv->fresh->lock);
	return kn ? done(sum, out) : err_nomem(err);
}
