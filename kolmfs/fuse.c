/*
 * fuse - requests of the kernel to nodes and opens, and back. The only file that knows FUSE.
 *
 * A few request threads; none of them ever waits: what may take long (commands, queries, artifacts)
 * is answered from a worker (work.c), what must wait is parked (park.c). Synthetic files are
 * direct_io with timeouts 0, so that a lookup before each open tells their true size; files that
 * never change are cached.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/hash.h"
#include "listing.h"
#include "notify.h"
#include "open.h"
#include "park.h"
#include "reply.h"
#include "replies.h"
#include "work.h"

enum { REQUEST_THREADS = 4, STAT_FRESH_MS = 200 };
#define CACHED_SEC 3600.0

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

/* ---- who asks ---- */

static struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool is_owner(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return ctx->uid == 0 || ctx->uid == server_of(req)->owner;
}

static struct by by_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct by by = {.uid = ctx->uid, .pid = ctx->pid};
	char path[48];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)ctx->pid);
	f = fopen(path, "re");
	if (f) {
		if (fgets(by.comm, sizeof(by.comm), f))
			by.comm[strcspn(by.comm, "\n")] = '\0';
		fclose(f);
	}
	return by;
}

/* a node of a request, counted; answers ESTALE when it is unknown */
static struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
	struct node *nd = node_get(server_of(req), ino);

	if (!nd)
		fuse_reply_err(req, ESTALE);
	return nd;
}

/* ---- work left to a worker ---- */

struct later {
	fuse_req_t req;
	struct server *sv;
	struct node *nd; /* counted, or NULL */
	struct open *o;	 /* counted, or NULL */
	struct by by;
	size_t len;
	char data[];
};

static void later_free(struct later *la)
{
	if (la->nd)
		node_put(la->sv, la->nd);
	open_put(la->o);
	free(la);
}

/* runs ${fn} in a worker with what it needs; takes over both references. Answers the request itself
 * when it cannot. */
static void later(fuse_req_t req, struct node *nd, struct open *o, const char *data, size_t len,
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
		return;
	}
	*la = (struct later){.req = req, .sv = sv, .nd = nd, .o = o, .by = by_of(req), .len = len};
	if (len)
		memcpy(la->data, data, len);
	la->data[len] = '\0';
	if (work_do(sv->work, fn, la, &err) < 0) {
		fuse_reply_err(req, err.no);
		later_free(la);
	}
}

/* ---- names ---- */

static void reply_child(fuse_req_t req, struct server *sv, struct node *parent, const char *name)
{
	struct fuse_entry_param en = {0};
	struct err err = ERR_NONE;
	struct node *nd;
	int rc = node_lookup(sv, parent, name, &nd, &en.attr, &err);

	if (rc < 0) {
		fuse_reply_err(req, -rc);
		return;
	}
	en.ino = nd->id;
	en.generation = 1;
	en.attr_timeout = nd->at.what && (nd->at.what->flags & NAME_CACHED) ? CACHED_SEC : 0;
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

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *sv = server_of(req);
	struct node *nd = node_of(req, parent);

	if (!nd)
		return;
	if (names_is_slow(&nd->at, name)) {
		later(req, nd, NULL, name, strlen(name), lookup_later);
		return;
	}
	reply_child(req, sv, nd, name);
	node_put(sv, nd);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	node_forget(server_of(req), ino, n);
	fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
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

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st,
			nd->at.what && (nd->at.what->flags & NAME_CACHED) ? CACHED_SEC : 0);
}

static void getattr_later(void *arg)
{
	struct later *la = arg;

	reply_attr(la->req, la->nd);
	later_free(la);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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

static void do_setattr(
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

static bool may(fuse_req_t req, const struct node *nd, int mask)
{
	mode_t mode = nd->at.folder ? 0500 : nd->at.what->mode;

	if (!is_owner(req) && (!server_of(req)->others || (mode & 0200) || (mask & W_OK)))
		return false;
	return !((mask & R_OK) && !(mode & 0400)) && !((mask & W_OK) && !(mode & 0200)) &&
	       !((mask & X_OK) && !nd->at.folder);
}

static void do_access(fuse_req_t req, fuse_ino_t ino, int mask)
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

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req); /* a request is gone once it is answered */
	struct node *nd = node_of(req, ino);

	(void)fi;
	if (!nd)
		return;
	if (!nd->at.folder) {
		fuse_reply_err(req, ENOTDIR);
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

static void do_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
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

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	listing_free((struct listing *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* ---- files ---- */

static struct open *open_of(const struct fuse_file_info *fi)
{
	return (struct open *)(uintptr_t)fi->fh;
}

static int access_mask(int flags)
{
	int how = flags & O_ACCMODE;

	return how == O_RDONLY ? R_OK : how == O_WRONLY ? W_OK : R_OK | W_OK;
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *sv = server_of(req);
	struct node *nd = node_of(req, ino);
	struct err err = ERR_NONE;
	struct by by = by_of(req);
	struct open *o = NULL;
	char key[2 * SLUG_BYTES];
	int rc;

	if (!nd)
		return;
	rc = nd->at.folder			    ? -EISDIR
	     : may(req, nd, access_mask(fi->flags)) ? open_new(sv, nd, fi->flags, &by, &o, &err)
						    : -EACCES;
	if (rc < 0) {
		if (rc == -EUCLEAN || rc == -ESTALE ||
			rc == -EKEYREJECTED) { /* the store is not well: say so where people look */
			names_key(&nd->at, key);
			refused(sv, key, &by, &err);
		}
		fuse_reply_err(req, -rc);
		node_put(sv, nd);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)o;
	if (nd->at.what->flags & NAME_CACHED)
		fi->keep_cache = 1;
	else
		fi->direct_io = 1;
	if (fuse_reply_open(req, fi) < 0)
		open_close(o);
	node_put(sv, nd);
}

static void do_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);
	struct buf data = BUF_INIT;
	struct err err = ERR_NONE;
	int rc = open_read(o, size, (uint64_t)off, &data, &err);

	(void)ino;
	if (rc == 0)
		park_read(server_of(req), req, o, size, (uint64_t)off);
	else if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, data.data, data.len);
	buf_release(&data);
}

static void write_later(void *arg)
{
	struct later *la = arg;
	struct err err = ERR_NONE;
	ssize_t n = open_write(la->o, la->data, la->len, &la->by, &err);

	if (n < 0)
		fuse_reply_err(la->req, (int)-n);
	else
		fuse_reply_write(la->req, (size_t)n);
	later_free(la);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
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
	fuse_reply_err(la->req, 0);
	later_free(la);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open *o = open_of(fi);

	(void)ino;
	if (!open_needs_flush(o) || work_do(server_of(req)->work, close_task, o, NULL) < 0)
		open_close(o);
	fuse_reply_err(req, 0);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void do_poll(
	fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
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

/* ---- what is not a file's business ---- */

static void rollback_later(void *arg)
{
	struct later *la = arg;
	struct err err = ERR_NONE;
	struct head now;
	int rc = loop_rollback(la->sv->k, la->nd->at.slug, &la->by, &now, &err);

	if (rc < 0)
		refused(la->sv, la->nd->at.slug, &la->by, &err);
	else
		replies_set(la->sv, la->nd->at.slug, "ok");
	fuse_reply_err(la->req, -rc);
	later_free(la);
}

/* mv head.prev HEAD, or the exchange of the two, is a rollback */
static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
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
