/*
 * fuse - the session with the kernel: see fuse.h for the parts.
 */
#include "fuse.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "listing.h"
#include "park.h"
#include "reply.h"

struct session {
	struct fuse_session *se;
	pthread_t main; /* where session_run() runs */
	bool is_running;
};

/* ---- reply.h ---- */

void reply_bytes(struct fuse_req *req, const char *data, size_t len)
{
	fuse_reply_buf(req, data, len);
}

void reply_count(struct fuse_req *req, size_t n)
{
	fuse_reply_write(req, n);
}

void reply_errno(struct fuse_req *req, int no)
{
	fuse_reply_err(req, no);
}

static void on_interrupt(fuse_req_t req, void *arg)
{
	park_interrupt(arg, req);
}

void reply_interruptible(struct fuse_req *req, struct park *pk)
{
	fuse_req_interrupt_func(req, on_interrupt, pk);
}

bool reply_interrupted(struct fuse_req *req)
{
	return fuse_req_interrupted(req) != 0;
}

void poll_tell(struct fuse_pollhandle *ph)
{
	fuse_lowlevel_notify_poll(ph);
}

void poll_drop(struct fuse_pollhandle *ph)
{
	fuse_pollhandle_destroy(ph);
}

void kernel_forget(struct server *sv, uint64_t parent, const char *name)
{
	if (sv->session)
		fuse_lowlevel_notify_inval_entry(sv->session->se, parent, name, strlen(name));
}

/* ---- what no name takes, and the file system as a whole ---- */

static void no_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void no_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)mode;
	(void)dev;
	no_name(req, parent, name);
}

static void no_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	no_name(req, parent, name);
}

static void no_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	no_name(req, parent, name);
}

static void no_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	no_name(req, parent, name);
}

static void no_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	(void)mode;
	(void)fi;
	no_name(req, parent, name);
}

static void no_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	(void)value;
	(void)size;
	(void)flags;
	no_name(req, ino, name);
}

/* no blocks: df leaves it out */
static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs fs = {.f_namemax = NAME_BYTES_MAX, .f_bsize = 4096, .f_frsize = 4096};

	(void)ino;
	fuse_reply_statfs(req, &fs);
}

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* attributes that are good for nothing but the next open are not worth carrying in listings
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				  FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_WRITE);
}

static const struct fuse_lowlevel_ops operations = {
	.init = do_init,
	.lookup = do_lookup,
	.forget = do_forget,
	.forget_multi = do_forget_multi,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.access = do_access,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.releasedir = do_releasedir,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.release = do_release,
	.fsync = do_fsync,
	.poll = do_poll,
	.rename = do_rename,
	.statfs = do_statfs,
	.mknod = no_mknod,
	.mkdir = no_mkdir,
	.unlink = no_name,
	.rmdir = no_name,
	.symlink = no_symlink,
	.link = no_link,
	.create = no_create,
	.setxattr = no_setxattr,
	.removexattr = no_name,
};

/* ---- the session ---- */

int session_new(struct server *sv, int fd, bool debug, struct err *err)
{
	char name[] = "kolmfs", debug_option[] = "-d", device[32];
	char *argv[] = {name, debug ? debug_option : NULL, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(debug ? 2 : 1, argv);
	struct session *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return err_nomem(err);
	ss->se = fuse_session_new(&args, &operations, sizeof(operations), sv);
	fuse_opt_free_args(&args);
	if (!ss->se) {
		free(ss);
		return err_set(err, EIO, "cannot start a FUSE session");
	}
	snprintf(device, sizeof(device), "/dev/fd/%d", fd);
	if (fuse_session_mount(ss->se, device) < 0) {
		fuse_session_destroy(ss->se);
		free(ss);
		return err_set(err, EIO, "cannot use the FUSE descriptor");
	}
	ss->main = pthread_self();
	sv->session = ss;
	return 0;
}

int session_run(struct server *sv)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, REQUEST_THREADS);
	/* a thread that ends and comes again costs a query 100 us */
	fuse_loop_cfg_set_idle_threads(config, REQUEST_THREADS);
	rc = fuse_session_loop_mt(sv->session->se, config);
	fuse_loop_cfg_destroy(config);
	return rc > 0 ? 0 : rc;
}

void session_end(struct server *sv)
{
	fuse_session_exit(sv->session->se);
	pthread_kill(sv->session->main, SIGUSR1); /* out of its wait */
}

void session_free(struct server *sv)
{
	if (!sv->session)
		return;
	fuse_session_unmount(sv->session->se);
	fuse_session_destroy(
		sv->session->se); /* closes the descriptor: whoever still waits gets ENOTCONN */
	free(sv->session);
	sv->session = NULL;
}
