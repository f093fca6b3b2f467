/*
 * kolmrag - the public face of the search index (libkolmrag): build, check, publish, open, query.
 * FORMATS section 10 is the authority on bytes, scores and order.
 *
 * An index is a folder rag/<name>/ of the store: index.json and manifest.json (read by people and
 * other programs), index.bin (mapped; what queries run on; holds the documents' text, compressed,
 * for excerpts) and state.json (which index.json that index.bin belongs to). It is published whole
 * by one exchange.
 */
#ifndef KOLM_RAG_H
#define KOLM_RAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	RAG_NAME_BYTES = 64,
	RAG_K_DEFAULT = 5,
	RAG_K_MAX = 1000,
	RAG_MAX_BYTES_DEFAULT = 4194304,
};

struct rag_index; /* one opened generation; immutable, may be used by several threads at once */

struct rag_info {
	const char *name; /* borrowed from the index */
	const char *root;
	const char *created_at;
	uint64_t n_docs;
	double avgdl;
	uint64_t json_bytes; /* of index.json */
	char generation[33]; /* XXH3-128 of the logical content, hex */
};

/* rag_name_check(name, err): one path component of [A-Za-z0-9._-], not starting with '.' or '-', at
 * most 64 bytes: -EINVAL or -ENAMETOOLONG "bad index name". The names of the files beside the
 * indexes (ctl error jobs wait) are refused too. */
int rag_name_check(const char *name, size_t len, struct err *err);

/*
 * rag_open(ragdir, name, out, err): open rag/<name> below ${ragdir} (the store's rag folder). Maps
 * index.bin, whose pages are checked as they are used; where only an index.json of the reference stands, it is read
 * instead. -ENOENT "index "..." not found", -EUCLEAN "index "..." is damaged: ...; rebuild it"
 * (J09).
 */
int rag_open(int ragdir, const char *name, struct rag_index **out, struct err *err);
void rag_close(struct rag_index *ix);

/* rag_is_current(ragdir, ix): what rag_open() would open now is still this generation. Opening
 * reads every byte of index.bin once; who answers many queries keeps the index and asks this first.
 */
bool rag_is_current(int ragdir, const struct rag_index *ix);
void rag_describe(const struct rag_index *ix, struct rag_info *out);

/* rag_check(ix, err): every byte of index.bin against its checksums; a query looks only at what it
 * reads. -EUCLEAN as rag_open(), naming the section. */
int rag_check(const struct rag_index *ix, struct err *err);

enum rag_format {
	RAG_TEXT,  /* score<TAB>path<TAB>excerpt a line */
	RAG_JSON,  /* the result object of FORMATS 10.6 and "generation", compact, no newline */
	RAG_PATHS, /* a path a line */
	RAG_RESULT /* the result object of FORMATS 10.6 alone, compact: what lib.rag.query returns
		    */
};

/* rag_query(ix, text, len, k, form, out, err): append the answer. No query word left: an empty
 * answer, not an error. */
int rag_query(const struct rag_index *ix, const char *text, size_t len, size_t k,
	enum rag_format form, struct buf *out, struct err *err);

/* rag_docs(ix, out): one line a document: "id<TAB>len<TAB>path" (path escaped). */
int rag_docs(const struct rag_index *ix, struct buf *out);

struct rag_build {
	const char *name;
	const char *root;	/* absolute path written into the index */
	const char *ext;	/* "txt,md,json,html" (the default when NULL); "" every file */
	uint64_t max_bytes;	/* 0: the default */
	const char *created_at; /* NULL: now */
	/* called about every second, may be NULL */
	void (*progress)(void *arg, uint64_t files, uint64_t of, uint64_t bytes);
	void *arg;
	uint64_t mem;	    /* bytes the build may hold, 0: no limit; -ENOMEM above */
	uint64_t max_files; /* 0: a million; -EFBIG "more than ... files" above */
};

struct rag_built {
	uint64_t docs;
	uint64_t bytes; /* of index.json */
	double avgdl;
	char sha256[65]; /* of index.json */
	/* files that became no document, by reason */
	uint64_t skipped_big, skipped_unreadable, skipped_empty, skipped_special;
};

/* rag_build(rootfd, outdir, opt, out, err): walk ${rootfd} (FORMATS 10.1), write index.json,
 * manifest.json and index.bin into the empty folder ${outdir}, each fsynced. manifest.json names
 * ${index_path} as ${index_path}. -ENODATA no files matched (J03). */
int rag_build(int rootfd, int outdir, const char *index_path, const struct rag_build *opt,
	struct rag_built *out, struct err *err);

/*
 * rag_publish(ragdir, tmpname, name, err): check the built folder ${tmpname} below ${ragdir}, then
 * exchange it with ${name} (or rename it there), fsync, and remove the old one. Queries see the old
 * index or the new one.
 */
int rag_publish(int ragdir, const char *tmpname, const char *name, struct err *err);

/* rag_list(ragdir, each, arg, err): every index of a store in name order. */
typedef void rag_each(void *arg, const char *name);
int rag_list(int ragdir, rag_each *each, void *arg, struct err *err);

#endif
