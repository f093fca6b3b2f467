/*
 * guard - read-only file mappings that outlive their file being cut short.
 *
 * A page whose file is gone raises SIGBUS. The handler puts zero pages in its place and marks the
 * mapping as lost, so that whatever was reading goes on to the next place where the mark is looked
 * at and fails there with a sentence. A SIGBUS anywhere else ends the process as ever.
 */
#ifndef KOLM_GUARD_H
#define KOLM_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* guard_map(fd, bytes, out, err): map ${bytes} of ${fd} (borrowed for the call). The first call
 * installs the process's handler of SIGBUS. */
int guard_map(int fd, size_t bytes, void **out, struct err *err);

/* guard_unmap(at, bytes): ${at} NULL does nothing. */
void guard_unmap(void *at, size_t bytes);

/* guard_lost(at): true when the mapping ${at} lies in has lost pages since it was made. */
bool guard_lost(const void *at);

#endif
