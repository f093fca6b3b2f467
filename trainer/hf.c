/*
 * hf - a base model from a Hugging Face folder: config.json, *.safetensors (sharded by an index or
 * not), tokenizer.json and the chat template beside it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "trainer/model_map.h"
#include "trainer/safetensors.h"
#include "trainer/tokenizer_load.h"

enum { JSON_FILE_MAX = 256 * 1024 * 1024, SHARDS_MAX = 4096 };

struct hf_tensor {
	const char *name; /* borrowed from its shard */
	struct tensor tensor;
};

struct hf {
	struct safetensors **shard; /* owned */
	size_t shards;
	struct hf_tensor *tensor; /* sorted by name */
	size_t tensors;
};

static void hf_free(void *headers)
{
	struct hf *hf = headers;

	for (size_t i = 0; i < hf->shards; i++)
		safetensors_close(hf->shard[i]);
	free(hf->shard);
	free(hf->tensor);
	free(hf);
}

static int compare(const void *a, const void *b)
{
	const struct hf_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static const struct tensor *hf_find(const void *headers, const char *name)
{
	const struct hf *hf = headers;
	struct hf_tensor wanted = {.name = name}, *found = bsearch(&wanted, hf->tensor, hf->tensors,
							  sizeof(wanted), compare);

	return found ? &found->tensor : NULL;
}

/*
 * A file of the folder. Download caches hold links instead of files: to another name in the folder,
 * or to ../../blobs/NAME. Those are followed, one step; a link to anywhere else is refused, since
 * what it leads to may be none of a model's business.
 */
static int open_part(int dirfd, const char *name, struct err *err)
{
	static const char blobs[] = "../../blobs/";
	char target[512], quoted[ERR_QUOTE_BYTES + 8];
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;
	const char *last;

	if (fd >= 0)
		return fd;
	if (errno != ELOOP)
		return err_sys(err, "cannot open '%s'", err_quote(quoted, name, strlen(name)));
	n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(
			err, "cannot read the link '%s'", err_quote(quoted, name, strlen(name)));
	target[n] = '\0';
	last = strncmp(target, blobs, sizeof(blobs) - 1) == 0 ? target + sizeof(blobs) - 1 : target;
	if (!*last || *last == '.' || strchr(last, '/') || n == sizeof(target) - 1)
		return err_set(err, ELOOP,
			"'%s' is a link out of the folder (only ../../blobs/NAME is followed)",
			err_quote(quoted, name, strlen(name)));
	fd = openat(dirfd, target, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? err_sys(err, "cannot open '%s'", err_quote(quoted, name, strlen(name)))
		      : fd;
}

/* all of a file of the folder, which must be a regular one */
static int read_part(int dirfd, const char *name, size_t max, struct buf *out, struct err *err)
{
	int fd = open_part(dirfd, name, err), rc;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = err_set(err, EINVAL, "'%s' is not a regular file", name);
	else if ((uint64_t)st.st_size > max)
		rc = err_set(err, EFBIG, "'%s' has %lld bytes, more than %zu", name,
			(long long)st.st_size, max);
	else
		rc = read_fd(fd, max, out, err);
	close(fd);
	return rc;
}

/* a JSON file of the folder; ${needed} false: *out is NULL when there is none */
static int read_json(int dirfd, const char *name, bool needed, cJSON **out, struct err *err)
{
	struct buf bf = BUF_INIT;
	int rc = read_part(dirfd, name, JSON_FILE_MAX, &bf, err);

	*out = NULL;
	if (rc == 0)
		rc = json_parse(buf_str(&bf), bf.len, out, err);
	if (rc == -ENOENT && !needed)
		rc = 0;
	else if (rc == -ENOENT)
		rc = err_set(err, EBADMSG, "base model: no %s in the folder", name);
	else if (rc < 0)
		rc = err_prefix(err, "base model: %s: ", name);
	buf_release(&bf);
	return rc;
}

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

static int read_config(struct model *m, const cJSON *config, struct err *err)
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

static int tensor_of(const struct safetensors_entry *en, struct tensor *out)
{
	if (strcmp(en->dtype, "F32") == 0)
		out->type = TENSOR_F32;
	else if (strcmp(en->dtype, "F16") == 0)
		out->type = TENSOR_F16;
	else if (strcmp(en->dtype, "BF16") == 0)
		out->type = TENSOR_BF16;
	else
		return -EOPNOTSUPP;
	if (en->dims < 1 || en->dims > 2)
		return -EOPNOTSUPP;
	out->rows = en->dims == 2 ? en->shape[0] : 1;
	out->cols = en->shape[en->dims - 1];
	out->data = en->data;
	return 0;
}

static int add_shard(struct hf *hf, int dirfd, const char *name, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	struct safetensors **more = realloc(hf->shard, (hf->shards + 1) * sizeof(*more));
	struct hf_tensor *list;
	int fd, rc;

	if (!more)
		return err_nomem(err);
	hf->shard = more;
	if (strchr(name, '/') || *name == '.')
		return err_set(err, EBADMSG, "base model: shard \"%s\" is not in the folder",
			err_quote(quoted, name, strlen(name)));
	fd = open_part(dirfd, name, err);
	if (fd == -ENOENT)
		return err_set(err, EBADMSG, "base model: no %s in the folder",
			err_quote(quoted, name, strlen(name)));
	if (fd < 0)
		return err_prefix(err, "base model: ");
	rc = safetensors_open(fd, &hf->shard[hf->shards], err);
	close(fd);
	if (rc < 0)
		return err_prefix(err, "base model: %s: ", err_quote(quoted, name, strlen(name)));
	hf->shards++;
	list = realloc(hf->tensor,
		(hf->tensors + safetensors_count(more[hf->shards - 1]) + 1) * sizeof(*list));
	if (!list)
		return err_nomem(err);
	hf->tensor = list;
	for (size_t i = 0; i < safetensors_count(hf->shard[hf->shards - 1]); i++) {
		const struct safetensors_entry *en = safetensors_at(hf->shard[hf->shards - 1], i);

		/* what is no matrix of floats (a buffer of an old export) is only missed when a
		 * layer asks for it */
		if (tensor_of(en, &list[hf->tensors].tensor) == 0)
			list[hf->tensors++].name = en->name;
	}
	return 0;
}

/* shard names of an index's weight_map, each once */
static int add_indexed(struct hf *hf, int dirfd, const cJSON *index, struct err *err)
{
	const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map"), *item;
	const char *seen[SHARDS_MAX];
	size_t n = 0;
	int rc = 0;

	if (!cJSON_IsObject(map))
		return err_set(err, EBADMSG,
			"base model: model.safetensors.index.json has no \"weight_map\"");
	cJSON_ArrayForEach(item, map)
	{
		size_t i = 0;

		if (!cJSON_IsString(item))
			return err_set(err, EBADMSG,
				"base model: model.safetensors.index.json names no file for a "
				"tensor");
		while (i < n && strcmp(seen[i], item->valuestring))
			i++;
		if (i < n)
			continue;
		if (n == SHARDS_MAX)
			return err_set(err, EBADMSG, "base model: more than %d shards", SHARDS_MAX);
		seen[n++] = item->valuestring;
		rc = add_shard(hf, dirfd, item->valuestring, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_weights(struct model *m, int dirfd, struct err *err)
{
	struct hf *hf = calloc(1, sizeof(*hf));
	cJSON *index;
	int rc;

	if (!hf)
		return err_nomem(err);
	m->map->headers = hf;
	m->map->headers_free = hf_free;
	m->map->find = hf_find;
	m->map->hf_names = true;
	rc = read_json(dirfd, "model.safetensors.index.json", false, &index, err);
	if (rc < 0)
		return rc;
	rc = index ? add_indexed(hf, dirfd, index, err)
		   : add_shard(hf, dirfd, "model.safetensors", err);
	cJSON_Delete(index);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < hf->tensors; i++)
		m->map->bytes += (size_t)(hf->tensor[i].tensor.rows * hf->tensor[i].tensor.cols);
	qsort(hf->tensor, hf->tensors, sizeof(hf->tensor[0]), compare);
	for (size_t i = 1; i < hf->tensors; i++)
		if (strcmp(hf->tensor[i - 1].name, hf->tensor[i].name) == 0)
			return err_set(err, EBADMSG, "tensor \"%s\": stands in two shards",
				hf->tensor[i].name);
	return 0;
}

/* "<s>" or {"content":"<s>"} */
static const char *token_text(const cJSON *config, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);

	return cJSON_IsObject(item) ? json_get_string(item, "content")
				    : json_get_string(config, key);
}

/* chat_template.jinja, or chat_template in tokenizer_config.json: a text, or a list of named ones
 * of which "default" counts */
static int read_template(struct model *m, int dirfd, const cJSON *config, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, "chat_template"), *one;
	const char *text = cJSON_IsString(item) ? item->valuestring : NULL;
	int rc = read_part(dirfd, "chat_template.jinja", 1 << 20, &m->map->template, err);

	if (rc != -ENOENT)
		return rc;
	if (cJSON_IsArray(item))
		cJSON_ArrayForEach(
			one, item) if (json_get_string(one, "name") &&
				       strcmp(json_get_string(one, "name"), "default") == 0) text =
			json_get_string(one, "template");
	return text && buf_puts(&m->map->template, text) < 0 ? err_nomem(err) : 0;
}

static int read_tokenizer(struct model *m, int dirfd, struct err *err)
{
	struct buf bf = BUF_INIT;
	cJSON *config = NULL;
	int rc = read_part(dirfd, "tokenizer.json", JSON_FILE_MAX, &bf, err);

	if (rc == 0)
		rc = tokenizer_from_json(buf_str(&bf), bf.len, &m->tokenizer, err);
	else if (rc == -ENOENT)
		rc = err_set(err, EBADMSG, "tokenizer: no tokenizer.json in the folder");
	buf_release(&bf);
	if (rc == 0)
		rc = read_json(dirfd, "tokenizer_config.json", false, &config, err);
	if (rc == 0) {
		tokenizer_set_ends(m->tokenizer, token_text(config, "bos_token"),
			token_text(config, "eos_token"));
		rc = read_template(m, dirfd, config, err);
	}
	cJSON_Delete(config);
	return rc;
}

int model_read_hf(struct model *m, int dirfd, struct err *err)
{
	cJSON *config = NULL;
	int rc = read_json(dirfd, "config.json", true, &config, err);

	if (rc == 0)
		rc = read_config(m, config, err);
	cJSON_Delete(config);
	if (rc == 0)
		rc = read_weights(m, dirfd, err);
	return rc < 0 ? rc : read_tokenizer(m, dirfd, err);
}
