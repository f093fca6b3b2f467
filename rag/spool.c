#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

enum { PIECE_BYTES = 1 << 17, NAMES = 1000 };

void rag_spool_init(struct rag_spool *sp, int dirfd)
{
	*sp = (struct rag_spool){.dirfd = dirfd, .fd = -1, .keep = RAG_SPOOL_BYTES};
}

void rag_spool_keep(struct rag_spool *sp, uint64_t bytes)
{
	if (bytes > sp->keep)
		sp->keep = (size_t)bytes;
}

void rag_spool_release(struct rag_spool *sp)
{
	if (sp->map)
		munmap(sp->map, sp->len);
	if (sp->len > 0 && sp->fd >= 0)
		close(sp->fd);
	buf_release(&sp->bf);
	rag_spool_init(sp, -1);
}

int rag_temporary_named(int dirfd, struct err *err)
{
	char name[sizeof(".spool") + 3];
	int fd;

	/* threads spill at the same time, and one that was killed may have left a name behind */
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), ".spool%u", i);
		fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			unlinkat(dirfd, name, 0);
			return fd;
		}
		if (errno != EEXIST)
			break;
	}
	return err_sys(err, "cannot create a temporary file");
}

int rag_temporary(int dirfd, struct err *err)
{
	int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : rag_temporary_named(dirfd, err);
}

/* to the file, what is in memory first */
static int to_file(struct rag_spool *sp, const void *data, size_t len, struct err *err)
{
	int rc = 0;

	if (sp->fd < 0) {
		rc = rag_temporary(sp->dirfd, err);
		if (rc < 0)
			return rc;
		sp->fd = rc;
	}
	rc = write_all(sp->fd, sp->bf.data, sp->bf.len, err);
	buf_reset(&sp->bf);
	return rc < 0 ? rc : write_all(sp->fd, data, len, err);
}

int rag_spool_add(struct rag_spool *sp, const void *data, size_t len, struct err *err)
{
	size_t keep = sp->fd < 0 ? sp->keep : RAG_SPOOL_BYTES;

	sp->len += len;
	if (sp->dirfd >= 0 && len >= keep)
		return to_file(sp, data, len, err);
	if (buf_add(&sp->bf, data, len) < 0)
		return err_nomem(err);
	return sp->dirfd < 0 || sp->bf.len < keep ? 0 : to_file(sp, NULL, 0, err);
}

int rag_spool_settle(struct rag_spool *sp, struct err *err)
{
	int rc = 0;

	if (sp->fd < 0)
		return 0;
	rc = to_file(sp, NULL, 0, err);
	buf_release(&sp->bf);
	return rc;
}

int rag_spool_each(struct rag_spool *sp, rag_spool_to *each, void *arg, struct err *err)
{
	uint64_t at = 0, end = sp->len - sp->bf.len;
	struct buf piece = BUF_INIT;
	int rc = 0;

	if (end && buf_reserve(&piece, PIECE_BYTES) < 0)
		return err_nomem(err);
	while (rc == 0 && at < end) {
		size_t want = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;
		ssize_t n = pread(sp->fd, piece.data, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? err_sys(err, "cannot read a temporary file")
				   : err_set(err, EIO, "a temporary file is cut");
			break;
		}
		rc = each(arg, piece.data, (size_t)n, err);
		at += (uint64_t)n;
	}
	buf_release(&piece);
	return rc < 0 || sp->bf.len == 0 ? rc : each(arg, sp->bf.data, sp->bf.len, err);
}

int rag_spool_map(struct rag_spool *sp, const void **data, struct err *err)
{
	int rc;

	if (sp->map) {
		*data = sp->map;
		return 0;
	}
	if (sp->fd < 0) {
		*data = buf_str(&sp->bf);
		return 0;
	}
	rc = rag_spool_settle(sp, err);
	if (rc < 0)
		return rc;
	sp->map = mmap(NULL, sp->len, PROT_READ, MAP_SHARED, sp->fd, 0);
	if (sp->map == MAP_FAILED) {
		sp->map = NULL;
		return err_sys(err, "cannot map a temporary file");
	}
	*data = sp->map;
	return 0;
}
