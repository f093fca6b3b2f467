/* store/journal: jobs and their states, their numbers, what it makes of absurd and of damaged
 * lines. */
#include <math.h>
#include <signal.h>

#include "tests/unit/store_rig.h"

/* who reads a status reads all of it: a thousand jobs must not make that slower than a hundred */
Test(journal, stays_short)
{
	struct job_record jr, *list;
	struct stat sb;
	struct rig r;
	off_t max = 0;
	size_t n;

	rig_open_in(&r, "/dev/shm");
	for (uint64_t i = 1; i <= 1000; i++) {
		jr = (struct job_record){.verb = "eval v1", .rev = "v1", .k = NAN};
		works(journal_new(r.tn.dir, &jr, &r.err));
		cr_assert_eq(jr.id, i);
		jr.state = JOB_RUNNING;
		works(journal_append(r.tn.dir, &jr, &r.err));
		jr.state = JOB_DONE;
		works(journal_append(r.tn.dir, &jr, &r.err));
		cr_assert_eq(fstatat(r.tn.dir, "jobs.jsonl", &sb, 0), 0);
		max = sb.st_size > max ? sb.st_size : max;
	}
	cr_expect_lt(max, (64 << 10) + 1000);
	works(journal_load(r.tn.dir, &list, &n, &r.err));
	cr_assert_eq(n, 64);
	cr_expect_eq(list[0].id, 937);
	cr_expect_eq(list[63].id, 1000);
	free(list);
	rig_close(&r);
}

/* a folder in jobs/ takes its number, but none that a line of the journal cannot carry */
Test(journal, a_number_no_line_can_carry)
{
	struct job_record jr = {.verb = "step", .k = NAN}, got;
	struct rig r;

	rig_open(&r);
	works(mkdirat(r.tn.dir, "jobs/9007199254740992", 0700));
	works(mkdirat(r.tn.dir, "jobs/41", 0700));
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 42);
	works(journal_get(r.tn.dir, 42, &got, &r.err));
	works(mkdirat(r.tn.dir, "jobs/9007199254740990", 0700));
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 9007199254740991);
	works(journal_get(r.tn.dir, jr.id, &got, &r.err));
	fails(journal_new(r.tn.dir, &jr, &r.err), EOVERFLOW,
		"no job numbers left behind 9007199254740991");
	rig_close(&r);
}

/* counts no eval can have had are none, and their job is one all the same */
Test(journal, absurd_counts)
{
	struct job_record got;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "jobs.jsonl",
		"{\"job\":1,\"state\":\"done\",\"verb\":\"eval\",\"outcome\":\"ok\",\"pass\":1e300,"
		"\"total\":-1}\n");
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.pass, 0);
	cr_assert_eq(got.total, 0);
	rig_close(&r);
}

Test(journal, jobs_and_their_states)
{
	struct job_record jr = {.verb = "step epochs=1 \"x\"", .k = NAN}, got, *list;
	struct rig r;
	char name[40];
	size_t n;
	long max;

	rig_open(&r);
	works(journal_load(r.tn.dir, &list, &n, &r.err));
	cr_assert_eq(n, 0);
	free(list);
	fails(journal_get(r.tn.dir, 1, &got, &r.err), ENOENT, "no job 1");
	works(journal_rev_max(r.tn.dir, &max, &r.err));
	cr_assert_eq(max, -1);
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 1);
	cr_assert(is_there(r.tn.dir, "jobs/1"));
	jr.state = JOB_RUNNING;
	jr.started_ms = 1900000000123;
	(void)snprintf(jr.rev, sizeof(jr.rev), "v17");
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	jr.outcome = JOB_CRASHED;
	jr.signal = SIGKILL;
	jr.elapsed = 12.3;
	jr.k = 0.8746;
	jr.pass = 56;
	jr.total = 60;
	(void)snprintf(jr.error, sizeof(jr.error), "it \"broke\"\n");
	works(journal_append(r.tn.dir, &jr, &r.err));
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_DONE);
	cr_assert_eq(got.outcome, JOB_CRASHED);
	cr_assert_str_eq(job_outcome_name(got.outcome, got.signal, name), "crashed:SIGKILL");
	cr_assert_str_eq(got.verb, jr.verb);
	cr_assert_str_eq(got.error, jr.error);
	cr_assert_str_eq(got.rev, "v17");
	cr_assert_eq(got.started_ms, 1900000000123);
	cr_assert_eq(got.total, 60);
	cr_assert_float_eq(got.k, 0.8746, 0);
	cr_assert_float_eq(got.elapsed, 12.3, 0);
	works(journal_rev_max(r.tn.dir, &max, &r.err));
	cr_assert_eq(max, 17);
	rig_close(&r);
}

/* a damaged line is as if it were not there; its number is not used again */
Test(journal, damaged_lines_and_the_last_64)
{
	struct job_record jr = {.verb = "step", .k = NAN}, got, *list;
	struct rig r;
	size_t n;

	rig_open(&r);
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.state = JOB_RUNNING;
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	jr.k = 0.8746;
	works(journal_append(r.tn.dir, &jr, &r.err));
	struct buf text = get(r.tn.dir, "jobs.jsonl");

	text.data[text.len - 30] ^= 1;
	put(r.tn.dir, "jobs.jsonl", text.data, text.len);
	buf_release(&text);
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_RUNNING);
	cr_assert(isnan(got.k));
	put_text(r.tn.dir, "jobs.jsonl", "{\"job\":1,\"state\":\"qu");
	jr.state = JOB_QUEUED;
	jr.k = NAN;
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 2);
	for (int i = 3; i <= 100; i++)
		works(journal_new(r.tn.dir, &jr, &r.err));
	works(journal_load(r.tn.dir, &list, &n, &r.err));
	cr_assert_eq(n, 64);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(list[i].id, 37 + i);
	free(list);
	rig_close(&r);
}
