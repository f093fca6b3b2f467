/*
 * model_map - what the two file formats hand to the one binder in model.c: a configuration, tensors
 * by name, the mapping.
 *
 * Private to model.c, model_gguf.c and hf.c.
 */
#ifndef KOLM_MODEL_MAP_H
#define KOLM_MODEL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "trainer/model.h"

enum { MODEL_TYPES = 64 };

struct model_piece {
	void *at;
	size_t bytes;
};

/* lives as long as its model */
struct model_map {
	struct model_piece *piece; /* read-only file mappings, owned */
	size_t pieces;
	float *memory; /* norms and biases as floats, owned */
	size_t used;
	size_t size;
	void *headers; /* what was parsed from the mappings; freed by ${headers_free} */
	void (*headers_free)(void *headers);
	const struct tensor *(*find)(const void *headers, const char *name);
	bool hf_names;
	uint64_t params;
	int types[MODEL_TYPES]; /* tensors of each type */
	double rope_theta;
	struct buf template; /* the chat template's text, empty when there is none */
};

/* one row of the table of architectures */
struct model_arch {
	const char *name;
	bool qkv_bias;	     /* must be there */
	bool qk_norm;	     /* must be there */
	bool permuted_rows;  /* GGUF files hold q and k rows permuted */
	const char *hf_type; /* model_type of config.json */
};

/* model_arch_find(name, hf, err): by GGUF's name or config.json's model_type; NULL sets -EOPNOTSUPP
 * with the list. */
const struct model_arch *model_arch_find(const char *name, size_t len, bool hf, struct err *err);

/* model_map_file(mm, fd, err): map a whole regular file read-only; index of the piece or a negative
 * errno. */
int model_map_file(struct model_map *mm, int fd, struct err *err);

/* fill configuration, tokenizer, template and mm->headers of ${m}; on failure model_free() cleans
 * up */
int model_read_gguf(struct model *m, int fd, struct err *err);
int model_read_hf(struct model *m, int dirfd, struct err *err);

/* model_rope(m, theta, dim, err): plain inverse frequencies; scaling is applied on them. */
int model_rope(struct model *m, double theta, struct err *err);

/* model_drop_pages(m): the mapped pages may leave memory; they come back from the file when
 * touched. */
void model_drop_pages(const struct model *m);

#endif
