/*
 * sources - sources.bin, beside index.bin: the files an index was made of, as they were. What is
 * the same next time is not read again. It is no part of the index: who lacks it reads every file.
 *
 *   struct rag_sources_head, then for each file in order struct rag_source, its name and zeros up
 * to a multiple of 8
 */
#ifndef KOLM_RAG_SOURCES_H
#define KOLM_RAG_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "mode.h"
#include "spool.h"

struct rag_sources_head {
	char magic[8];
	uint32_t version, n_files;
	char analyser[RAG_MODE_BYTES];
	unsigned char generation[16]; /* of the index.bin beside it */
	int64_t made_sec;	      /* when the build began */
	uint64_t len, xxh3;	      /* of what follows */
	uint64_t max_bytes;
};

/* one file that was read: a document, several, or none */
struct rag_source {
	uint64_t size, ino, dev;
	int64_t mtime_sec, ctime_sec;
	uint32_t mtime_nsec, ctime_nsec;
	unsigned char content[16]; /* XXH3-128 of its bytes */
	uint32_t first_doc, n_docs;
	uint32_t name_len, reserved;
};

struct rag_sources {
	void *map; /* owned */
	size_t map_len;
	const struct rag_sources_head *head;
	const struct rag_source **files; /* owned; in order */
	uint32_t *slots;		 /* owned: by name, number + 1 */
	size_t n, n_slots;
};

/* rag_sources_open(dirfd, generation, out): 0, or a negative errno when there is none for that
 * generation or it is damaged. */
int rag_sources_open(int dirfd, const unsigned char generation[16], struct rag_sources *out);
void rag_sources_release(struct rag_sources *ss);

const char *rag_source_name(const struct rag_source *src);
/* rag_sources_find(ss, name): the file, or NULL. */
const struct rag_source *rag_sources_find(const struct rag_sources *ss, const char *name);

/* rag_source_set(src, st): what it looks like. rag_source_same(ss, src, st): it looks the same, and
 * long enough before that build that it cannot have changed without a trace. */
void rag_source_set(struct rag_source *src, const struct stat *st);
bool rag_source_same(
	const struct rag_sources *ss, const struct rag_source *src, const struct stat *st);

/* a list that was just made by rag_source_add(), file by file; NULL behind the last */
struct rag_sources_it {
	const void *at;
	size_t left;
};
const struct rag_source *rag_sources_next(struct rag_sources_it *it);

/* rag_source_add(sp, src, name, err): the next file of a new list. rag_sources_write(dirfd, head,
 * sp, err): the list; head's len and xxh3 are filled in. */
int rag_source_add(
	struct rag_spool *sp, const struct rag_source *src, const char *name, struct err *err);
int rag_sources_write(
	int dirfd, struct rag_sources_head *head, struct rag_spool *sp, struct err *err);

#endif
