#include "pack.h"

#include <string.h>

enum { PATCHED = 0x80, LANES = 4, ROWS = RAG_BLOCK / LANES, WORD_BITS = 32 };

typedef uint32_t lanes __attribute__((vector_size(16)));

size_t rag_vbyte_put(uint8_t *out, uint64_t x)
{
	size_t n = 0;

	for (; x >= 0x80; x >>= 7)
		out[n++] = (uint8_t)(x | 0x80);
	out[n++] = (uint8_t)x;
	return n;
}

const uint8_t *rag_vbyte_get(const uint8_t *p, const uint8_t *end, uint64_t max, uint64_t *x)
{
	uint64_t got = 0;

	for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
		uint8_t c = *p++;

		got |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*x = got;
			return got <= max ? p : NULL;
		}
	}
	return NULL;
}

static unsigned bits_of(uint32_t x)
{
	return x ? WORD_BITS - (unsigned)__builtin_clz(x) : 0;
}

static size_t run_bytes(unsigned n, unsigned width)
{
	return n == RAG_BLOCK ? (size_t)width * 16 : ((size_t)n * width + 7) / 8;
}

/* the width that makes the run shortest, counting what its exceptions cost; the smallest of
 * equals. An exception of b bits costs a byte and one for each seven of its bits above the width,
 * so from one width to the next below it is one more for those that had a multiple of seven. */
static unsigned best_width(const uint32_t *v, unsigned n)
{
	uint8_t even[WORD_BITS + 8] = {0}, odd[WORD_BITS + 1] = {0}, *count = even;
	unsigned widest, best, patched = 0;
	size_t best_bytes, cost = 1;
	uint32_t any = 0;

	for (unsigned i = 0; i < n; i++) {
		(i & 1 ? odd : even)[bits_of(v[i])]++;
		any |= v[i];
	}
	best = widest = bits_of(any);
	for (unsigned b = 0; b <= widest; b++)
		count[b] = (uint8_t)(even[b] + odd[b]);
	best_bytes = run_bytes(n, widest);
	for (unsigned width = widest; width-- > 0;) {
		size_t bytes;

		patched += count[width + 1];
		cost += 2 * (size_t)count[width + 1];
		for (unsigned b = width + 8; b <= widest; b += 7)
			cost += count[b];
		bytes = run_bytes(n, width) + cost;
		if (bytes <= best_bytes) {
			best_bytes = bytes;
			best = width;
		}
		if (2 * patched + 1 > best_bytes)
			break;
	}
	return best;
}

static void pack_lanes(const uint32_t *v, unsigned width, uint32_t mask, uint8_t *out)
{
	uint32_t words[LANES * (WORD_BITS + 1)] = {0};

	for (unsigned row = 0; row < ROWS && width; row++) {
		unsigned at = row * width, shift = at % WORD_BITS;
		uint32_t *low = words + at / WORD_BITS * LANES;

		for (unsigned lane = 0; lane < LANES; lane++) {
			uint64_t x = (uint64_t)(v[row * LANES + lane] & mask) << shift;

			low[lane] |= (uint32_t)x;
			low[LANES + lane] |= (uint32_t)(x >> WORD_BITS);
		}
	}
	memcpy(out, words, (size_t)width * 16);
}

static void pack_stream(const uint32_t *v, unsigned n, unsigned width, uint32_t mask, uint8_t *out)
{
	uint64_t held = 0;
	unsigned bits = 0;

	for (unsigned i = 0; i < n; i++) {
		held |= (uint64_t)(v[i] & mask) << bits;
		for (bits += width; bits >= 8; bits -= 8, held >>= 8)
			*out++ = (uint8_t)held;
	}
	if (bits)
		*out = (uint8_t)held;
}

size_t rag_pack(const uint32_t *v, unsigned n, uint8_t out[RAG_PACKED_BYTES])
{
	unsigned width = best_width(v, n), patched = 0;
	uint32_t mask = width == WORD_BITS ? UINT32_MAX : (1U << width) - 1;
	size_t at = 1;

	for (unsigned i = 0; i < n; i++)
		patched += v[i] > mask;
	out[0] = (uint8_t)(width | (patched ? PATCHED : 0));
	if (patched)
		out[at++] = (uint8_t)patched;
	if (n == RAG_BLOCK)
		pack_lanes(v, width, mask, out + at);
	else
		pack_stream(v, n, width, mask, out + at);
	at += run_bytes(n, width);
	for (unsigned i = 0; i < n; i++) {
		if (v[i] > mask) {
			out[at++] = (uint8_t)i;
			at += rag_vbyte_put(out + at, v[i] >> width);
		}
	}
	return at;
}

static inline lanes load(const uint8_t *p)
{
	lanes x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* one width, known to the compiler: the loop unrolls into shifts by constants */
static inline __attribute__((always_inline)) void unpack_lanes(
	const uint8_t *in, uint32_t *out, const unsigned width)
{
	const uint32_t mask = width == WORD_BITS ? UINT32_MAX : (1U << width) - 1;
	lanes word = load(in);

#pragma GCC unroll 32
	for (unsigned row = 0; row < ROWS; row++) {
		const unsigned at = row * width % WORD_BITS;
		lanes x = word >> at;

		if (at + width >= WORD_BITS && (row + 1 < ROWS || at + width > WORD_BITS)) {
			word = load(in + (row * width / WORD_BITS + 1) * 16);
			if (at + width > WORD_BITS)
				x |= word << (WORD_BITS - at);
		}
		x &= mask;
		memcpy(out + row * LANES, &x, sizeof(x));
	}
}

#define WIDTH(w)                                                                                   \
	case w:                                                                                    \
		unpack_lanes(in, out, w);                                                          \
		return
#define WIDTHS_4(w)                                                                                \
	WIDTH(w);                                                                                  \
	WIDTH(w + 1);                                                                              \
	WIDTH(w + 2);                                                                              \
	WIDTH(w + 3)

static void unpack_block(const uint8_t *in, unsigned width, uint32_t *out)
{
	switch (width) {
		WIDTHS_4(1);
		WIDTHS_4(5);
		WIDTHS_4(9);
		WIDTHS_4(13);
		WIDTHS_4(17);
		WIDTHS_4(21);
		WIDTHS_4(25);
		WIDTHS_4(29);
	default:
		memset(out, 0, RAG_BLOCK * sizeof(*out));
	}
}

static void unpack_stream(const uint8_t *in, unsigned n, unsigned width, uint32_t *out)
{
	uint64_t mask = (1ULL << width) - 1;

	for (unsigned i = 0; i < n; i++) {
		size_t at = (size_t)i * width;
		uint64_t x;

		memcpy(&x, in + at / 8, sizeof(x));
		out[i] = (uint32_t)(x >> at % 8 & mask);
	}
}

static const uint8_t *patch(const uint8_t *p, const uint8_t *end, unsigned n, unsigned width,
	unsigned patched, uint32_t *v)
{
	for (; patched > 0; patched--) {
		uint64_t high;
		unsigned at;

		if (p >= end || (at = *p++) >= n || width >= WORD_BITS)
			return NULL;
		p = rag_vbyte_get(p, end, UINT32_MAX >> width, &high);
		if (!p)
			return NULL;
		v[at] |= (uint32_t)high << width;
	}
	return p;
}

/* what stands in front of a run: its width and how many exceptions; the first byte behind, or NULL
 */
static const uint8_t *run_head(
	const uint8_t *p, const uint8_t *end, unsigned n, unsigned *width, unsigned *patched)
{
	*patched = 0;
	if (p >= end)
		return NULL;
	*width = *p & ~(unsigned)PATCHED;
	if (*width > WORD_BITS || ((*p & PATCHED) && end - p < 2))
		return NULL;
	if (*p++ & PATCHED)
		*patched = *p++;
	return (size_t)(end - p) < run_bytes(n, *width) ? NULL : p;
}

const uint8_t *rag_unpack(const uint8_t *p, const uint8_t *end, unsigned n, uint32_t *v)
{
	unsigned width, patched;

	p = run_head(p, end, n, &width, &patched);
	if (!p)
		return NULL;
	if (n == RAG_BLOCK)
		unpack_block(p, width, v);
	else
		unpack_stream(p, n, width, v);
	return patch(p + run_bytes(n, width), end, n, width, patched, v);
}
