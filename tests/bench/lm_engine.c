/*
 * lm_engine - the engine under the clock: commands on standard input, one line of figures for each.
 * Nothing is measured but the call itself, so that a driver can take turns with another engine.
 *
 *   usage: lm_engine MODEL [ADAPTER [THREADS]]      ADAPTER: a PEFT folder, - for none
 *
 *   peak                    GFLOP/s of fused multiply-adds in registers: one thread, all threads
 *   gemm ROWS               share of that peak the products of one layer reach, there and back,
 *                           dequantisation included: one thread, all threads, by vectors; the same
 *                           two by the kernel training takes, which is more than 1 with tiles
 *   prefill N               milliseconds for N tokens, the last one's logits
 *   decode N                milliseconds for N tokens, one at a time, behind 32
 *   generate MAX PROMPT     milliseconds, tokens said; then the text as JSON
 *   choose PROMPT<TAB>A...  milliseconds, index of the best
 *   \n inside a prompt is a line end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "trainer/chat.h"
#include "trainer/gemm.h"
#include "trainer/gemm_kern.h"
#include "trainer/lm.h"
#include "trainer/model.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHOICES_MAX = 64, SEQUENCE_MAX = 2048, TRIES = 7, HUGE_PAGE = 2 << 20 };

struct bench {
	struct lm *lm;
	int token[SEQUENCE_MAX];
	float *logits;
};

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

static void die(const struct err *err)
{
	fprintf(stderr, "lm_engine: %s\n", err->text);
	exit(1);
}

/* chains of fused multiply-adds that never leave the registers; the sum keeps them alive */
enum { PEAK_ROUNDS = 750000, CHAINS = 12, PEAK_TILES = 8 };

#if defined(__x86_64__)
static __attribute__((target("avx512f"))) float fma_512(void)
{
	__m512 y[CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);

	for (int i = 0; i < CHAINS; i++)
		y[i] = _mm512_set1_ps((float)i);
	for (int k = 0; k < PEAK_ROUNDS; k++)
#pragma GCC unroll 12
		for (int i = 0; i < CHAINS; i++)
			y[i] = _mm512_fmadd_ps(y[i], a, b);
	for (int i = 1; i < CHAINS; i++)
		y[0] = _mm512_add_ps(y[0], y[i]);
	return _mm512_reduce_add_ps(y[0]);
}

static __attribute__((target("avx2,fma"))) float fma_256(void)
{
	__m256 y[CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);

	for (int i = 0; i < CHAINS; i++)
		y[i] = _mm256_set1_ps((float)i);
	for (int k = 0; k < PEAK_ROUNDS; k++)
#pragma GCC unroll 12
		for (int i = 0; i < CHAINS; i++)
			y[i] = _mm256_fmadd_ps(y[i], a, b);
	for (int i = 1; i < CHAINS; i++)
		y[0] = _mm256_add_ps(y[0], y[i]);
	return y[0][0];
}
#endif

static float fma_plain(void)
{
	float y[CHAINS];

	for (int i = 0; i < CHAINS; i++)
		y[i] = (float)i;
	for (int k = 0; k < PEAK_ROUNDS; k++)
		for (int i = 0; i < CHAINS; i++)
			y[i] = y[i] * 0.999f + 1e-3f;
	for (int i = 1; i < CHAINS; i++)
		y[0] += y[i];
	return y[0];
}

struct peak {
	float (*loop)(void);
	int lanes;
	float out[64];
};

static void peak_tile(void *arg, int tile, int thread)
{
	struct peak *pk = arg;

	(void)thread;
	pk->out[tile % 64] = pk->loop();
}

static struct peak peak_loop(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		return (struct peak){fma_512, 16, {0}};
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return (struct peak){fma_256, 8, {0}};
#endif
	return (struct peak){fma_plain, 1, {0}};
}

/* GFLOP/s of one burst of all threads at the same moment; handed out in pieces, as products are, so
 * that a thread that has lost its core for a while does not decide it */
static double peak_burst(struct threads *th)
{
	struct peak pk = peak_loop();
	int n = threads_count(th) * PEAK_TILES;
	double t = now_ms();

	threads_run(th, n, peak_tile, &pk);
	return 2e-6 * pk.lanes * CHAINS * PEAK_ROUNDS * n / (now_ms() - t);
}

/* milliseconds of the products of layer 0, forward and backward, over ${m} rows */
static double layer_products(
	const struct model *m, struct threads *th, float *x, float *y, int rows)
{
	double t = now_ms();

	for (int i = 0; i < MODULES; i++) {
		const struct tensor *w = &m->layer[0].w[i];

		gemm_forward(th, y, w->rows, x, w->cols, rows, w, false);
		gemm_backward(th, x, w->cols, y, w->rows, rows, w, false);
	}
	return now_ms() - t;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* zeros, where a training pass would have them: in huge pages if there are any */
static float *rows_new(int rows, long cols)
{
	size_t bytes = ((size_t)(rows * cols + 16) * sizeof(float) / HUGE_PAGE + 1) * HUGE_PAGE;
	float *x = aligned_alloc(HUGE_PAGE, bytes);

	if (!x)
		exit(1);
	(void)madvise(x, bytes, MADV_HUGEPAGE);
	memset(x, 0, bytes);
	return x;
}

static double share_of_peak(const struct model *m, struct threads *th, int rows)
{
	long most = 0;
	double flop = 0, share[3 * TRIES];

	for (int i = 0; i < MODULES; i++) {
		const struct tensor *w = &m->layer[0].w[i];

		most = w->rows > most ? w->rows : most;
		most = w->cols > most ? w->cols : most;
		flop += 4.0 * (double)w->rows * (double)w->cols * rows;
	}
	float *x = rows_new(rows, most), *y = rows_new(rows, most);

	layer_products(m, th, x, y, rows);
	/* in turns: whatever else the machine does slows both, so each pair gives a ratio */
	for (int i = 0; i < 3 * TRIES; i++) {
		double peak = peak_burst(th),
		       rate = flop * 1e-6 / layer_products(m, th, x, y, rows);

		share[i] = 2 * rate / (peak + peak_burst(th));
	}
	free(x);
	free(y);
	qsort(share, 3 * TRIES, sizeof(share[0]), by_size);
	return share[3 * TRIES / 2];
}

/* the innermost products alone: nothing is unpacked, all is in the second-level cache */
enum { ROOF_ROWS = 252, ROOF_WIDTH = 96, ROOF_DEPTH = 576, ROOF_ROUNDS = 6 };

static void roof_piece(
	const struct gemm_kernel *kn, const float *x, const float *panel, float *y, bool load)
{
	long s = 0;

	for (; kn->run_pair && s < ROOF_WIDTH; s += 2 * GEMM_STRIP)
		gemm_pair(kn, kn->rows, ROOF_DEPTH, x, ROOF_DEPTH, 1, panel + s * ROOF_DEPTH,
			panel + (s + GEMM_STRIP) * ROOF_DEPTH, GEMM_STRIP, y + s, ROOF_WIDTH, load);
	for (; s < ROOF_WIDTH; s += GEMM_STRIP)
		gemm_strip(kn, kn->rows, ROOF_DEPTH, x, ROOF_DEPTH, 1, panel + s * ROOF_DEPTH,
			GEMM_STRIP, y + s, ROOF_WIDTH, GEMM_STRIP, load);
}

static void roof_tile(void *arg, int tile, int thread)
{
	const struct gemm_kernel *kn = gemm_kernel_find("vector");
	enum { FLOATS = (ROOF_ROWS + ROOF_WIDTH) * ROOF_DEPTH + ROOF_ROWS * ROOF_WIDTH };
	float *x = (float *)arg + (long)thread * FLOATS, *panel = x + ROOF_ROWS * ROOF_DEPTH,
	      *y = panel + ROOF_WIDTH * ROOF_DEPTH;

	(void)tile;
	for (int i = 0; i < ROOF_ROUNDS; i++)
		for (long r = 0; r < ROOF_ROWS; r += kn->rows)
			roof_piece(kn, x + r * ROOF_DEPTH, panel, y + r * ROOF_WIDTH, i > 0);
}

static double roof(struct threads *th)
{
	int n = threads_count(th), tiles = n * PEAK_TILES;
	long cols = (ROOF_ROWS + ROOF_WIDTH) * ROOF_DEPTH + ROOF_ROWS * ROOF_WIDTH;
	double share[3 * TRIES], flop = 2.0 * ROOF_ROUNDS * ROOF_ROWS * ROOF_WIDTH * ROOF_DEPTH;
	float *all = rows_new(n, cols);

	for (int i = 0; i < 3 * TRIES; i++) {
		double peak = peak_burst(th), t = now_ms();

		threads_run(th, tiles, roof_tile, all);
		t = now_ms() - t;
		share[i] = 2e-6 * flop * tiles / t / (peak + peak_burst(th));
	}
	free(all);
	qsort(share, 3 * TRIES, sizeof(share[0]), by_size);
	return share[3 * TRIES / 2];
}

static void run_roof(struct bench *b)
{
	struct threads *one = threads_new(1);

	if (!one)
		exit(1);
	printf("%.3f %.3f\n", roof(one), roof(b->lm->th));
	threads_free(one);
}

static void run_gemm(struct bench *b, int rows)
{
	struct threads *one = threads_new(1);

	if (!one)
		exit(1);
	/* as serving has them, then as training */
	for (int i = 0; i < 2; i++) {
		if (i > 0 && !getenv("KOLM_KERNEL"))
			gemm_kernel_select("auto");
		printf("%.3f %.3f%c", share_of_peak(b->lm->m, one, rows),
			share_of_peak(b->lm->m, b->lm->th, rows), i ? '\n' : ' ');
	}
	threads_free(one);
}

static void run_peak(struct bench *b)
{
	struct threads *one = threads_new(1);
	double single = 0, all = 0;

	for (int i = 0; one && i < TRIES; i++) {
		double g = peak_burst(one), h = peak_burst(b->lm->th);

		single = g > single ? g : single;
		all = h > all ? h : all;
	}
	printf("%.1f %.1f\n", single, all);
	threads_free(one);
}

static const struct infer_adapter *adapter_of(const struct bench *b)
{
	return b->lm->adapter && b->lm->adapter->number ? &b->lm->adapter->serving : NULL;
}

/* run ${n} tokens of the sequence behind kv->n, the last one's logits */
static void feed(struct bench *b, struct kv *kv, int n)
{
	struct err err = ERR_NONE;
	const int want = n - 1;
	const struct infer_batch batch = {
		.token = b->token + kv->n, .n = n, .want = &want, .wants = 1, .logits = b->logits};

	if (infer_run(b->lm->infer, kv, adapter_of(b), &batch, &err) < 0)
		die(&err);
	kv->n += n;
}

static void run_prefill(struct bench *b, int n)
{
	struct kv kv;
	double t;

	kv_init(&kv, b->lm->m);
	t = now_ms();
	feed(b, &kv, n);
	printf("%.3f\n", now_ms() - t);
	kv_release(&kv);
}

static void run_decode(struct bench *b, int n)
{
	struct kv kv;
	double t;

	kv_init(&kv, b->lm->m);
	feed(b, &kv, 32);
	t = now_ms();
	for (int i = 0; i < n; i++)
		feed(b, &kv, 1);
	printf("%.3f\n", now_ms() - t);
	kv_release(&kv);
}

static void run_generate(struct bench *b, const char *prompt, int most)
{
	const struct lm_generate opt = {.system = "", .max_tokens = most};
	struct buf text = BUF_INIT, quoted = BUF_INIT;
	struct err err = ERR_NONE;
	int *ids = malloc(SEQUENCE_MAX * sizeof(*ids)), n;
	double t = now_ms();

	if (!ids || lm_generate(b->lm, prompt, strlen(prompt), &opt, &text, &err) < 0)
		die(&err);
	t = now_ms() - t;
	n = lm_tokenize(b->lm, buf_str(&text), text.len, false, ids, SEQUENCE_MAX, &err);
	json_put_text(&quoted, buf_str(&text));
	printf("%.3f %d %s\n", t, n, buf_str(&quoted));
	buf_release(&text);
	buf_release(&quoted);
	free(ids);
}

static void run_choose(struct bench *b, char *line)
{
	struct lm_choice choice[CHOICES_MAX];
	struct err err = ERR_NONE;
	const char *prompt = strsep(&line, "\t");
	size_t n = 0, best;
	double t;

	for (; line && n < CHOICES_MAX; n++) {
		const char *text = strsep(&line, "\t");

		choice[n] = (struct lm_choice){text, strlen(text)};
	}
	t = now_ms();
	if (lm_choose(b->lm, prompt, strlen(prompt), "", choice, n, 0, NULL, &best, &err) < 0)
		die(&err);
	printf("%.3f %zu\n", now_ms() - t, best);
}

/* "\n" as two characters becomes a line end, in place */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++)
		if (s[0] == '\\' && s[1] == 'n') {
			*to++ = '\n';
			s++;
		} else {
			*to++ = *s;
		}
	*to = '\0';
}

static int number(char **rest)
{
	const char *word = strsep(rest, " ");
	int64_t n;

	if (!word || num_whole(word, strlen(word), 1, SEQUENCE_MAX - 64, &n) < 0) {
		fprintf(stderr, "lm_engine: a number is missing\n");
		exit(2);
	}
	return (int)n;
}

static void command(struct bench *b, char *line)
{
	const char *word = strsep(&line, " ");

	if (line)
		unescape(line);
	if (strcmp(word, "peak") == 0)
		run_peak(b);
	else if (strcmp(word, "roof") == 0)
		run_roof(b);
	else if (strcmp(word, "gemm") == 0)
		run_gemm(b, number(&line));
	else if (strcmp(word, "prefill") == 0)
		run_prefill(b, number(&line));
	else if (strcmp(word, "decode") == 0)
		run_decode(b, number(&line));
	else if (strcmp(word, "generate") == 0) {
		int most = number(&line);

		run_generate(b, line ? line : "", most);
	} else if (strcmp(word, "choose") == 0)
		run_choose(b, line);
	else {
		fprintf(stderr, "lm_engine: unknown command '%s'\n", word);
		exit(2);
	}
	fflush(stdout);
}

static void open_all(struct bench *b, int argc, char **argv, struct lm_adapter **ad)
{
	struct lm_options opt = {.kernel = getenv("KOLM_KERNEL")};
	struct err err = ERR_NONE;
	int64_t threads = 0;
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);

	if (argc > 3 && num_whole(argv[3], strlen(argv[3]), 1, 64, &threads) < 0)
		exit(2);
	opt.threads = (int)threads;
	if (fd < 0 || lm_open(fd, &opt, &b->lm, &err) < 0)
		die(&err);
	close(fd);
	if (argc > 2 && strcmp(argv[2], "-") != 0) {
		fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || lm_adapter_load(b->lm, fd, ad, &err) < 0)
			die(&err);
		close(fd);
		lm_use(b->lm, *ad);
	}
	b->logits = malloc((size_t)lm_vocab(b->lm) * sizeof(float));
	if (!b->logits)
		exit(1);
	for (int i = 0; i < SEQUENCE_MAX; i++)
		b->token[i] = (int)((1000 + (long)i * 7919) % lm_vocab(b->lm));
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct lm_adapter *ad = NULL;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (argc < 2) {
		fprintf(stderr, "usage: lm_engine MODEL [ADAPTER [THREADS]]\n");
		return 2;
	}
	open_all(&b, argc, argv, &ad);
	while ((n = getline(&line, &cap, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		command(&b, line);
	}
	free(line);
	free(b.logits);
	lm_adapter_free(ad);
	lm_close(b.lm);
	return 0;
}
