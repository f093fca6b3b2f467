/*
 * post - one term's list of (document, frequency) pairs, compressed: for each pair vbyte(2 * gap +
 * (tf == 1)) and, unless tf is 1, vbyte(tf - 2). The gap counts the documents passed over. Lists
 * are read with bounds: hostile bytes end the walk.
 */
#ifndef KOLM_RAG_POST_H
#define KOLM_RAG_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RAG_PAIR_BYTES = 12 }; /* of one encoded pair, at most */

/* rag_post_put(out, passed, tf): encode a pair; returns the bytes used. */
size_t rag_post_put(uint8_t out[RAG_PAIR_BYTES], uint32_t passed, uint32_t tf);

struct rag_post {
	const uint8_t *data; /* borrowed */
	size_t len, pos;
	uint64_t df;   /* pairs in the list */
	uint64_t docs; /* ids are below this */
	uint64_t next; /* the lowest id the next pair may have */
	uint32_t doc, tf;
	bool is_damaged;
};

void rag_post_init(
	struct rag_post *ps, const uint8_t *data, size_t len, uint64_t df, uint64_t docs);
/* rag_post_next(ps): false at the end, or when the list is damaged (then ps->is_damaged). */
bool rag_post_next(struct rag_post *ps);

#endif
