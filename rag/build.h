/*
 * build - the parts of a build that write the files people and other programs read: index.json,
 * manifest.json, and state.json, which binds index.bin to the index.json it was made with (the
 * reference overwrites index.json in place and knows nothing of the rest).
 */
#ifndef KOLM_RAG_BUILD_H
#define KOLM_RAG_BUILD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "bin.h"
#include "bm25.h"
#include "json_out.h"
#include "keys.h"
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

/* rag_put_text(), rag_put_whole(), rag_put_real(bf, x): as JSON has them. */
void rag_put_text(struct buf *bf, const char *text);
void rag_put_whole(struct buf *bf, uint64_t x);
void rag_put_real(struct buf *bf, double x);

/* rag_put_path(out, file): docs[].path: every backslash a slash. */
int rag_put_path(struct buf *out, const char *file);

/* rag_json_fits(docs, pairs): an index.json of so many may be no longer than RAG_JSON_BYTES_MAX. */
bool rag_json_fits(uint64_t docs, uint64_t pairs);

/* index.json while it is written */
struct rag_json {
	int dirfd, binfd;
	const struct rag_facts *facts;
	struct rag_out out;
	struct rag_keys keys;
	/* of the thread that writes its documents: */
	pthread_t thread;
	bool is_open, is_running;
	struct rag_bin docs;
	_Atomic(void *) unpacker;
	const void *sources;
	size_t sources_len, map_len;
	void *map;
	struct buf part;
	int rc;
	struct err err;
};

/*
 * rag_json_begin(js, dirfd, facts, w, sources, binfd, err): start to write index.json: its head, of
 * ${facts} as they are now, and its documents, which ${w} has in ${binfd} already. All are borrowed
 * until rag_json_release(), which is due whatever it returns.
 *
 * rag_json_end(js, facts, bin, tick, arg, err): the rest of it, from the lists of ${bin}; fsync;
 * fills in facts->sha256, bytes and mtime. 1; 0: it would be longer than RAG_JSON_BYTES_MAX, and is
 * not there.
 */
int rag_json_begin(struct rag_json *js, int dirfd, const struct rag_facts *facts,
	struct rag_writer *w, struct rag_spool *sources, int binfd, struct err *err);
int rag_json_docs(struct rag_json *js, struct err *err); /* waits for the thread */
int rag_json_end(struct rag_json *js, struct rag_facts *facts, const struct rag_bin *bin,
	void (*tick)(void *arg), void *arg, struct err *err);
void rag_json_release(struct rag_json *js);

/* rag_seal(fd, facts, err): what the manifest says of a written file. */
int rag_seal(int fd, const char *name, struct rag_facts *facts, struct err *err);

/* rag_write_manifest(), rag_write_state(dirfd, facts, err): the small files. */
int rag_write_manifest(int dirfd, const struct rag_facts *facts, struct err *err);
int rag_write_state(int dirfd, const struct rag_facts *facts, struct err *err);

#endif
