/* base/replace where the file system cannot exchange two names, and where a folder cannot be made
 * durable. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/replace.h"

static bool no_exchange, no_folder_sync;

/* what base/replace calls is what is defined here */
int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	if (no_exchange && flags != 0) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, a, from, b, to, flags);
}

int fsync(int fd)
{
	struct stat st;

	if (no_folder_sync && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

static int replace(int dir, const char *text)
{
	return replace_file(dir, "HEAD", text, strlen(text), 0600, NULL);
}

static void expect(int dir, const char *want)
{
	struct buf text = BUF_INIT;
	int rc = read_file(dir, "HEAD", 100, &text, NULL);

	if (want == NULL)
		cr_expect_eq(rc, -ENOENT);
	else
		cr_expect(rc == 0 && strcmp(buf_str(&text), want) == 0, "%d \"%s\"", rc,
			buf_str(&text));
	buf_release(&text);
}

Test(replace, a_failure_takes_no_file_away)
{
	char path[] = "/tmp/kolm-replace-XXXXXX";
	int dir;

	cr_assert_not_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		no_exchange = i == 1;
		no_folder_sync = true;
		cr_expect_eq(replace(dir, "v0\n"), -EIO);
		expect(dir, NULL); /* it was not there */
		no_folder_sync = false;
		cr_expect_eq(replace(dir, "v1\n"), 0);
		no_folder_sync = true;
		cr_expect_eq(replace(dir, "v2\n"), -EIO);
		/* where names cannot be exchanged the old one is gone with the rename */
		expect(dir, no_exchange ? "v2\n" : "v1\n");
		cr_assert_eq(unlinkat(dir, "HEAD", 0), 0);
	}
	close(dir);
	cr_assert_eq(rmdir(path), 0, "something was left behind");
}

/* a folder somebody made under our name is his: it is not exchanged and then taken away */
Test(replace, a_folder_stays)
{
	char path[] = "/tmp/kolm-replace-XXXXXX";
	int dir;

	cr_assert_not_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(mkdirat(dir, "HEAD", 0700), 0);
	cr_assert_eq(mkdirat(dir, "HEAD/notes", 0700), 0);
	for (int i = 0; i < 2; i++) {
		no_exchange = i == 1;
		cr_expect_eq(replace(dir, "v0\n"), -EISDIR);
		cr_expect_eq(faccessat(dir, "HEAD/notes", F_OK, 0), 0);
	}
	cr_assert_eq(unlinkat(dir, "HEAD/notes", AT_REMOVEDIR), 0);
	cr_assert_eq(unlinkat(dir, "HEAD", AT_REMOVEDIR), 0);
	close(dir);
	cr_assert_eq(rmdir(path), 0, "something was left behind");
}
