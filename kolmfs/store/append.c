/*
 * append - the one way a line gets to the end of a file that others append to as well
 * (reliability.md 1.4, 9.3).
 *
 * A writer killed inside write() leaves half a line; the next writer would glue its own line to it.
 * So: lock, look at the last byte, put a line feed first when it is not one. A write that came out
 * short is cut off again.
 */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/replace.h"

int flock_wait(int fd, int op, struct err *err)
{
	while (flock(fd, op) < 0) {
		if (errno == EINTR)
			continue;
		return errno == EWOULDBLOCK && (op & LOCK_NB) != 0 ? -EWOULDBLOCK
								   : err_sys(err, "cannot lock");
	}
	return 0;
}

int lock_open(int dirfd, const char *name, struct err *err)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	int no = errno;

	if (fd < 0 && (no == EROFS || no == EACCES)) {
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT) /* why it cannot be made is what matters */
			errno = no;
	}
	if (fd < 0 && errno == EROFS)
		return err_set(err, EROFS, "store is read-only");
	return fd < 0 ? err_sys(err, "cannot open lock '%s'", name) : fd;
}

/* open and lock; again when somebody put another file in its place meanwhile */
static int open_locked(int dirfd, const char *name, struct stat *st, struct err *err)
{
	struct stat now;

	for (int i = 0; i < 8; i++) {
		int fd, rc = 0;

		fd = openat(dirfd, name,
			O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EROFS)
			return err_set(err, EROFS, "store is read-only");
		if (fd < 0 && (errno == EISDIR || errno == ELOOP || errno == ENXIO))
			return err_set(err, EUCLEAN, "'%s' is not a regular file", name);
		if (fd < 0)
			rc = err_full(err);
		if (fd < 0)
			return rc < 0 ? rc : err_sys(err, "cannot open '%s'", name);
		rc = flock_wait(fd, LOCK_EX, err);
		if (rc == 0 && fstat(fd, st) < 0)
			rc = err_sys(err, "cannot stat '%s'", name);
		if (rc == 0 && !S_ISREG(st->st_mode))
			rc = err_set(err, EUCLEAN, "'%s' is not a regular file", name);
		if (rc == 0 && fstatat(dirfd, name, &now, AT_SYMLINK_NOFOLLOW) < 0) {
			now = (struct stat){0};
			if (errno != ENOENT)
				rc = err_sys(err, "cannot stat '%s'", name);
		}
		if (rc == 0 && now.st_ino == st->st_ino && now.st_dev == st->st_dev)
			return fd;
		close(fd);
		if (rc < 0)
			return rc;
	}
	return err_set(err, ESTALE, "'%s' is being replaced by somebody", name);
}

/* cut off the ${len} bytes written at ${size}, unless they are not the last: who knows no lock (the
 * reference, a shell) may have appended since, and a line too many is better than one too few */
static bool take_back(int fd, off_t size, size_t len)
{
	struct stat now;

	return fstat(fd, &now) == 0 && now.st_size == size + (off_t)len && ftruncate(fd, size) == 0;
}

/* *${written}: the bytes of it that are there afterwards */
static int write_line(
	int fd, off_t size, const char *line, size_t len, size_t *written, struct err *err)
{
	struct iovec iov[3];
	char last = '\n';
	size_t want;
	ssize_t n;

	n = size > 0 ? pread(fd, &last, 1, size - 1) : 1;
	if (n < 0)
		return err_sys(err, "cannot read at offset %lld", (long long)size - 1);
	if (n == 0) /* somebody cut it meanwhile: what it ends with now is not known */
		last = '\0';
	iov[0] = (struct iovec){(void *)"\n", last != '\n'};
	iov[1] = (struct iovec){(void *)(uintptr_t)line, len};
	iov[2] = (struct iovec){(void *)"\n", 1};
	want = iov[0].iov_len + len + 1;
	do {
		n = writev(fd, iov, 3);
	} while (n < 0 && errno == EINTR);
	*written = n > 0 ? (size_t)n : 0;
	if (n == (ssize_t)want)
		return 0;
	if (n >= 0)
		errno = ENOSPC;
	int no = errno;
	/* if this fails too, the line feed of the next append still sets the piece apart */
	if (n > 0 && !take_back(fd, size, *written))
		return err_set(err, no, "no space left; half a line was left behind");
	*written = 0;
	errno = no;
	no = err_full(err);
	return no < 0 ? no : err_sys(err, "cannot write");
}

int append_open(int dirfd, const char *name, struct err *err)
{
	struct stat st;

	return open_locked(dirfd, name, &st, err);
}

int append_line(
	int dirfd, const char *name, const char *line, size_t len, bool sync, struct err *err)
{
	size_t written = 0;
	struct stat st;
	int fd, rc;

	fd = open_locked(dirfd, name, &st, err);
	if (fd < 0)
		return fd;
	rc = write_line(fd, st.st_size, line, len, &written, err);
	if (rc == 0 && sync && fdatasync(fd) < 0)
		rc = err_sys(err, "could not make it durable; not counted as done");
	/* the first line of a file is there when its name is */
	if (rc == 0 && st.st_size == 0)
		rc = dir_sync(dirfd, err);
	if (rc < 0 && written > 0) /* what did not become durable is taken back */
		(void)take_back(fd, st.st_size, written);
	close(fd);
	return rc;
}
