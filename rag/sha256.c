#include "sha256.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56, DIGEST = 32 };

struct rag_sha256 {
	bool is_quick;
	crypto_hash_sha256_state slow;
	uint32_t state[8];
	uint64_t len;
	unsigned char rest[BLOCK];
};

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t round_keys[BLOCK] = {0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
	0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152,
	0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
	0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624,
	0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3,
	0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static bool is_quick(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1U << 29))
		return false;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & 1U << 19) && (c & 1U << 9);
}

/* the instructions keep the state as ABEF and CDGH, and take four rounds' words at a time */
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_quick(
	uint32_t state[8], const unsigned char *p, size_t n)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	__m128i abcd = _mm_loadu_si128((const __m128i *)(const void *)state),
		efgh = _mm_loadu_si128((const __m128i *)(const void *)(state + 4)), abef, cdgh;

	abcd = _mm_shuffle_epi32(abcd, 0xb1);
	efgh = _mm_shuffle_epi32(efgh, 0x1b);
	abef = _mm_alignr_epi8(abcd, efgh, 8);
	cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);
	for (; n > 0; n--, p += BLOCK) {
		__m128i w[4], abef_before = abef, cdgh_before = cdgh;

#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			__m128i *now = &w[i % 4], keyed;

			if (i < 4) {
				*now = _mm_shuffle_epi8(
					_mm_loadu_si128(
						(const __m128i *)(const void *)(p + 16 * i)),
					swap);
			} else {
				/* w[t-16] + s0(w[t-15]) + w[t-7] + s1(w[t-2]) */
				*now = _mm_sha256msg1_epu32(*now, w[(i + 1) % 4]);
				*now = _mm_add_epi32(
					*now, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
				*now = _mm_sha256msg2_epu32(*now, w[(i + 3) % 4]);
			}
			keyed = _mm_add_epi32(
				*now, _mm_loadu_si128(
					      (const __m128i *)(const void *)(round_keys + 4 * i)));
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(keyed, 0x0e));
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	abcd = _mm_shuffle_epi32(abef, 0x1b);
	efgh = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(abcd, efgh, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(efgh, abcd, 8));
}
#else
static bool is_quick(void)
{
	return false;
}

static void blocks_quick(uint32_t state[8], const unsigned char *p, size_t n)
{
	(void)state, (void)p, (void)n;
}
#endif

struct rag_sha256 *rag_sha256_new(void)
{
	static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	struct rag_sha256 *sh = calloc(1, sizeof(*sh));

	if (!sh)
		return NULL;
	sh->is_quick = is_quick();
	memcpy(sh->state, start, sizeof(start));
	crypto_hash_sha256_init(&sh->slow);
	return sh;
}

void rag_sha256_free(struct rag_sha256 *sh)
{
	free(sh);
}

void rag_sha256_add(struct rag_sha256 *sh, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t have = (size_t)(sh->len % BLOCK);

	if (!sh->is_quick) {
		crypto_hash_sha256_update(&sh->slow, data, len);
		return;
	}
	sh->len += len;
	if (have) {
		size_t n = BLOCK - have < len ? BLOCK - have : len;

		memcpy(sh->rest + have, p, n);
		p += n;
		len -= n;
		if (have + n < BLOCK)
			return;
		blocks_quick(sh->state, sh->rest, 1);
	}
	blocks_quick(sh->state, p, len / BLOCK);
	if (len % BLOCK)
		memcpy(sh->rest, p + len / BLOCK * BLOCK, len % BLOCK);
}

void rag_sha256_hex(struct rag_sha256 *sh, char out[HASH_HEX_BYTES])
{
	unsigned char digest[DIGEST], end[2 * BLOCK] = {0x80};
	uint64_t bits = __builtin_bswap64(sh->len * 8);
	size_t have = (size_t)(sh->len % BLOCK), pad;

	if (!sh->is_quick) {
		crypto_hash_sha256_final(&sh->slow, digest);
		hex_encode(digest, sizeof(digest), out);
		return;
	}
	pad = (have < LENGTH_AT ? LENGTH_AT : LENGTH_AT + BLOCK) - have;
	memcpy(end + pad, &bits, sizeof(bits));
	rag_sha256_add(sh, end, pad + sizeof(bits));
	for (int i = 0; i < 8; i++) {
		uint32_t x = __builtin_bswap32(sh->state[i]);

		memcpy(digest + 4 * i, &x, sizeof(x));
	}
	hex_encode(digest, sizeof(digest), out);
}
