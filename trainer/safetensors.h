/*
 * safetensors - files of named tensors: 8 bytes header length, a JSON header, raw row-major
 * little-endian data.
 *
 * Format: https://github.com/huggingface/safetensors (format section). Reading maps the file and
 * believes nothing it says before it is checked; writing is deterministic.
 */
#ifndef KOLM_SAFETENSORS_H
#define KOLM_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SAFETENSORS_HEADER_MAX = 100 * 1000 * 1000, SAFETENSORS_DIMS_MAX = 8 };

struct safetensors; /* an open file: mapping and table; opaque */

struct safetensors_entry {
	const char *name;  /* UTF-8, borrowed from the file's table */
	const char *dtype; /* "F32", "F16", "BF16", "I64", ... */
	int dims;
	int64_t shape[SAFETENSORS_DIMS_MAX];
	const void *data; /* borrowed until safetensors_close(), may not be aligned */
	size_t bytes;
};

/*
 * safetensors_open(fd, out, err): map and check ${fd} (borrowed for the call). -EBADMSG "header
 * length", 'tensor "...": offsets', 'tensor
 * "...": shape', 'tensor "...": 96 bytes for 8x8 F32', 'tensor "...": dtype ...' (BAD-INPUTS
 * I01-I04), a header that is not JSON.
 */
int safetensors_open(int fd, struct safetensors **out, struct err *err);
void safetensors_close(struct safetensors *st);

size_t safetensors_count(const struct safetensors *st);
/* in the order of their data; safetensors_find(): NULL when there is none of that name. */
const struct safetensors_entry *safetensors_at(const struct safetensors *st, size_t i);
const struct safetensors_entry *safetensors_find(const struct safetensors *st, const char *name);

/* safetensors_floats(entry, out): all values as floats; -EOPNOTSUPP when it is none of F32, F16,
 * BF16; -ESTALE when the file was cut short meanwhile. */
int safetensors_floats(const struct safetensors_entry *entry, float *out);

/* safetensors_shape(entry, out): "16x896", for messages. Returns out. */
const char *safetensors_shape(const struct safetensors_entry *entry, char out[96]);

/* a matrix to write; all borrowed */
struct safetensors_put {
	const char *name;
	int64_t rows, cols;
	const float *data;
};

/* safetensors_write(fd, put, n, err): F32 matrices in the order given (callers sort by name),
 * metadata {"format":"pt"}. */
int safetensors_write(int fd, const struct safetensors_put *put, size_t n, struct err *err);

#endif
