/*
 * slug_log - the lines of one slug in tune.jsonl as one text that is not kept: how long it is, kept
 * up to date by reading what was appended, and where in the log its parts stand. Of 64 MiB of log
 * that is 16 KiB at most.
 */
#ifndef KOLM_SLUG_LOG_H
#define KOLM_SLUG_LOG_H

#include <time.h>

#include "store/store.h"

struct slug_log;
int slug_log_new(const char *slug, struct slug_log **out, struct err *err);
void slug_log_free(struct slug_log *sl);

/*
 * slug_log_look(sl, st, len, grown, err): the bytes of all whole lines of the slug in the log as it
 * is now, and the log's time when they were found to be so many; 0 when there is none. A log that
 * turned over, was cut or replaced is read from its beginning. The caller sees to it that one
 * thread at a time has ${sl}.
 */
int slug_log_look(struct slug_log *sl, const struct store *st, uint64_t *len,
	struct timespec *grown, struct err *err);
/* slug_log_read(sl, st, off, size, out, err): looks, and appends to ${out} the bytes from ${off}
 * on, at most ${size} of them. */
int slug_log_read(struct slug_log *sl, const struct store *st, uint64_t off, size_t size,
	struct buf *out, struct err *err);

#endif
