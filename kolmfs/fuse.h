/*
 * fuse - what the files that speak FUSE share. They alone include it:
 *
 *   fuse.c          the session, the table of operations, what is always refused
 *   fuse_request.c  who asks, may they, and requests left to a worker
 *   fuse_tree.c     names, attributes, folders, the rename that is a rollback
 *   fuse_files.c    open, read, write, poll, close
 */
#ifndef KOLM_FUSE_H
#define KOLM_FUSE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "open.h"

/* threads that take requests; so many of them may be at work on one that takes long, the rest only
 * ever answer at once */
enum { REQUEST_THREADS = 6, IN_PLACE_MAX = 4 };

struct server *server_of(fuse_req_t req);

/*
 * is_owner(req): the one who may command: the server's own user, or root. may(req, nd, mask): R_OK,
 * W_OK, X_OK by the node's mode, the server's answer to every open, lookup and listing: the kernel
 * is not asked to check (with default_permissions the rename that is a rollback would need a folder
 * that can be written, and root would pass every check).
 */
bool is_owner(fuse_req_t req);
bool may(fuse_req_t req, const struct node *nd, int mask);

/* by_of(req): for the logs; its command is looked up where it is written down, replies.h: by_name()
 */
struct by by_of(fuse_req_t req);

/* node_of(req, ino): counted; answers ESTALE when it is unknown */
struct node *node_of(fuse_req_t req, fuse_ino_t ino);

/* a request left to a worker */
struct later {
	fuse_req_t req;
	struct server *sv;
	struct node *nd; /* counted, or NULL */
	struct open *o;	 /* counted, or NULL */
	struct by by;
	size_t len;
	char data[];
};
/*
 * later(req, nd, o, data, len, fn): runs ${fn}, which may take long, with what it needs; takes over
 * both references. A few such requests run in the thread that took them, since waking another one
 * costs more than most of them; the others go to a worker. When it cannot it answers the request
 * itself and returns -errno.
 */
int later(fuse_req_t req, struct node *nd, struct open *o, const char *data, size_t len,
	void (*fn)(void *));
void later_free(struct later *la);
/* answering(): what took long is over, only the answer is left. To be called before it is given:
 * the client runs at once, often on this very processor, and its next request would find a thread
 * fewer.
 */
void answering(void);

/* the operations, each as libfuse describes it */
void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int what, struct fuse_file_info *fi);
void do_access(fuse_req_t req, fuse_ino_t ino, int mask);
void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
	const char *to, unsigned flags);
void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *fi);
void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);

#endif
