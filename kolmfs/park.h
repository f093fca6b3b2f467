/*
 * park - reads that must wait. A parked request costs its memory and nothing else; it is answered
 * by whoever brings what it waits for, by an interrupt, or at the end.
 */
#ifndef KOLM_PARK_H
#define KOLM_PARK_H

#include <stddef.h>
#include <stdint.h>

#include "server.h"

struct fuse_req;
struct open;

int park_new(struct park **out, struct err *err);
void park_free(struct park *pk); /* nothing may be parked any more */

/* park_read(sv, req, o, size, off): answer the read when it can be answered, now if possible. Takes
 * over the request. */
void park_read(struct server *sv, struct fuse_req *req, struct open *o, size_t size, uint64_t off);

/* park_interrupt(pk, req): its client got a signal: EINTR. */
void park_interrupt(struct park *pk, struct fuse_req *req);

/* park_wake(sv, o): look again at the reads of ${o}; NULL: at all that wait for a job or an event.
 * park_look(sv): at those of them that another process may have brought something for. */
void park_wake(struct server *sv, struct open *o);
void park_look(struct server *sv);

/* park_end(sv): every parked read ends: streams with end of file, `wait` with ENODATA; later ones
 * too. */
void park_end(struct server *sv);

#endif
