#include "trainer/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "trainer/chat.h"
#include "base/guard.h"
#include "trainer/model_map.h"
#include "trainer/tokenizer_load.h"

/* names of the tensors of a layer, GGUF's and Hugging Face's; %d is the layer */
static const char *const module_names[MODULES][3] = {
	[MODULE_Q] = {"q_proj", "self_attn.q_proj", "attn_q"},
	[MODULE_K] = {"k_proj", "self_attn.k_proj", "attn_k"},
	[MODULE_V] = {"v_proj", "self_attn.v_proj", "attn_v"},
	[MODULE_O] = {"o_proj", "self_attn.o_proj", "attn_output"},
	[MODULE_GATE] = {"gate_proj", "mlp.gate_proj", "ffn_gate"},
	[MODULE_UP] = {"up_proj", "mlp.up_proj", "ffn_up"},
	[MODULE_DOWN] = {"down_proj", "mlp.down_proj", "ffn_down"},
};

enum { POST_VECTORS = 4 }; /* where bind_layer()'s list comes to them */

const char *model_module_name(enum module i)
{
	return module_names[i][0];
}

const char *model_module_path(enum module i)
{
	return module_names[i][1];
}

const char *model_module_gguf(enum module i)
{
	return module_names[i][2];
}

uint64_t model_params(const struct model *m)
{
	return m->map->params;
}

int model_map_file(struct model_map *mm, int fd, struct err *err)
{
	struct model_piece *more;
	struct stat st;
	void *at;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot look at the base model");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "base model is not a regular file");
	if (st.st_size == 0)
		return err_set(err, EBADMSG, "base model file is empty");
	more = realloc(mm->piece, (mm->pieces + 1) * sizeof(*more));
	if (!more)
		return err_nomem(err);
	mm->piece = more;
	rc = guard_map(fd, (size_t)st.st_size, &at, err);
	if (rc < 0)
		return rc;
	mm->piece[mm->pieces] = (struct model_piece){at, (size_t)st.st_size};
	mm->bytes += (size_t)st.st_size;
	return (int)mm->pieces++;
}

void model_drop_pages(const struct model *m)
{
	for (size_t i = 0; i < m->map->pieces; i++)
		(void)madvise(m->map->piece[i].at, m->map->piece[i].bytes, MADV_DONTNEED);
}

bool model_lost(const struct model *m)
{
	for (int i = 0; i < m->layers * MODULES; i++)
		if (guard_lost(m->layer[i / MODULES].w[i % MODULES].data))
			return true;
	return guard_lost(m->embed.data) || guard_lost(m->head.data);
}

int model_rope(const struct model *m, double theta, float **out, struct err *err)
{
	int half = m->head_dim / 2;
	float *freq;

	if (!(theta > 1) || !(theta < 1e15))
		return err_set(err, EBADMSG, "rope base %g is out of range", theta);
	freq = calloc((size_t)half, sizeof(*freq));
	if (!freq)
		return err_nomem(err);
	for (int i = 0; i < half; i++)
		freq[i] = (float)pow(theta, -2.0 * i / m->head_dim);
	*out = freq;
	return 0;
}

static int check_one(const char *what, int64_t value, int64_t min, int64_t max, struct err *err)
{
	if (value < min || value > max)
		return err_set(err, EBADMSG, "base model: %s %lld is not between %lld and %lld",
			what, (long long)value, (long long)min, (long long)max);
	return 0;
}

/* sizes that later products and allocations rely on: no three of them multiply beyond 63 bits */
static int check_config(const struct model *m, struct err *err)
{
	int rc = check_one("layer count", m->layers, 1, LAYERS_MAX, err);

	if (rc == 0)
		rc = check_one("width", m->dim, 8, 1 << 17, err);
	if (rc == 0)
		rc = check_one("feed-forward width", m->ffn, 8, 1 << 20, err);
	if (rc == 0)
		rc = check_one("head count", m->heads, 1, 1024, err);
	if (rc == 0)
		rc = check_one("key head count", m->kv_heads, 1, m->heads, err);
	if (rc == 0)
		rc = check_one("head width", m->head_dim, 8, 1024, err);
	if (rc == 0)
		rc = check_one("context length", m->context, 1, 1 << 27, err);
	if (rc < 0)
		return rc;
	if (m->heads % m->kv_heads)
		return err_set(err, EBADMSG,
			"base model: %d heads do not divide among %d key heads", m->heads,
			m->kv_heads);
	if (m->dim % 8 || m->ffn % 8 || m->head_dim % 8)
		return err_set(err, EOPNOTSUPP,
			"base model: widths %d, %d, %d are not multiples of 8", m->dim, m->ffn,
			m->head_dim);
	if (!(m->norm_eps > 0 && m->norm_eps < 1))
		return err_set(err, EBADMSG, "base model: norm epsilon %g is out of range",
			(double)m->norm_eps);
	if (!(m->attn_scale >= 0 && m->attn_scale < 1e6f && m->attn_cap >= 0 &&
		    m->attn_cap < 1e6f && m->final_cap >= 0 && m->final_cap < 1e6f))
		return err_set(err, EBADMSG, "base model: scale %g or caps %g and %g out of range",
			(double)m->attn_scale, (double)m->attn_cap, (double)m->final_cap);
	return 0;
}

/* a tensor by name; its shape must be what the configuration says; 0 rows: any number of them */
static int bind_matrix(struct model *m, const char *name, int64_t rows, int64_t cols,
	struct tensor *out, struct err *err)
{
	const struct tensor *t = m->map->find(m->map->headers, name);

	if (!t)
		return err_set(err, EBADMSG, "base model has no tensor \"%s\"", name);
	if ((rows && t->rows != rows) || t->cols != cols)
		return err_set(err, EBADMSG,
			"tensor \"%s\": shape %lldx%lld, the configuration needs %lldx%lld", name,
			(long long)t->rows, (long long)t->cols, (long long)rows, (long long)cols);
	*out = *t;
	m->map->params += (uint64_t)t->rows * (uint64_t)t->cols;
	m->map->types[t->type]++;
	return 0;
}

/* a vector of ${n} floats, converted into the map's own memory; NULL when it is not there and need
 * not be */
static int bind_vector(struct model *m, const char *name, int64_t n, bool needed, const float **out,
	struct err *err)
{
	struct model_map *mm = m->map;
	struct tensor t;
	int rc;

	*out = NULL;
	if (!needed && !mm->find(mm->headers, name))
		return 0;
	rc = bind_matrix(m, name, 1, n, &t, err);
	if (rc < 0)
		return rc;
	if (mm->size - mm->used < (size_t)n)
		return err_set(err, EBADMSG, "tensor \"%s\": shape", name);
	*out = mm->memory + mm->used;
	tensor_row(&t, 0, mm->memory + mm->used);
	mm->used += (size_t)n;
	return 0;
}

/* the weights of a norm, as they are multiplied with */
static int bind_norm(struct model *m, const struct model_arch *arch, const char *name, int n,
	bool needed, const float **out, struct err *err)
{
	float *weight = m->map->memory + m->map->used;
	int rc = bind_vector(m, name, n, needed, out, err);

	for (int i = 0; rc == 0 && *out && m->map->hf_names && i < n; i++)
		weight[i] += arch->flags & ARCH_PLUS_ONE ? 1 : 0;
	return rc;
}

static int bind_layer(struct model *m, const struct model_arch *arch, int i, struct err *err)
{
	const int q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
	const int shape[MODULES][2] = {
		[MODULE_Q] = {q, m->dim},
		[MODULE_K] = {kv, m->dim},
		[MODULE_V] = {kv, m->dim},
		[MODULE_O] = {m->dim, q},
		[MODULE_GATE] = {m->ffn, m->dim},
		[MODULE_UP] = {m->ffn, m->dim},
		[MODULE_DOWN] = {m->dim, m->ffn},
	};
	const bool hf = m->map->hf_names, post = arch->flags & ARCH_POST_NORMS,
		   qk = arch->flags & ARCH_QK_NORM;
	struct layer *ly = &m->layer[i];
	const struct {
		const char *gguf, *hf;
		int n;
		bool needed;
		const float **out;
	} vectors[] = {
		{"attn_norm", "input_layernorm", m->dim, true, &ly->attn_norm},
		{"ffn_norm", post ? "pre_feedforward_layernorm" : "post_attention_layernorm",
			m->dim, true, &ly->ffn_norm},
		{"attn_q_norm", "self_attn.q_norm", m->head_dim, qk, &ly->q_norm},
		{"attn_k_norm", "self_attn.k_norm", m->head_dim, qk, &ly->k_norm},
		{"post_attention_norm", "post_attention_layernorm", m->dim, post, &ly->attn_post},
		{"post_ffw_norm", "post_feedforward_layernorm", m->dim, post, &ly->ffn_post},
	};
	char name[96];
	int rc = 0;

	for (int k = 0; k < MODULES && rc == 0; k++) {
		snprintf(name, sizeof(name), hf ? "model.layers.%d.%s.weight" : "blk.%d.%s.weight",
			i, module_names[k][hf ? 1 : 2]);
		rc = bind_matrix(m, name, shape[k][0], shape[k][1], &ly->w[k], err);
		if (rc < 0)
			break;
		snprintf(name, sizeof(name), hf ? "model.layers.%d.%s.bias" : "blk.%d.%s.bias", i,
			module_names[k][hf ? 1 : 2]);
		rc = bind_vector(m, name, shape[k][0],
			(arch->flags & ARCH_QKV_BIAS) && k <= MODULE_V, &ly->bias[k], err);
	}
	for (size_t k = 0; k < sizeof(vectors) / sizeof(vectors[0]) && rc == 0; k++) {
		snprintf(name, sizeof(name), hf ? "model.layers.%d.%s.weight" : "blk.%d.%s.weight",
			i, hf ? vectors[k].hf : vectors[k].gguf);
		if (!post && k >= POST_VECTORS) /* another architecture's name for another thing */
			break;
		rc = bind_norm(m, arch, name, vectors[k].n, vectors[k].needed, vectors[k].out, err);
	}
	return rc;
}

static int bind(struct model *m, const struct model_arch *arch, struct err *err)
{
	const char *head = m->map->hf_names ? "lm_head.weight" : "output.weight";
	struct model_map *mm = m->map;
	int rc;

	/* all biases a layer could have, four norms, q and k norms; the final norm */
	mm->size = (size_t)m->layers *
			   ((size_t)m->head_dim * ((size_t)m->heads + 2 * (size_t)m->kv_heads + 2) +
				   6 * (size_t)m->dim + 2 * (size_t)m->ffn) +
		   (size_t)m->dim;
	/* no more than fit in the file, where a value takes a quarter of a byte at least */
	if (mm->size / 4 > mm->bytes)
		mm->size = 4 * mm->bytes;
	mm->memory = calloc(mm->size + 1, sizeof(float));
	if (!mm->memory)
		return err_nomem(err);
	rc = bind_matrix(m, mm->hf_names ? "model.embed_tokens.weight" : "token_embd.weight", 0,
		m->dim, &m->embed, err);
	if (rc < 0)
		return rc;
	if (m->embed.rows > 1 << 22)
		return err_set(err, EBADMSG, "base model: vocabulary of %lld tokens",
			(long long)m->embed.rows);
	m->vocab = (int)m->embed.rows;
	m->head = m->embed;
	if (mm->find(mm->headers, head))
		rc = bind_matrix(m, head, m->vocab, m->dim, &m->head, err);
	if (rc == 0)
		rc = bind_norm(m, arch, mm->hf_names ? "model.norm.weight" : "output_norm.weight",
			m->dim, true, &m->final_norm, err);
	for (int i = 0; i < m->layers && rc == 0; i++)
		rc = bind_layer(m, arch, i, err);
	return rc;
}

static int open_checked(struct model *m, int fd, struct err *err)
{
	const struct model_arch *arch;
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot look at the base model");
	if (S_ISDIR(st.st_mode))
		rc = model_read_hf(m, fd, err);
	else
		rc = model_read_gguf(m, fd, err);
	if (rc == 0)
		rc = check_config(m, err);
	if (rc < 0)
		return rc;
	arch = model_arch_find(m->arch, strlen(m->arch), false, err);
	if (!arch)
		return -EOPNOTSUPP;
	m->rope_pairs = m->rows_permuted = (arch->flags & ARCH_PERMUTED) && !m->map->hf_names;
	m->gelu = arch->flags & ARCH_GELU;
	m->embed_scale = arch->flags & ARCH_EMBED_SCALE ? sqrtf((float)m->dim) : 0;
	rc = bind(m, arch, err);
	if (rc < 0)
		return rc;
	if (model_lost(m))
		return err_set(err, ESTALE, "base model changed while it was read");
	if (tokenizer_size(m->tokenizer) > m->vocab)
		return err_set(err, EBADMSG,
			"tokenizer: %d ids, past the base model's vocabulary of %d",
			tokenizer_size(m->tokenizer), m->vocab);
	return chat_from_template(m->map->template.len ? buf_str(&m->map->template) : NULL,
		m->tokenizer, &m->chat, err);
}

int model_open(int fd, struct model **out, struct err *err)
{
	struct model *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_nomem(err);
	m->map = calloc(1, sizeof(*m->map));
	rc = m->map ? open_checked(m, fd, err) : err_nomem(err);
	if (rc < 0) {
		model_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	chat_free(m->chat);
	tokenizer_free(m->tokenizer);
	free(m->layer);
	free(m->rope_freq);
	free(m->rope_local);
	if (m->map) {
		if (m->map->headers)
			m->map->headers_free(m->map->headers);
		for (size_t i = 0; i < m->map->pieces; i++)
			guard_unmap(m->map->piece[i].at, m->map->piece[i].bytes);
		free(m->map->piece);
		free(m->map->memory);
		buf_release(&m->map->template);
		free(m->map);
	}
	free(m);
}
