/* store/log, append, journal: the audit log's chain (K15, K16), healing, jobs.jsonl. */
#include <math.h>
#include <sys/wait.h>
#include <zstd.h>

#include "store/private.h"
#include "store_rig.h"

static void say(struct rig *r, const char *event, int n)
{
	const struct by by = {.uid = 1, .pid = 2, .comm = "a\"\n\x1b"};
	char fields[40];
	struct log_entry entry = {.event = event, .fields = fields, .slug = "demo", .by = &by};

	(void)snprintf(fields, sizeof(fields), "\"n\":%d", n);
	cr_assert_eq(log_append(&r->st, &entry, &r->err), 0, "%s", r->err.text);
}

Test(log, a_line_and_its_chain)
{
	const struct log_entry bare = {.event = "watch_started"};
	struct json_slice line, value;
	char sha[HASH_HEX_BYTES], want[80];
	struct rig r;
	uint64_t n;

	rig_open(&r);
	say(&r, "one", 1);
	works(log_append(&r.st, &bare, &r.err));
	struct buf text = get(r.st.logs, "tune.jsonl");
	char *second = strchr(text.data, '\n') + 1;

	cr_assert_eq(
		strncmp(text.data, "{\"event\":\"one\",\"n\":1,\"slug\":\"demo\",\"ts\":\"20", 42),
		0);
	cr_assert_not_null(
		strstr(text.data, "Z\",\"job\":null,\"by\":{\"uid\":1,\"pid\":2,\"comm\":"
				  "\"a\\\"\\n\\u001b\"},\"seq\":1,\"prev\":\"" EMPTY_SHA "\"}\n"));
	sha256_hex(text.data, (size_t)(second - 1 - text.data), sha);
	line = (struct json_slice){second, strlen(second)};
	cr_assert(json_member(line, "prev", &value));
	(void)snprintf(want, sizeof(want), "\"%s\"", sha);
	cr_assert_eq(strncmp(value.text, want, 66), 0);
	cr_assert(json_member(line, "by", &value) && strncmp(value.text, "null", 4) == 0);
	works(log_verify(&r.st, &n, &r.err));
	cr_assert_eq(n, 2);
	buf_release(&text);
	works(log_slug(&r.st, "demo", &text, &r.err));
	cr_assert_eq(count_text(buf_str(&text), "\n"), 1);
	buf_release(&text);
	rig_close(&r);
}

Test(log, every_change_is_found)
{
	struct rig r;
	uint64_t n;

	rig_open(&r);
	for (int i = 1; i <= 6; i++)
		say(&r, "e", i);
	struct buf text = get(r.st.logs, "tune.jsonl");
	char *copy = strdup(text.data), *starts[7];

	for (size_t i = 0; i < text.len; i++) { /* one byte, anywhere */
		if (copy[i] == '\n')
			continue;
		copy[i] ^= 1;
		put(r.st.logs, "tune.jsonl", copy, text.len);
		copy[i] ^= 1;
		if (log_verify(&r.st, &n, &r.err) != -EKEYREJECTED)
			cr_assert_fail("a change of byte %zu was not seen", i);
		cr_assert_not_null(strstr(r.err.text, "chain breaks at line "));
	}
	starts[0] = text.data;
	for (int i = 1; i < 7; i++)
		starts[i] = strchr(starts[i - 1], '\n') + 1;
	for (int i = 0; i < 6; i++) { /* a line removed */
		struct buf cut = BUF_INIT;

		(void)buf_add(&cut, text.data, (size_t)(starts[i] - text.data));
		(void)buf_puts(&cut, starts[i + 1]);
		put(r.st.logs, "tune.jsonl", cut.data, cut.len);
		fails(log_verify(&r.st, &n, &r.err), EKEYREJECTED, "chain breaks at line ");
		buf_release(&cut);
	}
	for (int i = 0; i < 5; i++) { /* two swapped */
		struct buf cut = BUF_INIT;

		(void)buf_add(&cut, text.data, (size_t)(starts[i] - text.data));
		(void)buf_add(&cut, starts[i + 1], (size_t)(starts[i + 2] - starts[i + 1]));
		(void)buf_add(&cut, starts[i], (size_t)(starts[i + 1] - starts[i]));
		(void)buf_puts(&cut, starts[i + 2]);
		put(r.st.logs, "tune.jsonl", cut.data, cut.len);
		fails(log_verify(&r.st, &n, &r.err), EKEYREJECTED, "chain breaks at line ");
		buf_release(&cut);
	}
	put(r.st.logs, "tune.jsonl", text.data, text.len);
	works(log_verify(&r.st, &n, &r.err));
	free(copy);
	buf_release(&text);
	rig_close(&r);
}

Test(log, cut_replaced_or_removed)
{
	const struct log_entry entry = {.event = "e", .slug = "demo"};
	struct rig r;

	rig_open(&r);
	for (int i = 1; i <= 3; i++)
		say(&r, "e", i);
	struct buf text = get(r.st.logs, "tune.jsonl");

	put(r.st.logs, "tune.jsonl", text.data, text.len - 3);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut: last known line 3");
	put(r.st.logs, "tune.jsonl", "", 0);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut: last known line 3");
	(void)unlinkat(r.st.logs, "tune.jsonl", 0);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut: last known line 3");
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "chain breaks");
	cr_assert_eq(mkdirat(r.st.logs, "tune.jsonl", 0700), 0);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut");
	(void)unlinkat(r.st.logs, "tune.jsonl", AT_REMOVEDIR);
	cr_assert_eq(mkfifoat(r.st.logs, "tune.jsonl", 0600), 0);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut");
	(void)unlinkat(r.st.logs, "tune.jsonl", 0);
	text.data[5] ^= 1;
	put(r.st.logs, "tune.jsonl", text.data, text.len);
	works(log_append(&r.st, &entry, &r.err)); /* an old line: verify's business */
	text.data[5] ^= 1;
	text.data[text.len - 5] ^= 1;
	put(r.st.logs, "tune.jsonl", text.data, text.len);
	fails(log_append(&r.st, &entry, &r.err), EUCLEAN, "audit log was cut");
	buf_release(&text);
	rig_close(&r);
}

Test(log, goes_on_behind_torn_and_foreign_lines)
{
	struct rig r;
	uint64_t n;

	rig_open(&r);
	put_text(r.st.logs, "tune.jsonl",
		"{\"ts\":\"2031\",\"artifact\":\"x.kolm\",\"event\":\"watch_started\",\"captures\":"
		"1}\n");
	say(&r, "e", 1);
	static const char foreign[] = "{\"event\":\"step_complete\",\"revision\":\"v3\"}";

	works(append_line(r.st.logs, "tune.jsonl", foreign, strlen(foreign), false, &r.err));
	say(&r, "e", 2);
	int fd = openat(r.st.logs, "tune.jsonl", O_WRONLY | O_APPEND);

	cr_assert_eq(write(fd, "{\"event\":\"tor", 13), 13);
	close(fd);
	say(&r, "e", 3);
	(void)unlinkat(r.st.logs, ".tune.tip", 0); /* lost to a power cut */
	say(&r, "e", 4);
	works(log_verify(&r.st, &n, &r.err));
	cr_assert_eq(n, 7);
	for (int i = 1; i <= 4; i++) {
		char want[40];

		(void)snprintf(want, sizeof(want), "\"seq\":%d,", i);
		cr_assert_eq(in_log(&r, want), 1, "%s", want);
	}
	rig_close(&r);
}

Test(log, many_processes)
{
	struct rig r;
	uint64_t n;

	rig_open(&r);
	for (int p = 0; p < 6; p++)
		if (fork() == 0) {
			for (int i = 0; i < 40; i++)
				say(&r, "e", p * 100 + i);
			_exit(0);
		}
	for (int p = 0; p < 6; p++) {
		int status;

		cr_assert(wait(&status) > 0 && status == 0);
	}
	works(log_verify(&r.st, &n, &r.err));
	cr_assert_eq(n, 240);
	cr_assert_eq(in_log(&r, "\"seq\":240,"), 1);
	rig_close(&r);
}

/* ---- the checkpoint ---- */

static void signed_by(struct rig *r, const char *who, uint64_t seq)
{
	struct log_checkpoint end;

	cr_expect_eq(log_verify_signed(&r->st, NULL, &end, &r->err), 0, "%s", r->err.text);
	cr_expect_eq(strncmp(end.who, who, strlen(who)), 0, "\"%s\"", end.who);
	cr_expect_eq(end.who[0] == '\0', who[0] == '\0');
	cr_expect_eq(end.seq, seq);
}

/* cut a line off, and note the end as it is then, as somebody without the key can */
static void cut_and_note(struct rig *r, const char *stamp)
{
	struct buf text = get(r->st.logs, "tune.jsonl");
	char sha[HASH_HEX_BYTES], tip[500];
	char *last, *before;

	text.data[text.len - 1] = '\0';
	last = strrchr(text.data, '\n');
	*last = '\0';
	before = strrchr(text.data, '\n') + 1;
	sha256_hex(before, (size_t)(last - before), sha);
	(void)snprintf(tip, sizeof(tip), "2 %zu %zu %s %s ok\n", (size_t)(before - text.data),
		(size_t)(last - text.data) + 1, sha, stamp);
	*last = '\n';
	put(r->st.logs, "tune.jsonl", text.data, (size_t)(last - text.data) + 1);
	put_text(r->st.logs, ".tune.tip", tip);
	buf_release(&text);
}

Test(log, the_checkpoint_is_signed)
{
	struct artifact_keys keys = {.secret = ""};
	char fingerprint[FINGERPRINT_BYTES], who[80];
	struct rig r;

	rig_open(&r);
	say(&r, "e", 1);
	signed_by(&r, "", 1);
	put_text(r.st.dir, "config.json", "{\"local_receipt_secret\":\"one\"}");
	say(&r, "e", 2);
	signed_by(&r, "hmac-sha256", 2);
	put_text(r.st.dir, "config.json", "{\"local_receipt_secret\":\"two\"}");
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "another text or another secret");
	(void)snprintf(keys.key_dir, sizeof(keys.key_dir), "%s", r.path);
	works(keys_generate(&keys, false, fingerprint, &r.err));
	say(&r, "e", 3);
	(void)snprintf(who, sizeof(who), "ed25519 %s", fingerprint);
	signed_by(&r, who, 3);
	/* a key that was replaced is still the store's */
	works(keys_generate(&keys, true, fingerprint, &r.err));
	signed_by(&r, who, 3);
	say(&r, "e", 4);
	(void)snprintf(who, sizeof(who), "ed25519 %s", fingerprint);
	signed_by(&r, who, 4);
	rig_close(&r);
}

Test(log, a_cut_tail_is_not_noted_away_without_the_key)
{
	struct artifact_keys keys = {.secret = ""};
	char fingerprint[FINGERPRINT_BYTES], forged[STAMP_TEXT_BYTES];
	struct rig r, other;

	rig_open(&r);
	rig_open(&other);
	(void)snprintf(keys.key_dir, sizeof(keys.key_dir), "%s", r.path);
	works(keys_generate(&keys, false, fingerprint, &r.err));
	(void)snprintf(keys.key_dir, sizeof(keys.key_dir), "%s", other.path);
	works(keys_generate(&keys, false, fingerprint, &r.err));
	for (int i = 1; i <= 3; i++)
		say(&r, "e", i);
	struct buf log = get(r.st.logs, "tune.jsonl"), tip = get(r.st.logs, ".tune.tip");

	/* with the signature of the line that was the last */
	cut_and_note(&r, strstr(buf_str(&tip), "ed25519:"));
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "the signature is of another text");
	/* with another store's key */
	put(r.st.logs, "tune.jsonl", log.data, log.len);
	stamp_make(other.st.dir, "x", 1, forged);
	cut_and_note(&r, forged);
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "its key is none of the store's");
	put(r.st.logs, "tune.jsonl", log.data, log.len);
	cut_and_note(&r, "ed25519:00");
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "it is cut or changed");
	/* each character of the note, and the cut alone */
	put(r.st.logs, "tune.jsonl", log.data, log.len);
	for (size_t i = 0; i < strcspn(buf_str(&tip), ":") + 100; i++) {
		char was = tip.data[i];

		tip.data[i] = was == '7' ? '8' : '7';
		put(r.st.logs, ".tune.tip", tip.data, tip.len);
		if (log_verify(&r.st, NULL, &r.err) == 0) { /* as if nothing were noted */
			struct log_checkpoint end;

			works(log_verify_signed(&r.st, NULL, &end, &r.err));
			cr_expect_eq(end.who[0], '\0', "byte %zu: %s", i, end.who);
		}
		tip.data[i] = was;
	}
	put(r.st.logs, ".tune.tip", tip.data, tip.len);
	works(log_verify(&r.st, NULL, &r.err));
	put(r.st.logs, "tune.jsonl", log.data,
		(size_t)(strstr(log.data, ",\"n\":3,") - strlen("{\"event\":\"e\"") - log.data));
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "lines are missing at the end");
	/* an end noted by a version that did not sign is believed, and said to be unsigned */
	put(r.st.logs, "tune.jsonl", log.data, log.len);
	char *stamp = strstr(tip.data, "ed25519:");

	(void)strcpy(stamp, "ok\n");
	put_text(r.st.logs, ".tune.tip", tip.data);
	signed_by(&r, "", 3);
	buf_release(&log);
	buf_release(&tip);
	rig_close(&other);
	rig_close(&r);
}

/* ---- turning over ---- */

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
		say(r, "e", i);
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
		say(r, "e", ++i);
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
			say(&r, "turned", 1);
			struct buf text = get(r.st.logs, packed);

			put(r.st.logs, ".tune.9.jsonl.zst.tmp.999999.0", text.data, 20);
			buf_release(&text);
		}
		if (at == 5) { /* packed, and the plain one still there */
			struct buf text = get(r.st.logs, "tune.jsonl");

			say(&r, "turned", 1);
			put(r.st.logs, part, text.data, text.len);
			buf_release(&text);
		}
		works(log_verify(&r.st, &n, &r.err));
		cr_expect_eq(n, seq + (at >= 4));
		if (at % 2 == 1)
			works(store_recover(&r.st, &r.err));
		say(&r, "turned", 2);
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
	say(&r, "e", 1);
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
	say(&r, "e", 1);
	cr_expect(same_file(r.st.logs, name, "in the way"));
	cr_assert_eq(unlinkat(r.st.logs, name, 0), 0);
	say(&r, "e", 2);
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
	say(&r, "e", 1);
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
				say(&r, "e", p * 100 + i);
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

Test(log, runs)
{
	struct rig r;

	rig_open(&r);
	works(runs_append(&r.st, "{\"a\":1}", 7, &r.err));
	put_text(r.st.logs, "runs.jsonl", "{\"a\":1}\n{\"b");
	works(runs_append(&r.st, "{\"c\":1}", 7, &r.err));
	cr_assert(same_file(r.st.logs, "runs.jsonl", "{\"a\":1}\n{\"b\n{\"c\":1}\n"));
	rig_close(&r);
}

Test(journal, jobs_and_their_states)
{
	struct job_record jr = {.verb = "step epochs=1 \"x\"", .k = NAN}, got, *list;
	struct rig r;
	char name[40];
	size_t n;
	long max;

	rig_open(&r);
	works(journal_load(r.tn.dir, &list, &n, &r.err));
	cr_assert_eq(n, 0);
	free(list);
	fails(journal_get(r.tn.dir, 1, &got, &r.err), ENOENT, "no job 1");
	works(journal_rev_max(r.tn.dir, &max, &r.err));
	cr_assert_eq(max, -1);
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 1);
	cr_assert(is_there(r.tn.dir, "jobs/1"));
	jr.state = JOB_RUNNING;
	jr.started_ms = 1900000000123;
	(void)snprintf(jr.rev, sizeof(jr.rev), "v17");
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	jr.outcome = JOB_CRASHED;
	jr.signal = SIGKILL;
	jr.elapsed = 12.3;
	jr.k = 0.8746;
	jr.pass = 56;
	jr.total = 60;
	(void)snprintf(jr.error, sizeof(jr.error), "it \"broke\"\n");
	works(journal_append(r.tn.dir, &jr, &r.err));
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_DONE);
	cr_assert_eq(got.outcome, JOB_CRASHED);
	cr_assert_str_eq(job_outcome_name(got.outcome, got.signal, name), "crashed:SIGKILL");
	cr_assert_str_eq(got.verb, jr.verb);
	cr_assert_str_eq(got.error, jr.error);
	cr_assert_str_eq(got.rev, "v17");
	cr_assert_eq(got.started_ms, 1900000000123);
	cr_assert_eq(got.total, 60);
	cr_assert_float_eq(got.k, 0.8746, 0);
	cr_assert_float_eq(got.elapsed, 12.3, 0);
	works(journal_rev_max(r.tn.dir, &max, &r.err));
	cr_assert_eq(max, 17);
	rig_close(&r);
}

/* a damaged line is as if it were not there; its number is not used again */
Test(journal, damaged_lines_and_the_last_64)
{
	struct job_record jr = {.verb = "step", .k = NAN}, got, *list;
	struct rig r;
	size_t n;

	rig_open(&r);
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.state = JOB_RUNNING;
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	jr.k = 0.8746;
	works(journal_append(r.tn.dir, &jr, &r.err));
	struct buf text = get(r.tn.dir, "jobs.jsonl");

	text.data[text.len - 30] ^= 1;
	put(r.tn.dir, "jobs.jsonl", text.data, text.len);
	buf_release(&text);
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_RUNNING);
	cr_assert(isnan(got.k));
	put_text(r.tn.dir, "jobs.jsonl", "{\"job\":1,\"state\":\"qu");
	jr.state = JOB_QUEUED;
	jr.k = NAN;
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_assert_eq(jr.id, 2);
	for (int i = 3; i <= 100; i++)
		works(journal_new(r.tn.dir, &jr, &r.err));
	works(journal_load(r.tn.dir, &list, &n, &r.err));
	cr_assert_eq(n, 64);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(list[i].id, 37 + i);
	free(list);
	rig_close(&r);
}
