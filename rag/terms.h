/*
 * terms - the inverted index in memory while it is built: every term in order of first appearance,
 * with its list already in the compressed form of post.h. Also the plain set that drops repeats
 * from a query.
 */
#ifndef KOLM_RAG_TERMS_H
#define KOLM_RAG_TERMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct rag_term {
	size_t text; /* offset in rag_terms.text */
	uint8_t *post;
	uint32_t post_len, post_cap;
	uint32_t df;
	uint32_t next; /* the lowest document id that may follow */
	uint32_t tf;   /* in the document being counted */
	uint32_t rank; /* words of its first document that come before it there */
	uint8_t len;
};

struct rag_terms {
	struct rag_term *at; /* owned, in order of first appearance */
	size_t n, cap;
	struct buf text;
	uint32_t *slots; /* hash table of index + 1 */
	size_t n_slots;
	uint32_t *touched; /* terms of the document being counted */
	size_t n_touched, cap_touched;
	size_t post_bytes;
};

#define RAG_TERMS_INIT ((struct rag_terms){0})
void rag_terms_release(struct rag_terms *ts);

/* rag_terms_add(ts, word, len, index): find or add; ${len} is at most 255. 1 when it was new, 0, or
 * -ENOMEM. */
int rag_terms_add(struct rag_terms *ts, const char *word, size_t len, uint32_t *index);
const char *rag_terms_text(const struct rag_terms *ts, size_t index);

/* rag_terms_append(ts, index, doc, tf): the next pair of a list; ${doc} above all before it.
 * -ENOMEM. */
int rag_terms_append(struct rag_terms *ts, uint32_t index, uint32_t doc, uint32_t tf);

/*
 * rag_terms_count(ts, text, len, doc, words): count the words of a document and append its pairs.
 * ${words}: their number. A text without words leaves no trace. -ENOMEM.
 */
int rag_terms_count(
	struct rag_terms *ts, const char *text, size_t len, uint32_t doc, uint32_t *words);

/* rag_terms_bytes(ts): memory held. */
size_t rag_terms_bytes(const struct rag_terms *ts);

#endif
