/*
 * The blocking: a tile owns some columns of the result (and, of narrow ones, some rows). It walks
 * the contraction dimension in panels that fit the second-level cache, dequantises its part of W
 * into strips of 16 columns, and lets the micro-kernel continue every element's chain where the
 * last panel left it.
 */
#include "trainer/gemm.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "trainer/gemm_inside.h"
#include "trainer/quant.h"

enum {
	PANEL_FLOATS = 96 * 576, /* one packed panel, on the stack of its thread */
	DEPTH_MAX = 576,
	ROWS_BLOCK = 96,    /* rows of x that stay in cache while the strips pass */
	ROWS_AHEAD = 4,	    /* rows of W asked for before they are unpacked */
	COLUMNS_AHEAD = 16, /* the same where only a few columns of each are */
	TILES_PER_THREAD =
		8, /* so that a thread that is slowed down leaves its tiles to the others */
};

/* chosen once at start: the one thing here that is not an argument */
static _Atomic(const struct gemm_kernel *) selected;

const struct gemm_kernel *gemm_kernel(void)
{
	const struct gemm_kernel *kn = atomic_load_explicit(&selected, memory_order_relaxed);

	if (!kn) {
		kn = gemm_kernel_find("auto");
		atomic_store(&selected, kn);
	}
	return kn;
}

const char *gemm_kernel_select(const char *name)
{
	const struct gemm_kernel *kn = gemm_kernel_find(name);

	if (!kn)
		return NULL;
	atomic_store(&selected, kn);
	return kn->name;
}

long gemm_block_of(const struct tensor *w)
{
	return quant_type_of((int)w->type)->values;
}

/* columns the slowest thread gets when tiles are dealt evenly */
static long largest_share(long columns, long width, int threads)
{
	return ceil_div(ceil_div(columns, width), threads) * width;
}

/* narrower tiles as long as they are few: shares stay even when a core is taken away */
int gemm_plan(struct product *p, int threads, long block, long high)
{
	static const long narrower[] = {64, 32};
	long want = (long)threads * TILES_PER_THREAD;

	p->width = block > 96 ? block : 96;
	for (size_t i = 0; i < sizeof(narrower) / sizeof(narrower[0]) && threads > 1; i++) {
		long now = largest_share(p->columns, p->width, threads),
		     then = largest_share(p->columns, narrower[i], threads);

		if (narrower[i] % block == 0 &&
			(then < now || (then == now && ceil_div(p->columns, p->width) < want)))
			p->width = narrower[i];
	}
	p->column_tiles = (int)ceil_div(p->columns, p->width);
	p->rows = p->m;
	if (p->column_tiles < 2 * threads && threads > 1) {
		long parts = ceil_div(want, p->column_tiles);

		p->rows = ceil_div(ceil_div(p->m, parts), high) * high;
		if (p->rows < 4 * GEMM_ROWS_MAX)
			p->rows = ceil_div(4 * GEMM_ROWS_MAX, high) * high;
	}
	return p->column_tiles * (int)ceil_div(p->m, p->rows);
}

/* part of a row as floats: where it lies when it is f32 already, else in ${into} */
static const float *row_part(const struct gemm_kernel *kn, const struct tensor *w, long row,
	long from, long n, float *into)
{
	if (w->type == TENSOR_F32)
		return (const float *)w->data + row * w->cols + from;
	gemm_unpack(kn, w, row, from, n, into);
	return into;
}

typedef float vec4 __attribute__((vector_size(16), aligned(4)));

/* out[l * 16 + j] = row[j][l], four by four */
static void transpose_16(const float *const row[GEMM_STRIP], long n, float *out)
{
	long l = 0;

	for (; l + 4 <= n; l += 4)
		for (int j = 0; j < GEMM_STRIP; j += 4) {
			vec4 a = *(const vec4 *)(row[j] + l), b = *(const vec4 *)(row[j + 1] + l);
			vec4 c = *(const vec4 *)(row[j + 2] + l),
			     d = *(const vec4 *)(row[j + 3] + l);
			vec4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
			vec4 ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
			vec4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
			vec4 cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
			float *o = out + l * GEMM_STRIP + j;

			*(vec4 *)o = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
			*(vec4 *)(o + GEMM_STRIP) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
			*(vec4 *)(o + 2 * GEMM_STRIP) =
				__builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
			*(vec4 *)(o + 3 * GEMM_STRIP) =
				__builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
		}
	for (; l < n; l++)
		for (int j = 0; j < GEMM_STRIP; j++)
			out[l * GEMM_STRIP + j] = row[j][l];
}

void gemm_row_ahead(const struct product *p, long row, long from, long n)
{
	enum { LINE = 64 };
	const char *at = (const char *)p->w->data + (size_t)row * p->row_bytes +
			 (size_t)from * p->row_bytes / (size_t)p->w->cols;
	const char *end = at + (size_t)n * p->row_bytes / (size_t)p->w->cols;

	if (row < p->w->rows)
		for (; at < end; at += LINE)
			__builtin_prefetch(at);
}

/* forward: strip s holds rows n0 + 16 s ... of W, columns k0 .. k0 + depth, turned so that a
 * strip's 16 rows lie side by side */
static void pack_rows(const struct product *p, long n0, long n, long k0, long depth, float *panel)
{
	float unpacked[GEMM_STRIP][DEPTH_MAX];
	const float *row[GEMM_STRIP];

	for (long s = 0; s < n; s += GEMM_STRIP) {
		for (int j = 0; j < GEMM_STRIP; j++) {
			if (s + j < n) {
				gemm_row_ahead(p, n0 + s + j + ROWS_AHEAD, k0, depth);
				row[j] = row_part(p->kn, p->w, n0 + s + j, k0, depth, unpacked[j]);
				continue;
			}
			memset(unpacked[j], 0, sizeof(unpacked[j]));
			row[j] = unpacked[j];
		}
		transpose_16(row, depth, panel + s * depth);
	}
}

/* backward: strip s holds columns k0 + 16 s ... of W, rows n0 .. n0 + depth */
static void pack_columns(
	const struct product *p, long k0, long n, long n0, long depth, float *panel)
{
	float unpacked[256];

	for (long r = 0; r < depth; r++) {
		gemm_row_ahead(p, n0 + r + COLUMNS_AHEAD, k0, n);
		const float *row = row_part(p->kn, p->w, n0 + r, k0, n, unpacked);

		for (long s = 0; s < n; s += GEMM_STRIP) {
			float *to = panel + s * depth + r * GEMM_STRIP;

			if (n - s >= GEMM_STRIP) {
				memcpy(to, row + s, GEMM_STRIP * sizeof(*to));
				continue;
			}
			memset(to, 0, GEMM_STRIP * sizeof(*to));
			memcpy(to, row + s, (size_t)(n - s) * sizeof(*to));
		}
	}
}

/* all strips of a panel over some rows of x, two strips at a time where the kernel can */
static void panel_run(const struct product *p, long i, long rows, long c0, long n, long k,
	long depth, const float *panel)
{
	const float *in = p->in + i * p->ldin + k;
	float *out = p->out + i * p->ldout + c0;
	bool load = p->add || k > 0;
	long s = 0;

	for (; p->kn->run_pair && s + 2 * GEMM_STRIP <= n; s += 2 * GEMM_STRIP)
		gemm_pair(p->kn, rows, depth, in, p->ldin, 1, panel + s * depth,
			panel + (s + GEMM_STRIP) * depth, GEMM_STRIP, out + s, p->ldout, load);
	for (; s < n; s += GEMM_STRIP)
		gemm_strip(p->kn, rows, depth, in, p->ldin, 1, panel + s * depth, GEMM_STRIP,
			out + s, p->ldout, n - s < GEMM_STRIP ? (int)(n - s) : GEMM_STRIP, load);
}

static void tile_run(const struct product *p, int tile,
	void (*pack)(const struct product *, long, long, long, long, float *))
{
	_Alignas(64) float panel[PANEL_FLOATS];
	long c0 = tile % p->column_tiles * p->width, i0 = tile / p->column_tiles * p->rows;
	long n = p->columns - c0 < p->width ? p->columns - c0 : p->width;
	long end = i0 + p->rows < p->m ? i0 + p->rows : p->m;

	for (long k = 0; k < p->sum; k += p->depth) {
		long depth = p->sum - k < p->depth ? p->sum - k : p->depth;

		pack(p, c0, n, k, depth, panel);
		for (long i = i0; i < end; i += ROWS_BLOCK)
			panel_run(p, i, end - i < ROWS_BLOCK ? end - i : ROWS_BLOCK, c0, n, k,
				depth, panel);
	}
}

static void forward_tile(void *arg, int tile, int thread)
{
	(void)thread;
	tile_run(arg, tile, pack_rows);
}

static void backward_tile(void *arg, int tile, int thread)
{
	(void)thread;
	tile_run(arg, tile, pack_columns);
}

/* decided by the shape of W alone: an element's bits must not depend on the number of rows */
static bool by_tiles(const struct product *p)
{
	return p->kn->tiles && p->columns >= GEMM_AMX_LEAST && p->sum >= GEMM_AMX_LEAST;
}

void gemm_forward(struct threads *th, float *y, long ldy, const float *x, long ldx, long m,
	const struct tensor *w, bool add)
{
	long block = gemm_block_of(w);
	struct product p = {
		.kn = gemm_kernel(),
		.out = y,
		.in = x,
		.w = w,
		.row_bytes = tensor_row_bytes((int)w->type, w->cols),
		.ldout = ldy,
		.ldin = ldx,
		.m = m,
		.columns = w->rows,
		.sum = w->cols,
		.add = add,
	};

	if (m <= 0)
		return;
	if (by_tiles(&p)) {
		gemm_amx(th, &p, true);
		return;
	}
	/* panels of about equal depth, whole blocks each */
	p.depth =
		block == 256 ? 256 : ceil_div(ceil_div(p.sum, ceil_div(p.sum, DEPTH_MAX)), 32) * 32;
	threads_run(th, gemm_plan(&p, threads_count(th), 1, GEMM_ROWS_MAX), forward_tile, &p);
}

void gemm_backward(struct threads *th, float *dx, long lddx, const float *dy, long lddy, long m,
	const struct tensor *w, bool add)
{
	struct product p = {
		.kn = gemm_kernel(),
		.out = dx,
		.in = dy,
		.w = w,
		.row_bytes = tensor_row_bytes((int)w->type, w->cols),
		.ldout = lddx,
		.ldin = lddy,
		.m = m,
		.columns = w->cols,
		.sum = w->rows,
		.add = add,
	};

	if (m <= 0)
		return;
	if (by_tiles(&p)) {
		gemm_amx(th, &p, false);
		return;
	}
	int tiles = gemm_plan(&p, threads_count(th), gemm_block_of(w), GEMM_ROWS_MAX);

	p.depth = PANEL_FLOATS / (ceil_div(p.width, GEMM_STRIP) * GEMM_STRIP);
	if (p.depth > DEPTH_MAX)
		p.depth = DEPTH_MAX;
	threads_run(th, tiles, backward_tile, &p);
}
