/*
 * gemm_inside - what gemm.c and gemm_amx.c share: one product, and how it is cut into tiles.
 */
#ifndef KOLM_GEMM_INSIDE_H
#define KOLM_GEMM_INSIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "trainer/gemm_kern.h"

struct product {
	const struct gemm_kernel *kn;
	float *out;
	const float *in;
	const struct tensor *w;
	long ldout, ldin, m, width, rows, depth;
	long columns; /* of the result */
	long sum;     /* length of the contraction */
	int column_tiles;
	bool add;
};

/* gemm_plan(p, threads, block, high): how wide and how high a tile is: ${block} columns or whole
 * multiples, whole multiples of ${high} rows; returns how many there are. Never decides a bit of
 * the result. */
int gemm_plan(struct product *p, int threads, long block, long high);

/* gemm_block_of(w): values of a row that are unpacked together */
long gemm_block_of(const struct tensor *w);

static inline long ceil_div(long a, long b)
{
	return (a + b - 1) / b;
}

/* gemm_amx_usable(): this processor and kernel have tiles of bfloat16, this process may use them
 * (asked for here: before any wall), and a product comes out right. */
bool gemm_amx_usable(void);

/* gemm_amx(th, p, forward): the product by tiles, of x = p->in with W^T, or with W. At least
 * GEMM_AMX_LEAST columns and terms of each sum. */
enum { GEMM_AMX_LEAST = 32 };
void gemm_amx(struct threads *th, struct product *p, bool forward);

#endif
