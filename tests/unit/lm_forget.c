/* the probe of what an adapter made the base forget, on the small real base of tests/unit/data/peft
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

#include "trainer/forget.h"
#include "trainer/lora.h"

static struct model *base(void)
{
	struct err err = ERR_NONE;
	struct model *m;
	int fd = open("tests/unit/data/peft/tiny", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(model_open(fd, &m, &err), 0, "%s", err.text);
	close(fd);
	return m;
}

static struct lora *adapter(const struct model *m)
{
	struct err err = ERR_NONE;
	struct lora *lo;
	int fd = open("tests/unit/data/peft/adapter", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(lora_load(m, fd, &lo, &err), 0, "%s", err.text);
	close(fd);
	return lo;
}

static double probe(const struct model *m, const struct lora *lo, float scale, int threads)
{
	struct trainee tr = {.rank = lo->rank, .scale = scale, .targets = lo->targets};
	struct adapt at[64 * MODULES] = {0};
	struct threads *th = threads_new(threads);
	struct err err = ERR_NONE;
	struct pass *ps;
	double kl;

	cr_assert_leq(m->layers, 64);
	for (int i = 0; i < m->layers * MODULES; i++)
		at[i] = (struct adapt){.a = lo->pair[i].a, .b = lo->pair[i].b};
	tr.at = at;
	cr_assert_eq(
		pass_new(m, th, &tr, pass_bytes(m, &tr, threads, 64, 64, false), 64, &ps, &err), 0,
		"%s", err.text);
	cr_assert_eq(forget_measure(ps, &kl, &err), 0, "%s", err.text);
	pass_free(ps);
	threads_free(th);
	return kl;
}

Test(lm_forget, nothing_learned_is_nothing_forgotten)
{
	struct model *m = base();
	struct lora *lo = adapter(m);

	cr_assert_eq(probe(m, lo, 0, 1), 0);
	lora_free(lo);
	model_free(m);
}

Test(lm_forget, the_further_the_adapter_goes_the_more)
{
	struct model *m = base();
	struct lora *lo = adapter(m);
	double once = probe(m, lo, 1, 1), twice = probe(m, lo, 2, 1);

	cr_assert_gt(once, 1e-6);
	cr_assert_gt(twice, once);
	/* near zero a divergence grows with the square of the distance */
	cr_assert_float_eq(probe(m, lo, 0.02f, 1) / probe(m, lo, 0.01f, 1), 4, 0.4);
	lora_free(lo);
	model_free(m);
}

Test(lm_forget, threads_do_not_change_a_bit)
{
	struct model *m = base();
	struct lora *lo = adapter(m);

	cr_assert_eq(probe(m, lo, 1, 1), probe(m, lo, 1, 3));
	lora_free(lo);
	model_free(m);
}
