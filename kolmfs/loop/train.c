/*
 * train - what a step needs before its worker starts, and publishing what that made (PROTOCOLS
 * section 4).
 */
#include "loop/train.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/replace.h"

/* v0 was not trained and has no digest of its base, only the name it was made for */
static int same_base_name(struct train *t, struct err *err)
{
	char was[ERR_QUOTE_BYTES + 8], is[ERR_QUOTE_BYTES + 8];
	cJSON *config = NULL;
	const char *name;
	int rc;

	rc = rev_json(&t->tn, t->from, "adapter_config.json", &config, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	name = json_get_string(config, "base_model_name_or_path");
	if (name != NULL && strcmp(name, t->cf.base_model) != 0)
		rc = err_set(err, ESTALE,
			"base differs from %s: it is of \"%s\", the configuration names \"%s\"; "
			"init under another slug for another base",
			t->from, err_quote(was, name, strlen(name)),
			err_quote(is, t->cf.base_model, strlen(t->cf.base_model)));
	cJSON_Delete(config);
	return rc;
}

int train_same_base(struct train *t, struct err *err)
{
	cJSON *train = NULL;
	const char *want;
	int rc;

	rc = rev_json(&t->tn, t->from, "train.json", &train, err);
	if (rc == -ENOENT)
		return same_base_name(t, err);
	if (rc < 0)
		return rc;
	want = json_get_string(cJSON_GetObjectItemCaseSensitive(train, "base"), "xxh3");
	if (want != NULL && strcmp(want, t->base_xxh3) != 0)
		rc = err_set(err, ESTALE, "base digest differs from %s's: %s was %s, is %s",
			t->from, t->cf.base_path, want, t->base_xxh3);
	cJSON_Delete(train);
	return rc;
}

int train_room(struct train *t, struct err *err)
{
	struct statvfs vfs;
	struct stat st;
	uint64_t adapter = 1 << 20, need, room;
	int dir;

	dir = revision_open(&t->tn, t->from, err);
	if (dir < 0)
		return dir;
	if (fstatat(dir, "adapter_model.safetensors", &st, 0) == 0)
		adapter = (uint64_t)st.st_size;
	close(dir);
	/* the adapter, and a checkpoint of adapter and both moments beside the one it replaces */
	need = adapter * 7 + (1 << 20);
	if (fstatvfs(t->tn.dir, &vfs) < 0)
		return err_sys(err, "cannot ask for free space");
	room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (room < need)
		return err_set(err, ENOSPC, "needs %llu MiB, %llu MiB free",
			(unsigned long long)(need >> 20), (unsigned long long)(room >> 20));
	return 0;
}

/* ---- publishing ---- */

/* only plain files of its own may become part of a revision */
static int check_files(int out, struct err *err)
{
	int fd = fcntl(out, F_DUPFD_CLOEXEC, 0), rc = 0;
	bool config = false, weights = false;
	struct dirent *d;
	DIR *dir;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		rc = err_sys(err, "cannot list what the trainer left");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rewinddir(dir);
	while (rc == 0 && (rc = dir_next(dir, "what the trainer left", &d, err)) > 0) {
		char quoted[ERR_QUOTE_BYTES + 8];
		struct stat st;

		rc = 0;
		if (fstatat(out, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
			st.st_nlink != 1)
			rc = err_set(err, EBADMSG,
				"trainer named a path outside or left something that is no plain "
				"file: \"%s\"",
				err_quote(quoted, d->d_name, strlen(d->d_name)));
		else if (strcmp(d->d_name, "train.json") == 0 ||
			 strcmp(d->d_name, "eval.json") == 0 ||
			 strcmp(d->d_name, "files.json") == 0)
			rc = err_set(err, EBADMSG, "trainer wrote %s, which is not its to write",
				d->d_name);
		config |= strcmp(d->d_name, "adapter_config.json") == 0;
		weights |= strcmp(d->d_name, "adapter_model.safetensors") == 0 && st.st_size > 8;
	}
	closedir(dir);
	if (rc == 0 && (!config || !weights))
		rc = err_set(err, EBADMSG, "trainer left no %s",
			config ? "adapter_model.safetensors" : "adapter_config.json");
	return rc;
}

/* a member of the worker's result as raw JSON, "null" when it does not say */
static void put_said(struct buf *out, const struct train *t, const char *key, const char *name)
{
	struct json_slice line = {buf_str(&t->result), t->result.len}, v;

	(void)buf_addf(out, ",\"%s\":", name);
	if (json_member(line, key, &v))
		(void)json_compact(v, out);
	else
		(void)buf_puts(out, "null");
}

static int adapter_sha(int out, char sha[65], struct err *err)
{
	int fd = openat(out, "adapter_model.safetensors", O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0)
		return err_sys(err, "cannot open the adapter");
	rc = sha256_fd(fd, 0, UINT64_MAX, sha, err);
	close(fd);
	return rc;
}

static void put_targets(struct buf *out, const char *targets)
{
	char words[160];

	(void)snprintf(words, sizeof(words), "%s", targets);
	(void)buf_puts(out, ",\"target_modules\":[");
	size_t n = 0;
	for (char *save = NULL, *w = strtok_r(words, ",", &save); w != NULL;
		w = strtok_r(NULL, ",", &save))
		(void)buf_addf(out, "%s\"%s\"", n++ > 0 ? "," : "", w);
	(void)buf_putc(out, ']');
}

/* what it was made from, and with which settings */
static void put_given(struct buf *b, const struct train *t)
{
	const struct step_options *o = &t->jb->step;

	(void)buf_addf(b,
		"{\"spec\":\"kolm-train-1\",\"revision\":\"%s\",\"from\":\"%s\",\"base\":{"
		"\"path\":",
		t->jb->rec.rev, t->from);
	(void)json_put_text(b, t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model);
	(void)buf_addf(b, ",\"bytes\":%llu,\"xxh3\":\"%s\"", (unsigned long long)t->base_bytes,
		t->base_xxh3);
	put_said(b, t, "types", "types");
	(void)buf_addf(b,
		"},\"captures\":{\"rows\":%llu,\"bytes\":%llu,\"sha256\":\"%s\"},\"rows_used\":%"
		"llu,\"skipped\":%s,\"rows_sha256\":\"%s\"",
		(unsigned long long)t->captures_rows, (unsigned long long)t->captures_bytes,
		t->captures_sha256, (unsigned long long)t->rows,
		t->skipped.len > 0 ? t->skipped.data : "{}", t->rows_sha256);
	(void)buf_addf(b,
		",\"seed\":%lld,\"epochs\":%d,\"batch_size\":%d,\"lr\":", (long long)o->seed,
		o->epochs, o->batch);
	(void)json_put_number(b, o->lr);
	put_said(b, t, "schedule", "schedule");
	(void)buf_addf(b, ",\"rank\":%d,\"alpha\":", t->cf.rank);
	(void)json_put_number(b, t->cf.alpha);
	(void)buf_puts(b, ",\"dropout\":");
	(void)json_put_number(b, t->cf.dropout);
	put_targets(b, t->cf.targets);
}

/* what the worker did, and what came of it */
static void put_done(struct buf *b, const struct train *t, const char *sha)
{
	const struct step_options *o = &t->jb->step;

	put_said(b, t, "template", "template");
	put_said(b, t, "kernel", "kernel");
	put_said(b, t, "engine", "engine");
	(void)buf_puts(b, ",\"worker\":");
	(void)json_put_text(b, t->worker);
	(void)buf_addf(b, ",\"network\":\"%s\"", t->cluster ? "cluster" : "none");
	(void)buf_addf(b, ",\"loss\":[%s],\"heldout\":[%s]", buf_str(&t->loss.text),
		buf_str(&t->heldout.text));
	put_said(b, t, "best_epoch", "best_epoch");
	put_said(b, t, "tokens", "tokens");
	(void)buf_addf(b, ",\"elapsed_sec\":%.2f", (double)(clock_ms() - t->begun) / 1000);
	put_said(b, t, "peak_bytes", "peak_bytes");
	(void)buf_addf(b,
		",\"adapter_sha256\":\"%s\",\"answers_fixed\":%s,\"policy\":\"%s\",\"mem\":%llu,"
		"\"replayed_rows\":%d",
		sha, t->fixed ? "true" : "false", o->all ? "all" : "teach",
		(unsigned long long)o->mem, t->cf.sample_size);
	put_said(b, t, "forgetting_kl", "forgetting_kl");
	put_said(b, t, "epochs_trained", "epochs_trained");
	put_said(b, t, "early_stop", "early_stop");
	put_said(b, t, "skipped", "rows_left_out");
}

static int write_train_json(struct train *t, int out, struct err *err)
{
	struct buf b = BUF_INIT, pretty = BUF_INIT;
	char sha[65];
	int rc = adapter_sha(out, sha, err);

	if (rc < 0)
		return rc;
	put_given(&b, t);
	put_done(&b, t, sha);
	(void)buf_putc(&b, '}');
	if (b.failed || json_pretty((struct json_slice){b.data, b.len}, &pretty) < 0)
		rc = err_nomem(err);
	else
		rc = replace_file(out, "train.json", pretty.data, pretty.len, 0600, err);
	buf_release(&b);
	buf_release(&pretty);
	return rc;
}

int train_publish(struct train *t, struct err *err)
{
	int out, lock, rc;

	out = dir_open(t->jb->dir, "out", err);
	if (out < 0)
		return out;
	rc = dir_remove(out, "checkpoint", err);
	if (rc == 0)
		rc = dir_remove(out, "tmp", err);
	if (rc == 0)
		rc = check_files(out, err);
	if (rc == 0)
		rc = write_train_json(t, out, err);
	if (rc == 0)
		rc = revision_seal(out, err);
	close(out);
	if (rc < 0)
		return rc;
	rc = tune_lock(&t->tn, &lock, err);
	if (rc < 0)
		return rc;
	rc = revision_publish(&t->tn, t->jb->dir, "out", t->jb->rec.rev, err);
	close(lock);
	return rc;
}

void train_unpublish(struct train *t)
{
	int revisions = dir_open(t->tn.dir, "revisions", NULL), lock;

	if (revisions < 0)
		return;
	if (tune_lock(&t->tn, &lock, NULL) == 0) {
		if (renameat2(revisions, t->jb->rec.rev, t->jb->dir, "out", RENAME_NOREPLACE) == 0)
			(void)dir_sync(revisions, NULL);
		close(lock);
	}
	close(revisions);
}

void train_release(struct train *t)
{
	if (t->capfd >= 0)
		close(t->capfd);
	if (t->log >= 0)
		close(t->log);
	artifact_free(t->af);
	config_release(&t->cf);
	tune_close(&t->tn);
	buf_release(&t->skipped);
	buf_release(&t->loss.text);
	buf_release(&t->heldout.text);
	buf_release(&t->result);
	buf_release(&t->log_end);
}
