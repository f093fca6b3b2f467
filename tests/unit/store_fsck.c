/* store/fsck: each kind of damage is told, and put right or moved away, never deleted. */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "store/fsck.h"
#include "store/private.h"
#include "store_rig.h"

struct told {
	struct buf text; /* "kind path: sentence" lines */
};

static void note(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	static const char *const words[] = {"note", "damaged", "repaired", "moved"};
	struct told *t = arg;

	(void)buf_addf(&t->text, "%s %s: %s\n", words[kind], path, text);
}

/* what fsck says; the caller releases it */
static struct told fsck(struct rig *r, bool repair, unsigned *damaged)
{
	struct told t = {BUF_INIT};

	r->err = ERR_NONE;
	cr_assert_eq(store_fsck(&r->st, repair, note, &t, damaged, &r->err), 0, "%s", r->err.text);
	return t;
}

static void says(struct rig *r, bool repair, const char *line, bool is_damaged)
{
	unsigned damaged;
	struct told t = fsck(r, repair, &damaged);

	cr_expect_not_null(
		strstr(buf_str(&t.text), line), "no \"%s\" in\n%s", line, buf_str(&t.text));
	cr_expect_eq(damaged > 0, is_damaged, "%u damaged:\n%s", damaged, buf_str(&t.text));
	buf_release(&t.text);
}

/* nothing to say, with and without repair, but that the rig's artifact is not there */
static void clean(struct rig *r)
{
	static const char *const all = "note tune/demo/tune-config.json: its artifact cannot be "
				       "opened: /srv/a/demo.kolm\n";

	for (int i = 0; i < 2; i++) {
		unsigned damaged;
		struct told t = fsck(r, i > 0, &damaged);

		cr_expect_str_eq(buf_str(&t.text), all);
		cr_expect_eq(damaged, 0);
		buf_release(&t.text);
	}
	cr_expect_eq(log_verify(&r->st, NULL, &r->err), 0, "%s", r->err.text);
}

/* how many names of .lost/ end so */
static int lost(const struct rig *r, const char *end)
{
	int fd = openat(r->st.dir, ".lost", O_RDONLY | O_DIRECTORY), n = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL) {
		const char *dash = strchr(d->d_name, '-');

		n += dash != NULL && strcmp(dash + 1, end) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

/* HEAD = v2, head.prev = v1, and the log knows */
static void two_promotions(struct rig *r)
{
	struct by by = by_self();
	struct log_entry entry = {.event = "promoted", .slug = "demo", .by = &by};

	entry.fields = "\"revision\":\"v1\",\"previous\":\"v0\"";
	cr_assert_eq(head_promote(&r->tn, "v1", &entry, &r->err), 0, "%s", r->err.text);
	entry.fields = "\"revision\":\"v2\",\"previous\":\"v1\"";
	cr_assert_eq(head_promote(&r->tn, "v2", &entry, &r->err), 0, "%s", r->err.text);
}

Test(fsck, a_sound_store_has_nothing_to_say)
{
	struct rig r;

	rig_open(&r);
	clean(&r);
	two_promotions(&r);
	clean(&r);
	rig_close(&r);
}

Test(fsck, what_dead_processes_left)
{
	struct intent in = {.from = "v2",
		.to = "v3",
		.prev = "v1",
		.event = "promoted",
		.fields = (char *)"\"revision\":\"v3\",\"previous\":\"v2\""};
	struct job_record jr = {.verb = "step", .k = NAN};
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	works(log_ready(&r.st, &in.log_seq, &r.err));
	works(intent_write(&r.tn, &in, &r.err));
	works(journal_new(r.tn.dir, &jr, &r.err));
	put_text(r.tn.dir, "revisions/v1/.eval.json.tmp.999999.0", "{");
	cr_assert_eq(mkdirat(r.st.tune, ".half.tmp.999999", 0700), 0);
	says(&r, false, "damaged tune/demo/.intent: ", true);
	says(&r, false, "damaged tune/demo/jobs/1: ", true);
	says(&r, false, "damaged tune/demo/revisions/v1/.eval.json.tmp.999999.0: ", true);
	says(&r, false, "damaged tune/.half.tmp.999999: ", true);
	cr_assert(is_there(r.tn.dir, ".intent") && is_there(r.st.tune, ".half.tmp.999999"));
	says(&r, true, "repaired tune/demo/.intent: ", false);
	cr_assert_not(is_there(r.tn.dir, ".intent") || is_there(r.st.tune, ".half.tmp.999999"));
	clean(&r);
	rig_close(&r);
}

Test(fsck, head_and_the_way_back)
{
	static const struct {
		const char *name, *text, *line;
	} cases[] = {
		{"HEAD", "garbage", "tune/demo/HEAD: HEAD is damaged"},
		{"HEAD", "v9\n", "tune/demo/HEAD: HEAD names v9, which is missing"},
		{"HEAD", NULL, "tune/demo/HEAD: HEAD is missing"},
		{"head.prev", "v1\nv2", "tune/demo/head.prev: head.prev is damaged"},
		{"head.prev", "v9\n", "tune/demo/head.prev: head.prev names v9, which is missing"},
		{"head.prev", NULL, "tune/demo/head.prev: head.prev is missing"},
	};
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(unlinkat(r.tn.dir, cases[i].name, 0), 0);
		if (cases[i].text != NULL)
			put_text(r.tn.dir, cases[i].name, cases[i].text);
		says(&r, false, cases[i].line, true);
		says(&r, true, cases[i].line, false);
		cr_expect(same_file(r.tn.dir, "HEAD", "v2\n"));
		cr_expect(same_file(r.tn.dir, "head.prev", "v1\n"));
		clean(&r);
	}
	cr_assert_eq(unlinkat(r.tn.dir, "HEAD", 0), 0);
	cr_assert_eq(mkfifoat(r.tn.dir, "HEAD", 0600), 0);
	says(&r, true, "tune/demo/HEAD: HEAD is not a regular file", false);
	clean(&r);
	cr_expect_geq(lost(&r, "tune_demo_HEAD") + lost(&r, "tune_demo_HEAD.1") +
			      lost(&r, "tune_demo_HEAD.2"),
		1);
	cr_expect_eq(in_log(&r, "head_restored"), 7);
	rig_close(&r);
}

/* the log's word is only taken when its chain holds and its revision is whole */
Test(fsck, head_that_nobody_knows_stays_damaged)
{
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	put_text(r.tn.dir, "revisions/v2/adapter_model.safetensors", "changed");
	put_text(r.tn.dir, "HEAD", "garbage");
	says(&r, true, "damaged tune/demo/HEAD: HEAD is damaged", true);
	cr_assert(same_file(r.tn.dir, "HEAD", "garbage"));
	rig_close(&r);

	rig_open(&r);
	two_promotions(&r);
	struct buf text = get(r.st.logs, "tune.jsonl");

	*strstr(text.data, "\"v1\"") = '\''; /* one byte */
	put(r.st.logs, "tune.jsonl", text.data, text.len);
	put_text(r.tn.dir, "HEAD", "garbage");
	says(&r, true, "damaged logs/tune.jsonl: ", true);
	cr_assert(same_file(r.tn.dir, "HEAD", "garbage"));
	buf_release(&text);
	rig_close(&r);
}

Test(fsck, head_moved_by_hand_gets_its_line)
{
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	put_text(r.tn.dir, "HEAD", "v3\n");
	says(&r, false, "damaged tune/demo/HEAD: it is v3, but the log says v2", true);
	says(&r, true, "repaired tune/demo/HEAD: it is v3", false);
	cr_expect_eq(in_log(&r, "head_found"), 1);
	clean(&r);
	rig_close(&r);
}

Test(fsck, intent_nobody_can_read)
{
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	put_text(r.tn.dir, ".intent", "{\"half");
	says(&r, false, "damaged tune/demo/.intent: ", true);
	says(&r, true, "moved tune/demo/.intent: ", false); /* HEAD is where the log has it */
	cr_expect_eq(lost(&r, "tune_demo_.intent"), 1);
	clean(&r);
	put_text(r.tn.dir, ".intent", "{\"half");
	put_text(r.tn.dir, "HEAD", "v3\n");
	says(&r, true, "damaged tune/demo/.intent: ", true);
	cr_assert(is_there(r.tn.dir, ".intent"));
	rig_close(&r);
}

Test(fsck, config_comes_back_from_its_last_good_copy)
{
	struct rlimit all, none;
	struct config cf;
	struct rig r;

	rig_open(&r);
	works(config_load(&r.tn, &cf, &r.err));
	works(config_set(&cf, "rank", "4", &r.err));
	works(config_save(&r.tn, &cf, &r.err));
	config_release(&cf);
	put_text(r.tn.dir, "tune-config.json", "{\"half");
	says(&r, false, "damaged tune/demo/tune-config.json: ", true);
	says(&r, true, "repaired tune/demo/tune-config.json: ", false);
	works(config_load(&r.tn, &cf, &r.err));
	cr_expect_eq(cf.rank, 8);
	config_release(&cf);
	cr_expect_eq(lost(&r, "tune_demo_tune-config.json"), 1);
	clean(&r);
	/* no room for it: said so, and what was moved is not forgotten */
	put_text(r.tn.dir, "tune-config.json", "{\"other half");
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
	none = all;
	none.rlim_cur = 0;
	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	says(&r, true, "the last good copy is not back: no space left", true);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	cr_expect_eq(
		lost(&r, "tune_demo_tune-config.json") + lost(&r, "tune_demo_tune-config.json.1"),
		2);
	says(&r, true, "repaired tune/demo/tune-config.json: ", false);
	clean(&r);
	put_text(r.tn.dir, "tune-config.json", "");
	put_text(r.tn.dir, "tune-config.json.prev", "");
	says(&r, true, "damaged tune/demo/tune-config.json: ", true);
	cr_assert(same_file(r.tn.dir, "tune-config.json", ""));
	rig_close(&r);
}

Test(fsck, revisions)
{
	struct rig r;

	rig_open(&r);
	two_promotions(&r);
	put_text(r.tn.dir, "revisions/v3/adapter_model.safetensors", "changed");
	cr_assert_eq(mkdirat(r.tn.dir, "revisions/v7", 0700), 0);
	put_text(r.tn.dir, "revisions/v7/adapter_config.json", "{}");
	put_text(r.tn.dir, "revisions/v1/eval.json", "{\"half");
	says(&r, false, "damaged tune/demo/revisions/v3: v3/adapter_model.safetensors", true);
	says(&r, false, "damaged tune/demo/revisions/v7: v7 is incomplete", true);
	says(&r, true, "moved tune/demo/revisions/v3: ", false);
	cr_expect(!is_there(r.tn.dir, "revisions/v3") && !is_there(r.tn.dir, "revisions/v7"));
	cr_expect_eq(lost(&r, "tune_demo_revisions_v3"), 1);
	cr_expect_eq(lost(&r, "tune_demo_revisions_v7"), 1);
	cr_expect_eq(lost(&r, "tune_demo_revisions_v1_eval.json"), 1);
	clean(&r);
	/* what HEAD and head.prev name stays where it is */
	put_text(r.tn.dir, "revisions/v2/adapter_model.safetensors", "changed");
	says(&r, true, "damaged tune/demo/revisions/v2: v2/adapter_model.safetensors", true);
	cr_assert(is_there(r.tn.dir, "revisions/v2"));
	rig_close(&r);
}

Test(fsck, journal_is_written_anew_without_what_cannot_be_read)
{
	struct job_record jr = {.verb = "step", .rev = "v5", .k = NAN}, got;
	char next[REV_BYTES];
	struct rig r;

	rig_open(&r);
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	works(journal_append(r.tn.dir, &jr, &r.err));
	works(append_line(r.tn.dir, "jobs.jsonl", "{\"half", 6, false, &r.err));
	jr.rev[0] = '\0';
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	works(journal_append(r.tn.dir, &jr, &r.err));
	says(&r, false, "damaged tune/demo/jobs.jsonl: 1 of its lines", true);
	says(&r, true, "repaired tune/demo/jobs.jsonl: 1 of its lines", false);
	cr_expect_eq(lost(&r, "tune_demo_jobs.jsonl"), 1);
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_expect_str_eq(got.rev, "v5");
	works(revision_next(&r.tn, next, &r.err));
	cr_expect_str_eq(next, "v6");
	clean(&r);
	rig_close(&r);
}

Test(fsck, bad_rows_are_a_note)
{
	struct rig r;

	rig_open(&r);
	put_text(
		r.tn.dir, "captures.jsonl", "{\"input\":1,\"output\":2}\n{\"input\":1,\"ou\n[1]\n");
	says(&r, true,
		"note tune/demo/captures.jsonl: 1 rows; lines that are none: 1 torn, 1 broken",
		false);
	rig_close(&r);
}

Test(fsck, counts_of_dropped_rows)
{
	static const char *const bad[] = {"1 2\n", "00000000000000000001 0000000000000000000x\n",
		"00000000000000000001 00000000000000000002\n\n"};
	struct capture_drops n;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_text(r.tn.dir, ".dropped", bad[i]);
		fails(captures_drop(&r.tn, (struct capture_drops){1, 0}, &r.err), EUCLEAN,
			"is not two numbers");
		says(&r, false, "damaged tune/demo/.dropped: '.dropped' is not two numbers", true);
		says(&r, true, "moved tune/demo/.dropped: ", false);
		works(captures_drop(&r.tn, (struct capture_drops){2, 1}, &r.err));
		works(captures_dropped(&r.tn, &n, &r.err));
		cr_expect(n.oversize == 2 && n.unfinished == 1);
		clean(&r);
	}
	cr_assert_eq(unlinkat(r.tn.dir, ".dropped", 0), 0);
	cr_assert_eq(mkdirat(r.tn.dir, ".dropped", 0700), 0);
	says(&r, true, "moved tune/demo/.dropped: '.dropped' is not a regular file", false);
	clean(&r);
	rig_close(&r);
}

Test(fsck, the_end_of_the_log)
{
	struct log_entry entry = {.event = "e", .slug = "demo"};
	struct rig r;

	rig_open(&r);
	works(log_append(&r.st, &entry, &r.err));
	clean(&r);
	cr_assert_eq(unlinkat(r.st.logs, ".tune.tip", 0), 0);
	says(&r, false, "note logs/.tune.tip: the end of the audit log is not noted", false);
	works(log_append(&r.st, &entry, &r.err));
	clean(&r);
	put_text(r.st.logs, ".tune.tip", "2 0 0 " EMPTY_SHA " ed25519:00 ok\n");
	says(&r, true, "damaged logs/tune.jsonl: the end of the chain cannot be believed", true);
	rig_close(&r);
}

Test(fsck, logs_that_turned_over)
{
	static const char run[] = "{\"command\":\"run\"}";
	struct log_entry entry = {.event = "e", .slug = "demo"};
	struct log_parts ps;
	char name[PART_NAME_BYTES], line[140];
	struct rig r;

	rig_open(&r);
	r.st.log_bytes = LOG_TURN_MIN;
	for (int i = 0; i < 400; i++)
		works(runs_append(&r.st, run, strlen(run), &r.err));
	for (int i = 0; i < 60; i++)
		works(log_append(&r.st, &entry, &r.err));
	clean(&r);
	works(parts_list(&r.st, "runs", &ps, &r.err));
	cr_assert_geq(ps.n, 1);
	(void)part_file("runs", &ps.part[0], name);
	parts_release(&ps);
	put_text(r.st.logs, name, "no frame");
	(void)snprintf(line, sizeof(line), "logs/%s: it cannot be unpacked", name);
	says(&r, false, line, true);
	says(&r, true, line, false);
	clean(&r);
	/* of the audit log nothing is moved: which of the lines is true is for a person */
	works(parts_list(&r.st, "tune", &ps, &r.err));
	cr_assert_geq(ps.n, 1);
	(void)part_file("tune", &ps.part[0], name);
	parts_release(&ps);
	put_text(r.st.logs, name, "no frame");
	(void)snprintf(line, sizeof(line), "chain breaks at line 1 of logs/%s: ", name);
	says(&r, true, line, true);
	cr_expect(is_there(r.st.logs, name));
	rig_close(&r);
}

Test(fsck, indexes)
{
	struct rig r;

	rig_open(&r);
	cr_assert_eq(mkdirat(r.st.rag, "docs", 0700), 0);
	put_text(r.st.rag, "docs/index.json", "{}");
	put_text(r.st.rag, "docs/manifest.json", "{\"sha256\":\"" EMPTY_SHA "\"}");
	says(&r, false, "damaged rag/docs: its index.json does not match", true);
	says(&r, true, "moved rag/docs: its index.json does not match", false);
	cr_expect_eq(lost(&r, "rag_docs"), 1);
	/* mode kolm-2 has index.bin alone */
	cr_assert_eq(mkdirat(r.st.rag, "two", 0700), 0);
	put_text(r.st.rag, "two/index.bin", "");
	put_text(r.st.rag, "two/manifest.json",
		"{\"index_path\":\"/x/rag/two/index.bin\",\"sha256\":\"" EMPTY_SHA "\"}");
	clean(&r);
	rig_close(&r);
}

/* rag/${name} of ${text}, as an indexer leaves it */
static void make_index(const struct rig *r, const char *name, const char *text)
{
	char path[80], sha[HASH_HEX_BYTES], manifest[120];

	cr_assert_eq(mkdirat(r->st.rag, name, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/index.json", name);
	put_text(r->st.rag, path, text);
	sha256_hex(text, strlen(text), sha);
	(void)snprintf(manifest, sizeof(manifest), "{\"sha256\":\"%s\"}", sha);
	(void)snprintf(path, sizeof(path), "%s/manifest.json", name);
	put_text(r->st.rag, path, manifest);
}

struct publisher {
	struct rig *r;
	atomic_bool over;
};

static void *publish_again(void *arg)
{
	struct publisher *pb = arg;
	char text[40];

	for (int i = 0; !atomic_load(&pb->over); i++) {
		(void)snprintf(text, sizeof(text), "{\"generation\":%d}", i);
		make_index(pb->r, ".docs.1", text);
		cr_assert_eq(head_exchange(pb->r->st.rag, ".docs.1", "docs", NULL), 0);
		cr_assert_eq(dir_remove(pb->r->st.rag, ".docs.1", NULL), 0);
	}
	return NULL;
}

Test(fsck, indexes_that_are_published_meanwhile)
{
	struct rig r;
	struct publisher pb = {.r = &r};
	struct told t = {BUF_INIT};
	unsigned damaged, all = 0;
	pthread_t th;
	int lock;

	rig_open(&r);
	make_index(&r, "docs", "{}");
	works(store_lock_index(&r.st, &lock, &r.err));
	cr_assert_eq(pthread_create(&th, NULL, publish_again, &pb), 0);
	for (int i = 0; i < 300; i++) {
		works(store_fsck(&r.st, true, note, &t, &damaged, &r.err));
		all += damaged;
	}
	atomic_store(&pb.over, true);
	pthread_join(th, NULL);
	cr_expect_eq(all, 0, "%u times damaged", all);
	cr_expect_eq(lost(&r, "rag_docs"), 0);
	cr_expect_not_null(strstr(buf_str(&t.text), "an index is being built"));
	/* damage is not moved away under who builds, but behind him */
	put_text(r.st.rag, "docs/index.json", "[]");
	says(&r, true, "damaged rag/docs: its index.json does not match", true);
	close(lock);
	says(&r, true, "moved rag/docs: its index.json does not match", false);
	clean(&r);
	buf_release(&t.text);
	rig_close(&r);
}

Test(fsck, settings_of_the_store)
{
	struct rig r;

	rig_open(&r);
	put_text(r.st.dir, "config.json", "{\"workers\":{}}");
	clean(&r);
	put_text(r.st.dir, "config.json", "{\"workers\":{\"demo\":\"/srv/worker\"},}");
	says(&r, false, "damaged config.json: JSON", true);
	says(&r, true, "no step trains; put it right by hand", true);
	cr_expect(is_there(r.st.dir, "config.json"));
	put_text(r.st.dir, "config.json", "[]");
	says(&r, false, "damaged config.json: object expected", true);
	rig_close(&r);
}

Test(fsck, journal_of_the_indexes)
{
	struct job_record jr = {.verb = "index /x", .k = NAN};
	struct rig r;

	rig_open(&r);
	works(journal_new(r.st.rag, &jr, &r.err));
	jr.state = JOB_DONE;
	works(journal_append(r.st.rag, &jr, &r.err));
	clean(&r);
	works(append_line(r.st.rag, "jobs.jsonl", "{\"half", 6, false, &r.err));
	says(&r, false, "damaged rag/jobs.jsonl: 1 of its lines", true);
	says(&r, true, "repaired rag/jobs.jsonl: 1 of its lines", false);
	cr_expect_eq(lost(&r, "rag_jobs.jsonl"), 1);
	clean(&r);
	rig_close(&r);
}

Test(fsck, repair_needs_the_store_for_itself)
{
	unsigned damaged;
	struct told t = {BUF_INIT};
	struct rig r;
	int lock;

	rig_open(&r);
	works(store_lock_server(&r.st, &lock, &r.err));
	says(&r, false, "", false);
	fails(store_fsck(&r.st, true, note, &t, &damaged, &r.err), EBUSY,
		"store is in use by process");
	close(lock);
	rig_close(&r);
}

/* 4 MiB of old lines become a few, and no number is given twice */
Test(fsck, a_long_journal_is_compacted)
{
	struct job_record jr = {.verb = "step", .rev = "v41", .k = NAN}, got;
	char name[16], next[REV_BYTES];
	struct stat sb;
	struct rig r;

	rig_open_in(&r, "/dev/shm");
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.rev[0] = '\0';
	(void)memset(jr.error, 'x', 600);
	jr.state = JOB_DONE;
	jr.outcome = JOB_FAILED;
	jr.started_ms = 1700000000000;
	for (uint64_t i = 2; i < 6600; i++) { /* appended alone it only grows */
		jr.id = i;
		works(journal_append(r.tn.dir, &jr, &r.err));
	}
	cr_assert_eq(fstatat(r.tn.dir, "jobs.jsonl", &sb, 0), 0);
	cr_assert_gt(sb.st_size, 4 << 20);
	jr.state = JOB_RUNNING;
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	works(journal_append(r.tn.dir, &jr, &r.err));
	jr = (struct job_record){.verb = "eval", .k = NAN};
	works(journal_new(r.tn.dir, &jr, &r.err));
	cr_expect_eq(jr.id, 6600);
	cr_assert_eq(fstatat(r.tn.dir, "jobs.jsonl", &sb, 0), 0);
	cr_expect_lt(sb.st_size, 200000);
	works(journal_get(r.tn.dir, 6599, &got, &r.err));
	cr_expect_eq(got.outcome, JOB_FAILED);
	cr_expect_eq(got.started_ms, 1700000000000);
	works(revision_next(&r.tn, next, &r.err));
	cr_expect_str_eq(next, "v42");
	(void)snprintf(name, sizeof(name), "jobs/%d", 6600);
	cr_expect(is_there(r.tn.dir, name));
	rig_close(&r);
}
