/*
 * listing - the names of a folder at the moment it was opened.
 */
#ifndef KOLM_LISTING_H
#define KOLM_LISTING_H

#include "names.h"

enum { NAME_BYTES_MAX = 1024 };

struct listing {
	size_t n;
	size_t *at;	  /* offsets into ${names} */
	struct buf names; /* each a 'd' or an 'f' and the name, NUL-terminated */
};

/* listing_new(sv, at, out, err): "." and ".." and what is there. */
int listing_new(struct server *sv, const struct place *at, struct listing **out, struct err *err);
void listing_free(struct listing *ls);

#endif
