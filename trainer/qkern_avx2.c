/*
 * qkern_avx2 - the kernels with AVX2 (Haswell, Zen), and with AVX-VNNI where there is one: integer
 * sums are exact, so both give the portable kernel's bits.
 *
 * Nibbles: unsigned 0..15 times signed 7-bit, pairs of pairs summed in 16 bits: 8 x 2 x 15 x 127 =
 * 30480 fits. Fives: half of that, 4 x 2 x 31 x 127 = 31496. Signed bytes: |x| times w with x's
 * sign: 2 x 127 x 127 = 32258 fits; widened to 32 bits at once. TWO_BYTES: 2 x 2 x 63 x 127 = 32004
 * fits.
 */
#include "trainer/qkern.h"

#include "trainer/qkern_table.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,f16c,fma")

#include "trainer/qkern_floats.h"

#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

/* of eight rows: d and m; pairs of 16-bit numbers s and n of the TWO kinds, with s taken apart */
struct scales {
	__m256 d;
	__m256 m;
	__m256i s;
	__m256i n;
};

INLINE __m256 load_halves(const uint8_t *at)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
}

INLINE __m256i load_pairs(const uint8_t *at)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
}

INLINE struct scales load_narrow(const uint8_t *at)
{
	return (struct scales){.d = load_halves(at), .m = load_halves(at + 16)};
}

INLINE struct scales load_wide(const uint8_t *at)
{
	return (struct scales){.d = _mm256_loadu_ps((const float *)(const void *)at),
		.m = _mm256_loadu_ps((const float *)(const void *)(at + 32))};
}

INLINE struct scales load_two_nibbles(const uint8_t *at)
{
	return (struct scales){.d = load_halves(at),
		.m = load_halves(at + 16),
		.s = load_pairs(at + 32),
		.n = load_pairs(at + 48)};
}

INLINE struct scales load_two_bytes(const uint8_t *at)
{
	return (struct scales){.d = load_halves(at), .s = load_pairs(at + 16)};
}

INLINE __m256i splat4(const int8_t *q)
{
	int32_t four;

	memcpy(&four, q, sizeof(four));
	return _mm256_set1_epi32(four);
}

INLINE void unpack_nibbles(const uint8_t *at, __m256i w[8])
{
	const __m256i low = _mm256_set1_epi8(15);

	UNROLL
	for (int v = 0; v < 4; v++) {
		__m256i both = _mm256_loadu_si256((const __m256i *)(at + 32 * v));

		w[v] = _mm256_and_si256(both, low);
		w[v + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
	}
}

INLINE void unpack_fives(const uint8_t *at, __m256i w[8])
{
	const __m256i high = _mm256_loadu_si256((const __m256i *)(at + QK_NIBBLES_BYTES)),
		      fifth = _mm256_set1_epi8(16);

	unpack_nibbles(at, w);
	UNROLL
	for (int v = 0; v < 8; v++) {
		__m256i moved =
			v < 4 ? _mm256_slli_epi16(high, 4 - v) : _mm256_srli_epi16(high, v - 4);

		w[v] = _mm256_or_si256(w[v], _mm256_and_si256(moved, fifth));
	}
}

INLINE void unpack_bytes(const uint8_t *at, __m256i w[8])
{
	UNROLL
	for (int v = 0; v < 8; v++)
		w[v] = _mm256_loadu_si256((const __m256i *)(at + 32 * v));
}

/* one token's part of a block */
struct block {
	const int8_t *q;
	__m256i sum; /* its pair, eight times */
	float d;
	float s;
};

INLINE struct block load_block(const struct qk_rows *x, long t, long b)
{
	const long block = t * x->blocks + b;
	int32_t pair;

	memcpy(&pair, x->sum + 2 * block, sizeof(pair));
	return (struct block){.q = x->q + t * x->cols + b * QK_BLOCK,
		.sum = _mm256_set1_epi32(pair),
		.d = x->d[block],
		.s = x->s[block]};
}

INLINE __m256 accumulate(__m256 y, __m256i dot, __m256 d, float xd)
{
	return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(d, _mm256_set1_ps(xd)), y);
}

INLINE __m256 accumulate_both(__m256 y, __m256i dot, const struct scales *sc, struct block x)
{
	y = accumulate(y, dot, sc->d, x.d);
	return _mm256_fmadd_ps(sc->m, _mm256_set1_ps(x.s), y);
}

/* both numbers of a pair the first, the last */
INLINE __m256i firsts(__m256i pairs)
{
	return _mm256_blend_epi16(pairs, _mm256_slli_epi32(pairs, 16), 0xaa);
}

INLINE __m256i lasts(__m256i pairs)
{
	return _mm256_blend_epi16(pairs, _mm256_srli_epi32(pairs, 16), 0x55);
}

/* how a record begins; a block's weights as the dot product takes them; y and eight rows' products
 * with one token's block */
typedef struct scales load_fn(const uint8_t *at);
typedef void unpack_fn(const uint8_t *at, __m256i w[8]);
typedef __m256 add_fn(__m256 y, const __m256i w[8], const struct scales *sc, struct block x);

/*
 * The pattern of all kernels: a group of rows, ${n} tokens, block by block. Everything given is a
 * constant where it is used, so each becomes a loop of its own.
 */
INLINE void sum_blocks(const uint8_t *at, long header, long weights, load_fn *load,
	unpack_fn *unpack, add_fn *add, const struct qk_rows *x, long t, int n,
	float (*out)[QK_WIDTH])
{
	__m256 y[QK_TOKENS];

	UNROLL
	for (int k = 0; k < n; k++)
		y[k] = _mm256_setzero_ps();
	for (long b = 0; b < x->blocks; b++, at += header + weights) {
		const struct scales sc = load(at);
		__m256i w[8];

		unpack(at + header, w);
		UNROLL
		for (int k = 0; k < n; k++)
			y[k] = add(y[k], w, &sc, load_block(x, t + k, b));
	}
	UNROLL
	for (int k = 0; k < n; k++)
		_mm256_storeu_ps(out[k], y[k]);
}

/* a kernel: the number of tokens as a constant, so that sums stay in registers */
#define KERNEL(name, header, weights, load, unpack, add)                                           \
	static void name(const uint8_t *group, size_t group_bytes, int rows,                       \
		const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_WIDTH])            \
	{                                                                                          \
		for (int r = 0; r < rows; r += QK_ROWS, group += group_bytes) {                    \
			float(*to)[QK_WIDTH] = (float(*)[QK_WIDTH])(out[0] + r);                   \
                                                                                                   \
			switch (n) {                                                               \
			case 1:                                                                    \
				sum_blocks(                                                        \
					group, header, weights, load, unpack, add, x, t, 1, to);   \
				break;                                                             \
			case 2:                                                                    \
				sum_blocks(                                                        \
					group, header, weights, load, unpack, add, x, t, 2, to);   \
				break;                                                             \
			case 3:                                                                    \
				sum_blocks(                                                        \
					group, header, weights, load, unpack, add, x, t, 3, to);   \
				break;                                                             \
			default:                                                                   \
				sum_blocks(                                                        \
					group, header, weights, load, unpack, add, x, t, 4, to);   \
			}                                                                          \
		}                                                                                  \
	}

/* all kinds of a family, from its unpack and add functions; ${end} of the names */
#define BOTH_WIDTHS(name, weights, unpack, add)                                                    \
	KERNEL(name, QK_NARROW, weights, load_narrow, unpack, add)                                 \
	KERNEL(wide_##name, QK_WIDE, weights, load_wide, unpack, add)
#define KERNELS(end, unpack_signed)                                                                \
	BOTH_WIDTHS(nibbles##end, QK_NIBBLES_BYTES, unpack_nibbles, add_unsigned##end)             \
	BOTH_WIDTHS(fives##end, QK_FIVES_BYTES, unpack_fives, add_fives##end)                      \
	BOTH_WIDTHS(bytes##end, QK_BYTES_BYTES, unpack_signed, add_signed##end)                    \
	KERNEL(two_nibbles##end, QK_WIDE, QK_NIBBLES_BYTES, load_two_nibbles, unpack_nibbles,      \
		add_two_nibbles##end)                                                              \
	KERNEL(two_bytes##end, QK_NARROW, QK_BYTES_BYTES, load_two_bytes, unpack_bytes,            \
		add_two_bytes##end)

INLINE __m256i ones(void)
{
	return _mm256_set1_epi16(1);
}

/* pairs of products of 16 columns, unsigned weights up to 15 or (two sums of them) 63 */
INLINE __m256i pairs_of(const __m256i *w, const int8_t *q)
{
	return _mm256_add_epi16(
		_mm256_maddubs_epi16(w[0], splat4(q)), _mm256_maddubs_epi16(w[1], splat4(q + 4)));
}

INLINE __m256 add_unsigned(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	__m256i first = _mm256_add_epi16(pairs_of(w, x.q), pairs_of(w + 2, x.q + 8)),
		last = _mm256_add_epi16(pairs_of(w + 4, x.q + 16), pairs_of(w + 6, x.q + 24));

	return accumulate_both(y, _mm256_madd_epi16(_mm256_add_epi16(first, last), ones()), sc, x);
}

INLINE __m256 add_fives(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	__m256i first = _mm256_add_epi16(pairs_of(w, x.q), pairs_of(w + 2, x.q + 8)),
		last = _mm256_add_epi16(pairs_of(w + 4, x.q + 16), pairs_of(w + 6, x.q + 24));

	return accumulate_both(y,
		_mm256_add_epi32(_mm256_madd_epi16(first, ones()), _mm256_madd_epi16(last, ones())),
		sc, x);
}

INLINE __m256 add_signed(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	__m256i total = _mm256_setzero_si256();

	UNROLL
	for (int v = 0; v < 8; v++) {
		__m256i four = splat4(x.q + 4 * v);
		__m256i pairs =
			_mm256_maddubs_epi16(_mm256_abs_epi8(four), _mm256_sign_epi8(w[v], four));

		total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones()));
	}
	return accumulate_both(y, total, sc, x);
}

/* what both families do with s0 dot0 + s1 dot1 */
INLINE __m256 finish_nibbles(__m256 y, __m256i dot, const struct scales *sc, struct block x)
{
	y = accumulate(y, dot, sc->d, x.d);
	return accumulate(y, _mm256_madd_epi16(sc->n, x.sum), sc->m, x.d);
}

INLINE __m256 finish_bytes(__m256 y, __m256i dot, const struct scales *sc, struct block x)
{
	__m256i sums = _mm256_madd_epi16(sc->s, x.sum);

	return accumulate(y, _mm256_sub_epi32(dot, _mm256_slli_epi32(sums, 5)), sc->d, x.d);
}

INLINE __m256 add_two_nibbles(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	__m256i first = _mm256_add_epi16(pairs_of(w, x.q), pairs_of(w + 2, x.q + 8)),
		last = _mm256_add_epi16(pairs_of(w + 4, x.q + 16), pairs_of(w + 6, x.q + 24));

	return finish_nibbles(y,
		_mm256_add_epi32(_mm256_madd_epi16(first, firsts(sc->s)),
			_mm256_madd_epi16(last, lasts(sc->s))),
		sc, x);
}

INLINE __m256 add_two_bytes(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	const __m256i s0 = firsts(sc->s), s1 = lasts(sc->s);
	__m256i first = _mm256_add_epi32(_mm256_madd_epi16(pairs_of(w, x.q), s0),
		_mm256_madd_epi16(pairs_of(w + 2, x.q + 8), s0));
	__m256i last = _mm256_add_epi32(_mm256_madd_epi16(pairs_of(w + 4, x.q + 16), s1),
		_mm256_madd_epi16(pairs_of(w + 6, x.q + 24), s1));

	return finish_bytes(y, _mm256_add_epi32(first, last), sc, x);
}

KERNELS(, unpack_bytes)

#include "trainer/qkern_avx2_rows.h"

FLOATS(floats, load_f32)
FLOATS(halves, load_f16)
FLOATS(brains, load_bf16)

static const struct qkern avx2 = {.name = "avx2", .dot = QKERN_DOTS(), QKERN_FLOATS};

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,f16c,fma,avxvnni")

/* signed bytes as unsigned: 128 more each */
INLINE void unpack_flipped(const uint8_t *at, __m256i w[8])
{
	UNROLL
	for (int v = 0; v < 8; v++)
		w[v] = _mm256_xor_si256(
			_mm256_loadu_si256((const __m256i *)(at + 32 * v)), _mm256_set1_epi8(-128));
}

INLINE __m256i dot_vnni(__m256i total, const __m256i *w, const int8_t *q)
{
	UNROLL
	for (int v = 0; v < 4; v++)
		total = _mm256_dpbusd_avx_epi32(total, w[v], splat4(q + 4 * v));
	return total;
}

INLINE __m256i dot_block_vnni(__m256i start, const __m256i w[8], const int8_t *q)
{
	return _mm256_add_epi32(
		dot_vnni(start, w, q), dot_vnni(_mm256_setzero_si256(), w + 4, q + 16));
}

INLINE __m256 add_unsigned_vnni(
	__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	return accumulate_both(y, dot_block_vnni(_mm256_setzero_si256(), w, x.q), sc, x);
}

/* 128 times the sum of x comes off again */
INLINE __m256 add_signed_vnni(__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	__m256i start = _mm256_madd_epi16(x.sum, _mm256_set1_epi16(-128));

	return accumulate_both(y, dot_block_vnni(start, w, x.q), sc, x);
}

/* s0 dot0 + s1 dot1 */
INLINE __m256i dot_two_vnni(const __m256i w[8], const struct scales *sc, struct block x)
{
	const __m256i zero = _mm256_setzero_si256(),
		      s0 = _mm256_srai_epi32(_mm256_slli_epi32(sc->s, 16), 16),
		      s1 = _mm256_srai_epi32(sc->s, 16);

	return _mm256_add_epi32(_mm256_mullo_epi32(dot_vnni(zero, w, x.q), s0),
		_mm256_mullo_epi32(dot_vnni(zero, w + 4, x.q + 16), s1));
}

INLINE __m256 add_two_nibbles_vnni(
	__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	return finish_nibbles(y, dot_two_vnni(w, sc, x), sc, x);
}

INLINE __m256 add_two_bytes_vnni(
	__m256 y, const __m256i w[8], const struct scales *sc, struct block x)
{
	return finish_bytes(y, dot_two_vnni(w, sc, x), sc, x);
}

#define add_fives_vnni add_unsigned_vnni
KERNELS(_vnni, unpack_flipped)

#pragma GCC pop_options

static const struct qkern avx2_vnni = {.name = "avx2", .dot = QKERN_DOTS(_vnni), QKERN_FLOATS};

/* CPUID 7.1 EAX bit 4; __builtin_cpu_supports() of GCC 12 does not know the name */
static int has_avx_vnni(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

const struct qkern *qkern_avx2(void)
{
	__builtin_cpu_init();
	/* every processor with fma has f16c, whose name clang's builtin does not know */
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2 : NULL;
}

const struct qkern *qkern_avx2_vnni(void)
{
	return qkern_avx2() && has_avx_vnni() ? &avx2_vnni : NULL;
}

#else

const struct qkern *qkern_avx2(void)
{
	return NULL;
}

const struct qkern *qkern_avx2_vnni(void)
{
	return NULL;
}

#endif
