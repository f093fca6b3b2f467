/*
 * cell - one recipe program behind all its walls (kolm-cell).
 */
#ifndef KOLM_CELL_H
#define KOLM_CELL_H

#include "base/err.h"

/*
 * cell_walls_early(err): while single-threaded and before the engine: an empty read-only root, no
 * capability, no descriptor but ours, resource limits, Landlock. -EOPNOTSUPP "sandbox: ..." when
 * one cannot be built. It relies on the spawner for the namespaces and checks that they are there.
 */
int cell_walls_early(struct err *err);

/*
 * cell_walls_late(err): when the engine stands with its threads: tell the spawner, wait until it
 * has set the memory limit, close the last descriptors, forbid threads, load the system-call filter
 * on all of them.
 */
int cell_walls_late(struct err *err);

/* cell_calls_lock(err): the system-call filter, on all threads; cell_calls_print(): its table, as
 * lines "call<TAB>verdict<TAB>ground<TAB>why", returns an exit status (cell_calls.c). */
int cell_calls_lock(struct err *err);
int cell_calls_print(void);

/* cell_watch_memory(): on the engine's thread, after it stands: a crash for want of memory is
 * answered with ENOMEM. */
void cell_watch_memory(void);

/* cell_probe(name): try it (egress.h); returns the exit status. */
int cell_probe(const char *name);

/* cell_serve(): frames from 0, answers to 1, until the input ends; returns the exit status. Owns
 * the engine from cell_engine(). */
int cell_engine(struct err *err);
int cell_serve(void);

#endif
