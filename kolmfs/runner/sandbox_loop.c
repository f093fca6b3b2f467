/*
 * sandbox_loop - the spawner's life: one poll() over its parent, its children's deaths, their
 * network attempts and its runners' lines.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox.h"

enum { POLL_MAX = 2 + 3 * CHILD_MAX };

#define PARENT_GONE SIGUSR1

static int kill_child(struct sandbox *sb, const struct wire_head *head, struct err *err)
{
	for (struct child *ch = sb->children; ch; ch = ch->next) {
		if (ch->box.pid != head->pid || ch->is_over || ch->kind == SANDBOX_CELL)
			continue;
		if (kill(-ch->box.pid, head->sig) < 0)
			return err_sys(err, "cannot signal process %d", (int)head->pid);
		return 0;
	}
	return err_set(err, ESRCH, "process %d is gone", (int)head->pid);
}

static int walls(struct sandbox *sb, struct wire_reply *reply)
{
	struct buf report = BUF_INIT;
	int rc = sandbox_canary(sb, &report, &reply->err);

	if (rc == 0 && report.len >= sizeof(reply->text))
		rc = err_set(&reply->err, EMSGSIZE, "the report on the walls is too long");
	if (rc == 0) {
		memcpy(reply->text, report.data, report.len);
		reply->len = (uint32_t)report.len;
	}
	buf_release(&report);
	return rc;
}

static void answer(struct sandbox *sb, const struct wire_request *rq)
{
	static struct wire_reply reply; /* large, and zeroed here for every use */
	struct child *ch = NULL;
	int fd = -1;

	memset(&reply, 0, sizeof(reply));
	switch ((enum wire_op)rq->head.op) {
	case WIRE_SPAWN:
		reply.rc = child_start(sb, rq, &ch, &fd, &reply.err);
		reply.pid = ch ? ch->box.pid : 0;
		break;
	case WIRE_KILL:
		reply.rc = kill_child(sb, &rq->head, &reply.err);
		break;
	case WIRE_MOUNT:
		reply.rc = sandbox_mount(sb, rq->cwd,
			rq->list[LIST_ARGV][0] ? rq->list[LIST_ARGV][0] : "", &fd, &reply.err);
		break;
	case WIRE_UNMOUNT:
		reply.rc = sandbox_unmount(sb, rq->cwd, &reply.err);
		break;
	case WIRE_WALLS:
		reply.rc = walls(sb, &reply);
		break;
	case WIRE_HOLD: /* kept until this process ends; the number itself is of no interest */
		if (rq->nfds != 1 || fcntl(rq->fds[0], F_DUPFD_CLOEXEC, 3) < 0)
			reply.rc = err_set(&reply.err, EINVAL, "spawner: nothing to hold");
		break;
	default:
		reply.rc = err_set(&reply.err, EINVAL, "spawner: not a request");
	}
	wire_send(sb->parent, &reply, sizeof(reply), &fd, fd >= 0 ? 1 : 0);
	if (fd >= 0)
		close(fd);
}

/* false: the parent is gone */
static bool serve_parent(struct sandbox *sb)
{
	static char packet[WIRE_BYTES];
	static struct wire_request rq;
	struct wire_reply bad = {.rc = -EBADMSG};
	ssize_t n;

	n = wire_receive(sb->parent, packet, sizeof(packet), rq.fds, &rq.nfds);
	if (n == 0)
		return false;
	if (n < 0 || wire_decode(packet, (size_t)n, &rq) < 0) {
		err_set(&bad.err, EBADMSG, "spawner: request too long or damaged");
		wire_send(sb->parent, &bad, sizeof(bad), NULL, 0);
	} else {
		answer(sb, &rq);
	}
	for (size_t i = 0; i < rq.nfds; i++)
		close(rq.fds[i]);
	return true;
}

static size_t watch(struct sandbox *sb, struct pollfd *out)
{
	size_t n = 0;

	for (struct child *ch = sb->children; ch; ch = ch->next) {
		const int fds[] = {ch->is_over ? -1 : ch->box.listener, ch->line_in, ch->say};

		for (size_t i = 0; i < 3; i++)
			out[n++] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	}
	return n;
}

static struct child *owner(struct sandbox *sb, int fd)
{
	for (struct child *ch = sb->children; ch; ch = ch->next) {
		if (ch->box.listener == fd || ch->line_in == fd || ch->say == fd)
			return ch;
	}
	return NULL;
}

/* false: descriptors were closed and made anew, so the rest of this round's events may mean others
 */
static bool handle(struct sandbox *sb, const struct pollfd *event)
{
	struct child *ch = owner(sb, event->fd);
	bool is_line;

	if (!ch)
		return true;
	is_line = event->fd == ch->line_in;
	if (event->fd == ch->say) {
		cell_said(ch);
	} else if (is_line) {
		runner_said(sb, ch);
	} else if (event->revents & POLLIN) {
		child_notified(ch);
	} else { /* nobody is left behind the filter */
		close(ch->box.listener);
		ch->box.listener = -1;
	}
	return !is_line;
}

bool sandbox_pump(struct sandbox *sb, bool with_parent)
{
	struct pollfd fds[POLL_MAX];
	struct signalfd_siginfo info;
	size_t n;

	fds[0] = (struct pollfd){.fd = with_parent ? sb->parent : -1, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = sb->signals, .events = POLLIN};
	n = 2 + watch(sb, fds + 2);
	if (poll(fds, n, -1) < 0)
		return true; /* EINTR */
	for (size_t i = 2; i < n; i++) {
		if (fds[i].fd >= 0 && fds[i].revents && !handle(sb, &fds[i]))
			break;
	}
	if (fds[1].revents && read(sb->signals, &info, sizeof(info)) > 0) {
		/* kept: this round may be one of many inside a request. What waits in the mount is
		 * freed now, not when the request is done */
		if (info.ssi_signo == PARENT_GONE) {
			sb->is_orphan = true;
			sandbox_unmount_all(sb);
		}
		child_reap(sb);
	}
	child_sweep(sb);
	if (fds[0].revents && !sb->is_orphan && !serve_parent(sb))
		return false;
	return !sb->is_orphan;
}

/* mounts first: aborting their connections frees what waits in them */
static void end_all(struct sandbox *sb)
{
	sandbox_unmount_all(sb);
	for (struct child *ch = sb->children; ch; ch = ch->next)
		child_kill(ch);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

_Noreturn void sandbox_main(int parent, const char *cell_path)
{
	static struct sandbox sb;
	sigset_t set;
	int null = open("/dev/null", O_RDWR);

	sb.parent = parent;
	snprintf(sb.cell_path, sizeof(sb.cell_path), "%s", cell_path);
	prctl(PR_SET_NAME, "kolm-spawner");
	setsid(); /* Ctrl-C is for our parent */
	/*
	 * A killed server can have a thread inside its own mount or in the kernel's notification
	 * path: that thread waits for an answer which nobody will give, and keeps the socket and
	 * /dev/fuse open meanwhile, so no end of file ever comes. Its main thread dies all the
	 * same, and this tells us.
	 */
	prctl(PR_SET_PDEATHSIG, PARENT_GONE);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	for (int fd = 3; fd < parent; fd++)
		close(fd);
	close_range((unsigned)parent + 1, ~0U, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, PARENT_GONE);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sb.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sb.signals < 0)
		_exit(1);
	while (!sb.is_orphan && sandbox_pump(&sb, true))
		;
	end_all(&sb);
	_exit(0);
}
