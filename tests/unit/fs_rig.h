/* fs_rig.h - the kernel's side of a request, for tests that call the operations of the file server
 * themselves: what it was answered is kept. Included once by a test program. */
#ifndef KOLM_FS_RIG_H
#define KOLM_FS_RIG_H

#include <criterion/criterion.h>

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

static void server_begin(void)
{
	cr_assert_eq(nodes_new(&server.nodes, NULL), 0);
	cr_assert_eq(opens_new(&server.opens, NULL), 0);
	cr_assert_eq(park_new(&server.park, NULL), 0);
	cr_assert_eq(notify_new(&server, NULL), 0);
	cr_assert_eq(work_new(&server.work, NULL), 0);
	cr_assert_eq(replies_new(&server.replies, NULL), 0);
}

static void server_end(void)
{
	opens_free(&server);
	replies_free(server.replies);
	work_free(server.work);
	notify_free(server.notify);
	park_free(server.park);
	nodes_free(server.nodes);
}

#endif
