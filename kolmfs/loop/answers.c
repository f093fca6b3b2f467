/*
 * answers - see answers.h. Each request has one slot, by the hash of all that is in it; the request
 * itself is kept and compared.
 */
#include "loop/answers.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct kept {
	struct buf request, text;
};

struct answers {
	pthread_mutex_t lock;
	struct kept slot[ANSWERS_KEPT];
};

struct answers *answers_new(void)
{
	struct answers *as = calloc(1, sizeof(*as));

	if (as != NULL)
		pthread_mutex_init(&as->lock, NULL);
	return as;
}

void answers_free(struct answers *as)
{
	if (as == NULL)
		return;
	for (size_t i = 0; i < ANSWERS_KEPT; i++) {
		buf_release(&as->slot[i].request);
		buf_release(&as->slot[i].text);
	}
	pthread_mutex_destroy(&as->lock);
	free(as);
}

/* all that decides the answer; false: no memory */
static bool pack(const struct rag_request *rq, struct buf *out)
{
	const uint64_t head[] = {rq->k, rq->after, (uint64_t)rq->form << 1 | rq->explain, rq->len,
		rq->path != NULL ? rq->path_len : UINT64_MAX,
		rq->mode != NULL ? rq->mode_len : UINT64_MAX};

	(void)buf_add(out, head, sizeof(head));
	(void)buf_add(out, rq->text, rq->len);
	if (rq->path != NULL)
		(void)buf_add(out, rq->path, rq->path_len);
	if (rq->mode != NULL)
		(void)buf_add(out, rq->mode, rq->mode_len);
	return !out->failed;
}

static struct kept *slot_of(struct answers *as, const struct buf *request)
{
	return &as->slot[XXH3_64bits(request->data, request->len) % ANSWERS_KEPT];
}

static bool is_of(const struct kept *kp, const struct buf *request)
{
	return kp->request.len == request->len &&
	       memcmp(kp->request.data, request->data, request->len) == 0;
}

bool answers_find(struct answers *as, const struct rag_request *rq, struct buf *out)
{
	struct buf request = BUF_INIT;
	bool is_there = false;

	if (pack(rq, &request)) {
		const struct kept *kp = slot_of(as, &request);

		pthread_mutex_lock(&as->lock);
		is_there =
			is_of(kp, &request) && buf_add(out, buf_str(&kp->text), kp->text.len) == 0;
		pthread_mutex_unlock(&as->lock);
	}
	buf_release(&request);
	return is_there;
}

void answers_keep(struct answers *as, const struct rag_request *rq, const char *text, size_t len)
{
	struct kept fresh = {BUF_INIT, BUF_INIT};

	if (pack(rq, &fresh.request) && fresh.request.len + len <= ANSWER_KEPT_BYTES &&
		buf_add(&fresh.text, text, len) == 0) {
		struct kept *kp = slot_of(as, &fresh.request), old;

		pthread_mutex_lock(&as->lock);
		old = *kp;
		*kp = fresh;
		pthread_mutex_unlock(&as->lock);
		fresh = old;
	}
	buf_release(&fresh.request);
	buf_release(&fresh.text);
}
