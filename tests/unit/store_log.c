/* store/log, append, journal: the audit log's chain (K15, K16), healing, jobs.jsonl. */
#include <math.h>
#include <sys/wait.h>

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
	/* a damaged line is as if it were not there; its number is not used again */
	struct buf text = get(r.tn.dir, "jobs.jsonl");

	text.data[text.len - 30] ^= 1;
	put(r.tn.dir, "jobs.jsonl", text.data, text.len);
	buf_release(&text);
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_RUNNING);
	cr_assert(isnan(got.k));
	put_text(r.tn.dir, "jobs.jsonl", "{\"job\":1,\"state\":\"qu");
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
