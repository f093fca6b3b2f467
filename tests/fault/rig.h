/*
 * rig - a store for the fault programs: a slug "demo" with v0..v3, HEAD = v2, head.prev = v1, rows,
 * a job, an index, and its artifact beside the store; kept in memory and put back between faults.
 */
#ifndef KOLM_FAULT_RIG_H
#define KOLM_FAULT_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "kolm.h"
#include "store/fsck.h"
#include "store/private.h"

#define must(call)                                                                                 \
	do {                                                                                       \
		int rc_ = (int)(call);                                                             \
		if (rc_ < 0) {                                                                     \
			fprintf(stderr, "%s:%d: %s: %d (%s)\n", __FILE__, __LINE__, #call, rc_,    \
				rig_err.text);                                                     \
			exit(3);                                                                   \
		}                                                                                  \
	} while (0)

static struct err rig_err;

static inline void rig_put(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd);
	must(write(fd, text, strlen(text)));
	close(fd);
}

static inline void rig_revision(const struct tune *tn, const char *rev)
{
	char body[64];
	int jobs = dir_make(tn->dir, "jobs", &rig_err), out;

	must(jobs);
	out = dir_make(jobs, "out", &rig_err);
	must(out);
	rig_put(out, "adapter_config.json", "{}");
	(void)snprintf(body, sizeof(body), "adapter of %s", rev);
	rig_put(out, "adapter_model.safetensors", body);
	must(revision_seal(out, &rig_err));
	close(out);
	must(revision_publish(tn, jobs, "out", rev, &rig_err));
	close(jobs);
}

/* an index as fsck knows one: rag/docs with its manifest */
static inline void rig_index(const struct store *st)
{
	char sha[HASH_HEX_BYTES], text[200];
	int dir = dir_make(st->rag, "docs", &rig_err);

	must(dir);
	sha256_hex("{}", 2, sha);
	(void)snprintf(text, sizeof(text), "{\"spec\":\"rag-bm25-1\",\"sha256\":\"%s\"}", sha);
	rig_put(dir, "index.json", "{}");
	rig_put(dir, "manifest.json", text);
	close(dir);
}

static inline void rig_make(const char *path, const char *artifact)
{
	char sha[HASH_HEX_BYTES], rev[REV_BYTES];
	struct by by = by_self();
	struct config_init in = {.artifact_path = artifact,
		.artifact_sha256 = sha,
		.base_model = "base.gguf",
		.base_path = "/nowhere/base.gguf",
		.base_id = "1:2:3:4",
		.rank = 8,
		.alpha = 16};
	struct log_entry entry = {
		.event = "initialised", .fields = "\"revision\":\"v0\"", .slug = "demo", .by = &by};
	struct job_record jr = {.verb = "step", .rev = "v3", .k = NAN};
	struct config cf;
	struct store st;
	struct tune tn;
	int fd = open(artifact, O_RDONLY | O_CLOEXEC);

	must(fd);
	must(sha256_fd(fd, 0, UINT64_MAX, sha, &rig_err));
	close(fd);
	must(store_open(path, &st, &rig_err));
	must(tune_create(&st, "demo", &tn, &rig_err));
	must(config_new(&in, &cf, &rig_err));
	must(config_save(&tn, &cf, &rig_err));
	config_release(&cf);
	for (int i = 0; i < 4; i++) {
		(void)snprintf(rev, sizeof(rev), "v%d", i);
		rig_revision(&tn, rev);
	}
	must(head_init(&tn, &rig_err));
	must(log_append(&st, &entry, &rig_err));
	entry.event = "promoted";
	entry.fields = "\"revision\":\"v1\",\"previous\":\"v0\"";
	must(head_promote(&tn, "v1", &entry, &rig_err));
	entry.fields = "\"revision\":\"v2\",\"previous\":\"v1\"";
	must(head_promote(&tn, "v2", &entry, &rig_err));
	for (int i = 0; i < 3; i++) {
		char row[100];

		(void)snprintf(row, sizeof(row), "{\"input\":\"row %d\",\"output\":\"ROW\"}", i);
		must(captures_append(&tn, row, strlen(row), &rig_err));
	}
	must(journal_new(tn.dir, &jr, &rig_err));
	jr.state = JOB_DONE;
	must(journal_append(tn.dir, &jr, &rig_err));
	rig_index(&st);
	tune_close(&tn);
	store_close(&st);
}

/* ---- the whole folder in memory ---- */

struct kept {
	char path[160]; /* below the folder */
	bool is_dir;
	char *data;
	size_t len;
};
struct snapshot {
	struct kept *all;
	size_t n;
};

static inline void snapshot_add(struct snapshot *s, int dirfd, const char *at)
{
	int fd = dup(dirfd);
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	rewinddir(dir);
	while ((d = readdir(dir)) != NULL) {
		struct kept k = {.is_dir = false};
		struct buf text = BUF_INIT;
		struct stat st;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			strcmp(d->d_name, ".reserve") == 0)
			continue;
		(void)snprintf(
			k.path, sizeof(k.path), "%.70s%s%.70s", at, at[0] ? "/" : "", d->d_name);
		must(fstatat(dirfd, d->d_name, &st, AT_SYMLINK_NOFOLLOW));
		k.is_dir = S_ISDIR(st.st_mode);
		if (!k.is_dir) {
			must(read_file(dirfd, d->d_name, 1 << 26, &text, &rig_err));
			k.data = text.data;
			k.len = text.len;
		}
		s->all = realloc(s->all, (s->n + 1) * sizeof(*s->all));
		s->all[s->n++] = k;
		if (k.is_dir) {
			int sub = dir_open(dirfd, d->d_name, &rig_err);

			must(sub);
			snapshot_add(s, sub, k.path);
			close(sub);
		}
	}
	closedir(dir);
}

static inline struct snapshot snapshot_take(const char *path)
{
	struct snapshot s = {NULL, 0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd);
	snapshot_add(&s, fd, "");
	close(fd);
	return s;
}

static inline void snapshot_restore(const struct snapshot *s, const char *path)
{
	int root;

	must(dir_remove(AT_FDCWD, path, &rig_err));
	must(mkdir(path, 0700));
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(root);
	for (size_t i = 0; i < s->n; i++) {
		const struct kept *k = &s->all[i];
		int fd;

		if (k->is_dir) {
			must(mkdirat(root, k->path, 0700));
			continue;
		}
		fd = openat(root, k->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		must(fd);
		if (k->len > 0)
			must(write(fd, k->data, k->len));
		close(fd);
	}
	close(root);
}

/* ---- what can be seen of it ---- */

static inline size_t rig_count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* the audit log with all its parts */
static inline void rig_log(const struct store *st, struct buf *out)
{
	int fd, rc = 0;

	for (size_t i = 0; rc != -ENOENT || i == 1; i++) {
		rc = log_back(st, i, &fd, &rig_err);
		if (rc == -ENOENT)
			continue;
		must(rc);
		must(lseek(fd, 0, SEEK_SET));
		must(read_fd(fd, 1 << 24, out, &rig_err));
		close(fd);
	}
}

/* how often the audit log tells of each kind of change */
static inline void rig_events(const struct store *st, struct buf *out)
{
	static const char *const events[] = {"promoted", "rolled_back", "set", "captures_on",
		"captures_off", "config_written", "attached", "detached", "removed",
		"index_removed", "audited"};
	struct buf text = BUF_INIT;

	rig_log(st, &text);
	for (size_t i = 0; text.len > 0 && i < sizeof(events) / sizeof(events[0]); i++) {
		char what[60];
		size_t n;

		(void)snprintf(what, sizeof(what), "{\"event\":\"%s\"", events[i]);
		n = rig_count(buf_str(&text), what);
		if (n > 0)
			(void)buf_addf(out, " %s:%zu", events[i], n);
	}
	buf_release(&text);
}

/* everything a command may change, in one line, the audit log's part behind a bar; what is random
 * (times, ids) left out */
static inline void rig_state(const char *path, const char *artifact, struct buf *out)
{
	struct buf text = BUF_INIT;
	char sha[HASH_HEX_BYTES], side[300];
	struct capture_counts n = {0};
	struct config cf;
	struct store st;
	struct head hd;
	struct tune tn;
	long *list;
	size_t revs;
	int fd;

	buf_reset(out);
	must(store_open(path, &st, &rig_err));
	if (tune_open(&st, "demo", &tn, NULL) == 0) {
		must(head_load(&tn, &hd, &rig_err));
		must(config_load(&tn, &cf, &rig_err));
		fd = captures_open(&tn, NULL);
		if (fd >= 0) {
			must(captures_scan(fd, UINT64_MAX, NULL, NULL, &n, &rig_err));
			close(fd);
		}
		(void)buf_addf(out, "HEAD %s prev %s on %d rows %d/%d ", hd.head, hd.prev,
			cf.captures_on, (int)n.rows, (int)(n.torn + n.broken + n.salvaged));
		(void)buf_addf(out, "threshold %d generation %d revs", cf.threshold_rows,
			(int)cf.generation);
		config_release(&cf);
		must(revision_list(&tn, &list, &revs, &rig_err));
		for (size_t i = 0; i < revs; i++)
			(void)buf_addf(out, " v%ld", list[i]);
		free(list);
		if (faccessat(tn.dir, "revisions/v3/eval.json", F_OK, 0) == 0) {
			must(read_file(tn.dir, "revisions/v3/eval.json", 99, &text, &rig_err));
			(void)buf_addf(out, " eval %s", buf_str(&text));
			buf_reset(&text);
		}
		tune_close(&tn);
	} else {
		(void)buf_puts(out, "no slug");
	}
	(void)buf_puts(out, faccessat(st.rag, "docs", F_OK, 0) == 0 ? " index" : " -");
	(void)snprintf(side, sizeof(side), "%s.rag.json", artifact);
	(void)buf_puts(out, access(side, F_OK) == 0 ? " attached" : " -");
	fd = open(artifact, O_RDONLY | O_CLOEXEC);
	must(fd);
	must(sha256_fd(fd, 0, UINT64_MAX, sha, &rig_err));
	close(fd);
	(void)buf_addf(out, " artifact %.8s | log", sha);
	rig_events(&st, out);
	buf_release(&text);
	store_close(&st);
}

#endif
