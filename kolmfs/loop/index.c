/*
 * index - documents become rag/<name>: the indexer builds beside, one exchange publishes; and the
 * sidecar that ties an index to an artifact.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"
#include "rag/kolmrag.h"

/* memory an indexer may have, beyond four times what it plans with: a bound that honest work does
 * not reach and a hostile document cannot pass */
#define MEM_DEFAULT   (UINT64_C(256) << 20)
#define INDEXER_SPARE (UINT64_C(4) << 30)

static const char *last_component(const char *path, size_t *len)
{
	const char *end = path + strlen(path), *p;

	while (end > path + 1 && end[-1] == '/')
		end--;
	for (p = end; p > path && p[-1] != '/'; p--)
		;
	*len = (size_t)(end - p);
	return p;
}

/* a part of an index has a name of its own: docs.2-4 */
static void put_shard(struct index_options *o)
{
	size_t n = strlen(o->name);

	(void)snprintf(o->name + n, sizeof(o->name) - n, ".%s", o->shard);
	for (char *p = o->name + n; (p = strchr(p, '/')) != NULL;)
		*p = '-';
}

int loop_index(struct kolm *k, const struct index_options *o, const struct by *by, uint64_t *id,
	struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	struct job *jb;
	struct stat st;
	size_t n;
	int fd, rc;

	jb = job_new(k, JOB_INDEX, NULL, by);
	if (jb == NULL)
		return err_nomem(err);
	jb->index = *o;
	err_quote(quoted, o->dir, strlen(o->dir));
	if (o->name[0] == '\0') {
		const char *base = last_component(o->dir, &n);

		(void)snprintf(jb->index.name, sizeof(jb->index.name), "%.*s",
			(int)(n < 79 ? n : 79), base);
	}
	if (o->shard[0] != '\0')
		put_shard(&jb->index);
	rc = rag_name_check(jb->index.name, strlen(jb->index.name), err);
	if (rc < 0)
		goto fail;
	if (o->parts[0] != '\0') {
		(void)snprintf(jb->rec.verb, sizeof(jb->rec.verb), "merge name=%s", jb->index.name);
		return job_accept(k, jb, id, err);
	}
	rc = rag_mode_check(
		o->mode[0] != '\0' ? o->mode : NULL, o->lang[0] != '\0' ? o->lang : NULL, err);
	if (rc < 0)
		goto fail;
	fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_sys(err, "cannot index \"%s\"", quoted);
		goto fail;
	}
	close(fd);
	(void)snprintf(jb->rec.verb, sizeof(jb->rec.verb), "%s %.150s name=%s%s%s",
		o->is_proof ? "verify" : "index", o->dir, jb->index.name,
		o->mode[0] != '\0' ? " mode=" : "", o->mode);
	return job_accept(k, jb, id, err);
fail:
	free(jb);
	return rc;
}

/* MB a second since the job began */
static double rate(const struct job *jb, double bytes)
{
	double seconds = (double)(clock_ms() - jb->begun) / 1000;

	return seconds > 0 ? bytes / 1e6 / seconds : 0;
}

/* where the lines of an indexer go */
struct heard {
	struct job *jb;
	int log;
	struct buf result; /* the last line that is no event */
};

static void indexer_line(void *arg, const char *text, size_t len)
{
	struct json_slice line = {text, len}, v, of, bytes, left;
	struct heard *hd = arg;

	(void)!write(hd->log, text, len);
	(void)!write(hd->log, "\n", 1);
	if (json_check(text, len, NULL) < 0 || json_kind_of(line) != JSON_OBJECT)
		return;
	if (json_member(line, "event", &v)) {
		if (json_member(line, "files", &v) && json_member(line, "of", &of))
			if (json_member(line, "bytes", &bytes) &&
				json_member(line, "left_sec", &left))
				job_progress(hd->jb, "%.0f %.0f files %.1f MB/s %.0f s left",
					json_double(v), json_double(of),
					rate(hd->jb, json_double(bytes)), json_double(left));
		return;
	}
	buf_reset(&hd->result);
	(void)buf_add(&hd->result, text, len);
}

static int indexer_verdict(
	struct job *jb, const struct spawn_exit *ex, const struct buf *result, struct err *err)
{
	struct json_slice line = {buf_str(result), result->len}, v;
	struct buf text = BUF_INIT;
	int rc;

	if (jb->cancel)
		return err_set(err, ECANCELED, "cancelled");
	if (ex->signalled) {
		job_died(jb, ex->status);
		return err_set(err, EIO, "indexer was killed (signal %d)%s%s", ex->status,
			ex->egress[0] != '\0' ? ": " : "", ex->egress);
	}
	if (ex->status == 0 && result->len > 0 && json_member(line, "ok", &v) && json_true(v))
		return 0;
	if (result->len > 0 && json_member(line, "error", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &text);
	if (text.len == 0)
		rc = err_set(err, EIO, "indexer gave no result");
	else
		rc = err_said(err, strstr(text.data, "no files matched") != NULL ? ENODATA : EIO,
			text.data, text.len);
	buf_release(&text);
	return rc;
}

enum { ARGS_MAX = 24 + 2 * RAG_PARTS_MAX, NUMBER_BYTES = 24 };

/* the command line of one indexer, and what it may read */
struct command {
	const char *argv[ARGS_MAX + 1], *reads[RAG_PARTS_MAX + 5];
	size_t n, n_reads;
	char index_path[STORE_PATH_BYTES + 120], prev[STORE_PATH_BYTES + 120];
	char max[NUMBER_BYTES], mem[NUMBER_BYTES];
	char parts[sizeof(((struct index_options *)0)->parts)];
};

static void put_flag(struct command *cm, const char *flag, const char *value)
{
	if (value[0] != '\0' && cm->n + 2 <= ARGS_MAX) {
		cm->argv[cm->n++] = flag;
		cm->argv[cm->n++] = value;
	}
}

static void put_parts(struct command *cm, const char *parts)
{
	(void)snprintf(cm->parts, sizeof(cm->parts), "%s", parts);
	for (char *p = cm->parts, *lf; (lf = strchr(p, '\n')) != NULL; p = lf + 1) {
		*lf = '\0';
		if (cm->n_reads < RAG_PARTS_MAX)
			cm->reads[cm->n_reads++] = p;
		put_flag(cm, "--part", p);
	}
}

/* PDF is read where poppler's program is there: it may be run, and read its tables of characters */
static void put_pdf(struct command *cm)
{
	static const char program[] = "/usr/bin/pdftotext", tables[] = "/usr/share/poppler";

	if (access(program, X_OK) < 0)
		return;
	put_flag(cm, "--pdf", program);
	cm->reads[cm->n_reads++] = program;
	cm->reads[cm->n_reads++] = tables;
}

static void make_command(
	const struct kolm *k, const struct index_options *o, const char *out, struct command *cm)
{
	(void)snprintf(cm->index_path, sizeof(cm->index_path), "%s/rag/%s/index.json", k->st.path,
		o->name);
	(void)snprintf(cm->prev, sizeof(cm->prev), "%s/rag/%s", k->st.path, o->name);
	if (o->max_bytes != 0)
		(void)snprintf(cm->max, sizeof(cm->max), "%llu", (unsigned long long)o->max_bytes);
	if (o->mem != 0)
		(void)snprintf(cm->mem, sizeof(cm->mem), "%llu", (unsigned long long)o->mem);
	cm->argv[cm->n++] = spawner_program(k->sp, "kolm-indexer");
	put_flag(cm, "--name", o->name);
	put_flag(cm, "--out", out);
	put_flag(cm, "--index-path", cm->index_path);
	if (o->parts[0] != '\0') {
		put_parts(cm, o->parts);
	} else {
		put_flag(cm, "--root", o->dir);
		cm->reads[cm->n_reads++] = o->dir;
	}
	/* a proof starts from nothing; all else from what was there */
	if (!o->is_proof && o->parts[0] == '\0' && access(cm->prev, R_OK) == 0) {
		put_flag(cm, "--prev", cm->prev);
		cm->reads[cm->n_reads++] = cm->prev;
	}
	if (o->parts[0] == '\0' && strcmp(o->mode, "kolm-2") == 0)
		put_pdf(cm);
	put_flag(cm, "--max-bytes", cm->max);
	put_flag(cm, "--mem", cm->mem);
	put_flag(cm, "--mode", o->mode);
	put_flag(cm, "--lang", o->lang);
	put_flag(cm, "--shard", o->shard);
	if (strcmp(o->ext, "-") != 0 && cm->n + 2 <= ARGS_MAX) {
		cm->argv[cm->n++] = "--ext"; /* an empty list is one too */
		cm->argv[cm->n++] = o->ext;
	}
}

static int run_indexer(struct job *jb, const char *out_path, int log, struct err *err)
{
	struct kolm *k = jb->k;
	struct command cm = {0};
	const char *writes[] = {out_path, NULL};
	const char *env[] = {"PATH=/usr/bin:/bin",
#ifdef __SANITIZE_ADDRESS__
		"ASAN_OPTIONS=detect_leaks=0", /* the leak checker cannot work behind the walls, and
						  would fail the indexer */
#endif
		NULL};
	struct heard hd = {.jb = jb, .log = log};
	struct spawn_exit ex = {0};
	int out[2], exit_fd, rc;
	pid_t pid;

	make_command(k, &jb->index, out_path, &cm);
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	struct spawn_request rq = {.kind = SPAWN_INDEXER,
		.argv = cm.argv,
		.env = env,
		.cwd = "/",
		.in = -1,
		.out = out[1],
		.err = log,
		.reads = cm.reads,
		.writes = writes,
		.data_bytes =
			4 * (jb->index.mem != 0 ? jb->index.mem : MEM_DEFAULT) + INDEXER_SPARE};
	rc = spawner_spawn(k->sp, &rq, &pid, &exit_fd, err);
	close(out[1]);
	if (rc == 0) {
		(void)job_worker_set(jb, pid, NULL);
		rc = job_lines(jb, out[0], pid, indexer_line, &hd, err);
		if (rc < 0)
			(void)spawner_kill(k->sp, pid, SIGKILL, NULL);
		int rc2 = job_reap(jb, pid, exit_fd, &ex, err);
		(void)job_worker_set(jb, 0, NULL);
		if (rc == 0)
			rc = rc2 < 0 ? rc2 : indexer_verdict(jb, &ex, &hd.result, err);
	}
	close(out[0]);
	buf_release(&hd.result);
	return rc;
}

/* an index the log was not told of is not there */
static int publish_logged(struct job *jb, const char *tmp, struct err *err)
{
	const char *name = jb->index.name;
	struct kolm *k = jb->k;
	bool was_there = faccessat(k->st.rag, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	int rc = rag_publish(k->st.rag, tmp, name, err);

	if (rc < 0)
		return rc;
	rc = log_event(k, NULL, jb->rec.id, &jb->by, err, "indexed", "\"index\":\"%s\"", name);
	if (rc < 0)
		rag_unpublish(k->st.rag, name, was_there);
	return rc;
}

int index_run(struct job *jb, struct err *err)
{
	struct kolm *k = jb->k;
	char tmp[160], out_path[STORE_PATH_BYTES + 200];
	int log, dir, lock, rc;

	(void)snprintf(
		tmp, sizeof(tmp), ".%s.%llu", jb->index.name, (unsigned long long)jb->rec.id);
	(void)snprintf(out_path, sizeof(out_path), "%s/rag/%s", k->st.path, tmp);
	/* held while the half-built folder lies there, so that a start does not take it for a dead
	 * job's */
	rc = store_lock_index(&k->st, &lock, err);
	if (rc < 0)
		return rc;
	log = job_log_open(jb, err);
	if (log < 0) {
		close(lock);
		return log;
	}
	rc = dir_remove(k->st.rag, tmp, err);
	dir = rc < 0 ? rc : dir_make(k->st.rag, tmp, err);
	if (dir >= 0)
		close(dir);
	rc = dir < 0 ? dir : run_indexer(jb, out_path, log, err);
	if (rc == 0 && jb->index.is_proof)
		rc = rag_same(k->st.rag, tmp, jb->index.name, err);
	else if (rc == 0)
		rc = publish_logged(jb, tmp, err);
	if (rc < 0 || jb->index.is_proof)
		(void)dir_remove(k->st.rag, tmp, NULL);
	close(lock);
	close(log);
	if (rc == 0 && !jb->index.is_proof)
		index_changed(k, jb->index.name);
	return rc;
}

int loop_index_remove(struct kolm *k, const char *name, const struct by *by, struct err *err)
{
	char gone[TEMPORARY_BYTES];
	int rc = rag_name_check(name, strlen(name), err);

	if (rc < 0)
		return rc;
	temporary_name(name, "removed", gone);
	if (renameat(k->st.rag, name, k->st.rag, gone) < 0)
		return errno == ENOENT ? err_set(err, ENOENT, "index \"%s\" not found", name)
				       : err_sys(err, "cannot remove index \"%s\"", name);
	rc = dir_sync(k->st.rag, err);
	if (rc == 0)
		rc = log_event(k, NULL, 0, by, err, "index_removed", "\"index\":\"%s\"", name);
	/* what was not said to be done is not done */
	if (rc < 0) {
		(void)renameat2(k->st.rag, gone, k->st.rag, name, RENAME_NOREPLACE);
	} else {
		(void)rag_forget_last(k->st.rag, name, NULL);
		(void)dir_remove(k->st.rag, gone, NULL);
		index_changed(k, name);
	}
	return rc;
}

/* ---- the sidecar ---- */

enum { SIDECAR_BYTES = 64 * 1024 };

static int sidecar_place(struct kolm *k, const char *slug, const char *artifact, int *dir,
	char name[300], char path[STORE_PATH_BYTES], struct err *err)
{
	struct config cf;
	size_t n;
	int rc = 0;

	if (artifact != NULL) {
		(void)snprintf(path, STORE_PATH_BYTES, "%s", artifact);
	} else {
		rc = config_of(&k->st, slug, &cf, err);
		if (rc < 0)
			return rc;
		(void)snprintf(path, STORE_PATH_BYTES, "%s",
			cf.artifact_path != NULL ? cf.artifact_path : "");
		config_release(&cf);
	}
	if (access(path, F_OK) < 0)
		return err_set(err, ENOENT, "no such artifact '%s'", path);
	const char *file = last_component(path, &n);
	if (n > 280)
		return err_set(err, ENAMETOOLONG, "artifact name too long");
	(void)snprintf(name, 300, "%.*s.rag.json", (int)n, file);
	path[file - path] = '\0';
	*dir = open(path[0] != '\0' ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *dir < 0 ? err_sys(err, "cannot open '%s'", path) : 0;
}

static int refuse_link(int dir, const char *name, const char *folder, struct err *err)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		return err_set(err, ELOOP, "sidecar '%s%s' is a symbolic link", folder, name);
	return 0;
}

/* the line of the log could not be written: the sidecar is what it was, or not there */
static void sidecar_undo(int dir, const char *name, const struct buf *old)
{
	if (old->len > 0)
		(void)replace_file(dir, name, old->data, old->len, 0644, NULL);
	else
		(void)unlinkat(dir, name, 0);
}

int loop_attach(struct kolm *k, const char *slug, const char *artifact, const char *index,
	const struct by *by, struct buf *sidecar, struct err *err)
{
	char name[300], folder[STORE_PATH_BYTES], ts[TIME_TEXT_BYTES], manifest[120];
	struct buf text = BUF_INIT, old = BUF_INIT;
	int dir, rc;

	rc = rag_name_check(index, strlen(index), err);
	if (rc < 0)
		return rc;
	(void)snprintf(manifest, sizeof(manifest), "%s/manifest.json", index);
	if (faccessat(k->st.rag, manifest, F_OK, 0) < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? err_set(err, ENOENT,
					 "index \"%s\" not found; index a folder first", index)
			       : err_sys(err, "cannot look at index \"%s\"", index);
	rc = sidecar_place(k, slug, artifact, &dir, name, folder, err);
	if (rc < 0)
		return rc;
	rc = refuse_link(dir, name, folder, err);
	(void)read_file(dir, name, SIDECAR_BYTES, &old, NULL);
	(void)buf_addf(&text,
		"{\n  \"spec\": \"rag-attach-1\",\n  \"index_name\": \"%s\",\n  \"attached_at\": "
		"\"%s\"\n}",
		index, time_text(time_now(), ts));
	if (rc == 0)
		rc = text.failed ? err_nomem(err)
				 : replace_file(dir, name, text.data, text.len, 0644, err);
	if (rc == -EROFS)
		rc = err_set(err, EROFS, "folder '%s' is read-only", folder);
	if (rc == 0) {
		rc = log_event(k, slug, 0, by, err, "attached", "\"index\":\"%s\"", index);
		if (rc < 0)
			sidecar_undo(dir, name, &old);
	}
	close(dir);
	buf_release(&text);
	buf_release(&old);
	if (rc < 0)
		return rc;
	if (sidecar != NULL)
		(void)buf_addf(sidecar, "%s%s", folder, name);
	change(k, slug, CHANGE_STATUS);
	return 0;
}

int loop_detach(struct kolm *k, const char *slug, const char *artifact, const struct by *by,
	struct err *err)
{
	char name[300], folder[STORE_PATH_BYTES];
	struct buf old = BUF_INIT;
	int dir, rc;

	rc = sidecar_place(k, slug, artifact, &dir, name, folder, err);
	if (rc < 0)
		return rc;
	rc = refuse_link(dir, name, folder, err);
	if (rc < 0) {
		close(dir);
		return rc;
	}
	rc = read_file(dir, name, SIDECAR_BYTES, &old, NULL);
	if (rc == -ENOMEM || rc == -EIO)
		rc = err_set(err, -rc, "cannot read '%s%s'", folder, name);
	else if (unlinkat(dir, name, 0) < 0)
		rc = errno == ENOENT
			     ? err_set(err, ENOENT, "nothing is attached: no '%s%s'", folder, name)
		     : errno == EROFS ? err_set(err, EROFS, "folder '%s' is read-only", folder)
				      : err_sys(err, "cannot remove '%s%s'", folder, name);
	else
		rc = dir_sync(dir, err);
	if (rc == 0)
		rc = log_event(k, slug, 0, by, err, "detached", "%s", "");
	if (rc < 0 && old.len > 0)
		sidecar_undo(dir, name, &old);
	close(dir);
	buf_release(&old);
	change(k, slug, CHANGE_STATUS);
	return rc;
}
