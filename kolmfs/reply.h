/*
 * reply - answers to kernel requests and messages to the kernel, for the parts that do not know
 * FUSE; fuse.c is behind it.
 */
#ifndef KOLM_REPLY_H
#define KOLM_REPLY_H

#include "server.h"

struct fuse_pollhandle;
struct fuse_req;

void reply_bytes(struct fuse_req *req, const char *data, size_t len);
void reply_count(struct fuse_req *req, size_t n);
void reply_errno(struct fuse_req *req, int no); /* 0: success */

/* reply_interruptible(req, pk): from now on park_interrupt(pk, req) is called when its client is
 * interrupted. Call without locks. */
void reply_interruptible(struct fuse_req *req, struct park *pk);
bool reply_interrupted(struct fuse_req *req);

/* poll_tell(ph): its owner should poll again. poll_drop(ph): it is not needed any more. */
void poll_tell(struct fuse_pollhandle *ph);
void poll_drop(struct fuse_pollhandle *ph);

/* kernel_forget(sv, parent, name): blocks while a request in that folder is being answered. */
void kernel_forget(struct server *sv, uint64_t parent, const char *name);

/*
 * session_new(sv, fd, debug, err): a session over the open /dev/fuse descriptor ${fd}, which it
 * takes over. session_run(): serves until the mount is gone or session_end(); 0 or -errno.
 */
int session_new(struct server *sv, int fd, bool debug, struct err *err);
int session_run(struct server *sv);
void session_end(struct server *sv);
void session_free(struct server *sv);

#endif
