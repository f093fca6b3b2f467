/*
 * index - an opened index. Always an index.bin, whose header, dictionary, lists and documents
 * queries run on: mapped, or, where only the reference's index.json stands, made of that in memory
 * (compat.c); the latter has no text, but previews and names of files.
 */
#ifndef KOLM_RAG_INDEX_H
#define KOLM_RAG_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/json.h"
#include "bin.h"
#include "kolmrag.h"
#include "rank.h"
#include "terms.h"

/* of an index.json alone; offsets in rag_live.text */
struct rag_live_doc {
	size_t preview, preview_len; /* WTF-8 */
	size_t file, file_len;	     /* below the root, NUL-terminated */
};

struct rag_live {
	struct buf text;
	struct buf docs; /* struct rag_live_doc, in id order */
};

struct rag_paths;

struct rag_index {
	char *name, *root, *created_at; /* owned */
	char *ext;			/* owned; NULL: state.json does not say */
	uint64_t max_bytes;
	char mode[RAG_MODE_BYTES]; /* of the analyser's name: the first word, */
	char *lang;		   /* and the second, or NULL */
	uint64_t json_bytes;
	const char *paper; /* the file that manifest.json is about: index.json or index.bin */
	struct stat json; /* of that file, when it was opened */
	struct rag_bin bin;
	void *map; /* or NULL: */
	size_t map_len;
	struct buf image;
	bool is_live;
	struct rag_live live;
	_Atomic(struct rag_paths *) paths; /* owned; NULL until somebody asks (paths.h) */
};

/*
 * rag_load(dirfd, name, is_strict, out, err): open the index in the folder ${dirfd}. Strict: what a
 * build must have left - all files, and index.json with the sha256 of its manifest. -ENOENT nothing
 * there, -EUCLEAN damaged, with its sentence.
 */
int rag_load(int dirfd, const char *name, bool is_strict, struct rag_index **out, struct err *err);

/* rag_load_last(ragdir, name, out): publish.c: the generation before, if all of it is whole. */
int rag_load_last(int ragdir, const char *name, struct rag_index **out);

/* rag_damaged(name, err): make what ${err} says the sentence of J09; returns -EUCLEAN. */
int rag_damaged(const char *name, struct err *err);

/* compat.c: rag_compat(ix, text, len, err): make ix of the text of an index.json. -EUCLEAN says
 * only what is wrong. */
int rag_compat(struct rag_index *ix, const char *text, size_t len, struct err *err);

/* rag_live_preview(ix, doc, out), rag_live_text(ix, doc, out): of an index.json alone. The text is
 * read from the file as it is now, if that still has the preview and the number of words it was
 * indexed with: -ENODATA otherwise. */
int rag_live_preview(const struct rag_index *ix, uint32_t doc, struct buf *out);
int rag_live_text(const struct rag_index *ix, uint32_t doc, struct buf *out);

/*
 * excerpt.c: rag_excerpt(text, len, words, out): the window of FORMATS 10.7 around the first word
 * of ${words} that occurs. 1, or 0 none occurs; -ENOMEM.
 */
int rag_excerpt(const char *text, size_t len, const struct rag_terms *words, struct buf *out);

#endif
