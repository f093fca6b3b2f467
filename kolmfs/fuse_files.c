/*
 * fuse_files - open, read, write, poll and close. No request thread waits: what may take long is
 * answered from a worker (work.c), what must wait is parked (park.c).
 */
#include "fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "park.h"
#include "replies.h"
#include "work.h"

static struct open *open_of(const struct fuse_file_info *fi)
{
	return (struct open *)(uintptr_t)fi->fh;
}

static int access_mask(int flags)
{
	int how = flags & O_ACCMODE;

	return how == O_RDONLY ? R_OK : how == O_WRONLY ? W_OK : R_OK | W_OK;
}

/* a client that may not: its server's own log says who tried to command */
static int not_yours(fuse_req_t req, const struct node *nd, int flags)
{
	struct err err = ERR_NONE;
	struct by by;
	char key[2 * SLUG_BYTES];

	if (is_owner(req) || (flags & O_ACCMODE) == O_RDONLY || !(nd->at.what->mode & 0200))
		return -EACCES;
	by = by_of(req);
	err_set(&err, EACCES, "%s is written by its owner only", nd->at.what->name);
	names_key(&nd->at, key);
	log_refusal(key, &by, &err);
	return -EACCES;
}

static int open_file(fuse_req_t req, struct node *nd, int flags, struct open **out)
{
	struct server *sv = server_of(req);
	struct err err = ERR_NONE;
	struct by by = by_of(req);
	char key[2 * SLUG_BYTES];
	int rc = open_new(sv, nd, flags, &by, out, &err);

	if (rc != -EUCLEAN && rc != -ESTALE && rc != -EKEYREJECTED && rc != -EIO)
		return rc;
	/* the store is not well: say so where people look */
	names_key(&nd->at, key);
	refused(sv, key, &by, &err);
	return rc;
}

void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);
	struct open *o = NULL;
	int rc;

	if (!nd)
		return;
	if (nd->at.folder)
		rc = -EISDIR;
	else if (!may(req, nd, access_mask(fi->flags)))
		rc = not_yours(req, nd, fi->flags);
	else
		rc = open_file(req, nd, fi->flags, &o);
	if (rc < 0) {
		fuse_reply_err(req, -rc);
		node_put(sv, nd);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)o;
	if (nd->at.what->flags & NAME_CACHED)
		fi->keep_cache = 1;
	else
		fi->direct_io = 1;
	fi->noflush = !open_needs_flush(o);
	if (fuse_reply_open(req, fi) < 0)
		open_close(o);
	node_put(sv, nd);
}

static void reply_read(fuse_req_t req, struct open *o, size_t size, uint64_t off)
{
	struct buf data = BUF_INIT;
	struct err err = ERR_NONE;
	int rc = open_read(o, size, off, &data, &err);

	answering();
	if (rc == 0)
		park_read(o->sv, req, o, size, off);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, data.data, data.len);
	buf_release(&data);
}

struct wanted {
	size_t size;
	uint64_t off;
};

static void read_later(void *arg)
{
	struct later *la = arg;
	struct wanted wt;

	memcpy(&wt, la->data, sizeof(wt));
	open_answer(la->o);
	reply_read(la->req, la->o, wt.size, wt.off);
	later_free(la);
}

void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct wanted wt = {size, (uint64_t)off};
	struct open *o = open_of(fi);

	(void)ino;
	if (!open_is_asked(o)) {
		reply_read(req, o, size, wt.off);
		return;
	}
	open_get(o); /* once it is answered the file may be closed */
	if (later(req, NULL, open_get(o), (const char *)&wt, sizeof(wt), read_later) < 0)
		open_not_asked(o);
	open_put(o);
}

static void write_later(void *arg)
{
	struct later *la = arg;
	struct err err = ERR_NONE;
	ssize_t n = open_write(la->o, la->data, la->len, &la->by, &err);

	answering();
	if (n < 0)
		fuse_reply_err(la->req, (int)-n);
	else
		fuse_reply_write(la->req, (size_t)n);
	later_free(la);
}

void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);

	(void)ino;
	(void)off;
	if (atomic_load(&server_of(req)->closing))
		fuse_reply_err(req, ESHUTDOWN);
	else if (!is_owner(req))
		fuse_reply_err(req, EACCES);
	else
		later(req, NULL, open_get(o), data, size, write_later);
}

static void flush_later(void *arg)
{
	struct later *la = arg;

	open_flush(la->o);
	answering();
	fuse_reply_err(la->req, 0);
	later_free(la);
}

void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);

	(void)ino;
	if (open_needs_flush(o))
		later(req, NULL, open_get(o), NULL, 0, flush_later);
	else
		fuse_reply_err(req, 0);
}

static void close_task(void *arg)
{
	open_close(arg);
}

void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);

	(void)ino;
	if (!open_needs_flush(o) || work_do(server_of(req)->work, close_task, o, NULL) < 0)
		open_close(o);
	fuse_reply_err(req, 0);
}

static void fsync_later(void *arg)
{
	struct later *la = arg;
	const struct open *o = la->o;
	struct err err = ERR_NONE;
	char key[2 * SLUG_BYTES];
	int rc = o->nd->at.what->sync(o->sv, &o->nd->at, &err);

	if (rc < 0) {
		names_key(&o->nd->at, key);
		refused(o->sv, key, &la->by, &err);
	}
	answering();
	fuse_reply_err(la->req, -rc);
	later_free(la);
}

void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);

	(void)ino;
	(void)datasync;
	if (o->nd->at.what->sync)
		later(req, NULL, open_get(o), NULL, 0, fsync_later);
	else
		fuse_reply_err(req, 0); /* what is written elsewhere is durable once it is taken */
}

void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct open *o = open_of(fi);
	const struct name *what = o->nd->at.what;
	unsigned events = 0;

	(void)ino;
	open_poll(o, ph);
	if ((fi->flags & O_ACCMODE) != O_WRONLY && open_ready(o))
		events |= POLLIN | POLLRDNORM;
	if (what->mode & 0200)
		events |= POLLOUT | POLLWRNORM;
	if (what->watch && open_changed(o))
		events |= POLLPRI | POLLERR;
	fuse_reply_poll(req, events);
}
