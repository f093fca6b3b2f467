/* a small random llama in memory: F32 weights, two layers, grouped heads */
#ifndef LM_TINY_H
#define LM_TINY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/counter.h"
#include "trainer/model.h"

static inline float *tiny_floats(uint64_t key, size_t n, float scale, float mean)
{
	float *p = aligned_alloc(64, (n * sizeof(*p) + 127) / 64 * 64);

	for (size_t i = 0; i < n; i++)
		p[i] = mean + scale * (2 * counter_unit(counter_mix(key, i)) - 1);
	return p;
}

static inline struct tensor tiny_tensor(uint64_t key, int rows, int cols)
{
	return (struct tensor){TENSOR_F32, rows, cols,
		tiny_floats(key, (size_t)(rows * cols), 2.0f / sqrtf((float)cols), 0)};
}

static inline struct model *tiny_model(bool norms, bool biases, bool pairs)
{
	struct model *m = calloc(1, sizeof(*m));

	*m = (struct model){.arch = "llama",
		.layers = 2,
		.dim = 24,
		.ffn = 40,
		.heads = 4,
		.kv_heads = 2,
		.head_dim = 8,
		.vocab = 50,
		.context = 128,
		.norm_eps = 1e-5f,
		.rope_pairs = pairs,
		.rows_permuted = pairs};
	m->rope_freq = malloc(4 * sizeof(float));
	for (int i = 0; i < 4; i++)
		m->rope_freq[i] = powf(100, -2.0f * (float)i / 8);
	m->embed = tiny_tensor(1, m->vocab, m->dim);
	m->head = tiny_tensor(2, m->vocab, m->dim);
	m->final_norm = tiny_floats(3, (size_t)m->dim, 0.3f, 1);
	m->layer = calloc((size_t)m->layers, sizeof(*m->layer));
	for (int l = 0; l < m->layers; l++) {
		const int out[MODULES] = {32, 16, 16, 24, 40, 40, 24},
			  in[MODULES] = {24, 24, 24, 32, 24, 24, 40};
		struct layer *ly = &m->layer[l];

		for (int i = 0; i < MODULES; i++) {
			ly->w[i] = tiny_tensor((uint64_t)(100 * l + 10 + i), out[i], in[i]);
			if (biases && i <= MODULE_V)
				ly->bias[i] = tiny_floats(
					(uint64_t)(100 * l + 30 + i), (size_t)out[i], 0.2f, 0);
		}
		ly->attn_norm = tiny_floats((uint64_t)(100 * l + 40), 24, 0.3f, 1);
		ly->ffn_norm = tiny_floats((uint64_t)(100 * l + 41), 24, 0.3f, 1);
		if (norms) {
			ly->q_norm = tiny_floats((uint64_t)(100 * l + 42), 8, 0.3f, 1);
			ly->k_norm = tiny_floats((uint64_t)(100 * l + 43), 8, 0.3f, 1);
		}
	}
	return m;
}

/* all that gemma 2, gemma 3, mistral and smollm 3 have beyond llama, at once */
static inline void tiny_adorn(struct model *m)
{
	m->gelu = true;
	m->embed_scale = 1.7f;
	m->attn_scale = 0.4f;
	m->attn_cap = 1.5f;
	m->final_cap = 2;
	m->rope_local = malloc(4 * sizeof(float));
	for (int i = 0; i < 4; i++)
		m->rope_local[i] = powf(10, -2.0f * (float)i / 8);
	for (int l = 0; l < m->layers; l++) {
		m->layer[l].attn_post = tiny_floats((uint64_t)(100 * l + 44), 24, 0.3f, 1);
		m->layer[l].ffn_post = tiny_floats((uint64_t)(100 * l + 45), 24, 0.3f, 1);
		m->layer[l].window = l == 0 ? 4 : 7;
		m->layer[l].rope = l == 0 ? ROPE_LOCAL : ROPE_NONE;
	}
}

static inline void tiny_free(struct model *m)
{
	for (int l = 0; l < m->layers; l++) {
		struct layer *ly = &m->layer[l];

		for (int i = 0; i < MODULES; i++) {
			free((void *)ly->w[i].data);
			free((void *)ly->bias[i]);
		}
		free((void *)ly->attn_norm);
		free((void *)ly->ffn_norm);
		free((void *)ly->q_norm);
		free((void *)ly->k_norm);
		free((void *)ly->attn_post);
		free((void *)ly->ffn_post);
	}
	free((void *)m->embed.data);
	free((void *)m->head.data);
	free((void *)m->final_norm);
	free(m->rope_freq);
	free(m->rope_local);
	free(m->layer);
	free(m);
}

#endif
