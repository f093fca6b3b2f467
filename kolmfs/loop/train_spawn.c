/*
 * train_spawn - the worker of a step is started: its command, environment, walls and limits
 * (PROTOCOLS section 1).
 */
#include "loop/train.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

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

/* the words of a foreign worker's command, WORKER_ARGS_MAX at most; how many */
static int worker_words(const struct train *t, struct store_worker *w, const char *argv[],
	char program[64], struct err *err)
{
	size_t n = 0;

	if (w->command.len > 0) /* empty: what config.json says is not used */
		n = split_command(w->command.data, argv, WORKER_ARGS_MAX);
	if (n > WORKER_ARGS_MAX)
		return err_set(err, ENOEXEC,
			"the worker of \"%s\" in config.json has more than %d words; give it a "
			"script",
			t->jb->slug, WORKER_ARGS_MAX);
	if (n == 0)
		return err_set(err, ENOEXEC,
			"the worker of \"%s\" in config.json is no command, or what it "
			"reads are no absolute paths, or that file is damaged (kolm fsck)",
			t->jb->slug);
	argv[0] = command_path(argv[0], program);
	return (int)n;
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
	size_t r = 0;
	bool native = w == NULL;
	int n = native ? 1 : worker_words(t, w, argv, program, err);

	if (n < 0)
		return n;
	if (native)
		argv[0] = spawner_program(k->sp, "kolm-trainer");
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
