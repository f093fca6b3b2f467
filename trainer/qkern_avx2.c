/*
 * qkern_avx2 - the kernels with AVX2 (Haswell, Zen), and with AVX-VNNI where there is one: integer
 * sums are exact, so both give the portable kernel's bits.
 *
 * NIBBLES: unsigned 0..15 times signed 7-bit, pairs of pairs summed in 16 bits: 8 x 2 x 15 x 127 =
 * 30480 fits. BYTES: |x| times w with x's sign: 2 x 127 x 127 = 32258 fits; widened to 32 bits at
 * once.
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

struct scales {
	__m256 d;
	__m256 m;
};

INLINE struct scales load_scales(const uint8_t *at)
{
	return (struct scales){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)),
		_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(at + 16)))};
}

INLINE __m256 accumulate(__m256 y, __m256i dot, struct scales sc, float xd, float xs)
{
	y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(sc.d, _mm256_set1_ps(xd)), y);
	return _mm256_fmadd_ps(sc.m, _mm256_set1_ps(xs), y);
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

INLINE void unpack_bytes(const uint8_t *at, __m256i w[8])
{
	UNROLL
	for (int v = 0; v < 8; v++)
		w[v] = _mm256_loadu_si256((const __m256i *)(at + 32 * v));
}

/* a block's weights as the dot product takes them, and the dot product of eight rows with one
 * token's 32 activations; ${sum}: of those */
typedef void unpack_fn(const uint8_t *at, __m256i w[8]);
typedef __m256i dot_fn(const __m256i w[8], const int8_t *q, int32_t sum);

/*
 * The pattern of all kernels: a group of rows, ${n} tokens, block by block. Everything given is a
 * constant where it is used, so each becomes a loop of its own.
 */
INLINE void sum_blocks(const uint8_t *at, long stride, unpack_fn *unpack, dot_fn *dot,
	const struct qk_rows *x, long t, int n, float out[QK_TOKENS][QK_ROWS])
{
	__m256 y[QK_TOKENS];

	UNROLL
	for (int k = 0; k < n; k++)
		y[k] = _mm256_setzero_ps();
	for (long b = 0; b < x->blocks; b++, at += stride) {
		struct scales sc = load_scales(at);
		__m256i w[8];

		unpack(at + 32, w);
		UNROLL
		for (int k = 0; k < n; k++) {
			const long block = (t + k) * x->blocks + b;
			const int8_t *q = x->q + (t + k) * x->cols + b * QK_BLOCK;

			y[k] = accumulate(
				y[k], dot(w, q, x->sum[block]), sc, x->d[block], x->s[block]);
		}
	}
	UNROLL
	for (int k = 0; k < n; k++)
		_mm256_storeu_ps(out[k], y[k]);
}

/* a kernel: the number of tokens as a constant, so that sums stay in registers */
#define KERNEL(name, stride, unpack, dot)                                                          \
	static void name(const uint8_t *group, const struct qk_rows *x, long t, int n,             \
		float out[QK_TOKENS][QK_ROWS])                                                     \
	{                                                                                          \
		switch (n) {                                                                       \
		case 1:                                                                            \
			sum_blocks(group, stride, unpack, dot, x, t, 1, out);                      \
			break;                                                                     \
		case 2:                                                                            \
			sum_blocks(group, stride, unpack, dot, x, t, 2, out);                      \
			break;                                                                     \
		case 3:                                                                            \
			sum_blocks(group, stride, unpack, dot, x, t, 3, out);                      \
			break;                                                                     \
		default:                                                                           \
			sum_blocks(group, stride, unpack, dot, x, t, 4, out);                      \
		}                                                                                  \
	}

INLINE __m256i dot_unsigned(const __m256i w[8], const int8_t *q, int32_t sum)
{
	__m256i even = _mm256_maddubs_epi16(w[0], splat4(q)),
		odd = _mm256_maddubs_epi16(w[1], splat4(q + 4));

	(void)sum;
	UNROLL
	for (int v = 2; v < 8; v += 2) {
		even = _mm256_add_epi16(even, _mm256_maddubs_epi16(w[v], splat4(q + 4 * v)));
		odd = _mm256_add_epi16(odd, _mm256_maddubs_epi16(w[v + 1], splat4(q + 4 * v + 4)));
	}
	return _mm256_madd_epi16(_mm256_add_epi16(even, odd), _mm256_set1_epi16(1));
}

INLINE __m256i dot_signed(const __m256i w[8], const int8_t *q, int32_t sum)
{
	__m256i total = _mm256_setzero_si256();

	(void)sum;
	UNROLL
	for (int v = 0; v < 8; v++) {
		__m256i four = splat4(q + 4 * v);
		__m256i pairs =
			_mm256_maddubs_epi16(_mm256_abs_epi8(four), _mm256_sign_epi8(w[v], four));

		total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
	}
	return total;
}

KERNEL(nibbles, QK_NIBBLES_BYTES, unpack_nibbles, dot_unsigned)
KERNEL(bytes, QK_BYTES_BYTES, unpack_bytes, dot_signed)

static const struct qkern avx2 = {.name = "avx2", .dot = {nibbles, bytes}, QKERN_FLOATS};

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

INLINE __m256i dot_vnni(const __m256i w[8], const int8_t *q, int32_t start)
{
	__m256i even = _mm256_set1_epi32(start), odd = _mm256_setzero_si256();

	UNROLL
	for (int v = 0; v < 8; v += 2) {
		even = _mm256_dpbusd_avx_epi32(even, w[v], splat4(q + 4 * v));
		odd = _mm256_dpbusd_avx_epi32(odd, w[v + 1], splat4(q + 4 * v + 4));
	}
	return _mm256_add_epi32(even, odd);
}

INLINE __m256i dot_unsigned_vnni(const __m256i w[8], const int8_t *q, int32_t sum)
{
	(void)sum;
	return dot_vnni(w, q, 0);
}

/* 128 times the sum of x comes off again */
INLINE __m256i dot_flipped_vnni(const __m256i w[8], const int8_t *q, int32_t sum)
{
	return dot_vnni(w, q, -128 * sum);
}

KERNEL(nibbles_vnni, QK_NIBBLES_BYTES, unpack_nibbles, dot_unsigned_vnni)
KERNEL(bytes_vnni, QK_BYTES_BYTES, unpack_flipped, dot_flipped_vnni)

#pragma GCC pop_options

static const struct qkern avx2_vnni = {
	.name = "avx2", .dot = {nibbles_vnni, bytes_vnni}, QKERN_FLOATS};

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
