/* loop_rows - what a row teaches (DESIGN section 4): the runner's rows request on small artifacts,
 * with the real runner and cell. */
#include "loop_rig.h"

struct taught {
	struct buf rows;   /* rows.jsonl */
	struct buf answer; /* the runner's line */
	size_t n;	   /* lines of rows.jsonl */
};

static void taught_release(struct taught *t)
{
	buf_release(&t->rows);
	buf_release(&t->answer);
}

/* ask for the rows of ${captures} as a step would */
static struct taught teach(
	struct rig *r, const char *slug, const char *captures, const char *policy)
{
	struct taught t = {0};
	struct buf rq = BUF_INIT;
	struct runner *rn;
	char path[2][120];
	int fds[2], rc;
	struct runner_start rs = {.artifact = r->artifact,
		.slug = slug,
		.base = r->base,
		.fds = fds,
		.nfds = 2,
		.log = STDERR_FILENO};

	(void)snprintf(path[0], sizeof(path[0]), "%s/captures", r->path);
	(void)snprintf(path[1], sizeof(path[1]), "%s/rows", r->path);
	for (int i = 0; i < 2; i++) {
		fds[i] = open(path[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		cr_assert_geq(fds[i], 0);
	}
	cr_assert_eq(write_all(fds[0], captures, strlen(captures), NULL), 0);
	cr_assert_eq(runner_start(r->k, &rs, &rn, &r->err), 0, "%s", r->err.text);
	(void)buf_addf(&rq,
		"{\"id\":1,\"op\":\"rows\",\"captures\":10,\"bytes\":%zu,\"from\":0,\"replay\":0,"
		"\"seed\":42,\"policy\":\"%s\",\"out\":11}",
		strlen(captures), policy);
	rc = runner_call(rn, rq.data, rq.len, NULL, NULL, &t.answer, &r->err);
	cr_assert_eq(rc, 0, "rows: %s", r->err.text);
	runner_end(rn, false);
	buf_release(&rq);
	close(fds[0]);
	close(fds[1]);
	cr_assert_eq(read_file(AT_FDCWD, path[1], 1 << 26, &t.rows, NULL), 0);
	for (size_t i = 0; i < t.rows.len; i++)
		t.n += t.rows.data[i] == '\n';
	(void)buf_puts(&t.rows, "");
	return t;
}

static void start(struct rig *r, const char *name, const char *source)
{
	rig_open(r);
	compile(r, name, source, ONE_CASE);
	cr_assert_eq(init(r, NULL), 0, "%s", r->err.text);
}

#define expect_rows(t, want)                                                                       \
	cr_expect_str_eq(                                                                          \
		buf_str(&(t).rows), want, "rows.jsonl is\n%snot\n%s", buf_str(&(t).rows), want)
#define expect_says(t, part)                                                                       \
	cr_expect_not_null(strstr(buf_str(&(t).answer), part), "the runner said %s, not %s",       \
		buf_str(&(t).answer), part)

/* the runner's skipped object, whole */
#define SKIPPED(model, unreachable, broken, superseded, free, same, uncalled, dropped)             \
	"\"skipped\":{\"model\":" #model ",\"unreachable\":" #unreachable ",\"broken\":" #broken   \
	",\"superseded\":" #superseded ",\"free\":" #free ",\"case\":" #same                       \
	",\"uncalled\":" #uncalled ",\"dropped\":" #dropped "}"

Test(loop_rows, a_recipe_with_its_own_instruction_is_trained_on_that_prompt)
{
	struct rig r;
	struct taught t;

	start(&r, "wrap",
		"function generate(input, lib) { return { title: lib.lm.generate('Title for:\\n' + "
		"input.text + '\\n\\u00dcber:', { system: 'Be \"short\".', max_tokens: 9 }) }; }");
	t = teach(&r, "wrap",
		"{\"input\":{\"text\":\"one\"},\"output\":{\"title\":\"One!\"}}\n{\"output\":{"
		"\"title\":\"two\\nlines\"},\"input\":{\"text\":\"2\"},\"note\":1}\n",
		"teach");
	expect_rows(t, "{\"prompt\":\"Title for:\\none\\n\u00dcber:\",\"system\":\"Be "
		       "\\\"short\\\".\",\"answer\":\"One!\",\"row\":0,\"call\":0}\n"
		       "{\"prompt\":\"Title for:\\n2\\n\u00dcber:\",\"system\":\"Be "
		       "\\\"short\\\".\",\"answer\":\"two\\nlines\",\"row\":1,\"call\":0}\n");
	expect_says(t, "\"rows\":2");
	expect_says(t, SKIPPED(0, 0, 0, 0, 0, 0, 0, 0));
	expect_says(t, "\"fixed\":false");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, two_labels_in_one_row_are_both_found)
{
	struct rig r;
	struct taught t;

	start(&r, "labels",
		"const A = ['low', 'middle', 'high'], B = ['yes', 'no'];\n"
		"function generate(input, lib) {\n"
		"	const urgency = lib.lm.choose('How urgent? ' + input.text, A);\n"
		"	return { urgency, reply: lib.lm.choose('Urgency ' + urgency + '. Reply? ' "
		"+ input.text, B) };\n"
		"}");
	t = teach(&r, "labels",
		"{\"input\":{\"text\":\"fire\"},\"output\":{\"reply\":\"no\",\"urgency\":\"high\"}}"
		"\n",
		"teach");
	/* the second prompt is the one that goes with the right first answer */
	expect_rows(t, "{\"prompt\":\"How urgent? "
		       "fire\",\"system\":null,\"answer\":\"high\",\"row\":0,\"call\":0}\n"
		       "{\"prompt\":\"Urgency high. Reply? "
		       "fire\",\"system\":null,\"answer\":\"no\",\"row\":0,\"call\":1}\n");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, json_output_is_reached_by_its_own_text)
{
	struct rig r;
	struct taught t;

	start(&r, "json",
		"function generate(input, lib) { return JSON.parse(lib.lm.generate('JSON of: ' + "
		"input.text)); }");
	t = teach(&r, "json",
		"{\"input\":{\"text\":\"a\"},\"output\":{ \"n\" : 1.50, \"list\":[ true, null ] "
		"}}\n",
		"teach");
	expect_rows(t, "{\"prompt\":\"JSON of: "
		       "a\",\"system\":null,\"answer\":\"{\\\"n\\\":1.5,\\\"list\\\":[true,null]}"
		       "\",\"row\":0,\"call\":0}\n");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, what_cannot_be_reached_is_skipped_and_counted)
{
	struct rig r;
	struct taught t;

	start(&r, "upper",
		"function generate(input, lib) { return { text: "
		"lib.lm.generate(input.text).toUpperCase() }; }");
	t = teach(&r, "upper",
		"{\"input\":{\"text\":\"a\"},\"output\":{\"text\":\"never\"}}\n{\"input\":{"
		"\"text\":\"b\"},\"output\":{\"text\":\"YES\"}}\n",
		"teach");
	expect_rows(
		t, "{\"prompt\":\"b\",\"system\":null,\"answer\":\"YES\",\"row\":1,\"call\":0}\n");
	expect_says(t, SKIPPED(0, 1, 0, 0, 0, 0, 0, 0));
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, a_recipe_that_throws_or_loops_on_a_try_is_unreachable_and_the_next_row_is_found)
{
	struct rig r;
	struct taught t;

	start(&r, "wild",
		"function generate(input, lib) {\n"
		"	const said = lib.lm.generate(input.text);\n"
		"	if (said === '') throw new Error('nothing');\n"
		"	if (said === 'spin') while (true) {}\n"
		"	if (said === 'call') fetch('http://127.0.0.1');\n"
		"	return said;\n"
		"}");
	t = teach(&r, "wild",
		"{\"input\":{\"text\":\"a\"},\"output\":\"spin\"}\n{\"input\":{\"text\":\"b\"},"
		"\"output\":\"call\"}\n{\"input\":{\"text\":\"c\"},\"output\":\"fine\"}\n",
		"teach");
	expect_rows(
		t, "{\"prompt\":\"c\",\"system\":null,\"answer\":\"fine\",\"row\":2,\"call\":0}\n");
	expect_says(t, SKIPPED(0, 2, 0, 0, 0, 0, 0, 0));
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, an_answer_that_does_not_matter_teaches_nothing)
{
	struct rig r;
	struct taught t;

	start(&r, "free",
		"function generate(input, lib) {\n"
		"	const said = lib.lm.generate(input.text), pick = lib.lm.choose(input.text, "
		"['a', 'b']);\n"
		"	return input.strict ? { said, pick } : { done: true };\n"
		"}");
	t = teach(&r, "free",
		"{\"input\":{\"text\":\"x\"},\"output\":{\"done\":true}}\n{\"input\":{\"text\":"
		"\"y\",\"strict\":1},\"output\":{\"said\":\"hm\",\"pick\":\"b\"}}\n",
		"teach");
	cr_expect_eq(t.n, 2);
	expect_says(t, "\"rows\":1");
	expect_says(t, SKIPPED(0, 0, 0, 0, 1, 0, 0, 0));
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, a_row_equal_to_a_test_case_never_teaches)
{
	struct rig r;
	struct taught t;

	start(&r, "echo",
		"function generate(input, lib) { return { text: lib.lm.generate(input.text) }; }");
	for (int i = 0; i < 2; i++) { /* spelt differently, and under rows=all too */
		t = teach(&r, "echo",
			"{\"input\":{ \"text\" : \"a held-out \\u0063ase\" "
			"},\"output\":{\"text\":\"x\"}}\n{\"input\":{\"text\":\"other\"},"
			"\"output\":{\"text\":\"y\"}}\n",
			i == 0 ? "teach" : "all");
		cr_expect_eq(t.n, 1);
		expect_says(t, SKIPPED(0, 0, 0, 0, 0, 1, 0, 0));
		taught_release(&t);
	}
	rig_close(&r);
}

Test(loop_rows, model_rows_teach_after_somebody_looked_and_the_last_word_wins)
{
	struct rig r;
	struct taught t;
	static const char rows[] =
		"{\"input\":{\"text\":\"a\"},\"output\":{\"text\":\"model "
		"a\"},\"rev\":\"v0\",\"id\":\"1\"}\n"
		"{\"input\":{\"text\":\"b\"},\"output\":{\"text\":\"model "
		"b\"},\"rev\":\"v0\",\"id\":\"2\"}\n"
		"{\"input\":{\"text\":\"b\"},\"output\":{\"text\":\"model "
		"b\"},\"recipe\":null,\"latency_us\":null,\"id\":\"3\",\"of\":\"2\"}\n" /* confirmed
											 */
		"{\"input\":{\"text\":\"c\"},\"output\":{\"text\":\"first\"}}\n"
		"{\"input\":{\"text\":\"c\"},\"output\":{\"text\":\"second\"}}\n"
		"{\"input\":{\"text\":\"d\"},\"output\":{\"text\":\"wrong\"}}\n"
		"{\"input\":{\"text\":\"d\"},\"drop\":true}\n"
		"{\"input\":\n"; /* broken */

	start(&r, "echo",
		"function generate(input, lib) { return { text: lib.lm.generate(input.text) }; }");
	t = teach(&r, "echo", rows, "teach");
	expect_rows(t,
		"{\"prompt\":\"b\",\"system\":null,\"answer\":\"model b\",\"row\":2,\"call\":0}\n"
		"{\"prompt\":\"c\",\"system\":null,\"answer\":\"second\",\"row\":4,\"call\":0}\n");
	expect_says(t, "\"model\":2");
	expect_says(t, "\"superseded\":1");
	expect_says(t, "\"dropped\":2");
	expect_says(t, "\"broken\":1");
	taught_release(&t);
	t = teach(&r, "echo", rows,
		"all"); /* the untouched model row too; what was corrected or dropped still not */
	cr_expect_not_null(strstr(buf_str(&t.rows), "model a"));
	cr_expect_null(strstr(buf_str(&t.rows), "first"));
	cr_expect_null(strstr(buf_str(&t.rows), "wrong"));
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, a_recipe_that_never_asks_trains_input_to_output)
{
	struct rig r;
	struct taught t;

	start(&r, "rule", "function generate(input, lib) { return { n: 1 }; }");
	t = teach(&r, "rule",
		"{\"input\":{\"b\":1, \"a\":\"x\"},\"output\":{ \"n\": 2 }}\n{\"input\":\"just "
		"text\",\"output\":\"plain\"}\n",
		"teach");
	expect_rows(t, "{\"prompt\":\"{\\\"b\\\":1,\\\"a\\\":\\\"x\\\"}\",\"system\":null,"
		       "\"answer\":\"{\\\"n\\\":2}\",\"row\":0,\"call\":0}\n"
		       "{\"prompt\":\"just "
		       "text\",\"system\":null,\"answer\":\"plain\",\"row\":1,\"call\":0}\n");
	expect_says(t, "\"fixed\":true");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, rows_that_do_not_ask_are_skipped_when_others_do)
{
	struct rig r;
	struct taught t;

	start(&r, "some",
		"function generate(input, lib) { return input.q ? { text: lib.lm.generate(input.q) "
		"} : { text: 'rule' }; }");
	t = teach(&r, "some",
		"{\"input\":{\"n\":1},\"output\":{\"text\":\"rule\"}}\n{\"input\":{\"q\":\"?\"},"
		"\"output\":{\"text\":\"!\"}}\n",
		"teach");
	expect_rows(
		t, "{\"prompt\":\"?\",\"system\":null,\"answer\":\"!\",\"row\":1,\"call\":0}\n");
	expect_says(t, SKIPPED(0, 0, 0, 0, 0, 0, 1, 0));
	expect_says(t, "\"fixed\":false");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, the_rows_own_answer_comes_first)
{
	struct rig r;
	struct taught t;

	start(&r, "trim",
		"function generate(input, lib) { return { text: "
		"lib.lm.generate(input.text).trim(), more: input.two ? "
		"lib.lm.generate('more').trim() : 0 }; }");
	t = teach(&r, "trim",
		"{\"input\":{\"text\":\"a\"},\"output\":{\"text\":\"A\",\"more\":0},\"answer\":\"  "
		"A \"}\n"
		"{\"input\":{\"text\":\"b\"},\"output\":{\"text\":\"B\",\"more\":0},\"answer\":"
		"\"not this\"}\n" /* does not give the output: the next source */
		"{\"input\":{\"text\":\"c\",\"two\":1},\"output\":{\"text\":\"C\",\"more\":\"D\"},"
		"\"answer\":[\" C\",\" D\"]}\n"
		"{\"input\":{\"text\":\"e\"},\"output\":{\"text\":\"\",\"more\":0},\"answer\":\"\"}"
		"\n", /* said so: the empty answer is no guess */
		"teach");
	expect_rows(t,
		"{\"prompt\":\"a\",\"system\":null,\"answer\":\"  A \",\"row\":0,\"call\":0}\n"
		"{\"prompt\":\"b\",\"system\":null,\"answer\":\"B\",\"row\":1,\"call\":0}\n"
		"{\"prompt\":\"c\",\"system\":null,\"answer\":\" C\",\"row\":2,\"call\":0}\n"
		"{\"prompt\":\"more\",\"system\":null,\"answer\":\" D\",\"row\":2,\"call\":1}\n"
		"{\"prompt\":\"e\",\"system\":null,\"answer\":\"\",\"row\":3,\"call\":0}\n");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, the_recipe_reads_its_answer_back)
{
	struct rig r;
	struct taught t;

	start(&r, "back",
		"function generate(input, lib) { const n = Number(lib.lm.generate('Count: ' + "
		"input.text)); return { half: n / 2, again: lib.lm.generate('Say ' + n).length }; "
		"}\n"
		"function answer(input, output, prompt, i) { return i === 0 ? String(output.half * "
		"2) : prompt.startsWith('Say ') ? 'x'.repeat(output.again) : null; }");
	t = teach(&r, "back",
		"{\"input\":{\"text\":\"abcd\"},\"output\":{\"half\":2,\"again\":3}}\n", "teach");
	expect_rows(t,
		"{\"prompt\":\"Count: "
		"abcd\",\"system\":null,\"answer\":\"4\",\"row\":0,\"call\":0}\n"
		"{\"prompt\":\"Say 4\",\"system\":null,\"answer\":\"xxx\",\"row\":0,\"call\":1}\n");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, an_answer_function_that_throws_or_hangs_gives_no_answer)
{
	struct rig r;
	struct taught t;

	start(&r, "bad",
		"function generate(input, lib) { return lib.lm.generate(input.text); }\n"
		"function answer(input, output) { if (output === 'hang') while (true) {} throw new "
		"Error('no'); }");
	t = teach(&r, "bad",
		"{\"input\":{\"text\":\"a\"},\"output\":\"x\"}\n{\"input\":{\"text\":\"b\"},"
		"\"output\":\"hang\"}\n{\"input\":{\"text\":\"c\"},\"output\":\"y\"}\n",
		"teach");
	cr_expect_not_null(
		strstr(buf_str(&t.rows), "\"answer\":\"x\",\"row\":0"), "%s", buf_str(&t.rows));
	cr_expect_not_null(
		strstr(buf_str(&t.rows), "\"answer\":\"y\",\"row\":2"), "%s", buf_str(&t.rows));
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, answer_is_asked_also_when_the_try_before_ended_the_cell)
{
	struct rig r;
	struct taught t;

	start(&r, "spin",
		"function generate(input, lib) { const said = lib.lm.generate(input.text); if "
		"(said === '') while (true) {} return said.length; }\n"
		"function answer(input, output) { return 'x'.repeat(output); }");
	t = teach(&r, "spin", "{\"input\":{\"text\":\"a\"},\"output\":3}\n", "teach");
	expect_rows(
		t, "{\"prompt\":\"a\",\"system\":null,\"answer\":\"xxx\",\"row\":0,\"call\":0}\n");
	taught_release(&t);
	rig_close(&r);
}

Test(loop_rows, a_row_gets_at_most_256_tries)
{
	struct buf rows = BUF_INIT;
	struct rig r;
	struct taught t;

	/* no answer fits, and each of three calls offers a hundred: a million combinations */
	start(&r, "many",
		"const C = Array.from({ length: 100 }, (_, i) => 'c' + i);\n"
		"function generate(input, lib) { return [lib.lm.choose('1', C), lib.lm.choose('2', "
		"C), lib.lm.choose('3', C), 0]; }");
	(void)buf_puts(&rows, "{\"input\":1,\"output\":\"none of these\"}\n");
	t = teach(&r, "many", rows.data, "teach");
	cr_expect_eq(t.n, 0);
	expect_says(t, SKIPPED(0, 1, 0, 0, 0, 0, 0, 0));
	taught_release(&t);
	buf_release(&rows);
	rig_close(&r);
}

static void example_is_reachable(const char *name, double share)
{
	struct rig r;
	struct taught t;
	struct buf rows;
	size_t n = 0;

	rig_open(&r);
	compile_example(&r, name);
	works(init(&r, NULL));
	rows = example(name, "corrected.jsonl");
	for (size_t i = 0; i < rows.len; i++)
		n += rows.data[i] == '\n';
	t = teach(&r, name, rows.data, "teach");
	cr_expect_geq((double)t.n, share * (double)n, "%zu of %zu: %s", t.n, n, buf_str(&t.answer));
	cr_log_info("%s: %zu of %zu rows teach; %s", name, t.n, n, buf_str(&t.answer));
	taught_release(&t);
	buf_release(&rows);
	rig_close(&r);
}

Test(loop_rows, the_redactors_corrected_rows_can_be_learned)
{
	example_is_reachable("redactor", 0.95);
}

Test(loop_rows, the_triage_rows_can_be_learned)
{
	example_is_reachable("triage", 1);
}

Test(loop_rows, a_step_on_shuffled_outputs_fails_and_leaves_no_revision)
{
	struct step_options o;
	struct job_record jr;
	struct rig r;
	uint64_t job;
	char line[200];

	rig_open(&r);
	compile_example(&r, "redactor");
	works(init(&r, NULL));
	for (int i = 0; i < 6; i++) {
		(void)snprintf(line, sizeof(line),
			"{\"input\":{\"text\":\"letter %d from Ana\"},\"output\":{\"text\":\"note "
			"%d of [NAME]\"}}",
			i, (i + 1) % 6);
		capture(&r, "redactor", line);
	}
	step_options_default(&o);
	works(loop_step(r.k, "redactor", &o, &r.by, &job, &r.err));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect_str_eq(jr.error, "no usable captures (6 skipped)");
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v1"));
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1/out"));
	cr_expect_eq(in_log(&r, "\"step_failed\""), 1);
	rig_close(&r);
}
