/*
 * fsck - every invariant of a store looked at, and what is certain put right (reliability.md 9,
 * 11).
 *
 * Nothing is ever deleted: what cannot be right and cannot be mended moves to <store>/.lost/ under
 * its time and its old path.
 */
#ifndef KOLM_FSCK_H
#define KOLM_FSCK_H

#include "store/store.h"

enum fsck_kind {
	FSCK_NOTE,     /* worth knowing, harms nothing */
	FSCK_DAMAGED,  /* an invariant does not hold; it still does not after a repair */
	FSCK_REPAIRED, /* it did not, and holds again */
	FSCK_LOST,     /* it did not; what stood there was moved to .lost/ */
};

/* one finding: ${path} below the store, and a sentence */
typedef void fsck_say(void *arg, enum fsck_kind kind, const char *path, const char *text);

/*
 * store_fsck(st, repair, say, arg, damaged, err): look at everything. Without ${repair} nothing is
 * changed, and a running server does not matter: each slug is looked at under its lock. With it the
 * server lock is taken (-EBUSY "store is in use by process N"), a start's recovery runs first, and
 * each repair is one "recovered" line of the audit log. *${damaged}: how many FSCK_DAMAGED were
 * said. Fails only when the store cannot be looked at.
 */
int store_fsck(const struct store *st, bool repair, fsck_say *say, void *arg, unsigned *damaged,
	struct err *err);

#endif
