/*
 * build - the parts of a build that write the files people and other programs read: index.json,
 * manifest.json, and state.json, which binds index.bin to the index.json it was made with (the
 * reference overwrites index.json in place and knows nothing of the rest).
 */
#ifndef KOLM_RAG_BUILD_H
#define KOLM_RAG_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "bin.h"
#include "bm25.h"
#include "kolmrag.h"
#include "mode.h"
#include "spool.h"

enum { RAG_FILES_MAX = 1000000, RAG_MANIFEST_BYTES = 1 << 20 };

#define RAG_SPEC       "rag-bm25-1"
#define RAG_STATE_SPEC "kolm-rag-state-1"

struct rag_facts {
	const char *name, *root, *created_at, *index_path;
	const struct rag_mode *mode;
	const char *ext; /* what was asked for, for state.json */
	uint64_t max_bytes, mem;
	bool has_json; /* the manifest is about index.json; else about index.bin */
	uint64_t n_docs;
	struct rag_bm25 bm;
	char sha256[HASH_HEX_BYTES];
	uint64_t bytes;
	int64_t mtime_sec, mtime_nsec;
	char generation[XXH3_HEX_BYTES];
};

/* rag_docs_put(docs, id, root, file, words, text, len): one more item of index.json's docs, comma
 * included. ${file}: the path below the root, decoded. */
int rag_docs_put(struct buf *docs, uint64_t id, const char *root, const char *file, uint32_t words,
	const char *text, size_t len);

/* rag_put_path(out, file): docs[].path: every backslash a slash. */
int rag_put_path(struct buf *out, const char *file);

/*
 * rag_write_json(dirfd, facts, docs, bin, tick, arg, err): write and fsync index.json from its docs
 * and the lists of ${bin}; fills in facts->sha256, bytes and mtime. 1; 0: it would be longer than
 * RAG_JSON_BYTES_MAX, and is not there.
 */
int rag_write_json(int dirfd, struct rag_facts *facts, struct rag_spool *docs,
	const struct rag_bin *bin, void (*tick)(void *arg), void *arg, struct err *err);

/* rag_seal(fd, facts, err): what the manifest says of a written file. */
int rag_seal(int fd, const char *name, struct rag_facts *facts, struct err *err);

/* rag_write_manifest(), rag_write_state(dirfd, facts, err): the small files. */
int rag_write_manifest(int dirfd, const struct rag_facts *facts, struct err *err);
int rag_write_state(int dirfd, const struct rag_facts *facts, struct err *err);

#endif
