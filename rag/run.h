/*
 * run - terms in order with their lists, from wherever they are: what a table left in a file, or an
 * index.bin; and the merge of several into the lists of a new index.bin.
 *
 *   a run: for each term u8 length, the word, vbyte rank, vbyte df, vbyte bytes, the list (post.h)
 *
 * The documents of a run have numbers of its own; a map gives those of the new index, in the same
 * order, or RAG_NO_DOC for those that are not in it.
 */
#ifndef KOLM_RAG_RUN_H
#define KOLM_RAG_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bin.h"
#include "post.h"
#include "spool.h"

struct rag_run {
	const uint32_t *map; /* borrowed */
	size_t n_map;
	/* of a run: */
	const uint8_t *at, *end;
	struct rag_post post;
	/* of an index.bin: */
	const struct rag_bin *bin; /* or NULL */
	struct rag_dict_it it;
	struct rag_cursor cur;
	uint32_t block_pos;
	const uint8_t *order;
	/* the term it stands at, and the pair */
	char word[RAG_MODE_TERM_BYTES + 1];
	size_t len;
	uint32_t rank;
	uint32_t old_first; /* its first document before the map */
	uint32_t doc, tf;   /* after it */
	bool is_first;	    /* ${doc} is what ${old_first} became */
};

/* rag_run_bytes(rn, data, len, map, n): a run. rag_run_bin(rn, bin, map, n): an index.bin. Both
 * before the first term. */
void rag_run_bytes(
	struct rag_run *rn, const void *data, size_t len, const uint32_t *map, size_t n_map);
int rag_run_bin(struct rag_run *rn, const struct rag_bin *bin, const uint32_t *map, size_t n_map);

/* rag_run_next(rn): the next term: 1, 0 the end, -EUCLEAN. rag_run_pair(rn): its next pair that is
 * in the new index: the same. */
int rag_run_next(struct rag_run *rn);
int rag_run_pair(struct rag_run *rn);

struct rag_merge {
	struct rag_run *runs;
	size_t n;
	struct rag_writer *writer;
	/* the rank of a word whose first document is gone, in document ${doc} of the new index;
	 * NULL: ranks do not matter */
	int (*rank_in)(void *arg, uint32_t doc, const char *word, size_t len, uint32_t *rank);
	void (*tick)(void *arg);
	void *arg;
};

/* rag_merge(mg, err): all terms of all runs, into the writer. */
int rag_merge(struct rag_merge *mg, struct err *err);

#endif
