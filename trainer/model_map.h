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

enum { MODEL_TYPES = 64, LAYERS_MAX = 1024 };

struct model_piece {
	void *at;
	size_t bytes;
};

/* lives as long as its model */
struct model_map {
	struct model_piece *piece; /* read-only file mappings, owned */
	size_t pieces;
	size_t bytes;  /* of all files that hold tensors */
	float *memory; /* norms and biases as floats, owned */
	size_t used;
	size_t size;
	void *headers; /* what was parsed from the mappings; freed by ${headers_free} */
	void (*headers_free)(void *headers);
	const struct tensor *(*find)(const void *headers, const char *name);
	bool hf_names;
	uint64_t params;
	int types[MODEL_TYPES]; /* tensors of each type */
	struct buf template;	/* the chat template's text, empty when there is none */
};

enum arch_flags {
	ARCH_QKV_BIAS = 1,     /* must be there */
	ARCH_QK_NORM = 2,      /* must be there */
	ARCH_PERMUTED = 4,     /* GGUF files hold q and k rows permuted */
	ARCH_POST_NORMS = 8,   /* norms behind attention and feed-forward too */
	ARCH_PLUS_ONE = 16,    /* Hugging Face files hold norm weights less one */
	ARCH_EMBED_SCALE = 32, /* embeddings times sqrt(dim) */
	ARCH_GELU = 64,
};

/* one row of the table of architectures; numbers are what a file means that does not say */
struct model_arch {
	const char *name;
	const char *hf_type; /* model_type of config.json */
	unsigned flags;
	double theta, theta_local; /* bases of the rope; local 0: windows use the same */
	int head_dim;		   /* 0: dim / heads */
	int window;		   /* 0: none */
	int full_step;		   /* every such layer has no window; 0: all have it */
	int nope_step;		   /* every such layer has no rope; 0: all have it */
	float attn_cap, final_cap;
};

/* model_arch_find(name, hf, err): by GGUF's name or config.json's model_type; NULL sets -EOPNOTSUPP
 * with the list. */
const struct model_arch *model_arch_find(const char *name, size_t len, bool hf, struct err *err);

/* model_layers(m, arch, window, full_step, err): m->layer with the windows and ropes of its layers.
 * model_layer_window(): of one layer. */
int model_layers(
	struct model *m, const struct model_arch *arch, int window, int full_step, struct err *err);
void model_layer_window(struct model *m, const struct model_arch *arch, int i, int window);

/* model_map_file(mm, fd, err): map a whole regular file read-only; index of the piece or a negative
 * errno. */
int model_map_file(struct model_map *mm, int fd, struct err *err);

/* fill configuration, tokenizer, template and mm->headers of ${m}; on failure model_free() cleans
 * up */
int model_read_gguf(struct model *m, int fd, struct err *err);
int model_read_hf(struct model *m, int dirfd, struct err *err);
/* the part of it that config.json says */
struct cJSON;
int hf_read_config(struct model *m, const struct cJSON *config, struct err *err);

/* model_rope(m, theta, out, err): plain inverse frequencies, owned by the caller; scaling is
 * applied on them. */
int model_rope(const struct model *m, double theta, float **out, struct err *err);

/* model_drop_pages(m): the mapped pages may leave memory; they come back from the file when
 * touched. */
void model_drop_pages(const struct model *m);

#endif
