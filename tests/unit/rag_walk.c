/* rag_walk - a folder whose listing breaks off is not a smaller one: the root is refused, a folder
 * below it is counted as unreadable. */
#include "rag_common.h"

#include <dirent.h>
#include <dlfcn.h>

#include "rag/walk.h"

static int breaks_at; /* the entry behind which the disk does not answer, 0 it does */

struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR *);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	if (breaks_at > 0 && --breaks_at == 0) {
		errno = EIO;
		return NULL;
	}
	return real(dir);
}

static int walk(const char *dir, int at, struct rag_files *files, struct err *err)
{
	int fd = folder_of(dir), rc;

	breaks_at = at;
	rc = rag_walk(fd, &(struct rag_walk){.ext = "txt", .max_files = 100}, files, err);
	breaks_at = 0;
	close(fd);
	return rc;
}

Test(rag_walk, a_listing_that_breaks_off)
{
	char *dir = scratch(), *sub;
	struct err err = ERR_NONE;
	struct rag_files files;

	put_text(dir, "one.txt", "one");
	cr_assert(asprintf(&sub, "%s/sub", dir) > 0);
	cr_assert_eq(mkdir(sub, 0700), 0);
	put_text(sub, "two.txt", "two");
	cr_assert_eq(walk(dir, 0, &files, &err), 0, "%s", err.text);
	cr_assert_eq(files.n, 2);
	cr_assert_eq(files.unreadable, 0);
	rag_files_release(&files);
	for (int at = 1; at <= 5; at++) { /* ".", "..", the file, the folder, the end */
		cr_assert_eq(walk(dir, at, &files, &err), -EIO, "%d", at);
		cr_assert_not_null(strstr(err.text, "cannot list the folder"), "%s", err.text);
		rag_files_release(&files);
	}
	for (int at = 6; at <= 9; at++) {
		cr_assert_eq(walk(dir, at, &files, &err), 0, "%d: %s", at, err.text);
		cr_assert_eq(files.unreadable, 1);
		rag_files_release(&files);
	}
	free(sub);
	sweep(dir);
}
