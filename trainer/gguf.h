/*
 * gguf - a GGUF file (versions 2 and 3, little endian) in memory: checked whole before anything is
 * believed.
 *
 * Everything returned is borrowed from the bytes given to gguf_parse(), which must outlive it. No
 * count of the file leads to an allocation before it was compared with the bytes that are there.
 */
#ifndef KOLM_GGUF_H
#define KOLM_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/tensor.h"

struct gguf;

/* value types of the metadata */
enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_TYPES,
};

struct gguf_array {
	enum gguf_type type; /* of the items; never GGUF_ARRAY */
	uint64_t n;
	const uint8_t *at; /* the first item not yet read */
};

/* gguf_parse(data, size, out, err): -EBADMSG damaged, -EOPNOTSUPP a version, byte order or tensor
 * type that is not read. */
int gguf_parse(const void *data, size_t size, struct gguf **out, struct err *err);
void gguf_free(struct gguf *g);

/* metadata by key; false when absent or of another kind */
bool gguf_int(const struct gguf *g, const char *key, int64_t *out);
bool gguf_real(const struct gguf *g, const char *key, double *out);
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_text(const struct gguf *g, const char *key, const char **text, size_t *len);
bool gguf_array(const struct gguf *g, const char *key, struct gguf_array *out);

/* the next item of an array of strings, numbers; call at most ${n} times */
void gguf_next_text(struct gguf_array *array, const char **text, size_t *len);
double gguf_next_real(struct gguf_array *array);

/* gguf_tensor(g, name): NULL when there is none. A tensor of one dimension is a single row. */
const struct tensor *gguf_tensor(const struct gguf *g, const char *name);

/* gguf_raw_keys(g, len, count): the key-value pairs as they stand in the file. gguf_tensor_name(g,
 * i, len): not terminated. */
const void *gguf_raw_keys(const struct gguf *g, size_t *len, uint64_t *count);
const char *gguf_tensor_name(const struct gguf *g, size_t i, size_t *len);

/* gguf_tensor_at(g, i): tensors in the order of the file, NULL behind the last. */
const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i);

#endif
