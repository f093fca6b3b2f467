/*
 * fsck - the store as a whole: what dead processes left, the audit log, the indexes, then each slug
 * (fsck_slug.c); see fsck.h.
 */
#include "store/fsck.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "store/fsck_private.h"

void fsck_tell(struct fsck *f, enum fsck_kind kind, const char *path, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (kind == FSCK_DAMAGED)
		f->damaged++;
	f->say(f->arg, kind, path, text);
}

void fsck_mended(struct fsck *f, const char *slug, enum fsck_kind kind, const char *path,
	const char *what, const char *fmt, ...)
{
	struct buf fields = BUF_INIT;
	char text[ERR_TEXT_BYTES];
	struct err why = ERR_NONE;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->say(f->arg, kind, path, text);
	(void)buf_puts(&fields, "\"what\":");
	(void)json_put_text(&fields, what);
	(void)buf_puts(&fields, ",\"path\":");
	(void)json_put_text(&fields, path);
	rc = fields.failed ? err_nomem(&why) : log_recovered(f->st, slug, fields.data, &why);
	if (rc < 0 && f->chain_holds)
		fsck_tell(f, FSCK_DAMAGED, "logs/tune.jsonl",
			"the repair has no line in it: %.300s", why.text);
	buf_release(&fields);
}

void fsck_lose(struct fsck *f, const char *slug, int dirfd, const char *name, const char *path,
	const char *why)
{
	struct err err = ERR_NONE;
	char to[300];

	if (!f->repair)
		fsck_tell(f, FSCK_DAMAGED, path, "%s", why);
	else if (lost_move(f->st, dirfd, name, path, to, &err) < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%.300s; %.200s", why, err.text);
	else
		fsck_mended(f, slug, FSCK_LOST, path, "moved_to_lost", "%.300s; it is .lost/%s now",
			why, to);
}

/* ---- what dead processes left ---- */

static void each_stale(void *arg, const char *path, const char *text)
{
	struct fsck *f = arg;

	if (f->repair)
		fsck_tell(f, FSCK_REPAIRED, path, "%s; put right as a start does", text);
	else
		fsck_tell(f, FSCK_DAMAGED, path, "%s; fsck --repair puts it right", text);
}

/* ---- logs ---- */

static void check_regular(struct fsck *f, int dirfd, const char *name, const char *path)
{
	struct stat sb;

	if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(sb.st_mode))
		fsck_lose(f, NULL, dirfd, name, path, "it is not a regular file");
}

/* the older parts of runs.jsonl, which nothing chains together */
static void check_runs(struct fsck *f)
{
	struct err err = ERR_NONE;
	struct log_parts ps;

	if (parts_list(f->st, RUNS_STEM, &ps, &err) < 0) {
		fsck_tell(f, FSCK_DAMAGED, "logs", "%.300s", err.text);
		return;
	}
	for (size_t i = 0; i < ps.n; i++) {
		char name[PART_NAME_BYTES], path[PART_NAME_BYTES + 8];
		int fd = part_open(f->st, RUNS_STEM, &ps.part[i], &err);

		(void)part_file(RUNS_STEM, &ps.part[i], name);
		(void)snprintf(path, sizeof(path), "logs/%s", name);
		if (fd == -EUCLEAN)
			fsck_lose(f, NULL, f->st->logs, name, path,
				"it cannot be unpacked: it was changed or cut");
		else if (fd < 0)
			fsck_tell(f, FSCK_DAMAGED, path, "%.300s", err.text);
		else
			close(fd);
	}
	parts_release(&ps);
}

static void check_log(struct fsck *f)
{
	struct err why = ERR_NONE;
	struct log_checkpoint end;
	uint64_t lines = 0;

	f->chain_holds = log_verify_signed(f->st, &lines, &end, &why) == 0;
	if (f->chain_holds && lines > 0 && end.seq == 0)
		fsck_tell(f, FSCK_NOTE, "logs/.tune.tip",
			"the end of the audit log is not noted: lines cut off there would not be "
			"missed; the next line notes it");
	/* which of the lines is the true one nobody can know: it is for a person */
	if (!f->chain_holds)
		fsck_tell(f, FSCK_DAMAGED, "logs/tune.jsonl", "%.400s", why.text);
	check_regular(f, f->st->logs, "runs.jsonl", "logs/runs.jsonl");
	check_runs(f);
}

/* the store's settings and its secret: only who wrote them knows what they were */
static void check_settings(struct fsck *f)
{
	struct buf text = BUF_INIT;
	struct err why = ERR_NONE;
	cJSON *json = NULL;
	int rc = read_file(f->st->dir, "config.json", 1 << 20, &text, &why);

	if (rc == 0)
		rc = json_parse(buf_str(&text), text.len, &json, &why);
	if (rc == 0 && !cJSON_IsObject(json))
		rc = err_set(&why, EBADMSG, "object expected");
	if (rc < 0 && rc != -ENOENT)
		fsck_tell(f, FSCK_DAMAGED, "config.json",
			"%.300s; limits and the secret in it do not count, no step trains; put it "
			"right by hand",
			why.text);
	cJSON_Delete(json);
	buf_release(&text);
}

/* ---- indexes ---- */

enum { INDEX_LOOKS = 5 };

/* which of its files the manifest's digest is of: index.json, or index.bin where that alone exists
 */
static const char *digested(const cJSON *manifest)
{
	const char *path = json_get_string(manifest, "index_path");
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	return slash != NULL && strcmp(slash, "/index.bin") == 0 ? "index.bin" : "index.json";
}

/* -EBADMSG when it is known to be bad, another errno when it could not be looked at */
static int index_check(int rag, const char *name, struct err *err)
{
	struct buf text = BUF_INIT;
	char sha[HASH_HEX_BYTES];
	cJSON *json = NULL;
	const char *want;
	int dir = openat(rag, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1, rc;

	if (dir < 0)
		return errno == ENOTDIR || errno == ELOOP
			       ? err_set(err, EBADMSG, "it is not a folder")
			       : err_sys(err, "it cannot be opened");
	rc = read_file(dir, "manifest.json", 1 << 20, &text, err);
	if (rc == 0)
		rc = json_parse(buf_str(&text), text.len, &json, err);
	if (rc == -ENOENT || rc == -EBADMSG || rc == -EINVAL || rc == -ELOOP || rc == -EFBIG)
		rc = err_set(err, EBADMSG, "its manifest.json is missing or damaged");
	if (rc < 0)
		goto out;
	want = json_get_string(json, "sha256");
	name = digested(json);
	rc = fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		rc = errno == ENOENT || errno == ELOOP
			     ? err_set(err, EBADMSG, "its %s is missing", name)
			     : err_sys(err, "its %s cannot be opened", name);
	else
		rc = sha256_fd(fd, 0, UINT64_MAX, sha, err);
	if (rc == 0 && (want == NULL || strcmp(want, sha) != 0))
		rc = err_set(
			err, EBADMSG, "its %s does not match the digest in manifest.json", name);
out:
	if (fd >= 0)
		close(fd);
	close(dir);
	cJSON_Delete(json);
	buf_release(&text);
	return rc;
}

/* an index that is published meanwhile takes the place of the one being looked at: look again */
static int index_settled(int rag, const char *name, struct err *err)
{
	struct stat before, after;
	int rc = 0;

	for (int i = 0; i < INDEX_LOOKS; i++) {
		if (fstatat(rag, name, &before, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : err_sys(err, "it cannot be looked at");
		rc = index_check(rag, name, err);
		if (rc == 0 || (fstatat(rag, name, &after, AT_SYMLINK_NOFOLLOW) == 0 &&
				       before.st_ino == after.st_ino))
			break;
	}
	return rc;
}

static void each_index(struct fsck *f)
{
	int fd = openat(f->st->rag, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int listed;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		fsck_tell(f, FSCK_DAMAGED, "rag", "it cannot be listed");
		return;
	}
	while ((listed = dir_next(dir, "rag/", &d, NULL)) > 0) {
		char path[300], why[200];
		struct err err = ERR_NONE;
		int rc;

		if (d->d_name[0] == '.' || strcmp(d->d_name, "jobs") == 0 ||
			strcmp(d->d_name, "jobs.jsonl") == 0)
			continue;
		rc = index_settled(f->st->rag, d->d_name, &err);
		(void)snprintf(path, sizeof(path), "rag/%s", d->d_name);
		(void)snprintf(why, sizeof(why), "%.150s; rebuild it with rag index", err.text);
		if (rc == -EBADMSG)
			fsck_lose(f, NULL, f->st->rag, d->d_name, path, why);
		else if (rc < 0)
			fsck_tell(f, FSCK_DAMAGED, path, "%.300s", err.text);
	}
	if (listed < 0)
		fsck_tell(f, FSCK_DAMAGED, "rag", "it cannot be listed");
	closedir(dir);
}

static void check_indexes(struct fsck *f)
{
	bool repair = f->repair;
	int lock = -1;

	/* who builds an index holds it shared, and it is his to exchange */
	if (repair) {
		lock = lock_open(f->st->rag, ".job.lock", NULL);
		if (lock < 0 || flock_wait(lock, LOCK_EX | LOCK_NB, NULL) < 0) {
			fsck_tell(f, FSCK_NOTE, "rag",
				"an index is being built: what is wrong here is told, and put "
				"right by a repair after it");
			f->repair = false;
		}
	}
	each_index(f);
	fsck_journal(f, NULL, f->st->rag, "rag/jobs.jsonl");
	f->repair = repair;
	if (lock >= 0)
		close(lock);
}

/* ---- slugs ---- */

static void one_slug(void *arg, const char *slug)
{
	struct fsck *f = arg;
	struct err err = ERR_NONE;
	struct tune tn;
	char path[100];
	int lock, rc = tune_open(f->st, slug, &tn, &err);

	(void)snprintf(path, sizeof(path), "tune/%s", slug);
	if (rc == 0) {
		rc = tune_lock(&tn, &lock, &err);
		if (rc == 0) {
			fsck_slug(f, &tn);
			close(lock);
		}
		tune_close(&tn);
	}
	if (rc < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%.400s", err.text);
}

int store_fsck(const struct store *st, bool repair, fsck_say *say, void *arg, unsigned *damaged,
	struct err *err)
{
	struct fsck f = {.st = st, .repair = repair, .say = say, .arg = arg};
	int lock = -1, rc = 0;

	if (repair)
		rc = store_lock_server(st, &lock, err);
	if (rc < 0)
		return rc;
	store_stale(st, each_stale, &f);
	if (repair)
		store_recover_every(st);
	check_settings(&f);
	check_log(&f);
	check_indexes(&f);
	rc = tune_list(st, one_slug, &f, err);
	if (lock >= 0)
		close(lock);
	*damaged = f.damaged;
	return rc;
}
