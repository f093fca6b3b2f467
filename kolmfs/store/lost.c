/* lost - .lost/, where everything goes that cannot stay where it is and must not be deleted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/replace.h"
#include "store/fsck_private.h"

/* more names than a second has room for: each is made durable */
enum { LOST_TRIES = 100000, LOST_PATH_BYTES = 200, COPY_BYTES = 256 << 20 };

/* the ${i}th name for ${path} */
static void lost_name(const char *path, int i, char out[300])
{
	char flat[LOST_PATH_BYTES], when[40];
	time_t now = (time_t)(time_now() / 1000);
	struct tm tm;

	(void)snprintf(flat, sizeof(flat), "%s", path);
	for (char *p = flat; *p != '\0'; p++)
		if (*p == '/')
			*p = '_';
	gmtime_r(&now, &tm);
	(void)strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	(void)snprintf(out, 300, i == 0 ? "%s-%s" : "%s-%s.%d", when, flat, i);
}

int lost_move(const struct store *st, int dirfd, const char *name, const char *path, char out[300],
	struct err *err)
{
	int lost = dir_make(st->dir, ".lost", err), rc = -EEXIST;

	if (lost < 0)
		return lost;
	for (int i = 0; i < LOST_TRIES && rc == -EEXIST; i++) {
		lost_name(path, i, out);
		rc = renameat2(dirfd, name, lost, out, RENAME_NOREPLACE) < 0 ? -errno : 0;
	}
	if (rc < 0) {
		errno = -rc;
		rc = err_sys(err, "cannot move it to .lost/");
	}
	if (rc == 0)
		rc = dir_sync(lost, err);
	if (rc == 0)
		rc = dir_sync(dirfd, err);
	close(lost);
	return rc;
}

/* a new file of the ${path}'s name */
static int lost_create(int lost, const char *path, char out[300], struct err *err)
{
	int fd = -1;

	errno = EEXIST;
	for (int i = 0; fd < 0 && errno == EEXIST && i < LOST_TRIES; i++) {
		lost_name(path, i, out);
		fd = openat(lost, out, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	return fd < 0 ? err_sys(err, "cannot copy it to .lost/") : fd;
}

int lost_copy(const struct store *st, int dirfd, const char *name, const char *path, char out[300],
	struct err *err)
{
	struct buf text = BUF_INIT;
	int lost = -1, fd = -1, rc = read_file(dirfd, name, COPY_BYTES, &text, err);

	if (rc == 0)
		rc = lost = dir_make(st->dir, ".lost", err);
	if (rc >= 0)
		rc = fd = lost_create(lost, path, out, err);
	if (rc >= 0)
		rc = write_all(fd, buf_str(&text), text.len, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "could not make it durable; not counted as done");
	if (fd >= 0 && close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot close it in .lost/");
	if (rc == 0)
		rc = dir_sync(lost, err);
	if (rc < 0 && fd >= 0)
		(void)unlinkat(lost, out, 0);
	if (lost >= 0)
		close(lost);
	buf_release(&text);
	return rc;
}
