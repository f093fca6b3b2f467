/* Runs of small numbers: what is packed comes back, the first number alone too, and cut bytes are
 * refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rag/pack.h"

enum { RUNS = 20000 };

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* mostly of ${bits}, some of any width, so that there are exceptions at any place */
static void fill(uint32_t *v, unsigned n, unsigned bits, uint64_t *rnd)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned width = next_random(rnd) % 16 ? bits : (unsigned)(next_random(rnd) % 33);
		uint64_t x = next_random(rnd) << 16 ^ next_random(rnd);

		v[i] = width ? (uint32_t)x >> (32 - width) : 0;
	}
}

Test(rag_pack, runs_come_back)
{
	uint8_t bytes[RAG_PACKED_BYTES + RAG_PACK_SLACK];
	uint32_t v[RAG_BLOCK], w[RAG_BLOCK];
	uint64_t rnd = 7;

	for (int run = 0; run < RUNS; run++) {
		unsigned n = run % 3 ? 1 + (unsigned)(next_random(&rnd) % RAG_BLOCK) : RAG_BLOCK;
		size_t len;

		fill(v, n, (unsigned)(next_random(&rnd) % 33), &rnd);
		memset(bytes, 0xff, sizeof(bytes));
		len = rag_pack(v, n, bytes);
		cr_assert_leq(len, RAG_PACKED_BYTES);
		cr_assert_eq(rag_unpack(bytes, bytes + len, n, w), bytes + len);
		cr_assert_eq(memcmp(v, w, n * sizeof(*v)), 0, "run %d", run);
		cr_assert_null(rag_unpack(bytes, bytes + len - 1, n, w));
	}
}

Test(rag_pack, no_bytes_are_no_run)
{
	uint8_t bytes[8 + RAG_PACK_SLACK] = {32};
	uint32_t v[RAG_BLOCK];

	cr_assert_null(rag_unpack(bytes, bytes, 1, v));
	cr_assert_null(rag_unpack(bytes, bytes + 1, 2, v), "no room for a number");
	bytes[0] = 0x80;
	cr_assert_null(rag_unpack(bytes, bytes + 1, 1, v), "no count of exceptions");
	bytes[1] = 1;
	cr_assert_null(rag_unpack(bytes, bytes + 2, 1, v), "no exception");
	bytes[0] = 33;
	cr_assert_null(rag_unpack(bytes, bytes + 8, 1, v), "a width that is none");
}
