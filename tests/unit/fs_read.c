/* fs/fuse_files: a read whose answer cannot be made is answered all the same, and those that wait
 * for the same answer too. The kernel's side is played by the functions below. */
#include <ctype.h>
#include <fcntl.h>

#include "fs_rig.h"

/* ---- a file that answers in capitals ---- */

static int show_nothing(struct server *sv, const struct place *at, struct buf *out, struct err *err)
{
	(void)sv;
	(void)at;
	(void)out;
	(void)err;
	return 0;
}

static int shout(struct server *sv, const struct place *at, const char *text, size_t len,
	struct buf *out, struct err *err)
{
	(void)sv;
	(void)at;
	for (size_t i = 0; i < len; i++)
		buf_putc(out, (char)toupper((unsigned char)text[i]));
	return out->failed ? err_nomem(err) : 0;
}

static const struct name shouter = {.name = "shouter",
	.mode = 0600,
	.flags = NAME_QUICK,
	.render = show_nothing,
	.write = input_write,
	.answer = shout};
static struct fuse_file_info info;

static void ask(int n)
{
	do_read(request(n), 2, 4096, 0, &info);
}

static void ask_second(void)
{
	ask(1);
}

static void put(const char *text)
{
	struct by by = {.uid = 0};

	cr_assert_eq(open_write((struct open *)(uintptr_t)info.fh, text, strlen(text), &by, NULL),
		(ssize_t)strlen(text));
}

static struct node *begin(void)
{
	struct place at = {.what = &shouter};
	struct by by = {.uid = 0};
	struct node *nd;
	struct open *o;

	server_begin();
	nd = node_intern(&server, NODE_ROOT, "shouter", &at, "");
	cr_assert_not_null(nd);
	cr_assert_eq(open_new(&server, nd, O_RDWR, &by, &o, NULL), 0);
	info.fh = (uint64_t)(uintptr_t)o;
	return nd;
}

static void end(struct node *nd)
{
	open_close((struct open *)(uintptr_t)info.fh);
	node_put(&server, nd);
	server_end();
}

Test(fs_read, an_answer_nobody_can_make)
{
	struct node *nd = begin();

	put("hello\n");
	/* every request thread is at work, and no worker is to be had; while the first read is
	 * refused a second one comes, and waits for the answer the first was to make */
	atomic_store(&server.in_place, IN_PLACE_MAX);
	cr_assert_eq(work_stop(server.work, 0), 0);
	on_error = ask_second;
	ask(0);
	cr_expect_eq(requests[0].times, 1);
	cr_expect_eq(requests[0].no, ESHUTDOWN);
	cr_expect_eq(requests[1].times, 1, "parked for ever");
	cr_expect_eq(requests[1].no, ESHUTDOWN);
	/* the next question is answered, and is not glued to the one before */
	atomic_store(&server.in_place, 0);
	put("again\n");
	ask(2);
	cr_expect_eq(requests[2].times, 1);
	cr_expect_eq(requests[2].len, 5);
	cr_expect_eq(memcmp(requests[2].data, "AGAIN", 5), 0);
	end(nd);
}

/* who was refused asks again and gets the answer to what was written */
Test(fs_read, the_next_read_asks_again)
{
	struct node *nd = begin();

	put("hello\n");
	atomic_store(&server.in_place, IN_PLACE_MAX);
	cr_assert_eq(work_stop(server.work, 0), 0);
	ask(0);
	cr_expect_eq(requests[0].no, ESHUTDOWN);
	atomic_store(&server.in_place, 0);
	ask(1);
	cr_expect_eq(requests[1].times, 1);
	cr_expect_eq(requests[1].len, 5);
	cr_expect_eq(memcmp(requests[1].data, "HELLO", 5), 0);
	end(nd);
}
