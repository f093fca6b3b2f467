/* store/captures: one writer path, and a reader of whatever lies there (FORMATS 6, BAD-INPUTS F;
 * reliability.md 1.4, 9.3). */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "store/private.h"
#include "store_rig.h"

#define NAME	    "captures.jsonl"
#define SLICE(text) ((struct json_slice){text, strlen(text)})

static int append(struct rig *r, const char *line)
{
	return captures_append(&r->tn, line, strlen(line), &r->err);
}

struct seen {
	struct buf text; /* "number@offset input|" a row */
};

static int see(void *arg, const struct capture_row *row, struct err *err)
{
	struct seen *s = arg;

	(void)err;
	return buf_addf(&s->text, "%llu %.*s%s%s|", (unsigned long long)row->number,
		(int)(row->input.len > 60 ? 60 : row->input.len), row->input.text,
		row->rev.len > 0 ? " rev" : "", row->drop ? " drop" : "");
}

/* scan ${name}: the rows as text, the counts */
static struct buf scan(struct rig *r, uint64_t end, struct capture_counts *counts)
{
	struct seen s = {BUF_INIT};
	int fd = captures_open(&r->tn, &r->err);

	cr_assert(fd >= 0, "%s", r->err.text);
	cr_assert_eq(captures_scan(fd, end, see, &s, counts, &r->err), 0, "%s", r->err.text);
	close(fd);
	(void)buf_puts(&s.text, "");
	return s.text;
}

#define rows_are(end, want)                                                                        \
	do {                                                                                       \
		struct buf got_ = scan(&r, end, &counts);                                          \
		cr_expect_str_eq(buf_str(&got_), want);                                            \
		buf_release(&got_);                                                                \
	} while (0)

Test(captures, a_row_as_we_write_it)
{
	const struct capture cp = {.input = SLICE(" { \"text\" : \"ring\\u0041 555\" } "),
		.output = SLICE("[1.50, true]"),
		.recipe = "scrubber",
		.latency_us = 812,
		.rev = "v3"};
	const struct capture drop = {.input = SLICE("1"), .of = "", .drop = true},
			     fix = {.input = SLICE("1"), .output = SLICE("null"), .of = "abc"};
	struct buf line = BUF_INIT;
	struct rig r;
	char id[33];

	rig_open(&r);
	cr_assert_eq(capture_render(&cp, &line, id), 0);
	cr_assert_eq(strncmp(line.data, "{\"ts\":\"20", 9), 0);
	char *at = strstr(line.data, ",\"input\"");
	char want[200];

	(void)snprintf(want, sizeof(want),
		",\"input\":{\"text\":\"ringA "
		"555\"},\"output\":[1.5,true],\"recipe\":\"scrubber\",\"latency_us\":812,\"rev\":"
		"\"v3\",\"id\":\"%s\",\"crc\":\"",
		id);
	cr_assert_eq(strncmp(at, want, strlen(want)), 0, "%s", line.data);
	cr_assert_eq(strlen(at) - strlen(want), 10);
	works(append(&r, line.data));
	line.data[20]++; /* any byte */
	fails(append(&r, line.data), EINVAL, "crc");
	buf_reset(&line);
	cr_assert_eq(capture_render(&drop, &line, id), 0);
	cr_assert_not_null(
		strstr(line.data, ",\"input\":1,\"recipe\":null,\"latency_us\":null,\"id\":\""));
	cr_assert_not_null(strstr(line.data, ",\"of\":null,\"drop\":true,\"crc\":\""));
	works(append(&r, line.data));
	buf_reset(&line);
	cr_assert_eq(capture_render(&fix, &line, id), 0);
	cr_assert_not_null(strstr(line.data, ",\"output\":null,"));
	cr_assert_not_null(strstr(line.data, ",\"of\":\"abc\",\"crc\":\""));
	buf_release(&line);
	rig_close(&r);
}

Test(captures, crc_is_crc32c)
{
	struct buf line = BUF_INIT;

	/* the well-known check value of CRC-32C is of "123456789"; sealing needs an object, so: of
	 * {"a":"123456789"} by an independent program */
	(void)buf_puts(&line, "{\"a\":\"123456789\"}");
	cr_assert_eq(crc_seal(&line, 0), 0);
	cr_assert_str_eq(line.data, "{\"a\":\"123456789\",\"crc\":\"7f2d49b4\"}");
	cr_assert(crc_holds(line.data, line.len));
	line.data[7]++;
	cr_assert_not(crc_holds(line.data, line.len));
	buf_release(&line);
}

Test(captures, what_may_enter)
{
	static const char *const bad[] = {"{}", "[]", "1", "null", "{\"input\":1}", "", "not json",
		"{\"input\":1,\"output\":2", "{\"output\":1,\"drop\":true}",
		"{\"input\":1,\"drop\":false}", "\xef\xbb\xbf{\"input\":1,\"output\":2}",
		"{\"input\":1,\n\"output\":2}", "{\"input\":1,\"input\":1,\"output\":2}",
		"{\"input\":\"\xff\",\"output\":2}"};
	struct capture_counts counts;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		fails(append(&r, bad[i]), EINVAL, "capture needs input and output");
	cr_assert_not(is_there(r.tn.dir, NAME));
	char *big = malloc(1000003);

	memset(big, 'x', 1000003);
	memcpy(big, "{\"input\":1,\"output\":\"", 21);
	memcpy(big + 999998, "\"}", 3);
	works(append(&r, big));
	memset(big + 999998, 'x', 3);
	memcpy(big + 999999, "\"}", 3);
	fails(append(&r, big), EMSGSIZE, "capture larger than 1000000 bytes");
	free(big);
	works(append(&r, "{\"input\":null,\"output\":false}"));
	works(append(&r, " {\"output\" : {} , \"input\" : [] , \"more\" : 1}\r"));
	works(append(&r, "{\"input\":{\"input\":1},\"drop\":true,\"output\":5}"));
	rows_are(UINT64_MAX, "0 1|1 null|2 []|3 {\"input\":1} drop|");
	cr_assert_eq(counts.rows, 4);
	rig_close(&r);
}

Test(captures, a_run_that_returned_nothing_is_no_row_and_not_broken)
{
	const struct capture cp = {.input = {"1", 1}, .recipe = "r"};
	struct capture_counts counts;
	struct buf line = BUF_INIT;
	struct rig r;
	char id[33];

	rig_open(&r);
	cr_assert_eq(capture_render(&cp, &line, id), 0);
	fails(captures_append(&r.tn, line.data, line.len, &r.err), EINVAL, "input and output");
	works(captures_append_run(&r.tn, &line, &r.err));
	works(append(&r, "{\"input\":2,\"output\":2}"));
	rows_are(UINT64_MAX, "1 2|");
	cr_assert_eq(counts.rows, 1);
	cr_assert_eq(counts.torn + counts.broken + counts.salvaged, 0);
	buf_release(&line);
	rig_close(&r);
}

Test(captures, half_a_line_at_the_end_is_healed)
{
	struct capture_counts counts;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, NAME, "{\"input\":1,\"output\":1}\n{\"input\":2,\"out");
	rows_are(UINT64_MAX, "0 1|");
	cr_assert_eq(counts.torn, 0); /* somebody may be writing it */
	cr_assert_eq(counts.bytes, 23);
	works(append(&r, "{\"input\":3,\"output\":3}"));
	rows_are(UINT64_MAX, "0 1|2 3|");
	cr_assert_eq(counts.torn, 1);
	cr_assert_eq(counts.broken_at[0], 23);
	/* a whole row that only lacks its line feed is a row once somebody appends */
	put_text(r.tn.dir, NAME, "{\"input\":1,\"output\":1}");
	works(append(&r, "{\"input\":2,\"output\":2}"));
	rows_are(UINT64_MAX, "0 1|1 2|");
	cr_assert_eq(counts.torn + counts.broken, 0);
	rig_close(&r);
}

Test(captures, salvage)
{
	static const char *const lines[] = {
		"{\"ts\":\"20{\"ts\":\"2031\",\"input\":{\"text\":\"a\"},\"output\":{\"text\":"
		"\"b\"},\"recipe\":null,\"latency_us\":null}",
		"{\"input\":{\"text\":\"x{\"input\":5,\"output\":{\"deep\":[{\"a\":1},{\"b\":{}}]}"
		"}",
		"{\"in", /* torn, nothing glued */
		"{\"input\":6,\"output\":{\"text\":\"half",
		"{\"input\":{\"inp{\"in{\"input\":7,\"output\":7}",
		"{\"input\":8,\"output\":8}{\"input\":9,\"output\":9}",
		"{\"input\":{\"q{\"input\":10,\"output\":1,\"crc\":\"00000000\"}", /* its crc is
										      wrong */
	};
	struct capture_counts counts;
	struct buf text = BUF_INIT;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		(void)buf_addf(&text, "%s\n", lines[i]);
	put(r.tn.dir, NAME, text.data, text.len);
	rows_are(UINT64_MAX, "0 {\"text\":\"a\"}|1 5|4 7|5 9|");
	cr_assert_eq(counts.salvaged, 4);
	cr_assert_eq(counts.torn, 3);
	cr_assert_eq(counts.rows, 4);
	buf_release(&text);
	rig_close(&r);
}

Test(captures, lines_that_are_no_rows)
{
	struct capture_counts counts;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, NAME,
		"{}\n[]\n1\nnull\n{\"input\":1}\n\n   \n\xef\xbb\xbf{\"input\":5,\"output\":5}\n  "
		"{\"input\":2,\"output\":2}  \n{\"input\":3,\"output\":3}\r\n"
		"{\"\\u0069nput\":4,\"output\":4,\"rev\":\"v1\"}\n");
	rows_are(UINT64_MAX, "8 2|9 3|10 4 rev|");
	cr_assert_eq(counts.broken + counts.salvaged, 6 - counts.torn);
	cr_assert_eq(counts.torn, 0);
	/* only what begins before the end that was frozen */
	rows_are(63, "");
	rows_are(counts.bytes, "");
	rig_close(&r);
}

Test(captures, holes_nuls_and_endless_lines_cost_no_memory)
{
	static char chunk[1 << 20];
	struct capture_counts counts;
	struct rusage before, after;
	struct rig r;
	int fd;

	rig_open(&r);
	memset(chunk, 'x', sizeof(chunk));
	fd = openat(r.tn.dir, NAME, O_WRONLY | O_CREAT | O_APPEND, 0600);
	cr_assert_eq(write(fd, "{\"input\":1,\"output\":1}\n", 23), 23);
	cr_assert_eq(write(fd, "\0\0\0\0\n", 5), 5);
	for (int i = 0; i < 40; i++)
		cr_assert_eq(write(fd, chunk, sizeof(chunk)), (ssize_t)sizeof(chunk));
	cr_assert_eq(write(fd, "\n{\"input\":2,\"output\":2}\n", 24), 24);
	cr_assert_eq(ftruncate(fd, (off_t)200 << 30), 0); /* a hole of 200 GB */
	cr_assert_eq(write(fd, "{\"input\":3,\"output\":3}\n", 23), 23);
	cr_assert_eq(write(fd, "{\"input\":4,\"output\":4}\n", 23), 23);
	close(fd);
	getrusage(RUSAGE_SELF, &before);
	rows_are(UINT64_MAX, "0 1|3 2|4 3|5 4|");
	getrusage(RUSAGE_SELF, &after);
	cr_assert_lt(after.ru_maxrss - before.ru_maxrss, 8 * 1024, "%ld KiB",
		after.ru_maxrss - before.ru_maxrss);
	cr_assert_eq(counts.oversize, 1);
	cr_assert_eq(counts.salvaged, 1);
	cr_assert_eq(counts.broken, 1);
	cr_assert_eq(counts.broken_at[0], 23);
	cr_assert_eq(counts.broken_at[1], 28);
	cr_assert_eq(counts.bytes, ((uint64_t)200 << 30) + 46);
	rig_close(&r);
}

Test(captures, count_reads_only_what_is_new)
{
	struct capture_cache cache = {0};
	struct capture_counts counts;
	struct rig r;

	rig_open(&r);
	works(captures_count(&r.tn, &cache, &counts, &r.err));
	cr_assert_eq(counts.rows, 0);
	fails(captures_open(&r.tn, &r.err), ENOENT, "no captures yet");
	works(append(&r, "{\"input\":1,\"output\":1}"));
	works(captures_count(&r.tn, &cache, &counts, &r.err));
	works(captures_sync(&r.tn, &r.err));
	int fd = openat(r.tn.dir, NAME, O_WRONLY);

	cr_assert_eq(pwrite(fd, "##", 2, 0), 2); /* it is not read again */
	close(fd);
	works(append(&r, "{\"input\":2,\"output\":2}"));
	works(captures_count(&r.tn, &cache, &counts, &r.err));
	cr_assert_eq(counts.rows, 2);
	cr_assert_eq(counts.torn + counts.broken, 0);
	put_text(r.tn.dir, NAME, "{\"input\":2,\"output\":2}\n");
	fails(captures_count(&r.tn, &cache, &counts, &r.err), ESTALE,
		"captures.jsonl was replaced or cut");
	works(captures_count(&r.tn, &cache, &counts, &r.err));
	cr_assert_eq(counts.rows, 1);
	(void)unlinkat(r.tn.dir, NAME, 0);
	cr_assert_eq(mkfifoat(r.tn.dir, NAME, 0600), 0);
	fails(captures_count(&r.tn, &cache, &counts, &r.err), EUCLEAN, "not a regular file");
	fails(append(&r, "{\"input\":2,\"output\":2}"), EUCLEAN, "not a regular file");
	rig_close(&r);
}

Test(captures, a_full_disk_leaves_no_half_line)
{
	struct rlimit lim = {100, RLIM_INFINITY};
	struct capture_counts counts;
	struct rig r;

	rig_open(&r);
	signal(SIGXFSZ, SIG_IGN);
	works(append(&r, "{\"input\":1,\"output\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"));
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
	cr_expect_lt(append(&r, "{\"input\":2,\"output\":"
				"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"),
		0);
	cr_expect_not_null(
		strstr(r.err.text, "no space left; nothing was changed"), "%s", r.err.text);
	lim.rlim_cur = RLIM_INFINITY;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
	rows_are(UINT64_MAX, "0 1|");
	works(append(&r, "{\"input\":3,\"output\":3}"));
	rows_are(UINT64_MAX, "0 1|1 3|");
	rig_close(&r);
}

/* ---- eight writers, one of them killed every few milliseconds ---- */

enum { WRITERS = 8, ROWS = 500, BODY = 60000 };

/* rows from..ROWS of writer ${w}; each acknowledged one is told to the parent */
static void write_rows(struct rig *r, int w, int from, int ack)
{
	char *line = malloc(BODY + 200);

	for (int i = from; i < ROWS; i++) {
		int n = sprintf(line, "{\"input\":\"w%d-%d\",\"output\":\"", w, i),
		    body = i % 7 == 0 ? BODY : 40 + i % 100;

		memset(line + n, 'a' + w, (size_t)body);
		(void)strcpy(line + n + body, "\"}");
		if (captures_append(&r->tn, line, strlen(line), &r->err) < 0 ||
			write(ack, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
	_exit(0);
}

struct tally {
	unsigned char n[WRITERS][ROWS];
	bool odd;
};

static int tally(void *arg, const struct capture_row *row, struct err *err)
{
	struct tally *t = arg;
	int w, i;

	(void)err;
	if (sscanf(row->input.text, "\"w%d-%d\"", &w, &i) != 2 || w < 0 || w >= WRITERS || i < 0 ||
		i >= ROWS)
		t->odd = true;
	else
		t->n[w][i]++;
	return 0;
}

Test(captures, eight_writers_and_kills_lose_no_good_line, .timeout = 120)
{
	struct capture_counts counts;
	static bool acked[WRITERS][ROWS];
	static struct tally t;
	int ack[WRITERS][2], first[WRITERS] = {0}, kills = 0, alive = WRITERS;
	pid_t pid[WRITERS];
	unsigned seed = 7;
	struct rig r;

	rig_open(&r);
	for (int w = 0; w < WRITERS; w++) {
		cr_assert_eq(pipe2(ack[w], O_CLOEXEC | O_NONBLOCK), 0);
		pid[w] = fork();
		if (pid[w] == 0)
			write_rows(&r, w, 0, ack[w][1]);
	}
	while (alive > 0) {
		struct timespec nap = {.tv_nsec = 200000};
		int w = rand_r(&seed) % WRITERS, status, i, next;

		nanosleep(&nap, NULL);
		if (pid[w] > 0 && kills < 80 && kill(pid[w], SIGKILL) == 0)
			kills++;
		for (w = 0; w < WRITERS; w++) {
			bool ended = pid[w] > 0 && waitpid(pid[w], &status, WNOHANG) == pid[w];

			while (read(ack[w][0], &i, sizeof(i)) == sizeof(i))
				acked[w][i] = true;
			if (!ended)
				continue;
			for (next = ROWS; next > first[w] && !acked[w][next - 1]; next--)
				;
			/* what was killed may be in the file or not: its number is not used again,
			 * also when the next one is killed before it acknowledged anything */
			first[w] = next + 1;
			pid[w] = first[w] < ROWS && WIFSIGNALED(status) ? fork() : -1;
			if (pid[w] == 0)
				write_rows(&r, w, first[w], ack[w][1]);
			alive -= pid[w] < 0;
		}
	}
	int fd = captures_open(&r.tn, &r.err);

	works(captures_scan(fd, UINT64_MAX, tally, &t, &counts, &r.err));
	close(fd);
	cr_assert_not(t.odd);
	for (int w = 0; w < WRITERS; w++)
		for (int i = 0; i < ROWS; i++) {
			cr_expect(t.n[w][i] == 1 || (!acked[w][i] && t.n[w][i] == 0),
				"row w%d-%d: %d times, %s", w, i, t.n[w][i],
				acked[w][i] ? "acked" : "not acked");
		}
	cr_assert_gt(kills, 20);
	cr_assert_eq(counts.salvaged, 0);
	cr_assert_leq(counts.torn + counts.broken, (uint64_t)kills);
	fprintf(stderr, "%d kills, %llu rows, %llu torn\n", kills, (unsigned long long)counts.rows,
		(unsigned long long)counts.torn);
	for (int w = 0; w < WRITERS; w++)
		close(ack[w][0]), close(ack[w][1]);
	rig_close(&r);
}

/* every count that was acknowledged is there, whoever else was killed meanwhile */
Test(captures, counts_of_dropped_rows_outlive_kills, .timeout = 60)
{
	struct capture_drops n;
	uint64_t acked = 0;
	int kills = 0;
	struct rig r;

	rig_open(&r);
	for (int round = 0; round < 60; round++) {
		struct timespec nap = {.tv_nsec = 1000000 + round * 20000};
		int ack[2], status;
		char byte;
		pid_t pid[2];

		cr_assert_eq(pipe2(ack, O_CLOEXEC), 0);
		for (int i = 0; i < 2; i++) {
			pid[i] = fork();
			while (pid[i] == 0) {
				if (captures_drop(&r.tn, (struct capture_drops){1, 2}, NULL) < 0)
					_exit(1);
				(void)!write(ack[1], "", 1);
			}
		}
		close(ack[1]);
		nanosleep(&nap, NULL);
		for (int i = 0; i < 2; i++) {
			cr_assert_eq(kill(pid[i], SIGKILL), 0);
			cr_assert_eq(waitpid(pid[i], &status, 0), pid[i]);
			cr_assert(WIFSIGNALED(status), "captures_drop() failed");
			kills++;
		}
		while (read(ack[0], &byte, 1) == 1)
			acked++;
		close(ack[0]);
	}
	works(captures_dropped(&r.tn, &n, &r.err));
	cr_assert_gt(acked, 100);
	cr_expect(n.oversize >= acked && n.oversize <= acked + (uint64_t)kills,
		"%d kills, %llu acknowledged, %llu counted", kills, (unsigned long long)acked,
		(unsigned long long)n.oversize);
	cr_expect_eq(n.unfinished, 2 * n.oversize);
	rig_close(&r);
}
