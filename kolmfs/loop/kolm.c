/*
 * kolm - opening and closing a store with what works on it, and the small things all verbs share.
 */
#include "kolm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/parts.h"
#include "base/replace.h"
#include "loop/private.h"

int kolm_open(const char *path, bool server, struct spawner *sp, struct kolm **out, struct err *err)
{
	struct kolm *k = calloc(1, sizeof(*k));
	int rc;

	if (k == NULL)
		return err_nomem(err);
	k->sp = sp;
	k->server_lock = -1;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	pthread_mutex_init(&k->spares, NULL);
	rc = store_open(path, &k->st, err);
	if (rc < 0)
		goto free_kolm;
	if (server) {
		rc = store_lock_server(&k->st, &k->server_lock, err);
		if (rc == 0 && sp != NULL)
			rc = spawner_hold(sp, k->server_lock, err);
		if (rc == 0)
			rc = store_recover(&k->st, err);
		if (rc == 0)
			rc = eye_open(&k->st, &k->eye, err);
		if (rc == 0)
			rc = watch_start(k, err);
		if (rc < 0) {
			kolm_close(k);
			return rc;
		}
	}
	*out = k;
	return 0;
free_kolm:
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->spares);
	pthread_mutex_destroy(&k->lock);
	free(k);
	return rc;
}

/* under k->lock */
static void stop_jobs(struct kolm *k)
{
	for (struct job *jb = k->jobs; jb != NULL; jb = jb->next) {
		/* asked to end already: by us, or by somebody who does not want it to go on */
		if (jb->cancel)
			continue;
		jb->stop_keeps = true;
		jb->cancel = true;
		if (jb->worker > 0)
			(void)spawner_kill(k->sp, jb->worker, SIGTERM, NULL);
	}
	pthread_cond_broadcast(&k->wake);
}

void kolm_ending(struct kolm *k)
{
	if (k->server_lock >= 0)
		store_lock_ending(k->server_lock);
}

void kolm_close(struct kolm *k)
{
	if (k == NULL)
		return;
	pthread_mutex_lock(&k->lock);
	k->closing = true;
	stop_jobs(k);
	pthread_mutex_unlock(&k->lock);
	/* the watch may be about to accept one more, and goes first */
	if (k->has_watch) {
		eye_end(k->eye);
		pthread_join(k->watch, NULL);
	}
	pthread_mutex_lock(&k->lock);
	stop_jobs(k);
	while (k->jobs != NULL)
		pthread_cond_wait(&k->wake, &k->lock);
	pthread_mutex_unlock(&k->lock);
	runners_end(k);
	indexes_free(k);
	captures_settle(k);
	jobs_settle(k);
	jobs_forget(k);
	notes_free(k);
	eye_close(k->eye);
	if (k->server_lock >= 0) {
		/* the spawner's copy would keep it taken; a clean end needs no cleaning up */
		(void)flock(k->server_lock, LOCK_UN);
		close(k->server_lock);
	}
	store_close(&k->st);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->spares);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

const struct store *kolm_store(const struct kolm *k)
{
	return &k->st;
}

struct eye *kolm_eye(const struct kolm *k)
{
	return k->eye;
}

void kolm_on_change(struct kolm *k, void (*fn)(void *, const char *, unsigned), void *arg)
{
	pthread_mutex_lock(&k->lock);
	k->changed = fn;
	k->changed_arg = arg;
	pthread_mutex_unlock(&k->lock);
}

void change(struct kolm *k, const char *slug, unsigned what)
{
	void (*fn)(void *, const char *, unsigned);
	void *arg;

	pthread_mutex_lock(&k->lock);
	fn = k->changed;
	arg = k->changed_arg;
	pthread_mutex_unlock(&k->lock);
	if (fn != NULL)
		fn(arg, slug != NULL && slug[0] != '\0' ? slug : NULL, what);
}

int log_event(struct kolm *k, const char *slug, uint64_t job, const struct by *by, struct err *err,
	const char *event, const char *fmt, ...)
{
	struct log_entry entry = {.event = event, .slug = slug, .job = job, .by = by};
	char *fields;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vasprintf(&fields, fmt, ap);
	va_end(ap);
	if (rc < 0)
		return err_nomem(err);
	entry.fields = fields[0] != '\0' ? fields : NULL;
	rc = log_append(&k->st, &entry, err);
	free(fields);
	if (rc == 0)
		change(k, slug, CHANGE_EVENTS);
	return rc;
}

int artifact_at(struct kolm *k, const char *path, struct artifact **out, struct err *err)
{
	struct artifact_keys keys;
	int rc = artifact_keys_load(k->st.dir, k->st.path, false, &keys, err);

	if (rc == 0)
		rc = artifact_open(AT_FDCWD, path, &keys, out, err);
	if (rc < 0 && err != NULL && strstr(err->text, path) == NULL) {
		char quoted[ERR_QUOTE_BYTES + 8];

		(void)err_prefix(err, "%s: ", err_quote(quoted, path, strlen(path)));
	}
	return rc;
}

int kolm_artifact_open(struct kolm *k, const char *slug, struct artifact **out, struct err *err)
{
	struct artifact *af;
	struct config cf;
	int rc;

	rc = config_of(&k->st, slug, &cf, err);
	if (rc < 0)
		return rc;
	if (cf.artifact_path == NULL) {
		rc = err_set(err, ENOENT,
			"artifact of \"%s\" is not known by path; init it again with kolm", slug);
		goto out;
	}
	rc = artifact_at(k, cf.artifact_path, &af, err);
	if (rc == -ENOENT)
		rc = err_set(err, ENOENT, "artifact is gone: '%s' was %s", cf.artifact_path,
			cf.artifact_sha256 != NULL ? cf.artifact_sha256 : "-");
	if (rc < 0)
		goto out;
	if (cf.artifact_sha256 != NULL && strcmp(cf.artifact_sha256, artifact_sha256(af)) != 0) {
		rc = err_set(err, ESTALE, "artifact changed since init: it was %s, is %s",
			cf.artifact_sha256, artifact_sha256(af));
		artifact_free(af);
		goto out;
	}
	*out = af;
out:
	config_release(&cf);
	return rc;
}

int base_identify(struct kolm *k, const char *path, uint64_t *bytes, char xxh3[33], struct err *err)
{
	struct stat st;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "base model not found: '%s'", path);
	if (fd < 0)
		return err_sys(err, "cannot open base model '%s'", path);
	if (fstat(fd, &st) < 0) {
		rc = err_sys(err, "cannot stat '%s'", path);
		goto out;
	}
	int64_t mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	int64_t ctime = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	pthread_mutex_lock(&k->lock);
	bool known = S_ISREG(st.st_mode) && parts_count(fd) == 1 && k->base.xxh3[0] != '\0' &&
		     k->base.dev == st.st_dev && k->base.ino == st.st_ino &&
		     k->base.size == (uint64_t)st.st_size && k->base.mtime == mtime &&
		     k->base.ctime == ctime;
	if (known) {
		*bytes = k->base.bytes;
		memcpy(xxh3, k->base.xxh3, 33);
	}
	pthread_mutex_unlock(&k->lock);
	rc = known ? 0 : base_digest(fd, bytes, xxh3, err);
	if (!known && rc == 0) {
		pthread_mutex_lock(&k->lock);
		k->base.dev = st.st_dev;
		k->base.ino = st.st_ino;
		k->base.size = (uint64_t)st.st_size;
		k->base.mtime = mtime;
		k->base.ctime = ctime;
		k->base.bytes = *bytes;
		memcpy(k->base.xxh3, xxh3, 33);
		pthread_mutex_unlock(&k->lock);
	}
out:
	close(fd);
	return rc;
}

int rev_json(const struct tune *tn, const char *rev, const char *name, cJSON **out, struct err *err)
{
	struct buf text = BUF_INIT;
	int fd, rc;

	fd = revision_open(tn, rev, err);
	if (fd < 0)
		return fd;
	rc = read_file(fd, name, 64 << 20, &text, err);
	close(fd);
	if (rc == 0)
		rc = json_parse(text.data, text.len, out, err);
	buf_release(&text);
	if (rc < 0 && rc != -ENOENT)
		(void)err_prefix(err, "%s/%s: ", rev, name);
	return rc;
}
