/*
 * fuse_request - who asks, may they, and requests left to a worker.
 */
#include "fuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "work.h"

enum { GROUPS_MAX = 256 };

struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

bool is_owner(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return ctx->uid == 0 || ctx->uid == server_of(req)->owner;
}

struct by by_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct by){.uid = ctx->uid, .pid = ctx->pid};
}

struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
	struct node *nd = node_get(server_of(req), ino);

	if (!nd)
		fuse_reply_err(req, ESTALE);
	return nd;
}

/* ---- work left to a worker ---- */

void later_free(struct later *la)
{
	if (la->nd)
		node_put(la->sv, la->nd);
	open_put(la->o);
	free(la);
}

/* the server of whose IN_PLACE_MAX this thread is one */
static _Thread_local struct server *at_work_of;

void answering(void)
{
	if (at_work_of)
		atomic_fetch_sub(&at_work_of->in_place, 1);
	at_work_of = NULL;
}

int later(fuse_req_t req, struct node *nd, struct open *o, const char *data, size_t len,
	void (*fn)(void *))
{
	struct server *sv = server_of(req);
	struct later *la = malloc(sizeof(*la) + len + 1);
	struct err err = ERR_NONE;

	if (!la) {
		if (nd)
			node_put(sv, nd);
		open_put(o);
		fuse_reply_err(req, ENOMEM);
		return -ENOMEM;
	}
	*la = (struct later){.req = req, .sv = sv, .nd = nd, .o = o, .by = by_of(req), .len = len};
	if (len)
		memcpy(la->data, data, len);
	la->data[len] = '\0';
	if (atomic_fetch_add(&sv->in_place, 1) < IN_PLACE_MAX) {
		at_work_of = sv;
		fn(la);
		answering();
		return 0;
	}
	atomic_fetch_sub(&sv->in_place, 1);
	if (work_do(sv->work, fn, la, &err) == 0)
		return 0;
	fuse_reply_err(req, err.no);
	later_free(la);
	return -err.no;
}

/* is the group of -o group=G one of the client's? */
static bool is_member(fuse_req_t req)
{
	const struct server *sv = server_of(req);
	gid_t list[GROUPS_MAX];
	int n;

	if (fuse_req_ctx(req)->gid == sv->group)
		return true;
	n = fuse_req_getgroups(req, GROUPS_MAX, list);
	for (int i = 0; i < n && i < GROUPS_MAX; i++)
		if (list[i] == sv->group)
			return true;
	return false;
}

bool may(fuse_req_t req, const struct node *nd, int mask)
{
	mode_t mode = node_mode(server_of(req), &nd->at);
	mode_t needs =
		(mode_t)((mask & R_OK ? 4 : 0) | (mask & W_OK ? 2 : 0) | (mask & X_OK ? 1 : 0));

	if (is_owner(req))
		return (needs & ~(mode >> 6)) == 0;
	return (needs & ~mode & 7) == 0 || ((needs & ~(mode >> 3) & 7) == 0 && is_member(req));
}
