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

enum { LOST_TRIES = 1000, LOST_PATH_BYTES = 200, COPY_BYTES = 256 << 20 };

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

int lost_copy(const struct store *st, int dirfd, const char *name, const char *path, char out[300],
	struct err *err)
{
	struct buf text = BUF_INIT;
	int lost, rc = read_file(dirfd, name, COPY_BYTES, &text, err);

	if (rc < 0)
		goto out;
	rc = lost = dir_make(st->dir, ".lost", err);
	if (lost < 0)
		goto out;
	for (int i = 0; i < LOST_TRIES; i++) {
		lost_name(path, i, out);
		if (faccessat(lost, out, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	rc = replace_file(lost, out, buf_str(&text), text.len, 0600, err);
	close(lost);
out:
	buf_release(&text);
	return rc;
}
