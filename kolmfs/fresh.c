/*
 * fresh - see fresh.h. A stamp is a hash over one stat() of each file. Files that are replaced get
 * a new inode, files that grow a new size, and a folder in which something came or went a new time.
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

/* an open promotion, and its end, are changes of the folder */
STAMPER(head_stamp)
{
	static const char *const names[] = {"", "HEAD", "revisions", NULL};

	(void)err;
	return done(look_at(sv, at, names), out);
}

STAMPER(head_prev_stamp)
{
	static const char *const names[] = {"", "HEAD", "head.prev", "revisions", NULL};

	(void)err;
	return done(look_at(sv, at, names), out);
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

/* of nearly every file of the slug, and of its artifact, which lies anywhere */
STAMPER(status_stamp)
{
	static const char *const settings[] = {"tune-config.json", NULL};
	uint64_t config = look_in(sv, at->slug, settings, 1), sum[2];
	struct known *kn;

	sum[0] = eye_count(kolm_eye(sv->k), at->slug);
	sum[1] = notify_generation(sv, at->slug, ~0u);
	if (sum[0] == 0) {
		*out = '\0';
		return 0;
	}
	pthread_mutex_lock(&sv->fresh->lock);
	kn = known_of(sv->fresh, at->slug);
	if (kn && kn->config != config) {
		free(kn->artifact);
		kn->artifact = artifact_path(sv, at->slug);
		kn->config = config;
	}
	if (kn && kn->artifact)
		config = look(AT_FDCWD, kn->artifact, config);
	pthread_mutex_unlock(&sv->fresh->lock);
	return kn ? done(XXH3_64bits_withSeed(sum, sizeof(sum), config), out) : err_nomem(err);
}
