/*
 * rig - for each test: a folder of its own with a store in it, a real spawner (runner, cell and
 * trainer from build/bin), small artifacts compiled on the spot, and the base model of env MODEL.
 */
#ifndef KOLM_LOOP_RIG_H
#define KOLM_LOOP_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "loop/private.h"

#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0"; /* Criterion's own, and those of children that end by a signal */
}
#endif

struct rig {
	char path[64], store[80], artifact[160], base[STORE_PATH_BYTES];
	struct spawner *sp;
	struct kolm *k;
	struct err err;
	struct by by;
};

/* one case no row of these tests is equal to */
#define ONE_CASE                                                                                   \
	"{\"id\":\"c1\",\"input\":{\"text\":\"a held-out case\"},\"expected\":{\"text\":\"x\"}}\n"

#define works(call)                                                                                \
	do {                                                                                       \
		r.err = ERR_NONE;                                                                  \
		int got_ = (call);                                                                 \
		cr_assert_geq(got_, 0, "%s: %d (%s)", #call, got_, r.err.text);                    \
	} while (0)
#define fails(call, no, part)                                                                      \
	do {                                                                                       \
		r.err = ERR_NONE;                                                                  \
		int got_ = (call);                                                                 \
		cr_expect_eq(got_, -(no), "%s: %d (%s)", #call, got_, r.err.text);                 \
		cr_expect_not_null(strstr(r.err.text, part), "%s: \"%s\" has no \"%s\"", #call,    \
			r.err.text, part);                                                         \
	} while (0)

static inline void rig_open(struct rig *r)
{
	const char *model = getenv("MODEL"); /* tests/run sets it empty when it was not given */

	*r = (struct rig){.path = "/tmp/kolm-loop-XXXXXX"};
	(void)snprintf(r->base, sizeof(r->base), "%s",
		model != NULL && *model != 0
			? model
			: "/root/.cache/kolm-models/SmolLM2-135M-Instruct-Q4_1.gguf");
	if (access(r->base, R_OK) < 0)
		cr_skip_test("skipped: no base model (env MODEL)");
	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(r->path));
	(void)snprintf(r->store, sizeof(r->store), "%s/store", r->path);
	r->by = by_self();
	cr_assert_eq(spawner_start(&r->sp, &r->err), 0, "%s", r->err.text);
	if (access(spawner_program(r->sp, "kolm-runner"), X_OK) < 0)
		cr_skip_test("skipped: %s is not built", spawner_program(r->sp, "kolm-runner"));
	cr_assert_eq(kolm_open(r->store, false, r->sp, &r->k, &r->err), 0, "%s", r->err.text);
}

static inline void rig_close(struct rig *r)
{
	kolm_close(r->k);
	spawner_stop(r->sp);
	(void)dir_remove(AT_FDCWD, r->path, NULL);
}

static inline void compile_spec(
	struct rig *r, const char *name, const char *spec, const char *dir, const char *cases)
{
	struct compile_options o = {.spec_dir = dir,
		.examples = cases,
		.examples_len = strlen(cases),
		.allow_below_gate = true};
	struct compile_result res;
	struct artifact_keys keys;
	int rc;

	(void)snprintf(r->artifact, sizeof(r->artifact), "%s/%s.kolm", r->path, name);
	cr_assert_eq(artifact_keys_load(r->k->st.dir, r->k->st.path, true, &keys, &r->err), 0, "%s",
		r->err.text);
	rc = artifact_compile(spec, strlen(spec), r->artifact, &keys, &o, &res, &r->err);
	cr_assert_eq(rc, 0, "compile: %s", r->err.text);
}

/* an artifact of one recipe; its path is r->artifact */
static inline void compile(struct rig *r, const char *name, const char *source, const char *cases)
{
	struct buf spec = BUF_INIT;

	(void)buf_addf(&spec,
		"{\"job_id\":\"job_%s\",\"task\":\"a "
		"test\",\"base_model\":\"none\",\"comparator\":\"exact\",\"recipes\":[{\"id\":"
		"\"rcp_%s\",\"name\":\"%s\",\"source\":",
		name, name, name);
	(void)json_put_text(&spec, source);
	(void)buf_puts(&spec, "}]}");
	compile_spec(r, name, spec.data, r->path, cases);
	buf_release(&spec);
}

/* file of a folder of examples/, whichever folder the tests were started from; released by the
 * caller */
static inline struct buf example(const char *folder, const char *name)
{
	struct buf text = BUF_INIT;
	char path[STORE_PATH_BYTES + 200], self[STORE_PATH_BYTES] = "";

	(void)snprintf(path, sizeof(path), "examples/%s/%s", folder, name);
	if (access(path, R_OK) < 0 && readlink("/proc/self/exe", self, sizeof(self) - 1) > 0) {
		for (int i = 0; i < 3; i++)
			*strrchr(self, '/') = '\0';
		(void)snprintf(path, sizeof(path), "%s/examples/%s/%s", self, folder, name);
	}
	cr_assert_eq(read_file(AT_FDCWD, path, 1 << 24, &text, NULL), 0, "%s", path);
	return text;
}

static inline void compile_example(struct rig *r, const char *name)
{
	struct buf spec = example(name, "spec.json"), cases = example(name, "cases.jsonl"),
		   source = example(name, "recipe.js");

	{
		int fd;
		char path[160];

		(void)snprintf(path, sizeof(path), "%s/recipe.js", r->path);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		cr_assert_geq(fd, 0);
		cr_assert_eq(write_all(fd, source.data, source.len, NULL), 0);
		close(fd);
	}
	compile_spec(r, name, spec.data, r->path, cases.data);
	buf_release(&spec);
	buf_release(&cases);
	buf_release(&source);
}

/* init r->artifact under the slug of its name */
static inline int init(struct rig *r, const char *slug_wanted)
{
	struct init_options o;
	char slug[SLUG_BYTES + 1];
	bool fresh;

	init_options_default(&o);
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s", r->artifact);
	(void)snprintf(o.base, sizeof(o.base), "%s", r->base);
	if (slug_wanted != NULL)
		(void)snprintf(o.slug, sizeof(o.slug), "%s", slug_wanted);
	return loop_init(r->k, &o, &r->by, slug, &fresh, &r->err);
}

/* whole text of a file below the store, "" when it is not there; released by the caller */
static inline struct buf store_text(const struct rig *r, const char *name)
{
	struct buf out = BUF_INIT;
	char path[STORE_PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s", r->store, name);
	(void)read_file(AT_FDCWD, path, 1 << 28, &out, NULL);
	(void)buf_puts(&out, "");
	return out;
}

static inline bool store_has(const struct rig *r, const char *name)
{
	char path[STORE_PATH_BYTES];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", r->store, name);
	return lstat(path, &st) == 0;
}

/* how often ${what} stands in the audit log */
static inline size_t in_log(const struct rig *r, const char *what)
{
	struct buf text = store_text(r, "logs/tune.jsonl");
	size_t n = 0;

	for (const char *p = buf_str(&text); (p = strstr(p, what)) != NULL; p++)
		n++;
	buf_release(&text);
	return n;
}

static inline void capture(struct rig *r, const char *slug, const char *line)
{
	cr_assert_eq(loop_capture_append(r->k, slug, line, strlen(line), &r->err), 0, "%s: %s",
		line, r->err.text);
}

/* lines ${from}..${from + n} of an example's corrected rows into a slug's captures */
static inline void capture_example(
	struct rig *r, const char *slug, const char *name, size_t from, size_t n)
{
	struct buf rows = example(name, "corrected.jsonl");
	size_t i = 0;

	for (char *p = rows.data, *lf; (lf = strchr(p, '\n')) != NULL; p = lf + 1, i++) {
		*lf = '\0';
		if (i >= from && i < from + n)
			capture(r, slug, p);
	}
	cr_assert_geq(i, from + n);
	buf_release(&rows);
}

static inline struct job_record job_end(struct rig *r, const char *slug, uint64_t id)
{
	struct job_record jr;

	cr_assert_eq(kolm_job_wait(r->k, slug, id, NULL, NULL, &jr, &r->err), 0, "%s", r->err.text);
	return jr;
}

/* sha256 of every file's path and bytes below the store: what must not change when a command fails
 */
static inline void store_digest(const struct rig *r, char out[65])
{
	char line[256];
	FILE *p;

	(void)snprintf(line, sizeof(line),
		"cd %s && { find . -printf '%%y %%m %%p\\n' | sort; find . -type f ! -path "
		"./logs/tune.jsonl ! -name '*.lock' -print0 | sort -z | xargs -0r sha256sum; } | "
		"sha256sum",
		r->store);
	p = popen(line, "r");
	cr_assert_not_null(p);
	cr_assert_eq(fread(out, 1, 64, p), 64);
	out[64] = '\0';
	pclose(p);
}

#endif
