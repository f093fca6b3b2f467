/*
 * spool - bytes that wait for their place in a file: in memory at first, in an unnamed file once
 * they are many, so that the memory of a build does not grow with its documents.
 */
#ifndef KOLM_RAG_SPOOL_H
#define KOLM_RAG_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { RAG_SPOOL_BYTES = 1 << 17 };

struct rag_spool {
	int dirfd; /* borrowed: where the file is made; -1: memory only */
	int fd;	   /* or -1 */
	uint64_t len;
	size_t keep;   /* bytes that may stay in memory while there is no file */
	struct buf bf; /* what is not in the file yet */
	void *map;
};

void rag_spool_init(struct rag_spool *sp, int dirfd);
/* rag_spool_keep(sp, bytes): of the memory of a build, more than the few that are usual. */
void rag_spool_keep(struct rag_spool *sp, uint64_t bytes);
void rag_spool_release(struct rag_spool *sp);
int rag_spool_add(struct rag_spool *sp, const void *data, size_t len, struct err *err);

/* rag_spool_settle(sp, err): if it has a file, everything is in it and no memory is held. */
int rag_spool_settle(struct rag_spool *sp, struct err *err);

/* rag_spool_each(sp, each, arg, err): all bytes in order, in pieces; ends below zero. */
typedef int rag_spool_to(void *arg, const void *data, size_t len, struct err *err);
int rag_spool_each(struct rag_spool *sp, rag_spool_to *each, void *arg, struct err *err);

/* rag_spool_map(sp, data, err): all bytes, readable until it is released; nothing may be added any
 * more. */
int rag_spool_map(struct rag_spool *sp, const void **data, struct err *err);

/* rag_temporary(dirfd, err): a new unnamed file in a folder, or a negative errno. The other one is
 * for file systems without O_TMPFILE, NFS among them: it has a name for a moment. */
int rag_temporary(int dirfd, struct err *err);
int rag_temporary_named(int dirfd, struct err *err);

#endif
