/*
 * lm_arch - every architecture of the table against transformers and PEFT (data/make_arch.py):
 * logits, losses and gradients of the training path, logits of the serving path; from a Hugging
 * Face folder and from a GGUF of the same weights.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "trainer/kolmlm.h"
#include "trainer/lora.h"
#include "trainer/ops.h"
#include "trainer/safetensors.h"
#include "trainer/train.h"

static const char *const names[] = {"llama", "llama_linear", "mistral", "qwen2", "qwen3", "smollm3",
	"gemma", "gemma2", "gemma3"};

enum { NAMES = sizeof(names) / sizeof(names[0]), ROWS = 2, TOKENS_MAX = 64 };

struct fixture {
	const char *name;
	bool gguf;
	struct model *m;
	struct lora *lo;
	struct threads *th;
	struct safetensors *golden;
	double loss;
	struct sample sample[ROWS];
	const struct sample *train[ROWS];
	struct data data;
	int token[ROWS][TOKENS_MAX];
};

static int open_at(const char *fmt, const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), fmt, name);
	fd = open(path, flags | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%s (run from the top of the tree)", path);
	return fd;
}

static int open_base(const char *name, bool gguf)
{
	if (!gguf)
		return open_at("tests/unit/data/arch/%s", name, O_RDONLY | O_DIRECTORY);
	return open_at(strcmp(name, "qwen3") == 0 ? "tests/unit/data/arch/%s-00001-of-00003.gguf"
						  : "tests/unit/data/arch/%s.gguf",
		name, O_RDONLY);
}

static void read_rows(struct fixture *f)
{
	struct buf text = BUF_INIT;
	const cJSON *row, *t;
	cJSON *json;
	int dir = open_base(f->name, false);

	cr_assert_eq(read_file(dir, "golden.json", 1 << 20, &text, NULL), 0);
	close(dir);
	cr_assert_eq(json_parse(text.data, text.len, &json, NULL), 0);
	buf_release(&text);
	f->loss = json_get_number(json, "loss", 0);
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "rows"))
	{
		struct sample *sm = &f->sample[f->data.n];

		sm->token = f->token[f->data.n];
		cJSON_ArrayForEach(t, cJSON_GetObjectItem(row, "tokens")) sm->token[sm->n++] =
			(int)t->valuedouble;
		sm->answer = (int)json_get_number(row, "answer", 0);
		f->train[f->data.n++] = sm;
		f->data.longest = sm->n > f->data.longest ? sm->n : f->data.longest;
	}
	f->data.sample = f->sample;
	f->data.train = f->train;
	f->data.trains = f->data.n;
	cJSON_Delete(json);
}

static void setup(struct fixture *f, const char *name, bool gguf)
{
	struct err err = ERR_NONE;
	int fd = open_base(name, gguf);

	*f = (struct fixture){.name = name, .gguf = gguf, .th = threads_new(2)};
	cr_assert_eq(model_open(fd, &f->m, &err), 0, "%s: %s", name, err.text);
	close(fd);
	fd = open_at("tests/unit/data/arch/%s/adapter", name, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(lora_load(f->m, fd, &f->lo, &err), 0, "%s: %s", name, err.text);
	close(fd);
	fd = open_at("tests/unit/data/arch/%s/golden.safetensors", name, O_RDONLY);
	cr_assert_eq(safetensors_open(fd, &f->golden, &err), 0, "%s: %s", name, err.text);
	close(fd);
	read_rows(f);
}

static void teardown(struct fixture *f)
{
	safetensors_close(f->golden);
	lora_free(f->lo);
	model_free(f->m);
	threads_free(f->th);
}

/* the largest difference relative to the largest value */
static double difference(const float *have, const struct safetensors_entry *want)
{
	const float *w = want->data;
	double worst = 0, top = 0;

	for (size_t i = 0; i < want->bytes / sizeof(float); i++) {
		worst = fmax(worst, fabs((double)have[i] - (double)w[i]));
		top = fmax(top, fabs((double)w[i]));
	}
	return worst / top;
}

/* logits of every position of the first row through the training forward, with or without the
 * adapter, keeping everything or only each layer's input */
static float *logits_of(struct fixture *f, bool adapted)
{
	const struct model *m = f->m;
	struct adapt *at = calloc((size_t)m->layers * MODULES, sizeof(*at));
	struct trainee tr = {.rank = f->lo->rank,
		.scale = f->lo->alpha / (float)f->lo->rank,
		.targets = adapted ? f->lo->targets : 0,
		.at = at};
	int token[TOKENS_MAX + 1], n = f->sample[0].n;
	struct sample whole = {token, n + 1, 1, 0, 0}; /* the last token is no input */
	const struct sample *list = &whole;
	float *hidden = malloc((size_t)(n * m->dim) * sizeof(float)),
	      *out = malloc((size_t)(n * m->vocab) * sizeof(float));
	struct pack pk;
	struct pass *ps;

	memcpy(token, f->sample[0].token, (size_t)n * sizeof(int));
	token[n] = 0;
	for (int i = 0; i < m->layers * MODULES && adapted; i++)
		at[i] = (struct adapt){.a = f->lo->pair[i].a, .b = f->lo->pair[i].b};
	cr_assert_eq(pack_make(&list, 1, false, &pk, NULL), 0);
	cr_assert_eq(pass_new(m, f->th, &tr, 0, pk.tokens, &ps, NULL), 0);
	cr_assert_eq(pass_forward(ps, &pk), 0);
	for (int t = 0; t < n; t++)
		ops_rmsnorm(hidden + t * m->dim, ps->out + t * m->dim, m->final_norm, m->dim,
			m->norm_eps);
	gemm_forward(f->th, out, m->vocab, hidden, m->dim, n, &m->head, false);
	for (int i = 0; i < n * m->vocab && m->final_cap > 0; i++)
		out[i] = ops_cap(out[i], m->final_cap);
	pass_free(ps);
	pack_release(&pk);
	free(hidden);
	free(at);
	return out;
}

static void check_logits(struct fixture *f)
{
	const struct safetensors_entry *want = safetensors_find(f->golden, "logits"),
				       *adapted = safetensors_find(f->golden, "adapted");
	size_t n = (size_t)f->sample[0].n * (size_t)f->m->vocab;
	float *have = logits_of(f, false);

	cr_assert_eq(want->bytes, n * sizeof(float));
	cr_assert_leq(difference(have, want), 2e-5, "%s: %g", f->name, difference(have, want));
	free(have);
	have = logits_of(f, true);
	cr_assert_leq(difference(have + n - adapted->bytes / 4, adapted), 2e-5,
		"%s with its adapter: %g", f->name,
		difference(have + n - adapted->bytes / 4, adapted));
	free(have);
}

/* the row of ours that holds row ${r} of Hugging Face's, where a GGUF holds q and k permuted */
static int our_row(const struct fixture *f, int module, int r)
{
	int d = f->m->head_dim, head = r / d * d, i = r % d;

	if (!f->m->rows_permuted || module > MODULE_K)
		return r;
	return head + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
}

static void check_gradient(const struct fixture *f, int at, bool b, const float *ours)
{
	const struct lora_pair *p = &f->lo->pair[at];
	const struct safetensors_entry *e;
	double dot = 0, have = 0, want = 0;
	char name[160];
	int rank = f->lo->rank, n = b ? p->out : p->in;

	snprintf(name, sizeof(name), "grad.base_model.model.model.layers.%d.%s.lora_%c.weight",
		at / MODULES, model_module_path((enum module)(at % MODULES)), b ? 'B' : 'A');
	e = safetensors_find(f->golden, name);
	cr_assert(e, "%s", name);
	cr_assert_eq(e->bytes, (size_t)(rank * n) * sizeof(float));
	for (int i = 0; i < rank * n; i++) {
		int k = b ? our_row(f, at % MODULES, i / rank) * rank + i % rank : i;
		double x = (double)ours[k], y = (double)((const float *)e->data)[i];

		dot += x * y;
		have += x * x;
		want += y * y;
	}
	cr_assert(dot / sqrt(have * want) >= 0.999999, "%s: %s: cosine %.9f", f->name, name,
		dot / sqrt(have * want));
}

/* gradients point where torch's do, in a pass that keeps everything and in a lean one */
static void check_gradients(struct fixture *f, uint64_t mem)
{
	struct train_settings set = {
		.epochs = 1, .batch = 2, .lr = 1e-3, .seed = 1, .mem = mem, .checkpoint_dir = -1};
	struct err err = ERR_NONE;
	struct train *tn;
	double loss;

	cr_assert_eq(train_new(f->m, f->th, f->lo, &f->data, &set, &tn, &err), 0, "%s: %s", f->name,
		err.text);
	cr_assert_eq(train_step(tn, f->train, ROWS, &loss, &err), 0, "%s: %s", f->name, err.text);
	cr_assert_float_eq(
		loss, f->loss, 2e-5 * f->loss, "%s: loss %.8g, not %.8g", f->name, loss, f->loss);
	for (int i = 0; i < f->m->layers * MODULES; i++)
		for (int b = 0; b < 2; b++)
			check_gradient(f, i, b,
				train_gradient(tn) + ((b ? f->lo->pair[i].b : f->lo->pair[i].a) -
							     f->lo->memory));
	train_free(tn);
}

Test(lm_arch, training_logits_are_those_of_transformers)
{
	for (int i = 0; i < 2 * NAMES; i++) {
		struct fixture f;

		setup(&f, names[i / 2], i % 2);
		check_logits(&f);
		teardown(&f);
	}
}

Test(lm_arch, training_gradients_are_those_of_torch)
{
	for (int i = 0; i < 2 * NAMES; i++) {
		struct fixture f;

		setup(&f, names[i / 2], i % 2);
		check_gradients(&f, 64 << 20);
		teardown(&f);
	}
}

/* one architecture through the serving path; at most ${tolerance} off, relative to the largest */
static void check_serving(const char *name, bool gguf, double tolerance)
{
	const struct lm_options opt = {.threads = 2, .kernel = "portable"};
	struct lm_adapter *ad;
	struct fixture f;
	struct err err = ERR_NONE;
	struct lm *lm;
	float *out;
	int fd = open_base(name, gguf);
	size_t n;

	setup(&f, name, gguf);
	cr_assert_eq(lm_open(fd, &opt, &lm, &err), 0, "%s: %s", name, err.text);
	close(fd);
	fd = open_at("tests/unit/data/arch/%s/adapter", name, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(lm_adapter_load(lm, fd, &ad, &err), 0, "%s", err.text);
	close(fd);
	n = (size_t)f.sample[0].n * (size_t)lm_vocab(lm);
	out = malloc(n * sizeof(*out));
	for (int with = 0; with < 2; with++) {
		const struct safetensors_entry *want =
			safetensors_find(f.golden, with ? "adapted" : "logits");
		double worst;

		lm_use(lm, with ? ad : NULL);
		cr_assert_eq(lm_logits(lm, f.sample[0].token, (size_t)f.sample[0].n, out, &err), 0,
			"%s: %s", name, err.text);
		worst = difference(out + n - want->bytes / sizeof(float), want);
		cr_assert_leq(worst, tolerance, "%s %s%s: %g", name, gguf ? "GGUF" : "folder",
			with ? " with its adapter" : "", worst);
	}
	free(out);
	lm_adapter_free(ad);
	lm_close(lm);
	teardown(&f);
}

Test(lm_arch, serving_logits_of_a_folder_are_those_of_transformers)
{
	for (int i = 0; i < NAMES; i++)
		check_serving(names[i], false, 2e-5);
}

/* activations are rounded to 8 bits where weights are quantised: 6 % of the largest at these widths
 */
Test(lm_arch, serving_logits_of_a_gguf_are_those_of_transformers)
{
	for (int i = 0; i < NAMES; i++)
		check_serving(names[i], true, 0.1);
}

Test(lm_arch, an_unknown_architecture_is_refused_with_the_known_ones)
{
	char path[] = "/tmp/lm_arch.XXXXXX";
	static const char config[] = "{\"model_type\":\"mamba\",\"num_hidden_layers\":1}";
	struct err err = ERR_NONE;
	struct model *m;
	int fd;

	cr_assert(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(replace_file(fd, "config.json", config, strlen(config), 0600, NULL), 0);
	cr_assert_eq(model_open(fd, &m, &err), -EOPNOTSUPP);
	cr_assert_str_eq(err.text,
		"architecture \"mamba\" is not known (llama, mistral, qwen2, qwen3, smollm3, "
		"gemma, gemma2, gemma3_text are)");
	close(fd);
	dir_remove(AT_FDCWD, path, NULL);
}

/* copies ${files} of an architecture's folder to a new one, which the caller removes */
static int copy_of(const char *name, const char *const *files, char path[32])
{
	int from = open_at("tests/unit/data/arch/%s", name, O_RDONLY | O_DIRECTORY), to;

	strcpy(path, "/tmp/lm_arch.XXXXXX");
	cr_assert(mkdtemp(path));
	to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (; *files; files++) {
		struct buf bf = BUF_INIT;

		cr_assert_eq(read_file(from, *files, 1 << 20, &bf, NULL), 0);
		cr_assert_eq(replace_file(to, *files, bf.data, bf.len, 0600, NULL), 0);
		buf_release(&bf);
	}
	close(from);
	return to;
}

static const char *const plain_files[] = {
	"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", NULL};

Test(lm_arch, a_download_cache_of_links_is_read_and_other_links_are_not)
{
	char path[32], blobs[64], from[96], to[96];
	struct err err = ERR_NONE;
	struct model *m;
	int fd = copy_of("qwen2", plain_files, path);

	/* PATH/blobs/aN, PATH/snapshots/main/NAME -> ../../blobs/aN */
	snprintf(blobs, sizeof(blobs), "%s/blobs", path);
	cr_assert_eq(mkdir(blobs, 0700), 0);
	cr_assert_eq(mkdirat(fd, "snapshots", 0700), 0);
	cr_assert_eq(mkdirat(fd, "snapshots/main", 0700), 0);
	for (int i = 0; plain_files[i]; i++) {
		snprintf(to, sizeof(to), "blobs/a%d", i);
		cr_assert_eq(renameat(fd, plain_files[i], fd, to), 0);
		snprintf(from, sizeof(from), "../../blobs/a%d", i);
		snprintf(to, sizeof(to), "snapshots/main/%s", plain_files[i]);
		cr_assert_eq(symlinkat(from, fd, to), 0);
	}
	int snapshot = openat(fd, "snapshots/main", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(model_open(snapshot, &m, &err), 0, "%s", err.text);
	model_free(m);
	snprintf(from, sizeof(from), "%s/blobs/a0", path);
	cr_assert_eq(unlinkat(snapshot, "config.json", 0), 0);
	cr_assert_eq(symlinkat(from, snapshot, "config.json"), 0);
	cr_assert_eq(model_open(snapshot, &m, &err), -ELOOP);
	cr_assert(strstr(err.text, "config.json' is a link out of the folder"), "%s", err.text);
	close(snapshot);
	close(fd);
	dir_remove(AT_FDCWD, path, NULL);
}

Test(lm_arch, a_missing_shard_is_named)
{
	static const char *const files[] = {"config.json", "model-00001-of-00002.safetensors",
		"model.safetensors.index.json", "tokenizer.json", NULL};
	char path[32];
	struct err err = ERR_NONE;
	struct model *m;
	int fd = copy_of("llama_linear", files, path);

	cr_assert_eq(model_open(fd, &m, &err), -EBADMSG);
	cr_assert_str_eq(err.text, "base model: no model-00002-of-00002.safetensors in the folder");
	close(fd);
	dir_remove(AT_FDCWD, path, NULL);
}

Test(lm_arch, a_tensor_stands_in_one_part_of_a_split_gguf)
{
	static const char *const parts[] = {"qwen3-00001-of-00003.gguf",
		"qwen3-00002-of-00003.gguf", "qwen3-00003-of-00003.gguf", NULL};
	static const char own[] = "blk.1.attn_q.weight", other[] = "blk.0.attn_q.weight";
	struct buf bf = BUF_INIT;
	struct err err = ERR_NONE;
	struct model *m;
	char path[32], *at;
	int dir = copy_of("..//arch", parts, path), fd;

	cr_assert_eq(read_file(dir, parts[1], 1 << 20, &bf, NULL), 0);
	at = memmem(bf.data, bf.len, own, sizeof(own) - 1);
	cr_assert(at);
	memcpy(at, other, sizeof(other) - 1);
	cr_assert_eq(replace_file(dir, parts[1], bf.data, bf.len, 0600, NULL), 0);
	fd = openat(dir, parts[0], O_RDONLY | O_CLOEXEC);
	cr_assert_eq(model_open(fd, &m, &err), -EBADMSG);
	cr_assert_str_eq(
		err.text, "base model: tensor \"blk.0.attn_q.weight\" stands in parts 1 and 2");
	close(fd);
	close(dir);
	buf_release(&bf);
	dir_remove(AT_FDCWD, path, NULL);
}

Test(lm_arch, a_split_gguf_needs_its_parts_and_is_one_base)
{
	static const char *const parts[] = {"qwen3-00001-of-00003.gguf",
		"qwen3-00002-of-00003.gguf", "qwen3-00003-of-00003.gguf", NULL};
	char path[32], whole[XXH3_HEX_BYTES], other[XXH3_HEX_BYTES];
	struct err err = ERR_NONE;
	struct model *m;
	struct stat st;
	uint64_t bytes, sum = 0;
	int dir = copy_of("..//arch", parts, path), fd, part;

	fd = openat(dir, parts[0], O_RDONLY | O_CLOEXEC);
	cr_assert_eq(model_open(fd, &m, &err), 0, "%s", err.text);
	model_free(m);
	cr_assert_eq(base_digest(fd, &bytes, whole, &err), 0, "%s", err.text);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(fstatat(dir, parts[i], &st, 0), 0);
		sum += (uint64_t)st.st_size;
	}
	cr_assert_eq(bytes, sum);

	/* a changed part is another base */
	part = openat(dir, parts[2], O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(part, "x", 1, st.st_size - 1), 1);
	close(part);
	cr_assert_eq(base_digest(fd, &bytes, other, &err), 0);
	cr_assert_str_neq(whole, other);

	part = openat(dir, parts[1], O_RDONLY | O_CLOEXEC);
	cr_assert_eq(model_open(part, &m, &err), -EINVAL);
	cr_assert(strstr(err.text, "part 2 of a split GGUF; name the first"), "%s", err.text);
	close(part);
	cr_assert_eq(unlinkat(dir, parts[1], 0), 0);
	cr_assert_eq(model_open(fd, &m, &err), -EBADMSG);
	cr_assert(strstr(err.text, "cannot open 'qwen3-00002-of-00003.gguf'"), "%s", err.text);
	close(fd);
	close(dir);
	dir_remove(AT_FDCWD, path, NULL);
}
