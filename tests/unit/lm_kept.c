/* what prompts leave behind between calls is bounded, and giving it up changes no answer */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/kolmlm.h"
#include "trainer/lm.h"

enum { CALLS = 40, CHOICES = 3, LONG = 140 };

static const struct lm_choice choices[CHOICES] = {{"yes", 3}, {"no", 2}, {"not known", 9}};

static struct lm *open_tiny(void)
{
	const struct lm_options opt = {.threads = 1};
	struct err err = ERR_NONE;
	struct lm *lm = NULL;
	int fd = open("tests/unit/data/peft/tiny", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(lm_open(fd, &opt, &lm, &err), 0, "%s", err.text);
	close(fd);
	return lm;
}

static uint64_t held(const struct lm *lm)
{
	uint64_t sum = 0;

	for (int i = 0; i < LM_SNAPSHOTS; i++)
		sum += kv_bytes(&lm->snapshot[i]);
	return sum;
}

static struct kv *newest(struct lm *lm)
{
	struct kv *kv = &lm->snapshot[0];

	for (int i = 1; i < LM_SNAPSHOTS; i++)
		if (lm->snapshot[i].used > kv->used)
			kv = &lm->snapshot[i];
	return kv;
}

/* prompt ${i}: of some kinds, each with its own beginning; every third a long one */
static size_t prompt_of(int i, char text[256])
{
	size_t n = i % 3 == 0 ? LONG : 20;

	for (size_t k = 0; k < n; k++)
		text[k] = (char)('a' + (k < 12 ? i % 7 : (int)(k * k + (size_t)i) % 23));
	return n;
}

static void ask(struct lm *lm, int i, double scores[CHOICES])
{
	char text[256];
	struct err err = ERR_NONE;
	size_t n = prompt_of(i, text), best;

	cr_assert_eq(lm_choose(lm, text, n, NULL, choices, CHOICES, 0, scores, &best, &err), 0,
		"%s", err.text);
}

/* under bounds from nothing at all to more than is ever asked for */
Test(lm_kept, memory_between_calls_is_bounded_and_answers_do_not_depend_on_it)
{
	static const int rows[] = {0, 1, 128, 300, 100000};
	uint64_t most = 0;

	for (size_t b = 0; b < sizeof(rows) / sizeof(rows[0]); b++) {
		struct lm *lm = open_tiny();

		lm->kept = (uint64_t)rows[b] * kv_row_bytes(&lm->snapshot[0]);
		for (int i = 0; i < CALLS; i++) {
			struct lm *fresh = open_tiny();
			double have[CHOICES], want[CHOICES];

			ask(lm, i, have);
			cr_assert_leq(held(lm), lm->kept, "bound %d rows, call %d", rows[b], i);
			ask(fresh, i, want);
			cr_assert_arr_eq(have, want, sizeof(want));
			lm_close(fresh);
		}
		most = held(lm);
		lm_close(lm);
	}
	/* without a bound in the way all four places hold something: it was the bound that held */
	cr_assert_gt(most, UINT64_C(4) * 128 * 512);
}

Test(lm_kept, the_beginning_of_a_long_prompt_stays)
{
	struct lm *lm = open_tiny();
	double scores[CHOICES];

	lm->kept = 128 * kv_row_bytes(&lm->snapshot[0]);
	ask(lm, 1, scores);
	int small = newest(lm)->n;

	cr_assert(small > 0 && small < 128);
	ask(lm, 0, scores); /* the long one takes the place of the short */
	cr_assert_eq(newest(lm)->n, 128);
	cr_assert_eq(held(lm), lm->kept);
	ask(lm, 0, scores); /* and is gone on from */
	cr_assert_eq(newest(lm)->n, 128);
	for (int i = 0, n = 0; i < LM_SNAPSHOTS; i++) {
		n += lm->snapshot[i].rows > 0;
		cr_assert_leq(n, 1);
	}
	lm_close(lm);
}

Test(lm_kept, the_usual_bound_is_in_bytes_and_in_rows)
{
	struct lm *lm = open_tiny();

	cr_assert_eq(lm->kept, UINT64_C(64) << 20);
	lm_close(lm);
}
