/*
 * pack - runs of small numbers in few bits: the numbers of a block of a term's list.
 *
 * A run of up to 128 numbers is stored with the number of bits that most of them need; what does
 * not fit is patched from a list of exceptions behind. A whole block is packed in four lanes of 32
 * bits (number i stands in lane i mod 4), so that plain C vectors unpack four at a time; a shorter
 * run is one stream of bits.
 *
 *   u8 width | 0x80 when there are exceptions, then u8 their count
 *   the low bits of all numbers: 16 * width bytes of a whole block, else (n * width + 7) / 8
 *   u8 place of each exception, then its high bits as vbyte
 */
#ifndef KOLM_RAG_PACK_H
#define KOLM_RAG_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RAG_BLOCK = 128,
	RAG_PACKED_BYTES = 2 + 16 * 32 + 6 * RAG_BLOCK, /* of one run, at most */
	RAG_PACK_SLACK = 8, /* bytes behind a run that unpacking may read, not use */
};

/* rag_pack(v, n, out): store ${n} numbers, 1 to RAG_BLOCK; returns the bytes used. */
size_t rag_pack(const uint32_t *v, unsigned n, uint8_t out[RAG_PACKED_BYTES]);

/*
 * rag_unpack(p, end, n, v): read ${n} numbers (room for RAG_BLOCK) from the bytes before ${end},
 * behind which RAG_PACK_SLACK more can be read. Returns the first byte behind the run, or NULL when
 * the bytes are not one.
 */
const uint8_t *rag_unpack(const uint8_t *p, const uint8_t *end, unsigned n, uint32_t *v);

/* rag_vbyte_put(out, x): 7 bits a byte, low ones first; returns the bytes used, at most 10. */
size_t rag_vbyte_put(uint8_t *out, uint64_t x);

/* rag_vbyte_get(p, end, max, x): the first byte behind, or NULL: cut, or above ${max}. */
const uint8_t *rag_vbyte_get(const uint8_t *p, const uint8_t *end, uint64_t max, uint64_t *x);

#endif
