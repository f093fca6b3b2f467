/*
 * sandbox_child - the spawner's table of children: birth, network attempts, death.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox.h"

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

struct child *child_new(struct sandbox *sb, int kind)
{
	struct child *ch = sb->nchildren < CHILD_MAX ? calloc(1, sizeof(*ch)) : NULL;

	if (!ch)
		return NULL;
	ch->kind = kind;
	ch->box = (struct sandbox_child){.status = -1, .listener = -1};
	ch->exit_fd = ch->line_in = ch->line_out = ch->cell_in = ch->cell_out = ch->drain_in =
		ch->drain_out = ch->say = ch->go = -1;
	ch->next = sb->children;
	sb->children = ch;
	sb->nchildren++;
	return ch;
}

void child_free(struct sandbox *sb, struct child *ch)
{
	struct child **at = &sb->children;

	while (*at != ch)
		at = &(*at)->next;
	*at = ch->next;
	sb->nchildren--;
	shut(&ch->box.status);
	shut(&ch->box.listener);
	shut(&ch->exit_fd);
	shut(&ch->line_in);
	shut(&ch->line_out);
	shut(&ch->cell_in);
	shut(&ch->cell_out);
	shut(&ch->drain_in);
	shut(&ch->drain_out);
	shut(&ch->say);
	shut(&ch->go);
	free(ch);
}

void child_kill(struct child *ch)
{
	if (!ch->is_over && ch->box.pid > 0)
		kill(ch->box.pid,
			SIGKILL); /* first of its pid namespace: nothing in there survives it */
}

static void record(struct child *ch, int call)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

	if (!ch->egress[0])
		snprintf(ch->egress, sizeof(ch->egress), "%s", name ? name : "unknown");
	free(name);
}

static bool is_pending(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLIN);
}

void child_notified(struct child *ch)
{
	struct seccomp_notif *ask = NULL;
	struct seccomp_notif_resp *reply = NULL;

	while (is_pending(ch->box.listener) && seccomp_notify_alloc(&ask, &reply) == 0) {
		/* fails when the caller was killed meanwhile */
		if (seccomp_notify_receive(ch->box.listener, ask) == 0) {
			if (ch->kind != SPAWN_WORKER) {
				record(ch, ask->data.nr);
				child_kill(ch);
			} else {
				if (sandbox_leaves((int)ask->data.args[0]))
					record(ch, ask->data.nr);
				reply->id = ask->id;
				reply->error = -EPERM;
				seccomp_notify_respond(ch->box.listener, reply);
			}
		}
		seccomp_notify_free(ask, reply);
		ask = NULL;
		reply = NULL;
	}
}

void child_ended(struct child *ch, int wait_status)
{
	int told;

	child_notified(ch);
	/* the init of the namespace says how the program ended; when it could not, it was killed
	 * itself */
	if (ch->box.status >= 0 &&
		read(ch->box.status, &told, sizeof(told)) == (ssize_t)sizeof(told))
		wait_status = told;
	/* a native worker's own filter kills at a network call and nowhere else, and leaves no name
	 */
	if (ch->kind != SANDBOX_CELL && WIFSIGNALED(wait_status) &&
		WTERMSIG(wait_status) == SIGSYS && !ch->egress[0])
		snprintf(ch->egress, sizeof(ch->egress), "network call");
	ch->wait_status = wait_status;
	ch->is_over = true;
}

void child_reap(struct sandbox *sb)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct child *ch = sb->children; ch; ch = ch->next) {
			if (ch->box.pid == pid && !ch->is_over)
				child_ended(ch, status);
		}
	}
}

static void report(struct child *ch)
{
	struct spawn_exit ex = {.signalled = WIFSIGNALED(ch->wait_status)};

	ex.status = ex.signalled ? WTERMSIG(ch->wait_status) : WEXITSTATUS(ch->wait_status);
	snprintf(ex.egress, sizeof(ex.egress), "%s", ch->egress);
	if (ch->exit_fd >= 0 && write(ch->exit_fd, &ex, sizeof(ex)) < 0)
		shut(&ch->exit_fd); /* nobody waits any more */
}

static void end_cell(struct sandbox *sb, struct child *runner)
{
	struct child *cell = runner->cell;

	runner->cell = NULL;
	if (!cell)
		return;
	if (!cell->is_over) {
		child_kill(cell);
		waitpid(cell->box.pid, NULL, 0);
	}
	child_free(sb, cell);
}

void child_sweep(struct sandbox *sb)
{
	struct child *ch = sb->children;

	while (ch) {
		struct child *next = ch->next;

		/* a cell stays until its runner asks how it ended, a probe until the canary has
		 * looked */
		if (ch->is_over && ch->kind != SANDBOX_CELL && !ch->hearing) {
			end_cell(sb, ch);
			report(ch);
			child_free(sb, ch);
			next = sb->children; /* the cell may have been the next one */
		}
		ch = next;
	}
}

/* the standard descriptors, /dev/null for those not sent, then the rest from 10 on */
static size_t standard_fds(const struct wire_request *rq, int null, struct sandbox_fd *out)
{
	size_t used = 0, n = 0;

	for (int i = 0; i < 3; i++)
		out[n++] = (struct sandbox_fd){rq->head.std >> i & 1 ? rq->fds[used++] : null, i};
	return n;
}

static size_t further_fds(const struct wire_request *rq, struct sandbox_fd *out)
{
	size_t n = 0;

	for (size_t i = rq->nfds - rq->head.nfds; i < rq->nfds; i++, n++)
		out[n] = (struct sandbox_fd){rq->fds[i], 10 + (int)n};
	return n;
}

static int start_program(
	struct sandbox *sb, struct child *ch, const struct wire_request *rq, struct err *err)
{
	struct sandbox_fd fds[3 + 4 + WIRE_FDS], theirs[4];
	struct sandbox_spec spec = {.kind = ch->kind,
		.argv = rq->list[LIST_ARGV],
		.env = rq->list[LIST_ENV],
		.cwd = rq->cwd,
		.fds = fds,
		.reads = rq->list[LIST_READS],
		.writes = rq->list[LIST_WRITES],
		.data_bytes = rq->head.data_bytes,
		.file_bytes = rq->head.file_bytes,
		.cpu_seconds = rq->head.cpu_seconds};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), rc = 0;
	const bool is_runner = ch->kind == SPAWN_RUNNER;

	if (null < 0)
		return err_sys(err, "cannot open /dev/null");
	spec.nfds = standard_fds(rq, null, fds);
	if (is_runner) {
		rc = cell_pipes(ch, theirs, err);
		if (rc == 0) {
			memcpy(fds + spec.nfds, theirs, sizeof(theirs));
			spec.nfds += 4;
			rc = cell_start(sb, ch, NULL, ch->cell_in, ch->cell_out, &ch->cell, err);
		}
	}
	spec.nfds += further_fds(rq, fds + spec.nfds);
	if (rc == 0)
		rc = sandbox_start(&spec, &ch->box, err);
	/* both start at once; without the cell's walls no runner either */
	if (rc == 0 && is_runner) {
		rc = cell_wait_ready(ch->cell, err);
		if (rc < 0) {
			child_kill(ch);
			waitpid(ch->box.pid, NULL, 0);
		}
	}
	for (int i = 0; is_runner && i < 4; i++) {
		if (theirs[i].from >= 0)
			close(theirs[i].from);
	}
	close(null);
	return rc;
}

int child_start(struct sandbox *sb, const struct wire_request *rq, struct child **out, int *exit_fd,
	struct err *err)
{
	struct child *ch;
	int ends[2], rc;

	if (!rq->list[LIST_ARGV][0] || rq->head.kind < 0 || rq->head.kind > SPAWN_RUNNER ||
		rq->head.nfds > rq->nfds)
		return err_set(err, EINVAL, "spawner: not a request");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	ch = child_new(sb, rq->head.kind);
	if (!ch) {
		close(ends[0]);
		close(ends[1]);
		return err_set(err, EAGAIN, "too many processes (%d)", CHILD_MAX);
	}
	ch->exit_fd = ends[1];
	rc = start_program(sb, ch, rq, err);
	if (rc < 0) {
		end_cell(sb, ch);
		child_free(sb, ch);
		close(ends[0]);
		return rc;
	}
	*out = ch;
	*exit_fd = ends[0];
	return 0;
}
