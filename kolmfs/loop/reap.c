/*
 * reap - hearing a worker to its end, whether it listens or not: one that does not stop within ten
 * seconds when its job is cancelled is killed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"

enum { CANCEL_GRACE_MS = 10000, LINE_BYTES_MAX = 1 << 20, LOOK_MS = 500 };

void job_press(struct job *jb, pid_t pid, int64_t *kill_at)
{
	if (jb->cancel && *kill_at == 0)
		*kill_at = clock_ms() + CANCEL_GRACE_MS;
	if (*kill_at != 0 && clock_ms() > *kill_at) {
		(void)spawner_kill(jb->k->sp, pid, SIGKILL, NULL);
		*kill_at = INT64_MAX;
	}
}

void job_listen(struct job *jb, int fd, pid_t pid, int64_t *kill_at)
{
	struct pollfd pf = {.fd = fd, .events = POLLIN};

	do {
		job_press(jb, pid, kill_at);
	} while (poll(&pf, 1, LOOK_MS) <= 0);
}

int job_reap(struct job *jb, pid_t pid, int exit_fd, struct spawn_exit *out, struct err *err)
{
	int64_t kill_at = 0;

	job_listen(jb, exit_fd, pid, &kill_at);
	return spawner_wait(exit_fd, out, err);
}

int job_lines(struct job *jb, int fd, pid_t pid, job_line *each, void *arg, struct err *err)
{
	struct buf in = BUF_INIT;
	int64_t kill_at = 0;
	int rc = 0;

	for (;;) {
		ssize_t n;
		char *lf;

		job_listen(jb, fd, pid, &kill_at);
		if (buf_reserve(&in, 65536) < 0) {
			rc = err_nomem(err);
			break;
		}
		n = read(fd, in.data + in.len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		in.len += (size_t)n;
		while ((lf = memchr(in.data, '\n', in.len)) != NULL) {
			size_t len = (size_t)(lf - in.data);

			each(arg, in.data, len);
			buf_consume(&in, len + 1);
		}
		if (in.len > LINE_BYTES_MAX)
			buf_reset(&in);
	}
	if (in.len > 0)
		each(arg, in.data, in.len);
	buf_release(&in);
	return rc;
}
