/*
 * dropped - how many rows were not taken into captures.jsonl: nothing of them is left but this
 * count.
 *
 * tune/<slug>/.dropped is two numbers of fixed width, rewritten in place by one write below its own
 * lock: a process may be killed at any point and none is lost or counted twice. It is not fsynced;
 * a power cut may take what was counted in the last seconds.
 */
#include "store/captures.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"

#define DROPPED_NAME ".dropped"
enum { DROPPED_BYTES = 42 }; /* "%020 %020\n" */

static int parse(int fd, struct capture_drops *out, struct err *err)
{
	char text[DROPPED_BYTES + 2] = "";
	struct stat sb;
	int used = 0;
	ssize_t n;

	*out = (struct capture_drops){0};
	if (fstat(fd, &sb) < 0)
		return err_sys(err, "cannot stat '" DROPPED_NAME "'");
	if (!S_ISREG(sb.st_mode))
		return err_set(err, EUCLEAN, "'" DROPPED_NAME "' is not a regular file");
	n = pread(fd, text, DROPPED_BYTES + 1, 0);
	if (n < 0)
		return err_sys(err, "cannot read '" DROPPED_NAME "'");
	if (n == 0)
		return 0;
	if (n != DROPPED_BYTES ||
		sscanf(text, "%20" SCNu64 " %20" SCNu64 "%n", &out->oversize, &out->unfinished,
			&used) != 2 ||
		used != DROPPED_BYTES - 1 || text[used] != '\n') {
		*out = (struct capture_drops){0};
		return err_set(err, EUCLEAN, "'" DROPPED_NAME "' is not two numbers");
	}
	return 0;
}

int captures_dropped(const struct tune *tn, struct capture_drops *out, struct err *err)
{
	int fd = openat(tn->dir, DROPPED_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc;

	*out = (struct capture_drops){0};
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && errno == ELOOP)
		return err_set(err, EUCLEAN, "'" DROPPED_NAME "' is not a regular file");
	if (fd < 0)
		return err_sys(err, "cannot open '" DROPPED_NAME "'");
	rc = parse(fd, out, err);
	close(fd);
	return rc;
}

int captures_drop(const struct tune *tn, struct capture_drops more, struct err *err)
{
	struct capture_drops now;
	char text[DROPPED_BYTES + 1];
	int fd = lock_open(tn->dir, DROPPED_NAME, err), rc;

	if (fd < 0)
		return fd;
	rc = flock_wait(fd, LOCK_EX, err);
	if (rc == 0)
		rc = parse(fd, &now, err);
	if (rc == 0) {
		(void)snprintf(text, sizeof(text), "%020" PRIu64 " %020" PRIu64 "\n",
			now.oversize + more.oversize, now.unfinished + more.unfinished);
		if (pwrite(fd, text, DROPPED_BYTES, 0) != DROPPED_BYTES)
			rc = err_sys(err, "cannot write '" DROPPED_NAME "'");
	}
	close(fd);
	return rc;
}
