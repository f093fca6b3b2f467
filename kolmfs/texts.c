/*
 * texts - see texts.h. Nothing is kept between two calls: what another process changed in the store
 * is seen at the next look.
 */
#include "texts.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/replace.h"
#include "ctl.h"
#include "rag/kolmrag.h"
#include "replies.h"

static int done(const struct buf *out, struct err *err)
{
	return out->failed ? err_nomem(err) : 0;
}

RENDERER(readme_render)
{
	(void)sv;
	(void)at;
	return names_readme(out) < 0 ? err_nomem(err) : 0;
}

RENDERER(version_render)
{
	(void)sv;
	(void)at;
	buf_puts(out, "kolmfs " KOLM_VERSION " abi 1\n");
	return done(out, err);
}

RENDERER(verbs_render)
{
	(void)sv;
	return ctl_render(at->what->verbs, out) < 0 ? err_nomem(err) : 0;
}

RENDERER(error_render)
{
	char key[2 * SLUG_BYTES];

	names_key(at, key);
	return replies_render(sv->replies, key, out) < 0 ? err_nomem(err) : 0;
}

RENDERER(run_usage)
{
	(void)sv;
	(void)at;
	buf_puts(out, "write a JSON value or a text, then read the answer on the same open:\n"
		      "    exec 3<>run; echo '{\"text\":\"...\"}' >&3; cat <&3; exec 3>&-\n"
		      "a failure is the read's errno, its reason is in `error`\n");
	return done(out, err);
}

RENDERER(query_usage)
{
	(void)sv;
	(void)at;
	buf_puts(out, "write a question, then read the hits on the same open:\n"
		      "    exec 3<>query; echo 'refund policy' >&3; cat <&3; exec 3>&-\n"
		      "a first line `#k=10 fmt=json` sets how many and how (text, json, paths); "
		      "path=docs/ after=10 mode=kolm-2 explain=1 too; as a file: "
		      "'query?q=refund+policy&k=3'\n");
	return done(out, err);
}

/* ---- the root and logs/ ---- */

struct tally {
	struct server *sv;
	unsigned slugs, indexes, jobs;
};

static void count_job(struct tally *ta, const char *slug)
{
	struct job_record jr;

	if (kolm_job(ta->sv->k, slug, 0, &jr, NULL) == 0 && jr.state != JOB_DONE)
		ta->jobs++;
}

static void count_slug(void *arg, const char *name)
{
	struct tally *ta = arg;

	ta->slugs++;
	count_job(ta, name);
}

static void count_index(void *arg, const char *name)
{
	struct tally *ta = arg;

	(void)name;
	ta->indexes++;
}

/* a rollback has its reserve file, a megabyte; what it gives back when it is used is not room */
static const char *disk_state(const struct store *st)
{
	enum { LOW_BYTES = 2 * 1024 * 1024 };
	struct statvfs vfs;
	uint64_t left;

	/* what has no size, as some tmpfs, has no blocks */
	if (fstatvfs(st->dir, &vfs) < 0 || vfs.f_blocks == 0)
		return "ok";
	if (vfs.f_flag & ST_RDONLY)
		return "read-only";
	left = (uint64_t)(geteuid() == 0 ? vfs.f_bfree : vfs.f_bavail) * vfs.f_frsize;
	return left <= LOW_BYTES ? "full" : "ok";
}

RENDERER(root_status)
{
	struct tally ta = {.sv = sv};
	char started[TIME_TEXT_BYTES];
	int rc = tune_list(sv->st, count_slug, &ta, err);

	(void)at;
	if (rc == 0)
		rc = rag_list(sv->st->rag, count_index, &ta, err);
	if (rc < 0)
		return rc;
	count_job(&ta, NULL);
	buf_addf(out, "version %s\npid %d\nstarted %s\nstore %s\nmountpoint %s\n", KOLM_VERSION,
		(int)getpid(), time_text(sv->started_ms, started), sv->st->path, sv->mountpoint);
	buf_addf(out, "slugs %u\nindexes %u\njobs_running %u\ndisk %s\n", ta.slugs, ta.indexes,
		ta.jobs, disk_state(sv->st));
	if (kolm_walls(sv->k, out) < 0)
		return err_nomem(err);
	return done(out, err);
}

static int open_at(int dirfd, const char *name, struct err *err)
{
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", name);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(err, EUCLEAN, "'%s' is not a regular file", name);
}

OPENER(tune_log_open)
{
	(void)at;
	return open_at(sv->st->logs, "tune.jsonl", err);
}

OPENER(runs_log_open)
{
	(void)at;
	return open_at(sv->st->logs, "runs.jsonl", err);
}

/* ---- <slug>/ ---- */

RENDERER(slug_status)
{
	return kolm_status(sv->k, at->slug, out, err);
}

static int heads(struct server *sv, const struct place *at, struct head *hd, struct err *err)
{
	struct tune tn;
	int rc = tune_open(sv->st, at->slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = head_load(&tn, hd, err);
	tune_close(&tn);
	return rc;
}

RENDERER(head_render)
{
	struct head hd;
	int rc = heads(sv, at, &hd, err);

	if (rc < 0)
		return rc;
	buf_addf(out, "%s\n", hd.head);
	return done(out, err);
}

RENDERER(head_prev_render)
{
	struct head hd;
	int rc = heads(sv, at, &hd, err);

	if (rc < 0)
		return rc;
	if (!*hd.prev)
		return err_set(err, ENOENT, "no revision before this one");
	buf_addf(out, "%s\n", hd.prev);
	return done(out, err);
}

RENDERER(config_render)
{
	struct tune tn;
	int rc = tune_open(sv->st, at->slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = read_file(tn.dir, CONFIG_NAME, CONFIG_BYTES, out, err);
	tune_close(&tn);
	return rc < 0 ? rc : done(out, err);
}

void stamp_stat(const struct stat *st, char out[STAMP_BYTES])
{
	snprintf(out, STAMP_BYTES, "%llx.%llx.%llx.%llx.%lx", (unsigned long long)st->st_dev,
		(unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		(unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec);
}

OPENER(captures_file)
{
	struct tune tn;
	int fd = tune_open(sv->st, at->slug, &tn, err);

	if (fd < 0)
		return fd;
	fd = captures_open(&tn, err);
	tune_close(&tn);
	return fd;
}

/* ---- jobs/<n>/ ---- */

static const char *slug_or_rag(const struct place *at)
{
	return at->rag ? NULL : at->slug;
}

static int open_of_job(
	struct server *sv, const struct place *at, uint64_t id, const char *name, struct err *err)
{
	int dir = kolm_job_dir(sv->k, slug_or_rag(at), id, err), fd;

	if (dir < 0)
		return dir;
	fd = open_at(dir, name, err);
	close(dir);
	return fd;
}

OPENER(last_log_open)
{
	struct job_record jr;
	int rc = kolm_job(sv->k, slug_or_rag(at), 0, &jr, err);

	if (rc == -ENODATA)
		return err_set(err, ENOENT, "no job yet");
	return rc < 0 ? rc : open_of_job(sv, at, jr.id, "log", err);
}

OPENER(job_log)
{
	return open_of_job(sv, at, at->job, "log", err);
}

OPENER(job_rows)
{
	return open_of_job(sv, at, at->job, "rows.jsonl", err);
}

static int job_of(struct server *sv, const struct place *at, struct job_record *jr, struct err *err)
{
	return kolm_job(sv->k, slug_or_rag(at), at->job, jr, err);
}

static int put_line(struct buf *out, const char *text, struct err *err)
{
	buf_addf(out, "%s\n", text);
	return done(out, err);
}

RENDERER(job_verb)
{
	struct job_record jr;
	int rc = job_of(sv, at, &jr, err);

	return rc < 0 ? rc : put_line(out, jr.verb, err);
}

RENDERER(job_state)
{
	static const char *const names[] = {
		[JOB_QUEUED] = "queued", [JOB_RUNNING] = "running", [JOB_DONE] = "done"};
	struct job_record jr;
	int rc = job_of(sv, at, &jr, err);

	return rc < 0 ? rc : put_line(out, names[jr.state], err);
}

RENDERER(job_started)
{
	char text[TIME_TEXT_BYTES];
	struct job_record jr;
	int rc = job_of(sv, at, &jr, err);

	return rc < 0 ? rc
		      : put_line(out, jr.started_ms ? time_text(jr.started_ms, text) : "-", err);
}

RENDERER(job_elapsed)
{
	struct job_record jr;
	int rc = job_of(sv, at, &jr, err);

	if (rc < 0)
		return rc;
	buf_addf(out, "%.1f\n", isfinite(jr.elapsed) && jr.elapsed > 0 ? jr.elapsed : 0);
	return done(out, err);
}

RENDERER(job_progress_text)
{
	char text[96] = "-";
	int rc = kolm_job_progress(sv->k, slug_or_rag(at), at->job, text);

	if (rc < 0)
		return err_set(
			err, -rc, "job %llu has no progress to show", (unsigned long long)at->job);
	return put_line(out, text, err);
}

RENDERER(job_exit)
{
	struct job_record jr;
	char text[40];
	int rc = job_of(sv, at, &jr, err);

	return rc < 0 ? rc
		      : put_line(out,
				jr.state == JOB_DONE ? job_outcome_name(jr.outcome, jr.signal, text)
						     : "-",
				err);
}

RENDERER(job_error)
{
	struct job_record jr;
	int rc = job_of(sv, at, &jr, err);

	return rc < 0 ? rc : put_line(out, *jr.error ? jr.error : "-", err);
}

/* ---- rag/<name>/ ---- */

static int open_of_index(
	struct server *sv, const struct place *at, const char *name, struct err *err)
{
	int dir = dir_open(sv->st->rag, at->index, err), fd;

	if (dir < 0)
		return dir;
	fd = open_at(dir, name, err);
	close(dir);
	return fd;
}

OPENER(index_manifest)
{
	return open_of_index(sv, at, "manifest.json", err);
}

OPENER(index_json)
{
	return open_of_index(sv, at, "index.json", err);
}

STAMPER(index_stamp)
{
	char path[SLUG_BYTES + sizeof("/index.json")];
	struct stat st;

	/* an index is published by exchanging its folder, and another program writes index.json in
	 * place: that file is its identity, or the folder where there is none; and a query may have
	 * met damage since */
	snprintf(path, sizeof(path), "%s/index.json", at->index);
	if (fstatat(sv->st->rag, path, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
		fstatat(sv->st->rag, at->index, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "index \"%s\" not found", at->index);
	st.st_size += kolm_index_damage(sv->k, at->index, NULL);
	stamp_stat(&st, out);
	return 0;
}

RENDERER(index_status)
{
	struct rag_index *ix;
	struct rag_info info;
	struct buf damage = BUF_INIT;
	int rc = rag_open(sv->st->rag, at->index, &ix, err);

	if (rc == -EUCLEAN && rag_open_spare(sv->st->rag, at->index, &ix, NULL) == 0) {
		(void)buf_puts(&damage, err->text);
		rc = 0;
	} else if (rc == 0) {
		(void)kolm_index_damage(sv->k, at->index, &damage);
	}
	if (rc < 0)
		return rc;
	rag_describe(ix, &info);
	buf_addf(out,
		"name %s\nroot %s\ndocs %llu\navgdl %.2f\nindex_json_bytes %llu\ncreated "
		"%s\ngeneration %s\n",
		at->index, info.root, (unsigned long long)info.n_docs, info.avgdl,
		(unsigned long long)info.json_bytes, info.created_at, info.generation);
	if (damage.len > 0)
		buf_addf(out, "damaged %s\n", buf_str(&damage));
	buf_release(&damage);
	rag_close(ix);
	return done(out, err);
}

static int put_docs(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	int rc = rag_docs(ix, out);

	return rc < 0 ? err_set(err, -rc, "cannot list the documents of \"%s\"", (const char *)arg)
		      : 0;
}

RENDERER(index_docs)
{
	return kolm_index_read(sv->k, at->index, put_docs, (void *)(uintptr_t)at->index, out, err);
}
