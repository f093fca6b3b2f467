/* list_write - lists as list.h describes them, made pair by pair. */
#ifndef KOLM_RAG_LIST_WRITE_H
#define KOLM_RAG_LIST_WRITE_H

#include "bin.h"

enum { RAG_LIST_SAID_BYTES = 32 }; /* of what the dictionary says of a list, at most */

/* rag_list_pair(lm, bm, doc, tf, len): one more; ${len} words has the document. -ENOMEM. */
int rag_list_pair(
	struct rag_list_maker *lm, const struct rag_bm25 *bm, uint32_t doc, uint32_t tf, uint32_t len);

/* rag_list_end(lm, out, said, n_said): append the list to ${out} and what the dictionary says of it
 * to ${said}; lm is empty again. -ENOMEM. */
int rag_list_end(struct rag_list_maker *lm, struct buf *out, uint8_t said[RAG_LIST_SAID_BYTES],
	size_t *n_said);

#endif
