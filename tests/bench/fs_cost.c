/*
 * fs_cost - what an operation on a mount costs, beside the same operation on another mount with the
 * same names: the two take turns, so that what else the machine does falls on both.
 *
 *   usage: fs_cost OURS BARE SLUG INDEX     a line for each operation: name, microseconds here,
 *                                           there, ratio (the lower decile of the rounds)
 *          fs_cost queries OURS BARE INDEX  the same of questions nobody asked before
 *          fs_cost append STORE SLUG        microseconds of one captures_append(), and of the same
 *                                           write under the same lock without it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/captures.h"

enum { ROUNDS = 41, CALLS = 100, APPENDS = 4000, PATH_BYTES = 512 };

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* what it costs when nothing else runs: the tenth part of the rounds was faster. A median would
 * measure the machine's other work. */
static double decile(double *list, size_t n)
{
	qsort(list, n, sizeof(*list), compare);
	return list[n / 10];
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- operations; each on one path, ${fd} an open of it where the operation wants one ---- */

static void op_stat(const char *path, int fd)
{
	struct stat st;

	(void)fd;
	if (stat(path, &st) < 0)
		die(path);
}

static void op_read(const char *path, int fd)
{
	char data[65536];

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, data, sizeof(data)) < 0 || close(fd) < 0)
		die(path);
}

static void op_write(const char *path, int fd)
{
	if (write(fd, "# nothing\n", 10) != 10)
		die(path);
}

/* as `echo ... > ctl` does it */
static void op_command(const char *path, int fd)
{
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	op_write(path, fd);
	close(fd);
}

static void op_ask(const char *path, int fd)
{
	char data[65536];

	if (write(fd, "refund policy\n", 14) != 14 || pread(fd, data, sizeof(data), 0) < 0)
		die(path);
}

/* the question with capitals as the bits of a counter say: the same words, and none that was asked
 * in the last four thousand */
static void new_question(char *out, char blank)
{
	static unsigned n;
	unsigned bits = ++n;

	for (const char *p = "refund policy"; *p != '\0'; p++) {
		if (*p == ' ') {
			*out++ = blank;
			continue;
		}
		*out++ = (char)(bits & 1 ? *p - 'a' + 'A' : *p);
		bits >>= 1;
	}
	*out = '\0';
}

static void op_read_new(const char *path, int fd)
{
	char name[PATH_BYTES], text[32];

	new_question(text, '+');
	(void)snprintf(name, sizeof(name), "%s%s", path, text);
	op_read(name, fd);
}

static void op_ask_new(const char *path, int fd)
{
	char data[65536], text[32];
	size_t len;

	new_question(text, ' ');
	len = strlen(text);
	text[len++] = '\n';
	if (write(fd, text, len) != (ssize_t)len || pread(fd, data, sizeof(data), 0) < 0)
		die(path);
}

struct op {
	const char *name, *file;
	void (*fn)(const char *path, int fd);
	bool in_index, opens;
};
static const struct op ops[] = {
	{"stat HEAD", "HEAD", op_stat, false, false},
	{"stat status", "status", op_stat, false, false},
	{"open+read+close HEAD", "HEAD", op_read, false, false},
	{"open+read+close status", "status", op_read, false, false},
	{"ctl write", "ctl", op_write, false, true},
	{"ctl open+write+close", "ctl", op_command, false, false},
	{"query by name", "query?q=refund+policy", op_read, true, false},
	{"query, written and read", "query", op_ask, true, true},
};
static const struct op new_ops[] = {
	{"query by name, asked first", "query?q=", op_read_new, true, false},
	{"query, written and read, asked first", "query", op_ask_new, true, true},
};

static double round_of(const struct op *op, const char *path, int fd)
{
	double t = now_us();

	for (int i = 0; i < CALLS; i++)
		op->fn(path, fd);
	return (now_us() - t) / CALLS;
}

static void run_op(const struct op *op, char *const mounts[2], const char *slug, const char *index)
{
	double cost[2][ROUNDS], ours, bare;
	char path[2][PATH_BYTES];
	int fd[2] = {-1, -1};

	for (int m = 0; m < 2; m++) {
		(void)snprintf(path[m], PATH_BYTES, "%s/%s%s/%s", mounts[m],
			op->in_index ? "rag/" : "", op->in_index ? index : slug, op->file);
		if (op->opens && (fd[m] = open(path[m], O_RDWR | O_CLOEXEC)) < 0)
			die(path[m]);
		(void)round_of(op, path[m], fd[m]);
	}
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < 2; i++) {
			int m = (r + i) % 2;

			cost[m][r] = round_of(op, path[m], fd[m]);
		}
	}
	ours = decile(cost[0], ROUNDS);
	bare = decile(cost[1], ROUNDS);
	printf("%s\t%.1f\t%.1f\t%.2f\n", op->name, ours, bare, ours / bare);
	for (int m = 0; m < 2; m++)
		if (fd[m] >= 0)
			close(fd[m]);
}

static const char row[] =
	"{\"input\":{\"text\":\"a row as a program writes it\"},\"output\":{\"text\":"
	"\"what it should have said\"}}";

/* a write of the same bytes under the same lock, and nothing else */
static void bare_append(int dirfd)
{
	int fd = openat(dirfd, "captures.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(fd, row, sizeof(row) - 1) < 0 ||
		write(fd, "\n", 1) < 0 || close(fd) < 0)
		die("captures.jsonl");
}

static int append(const char *path, const char *slug)
{
	double cost[2][APPENDS], t;
	struct err err = ERR_NONE;
	struct store st;
	struct tune tn;

	if (store_open(path, &st, &err) < 0 || tune_open(&st, slug, &tn, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (int i = 0; i < APPENDS; i++) {
		t = now_us();
		if (captures_append(&tn, row, sizeof(row) - 1, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		cost[0][i] = now_us() - t;
		t = now_us();
		bare_append(tn.dir);
		cost[1][i] = now_us() - t;
	}
	printf("capture append\t%.1f\t%.1f\t%.2f\n", decile(cost[0], APPENDS),
		decile(cost[1], APPENDS), decile(cost[0], APPENDS) / decile(cost[1], APPENDS));
	tune_close(&tn);
	store_close(&st);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "append") == 0)
		return append(argv[2], argv[3]);
	bool all = argc == 5 && strcmp(argv[1], "queries") != 0;

	if (argc != 5) {
		fputs("usage: fs_cost OURS BARE SLUG INDEX | queries OURS BARE INDEX |\n"
		      "               append STORE SLUG\n",
			stderr);
		return 1;
	}
	if (all)
		for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
			run_op(&ops[i], argv + 1, argv[3], argv[4]);
	else
		for (size_t i = 0; i < sizeof(new_ops) / sizeof(new_ops[0]); i++)
			run_op(&new_ops[i], argv + 2, "", argv[4]);
	return 0;
}
