/*
 * json_out - a long file on its way to the disk: the bytes that are put, their sum and their
 * number.
 */
#ifndef KOLM_RAG_JSON_OUT_H
#define KOLM_RAG_JSON_OUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sha256.h"

enum { RAG_OUT_PIECES = 4 };

/* a file written through a ring of pieces of memory: while one is filled, one thread takes the sum
 * of those before and another one writes them */
struct rag_out {
	int fd;
	struct buf bf;
	struct rag_sha256 *sum;
	uint64_t len;
	bool is_too_long;
	void (*tick)(void *arg);
	void *arg;
	pthread_t summer, writer;
	int n_threads;
	bool is_begun;
	/* under lock: */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct buf full[RAG_OUT_PIECES]; /* piece n is in [n % RAG_OUT_PIECES] */
	uint64_t put, summed, written;	 /* pieces so far */
	bool is_over;
	int rc;
	struct err err;
};

/*
 * rag_out_begin(o, err): start the threads of ${o}, whose fd (borrowed), tick and arg are set and
 * all else zero. Whatever it returns, rag_out_end() and then rag_out_release() are due.
 */
int rag_out_begin(struct rag_out *o, struct err *err);

/* rag_out_flush(o, err): hand o->bf over to the threads and call o->tick; waits while there is
 * no other piece. The first failure of all writes; -EFBIG beyond RAG_JSON_BYTES_MAX. */
int rag_out_flush(struct rag_out *o, struct err *err);

/* rag_out_flush_some(o, err): the same, when there is enough in o->bf. */
int rag_out_flush_some(struct rag_out *o, struct err *err);

/* rag_out_end(o, err): wait until all that was handed over is written, or was not: the first
 * failure. o->sum is whole then. */
int rag_out_end(struct rag_out *o, struct err *err);

/* rag_out_release(o): its memory and its sum; the file stays open. */
void rag_out_release(struct rag_out *o);

#endif
