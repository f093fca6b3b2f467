/*
 * park - see park.h. One list. A request is taken off it while somebody looks whether it can be
 * answered, and put back if not; an interrupt that came meanwhile is found then.
 *
 * libfuse calls park_interrupt() with its request's lock held, so reply_interruptible() is called
 * without ours, and the interrupt finds its entry by the request: an entry that was answered at the
 * same moment is simply not there any more.
 */
#include "park.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "open.h"
#include "reply.h"
#include "streams.h"

struct parked {
	struct fuse_req *req;
	struct open *o; /* counted */
	size_t size;
	uint64_t off;
	struct parked *next;
};

struct park {
	pthread_mutex_t lock;
	struct parked *first;
	bool ended;
};

int park_new(struct park **out, struct err *err)
{
	struct park *pk = calloc(1, sizeof(*pk));

	if (!pk)
		return err_nomem(err);
	pthread_mutex_init(&pk->lock, NULL);
	*out = pk;
	return 0;
}

void park_free(struct park *pk)
{
	if (!pk)
		return;
	pthread_mutex_destroy(&pk->lock);
	free(pk);
}

static bool is_stream(const struct open *o)
{
	return o->nd->at.what->ready != NULL;
}

/* takes an entry off the list; under the lock */
static struct parked *unlink_at(struct parked **at)
{
	struct parked *pd = *at;

	*at = pd->next;
	pd->next = NULL;
	return pd;
}

static void free_parked(struct parked *pd)
{
	open_put(pd->o);
	free(pd);
}

/* the last word to a reader: rc as open_read() gave it */
static void answer(struct parked *pd, int rc, const struct buf *data)
{
	if (rc < 0)
		reply_errno(pd->req, -rc);
	else
		reply_bytes(pd->req, data->data, data->len);
	free_parked(pd);
}

static void answer_end(struct parked *pd)
{
	const struct name *what = pd->o->nd->at.what;
	static const struct buf nothing = {0};

	answer(pd, what->ready == wait_ready ? -ENODATA : what->ready ? 1 : -ESHUTDOWN, &nothing);
}

/* 0: it is parked; otherwise it could not be, and was answered */
static void link_parked(struct park *pk, struct parked *pd)
{
	bool has_ended, was_interrupted = false;

	pthread_mutex_lock(&pk->lock);
	has_ended = pk->ended;
	if (!has_ended) {
		was_interrupted = reply_interrupted(pd->req);
		if (!was_interrupted) {
			pd->next = pk->first;
			pk->first = pd;
		}
	}
	pthread_mutex_unlock(&pk->lock);
	if (has_ended)
		answer_end(pd);
	else if (was_interrupted)
		answer(pd, -EINTR, NULL);
}

/* answers it if it can be answered, else parks it */
static void try_parked(struct park *pk, struct parked *pd)
{
	struct buf data = BUF_INIT;
	int rc = open_read(pd->o, pd->size, pd->off, &data, NULL);

	if (rc == 0)
		link_parked(pk, pd);
	else
		answer(pd, rc, &data);
	buf_release(&data);
}

void park_read(struct server *sv, struct fuse_req *req, struct open *o, size_t size, uint64_t off)
{
	struct parked *pd = malloc(sizeof(*pd));

	if (!pd) {
		reply_errno(req, ENOMEM);
		return;
	}
	*pd = (struct parked){.req = req, .o = open_get(o), .size = size, .off = off};
	reply_interruptible(req, sv->park);
	open_get(o);
	link_parked(sv->park, pd);
	/* what it waits for may have come just before it was in the list */
	park_wake(sv, o);
	open_put(o);
}

void park_interrupt(struct park *pk, struct fuse_req *req)
{
	struct parked *pd = NULL;

	pthread_mutex_lock(&pk->lock);
	for (struct parked **at = &pk->first; *at; at = &(*at)->next) {
		if ((*at)->req == req) {
			pd = unlink_at(at);
			break;
		}
	}
	pthread_mutex_unlock(&pk->lock);
	if (pd)
		answer(pd, -EINTR, NULL);
}

/* which parked reads somebody wants to look at again */
struct pick {
	struct server *sv;
	const struct open *o; /* of this open, or, NULL: */
	enum { PICK_STREAMS, PICK_MOVED, PICK_ALL } which;
	struct look look;
};

static bool is_picked(struct pick *pi, const struct parked *pd)
{
	if (pi->o)
		return pd->o == pi->o;
	if (pi->which == PICK_ALL)
		return true;
	/* a wake-up of everybody is about jobs and events; an answer wakes its own open */
	return is_stream(pd->o) &&
	       (pi->which == PICK_STREAMS || stream_moved(pi->sv, pd->o, &pi->look));
}

static struct parked *take_matching(struct park *pk, struct pick *pi)
{
	struct parked *found = NULL, *pd;

	pthread_mutex_lock(&pk->lock);
	for (struct parked **at = &pk->first; *at;) {
		if (is_picked(pi, *at)) {
			pd = unlink_at(at);
			pd->next = found;
			found = pd;
		} else {
			at = &(*at)->next;
		}
	}
	pthread_mutex_unlock(&pk->lock);
	return found;
}

static void try_again(struct pick *pi)
{
	struct parked *pd = take_matching(pi->sv->park, pi), *next;

	for (; pd; pd = next) {
		next = pd->next;
		pd->next = NULL;
		try_parked(pi->sv->park, pd);
	}
}

void park_wake(struct server *sv, struct open *o)
{
	struct pick pi = {.sv = sv, .o = o, .which = PICK_STREAMS};

	try_again(&pi);
}

void park_look(struct server *sv)
{
	struct pick pi = {.sv = sv, .which = PICK_MOVED};

	try_again(&pi);
}

void park_end(struct server *sv)
{
	struct pick pi = {.sv = sv, .which = PICK_ALL};
	struct parked *pd, *next;

	pthread_mutex_lock(&sv->park->lock);
	sv->park->ended = true;
	pthread_mutex_unlock(&sv->park->lock);
	for (pd = take_matching(sv->park, &pi); pd; pd = next) {
		next = pd->next;
		answer_end(pd);
	}
}
