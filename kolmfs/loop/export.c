/*
 * export - a revision for other engines: PEFT's folder as it is, or a GGUF that a runner writes.
 * What is written appears under its name only when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"
#include "loop/train.h"

static const char *const peft_files[] = {"adapter_config.json", "adapter_model.safetensors"};

/* the folder a new name will stand in, and the name */
static int parent_open(const char *path, const char **name, struct err *err)
{
	char dir[STORE_PATH_BYTES];
	const char *slash = strrchr(path, '/');
	int fd;

	*name = slash + 1;
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash == path ? 1 : slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "cannot open '%s'", dir) : fd;
}

static int copy_file(int from, int to, const char *name, struct err *err)
{
	char piece[65536];
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out, rc = 0;
	ssize_t n;

	if (in < 0)
		return err_sys(err, "the revision has no %s", name);
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		rc = err_sys(err, "cannot create '%s'", name);
	while (rc == 0 && (n = read(in, piece, sizeof(piece))) != 0)
		rc = n < 0 ? err_sys(err, "cannot read %s", name)
			   : write_all(out, piece, (size_t)n, err);
	if (rc == 0 && fsync(out) < 0)
		rc = err_sys(err, "cannot write '%s'", name);
	close(in);
	if (out >= 0)
		close(out);
	return rc;
}

static int write_peft(int revision, int parent, const char *tmp, struct err *err)
{
	int dir = dir_make(parent, tmp, err), rc = 0;

	if (dir < 0)
		return dir;
	for (size_t i = 0; rc == 0 && i < sizeof(peft_files) / sizeof(peft_files[0]); i++)
		rc = copy_file(revision, dir, peft_files[i], err);
	if (rc == 0)
		rc = dir_sync(dir, err);
	close(dir);
	return rc;
}

/* by a runner: the engine lives there */
static int write_gguf(struct kolm *k, const char *base, int revision, int parent, const char *tmp,
	bool merged, struct err *err)
{
	int fds[3] = {open(base, O_RDONLY | O_CLOEXEC), revision,
		openat(parent, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
	struct runner_start rs = {.base = base, .fds = fds, .nfds = 3, .log = -1};
	struct buf request = BUF_INIT, answer = BUF_INIT;
	struct runner *rn;
	int rc;

	(void)buf_addf(&request,
		"{\"id\":1,\"op\":\"export\",\"base\":10,\"adapter\":11,\"out\":12,\"merged\":%s}",
		merged ? "true" : "false");
	if (fds[0] < 0)
		rc = err_sys(err, "cannot open base model '%s'", base);
	else if (fds[2] < 0)
		rc = err_sys(err, "cannot create a file there");
	else
		rc = request.failed ? err_nomem(err) : runner_start(k, &rs, &rn, err);
	if (rc == 0) {
		rc = runner_call(rn, request.data, request.len, NULL, NULL, &answer, err);
		runner_end(rn, false);
	}
	if (rc == 0 && fsync(fds[2]) < 0)
		rc = err_sys(err, "cannot make the file durable");
	for (int i = 0; i < 3; i += 2)
		if (fds[i] >= 0)
			close(fds[i]);
	buf_release(&request);
	buf_release(&answer);
	return rc;
}

static int write_form(struct train *t, struct kolm *k, enum export_form form, int revision,
	const char *path, struct err *err)
{
	const char *base = t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model, *name;
	char tmp[40];
	int parent = parent_open(path, &name, err), rc;

	if (parent < 0)
		return parent;
	(void)snprintf(tmp, sizeof(tmp), ".kolm-export.%d", (int)getpid());
	if (faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		rc = err_set(err, EEXIST, "'%s' is there already", path);
	else if (form == EXPORT_PEFT)
		rc = write_peft(revision, parent, tmp, err);
	else
		rc = write_gguf(k, base, revision, parent, tmp, form == EXPORT_MERGED, err);
	if (rc == 0 && renameat2(parent, tmp, parent, name, RENAME_NOREPLACE) < 0)
		rc = err_sys(err, "cannot name it '%s'", path);
	if (rc == 0)
		rc = dir_sync(parent, err);
	else if (unlinkat(parent, tmp, 0) < 0)
		(void)dir_remove(parent, tmp, NULL);
	close(parent);
	return rc;
}

int loop_export(struct kolm *k, const char *slug, const char *rev, enum export_form form,
	const char *path, struct err *err)
{
	struct train t = {.capfd = -1, .log = -1};
	int rc = tune_open(&k->st, slug, &t.tn, err), dir = -1;

	if (rc < 0)
		return rc;
	rc = rev_check(rev, strlen(rev), err);
	if (rc == 0)
		rc = config_load(&t.tn, &t.cf, err);
	if (rc == 0)
		rc = revision_verify(&t.tn, rev, NULL, err);
	if (rc == 0 && form != EXPORT_PEFT) {
		rc = base_identify(k, t.cf.base_path != NULL ? t.cf.base_path : t.cf.base_model,
			&t.base_bytes, t.base_xxh3, err);
		(void)snprintf(t.from, sizeof(t.from), "%s", rev);
		if (rc == 0)
			rc = train_same_base(&t, err);
	}
	if (rc == 0)
		rc = dir = revision_open(&t.tn, rev, err);
	if (rc >= 0) {
		rc = write_form(&t, k, form, dir, path, err);
		close(dir);
	}
	train_release(&t);
	return rc;
}
