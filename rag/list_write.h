/* list_write - lists as list.h describes them, made pair by pair. */
#ifndef KOLM_RAG_LIST_WRITE_H
#define KOLM_RAG_LIST_WRITE_H

#include "bin.h"

enum { RAG_LIST_SAID_BYTES = 32 }; /* of what the dictionary says of a list, at most */

/* rag_list_pairs(lm, norms, docs, tfs, n): ${n} more. -ENOMEM. */
int rag_list_pairs(struct rag_list_maker *lm, const struct rag_norms *norms, const uint32_t *docs,
	const uint32_t *tfs, size_t n);

/* rag_list_packed(lm, n, low, bytes, len): the ${n} pairs of the last rag_list_pairs() are a block
 * of an older list, whose ${bytes} (borrowed until they are used: till the next call for this list)
 * hold the same distances if they count from ${low}. They are taken as they are where they fit. */
void rag_list_packed(
	struct rag_list_maker *lm, size_t n, uint32_t low, const uint8_t *bytes, size_t len);

/* rag_list_end(lm, out, said, n_said): append the list to ${out} and what the dictionary says of it
 * to ${said}; lm is empty again. -ENOMEM. */
int rag_list_end(struct rag_list_maker *lm, struct buf *out, uint8_t said[RAG_LIST_SAID_BYTES],
	size_t *n_said);

#endif
