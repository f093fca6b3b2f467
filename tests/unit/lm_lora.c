#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/replace.h"
#include "lm_tiny.h"
#include "trainer/adapter_dir.h"
#include "trainer/lora.h"
#include "trainer/safetensors.h"

static int folder(char path[64])
{
	strcpy(path, "/tmp/lm_lora.XXXXXX");
	cr_assert(mkdtemp(path));
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void clean(int dir, const char *path)
{
	close(dir);
	dir_remove(AT_FDCWD, path, NULL);
}

static struct lora *fresh(const struct model *m, unsigned targets, int rank)
{
	struct lora_shape shape = {.rank = rank, .alpha = 6, .targets = targets};
	struct lora *lo;

	cr_assert_eq(lora_new(m, &shape, 42, &lo, NULL), 0);
	return lo;
}

Test(lm_lora, targets)
{
	struct err err = ERR_NONE;
	unsigned bits = 0;

	cr_assert_eq(lora_targets_parse("v_proj,q_proj", &bits, &err), 0);
	cr_assert_eq(bits, 1u << MODULE_Q | 1u << MODULE_V);
	cr_assert_eq(lora_targets_parse("q_prj", &bits, &err), -EINVAL);
	cr_assert(strstr(err.text, "target_modules: \"q_prj\" not in base (have q_proj, "), "%s",
		err.text);
	cr_assert_eq(lora_targets_parse("", &bits, &err), -EINVAL);
	cr_assert_eq(lora_targets_parse("q_proj,", &bits, &err), -EINVAL);
	cr_assert_eq(lora_targets_parse("q_proj,q_proj", &bits, &err), -EINVAL);
}

Test(lm_lora, a_fresh_one_is_the_identity_and_depends_on_the_seed)
{
	struct model *m = tiny_model(false, false, true);
	struct lora *a = fresh(m, 3, 4), *b = fresh(m, 3, 4), *c;
	struct lora_shape shape = {.rank = 4, .alpha = 6, .targets = 3};

	cr_assert_eq(lora_new(m, &shape, 43, &c, NULL), 0);
	cr_assert(a->identity);
	cr_assert_eq(a->params, 2u * 4 * (24 + 32 + 24 + 16));
	cr_assert_arr_eq(a->memory, b->memory, a->params * sizeof(float));
	cr_assert_neq(a->pair[0].a[0], c->pair[0].a[0]);
	cr_assert_null(a->pair[MODULE_V].a);
	for (int i = 0; i < 4 * 24; i++)
		cr_assert(fabsf(a->pair[0].a[i]) <= 1 / sqrtf(24));
	for (int i = 0; i < 4 * 32; i++)
		cr_assert_eq(a->pair[0].b[i], 0);
	lora_free(a);
	lora_free(b);
	lora_free(c);
	tiny_free(m);
}

/* GGUF's rows of q and k are interleaved, PEFT's are not: row 2i + j of a head is row j * d/2 + i
 * of the file */
Test(lm_lora, saved_in_pefts_order_and_read_back)
{
	struct model *m = tiny_model(false, false, true);
	struct lora *lo = fresh(m, (1u << MODULES) - 1, 2), *again;
	struct err err = ERR_NONE;
	struct safetensors *st;
	char path[64];
	int dir = folder(path);

	for (size_t i = 0; i < lo->params; i++)
		lo->memory[i] = (float)i;
	cr_assert_eq(adapter_dir_write(m, lo, "/models/x", dir, dir, &err), 0, "%s", err.text);
	int fd = openat(dir, "adapter_model.safetensors", O_RDONLY | O_CLOEXEC);

	cr_assert_eq(safetensors_open(fd, &st, &err), 0, "%s", err.text);
	close(fd);
	cr_assert_eq(safetensors_count(st), 2 * MODULES * 2);
	for (size_t i = 1; i < safetensors_count(st); i++)
		cr_assert_lt(
			strcmp(safetensors_at(st, i - 1)->name, safetensors_at(st, i)->name), 0);
	const float *file = safetensors_find(
		st, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight")
				    ->data;
	const float *mem = lo->pair[MODULES + MODULE_Q].b;

	for (int h = 0; h < 4; h++)
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < 2; j++)
				cr_assert_eq(file[(h * 8 + j * 4 + i) * 2],
					mem[(h * 8 + 2 * i + j) * 2]);
	file = safetensors_find(
		st, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight")
		       ->data;
	cr_assert_arr_eq(file, lo->pair[MODULES + MODULE_V].b, 16 * 2 * sizeof(float));
	safetensors_close(st);
	cr_assert_eq(lora_load(m, dir, &again, &err), 0, "%s", err.text);
	cr_assert_arr_eq(again->memory, lo->memory, lo->params * sizeof(float));
	cr_assert(!again->identity && again->rank == 2 && again->alpha == 6);
	lora_free(again);
	lora_free(lo);
	tiny_free(m);
	clean(dir, path);
}

static void config(int dir, const char *text)
{
	cr_assert_eq(replace_file(dir, "adapter_config.json", text, strlen(text), 0600, NULL), 0);
}

static void refused(const struct model *m, int dir, int no, const char *says)
{
	struct err err = ERR_NONE;
	struct lora *lo = NULL;

	cr_assert_eq(lora_load(m, dir, &lo, &err), -no, "%s", err.text);
	cr_assert(strstr(err.text, says), "'%s' lacks '%s'", err.text, says);
}

/* BAD-INPUTS I08, I09 */
Test(lm_lora, files_that_do_not_fit)
{
	struct model *m = tiny_model(false, false, false);
	struct lora *lo = fresh(m, 3, 2);
	char path[64];
	int dir = folder(path);

	lo->memory[5] = NAN;
	cr_assert_eq(adapter_dir_write(m, lo, "x", dir, dir, NULL), 0);
	refused(m, dir, EBADMSG,
		"adapter holds a non-finite value in "
		"\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\"");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"target_modules\":[\"q_"
		    "proj\",\"k_proj\"]}");
	refused(m, dir, EBADMSG, "is 2x24, base needs 8x24");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":16,\"target_modules\":[\"q_"
		    "proj\",\"v_proj\"]}");
	refused(m, dir, EBADMSG,
		"adapter has no tensor "
		"\"base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight\"");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":16,\"target_modules\":[\"q_"
		    "proj\"]}");
	refused(m, dir, EBADMSG, "the base has no place for");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":2.5,\"target_modules\":[\"q_proj\"]}");
	refused(m, dir, EBADMSG, "r is 1 to");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"q_proj\"],\"use_dora\":"
		    "true}");
	refused(m, dir, EOPNOTSUPP, "use_dora is not supported");
	config(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"qq\"]}");
	refused(m, dir, EBADMSG, "target_modules");
	config(dir, "{\"peft_type\":\"LORA\"");
	refused(m, dir, EBADMSG, "JSON");
	lora_free(lo);
	tiny_free(m);
	clean(dir, path);
}

/* each thing PEFT 0.21 can write that changes the logits and is not done here */
static const struct {
	const char *key, *value, *says;
} strange[] = {
	{"peft_type", "\"ADALORA\"", "peft_type is not LORA"},
	{"bias", "\"lora_only\"", "bias other than none"},
	{"alora_invocation_tokens", "[1,2]", NULL},
	{"alpha_pattern", "{\"q_proj\":4}", NULL},
	{"arrow_config", "{\"top_k\":3}", NULL},
	{"exclude_modules", "[\"layers.0.self_attn.q_proj\"]", NULL},
	{"fan_in_fan_out", "true", NULL},
	{"kasa_config", "{\"beta\":0.1}", NULL},
	{"layer_replication", "[[0,2],[1,2]]", NULL},
	{"layers_to_transform", "0", NULL},
	{"lora_bias", "true", NULL},
	{"megatron_config", "{\"a\":1}", NULL},
	{"modules_to_save", "[\"lm_head\"]", NULL},
	{"monteclora_config", "{\"num_samples\":4}", NULL},
	{"rank_pattern", "{\"q_proj\":2}", NULL},
	{"target_parameters", "[\"mlp.experts.gate_up_proj\"]", NULL},
	{"trainable_token_indices", "[5]", NULL},
	{"use_bdlora", "{\"nblocks\":2}", NULL},
	{"use_dora", "true", NULL},
	{"use_qalora", "true", NULL},
	{"init_lora_weights", "\"pissa_niter_4\"",
		"\"pissa_niter_4\" is not supported: it changes the base"},
	{"init_lora_weights", "\"corda\"", NULL},
	{"init_lora_weights", "\"loftq\"", NULL},
	{"init_lora_weights", "\"lora_ga\"", NULL},
	{"init_lora_weights", "\"olora\"", NULL},
};

/* and what it writes that does not */
static const char *const plain[] = {"\"alora_invocation_tokens\":null",
	"\"layer_replication\":null", "\"modules_to_save\":[]", "\"rank_pattern\":{}",
	"\"lora_bias\":false", "\"init_lora_weights\":\"eva\",\"eva_config\":{\"rho\":2}",
	"\"init_lora_weights\":\"gaussian\"", "\"init_lora_weights\":false",
	"\"velora_config\":{\"num_groups\":4}", "\"qalora_group_size\":16",
	"\"layers_pattern\":\"layers\"", "\"ensure_weight_tying\":true"};

Test(lm_lora, what_changes_the_logits_is_done_or_refused)
{
	struct model *m = tiny_model(false, false, false);
	struct lora *lo = fresh(m, 3, 2), *again;
	char path[64], text[512], says[128];
	struct err err = ERR_NONE;
	int dir = folder(path);

	cr_assert_eq(adapter_dir_write(m, lo, "x", dir, dir, NULL), 0);
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		(void)snprintf(text, sizeof(text),
			"{%s\"r\":2,\"target_modules\":[\"q_proj\",\"k_proj\"],\"%s\":%s}",
			i > 0 ? "\"peft_type\":\"LORA\"," : "", strange[i].key, strange[i].value);
		(void)snprintf(says, sizeof(says), "adapter_config.json: %s", strange[i].key);
		config(dir, text);
		refused(m, dir, EOPNOTSUPP, strange[i].says ? strange[i].says : says);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		(void)snprintf(text, sizeof(text),
			"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"q_proj\",\"k_proj\"]"
			",%s}",
			plain[i]);
		config(dir, text);
		cr_assert_eq(lora_load(m, dir, &again, &err), 0, "%s: %s", plain[i], err.text);
		cr_assert_arr_eq(again->memory, lo->memory, lo->params * sizeof(float));
		lora_free(again);
	}
	lora_free(lo);
	tiny_free(m);
	clean(dir, path);
}

/* BAD-INPUTS I10 */
Test(lm_lora, pickles_and_skeletons)
{
	struct model *m = tiny_model(false, false, false);
	struct lora *lo;
	char path[64];
	int dir = folder(path);

	config(dir, "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"lora_dropout\":0.05,"
		    "\"target_modules\":[\"q_proj\"],\"revision\":\"v0\",\"skeleton\":true}");
	cr_assert_eq(lora_load(m, dir, &lo, NULL), 0);
	cr_assert(lo->identity && lo->rank == 8);
	lora_free(lo);
	cr_assert_eq(replace_file(dir, "adapter_model.bin", "x", 1, 0600, NULL), 0);
	refused(m, dir, EOPNOTSUPP, "pickle files are not read");
	tiny_free(m);
	clean(dir, path);
}
