/* store/log_parts: the logs turn over at their bound, and nothing of them is lost or hidden. */
#include <sys/wait.h>
#include <zstd.h>

#include "store/private.h"
#include "store_rig.h"

static size_t parts_of(const struct rig *r, const char *stem, struct log_parts *ps)
{
	struct err err = ERR_NONE;

	cr_assert_eq(parts_list(&r->st, stem, ps, &err), 0, "%s", err.text);
	return ps->n;
}

/* a log of ${lines} lines in parts of 4 KiB */
static void long_log(struct rig *r, int lines)
{
	r->st.log_bytes = LOG_TURN_MIN;
	for (int i = 1; i <= lines; i++)
		say_line(r, "e", i);
}

Test(log, turns_over_and_the_chain_goes_on)
{
	struct log_parts ps;
	struct rig r;
	struct stat sb;
	uint64_t n;
	size_t seen = 0;

	rig_open(&r);
	long_log(&r, 100);
	cr_assert_gt(parts_of(&r, "tune", &ps), 3);
	for (size_t i = 0; i < ps.n; i++)
		cr_expect(ps.part[i].is_packed, "part %zu is not packed", i);
	parts_release(&ps);
	cr_assert_eq(fstatat(r.st.logs, "tune.jsonl", &sb, 0), 0);
	cr_expect_lt(sb.st_size, LOG_TURN_MIN + 400);
	works(log_verify(&r.st, &n, &r.err));
	cr_expect_eq(n, 100);
	for (size_t i = 0;; i++) {
		struct buf lines = BUF_INIT;
		int rc = log_slug_back(&r.st, "demo", i, &lines, &r.err);

		seen += count_text(buf_str(&lines), "\n");
		buf_release(&lines);
		if (rc == -ENOENT)
			break;
		works(rc);
	}
	cr_expect_eq(seen, 100);
	rig_close(&r);
}

/* the name of the ${i}th part */
static void nth_part(const struct rig *r, size_t i, char out[PART_NAME_BYTES])
{
	struct log_parts ps;

	cr_assert_gt(parts_of(r, "tune", &ps), i);
	(void)snprintf(
		out, PART_NAME_BYTES, "tune.%llu.jsonl.zst", (unsigned long long)ps.part[i].number);
	parts_release(&ps);
}

/* the digest of the text in the ${i}th part */
static void part_sha(const struct rig *r, size_t i, char out[HASH_HEX_BYTES])
{
	static char text[1 << 16];
	struct err err = ERR_NONE;
	struct log_parts ps;

	cr_assert_gt(parts_of(r, "tune", &ps), i);
	int fd = part_open(&r->st, "tune", &ps.part[i], &err);
	ssize_t n = pread(fd, text, sizeof(text), 0);

	cr_assert(n > 0 && n < (ssize_t)sizeof(text), "%s", err.text);
	sha256_hex(text, (size_t)n, out);
	close(fd);
	parts_release(&ps);
}

Test(log, damage_to_a_part_is_named)
{
	char name[PART_NAME_BYTES], other[PART_NAME_BYTES], want[100];
	char sha[HASH_HEX_BYTES], now[HASH_HEX_BYTES];
	size_t spared = 0;
	struct rig r;

	rig_open(&r);
	long_log(&r, 100);
	nth_part(&r, 1, name);
	part_sha(&r, 1, sha);
	nth_part(&r, 2, other);
	struct buf text = get(r.st.logs, name);

	/* a byte; a few bits of a frame say nothing: every character is still what it was */
	for (size_t i = 0; i < text.len; i += 7) {
		text.data[i] ^= 4;
		put(r.st.logs, name, text.data, text.len);
		text.data[i] ^= 4;
		(void)snprintf(want, sizeof(want), " of logs/%s: ", name);
		if (log_verify(&r.st, NULL, &r.err) == 0) {
			part_sha(&r, 1, now);
			cr_assert_str_eq(now, sha, "byte %zu", i);
			spared++;
			continue;
		}
		fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, want);
	}
	cr_assert_lt(spared, text.len / 7 / 10);
	put(r.st.logs, name, text.data, text.len - 9); /* cut */
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "it cannot be unpacked");
	put(r.st.logs, name, text.data, text.len);
	works(log_verify(&r.st, NULL, &r.err));
	cr_assert_eq(renameat(r.st.logs, name, r.st.logs, "away"), 0); /* gone */
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "chain breaks at line 1 of logs/");
	cr_assert_eq(renameat(r.st.logs, "away", r.st.logs, name), 0);
	cr_assert_eq(
		renameat2(r.st.logs, name, r.st.logs, other, RENAME_EXCHANGE), 0); /* swapped */
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "chain breaks at line ");
	cr_assert_eq(renameat2(r.st.logs, name, r.st.logs, other, RENAME_EXCHANGE), 0);
	works(log_verify(&r.st, NULL, &r.err));
	put(r.st.logs, "tune.jsonl", "", 0); /* the current one emptied */
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "lines are missing at the end");
	buf_release(&text);
	rig_close(&r);
}

/* a log that turns over at its next line; the seq of its last */
static uint64_t before_turn(struct rig *r)
{
	struct stat sb = {.st_size = 0};
	uint64_t seq;
	int i = 0;

	r->st.log_bytes = 1 << 20;
	while (sb.st_size < LOG_TURN_MIN) {
		say_line(r, "e", ++i);
		cr_assert_eq(fstatat(r->st.logs, "tune.jsonl", &sb, 0), 0);
	}
	r->st.log_bytes = LOG_TURN_MIN;
	cr_assert_eq(log_ready(&r->st, &seq, &r->err), 0, "%s", r->err.text);
	return seq;
}

/* what a process may leave that is killed anywhere while a log turns over */
Test(log, a_turn_that_died_anywhere)
{
	char part[PART_NAME_BYTES], packed[PART_NAME_BYTES + 8];
	uint64_t seq, n;
	struct log_parts ps;
	struct rig r;

	for (int at = 0; at < 6; at++) {
		rig_open(&r);
		seq = before_turn(&r);
		(void)snprintf(part, sizeof(part), "tune.%llu.jsonl", (unsigned long long)seq);
		(void)snprintf(packed, sizeof(packed), "%s.zst", part);
		if (at == 0) /* the empty file was made */
			put_text(r.st.logs, part, "");
		if (at == 1) /* exchanged; the tip still tells of the old file */
			cr_assert_eq(part_turn(&r.st, "tune", seq, &r.err), 1);
		if (at == 2) { /* the tip of before, or none, is what a power cut left */
			cr_assert_eq(part_turn(&r.st, "tune", seq, &r.err), 1);
			(void)unlinkat(r.st.logs, ".tune.tip", 0);
		}
		if (at == 3) { /* where names cannot be exchanged: no log at all */
			cr_assert_eq(part_turn(&r.st, "tune", seq, &r.err), 1);
			cr_assert_eq(unlinkat(r.st.logs, "tune.jsonl", 0), 0);
		}
		if (at == 4) { /* the line was written, nothing packed, half a packed file */
			say_line(&r, "turned", 1);
			struct buf text = get(r.st.logs, packed);

			put(r.st.logs, ".tune.9.jsonl.zst.tmp.999999.0", text.data, 20);
			buf_release(&text);
		}
		if (at == 5) { /* packed, and the plain one still there */
			struct buf text = get(r.st.logs, "tune.jsonl");

			say_line(&r, "turned", 1);
			put(r.st.logs, part, text.data, text.len);
			buf_release(&text);
		}
		works(log_verify(&r.st, &n, &r.err));
		cr_expect_eq(n, seq + (at >= 4));
		if (at % 2 == 1)
			works(store_recover(&r.st, &r.err));
		say_line(&r, "turned", 2);
		works(store_recover(&r.st, &r.err));
		works(log_verify(&r.st, &n, &r.err));
		/* half a packed file is a temporary name, and its removal has a line */
		cr_expect_eq(n, seq + 1 + (at >= 4) + (at == 4), "at %d: %llu lines of %llu", at,
			(unsigned long long)n, (unsigned long long)seq);
		cr_expect_eq(in_log(&r, "\"turned\",\"n\":2,"), 1);
		cr_expect_eq(parts_of(&r, "tune", &ps), 1, "at %d", at);
		cr_expect(ps.part[0].is_packed && ps.part[0].number == seq);
		parts_release(&ps);
		cr_expect(!is_there(r.st.logs, part) &&
			  !is_there(r.st.logs, ".tune.9.jsonl.zst.tmp.999999.0"));
		rig_close(&r);
	}
}

/* a frame of 12 KiB that holds more than a part may, and a part that must not become one */
Test(log, what_is_too_long_is_neither_packed_nor_unpacked)
{
	const struct log_part bomb = {.number = 8, .is_packed = true};
	const size_t len = PART_BYTES_MAX + 1;
	struct log_parts ps;
	struct rig r;
	int fd;

	rig_open(&r);
	{
		char *text = calloc(1, len), *frame = malloc(ZSTD_compressBound(len));
		size_t n = ZSTD_compress(frame, ZSTD_compressBound(len), text, len, 1);

		cr_assert(!ZSTD_isError(n) && n < 32768);
		put(r.st.logs, "tune.8.jsonl.zst", frame, n);
		free(frame);
		free(text);
	}
	fails(part_open(&r.st, "tune", &bomb, &r.err), EFBIG,
		"logs/tune.8.jsonl.zst unpacks to more than 128 MiB; unpack it with zstd -d");
	fd = openat(r.st.logs, "tune.9.jsonl", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, (off_t)len), 0);
	close(fd);
	put_text(r.st.logs, "tune.10.jsonl", "{}\n");
	parts_pack(&r.st, "tune");
	cr_expect_eq(parts_of(&r, "tune", &ps), 3);
	cr_expect(!ps.part[1].is_packed && ps.part[2].is_packed);
	parts_release(&ps);
	cr_expect(is_there(r.st.logs, "tune.9.jsonl") && !is_there(r.st.logs, "tune.10.jsonl"));
	rig_close(&r);
}

/* lines of other programs behind our last one, and half a line, go with the part */
Test(log, turns_over_behind_foreign_and_torn_lines)
{
	static const char foreign[] = "{\"event\":\"step_complete\",\"revision\":\"v3\"}\n{\"to";
	struct rig r;
	uint64_t n, seq;
	int fd;

	rig_open(&r);
	seq = before_turn(&r);
	fd = openat(r.st.logs, "tune.jsonl", O_WRONLY | O_APPEND);
	cr_assert_eq(write(fd, foreign, strlen(foreign)), (ssize_t)strlen(foreign));
	close(fd);
	say_line(&r, "e", 1);
	works(log_verify(&r.st, &n, &r.err));
	cr_expect_eq(n, seq + 3);
	cr_expect_eq(in_log(&r, "\n"), 1);
	rig_close(&r);
}

/* a store that cannot pack goes on with the plain part; one that cannot turn over grows */
Test(log, turns_over_as_far_as_it_can)
{
	char name[PART_NAME_BYTES];
	struct rig r;
	uint64_t seq, n;

	rig_open(&r);
	seq = before_turn(&r);
	(void)snprintf(name, sizeof(name), "tune.%llu.jsonl", (unsigned long long)seq);
	put_text(r.st.logs, name, "in the way");
	say_line(&r, "e", 1);
	cr_expect(same_file(r.st.logs, name, "in the way"));
	cr_assert_eq(unlinkat(r.st.logs, name, 0), 0);
	say_line(&r, "e", 2);
	works(log_verify(&r.st, &n, &r.err));
	cr_expect_eq(n, seq + 2);
	rig_close(&r);
}

/* what the log is asked for is found over a turn */
Test(log, a_turn_hides_nothing)
{
	const struct log_entry promoted = {.event = "promoted",
		.fields = "\"revision\":\"v1\",\"previous\":\"v0\",\"id\":\"once\"",
		.slug = "demo"};
	struct head hd;
	struct rig r;
	uint64_t n, seq;

	rig_open(&r);
	works(log_ready(&r.st, &seq, &r.err));
	works(head_promote(&r.tn, "v1", &promoted, &r.err));
	(void)before_turn(&r);
	say_line(&r, "e", 1);
	cr_expect_eq(in_log(&r, "promoted"), 0);
	works(head_logged(&r.tn, &hd, &r.err));
	cr_expect_str_eq(hd.head, "v1");
	cr_expect_eq(request_done(&r.tn, "once", "promoted", "v1", &hd, &r.err), 1);
	cr_expect_eq(request_done(&r.tn, "other", "promoted", "v1", &hd, &r.err), 0);
	works(log_once(&r.st, seq, &promoted, true, &r.err)); /* it stands there already */
	works(log_verify(&r.st, &n, &r.err));
	works(log_once(&r.st, n, &promoted, true, &r.err)); /* not behind its last line */
	cr_expect_eq(in_log(&r, "promoted"), 1);
	rig_close(&r);
}

Test(log, many_processes_turn_it_over)
{
	struct rig r;
	uint64_t n;

	rig_open_in(&r, "/dev/shm");
	r.st.log_bytes = LOG_TURN_MIN;
	for (int p = 0; p < 6; p++)
		if (fork() == 0) {
			for (int i = 0; i < 60; i++) {
				say_line(&r, "e", p * 100 + i);
				if (runs_append(&r.st, "{\"a run\":\"of something\"}", 24, NULL) <
					0)
					_exit(1);
			}
			_exit(0);
		}
	for (int p = 0; p < 6; p++) {
		int status;

		cr_assert(wait(&status) > 0 && status == 0);
	}
	works(log_verify(&r.st, &n, &r.err));
	cr_assert_eq(n, 360);
	rig_close(&r);
}

Test(log, runs_turn_over)
{
	struct log_parts ps;
	size_t seen = 0;
	struct rig r;

	rig_open(&r);
	r.st.log_bytes = LOG_TURN_MIN;
	for (int p = 0; p < 4; p++)
		if (fork() == 0) {
			for (int i = 0; i < 250; i++)
				if (runs_append(&r.st, "{\"a run\":\"of something\"}", 24, NULL) <
					0)
					_exit(1);
			_exit(0);
		}
	for (int p = 0; p < 4; p++) {
		int status;

		cr_assert(wait(&status) > 0 && status == 0);
	}
	cr_assert_gt(parts_of(&r, "runs", &ps), 4);
	for (size_t i = 0; i <= ps.n; i++) {
		struct buf text = BUF_INIT;
		int fd = i < ps.n ? part_open(&r.st, "runs", &ps.part[i], &r.err)
				  : openat(r.st.logs, "runs.jsonl", O_RDONLY);

		cr_assert_geq(fd, 0, "%s", r.err.text);
		cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
		works(read_fd(fd, 1 << 20, &text, &r.err));
		seen += count_text(buf_str(&text), "\"of something\"}\n");
		buf_release(&text);
		close(fd);
	}
	cr_expect_eq(seen, 1000, "%zu rows in %zu parts", seen, ps.n);
	parts_release(&ps);
	rig_close(&r);
}
