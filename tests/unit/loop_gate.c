/* loop_gate - promote and rollback on crafted evals in real revisions: rows E05 to E13 of
 * BAD-INPUTS and the noise rule of DESIGN section 4. */
#include "base/num.h"
#include "loop/measure.h"
#include "loop_rig.h"

enum { CASES = 4 };

/* what an eval.json says; gate_start() fills in what is true, a test changes what it is about */
struct crafted {
	bool pass[CASES];
	double latency_us[CASES];
	char artifact[65], adapter[65], base[33];
	double gate;
	bool improve;
	int cases, egress;
	/* measured beside it; head "" makes compared null */
	char head[REV_BYTES], head_adapter[65];
	double head_accuracy, head_p50, noise, median;
};

struct gate_rig {
	struct rig r;
	struct tune tn;
	struct artifact *af;
	char base_xxh3[33];
};

static void make_revision(struct gate_rig *g, const char *rev)
{
	struct rig *r = &g->r;
	int out = dir_make(g->tn.dir, ".made", &r->err);
	char text[40];

	cr_assert_geq(out, 0, "%s", r->err.text);
	(void)snprintf(text, sizeof(text), "adapter of %s", rev);
	cr_assert_eq(replace_file(out, "adapter_config.json", "{}", 2, 0600, &r->err), 0);
	cr_assert_eq(
		replace_file(out, "adapter_model.safetensors", text, strlen(text), 0600, &r->err),
		0);
	cr_assert_eq(revision_seal(out, &r->err), 0, "%s", r->err.text);
	close(out);
	cr_assert_eq(
		revision_publish(&g->tn, g->tn.dir, ".made", rev, &r->err), 0, "%s", r->err.text);
}

static void gate_start(struct gate_rig *g)
{
	struct rig *r = &g->r;
	uint64_t bytes;

	rig_open(r);
	compile(r, "gated", "function generate(input, lib) { return input; }",
		"{\"id\":\"a\",\"input\":1,\"expected\":1}\n{\"id\":\"b\",\"input\":2,\"expected\":"
		"2}\n{\"id\":\"c\",\"input\":3,\"expected\":3}\n{\"id\":\"d\",\"input\":4,"
		"\"expected\":4}\n");
	cr_assert_eq(init(r, NULL), 0, "%s", r->err.text);
	cr_assert_eq(tune_open(&r->k->st, "gated", &g->tn, &r->err), 0, "%s", r->err.text);
	for (int i = 1; i <= 3; i++) {
		char rev[REV_BYTES];

		(void)snprintf(rev, sizeof(rev), "v%d", i);
		make_revision(g, rev);
	}
	cr_assert_eq(kolm_artifact_open(r->k, "gated", &g->af, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(
		base_identify(r->k, r->base, &bytes, g->base_xxh3, &r->err), 0, "%s", r->err.text);
}

static void gate_end(struct gate_rig *g)
{
	artifact_free(g->af);
	tune_close(&g->tn);
	rig_close(&g->r);
}

static void adapter_of(struct gate_rig *g, const char *rev, char sha[65])
{
	cr_assert_eq(revision_verify(&g->tn, rev, sha, &g->r.err), 0, "%s", g->r.err.text);
}

/* an eval of ${rev} beside ${head} that the gate lets pass: everything right, 100 ms, HEAD worse */
static struct crafted good(struct gate_rig *g, const char *rev, const char *head)
{
	struct crafted c = {.gate = 0.85,
		.improve = true,
		.cases = CASES,
		.head_accuracy = 0.5,
		.head_p50 = 100000,
		.noise = 1000,
		.median = 0};

	for (int i = 0; i < CASES; i++) {
		c.pass[i] = true;
		c.latency_us[i] = 100000;
	}
	memcpy(c.artifact, artifact_sha256(g->af), 65);
	memcpy(c.base, g->base_xxh3, 33);
	adapter_of(g, rev, c.adapter);
	(void)snprintf(c.head, sizeof(c.head), "%s", head);
	if (head[0] != '\0')
		adapter_of(g, head, c.head_adapter);
	return c;
}

static void record(struct gate_rig *g, const char *rev, const struct crafted *c)
{
	struct buf b = BUF_INIT;
	char name[80], x[4][NUM_TEXT_BYTES];
	int dir;

	(void)buf_addf(&b,
		"{\"spec\":\"kolm-eval-1\",\"revision\":\"%s\",\"artifact\":{\"file\":\"gated."
		"kolm\",\"sha256\":\"%s\"},\"base\":{\"path\":\"%s\",\"xxh3\":\"%s\"}",
		rev, c->artifact, g->r.base, c->base);
	(void)buf_addf(
		&b, ",\"adapter_sha256\":\"%s\",\"k\":1,\"accuracy\":1,\"compared\":", c->adapter);
	if (c->head[0] == '\0')
		(void)buf_puts(&b, "null");
	else
		(void)buf_addf(&b,
			"{\"revision\":\"%s\",\"accuracy\":%s,\"p50_latency_us\":%s,\"latency_"
			"noise_us\":%s,\"k\":0,\"adapter_sha256\":\"%s\",\"latency_median_us\":%s}",
			c->head, num_text(c->head_accuracy, x[0]), num_text(c->head_p50, x[1]),
			num_text(c->noise, x[2]), c->head_adapter, num_text(c->median, x[3]));
	(void)buf_addf(&b, ",\"egress\":%d,\"cases\":[", c->egress);
	for (int i = 0; i < c->cases; i++)
		(void)buf_addf(&b,
			"%s{\"id\":\"%d\",\"pass\":%s,\"output\":1,\"expected\":1,\"error\":null,"
			"\"latency_us\":%.0f,\"lm_us\":0}",
			i > 0 ? "," : "", i, c->pass[i % CASES] ? "true" : "false",
			c->latency_us[i % CASES]);
	(void)buf_addf(&b, "],\"settings\":{\"gate_k_min\":%s,\"gate_require_improvement\":%s}}",
		num_text(c->gate, x[0]), c->improve ? "true" : "false");
	cr_assert_eq(json_check(b.data, b.len, &g->r.err), 0, "%s", g->r.err.text);
	(void)snprintf(name, sizeof(name), "revisions/%s", rev);
	dir = openat(g->tn.dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(dir, 0);
	cr_assert_eq(replace_file(dir, "eval.json", b.data, b.len, 0600, &g->r.err), 0);
	close(dir);
	buf_release(&b);
}

static double k_of(const struct gate_rig *g, double accuracy, double p50)
{
	struct kscore_in in = {.size_bytes = (double)artifact_bytes(g->af),
		.accuracy = accuracy,
		.coverage = 1,
		.p50_latency_us = p50};
	struct kscore ks;

	kscore_compute(&in, &ks);
	return ks.composite;
}

static int promote(struct gate_rig *g, const char *rev, bool force)
{
	struct head now;

	g->r.err = ERR_NONE;
	return loop_promote(g->r.k, "gated", rev, force, NULL, &g->r.by, &now, &g->r.err);
}

static void expect_head(struct gate_rig *g, const char *head, const char *prev)
{
	struct head hd;

	cr_assert_eq(head_load(&g->tn, &hd, &g->r.err), 0, "%s", g->r.err.text);
	cr_expect_str_eq(hd.head, head);
	cr_expect_str_eq(hd.prev, prev);
}

/* refused so, and HEAD has not moved; a refusal of the gate stands in the log, nothing else does */
static void refused(struct gate_rig *g, const char *rev, bool force, int no, const char *part)
{
	size_t blocked = in_log(&g->r, "\"gate_blocked\"");
	struct head before, after;
	int rc;

	cr_assert_eq(head_load(&g->tn, &before, NULL), 0);
	rc = promote(g, rev, force);
	cr_expect_eq(rc, -no, "promote %s: %d (%s)", rev, rc, g->r.err.text);
	cr_expect_not_null(
		strstr(g->r.err.text, part), "\"%s\" has no \"%s\"", g->r.err.text, part);
	cr_expect_str_eq(g->r.err.code, no == ERANGE ? "K_GATE" : "");
	cr_assert_eq(head_load(&g->tn, &after, NULL), 0);
	cr_expect(strcmp(before.head, after.head) == 0 && strcmp(before.prev, after.prev) == 0);
	cr_expect_eq(in_log(&g->r, "\"gate_blocked\""), blocked + (no == ERANGE));
}

static void set_gate(struct gate_rig *g, const char *key, const char *value)
{
	cr_assert_eq(
		loop_set(g->r.k, "gated", key, value, &g->r.by, &g->r.err), 0, "%s", g->r.err.text);
}

Test(loop_gate, never_evaluated)
{
	struct gate_rig g;

	gate_start(&g);
	refused(&g, "v3", false, ERANGE, "K_GATE: v3 has no eval");
	refused(&g, "v9", false, ENOENT, "no revision v9 (have v0..v3)");
	refused(&g, "v1;", false, EINVAL, "bad revision \"v1;\"");
	refused(&g, "v0", false, EALREADY, "HEAD is v0 already");
	expect_head(&g, "v0", "");
	gate_end(&g);
}

/* also one that was changed in place and given its old time back */
Test(loop_gate, a_base_is_not_known_by_its_time_alone)
{
	struct rig r;
	char path[STORE_PATH_BYTES], before[33], after[33];
	uint64_t bytes;
	struct stat st;
	int fd;

	rig_open(&r);
	(void)snprintf(path, sizeof(path), "%s/tiny.gguf", r.path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "GGUF one", 8), 8);
	cr_assert_eq(base_identify(r.k, path, &bytes, before, &r.err), 0, "%s", r.err.text);
	cr_assert_eq(fstat(fd, &st), 0);
	(void)usleep(20000); /* file times may be that coarse */
	cr_assert_eq(pwrite(fd, "GGUF two", 8, 0), 8);
	cr_assert_eq(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
	cr_assert_eq(base_identify(r.k, path, &bytes, after, &r.err), 0, "%s", r.err.text);
	cr_expect_str_neq(before, after);
	close(fd);
	rig_close(&r);
}

Test(loop_gate, an_eval_of_something_else_is_out_of_date)
{
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	c = good(&g, "v1", "v0");
	c.artifact[5] = c.artifact[5] == '0' ? '1' : '0';
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the artifact or its cases changed");
	c = good(&g, "v1", "v0");
	c.adapter[5] = c.adapter[5] == '0' ? '1' : '0';
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the adapter of v1 changed");
	c = good(&g, "v1", "v0");
	c.base[5] = c.base[5] == '0' ? '1' : '0';
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the base model changed");
	c = good(&g, "v1", "v0");
	c.cases = CASES - 1;
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the cases changed");
	c = good(&g, "v1", "v0");
	c.gate = 0.8;
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the gate settings changed");
	c = good(&g, "v1", "v0");
	c.improve = false;
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval is out of date: the gate settings changed");
	/* and the other way about: the settings change after a good eval */
	c = good(&g, "v1", "v0");
	record(&g, "v1", &c);
	set_gate(&g, "gate.k_min", "0.2");
	refused(&g, "v1", false, ESTALE, "eval is out of date: the gate settings changed");
	set_gate(&g, "gate.k_min", "0.85");
	cr_expect_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	gate_end(&g);
}

Test(loop_gate, a_damaged_eval_decides_nothing)
{
	struct gate_rig g;
	struct crafted c;
	int dir;

	gate_start(&g);
	dir = openat(g.tn.dir, "revisions/v1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(replace_file(dir, "eval.json", "{\"spec\":", 8, 0600, NULL), 0);
	close(dir);
	refused(&g, "v1", false, EUCLEAN, "v1/eval.json is damaged");
	c = good(&g, "v1", "v0");
	c.head_accuracy = NAN; /* written as null */
	record(&g, "v1", &c);
	refused(&g, "v1", false, EUCLEAN, "v1/eval.json is damaged");
	gate_end(&g);
}

Test(loop_gate, below_by_one_ten_thousandth)
{
	char k[NUM_TEXT_BYTES], above[NUM_TEXT_BYTES], want[100];
	struct gate_rig g;
	struct crafted c;
	double is;

	gate_start(&g);
	is = k_of(&g, 0.75, 100000); /* three of four */
	(void)num_fixed(is + 0.0001, 4, above);
	(void)num_fixed(is, 4, k);
	set_gate(&g, "gate.k_min", above);
	c = good(&g, "v1", "v0");
	c.pass[2] = false;
	c.gate = strtod(above, NULL);
	record(&g, "v1", &c);
	(void)snprintf(want, sizeof(want), "K_GATE: %s < %s", k, above);
	refused(&g, "v1", false, ERANGE, want);
	cr_expect_eq(in_log(&g.r, "\"gate_blocked\",\"revision\":\"v1\""), 1);
	expect_head(&g, "v0", "");
	/* just there is there */
	set_gate(&g, "gate.k_min", k);
	c.gate = strtod(k, NULL);
	record(&g, "v1", &c);
	cr_expect_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	expect_head(&g, "v1", "v0");
	gate_end(&g);
}

Test(loop_gate, what_the_eval_file_claims_is_not_believed)
{
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	c = good(&g, "v1", "v0"); /* it says k 1 and accuracy 1, and every case failed */
	memset(c.pass, 0, sizeof(c.pass));
	record(&g, "v1", &c);
	refused(&g, "v1", false, ERANGE, "K_GATE: 0.");
	gate_end(&g);
}

Test(loop_gate, worse_than_head)
{
	char own[NUM_TEXT_BYTES], head[NUM_TEXT_BYTES], want[100];
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	set_gate(&g, "gate.k_min", "0.5");
	c = good(&g, "v1", "v0");
	c.gate = 0.5;
	record(&g, "v1", &c);
	cr_assert_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	c = good(&g, "v2", "v1");
	c.gate = 0.5;
	c.pass[0] = false;
	c.head_accuracy = 1;
	record(&g, "v2", &c);
	(void)snprintf(want, sizeof(want), "K_GATE: %s < %s of HEAD v1",
		num_fixed(k_of(&g, 0.75, 100000), 4, own), num_fixed(k_of(&g, 1, 100000), 4, head));
	refused(&g, "v2", false, ERANGE, want);
	/* as good as HEAD is good enough */
	c.head_accuracy = 0.75;
	record(&g, "v2", &c);
	cr_expect_eq(promote(&g, "v2", false), 0, "%s", g.r.err.text);
	/* with no improvement asked for, a worse one passes */
	set_gate(&g, "gate.require_improvement", "false");
	c = good(&g, "v3", "v2");
	c.gate = 0.5;
	c.improve = false;
	c.head_accuracy = 1;
	c.pass[0] = false;
	record(&g, "v3", &c);
	cr_expect_eq(promote(&g, "v3", false), 0, "%s", g.r.err.text);
	expect_head(&g, "v3", "v2");
	gate_end(&g);
}

Test(loop_gate, measured_beside_another_head)
{
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	c = good(&g, "v1", "");
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "eval again");
	c = good(&g, "v1", "v0");
	c.head_adapter[3] = c.head_adapter[3] == '0' ? '1' : '0';
	record(&g, "v1", &c);
	refused(&g, "v1", false, ESTALE, "other adapter bytes");
	c = good(&g, "v1", "v0");
	record(&g, "v1", &c);
	c = good(&g, "v2", "v0");
	record(&g, "v2", &c);
	cr_assert_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	refused(&g, "v2", false, ESTALE, "HEAD is v1, eval was made beside v0; eval again");
	gate_end(&g);
}

Test(loop_gate, noise_does_not_decide)
{
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	c = good(&g, "v1", "v0");
	for (int i = 0; i < CASES; i++)
		c.latency_us[i] = 120000;
	c.head_accuracy = 1; /* as accurate, and 20 ms slower */
	c.median = 20000;
	c.noise = 19999;
	record(&g, "v1", &c);
	refused(&g, "v1", false, ERANGE, "of HEAD v0");
	/* but it does not lift one over k_min */
	set_gate(&g, "gate.k_min", "0.9");
	c.noise = 1e9;
	c.gate = 0.9;
	c.pass[0] = false;
	cr_assert(k_of(&g, 0.75, 120000) < 0.9 && k_of(&g, 0.75, 0) > 0.85);
	for (int i = 0; i < CASES; i++)
		c.latency_us[i] = 9e6;
	c.head_accuracy = 0.1;
	c.head_p50 = 1;
	record(&g, "v1", &c);
	refused(&g, "v1", false, ERANGE, "< 0.9000");
	/* inside the noise both are given HEAD's p50 */
	set_gate(&g, "gate.k_min", "0.85");
	c = good(&g, "v1", "v0");
	for (int i = 0; i < CASES; i++)
		c.latency_us[i] = 120000;
	c.head_accuracy = 1;
	c.median = 20000;
	c.noise = 20000;
	record(&g, "v1", &c);
	cr_expect_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	gate_end(&g);
}

Test(loop_gate, the_noise_of_a_pair)
{
	struct measured_case own[4] = {{.returned = true, .latency_us = 110},
		{.returned = true, .latency_us = 130}, {.returned = false, .latency_us = 9},
		{.returned = true, .latency_us = 90}};
	struct measured_case head[4] = {{.returned = true, .latency_us = 100},
		{.returned = true, .latency_us = 100}, {.returned = true, .latency_us = 100},
		{.returned = true, .latency_us = 100}};
	const struct measured a = {.list = own, .n = 4}, b = {.list = head, .n = 4}, none = {0};
	double median, noise = measured_noise(&a, &b, &median);

	/* d = 10 30 -10: median 10, |d - 10| = 0 20 20: MAD 20, 2 * 20 / sqrt(3) */
	cr_expect_float_eq(median, 10, 1e-12);
	cr_expect_float_eq(noise, 40 / sqrt(3), 1e-9);
	cr_expect(isnan(measured_noise(&none, &b, &median)) && isnan(median));
}

Test(loop_gate, an_egress_attempt_is_never_promoted)
{
	struct gate_rig g;
	struct crafted c;

	gate_start(&g);
	c = good(&g, "v1", "v0");
	c.egress = 1;
	record(&g, "v1", &c);
	refused(&g, "v1", false, EPERM, "egress attempt");
	refused(&g, "v1", true, EPERM, "egress attempt");
	gate_end(&g);
}

Test(loop_gate, force_passes_the_gate_and_is_logged)
{
	struct gate_rig g;

	gate_start(&g);
	refused(&g, "v1", false, ERANGE, "K_GATE");
	cr_expect_eq(promote(&g, "v1", true), 0, "%s", g.r.err.text);
	expect_head(&g, "v1", "v0");
	cr_expect_eq(in_log(&g.r, "\"promoted\",\"revision\":\"v1\",\"previous\":\"v0\",\"k\":null,"
				  "\"forced\":true"),
		1);
	refused(&g, "v1", true, EALREADY, "HEAD is v1 already");
	gate_end(&g);
}

Test(loop_gate, forced_or_not_a_damaged_revision_stays_out)
{
	struct gate_rig g;
	int dir;

	gate_start(&g);
	dir = openat(g.tn.dir, "revisions/v1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(replace_file(dir, "adapter_model.safetensors", "changed", 7, 0600, NULL), 0);
	close(dir);
	refused(&g, "v1", true, EKEYREJECTED,
		"v1/adapter_model.safetensors does not match its digest");
	gate_end(&g);
}

Test(loop_gate, promote_and_back_and_back_again)
{
	struct gate_rig g;
	struct crafted c;
	struct head now;
	uint64_t lines;

	gate_start(&g);
	g.r.err = ERR_NONE;
	cr_expect_eq(loop_rollback(g.r.k, "gated", NULL, &g.r.by, &now, &g.r.err), -ENOENT);
	cr_expect_not_null(strstr(g.r.err.text, "no prior head to roll back to"));
	c = good(&g, "v1", "v0");
	record(&g, "v1", &c);
	cr_assert_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	c = good(&g, "v2", "v1");
	record(&g, "v2", &c);
	cr_assert_eq(promote(&g, "v2", false), 0, "%s", g.r.err.text);
	expect_head(&g, "v2", "v1");
	cr_expect_eq(loop_rollback(g.r.k, "gated", NULL, &g.r.by, &now, &g.r.err), 0, "%s",
		g.r.err.text);
	cr_expect_str_eq(now.head, "v1");
	expect_head(&g, "v1", "v2");
	cr_expect_eq(loop_rollback(g.r.k, "gated", NULL, &g.r.by, &now, &g.r.err), 0, "%s",
		g.r.err.text);
	expect_head(&g, "v2", "v1");
	refused(&g, "v2", false, EALREADY, "HEAD is v2 already");
	expect_head(&g, "v2", "v1");
	cr_expect_eq(in_log(&g.r, "\"promoted\""), 2);
	cr_expect_eq(in_log(&g.r, "\"rolled_back\""), 2);
	cr_expect_eq(log_verify(&g.r.k->st, &lines, &g.r.err), 0, "%s", g.r.err.text);
	gate_end(&g);
}

static int back(struct gate_rig *g, const char *id, struct head *now)
{
	g->r.err = ERR_NONE;
	return loop_rollback(g->r.k, "gated", id, &g->r.by, now, &g->r.err);
}

/* reliability.md 9.2: the same id twice is answered from the log */
Test(loop_gate, a_request_repeated_is_done_once)
{
	struct gate_rig g;
	struct head now;
	const char *const bad[] = {"", "-x", "a b", "a/b", "a\"b"};
	char longest[67];

	gate_start(&g);
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(
			loop_promote(g.r.k, "gated", "v1", true, "one", &g.r.by, &now, &g.r.err), 0,
			"%s", g.r.err.text);
		cr_expect(strcmp(now.head, "v1") == 0 && strcmp(now.prev, "v0") == 0);
		expect_head(&g, "v1", "v0");
	}
	cr_assert_eq(promote(&g, "v2", true), 0, "%s", g.r.err.text);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(back(&g, "two", &now), 0, "%s", g.r.err.text);
		cr_expect(strcmp(now.head, "v1") == 0 && strcmp(now.prev, "v2") == 0);
		expect_head(&g, "v1", "v2");
	}
	/* however long ago, and whatever HEAD is now; what was done is what is said */
	cr_expect_eq(loop_promote(g.r.k, "gated", "v1", true, "one", &g.r.by, &now, &g.r.err), 0,
		"%s", g.r.err.text);
	cr_expect(strcmp(now.head, "v1") == 0 && strcmp(now.prev, "v0") == 0);
	/* another request under that id */
	cr_expect_eq(back(&g, "one", &now), -EINVAL);
	cr_expect_not_null(strstr(g.r.err.text, "id \"one\" was promote v1 already"));
	cr_expect_eq(
		loop_promote(g.r.k, "gated", "v3", true, "one", &g.r.by, &now, &g.r.err), -EINVAL);
	cr_expect_eq(
		loop_promote(g.r.k, "gated", "v2", true, "two", &g.r.by, &now, &g.r.err), -EINVAL);
	cr_expect_not_null(strstr(g.r.err.text, "id \"two\" was rollback already"));
	/* refused ones are asked anew */
	cr_expect_eq(loop_promote(g.r.k, "gated", "v3", false, "three", &g.r.by, &now, &g.r.err),
		-ERANGE);
	cr_expect_eq(loop_promote(g.r.k, "gated", "v3", true, "three", &g.r.by, &now, &g.r.err), 0,
		"%s", g.r.err.text);
	expect_head(&g, "v3", "v1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(back(&g, bad[i], &now), -EINVAL, "%s", bad[i]);
	memset(longest, 'x', sizeof(longest));
	longest[65] = '\0';
	cr_expect_eq(back(&g, longest, &now), -ENAMETOOLONG);
	expect_head(&g, "v3", "v1");
	longest[64] = '\0';
	cr_expect_eq(back(&g, longest, &now), 0, "%s", g.r.err.text);
	cr_expect_eq(in_log(&g.r, "\"promoted\""), 3);
	cr_expect_eq(in_log(&g.r, "\"rolled_back\""), 2);
	gate_end(&g);
}

/* G04: only the key itself is the generation an edit was made on */
Test(loop_gate, a_key_like_generation_is_unknown_and_kept)
{
	struct buf text = BUF_INIT;
	struct gate_rig g;

	gate_start(&g);
	cr_assert_eq(read_file(g.tn.dir, "tune-config.json", 1 << 16, &text, NULL), 0);
	cJSON *json = cJSON_Parse(text.data);
	cr_assert_not_null(json);
	cJSON_DeleteItemFromObjectCaseSensitive(json, "generation");
	cJSON_AddNumberToObject(json, "GENERATION", 77);
	char *edited = cJSON_Print(json);
	cr_expect_eq(loop_config_write(g.r.k, "gated", edited, strlen(edited), &g.r.by, &g.r.err),
		0, "%s", g.r.err.text);
	buf_reset(&text);
	cr_assert_eq(read_file(g.tn.dir, "tune-config.json", 1 << 16, &text, NULL), 0);
	cr_expect_not_null(strstr(text.data, "\"GENERATION\": 77"));
	cJSON_free(edited);
	cJSON_Delete(json);
	buf_release(&text);
	gate_end(&g);
}

/* what was dropped stays counted when the process that counted it is gone */
Test(loop_gate, dropped_rows_stay_counted)
{
	struct gate_rig g;
	struct buf row = BUF_INIT, status = BUF_INIT;

	gate_start(&g);
	(void)buf_puts(&row, "{\"input\":\"");
	for (int i = 0; i < CAPTURE_LINE_BYTES; i++)
		(void)buf_putc(&row, 'x');
	(void)buf_puts(&row, "\",\"output\":1}");
	for (int i = 0; i < 2; i++)
		cr_expect_eq(loop_capture_append(g.r.k, "gated", row.data, row.len, &g.r.err),
			-EMSGSIZE);
	loop_capture_dropped(g.r.k, "gated");
	kolm_close(g.r.k);
	cr_assert_eq(kolm_open(g.r.store, false, g.r.sp, &g.r.k, &g.r.err), 0, "%s", g.r.err.text);
	cr_assert_eq(kolm_status(g.r.k, "gated", &status, &g.r.err), 0, "%s", g.r.err.text);
	cr_expect_not_null(strstr(buf_str(&status), "\ndropped_oversize 2\n"));
	cr_expect_not_null(strstr(buf_str(&status), "unfinished=1,"), "%s", buf_str(&status));
	buf_release(&row);
	buf_release(&status);
	gate_end(&g);
}

Test(loop_gate, no_way_back_to_what_is_damaged)
{
	struct gate_rig g;
	struct crafted c;
	struct head now;
	int dir;

	gate_start(&g);
	c = good(&g, "v1", "v0");
	record(&g, "v1", &c);
	cr_assert_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	c = good(&g, "v2", "v1");
	record(&g, "v2", &c);
	cr_assert_eq(promote(&g, "v2", false), 0, "%s", g.r.err.text);
	dir = openat(g.tn.dir, "revisions/v1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(replace_file(dir, "adapter_model.safetensors", "changed", 7, 0600, NULL), 0);
	close(dir);
	g.r.err = ERR_NONE;
	cr_expect_eq(loop_rollback(g.r.k, "gated", NULL, &g.r.by, &now, &g.r.err), -EUCLEAN);
	cr_expect_not_null(strstr(g.r.err.text, "v1 is damaged: files.json"), "%s", g.r.err.text);
	cr_expect_not_null(strstr(g.r.err.text, "HEAD stays v2"), "%s", g.r.err.text);
	expect_head(&g, "v2", "v1");
	/* gone altogether */
	cr_assert_eq(dir_remove(g.tn.dir, "revisions/v1", NULL), 0);
	cr_expect_eq(loop_rollback(g.r.k, "gated", NULL, &g.r.by, &now, &g.r.err), -EUCLEAN, "%s",
		g.r.err.text);
	expect_head(&g, "v2", "v1");
	gate_end(&g);
}

Test(loop_gate, not_while_a_job_of_the_slug_runs)
{
	struct gate_rig g;
	struct crafted c;
	int lock;

	gate_start(&g);
	c = good(&g, "v1", "v0");
	record(&g, "v1", &c);
	cr_assert_eq(tune_lock_job(&g.tn, &lock, &g.r.err), 0);
	refused(&g, "v1", false, EBUSY, "is running");
	refused(&g, "v1", true, EBUSY, "is running");
	close(lock);
	cr_expect_eq(promote(&g, "v1", false), 0, "%s", g.r.err.text);
	gate_end(&g);
}

/* gc keeps the newest, HEAD and head.prev, and whatever a job may need: while one runs it is
 * refused. So is remove. */
Test(loop_gate, what_is_thrown_away)
{
	struct gate_rig g;
	struct tune tn;
	long *list;
	size_t n;
	int busy;

	gate_start(&g);
	cr_assert_eq(promote(&g, "v1", true), 0, "%s", g.r.err.text);
	cr_assert_eq(tune_lock_job(&g.tn, &busy, &g.r.err), 0, "%s", g.r.err.text);
	cr_expect_eq(loop_gc(g.r.k, "gated", 1, &g.r.by, &g.r.err), -EBUSY);
	cr_expect_eq(loop_remove(g.r.k, "gated", "gated", &g.r.by, &g.r.err), -EBUSY);
	cr_assert_eq(revision_list(&g.tn, &list, &n, &g.r.err), 0, "%s", g.r.err.text);
	cr_expect_eq(n, 4);
	free(list);
	close(busy);
	for (int i = 0; i < 2; i++) { /* the second time there is nothing to do, and no line */
		cr_expect_eq(loop_gc(g.r.k, "gated", 1, &g.r.by, &g.r.err), 0, "%s", g.r.err.text);
		cr_assert_eq(revision_list(&g.tn, &list, &n, &g.r.err), 0, "%s", g.r.err.text);
		cr_expect(n == 3 && list[0] == 0 && list[1] == 1 && list[2] == 3, "%zu left", n);
		free(list);
	}
	cr_expect_eq(in_log(&g.r, "\"event\":\"collected\",\"revisions\":1,\"keep\":1,"), 1);
	expect_head(&g, "v1", "v0");
	cr_expect_eq(loop_remove(g.r.k, "gated", "other", &g.r.by, &g.r.err), -EINVAL);
	cr_expect_not_null(strstr(g.r.err.text, "repeat the name \"gated\""));
	cr_expect_eq(tune_open(&g.r.k->st, "gated", &tn, &g.r.err), 0, "%s", g.r.err.text);
	tune_close(&tn);
	cr_expect_eq(
		loop_remove(g.r.k, "gated", "gated", &g.r.by, &g.r.err), 0, "%s", g.r.err.text);
	cr_expect_eq(tune_open(&g.r.k->st, "gated", &tn, &g.r.err), -ENOENT);
	cr_expect_eq(in_log(&g.r, "\"event\":\"removed\","), 1);
	cr_expect_eq(access(g.r.artifact, R_OK), 0, "the artifact is not the store's");
	cr_expect_eq(loop_remove(g.r.k, "gated", "gated", &g.r.by, &g.r.err), -ENOENT);
	gate_end(&g);
}

/* one went before one could not: what changed is in the log */
Test(loop_gate, what_was_thrown_away_before_a_failure_is_told)
{
	struct gate_rig g;
	int dir;

	gate_start(&g);
	cr_assert_eq(promote(&g, "v1", true), 0, "%s", g.r.err.text);
	cr_assert_eq(mkdirat(g.tn.dir, "revisions/.v3.removed", 0700), 0);
	dir = openat(g.tn.dir, "revisions/.v3.removed/in the way", O_CREAT | O_WRONLY, 0600);
	cr_assert_geq(dir, 0);
	close(dir);
	cr_expect_eq(loop_gc(g.r.k, "gated", 0, &g.r.by, &g.r.err), -ENOTEMPTY);
	cr_expect_not_null(strstr(g.r.err.text, "cannot remove v3"), "%s", g.r.err.text);
	cr_expect_not(store_has(&g.r, "tune/gated/revisions/v2"));
	cr_expect(store_has(&g.r, "tune/gated/revisions/v3/files.json"));
	cr_expect_eq(in_log(&g.r, "\"event\":\"collected\",\"revisions\":1,\"keep\":0,"), 1);
	gate_end(&g);
}

Test(loop_gate, settings_out_of_their_limits)
{
	struct gate_rig g;

	gate_start(&g);
	struct rig r = g.r;
	fails(loop_set(r.k, "gated", "gate.k_min", "1.1", &r.by, &r.err), ERANGE,
		"gate: number from 0 to 1");
	fails(loop_set(r.k, "gated", "gate.k_min", "-1", &r.by, &r.err), ERANGE,
		"gate: number from 0 to 1");
	fails(loop_set(r.k, "gated", "gate.k_min", "\"0.85\"", &r.by, &r.err), EINVAL,
		"gate: number from 0 to 1");
	fails(loop_set(r.k, "gated", "gate.k_min", "null", &r.by, &r.err), EINVAL,
		"gate: number from 0 to 1");
	fails(loop_set(r.k, "gated", "nothing", "1", &r.by, &r.err), EINVAL, "nothing");
	gate_end(&g);
}
