/* fs/fuse_files: a read whose answer cannot be made is answered all the same, and those that wait
 * for the same answer too. The kernel's side is played by the functions below. */
#include <criterion/criterion.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fuse.h"
#include "notify.h"
#include "opens.h"
#include "park.h"
#include "replies.h"
#include "talk.h"
#include "work.h"

enum { REQUESTS = 4 };

/* what each request was answered; a request is the address of one of these */
static struct answered {
	int times, no;
	size_t len;
	char data[64];
} requests[REQUESTS];
static struct server server;
static void (*on_error)(void);

static struct answered *answered_of(fuse_req_t req)
{
	return (struct answered *)(void *)req;
}

static fuse_req_t request(int n)
{
	return (fuse_req_t)(void *)&requests[n];
}

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &server;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	static const struct fuse_ctx ctx = {.pid = 1};

	(void)req;
	return &ctx;
}

int fuse_reply_err(fuse_req_t req, int no)
{
	void (*fn)(void) = on_error;

	answered_of(req)->times++;
	answered_of(req)->no = no;
	on_error = NULL;
	if (fn)
		fn();
	return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *data, size_t len)
{
	struct answered *an = answered_of(req);

	an->times++;
	an->len = len < sizeof(an->data) ? len : sizeof(an->data);
	if (an->len)
		memcpy(an->data, data, an->len);
	return 0;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t fn, void *arg)
{
	(void)req;
	(void)fn;
	(void)arg;
}

int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return 0;
}

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

	cr_assert_eq(nodes_new(&server.nodes, NULL), 0);
	cr_assert_eq(opens_new(&server.opens, NULL), 0);
	cr_assert_eq(park_new(&server.park, NULL), 0);
	cr_assert_eq(notify_new(&server, NULL), 0);
	cr_assert_eq(work_new(&server.work, NULL), 0);
	cr_assert_eq(replies_new(&server.replies, NULL), 0);
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
	replies_free(server.replies);
	work_free(server.work);
	notify_free(server.notify);
	park_free(server.park);
	opens_free(&server);
	nodes_free(server.nodes);
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
