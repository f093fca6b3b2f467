/*
 * work - threads for what may take long (commands, runs, queries), so that request threads never
 * wait. Threads come when there is work and go after idle seconds.
 */
#ifndef KOLM_WORK_H
#define KOLM_WORK_H

#include "base/err.h"

struct work;

enum { WORK_THREADS_MAX = 48, WORK_IDLE_SEC = 10 };

int work_new(struct work **out, struct err *err);
/* work_do(wk, fn, arg, err): run fn(arg) soon, in order of arrival among the waiting. -ENOMEM,
 * -EAGAIN: not taken. */
int work_do(struct work *wk, void (*fn)(void *arg), void *arg, struct err *err);
/* work_stop(wk, seconds): no more work; wait for what runs, at most so long. 0, or -EBUSY when
 * something still runs. */
int work_stop(struct work *wk, int seconds);
void work_free(struct work *wk); /* after a work_stop() that returned 0 */

#endif
