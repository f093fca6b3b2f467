/*
 * tensor - a frozen matrix of the base model as it lies in its file.
 *
 * rows x cols, row-major: row r holds the weights of output r, cols is the input width (GGUF: ne[0]
 * = cols, ne[1] = rows; safetensors: shape [rows, cols]). The bytes are borrowed from the model's
 * mapping. Block layouts: ggml's, described in the GGUF specification (ggml-org/ggml docs/gguf.md).
 */
#ifndef KOLM_TENSOR_H
#define KOLM_TENSOR_H

#include <stddef.h>
#include <stdint.h>

/* numbers as in GGUF files */
enum tensor_type {
	TENSOR_F32 = 0,
	TENSOR_F16 = 1,
	TENSOR_Q4_0 = 2,
	TENSOR_Q4_1 = 3,
	TENSOR_Q5_0 = 6,
	TENSOR_Q5_1 = 7,
	TENSOR_Q8_0 = 8,
	TENSOR_Q2_K = 10,
	TENSOR_Q3_K = 11,
	TENSOR_Q4_K = 12,
	TENSOR_Q5_K = 13,
	TENSOR_Q6_K = 14,
	TENSOR_IQ4_NL = 20,
	TENSOR_IQ4_XS = 23,
	TENSOR_BF16 = 30,
};

struct tensor {
	enum tensor_type type;
	int64_t rows;
	int64_t cols;
	const void *data; /* borrowed; rows * tensor_row_bytes() bytes */
};

/* tensor_type_name(type): "Q4_1", or NULL when we do not read it. */
const char *tensor_type_name(int type);

/* tensor_row_bytes(type, cols): bytes of one row, 0 when cols is not a whole number of blocks or
 * the type is unknown. */
size_t tensor_row_bytes(int type, int64_t cols);

/* tensor_row(t, row, out): dequantise one row into ${out} (cols floats), exactly as ggml's
 * reference dequantisation. */
void tensor_row(const struct tensor *t, int64_t row, float *out);

/* tensor_row_part(t, row, from, n, out): ${n} values of a row from column ${from}; both whole
 * multiples of 32 (of 256 for the K types and IQ4_XS). What gemm.c calls while it packs. */
void tensor_row_part(const struct tensor *t, int64_t row, int64_t from, int64_t n, float *out);

#endif
