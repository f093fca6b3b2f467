/*
 * Products by tiles of bfloat16 (AMX), as exact as those of floats.
 *
 * A float is cut into three pieces of eight bits, high, middle, low, each a bfloat16: nothing is
 * lost. x has all three; W as many as its type needs (pieces_of()). Of the products of pieces those
 * are taken whose places add up to no more than two; the others lie below what a float holds:
 *
 *   x w = x2 w0 + x1 w0 + x1 w1 + x0 w1 + x0 w0  (+ x0 w2)     places counted from 0
 *
 * The sum runs in steps of 32 terms: within a step the processor sums a product of pieces from zero
 * and adds it to the element. The order of products and steps is fixed, steps are counted from the
 * sum's first term, and cuts are made between steps only: an element's bits depend on its row and
 * its column alone. Denormal numbers count as zero.
 *
 * A tile register holds 16 rows of 16 pairs. The pairs of a step are its terms l and l + 16, in x
 * as in W, so that cutting needs no shuffles.
 */
#include "trainer/gemm_inside.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX512 __attribute__((target("avx512f")))
#define TILES  __attribute__((target("avx512f,amx-tile,amx-bf16")))

enum {
	SIDE = 16, /* rows of a tile register, columns of what it adds to */
	STEP = 32, /* terms of a sum in one of them */
	PLANE = SIDE * STEP * 2,
	PIECES = 3,
	BLOCK = 2 * SIDE, /* rows and columns that are worked on at a time, in four registers */
	DEPTH_MAX = 576,
	WIDTH_MAX = 256,
	PANEL_BYTES = 96 * DEPTH_MAX * PIECES * 2,
	ROWS_MOST = 1024, /* of x, cut at a time */
};

struct tiled {
	struct product p;
	int pieces;	/* of w */
	long from, end; /* terms whose x has been cut */
	long steps;	/* of these */
	char *cut;	/* (rows / SIDE, steps, PIECES) planes */
	void (*pack)(const struct tiled *t, long c0, long n, long k, long depth, char *panel);
};

INLINE AVX512 __m512i high_half(void)
{
	return _mm512_set1_epi32((int)0xffff0000u);
}

/* the high pieces of a and b as pairs */
INLINE AVX512 __m512i pairs(__m512 a, __m512 b)
{
	const __m512i lo = _mm512_srli_epi32(_mm512_castps_si512(a), 16);

	return _mm512_or_si512(lo, _mm512_and_si512(_mm512_castps_si512(b), high_half()));
}

/* what is left of a without its high piece, exactly */
INLINE AVX512 __m512 rest(__m512 a)
{
	const __m512i top = _mm512_and_si512(_mm512_castps_si512(a), high_half());

	return _mm512_sub_ps(a, _mm512_castsi512_ps(top));
}

INLINE __mmask16 first_lanes(long n)
{
	return (__mmask16)(n >= SIDE ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

/* the pieces of two rows of lanes, a plane apart */
INLINE AVX512 void cut_pairs(__m512 a, __m512 b, int pieces, char *to)
{
	for (int i = 0; i < pieces; i++) {
		_mm512_store_si512(to + i * PLANE, pairs(a, b));
		a = rest(a);
		b = rest(b);
	}
}

/* 16 rows of x */
static AVX512 void cut_tile(void *arg, int tile, int thread)
{
	const struct tiled *t = arg;
	const struct product *p = &t->p;

	(void)thread;
	for (long r = 0; r < SIDE; r++) {
		long i = (long)tile * SIDE + r;
		const float *x = p->in + i * p->ldin;
		char *to = t->cut + (long)tile * t->steps * PIECES * PLANE + r * STEP * 2;

		for (long k = t->from; k < t->end; k += STEP, to += PIECES * PLANE) {
			long n = i < p->m ? t->end - k : 0;

			cut_pairs(_mm512_maskz_loadu_ps(first_lanes(n), x + k),
				_mm512_maskz_loadu_ps(first_lanes(n - SIDE), x + k + SIDE), PIECES,
				to);
		}
	}
}

/* forward: columns c0 .. c0 + n of the result are rows of W, k .. k + depth its columns. The panel
 * is (strips of 16 columns, steps, pieces) planes, an even number of strips. */
static AVX512 void pack_rows(
	const struct tiled *t, long c0, long n, long k, long depth, char *panel)
{
	_Alignas(64) float turned[DEPTH_MAX * SIDE];
	long steps = ceil_div(depth, STEP), rest_of = steps * STEP - depth;

	memset(turned + depth * SIDE, 0, (size_t)(rest_of * SIDE) * sizeof(*turned));
	for (long s = 0; s < ceil_div(n, BLOCK) * BLOCK; s += SIDE) {
		gemm_unpack_turned(t->p.kn, t->p.w, c0 + s, k, depth, turned);
		for (long l = 0; l < steps; l++, panel += t->pieces * PLANE)
			for (long r = 0; r < SIDE; r++) {
				const float *at = turned + (l * STEP + r) * SIDE;

				cut_pairs(_mm512_load_ps(at), _mm512_load_ps(at + SIDE * SIDE),
					t->pieces, panel + r * STEP * 2);
			}
	}
}

/* backward: columns of the result are columns of W, the sum runs over its rows */
static AVX512 void pack_columns(
	const struct tiled *t, long c0, long n, long k, long depth, char *panel)
{
	_Alignas(64) float down[WIDTH_MAX * STEP];
	long steps = ceil_div(depth, STEP), strips = ceil_div(n, BLOCK) * 2;

	memset(down, 0, (size_t)(strips * SIDE * STEP) * sizeof(*down));
	for (long l = 0; l < steps; l++) {
		long rows = depth - l * STEP < STEP ? depth - l * STEP : STEP;

		for (long s = 0; rows < STEP && s < strips; s++)
			memset(down + (s * STEP + rows) * SIDE, 0,
				(size_t)((STEP - rows) * SIDE) * sizeof(*down));
		gemm_unpack_down(t->p.kn, t->p.w, k + l * STEP, rows, c0, n, down, SIDE * STEP);
		for (long s = 0; s < strips; s++)
			for (long r = 0; r < SIDE; r++) {
				const float *at = down + (s * STEP + r) * SIDE;

				cut_pairs(_mm512_load_ps(at), _mm512_load_ps(at + SIDE * SIDE),
					t->pieces,
					panel + (s * steps + l) * t->pieces * PLANE + r * STEP * 2);
			}
	}
}

/* The tile intrinsics do not tell the compiler what memory they touch. */
#define FENCE() __asm__ volatile("" ::: "memory")

INLINE TILES void tiles_configure(void)
{
	struct {
		uint8_t palette, start, reserved[14];
		uint16_t bytes[16];
		uint8_t rows[16];
	} cf = {.palette = 1};

	for (int i = 0; i < 8; i++) {
		cf.bytes[i] = STEP * 2;
		cf.rows[i] = SIDE;
	}
	/* not _tile_loadconfig(): gcc 12 believes it reads eight bytes */
	__asm__ volatile("ldtilecfg %0" : : "m"(cf));
}

/* registers 0-3 are the sums, 4 and 5 a piece of 32 rows of x, 6 and 7 one of 32 columns of W */
#define LOAD_X(i)                                                                                  \
	do {                                                                                       \
		_tile_loadd(4, x + (i)*PLANE, STEP * 2);                                           \
		_tile_loadd(5, x2 + (i)*PLANE, STEP * 2);                                          \
	} while (0)
#define LOAD_W(i)                                                                                  \
	do {                                                                                       \
		_tile_loadd(6, w + (i)*PLANE, STEP * 2);                                           \
		_tile_loadd(7, w2 + (i)*PLANE, STEP * 2);                                          \
	} while (0)
#define MULTIPLY()                                                                                 \
	do {                                                                                       \
		_tile_dpbf16ps(0, 4, 6);                                                           \
		_tile_dpbf16ps(1, 4, 7);                                                           \
		_tile_dpbf16ps(2, 5, 6);                                                           \
		_tile_dpbf16ps(3, 5, 7);                                                           \
	} while (0)

INLINE TILES void steps_run(
	const char *x, const char *x2, const char *w, const char *w2, long steps, const int pieces)
{
	for (; steps > 0; steps--) {
		if (pieces == 3) {
			LOAD_W(2);
			LOAD_X(0);
			MULTIPLY();
		}
		LOAD_W(0);
		LOAD_X(2);
		MULTIPLY();
		LOAD_X(1);
		MULTIPLY();
		if (pieces > 1) {
			LOAD_W(1);
			MULTIPLY();
			LOAD_X(0);
			MULTIPLY();
			LOAD_W(0);
			MULTIPLY();
		} else {
			LOAD_X(0);
			MULTIPLY();
		}
		x += PIECES * PLANE;
		x2 += PIECES * PLANE;
		w += pieces * PLANE;
		w2 += pieces * PLANE;
	}
}

/* what an edge holds of c, in a block of its own */
static void edge_in(const struct tiled *t, const float *c, long rows, long cols, bool load,
	float edge[BLOCK][BLOCK])
{
	memset(edge, 0, BLOCK * BLOCK * sizeof(float));
	for (long i = 0; load && i < rows && i < BLOCK; i++)
		memcpy(edge[i], c + i * t->p.ldout,
			(size_t)(cols < BLOCK ? cols : BLOCK) * sizeof(float));
}

/* up to 32 rows and columns of c, continued from what it holds with ${load} */
static TILES void block_run(const struct tiled *t, const char *x, const char *w, long steps,
	float *c, long rows, long cols, bool load)
{
	_Alignas(64) float edge[BLOCK][BLOCK];
	bool whole = rows >= BLOCK && cols >= BLOCK;
	float *at = whole ? c : edge[0];
	long ld = whole ? t->p.ldout : BLOCK, stride = ld * (long)sizeof(float);
	const char *x2 = x + t->steps * PIECES * PLANE, *w2 = w + steps * t->pieces * PLANE;

	if (!whole)
		edge_in(t, c, rows, cols, load, edge);
	FENCE();
	if (load) {
		_tile_loadd(0, at, stride);
		_tile_loadd(1, at + SIDE, stride);
		_tile_loadd(2, at + SIDE * ld, stride);
		_tile_loadd(3, at + SIDE * ld + SIDE, stride);
	} else {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
	}
	if (t->pieces == 1)
		steps_run(x, x2, w, w2, steps, 1);
	else if (t->pieces == 2)
		steps_run(x, x2, w, w2, steps, 2);
	else
		steps_run(x, x2, w, w2, steps, 3);
	_tile_stored(0, at, stride);
	_tile_stored(1, at + SIDE, stride);
	_tile_stored(2, at + SIDE * ld, stride);
	_tile_stored(3, at + SIDE * ld + SIDE, stride);
	FENCE();
	for (long i = 0; !whole && i < rows && i < BLOCK; i++)
		memcpy(c + i * t->p.ldout, edge[i],
			(size_t)(cols < BLOCK ? cols : BLOCK) * sizeof(float));
}

static TILES void tile_run(void *arg, int tile, int thread)
{
	_Alignas(64) char panel[PANEL_BYTES];
	const struct tiled *t = arg;
	const struct product *p = &t->p;
	long c0 = tile % p->column_tiles * p->width, i0 = tile / p->column_tiles * p->rows;
	long n = p->columns - c0 < p->width ? p->columns - c0 : p->width;
	long end = i0 + p->rows < p->m ? i0 + p->rows : p->m;

	(void)thread;
	tiles_configure();
	for (long k = t->from; k < t->end; k += p->depth) {
		long depth = t->end - k < p->depth ? t->end - k : p->depth;
		long steps = ceil_div(depth, STEP), at = (k - t->from) / STEP;

		t->pack(t, c0, n, k, depth, panel);
		for (long s = 0; s < n; s += BLOCK)
			for (long i = i0; i < end; i += BLOCK)
				block_run(t, t->cut + (i / SIDE * t->steps + at) * PIECES * PLANE,
					panel + s / SIDE * steps * t->pieces * PLANE, steps,
					p->out + i * p->ldout + c0 + s, end - i, n - s,
					p->add || k > 0);
	}
	_tile_release();
}

/* how many pieces hold every value of a type: of a bfloat16 one; of a scale of 11 bits times up to
 * five, moved by a like multiple of it, two; in general three */
static int pieces_of(enum tensor_type type)
{
	switch (type) {
	case TENSOR_BF16:
		return 1;
	case TENSOR_F16:
	case TENSOR_Q4_0:
	case TENSOR_Q5_0:
	case TENSOR_Q4_1:
	case TENSOR_Q5_1:
		return 2;
	default:
		return 3;
	}
}

/* parts of about equal length, whole ${unit}s, none longer than ${most} */
static long part_of(long n, long most, long unit)
{
	return ceil_div(ceil_div(n, ceil_div(n, most / unit * unit)), unit) * unit;
}

static void rows_run(struct threads *th, struct tiled *t, bool forward)
{
	struct product *p = &t->p;
	long block = gemm_block_of(p->w), unit = forward && block > STEP ? block : STEP;
	long high = ceil_div(p->m, BLOCK) * BLOCK;
	long chunk = part_of(p->sum, THREADS_SCRATCH / (high * PIECES * 2), unit);
	int tiles = gemm_plan(p, threads_count(th), forward ? 1 : block, BLOCK);
	long most = PANEL_BYTES / (ceil_div(p->width, BLOCK) * BLOCK * t->pieces * 2);

	p->depth = part_of(chunk, most < DEPTH_MAX ? most : DEPTH_MAX, unit);
	for (t->from = 0; t->from < p->sum; t->from = t->end) {
		t->end = t->from + chunk < p->sum ? t->from + chunk : p->sum;
		t->steps = ceil_div(t->end - t->from, STEP);
		threads_run(th, (int)(high / SIDE), cut_tile, t);
		threads_run(th, tiles, tile_run, t);
	}
}

void gemm_amx(struct threads *th, struct product *p, bool forward)
{
	struct tiled t = {.p = *p,
		.pieces = pieces_of(p->w->type),
		.cut = threads_scratch(th),
		.pack = forward ? pack_rows : pack_columns};

	for (long i = 0; i < p->m; i += ROWS_MOST) {
		t.p.m = p->m - i < ROWS_MOST ? p->m - i : ROWS_MOST;
		t.p.in = p->in + i * p->ldin;
		t.p.out = p->out + i * p->ldout;
		rows_run(th, &t, forward);
	}
}

/* whole numbers, whose sum has one right result */
static bool comes_out_right(void)
{
	enum { N = GEMM_AMX_LEAST };
	static float x[N * N], w[N * N], y[N * N];
	const struct tensor t = {TENSOR_F32, N, N, w};
	struct threads *th = threads_new(1);
	struct product p = {.kn = gemm_kernel_find("vector"),
		.out = y,
		.in = x,
		.w = &t,
		.ldout = N,
		.ldin = N,
		.m = N,
		.columns = N,
		.sum = N};
	bool right = th != NULL;

	for (int i = 0; i < N * N; i++) {
		x[i] = (float)(i * 7919 % 4001 - 2000);
		w[i] = (float)(i * 104729 % 13 - 6);
	}
	if (th)
		gemm_amx(th, &p, true);
	for (int i = 0; right && i < N * N; i++) {
		float sum = 0;

		for (int k = 0; k < N; k++)
			sum += x[i / N * N + k] * w[i % N * N + k];
		right = sum == y[i];
	}
	threads_free(th);
	return right;
}

bool gemm_amx_usable(void)
{
	enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, TILE_STATE = 3 << 17 };
	enum { XSAVE_ENABLED = 1 << 27, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
	unsigned a, b, c, d, low, up;

	if (!__builtin_cpu_supports("avx512f") || !__get_cpuid(1, &a, &b, &c, &d) ||
		!(c & XSAVE_ENABLED) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
		(d & (AMX_BF16 | AMX_TILE)) != (AMX_BF16 | AMX_TILE))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(up) : "c"(0));
	if ((low & TILE_STATE) != TILE_STATE ||
		syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0)
		return false;
	return comes_out_right();
}

#else
bool gemm_amx_usable(void)
{
	return false;
}

void gemm_amx(struct threads *th, struct product *p, bool forward)
{
	(void)th;
	(void)p;
	(void)forward;
}
#endif
