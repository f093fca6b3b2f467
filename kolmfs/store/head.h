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

/*
 * The id a promotion or a rollback was asked for with: of the form of a slug, at most 64. -EINVAL,
 * -ENAMETOOLONG.
 *
 * request_done(tn, id, event, to, now, err): 1 when the audit log has a line of this slug with that
 * id: ${event} ("promoted" or "rolled_back") and ${to} (NULL: any) were done, and *${now} is what
 * HEAD and head.prev were then. 0: not done. -EINVAL: that id was another request. Recovers first,
 * so that what a killed process began is decided. Under tune_lock; whoever then does it writes
 * "id":"..." into the fields of its line.
 */
enum { REQUEST_ID_BYTES = 64 };
int request_id_check(const char *id, struct err *err);
int request_done(const struct tune *tn, const char *id, const char *event, const char *to,
	struct head *now, struct err *err);

/* head_recover(tn, err): finish or undo what a killed process left; 1 when something was repaired.
 */
int head_recover(const struct tune *tn, struct err *err);

#endif
