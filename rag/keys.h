/*
 * keys - the terms of an index.bin in the order they have in index.json (FORMATS 10.4): array
 * indexes by their number, then the others by first appearance.
 */
#ifndef KOLM_RAG_KEYS_H
#define KOLM_RAG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "bin.h"
#include "radix.h"

/* a term */
struct rag_key {
	uint32_t text; /* in rag_keys.text */
	uint8_t len;
	struct rag_entry entry;
};

struct rag_keys {
	struct rag_key *at;	   /* owned, in the order of the dictionary */
	struct rag_ranked *ranked; /* owned: room for twice as many */
	const struct rag_ranked *order;
	size_t n;
	struct buf text;
};

/* rag_keys_read(bin, ks): ${ks} all zeros; -ENOMEM, -EUCLEAN. Release in any case. */
int rag_keys_read(const struct rag_bin *bin, struct rag_keys *ks);
void rag_keys_release(struct rag_keys *ks);

/* rag_keys_nth(ks, i): and asks for the memory of those behind it, which lie anywhere. */
const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i);

#endif
