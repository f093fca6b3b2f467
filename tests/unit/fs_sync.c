/* fs/fuse_files: fsync(2) of captures.jsonl makes the rows durable or fails (BAD-INPUTS K04). */
#include <fcntl.h>

#include "fs_rig.h"
#include "loop/private.h"
#include "store_rig.h"

static struct {
	int calls, no; /* no: what the next one fails with */
} sync_calls;

int fdatasync(int fd)
{
	int no = sync_calls.no;

	(void)fd;
	sync_calls.calls++;
	sync_calls.no = 0;
	errno = no;
	return no ? -1 : 0;
}

static const char row[] = "{\"input\":1,\"output\":2}";
static struct fuse_file_info info;

static int fsync_of(int n)
{
	requests[n] = (struct answered){.no = -1};
	do_fsync(request(n), 2, 0, &info);
	cr_assert_eq(requests[n].times, 1);
	return requests[n].no;
}

static void open_file(const char *slug, const char *name)
{
	struct place root, folder, at;
	struct by by = {.uid = 0};
	struct node *nd;
	struct open *o;

	names_root(&root);
	cr_assert_eq(names_child(&server, &root, slug, strlen(slug), &folder, NULL), 0);
	cr_assert_eq(names_child(&server, &folder, name, strlen(name), &at, NULL), 0);
	nd = node_intern(&server, NODE_ROOT, name, &at, "");
	cr_assert_eq(open_new(&server, nd, O_WRONLY, &by, &o, NULL), 0);
	node_put(&server, nd);
	info.fh = (uint64_t)(uintptr_t)o;
}

static void close_file(void)
{
	open_close((struct open *)(uintptr_t)info.fh);
}

Test(fs_sync, rows_are_durable_or_it_fails)
{
	struct buf said = BUF_INIT;
	struct rig r;

	rig_open(&r);
	works(kolm_open(r.path, false, NULL, &server.k, &r.err));
	server.st = kolm_store(server.k);
	server_begin();
	open_file("demo", "captures.jsonl");
	works(captures_append(&r.tn, row, sizeof(row) - 1, &r.err));
	works(captures_append(&r.tn, row, sizeof(row) - 1, &r.err)); /* in a burst: not synced */
	sync_calls.calls = 0;
	cr_expect_eq(fsync_of(0), 0);
	cr_expect_geq(sync_calls.calls, 1);
	sync_calls.no = EIO;
	cr_expect_eq(fsync_of(0), EIO);
	works(replies_render(server.replies, "demo", &said));
	cr_expect_not_null(strstr(buf_str(&said), "could not make it durable"));
	cr_expect_eq(fsync_of(0), 0);
	close_file();
	/* what else is written was durable when it was taken */
	open_file("demo", "tune-config.json");
	sync_calls.calls = 0;
	cr_expect_eq(fsync_of(0), 0);
	cr_expect_eq(sync_calls.calls, 0);
	close_file();
	buf_release(&said);
	server_end();
	kolm_close(server.k);
	rig_close(&r);
}

/* the server syncs by itself, within a second; when that failed fsync(2) says so, once */
Test(fs_sync, a_failure_nobody_was_told_of)
{
	struct rig r;

	rig_open(&r);
	works(kolm_open(r.path, false, NULL, &server.k, &r.err));
	server.st = kolm_store(server.k);
	server_begin();
	open_file("demo", "captures.jsonl");
	works(loop_capture_append(server.k, "demo", row, sizeof(row) - 1, &r.err));
	sync_calls.no = EIO;
	captures_settle(server.k);
	cr_assert_eq(sync_calls.no, 0);
	cr_expect_eq(fsync_of(0), EIO);
	cr_expect_eq(fsync_of(0), 0);
	close_file();
	server_end();
	kolm_close(server.k);
	rig_close(&r);
}
