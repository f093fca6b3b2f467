/*
 * radix - long arrays sorted by a number: faster than by comparing, and equal numbers keep their
 * order.
 */
#ifndef KOLM_RAG_RADIX_H
#define KOLM_RAG_RADIX_H

#include <stddef.h>
#include <stdint.h>

struct rag_ranked {
	uint64_t rank;
	uint64_t item; /* what it is the rank of */
};

/* rag_radix_sort(at, room, n): by rank; ${room} is for as many again. Returns where the sorted ones
 * are: one of the two. */
struct rag_ranked *rag_radix_sort(struct rag_ranked *at, struct rag_ranked *room, size_t n);

#endif
