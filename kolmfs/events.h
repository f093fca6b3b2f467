/*
 * events - the file of that name: a slug's lines of the log, never kept as a whole. Of each slug is
 * kept what store/slug_log.h keeps.
 */
#ifndef KOLM_EVENTS_H
#define KOLM_EVENTS_H

#include "names.h"

int events_new(struct events **out, struct err *err);
void events_free(struct events *es);

/* names.h: length, read */
int events_length(struct server *sv, const struct place *at, uint64_t *len, struct timespec *grown,
	struct err *err);
int events_read(struct server *sv, const struct place *at, uint64_t off, size_t size,
	struct buf *out, struct err *err);

#endif
