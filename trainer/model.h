/*
 * model - a llama-like base model: configuration, frozen tensors, tokenizer and chat template,
 * bound from a GGUF file or a Hugging Face folder by one table of architectures.
 *
 * Everything is borrowed from a read-only mapping that lives as long as the model. One block:
 *   h = x + post(Wo attn(rope(norm(Wq n1)), rope(norm(Wk n1)), Wv n1)),  n1 = rmsnorm(x, attn_norm)
 *   y = h + post(Wdown (act(Wgate n2) * Wup n2)),                        n2 = rmsnorm(h, ffn_norm)
 * where post and the norms of q and k are there when the layer has their weights.
 */
#ifndef KOLM_MODEL_H
#define KOLM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/tensor.h"

struct tokenizer;
struct chat;
struct model_map; /* the mapping(s) and what was parsed from them */

/* the projections an adapter can sit on, in the order of PEFT's usual target_modules */
enum module {
	MODULE_Q,
	MODULE_K,
	MODULE_V,
	MODULE_O,
	MODULE_GATE,
	MODULE_UP,
	MODULE_DOWN,
	MODULES
};

/* which angles the queries and keys of a layer are rotated by */
enum rope {
	ROPE_MAIN,
	ROPE_LOCAL, /* gemma 3: those of its windows */
	ROPE_NONE   /* smollm 3: every fourth layer */
};

struct layer {
	struct tensor w[MODULES];
	const float *bias[MODULES]; /* NULL where there is none; rows floats */
	const float *attn_norm;	    /* dim */
	const float *ffn_norm;	    /* dim */
	const float *q_norm;	    /* head_dim, or NULL (qwen3, gemma3) */
	const float *k_norm;
	const float *attn_post; /* dim, or NULL (gemma2, gemma3) */
	const float *ffn_post;
	int window; /* a query sees this many keys, itself included; 0: all before it */
	enum rope rope;
};

struct model {
	char arch[32]; /* "llama", "qwen2", ... */
	int layers;
	int dim; /* H */
	int ffn; /* I */
	int heads;
	int kv_heads;
	int head_dim;
	int vocab;
	int context;
	float norm_eps;
	float *rope_freq;  /* head_dim / 2 inverse frequencies, scaling applied; owned */
	float *rope_local; /* likewise for ROPE_LOCAL layers; NULL without any; owned */
	bool rope_pairs;   /* true: rotate (2i, 2i+1), as GGUF's llama rows are permuted for; false:
			      (i, i + d/2), as Hugging Face */
	bool rows_permuted;  /* q and k rows stand in GGUF's order; adapters are permuted on the way
				in and out */
	bool gelu;	     /* act is the tanh form of gelu instead of silu */
	float embed_scale;   /* 0: embeddings are used as they are */
	float attn_scale;    /* of scores; 0: 1 / sqrt(head_dim) */
	float attn_cap;	     /* scores s become cap * tanh(s / cap); 0: not */
	float final_cap;     /* logits likewise */
	struct tensor embed; /* vocab x dim */
	struct tensor head;  /* vocab x dim; the same data as embed when tied */
	const float *final_norm;
	struct layer *layer; /* owned, ${layers} of them */
	struct tokenizer *tokenizer;
	struct chat *chat;
	struct model_map *map;
};

/*
 * model_open(fd, out, err): ${fd} is an open GGUF file or an open folder (borrowed). Checks every
 * header, count, offset and shape before anything is allocated or read; weights are mapped, not
 * copied. -EBADMSG damaged, -EOPNOTSUPP an architecture, version or tensor type that is not known
 * (named, with the list of what is).
 */
int model_open(int fd, struct model **out, struct err *err);
void model_free(struct model *m);

/* model_lost(m): true when a file of the base was cut short since it was opened: what was computed
 * from then on is worth nothing. */
bool model_lost(const struct model *m);

/* model_module_name(i): "q_proj" ... ; model_module_path(i): "self_attn.q_proj" ... (names of
 * Hugging Face). */
const char *model_module_name(enum module i);
const char *model_module_path(enum module i);
const char *model_module_gguf(enum module i); /* "attn_q" */

/* model_params(m): all weights of the base. */
uint64_t model_params(const struct model *m);

#endif
