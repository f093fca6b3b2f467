/*
 * model_gguf - the configuration of a base model from GGUF metadata; its files, when it is split in
 * parts.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parts.h"
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

/* the window every layer has, or all but every n-th, or those a list of flags says */
static int read_layers(
	struct model *m, const struct model_arch *arch, const struct gguf *g, struct err *err)
{
	struct gguf_array flags;
	char name[128];
	int window, step,
		rc = get_int(g, m->arch, "attention.sliding_window", arch->window, &window, err);

	if (rc == 0)
		rc = get_int(g, m->arch, "attention.sliding_window_pattern", arch->full_step, &step,
			err);
	if (rc == 0)
		rc = model_layers(m, arch, window, step, err);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "%s.attention.sliding_window_pattern", m->arch);
	if (gguf_array(g, name, &flags) && flags.type == GGUF_BOOL &&
		flags.n >= (uint64_t)m->layers)
		for (int i = 0; i < m->layers; i++)
			model_layer_window(m, arch, i, flags.at[i] ? window : 0);
	return 0;
}

/* what gemma's files leave to the reader: its largest models scale scores by the width of a head's
 * share of the model */
static void read_scales(struct model *m, const struct model_arch *arch, const struct gguf *g)
{
	const int largest = strcmp(arch->name, "gemma2") == 0	? 46
			    : strcmp(arch->name, "gemma3") == 0 ? 62
								: -1;

	m->attn_cap = (float)get_real(g, m->arch, "attn_logit_softcapping", arch->attn_cap);
	m->final_cap = (float)get_real(g, m->arch, "final_logit_softcapping", arch->final_cap);
	if (m->layers == largest)
		m->attn_scale = 1 / sqrtf((float)m->dim / (float)m->heads);
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
	read_scales(m, arch, g);
	rc = read_layers(m, arch, g, err);
	if (rc == 0)
		rc = model_rope(
			m, get_real(g, m->arch, "rope.freq_base", arch->theta), &m->rope_freq, err);
	if (rc == 0 && arch->theta_local > 0)
		rc = model_rope(m, get_real(g, m->arch, "rope.freq_base_swa", arch->theta_local),
			&m->rope_local, err);
	return rc < 0 ? rc : scale_rope(m, g, err);
}

/* the parts of a model; one, or as many as split.count says */
struct parts {
	struct gguf *part[PARTS_MAX]; /* owned */
	int n;
};

static const struct tensor *find(const void *headers, const char *name)
{
	const struct parts *pt = headers;
	const struct tensor *found = NULL;

	for (int i = 0; i < pt->n && !found; i++)
		found = gguf_tensor(pt->part[i], name);
	return found;
}

static void headers_free(void *headers)
{
	struct parts *pt = headers;

	for (int i = 0; i < pt->n; i++)
		gguf_free(pt->part[i]);
	free(pt);
}

static int add_part(struct model *m, int fd, struct err *err)
{
	struct parts *pt = m->map->headers;
	int i = model_map_file(m->map, fd, err), rc;

	if (i < 0)
		return i;
	rc = gguf_parse(m->map->piece[i].at, m->map->piece[i].bytes, &pt->part[pt->n], err);
	if (rc == 0)
		pt->n++;
	return rc;
}

/* part ${i} (from 0) must say that it is this one of ${n} */
static int check_part(const struct gguf *g, int64_t i, int64_t n, struct err *err)
{
	int64_t number = 0, count = 1;

	gguf_int(g, "split.no", &number);
	gguf_int(g, "split.count", &count);
	if (number != i && i == 0)
		return err_set(err, EINVAL,
			"base model: this is part %lld of a split GGUF; name the first, "
			"...-00001-of-%05lld.gguf",
			(long long)number + 1, (long long)count);
	if (number != i || count != n)
		return err_set(err, EBADMSG,
			"base model: part %lld of %lld says it is part %lld of %lld",
			(long long)i + 1, (long long)n, (long long)number + 1, (long long)count);
	return 0;
}

/* no tensor of the last part stands in one before: which of the two is meant? */
static int check_names(const struct parts *pt, struct err *err)
{
	const struct gguf *last = pt->part[pt->n - 1];
	char name[256], quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; gguf_tensor_at(last, i); i++) {
		size_t len;
		const char *text = gguf_tensor_name(last, i, &len);

		if (len >= sizeof(name)) /* none that a layer asks for */
			continue;
		memcpy(name, text, len);
		name[len] = '\0';
		for (int k = 0; k < pt->n - 1; k++)
			if (gguf_tensor(pt->part[k], name))
				return err_set(err, EBADMSG,
					"base model: tensor \"%s\" stands in parts %d and %d",
					err_quote(quoted, text, len), k + 1, pt->n);
	}
	return 0;
}

static int add_parts(struct model *m, int fd, struct err *err)
{
	struct parts *pt = m->map->headers;
	int64_t n = 1;
	int rc = add_part(m, fd, err);

	if (rc < 0)
		return rc;
	gguf_int(pt->part[0], "split.count", &n);
	if (n < 1 || n > PARTS_MAX)
		return err_set(err, EBADMSG, "base model: a GGUF split in %lld", (long long)n);
	rc = check_part(pt->part[0], 0, n, err);
	if (rc == 0 && n > 1 && parts_count(fd) != n)
		rc = err_set(err, EBADMSG,
			"base model: a GGUF in %lld parts is not named ...-00001-of-%05lld.gguf",
			(long long)n, (long long)n);
	for (int i = 1; i < n && rc == 0; i++) {
		int part = parts_open(fd, i + 1, err);

		if (part < 0)
			return part;
		rc = add_part(m, part, err);
		close(part);
		if (rc < 0)
			return err_prefix(err, "part %d: ", i + 1);
		rc = check_part(pt->part[i], i, n, err);
		if (rc == 0)
			rc = check_names(pt, err);
	}
	return rc;
}

int model_read_gguf(struct model *m, int fd, struct err *err)
{
	struct model_map *mm = m->map;
	struct parts *pt = calloc(1, sizeof(*pt));
	const char *text;
	size_t len;
	int rc;

	if (!pt)
		return err_nomem(err);
	mm->headers = pt;
	mm->headers_free = headers_free;
	mm->find = find;
	rc = add_parts(m, fd, err);
	if (rc == 0)
		rc = read_config(m, pt->part[0], err);
	if (rc < 0)
		return rc;
	if (gguf_text(pt->part[0], "tokenizer.chat_template", &text, &len) &&
		buf_add(&mm->template, text, len) < 0)
		return err_nomem(err);
	return tokenizer_from_gguf(pt->part[0], &m->tokenizer, err);
}
