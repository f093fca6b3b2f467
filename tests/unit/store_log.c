/* store/log, append: the audit log's chain (K15, K16), healing, its checkpoint. */
#include <sys/wait.h>

#include "store/private.h"
#include "store_rig.h"

Test(log, a_line_and_its_chain)
{
	const struct log_entry bare = {.event = "watch_started"};
	struct json_slice line, value;
	char sha[HASH_HEX_BYTES], want[80];
	struct rig r;
	uint64_t n;

	rig_open(&r);
	say_line(&r, "one", 1);
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
	works(log_slug_back(&r.st, "demo", 0, &text, &r.err));
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
		say_line(&r, "e", i);
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
		say_line(&r, "e", i);
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
	say_line(&r, "e", 1);
	static const char foreign[] = "{\"event\":\"step_complete\",\"revision\":\"v3\"}";

	works(append_line(r.st.logs, "tune.jsonl", foreign, strlen(foreign), false, &r.err));
	say_line(&r, "e", 2);
	int fd = openat(r.st.logs, "tune.jsonl", O_WRONLY | O_APPEND);

	cr_assert_eq(write(fd, "{\"event\":\"tor", 13), 13);
	close(fd);
	say_line(&r, "e", 3);
	(void)unlinkat(r.st.logs, ".tune.tip", 0); /* lost to a power cut */
	say_line(&r, "e", 4);
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
				say_line(&r, "e", p * 100 + i);
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
	say_line(&r, "e", 1);
	signed_by(&r, "", 1);
	put_text(r.st.dir, "config.json", "{\"local_receipt_secret\":\"one\"}");
	say_line(&r, "e", 2);
	signed_by(&r, "hmac-sha256", 2);
	put_text(r.st.dir, "config.json", "{\"local_receipt_secret\":\"two\"}");
	fails(log_verify(&r.st, NULL, &r.err), EKEYREJECTED, "another text or another secret");
	(void)snprintf(keys.key_dir, sizeof(keys.key_dir), "%s", r.path);
	works(keys_generate(&keys, false, fingerprint, &r.err));
	say_line(&r, "e", 3);
	(void)snprintf(who, sizeof(who), "ed25519 %s", fingerprint);
	signed_by(&r, who, 3);
	/* a key that was replaced is still the store's */
	works(keys_generate(&keys, true, fingerprint, &r.err));
	signed_by(&r, who, 3);
	say_line(&r, "e", 4);
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
		say_line(&r, "e", i);
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
