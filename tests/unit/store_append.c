/*
 * append - what is taken back when a line could not be made durable: that line, and nothing that
 * somebody who knows no lock wrote behind it. The disk's failing calls are made here.
 */
#include <sys/syscall.h>

#include "tests/unit/store_rig.h"

static struct {
	int dir; /* below it the file somebody else appends to, -1 nobody */
	bool sync_fails;
} disk = {.dir = -1};

static const char foreign[] = "{\"input\":\"theirs\",\"output\":\"THEIRS\"}\n";

/* the other one writes while we wait for the disk */
int fdatasync(int fd)
{
	int other;

	if (disk.dir >= 0) {
		other = openat(disk.dir, "captures.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);
		cr_assert_geq(other, 0);
		cr_assert_eq(write(other, foreign, strlen(foreign)), (ssize_t)strlen(foreign));
		close(other);
	}
	if (!disk.sync_fails)
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

Test(append, a_line_that_is_not_durable_is_taken_back)
{
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl", foreign);
	disk.sync_fails = true;
	fails(append_line(r.tn.dir, "captures.jsonl", "{}", 2, true, &r.err), EIO, "durable");
	cr_assert(same_file(r.tn.dir, "captures.jsonl", foreign));
	disk.sync_fails = false;
	rig_close(&r);
}

Test(append, and_no_line_of_somebody_else)
{
	char want[200];
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl", foreign);
	disk.sync_fails = true;
	disk.dir = r.tn.dir;
	fails(append_line(r.tn.dir, "captures.jsonl", "{}", 2, true, &r.err), EIO, "durable");
	disk.sync_fails = false;
	disk.dir = -1;
	(void)snprintf(want, sizeof(want), "%s{}\n%s", foreign, foreign);
	cr_assert(same_file(r.tn.dir, "captures.jsonl", want));
	rig_close(&r);
}
