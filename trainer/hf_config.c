/* hf_config - the shape of a base as its config.json has it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "trainer/model_map.h"

static int get_int(const cJSON *config, const char *key, int fallback, int *out, struct err *err)
{
	double value = json_get_number(config, key, fallback);

	if (!(value >= 0 && value <= INT32_MAX) || floor(value) != value)
		return err_set(err, EBADMSG, "base model: config.json has no good \"%s\"", key);
	*out = (int)value;
	return 0;
}

/* the llama 3 rule: long waves are slowed by ${factor}, short ones kept, those between blended */
static int scale_llama3(struct model *m, const cJSON *scaling, struct err *err)
{
	double factor = json_get_number(scaling, "factor", 0),
	       low = json_get_number(scaling, "low_freq_factor", 0);
	double high = json_get_number(scaling, "high_freq_factor", 0),
	       old = json_get_number(scaling, "original_max_position_embeddings", 0);

	if (!(factor >= 1 && low > 0 && high > low && old > 0))
		return err_set(
			err, EBADMSG, "base model: config.json has no good \"rope_scaling\"");
	for (int i = 0; i < m->head_dim / 2; i++) {
		double freq = (double)m->rope_freq[i], wave = 2 * M_PI / freq,
		       blend = (old / wave - low) / (high - low);

		if (wave > old / low)
			freq /= factor;
		else if (wave >= old / high)
			freq = (1 - blend) * freq / factor + blend * freq;
		m->rope_freq[i] = (float)freq;
	}
	return 0;
}

/* {"rope_type":"llama3",...}; NULL is none */
static int scale_rope(struct model *m, const cJSON *scaling, struct err *err)
{
	const char *type = json_get_string(scaling, "rope_type");
	double factor = json_get_number(scaling, "factor", 0);
	char quoted[ERR_QUOTE_BYTES + 8];

	if (!type)
		type = json_get_string(scaling, "type");
	if (!type || strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "llama3") == 0)
		return scale_llama3(m, scaling, err);
	if (strcmp(type, "linear") != 0 || !(factor >= 1))
		return err_set(err, EOPNOTSUPP,
			"rope scaling \"%s\" is not known (default, linear, llama3 are)",
			err_quote(quoted, type, strlen(type)));
	for (int i = 0; i < m->head_dim / 2; i++)
		m->rope_freq[i] = (float)((double)m->rope_freq[i] / factor);
	return 0;
}

/* bases and scaling stand beside each other, or together in "rope_parameters", there perhaps for
 * each kind of layer */
static int read_rope(
	struct model *m, const struct model_arch *arch, const cJSON *config, struct err *err)
{
	const cJSON *newer = cJSON_GetObjectItemCaseSensitive(config, "rope_parameters");
	const cJSON *local = cJSON_GetObjectItemCaseSensitive(newer, "sliding_attention");
	const cJSON *full = cJSON_GetObjectItemCaseSensitive(newer, "full_attention");
	const cJSON *scaling = cJSON_GetObjectItemCaseSensitive(config, "rope_scaling");
	int rc;

	if (cJSON_IsObject(full))
		newer = full;
	rc = model_rope(m,
		json_get_number(
			config, "rope_theta", json_get_number(newer, "rope_theta", arch->theta)),
		&m->rope_freq, err);
	if (rc == 0 && arch->theta_local > 0)
		rc = model_rope(m,
			json_get_number(config, "rope_local_base_freq",
				json_get_number(local, "rope_theta", arch->theta_local)),
			&m->rope_local, err);
	if (rc < 0)
		return rc;
	return scale_rope(m, cJSON_IsObject(scaling) ? scaling : newer, err);
}

/* "layer_types" and "no_rope_layers", where a file lists every layer */
static int read_listed_layers(struct model *m, const struct model_arch *arch, const cJSON *config,
	int window, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, "layer_types");
	char quoted[ERR_QUOTE_BYTES + 8];

	item = cJSON_IsArray(item) ? item->child : NULL;
	for (int i = 0; item && i < m->layers; i++, item = item->next) {
		const char *type = cJSON_IsString(item) ? item->valuestring : "";
		bool windowed = strcmp(type, "sliding_attention") == 0;

		if (!windowed && strcmp(type, "full_attention") != 0)
			return err_set(err, EOPNOTSUPP,
				"base model: layer type \"%s\" is not known (full_attention, "
				"sliding_attention are)",
				err_quote(quoted, type, strlen(type)));
		model_layer_window(m, arch, i, windowed ? window : 0);
	}
	item = cJSON_GetObjectItemCaseSensitive(config, "no_rope_layers");
	item = arch->nope_step && cJSON_IsArray(item) ? item->child : NULL;
	for (int i = 0; item && i < m->layers; i++, item = item->next)
		m->layer[i].rope = item->valuedouble != 0 ? ROPE_MAIN : ROPE_NONE;
	return 0;
}

static int read_layers(
	struct model *m, const struct model_arch *arch, const cJSON *config, struct err *err)
{
	bool always = arch->window || strcmp(arch->name, "mistral") == 0;
	int window = 0, step = 0, from = 0, rc = 0;

	if (json_get_bool(config, "use_sliding_window", always))
		rc = get_int(config, "sliding_window", arch->window, &window, err);
	if (rc == 0)
		rc = get_int(config, "sliding_window_pattern", arch->full_step, &step, err);
	if (rc == 0 && !always)
		rc = get_int(config, "max_window_layers", 0, &from, err);
	if (rc == 0)
		rc = model_layers(m, arch, window, step, err);
	for (int i = 0; i < from && i < m->layers && rc == 0; i++)
		model_layer_window(m, arch, i, 0);
	return rc < 0 ? rc : read_listed_layers(m, arch, config, window, err);
}

/* a number; the fallback when it is not there, 0 when it is null */
static float number_or_null(const cJSON *config, const char *key, double fallback)
{
	return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(config, key))
		       ? 0
		       : (float)json_get_number(config, key, fallback);
}

static int read_variant(
	struct model *m, const struct model_arch *arch, const cJSON *config, struct err *err)
{
	const char *act = json_get_string(config, "hidden_activation");
	bool gelu = arch->flags & ARCH_GELU;
	char quoted[ERR_QUOTE_BYTES + 8];

	if (!act)
		act = json_get_string(config, "hidden_act");
	/* gemma's first files say "gelu" and mean its tanh form */
	if (act && strcmp(act, gelu ? "gelu_pytorch_tanh" : "silu") != 0 &&
		!(gelu && strcmp(act, "gelu") == 0))
		return err_set(err, EOPNOTSUPP,
			"base model: activation \"%s\" is not known for %s (%s is)",
			err_quote(quoted, act, strlen(act)), arch->name,
			gelu ? "gelu_pytorch_tanh" : "silu");
	if (json_get_bool(config, "use_bidirectional_attention", false))
		return err_set(err, EOPNOTSUPP,
			"base model: bidirectional attention does not generate text");
	if (!(arch->flags & ARCH_POST_NORMS))
		return 0;
	double scalar = json_get_number(config, "query_pre_attn_scalar", arch->head_dim);

	if (!(scalar > 0))
		return err_set(err, EBADMSG,
			"base model: config.json has no good \"query_pre_attn_scalar\"");
	m->attn_scale = (float)(1 / sqrt(scalar));
	m->attn_cap = number_or_null(config, "attn_logit_softcapping", arch->attn_cap);
	m->final_cap = number_or_null(config, "final_logit_softcapping", arch->final_cap);
	return 0;
}

int hf_read_config(struct model *m, const cJSON *config, struct err *err)
{
	const char *type = json_get_string(config, "model_type");
	const struct model_arch *arch;
	int rc;

	if (!type)
		return err_set(err, EBADMSG, "base model: config.json has no \"model_type\"");
	arch = model_arch_find(type, strlen(type), true, err);
	if (!arch)
		return -EOPNOTSUPP;
	snprintf(m->arch, sizeof(m->arch), "%s", arch->name);
	rc = get_int(config, "num_hidden_layers", -1, &m->layers, err);
	if (rc == 0)
		rc = get_int(config, "hidden_size", -1, &m->dim, err);
	if (rc == 0)
		rc = get_int(config, "intermediate_size", -1, &m->ffn, err);
	if (rc == 0)
		rc = get_int(config, "num_attention_heads", -1, &m->heads, err);
	if (rc == 0)
		rc = get_int(config, "num_key_value_heads", m->heads, &m->kv_heads, err);
	if (rc == 0)
		rc = get_int(config, "max_position_embeddings", 2048, &m->context, err);
	if (rc == 0 && m->heads < 1)
		rc = err_set(err, EBADMSG,
			"base model: config.json has no good \"num_attention_heads\"");
	if (rc == 0)
		rc = get_int(config, "head_dim",
			arch->head_dim ? arch->head_dim : m->dim / m->heads, &m->head_dim, err);
	if (rc == 0 && (m->head_dim < 8 || m->head_dim > 1024))
		rc = err_set(err, EBADMSG, "base model: head width %d", m->head_dim);
	if (rc == 0)
		rc = read_layers(m, arch, config, err);
	if (rc == 0)
		rc = read_variant(m, arch, config, err);
	if (rc < 0)
		return rc;
	m->norm_eps = (float)json_get_number(config, "rms_norm_eps", 1e-6);
	return read_rope(m, arch, config, err);
}
