/*
 * session - prompts and their snapshots. Keys and values of the last prompts are kept, so that what
 * a new prompt shares with one of them (the template, the instruction) is not run again. Rows do
 * not depend on how they came about, so no answer changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trainer/chat.h"
#include "trainer/lm.h"

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int adapter_number(const struct lm *lm)
{
	return lm->adapter ? lm->adapter->number : 0;
}

/*
 * The snapshot to go on from. It is taken over in place when most of its prompt is shared; else its
 * shared rows are copied to the one unused longest, so that two kinds of prompts in turn do not
 * keep throwing each other out.
 */
static int choose_snapshot(struct lm *lm, struct session *ss, struct err *err)
{
	struct kv *best = NULL, *oldest = &lm->snapshot[0];
	int common = 0;

	for (int i = 0; i < LM_SNAPSHOTS; i++) {
		struct kv *kv = &lm->snapshot[i];
		int n = kv->adapter == adapter_number(lm) ? kv_common(kv, ss->prompt, ss->n - 1)
							  : 0;

		if (n > common) {
			best = kv;
			common = n;
		}
		if (kv->used < oldest->used)
			oldest = kv;
	}
	if (best && best != oldest && 2 * common < best->prompt) {
		if (kv_copy(oldest, best, common) < 0)
			return err_nomem(err);
		best = oldest;
	}
	ss->lm = lm;
	ss->kv = best ? best : oldest;
	ss->kv->n = common;
	ss->kv->adapter = adapter_number(lm);
	ss->kv->prompt = ss->n;
	ss->kv->used = ++lm->uses;
	return 0;
}

int session_start(struct lm *lm, struct session *ss, const char *system, const char *prompt,
	size_t len, int room, int64_t deadline_ms, struct err *err)
{
	size_t n = 0;
	int rc;

	*ss = (struct session){.start_ms = now_ms(), .deadline_ms = deadline_ms};
	if (!lm->infer)
		return err_set(err, EINVAL, "the model was opened for its headers only");
	rc = chat_prompt(lm->m->chat, lm->m->tokenizer, system, prompt, len, &ss->prompt, &n, err);
	if (rc == 0 && n + (size_t)room > (size_t)lm->m->context)
		rc = err_set(err, EMSGSIZE, "prompt of %zu tokens does not fit the context of %d",
			n, lm->m->context);
	ss->n = (int)n;
	if (rc == 0)
		rc = choose_snapshot(lm, ss, err);
	if (rc < 0)
		session_release(ss);
	return rc;
}

/* a long prompt's keys and values go when its call is over, all but what the bound has room for */
static void keep_bound(struct lm *lm)
{
	for (;;) {
		struct kv *oldest = NULL;
		uint64_t sum = 0;
		int holding = 0;

		for (int i = 0; i < LM_SNAPSHOTS; i++) {
			struct kv *kv = &lm->snapshot[i];

			sum += kv_bytes(kv);
			holding += kv->rows > 0;
			if (kv->rows > 0 && (!oldest || kv->used < oldest->used))
				oldest = kv;
		}
		if (sum <= lm->kept)
			return;
		kv_trim(oldest, holding > 1 ? 0 : lm->kept);
	}
}

void session_release(struct session *ss)
{
	if (ss->lm)
		keep_bound(ss->lm);
	ss->lm = NULL;
	free(ss->prompt);
	ss->prompt = NULL;
}

int session_run(struct lm *lm, struct session *ss, const struct infer_batch *batch, struct err *err)
{
	const struct infer_adapter *ad =
		lm->adapter && lm->adapter->number ? &lm->adapter->serving : NULL;
	int64_t now = now_ms();

	if (ss->deadline_ms && now >= ss->deadline_ms)
		return err_set(err, ETIMEDOUT, "model call stopped after %lld ms",
			(long long)(now - ss->start_ms));
	return infer_run(lm->infer, ss->kv, ad, batch, err);
}

void session_keep(struct session *ss, const int *token, int n)
{
	memcpy(ss->kv->token + ss->kv->n, token, (size_t)n * sizeof(int));
	ss->kv->n += n;
}
