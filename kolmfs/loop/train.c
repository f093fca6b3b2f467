/*
 * train - starting a worker (PROTOCOLS section 1) and publishing what it made (section 4).
 */
#include "loop/train.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
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

/* environment of a worker, as "NAME=value" strings owned by the list */
struct env {
	char *list[24];
	size_t n;
	bool failed;
};

static void env_add(struct env *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void env_add(struct env *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&e->list[e->n], fmt, ap) < 0) {
		e->list[e->n] = NULL;
		e->failed = true;
	} else {
		e->n++;
	}
	va_end(ap);
}

static void worker_env(struct train *t, struct env *e, const char *job_path)
{
	const struct step_options *o = &t->jb->step;
	const char *threads = getenv("KOLM_THREADS");

	env_add(e, "PATH=/usr/local/bin:/usr/bin:/bin");
#ifdef __SANITIZE_ADDRESS__
	env_add(e, "ASAN_OPTIONS=detect_leaks=0"); /* the leak checker cannot work behind the walls,
						      and would fail the worker */
#endif
	env_add(e, "HOME=%s/out/tmp", job_path);
	env_add(e, "TMPDIR=%s/out/tmp", job_path);
	env_add(e, "KOLM_ROWS=%s/rows.jsonl", job_path);
	env_add(e, "KOLM_SEED=%lld", (long long)o->seed);
	env_add(e, "KOLM_THREADS=%s", threads != NULL ? threads : "0");
	if (o->mem != 0)
		env_add(e, "KOLM_MEM=%llu", (unsigned long long)o->mem);
	env_add(e, "KOLM_TARGETS=%s", t->cf.targets);
	if (t->kernel[0] != '\0')
		env_add(e, "KOLM_KERNEL=%s", t->kernel);
	if (t->jb->resumed)
		env_add(e, "KOLM_RESUME=1");
	if (o->airgap) {
		env_add(e, "KOLM_AIRGAP=1");
		env_add(e, "TRANSFORMERS_OFFLINE=1");
		env_add(e, "HF_HUB_OFFLINE=1");
		env_add(e, "HF_DATASETS_OFFLINE=1");
	}
}

enum { WORKER_ARGS_MAX = 48 };

/* words of a command line from config.json, split at blanks: no shell is involved. ${max} + 1:
 * there are more. */
static size_t split_command(char *text, const char *argv[], size_t max)
{
	size_t n = 0;

	for (char *save = NULL, *w = strtok_r(text, " \t", &save); w != NULL;
		w = strtok_r(NULL, " \t", &save)) {
		if (n == max)
			return max + 1;
		argv[n++] = w;
	}
	return n;
}

/* a command without a path is looked for where a worker's PATH says; as it is when it is nowhere */
static const char *command_path(const char *name, char out[64])
{
	static const char *const folders[] = {"/usr/local/bin", "/usr/bin", "/bin"};

	for (size_t i = 0; strchr(name, '/') == NULL && i < sizeof(folders) / sizeof(folders[0]);
		i++)
		if ((size_t)snprintf(out, 64, "%s/%s", folders[i], name) < 64 &&
			access(out, X_OK) == 0)
			return out;
	return name;
}

/*
 * Bounds that honest work does not reach and a hostile base cannot pass: memory of its own (the
 * mapped base is not) of three times the base, what it may plan with and 2 GiB for stacks and rows;
 * files as large as a checkpoint, which holds the adapter and the optimizer's two moments, and a
 * tokenizer.
 */
static void limit_trainer(const struct train *t, struct spawn_request *rq)
{
	const uint64_t mib = 1024 * 1024, mem = t->jb->step.mem;
	struct stat st;

	rq->data_bytes = 3 * t->base_bytes + (mem != 0 ? mem : 512 * mib) + 2048 * mib;
	if (fstatat(t->tn.dir, "revisions/v0/adapter_model.safetensors", &st,
		    AT_SYMLINK_NOFOLLOW) == 0)
		rq->file_bytes = 4 * (uint64_t)st.st_size + 64 * mib;
}

static int make_out(struct job *jb, struct err *err)
{
	int out, tmp;

	if (!jb->resumed) {
		int rc = dir_remove(jb->dir, "out", err);

		if (rc < 0)
			return rc;
	}
	out = dir_make(jb->dir, "out", err);
	if (out < 0)
		return out;
	tmp = dir_make(out, "tmp", err);
	close(out);
	if (tmp >= 0)
		close(tmp);
	return tmp < 0 ? tmp : 0;
}

/* what a foreign command may read besides: programs and their libraries */
static const char *const foreign_reads[] = {"/usr", "/lib", "/lib64", "/bin", "/etc", "/opt"};

static int spawn_with(struct train *t, struct store_worker *w, const char *job_path, struct env *e,
	int out, int say, pid_t *pid, int *exit_fd, struct err *err)
{
	const struct step_options *o = &t->jb->step;
	struct kolm *k = t->jb->k;
	char program[64];
	const char *argv[WORKER_ARGS_MAX + 20], *reads[16 + WORKER_READS_MAX],
		*writes[2] = {NULL, NULL};
	char captures[STORE_PATH_BYTES + 160], out_dir[STORE_PATH_BYTES + 160],
		tune[STORE_PATH_BYTES + 80], epochs[16], batch[16], lr[32];
	size_t n = 0, r = 0;
	bool native = w == NULL;

	if (native)
		argv[n++] = spawner_program(k->sp, "kolm-trainer");
	else if (w->command.len > 0) /* empty: what config.json says is not used */
		n = split_command(w->command.data, argv, WORKER_ARGS_MAX);
	if (n > WORKER_ARGS_MAX)
		return err_set(err, ENOEXEC,
			"the worker of \"%s\" in config.json has more than %d words; give it a "
			"script",
			t->jb->slug, WORKER_ARGS_MAX);
	if (!native && n > 0)
		argv[0] = command_path(argv[0], program);
	if (n == 0)
		return err_set(err, ENOEXEC,
			"the worker of \"%s\" in config.json is no command, or what it "
			"reads are no absolute paths, or that file is damaged (kolm fsck)",
			t->jb->slug);
	(void)snprintf(tune, sizeof(tune), "%s/tune/%s", k->st.path, t->jb->slug);
	(void)snprintf(captures, sizeof(captures), "%s/captures.jsonl", job_path);
	(void)snprintf(out_dir, sizeof(out_dir), "%s/out", job_path);
	(void)snprintf(epochs, sizeof(epochs), "%d", o->epochs);
	(void)snprintf(batch, sizeof(batch), "%d", o->batch);
	(void)snprintf(lr, sizeof(lr), "%.17g", o->lr);
	const char *const flags[] = {"--tune-dir", tune, "--captures", captures, "--out-dir",
		out_dir, "--prev", t->from, "--epochs", epochs, "--batch-size", batch, "--lr", lr};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		argv[n++] = flags[i];
	if (o->airgap)
		argv[n++] = "--airgap";
	argv[n] = NULL;
	reads[r++] = tune;
	reads[r++] = t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model;
	for (size_t i = 0; !native && i < sizeof(foreign_reads) / sizeof(foreign_reads[0]); i++)
		reads[r++] = foreign_reads[i];
	for (size_t i = 0; !native && i < w->nreads; i++)
		reads[r++] = w->reads[i].data;
	reads[r] = NULL;
	writes[0] = out_dir;
	struct spawn_request rq = {.kind = native	? SPAWN_TRAINER
					   : t->cluster ? SPAWN_CLUSTER
							: SPAWN_WORKER,
		.argv = argv,
		.env = (const char *const *)e->list,
		.cwd = tune,
		.in = -1,
		.out = out,
		.err = say,
		.reads = reads,
		.writes = writes};
	if (native)
		limit_trainer(t, &rq);
	rq.cpu_seconds = (uint64_t)ceil(t->cpu_hours * 3600);
	return spawner_spawn(k->sp, &rq, pid, exit_fd, err);
}

int train_spawn(struct train *t, int out, int say, pid_t *pid, int *exit_fd, struct err *err)
{
	struct store_worker w = {0};
	struct env e = {0};
	char job_path[STORE_PATH_BYTES + 100];
	bool foreign;
	int rc;

	(void)snprintf(job_path, sizeof(job_path), "%s/tune/%s/jobs/%llu", t->jb->k->st.path,
		t->jb->slug, (unsigned long long)t->jb->rec.id);
	foreign = t->jb->kind != JOB_REPLAY && store_worker(&t->jb->k->st, t->jb->slug, &w);
	t->cluster = foreign && w.cluster;
	(void)snprintf(
		t->worker, sizeof(t->worker), "%s", foreign ? buf_str(&w.command) : "native");
	rc = t->cluster && t->jb->step.airgap
		     ? err_set(err, EPERM,
			       "the worker of \"%s\" talks to other machines (network "
			       "\"cluster\"): "
			       "it does not run under airgap; airgap=off lets it",
			       t->jb->slug)
		     : store_cpu_hours(&t->jb->k->st, &t->cpu_hours, err);
	if (rc == 0)
		rc = make_out(t->jb, err);
	if (rc == 0) {
		worker_env(t, &e, job_path);
		rc = e.failed ? err_nomem(err)
			      : spawn_with(t, foreign ? &w : NULL, job_path, &e, out, say, pid,
					exit_fd, err);
	}
	for (size_t i = 0; i < e.n; i++)
		free(e.list[i]);
	store_worker_release(&w);
	return rc;
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
		if (fd >= 0)
			close(fd);
		return err_nomem(err);
	}
	rewinddir(dir);
	while (rc == 0 && (d = readdir(dir)) != NULL) {
		char quoted[ERR_QUOTE_BYTES + 8];
		struct stat st;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
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

static int write_train_json(struct train *t, int out, struct err *err)
{
	const struct step_options *o = &t->jb->step;
	struct buf b = BUF_INIT, pretty = BUF_INIT;
	char sha[65];
	int rc = adapter_sha(out, sha, err);

	if (rc < 0)
		return rc;
	(void)buf_addf(&b,
		"{\"spec\":\"kolm-train-1\",\"revision\":\"%s\",\"from\":\"%s\",\"base\":{"
		"\"path\":",
		t->jb->rec.rev, t->from);
	(void)json_put_text(&b, t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model);
	(void)buf_addf(&b, ",\"bytes\":%llu,\"xxh3\":\"%s\"", (unsigned long long)t->base_bytes,
		t->base_xxh3);
	put_said(&b, t, "types", "types");
	(void)buf_addf(&b,
		"},\"captures\":{\"rows\":%llu,\"bytes\":%llu,\"sha256\":\"%s\"},\"rows_used\":%"
		"llu,\"skipped\":%s,\"rows_sha256\":\"%s\"",
		(unsigned long long)t->captures_rows, (unsigned long long)t->captures_bytes,
		t->captures_sha256, (unsigned long long)t->rows,
		t->skipped.len > 0 ? t->skipped.data : "{}", t->rows_sha256);
	(void)buf_addf(&b,
		",\"seed\":%lld,\"epochs\":%d,\"batch_size\":%d,\"lr\":", (long long)o->seed,
		o->epochs, o->batch);
	(void)json_put_number(&b, o->lr);
	put_said(&b, t, "schedule", "schedule");
	(void)buf_addf(&b, ",\"rank\":%d,\"alpha\":", t->cf.rank);
	(void)json_put_number(&b, t->cf.alpha);
	(void)buf_puts(&b, ",\"dropout\":");
	(void)json_put_number(&b, t->cf.dropout);
	put_targets(&b, t->cf.targets);
	put_said(&b, t, "template", "template");
	put_said(&b, t, "kernel", "kernel");
	put_said(&b, t, "engine", "engine");
	(void)buf_puts(&b, ",\"worker\":");
	(void)json_put_text(&b, t->worker);
	(void)buf_addf(&b, ",\"network\":\"%s\"", t->cluster ? "cluster" : "none");
	(void)buf_addf(&b, ",\"loss\":[%s],\"heldout\":[%s]", buf_str(&t->loss.text),
		buf_str(&t->heldout.text));
	put_said(&b, t, "best_epoch", "best_epoch");
	put_said(&b, t, "tokens", "tokens");
	(void)buf_addf(&b, ",\"elapsed_sec\":%.2f", (double)(clock_ms() - t->begun) / 1000);
	put_said(&b, t, "peak_bytes", "peak_bytes");
	(void)buf_addf(&b,
		",\"adapter_sha256\":\"%s\",\"answers_fixed\":%s,\"policy\":\"%s\",\"mem\":%llu,"
		"\"replayed_rows\":%d",
		sha, t->fixed ? "true" : "false", o->all ? "all" : "teach",
		(unsigned long long)o->mem, t->cf.sample_size);
	put_said(&b, t, "forgetting_kl", "forgetting_kl");
	put_said(&b, t, "epochs_trained", "epochs_trained");
	put_said(&b, t, "early_stop", "early_stop");
	put_said(&b, t, "skipped", "rows_left_out");
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
