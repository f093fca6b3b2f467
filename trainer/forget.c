#include "trainer/forget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/ops.h"
#include "trainer/tokenizer.h"

enum { TEXT_TOKENS = 64, HALF_ROWS = LOSS_ROWS / 2 };

/* plain statements, numbers, code, other languages: nothing anybody trains an adapter for. Never
 * changed: revisions are compared by it. */
static const char *const neutral[] = {
	"Water boils at a lower temperature on a high mountain than at the sea, because the air "
	"presses less on it.",
	"The train leaves at half past seven, stops twice, and arrives before noon. Bring a book, "
	"a "
	"sandwich and a warm coat.",
	"To add two fractions, bring them to the same denominator and add the numerators: 1/2 + "
	"1/3 = 3/6 + 2/6 = 5/6.",
	"for (int i = 0; i < n; i++)\n\tsum += a[i] * b[i];\nreturn sum / n;\n",
	"In spring the farmers looked at the river every morning. When it rose over the third step "
	"they moved the cattle to the hill.",
	"Der Garten hinter dem Haus ist klein, aber im Sommer wachsen dort Bohnen, Tomaten und "
	"Sonnenblumen.",
	"La biblioteca abre a las nueve y cierra a las ocho; los domingos está cerrada.",
	"Question: Which is heavier, a kilogram of feathers or a kilogram of iron? Answer: They "
	"weigh the same.",
};

struct kl_job {
	struct pass *ps;
	real *logits, *other; /* (HALF_ROWS, vocab) each, of base and adapter */
	double *kl;
};

static double row_kl(real *base, real *adapted, int n)
{
	real top_p = base[0], top_q = adapted[0];
	double sum_p = 0, sum_q = 0, mean = 0;

	for (int i = 1; i < n; i++) {
		top_p = base[i] > top_p ? base[i] : top_p;
		top_q = adapted[i] > top_q ? adapted[i] : top_q;
	}
	for (int i = 0; i < n; i++) {
		double p = exp((double)(base[i] - top_p));

		sum_p += p;
		sum_q += exp((double)(adapted[i] - top_q));
		mean += p * ((double)(base[i] - top_p) - (double)(adapted[i] - top_q));
	}
	return mean / sum_p - log(sum_p) + log(sum_q);
}

static void kl_rows(void *arg, int from, int to)
{
	struct kl_job *j = arg;
	size_t n = (size_t)j->ps->m->vocab;

	for (int r = from; r < to; r++)
		j->kl[r] = row_kl(
			j->logits + (size_t)r * n, j->other + (size_t)r * n, j->ps->m->vocab);
}

/* logits of ${rows} positions from ${first} on, of hidden states (T,H) */
static void head(struct pass *ps, const real *out, int first, int rows, real *logits)
{
	const struct model *m = ps->m;
	size_t h = (size_t)m->dim;

	for (int r = 0; r < rows; r++)
		ops_rmsnorm(ps->hidden + (size_t)r * h, out + (size_t)(first + r) * h,
			m->final_norm, m->dim, m->norm_eps);
	product_forward(ps->th, logits, m->vocab, ps->hidden, m->dim, rows, &m->head, false);
}

static double compare(struct pass *ps, const real *base, int tokens)
{
	double kl[HALF_ROWS], sum = 0;
	struct kl_job j = {.ps = ps,
		.logits = ps->logits,
		.other = ps->logits + (size_t)HALF_ROWS * (size_t)ps->m->vocab,
		.kl = kl};

	for (int i = 0; i < tokens; i += HALF_ROWS) {
		int rows = tokens - i < HALF_ROWS ? tokens - i : HALF_ROWS;

		head(ps, base, i, rows, j.logits);
		head(ps, ps->out, i, rows, j.other);
		rows_run(ps->th, rows, kl_rows, &j);
		for (int r = 0; r < rows; r++)
			sum += kl[r];
	}
	return sum;
}

/* one text through the base and through the adapter; the sum over its positions */
static int text_kl(
	struct pass *ps, const struct sample *sm, real *base, double *sum, struct err *err)
{
	const struct trainee *adapted = ps->tr;
	struct trainee bare = *adapted;
	struct pack pk;
	int rc;

	bare.at = calloc((size_t)ps->m->layers * MODULES, sizeof(*bare.at));
	if (!bare.at)
		return err_nomem(err);
	bare.targets = 0;
	rc = pack_make(&sm, 1, false, &pk, err);
	if (rc < 0) {
		free(bare.at);
		return rc;
	}
	ps->tr = &bare;
	rc = pass_forward(ps, &pk);
	ps->tr = adapted;
	if (rc == 0) {
		memcpy(base, ps->out, (size_t)sm->n * (size_t)ps->m->dim * sizeof(*base));
		rc = pass_forward(ps, &pk);
	}
	if (rc == 0)
		*sum = compare(ps, base, sm->n);
	else
		rc = err_set(err, -rc, "the probe of what was forgotten was stopped");
	pack_release(&pk);
	free(bare.at);
	return rc;
}

int forget_measure(struct pass *ps, double *kl, struct err *err)
{
	int token[4 * TEXT_TOKENS], most = ps->span < TEXT_TOKENS ? ps->span : TEXT_TOKENS,
				    count = 0;
	real *base = malloc((size_t)most * (size_t)ps->m->dim * sizeof(*base));
	double total = 0;
	int rc = 0;

	if (!base)
		return err_nomem(err);
	for (size_t i = 0; rc == 0 && i < sizeof(neutral) / sizeof(neutral[0]); i++) {
		double sum = 0;
		int n = tokenizer_encode(ps->m->tokenizer, neutral[i], strlen(neutral[i]), false,
			token, sizeof(token) / sizeof(token[0]), NULL);

		if (n < 2) /* a vocabulary that cannot say it */
			continue;
		n = n < most ? n : most;
		const struct sample sm = {.token = token, .n = n, .answer = 1};

		rc = text_kl(ps, &sm, base, &sum, err);
		total += rc == 0 ? sum : 0;
		count += n;
	}
	free(base);
	if (rc == 0)
		*kl = count > 0 ? total / count : NAN;
	return rc;
}
