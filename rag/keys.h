/*
 * keys - the terms of an index.bin in the order they have in index.json (FORMATS 10.4): array
 * indexes by their number, then the others by first appearance. They are noted while the lists are
 * written, in the order of the dictionary, and sorted when all are.
 */
#ifndef KOLM_RAG_KEYS_H
#define KOLM_RAG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "radix.h"
#include "spool.h"

/* a term */
struct rag_key {
	uint64_t rank;
	uint64_t post, post_len; /* its list in POST; of a term of one document, that and how often
				    it has the term */
	uint64_t text;		 /* in rag_keys.text */
	uint32_t df;
	uint8_t len;
};

struct rag_keys {
	uint64_t max; /* bytes of memory; what is more lies in unnamed files */
	int tmpfd;    /* of this folder, borrowed */
	struct rag_spool items, words;
	size_t n;
	/* sorted: */
	const struct rag_key *at;
	const char *text;
	const struct rag_ranked *order;
	void *area; /* owned: a mapping that they are in */
	size_t area_bytes;
};

/* rag_keys_init(ks, max, tmpfd): none yet. Release in any case. */
void rag_keys_init(struct rag_keys *ks, uint64_t max, int tmpfd);
void rag_keys_release(struct rag_keys *ks);

/* rag_keys_add(ks, key, word, doc, before, err): one more, ${before} words come before it in its
 * first document, ${doc}. Its rank, text and len are filled in. */
int rag_keys_add(struct rag_keys *ks, struct rag_key *key, const char *word, size_t len,
	uint32_t doc, uint32_t before, struct err *err);

/* rag_keys_sort(ks, err): no more will come. rag_keys_nth(ks, i): the ${i}th, and asks for the
 * memory of those behind it, which lie anywhere; ${post} is POST. */
int rag_keys_sort(struct rag_keys *ks, struct err *err);
const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i, const unsigned char *post);

#endif
