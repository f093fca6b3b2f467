/*
 * lost - .lost/ takes what it is given, also when a thousand things of the name came in this
 * second, which here does not pass; nothing in it is ever written over.
 */
#include <sys/syscall.h>
#include <time.h>

#include "store/fsck_private.h"
#include "tests/unit/store_rig.h"

int clock_gettime(clockid_t clock, struct timespec *out)
{
	if (clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, out);
	*out = (struct timespec){.tv_sec = 1900000000};
	return 0;
}

static void fill(struct rig *r)
{
	char name[80];

	cr_assert_eq(mkdirat(r->st.dir, ".lost", 0700), 0);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name),
			i == 0 ? ".lost/20300317T174640Z-x" : ".lost/20300317T174640Z-x.%d", i);
		put_text(r->st.dir, name, "before");
	}
}

Test(lost, after_a_thousand_of_the_name)
{
	char copied[300], moved[300];
	struct rig r;

	rig_open(&r);
	fill(&r);
	put_text(r.st.dir, "x", "now");
	works(lost_copy(&r.st, r.st.dir, "x", "x", copied, &r.err));
	works(lost_move(&r.st, r.st.dir, "x", "x", moved, &r.err));
	cr_assert_str_eq(copied, "20300317T174640Z-x.1000");
	cr_assert_str_eq(moved, "20300317T174640Z-x.1001");
	cr_assert(same_file(r.st.dir, ".lost/20300317T174640Z-x.999", "before"));
	cr_assert(same_file(r.st.dir, ".lost/20300317T174640Z-x.1000", "now"));
	cr_assert(same_file(r.st.dir, ".lost/20300317T174640Z-x.1001", "now"));
	rig_close(&r);
}
