/*
 * worker - a running trainer, heard line by line (PROTOCOLS section 1): its progress, its result,
 * how it ended. What it says is only believed where files and digests bear it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/train.h"

enum { WORKER_LINE_BYTES = 1 << 20, CANCEL_GRACE_MS = 10000, WORKER_NO_LIBRARY = 64 };

static void worker_progress(struct train *t, struct json_slice line)
{
	struct json_slice v;
	double step = json_member(line, "step", &v) ? json_double(v) : 0,
	       of = json_member(line, "of", &v) ? json_double(v) : 0;

	if (step != t->last_step && json_member(line, "loss", &v) && json_kind_of(v) == JSON_NUMBER)
		(void)buf_addf(&t->loss, "%s[%.0f,%.*s]", t->loss.len > 0 ? "," : "", step,
			(int)v.len, v.text);
	if (json_member(line, "heldout", &v) && json_kind_of(v) == JSON_NUMBER &&
		json_double(v) != t->last_heldout) {
		t->last_heldout = json_double(v);
		(void)buf_addf(&t->heldout, "%s[%.0f,%.*s]", t->heldout.len > 0 ? "," : "", step,
			(int)v.len, v.text);
	}
	t->last_step = step;
	job_progress(t->jb, "%.0f %.0f steps", step, of);
}

static void worker_line(struct train *t, const char *text, size_t len)
{
	struct json_slice line = {text, len}, event;

	if (write(t->log, text, len) < 0 || write(t->log, "\n", 1) < 0)
		return; /* the log is a courtesy */
	if (json_check(text, len, NULL) < 0 || json_kind_of(line) != JSON_OBJECT)
		return;
	if (!json_member(line, "event", &event)) {
		buf_reset(&t->result);
		(void)buf_add(&t->result, text, len);
	} else if (event.len == 10 && memcmp(event.text, "\"progress\"", 10) == 0) {
		worker_progress(t, line);
	}
}

/* read until the worker closes its output; a cancelled one that does not stop in time is killed */
static int worker_read(struct train *t, int fd, pid_t pid, struct err *err)
{
	struct job *jb = t->jb;
	struct buf in = BUF_INIT;
	int64_t kill_at = 0;
	int rc = 0;

	for (;;) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		ssize_t n;
		char *lf;

		if (jb->cancel && kill_at == 0)
			kill_at = time_now() + CANCEL_GRACE_MS;
		if (kill_at != 0 && time_now() > kill_at) {
			(void)spawner_kill(jb->k->sp, pid, SIGKILL, NULL);
			kill_at = INT64_MAX;
		}
		if (poll(&pf, 1, 500) <= 0)
			continue;
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

			worker_line(t, in.data, len);
			buf_consume(&in, len + 1);
		}
		if (in.len > WORKER_LINE_BYTES)
			buf_reset(&in);
	}
	if (in.len > 0)
		worker_line(t, in.data, in.len);
	buf_release(&in);
	return rc;
}

static int worker_verdict(struct train *t, const struct spawn_exit *ex, struct err *err)
{
	struct json_slice line = {t->result.data, t->result.len}, v;
	struct buf text = BUF_INIT;
	bool ok = t->result.len > 0 && json_member(line, "ok", &v) && json_true(v);

	if (t->jb->cancel)
		return err_set(err, ECANCELED, "cancelled");
	if (ex->egress[0] != '\0')
		return err_set(err, EPERM, "egress attempt: %s", ex->egress);
	if (ex->signalled) {
		t->jb->rec.signal = ex->status;
		if (ex->status == SIGXCPU)
			return err_set(err, EIO,
				"trainer used up its %g hours of processor time "
				"(trainer_cpu_hours in config.json)",
				t->cpu_hours);
		return err_set(err, EIO, "trainer was killed (signal %d)", ex->status);
	}
	if (ex->status == 0 && ok)
		return 0;
	if (t->result.len > 0 && json_member(line, "error", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &text);
	const char *said = text.len > 0 ? text.data : "the worker does not say which";
	int rc;

	if (ex->status == WORKER_NO_LIBRARY) {
		(void)err_said(err, ENOEXEC, said, strlen(said));
		rc = err_prefix(err, "training library missing: ");
	} else {
		rc = text.len > 0 ? err_said(err, EIO, said, strlen(said))
				  : err_set(err, EIO, "trainer ended with status %d and no result",
					    ex->status);
	}
	buf_release(&text);
	return rc;
}

int train_work(struct train *t, struct err *err)
{
	struct job *jb = t->jb;
	struct spawn_exit ex = {0};
	int out[2], exit_fd, rc;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	rc = train_spawn(t, out[1], &pid, &exit_fd, err);
	close(out[1]);
	if (rc == 0) {
		(void)job_worker_set(jb, pid, NULL);
		rc = worker_read(t, out[0], pid, err);
		if (rc < 0)
			(void)spawner_kill(jb->k->sp, pid, SIGKILL, NULL);
		int rc2 = spawner_wait(exit_fd, &ex, err);
		(void)job_worker_set(jb, 0, NULL);
		if (rc == 0)
			rc = rc2 < 0 ? rc2 : worker_verdict(t, &ex, err);
	}
	close(out[0]);
	return rc;
}
