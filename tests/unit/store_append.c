/*
 * append - what is taken back when a line could not be made durable: that line, and nothing that
 * somebody who knows no lock wrote behind it. The disk's failing calls are made here.
 */
#include <sys/syscall.h>

#include "tests/unit/store_rig.h"

static struct {
	int dir; /* below it the file somebody else appends to, -1 nobody */
	bool sync_fails;
	bool is_cut; /* somebody empties the file as we look at its last byte */
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

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	if (disk.is_cut) {
		disk.is_cut = false;
		cr_assert_eq(ftruncate(fd, 0), 0);
		errno = 0;
	}
	return syscall(SYS_pread64, fd, data, len, at);
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

/* a line that is said to be there is there */
Test(append, to_a_file_somebody_empties)
{
	struct buf text;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl", foreign);
	disk.is_cut = true;
	works(append_line(r.tn.dir, "captures.jsonl", "{\"ours\":1}", 10, true, &r.err));
	text = get(r.tn.dir, "captures.jsonl");
	cr_assert_not_null(strstr(buf_str(&text), "{\"ours\":1}\n"));
	buf_release(&text);
	rig_close(&r);
}

Test(append, a_failure_without_a_reason_is_one)
{
	struct err err = ERR_NONE;

	errno = 0;
	cr_assert_eq(err_sys(&err, "it did half of it"), -EIO);
	cr_assert_eq(err.no, EIO);
}
