/*
 * list - a term's list in index.bin: which documents it stands in, how often, and what it can add
 * to a score at most.
 *
 *   up to 127 documents: one block
 *   more: u16 the maximum of each 32 blocks; struct of 10 bytes a block {u32 last document, u32 end
 *         of its bytes, counted from the first block, u16 maximum}; the blocks
 *   block: pack.h runs of the distances to the document before, less 1 (the first: to the last of
 *         the block before, or the id itself), and of the frequencies, less 1
 *
 * A maximum is of tf*(k1+1) / (tf + k1*(1-b+b*len/avgdl)) in steps of (k1+1)/65535, rounded up.
 *
 * Lists are read with bounds: hostile bytes end the walk and set is_damaged; whatever doc[] then
 * holds is ascending and below n_docs.
 */
#ifndef KOLM_RAG_LIST_H
#define KOLM_RAG_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack.h"

enum {
	RAG_SKIP_BYTES = 10,
	RAG_SUPER_BLOCKS = 32,
	RAG_MAX_STEPS = 65535,
};

#define RAG_NO_DOC UINT32_MAX

struct rag_bin;

/* what the dictionary says of a term */
struct rag_entry {
	const uint8_t *data; /* its list; NULL when df is 1: */
	size_t len;
	uint32_t only_doc, only_tf;
	uint32_t df;
	uint32_t max;		   /* of the whole list, in steps */
	uint32_t tenth, hundredth; /* ten, a hundred documents reach this; in steps, rounded down;
				      0 unknown */
};

struct rag_cursor {
	const struct rag_bin *bin;
	const uint8_t *super, *skip, *blocks;
	size_t len; /* of blocks */
	uint32_t df, n_blocks, n_docs, max;
	uint32_t block;	    /* where it stands; n_blocks: behind the end */
	uint32_t low, last; /* documents the block may hold, both included */
	uint32_t unpacked;  /* the block that doc[] is of, or RAG_NO_DOC */
	uint32_t n, pos;    /* documents of that block; where it stands in it */
	bool has_tf, is_damaged;
	const uint8_t *tf_at;
	uint32_t doc[RAG_BLOCK], tf[RAG_BLOCK];
};

/* rag_cursor_init(cur, bin, entry): before the first document; nothing is unpacked yet. */
void rag_cursor_init(
	struct rag_cursor *cur, const struct rag_bin *bin, const struct rag_entry *entry);

/* rag_cursor_shallow(cur, doc): go to the block where ${doc} or what follows it would stand; false
 * behind the end. Never goes back. */
bool rag_cursor_shallow(struct rag_cursor *cur, uint32_t doc);

/* rag_cursor_max(cur): the maximum of the block it stands in. rag_cursor_max_until(cur, last): of
 * all blocks from there to that of document ${last}, or a bound above it. */
uint32_t rag_cursor_max(const struct rag_cursor *cur);
uint32_t rag_cursor_max_until(const struct rag_cursor *cur, uint32_t last);

/* rag_cursor_bytes(cur, len): the bytes of the block it has loaded; NULL for a list of one
 * document, which has none. */
const uint8_t *rag_cursor_bytes(const struct rag_cursor *cur, size_t *len);

/* rag_cursor_seek(cur, doc): the first document of the list that is not below ${doc}, or
 * RAG_NO_DOC. */
uint32_t rag_cursor_seek(struct rag_cursor *cur, uint32_t doc);

/* rag_cursor_load(cur): unpack the block it stands in; false: damaged. */
bool rag_cursor_load(struct rag_cursor *cur);

/* rag_cursor_load_tf(cur): its frequencies too. rag_cursor_tf(cur): that of the document where it
 * stands (after seek); 0 damaged. */
bool rag_cursor_load_tf(struct rag_cursor *cur);
uint32_t rag_cursor_tf(struct rag_cursor *cur);

#endif
