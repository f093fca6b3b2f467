/*
 * kolmfs - the file server: start, signals, end. One process per store.
 *
 * Order of a start: the spawner is forked first, while there is nothing to inherit; the store is
 * opened and repaired; the spawner mounts and hands the /dev/fuse descriptor over; the walls go up;
 * then threads: the request threads of fuse.c, the workers of work.c, the notifier of notify.c, one
 * for signals, and the jobs of libkolm.
 *
 * Order of an end (SIGTERM, SIGINT, `shutdown`): no command is taken any more, parked reads end,
 * notifier and workers stop while the mount still answers, the mount goes from its place, open
 * files are served a little longer, the session ends, the jobs stop (a step keeps its checkpoint),
 * the spawner ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "base/wall.h"
#include "entries.h"
#include "events.h"
#include "fresh.h"
#include "mount.h"
#include "node.h"
#include "notify.h"
#include "opens.h"
#include "options.h"
#include "park.h"
#include "reply.h"
#include "replies.h"
#include "store/log_tail.h"
#include "work.h"

enum { WORK_END_SEC = 3, RUN_END_SEC = 35, LAST_CLOSE_SEC = 2, BIG_BLOCK_BYTES = 128 << 10 };

static int exit_status(int no)
{
	return no == EOPNOTSUPP || no == ENODEV ? EXIT_MISSING : EXIT_RUN;
}

/* ---- signals ---- */

static void on_wake(int sig)
{
	(void)sig; /* only to leave a wait */
}

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* before any thread: only signal_thread() takes the ending signals */
static void prepare_signals(void)
{
	struct sigaction wake = {.sa_handler = on_wake}, ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	ending_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &wake, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL); /* the write says it: EFBIG */
}

static void unmount(struct server *sv)
{
	if (atomic_exchange(&sv->is_mounted, false))
		spawner_unmount(sv->sp, sv->mountpoint, NULL);
}

/* no command is taken any more. With sv->ending. */
static void begin_end(struct server *sv)
{
	if (atomic_exchange(&sv->closing, true))
		return;
	kolm_ending(sv->k);
	park_end(sv);
	notify_stop(sv);
}

/* what may be inside the mount must stop while it still answers. With sv->ending. */
static void stop_serving(struct server *sv)
{
	struct timespec until;

	begin_end(sv);
	work_stop(sv->work, WORK_END_SEC);
	unmount(sv);
	/* the session ends by itself with the last close */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LAST_CLOSE_SEC;
	while (sem_clockwait(&sv->served, CLOCK_MONOTONIC, &until) < 0)
		if (errno != EINTR) {
			session_end(sv);
			break;
		}
}

static void *signal_thread(void *arg)
{
	struct server *sv = arg;
	sigset_t set;
	int sig;

	ending_signals(&set);
	while (sigwait(&set, &sig) != 0 || (sig == SIGHUP && !isatty(2)))
		; /* a hang-up is for who has a terminal */
	pthread_mutex_lock(&sv->ending);
	if (!sv->is_over)
		stop_serving(sv);
	pthread_mutex_unlock(&sv->ending);
	/* asked again: the jobs are not waited for; what they had is repaired at the next start */
	while (sigwait(&set, &sig) != 0)
		;
	_exit(EXIT_RUN);
}

/* ---- start and end ---- */

static void on_change(void *arg, const char *slug, unsigned what)
{
	if (what & CHANGE_SEEN)
		notify_look(arg);
	else if (what & CHANGE_FOUND)
		notify_other(arg, slug, what & ~(unsigned)CHANGE_FOUND);
	else
		notify_change(arg, slug ? slug : "rag", what);
}

/* as much as the system allows: every client's open of a file of the store is one of ours */
static void raise_limits(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int make_parts(struct server *sv, struct err *err)
{
	int rc = nodes_new(&sv->nodes, err);

	if (rc == 0)
		rc = opens_new(&sv->opens, err);
	if (rc == 0)
		rc = park_new(&sv->park, err);
	if (rc == 0)
		rc = work_new(&sv->work, err);
	if (rc == 0)
		rc = replies_new(&sv->replies, err);
	if (rc == 0)
		rc = entries_new(&sv->entries, err);
	if (rc == 0)
		rc = fresh_new(&sv->fresh, err);
	if (rc == 0)
		rc = events_new(&sv->events, err);
	if (rc == 0)
		rc = tails_new(sv->st, &sv->tails, err);
	if (rc == 0)
		rc = notify_new(sv, err);
	return rc;
}

static void free_parts(struct server *sv)
{
	opens_free(sv);
	notify_free(sv->notify);
	entries_free(sv->entries);
	fresh_free(sv->fresh);
	events_free(sv->events);
	tails_free(sv->tails);
	replies_free(sv->replies);
	work_free(sv->work);
	park_free(sv->park);
	nodes_free(sv->nodes);
}

/* "fsname=STORE,...": a comma or backslash in the store's path is escaped */
static int mount_words(const struct server *sv, bool over, struct buf *out)
{
	buf_puts(out, over ? "over,fsname=" : "fsname=");
	for (const char *p = sv->st->path; *p; p++) {
		if (*p == ',' || *p == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *p);
	}
	if (sv->others)
		buf_puts(out, ",allow_other");
	return out->failed ? -ENOMEM : 0;
}

static int mount_it(struct server *sv, const struct options *op, struct err *err)
{
	struct buf words = BUF_INIT;
	int fd = -1, rc = mount_words(sv, op->over, &words);

	if (rc == 0)
		rc = spawner_mount(sv->sp, sv->mountpoint, buf_str(&words), &fd, err);
	else
		err_nomem(err);
	buf_release(&words);
	if (rc < 0)
		return rc;
	atomic_store(&sv->is_mounted, true);
	rc = session_new(sv, fd, op->debug, err);
	if (rc < 0) {
		close(fd);
		unmount(sv);
	}
	return rc;
}

/* a background server keeps no terminal; a log file given as standard error stays */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	dup2(fd, 0);
	dup2(fd, 1);
	if (fstat(2, &st) < 0 || !S_ISREG(st.st_mode))
		dup2(fd, 2);
	close(fd);
}

/* from the walls to the end of the session */
static int serve(struct server *sv, const struct options *op, struct err *err)
{
	pthread_t signals;
	int rc = wall_enter(WALL_SERVER, err);

	if (rc == 0)
		rc = notify_start(sv, err);
	if (rc < 0)
		return rc;
	kolm_on_change(sv->k, on_change, sv);
	notify_look(sv); /* for what was seen before it was there to be told */
	rc = pthread_create(&signals, NULL, signal_thread, sv);
	if (rc) {
		rc = err_set(err, rc, "cannot start a thread");
	} else {
		if (!op->foreground)
			leave_terminal();
		ready_tell(op->ready, 0, "");
		manager_tell(&sv->manager);
		rc = session_run(sv);
		sem_post(&sv->served);
		if (rc < 0)
			err_set(err, -rc, "the FUSE session ended: %s", strerror(-rc));
	}
	/* an unmount from outside came without a signal, or at the same time as one: then that
	 * thread is done with all of this first */
	pthread_mutex_lock(&sv->ending);
	begin_end(sv);
	sv->is_over = true;
	pthread_mutex_unlock(&sv->ending);
	return rc;
}

static int run(struct server *sv, const struct options *op, struct err *err)
{
	struct stat st;
	int rc, busy;

	/* a dead server's mount over the store hides it */
	if (op->over && stat(op->store, &st) < 0 && errno == ENOTCONN)
		spawner_unmount(sv->sp, op->store, NULL);
	rc = kolm_open(op->store, true, sv->sp, &sv->k, err);
	if (rc < 0)
		return rc;
	sv->st = kolm_store(sv->k);
	rc = make_parts(sv, err);
	if (rc == 0)
		rc = mount_it(sv, op, err);
	if (rc < 0) {
		kolm_close(sv->k);
		free_parts(sv);
		return rc;
	}
	rc = serve(sv, op, err);
	unmount(sv);
	session_free(sv);
	/* a run that is being answered ends by its own limits; nothing may be inside libkolm when
	 * it closes */
	busy = work_stop(sv->work, RUN_END_SEC);
	if (busy == 0) {
		kolm_close(sv->k);
		free_parts(sv);
	}
	return rc;
}

static int server_main(const struct options *op)
{
	struct err err = ERR_NONE;
	struct server sv = {.owner = geteuid(),
		.group = op->has_group ? op->group : getegid(),
		.started_ms = time_now(),
		.others = op->others,
		.has_group = op->has_group};
	int rc;

	umask(077);
	/* every thread that comes and goes would leave a heap of its own behind, full of holes */
	mallopt(M_ARENA_MAX, 2);
	/* a limit that stays: by default the first big block that is freed raises it, and what the
	 * next ones leave in the heap never goes back */
	mallopt(M_MMAP_THRESHOLD, BIG_BLOCK_BYTES);
	mallopt(M_TRIM_THRESHOLD, BIG_BLOCK_BYTES);
	sv.manager = manager_open();
	sem_init(&sv.served, 0, 0);
	pthread_mutex_init(&sv.ending, NULL);
	prepare_signals();
	raise_limits();
	rc = mount_resolve(op->store, op->mountpoint, op->over, sv.mountpoint, &err);
	if (rc == 0)
		rc = spawner_start(&sv.sp, &err);
	if (rc == 0) {
		rc = run(&sv, op, &err);
		spawner_stop(sv.sp);
	}
	if (rc == 0)
		return 0;
	if (op->ready >= 0)
		ready_tell(
			op->ready, err.no == EINVAL ? EXIT_USAGE : exit_status(err.no), err.text);
	else
		fprintf(stderr, "kolmfs: %s\n", err.text);
	return err.no == EINVAL ? EXIT_USAGE : exit_status(err.no);
}

/* the parent of a background start: its exit says whether the mount answers */
static int wait_for(int fd, const char *mountpoint)
{
	struct err err = ERR_NONE;
	int status = ready_wait(fd, mountpoint, &err);

	if (status)
		fprintf(stderr, "kolmfs: %s\n", err.text);
	return status;
}

int main(int argc, char **argv)
{
	struct options op = {.ready = -1};
	int status = options_parse(argc, argv, &op), pipe_fds[2];
	pid_t pid;

	if (status >= 0)
		return status;
	/* descriptors 0-2 exist, whatever we were started with: nothing of ours may land there */
	for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
		if (fd > 2) {
			close(fd);
			break;
		}
	}
	if (op.foreground)
		return server_main(&op);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		perror("kolmfs");
		return EXIT_RUN;
	}
	if (pid > 0) {
		close(pipe_fds[1]);
		return wait_for(pipe_fds[0], op.mountpoint);
	}
	close(pipe_fds[0]);
	setsid();
	op.ready = pipe_fds[1];
	return server_main(&op);
}
