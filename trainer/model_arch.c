/*
 * model_arch - what is known of each architecture, in one table, and what follows from it for the
 * layers of a model.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/model_map.h"

enum { GEMMA = ARCH_PLUS_ONE | ARCH_EMBED_SCALE | ARCH_GELU };

static const struct model_arch archs[] = {
	{.name = "llama", .hf_type = "llama", .flags = ARCH_PERMUTED, .theta = 1e4},
	{.name = "mistral", .hf_type = "mistral", .flags = ARCH_PERMUTED, .theta = 1e4},
	{.name = "qwen2", .hf_type = "qwen2", .flags = ARCH_QKV_BIAS, .theta = 1e4},
	{.name = "qwen3", .hf_type = "qwen3", .flags = ARCH_QK_NORM, .theta = 1e4},
	{.name = "smollm3",
		.hf_type = "smollm3",
		.flags = ARCH_PERMUTED,
		.theta = 2e6,
		.nope_step = 4},
	{.name = "gemma", .hf_type = "gemma", .flags = GEMMA, .theta = 1e4, .head_dim = 256},
	{.name = "gemma2",
		.hf_type = "gemma2",
		.flags = GEMMA | ARCH_POST_NORMS,
		.theta = 1e4,
		.head_dim = 256,
		.window = 4096,
		.full_step = 2,
		.attn_cap = 50,
		.final_cap = 30},
	{.name = "gemma3",
		.hf_type = "gemma3_text",
		.flags = GEMMA | ARCH_POST_NORMS | ARCH_QK_NORM,
		.theta = 1e6,
		.theta_local = 1e4,
		.head_dim = 256,
		.window = 4096,
		.full_step = 6},
};

const struct model_arch *model_arch_find(const char *name, size_t len, bool hf, struct err *err)
{
	const size_t n = sizeof(archs) / sizeof(archs[0]);
	char quoted[ERR_QUOTE_BYTES + 8], known[256] = "";

	for (size_t i = 0; i < n; i++) {
		const char *one = hf ? archs[i].hf_type : archs[i].name;

		if (strlen(one) == len && memcmp(one, name, len) == 0)
			return &archs[i];
		strcat(strcat(known, i ? ", " : ""), one);
	}
	err_set(err, EOPNOTSUPP, "architecture \"%s\" is not known (%s are)",
		err_quote(quoted, name, len), known);
	return NULL;
}

int model_layers(
	struct model *m, const struct model_arch *arch, int window, int full_step, struct err *err)
{
	if (m->layers < 1 || m->layers > LAYERS_MAX)
		return err_set(err, EBADMSG, "base model: layer count %d is not between 1 and %d",
			m->layers, LAYERS_MAX);
	m->layer = calloc((size_t)m->layers, sizeof(m->layer[0]));
	if (!m->layer)
		return err_nomem(err);
	for (int i = 0; i < m->layers; i++) {
		bool full = full_step > 0 && (i + 1) % full_step == 0;

		model_layer_window(m, arch, i, full ? 0 : window);
		if (arch->nope_step && (i + 1) % arch->nope_step == 0)
			m->layer[i].rope = ROPE_NONE;
	}
	return 0;
}

void model_layer_window(struct model *m, const struct model_arch *arch, int i, int window)
{
	m->layer[i].window = window;
	if (arch->theta_local > 0)
		m->layer[i].rope = window ? ROPE_LOCAL : ROPE_MAIN;
}
