/*
 * table - the inverted index of some documents in memory while it is built: a hash table of terms,
 * each with its list as a chain of vbytes (post.h). When it is full, or at the end, it becomes a
 * run (run.h): its terms in order.
 *
 * Filling it is bound by the latency of memory. So a text is folded first, with a bit for each byte
 * that is of a word, and then taken in three passes over a batch of its words: cut, hash, and ask
 * for the slot; ask for the entry; count.
 */
#ifndef KOLM_RAG_TABLE_H
#define KOLM_RAG_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "marks.h"
#include "spool.h"

enum { RAG_BATCH_WORDS = 1024 };

struct rag_table_word {
	uint64_t start;	   /* its first 8 bytes, zeros behind */
	uint32_t hash, at; /* ${at}: in the folded text */
	uint8_t len;
};

struct rag_table {
	uint64_t *slots; /* hash << 32 | place of the entry, in 8 bytes, + 1; 0 empty */
	size_t n_slots, n_terms;
	uint64_t n_pairs;	/* of all documents, those of runs too */
	char *entries, *chains; /* mapped; places in them are in units of 8 bytes */
	size_t entries_len, entries_cap, chains_len, chains_cap;
	struct buf touched;	/* uint32_t places of the entries of the document being counted */
	struct rag_marks marks; /* of the text being counted */
	struct rag_table_word *batch;
	size_t n_batch;
	uint32_t words;
};

int rag_table_init(struct rag_table *tb);
void rag_table_release(struct rag_table *tb);

/* rag_table_text(tb, text, len): count the words of rag-bm25-1 in the document being made.
 * rag_table_term(tb, word, len, n): ${n} more of one term. -ENOMEM. */
int rag_table_text(struct rag_table *tb, const char *text, size_t len);
int rag_table_term(struct rag_table *tb, const char *word, size_t len, uint32_t n);

/* rag_table_words(tb): how many rag_table_text() has found in the document being made. */
uint32_t rag_table_words(const struct rag_table *tb);

/* rag_table_end(tb, doc): the document being made is ${doc}, above all before. rag_table_drop(tb):
 * it is none; nothing of it stays. */
int rag_table_end(struct rag_table *tb, uint32_t doc);
void rag_table_drop(struct rag_table *tb);

/* rag_table_bytes(tb): memory in use, and what rag_table_spill() will need */
size_t rag_table_bytes(const struct rag_table *tb);

/* rag_table_spill(tb, out, err): append its terms in order, as run.h has it; empty again. */
int rag_table_spill(struct rag_table *tb, struct rag_spool *out, struct err *err);

#endif
