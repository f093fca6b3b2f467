/*
 * fuse_tree - names, attributes and folders.
 *
 * Synthetic files have timeouts 0, so that a lookup before each open tells their true size; files
 * that never change are cached.
 */
#include "fuse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "listing.h"
#include "notify.h"
#include "replies.h"

enum { STAT_FRESH_MS = 200 };
#define CACHED_SEC 3600.0 /* attributes of what never changes */
#define FOLDER_SEC 1.0

static double attr_seconds(const struct node *nd)
{
	/* the root's are what tells a dead server's mount from one that lives */
	if (nd->at.folder)
		return nd->id == NODE_ROOT ? 0 : FOLDER_SEC;
	return nd->at.what->flags & NAME_CACHED ? CACHED_SEC : 0;
}

/* ---- names ---- */

static void reply_child(fuse_req_t req, struct server *sv, struct node *parent, const char *name)
{
	struct fuse_entry_param en = {0};
	struct err err = ERR_NONE;
	struct node *nd;
	int rc = node_lookup(sv, parent, name, &nd, &en.attr, &err);

	answering();
	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	en.ino = nd->id;
	en.generation = 1;
	en.attr_timeout = attr_seconds(nd);
	/* a folder of the table is there as long as what it lies in; slugs, indexes, jobs and
	 * revisions come and go, also by other processes */
	if (nd->at.folder && nd->at.what)
		en.entry_timeout = FOLDER_SEC;
	if (fuse_reply_entry(req, &en) < 0) /* interrupted: the kernel does not know it */
		node_forget(sv, nd->id, 1);
	node_put(sv, nd);
}

static void lookup_later(void *arg)
{
	struct later *la = arg;

	reply_child(la->req, la->sv, la->nd, la->data);
	later_free(la);
}

void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *sv = server_of(req);
	struct node *nd = node_of(req, parent);

	if (!nd)
		return;
	if (!is_owner(req) && !may(req, nd, X_OK)) {
		fuse_reply_err(req, EACCES);
		node_put(sv, nd);
		return;
	}
	if (names_is_slow(&nd->at, name)) {
		later(req, nd, NULL, name, strlen(name), lookup_later);
		return;
	}
	reply_child(req, sv, nd, name);
	node_put(sv, nd);
}

void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	node_forget(server_of(req), ino, n);
	fuse_reply_none(req);
}

void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		node_forget(server_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, struct node *nd)
{
	struct err err = ERR_NONE;
	struct stat st;
	/* a path was looked up, and rendered, just before: what an fstat() then says is the size of
	 * that */
	int rc = node_stat(server_of(req), nd, STAT_FRESH_MS, &st, &err);

	answering();
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, attr_seconds(nd));
}

static void getattr_later(void *arg)
{
	struct later *la = arg;

	reply_attr(la->req, la->nd);
	later_free(la);
}

void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);

	(void)fi;
	if (!nd)
		return;
	if (nd->at.what && (nd->at.what->flags & NAME_SLOW)) {
		later(req, nd, NULL, NULL, 0, getattr_later);
		return;
	}
	reply_attr(req, nd);
	node_put(sv, nd);
}

/* times may be set and are not kept; truncating to 0 is what shells do before they write, and how
 * notify.c speaks to inotify */
static int check_setattr(fuse_req_t req, const struct node *nd, const struct stat *attr, int what)
{
	if (what & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		return EPERM;
	if (!(what & FUSE_SET_ATTR_SIZE) || notify_is_own(server_of(req), fuse_req_ctx(req)->pid))
		return 0;
	if (!is_owner(req))
		return EACCES;
	return attr->st_size == 0 && nd->at.what && (nd->at.what->mode & 0200) ? 0 : EPERM;
}

void do_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int what, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);
	int no;

	(void)fi;
	if (!nd)
		return;
	no = check_setattr(req, nd, attr, what);
	if (no)
		fuse_reply_err(req, no);
	else
		reply_attr(req, nd);
	node_put(sv, nd);
}

void do_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);

	if (!nd)
		return;
	fuse_reply_err(req, may(req, nd, mask) ? 0 : EACCES);
	node_put(sv, nd);
}

/* ---- folders ---- */

static void open_folder(fuse_req_t req, struct server *sv, struct node *nd)
{
	struct fuse_file_info fi = {0};
	struct err err = ERR_NONE;
	struct listing *ls;
	int rc = listing_new(sv, &nd->at, &ls, &err);

	answering();
	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	fi.fh = (uint64_t)(uintptr_t)ls;
	if (fuse_reply_open(req, &fi) < 0)
		listing_free(ls);
}

static void opendir_later(void *arg)
{
	struct later *la = arg;

	open_folder(la->req, la->sv, la->nd);
	later_free(la);
}

void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);

	(void)fi;
	if (!nd)
		return;
	if (!nd->at.folder) {
		fuse_reply_err(req, ENOTDIR);
	} else if (!may(req, nd, R_OK)) {
		fuse_reply_err(req, EACCES);
	} else if (nd->at.folder->flags & NAME_SLOW) {
		later(req, nd, NULL, NULL, 0, opendir_later);
		return;
	} else {
		open_folder(req, sv, nd);
	}
	node_put(sv, nd);
}

static uint64_t child_number(const struct node *nd, const char *name)
{
	char path[STORE_PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s%s%s", nd->path, *nd->path ? "/" : "", name);

	return inode_number(path, n > 0 && (size_t)n < sizeof(path) ? (size_t)n : 0);
}

void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	const struct listing *ls = (const struct listing *)(uintptr_t)fi->fh;
	struct node *nd = node_of(req, ino);
	size_t used = 0;
	char *page;

	if (!nd)
		return;
	page = malloc(size);
	if (!page) {
		fuse_reply_err(req, ENOMEM);
		node_put(sv, nd);
		return;
	}
	for (size_t i = (size_t)off; i < ls->n; i++) {
		const char *entry = ls->names.data + ls->at[i];
		struct stat st = {.st_ino = i < 2 ? nd->id : child_number(nd, entry + 1),
			.st_mode = *entry == 'd' ? S_IFDIR : S_IFREG};
		size_t n = fuse_add_direntry(
			req, page + used, size - used, entry + 1, &st, (off_t)i + 1);

		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, page, used);
	free(page);
	node_put(sv, nd);
}

void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	listing_free((struct listing *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* ---- what is not a file's business ---- */

static void rollback_later(void *arg)
{
	struct later *la = arg;
	struct err err = ERR_NONE;
	struct head now;
	int rc;

	by_name(&la->by);
	rc = loop_rollback(la->sv->k, la->nd->at.slug, NULL, &la->by, &now, &err);
	if (rc < 0)
		refused(la->sv, la->nd->at.slug, &la->by, &err);
	else
		replies_set(la->sv, la->nd->at.slug, "ok");
	answering();
	fuse_reply_err(la->req, -rc);
	later_free(la);
}

/* mv head.prev HEAD, or the exchange of the two, is a rollback */
void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
	const char *to, unsigned flags)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, parent);
	bool is_forth, is_back;

	if (!nd)
		return;
	is_forth = strcmp(name, "head.prev") == 0 && strcmp(to, "HEAD") == 0;
	is_back = strcmp(name, "HEAD") == 0 && strcmp(to, "head.prev") == 0;
	if (parent == to_parent && *nd->at.slug && nd->at.folder && nd->at.folder->names &&
		(flags & ~2u) == 0 && (is_forth || (is_back && flags == 2)) && is_owner(req) &&
		!atomic_load(&sv->closing)) {
		later(req, nd, NULL, NULL, 0, rollback_later);
		return;
	}
	fuse_reply_err(req, EPERM);
	node_put(sv, nd);
}
