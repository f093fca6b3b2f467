/* train_step - the gradient and the loss of rows, and a step along it; see train.h. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "trainer/adamw.h"
#include "trainer/counter.h"
#include "trainer/forget.h"
#include "trainer/train_inside.h"

enum { COUNTER_DROPOUT = 3 };

/* how many of these rows go into one pass: as many as its memory holds, at least one */
static int rows_that_fit(const struct train *tn, const struct sample *const *rows, int n)
{
	int k = 1;

	while (k < n && pack_tokens(rows, k + 1, train_shares(tn)) <= tn->cap)
		k++;
	return k;
}

/* forward (and with ${weight} backward) over rows in passes that fit; the sum of their losses */
static int passes(struct train *tn, const struct sample *const *rows, int n, double weight,
	double *sum, struct err *err)
{
	*sum = 0;
	for (int i = 0; i < n;) {
		int k = rows_that_fit(tn, rows + i, n - i);
		struct pack pk;
		int rc = pack_make(rows + i, k, train_shares(tn), &pk, err);

		if (rc < 0)
			return rc;
		rc = pass_forward(tn->ps, &pk);
		if (rc == 0) {
			pass_loss(tn->ps, (float)weight, tn->loss, weight > 0);
			for (int s = 0; s < pk.supervised; s++)
				*sum += tn->loss[s];
			if (weight > 0 && isfinite(*sum))
				rc = pass_backward(tn->ps, err);
		}
		pack_release(&pk);
		if (rc == 0 && model_lost(tn->m))
			rc = err_set(err, ESTALE, "base model changed while training");
		if (rc < 0)
			return rc;
		i += k;
	}
	return 0;
}

/* what a group gave, from whoever computed it, added to the step's; on rank 0 */
static int add_group(struct train *tn, int owner, double *loss, double *sum)
{
	const struct crew *cw = tn->set.crew;
	size_t n = tn->lo->params;
	int rc = 0;

	if (owner != 0) {
		rc = cw->receive(cw->arg, owner, loss, sizeof(*loss));
		if (rc == 0)
			rc = cw->receive(cw->arg, owner, tn->grads, n * sizeof(*tn->grads));
	}
	*sum += *loss;
	for (size_t i = 0; i < n; i++)
		tn->total[i] += tn->grads[i];
	return rc;
}

/* the gradient of a step's rows: of its groups, added in their order (crew.h) */
static int groups(struct train *tn, const struct sample *const *rows, int n, double weight,
	double *sum, struct err *err)
{
	static const struct crew alone = {.size = 1};
	const struct crew *cw = tn->set.crew ? tn->set.crew : &alone;
	size_t bytes = tn->lo->params * sizeof(*tn->grads);
	int rc = 0;

	memset(tn->grads, 0, bytes);
	if (!tn->total)
		return passes(tn, rows, n, weight, sum, err);
	memset(tn->total, 0, bytes);
	*sum = 0;
	for (int g = 0; rc == 0 && g * CREW_GROUP_ROWS < n; g++) {
		const struct sample *const *of = rows + g * CREW_GROUP_ROWS;
		int owner = g % cw->size;
		double loss = 0;

		if (owner == cw->rank) {
			memset(tn->grads, 0, bytes);
			rc = passes(tn, of, train_group_rows(n - g * CREW_GROUP_ROWS), weight,
				&loss, err);
			if (rc < 0)
				return rc;
		}
		if (cw->rank == 0)
			rc = add_group(tn, owner, &loss, sum);
		else if (owner == cw->rank) {
			rc = cw->send(cw->arg, &loss, sizeof(loss));
			if (rc == 0)
				rc = cw->send(cw->arg, tn->grads, bytes);
		}
	}
	if (rc == 0 && cw->size > 1)
		rc = cw->broadcast(cw->arg, tn->total, bytes);
	if (rc == 0 && cw->size > 1)
		rc = cw->broadcast(cw->arg, sum, sizeof(*sum));
	memcpy(tn->grads, tn->total, bytes);
	return rc < 0 ? err_set(err, EIO, "the other ranks cannot be reached") : 0;
}

/* B's gradients were summed transposed: (rank,out) to (out,rank) */
static void turn_gradients(struct train *tn)
{
	int r = tn->lo->rank;

	for (int i = 0; i < tn->m->layers * MODULES; i++) {
		int out = tn->lo->pair[i].out;
		float *db = tn->tr.at[i].db;

		if (!db)
			continue;
		memcpy(tn->turned, db, (size_t)(r * out) * sizeof(*db));
		for (int o = 0; o < out; o++)
			for (int k = 0; k < r; k++)
				db[o * r + k] = tn->turned[k * out + o];
	}
}

int train_step(
	struct train *tn, const struct sample *const *rows, int n, double *loss, struct err *err)
{
	int supervised = pack_supervised(rows, n), step = tn->step + 1;
	uint64_t key = counter_mix(counter_mix(tn->set.seed, COUNTER_DROPOUT), (uint64_t)step);
	double sum;

	tn->tr.drop_key = key;
	int rc = groups(tn, rows, n, 1.0 / supervised, &sum, err);

	if (rc < 0)
		return rc;
	turn_gradients(tn);
	double norm = adamw_clip(tn->grads, tn->lo->params);

	if (!isfinite(sum) || !isfinite(norm))
		return err_set(err, EDOM, "loss is not finite at batch %d", step);
	adamw_step(tn->lo->memory, tn->m1, tn->m2, tn->grads, tn->lo->params,
		adamw_rate(tn->set.lr, step, train_steps(tn)), step);
	tn->lo->identity = false;
	tn->step = step;
	*loss = sum / supervised;
	return 0;
}

int train_loss(
	struct train *tn, const struct sample *const *rows, int n, double *loss, struct err *err)
{
	float dropout = tn->tr.dropout;
	double sum;

	tn->tr.dropout = 0;
	int rc = passes(tn, rows, n, 0, &sum, err);

	tn->tr.dropout = dropout;
	if (rc == 0)
		*loss = sum / pack_supervised(rows, n);
	return rc;
}

int train_forgotten(struct train *tn, double *kl, struct err *err)
{
	float dropout = tn->tr.dropout;

	tn->tr.dropout = 0;
	int rc = forget_measure(tn->ps, kl, err);

	tn->tr.dropout = dropout;
	return rc;
}
