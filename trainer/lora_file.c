/*
 * Adapters as PEFT writes them. PEFT's q and k have the row order of Hugging Face (the two halves
 * of a head); a GGUF of the llama family interleaves the halves, so row h*d + 2i + j in memory is
 * row h*d + j*d/2 + i in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/replace.h"
#include "trainer/lora.h"
#include "trainer/safetensors.h"

enum { CONFIG_MAX = 1024 * 1024, RANK_MAX = 1024, NAME_MAX_BYTES = 128 };

#define CONFIG_NAME  "adapter_config.json"
#define WEIGHTS_NAME "adapter_model.safetensors"

static const char *tensor_name(char out[NAME_MAX_BYTES], int layer, int module, char side)
{
	struct buf bf = BUF_INIT;

	buf_addf(&bf, "base_model.model.model.layers.%d.%s.lora_%c.weight", layer,
		model_module_path((enum module)module), side);
	size_t n = bf.len < NAME_MAX_BYTES ? bf.len : NAME_MAX_BYTES - 1;

	memcpy(out, buf_str(&bf), n);
	out[n] = '\0';
	buf_release(&bf);
	return out;
}

/* row of the file that stands at ${row} in memory */
static int file_row(const struct model *m, int module, int row)
{
	int d = m->head_dim, in_head = row % d;

	if (!m->rows_permuted || (module != MODULE_Q && module != MODULE_K))
		return row;
	return row - in_head + in_head % 2 * (d / 2) + in_head / 2;
}

static int config_targets(const cJSON *list, unsigned *out, struct err *err)
{
	struct buf text = BUF_INIT;
	const cJSON *item;
	int rc = 0;

	if (cJSON_IsString(list) && strcmp(list->valuestring, "all-linear") == 0) {
		*out = (1u << MODULES) - 1;
		return 0;
	}
	if (!cJSON_IsArray(list))
		return err_set(err, EBADMSG,
			"adapter_config.json: target_modules: list of names expected");
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item)) {
			rc = err_set(err, EBADMSG,
				"adapter_config.json: target_modules: list of names expected");
			goto out;
		}
		buf_puts(&text, text.len ? "," : "");
		buf_puts(&text, item->valuestring);
	}
	if (text.failed)
		rc = err_nomem(err);
	else if (lora_targets_parse(buf_str(&text), out, err) < 0)
		rc = err_set(err, EBADMSG,
			"adapter_config.json: target_modules \"%s\" are not the base's",
			buf_str(&text));
out:
	buf_release(&text);
	return rc;
}

/*
 * How an adapter began does not matter to who loads it, unless its beginning was taken out of the
 * base: then it fits the base that was left. (PEFT can save such a one as a plain adapter, with
 * "init_lora_weights": true.)
 */
static int config_began(const cJSON *config, struct err *err)
{
	static const char *const harmless[] = {"gaussian", "eva", "orthogonal", "mica"};
	const char *init = json_get_string(config, "init_lora_weights");
	char quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; init && i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(init, harmless[i]) == 0)
			return 0;
	return init ? err_set(err, EOPNOTSUPP,
			      "adapter_config.json: init_lora_weights \"%s\" is not supported: it "
			      "changes the base; save the adapter converted to plain LoRA",
			      err_quote(quoted, init, strlen(init)))
		    : 0;
}

/* whatever makes of the same matrices another product than the plain one, or adds to it */
static int config_refuse(const cJSON *config, struct err *err)
{
	static const char *const off[] = {"alora_invocation_tokens", "alpha_pattern",
		"arrow_config", "exclude_modules", "fan_in_fan_out", "kasa_config",
		"layer_replication", "layers_to_transform", "lora_bias", "megatron_config",
		"modules_to_save", "monteclora_config", "rank_pattern", "target_parameters",
		"trainable_token_indices", "use_bdlora", "use_dora", "use_qalora"};
	const char *bias = json_get_string(config, "bias"),
		   *type = json_get_string(config, "peft_type");

	if (!type || strcmp(type, "LORA") != 0)
		return err_set(err, EOPNOTSUPP, "adapter_config.json: peft_type is not LORA");
	if (bias && strcmp(bias, "none") != 0)
		return err_set(err, EOPNOTSUPP,
			"adapter_config.json: bias other than none is not supported");
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, off[i]);
		bool unset = !v || cJSON_IsNull(v) || cJSON_IsFalse(v) ||
			     ((cJSON_IsArray(v) || cJSON_IsObject(v)) && !v->child);

		if (!unset)
			return err_set(err, EOPNOTSUPP, "adapter_config.json: %s is not supported",
				off[i]);
	}
	return config_began(config, err);
}

static int config_read(int dirfd, struct lora_shape *shape, struct err *err)
{
	struct buf text = BUF_INIT;
	cJSON *config = NULL;
	int rc = read_file(dirfd, CONFIG_NAME, CONFIG_MAX, &text, err);

	if (rc < 0)
		goto out;
	rc = json_parse(text.data, text.len, &config, err);
	if (rc == 0)
		rc = config_refuse(config, err);
	if (rc < 0)
		goto out;
	double r = json_get_number(config, "r", 8),
	       alpha = json_get_number(config, "lora_alpha", 8);
	double dropout = json_get_number(config, "lora_dropout", 0);

	if (!(r >= 1 && r <= RANK_MAX && floor(r) == r) || !(fabs(alpha) <= 1e6) ||
		!(dropout >= 0 && dropout < 1)) {
		rc = err_set(err, EBADMSG,
			"adapter_config.json: r is 1 to %d, lora_alpha a number, lora_dropout 0 to "
			"1",
			RANK_MAX);
		goto out;
	}
	/* rank-stabilised scaling is alpha / sqrt r: the same adapter with another alpha */
	if (json_get_bool(config, "use_rslora", false))
		alpha *= sqrt(r);
	*shape = (struct lora_shape){
		.rank = (int)r, .alpha = (float)alpha, .dropout = (float)dropout};
	rc = config_targets(
		cJSON_GetObjectItemCaseSensitive(config, "target_modules"), &shape->targets, err);
out:
	cJSON_Delete(config);
	buf_release(&text);
	return rc;
}

/* -1 and no error when there are no weights: the identity */
static int weights_open(int dirfd, struct err *err)
{
	static const char *const pickles[] = {
		"adapter_model.bin", "adapter_model.pt", "adapter_model.pth"};
	struct stat st;
	int fd = openat(dirfd, WEIGHTS_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return err_sys(err, "cannot open '%s'", WEIGHTS_NAME);
	for (size_t i = 0; i < sizeof(pickles) / sizeof(pickles[0]); i++)
		if (fstatat(dirfd, pickles[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			return err_set(err, EOPNOTSUPP,
				"pickle files are not read: '%s'; save the adapter as safetensors",
				pickles[i]);
	return -ENOENT;
}

static int matrix_check(const struct safetensors_entry *e, const char *name, char side,
	int64_t rows, int64_t cols, struct err *err)
{
	char have[96];

	if (!e)
		return err_set(err, EBADMSG, "adapter has no tensor \"%s\"", name);
	if (e->dims != 2 || e->shape[0] != rows || e->shape[1] != cols)
		return err_set(err, EBADMSG, "lora_%c of \"%s\" is %s, base needs %lldx%lld", side,
			name, safetensors_shape(e, have), (long long)rows, (long long)cols);
	return 0;
}

static int matrix_read(const struct safetensors_entry *e, float *out, struct err *err)
{
	size_t n = (size_t)e->shape[0] * (size_t)e->shape[1];
	int rc = safetensors_floats(e, out);

	if (rc == -ESTALE)
		return err_set(err, ESTALE, "adapter changed while it was read");
	if (rc < 0)
		return err_set(err, EOPNOTSUPP,
			"tensor \"%s\": %s is not read in an adapter (F32, F16, BF16 are)", e->name,
			e->dtype);
	for (size_t i = 0; i < n; i++)
		if (!isfinite(out[i]))
			return err_set(err, EBADMSG, "adapter holds a non-finite value in \"%s\"",
				e->name);
	return 0;
}

/* every expected tensor has its shape and there is no other */
static int file_check(const struct model *m, const struct lora_shape *shape,
	const struct safetensors *st, struct err *err)
{
	char name[NAME_MAX_BYTES];
	size_t expected = 0;

	for (int i = 0; i < m->layers * MODULES; i++) {
		const struct tensor *w = &m->layer[i / MODULES].w[i % MODULES];
		int rc;

		if (!(shape->targets & 1u << i % MODULES))
			continue;
		tensor_name(name, i / MODULES, i % MODULES, 'A');
		rc = matrix_check(safetensors_find(st, name), name, 'A', shape->rank, w->cols, err);
		if (rc == 0) {
			tensor_name(name, i / MODULES, i % MODULES, 'B');
			rc = matrix_check(
				safetensors_find(st, name), name, 'B', w->rows, shape->rank, err);
		}
		if (rc < 0)
			return rc;
		expected += 2;
	}
	if (safetensors_count(st) == expected)
		return 0;
	for (size_t i = 0; i < safetensors_count(st); i++) {
		const char *have = safetensors_at(st, i)->name;
		char quoted[ERR_QUOTE_BYTES + 8];
		bool known = false;

		for (int j = 0; j < m->layers * MODULES * 2 && !known; j++)
			known = shape->targets & 1u << j / 2 % MODULES &&
				strcmp(have, tensor_name(name, j / 2 / MODULES, j / 2 % MODULES,
						     j % 2 ? 'B' : 'A')) == 0;
		if (!known)
			return err_set(err, EBADMSG,
				"adapter has a tensor the base has no place for: \"%s\"",
				err_quote(quoted, have, strlen(have)));
	}
	return 0;
}

static int pair_read(const struct model *m, struct lora *lo, int i, const struct safetensors *st,
	float *tmp, struct err *err)
{
	struct lora_pair *p = &lo->pair[i];
	char name[NAME_MAX_BYTES];
	int rc = matrix_read(
		safetensors_find(st, tensor_name(name, i / MODULES, i % MODULES, 'A')), p->a, err);

	if (rc == 0)
		rc = matrix_read(
			safetensors_find(st, tensor_name(name, i / MODULES, i % MODULES, 'B')), tmp,
			err);
	if (rc < 0)
		return rc;
	for (int row = 0; row < p->out; row++)
		for (int j = 0; j < lo->rank; j++) {
			float v = tmp[file_row(m, i % MODULES, row) * lo->rank + j];

			p->b[row * lo->rank + j] = v;
			if (v != 0)
				lo->identity = false;
		}
	return 0;
}

static size_t widest(const struct model *m, int rank)
{
	size_t n = 0;

	for (int i = 0; i < MODULES; i++)
		if ((size_t)m->layer[0].w[i].rows > n)
			n = (size_t)m->layer[0].w[i].rows;
	return n * (size_t)rank;
}

int lora_load(const struct model *m, int dirfd, struct lora **out, struct err *err)
{
	struct safetensors *st = NULL;
	struct lora_shape shape;
	struct lora *lo = NULL;
	float *tmp = NULL;
	int rc = config_read(dirfd, &shape, err);

	if (rc < 0)
		return rc;
	int fd = weights_open(dirfd, err);

	if (fd == -ENOENT)
		return lora_new(m, &shape, 0, out, err); /* B is zero: nothing is applied */
	if (fd < 0)
		return fd;
	rc = safetensors_open(fd, &st, err);
	if (rc == 0)
		rc = file_check(m, &shape, st, err);
	if (rc < 0)
		goto out;
	/* the zero-B start is overwritten; the seed does not matter */
	rc = lora_new(m, &shape, 0, &lo, err);
	tmp = malloc(widest(m, shape.rank) * sizeof(*tmp));
	if (rc == 0 && !tmp)
		rc = err_nomem(err);
	for (int i = 0; rc == 0 && i < m->layers * MODULES; i++)
		if (lo->pair[i].a)
			rc = pair_read(m, lo, i, st, tmp, err);
	if (rc < 0) {
		lora_free(lo);
		goto out;
	}
	*out = lo;
out:
	free(tmp);
	safetensors_close(st);
	close(fd);
	return rc;
}

static int put_order(const void *a, const void *b)
{
	return strcmp(((const struct safetensors_put *)a)->name,
		((const struct safetensors_put *)b)->name);
}

int lora_save(const struct model *m, const struct lora *lo, int fd, struct err *err)
{
	size_t max = (size_t)m->layers * MODULES * 2, n = 0;
	struct safetensors_put *put = calloc(max, sizeof(*put));
	char(*name)[NAME_MAX_BYTES] = calloc(max, sizeof(*name));
	float *b = malloc((lo->params ? lo->params : 1) * sizeof(*b)), *at = b;
	int rc;

	if (!put || !name || !b) {
		rc = err_nomem(err);
		goto out;
	}
	for (int i = 0; i < m->layers * MODULES; i++) {
		const struct lora_pair *p = &lo->pair[i];

		if (!p->a)
			continue;
		for (int row = 0; row < p->out; row++)
			memcpy(at + file_row(m, i % MODULES, row) * lo->rank, p->b + row * lo->rank,
				(size_t)lo->rank * sizeof(*b));
		tensor_name(name[n], i / MODULES, i % MODULES, 'A');
		put[n] = (struct safetensors_put){name[n], lo->rank, p->in, p->a};
		n++;
		tensor_name(name[n], i / MODULES, i % MODULES, 'B');
		put[n] = (struct safetensors_put){name[n], p->out, lo->rank, at};
		n++;
		at += (size_t)p->out * (size_t)lo->rank;
	}
	qsort(put, n, sizeof(*put), put_order);
	rc = safetensors_write(fd, put, n, err);
out:
	free(put);
	free(name);
	free(b);
	return rc;
}
