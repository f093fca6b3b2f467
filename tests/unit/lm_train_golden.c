/* the same base, adapter and rows through torch and PEFT (tests/unit/data/make_peft_golden.py) and
 * through us */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/replace.h"
#include "trainer/adapter_dir.h"
#include "trainer/ops.h"
#include "trainer/safetensors.h"
#include "trainer/train.h"

enum { ROWS_MAX = 20, BATCH = 4 };

struct golden {
	struct model *m;
	struct lora *lo;
	struct threads *th;
	struct safetensors *expected;
	cJSON *json;
	struct data data;
	struct sample sample[ROWS_MAX];
	const struct sample *train[ROWS_MAX];
	int steps;
};

static int open_data(const char *name, int flags)
{
	char path[256];
	struct err err = ERR_NONE;
	int fd;

	snprintf(path, sizeof(path), "tests/unit/data/peft/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	cr_assert(fd >= 0, "%s (run from the top folder)", path);
	(void)err;
	return fd;
}

static void setup(struct golden *g)
{
	struct err err = ERR_NONE;
	struct buf text = BUF_INIT;
	int fd = open_data("tiny", O_RDONLY | O_DIRECTORY),
	    dir = open_data(".", O_RDONLY | O_DIRECTORY);

	*g = (struct golden){.th = threads_new(2)};
	cr_assert_eq(model_open(fd, &g->m, &err), 0, "%s", err.text);
	close(fd);
	fd = open_data("adapter", O_RDONLY | O_DIRECTORY);
	cr_assert_eq(lora_load(g->m, fd, &g->lo, &err), 0, "%s", err.text);
	close(fd);
	fd = open_data("golden.safetensors", O_RDONLY);
	cr_assert_eq(safetensors_open(fd, &g->expected, &err), 0, "%s", err.text);
	close(fd);
	cr_assert_eq(read_file(dir, "golden.json", 1 << 20, &text, &err), 0, "%s", err.text);
	close(dir);
	cr_assert_eq(json_parse(text.data, text.len, &g->json, &err), 0, "%s", err.text);
	buf_release(&text);
	g->steps = cJSON_GetArraySize(cJSON_GetObjectItem(g->json, "order"));

	const cJSON *row;
	int n = 0;

	cJSON_ArrayForEach(row, cJSON_GetObjectItem(g->json, "rows"))
	{
		cr_assert_lt(n, ROWS_MAX);
		const cJSON *tokens = cJSON_GetObjectItem(row, "tokens"), *t;
		struct sample *sm = &g->sample[n];

		sm->token = calloc((size_t)cJSON_GetArraySize(tokens), sizeof(int));
		cJSON_ArrayForEach(t, tokens) sm->token[sm->n++] = (int)t->valuedouble;
		sm->answer = (int)json_get_number(row, "answer", 0);
		g->train[n++] = sm;
		g->data.longest = sm->n > g->data.longest ? sm->n : g->data.longest;
	}
	g->data.sample = g->sample;
	g->data.train = g->train;
	g->data.n = g->data.trains = n;
}

static void teardown(struct golden *g)
{
	for (int i = 0; i < g->data.n; i++)
		free(g->sample[i].token);
	safetensors_close(g->expected);
	cJSON_Delete(g->json);
	lora_free(g->lo);
	model_free(g->m);
	threads_free(g->th);
}

static struct train *trainer(struct golden *g)
{
	struct train_settings set = {.epochs = g->steps / (g->data.trains / BATCH),
		.batch = BATCH,
		.lr = json_get_number(g->json, "lr", 0),
		.seed = 1,
		.mem = 64 << 20,
		.checkpoint_dir = -1};
	struct train *tn;
	struct err err = ERR_NONE;

	cr_assert_eq(train_new(g->m, g->th, g->lo, &g->data, &set, &tn, &err), 0, "%s", err.text);
	cr_assert_eq(train_steps(tn), g->steps); /* the schedule depends on it */
	return tn;
}

/* logits of every position through the training forward; caller frees */
static float *logits_of(struct golden *g, const struct sample *sm)
{
	struct adapt at[64] = {0};
	struct trainee tr = {.rank = g->lo->rank,
		.scale = g->lo->alpha / (float)g->lo->rank,
		.targets = g->lo->targets,
		.at = at};
	/* one more token, so that the last position is computed too */
	int token[64];
	struct sample whole = {token, sm->n + 1, 1, 0, 0};
	const struct sample *list = &whole;
	struct pack pk;
	struct pass *ps;
	float *hidden = malloc((size_t)(sm->n * g->m->dim) * sizeof(float)),
	      *out = malloc((size_t)(sm->n * g->m->vocab) * sizeof(float));

	memcpy(token, sm->token, (size_t)sm->n * sizeof(int));
	token[sm->n] = 0;
	for (int i = 0; i < g->m->layers * MODULES; i++)
		at[i] = (struct adapt){.a = g->lo->pair[i].a, .b = g->lo->pair[i].b};
	cr_assert_eq(pack_make(&list, 1, false, &pk, NULL), 0);
	cr_assert_eq(pass_new(g->m, g->th, &tr, 0, pk.tokens, &ps, NULL), 0);
	pass_forward(ps, &pk);
	for (int t = 0; t < sm->n; t++)
		ops_rmsnorm(hidden + t * g->m->dim, ps->out + t * g->m->dim, g->m->final_norm,
			g->m->dim, g->m->norm_eps);
	gemm_forward(g->th, out, g->m->vocab, hidden, g->m->dim, sm->n, &g->m->head, false);
	pass_free(ps);
	pack_release(&pk);
	free(hidden);
	return out;
}

/* the largest difference relative to the largest value */
static double difference(const float *have, const float *want, size_t n)
{
	double worst = 0, top = 0;

	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)have[i] - (double)want[i]));
		top = fmax(top, fabs((double)want[i]));
	}
	return worst / top;
}

Test(lm_train_golden, logits_are_pefts)
{
	struct golden g;

	setup(&g);
	const struct sample *sm = &g.sample[(int)json_get_number(g.json, "logits_row", 0)];
	float *have = logits_of(&g, sm);
	const struct safetensors_entry *want = safetensors_find(g.expected, "logits");

	cr_assert_eq(want->bytes, (size_t)(sm->n * g.m->vocab) * sizeof(float));
	cr_assert(difference(have, want->data, want->bytes / 4) <= 2e-5, "%g",
		difference(have, want->data, want->bytes / 4));
	free(have);
	teardown(&g);
}

/* compare the adapted matrices in ${memory} (in the order of lora's memory) with the golden tensors
 * of that prefix */
static void compare(
	struct golden *g, const char *prefix, const float *memory, double tolerance, bool relative)
{
	for (int i = 0; i < g->m->layers * MODULES; i++)
		for (int side = 0; side < 2; side++) {
			const struct lora_pair *p = &g->lo->pair[i];
			const float *have = memory + ((side ? p->b : p->a) - g->lo->memory);
			char name[256];

			snprintf(name, sizeof(name),
				"%s.base_model.model.model.layers.%d.%s.lora_%c.weight", prefix,
				i / MODULES, model_module_path((enum module)(i % MODULES)),
				side ? 'B' : 'A');
			const struct safetensors_entry *e = safetensors_find(g->expected, name);

			cr_assert(e, "%s", name);
			double worst = 0;

			if (relative)
				worst = difference(have, e->data, e->bytes / 4);
			for (size_t k = 0; !relative && k < e->bytes / 4; k++)
				worst = fmax(worst, fabs((double)have[k] -
							    (double)((const float *)e->data)[k]));
			cr_assert(worst <= tolerance, "%s differs by %g", name, worst);
		}
}

/* the rows of a step, in the order torch saw them */
static void rows_of(const struct golden *g, int step, const struct sample *rows[BATCH])
{
	const cJSON *list = cJSON_GetArrayItem(cJSON_GetObjectItem(g->json, "order"), step);

	cr_assert_eq(cJSON_GetArraySize(list), BATCH);
	for (int i = 0; i < BATCH; i++)
		rows[i] = &g->sample[(int)cJSON_GetArrayItem(list, i)->valuedouble];
}

Test(lm_train_golden, gradients_losses_and_final_adapter_are_torchs)
{
	struct golden g;

	setup(&g);
	struct train *tn = trainer(&g);
	const cJSON *want = cJSON_GetObjectItem(g.json, "losses");

	cr_assert_eq(g.steps, 50);
	for (int i = 0; i < g.steps; i++) {
		const struct sample *rows[BATCH];
		double loss;

		rows_of(&g, i, rows);
		cr_assert_eq(train_step(tn, rows, BATCH, &loss, NULL), 0);
		cr_assert(fabs(loss - cJSON_GetArrayItem(want, i)->valuedouble) <= 1e-3,
			"step %d: %g", i + 1, loss);
		if (i > 0)
			continue;
		/* torch's were kept after clipping, as ours */
		compare(&g, "grad", train_gradient(tn), 1e-4, true);
	}
	compare(&g, "final", g.lo->memory, 1e-4, false);
	train_free(tn);

	/* with KOLM_GOLDEN_OUT=DIR: what "make_peft_golden.py check" loads with PEFT */
	const char *out = getenv("KOLM_GOLDEN_OUT");

	if (out) {
		int dir = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
		const struct sample *sm = &g.sample[2];
		float *logits = logits_of(&g, sm);
		struct safetensors_put put = {"logits", sm->n, g.m->vocab, logits};

		cr_assert(dir >= 0);
		cr_assert_eq(adapter_dir_write(g.m, g.lo, "tiny", dir, dir, NULL), 0);
		fd = openat(
			dir, "logits.safetensors", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		cr_assert_eq(safetensors_write(fd, &put, 1, NULL), 0);
		close(fd);
		close(dir);
		free(logits);
	}
	teardown(&g);
}
