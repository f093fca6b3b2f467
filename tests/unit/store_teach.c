/* store/teach: which rows teach (DESIGN section 4). */
#include <time.h>

#include "store_rig.h"

#define SLICE(text) ((struct json_slice){text, strlen(text)})

struct want {
	const char *rows; /* "number:output " of what teaches */
	size_t fresh;
	uint64_t model, superseded, cases, dropped, broken;
};

static int teach(struct rig *r, const struct teach_options *opt, struct teach *te)
{
	int fd = captures_open(&r->tn, &r->err), rc;

	cr_assert(fd >= 0, "%s", r->err.text);
	rc = captures_teach(fd, opt, te, &r->err);
	close(fd);
	return rc;
}

static void check(
	const char *name, struct rig *r, const struct teach_options *opt, const struct want *want)
{
	struct buf got = BUF_INIT;
	struct teach te;

	cr_assert_eq(teach(r, opt, &te), 0, "%s: %s", name, r->err.text);
	for (size_t i = 0; i < te.n; i++)
		(void)buf_addf(
			&got, "%llu:%s ", (unsigned long long)te.row[i].number, te.row[i].output);
	cr_expect_str_eq(buf_str(&got), want->rows, "%s: \"%s\"", name, buf_str(&got));
	cr_expect_eq(te.fresh, want->fresh, "%s: fresh %zu", name, te.fresh);
	cr_expect(te.model == want->model && te.superseded == want->superseded &&
			  te.cases == want->cases && te.dropped == want->dropped &&
			  te.broken == want->broken,
		"%s: model %llu superseded %llu cases %llu dropped %llu broken %llu", name,
		(unsigned long long)te.model, (unsigned long long)te.superseded,
		(unsigned long long)te.cases, (unsigned long long)te.dropped,
		(unsigned long long)te.broken);
	teach_release(&te);
	buf_release(&got);
}

Test(teach, table)
{
	const struct json_slice cases[] = {SLICE("{\"b\":1.0,\"a\":\"x\"}"), SLICE("\"zzz\"")};
	static const char file[] =
		"{\"input\":1,\"output\":10}\n"		       /* 0: a person's, corrected by 3 */
		"{\"input\":2,\"output\":20,\"rev\":\"v1\"}\n" /* 1: the model's, confirmed by 4 */
		"{\"input\":3,\"output\":30,\"rev\":\"v1\"}\n" /* 2: the model's, nobody looked */
		"{\"input\":1.0,\"output\":11,\"of\":null}\n"  /* 3: the same input in another
								  spelling */
		"{\"input\":2,\"output\":20}\n"		       /* 4 */
		"{\"input\":{\"a\":\"\\u0078\",\"b\":1},\"output\":40}\n" /* 5: an input of the
									     evals */
		"{\"input\":5,\"output\":50}\n"				  /* 6: dropped by 7 */
		"{\"input\":5,\"drop\":true}\n"				  /* 7 */
		"{\"input\":6,\"drop\":true}\n" /* 8: dropped, then given again by 9 */
		"{\"input\":6,\"output\":60}\n" /* 9 */
		"half a li\n"			/* 10 */
		"{\"input\":2,\"output\":21,\"rev\":\"v2\"}\n"	/* 11: the model again, after the
								   confirmation */
		"{\"input\":3,\"output\":31,\"rev\":\"v2\"}\n"	/* 12 */
		"{\"input\":5,\"output\":51,\"rev\":\"v2\"}\n"; /* 13: the model, on what was
								   dropped */
	struct teach_options opt = {.end = UINT64_MAX, .cases = cases, .ncases = 2};
	struct want want = {"3:11 4:20 9:60 ", 3, .model = 4, .superseded = 2, .cases = 1,
		.dropped = 3, .broken = 1};
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl", file);
	check("teach", &r, &opt, &want);
	/* all: where a person spoke the person decides, else every row of the model teaches */
	opt.all = true;
	want = (struct want){"2:30 3:11 4:20 9:60 12:31 ", 5, .superseded = 4, .cases = 1,
		.dropped = 3, .broken = 1};
	check("all", &r, &opt, &want);
	/* frozen before the corrections */
	opt.all = false;
	opt.end = (uint64_t)(strstr(file, "{\"input\":1.0") - file);
	want = (struct want){"0:10 ", 1, .model = 2};
	check("end", &r, &opt, &want);
	/* a correction after ${from} is new; what was superseded before is not counted again */
	opt.end = UINT64_MAX;
	opt.from = (uint64_t)(strstr(file, "{\"input\":2,\"output\":20}") - file);
	want = (struct want){"4:20 9:60 ", 2, .model = 2, .superseded = 1, .cases = 1, .dropped = 3,
		.broken = 1};
	check("from", &r, &opt, &want);
	opt.replay = 5;
	want.rows = "3:11 4:20 9:60 ";
	check("replay", &r, &opt, &want);
	opt.from = UINT64_MAX;
	opt.replay = 0;
	want = (struct want){.rows = ""};
	check("nothing new", &r, &opt, &want);
	opt = (struct teach_options){.from = 0, .end = 0};
	check("nothing", &r, &opt, &want);
	rig_close(&r);
}

/* all: what the model said of an input twice it teaches once, by the last; two answers are two
 * rows, and where a person spoke the last of the persons decides */
Test(teach, equal_rows_of_the_model_are_one)
{
	struct teach_options opt = {.end = UINT64_MAX, .all = true};
	struct want want = {"2:20 3:10 4:40 8:31 ", 4, .superseded = 5};
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl",
		"{\"input\":1,\"output\":1e1,\"rev\":\"v1\"}\n"
		"{\"input\":1,\"output\":10,\"rev\":\"v1\"}\n"
		"{\"input\":1,\"output\":20,\"rev\":\"v1\"}\n"
		"{\"input\":1.0,\"output\":10,\"rev\":\"v2\"}\n"
		"{\"input\":4,\"output\":40,\"rev\":\"v1\"}\n"
		"{\"input\":3,\"output\":39}\n"
		"{\"input\":3,\"output\":30,\"rev\":\"v1\"}\n"
		"{\"input\":3,\"output\":30,\"rev\":\"v1\"}\n"
		"{\"input\":3,\"output\":31}\n");
	check("all", &r, &opt, &want);
	rig_close(&r);
}

/* a row that drops and says the model answered decides nothing, and has no output to teach */
Test(teach, drop_with_a_rev_teaches_nothing)
{
	struct teach_options opt = {.end = UINT64_MAX, .all = true};
	struct want want = {"1:20 ", 1, .dropped = 2};
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl",
		"{\"input\":1,\"rev\":\"v1\",\"drop\":true}\n"
		"{\"input\":2,\"output\":20,\"rev\":\"v1\"}\n"
		"{\"input\":3,\"output\":30,\"rev\":\"v1\",\"drop\":true}\n");
	check("all", &r, &opt, &want);
	opt.all = false;
	want = (struct want){"", 0, .model = 3};
	check("teach", &r, &opt, &want);
	rig_close(&r);
}

Test(teach, raw_values_of_salvaged_and_padded_rows)
{
	struct teach_options opt = {.end = UINT64_MAX};
	struct teach te;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "captures.jsonl",
		"  \t{\"output\":[1.50 , \"\\u0041\"],\"input\":{\"b\":1,\"a\":2}}  "
		"\r\n{\"input\":{\"tor{\"input\":2,\"output\":{\"x\":1}}\n");
	works(teach(&r, &opt, &te));
	cr_assert_eq(te.n, 2);
	cr_assert_str_eq(te.row[0].input, "{\"b\":1,\"a\":2}");
	cr_assert_str_eq(te.row[0].output, "[1.50 , \"\\u0041\"]");
	cr_assert_eq(te.row[0].output_len, 17);
	cr_assert_str_eq(te.row[1].input, "2");
	cr_assert_str_eq(te.row[1].output, "{\"x\":1}");
	cr_assert_eq(te.broken, 0);
	teach_release(&te);
	rig_close(&r);
}

Test(teach, replay_is_chosen_by_the_seed_alone)
{
	struct teach_options opt = {
		.from = UINT64_MAX, .end = UINT64_MAX, .replay = 32, .seed = 42};
	struct teach first, again, other;
	struct buf text = BUF_INIT;
	size_t shared = 0;
	struct rig r;

	rig_open(&r);
	for (int i = 0; i < 1000; i++)
		(void)buf_addf(&text, "{\"input\":%d,\"output\":%d}\n", i, i);
	put(r.tn.dir, "captures.jsonl", text.data, text.len);
	works(teach(&r, &opt, &first));
	/* the same rows in another place, the same choice */
	(void)buf_puts(&text, "{\"input\":5,\"output\":5,\"rev\":\"v1\"}\n");
	put(r.tn.dir, "captures.jsonl", text.data, text.len);
	works(teach(&r, &opt, &again));
	opt.seed = 43;
	works(teach(&r, &opt, &other));
	cr_assert(first.n == 32 && again.n == 32 && other.n == 32);
	cr_assert_eq(first.fresh, 0);
	for (size_t i = 0; i < 32; i++) {
		cr_assert_eq(first.row[i].number, again.row[i].number);
		cr_assert(i == 0 || first.row[i].number > first.row[i - 1].number);
		for (size_t k = 0; k < 32; k++)
			shared += other.row[k].number == first.row[i].number;
	}
	cr_assert_lt(shared, 12);
	teach_release(&first);
	teach_release(&again);
	teach_release(&other);
	buf_release(&text);
	rig_close(&r);
}

Test(teach, a_hundred_thousand_rows)
{
	struct teach_options opt = {.end = UINT64_MAX};
	struct buf text = BUF_INIT;
	struct timespec a, b;
	struct teach te;
	struct rig r;

	rig_open(&r);
	for (int i = 0; i < 100000; i++) /* each input twice, far apart: the later decides */
		(void)buf_addf(&text,
			"{\"ts\":\"2031-02-03T04:05:06.007Z\",\"input\":{\"text\":\"please ring me "
			"at 555 %d, it is about the order\"},\"output\":{\"text\":\"%d\"},"
			"\"recipe\":\"scrubber\",\"latency_us\":812}\n",
			i % 50000, i);
	put(r.tn.dir, "captures.jsonl", text.data, text.len);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	works(teach(&r, &opt, &te));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	cr_assert_eq(te.n, 50000);
	cr_assert_eq(te.superseded, 50000);
	cr_assert_eq(te.row[0].number, 50000);
	fprintf(stderr, "100,000 rows, %zu bytes: %.0f ms\n", text.len,
		((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9) * 1000);
	teach_release(&te);
	buf_release(&text);
	rig_close(&r);
}
