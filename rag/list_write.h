/* list_write - lists as list.h describes them, made pair by pair. */
#ifndef KOLM_RAG_LIST_WRITE_H
#define KOLM_RAG_LIST_WRITE_H

#include "bin.h"

enum { RAG_LIST_SAID_BYTES = 32 }; /* of what the dictionary says of a list, at most */

/* rag_list_pairs(lm, norms, docs, tfs, n): ${n} more. -ENOMEM. */
int rag_list_pairs(struct rag_list_maker *lm, const struct rag_norms *norms, const uint32_t *docs,
	const uint32_t *tfs, size_t n);

/* rag_list_end(lm, out, said, n_said): append the list to ${out} and what the dictionary says of it
 * to ${said}; lm is empty again. -ENOMEM. */
int rag_list_end(struct rag_list_maker *lm, struct buf *out, uint8_t said[RAG_LIST_SAID_BYTES],
	size_t *n_said);

#endif
