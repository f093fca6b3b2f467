/* loop_nocases - an artifact that carries no eval case has nothing to be measured by (BAD-INPUTS
 * E01). */
#include "loop_rig.h"

#include "artifact_craft.h"

Test(loop_nocases, nothing_to_measure)
{
	struct signed_parts parts = {.evals = "{\"cases\":[]}"};
	struct buf zip = BUF_INIT;
	uint64_t job = 0;
	struct rig r;

	rig_open(&r);
	craft_signed(&parts, &zip);
	(void)snprintf(r.artifact, sizeof(r.artifact), "%s/bare.kolm", r.path);
	int fd = open(r.artifact, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	works(write_all(fd, zip.data, zip.len, &r.err));
	close(fd);
	works(init(&r, NULL));
	fails(loop_eval(r.k, "bare", "v0", 0, &r.by, &job, &r.err), EINVAL,
		"no eval cases: nothing to measure");
	cr_expect_eq(job, 0, "a refused eval has no job");
	cr_expect(!store_has(&r, "tune/bare/revisions/v0/eval.json"));
	buf_release(&zip);
	rig_close(&r);
}
