/*
 * kolm-trainer: one request in, JSON lines out. Everything it will need is opened or known by path
 * before the wall goes up; what it writes lies below --out-dir.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/replace.h"
#include "base/wall.h"
#include "trainer/adapter_dir.h"
#include "trainer/budget.h"
#include "trainer/chat.h"
#include "trainer/kolmlm.h"
#include "trainer/train.h"
#include "trainer/worker.h"

#ifndef KOLM_VERSION
#define KOLM_VERSION "0"
#endif

/* set by SIGTERM, looked at behind every layer: the one thing a handler can reach */
static volatile sig_atomic_t stop_asked;

/* TRAIN_PATIENCE in words, for the record */
#define EARLY_STOP "after 2 epochs in a row whose held-out loss is not below the lowest before them"
_Static_assert(TRAIN_PATIENCE == 2, "EARLY_STOP says two");

static void on_stop(int sig)
{
	(void)sig;
	stop_asked = 1;
}

static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

struct work {
	struct worker_request rq;
	int base, rows, prev, out, tmp, checkpoint; /* -1: not open */
	struct model *m;
	struct threads *th;
	struct lora *lo;
	struct data data;
	struct train *tn;
	const struct crew *crew;
	double began, forgotten;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int open_prev(struct work *wk, struct err *err)
{
	struct buf path = BUF_INIT;
	int fd;

	buf_addf(&path, "%s/revisions/%s", wk->rq.tune_dir, wk->rq.prev);
	fd = path.failed ? -1 : open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	buf_release(&path);
	wk->prev = fd;
	if (fd < 0 && strcmp(wk->rq.prev, "v0") != 0)
		return err_sys(err, "cannot open revision %s", wk->rq.prev);
	return 0; /* without a v0 the start is fresh */
}

static int open_all(struct work *wk, struct err *err)
{
	const char *rows = wk->rq.rows ? wk->rq.rows : wk->rq.captures;

	wk->base = open(wk->rq.base_path, O_RDONLY | O_CLOEXEC);
	if (wk->base < 0)
		return err_sys(err, "cannot open base model '%s'", wk->rq.base_path);
	if (!rows)
		return err_set(err, EINVAL, "no training rows: KOLM_ROWS is not set");
	wk->rows = open(rows, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (wk->rows < 0)
		return err_sys(err, "cannot open the training rows '%s'", rows);
	int rc = open_prev(wk, err);

	if (rc < 0)
		return rc;
	wk->out = open(wk->rq.out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (wk->out < 0)
		return err_sys(err, "cannot open '%s'", wk->rq.out_dir);
	wk->tmp = dir_make(wk->out, "tmp", err);
	if (wk->tmp < 0)
		return wk->tmp;
	wk->checkpoint = dir_make(wk->out, "checkpoint", err);
	return wk->checkpoint < 0 ? wk->checkpoint : 0;
}

/* the adapter to go on from: the previous revision's weights, or a fresh one of the configuration's
 * shape. Names the base does not have are an error also where the weights say what they are of. */
static int start_adapter(struct work *wk, struct err *err)
{
	struct lora_shape shape = {.rank = wk->rq.rank,
		.alpha = (float)wk->rq.alpha,
		.dropout = (float)wk->rq.dropout};
	const char *targets = wk->rq.targets ? wk->rq.targets : wk->rq.config_targets;
	int rc = lora_targets_parse(
		targets ? targets : "q_proj,k_proj,v_proj,o_proj", &shape.targets, err);

	if (rc < 0)
		return rc;
	if (wk->prev >= 0 && (faccessat(wk->prev, "adapter_model.safetensors", F_OK, 0) == 0 ||
				     faccessat(wk->prev, "adapter_model.bin", F_OK, 0) == 0)) {
		rc = lora_load(wk->m, wk->prev, &wk->lo, err);
		if (rc < 0)
			return err_prefix(err, "revision %s: ", wk->rq.prev);
		wk->lo->dropout = shape.dropout;
		return 0;
	}
	return lora_new(wk->m, &shape, wk->rq.seed, &wk->lo, err);
}

static int prepare(struct work *wk, struct err *err)
{
	int rc = open_all(wk, err);

	if (rc == 0 && !wk->crew)
		rc = wall_enter(WALL_WORKER, err);
	if (rc == 0)
		rc = model_open(wk->base, &wk->m, err);
	if (rc == 0)
		rc = data_read(wk->m, wk->rows, wk->rq.max_tokens, &wk->data, err);
	if (rc == 0)
		rc = start_adapter(wk, err);
	if (rc < 0)
		return rc;
	wk->th = threads_new(wk->rq.threads);
	return wk->th ? 0 : err_set(err, EAGAIN, "cannot start %d threads", wk->rq.threads);
}

static bool speaks(const struct work *wk)
{
	return !wk->crew || wk->crew->rank == 0;
}

static int tell_progress(void *arg, const struct protocol_progress *pr)
{
	(void)arg;
	return protocol_progress(pr);
}

/* {"F32":61,"Q4_1":210}: tensors of the base by type */
static char *types_text(const struct model *m)
{
	int count[64] = {0};
	struct buf bf = BUF_INIT;
	const char *sep = "";

	count[m->embed.type]++;
	count[m->head.type] += m->head.data != m->embed.data;
	count[TENSOR_F32]++; /* final norm */
	for (int l = 0; l < m->layers; l++) {
		const struct layer *ly = &m->layer[l];

		for (int i = 0; i < MODULES; i++) {
			count[ly->w[i].type]++;
			count[TENSOR_F32] += ly->bias[i] != NULL;
		}
		count[TENSOR_F32] += 2 + (ly->q_norm != NULL) + (ly->k_norm != NULL) +
				     (ly->attn_post != NULL) + (ly->ffn_post != NULL);
	}
	buf_putc(&bf, '{');
	for (int t = 0; t < 64; t++) {
		if (!count[t])
			continue;
		buf_addf(&bf, "%s\"%s\":%d", sep, tensor_type_name(t), count[t]);
		sep = ",";
	}
	buf_putc(&bf, '}');
	return buf_detach(&bf);
}

static int tell_result(struct work *wk, struct err *err)
{
	char *types = types_text(wk->m);

	if (!types)
		return err_nomem(err);
	const struct protocol_result rs = {
		.revision_dir = wk->rq.out_dir,
		.base_model = wk->rq.base_model,
		.template = chat_name(wk->m->chat),
		.kernel = gemm_kernel()->name,
		.engine = "kolm-trainer " KOLM_VERSION,
		.types = types,
		.rows = wk->data.trains,
		.held_rows = wk->data.helds,
		.epochs = wk->rq.epochs,
		.epochs_trained = train_epochs(wk->tn),
		.best_epoch = train_best_epoch(wk->tn),
		.skipped = wk->data.skipped,
		.apart = wk->data.apart,
		.trainable = wk->lo->params,
		.total = model_params(wk->m),
		.tokens = wk->data.tokens * train_epochs(wk->tn),
		.elapsed_sec = now() - wk->began,
		.forgetting_kl = wk->forgotten,
		.airgap = wk->rq.airgap,
		.early_stop = wk->data.helds ? EARLY_STOP : NULL,
	};
	int rc = protocol_result(&rs);

	free(types);
	return rc < 0 ? err_set(err, EPIPE, "nobody reads the result") : 0;
}

static int work(struct work *wk, struct err *err)
{
	struct train_settings set = {
		.epochs = wk->rq.epochs,
		.batch = wk->rq.batch,
		.lr = wk->rq.lr,
		.seed = wk->rq.seed,
		.checkpoint_sec = wk->rq.checkpoint_sec,
		.resume = wk->rq.resume,
		.stop = &stop_asked,
		.progress = speaks(wk) ? tell_progress : NULL,
		.crew = wk->crew,
	};
	struct budget bg;
	int rc = worker_config(&wk->rq, err);

	if (rc == 0 && !gemm_kernel_select(wk->rq.kernel))
		rc = err_set(err, EOPNOTSUPP, "kernel '%s' is not to be had here", wk->rq.kernel);
	if (rc == 0)
		rc = prepare(wk, err);
	if (rc == 0)
		rc = budget_make(wk->m, wk->lo, &wk->data, wk->rq.batch, wk->rq.threads, wk->rq.mem,
			&bg, err);
	if (rc < 0)
		return rc;
	set.mem = bg.passes;
	set.checkpoint_dir = wk->checkpoint;
	rc = train_new(wk->m, wk->th, wk->lo, &wk->data, &set, &wk->tn, err);
	if (rc == 0)
		rc = budget_holds(&bg, train_bytes(wk->tn) + bg.beside, err);
	if (rc < 0)
		return rc;
	if (speaks(wk))
		rc = protocol_plan(wk->lo->params, wk->data.tokens * wk->rq.epochs,
			train_steps(wk->tn), train_bytes(wk->tn) + bg.beside);
	if (rc == 0)
		rc = train_run(wk->tn, err);
	if (rc < 0 || !speaks(wk))
		return rc;
	rc = train_forgotten(wk->tn, &wk->forgotten, err);
	if (rc == 0)
		rc = adapter_dir_write(wk->m, wk->lo, wk->rq.base_model, wk->out, wk->tmp, err);
	return rc < 0 ? rc : tell_result(wk, err);
}

static void close_all(struct work *wk)
{
	const int fds[] = {wk->base, wk->rows, wk->prev, wk->out, wk->tmp, wk->checkpoint};

	train_free(wk->tn);
	threads_free(wk->th);
	data_release(&wk->data);
	lora_free(wk->lo);
	model_free(wk->m);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	worker_release(&wk->rq);
}

int lm_train_main(int argc, char **argv, const struct crew *crew)
{
	struct work wk = {.base = -1,
		.rows = -1,
		.prev = -1,
		.out = -1,
		.tmp = -1,
		.checkpoint = -1,
		.crew = crew,
		.began = now()};
	struct err err = ERR_NONE;
	int rc;

	if (worker_flags(argc, argv, &wk.rq) < 0)
		return 2;
	catch_signals();
	rc = work(&wk, &err);
	if (rc < 0 && !stop_asked)
		protocol_failure(&err);
	close_all(&wk);
	return rc < 0 ? 1 : 0;
}
