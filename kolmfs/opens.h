/*
 * opens - the list of all open files, for those who tell of changes.
 */
#ifndef KOLM_OPENS_H
#define KOLM_OPENS_H

#include "open.h"

int opens_new(struct opens **out, struct err *err);
/* opens_free(sv): also those that were open when the connection was cut; the kernel says nothing of
 * them any more. */
void opens_free(struct server *sv);

/* opens_add(): -ENFILE. opens_each(): ${fn} with a counted open, without locks. */
int opens_add(struct server *sv, struct open *o, struct err *err);
void opens_remove(struct server *sv, struct open *o);
void opens_each(struct server *sv, bool (*want)(void *arg, const struct open *o),
	void (*fn)(void *arg, struct open *o), void *arg);

#endif
