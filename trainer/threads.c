/*
 * A job is one 64-bit word: which job it is, how many tiles it has, which tile is next. Taking a
 * tile is one compare-and-swap on that word, so a worker that wakes late either takes a tile of the
 * present job (whose function cannot change before that tile is done) or finds nothing; nobody has
 * to wait for sleepers to report. Both sides spin for about as long as waking a thread takes on a
 * virtual machine, and then sleep on a futex.
 *
 * A pool that has every processor its process may use keeps each worker on one of its own, away
 * from the caller's. Left to itself a scheduler may put a woken worker behind the thread that woke
 * it, for longer than a product takes (one that packs idle processors does nearly always): two
 * threads were then no faster than one. The caller is not bound; when it has moved, the worker that
 * was there takes the place it left.
 *
 * Where another program has a processor too, the worker there is put off it for milliseconds with a
 * tile in its hands, and all wait. A worker that is late twice within a few jobs leaves the next
 * ones alone; then it is tried again. Which thread does a tile changes no bit of it.
 */
#include "trainer/threads.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TILE_BITS = 24, SPIN_NS = 100000, SPINS_A_LOOK = 32 };
enum { LATE_TILES = 3, LATE_NS = 200000, LATE_WORTH = 8, REST_JOBS = 64 };

#define TILE_MASK ((UINT64_C(1) << TILE_BITS) - 1)

struct worker {
	struct threads *pool;
	pthread_t thread;
	int index;
	int cpu;	   /* it keeps to */
	int late;	   /* LATE_WORTH for each time it was, less the jobs since; of the caller */
	_Atomic int rest;  /* jobs that it leaves alone */
	_Atomic bool runs; /* may have a tile */
};

struct threads {
	int n;
	int spare; /* the processor no worker keeps to; -1: none keeps to any */
	threads_fn *fn;
	void *arg;
	void *scratch;
	_Alignas(64) _Atomic uint64_t word;   /* job : ntiles : next */
	_Alignas(64) _Atomic uint32_t left;   /* tiles not done yet */
	_Alignas(64) _Atomic uint32_t posted; /* jobs so far; workers sleep on it */
	_Atomic uint32_t sleepers;
	_Atomic uint32_t caller_sleeps;
	_Atomic bool stop;
	struct worker worker[];
};

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* until ${at} is no longer ${value}, or is it for too long; what it is */
static uint32_t spin_while(_Atomic uint32_t *at, uint32_t value)
{
	uint32_t now = atomic_load(at);

	if (now != value)
		return now;
	for (int64_t end = now_ns() + SPIN_NS; now == value && now_ns() < end;)
		for (int i = 0; (now = atomic_load(at)) == value && i < SPINS_A_LOOK; i++)
			relax();
	return now;
}

/* for ${ns} at most; 0: without end */
static void futex_sleep(_Atomic uint32_t *at, uint32_t value, int64_t ns)
{
	struct timespec most = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	syscall(SYS_futex, (uint32_t *)at, FUTEX_WAIT_PRIVATE, value, ns > 0 ? &most : NULL, NULL,
		0);
}

static void futex_wake(_Atomic uint32_t *at, int n)
{
	syscall(SYS_futex, (uint32_t *)at, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* the next tile of the present job, -1 when all are handed out */
static int tile_take(struct threads *th)
{
	uint64_t w = atomic_load_explicit(&th->word, memory_order_acquire);

	while ((w & TILE_MASK) < ((w >> TILE_BITS) & TILE_MASK))
		if (atomic_compare_exchange_weak_explicit(
			    &th->word, &w, w + 1, memory_order_acq_rel, memory_order_acquire))
			return (int)(w & TILE_MASK);
	return -1;
}

/* how many it ran */
static int tiles_run(struct threads *th, int thread)
{
	int tile, n = 0;

	for (; (tile = tile_take(th)) >= 0; n++) {
		th->fn(th->arg, tile, thread);
		if (atomic_fetch_sub(&th->left, 1) == 1 && atomic_load(&th->caller_sleeps))
			futex_wake(&th->left, 1);
	}
	return n;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct threads *th = w->pool;
	uint32_t seen = 0;

	while (!atomic_load(&th->stop)) {
		uint32_t now = spin_while(&th->posted, seen);

		if (now == seen) {
			atomic_fetch_add(&th->sleepers, 1);
			futex_sleep(&th->posted, seen, 0);
			atomic_fetch_sub(&th->sleepers, 1);
			continue;
		}
		seen = now;
		if (atomic_load(&w->rest) > 0)
			continue;
		atomic_store(&w->runs, true);
		(void)tiles_run(th, w->index);
		atomic_store(&w->runs, false);
	}
	return NULL;
}

static void keep_to(struct worker *w, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	(void)pthread_setaffinity_np(w->thread, sizeof(one), &one); /* it runs anyhow */
	w->cpu = cpu;
}

static void workers_spread(struct threads *th)
{
	cpu_set_t may;
	int own = sched_getcpu(), cpu = -1;

	if (th->n < 2 || sched_getaffinity(0, sizeof(may), &may) < 0 || CPU_COUNT(&may) != th->n ||
		own < 0 || !CPU_ISSET((size_t)own, &may))
		return;
	for (int i = 1; i < th->n; i++) {
		do
			cpu++;
		while (cpu == own || !CPU_ISSET((size_t)cpu, &may));
		keep_to(&th->worker[i], cpu);
	}
	th->spare = own;
}

/* the worker whose processor the caller is on now takes the one that is free for it */
static void workers_make_way(struct threads *th)
{
	int cpu = th->spare < 0 ? -1 : sched_getcpu();

	for (int i = 1; cpu != th->spare && i < th->n; i++)
		if (th->worker[i].cpu == cpu) {
			keep_to(&th->worker[i], th->spare);
			th->spare = cpu;
		}
}

struct threads *threads_new(int n)
{
	struct threads *th;
	sigset_t all, old;

	if (n < 1)
		n = 1;
	size_t size = sizeof(*th) + (size_t)n * sizeof(struct worker);
	th = aligned_alloc(64, (size + 63) / 64 * 64);
	if (!th)
		return NULL;
	*th = (struct threads){
		.n = 1, .spare = -1, .scratch = aligned_alloc(THREADS_SCRATCH, THREADS_SCRATCH)};
	if (!th->scratch) {
		free(th);
		return NULL;
	}
	sigfillset(&all);
	sigdelset(&all, SIGBUS);		/* caused by the thread itself: guard.h */
	pthread_sigmask(SIG_BLOCK, &all, &old); /* signals belong to the caller's thread */
	for (int i = 1; i < n; i++) {
		th->worker[i] = (struct worker){.pool = th, .index = i};
		if (pthread_create(&th->worker[i].thread, NULL, worker_main, &th->worker[i]) != 0)
			break;
		th->n++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (th->n < n) {
		threads_free(th);
		return NULL;
	}
	workers_spread(th);
	return th;
}

void threads_free(struct threads *th)
{
	if (!th)
		return;
	atomic_store(&th->stop, true);
	atomic_fetch_add(&th->posted, 1);
	futex_wake(&th->posted, INT_MAX);
	for (int i = 1; i < th->n; i++)
		pthread_join(th->worker[i].thread, NULL);
	free(th->scratch);
	free(th);
}

void *threads_scratch(struct threads *th)
{
	return th->scratch;
}

int threads_count(const struct threads *th)
{
	return th->n;
}

/* who has a tile still is late; twice within a few jobs is too often */
static void workers_late(struct threads *th)
{
	for (int i = 1; i < th->n; i++) {
		struct worker *w = &th->worker[i];

		if (!atomic_load(&w->runs))
			continue;
		if (w->late > 0)
			atomic_store(&w->rest, REST_JOBS);
		w->late = LATE_WORTH;
	}
}

static void workers_in_time(struct threads *th)
{
	for (int i = 1; i < th->n; i++) {
		struct worker *w = &th->worker[i];

		if (atomic_load(&w->rest) > 0)
			atomic_fetch_sub(&w->rest, 1);
		else if (w->late > 0)
			w->late--;
	}
}

/* the tiles of others; a tile took the caller ${tile_ns} */
static void wait_done(struct threads *th, int64_t tile_ns)
{
	int64_t end = now_ns() + LATE_TILES * tile_ns + LATE_NS;
	bool late = false;
	uint32_t left;

	while ((left = atomic_load(&th->left)) != 0) {
		if (spin_while(&th->left, left) != left)
			continue;
		int64_t rest = end - now_ns();

		if (rest <= 0 && !late) {
			workers_late(th);
			late = true;
		}
		atomic_store(&th->caller_sleeps, 1);
		futex_sleep(&th->left, left, late ? 0 : rest);
		atomic_store(&th->caller_sleeps, 0);
	}
	if (!late)
		workers_in_time(th);
}

void threads_run(struct threads *th, int ntiles, threads_fn *fn, void *arg)
{
	if (ntiles <= 0)
		return;
	assert((uint64_t)ntiles < TILE_MASK);
	if (th->n == 1 || ntiles == 1) {
		for (int i = 0; i < ntiles; i++)
			fn(arg, i, 0);
		return;
	}
	uint64_t job =
		(atomic_load_explicit(&th->word, memory_order_relaxed) >> (2 * TILE_BITS)) + 1;

	workers_make_way(th);
	th->fn = fn;
	th->arg = arg;
	atomic_store(&th->left, (uint32_t)ntiles);
	atomic_store(&th->word, (job << (2 * TILE_BITS)) | ((uint64_t)ntiles << TILE_BITS));
	atomic_fetch_add(&th->posted, 1);
	if (atomic_load(&th->sleepers))
		futex_wake(&th->posted, th->n - 1);
	int64_t begun = now_ns();
	int n = tiles_run(th, 0);

	wait_done(th, (now_ns() - begun) / (n > 0 ? n : 1));
}
