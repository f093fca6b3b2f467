/* store/: a whole store as the reference writes it (FORMATS 2-6, 9.5, 9.6, 10) opens, is used, and
 * stays one it can read. */
#include "store/fsck.h"
#include "store/private.h"
#include "store_rig.h"

#define CONFIG                                                                                     \
	"{\n  \"artifact\": \"pii-scrub.kolm\",\n  \"base_model\": \"/srv/models/tiny-3b\",\n"     \
	"  \"rank\": 8,\n  \"alpha\": 16,\n  \"dropout\": 0.05,\n  \"captures_on\": true,\n"       \
	"  \"gate\": {\n    \"k_min\": 0.9,\n    \"require_improvement\": true\n  },\n"            \
	"  \"watch\": {\n    \"threshold_rows\": 50,\n    \"sample_size\": 32\n  },\n"             \
	"  \"created_at\": \"2031-02-03T04:05:06.007Z\"\n}"
#define SKELETON                                                                                   \
	"{\n  \"base_model_name_or_path\": \"/srv/models/tiny-3b\",\n  \"peft_type\": \"LORA\",\n" \
	"  \"r\": 8,\n  \"lora_alpha\": 16,\n  \"revision\": \"v0\",\n  \"skeleton\": true\n}"
#define ROW1                                                                                       \
	"{\"ts\":\"2031-02-03T04:05:06.007Z\",\"input\":{\"text\":\"ring 555 "                     \
	"0100\"},\"output\":{\"text\":\"ring "                                                     \
	"[PHONE]\"},\"recipe\":\"scrubber\",\"latency_us\":812}\n"
#define ROW2                                                                                       \
	"{\"ts\":\"2031-02-03T04:05:07.007Z\",\"input\":\"x\",\"output\":null,\"recipe\":null,"    \
	"\"latency_us\":null}\n"
/* a run whose output was undefined leaves the key out */
#define ROW3 "{\"ts\":\"2031-02-03T04:05:08.007Z\",\"input\":1,\"recipe\":\"r\",\"latency_us\":1}\n"
#define EVENTS                                                                                     \
	"{\"ts\":\"2031-02-03T04:05:06.007Z\",\"artifact\":\"pii-scrub.kolm\",\"event\":"          \
	"\"watch_started\",\"captures\":0,\"threshold\":50}\n"                                     \
	"{\"ts\":\"2031-02-03T04:06:06.007Z\",\"artifact\":\"pii-scrub.kolm\",\"event\":"          \
	"\"promoted\",\"revision\":\"v1\",\"previous\":\"v0\",\"k\":0.93}\n"

static void dir_at(int dirfd, const char *path)
{
	cr_assert_eq(mkdirat(dirfd, path, 0755), 0, "%s", path);
}

/* as the reference leaves it: modes of a plain umask, head.prev without a line feed, no v0 weights,
 * no files.json, nothing of ours */
static void foreign_open(struct rig *r)
{
	int fd;

	*r = (struct rig){.path = "/tmp/kolm-store-XXXXXX", .err = ERR_NONE};
	cr_assert_not_null(mkdtemp(r->path));
	fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	dir_at(fd, "tune");
	dir_at(fd, "logs");
	dir_at(fd, "artifacts");
	dir_at(fd, "tune/pii-scrub");
	dir_at(fd, "tune/pii-scrub/revisions");
	dir_at(fd, "tune/pii-scrub/revisions/v0");
	dir_at(fd, "tune/pii-scrub/revisions/v1");
	dir_at(fd, "tune/pii-scrub/revisions/v2"); /* of a step that failed: empty */
	put_text(fd, "config.json", "{\n  \"local_receipt_secret\": \"kolm-local-00\"\n}");
	put_text(fd, "tune/pii-scrub/tune-config.json", CONFIG);
	put_text(fd, "tune/pii-scrub/captures.jsonl", ROW1 "\nnot json\n" ROW2 ROW3);
	put_text(fd, "tune/pii-scrub/revisions/v0/adapter_config.json", SKELETON);
	put_text(fd, "tune/pii-scrub/revisions/v1/adapter_config.json", "{\"peft_type\":\"LORA\"}");
	put_text(fd, "tune/pii-scrub/revisions/v1/adapter_model.safetensors", "weights");
	put_text(fd, "tune/pii-scrub/HEAD", "v1\n");
	put_text(fd, "tune/pii-scrub/head.prev", "v0");
	put_text(fd, "logs/tune.jsonl", EVENTS);
	put_text(fd, "logs/runs.jsonl", "{\"command\":\"run\",\"ok\":true}\n");
	close(fd);
	cr_assert_eq(store_open(r->path, &r->st, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(tune_open(&r->st, "pii-scrub", &r->tn, &r->err), 0, "%s", r->err.text);
}

Test(reference, its_store_opens)
{
	struct capture_cache cache = {0};
	struct capture_counts n;
	struct config cf;
	struct head hd;
	struct rig r;
	long *list;
	size_t revs;

	foreign_open(&r);
	works(config_load(&r.tn, &cf, &r.err));
	cr_expect(cf.captures_on && cf.threshold_rows == 50 && cf.generation == 0);
	cr_expect_float_eq(cf.k_min, 0.9, 0);
	cr_expect_null(cf.artifact_path);
	config_release(&cf);
	works(head_load(&r.tn, &hd, &r.err));
	cr_expect(strcmp(hd.head, "v1") == 0 && strcmp(hd.prev, "v0") == 0);
	works(revision_list(&r.tn, &list, &revs, &r.err));
	cr_expect(revs == 2 && list[0] == 0 && list[1] == 1, "%zu revisions", revs);
	free(list);
	works(revision_verify(&r.tn, "v1", NULL, &r.err));
	works(captures_count(&r.tn, &cache, &n, &r.err));
	cr_expect(n.rows == 2 && n.broken == 2 && n.torn == 0, "%d rows, %d broken, %d torn",
		(int)n.rows, (int)n.broken, (int)n.torn);
	works(log_verify(&r.st, NULL, &r.err));
	works(store_recover(&r.st, &r.err));
	cr_expect(same_file(r.st.logs, "tune.jsonl", EVENTS));
	cr_expect(same_file(r.tn.dir, "tune-config.json", CONFIG));
	rig_close(&r);
}

/* what the reference would find after us: one line in HEAD, its keys first and as they were in the
 * config, rows and lines that are JSON objects with its keys */
Test(reference, ours_stays_readable_for_it)
{
	struct log_entry back = {.event = "rolled_back",
		.fields = "\"revision\":\"v0\",\"previous\":\"v1\"",
		.slug = "pii-scrub"};
	struct capture cp = {.input = {"\"a\"", 3}, .output = {"2", 1}, .recipe = "r"};
	struct buf row = BUF_INIT, text;
	struct config cf;
	struct head hd;
	struct rig r;
	uint64_t lines;
	char id[33];

	foreign_open(&r);
	works(head_rollback(&r.tn, &back, &hd, &r.err));
	cr_expect(same_file(r.tn.dir, "HEAD", "v0"));
	cr_expect(same_file(r.tn.dir, "head.prev", "v1\n"));
	works(config_load(&r.tn, &cf, &r.err));
	works(config_set(&cf, "captures_on", "off", &r.err));
	works(config_save(&r.tn, &cf, &r.err));
	config_release(&cf);
	text = get(r.tn.dir, "tune-config.json");
	char *made = strstr(text.data, "\"created_at\": \"2031-02-03T04:05:06.007Z\"");

	cr_assert_not_null(made);
	cr_expect_null(strstr(text.data, "artifact_sha256"), "it is still the reference's");
	*strstr(made, "Z\"") = '\0';
	cr_expect_not_null(strstr(text.data, "\"captures_on\": false,\n  \"gate\": {"));
	cr_expect_eq(strncmp(text.data, CONFIG,
			     strlen("{\n  \"artifact\": \"pii-scrub.kolm\",\n  "
				    "\"base_model\": \"/srv/models/tiny-3b\",")),
		0);
	buf_release(&text);
	works(capture_render(&cp, &row, id));
	works(captures_append(&r.tn, row.data, row.len, &r.err));
	buf_release(&row);
	text = get(r.tn.dir, "captures.jsonl");
	cr_expect_eq(strncmp(text.data, ROW1 "\nnot json\n" ROW2 ROW3 "{\"ts\":\"",
			     strlen(ROW1 "\nnot json\n" ROW2 ROW3) + 7),
		0);
	cr_expect_not_null(strstr(
		text.data, ",\"input\":\"a\",\"output\":2,\"recipe\":\"r\",\"latency_us\":null,"));
	cr_expect_eq(text.data[text.len - 1], '\n');
	buf_release(&text);
	text = get(r.st.logs, "tune.jsonl");
	cr_expect_eq(text.data,
		strstr(text.data, EVENTS "{\"event\":\"rolled_back\",\"revision\":\"v0\","));
	buf_release(&text);
	works(log_verify(&r.st, &lines, &r.err));
	cr_expect_eq(lines, 3);
	rig_close(&r);
}

static void keep(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	if (kind != FSCK_NOTE)
		(void)buf_addf(arg, "%s: %s\n", path, text);
}

/* the one thing wrong with it is the empty folder a failed step of the reference leaves */
Test(reference, fsck_knows_it)
{
	struct buf said = BUF_INIT;
	unsigned damaged;
	struct rig r;

	foreign_open(&r);
	works(store_fsck(&r.st, true, keep, &said, &damaged, &r.err));
	cr_expect_eq(damaged, 0);
	cr_expect_eq(count_text(buf_str(&said), "\n"), 1, "%s", buf_str(&said));
	cr_expect_not_null(strstr(buf_str(&said), "tune/pii-scrub/revisions/v2: v2 is incomplete"));
	buf_reset(&said);
	works(store_fsck(&r.st, false, keep, &said, &damaged, &r.err));
	cr_expect_eq(said.len, 0, "%s", buf_str(&said));
	cr_expect(same_file(r.tn.dir, "HEAD", "v1\n") && same_file(r.tn.dir, "head.prev", "v0"));
	buf_release(&said);
	rig_close(&r);
}
