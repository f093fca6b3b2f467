#include <criterion/criterion.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/counter.h"
#include "trainer/gemm.h"
#include "trainer/gemm_kern.h"

static float *floats(uint64_t key, size_t n)
{
	float *p = malloc((n + 16) * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = 2 * counter_unit(counter_mix(key, i)) - 1;
	return p;
}

/* random blocks; the high bytes of their scales are those of small numbers */
static struct tensor weights(enum tensor_type type, int rows, int cols)
{
	static const struct {
		size_t bytes, high[2];
	} blocks[] = {
		[TENSOR_Q4_0] = {18, {1, 1}},
		[TENSOR_Q4_1] = {20, {1, 3}},
		[TENSOR_Q5_0] = {22, {1, 1}},
		[TENSOR_Q5_1] = {24, {1, 3}},
		[TENSOR_Q8_0] = {34, {1, 1}},
		[TENSOR_Q2_K] = {84, {81, 83}},
		[TENSOR_Q3_K] = {110, {109, 109}},
		[TENSOR_Q4_K] = {144, {1, 3}},
		[TENSOR_Q5_K] = {176, {1, 3}},
		[TENSOR_Q6_K] = {210, {209, 209}},
		[TENSOR_IQ4_NL] = {18, {1, 1}},
		[TENSOR_IQ4_XS] = {136, {1, 1}},
		[TENSOR_F16] = {0, {0, 0}},
		[TENSOR_BF16] = {0, {0, 0}},
	};
	size_t bytes = tensor_row_bytes((int)type, cols) * (size_t)rows;
	unsigned char *p = malloc(bytes + 64);

	if (type == TENSOR_F32) {
		free(p);
		return (struct tensor){type, rows, cols, floats(5, (size_t)(rows * cols))};
	}
	for (size_t i = 0; i < bytes; i++)
		p[i] = (unsigned char)counter_mix(9, i);
	for (size_t i = 0; (type == TENSOR_BF16 || type == TENSOR_F16) && i < bytes; i += 2)
		p[i + 1] = (unsigned char)(0x3f | (p[i + 1] & 0x80));
	for (size_t i = 0; blocks[type].bytes && i < bytes; i += blocks[type].bytes)
		for (int j = 1; j >= 0; j--)
			p[i + blocks[type].high[j]] = j ? 0x28 : 0x24;
	return (struct tensor){type, rows, cols, p};
}

static void check(struct threads *th, const struct tensor *w, long m)
{
	long n = w->rows, k = w->cols;
	float *x = floats(1, (size_t)(m * k)), *dy = floats(2, (size_t)(m * n)),
	      *y = floats(3, (size_t)(m * n)), *dx = floats(4, (size_t)(m * k));
	float *all = malloc((size_t)(n * k) * sizeof(*all)),
	      *y0 = malloc((size_t)(m * n) * sizeof(*y0));

	memcpy(y0, y, (size_t)(m * n) * sizeof(*y0));
	for (long r = 0; r < n; r++)
		tensor_row(w, r, all + r * k);
	gemm_forward(th, y, n, x, k, m, w, true);
	gemm_backward(th, dx, k, dy, n, m, w, false);
	for (long i = 0; i < m; i++) {
		for (long r = 0; r < n; r++) {
			double sum = y0[i * n + r], size = fabs(sum);

			for (long c = 0; c < k; c++) {
				sum += (double)x[i * k + c] * (double)all[r * k + c];
				size += fabs((double)x[i * k + c] * (double)all[r * k + c]);
			}
			cr_assert(fabs(sum - (double)y[i * n + r]) <= 2e-6 * size + 1e-30,
				"%s forward %ld,%ld of %ldx%ldx%ld", tensor_type_name(w->type), i,
				r, m, k, n);
		}
		for (long c = 0; c < k; c++) {
			double sum = 0, size = 0;

			for (long r = 0; r < n; r++) {
				sum += (double)dy[i * n + r] * (double)all[r * k + c];
				size += fabs((double)dy[i * n + r] * (double)all[r * k + c]);
			}
			cr_assert(fabs(sum - (double)dx[i * k + c]) <= 2e-6 * size + 1e-30,
				"%s backward %ld,%ld of %ldx%ldx%ld", tensor_type_name(w->type), i,
				c, m, k, n);
		}
	}
	free(x);
	free(y);
	free(dy);
	free(dx);
	free(all);
	free(y0);
}

Test(lm_gemm, products_are_those_of_doubles)
{
	static const enum tensor_type types[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q8_0, TENSOR_BF16,
		TENSOR_Q6_K, TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_IQ4_XS};
	static const char *const kernels[] = {"amx", "vector", "avx2", "portable"};
	struct threads *th = threads_new(2);

	for (size_t k = 0; k < 4; k++) {
		if (!gemm_kernel_select(kernels[k]))
			continue;
		for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
			struct tensor w = weights(types[t], 70, 768 * 3);

			check(th, &w, 13);
			free((void *)w.data);
		}
		static const int odd[][3] = {
			{1, 1, 1}, {5, 3, 7}, {50, 17, 700}, {13, 8, 33}, {7, 100, 8}};

		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
			struct tensor w = weights(TENSOR_F32, odd[i][1], odd[i][2]);

			check(th, &w, odd[i][0]);
			free((void *)w.data);
		}
	}
	cr_assert_null(gemm_kernel_select("abacus"));
	threads_free(th);
}

/* the promise training and resuming rest on */
static void same_bits(const char *kernel, long rows, long cols, long most)
{
	struct tensor w = weights(TENSOR_Q4_1, (int)rows, (int)cols);
	size_t n = (size_t)(most * (rows > cols ? rows : cols));
	float *x = floats(1, n), *want = malloc(n * sizeof(float)),
	      *back = malloc(n * sizeof(float)), *have = malloc(n * sizeof(float));
	struct threads *one = threads_new(1);

	cr_assert(gemm_kernel_select(kernel));
	gemm_forward(one, want, rows, x, cols, most, &w, false);
	gemm_backward(one, back, cols, want, rows, most, &w, false);
	for (int t = 1; t <= 7; t += 2) {
		struct threads *th = threads_new(t);

		for (long m = 1; m <= most; m += most / 3) {
			memset(have, 0x55, (size_t)(m * rows) * sizeof(float));
			gemm_forward(th, have, rows, x, cols, m, &w, false);
			cr_assert_arr_eq(have, want, (size_t)(m * rows) * sizeof(float));
			gemm_backward(th, have, cols, want, rows, m, &w, false);
			cr_assert_arr_eq(have, back, (size_t)(m * cols) * sizeof(float));
		}
		threads_free(th);
	}
	threads_free(one);
	free(x);
	free(want);
	free(back);
	free(have);
	free((void *)w.data);
}

Test(lm_gemm, bits_depend_on_neither_height_nor_threads)
{
	static const char *const kernels[] = {"amx", "vector", "avx2", "portable"};

	for (size_t k = 0; k < 4; k++)
		if (gemm_kernel_select(kernels[k]))
			same_bits(kernels[k], 192, 576, 200);
	/* rows cut in more than one piece, sums in several rounds */
	same_bits("auto", 64, 1536, 1100);
}

/* six rows of two vectors and twelve of one: one chain of fused operations for each element */
Test(lm_gemm, avx512_has_the_bits_of_avx2)
{
	struct tensor w = weights(TENSOR_Q4_1, 192, 576);
	float *x = floats(1, 200 * 576), *want = malloc(200 * 192 * sizeof(float)),
	      *have = malloc(200 * 192 * sizeof(float));
	struct threads *one = threads_new(1);

	if (gemm_kernel_select("avx2")) {
		gemm_forward(one, want, 192, x, 576, 200, &w, false);
		gemm_kernel_select("vector");
		gemm_forward(one, have, 192, x, 576, 200, &w, false);
		cr_assert_arr_eq(have, want, 200 * 192 * sizeof(float));
	}
	threads_free(one);
	free(x);
	free(want);
	free(have);
	free((void *)w.data);
}

/* what the three pieces are for: nearer to the true sum than a chain of float products */
Test(lm_gemm, tiles_are_as_exact_as_floats)
{
	static const enum tensor_type types[] = {
		TENSOR_F32, TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q8_0, TENSOR_BF16};
	struct threads *th = threads_new(2);

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		struct tensor w = weights(types[t], 64, 576);
		float *x = floats(7, 32 * 576), y[2][32 * 64], row[576];
		double off[2] = {0}, size = 0;

		cr_assert(gemm_kernel_select("vector"));
		gemm_forward(th, y[0], 64, x, 576, 32, &w, false);
		if (!gemm_kernel_select("amx"))
			cr_skip("no tiles of bfloat16 here");
		gemm_forward(th, y[1], 64, x, 576, 32, &w, false);
		for (int i = 0; i < 32 * 64; i++) {
			double sum = 0;

			tensor_row(&w, i % 64, row);
			for (int k = 0; k < 576; k++)
				sum += (double)x[i / 64 * 576 + k] * (double)row[k];
			size += sum * sum;
			for (int k = 0; k < 2; k++)
				off[k] += ((double)y[k][i] - sum) * ((double)y[k][i] - sum);
		}
		cr_log_info("%s: %.2e by floats, %.2e by tiles", tensor_type_name(w.type),
			sqrt(off[0] / size), sqrt(off[1] / size));
		cr_assert(off[1] <= off[0] && sqrt(off[1] / size) < 5e-7, "%s: %.2e",
			tensor_type_name(w.type), sqrt(off[1] / size));
		free(x);
		free((void *)w.data);
	}
	threads_free(th);
}

/* ${n} values from column ${from} of the sixteen rows from ${row} on: along, down and turned */
static void unpacked_as_rows(
	const struct gemm_kernel *kn, const struct tensor *w, int64_t row, int64_t from, int64_t n)
{
	enum { MOST = 576, APART = 16 * 16 + 8 };
	float *turned = malloc(MOST * 16 * sizeof(float)),
	      *down = malloc((MOST / 16 + 1) * APART * sizeof(float));
	float along[MOST], want[MOST];
	int64_t rows = w->rows - row < 16 ? w->rows - row : 16;

	gemm_unpack_turned(kn, w, row, from, n, turned);
	gemm_unpack_down(kn, w, row, rows, from, n, down, APART);
	for (int64_t j = 0; j < 16; j++) {
		if (j < rows) {
			tensor_row(w, row + j, want);
			gemm_unpack(kn, w, row + j, from, n, along);
			cr_assert_arr_eq(along, want + from, (size_t)n * sizeof(float));
		} else {
			memset(want, 0, sizeof(want));
		}
		for (int64_t i = 0; i < n; i++)
			cr_assert_eq(memcmp(&turned[i * 16 + j], &want[from + i], sizeof(float)), 0,
				"%s, row %ld value %ld turned", tensor_type_name((int)w->type),
				(long)(row + j), (long)(from + i));
		for (int64_t i = 0; j < rows && i < (n + 15) / 16 * 16; i++) {
			float is = down[i / 16 * APART + j * 16 + i % 16];

			cr_assert_eq(is, i < n ? want[from + i] : 0, "%s, row %ld value %ld down",
				tensor_type_name((int)w->type), (long)(row + j), (long)(from + i));
		}
	}
	free(turned);
	free(down);
}

Test(lm_gemm, unpacked_blocks_are_tensor_rows)
{
	static const enum tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q4_0,
		TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0, TENSOR_IQ4_NL, TENSOR_IQ4_XS,
		TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};
	static const char *const kernels[] = {"vector", "avx2", "portable"};

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
		for (size_t k = 0; k < 3; k++) {
			const struct gemm_kernel *kn = gemm_kernel_find(kernels[k]);
			bool floats = types[t] == TENSOR_F32 || types[t] == TENSOR_F16 ||
				      types[t] == TENSOR_BF16;
			struct tensor w = weights(types[t], 37, 512);

			if (!kn)
				continue;
			unpacked_as_rows(kn, &w, 0, 0, 512);
			unpacked_as_rows(kn, &w, 21, 256, 256); /* the last whole sixteen */
			unpacked_as_rows(kn, &w, 32, 256, 256); /* five of them there */
			if (floats) {
				unpacked_as_rows(kn, &w, 16, 3, 300);
				unpacked_as_rows(kn, &w, 16, 48, 41);
			}
			free((void *)w.data);
		}
}

Test(lm_gemm, outer_sums_over_tokens)
{
	float *u = floats(1, 50 * 8), *v = floats(2, 50 * 100), c[8 * 100] = {0};
	struct threads *th = threads_new(3);

	gemm_outer(th, c, u, 8, 8, v, 100, 100, 50);
	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 100; j++) {
			double sum = 0;

			for (int t = 0; t < 50; t++)
				sum += (double)u[t * 8 + i] * (double)v[t * 100 + j];
			cr_assert(fabs(sum - (double)c[i * 100 + j]) < 1e-5);
		}
	threads_free(th);
	free(u);
	free(v);
}

static void count_tile(void *arg, int tile, int thread)
{
	atomic_fetch_add((atomic_int *)arg + tile, 1);
	(void)thread;
}

Test(lm_gemm, every_tile_runs_once)
{
	struct threads *th = threads_new(4);
	static atomic_int count[1000];

	cr_assert_eq(threads_count(th), 4);
	for (int round = 0; round < 300; round++) {
		int n = round % 7 ? round * 3 % 1000 : 1;

		threads_run(th, n, count_tile, count);
		for (int i = 0; i < n; i++)
			cr_assert_eq(atomic_exchange(&count[i], 0), 1);
		if (round % 50 == 0)
			usleep(3000); /* long enough that the others sleep */
	}
	threads_free(th);
}

struct seats {
	int n;
	atomic_int there;
	cpu_set_t may[256];
};

/* a tile ends when each thread has one */
static void seat_tile(void *arg, int tile, int thread)
{
	struct seats *st = arg;

	(void)tile;
	sched_getaffinity(0, sizeof(st->may[thread]), &st->may[thread]);
	atomic_fetch_add(&st->there, 1);
	while (atomic_load(&st->there) < st->n)
		sched_yield();
}

Test(lm_gemm, workers_keep_to_processors_of_their_own)
{
	cpu_set_t all, taken;

	sched_getaffinity(0, sizeof(all), &all);
	for (int n = CPU_COUNT(&all); n <= CPU_COUNT(&all) + 1; n++) {
		bool whole = n == CPU_COUNT(&all);
		struct threads *th = threads_new(n);
		struct seats st = {.n = n};

		cr_assert_lt(n, 256);
		CPU_ZERO(&taken);
		threads_run(th, n, seat_tile, &st);
		cr_assert(CPU_EQUAL(&st.may[0], &all), "the caller is left alone");
		for (int i = 1; i < n; i++) {
			cr_assert_eq(CPU_COUNT(&st.may[i]), whole ? 1 : CPU_COUNT(&all));
			CPU_AND(&st.may[0], &taken, &st.may[i]);
			cr_assert(!whole || CPU_COUNT(&st.may[0]) == 0, "two on one processor");
			CPU_OR(&taken, &taken, &st.may[i]);
		}
		threads_free(th);
	}
}

/* wherever the caller goes, the worker that was there leaves */
Test(lm_gemm, a_worker_makes_way_for_its_caller)
{
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof(all), &all);
	struct threads *th = threads_new(CPU_COUNT(&all));

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		struct seats st = {.n = CPU_COUNT(&all)};

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		threads_run(th, st.n, seat_tile, &st);
		for (int i = 1; i < st.n; i++)
			cr_assert(!CPU_ISSET(cpu, &st.may[i]), "worker %d is in the way", i);
	}
	threads_free(th);
}
