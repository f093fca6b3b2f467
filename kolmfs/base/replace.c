/* replace - files that change whole or not at all; see replace.h. */
#include "base/replace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int write_all(int fd, const void *data, size_t len, struct err *err)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int rc = err_full(err);

			return rc < 0 ? rc : err_sys(err, "cannot write");
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int dir_sync(int dirfd, struct err *err)
{
	if (fsync(dirfd) < 0)
		return err_sys(err, "could not make it durable; not counted as done");
	return 0;
}

/*
 * ${tmp} becomes ${name}. The two are exchanged, so that the old file is still there to be put back
 * when the directory cannot be made durable; a process that dies in between leaves it under the
 * temporary name.
 */
static int replace_with(int dirfd, const char *tmp, const char *name, struct err *err)
{
	bool exchanged = renameat2(dirfd, tmp, dirfd, name, RENAME_EXCHANGE) == 0;
	/* not every file system can exchange: then the name may be there all the same */
	bool is_new = !exchanged &&
		      (errno == ENOENT || (faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
						  errno == ENOENT));
	int rc;

	if (!exchanged && renameat(dirfd, tmp, dirfd, name) < 0) {
		rc = err_full(err);
		if (rc == 0)
			rc = err_sys(err, "cannot replace '%s'", name);
		unlinkat(dirfd, tmp, 0);
		return rc;
	}
	rc = dir_sync(dirfd, err);
	if (rc < 0 && exchanged)
		(void)renameat2(dirfd, tmp, dirfd, name, RENAME_EXCHANGE);
	else if (rc < 0 && is_new)
		unlinkat(dirfd, name, 0);
	if (exchanged)
		unlinkat(dirfd, tmp, 0);
	return rc;
}

int replace_file(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err)
{
	static atomic_uint counter;
	struct stat st;
	char tmp[300];
	int fd, rc;

	/* a folder would be exchanged like a file, and go as a temporary name with all in it */
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "cannot replace '%s': it is a folder", name);
	rc = snprintf(tmp, sizeof(tmp), ".%s.tmp.%d.%u", name, (int)getpid(),
		atomic_fetch_add(&counter, 1));
	if (rc < 0 || (size_t)rc >= sizeof(tmp))
		return err_set(err, ENAMETOOLONG, "name too long: '%.80s'", name);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EROFS)
		return err_set(err, EROFS, "store is read-only");
	if (fd < 0) {
		rc = err_full(err);
		return rc < 0 ? rc : err_sys(err, "cannot create '%s'", tmp);
	}
	rc = write_all(fd, data, len, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "'%s': could not make it durable; not counted as done", name);
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot close '%s'", tmp);
	if (rc == 0)
		rc = replace_with(dirfd, tmp, name, err);
	else
		unlinkat(dirfd, tmp, 0);
	return rc;
}

/* -EFBIG is what read_file() says of a size it has seen, never what a failing disk said */
static void no_size_answer(void)
{
	if (errno == EFBIG)
		errno = EIO;
}

int read_fd(int fd, size_t max, struct buf *out, struct err *err)
{
	size_t from = out->len;

	for (;;) {
		ssize_t n;

		if (buf_reserve(out, 65536) < 0)
			return err_nomem(err);
		n = read(fd, out->data + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			no_size_answer();
			return err_sys(err, "cannot read at offset %zu", out->len - from);
		}
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len - from > max)
			return err_set(err, EFBIG, "larger than %zu bytes", max);
		if (n == 0)
			return 0;
	}
}

int read_file(int dirfd, const char *name, size_t max, struct buf *out, struct err *err)
{
	struct stat st;
	int fd, rc;

	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ELOOP)
		return err_set(err, ELOOP, "'%s' is a symbolic link", name);
	if (fd < 0) {
		no_size_answer();
		return err_sys(err, "cannot open '%s'", name);
	}
	if (fstat(fd, &st) < 0) {
		no_size_answer();
		rc = err_sys(err, "cannot stat '%s'", name);
	} else if (!S_ISREG(st.st_mode))
		rc = err_set(err, EINVAL, "'%s' is not a regular file", name);
	else if (st.st_size < 0 || (uint64_t)st.st_size > max)
		rc = err_set(err, EFBIG, "'%s' is larger than %zu bytes", name, max);
	else
		rc = read_fd(fd, max, out, err);
	if (rc == -EIO)
		(void)err_prefix(err, "'%s': ", name);
	close(fd);
	return rc;
}

int dir_open(int dirfd, const char *name, struct err *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "cannot open '%s'", name) : fd;
}

int dir_make(int dirfd, const char *name, struct err *err)
{
	if (mkdirat(dirfd, name, 0700) == 0) {
		int rc = dir_sync(dirfd, err);

		if (rc < 0)
			return rc;
	} else if (errno != EEXIST) {
		return errno == EROFS ? err_set(err, EROFS, "store is read-only")
				      : err_sys(err, "cannot make '%s'", name);
	}
	return dir_open(dirfd, name, err);
}

int dir_next(DIR *dir, const char *what, struct dirent **out, struct err *err)
{
	struct dirent *d;

	do {
		errno = 0;
		d = readdir(dir);
	} while (d != NULL && (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0));
	*out = d;
	if (d == NULL && errno != 0)
		return err_sys(err, "cannot list %s", what);
	return d != NULL;
}

int dir_remove(int dirfd, const char *name, struct err *err)
{
	struct dirent *d;
	DIR *dir;
	int fd, rc = 0;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(err, "cannot remove '%s'", name);
	fd = dir_open(dirfd, name, err);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return err_nomem(err);
	}
	while (rc == 0 && (rc = dir_next(dir, name, &d, err)) > 0)
		rc = dir_remove(fd, d->d_name, err);
	closedir(dir);
	if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		rc = err_sys(err, "cannot remove '%s'", name);
	return rc;
}

static int64_t ms_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void file_id(const struct stat *st, char out[FILE_ID_BYTES])
{
	(void)snprintf(out, FILE_ID_BYTES, "%llx:%llx:%llx:%llx.%lx",
		(unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
		(unsigned long long)st->st_size, (unsigned long long)st->st_ctim.tv_sec,
		(unsigned long)st->st_ctim.tv_nsec);
}

int64_t time_now(void)
{
	return ms_of(CLOCK_REALTIME);
}

int64_t clock_ms(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

const char *time_text(int64_t ms, char out[TIME_TEXT_BYTES])
{
	time_t sec = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&sec, &tm);
	size_t n = strftime(out, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, TIME_TEXT_BYTES - n, ".%03dZ", (int)(ms % 1000));
	return out;
}
