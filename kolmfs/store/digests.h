/*
 * digests - SHA-256 of files looked at before, kept while a store is open: a promotion and a
 * rollback verify every file of a revision, and an adapter is megabytes.
 *
 * A file is known again by device, inode, size, mtime and ctime. Its digest is kept only when the
 * file had been left alone for two seconds before it was read, so that a change within the grain of
 * the file system's clock is never taken for no change. What goes bad below the file system shows
 * at the next start, and in fsck.
 */
#ifndef KOLM_DIGESTS_H
#define KOLM_DIGESTS_H

#include "base/err.h"
#include "base/hash.h"

struct digests;

/* digests_new(): NULL when memory is short: every file is read each time then. */
struct digests *digests_new(void);
void digests_free(struct digests *ds);

/* digests_fd(ds, fd, out, err): the digest of a whole regular file; ${ds} may be NULL. Safe from
 * several threads. */
int digests_fd(struct digests *ds, int fd, char out[HASH_HEX_BYTES], struct err *err);

#endif
