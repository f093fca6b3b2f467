/*
 * choose - which of some answers is likeliest: the prompt runs once, all choices stand behind it
 * side by side.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/chat.h"
#include "trainer/lm.h"
#include "trainer/tokenizer_load.h"

/* logits of this many positions are held at once (13 MB at 49152 tokens) */
enum { LOGIT_ROWS = 64, CHOICES_MAX = 4096 };

struct question {
	struct lm *lm;
	struct session ss;
	struct ids ids;	 /* the tokens of all choices */
	struct ids from; /* the row where the choice of each begins */
	struct ids
		next; /* the token that must follow each: the choice's next, or the end of turn */
	struct ids first; /* of each choice, in its turn */
	struct ids owner; /* the choice of each token */
	double *score;
};

struct rows {
	const float *logits;
	int vocab;
	double top[LOGIT_ROWS]; /* the largest logit */
	double sum[LOGIT_ROWS]; /* log of the sum of exponentials under it */
};

/* tile i: in double, in order */
static void log_sum(void *arg, int i, int thread)
{
	struct rows *rw = arg;
	const float *row = rw->logits + (long)i * rw->vocab;
	double top = (double)row[sample_greedy(row, rw->vocab)], sum = 0;

	(void)thread;
	for (int k = 0; k < rw->vocab; k++)
		sum += exp((double)row[k] - top);
	rw->top[i] = top;
	rw->sum[i] = log(sum);
}

static double likelihood(const struct rows *rw, int i, int id)
{
	return (double)rw->logits[(long)i * rw->vocab + id] - rw->top[i] - rw->sum[i];
}

static int add_choice(
	struct question *qu, int number, const struct lm_choice *choice, struct err *err)
{
	const int end = chat_end(qu->lm->m->chat), start = (int)qu->ids.n;
	int rc = tokenizer_append(
		qu->lm->m->tokenizer, choice->text, choice->len, false, false, &qu->ids, err);

	if (rc < 0)
		return rc;
	if (qu->ids.n > INT32_MAX / 4 || (int)qu->ids.n - start + qu->ss.n > qu->lm->m->context)
		return err_set(err, EMSGSIZE, "choice %d does not fit the context of %d tokens",
			number + 1, qu->lm->m->context);
	for (int i = start; i < (int)qu->ids.n && rc == 0; i++) {
		rc = ids_add(&qu->from, qu->ss.n + start);
		if (rc == 0)
			rc = ids_add(&qu->owner, number);
		if (rc == 0)
			rc = ids_add(&qu->next, i + 1 < (int)qu->ids.n ? qu->ids.id[i + 1] : end);
	}
	if (rc == 0)
		rc = ids_add(&qu->first, start < (int)qu->ids.n ? qu->ids.id[start] : end);
	return rc < 0 ? err_nomem(err) : 0;
}

/* what the prompt says of the first token of every choice */
static int run_prompt(struct question *qu, struct rows *rw, struct err *err)
{
	struct session *ss = &qu->ss;
	const int fresh = ss->n - ss->kv->n, want = fresh - 1;
	const struct infer_batch batch = {.token = ss->prompt + ss->kv->n,
		.n = fresh,
		.want = &want,
		.wants = 1,
		.logits = qu->lm->logits};
	int rc = session_run(qu->lm, ss, &batch, err);

	if (rc < 0)
		return rc;
	session_keep(ss, batch.token, fresh);
	log_sum(rw, 0, 0);
	for (size_t c = 0; c < qu->first.n; c++)
		qu->score[c] = likelihood(rw, 0, qu->first.id[c]);
	return 0;
}

/* what every token of the choices says of the one behind it */
static int run_choices(struct question *qu, struct rows *rw, struct err *err)
{
	int want[LOGIT_ROWS], rc = 0;

	for (int i = 0; i < LOGIT_ROWS; i++)
		want[i] = i;
	for (int at = 0, total = (int)qu->ids.n; at < total && rc == 0; at += LOGIT_ROWS) {
		const int n = total - at < LOGIT_ROWS ? total - at : LOGIT_ROWS;
		const struct infer_batch batch = {.token = qu->ids.id + at,
			.n = n,
			.shared = qu->ss.n,
			.from = qu->from.id + at,
			.want = want,
			.wants = n,
			.logits = qu->lm->logits};

		qu->ss.kv->n =
			qu->ss.n + at; /* rows of the batches before stay until all is done */
		rc = session_run(qu->lm, &qu->ss, &batch, err);
		if (rc < 0)
			break;
		threads_run(qu->lm->th, n, log_sum, rw);
		for (int i = 0; i < n; i++)
			qu->score[qu->owner.id[at + i]] += likelihood(rw, i, qu->next.id[at + i]);
	}
	qu->ss.kv->n = qu->ss.n;
	return rc;
}

static int run(struct question *qu, const struct lm_choice *choices, size_t n, struct err *err)
{
	struct rows *rw = malloc(sizeof(*rw));
	int rc = rw ? lm_logit_rows(qu->lm, LOGIT_ROWS, err) : err_nomem(err);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_choice(qu, (int)i, &choices[i], err);
	if (rc == 0) {
		rw->logits = qu->lm->logits;
		rw->vocab = qu->lm->m->vocab;
		rc = run_prompt(qu, rw, err);
	}
	if (rc == 0)
		rc = run_choices(qu, rw, err);
	free(rw);
	return rc;
}

int lm_choose(struct lm *lm, const char *prompt, size_t len, const char *system,
	const struct lm_choice *choices, size_t n, int64_t deadline_ms, double *scores,
	size_t *best, struct err *err)
{
	struct question qu = {.lm = lm};
	int rc;

	if (n < 1 || n > CHOICES_MAX)
		return err_set(err, EINVAL, "%zu choices, there must be 1 to %d", n, CHOICES_MAX);
	rc = session_start(lm, &qu.ss, system, prompt, len, 1, deadline_ms, err);
	if (rc < 0)
		return rc;
	qu.score = calloc(n, sizeof(*qu.score));
	rc = qu.score ? run(&qu, choices, n, err) : err_nomem(err);
	if (rc == 0) {
		*best = 0;
		for (size_t i = 1; i < n; i++)
			if (qu.score[i] > qu.score[*best])
				*best = i;
		if (scores)
			memcpy(scores, qu.score, n * sizeof(*scores));
	}
	free(qu.score);
	ids_release(&qu.ids);
	ids_release(&qu.from);
	ids_release(&qu.next);
	ids_release(&qu.first);
	ids_release(&qu.owner);
	session_release(&qu.ss);
	return rc;
}
