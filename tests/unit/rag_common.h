/* rag_common - what the tests of rag/ share: folders, corpora, golden files. */
#ifndef KOLM_TEST_RAG_COMMON_H
#define KOLM_TEST_RAG_COMMON_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "rag/kolmrag.h"

#define FIXED_TIME "2031-02-03T04:05:06.007Z"

/* a new folder below /tmp; sweep() removes it with all that is in it */
static inline char *scratch(void)
{
	const char *tmp = getenv("TMPDIR");
	char *path;

	cr_assert(asprintf(&path, "%s/kolmrag.XXXXXX", tmp ? tmp : "/tmp") > 0);
	cr_assert(mkdtemp(path));
	return path;
}

static inline int folder_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static inline void sweep(char *path)
{
	struct err err = ERR_NONE;
	int fd = folder_of("/");

	cr_assert_eq(dir_remove(fd, path + 1, &err), 0, "%s", err.text);
	close(fd);
	free(path);
}

/* write a file below ${dir}, making the folders on the way */
static inline void put_bytes(const char *dir, const char *name, const void *data, size_t len)
{
	char path[8192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "w");
	cr_assert(f, "%s: %s", path, strerror(errno));
	cr_assert_eq(fwrite(data, 1, len, f), len);
	cr_assert_eq(fclose(f), 0);
}

static inline void put_text(const char *dir, const char *name, const char *text)
{
	put_bytes(dir, name, text, strlen(text));
}

static inline void get_bytes(const char *dir, const char *name, struct buf *out)
{
	struct err err = ERR_NONE;
	int fd = folder_of(dir);
	char path[512];

	snprintf(path, sizeof(path), "%s", name);
	if (strchr(path, '/')) {
		int sub;

		*strrchr(path, '/') = '\0';
		sub = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert(sub >= 0);
		close(fd);
		fd = sub;
		name = strrchr(name, '/') + 1;
	}
	cr_assert_eq(read_file(fd, name, SIZE_MAX, out, &err), 0, "%s", err.text);
	close(fd);
}

/* build ${dir} into the new folder ${store}/${name}, with options */
static inline int build_with(const char *dir, const char *store, const struct rag_build *opt,
	struct rag_built *built, struct err *err)
{
	char path[4096], index_path[4200];
	int rootfd = folder_of(dir), outfd, rc;

	snprintf(path, sizeof(path), "%s/%s", store, opt->name);
	snprintf(index_path, sizeof(index_path), "%s/index.json", path);
	cr_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
	outfd = folder_of(path);
	rc = rag_build(rootfd, outfd, index_path, opt, built, err);
	close(outfd);
	close(rootfd);
	return rc;
}

static inline void build_plain(const char *dir, const char *store, const char *name)
{
	struct rag_build opt = {.name = name, .root = dir, .created_at = FIXED_TIME};
	struct err err = ERR_NONE;
	struct rag_built built;

	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
}

static inline int open_index(
	const char *store, const char *name, struct rag_index **ix, struct err *err)
{
	int fd = folder_of(store);
	int rc = rag_open(fd, name, ix, err);

	close(fd);
	return rc;
}

/* the answer, owned by the caller */
static inline char *ask(const struct rag_index *ix, const char *q, size_t k, enum rag_format form)
{
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_query(ix, q, strlen(q), k, form, &out, &err), 0, "%s", err.text);
	return buf_detach(&out);
}

/* the conformance data, or the end of the test */
static inline const char *compat_dir(void)
{
	static char path[4096];
	const char *shared = getenv("SHARED");

	snprintf(path, sizeof(path), "%s/data/compat", shared ? shared : "../shared");
	if (access(path, R_OK) < 0)
		cr_skip_test("skipped: no conformance data at %s", path);
	return path;
}

static inline char *odd_corpus(void)
{
	char cmd[8192], *dir = scratch();

	snprintf(cmd, sizeof(cmd),
		"PYTHONIOENCODING=utf-8 LC_ALL=C.UTF-8 python3 '%s/gen_corpora.py' odd '%s'",
		compat_dir(), dir);
	cr_assert_eq(system(cmd), 0);
	return dir;
}

static inline void golden(const char *name, struct buf *out, struct json_slice *root)
{
	struct err err = ERR_NONE;
	char dir[4200];

	snprintf(dir, sizeof(dir), "%s/golden", compat_dir());
	get_bytes(dir, name, out);
	while (out->len && out->data[out->len - 1] == '\n')
		out->data[--out->len] = '\0';
	cr_assert_eq(json_check(buf_str(out), out->len, &err), 0, "%s: %s", name, err.text);
	*root = (struct json_slice){buf_str(out), out->len};
}

static inline struct json_slice member_of(struct json_slice object, const char *key)
{
	struct json_slice v = {NULL, 0};

	cr_assert(json_member(object, key, &v), "no '%s'", key);
	return v;
}

static inline void text_of(struct json_slice v, struct buf *out)
{
	buf_reset(out);
	cr_assert_eq(json_string(v, out), 0);
}

#endif
