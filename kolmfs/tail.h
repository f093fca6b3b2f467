/*
 * tail - the audit log as those who follow it hold it: open, so that what was written before it
 * turned over can still be read behind its name. All who stand in the same file share one
 * descriptor.
 */
#ifndef KOLM_TAIL_H
#define KOLM_TAIL_H

#include "server.h"

int tails_new(struct tails **out, struct err *err);
void tails_free(struct tails *ts); /* every tail was put before */

/* tail_get(sv, out, err): the log of now, counted; -ENOENT when there is none. tail_put(): gives it
 * back; NULL does nothing. */
int tail_get(struct server *sv, struct tail **out, struct err *err);
void tail_put(struct tail *tl);

/* tail_fd(tl): borrowed */
int tail_fd(const struct tail *tl);

/* tail_is_last(sv, tl): does the log's name still lead here? Once it does not, no line is ever
 * added to it (log_parts.c), so who asks before reading has read all of it. */
bool tail_is_last(struct server *sv, const struct tail *tl);

#endif
