/*
 * model_gguf - the configuration of a base model from GGUF metadata.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/gguf.h"
#include "trainer/model_map.h"
#include "trainer/tokenizer_load.h"

/* an integer of "ARCH.key"; ${fallback} < 0: it must be there */
static int get_int(const struct gguf *g, const char *arch, const char *key, int64_t fallback,
	int *out, struct err *err)
{
	char name[128];
	int64_t value = fallback;

	snprintf(name, sizeof(name), "%s.%s", arch, key);
	if (!gguf_int(g, name, &value) && fallback < 0)
		return err_set(err, EBADMSG, "GGUF has no key \"%s\"", name);
	if (value < 0 || value > INT32_MAX)
		return err_set(err, EBADMSG, "GGUF key \"%s\": %lld is out of range", name,
			(long long)value);
	*out = (int)value;
	return 0;
}

static double get_real(const struct gguf *g, const char *arch, const char *key, double fallback)
{
	char name[128];
	double value = fallback;

	snprintf(name, sizeof(name), "%s.%s", arch, key);
	gguf_real(g, name, &value);
	return value;
}

/* linear scaling, or the factors llama 3 files carry as a tensor */
static int scale_rope(struct model *m, const struct gguf *g, struct err *err)
{
	const struct tensor *factors = gguf_tensor(g, "rope_freqs.weight");
	char name[128], quoted[ERR_QUOTE_BYTES + 8];
	const char *type = "none";
	size_t len = strlen(type);
	int half = m->head_dim / 2;

	snprintf(name, sizeof(name), "%s.rope.scaling.type", m->arch);
	gguf_text(g, name, &type, &len);
	if (len == 6 && memcmp(type, "linear", 6) == 0) {
		double factor = get_real(g, m->arch, "rope.scaling.factor", 1);

		if (!(factor >= 1 && factor < 1e6))
			return err_set(err, EBADMSG, "GGUF rope scaling factor %g is out of range",
				factor);
		for (int i = 0; i < half; i++)
			m->rope_freq[i] = (float)((double)m->rope_freq[i] / factor);
	} else if (len != 4 || memcmp(type, "none", 4)) {
		return err_set(err, EOPNOTSUPP,
			"rope scaling \"%s\" is not known (none, linear, llama3 are)",
			err_quote(quoted, type, len));
	}
	if (!factors)
		return 0;
	if (factors->type != TENSOR_F32 || factors->rows != 1 || factors->cols != half)
		return err_set(err, EBADMSG, "tensor \"rope_freqs.weight\": shape");
	for (int i = 0; i < half; i++) {
		float factor;

		tensor_row_part(factors, 0, i, 1, &factor);
		if (!(factor > 0))
			return err_set(err, EBADMSG, "tensor \"rope_freqs.weight\": factor %g",
				(double)factor);
		m->rope_freq[i] /= factor;
	}
	return 0;
}

static int read_config(struct model *m, const struct gguf *g, struct err *err)
{
	const struct model_arch *arch;
	const char *text;
	size_t len;
	int rc, width, experts;

	if (!gguf_text(g, "general.architecture", &text, &len))
		return err_set(err, EBADMSG, "GGUF has no key \"general.architecture\"");
	arch = model_arch_find(text, len, false, err);
	if (!arch)
		return -EOPNOTSUPP;
	snprintf(m->arch, sizeof(m->arch), "%s", arch->name);
	rc = get_int(g, m->arch, "block_count", -1, &m->layers, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "embedding_length", -1, &m->dim, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "feed_forward_length", -1, &m->ffn, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "attention.head_count", -1, &m->heads, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "attention.head_count_kv", m->heads, &m->kv_heads, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "context_length", -1, &m->context, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "attention.sliding_window", 0, &m->window, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "expert_count", 0, &experts, err);
	if (rc == 0 && (m->heads < 1 || m->dim < 1))
		rc = err_set(err, EBADMSG, "base model: %d heads of %d", m->heads, m->dim);
	if (rc == 0)
		rc = get_int(
			g, m->arch, "attention.key_length", m->dim / m->heads, &m->head_dim, err);
	if (rc == 0)
		rc = get_int(g, m->arch, "rope.dimension_count", m->head_dim, &width, err);
	if (rc < 0)
		return rc;
	if (experts)
		return err_set(err, EOPNOTSUPP, "base model with %d experts is not read", experts);
	if (m->head_dim < 8 || m->head_dim > 1024 || width != m->head_dim)
		return err_set(err, width != m->head_dim ? EOPNOTSUPP : EBADMSG,
			"base model: head width %d with rope over %d", m->head_dim, width);
	m->norm_eps = (float)get_real(g, m->arch, "attention.layer_norm_rms_epsilon", 1e-5);
	rc = model_rope(m, get_real(g, m->arch, "rope.freq_base", 10000), err);
	return rc < 0 ? rc : scale_rope(m, g, err);
}

static const struct tensor *find(const void *headers, const char *name)
{
	return gguf_tensor(headers, name);
}

static void headers_free(void *headers)
{
	gguf_free(headers);
}

int model_read_gguf(struct model *m, int fd, struct err *err)
{
	struct model_map *mm = m->map;
	const char *text;
	struct gguf *g;
	size_t len;
	int rc = model_map_file(mm, fd, err);

	if (rc < 0)
		return rc;
	rc = gguf_parse(mm->piece[0].at, mm->piece[0].bytes, &g, err);
	if (rc < 0)
		return rc;
	mm->headers = g;
	mm->headers_free = headers_free;
	mm->find = find;
	rc = read_config(m, g, err);
	if (rc < 0)
		return rc;
	if (gguf_text(g, "tokenizer.chat_template", &text, &len) &&
		buf_add(&mm->template, text, len) < 0)
		return err_nomem(err);
	return tokenizer_from_gguf(g, &m->tokenizer, err);
}
