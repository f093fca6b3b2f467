/*
 * names - THE map, see names.h. To add a file to the mount, add a line here.
 */
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "documents.h"
#include "events.h"
#include "fresh.h"
#include "streams.h"
#include "talk.h"
#include "texts.h"
#include "tree.h"

static const struct folder logs_folder, tune_folder, rag_folder, jobs_folder, revisions_folder,
	artifact_folder, terms_folder;

/* the tables are read across, one name a line */
/* clang-format off */
static const struct name root_names[] = {
	{ "README", 0400, NAME_STATIC, .render = readme_render, .about = "this text" },
	{ "version", 0400, NAME_STATIC, .render = version_render, .about = "name and version of the server" },
	{ "ctl", 0600, NAME_STATIC, .render = verbs_render, .write = ctl_write, .verbs = root_verbs, .about = "commands: init, shutdown; reading lists them" },
	{ "error", 0400, 0, CHANGE_ERROR, .render = error_render, .about = "ok, or why the last command on this ctl failed" },
	{ "status", 0400, 0, CHANGE_STATUS | CHANGE_SLUGS | CHANGE_JOB, .render = root_status, .about = "the server: pid, store, what it holds" },
	{ "logs", 0500, 0, .folder = &logs_folder, .about = "what happened, as JSON lines" },
	{ "rag", 0500, 0, .folder = &rag_folder, .about = "search indexes" },
	{ "tune", 0500, NAME_HIDDEN, .folder = &tune_folder, .about = "the slugs once more, as the store lays them out" },
	{ .name = NULL },
};

static const struct name logs_names[] = {
	{ "tune.jsonl", 0400, NAME_LIVE, CHANGE_EVENTS, .open = tune_log_open, .about = "every state change of every slug, each line chained to the one before" },
	{ "runs.jsonl", 0400, NAME_LIVE, CHANGE_STATUS, .open = runs_log_open, .about = "every run" },
	{ .name = NULL },
};

static const struct name slug_names[] = {
	{ "ctl", 0600, NAME_STATIC, .render = verbs_render, .write = ctl_write, .verbs = slug_verbs, .about = "commands: step, eval, promote, ...; reading lists them" },
	{ "error", 0400, 0, CHANGE_ERROR, .render = error_render, .about = "ok, or why the last command failed" },
	{ "status", 0400, 0, CHANGE_STATUS | CHANGE_HEAD | CHANGE_JOB, .render = slug_status, .stamp = status_stamp, .about = "how it stands, as `key value` lines" },
	{ "HEAD", 0400, 0, CHANGE_HEAD, .render = head_render, .stamp = head_stamp, .about = "the revision that answers" },
	{ "head.prev", 0400, NAME_MAYBE, CHANGE_HEAD, .render = head_prev_render, .stamp = head_stamp, .about = "the one before; `mv head.prev HEAD` rolls back" },
	{ "tune-config.json", 0600, 0, CHANGE_STATUS, .render = config_render, .stamp = config_stamp, .write = config_write, .flush = config_flush, .about = "the settings; may be written whole" },
	{ "captures.jsonl", 0600, NAME_LIVE, CHANGE_STATUS, .open = captures_file, .write = captures_write, .sync = captures_durable, .flush = captures_flush, .about = "training rows; every write appends" },
	{ "log", 0400, NAME_LIVE, CHANGE_LOG, .open = last_log_open, .about = "what the current or last job said" },
	{ "events", 0400, NAME_LIVE, CHANGE_EVENTS, .length = events_length, .read = events_read, .about = "this slug's lines of logs/tune.jsonl" },
	{ "run", 0600, NAME_STATIC, .render = run_usage, .write = input_write, .answer = run_answer, .flush = run_flush, .about = "write an input, read the answer on the same open" },
	{ "revisions", 0500, 0, .folder = &revisions_folder, .about = "the adapters, v0 the untouched base" },
	{ "artifact", 0500, 0, .folder = &artifact_folder, .about = "the entries of the .kolm" },
	{ "jobs", 0500, 0, .folder = &jobs_folder, .about = "one folder a job, the newest 64" },
	{ "wait", 0400, NAME_HIDDEN, .ready = wait_ready, .bind = wait_bind, .size = 4096, .about = "blocks until the job is done, then one line" },
	{ "follow", 0400, NAME_HIDDEN, .ready = follow_ready, .bind = follow_bind, .size = (off_t)1 << 40, .about = "blocks for the next event, a JSON line each" },
	{ .name = NULL },
};

static const struct name job_names[] = {
	{ "verb", 0400, 0, .render = job_verb, .stamp = job_stamp, .about = "the command as it was written" },
	{ "state", 0400, 0, CHANGE_JOB, .render = job_state, .stamp = job_stamp, .about = "queued, running or done" },
	{ "started", 0400, 0, CHANGE_JOB, .render = job_started, .stamp = job_stamp, .about = "when it began to run" },
	{ "elapsed", 0400, 0, .render = job_elapsed, .about = "seconds it ran" },
	{ "progress", 0400, 0, CHANGE_STATUS, .render = job_progress_text, .about = "done, of, unit" },
	{ "exit", 0400, 0, CHANGE_JOB, .render = job_exit, .stamp = job_stamp, .about = "ok, failed, cancelled, interrupted, gate or crashed:SIGNAL" },
	{ "error", 0400, 0, CHANGE_JOB, .render = job_error, .stamp = job_stamp, .about = "why it did not end well" },
	{ "log", 0400, NAME_LIVE, CHANGE_LOG, .open = job_log, .about = "what it said" },
	{ "rows.jsonl", 0400, NAME_MAYBE | NAME_LIVE | NAME_PRIVATE, .open = job_rows, .about = "of a step: what is learned, a row a line" },
	{ .name = NULL },
};

static const struct name rag_names[] = {
	{ "ctl", 0600, NAME_STATIC, .render = verbs_render, .write = ctl_write, .verbs = rag_verbs, .about = "commands: index, remove" },
	{ "error", 0400, 0, CHANGE_ERROR, .render = error_render, .about = "ok, or why the last command failed" },
	{ "jobs", 0500, 0, .folder = &jobs_folder, .about = "the index jobs" },
	{ "wait", 0400, NAME_HIDDEN, .ready = wait_ready, .bind = wait_bind, .size = 4096, .about = "blocks until the index job is done, then one line" },
	{ .name = NULL },
};

static const struct name index_names[] = {
	{ "ctl", 0600, NAME_STATIC, .render = verbs_render, .write = ctl_write, .verbs = index_verbs, .about = "commands: reindex, remove" },
	{ "error", 0400, 0, CHANGE_ERROR, .render = error_render, .about = "ok, or why the last command or query failed" },
	{ "status", 0400, 0, CHANGE_STATUS, .render = index_status, .stamp = index_stamp, .about = "documents, size, generation" },
	{ "manifest.json", 0400, NAME_MAYBE, CHANGE_STATUS, .open = index_manifest, .about = "what was indexed" },
	{ "index.json", 0400, NAME_MAYBE, CHANGE_STATUS, .open = index_json, .about = "the index, for other programs" },
	{ "docs", 0400, 0, CHANGE_STATUS, .render = index_docs, .stamp = index_stamp, .about = "id, length and path of each document" },
	{ "doc", 0500, 0, .folder = &doc_folder, .about = "the documents, as the tree they were indexed from" },
	{ "terms", 0500, 0, .folder = &terms_folder, .about = "what the index says of a term, one file each; lists nothing" },
	{ "query", 0600, NAME_STATIC | NAME_QUICK, .render = query_usage, .write = input_write, .answer = query_answer, .about = "write a question, read the hits on the same open" },
	{ .name = NULL },
};

/* places that are no table entries */
const struct name query_name = { "query?q=...&k=...&fmt=...", 0400, NAME_HIDDEN | NAME_SLOW, .render = query_render, .about = "the hits as a file" };
const struct name doc_file = { "...", 0400, NAME_CACHED | NAME_SLOW, .render = doc_render, .stamp = index_stamp, .about = "the text that was indexed" };
const struct name term_file = { "<term>", 0400, NAME_HIDDEN | NAME_MAYBE | NAME_SLOW, .render = term_render, .stamp = index_stamp,
	.about = "in how many documents it stands, and how often in each" };
const struct name revision_file = { "...", 0400, NAME_CACHED | NAME_MAYBE, .open = revision_file_open, .stamp = revision_file_stamp,
	.about = "adapter_config.json adapter_model.safetensors train.json eval.json files.json" };
const struct name entry_file = { "...", 0400, NAME_CACHED | NAME_MAYBE, .render = entry_render, .stamp = entry_stamp, .about = "an entry, read only" };

static const struct folder root_folder = { "", 0500, root_names, slug_child, slug_each, "the store", 0 };
static const struct folder logs_folder = { "logs", 0500, logs_names, NULL, NULL, "what happened", 0 };
static const struct folder tune_folder = { "tune", 0500, NULL, slug_child, slug_each, "the slugs", 0 };
const struct folder slug_folder = { "<slug>", 0500, slug_names, NULL, NULL, "one artifact and its revisions", 0 };
static const struct folder jobs_folder = { "<slug>/jobs", 0500, NULL, job_child, job_each, "the jobs", 0 };
const struct folder job_folder = { "<slug>/jobs/<n>", 0500, job_names, NULL, NULL, "one job", 0 };
static const struct folder revisions_folder = { "<slug>/revisions", 0500, NULL, revision_child, revision_each, "the adapters", 0 };
const struct folder revision_folder = { "<slug>/revisions/vN", 0500, NULL, revision_child, revision_each, "one adapter", 0 };
static const struct folder artifact_folder = { "<slug>/artifact", 0500, NULL, entry_child, entry_each, "the artifact", NAME_SLOW };
const struct folder entry_folder = { "<slug>/artifact/...", 0500, NULL, entry_child, entry_each, "a folder of the artifact", NAME_SLOW };
static const struct folder rag_folder = { "rag", 0500, rag_names, index_child, index_each, "search indexes", 0 };
const struct folder doc_folder = { "rag/<name>/doc", 0500, NULL, doc_child, doc_each, "the documents", NAME_SLOW };
static const struct folder terms_folder = { "rag/<name>/terms", 0500, NULL, term_child, NULL, "the terms", NAME_SLOW };
const struct folder index_folder = { "rag/<name>", 0500, index_names, query_child, NULL, "one index", NAME_SLOW };

/* clang-format on */

void names_root(struct place *out)
{
	*out = (struct place){.folder = &root_folder};
}

static const struct name *find(const struct name *table, const char *name, size_t len)
{
	for (const struct name *nm = table; nm && nm->name; nm++)
		if (strlen(nm->name) == len && memcmp(nm->name, name, len) == 0)
			return nm;
	return NULL;
}

bool names_is_slow(const struct place *at, const char *name)
{
	return at->folder && (at->folder->flags & NAME_SLOW) &&
	       !find(at->folder->names, name, strlen(name));
}

int names_child(struct server *sv, const struct place *at, const char *name, size_t len,
	struct place *out, struct err *err)
{
	const struct name *nm;

	if (!at->folder)
		return err_set(err, ENOTDIR, "not a folder");
	nm = find(at->folder->names, name, len);
	if (!nm) {
		if (!at->folder->child)
			return err_set(err, ENOENT, "no such file");
		return at->folder->child(sv, at, name, len, out, err);
	}
	*out = *at;
	out->what = nm;
	out->folder = nm->folder;
	if (nm->folder == &rag_folder)
		out->rag = true;
	return 0;
}

int names_list(
	struct server *sv, const struct place *at, names_each *fn, void *arg, struct err *err)
{
	int rc = 0;

	for (const struct name *nm = at->folder->names; rc == 0 && nm && nm->name; nm++)
		if (!(nm->flags & NAME_HIDDEN))
			rc = fn(arg, nm->name, strlen(nm->name), nm->folder != NULL);
	if (rc == 0 && at->folder->each)
		rc = at->folder->each(sv, at, fn, arg, err);
	return rc;
}

static void watched(const struct name *table, const char *folder, unsigned what,
	void (*fn)(void *arg, const char *path), void *arg)
{
	char path[4 * SLUG_BYTES];

	for (const struct name *nm = table; nm->name; nm++) {
		if (!(nm->watch & what))
			continue;
		snprintf(path, sizeof(path), "%s%s%s", folder, *folder ? "/" : "", nm->name);
		fn(arg, path);
	}
}

void names_watched(
	const char *key, unsigned what, void (*fn)(void *arg, const char *path), void *arg)
{
	/* a change of a slug or an index shows in its own folder, in the logs, and in what the root
	 * says of all */
	if (*key == '\0' || (what & ~CHANGE_ERROR)) {
		watched(root_names, "", *key ? what & ~CHANGE_ERROR : what, fn, arg);
		watched(logs_names, "logs", what, fn, arg);
	}
	if (strcmp(key, "rag") == 0)
		watched(rag_names, key, what, fn, arg);
	else if (strncmp(key, "rag/", 4) == 0)
		watched(index_names, key, what, fn, arg);
	else if (*key)
		watched(slug_names, key, what, fn, arg);
}

void names_watched_job(const char *key, uint64_t job, unsigned what,
	void (*fn)(void *arg, const char *path), void *arg)
{
	char folder[3 * SLUG_BYTES];

	snprintf(folder, sizeof(folder), "%s/jobs/%llu", key, (unsigned long long)job);
	watched(job_names, folder, what, fn, arg);
}

void names_key(const struct place *at, char out[2 * SLUG_BYTES])
{
	/* each command and each open asks: without snprintf(), which would cost as much as the rest
	 */
	const char *name = at->index[0] ? at->index : at->rag ? "rag" : at->slug;
	size_t have = at->index[0] ? 4 : 0;

	memcpy(out, "rag/", have);
	memcpy(out + have, name, strlen(name) + 1);
}

/* every folder and the table entries that lie in it, in the order a reader meets them */
static const struct {
	const struct folder *folder;
	const struct name *more; /* one that is no table entry */
} all_folders[] = {
	{&root_folder, NULL},
	{&logs_folder, NULL},
	{&slug_folder, NULL},
	{&revision_folder, &revision_file},
	{&job_folder, NULL},
	{&rag_folder, NULL},
	{&index_folder, &query_name},
	{&doc_folder, &doc_file},
	{&terms_folder, &term_file},
};

typedef void each_line(void *arg, const char *path, const struct name *nm);

static void every_name(each_line *fn, void *arg)
{
	char path[160];

	for (size_t i = 0; i < sizeof(all_folders) / sizeof(all_folders[0]); i++) {
		const struct folder *fo = all_folders[i].folder;
		const char *slash = *fo->path ? "/" : "";

		for (const struct name *nm = fo->names; nm && nm->name; nm++) {
			snprintf(path, sizeof(path), "%s%s%s%s", fo->path, slash, nm->name,
				nm->folder ? "/" : "");
			fn(arg, path, nm);
		}
		if (all_folders[i].more) {
			snprintf(path, sizeof(path), "%s%s%s", fo->path, slash,
				all_folders[i].more->name);
			fn(arg, path, all_folders[i].more);
		}
	}
}

static void print_line(void *arg, const char *path, const struct name *nm)
{
	fprintf(arg, "%s\t%04o\t%s%s\n", path, (unsigned)nm->mode, nm->about,
		nm->flags & NAME_HIDDEN ? " (not listed)" : "");
}

void names_print(FILE *out)
{
	every_name(print_line, out);
}

static void readme_line(void *arg, const char *path, const struct name *nm)
{
	const char *access = nm->folder ? "" : !(nm->mode & 0200) ? "r " : "rw";

	buf_addf(arg, "    %-2s %-36s %s%s\n", access, path, nm->about,
		nm->flags & NAME_HIDDEN ? " (not listed)" : "");
}

int names_readme(struct buf *out)
{
	buf_puts(out,
		"kolmfs: the store of "
		"tuned artifacts, as files. Commands are lines written to `ctl`; a refused one "
		"gives an errno,\n"
		"and its reason is in `error` beside it, or is read back on the same descriptor. "
		"Jobs run on their own; `cat wait` waits.\n\n"
		"    echo step > redactor/ctl && cat redactor/wait\n"
		"    echo eval v1 > redactor/ctl && cat redactor/wait\n"
		"    echo promote v1 > redactor/ctl; cat redactor/HEAD\n"
		"    exec 3<>redactor/run; echo '{\"text\":\"...\"}' >&3; cat <&3; exec 3>&-\n"
		"    cat 'rag/docs/query?q=refund+policy&k=3'\n\n"
		"No listed file blocks; every file has its true size. man kolmfs says the "
		"rest.\n\n");
	every_name(readme_line, out);
	return out->failed ? -ENOMEM : 0;
}
