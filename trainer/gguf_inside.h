/* gguf_inside - what gguf_parse() makes and gguf_find.c looks up. Private to both. */
#ifndef KOLM_GGUF_INSIDE_H
#define KOLM_GGUF_INSIDE_H

#include "trainer/gguf.h"

struct gguf_key {
	const char *name;
	size_t len;
	enum gguf_type type;
	const uint8_t *at;   /* the value; the text of a string */
	uint64_t n;	     /* bytes of a string, items of an array */
	enum gguf_type item; /* of an array */
};

struct gguf_entry {
	const char *name;
	size_t len;
	struct tensor tensor;
	uint64_t offset;
};

struct gguf {
	struct gguf_key *key; /* sorted by name */
	size_t keys;
	const uint8_t *raw_keys;
	size_t raw_bytes;
	struct gguf_entry *entry; /* in the order of the file */
	struct gguf_entry **by_name;
	size_t entries;
};

/* bytes of a value; 0 of texts and arrays */
extern const unsigned char gguf_sizes[GGUF_TYPES];

/* by name; of keys, and of pointers to entries */
int gguf_compare_keys(const void *a, const void *b);
int gguf_compare_entries(const void *a, const void *b);

#endif
