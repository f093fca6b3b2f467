/*
 * table_entry - what a table (table.h) knows of a term: its list so far is a chain of pieces, each
 * with the place of the next one at its end.
 */
#ifndef KOLM_RAG_TABLE_ENTRY_H
#define KOLM_RAG_TABLE_ENTRY_H

#include <stdint.h>

#include "table.h"

enum {
	RAG_TABLE_UNIT = 8,    /* bytes of a unit of places */
	RAG_LINK_BYTES = 4,    /* at the end of each piece of a chain: the place of the next */
	RAG_FIRST_PIECE = 16,  /* bytes of a chain's first piece; each next one is twice as long */
	RAG_LAST_PIECE = 1024, /* up to this */
};

struct rag_table_entry {
	uint32_t df, next_doc; /* the lowest document that may follow */
	uint32_t tf;	       /* in the document being made */
	uint32_t rank;	       /* words of its first document that come before it there */
	uint32_t head;	       /* first piece of its chain */
	uint32_t at;	       /* the next byte of the chain, in bytes from its piece */
	uint32_t piece;	       /* the last piece */
	uint16_t room;	       /* bytes of the last piece, link included */
	uint8_t len;
	uint8_t is_stop;
	char word[]; /* zeros behind it up to a multiple of RAG_TABLE_UNIT */
};

static inline struct rag_table_entry *rag_entry_at(const struct rag_table *tb, uint32_t place)
{
	return (struct rag_table_entry *)(void *)(tb->entries + (size_t)place * RAG_TABLE_UNIT);
}

#endif
