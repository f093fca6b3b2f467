/*
 * spawn_rig - a spawner, and a runner made of this same test program (argument --relay) that only
 * carries bytes, so that a test can speak to a real cell as the runner does.
 */
#ifndef KOLM_TEST_SPAWN_RIG_H
#define KOLM_TEST_SPAWN_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/replace.h"
#include "spawner.h"

#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0"; /* the relay and the probes end inside walls where the leak checker
				    cannot work */
}
#endif

static inline long rig_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the relay: standard input and output are the cell, 10 and 11 the line to the spawner ---- */

static inline void rig_relay(void)
{
	const int from[4] = {0, RUNNER_CELL_IN, 10, RUNNER_SPAWN_IN},
		  to[4] = {RUNNER_CELL_OUT, 1, RUNNER_SPAWN_OUT, 11};
	struct pollfd fds[4];
	char data[65536];

	for (int i = 0; i < 4; i++)
		fds[i] = (struct pollfd){.fd = from[i], .events = POLLIN};
	while (poll(fds, 4, -1) > 0) {
		for (int i = 0; i < 4; i++) {
			ssize_t n = fds[i].revents ? read(from[i], data, sizeof(data)) : -1;

			if (n == 0 && i == 0)
				_exit(0);
			if (n > 0 && write_all(to[i], data, (size_t)n, NULL) < 0)
				_exit(1);
		}
	}
}

/* what a native worker gone wrong does */
static inline void rig_misbehave(const char *how)
{
	if (strcmp(how, "socket") == 0)
		_exit(socket(AF_INET, SOCK_STREAM, 0) < 0 ? 41 : 40);
	if (strcmp(how, "unix") == 0)
		_exit(socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? 41 : 40);
	if (strcmp(how, "read") == 0)
		_exit(open("/etc/hostname", O_RDONLY) < 0 ? 41 : 40);
	if (strcmp(how, "memory") == 0)
		_exit(malloc(64 << 20) ? 40 : 41);
	if (strcmp(how, "file") == 0) {
		int fd = open("big", O_WRONLY | O_CREAT, 0600);

		_exit(fd < 0 ? 42 : ftruncate(fd, 2 << 20) < 0 ? 41 : 40);
	}
	if (strcmp(how, "sleep") == 0) {
		for (;;)
			pause();
	}
	if (strcmp(how, "abort") == 0)
		abort();
	_exit(42);
}

__attribute__((constructor)) static void rig_reentry(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--relay") == 0)
		rig_relay();
	if (argc > 2 && strcmp(argv[1], "--misbehave") == 0)
		rig_misbehave(argv[2]);
}

/* ---- the test's side ---- */

struct rig {
	struct spawner *sp;
	pid_t pid;
	int exit_fd;
	int cell_out, cell_in; /* frames */
	int line_out, line_in;
};

static inline const char *rig_self(void)
{
	static char path[4096];

	cr_assert_gt(readlink("/proc/self/exe", path, sizeof(path) - 1), 0);
	return path;
}

static inline void rig_open(struct rig *rig)
{
	int down[2], up[2], line[2], reply[2], fds[2];
	const char *argv[] = {rig_self(), "--relay", NULL}, *env[] = {"PATH=/usr/bin:/bin", NULL};
	struct spawn_request rq = {.kind = SPAWN_RUNNER,
		.argv = argv,
		.env = env,
		.cwd = "/",
		.err = 2,
		.nfds = 2,
		.fds = fds};
	struct err err = ERR_NONE;

	memset(rig, 0, sizeof(*rig));
	cr_assert_eq(spawner_start(&rig->sp, &err), 0, "%s", err.text);
	cr_assert_eq(pipe2(down, O_CLOEXEC) | pipe2(up, O_CLOEXEC) | pipe2(line, O_CLOEXEC) |
			     pipe2(reply, O_CLOEXEC),
		0);
	rq.in = down[0];
	rq.out = up[1];
	fds[0] = line[0];
	fds[1] = reply[1];
	cr_assert_eq(
		spawner_spawn(rig->sp, &rq, &rig->pid, &rig->exit_fd, &err), 0, "%s", err.text);
	close(down[0]);
	close(up[1]);
	close(line[0]);
	close(reply[1]);
	rig->cell_out = down[1];
	rig->cell_in = up[0];
	rig->line_out = line[1];
	rig->line_in = reply[0];
}

static inline void rig_close(struct rig *rig)
{
	close(rig->cell_out);
	close(rig->cell_in);
	close(rig->line_out);
	close(rig->line_in);
	close(rig->exit_fd);
	spawner_stop(rig->sp);
}

static inline void rig_send(struct rig *rig, const char *text, size_t len)
{
	const unsigned char head[4] = {len & 255, len >> 8 & 255, len >> 16 & 255, len >> 24 & 255};

	cr_assert_eq(write_all(rig->cell_out, head, 4, NULL), 0);
	cr_assert_eq(write_all(rig->cell_out, text, len, NULL), 0);
}

/* the next frame; false when none came in ${ms} */
static inline bool rig_receive(struct rig *rig, struct buf *out, int ms)
{
	struct pollfd pfd = {.fd = rig->cell_in, .events = POLLIN};
	unsigned char head[4];
	size_t len, got = 0;

	buf_reset(out);
	while (got < 4) {
		if (poll(&pfd, 1, ms) != 1)
			return false;
		ssize_t n = read(rig->cell_in, head + got, 4 - got);
		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	len = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
	cr_assert_leq(len, 3 << 20);
	buf_reserve(out, len);
	while (out->len < len) {
		ssize_t n = read(rig->cell_in, out->data + out->len, len - out->len);

		cr_assert_gt(n, 0);
		out->len += (size_t)n;
	}
	out->data[len] = 0;
	return true;
}

/* a line to the spawner and its answer */
static inline const char *rig_line(struct rig *rig, const char *line)
{
	static char answer[200];
	size_t n = 0;

	cr_assert_eq(write_all(rig->line_out, line, strlen(line), NULL), 0);
	while (n < sizeof(answer) - 1 && read(rig->line_in, answer + n, 1) == 1 &&
		answer[n] != '\n')
		n++;
	answer[n] = 0;
	return answer;
}

/* load one recipe; ${more} continues the frame (",\"eval\":true") */
static inline void rig_load(struct rig *rig, const char *source, const char *more)
{
	struct buf frame = BUF_INIT, reply = BUF_INIT;

	buf_puts(&frame,
		"{\"op\":\"load\",\"recipes\":[{\"id\":\"r1\",\"name\":\"one\",\"source\":");
	json_put_text(&frame, source);
	buf_addf(&frame, "}],\"pack\":null,\"index\":null,\"rag\":false,\"lm\":null%s}", more);
	rig_send(rig, frame.data, frame.len);
	cr_assert(rig_receive(rig, &reply, 20000), "no answer to load");
	cr_assert(strncmp(buf_str(&reply), "{\"op\":\"loaded\",", 15) == 0, "%s", buf_str(&reply));
	buf_release(&frame);
	buf_release(&reply);
}

static inline const char *rig_call(struct rig *rig, const char *input, struct buf *reply)
{
	struct buf frame = BUF_INIT;

	if (strcmp(rig_line(rig, "arm\n"), "ok") != 0)
		cr_assert_fail("cannot arm: %s", rig_line(rig, "new\n"));
	buf_addf(&frame, "{\"op\":\"call\",\"input\":%s,\"params\":null}", input);
	rig_send(rig, frame.data, frame.len);
	buf_release(&frame);
	if (!rig_receive(rig, reply, 20000))
		cr_assert_fail("no answer to call: %s", rig_line(rig, "new\n"));
	return buf_str(reply);
}

#endif
