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

/* forward: strip s holds rows n0 + 16 s ... of W, columns k0 .. k0 + depth, turned so that a
 * strip's 16 rows lie side by side */
static void pack_rows(const struct product *p, long n0, long n, long k0, long depth, float *panel)
{
	for (long s = 0; s < n; s += GEMM_STRIP)
		gemm_unpack_turned(p->kn, p->w, n0 + s, k0, depth, panel + s * depth);
}

/* backward: strip s holds columns k0 + 16 s ... of W, rows n0 .. n0 + depth */
static void pack_columns(
	const struct product *p, long k0, long n, long n0, long depth, float *panel)
{
	gemm_unpack_down(p->kn, p->w, n0, depth, k0, n, panel, GEMM_STRIP * depth);
}

/* all strips of a panel over some rows of x, two strips at a time where the kernel can: as many
 * rows as the kernel takes at once, so that they stay in the first-level cache while the strips
 * pass */
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
		for (long i = i0, rows; i < end; i += rows) {
			rows = gemm_piece_rows(p->kn, end - i);
			panel_run(p, i, rows, c0, n, k, depth, panel);
		}
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
