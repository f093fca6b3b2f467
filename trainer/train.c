/* train - plans, saves and runs a training; see train.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "trainer/checkpoint.h"
#include "trainer/counter.h"
#include "trainer/train_inside.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* behind every layer: stop when told to, and a sign of life every second */
static int tick(void *arg)
{
	struct train *tn = arg;

	if (tn->set.stop && *tn->set.stop)
		return -EINTR;
	if (!tn->set.progress || now() - tn->spoke < 0.9)
		return 0;
	tn->spoke = now();
	return tn->set.progress(tn->set.arg, &tn->said);
}

static int bind_adapter(struct train *tn, struct err *err)
{
	struct lora *lo = tn->lo;
	int n = tn->m->layers * MODULES;

	tn->tr = (struct trainee){.rank = lo->rank,
		.scale = lo->alpha / (float)lo->rank,
		.dropout = lo->dropout,
		.targets = lo->targets};
	tn->tr.at = calloc((size_t)n, sizeof(*tn->tr.at));
	tn->grads = calloc(lo->params, sizeof(float));
	tn->m1 = calloc(lo->params, sizeof(float));
	tn->m2 = calloc(lo->params, sizeof(float));
	tn->best = calloc(lo->params, sizeof(float));
	tn->curve = calloc((size_t)tn->set.epochs, sizeof(*tn->curve));
	if (tn->set.batch > CREW_GROUP_ROWS) {
		tn->total = calloc(lo->params, sizeof(float));
		if (!tn->total)
			return err_nomem(err);
	}
	if (!tn->tr.at || !tn->grads || !tn->m1 || !tn->m2 || !tn->best || !tn->curve)
		return err_nomem(err);
	size_t widest = 0;

	for (int i = 0; i < n; i++) {
		const struct lora_pair *p = &lo->pair[i];

		if (!p->a)
			continue;
		tn->tr.at[i] = (struct adapt){p->a, p->b, tn->grads + (p->a - lo->memory),
			tn->grads + (p->b - lo->memory)};
		widest = (size_t)p->out > widest ? (size_t)p->out : widest;
	}
	tn->turned = malloc((widest * (size_t)lo->rank + 1) * sizeof(float));
	return tn->turned ? 0 : err_nomem(err);
}

/* as many tokens a pass as fit ${mem}, no more than a group of a step can use; a longer row goes
 * alone, in a lean pass */
static int plan_memory(struct train *tn, struct err *err)
{
	int span = tn->data->longest, low = 0, high, most = 0;

	for (int e = 0; e < tn->set.epochs; e++) {
		data_order(tn->data, tn->set.seed, e, tn->order);
		for (int i = 0; i < tn->data->trains; i += tn->set.batch) {
			int n = tn->data->trains - i < tn->set.batch ? tn->data->trains - i
								     : tn->set.batch;

			for (int g = 0; g < n; g += CREW_GROUP_ROWS) {
				int tokens = pack_tokens(tn->order + i + g, train_group_rows(n - g),
					train_shares(tn));

				most = tokens > most ? tokens : most;
			}
		}
	}
	high = most > span ? most : span;
	/* with one thread's scratch: the number of threads must not decide how a step is cut */
	while (low < high) {
		int mid = low + (high - low + 1) / 2;

		if (pass_bytes(tn->m, &tn->tr, 1, mid, span, false) <= tn->set.mem)
			low = mid;
		else
			high = mid - 1;
	}
	tn->cap = low;
	tn->loss = malloc((size_t)(low + span) * sizeof(*tn->loss));
	if (!tn->loss)
		return err_nomem(err);
	int rc = pass_new(tn->m, tn->th, &tn->tr,
		pass_bytes(tn->m, &tn->tr, threads_count(tn->th), low, span, false), span, &tn->ps,
		err);

	if (rc == 0)
		tn->bytes = tn->ps->bytes + 5 * tn->lo->params * sizeof(float);
	return rc;
}

/* what decides the result, and so whether a checkpoint is of this run */
static uint64_t run_hash(const struct train *tn)
{
	struct {
		int64_t layers, dim, vocab, epochs, batch, cap, rank, rows;
		double lr, alpha, dropout;
		uint64_t seed, targets, family;
	} key = {tn->m->layers, tn->m->dim, tn->m->vocab, tn->set.epochs, tn->set.batch, tn->cap,
		tn->lo->rank, tn->data->n, tn->set.lr, (double)tn->lo->alpha,
		(double)tn->lo->dropout, tn->set.seed, tn->lo->targets,
		XXH3_64bits(gemm_kernel()->name, strlen(gemm_kernel()->name))};
	uint64_t h = XXH3_64bits(&key, sizeof(key));
	const struct tensor *w = &tn->m->layer[0].w[0];

	h = XXH3_64bits_withSeed(tn->lo->memory, tn->lo->params * sizeof(float), h);
	h = XXH3_64bits_withSeed(w->data, (size_t)w->rows * tensor_row_bytes(w->type, w->cols), h);
	for (int i = 0; i < tn->data->n; i++) {
		h = XXH3_64bits_withSeed(
			tn->data->sample[i].token, (size_t)tn->data->sample[i].n * sizeof(int), h);
		h = counter_mix(h, (uint64_t)tn->data->sample[i].answer);
	}
	return h;
}

static struct checkpoint checkpoint_of(struct train *tn)
{
	return (struct checkpoint){.run = tn->run,
		.step = tn->step,
		.best_epoch = tn->best_epoch,
		.best_loss = tn->best_loss,
		.judged = tn->judged,
		.epochs = (uint64_t)tn->set.epochs,
		.curve = tn->curve,
		.n = tn->lo->params,
		.weights = tn->lo->memory,
		.m = tn->m1,
		.v = tn->m2,
		.best = tn->best};
}

static int resume(struct train *tn, struct err *err)
{
	struct checkpoint cp = checkpoint_of(tn);
	int rc = checkpoint_read(tn->set.checkpoint_dir, &cp, err);

	if (rc <= 0)
		return rc;
	if (cp.step < 0 || cp.step > train_steps(tn) || cp.judged < 0 ||
		cp.judged > cp.step / tn->steps_per_epoch || cp.best_epoch < 0 ||
		cp.best_epoch > cp.judged)
		return err_set(err, EBADMSG,
			"checkpoint is of step %lld of %d, epoch %lld, the best %lld",
			(long long)cp.step, train_steps(tn), (long long)cp.judged,
			(long long)cp.best_epoch);
	tn->step = (int)cp.step;
	tn->best_epoch = (int)cp.best_epoch;
	tn->best_loss = cp.best_loss;
	tn->judged = (int)cp.judged;
	tn->said.step = tn->step;
	tn->said.epoch = tn->step > 0 ? (tn->step - 1) / tn->steps_per_epoch + 1 : 1;
	return 0;
}

static int save(struct train *tn, struct err *err)
{
	struct checkpoint cp = checkpoint_of(tn);

	if (tn->set.checkpoint_dir < 0 || (tn->set.crew && tn->set.crew->rank > 0))
		return 0;
	tn->saved = now();
	return checkpoint_write(tn->set.checkpoint_dir, &cp, err);
}

/* every rank must be about to do the same run from the same step */
static int agree(struct train *tn, struct err *err)
{
	const struct crew *cw = tn->set.crew;
	const uint64_t mine[2] = {tn->run, (uint64_t)tn->step};
	uint64_t root[2] = {tn->run, (uint64_t)tn->step};

	if (cw->broadcast(cw->arg, root, sizeof(root)) < 0)
		return err_set(err, EIO, "the other ranks cannot be reached");
	if (root[0] != mine[0] || root[1] != mine[1])
		return err_set(err, ESTALE,
			"rank %d has other rows, another base, kernel or checkpoint than rank 0",
			cw->rank);
	return 0;
}

int train_new(const struct model *m, struct threads *th, struct lora *lo, const struct data *data,
	const struct train_settings *set, struct train **out, struct err *err)
{
	struct train *tn = calloc(1, sizeof(*tn));
	int rc;

	if (!tn)
		return err_nomem(err);
	*tn = (struct train){.m = m,
		.th = th,
		.lo = lo,
		.data = data,
		.set = *set,
		.ordered = -1,
		.best_loss = INFINITY};
	tn->said = (struct protocol_progress){
		.loss = NAN, .heldout = NAN, .tokens_per_sec = NAN, .left_sec = NAN, .epoch = 1};
	tn->spoke = now();
	tn->steps_per_epoch = (data->trains + set->batch - 1) / set->batch;
	tn->said.of = train_steps(tn);
	tn->order = calloc((size_t)data->trains, sizeof(*tn->order));
	rc = tn->order ? bind_adapter(tn, err) : err_nomem(err);
	if (rc == 0)
		rc = plan_memory(tn, err);
	if (rc == 0) {
		tn->ps->tick = tick;
		tn->ps->tick_arg = tn;
		tn->run = run_hash(tn);
		if (set->resume && set->checkpoint_dir >= 0)
			rc = resume(tn, err);
		if (rc == 0 && set->crew)
			rc = agree(tn, err);
	}
	if (rc < 0) {
		train_free(tn);
		return rc;
	}
	*out = tn;
	return 0;
}

void train_free(struct train *tn)
{
	if (!tn)
		return;
	pass_free(tn->ps);
	free(tn->tr.at);
	free(tn->grads);
	free(tn->m1);
	free(tn->m2);
	free(tn->best);
	free(tn->curve);
	free(tn->total);
	free(tn->turned);
	free(tn->loss);
	free(tn->order);
	free(tn);
}

int train_steps(const struct train *tn)
{
	return tn->steps_per_epoch * tn->set.epochs;
}

uint64_t train_bytes(const struct train *tn)
{
	return tn->bytes;
}

int train_best_epoch(const struct train *tn)
{
	return tn->best_epoch;
}

int train_epochs(const struct train *tn)
{
	return tn->judged;
}

const float *train_gradient(const struct train *tn)
{
	return tn->grads;
}

static int speak(struct train *tn)
{
	double spent = now() - tn->began;
	int done = tn->step - tn->first, rc = 0;

	if (done > 0) {
		tn->said.tokens_per_sec = (double)tn->trained / spent;
		tn->said.left_sec = spent / done * (tn->said.of - tn->step);
	}
	if (tn->set.progress) {
		tn->spoke = now();
		rc = tn->set.progress(tn->set.arg, &tn->said);
	}
	tn->said.heldout = NAN; /* said once, at the step it is of */
	return rc;
}

/* TRAIN_PATIENCE epochs passed since the best one */
static bool has_peaked(const struct train *tn)
{
	return tn->data->helds && tn->judged - tn->best_epoch >= TRAIN_PATIENCE;
}

/* after an epoch: its held-out loss, and its adapter kept if it is the best so far */
static int judge_epoch(struct train *tn, struct err *err)
{
	int epoch = tn->judged + 1;
	double loss = NAN;

	if (tn->data->helds) {
		int rc = train_loss(tn, tn->data->held, tn->data->helds, &loss, err);

		if (rc < 0)
			return rc;
		if (!isfinite(loss))
			return err_set(
				err, EDOM, "held-out loss is not finite after epoch %d", epoch);
	}
	tn->curve[tn->judged++] = loss;
	if (!(loss >= tn->best_loss)) {
		tn->best_loss = tn->data->helds ? loss : INFINITY;
		tn->best_epoch = epoch;
		memcpy(tn->best, tn->lo->memory, tn->lo->params * sizeof(float));
	}
	tn->said.heldout = loss;
	if (has_peaked(tn))
		tn->said.of = tn->step;
	return speak(tn);
}

/* the losses a killed run has told, again: whoever writes them down began anew */
static int tell_curve(struct train *tn)
{
	struct protocol_progress pr = tn->said;
	int rc = 0;

	pr.loss = NAN;
	for (int e = 0; rc == 0 && tn->set.progress && e < tn->judged; e++) {
		pr.epoch = e + 1;
		pr.step = pr.epoch * tn->steps_per_epoch;
		pr.heldout = tn->curve[e];
		rc = tn->set.progress(tn->set.arg, &pr);
	}
	return rc;
}

static int next_step(struct train *tn, struct err *err)
{
	int epoch = tn->step / tn->steps_per_epoch,
	    from = tn->step % tn->steps_per_epoch * tn->set.batch;
	int n = tn->data->trains - from < tn->set.batch ? tn->data->trains - from : tn->set.batch;

	if (tn->ordered != epoch) {
		data_order(tn->data, tn->set.seed, epoch, tn->order);
		tn->ordered = epoch;
	}
	double loss;
	int rc = train_step(tn, tn->order + from, n, &loss, err);

	if (rc < 0)
		return rc;
	tn->said.step = tn->step;
	tn->said.epoch = epoch + 1;
	tn->said.loss = loss;
	for (int i = 0; i < n; i++)
		tn->trained += tn->order[from + i]->n;
	/* the last step of an epoch is told together with the held-out loss */
	return tn->step % tn->steps_per_epoch == 0 ? 0 : speak(tn);
}

int train_run(struct train *tn, struct err *err)
{
	tn->began = tn->spoke = tn->saved = now();
	tn->first = tn->step;
	if (has_peaked(tn))
		tn->said.of = tn->step;
	int rc = tell_curve(tn);

	if (rc < 0)
		return rc;
	for (;;) {
		if (tn->judged < tn->step / tn->steps_per_epoch)
			rc = judge_epoch(tn, err);
		else if (tn->step < train_steps(tn) && !has_peaked(tn))
			rc = next_step(tn, err);
		else
			break;
		if (rc == 0 && tn->set.stop && *tn->set.stop)
			rc = -EINTR;
		if (rc == -EINTR || (rc == 0 && now() - tn->saved >= tn->set.checkpoint_sec)) {
			int saved = save(tn, err);

			rc = saved < 0 ? saved : rc;
		}
		if (rc < 0)
			return rc;
	}
	memcpy(tn->lo->memory, tn->best, tn->lo->params * sizeof(float));
	return 0;
}
