#include "trainer/gemm_kern.h"

#include <string.h>

#include "trainer/gemm_inside.h"

/*
 * One body for both vector widths: rows are reached from every third row's pointer with the row
 * stride and twice the row stride, which are addressing modes, so that twelve rows need four
 * registers.
 */
#define ROW(i) (i / 3 == 0 ? p0 : i / 3 == 1 ? p1 : i / 3 == 2 ? p2 : p3)[(i % 3) * a_row]

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((always_inline, target("avx2,fma"))) void avx2_body(const int m, long k,
	const float *a, long a_row, long a_k, const float *b, long b_k, float *c, long ldc,
	bool load)
{
	const float *p0 = a, *p1 = a + 3 * a_row, *p2 = a, *p3 = a;
	__m256 lo[6], hi[6];

#pragma GCC unroll 6
	for (int i = 0; i < m; i++) {
		lo[i] = load ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
		hi[i] = load ? _mm256_loadu_ps(c + i * ldc + 8) : _mm256_setzero_ps();
	}
	for (; k > 0; k--) {
		__m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);

#pragma GCC unroll 6
		for (int i = 0; i < m; i++) {
			__m256 x = _mm256_broadcast_ss(&ROW(i));

			lo[i] = _mm256_fmadd_ps(x, b0, lo[i]);
			hi[i] = _mm256_fmadd_ps(x, b1, hi[i]);
		}
		p0 += a_k;
		p1 += a_k;
		b += b_k;
	}
#pragma GCC unroll 6
	for (int i = 0; i < m; i++) {
		_mm256_storeu_ps(c + i * ldc, lo[i]);
		_mm256_storeu_ps(c + i * ldc + 8, hi[i]);
	}
}

static inline __attribute__((always_inline, target("avx512f"))) void avx512_body(const int m,
	long k, const float *a, long a_row, long a_k, const float *b, long b_k, float *c, long ldc,
	bool load)
{
	const float *p0 = a, *p1 = a + 3 * a_row, *p2 = a + 6 * a_row, *p3 = a + 9 * a_row;
	__m512 acc[12];

#pragma GCC unroll 12
	for (int i = 0; i < m; i++)
		acc[i] = load ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
	for (; k > 0; k--) {
		__m512 b0 = _mm512_loadu_ps(b);

#pragma GCC unroll 12
		for (int i = 0; i < m; i++)
			acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(ROW(i)), b0, acc[i]);
		p0 += a_k;
		p1 += a_k;
		p2 += a_k;
		p3 += a_k;
		b += b_k;
	}
#pragma GCC unroll 12
	for (int i = 0; i < m; i++)
		_mm512_storeu_ps(c + i * ldc, acc[i]);
}

/* 24 sums, so that every value of a that is loaded serves two multiplications: loads no longer
 * decide the speed */
static inline __attribute__((always_inline, target("avx512f"))) void avx512_pair_body(const int m,
	long k, const float *a, long a_row, long a_k, const float *b, const float *b2, long b_k,
	float *c, long ldc, bool load)
{
	const float *p0 = a, *p1 = a + 3 * a_row, *p2 = a + 6 * a_row, *p3 = a + 9 * a_row;
	__m512 lo[12], hi[12];

#pragma GCC unroll 12
	for (int i = 0; i < m; i++) {
		lo[i] = load ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
		hi[i] = load ? _mm512_loadu_ps(c + i * ldc + 16) : _mm512_setzero_ps();
	}
#pragma GCC unroll 4
	for (; k > 0; k--) {
		__m512 bl = _mm512_loadu_ps(b), bh = _mm512_loadu_ps(b2);

#pragma GCC unroll 12
		for (int i = 0; i < m; i++) {
			__m512 x = _mm512_set1_ps(ROW(i));

			lo[i] = _mm512_fmadd_ps(x, bl, lo[i]);
			hi[i] = _mm512_fmadd_ps(x, bh, hi[i]);
		}
		p0 += a_k;
		p1 += a_k;
		p2 += a_k;
		p3 += a_k;
		b += b_k;
		b2 += b_k;
	}
#pragma GCC unroll 12
	for (int i = 0; i < m; i++) {
		_mm512_storeu_ps(c + i * ldc, lo[i]);
		_mm512_storeu_ps(c + i * ldc + 16, hi[i]);
	}
}

#define CASE(body, n)                                                                              \
	case n:                                                                                    \
		body(n, k, a, a_row, a_k, b, b_k, c, ldc, load);                                   \
		break;

static __attribute__((target("avx2,fma"))) void avx2_run(int m, long k, const float *a, long a_row,
	long a_k, const float *b, long b_k, float *c, long ldc, bool load)
{
	switch (m) {
		CASE(avx2_body, 1)
		CASE(avx2_body, 2)
		CASE(avx2_body, 3)
		CASE(avx2_body, 4)
		CASE(avx2_body, 5)
		CASE(avx2_body, 6)
	}
}

static __attribute__((target("avx512f"))) void avx512_run(int m, long k, const float *a, long a_row,
	long a_k, const float *b, long b_k, float *c, long ldc, bool load)
{
	switch (m) {
		CASE(avx512_body, 1)
		CASE(avx512_body, 2)
		CASE(avx512_body, 3)
		CASE(avx512_body, 4)
		CASE(avx512_body, 5)
		CASE(avx512_body, 6)
		CASE(avx512_body, 7)
		CASE(avx512_body, 8)
		CASE(avx512_body, 9)
		CASE(avx512_body, 10)
		CASE(avx512_body, 11)
		CASE(avx512_body, 12)
	}
}

#define PAIR(n)                                                                                    \
	case n:                                                                                    \
		if (a_k == 1 && b_k == GEMM_STRIP)                                                 \
			avx512_pair_body(n, k, a, a_row, 1, b, b2, GEMM_STRIP, c, ldc, load);      \
		else                                                                               \
			avx512_pair_body(n, k, a, a_row, a_k, b, b2, b_k, c, ldc, load);           \
		break;

static __attribute__((target("avx512f"))) void avx512_run_pair(int m, long k, const float *a,
	long a_row, long a_k, const float *b, const float *b2, long b_k, float *c, long ldc,
	bool load)
{
	switch (m) {
		PAIR(1)
		PAIR(2)
		PAIR(3)
		PAIR(4)
		PAIR(5)
		PAIR(6)
		PAIR(7)
		PAIR(8)
		PAIR(9)
		PAIR(10)
		PAIR(11)
		PAIR(12)
	}
}
#endif

static void portable_run(int m, long k, const float *a, long a_row, long a_k, const float *b,
	long b_k, float *c, long ldc, bool load)
{
	float acc[4][GEMM_STRIP];

	for (int i = 0; i < m; i++)
		for (int j = 0; j < GEMM_STRIP; j++)
			acc[i][j] = load ? c[i * ldc + j] : 0;
	for (long l = 0; l < k; l++)
		for (int i = 0; i < m; i++) {
			float x = a[i * a_row + l * a_k];

			for (int j = 0; j < GEMM_STRIP; j++)
				acc[i][j] += x * b[l * b_k + j];
		}
	for (int i = 0; i < m; i++)
		memcpy(c + i * ldc, acc[i], sizeof(acc[i]));
}

/* avx512 is the same family: its bits are avx2's */
static const struct gemm_kernel portable = {"portable", 4, GEMM_PLAIN, portable_run, NULL, false};
#if defined(__x86_64__)
static const struct gemm_kernel avx2 = {"avx2", 6, GEMM_AVX2, avx2_run, NULL, false};
static const struct gemm_kernel avx512 = {
	"avx2", 12, GEMM_AVX512, avx512_run, avx512_run_pair, false};
static const struct gemm_kernel amx = {"amx", 12, GEMM_AVX512, avx512_run, avx512_run_pair, true};
#endif

const struct gemm_kernel *gemm_kernel_find(const char *name)
{
	bool best = !name || strcmp(name, "auto") == 0;
	bool any = best || strcmp(name, "vector") == 0;

#if defined(__x86_64__)
	/* every processor with fma has f16c, whose name clang's builtin does not know */
	bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

	if ((best || strcmp(name, "amx") == 0) && has_avx2 && gemm_amx_usable())
		return &amx;
	if (has_avx2 && __builtin_cpu_supports("avx512f") && (any || strcmp(name, "avx512") == 0))
		return &avx512;
	if (has_avx2 && (any || strcmp(name, "avx2") == 0))
		return &avx2;
#endif
	return any || strcmp(name, "portable") == 0 ? &portable : NULL;
}

int gemm_piece_rows(const struct gemm_kernel *kn, long left)
{
	long pieces = (left + kn->rows - 1) / kn->rows;

	return (int)((left + pieces - 1) / pieces);
}

void gemm_pair(const struct gemm_kernel *kn, long m, long k, const float *a, long a_row, long a_k,
	const float *b, const float *b2, long b_k, float *c, long ldc, bool load)
{
	for (long i = 0, n; i < m; i += n) {
		n = gemm_piece_rows(kn, m - i);
		kn->run_pair(
			(int)n, k, a + i * a_row, a_row, a_k, b, b2, b_k, c + i * ldc, ldc, load);
	}
}

void gemm_strip(const struct gemm_kernel *kn, long m, long k, const float *a, long a_row, long a_k,
	const float *b, long b_k, float *c, long ldc, int cols, bool load)
{
	float edge[GEMM_ROWS_MAX][GEMM_STRIP];

	for (long i = 0, n; i < m; i += n) {
		n = gemm_piece_rows(kn, m - i);
		if (cols == GEMM_STRIP) {
			kn->run((int)n, k, a + i * a_row, a_row, a_k, b, b_k, c + i * ldc, ldc,
				load);
			continue;
		}
		memset(edge, 0, sizeof(edge));
		for (int r = 0; load && r < n; r++)
			memcpy(edge[r], c + (i + r) * ldc, (size_t)cols * sizeof(float));
		kn->run((int)n, k, a + i * a_row, a_row, a_k, b, b_k, edge[0], GEMM_STRIP, load);
		for (int r = 0; r < n; r++)
			memcpy(c + (i + r) * ldc, edge[r], (size_t)cols * sizeof(float));
	}
}

/* the last columns of b, where a whole strip would read past its rows */
static void block_edge(const struct gemm_kernel *kn, long m, int cols, long k, const float *a,
	long a_row, long a_k, const float *b, long b_k, float *c, long ldc, bool load)
{
	enum { DEPTH = 128 };
	float pad[DEPTH][GEMM_STRIP];

	for (long l = 0; l < k || l == 0; l += DEPTH) {
		long n = k - l < DEPTH ? k - l : DEPTH;

		memset(pad, 0, sizeof(pad));
		for (long i = 0; i < n; i++)
			memcpy(pad[i], b + (l + i) * b_k, (size_t)cols * sizeof(float));
		gemm_strip(kn, m, n, a + l * a_k, a_row, a_k, pad[0], GEMM_STRIP, c, ldc, cols,
			load || l > 0);
	}
}

void gemm_block(long m, long n, long k, const float *a, long a_row, long a_k, const float *b,
	long b_k, float *c, long ldc, bool load)
{
	const struct gemm_kernel *kn = gemm_kernel();
	long j = 0;

	for (; kn->run_pair && j + 2 * GEMM_STRIP <= n; j += 2 * GEMM_STRIP)
		gemm_pair(
			kn, m, k, a, a_row, a_k, b + j, b + j + GEMM_STRIP, b_k, c + j, ldc, load);
	for (; j + GEMM_STRIP <= n; j += GEMM_STRIP)
		gemm_strip(kn, m, k, a, a_row, a_k, b + j, b_k, c + j, ldc, GEMM_STRIP, load);
	if (j < n)
		block_edge(kn, m, (int)(n - j), k, a, a_row, a_k, b + j, b_k, c + j, ldc, load);
}

struct outer {
	float *c;
	const float *u, *v;
	long ldu, ldv, p, q, m;
};

enum { OUTER_COLS = 4 * GEMM_STRIP };

static void outer_tile(void *arg, int tile, int thread)
{
	const struct outer *o = arg;
	long j = (long)tile * OUTER_COLS, n = o->q - j < OUTER_COLS ? o->q - j : OUTER_COLS;

	(void)thread;
	gemm_block(o->p, n, o->m, o->u, 1, o->ldu, o->v + j, o->ldv, o->c + j, o->q, true);
}

void gemm_outer(struct threads *th, float *c, const float *u, long ldu, long p, const float *v,
	long ldv, long q, long m)
{
	struct outer o = {c, u, v, ldu, ldv, p, q, m};

	threads_run(th, (int)((q + OUTER_COLS - 1) / OUTER_COLS), outer_tile, &o);
}
