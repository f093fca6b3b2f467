/*
 * spawner - the parent's side: one socket pair, one request at a time. What happens at the other
 * end is in runner/sandbox*.c.
 */
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox.h"

static const char *const program_names[] = {
	"kolm-cell", "kolm-runner", "kolm-trainer", "kolm-indexer", "kolmfs", "kolm"};
enum { PROGRAMS = sizeof(program_names) / sizeof(program_names[0]) };

struct spawner {
	int sock;
	pid_t pid;
	pthread_mutex_t lock; /* sock, walls: one request and its answer at a time */
	struct buf walls;
	char programs[PROGRAMS][PATH_MAX];
};

/* beside the running program; test programs lie beside bin/ */
static int find_programs(struct spawner *sp, struct err *err)
{
	char self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(err, "cannot find the running program");
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return err_set(err, ENOENT, "cannot find the running program");
	*slash = 0;
	for (size_t i = 0; i < PROGRAMS; i++) {
		char *out = sp->programs[i];

		if (snprintf(out, PATH_MAX, "%s/%s", self, program_names[i]) >= PATH_MAX)
			return err_set(err, ENAMETOOLONG, "path of the programs is too long");
		if (access(out, X_OK) < 0) {
			char beside[PATH_MAX + 64];

			snprintf(beside, sizeof(beside), "%s/../bin/%s", self, program_names[i]);
			if (strlen(beside) < PATH_MAX && access(beside, X_OK) == 0)
				strcpy(out, beside);
		}
	}
	return 0;
}

int spawner_start(struct spawner **out, struct err *err)
{
	struct spawner *sp = calloc(1, sizeof(*sp));
	int pair[2], rc;

	if (!sp)
		return err_nomem(err);
	rc = find_programs(sp, err);
	if (rc < 0)
		goto out_free;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		rc = err_sys(err, "cannot make a socket pair");
		goto out_free;
	}
	sp->pid = fork();
	if (sp->pid < 0) {
		rc = err_sys(err, "cannot start the spawner");
		close(pair[0]);
		close(pair[1]);
		goto out_free;
	}
	if (sp->pid == 0) {
		close(pair[0]);
		sandbox_main(pair[1], sp->programs[0]);
	}
	close(pair[1]);
	sp->sock = pair[0];
	pthread_mutex_init(&sp->lock, NULL);
	*out = sp;
	return 0;
out_free:
	free(sp);
	return rc;
}

void spawner_stop(struct spawner *sp)
{
	if (!sp)
		return;
	close(sp->sock);
	while (waitpid(sp->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&sp->lock);
	buf_release(&sp->walls);
	free(sp);
}

const char *spawner_program(const struct spawner *sp, const char *name)
{
	for (size_t i = 0; i < PROGRAMS; i++) {
		if (strcmp(program_names[i], name) == 0)
			return sp->programs[i];
	}
	return NULL;
}

/* One request and its answer; ${fd} takes the descriptor of the answer, -1 when it had none. Holds
 * the lock meanwhile. */
static int request(struct spawner *sp, const struct buf *packet, const int *fds, size_t nfds,
	struct wire_reply *reply, int *fd, struct err *err)
{
	int got[WIRE_FDS], rc;
	size_t ngot = 0;
	ssize_t n;

	*fd = -1;
	if (packet->failed)
		return err_nomem(err);
	if (packet->len > WIRE_BYTES)
		return err_set(err, E2BIG,
			"arguments and paths of a process are longer than %d bytes", WIRE_BYTES);
	pthread_mutex_lock(&sp->lock);
	rc = wire_send(sp->sock, packet->data, packet->len, fds, nfds);
	n = rc == 0 ? wire_receive(sp->sock, reply, sizeof(*reply), got, &ngot) : rc;
	pthread_mutex_unlock(&sp->lock);
	if (n != (ssize_t)sizeof(*reply))
		return err_set(err, EIO, "the spawner process is gone; restart the server");
	if (ngot > 0)
		*fd = got[0];
	if (reply->rc < 0 && err)
		*err = reply->err;
	return reply->rc;
}

static uint32_t put_list(struct buf *packet, const char *const *list)
{
	uint32_t n = 0;

	for (; list && *list; list++, n++)
		buf_add(packet, *list, strlen(*list) + 1);
	return n;
}

/* a request without descriptors: head, one text as cwd, one more as the only argument */
static int simple(struct spawner *sp, enum wire_op op, pid_t pid, int sig, const char *text,
	const char *more, struct wire_reply *reply, int *fd, struct err *err)
{
	struct wire_head head = {.op = op, .pid = pid, .sig = sig};
	struct buf packet = BUF_INIT;
	int rc;

	head.counts[LIST_ARGV] = more ? 1 : 0;
	buf_add(&packet, &head, sizeof(head));
	buf_add(&packet, text, strlen(text) + 1);
	if (more)
		buf_add(&packet, more, strlen(more) + 1);
	rc = request(sp, &packet, NULL, 0, reply, fd, err);
	buf_release(&packet);
	return rc;
}

int spawner_spawn(struct spawner *sp, const struct spawn_request *rq, pid_t *pid, int *exit_fd,
	struct err *err)
{
	const int standard[3] = {rq->in, rq->out, rq->err};
	struct wire_head head = {.op = WIRE_SPAWN,
		.kind = (int32_t)rq->kind,
		.nfds = (uint32_t)rq->nfds,
		.data_bytes = rq->data_bytes,
		.file_bytes = rq->file_bytes,
		.cpu_seconds = rq->cpu_seconds};
	struct wire_reply reply;
	struct buf packet = BUF_INIT;
	int fds[WIRE_FDS], rc, fd;
	size_t n = 0;

	if (rq->nfds > WIRE_FDS - 3)
		return err_set(err, E2BIG, "too many descriptors for a process");
	for (int i = 0; i < 3; i++) {
		if (standard[i] < 0)
			continue;
		head.std |= 1u << i;
		fds[n++] = standard[i];
	}
	for (size_t i = 0; i < rq->nfds; i++)
		fds[n++] = rq->fds[i];
	buf_add(&packet, &head, sizeof(head));
	buf_add(&packet, rq->cwd ? rq->cwd : "/", strlen(rq->cwd ? rq->cwd : "/") + 1);
	head.counts[LIST_ARGV] = put_list(&packet, rq->argv);
	head.counts[LIST_ENV] = put_list(&packet, rq->env);
	head.counts[LIST_READS] = put_list(&packet, rq->reads);
	head.counts[LIST_WRITES] = put_list(&packet, rq->writes);
	if (!packet.failed)
		memcpy(packet.data, &head, sizeof(head));
	rc = request(sp, &packet, fds, n, &reply, &fd, err);
	buf_release(&packet);
	if (rc < 0)
		return rc;
	*pid = reply.pid;
	*exit_fd = fd;
	return 0;
}

int spawner_wait(int exit_fd, struct spawn_exit *out, struct err *err)
{
	ssize_t n;

	do {
		n = read(exit_fd, out, sizeof(*out));
	} while (n < 0 && errno == EINTR);
	close(exit_fd);
	if (n != (ssize_t)sizeof(*out))
		return err_set(err, EIO, "the spawner process is gone; restart the server");
	return 0;
}

int spawner_kill(struct spawner *sp, pid_t pid, int sig, struct err *err)
{
	struct wire_reply reply;
	int fd;

	return simple(sp, WIRE_KILL, pid, sig, "", NULL, &reply, &fd, err);
}

int spawner_hold(struct spawner *sp, int fd, struct err *err)
{
	struct wire_head head = {.op = WIRE_HOLD, .nfds = 1};
	struct wire_reply reply;
	struct buf packet = BUF_INIT;
	int none, rc;

	buf_add(&packet, &head, sizeof(head));
	buf_add(&packet, "", 1);
	rc = request(sp, &packet, &fd, 1, &reply, &none, err);
	buf_release(&packet);
	return rc;
}

int spawner_mount(
	struct spawner *sp, const char *mountpoint, const char *options, int *fd, struct err *err)
{
	struct wire_reply reply;

	return simple(sp, WIRE_MOUNT, 0, 0, mountpoint, options, &reply, fd, err);
}

int spawner_unmount(struct spawner *sp, const char *mountpoint, struct err *err)
{
	struct wire_reply reply;
	int fd;

	return simple(sp, WIRE_UNMOUNT, 0, 0, mountpoint, NULL, &reply, &fd, err);
}

bool spawner_walls_known(struct spawner *sp, struct buf *out)
{
	bool is_known;

	pthread_mutex_lock(&sp->lock);
	is_known = sp->walls.len > 0;
	if (is_known)
		(void)buf_add(out, sp->walls.data, sp->walls.len);
	pthread_mutex_unlock(&sp->lock);
	return is_known;
}

int spawner_walls(struct spawner *sp, struct buf *out, struct err *err)
{
	struct wire_reply reply;
	int fd, rc;

	if (spawner_walls_known(sp, out))
		return out->failed ? err_nomem(err) : 0;
	rc = simple(sp, WIRE_WALLS, 0, 0, "", NULL, &reply, &fd, err);
	if (rc < 0)
		return rc;
	if (reply.len > sizeof(reply.text))
		return err_set(err, EIO, "the spawner's answer is damaged");
	pthread_mutex_lock(&sp->lock);
	if (sp->walls.len == 0)
		buf_add(&sp->walls, reply.text, reply.len);
	pthread_mutex_unlock(&sp->lock);
	return buf_add(out, reply.text, reply.len) < 0 ? err_nomem(err) : 0;
}
