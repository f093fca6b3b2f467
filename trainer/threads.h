/*
 * threads - a small pool that hands out tiles dynamically and waits on futexes (never spins for
 * long: with another process on one core, spinning barriers fall to a tenth).
 *
 * Which thread runs which tile never changes a result: every tile owns its outputs and sums over
 * the contraction dimension alone, in a fixed order.
 */
#ifndef KOLM_THREADS_H
#define KOLM_THREADS_H

struct threads;

typedef void threads_fn(void *arg, int tile, int thread);

/* threads_new(n): a pool of ${n} threads in all, the caller included (n = 1: none is started). NULL
 * when memory is short. When that is one for each processor this process may use, the workers keep
 * to one each. */
struct threads *threads_new(int n);
void threads_free(struct threads *th);
int threads_count(const struct threads *th);

/* threads_scratch(th): THREADS_SCRATCH bytes that belong to whoever calls threads_run(), until the
 * next call of somebody else. No page of it is there before it is written. */
enum { THREADS_SCRATCH = 2 << 20 };
void *threads_scratch(struct threads *th);

/* threads_run(th, ntiles, fn, arg): call fn(arg, tile, thread) once for each tile 0..ntiles-1;
 * returns when all are done.
 * ${thread} is 0..n-1, for scratch memory. Not re-entrant. */
void threads_run(struct threads *th, int ntiles, threads_fn *fn, void *arg);

#endif
