/*
 * jinja_arena - memory that is given back all at once.
 */
#ifndef KOLM_JINJA_ARENA_H
#define KOLM_JINJA_ARENA_H

#include <stddef.h>

enum { JINJA_MEMORY = 64 * 1024 * 1024 }; /* of a tree, of a rendering */

struct arena {
	struct arena_piece *piece;
	size_t used; /* of the newest piece */
	size_t total;
};

/* arena_take(ar, bytes): zeroed, until arena_release(); NULL when there is no memory, or when ${ar}
 * would hold more than JINJA_MEMORY. */
void *arena_take(struct arena *ar, size_t bytes);
void arena_release(struct arena *ar);

#endif
