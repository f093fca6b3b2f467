/*
 * mode - what an index makes of a file: the seam between building (build.c, table.c) and reading
 * text (rag-bm25-1: tokenize.c; kolm-2: analyze.c, extract.c).
 *
 * A file becomes one piece or several, in order; each piece is a document of the index: it has an
 * id, a stored text, a length, and its terms with their counts. rag-bm25-1 makes one piece of a
 * file, with a byte for each in the reference's index.json; kolm-2 cuts at headings.
 */
#ifndef KOLM_RAG_MODE_H
#define KOLM_RAG_MODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	RAG_MODE_BYTES = 64,	   /* of an analyser's name in index.bin, NUL included */
	RAG_MODE_TERM_BYTES = 255, /* of a term */
};

struct rag_pdf;

struct rag_piece {
	const char *title; /* the headings above it, or empty; valid UTF-8 */
	size_t title_len;
	const char *text; /* valid UTF-8: kept, shown, and where phrases are looked for */
	size_t text_len;
	uint64_t from, to; /* first and last line (page) of the file it was made of; 0: not known */
	uint32_t words;	   /* its length for BM25; 0: the piece is dropped */
};

/* where the parts of a file go; a function that fails returns -ENOMEM, to be passed on */
struct rag_sink {
	/* count ${n} more of a term (1 to RAG_MODE_TERM_BYTES) of the piece being made */
	int (*term)(void *arg, const char *word, size_t len, uint32_t n);
	/* the piece is whole: the terms since the last call are its own */
	int (*piece)(void *arg, const struct rag_piece *pc);
	void *arg;
};

struct rag_mode {
	char analyser[RAG_MODE_BYTES]; /* "rag-bm25-1", "kolm-2 en ...": with the versions that
					  change its terms; an index made by another is built anew
					*/
	const char *spec;	       /* of the manifest: "rag-bm25-1" or "kolm-2" */
	double k1, b;
	struct rag_pdf *pdf; /* borrowed; NULL: PDF is not read */
	/* what one thread needs (stemmers), or NULL */
	void *(*open)(const struct rag_mode *mode);
	void (*close)(void *state);
	/*
	 * split(mode, state, path, data, len, sink): cut one file (its path below the root decides
	 * the kind). -ENODATA: not a text of any known kind (counted as empty); -ENOMEM. NULL in
	 * rag-bm25-1, which the builder counts itself.
	 */
	int (*split)(const struct rag_mode *mode, void *state, const char *path, const char *data,
		size_t len, const struct rag_sink *sink);
};

/* rag_mode_bm25(out): rag-bm25-1. In bm25.c: who only reads indexes links nothing of what reads
 * documents. */
void rag_mode_bm25(struct rag_mode *out);

/* rag_mode_find(name, lang, out, err): what rag_mode_check() knows (kolmrag.h) */
int rag_mode_find(const char *name, const char *lang, struct rag_mode *out, struct err *err);

/* rag_mode_of(analyser, out, err): the mode an index says it was made in. -EINVAL: this program
 * makes other terms. */
int rag_mode_of(const char *analyser, struct rag_mode *out, struct err *err);

#endif
