/*
 * head - HEAD, head.prev and the one crash-safe way they change (reliability.md section 9.2).
 */
#ifndef KOLM_HEAD_H
#define KOLM_HEAD_H

#include "store/log.h"
#include "store/store.h"

struct head {
	char head[REV_BYTES];
	char prev[REV_BYTES]; /* "" none */
};

/* head_load(tn, out, err): H01-H04: -EUCLEAN with its sentence; never hangs on a FIFO. A missing
 * final line feed is not damage. */
int head_load(const struct tune *tn, struct head *out, struct err *err);

/* head_init(tn, err): HEAD = v0, durable. */
int head_init(const struct tune *tn, struct err *err);

/*
 * head_promote(tn, to, entry, err): journal intent, .HEAD.next, EXCHANGE, rename to head.prev,
 * directory fsync, the audit line ${entry}, journal done. Under tune_lock; the caller has verified
 * ${to}. -EALREADY "HEAD is v2 already". head_rollback(): EXCHANGE of HEAD and head.prev; E11
 * -ENOENT, E12 -EUCLEAN (checks the target revision).
 */
int head_promote(
	const struct tune *tn, const char *to, const struct log_entry *entry, struct err *err);
int head_rollback(
	const struct tune *tn, const struct log_entry *entry, struct head *now, struct err *err);

/* head_recover(tn, err): finish or undo what a killed process left; 1 when something was repaired.
 */
int head_recover(const struct tune *tn, struct err *err);

#endif
