/*
 * budget - what mem= is shared out to: the private memory of a build, that is all but the pages of
 * files it has mapped, which the kernel can take back.
 *
 * The program itself, its buffers on the way to files and the names of all files come first; what
 * is left goes to the tables of words, less what each document needs till the end, and to the texts
 * that wait for their turn. Not counted: the file that a thread is just reading, with its words.
 */
#ifndef KOLM_RAG_BUDGET_H
#define KOLM_RAG_BUDGET_H

#include <stddef.h>
#include <stdint.h>

enum {
	RAG_DOC_BYTES = 16,	       /* of a document, till the end: its length and its number */
	RAG_TABLE_BYTES_MIN = 2 << 20, /* a table gets that much in any case */
};

struct rag_budget {
	size_t table; /* a table of words may hold, then it becomes a run */
	size_t held;  /* of text in batches that wait */
	size_t batch; /* of text in one batch, then what there is of it is handed on */
};

/* rag_budget_share(mem, threads, names, out): ${names} are the bytes the names of the files take.
 */
void rag_budget_share(uint64_t mem, size_t threads, uint64_t names, struct rag_budget *out);

#endif
