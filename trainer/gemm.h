/*
 * gemm - float products with frozen weights of any tensor type, dequantised while they are packed.
 *
 * Deterministic: the result of an element depends on its row of x, its column of W and the kernel
 * family only, never on M, on the number of threads or on tiling. Kernel families: "amx" (tiles of
 * bfloat16), "avx2" (AVX2+FMA; "avx512" is its faster form), "portable".
 */
#ifndef KOLM_GEMM_H
#define KOLM_GEMM_H

#include <stdbool.h>

#include "trainer/tensor.h"
#include "trainer/threads.h"

/* gemm_kernel_select(name): "auto", "vector" (the best without tiles), "amx", "avx512", "avx2",
 * "portable"; returns the family's name in use, NULL when this machine or program does not have it.
 * Called once at start, before any product and any wall. */
const char *gemm_kernel_select(const char *name);

/* y(M,N) = x(M,K) W(N,K)^T; with ${add}, y += . Row strides ldy, ldx in floats. */
void gemm_forward(struct threads *th, float *y, long ldy, const float *x, long ldx, long m,
	const struct tensor *w, bool add);

/* dx(M,K) = dy(M,N) W(N,K); with ${add}, dx += . */
void gemm_backward(struct threads *th, float *dx, long lddx, const float *dy, long lddy, long m,
	const struct tensor *w, bool add);

#endif
