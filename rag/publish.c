/* publish - a built folder takes its place among the indexes of a store, and the list of those. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "index.h"

enum { LAST_BYTES = RAG_NAME_BYTES + sizeof("..last") };

static int check_built(int ragdir, const char *tmpname, const char *name, struct err *err)
{
	struct rag_index *ix;
	int fd, rc;

	fd = dir_open(ragdir, tmpname, err);
	if (fd < 0)
		return fd;
	rc = rag_load(fd, name, true, &ix, err);
	if (rc == 0)
		rag_close(ix);
	close(fd);
	return rc;
}

/* beside an index: the generation before it */
static void last_name(const char *name, char out[LAST_BYTES])
{
	snprintf(out, LAST_BYTES, ".%s.last", name);
}

/*
 * ${old}, which was the index, becomes the last good generation: what answers should the new one be
 * damaged. One that is damaged itself goes, and the one before stays that. Nothing of this can fail
 * the publication, which has happened.
 */
static void keep_last(int ragdir, const char *old, const char *name)
{
	char last[LAST_BYTES];

	last_name(name, last);
	if (check_built(ragdir, old, name, NULL) == 0 &&
		renameat2(ragdir, old, ragdir, last, RENAME_NOREPLACE) < 0 && errno == EEXIST)
		(void)renameat2(ragdir, old, ragdir, last, RENAME_EXCHANGE);
	if (faccessat(ragdir, old, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		(void)dir_remove(ragdir, old, NULL);
	(void)dir_sync(ragdir, NULL);
}

int rag_publish(int ragdir, const char *tmpname, const char *name, struct err *err)
{
	int rc = rag_name_check(name, strlen(name), err);
	bool is_exchange = false;

	if (rc < 0)
		return rc;
	if (strchr(tmpname, '/') || strcmp(tmpname, ".") == 0 || strcmp(tmpname, "..") == 0)
		return err_set(err, EINVAL, "a built index lies in the folder of the indexes");
	rc = check_built(ragdir, tmpname, name, err);
	if (rc < 0)
		return rc;
	if (renameat2(ragdir, tmpname, ragdir, name, RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST)
			return err_sys(err, "cannot publish index \"%s\"", name);
		if (renameat2(ragdir, tmpname, ragdir, name, RENAME_EXCHANGE) < 0)
			return err_sys(err, "cannot publish index \"%s\"", name);
		is_exchange = true;
	}
	rc = dir_sync(ragdir, err);
	if (rc < 0) /* what was not said to be done is not done */
		(void)renameat2(ragdir, name, ragdir, tmpname,
			is_exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE);
	else if (is_exchange)
		keep_last(ragdir, tmpname, name);
	else /* of an index of that name that was removed */
		(void)rag_forget_last(ragdir, name, NULL);
	return rc;
}

void rag_unpublish(int ragdir, const char *name, bool was_there)
{
	char last[LAST_BYTES];

	last_name(name, last);
	/* without a good one before it the new one stays: better than none */
	if (renameat2(ragdir, name, ragdir, last, was_there ? RENAME_EXCHANGE : RENAME_NOREPLACE) ==
		0) {
		(void)dir_sync(ragdir, NULL);
		(void)dir_remove(ragdir, last, NULL);
	}
}

/* every byte is looked at: it answers for one that was damaged, and nobody answers for it */
int rag_load_last(int ragdir, const char *name, struct rag_index **out)
{
	char last[LAST_BYTES];
	int dirfd, rc;

	last_name(name, last);
	dirfd = openat(ragdir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	rc = rag_load(dirfd, name, true, out, NULL);
	close(dirfd);
	return rc;
}

int rag_forget_last(int ragdir, const char *name, struct err *err)
{
	char last[LAST_BYTES];

	last_name(name, last);
	return faccessat(ragdir, last, F_OK, AT_SYMLINK_NOFOLLOW) < 0
		       ? 0
		       : dir_remove(ragdir, last, err);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_index(int ragdir, const char *name)
{
	char path[RAG_NAME_BYTES + sizeof("/manifest.json")];

	if (rag_name_check(name, strlen(name), NULL) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/index.json", name);
	if (faccessat(ragdir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	snprintf(path, sizeof(path), "%s/manifest.json", name);
	return faccessat(ragdir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int rag_list(int ragdir, rag_each *each, void *arg, struct err *err)
{
	struct buf names = BUF_INIT; /* char *, each owned */
	struct dirent *de;
	size_t n;
	int fd, rc = 0;
	DIR *dir;

	fd = openat(ragdir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot read the folder of indexes");
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_nomem(err);
	}
	while (rc == 0 && (rc = dir_next(dir, "the folder of indexes", &de, err)) > 0) {
		char *name = is_index(ragdir, de->d_name) ? strdup(de->d_name) : NULL;

		rc = 0;
		if (name && buf_add(&names, &name, sizeof(name)) < 0) {
			free(name);
			rc = err_nomem(err);
		}
	}
	closedir(dir);
	n = names.len / sizeof(char *);
	if (n > 1)
		qsort(names.data, n, sizeof(char *), name_compare);
	for (size_t i = 0; i < n; i++) {
		char *name = ((char **)(void *)names.data)[i];

		if (rc == 0)
			each(arg, name);
		free(name);
	}
	buf_release(&names);
	return rc;
}
