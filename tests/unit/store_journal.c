/* journal - what numbers the journal of jobs gives, and what it makes of absurd ones. */
#include <math.h>

#include "tests/unit/store_rig.h"

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
