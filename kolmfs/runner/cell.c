/*
 * kolm-cell - runs one artifact's recipes behind its walls. Started by the spawner only, speaks
 * frames (PROTOCOLS section 3) on its two pipes.
 */
#include "runner/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/wall.h"
#include "runner/egress.h"
#include "runner/js.h"

static struct js *engine; /* of the one thread that serves */

static int read_exact(void *data, size_t len)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = read(STDIN_FILENO, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && p == data ? 0 : -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 1;
}

/* 1 a frame, 0 the end, negative what is none */
static int frame_read(struct buf *frame)
{
	unsigned char head[4];
	size_t len;
	int rc = read_exact(head, sizeof(head));

	if (rc <= 0)
		return rc;
	len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
	      (size_t)head[3] << 24;
	if (len == 0 || len > CELL_FRAME_BYTES)
		return -EMSGSIZE;
	buf_reset(frame);
	if (buf_reserve(frame, len) < 0)
		return -ENOMEM;
	rc = read_exact(frame->data, len);
	if (rc <= 0)
		return -EPIPE;
	frame->len = len;
	frame->data[len] = 0;
	return 1;
}

static int write_exact(const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int frame_write(const char *text, size_t len)
{
	const unsigned char head[4] = {
		len & 255, (len >> 8) & 255, (len >> 16) & 255, (len >> 24) & 255};

	if (len > CELL_FRAME_BYTES)
		return -EMSGSIZE;
	if (write_exact(head, sizeof(head)) < 0)
		return -EPIPE;
	return write_exact(text, len);
}

static int ask(void *arg, const char *text, size_t len, struct buf *answer, struct err *err)
{
	(void)arg;
	if (len > CELL_FRAME_BYTES)
		return err_set(err, EMSGSIZE, "question larger than 2 MiB");
	if (frame_write(text, len) < 0 || frame_read(answer) <= 0)
		_exit(CELL_BROKEN);
	return 0;
}

/* the attempt is the end, whatever the recipe would do next */
static void egress(void *arg, const char *api)
{
	struct buf frame = BUF_INIT;

	(void)arg;
	if (wall_is_ablated("language"))
		return;
	buf_puts(&frame, "{\"op\":\"egress\",\"api\":");
	json_put_text(&frame, api);
	buf_putc(&frame, '}');
	frame_write(frame.data, frame.len);
	_exit(CELL_EGRESS);
}

int cell_engine(struct err *err)
{
	static const struct js_host host = {.ask = ask, .egress = egress};

	return js_new(&host, &engine, err);
}

static bool is_op(struct json_slice op, const char *name)
{
	return op.len == strlen(name) + 2 && memcmp(op.text + 1, name, strlen(name)) == 0;
}

static int answer_frame(struct json_slice frame, struct buf *reply, bool *is_limit)
{
	struct json_slice op = {"", 0};
	struct err err = ERR_NONE;

	json_member(frame, "op", &op);
	if (is_op(op, "call")) {
		*is_limit = js_call(engine, frame, reply);
	} else if (is_op(op, "answer")) {
		*is_limit = js_answer(engine, frame, reply);
	} else if (!is_op(op, "load") || js_load(engine, frame, reply, &err) < 0) {
		buf_reset(reply);
		buf_addf(reply, "{\"op\":\"failed\",\"errno\":\"%s\",\"code\":null,\"error\":",
			err_name(err.no ? err.no : EINVAL));
		json_put_text(reply, err.no ? err.text : "no such frame");
		buf_puts(reply, ",\"tried\":[]}");
	}
	return reply->failed ? -ENOMEM : 0;
}

/* no more calls: a cell ends by itself, so that what it does before it does is seen */
static bool is_end(const struct buf *frame)
{
	struct json_slice op;

	return json_member((struct json_slice){frame->data, frame->len}, "op", &op) &&
	       is_op(op, "end");
}

int cell_serve(void)
{
	struct buf frame = BUF_INIT, reply = BUF_INIT;
	bool is_limit = false;
	int rc;

	while ((rc = frame_read(&frame)) > 0 && !is_end(&frame)) {
		buf_reset(&reply);
		if (answer_frame((struct json_slice){frame.data, frame.len}, &reply, &is_limit) <
				0 ||
			frame_write(reply.data, reply.len) < 0)
			return CELL_BROKEN;
		/* an engine that a recipe has taken over, after an answer that looks well */
		if (wall_is_ablated("takeover") && strstr(frame.data, "kolm-takeover"))
			syscall(SYS_socket, 2, 1, 0);
		if (is_limit)
			return CELL_LIMIT;
	}
	buf_release(&frame);
	buf_release(&reply);
	return rc < 0 ? CELL_BROKEN : CELL_DONE;
}

/* the engine wants a stack of known bounds, and more of it than a main thread has */
static void *cell_thread(void *arg)
{
	const char *probe = arg;
	struct err err = ERR_NONE;

	if (cell_engine(&err) < 0)
		_exit(CELL_NO_WALLS);
	cell_watch_memory();
	if (cell_walls_late(&err) < 0)
		_exit(CELL_NO_WALLS);
	_exit(probe ? cell_probe(probe) : cell_serve());
}

static int start_thread(const char *probe, struct err *err)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	rc = pthread_attr_setstacksize(&attr, JS_STACK_BYTES);
	if (rc == 0)
		rc = pthread_create(&thread, &attr, cell_thread, (void *)(uintptr_t)probe);
	if (rc != 0)
		return err_set(err, rc, "sandbox: cannot start a thread (%s)", strerror(rc));
	pthread_join(thread, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	const char *probe = argc == 3 && strcmp(argv[1], "--probe") == 0 ? argv[2] : NULL;
	struct err err = ERR_NONE;
	int rc;

	if (argc == 2 && strcmp(argv[1], "--calls") == 0)
		return cell_calls_print();
	rc = cell_walls_early(&err);
	if (rc == 0)
		rc = start_thread(probe, &err);
	/* the spawner reads the sentence where it waits for "ready"; by hand, standard error does
	 */
	dprintf(fcntl(CELL_SAY, F_GETFD) >= 0 ? CELL_SAY : STDERR_FILENO, "%s\n", err.text);
	return CELL_NO_WALLS;
}
