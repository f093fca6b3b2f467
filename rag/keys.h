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
#include "spool.h"

/* a term */
struct rag_key {
	size_t text; /* in rag_keys.text */
	uint8_t len;
	struct rag_entry entry;
};

struct rag_keys {
	struct rag_key *at;	   /* in the order of the dictionary */
	struct rag_ranked *ranked; /* room for twice as many */
	const struct rag_ranked *order;
	const char *text;
	size_t n;
	struct rag_spool words;
	void *area; /* owned: a mapping that they are in */
	size_t area_bytes;
};

/* rag_keys_read(bin, max, tmpfd, ks, err): ${ks} all zeros; what takes more than ${max} bytes of
 * memory lies in an unnamed file of the folder ${tmpfd}. Release in any case. */
int rag_keys_read(
	const struct rag_bin *bin, uint64_t max, int tmpfd, struct rag_keys *ks, struct err *err);
void rag_keys_release(struct rag_keys *ks);

/* rag_keys_nth(ks, i): and asks for the memory of those behind it, which lie anywhere. */
const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i);

#endif
