/* radix - by one byte of the rank after the other, the lowest first. */
#include "radix.h"

#include <string.h>

enum { DIGITS = 8, VALUES = 256 };

struct rag_ranked *rag_radix_sort(struct rag_ranked *at, struct rag_ranked *room, size_t n)
{
	size_t count[DIGITS][VALUES] = {0};

	for (size_t i = 0; i < n; i++)
		for (unsigned d = 0; d < DIGITS; d++)
			count[d][at[i].rank >> 8 * d & 0xff]++;
	for (unsigned d = 0; n > 0 && d < DIGITS; d++) {
		size_t *to = count[d], from = 0;
		struct rag_ranked *swap = at;

		if (to[at[0].rank >> 8 * d & 0xff] == n) /* all the same */
			continue;
		for (unsigned v = 0; v < VALUES; v++) {
			size_t here = to[v];

			to[v] = from;
			from += here;
		}
		for (size_t i = 0; i < n; i++)
			room[to[at[i].rank >> 8 * d & 0xff]++] = at[i];
		at = room;
		room = swap;
	}
	return at;
}
