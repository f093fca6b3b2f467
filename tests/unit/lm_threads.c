/* lm_threads - the pool: every tile once, and a worker that is late is left out for a while. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "trainer/threads.h"

enum { TILES = 8, TILE_MS = 1, LATE_MS = 20, JOBS = 100, SOON = 2000 };

static struct job {
	_Atomic int runs[TILES];
	_Atomic bool by_worker;
	bool late;
} job;

static void nap(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void tile_run(void *arg, int tile, int thread)
{
	struct job *jb = arg;

	atomic_fetch_add(&jb->runs[tile], 1);
	if (thread == 1)
		atomic_store(&jb->by_worker, true);
	nap(thread == 1 && jb->late ? LATE_MS : TILE_MS);
}

static bool worker_helps(struct threads *th, bool late)
{
	job = (struct job){.late = late};
	threads_run(th, TILES, tile_run, &job);
	for (int i = 0; i < TILES; i++)
		cr_assert_eq(job.runs[i], 1, "tile %d ran %d times", i, job.runs[i]);
	return job.by_worker;
}

Test(lm_threads, a_late_worker_is_left_out_for_a_while)
{
	struct threads *th = threads_new(2);
	int helped = 0, jobs;

	cr_assert(th);
	for (int i = 0; i < JOBS; i++)
		helped += worker_helps(th, true);
	cr_assert(helped > 0 && helped < JOBS / 4, "it took part in %d of %d jobs", helped, JOBS);
	for (jobs = 0; jobs < SOON && !worker_helps(th, false); jobs++)
		;
	cr_assert_lt(jobs, SOON, "it never came back");
	threads_free(th);
}
