/*
 * jinja_arena - memory that is given back all at once, and never more than is good.
 */
#include "trainer/jinja_arena.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 64 * 1024, ALIGN = 16 };

struct arena_piece {
	struct arena_piece *before;
	size_t size;
	_Alignas(16) char memory[];
};

void *arena_take(struct arena *ar, size_t bytes)
{
	struct arena_piece *piece = ar->piece;
	size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	void *at;

	if (bytes > JINJA_MEMORY || ar->total + need > JINJA_MEMORY)
		return NULL;
	if (!piece || piece->size - ar->used < need) {
		size_t size = need > PIECE ? need : PIECE;

		piece = malloc(sizeof(*piece) + size);
		if (!piece)
			return NULL;
		*piece = (struct arena_piece){ar->piece, size};
		ar->piece = piece;
		ar->used = 0;
	}
	at = piece->memory + ar->used;
	memset(at, 0, need);
	ar->used += need;
	ar->total += need;
	return at;
}

void arena_release(struct arena *ar)
{
	while (ar->piece) {
		struct arena_piece *before = ar->piece->before;

		free(ar->piece);
		ar->piece = before;
	}
	*ar = (struct arena){0};
}
