/*
 * worker - a running trainer, heard line by line (PROTOCOLS section 1): its progress, its result,
 * how it ended. What it says is only believed where files and digests bear it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "loop/train.h"

enum {
	WORKER_LINE_BYTES = 1 << 20,
	WORKER_NO_LIBRARY = 64,
	CURVE_POINTS = 16384,
	LOG_BYTES = 8 << 20,	  /* of what it says first */
	EARLIER_BYTES = 64 << 20, /* of what earlier tries said */
	LOG_END_BYTES = 64 << 10  /* and of what it says last, at least */
};

/* every second point goes */
static void curve_thin(struct curve *cv)
{
	const char *from = cv->text.data, *end = from + cv->text.len;
	char *to = cv->text.data;

	for (unsigned i = 0; i < cv->n; i++) {
		const char *next = memchr(from, ']', (size_t)(end - from)) + 1;

		if (i % 2 == 0) {
			if (i > 0)
				*to++ = ',';
			memmove(to, from, (size_t)(next - from));
			to += next - from;
		}
		from = next + 1; /* and its comma */
	}
	*to = '\0';
	cv->text.len = (size_t)(to - cv->text.data);
	cv->n /= 2;
	cv->every *= 2;
}

/* one that says so much that a curve would never end has a coarser one */
static void curve_add(struct curve *cv, double step, struct json_slice value)
{
	char number[NUM_TEXT_BYTES];

	if (cv->every == 0)
		cv->every = 1;
	if (cv->said++ % cv->every != 0 || !isfinite(step))
		return;
	if (cv->n == CURVE_POINTS) {
		curve_thin(cv);
		if ((cv->said - 1) % cv->every != 0)
			return;
	}
	/* as it is written, where that is of a number's length */
	if (value.len < sizeof(number))
		(void)snprintf(number, sizeof(number), "%.*s", (int)value.len, value.text);
	else
		(void)num_text(json_double(value), number);
	if (buf_addf(&cv->text, "%s[%.0f,%s]", cv->n > 0 ? "," : "", step, number) == 0)
		cv->n++;
}

/* a point of each curve, where the line has one that is behind what an earlier try has told */
static double curves_add(struct train *t, struct json_slice line)
{
	struct json_slice v;
	double step = json_member(line, "step", &v) ? json_double(v) : 0;

	if (step != t->last_step && step > t->told_step && json_member(line, "loss", &v) &&
		json_kind_of(v) == JSON_NUMBER)
		curve_add(&t->loss, step, v);
	if (json_member(line, "heldout", &v) && json_kind_of(v) == JSON_NUMBER &&
		step != t->last_heldout && step > t->told_heldout) {
		t->last_heldout = step;
		curve_add(&t->heldout, step, v);
	}
	t->last_step = step;
	return step;
}

static bool is_progress(struct json_slice line)
{
	struct json_slice event;

	return json_member(line, "event", &event) && event.len == 10 &&
	       memcmp(event.text, "\"progress\"", 10) == 0;
}

static void worker_progress(struct train *t, struct json_slice line)
{
	struct json_slice v;
	double of = json_member(line, "of", &v) ? json_double(v) : 0, step = curves_add(t, line);

	job_progress(t->jb, "%.0f %.0f steps", step, of);
}

/*
 * What an earlier try of this step told stands in its log: the curves go on from there. The native
 * trainer says the same of the same step; another's beginning may be another.
 */
static void hear_again(struct train *t)
{
	struct buf log = BUF_INIT;
	char *p, *lf;

	if (t->jb->resumed && strcmp(t->worker, "native") == 0)
		(void)read_file(t->jb->dir, "log", EARLIER_BYTES, &log, NULL);
	for (p = log.data; p != NULL && (lf = memchr(p, '\n', (size_t)(log.data + log.len - p)));
		p = lf + 1) {
		struct json_slice line = {p, (size_t)(lf - p)};

		if (json_check(line.text, line.len, NULL) < 0 ||
			json_kind_of(line) != JSON_OBJECT || !is_progress(line))
			continue;
		(void)curves_add(t, line);
		t->told_step = fmax(t->told_step, t->last_step);
		t->told_heldout = fmax(t->told_heldout, t->last_heldout);
	}
	buf_release(&log);
}

static void worker_line(struct train *t, const char *text, size_t len)
{
	struct json_slice line = {text, len}, event;

	if (json_check(text, len, NULL) < 0 || json_kind_of(line) != JSON_OBJECT)
		return;
	if (!json_member(line, "event", &event)) {
		buf_reset(&t->result);
		(void)buf_add(&t->result, text, len);
	} else if (is_progress(line)) {
		worker_progress(t, line);
	}
}

/* ---- its log ---- */

/*
 * A worker that says more than its log holds keeps the beginning, where it says what it does, and
 * the end, where it says why it ended; what was between is counted.
 */
static void log_line(struct train *t, const char *text, size_t len)
{
	const struct iovec iov[2] = {{(void *)(uintptr_t)text, len}, {(void *)"\n", 1}};

	if (t->log_end.len == 0 && t->log_bytes + len < LOG_BYTES) {
		t->log_bytes += len + 1;
		(void)!writev(t->log, iov, 2); /* the log is a courtesy */
		return;
	}
	if (t->log_end.len + len > 2 * LOG_END_BYTES) {
		size_t cut = t->log_end.len > LOG_END_BYTES ? t->log_end.len - LOG_END_BYTES : 0;

		while (cut > 0 && cut < t->log_end.len && t->log_end.data[cut - 1] != '\n')
			cut++;
		t->log_lost += cut;
		buf_consume(&t->log_end, cut);
	}
	if (buf_add(&t->log_end, text, len) < 0 || buf_putc(&t->log_end, '\n') < 0)
		t->log_lost += len + 1;
}

static void log_finish(struct train *t)
{
	char note[80];
	int n = snprintf(note, sizeof(note), "kolm: %llu bytes of what it said are left out here\n",
		(unsigned long long)t->log_lost);

	if (t->log_lost > 0)
		(void)!write(t->log, note, (size_t)n);
	(void)write_all(t->log, buf_str(&t->log_end), t->log_end.len, NULL);
	buf_release(&t->log_end);
}

/* ---- hearing it ---- */

/* one of its two outputs; a line of standard error is only for the log */
struct heard {
	int fd; /* borrowed; -1 at its end */
	struct buf in;
	bool is_output;
};

static void heard_line(struct train *t, const struct heard *hd, const char *text, size_t len)
{
	log_line(t, text, len);
	if (hd->is_output)
		worker_line(t, text, len);
}

/* what there is to read now */
static int hear(struct train *t, struct heard *hd, struct err *err)
{
	ssize_t n;
	char *lf;

	if (buf_reserve(&hd->in, 65536) < 0)
		return err_nomem(err);
	n = read(hd->fd, hd->in.data + hd->in.len, 65536);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0) {
		if (hd->in.len > 0)
			heard_line(t, hd, hd->in.data, hd->in.len);
		hd->fd = -1;
		return 0;
	}
	hd->in.len += (size_t)n;
	while ((lf = memchr(hd->in.data, '\n', hd->in.len)) != NULL) {
		size_t len = (size_t)(lf - hd->in.data);

		heard_line(t, hd, hd->in.data, len);
		buf_consume(&hd->in, len + 1);
	}
	if (hd->in.len > WORKER_LINE_BYTES) {
		t->log_lost += hd->in.len;
		buf_reset(&hd->in);
	}
	return 0;
}

/* read until the worker closes its outputs; a cancelled one that does not stop in time is killed */
static int worker_read(struct train *t, int out, int say, pid_t pid, struct err *err)
{
	struct heard heard[2] = {{.fd = out, .is_output = true}, {.fd = say}};
	struct job *jb = t->jb;
	int64_t kill_at = 0;
	int rc = 0;

	while (rc == 0 && (heard[0].fd >= 0 || heard[1].fd >= 0)) {
		struct pollfd pf[2] = {{heard[0].fd, POLLIN, 0}, {heard[1].fd, POLLIN, 0}};

		job_press(jb, pid, &kill_at);
		if (poll(pf, 2, 500) <= 0)
			continue;
		for (int i = 0; rc == 0 && i < 2; i++)
			if (pf[i].revents != 0)
				rc = hear(t, &heard[i], err);
	}
	log_finish(t);
	buf_release(&heard[0].in);
	buf_release(&heard[1].in);
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
		job_died(t->jb, ex->status);
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
	int out[2], say[2], exit_fd, rc;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	if (pipe2(say, O_CLOEXEC) < 0) {
		rc = err_sys(err, "cannot make a pipe");
		close(out[0]);
		close(out[1]);
		return rc;
	}
	rc = train_spawn(t, out[1], say[1], &pid, &exit_fd, err);
	close(out[1]);
	close(say[1]);
	if (rc == 0) {
		(void)job_worker_set(jb, pid, NULL);
		hear_again(t);
		rc = worker_read(t, out[0], say[0], pid, err);
		if (rc < 0)
			(void)spawner_kill(jb->k->sp, pid, SIGKILL, NULL);
		int rc2 = job_reap(jb, pid, exit_fd, &ex, err);
		(void)job_worker_set(jb, 0, NULL);
		if (rc == 0)
			rc = rc2 < 0 ? rc2 : worker_verdict(t, &ex, err);
	}
	close(out[0]);
	close(say[0]);
	return rc;
}
