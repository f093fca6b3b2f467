/*
 * gemm_kern - the innermost products, in registers: c(m,16) (+)= a(m,k) b(k,16).
 *
 * Every element is one chain over k in rising order, so how a product is cut into blocks never
 * changes a bit. The AVX2 and AVX512 kernels use fused multiply-add and give equal bits; the
 * portable one rounds twice.
 */
#ifndef KOLM_GEMM_KERN_H
#define KOLM_GEMM_KERN_H

#include <stdbool.h>

#include "trainer/tensor.h"
#include "trainer/threads.h"

enum { GEMM_STRIP = 16, GEMM_ROWS_MAX = 12 };

/* c, a and b as above, ${m} at most ${rows} of the kernel. a's element (i,k) is a[i * a_row + k *
 * a_k], b's row k starts at b + k * b_k. With ${load} the chain starts from what c holds. */
typedef void gemm_kern_fn(int m, long k, const float *a, long a_row, long a_k, const float *b,
	long b_k, float *c, long ldc, bool load);

/* the same for 32 columns: the second 16 of b's row k start at b2 + k * b_k, c's at c + 16 */
typedef void gemm_pair_fn(int m, long k, const float *a, long a_row, long a_k, const float *b,
	const float *b2, long b_k, float *c, long ldc, bool load);

enum gemm_vectors { GEMM_PLAIN, GEMM_AVX2, GEMM_AVX512 };

struct gemm_kernel {
	const char *name; /* of the family */
	int rows;
	enum gemm_vectors vectors; /* for unpacking */
	gemm_kern_fn *run;
	gemm_pair_fn *run_pair; /* NULL: no faster than two strips */
	bool tiles;		/* products with W are gemm_amx()'s; the rest are avx512's */
};

/* gemm_kernel_find(name): "auto" is the best of this machine, "vector" the best for few rows, which
 * tiles are not; NULL when there is none of that name. */
const struct gemm_kernel *gemm_kernel_find(const char *name);

/* gemm_kernel(): the one gemm_kernel_select() chose ("auto" before it was called). */
const struct gemm_kernel *gemm_kernel(void);

/* gemm_piece_rows(kn, left): how many rows to take next of ${left}: pieces of about equal height,
 * so that none is so low that it waits for its own sums */
int gemm_piece_rows(const struct gemm_kernel *kn, long left);

/* gemm_strip(kn, ...): one strip of any height. ${cols}: how many of the 16 columns of c exist; b
 * always has 16. */
void gemm_strip(const struct gemm_kernel *kn, long m, long k, const float *a, long a_row, long a_k,
	const float *b, long b_k, float *c, long ldc, int cols, bool load);

/* gemm_pair(kn, ...): two whole strips of any height; the kernel has run_pair. */
void gemm_pair(const struct gemm_kernel *kn, long m, long k, const float *a, long a_row, long a_k,
	const float *b, const float *b2, long b_k, float *c, long ldc, bool load);

/* gemm_block(c, a, b, m, n, k, load): c(m,n) (+)= a(m,k) b(k,n) on one thread, b as it lies in
 * memory. */
void gemm_block(long m, long n, long k, const float *a, long a_row, long a_k, const float *b,
	long b_k, float *c, long ldc, bool load);

/* gemm_outer(th, c, u, v, m): c(p,q) += u(m,p)^T v(m,q), summed over m in order; c is dense. */
void gemm_outer(struct threads *th, float *c, const float *u, long ldu, long p, const float *v,
	long ldv, long q, long m);

/* gemm_unpack(kn, t, row, from, n, out): tensor_row_part() with the vectors the kernel has. */
void gemm_unpack(const struct gemm_kernel *kn, const struct tensor *t, int64_t row, int64_t from,
	int64_t n, float *out);

/* gemm_unpack_down(kn, t, row, rows, from, n, out, apart): of ${rows} rows the columns from ..
 * from + n, in strips of 16 that begin ${apart} floats apart: value j of a strip's row r at
 * [r * 16 + j]. What the last strip lacks of 16 is zeros. */
void gemm_unpack_down(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t rows, int64_t from, int64_t n, float *out, long apart);

/* gemm_unpack_turned(kn, t, row, from, n, out): of 16 rows from ${row} on, value l of the i-th at
 * out[l * 16 + i]. Rows that ${t} does not have are zeros. */
void gemm_unpack_turned(const struct gemm_kernel *kn, const struct tensor *t, int64_t row,
	int64_t from, int64_t n, float *out);

/* gemm_row_ahead(t, row, from, n): ask for the bytes of a part of a row that will be unpacked soon:
 * the parts are too short for the machine to see by itself where the next one lies */
void gemm_row_ahead(const struct tensor *t, int64_t row, int64_t from, int64_t n);

#endif
