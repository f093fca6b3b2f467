/*
 * eye - what the kernel tells of changes of the store's files, whoever makes them: inotify(7) on
 * tune/, rag/ and logs/, and on each slug's folder and its revisions/ once somebody asks for it.
 *
 * Not told: what is written below those (a revision's files, a job's), and through a shared
 * mapping. Nothing is told on file systems of which it is not known that this kernel alone writes
 * to them, and when the limits of inotify are reached; then who looks must look by time.
 */
#ifndef KOLM_EYE_H
#define KOLM_EYE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

enum { EYE_GAP_MS = 1000 };

struct eye;

/* eye_open(st, out, err): ${st} must outlive it. Where the kernel cannot tell it is open all the
 * same. eye_close(ey): nobody waits any more; NULL does nothing. */
int eye_open(const struct store *st, struct eye **out, struct err *err);
void eye_close(struct eye *ey);

/* eye_count(ey, slug): counts the changes of the slug's files so far, those in the call before this
 * one included; "" those of tune/ itself. 0: that is not known, it may change at any time. */
uint64_t eye_count(struct eye *ey, const char *slug);

/* eye_wait(ey): until something changed or eye_poke() was called since the last one returned, at
 * most once a second; where the kernel cannot tell, once a second. False after eye_end(). For one
 * thread. eye_poke(ey): look again; cheap. eye_hurry(ey): at once, the second is not over. */
bool eye_wait(struct eye *ey);
void eye_poke(struct eye *ey);
void eye_hurry(struct eye *ey);
void eye_end(struct eye *ey);

#endif
