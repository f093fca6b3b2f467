/*
 * pack - the rows of one pass laid end to end, without padding.
 *
 * Segment 0 may be the token prefix all rows have in common: it is computed once, and every other
 * segment attends to it and to itself. Without a common prefix every segment is a row and attends
 * to itself alone. A position is supervised when the token behind it is part of the answer (its end
 * of turn included).
 */
#ifndef KOLM_PACK_H
#define KOLM_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* one training row as tokens: ${n} of them, those from ${answer} on are learned. Owned by data. */
struct sample {
	int *token;
	int n;
	int answer;	/* at least 1, below n */
	uint64_t hash;	/* of prompt and answer: decides what is held out */
	uint64_t index; /* in the file, for dropout's keys */
};

struct segment {
	int start;
	int len;
	int prefix; /* 0, or the length of segment 0 */
};

struct pack {
	int tokens;
	int *token; /* tokens of them; with pos and key */
	int *pos;
	uint64_t *key; /* dropout: what the generator is keyed by; row and position */
	int segments;
	struct segment *segment;
	int supervised;
	int *at;     /* supervised positions, rising within a segment */
	int *target; /* the token that should follow */
	void *memory;
};

/* pack_tokens(sample, n, share): how many tokens the pack of these rows will hold. */
int pack_tokens(const struct sample *const *sample, int n, bool share);

/* pack_supervised(sample, n): how many supervised positions; independent of sharing. */
int pack_supervised(const struct sample *const *sample, int n);

/* pack_make(sample, n, share, out, err): lay them out; ${share}: compute a common prefix once. */
int pack_make(
	const struct sample *const *sample, int n, bool share, struct pack *out, struct err *err);
void pack_release(struct pack *pk);

#endif
