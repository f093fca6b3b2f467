/*
 * Tensors unpacked with vectors, along a row or down some columns, for gemm's packing: the bits of
 * tensor_row_part(), faster.
 */
#include "trainer/gemm_unpack.h"

#include "trainer/quant.h"

#if defined(__x86_64__)

/* bit i of ${at}'s two bytes as 16 in byte i */
INLINE AVX2 __m128i fifth_bits(const uint8_t *at)
{
	const __m128i each = _mm_set1_epi64x((long long)0x8040201008040201),
		      spread = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
	uint16_t bits;

	memcpy(&bits, at, sizeof(bits));
	__m128i v = _mm_shuffle_epi8(_mm_cvtsi32_si128(bits), spread);

	return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(v, each), each), _mm_set1_epi8(16));
}

/*
 * Blocks become floats v * d + m (v * d where the format has no minimum: adding nothing keeps -0).
 * Both widths are the same two roundings.
 */
#define UNPACKERS(width, isa)                                                                      \
	static isa void unpack_q4_0_##width(STRIDES)                                               \
	{                                                                                          \
		const __m128i nibble = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);                \
                                                                                                   \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at);                                                        \
			__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 2));      \
			__m128i hi = _mm_and_si128(_mm_srli_epi16(q, 4), nibble);                  \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			scale_##width(_mm_sub_epi8(_mm_and_si128(q, nibble), eight), d, out);      \
			scale_##width(_mm_sub_epi8(hi, eight), d, out + apart);                    \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q4_1_##width(STRIDES)                                               \
	{                                                                                          \
		const __m128i nibble = _mm_set1_epi8(15);                                          \
                                                                                                   \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at), m = half(at + 2);                                      \
			__m128i q = _mm_loadu_si128((const __m128i *)(const void *)(at + 4));      \
			__m128i hi = _mm_and_si128(_mm_srli_epi16(q, 4), nibble);                  \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			shift_##width(_mm_and_si128(q, nibble), d, m, out);                        \
			shift_##width(hi, d, m, out + apart);                                      \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q5_0_##width(STRIDES)                                               \
	{                                                                                          \
		const __m128i less = _mm_set1_epi8(16);                                            \
                                                                                                   \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			__m128i q = sixteen(at + 6);                                               \
			float d = half(at);                                                        \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			scale_##width(                                                             \
				_mm_sub_epi8(                                                      \
					_mm_or_si128(bits_of(q, 0, 4), fifth_bits(at + 2)), less), \
				d, out);                                                           \
			scale_##width(                                                             \
				_mm_sub_epi8(                                                      \
					_mm_or_si128(bits_of(q, 4, 4), fifth_bits(at + 4)), less), \
				d, out + apart);                                                   \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q5_1_##width(STRIDES)                                               \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			__m128i q = sixteen(at + 8);                                               \
			float d = half(at), m = half(at + 2);                                      \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			shift_##width(                                                             \
				_mm_or_si128(bits_of(q, 0, 4), fifth_bits(at + 4)), d, m, out);    \
			shift_##width(_mm_or_si128(bits_of(q, 4, 4), fifth_bits(at + 6)), d, m,    \
				out + apart);                                                      \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_iq4_nl_##width(STRIDES)                                             \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			__m128i q = sixteen(at + 2);                                               \
			float d = half(at);                                                        \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			scale_##width(iq4_values(bits_of(q, 0, 4)), d, out);                       \
			scale_##width(iq4_values(bits_of(q, 4, 4)), d, out + apart);               \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_q8_0_##width(STRIDES)                                               \
	{                                                                                          \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			float d = half(at);                                                        \
			const __m128i *q = (const __m128i *)(const void *)(at + 2);                \
                                                                                                   \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			scale_##width(_mm_loadu_si128(q), d, out);                                 \
			scale_##width(_mm_loadu_si128(q + 1), d, out + apart);                     \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_f16_##width(STRIDES)                                                \
	{                                                                                          \
		(void)apart;                                                                       \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			halves_##width(at, out);                                                   \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static isa void unpack_bf16_##width(STRIDES)                                               \
	{                                                                                          \
		(void)apart;                                                                       \
		for (; n > 0; n--, at += stride, out += step) {                                    \
			__builtin_prefetch(at + BLOCKS_AHEAD * stride);                            \
			brains_##width(at, out);                                                   \
		}                                                                                  \
	}

INLINE AVX2 void halves_8(const uint8_t *at, float *out)
{
	for (int i = 0; i < 16; i += 8, at += 16)
		_mm256_storeu_ps(out + i,
			_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at)));
}

INLINE AVX2 void brains_8(const uint8_t *at, float *out)
{
	for (int i = 0; i < 16; i += 8, at += 16) {
		__m256i wide =
			_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)at));

		_mm256_storeu_ps(out + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
	}
}

INLINE AVX512 void halves_16(const uint8_t *at, float *out)
{
	_mm512_storeu_ps(
		out, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)at)));
}

INLINE AVX512 void brains_16(const uint8_t *at, float *out)
{
	__m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)at));

	_mm512_storeu_si512(out, _mm512_slli_epi32(wide, 16));
}

UNPACKERS(8, AVX2)
UNPACKERS(16, AVX512)

static void unpack_f32(STRIDES)
{
	(void)apart;
	for (; n > 0; n--, at += stride, out += step) {
		__builtin_prefetch(at + BLOCKS_AHEAD * stride);
		memcpy(out, at, GEMM_STRIP * sizeof(*out));
	}
}

static const struct unpacker unpackers[] = {
	{TENSOR_F32, 16, 64, {NULL, unpack_f32, unpack_f32}},
	{TENSOR_F16, 16, 32, {NULL, unpack_f16_8, unpack_f16_16}},
	{TENSOR_BF16, 16, 32, {NULL, unpack_bf16_8, unpack_bf16_16}},
	{TENSOR_Q4_0, QUANT_BLOCK, 18, {NULL, unpack_q4_0_8, unpack_q4_0_16}},
	{TENSOR_Q4_1, QUANT_BLOCK, 20, {NULL, unpack_q4_1_8, unpack_q4_1_16}},
	{TENSOR_Q5_0, QUANT_BLOCK, 22, {NULL, unpack_q5_0_8, unpack_q5_0_16}},
	{TENSOR_Q5_1, QUANT_BLOCK, 24, {NULL, unpack_q5_1_8, unpack_q5_1_16}},
	{TENSOR_Q8_0, QUANT_BLOCK, 34, {NULL, unpack_q8_0_8, unpack_q8_0_16}},
	{TENSOR_IQ4_NL, QUANT_BLOCK, 18, {NULL, unpack_iq4_nl_8, unpack_iq4_nl_16}},
};

/* the one for values from column ${from} on, or NULL */
static const struct unpacker *unpacker_of(
	const struct gemm_kernel *kn, const struct tensor *t, int64_t from)
{
	const struct unpacker *un;

	for (size_t i = 0; i < sizeof(unpackers) / sizeof(unpackers[0]); i++)
		if (unpackers[i].type == t->type && unpackers[i].by[kn->vectors] &&
			from % unpackers[i].values == 0)
			return &unpackers[i];
	un = gemm_unpacker_k(t->type);
	return un && un->by[kn->vectors] && from % un->values == 0 ? un : NULL;
}

static const uint8_t *block_at(
	const struct unpacker *un, const struct tensor *t, int64_t row, int64_t from)
{
	return (const uint8_t *)t->data + (size_t)row * tensor_row_bytes((int)t->type, t->cols) +
	       (size_t)(from / un->values * un->bytes);
}
#endif

void gemm_unpack(const struct gemm_kernel *kn, const struct tensor *t, int64_t row, int64_t from,
	int64_t n, float *out)
{
#if defined(__x86_64__)
	const struct unpacker *un = unpacker_of(kn, t, from);

	if (un) {
		int64_t blocks = n / un->values, done = blocks * un->values;

		un->by[kn->vectors](block_at(un, t, row, from), (size_t)un->bytes, blocks, out,
			un->values, GEMM_STRIP);
		from += done;
		n -= done;
		out += done;
	}
#else
	(void)kn;
#endif
	if (n > 0)
		tensor_row_part(t, row, from, n, out);
}

/* any type, any number of columns */
static void unpack_rows_down(const struct tensor *t, int64_t row, int64_t rows, int64_t from,
	int64_t n, float *out, long apart)
{
	float part[QUANT_SUPER] = {0};

	for (int64_t i = 0; i < n; i += QUANT_SUPER) {
		int64_t some = n - i < QUANT_SUPER ? n - i : QUANT_SUPER;

		for (int64_t r = 0; r < rows; r++) {
			gemm_row_ahead(t, row + r + BLOCKS_AHEAD, from + i, some);
			tensor_row_part(t, row + r, from + i, some, part);
			for (int64_t s = 0; s < some; s += GEMM_STRIP)
				memcpy(out + (i + s) / GEMM_STRIP * apart + r * GEMM_STRIP,
					part + s, GEMM_STRIP * sizeof(*out));
		}
		memset(part, 0, sizeof(part));
	}
}

void gemm_unpack_down(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t rows, int64_t from, int64_t n, float *out, long apart)
{
	int64_t i = 0;

#if defined(__x86_64__)
	const struct unpacker *un = unpacker_of(kn, t, from);
	size_t bytes = tensor_row_bytes((int)t->type, t->cols);

	for (; un && i + un->values <= n; i += un->values, out += un->values / GEMM_STRIP * apart)
		un->by[kn->vectors](
			block_at(un, t, row, from + i), bytes, rows, out, GEMM_STRIP, apart);
#else
	(void)kn;
#endif
	unpack_rows_down(t, row, rows, from + i, n - i, out, apart);
}

void gemm_row_ahead(const struct tensor *t, int64_t row, int64_t from, int64_t n)
{
	enum { LINE = 64 };
	size_t bytes = tensor_row_bytes((int)t->type, t->cols), cols = (size_t)t->cols;
	const char *at = (const char *)t->data + (size_t)row * bytes + (size_t)from * bytes / cols;
	const char *end = at + (size_t)n * bytes / cols;

	if (row < t->rows)
		for (; at < end; at += LINE)
			__builtin_prefetch(at);
}
