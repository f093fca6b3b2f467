/* loop_eval - eval and run with the real runner, cell and model: what eval.json says, and what a
 * recipe that misbehaves does to it. */
#include "loop_rig.h"

static const char cases[] =
	"{\"id\":\"one\",\"input\":{\"text\":\"a\"},\"expected\":{\"text\":\"a\"}}\n"
	"{\"id\":\"two\",\"input\":{\"text\":\"b\"},\"expected\":{\"text\":\"not this\"}}\n"
	"{\"id\":\"three\",\"input\":{\"text\":\"throw\"},\"expected\":{\"text\":\"x\"}}\n"
	"{\"id\":\"four\",\"input\":{\"text\":\"spin\"},\"expected\":{\"text\":\"x\"}}\n"
	"{\"id\":\"five\",\"input\":{\"text\":\"c\"},\"expected\":{\"text\":\"c\"}}\n";

static const char source[] =
	"function generate(input, lib) {\n"
	"	if (input.text === 'throw') throw new Error('no \\u001b[2J thanks');\n"
	"	if (input.text === 'spin') while (true) {}\n"
	"	const said = lib.lm.choose('Which letter?\\n' + input.text, ['a', 'b']);\n"
	"	return { text: said ? input.text : '' };\n"
	"}";

static void keys_of(struct json_slice object, struct buf *out)
{
	struct json_slice key, value;

	buf_reset(out);
	for (size_t pos = 0; json_next(object, &pos, &key, &value);) {
		(void)buf_puts(out, out->len > 0 ? " " : "");
		(void)buf_add(out, key.text + 1, key.len - 2);
	}
}

static struct job_record eval(struct rig *r, const char *slug, const char *rev)
{
	uint64_t job;

	r->err = ERR_NONE;
	cr_assert_eq(loop_eval(r->k, slug, rev, 0, &r->by, &job, &r->err), 0, "%s", r->err.text);
	return job_end(r, slug, job);
}

/* v1: another revision with v0's adapter */
static void make_v1(struct rig *r, const char *slug)
{
	char line[400];

	(void)snprintf(line, sizeof(line),
		"cd %s/tune/%s/revisions && cp -a v0 v1 && rm -f v1/eval.json", r->store, slug);
	cr_assert_eq(system(line), 0);
}

static void expect_keys(const char *text, size_t len, const char *member, const char *want)
{
	struct json_slice v = {text, len};
	struct buf keys = BUF_INIT;

	cr_assert(member == NULL || json_member((struct json_slice){text, len}, member, &v), "%s",
		member);
	if (json_kind_of(v) == JSON_ARRAY) {
		size_t pos = 0;
		struct json_slice one;

		cr_assert(json_next(v, &pos, NULL, &one));
		v = one;
	}
	keys_of(v, &keys);
	cr_expect_eq(strncmp(keys.data, want, strlen(want)), 0, "%s: %s", member, keys.data);
	buf_release(&keys);
}

static double number(struct buf *text, const char *key)
{
	struct json_slice v;

	return json_member((struct json_slice){text->data, text->len}, key, &v) &&
			       json_kind_of(v) == JSON_NUMBER
		       ? json_double(v)
		       : NAN;
}

Test(loop_eval, eval_json_has_everything_in_order_and_head_beside_it)
{
	struct job_record jr;
	struct buf text, line = BUF_INIT;
	struct head now;
	struct rig r;

	rig_open(&r);
	compile(&r, "letters", source, cases);
	works(init(&r, NULL));
	jr = eval(&r, "letters", NULL);
	cr_assert_eq(jr.outcome, JOB_OK, "%s", jr.error);
	cr_expect_str_eq(jr.rev, "v0");
	cr_expect(jr.pass == 2 && jr.total == 5);
	kolm_job_line(&jr, &line);
	cr_expect_not_null(strstr(line.data, "eval ok rev=v0 k=0."), "%s", line.data);
	cr_expect_not_null(strstr(line.data, " pass=2/5 elapsed="), "%s", line.data);
	buf_release(&line);
	text = store_text(&r, "tune/letters/revisions/v0/eval.json");
	cr_assert_eq(json_check(text.data, text.len, &r.err), 0, "%s", r.err.text);
	expect_keys(text.data, text.len, NULL,
		"spec revision ts artifact base adapter_sha256 engine passed total accuracy "
		"coverage p50_latency_us k k_score compared egress walls cases settings");
	expect_keys(text.data, text.len, "base", "path bytes xxh3 types");
	expect_keys(text.data, text.len, "artifact", "file sha256");
	expect_keys(text.data, text.len, "cases", "id pass output expected error latency_us lm_us");
	expect_keys(text.data, text.len, "settings",
		"gate_k_min gate_require_improvement threads kernel");
	cr_expect(number(&text, "passed") == 2 && number(&text, "total") == 5 &&
		  number(&text, "accuracy") == 0.4 && number(&text, "egress") == 0);
	cr_expect_gt(number(&text, "p50_latency_us"), 1000); /* the model really answered */
	cr_expect_not_null(strstr(text.data, "\"compared\": null"));
	cr_expect_not_null(strstr(text.data, "in force"), "no walls are named");
	cr_expect_not_null(strstr(text.data, "recipe threw: "));
	cr_expect_null(strchr(text.data, '\033'));
	cr_expect_not_null(strstr(text.data, "stopped after 1000 ms"));
	buf_release(&text);
	fails(loop_promote(r.k, "letters", "v0", false, NULL, &r.by, &now, &r.err), EALREADY,
		"HEAD is v0 already");

	make_v1(&r, "letters");
	jr = eval(&r, "letters", "v1");
	cr_assert_eq(jr.outcome, JOB_OK, "%s", jr.error);
	text = store_text(&r, "tune/letters/revisions/v1/eval.json");
	expect_keys(text.data, text.len, "compared",
		"revision accuracy p50_latency_us latency_noise_us k adapter_sha256");
	cr_expect_not_null(strstr(text.data, "\"revision\": \"v0\""));
	buf_release(&text);
	fails(loop_promote(r.k, "letters", "v1", false, NULL, &r.by, &now, &r.err), ERANGE,
		"K_GATE: 0.");
	/* the same answers, so only the noise of latency is between them */
	works(loop_set(r.k, "letters", "gate.k_min", "0.1", &r.by, &r.err));
	fails(loop_promote(r.k, "letters", "v1", false, NULL, &r.by, &now, &r.err), ESTALE,
		"gate settings changed");
	fails(loop_eval(r.k, "letters", "v9", 0, &r.by, &(uint64_t){0}, &r.err), ENOENT,
		"no revision v9 (have v0..v1)");
	rig_close(&r);
}

Test(loop_eval, one_attempt_to_reach_the_network_fails_it_all)
{
	struct job_record jr;
	struct head now;
	struct buf text;
	struct rig r;

	rig_open(&r);
	compile(&r, "leaky",
		"function generate(input) { if (input.text === 'b') { try { "
		"fetch('http://127.0.0.1/'); } catch (e) {} return { text: 'not this' }; } return "
		"input; }",
		cases);
	works(init(&r, NULL));
	make_v1(&r, "leaky");
	jr = eval(&r, "leaky", "v1");
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect_not_null(strstr(jr.error, "egress attempt"), "%s", jr.error);
	text = store_text(&r, "tune/leaky/revisions/v1/eval.json");
	cr_expect_gt(number(&text, "egress"), 0, "%s", text.data);
	cr_expect_not_null(strstr(text.data, "egress attempt: fetch"));
	buf_release(&text);
	fails(loop_promote(r.k, "leaky", "v1", false, NULL, &r.by, &now, &r.err), EPERM,
		"egress attempt");
	fails(loop_promote(r.k, "leaky", "v1", true, NULL, &r.by, &now, &r.err), EPERM,
		"egress attempt");
	cr_expect_eq(in_log(&r, "\"egress_blocked\""), 1);
	cr_expect_eq(in_log(&r, "\"eval_complete\""), 0);
	rig_close(&r);
}

Test(loop_eval, a_run_is_captured_when_capture_is_on_and_an_eval_never_is)
{
	struct run_request rq = {.slug = "letters", .text = "{\"text\":\"a\"}", .len = 12};
	struct run_result rr;
	struct buf text;
	struct rig r;

	rig_open(&r);
	compile(&r, "letters", source, cases);
	works(init(&r, NULL));
	works(kolm_run(r.k, &rq, &rr, &r.err));
	cr_expect_str_eq(rr.output.data, "{\"text\":\"a\"}");
	cr_expect_str_eq(rr.rev, "v0");
	cr_expect(rr.lm_us > 0 && rr.latency_us >= rr.lm_us);
	run_result_release(&rr);
	cr_expect_not(
		store_has(&r, "tune/letters/captures.jsonl"), "captured though capture is off");
	works(loop_capture(r.k, "letters", true, &r.by, &r.err));
	works(kolm_run(r.k, &rq, &rr, &r.err));
	run_result_release(&rr);
	rq.text = "{\"text\":\"throw\"}";
	rq.len = strlen(rq.text);
	fails(kolm_run(r.k, &rq, &rr, &r.err), EBADMSG, "recipe threw: ");
	(void)eval(&r, "letters", NULL);
	text = store_text(&r, "tune/letters/captures.jsonl");
	cr_expect_not_null(strstr(text.data, "\"rev\":\"v0\""), "%s", text.data);
	cr_expect(
		strchr(text.data, '\n') == text.data + text.len - 1, "not one line: %s", text.data);
	buf_release(&text);
	rig_close(&r);
}

Test(loop_eval, cancel_ends_it_and_keeps_the_old_record)
{
	struct buf many = BUF_INIT;
	struct job_record jr;
	char want[120];
	struct by other;
	struct rig r;
	uint64_t job;

	rig_open(&r);
	other = r.by;
	for (int i = 0; i < 400; i++)
		(void)buf_addf(&many,
			"{\"id\":\"c%d\",\"input\":{\"text\":\"letter "
			"%d\"},\"expected\":{\"text\":\"x\"}}\n",
			i, i);
	compile(&r, "letters", source, many.data);
	works(init(&r, NULL));
	works(loop_eval(r.k, "letters", NULL, 0, &r.by, &job, &r.err));
	nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	other.pid = 4711;
	works(loop_cancel(r.k, "letters", 0, &other, &r.err));
	jr = job_end(&r, "letters", job);
	cr_expect_eq(jr.outcome, JOB_CANCELLED, "%s", jr.error);
	cr_expect_not(store_has(&r, "tune/letters/revisions/v0/eval.json"));
	/* it changed nothing, and says nothing; who ended it is in the log */
	(void)snprintf(want, sizeof(want), "{\"event\":\"cancelled\",\"slug\":\"letters\",\"ts\":");
	cr_expect_eq(in_log(&r, want), 1);
	(void)snprintf(want, sizeof(want), "\"job\":%llu,\"by\":{\"uid\":%d,\"pid\":4711,",
		(unsigned long long)job, (int)r.by.uid);
	cr_expect_eq(in_log(&r, want), 1);
	cr_expect_eq(in_log(&r, "eval_complete"), 0);
	buf_release(&many);
	rig_close(&r);
}

struct breaks {
	struct rig *r;
	bool is_receipt;
};

/* when the last case was measured, what the record needs is gone */
static void break_it(void *arg, const char *slug, unsigned what)
{
	struct breaks *b = arg;
	char line[400], progress[96];

	(void)kolm_job_progress(b->r->k, slug, 0, progress);
	if (!(what & CHANGE_LOG) || strcmp(progress, "2 2 cases") != 0)
		return;
	(void)snprintf(line, sizeof(line),
		b->is_receipt ? "cd %s && mv base.gguf kept"
			      : "cd %s/store/logs && mv tune.jsonl kept && mkdir tune.jsonl",
		b->r->path);
	cr_assert_eq(system(line), 0);
}

static void mend(const struct breaks *b)
{
	char line[400];

	(void)snprintf(line, sizeof(line),
		b->is_receipt ? "cd %s && mv kept base.gguf"
			      : "cd %s/store/logs && rmdir tune.jsonl && mv kept tune.jsonl",
		b->r->path);
	cr_assert_eq(system(line), 0);
}

/* an eval counts for the gate: one that has no receipt, or no line in the log, is none, and what
 * was there before is there again */
Test(loop_eval, what_cannot_be_recorded_whole_leaves_the_old_record)
{
	static const char eval_file[] = "tune/letters/revisions/v1/eval.json",
			  receipt_file[] = "tune/letters/revisions/v1/eval.receipt.json";
	char link[100];
	struct rig r;

	rig_open(&r);
	(void)snprintf(link, sizeof(link), "%s/base.gguf", r.path);
	cr_assert_eq(symlink(r.base, link), 0);
	(void)snprintf(r.base, sizeof(r.base), "%s", link);
	compile(&r, "letters", "function generate(input) { return input; }", ONE_CASE);
	works(init(&r, NULL));
	make_v1(&r, "letters");
	for (int i = 0; i < 2; i++) { /* without and with an eval before */
		struct buf was[2] = {store_text(&r, eval_file), store_text(&r, receipt_file)};
		struct breaks b = {&r, i == 0};
		struct job_record jr;

		kolm_on_change(r.k, break_it, &b);
		jr = eval(&r, "letters", "v1");
		kolm_on_change(r.k, NULL, NULL);
		mend(&b);
		cr_expect_eq(jr.outcome, JOB_FAILED, "%d: %s", i, jr.error);
		struct buf is[2] = {store_text(&r, eval_file), store_text(&r, receipt_file)};
		for (int f = 0; f < 2; f++) {
			cr_expect_str_eq(buf_str(&was[f]), buf_str(&is[f]), "%d %d", i, f);
			buf_release(&was[f]);
			buf_release(&is[f]);
		}
		cr_expect_eq(store_has(&r, eval_file), i == 1);
		if (i == 0)
			cr_expect_eq(eval(&r, "letters", "v1").outcome, JOB_OK);
	}
	rig_close(&r);
}
