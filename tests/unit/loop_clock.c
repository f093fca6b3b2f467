/* loop/job: somebody sets the clock, an hour on each time it is read; what is waited for and what
 * is measured goes by another. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "loop_rig.h"

static atomic_int hours;
static atomic_bool is_set;

/* in the place of libc's, for all that is linked here */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	long rc = syscall(SYS_clock_gettime, clock, ts);

	if (rc == 0 && clock == CLOCK_REALTIME && atomic_load(&is_set))
		ts->tv_sec += 3600 * (atomic_fetch_add(&hours, 1) + 1);
	return (int)rc;
}

Test(loop_clock, a_job_takes_as_long_as_it_takes, .timeout = 60)
{
	struct rig r;
	struct index_options o;
	struct job_record jr;
	uint64_t id;
	int64_t before;

	rig_open(&r);
	index_options_default(&o);
	(void)snprintf(o.dir, sizeof(o.dir), "%s/docs", r.path);
	(void)snprintf(o.name, sizeof(o.name), "docs");
	cr_assert_eq(mkdir(o.dir, 0700), 0);
	(void)snprintf(o.ext, sizeof(o.ext), "md");
	{
		char path[STORE_PATH_BYTES + 8];
		int fd;

		(void)snprintf(path, sizeof(path), "%s/a.md", o.dir);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		cr_assert_eq(write_all(fd, "some words\n", 11, NULL), 0);
		close(fd);
	}
	before = time_now();
	atomic_store(&is_set, true);
	works(loop_index(r.k, &o, &r.by, &id, &r.err));
	jr = job_end(&r, NULL, id);
	atomic_store(&is_set, false);
	cr_expect(jr.state == JOB_DONE && jr.outcome == JOB_OK, "%s", jr.error);
	cr_expect(jr.elapsed > 0 && jr.elapsed < 60, "%g", jr.elapsed);
	/* and when it began is what the clock said then */
	cr_expect_geq(jr.started_ms - before, 3600 * 1000);
	rig_close(&r);
}

Test(loop_clock, one_that_runs_has_run_as_long_as_it_has)
{
	struct rig r;
	struct job_record jr;
	struct job *jb;

	rig_open(&r);
	atomic_store(&is_set, true);
	jb = job_new(r.k, JOB_INDEX, NULL, &r.by);
	cr_assert_not_null(jb);
	jb->rec.id = 3;
	jb->rec.state = JOB_RUNNING;
	jb->rec.started_ms = time_now();
	jb->begun = clock_ms() - 5000;
	r.k->jobs = jb;
	works(kolm_job(r.k, NULL, 3, &jr, &r.err));
	cr_expect(jr.elapsed >= 5 && jr.elapsed < 60, "%g", jr.elapsed);
	r.k->jobs = NULL;
	free(jb);
	rig_close(&r);
}

/* another process is at work: it ends after a while, and says so in the journal */
static void *ends_soon(void *arg)
{
	struct rig *r = arg;
	struct job_record jr = {.id = 1, .state = JOB_DONE, .verb = "index /x name=x", .k = NAN};

	usleep(200000);
	return (void *)(intptr_t)journal_append(r->k->st.rag, &jr, &r->err);
}

Test(loop_clock, a_clock_that_is_set_holds_nobody_who_waits, .timeout = 30)
{
	struct job_record jr = {.id = 1, .state = JOB_RUNNING, .verb = "index /x name=x", .k = NAN};
	struct rig r;
	pthread_t th;
	void *rc;

	rig_open(&r);
	jr.started_ms = time_now();
	works(journal_append(r.k->st.rag, &jr, &r.err));
	atomic_store(&is_set, true);
	cr_assert_eq(pthread_create(&th, NULL, ends_soon, &r), 0);
	works(kolm_job_wait(r.k, NULL, 1, NULL, NULL, &jr, &r.err));
	atomic_store(&is_set, false);
	cr_expect_eq(jr.state, JOB_DONE);
	pthread_join(th, &rc);
	cr_expect_eq((intptr_t)rc, 0);
	rig_close(&r);
}
