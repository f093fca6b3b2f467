/*
 * bm25 - the arithmetic of FORMATS 10.6, to the last bit: IEEE doubles in the order written, and a
 * logarithm of our own, because glibc's differs from fdlibm's (V8's) in the last bit for one
 * argument in fourteen.
 */
#ifndef KOLM_RAG_BM25_H
#define KOLM_RAG_BM25_H

#include <stdint.h>

#define RAG_K1 1.5
#define RAG_B  0.75

/* rag_log(x): the natural logarithm of a finite positive normal number, by fdlibm's method. */
double rag_log(double x);

/* rag_idf(docs, df): of a term that stands in ${df} of ${docs} documents. */
double rag_idf(uint64_t docs, uint64_t df);

struct rag_bm25 {
	double k1, b, avgdl;
};

/* rag_norm(bm, len): what the length of a document puts beside tf: k1 * (1 - b + b * (len /
 * avgdl)). */
double rag_norm(const struct rag_bm25 *bm, uint32_t len);

/* rag_weight(bm, idf, tf, len): what a term adds to the score of a document of ${len} words. */
double rag_weight(const struct rag_bm25 *bm, double idf, uint32_t tf, uint32_t len);

#endif
