/*
 * lm_infer - the serving path on the real base model (env MODEL): one model, many ways to reach the
 * same bits, and a slow float forward pass to say that they are the right ones.
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

#include "trainer/chat.h"
#include "trainer/kolmlm.h"
#include "trainer/lm.h"
#include "trainer/lora.h"
#include "trainer/model.h"
#include "trainer/ops.h"
#include "trainer/tokenizer.h"

static const char question[] =
	"Replace every personal name in the text with [NAME] and repeat the text.\n\n"
	"Text: Ticket 48: Bob Stone called on Monday about invoice 9153 and asked for a refund.";

static int model_fd(void)
{
	const char *path = getenv("MODEL");
	int fd;

	if (!path)
		cr_skip_test("skipped: MODEL is not set");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		cr_skip_test("skipped: %s cannot be opened", path);
	return fd;
}

static struct lm *open_lm(int threads, const char *kernel)
{
	const struct lm_options opt = {.threads = threads, .kernel = kernel};
	struct err err = ERR_NONE;
	struct lm *lm = NULL;
	int fd = model_fd();

	cr_assert_eq(lm_open(fd, &opt, &lm, &err), 0, "%s", err.text);
	close(fd);
	return lm;
}

static int prompt_ids(struct lm *lm, const char *text, int *ids, size_t cap)
{
	int *list;
	size_t n;

	cr_assert_eq(chat_prompt(lm->m->chat, lm->m->tokenizer, NULL, text, strlen(text), &list, &n,
			     NULL),
		0);
	cr_assert(n <= cap);
	memcpy(ids, list, n * sizeof(*ids));
	free(list);
	return (int)n;
}

static float *logits_of(struct lm *lm, const int *ids, int n)
{
	float *out = malloc((size_t)n * (size_t)lm_vocab(lm) * sizeof(float));
	struct err err = ERR_NONE;

	cr_assert_eq(lm_logits(lm, ids, (size_t)n, out, &err), 0, "%s", err.text);
	return out;
}

static void same_bits(
	const struct lm *lm, const float *a, const float *b, int rows, const char *what)
{
	cr_assert_eq(
		memcmp(a, b, (size_t)rows * (size_t)lm_vocab(lm) * sizeof(float)), 0, "%s", what);
}

/* a plain float forward pass over dequantised weights; ${lo} may be NULL */
struct reference {
	const struct model *m;
	const struct lora *lo;
	float row[8192];
};

static void times(struct reference *rf, const struct tensor *w, const struct lora_pair *lp,
	const float *x, int n, float *y)
{
	float *a = NULL;

	for (long r = 0; r < w->rows; r++) {
		tensor_row(w, r, rf->row);
		for (int t = 0; t < n; t++) {
			float sum = 0;

			for (long i = 0; i < w->cols; i++)
				sum += rf->row[i] * x[t * w->cols + i];
			y[t * w->rows + r] = sum;
		}
	}
	if (!lp || !lp->a)
		return;
	a = malloc((size_t)rf->lo->rank * sizeof(float));
	for (int t = 0; t < n; t++) {
		for (int k = 0; k < rf->lo->rank; k++) {
			a[k] = 0;
			for (long i = 0; i < w->cols; i++)
				a[k] += lp->a[k * w->cols + i] * x[t * w->cols + i];
		}
		for (long r = 0; r < w->rows; r++)
			for (int k = 0; k < rf->lo->rank; k++)
				y[t * w->rows + r] += rf->lo->alpha / (float)rf->lo->rank *
						      lp->b[r * rf->lo->rank + k] * a[k];
	}
	free(a);
}

static void attend(
	const struct model *m, const float *q, const float *k, const float *v, int n, float *out)
{
	const int d = m->head_dim, qw = m->heads * d, kw = m->kv_heads * d;

	for (int t = 0; t < n; t++)
		for (int h = 0; h < m->heads; h++) {
			int g = h / (m->heads / m->kv_heads);
			double p[64], sum = 0, top = -1e30;

			for (int j = 0; j <= t; j++) {
				p[j] = 0;
				for (int i = 0; i < d; i++)
					p[j] += (double)q[t * qw + h * d + i] *
						(double)k[j * kw + g * d + i];
				p[j] /= sqrt(d);
				top = p[j] > top ? p[j] : top;
			}
			for (int j = 0; j <= t; j++)
				sum += p[j] = exp(p[j] - top);
			for (int i = 0; i < d; i++) {
				double o = 0;

				for (int j = 0; j <= t; j++)
					o += p[j] / sum * (double)v[j * kw + g * d + i];
				out[t * qw + h * d + i] = (float)o;
			}
		}
}

static float *reference(const struct model *m, const struct lora *lo, const int *ids, int n)
{
	struct reference *rf = malloc(sizeof(*rf));
	const int d = m->dim, qw = m->heads * m->head_dim, kw = m->kv_heads * m->head_dim;
	float *x = malloc((size_t)(n * d) * 4), *h = malloc((size_t)(n * d) * 4),
	      *q = malloc((size_t)(n * qw) * 4), *o = malloc((size_t)(n * qw) * 4);
	float *k = malloc((size_t)(n * kw) * 4), *v = malloc((size_t)(n * kw) * 4),
	      *g = malloc((size_t)(n * m->ffn) * 4), *u = malloc((size_t)(n * m->ffn) * 4);
	float *y = malloc((size_t)(n * d) * 4), *out = malloc((size_t)n * (size_t)m->vocab * 4),
	      cs[256], sn[256];

	*rf = (struct reference){.m = m, .lo = lo};
	cr_assert(m->ffn <= 8192 && m->dim <= 8192 && n <= 64);
	for (int t = 0; t < n; t++)
		tensor_row(&m->embed, ids[t], x + t * d);
	for (int l = 0; l < m->layers; l++) {
		const struct layer *ly = &m->layer[l];
		const struct lora_pair *lp = lo ? &lo->pair[l * MODULES] : NULL;

#define PAIR(i) (lp ? &lp[i] : NULL)
		for (int t = 0; t < n; t++)
			ops_rmsnorm(h + t * d, x + t * d, ly->attn_norm, d, m->norm_eps);
		times(rf, &ly->w[MODULE_Q], PAIR(MODULE_Q), h, n, q);
		times(rf, &ly->w[MODULE_K], PAIR(MODULE_K), h, n, k);
		times(rf, &ly->w[MODULE_V], PAIR(MODULE_V), h, n, v);
		for (int t = 0; t < n; t++) {
			ops_rope_angles(m->rope_freq, m->head_dim / 2, t, cs, sn);
			ops_rope(q + t * qw, m->heads, m->head_dim, cs, sn, m->rope_pairs);
			ops_rope(k + t * kw, m->kv_heads, m->head_dim, cs, sn, m->rope_pairs);
		}
		attend(m, q, k, v, n, o);
		times(rf, &ly->w[MODULE_O], PAIR(MODULE_O), o, n, y);
		for (int i = 0; i < n * d; i++)
			x[i] += y[i];
		for (int t = 0; t < n; t++)
			ops_rmsnorm(h + t * d, x + t * d, ly->ffn_norm, d, m->norm_eps);
		times(rf, &ly->w[MODULE_GATE], PAIR(MODULE_GATE), h, n, g);
		times(rf, &ly->w[MODULE_UP], PAIR(MODULE_UP), h, n, u);
		for (int i = 0; i < n * m->ffn; i++)
			g[i] = ops_silu(g[i]) * u[i];
		times(rf, &ly->w[MODULE_DOWN], PAIR(MODULE_DOWN), g, n, y);
		for (int i = 0; i < n * d; i++)
			x[i] += y[i];
	}
	for (int t = 0; t < n; t++)
		ops_rmsnorm(h + t * d, x + t * d, m->final_norm, d, m->norm_eps);
	times(rf, &m->head, NULL, h, n, out);
	free(rf), free(x), free(h), free(q), free(o), free(k), free(v), free(g), free(u), free(y);
	return out;
}

/* root mean square of the difference, each row's mean difference taken out (it cannot change a
 * choice) */
static double distance(const float *a, const float *b, int rows, int cols)
{
	double total = 0;

	for (int t = 0; t < rows; t++) {
		double mean = 0, square = 0;

		for (int i = 0; i < cols; i++) {
			double e = (double)a[(long)t * cols + i] - (double)b[(long)t * cols + i];

			mean += e;
			square += e * e;
		}
		total += square / cols - mean / cols * (mean / cols);
	}
	return sqrt(total / rows);
}

/* a PEFT folder with an adapter on q and v; ${scale} 0 makes B zero */
static int make_adapter(struct lm *lm, float scale, char *dir)
{
	const struct lora_shape shape = {
		.rank = 8, .alpha = 16, .targets = 1u << MODULE_Q | 1u << MODULE_V};
	struct err err = ERR_NONE;
	struct lora *lo;
	FILE *f;
	int dirfd, fd;

	cr_assert_not_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(lora_new(lm->m, &shape, 7, &lo, &err), 0, "%s", err.text);
	for (int i = 0; i < lm->m->layers * MODULES; i++)
		for (int k = 0; lo->pair[i].b && k < lo->pair[i].out * 8; k++)
			lo->pair[i].b[k] = scale * (float)((k * 37 + i * 11) % 19 - 9) / 9;
	fd = openat(dirfd, "adapter_model.safetensors", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(lora_save(lm->m, lo, fd, &err), 0, "%s", err.text);
	close(fd);
	lora_free(lo);
	fd = openat(dirfd, "adapter_config.json", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	f = fdopen(fd, "w");
	fputs("{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"lora_dropout\":0,\"target_"
	      "modules\":[\"q_proj\",\"v_proj\"],\"bias\":\"none\"}\n",
		f);
	fclose(f);
	return dirfd;
}

static void drop_adapter(int dirfd, const char *dir)
{
	unlinkat(dirfd, "adapter_model.safetensors", 0);
	unlinkat(dirfd, "adapter_config.json", 0);
	close(dirfd);
	rmdir(dir);
}

static char *answer(struct lm *lm, const char *prompt, const struct lm_generate *opt)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_NONE;

	cr_assert_eq(lm_generate(lm, prompt, strlen(prompt), opt, &out, &err), 0, "%s", err.text);
	return out.len ? buf_detach(&out) : strdup("");
}

Test(lm_infer, logits_are_close_to_a_float_forward_pass_with_and_without_an_adapter)
{
	char dir[] = "/tmp/lm_infer.XXXXXX";
	struct lm *lm = open_lm(2, "auto");
	int ids[64], n = prompt_ids(lm, "Name a colour.", ids, 64), agree = 0,
		     dirfd = make_adapter(lm, 0.3f, dir);
	struct lm_adapter *ad;
	struct err err = ERR_NONE;
	float *ours = logits_of(lm, ids, n), *theirs, *adapted;

	n = n < 24 ? n : 24;
	theirs = reference(lm->m, NULL, ids, n);
	/* 8-bit activations cost this model 0.18 on logits that spread by 8 (numpy, same scheme) */
	cr_assert_lt(distance(ours, theirs, n, lm_vocab(lm)), 0.3);
	for (int t = 0; t < n; t++)
		agree += sample_greedy(ours + (long)t * lm_vocab(lm), lm_vocab(lm)) ==
			 sample_greedy(theirs + (long)t * lm_vocab(lm), lm_vocab(lm));
	cr_assert_geq(agree, n - n / 8, "%d of %d", agree, n);
	cr_assert_eq(lm_adapter_load(lm, dirfd, &ad, &err), 0, "%s", err.text);
	lm_use(lm, ad);
	adapted = logits_of(lm, ids, n);
	cr_assert_gt(distance(adapted, ours, n, lm_vocab(lm)), 1.0,
		"the adapter must change something: %g", distance(adapted, ours, n, lm_vocab(lm)));
	free(theirs);
	theirs = reference(lm->m, ad->lora, ids, n);
	cr_assert_lt(distance(adapted, theirs, n, lm_vocab(lm)), 0.4, "%g",
		distance(adapted, theirs, n, lm_vocab(lm)));
	lm_use(lm, NULL);
	lm_adapter_free(ad);
	drop_adapter(dirfd, dir);
	free(ours), free(theirs), free(adapted);
	lm_close(lm);
}

/* a Hugging Face folder of float weights: no packed form, products by gemm_forward(); rows in their
 * own order, rope over halves */
Test(lm_infer, a_folder_of_float_weights_is_served_as_it_is)
{
	const struct lm_options opt = {.threads = 2};
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;
	struct kv kv;
	struct lm *lm = NULL;
	int fd = open("tests/unit/data/peft/tiny", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ids[40],
	    want = 0;
	float *ours, *theirs, *row;

	cr_assert_geq(fd, 0);
	cr_assert_eq(lm_open(fd, &opt, &lm, &err), 0, "%s", err.text);
	close(fd);
	for (int i = 0; i < 40; i++)
		ids[i] = (i * 37 + 5) % lm_vocab(lm);
	ours = logits_of(lm, ids, 40);
	theirs = reference(lm->m, NULL, ids, 40);
	cr_assert_lt(distance(ours, theirs, 40, lm_vocab(lm)), 1e-5, "%g",
		distance(ours, theirs, 40, lm_vocab(lm)));
	row = malloc((size_t)lm_vocab(lm) * sizeof(float));
	kv_init(&kv, lm->m);
	for (int t = 0; t < 40; t++) {
		const struct infer_batch one = {
			.token = ids + t, .n = 1, .want = &want, .wants = 1, .logits = row};

		cr_assert_eq(infer_run(lm->infer, &kv, NULL, &one, NULL), 0);
		kv.token[kv.n++] = ids[t];
		same_bits(lm, ours + (long)t * lm_vocab(lm), row, 1, "token by token");
	}
	cr_assert_eq(lm_types(lm, &out), 0);
	cr_assert(strstr(buf_str(&out), "{\"BF16\":20}"), "%s", buf_str(&out));
	buf_release(&out);
	kv_release(&kv);
	free(ours), free(theirs), free(row);
	lm_close(lm);
}

Test(lm_infer, threads_and_kernels_give_the_same_bits)
{
	struct lm *one = open_lm(1, "auto"), *other;
	int ids[128], n = prompt_ids(one, "Sort: pear, apple, fig. 12 of them", ids, 128);
	float *a = logits_of(one, ids, n);
	static const struct {
		int threads;
		const char *kernel;
		int rows;
	} ways[] = {{2, "auto", 0}, {3, "avx2", 0}, {2, "portable", 12}};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int rows = ways[i].rows ? ways[i].rows : n;
		float *b;

		other = open_lm(ways[i].threads, ways[i].kernel);
		b = logits_of(other, ids, rows);
		same_bits(one, a, b, rows, ways[i].kernel);
		free(b);
		lm_close(other);
	}
	free(a);
	lm_close(one);
}

Test(lm_infer, one_token_at_a_time_gives_the_bits_of_a_batch)
{
	struct lm *lm = open_lm(2, "auto");
	int ids[256], n = prompt_ids(lm, question, ids, 256), want = 0;
	float *batch = logits_of(lm, ids, n), *row = malloc((size_t)lm_vocab(lm) * sizeof(float));
	struct kv kv;

	cr_assert_gt(n, INFER_TOKENS, "the batch must go in more than one pass");
	kv_init(&kv, lm->m);
	for (int t = 0; t < n; t++) {
		const struct infer_batch one = {
			.token = ids + t, .n = 1, .want = &want, .wants = 1, .logits = row};

		cr_assert_eq(infer_run(lm->infer, &kv, NULL, &one, NULL), 0);
		kv.token[kv.n++] = ids[t];
		same_bits(lm, batch + (long)t * lm_vocab(lm), row, 1, "token by token");
	}
	kv_release(&kv);
	free(batch), free(row);
	lm_close(lm);
}

Test(lm_infer, an_identity_adapter_is_the_base_bit_for_bit)
{
	char dir[] = "/tmp/lm_infer.XXXXXX";
	struct lm *lm = open_lm(2, "auto");
	int ids[128], n = prompt_ids(lm, "Hello there", ids, 128), dirfd = make_adapter(lm, 0, dir);
	float *a = logits_of(lm, ids, n), *b;
	struct lm_adapter *ad;
	struct err err = ERR_NONE;

	cr_assert_eq(lm_adapter_load(lm, dirfd, &ad, &err), 0, "%s", err.text);
	lm_use(lm, ad);
	b = logits_of(lm, ids, n);
	same_bits(lm, a, b, n, "v0");
	lm_use(lm, NULL);
	lm_adapter_free(ad);
	drop_adapter(dirfd, dir);
	free(a), free(b);
	lm_close(lm);
}

Test(lm_infer, answers_do_not_depend_on_what_was_asked_before)
{
	static const char *const prompts[] = {question, "What is 2 + 2?",
		"Replace every personal name in the text with [NAME] and repeat the "
		"text.\n\nText: Ticket 7: Eva Long wrote.",
		"", "What is 2 + 3?", "Name three colours."};
	const struct lm_generate opt = {.max_tokens = 24};
	struct lm *warm = open_lm(2, "auto"), *cold;
	char *first[6], *second;

	for (int i = 0; i < 6; i++) {
		cold = i == 0 || i == 3 ? open_lm(2, "auto")
					: NULL; /* two fresh processes' worth are enough */
		first[i] = answer(warm, prompts[i], &opt);
		if (cold) {
			second = answer(cold, prompts[i], &opt);
			cr_assert_str_eq(first[i], second);
			free(second);
			lm_close(cold);
		}
	}
	for (int i = 5; i >= 0; i--) { /* the other way round, from snapshots */
		second = answer(warm, prompts[i], &opt);
		cr_assert_str_eq(first[i], second);
		free(second);
		free(first[i]);
	}
	lm_close(warm);
}

Test(lm_infer, greedy_answers_are_what_the_logits_say)
{
	const struct lm_generate opt = {.max_tokens = 8};
	struct lm *lm = open_lm(2, "auto");
	int ids[256], n = prompt_ids(lm, question, ids, 256);
	char *text = answer(lm, question, &opt);
	struct buf expected = BUF_INIT;

	for (int i = 0; i < 8; i++, n++) { /* without speculation or snapshots */
		float *row = logits_of(lm, ids, n);

		ids[n] = sample_greedy(row + (long)(n - 1) * lm_vocab(lm), lm_vocab(lm));
		free(row);
		if (chat_is_end(lm->m->chat, ids[n]))
			break;
		tokenizer_decode(lm->m->tokenizer, ids + n, 1, &expected);
	}
	cr_assert_str_eq(text, buf_str(&expected));
	cr_assert(strstr(text, "Bob Stone"), "the base copies the name: %s", text);
	buf_release(&expected);
	free(text);
	lm_close(lm);
}

Test(lm_infer, generation_keeps_to_its_options)
{
	static const char *const stops[] = {"Stone", NULL};
	struct lm *lm = open_lm(2, "auto");
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;
	char *full = answer(lm, question, &(struct lm_generate){.max_tokens = 12}), *text, *again,
	     *huge;

	text = answer(lm, question, &(struct lm_generate){.max_tokens = 12, .stop = stops});
	cr_assert_null(strstr(text, "Stone"));
	cr_assert_eq(memcmp(full, text, strlen(text)), 0);
	free(text);
	text = answer(lm, question, &(struct lm_generate){.max_tokens = 1});
	cr_assert(strlen(text) < strlen(full) && memcmp(full, text, strlen(text)) == 0);
	free(text);
	text = answer(lm, "Say something.",
		&(struct lm_generate){.max_tokens = 12, .temperature = 1.5, .seed = 1});
	again = answer(lm, "Say something.",
		&(struct lm_generate){.max_tokens = 12, .temperature = 1.5, .seed = 1});
	cr_assert_str_eq(text, again);
	free(again);
	again = answer(lm, "Say something.",
		&(struct lm_generate){.max_tokens = 12, .temperature = 1.5, .seed = 2});
	cr_assert_str_neq(text, again);
	cr_assert_eq(lm_generate(lm, "x", 1, &(struct lm_generate){.deadline_ms = 1}, &out, &err),
		-ETIMEDOUT);
	cr_assert(strstr(err.text, "model call stopped after"), "%s", err.text);
	huge = malloc(40000);
	for (int i = 0; i < 40000; i++)
		huge[i] = i % 2 ? 'a' : '1';
	cr_assert_eq(lm_generate(lm, huge, 40000, NULL, &out, &err), -EMSGSIZE);
	cr_assert(strstr(err.text, "does not fit the context"), "%s", err.text);
	cr_assert_eq(out.len, 0);
	free(huge), free(text), free(again), free(full);
	lm_close(lm);
}

static double brute_force(struct lm *lm, const char *prompt, const char *choice)
{
	int ids[512], n = prompt_ids(lm, prompt, ids, 400), start = n, vocab = lm_vocab(lm);
	double total = 0;
	float *rows;

	n += lm_tokenize(lm, choice, strlen(choice), false, ids + n, 100, NULL);
	ids[n] = chat_end(lm->m->chat);
	rows = logits_of(lm, ids, n);
	for (int t = start; t <= n; t++) {
		const float *row = rows + (long)(t - 1) * vocab;
		double sum = 0, top = (double)row[sample_greedy(row, vocab)];

		for (int i = 0; i < vocab; i++)
			sum += exp((double)row[i] - top);
		total += (double)row[ids[t]] - top - log(sum);
	}
	free(rows);
	return total;
}

Test(lm_infer, choose_agrees_with_brute_force)
{
	static const char prompt[] = "Which category fits? billing, technical issue, refund.\n\nI "
				     "cannot log in since the password was changed.";
	static const struct lm_choice choices[] = {
		{"billing", 7}, {"technical issue", 15}, {"", 0}, {"refund", 6}, {"billing", 7}};
	struct lm *lm = open_lm(2, "auto");
	struct err err = ERR_NONE;
	double scores[5], top = -1e30;
	size_t best, expected = 0;

	for (int pass = 0; pass < 2; pass++) { /* the second time from the snapshot */
		top = -1e30;
		cr_assert_eq(lm_choose(lm, prompt, strlen(prompt), NULL, choices, 5, 0, scores,
				     &best, &err),
			0, "%s", err.text);
		for (size_t i = 0; i < 5; i++) {
			double brute = brute_force(lm, prompt, choices[i].text);

			cr_assert_eq(scores[i], brute, "choice %zu: %.17g, brute force %.17g", i,
				scores[i], brute);
			if (brute > top) {
				top = brute;
				expected = i;
			}
		}
		cr_assert_eq(best, expected);
	}
	cr_assert_eq(scores[0], scores[4]);
	cr_assert_eq(
		lm_choose(lm, prompt, strlen(prompt), NULL, choices, 0, 0, scores, &best, &err),
		-EINVAL);
	lm_close(lm);
}
