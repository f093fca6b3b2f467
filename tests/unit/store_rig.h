/* rig - a store of its own for each test, with one slug "demo" that has v0..v3 and HEAD = v0. */
#ifndef KOLM_STORE_RIG_H
#define KOLM_STORE_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "store/captures.h"
#include "store/config.h"
#include "store/head.h"
#include "store/journal.h"
#include "store/log.h"
#include "store/revision.h"
#include "store/store.h"

struct rig {
	char path[128];
	struct store st;
	struct tune tn;
	struct err err;
};

static inline void put(int dirfd, const char *name, const char *text, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0, "%s: %s", name, strerror(errno));
	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static inline void put_text(int dirfd, const char *name, const char *text)
{
	put(dirfd, name, text, strlen(text));
}

/* the whole file, or "" when it is not there; the caller releases it */
static inline struct buf get(int dirfd, const char *name)
{
	struct buf out = BUF_INIT;

	(void)read_file(dirfd, name, 1 << 26, &out, NULL);
	(void)buf_puts(&out, "");
	return out;
}

static inline bool same_file(int dirfd, const char *name, const char *want)
{
	struct buf text = get(dirfd, name);
	bool same = strcmp(buf_str(&text), want) == 0;

	if (!same)
		fprintf(stderr, "%s is \"%s\", not \"%s\"\n", name, buf_str(&text), want);
	buf_release(&text);
	return same;
}

static inline bool is_there(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline size_t count_text(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* how often ${what} stands in the audit log */
static inline size_t in_log(const struct rig *r, const char *what)
{
	struct buf text = get(r->st.logs, "tune.jsonl");
	size_t n = count_text(buf_str(&text), what);

	buf_release(&text);
	return n;
}

/* one line of the audit log, of the user named in it */
static inline void say_line(struct rig *r, const char *event, int n)
{
	const struct by by = {.uid = 1, .pid = 2, .comm = "a\"\n\x1b"};
	char fields[40];
	struct log_entry entry = {.event = event, .fields = fields, .slug = "demo", .by = &by};

	(void)snprintf(fields, sizeof(fields), "\"n\":%d", n);
	cr_assert_eq(log_append(&r->st, &entry, &r->err), 0, "%s", r->err.text);
}

static inline void revision_make(struct rig *r, const char *rev)
{
	char body[64];
	int jobs = dir_make(r->tn.dir, "jobs", &r->err), out;

	cr_assert(jobs >= 0, "%s", r->err.text);
	out = dir_make(jobs, "out", &r->err);
	cr_assert(out >= 0, "%s", r->err.text);
	put_text(out, "adapter_config.json", "{}");
	(void)snprintf(body, sizeof(body), "adapter of %s", rev);
	put_text(out, "adapter_model.safetensors", body);
	cr_assert_eq(revision_seal(out, &r->err), 0, "%s", r->err.text);
	close(out);
	cr_assert_eq(revision_publish(&r->tn, jobs, "out", rev, &r->err), 0, "%s", r->err.text);
	close(jobs);
}

/* ${under}: "/tmp" for a real disk, "/dev/shm" where only the number of names counts */
static inline void rig_open_in(struct rig *r, const char *under)
{
	const struct config_init in = {.artifact_path = "/srv/a/demo.kolm",
		.artifact_sha256 = EMPTY_SHA,
		.base_model = "~/m/base.gguf",
		.base_path = "/srv/m/base.gguf",
		.base_id = "1:2:3:4",
		.rank = 8,
		.alpha = 16,
		.dropout = 0};
	struct config cf;
	char rev[REV_BYTES];

	*r = (struct rig){.err = ERR_NONE};
	(void)snprintf(r->path, sizeof(r->path), "%s/kolm-store-XXXXXX",
		access(under, W_OK) == 0 ? under : "/tmp");
	cr_assert_not_null(mkdtemp(r->path));
	cr_assert_eq(store_open(r->path, &r->st, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(tune_create(&r->st, "demo", &r->tn, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(config_new(&in, &cf, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(config_save(&r->tn, &cf, &r->err), 0, "%s", r->err.text);
	config_release(&cf);
	for (int i = 0; i < 4; i++) {
		(void)snprintf(rev, sizeof(rev), "v%d", i);
		revision_make(r, rev);
	}
	cr_assert_eq(head_init(&r->tn, &r->err), 0, "%s", r->err.text);
}

static inline void rig_open(struct rig *r)
{
	rig_open_in(r, "/tmp");
}

static inline void rig_close(struct rig *r)
{
	tune_close(&r->tn);
	store_close(&r->st);
	(void)dir_remove(AT_FDCWD, r->path, NULL);
}

#define fails(call, no, part)                                                                      \
	do {                                                                                       \
		r.err = ERR_NONE;                                                                  \
		int got_ = (call);                                                                 \
		cr_expect_eq(got_, -(no), "%s: %d (%s)", #call, got_, r.err.text);                 \
		cr_expect_not_null(strstr(r.err.text, part), "%s: \"%s\" has no \"%s\"", #call,    \
			r.err.text, part);                                                         \
	} while (0)
#define works(call)                                                                                \
	do {                                                                                       \
		r.err = ERR_NONE;                                                                  \
		int got_ = (call);                                                                 \
		cr_assert_geq(got_, 0, "%s: %d (%s)", #call, got_, r.err.text);                    \
	} while (0)

#endif
