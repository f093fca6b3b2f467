/*
 * work - see work.h. A list of what is to be done, and threads that take from it: one more is
 * started whenever something is queued and none is idle.
 */
#include "work.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct task {
	void (*fn)(void *arg);
	void *arg;
	struct task *next;
};

struct work {
	pthread_mutex_t lock;
	pthread_cond_t more; /* something was queued, or the end */
	pthread_cond_t less; /* a thread went */
	struct task *first, **last;
	unsigned queued, threads, idle;
	bool ending;
};

int work_new(struct work **out, struct err *err)
{
	struct work *wk = calloc(1, sizeof(*wk));
	pthread_condattr_t attr;

	if (!wk)
		return err_nomem(err);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&wk->lock, NULL);
	pthread_cond_init(&wk->more, &attr);
	pthread_cond_init(&wk->less, &attr);
	pthread_condattr_destroy(&attr);
	wk->last = &wk->first;
	*out = wk;
	return 0;
}

static struct timespec after(int seconds)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += seconds;
	return ts;
}

/* the next task, waiting for one; NULL: this thread has been idle for long, or it is over. Under
 * the lock. */
static struct task *take(struct work *wk)
{
	struct timespec until = after(WORK_IDLE_SEC);
	struct task *tk;
	int rc = 0;

	wk->idle++;
	while (!wk->first && !wk->ending && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&wk->more, &wk->lock, &until);
	wk->idle--;
	tk = wk->first;
	if (tk) {
		wk->first = tk->next;
		if (!wk->first)
			wk->last = &wk->first;
		wk->queued--;
	}
	return tk;
}

static void *worker(void *arg)
{
	struct work *wk = arg;
	struct task *tk;

	pthread_mutex_lock(&wk->lock);
	while ((tk = take(wk))) {
		pthread_mutex_unlock(&wk->lock);
		tk->fn(tk->arg);
		free(tk);
		pthread_mutex_lock(&wk->lock);
	}
	wk->threads--;
	pthread_cond_broadcast(&wk->less);
	pthread_mutex_unlock(&wk->lock);
	return NULL;
}

/* under the lock */
static int add_thread(struct work *wk)
{
	pthread_attr_t attr;
	pthread_t th;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 1 << 20);
	rc = pthread_create(&th, &attr, worker, wk);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		wk->threads++;
	return rc;
}

int work_do(struct work *wk, void (*fn)(void *arg), void *arg, struct err *err)
{
	struct task *tk = malloc(sizeof(*tk));
	int rc = 0;

	if (!tk)
		return err_nomem(err);
	*tk = (struct task){.fn = fn, .arg = arg};
	pthread_mutex_lock(&wk->lock);
	if (wk->ending)
		rc = ESHUTDOWN;
	else if (wk->queued >= wk->idle && wk->threads < WORK_THREADS_MAX)
		rc = add_thread(wk);
	if (rc && rc != ESHUTDOWN && wk->threads > 0)
		rc = 0; /* somebody will get to it */
	if (rc == 0) {
		*wk->last = tk;
		wk->last = &tk->next;
		wk->queued++;
		pthread_cond_signal(&wk->more);
	}
	pthread_mutex_unlock(&wk->lock);
	if (rc) {
		free(tk);
		return err_set(err, rc,
			rc == ESHUTDOWN ? "the server is ending" : "no thread for this request");
	}
	return 0;
}

int work_stop(struct work *wk, int seconds)
{
	struct timespec until = after(seconds);
	unsigned left;
	int rc = 0;

	pthread_mutex_lock(&wk->lock);
	wk->ending = true;
	pthread_cond_broadcast(&wk->more);
	while (wk->threads > 0 && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&wk->less, &wk->lock, &until);
	left = wk->threads;
	pthread_mutex_unlock(&wk->lock);
	return left ? -EBUSY : 0;
}

void work_free(struct work *wk)
{
	if (!wk)
		return;
	pthread_cond_destroy(&wk->more);
	pthread_cond_destroy(&wk->less);
	pthread_mutex_destroy(&wk->lock);
	free(wk);
}
