/*
 * reserve - a megabyte kept aside, so that a rollback works on a full disk (reliability.md 9.5):
 * its intent and its audit line need room, the exchange itself none.
 */
#include "store/private.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

#define RESERVE_NAME ".reserve"
enum { RESERVE_BYTES = 1024 * 1024 };

void reserve_make(const struct store *st)
{
	char tmp[64];
	struct stat sb;
	int fd;

	/* a copy of a store (cp, rsync -S, tar -S) has one without blocks, which keeps nothing */
	if (fstatat(st->dir, RESERVE_NAME, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		sb.st_size >= RESERVE_BYTES && sb.st_blocks > 0)
		return;
	(void)snprintf(tmp, sizeof(tmp), RESERVE_NAME ".tmp.%d.0", (int)getpid());
	fd = openat(st->dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (posix_fallocate(fd, 0, RESERVE_BYTES) != 0 ||
		renameat(st->dir, tmp, st->dir, RESERVE_NAME) < 0)
		(void)unlinkat(st->dir, tmp, 0);
	close(fd);
}

bool reserve_free(const struct store *st)
{
	return unlinkat(st->dir, RESERVE_NAME, 0) == 0 && dir_sync(st->dir, NULL) == 0;
}
