/*
 * call - a kolm-runner seen from here: a child behind walls that answers JSON lines (PROTOCOLS
 * section 2).
 *
 * One request at a time. The runners that serve `run` are kept warm, one per slug, until they end
 * themselves after five idle minutes, or their artifact or base changes, or their slug is another
 * one of the same name.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/parts.h"
#include "base/replace.h"
#include "loop/private.h"

enum { ANSWER_BYTES_MAX = 8 * 1024 * 1024, IDENTITY_BYTES = 384 };

struct runner {
	struct runner *next; /* in kolm.warm */
	struct kolm *k;
	bool taken;
	char slug[SLUG_BYTES + 1];
	char *artifact;
	char id[IDENTITY_BYTES]; /* of what it opened; "" of one that is not kept */
	pid_t pid;
	int in, out, exit_fd;
	struct buf line; /* what was read past the last answer */
	struct job *job; /* it works for, borrowed; NULL none */
	int64_t kill_at; /* of job_press() */
};

/*
 * What a runner keeps for its slug is the artifact, the base and the adapters by their revisions'
 * numbers: all of it is another one's after `remove` and `init` of the same name. The new folder
 * may even have the inode of the old one, but not its birth.
 */
static void identity(struct kolm *k, const char *slug, const char *artifact, const char *base,
	char out[IDENTITY_BYTES])
{
	char sha[HASH_HEX_BYTES] = "-", of_artifact[FILE_ID_BYTES], of_base[FILE_ID_BYTES] = "-";
	struct statx home = {0};
	struct stat st = {0};

	(void)stat(artifact, &st);
	file_id(&st, of_artifact);
	if (slug != NULL)
		(void)statx(k->st.tune, slug, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &home);
	if (base != NULL) {
		sha256_hex(base, strlen(base), sha);
		st = (struct stat){0};
		(void)stat(base, &st);
		file_id(&st, of_base);
	}
	(void)snprintf(out, IDENTITY_BYTES, "%s %llx:%llx.%x %s %s", of_artifact,
		(unsigned long long)home.stx_ino, (unsigned long long)home.stx_btime.tv_sec,
		(unsigned)home.stx_btime.tv_nsec, sha, of_base);
}

/* folder of a path, for the walls: the sidecar lies beside the artifact and may come later */
static void folder_of(const char *path, char out[STORE_PATH_BYTES])
{
	char *slash;

	(void)snprintf(out, STORE_PATH_BYTES, "%s", path);
	slash = strrchr(out, '/');
	if (slash == out)
		out[1] = '\0';
	else if (slash != NULL)
		*slash = '\0';
}

/*
 * Memory of its own (the mapped base is none) that honest work does not reach: the base packed for
 * the kernels and what is kept of prompts grow with it; never more than the machine has.
 */
static uint64_t memory_bound(const char *base)
{
	const uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
		       most = 3 * (base != NULL ? parts_bytes(base) : 0) +
			      (uint64_t)RUNNER_SPARE_MIB * 1024 * 1024;

	return most < all ? most : all;
}

enum { PASSED = 3 };

struct runner_env {
	char threads[40], pass[PASSED][400];
	const char *list[12];
};

static void runner_env(struct runner_env *e)
{
	/* what verifies artifacts here must verify them there */
	static const char *const names[PASSED] = {
		"RECIPE_RECEIPT_SECRET", "KOLM_ARTIFACT_SECRET", "KOLM_KERNEL"};
	const char *count = getenv("KOLM_THREADS");
	size_t n = 0;

	(void)snprintf(
		e->threads, sizeof(e->threads), "KOLM_THREADS=%s", count != NULL ? count : "0");
	e->list[n++] = "PATH=/usr/local/bin:/usr/bin:/bin";
	e->list[n++] = "HOME=/";
	e->list[n++] = e->threads;
#ifdef __SANITIZE_ADDRESS__
	/* the leak checker cannot work behind the walls */
	e->list[n++] = "ASAN_OPTIONS=detect_leaks=0";
#endif
	for (size_t i = 0; i < PASSED; i++) {
		const char *value = getenv(names[i]);

		if (value != NULL && snprintf(e->pass[i], sizeof(e->pass[i]), "%s=%s", names[i],
					     value) < (int)sizeof(e->pass[i]))
			e->list[n++] = e->pass[i];
	}
	e->list[n] = NULL;
}

static int spawn(struct kolm *k, const struct runner_start *rs, int in, int out, struct runner *rn,
	struct err *err)
{
	const char *argv[8], *reads[4];
	char folder[STORE_PATH_BYTES];
	struct runner_env env;
	size_t n = 0, r = 0;

	runner_env(&env);
	argv[n++] = spawner_program(k->sp, "kolm-runner");
	argv[n++] = "--store";
	argv[n++] = k->st.path;
	if (rs->artifact != NULL) {
		argv[n++] = "--artifact";
		argv[n++] = rs->artifact;
	}
	if (rs->slug != NULL) {
		argv[n++] = "--slug";
		argv[n++] = rs->slug;
	}
	argv[n] = NULL;
	reads[r++] = k->st.path;
	if (rs->artifact != NULL) {
		folder_of(rs->artifact, folder);
		reads[r++] = folder;
	}
	if (rs->base != NULL)
		reads[r++] = rs->base;
	reads[r] = NULL;
	struct spawn_request rq = {.kind = SPAWN_RUNNER,
		.argv = argv,
		.env = env.list,
		.cwd = "/",
		.in = in,
		.out = out,
		.err = rs->log,
		.fds = rs->fds,
		.nfds = rs->nfds,
		.reads = reads,
		.data_bytes = memory_bound(rs->base)};
	return spawner_spawn(k->sp, &rq, &rn->pid, &rn->exit_fd, err);
}

int runner_start(
	struct kolm *k, const struct runner_start *rs, struct runner **out, struct err *err)
{
	struct runner *rn = calloc(1, sizeof(*rn));
	int in[2] = {-1, -1}, from[2] = {-1, -1}, rc;

	if (rn == NULL)
		return err_nomem(err);
	rn->k = k;
	rn->job = rs->job;
	rn->artifact = rs->artifact != NULL ? strdup(rs->artifact) : NULL;
	if (rs->slug != NULL)
		(void)snprintf(rn->slug, sizeof(rn->slug), "%s", rs->slug);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		rc = err_sys(err, "cannot make a pipe");
	else
		rc = spawn(k, rs, in[0], from[1], rn, err);
	if (in[0] >= 0)
		close(in[0]);
	if (from[1] >= 0)
		close(from[1]);
	if (rc < 0) {
		if (in[1] >= 0)
			close(in[1]);
		if (from[0] >= 0)
			close(from[0]);
		free(rn->artifact);
		free(rn);
		return rc;
	}
	rn->in = in[1];
	rn->out = from[0];
	*out = rn;
	return 0;
}

pid_t runner_pid(const struct runner *rn)
{
	return rn->pid;
}

/* the next whole line of the runner, without its line feed; 0 at the end */
static int next_line(struct runner *rn, struct buf *out, struct err *err)
{
	size_t seen = 0;

	for (;;) {
		char *lf = rn->line.len > seen
				   ? memchr(rn->line.data + seen, '\n', rn->line.len - seen)
				   : NULL;
		ssize_t n;

		if (lf != NULL) {
			size_t len = (size_t)(lf - rn->line.data);

			buf_reset(out);
			if (buf_add(out, rn->line.data, len) < 0)
				return err_nomem(err);
			buf_consume(&rn->line, len + 1);
			return 1;
		}
		seen = rn->line.len;
		if (seen > ANSWER_BYTES_MAX)
			return err_set(err, EMSGSIZE, "runner answered more than %d bytes",
				ANSWER_BYTES_MAX);
		if (buf_reserve(&rn->line, 65536) < 0)
			return err_nomem(err);
		if (rn->job != NULL)
			job_listen(rn->job, rn->out, rn->pid, &rn->kill_at);
		n = read(rn->out, rn->line.data + rn->line.len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		rn->line.len += (size_t)n;
	}
}

static int failure(struct json_slice line, struct err *err)
{
	struct json_slice v;
	struct buf no = BUF_INIT, code = BUF_INIT, text = BUF_INIT;

	if (json_member(line, "errno", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &no);
	if (json_member(line, "code", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &code);
	if (json_member(line, "error", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &text);
	int number = no.len > 0 ? err_number(no.data) : EIO;
	if (text.len > 0)
		(void)err_said(err, number, text.data, text.len);
	else
		(void)err_set(err, number, "the runner failed without a reason");
	if (code.len > 0 && err != NULL)
		(void)err_code(err, code.data);
	buf_release(&no);
	buf_release(&code);
	buf_release(&text);
	return -number;
}

int runner_call(struct runner *rn, const char *request, size_t len,
	void (*event)(void *, struct json_slice), void *arg, struct buf *answer, struct err *err)
{
	struct buf line = BUF_INIT;
	int rc;

	rc = write_all(rn->in, request, len, err);
	if (rc == 0)
		rc = write_all(rn->in, "\n", 1, err);
	while (rc == 0) {
		struct json_slice v, text;

		rc = next_line(rn, &line, err);
		if (rc == 0)
			rc = err_set(err, EIO, "the runner ended in the middle of a request");
		if (rc < 0)
			break;
		rc = json_check(line.data, line.len, err);
		if (rc < 0) {
			rc = err_set(err, EIO, "the runner answered no JSON");
			break;
		}
		text = (struct json_slice){line.data, line.len};
		if (json_member(text, "ok", &v)) {
			if (json_true(v))
				rc = buf_add(answer, line.data, line.len) < 0 ? err_nomem(err) : 0;
			else
				rc = failure(text, err);
			if (rc < 0) /* what it says beside the error */
				(void)buf_add(answer, line.data, line.len);
			break;
		}
		if (event != NULL)
			event(arg, text);
	}
	buf_release(&line);
	return rc;
}

int answer_is_of(struct json_slice answer, const char *sha256, struct err *err)
{
	struct json_slice v;

	if (sha256 == NULL || (json_member(answer, "artifact_sha256", &v) && v.len == 66 &&
				      memcmp(v.text + 1, sha256, 64) == 0))
		return 0;
	return err_set(err, ESTALE,
		"the artifact was replaced meanwhile: it was %s, other recipes ran", sha256);
}

void runner_end(struct runner *rn, bool now)
{
	struct spawn_exit ex;

	if (rn == NULL)
		return;
	close(rn->in);
	if (now)
		(void)spawner_kill(rn->k->sp, rn->pid, SIGKILL, NULL);
	(void)spawner_wait(rn->exit_fd, &ex, NULL);
	close(rn->out);
	buf_release(&rn->line);
	free(rn->artifact);
	free(rn);
}

struct runner *runner_take(struct kolm *k, const char *slug, const char *artifact, struct err *err)
{
	struct runner_start rs = {.artifact = artifact, .slug = slug, .log = -1};
	char id[IDENTITY_BYTES], base[STORE_PATH_BYTES] = "";
	struct runner *rn, *stale = NULL;
	struct config cf;

	if (slug != NULL && config_of(&k->st, slug, &cf, NULL) == 0) {
		if (cf.base_path != NULL)
			(void)snprintf(base, sizeof(base), "%s", cf.base_path);
		config_release(&cf);
	}
	rs.base = base[0] != '\0' ? base : NULL;
	identity(k, slug, artifact, rs.base, id);
	pthread_mutex_lock(&k->lock);
	for (;;) {
		for (rn = k->warm; rn != NULL; rn = rn->next)
			if (strcmp(rn->slug, slug != NULL ? slug : "") == 0 &&
				strcmp(rn->artifact, artifact) == 0)
				break;
		if (rn == NULL || !rn->taken)
			break;
		pthread_cond_wait(&k->wake, &k->lock);
	}
	if (rn != NULL && strcmp(rn->id, id) != 0) {
		struct runner **p = &k->warm;

		while (*p != rn)
			p = &(*p)->next;
		*p = rn->next;
		stale = rn;
		rn = NULL;
	}
	if (rn != NULL)
		rn->taken = true;
	pthread_mutex_unlock(&k->lock);
	runner_end(stale, false);
	if (rn != NULL)
		return rn;
	if (runner_start(k, &rs, &rn, err) < 0)
		return NULL;
	memcpy(rn->id, id, sizeof(id));
	rn->taken = true;
	pthread_mutex_lock(&k->lock);
	rn->next = k->warm;
	k->warm = rn;
	pthread_mutex_unlock(&k->lock);
	return rn;
}

void runner_give(struct kolm *k, struct runner *rn, bool broken)
{
	pthread_mutex_lock(&k->lock);
	rn->taken = false;
	if (broken) {
		struct runner **p = &k->warm;

		while (*p != rn)
			p = &(*p)->next;
		*p = rn->next;
	}
	pthread_cond_broadcast(&k->wake);
	pthread_mutex_unlock(&k->lock);
	if (broken)
		runner_end(rn, true);
}

void runners_end(struct kolm *k)
{
	struct runner *rn;

	for (;;) {
		pthread_mutex_lock(&k->lock);
		while (k->warm != NULL && k->warm->taken)
			pthread_cond_wait(&k->wake, &k->lock);
		rn = k->warm;
		if (rn != NULL)
			k->warm = rn->next;
		pthread_mutex_unlock(&k->lock);
		if (rn == NULL)
			return;
		runner_end(rn, true);
	}
}
