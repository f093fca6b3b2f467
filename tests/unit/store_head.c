/* store/head, promote: HEAD and head.prev, every state a killed promotion can leave (BAD-INPUTS
 * E09-E12, H01-H05, K15; reliability.md 9.2). */
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "store/private.h"
#include "store_rig.h"

static const struct log_entry promoted = {.event = "promoted",
	.fields = "\"revision\":\"v2\",\"previous\":\"v1\",\"k\":0.9",
	.slug = "demo",
	.job = 7};

static void heads_put(struct rig *r, const char *head, const char *prev, const char *next)
{
	const char *names[] = {"HEAD", "head.prev", HEAD_NEXT}, *texts[] = {head, prev, next};

	for (int i = 0; i < 3; i++) {
		(void)unlinkat(r->tn.dir, names[i], 0);
		if (texts[i] != NULL)
			put_text(r->tn.dir, names[i], texts[i]);
	}
}

static bool heads_are(struct rig *r, const char *head, const char *prev)
{
	struct head now = {"", ""};
	int rc = head_load(&r->tn, &now, &r->err);

	if (rc == 0 && strcmp(now.head, head) == 0 && strcmp(now.prev, prev) == 0)
		return true;
	fprintf(stderr, "HEAD %s, head.prev %s, not %s and %s (%s)\n", now.head, now.prev, head,
		prev, rc < 0 ? r->err.text : "ok");
	return false;
}

Test(head, damaged)
{
	static const char *const bad[] = {"", "v", "vv1", "v1\nv2", "latest", "v01", "v1\x1b[2J"};
	struct head hd;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_text(r.tn.dir, "HEAD", bad[i]);
		fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "HEAD is damaged");
		cr_assert_null(strchr(r.err.text, '\x1b'));
	}
	char *big = malloc(10000000);

	memset(big, 'v', 10000000);
	put(r.tn.dir, "HEAD", big, 10000000);
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "HEAD is damaged");
	free(big);
	put_text(r.tn.dir, "HEAD", "v7\n");
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "HEAD names v7, which is missing");
	for (int i = 0; i < 3; i++) {
		(void)unlinkat(r.tn.dir, "HEAD", 0);
		cr_assert_eq(i == 0   ? symlinkat("head.prev", r.tn.dir, "HEAD")
			     : i == 1 ? mkdirat(r.tn.dir, "HEAD", 0700)
				      : mkfifoat(r.tn.dir, "HEAD", 0600),
			0);
		fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "HEAD is not a regular file");
		(void)unlinkat(r.tn.dir, "HEAD", i == 1 ? AT_REMOVEDIR : 0);
	}
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN,
		"HEAD is missing; no promotion is in the log");
	works(log_append(&r.st, &promoted, &r.err));
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN,
		"HEAD is missing; last promotion in the log is v2");
	put_text(r.tn.dir, "HEAD", "v3"); /* no line feed: not damage */
	works(head_load(&r.tn, &hd, &r.err));
	cr_assert_str_eq(hd.head, "v3");
	put_text(r.tn.dir, "HEAD", " v3\r\n");
	works(head_load(&r.tn, &hd, &r.err));
	put_text(r.tn.dir, "head.prev", "x");
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "head.prev is damaged");
	rig_close(&r);
}

Test(head, promote_and_roll_back)
{
	const struct log_entry back = {.event = "rolled_back",
		.fields = "\"revision\":\"v0\",\"previous\":\"v1\"",
		.slug = "demo"};
	const struct by by = by_self();
	struct log_entry first = {.event = "promoted",
		.fields = "\"revision\":\"v1\",\"previous\":\"v0\",\"k\":0.9",
		.slug = "demo",
		.by = &by};
	struct head now;
	struct rig r;

	rig_open(&r);
	fails(head_rollback(&r.tn, &back, &now, &r.err), ENOENT, "no prior head to roll back to");
	works(head_promote(&r.tn, "v1", &first, &r.err));
	cr_assert(same_file(r.tn.dir, "HEAD", "v1\n"));
	cr_assert(heads_are(&r, "v1", "v0"));
	fails(head_promote(&r.tn, "v1", &first, &r.err), EALREADY, "HEAD is v1 already");
	cr_assert(heads_are(&r, "v1", "v0"));
	fails(head_promote(&r.tn, "v9", &first, &r.err), ENOENT, "no revision v9 (have v0..v3)");
	fails(head_promote(&r.tn, "../revisions", &first, &r.err), EINVAL, "bad revision");
	works(head_rollback(&r.tn, &back, &now, &r.err));
	cr_assert_str_eq(now.head, "v0");
	cr_assert(heads_are(&r, "v0", "v1"));
	works(head_rollback(&r.tn, &back, &now, &r.err));
	cr_assert(heads_are(&r, "v1", "v0"));
	works(head_promote(&r.tn, "v0", &first, &r.err)); /* where head.prev stands already */
	cr_assert(heads_are(&r, "v0", "v1"));
	cr_assert_eq(in_log(&r, "\"event\":\"promoted\""), 2);
	cr_assert_eq(in_log(&r, "\"event\":\"rolled_back\""), 2);
	cr_assert_not(is_there(r.tn.dir, ".intent") || is_there(r.tn.dir, HEAD_NEXT));
	works(log_verify(&r.st, NULL, &r.err));
	rig_close(&r);
}

Test(head, rollback_to_damage_is_refused)
{
	struct head now;
	struct rig r;

	rig_open(&r);
	heads_put(&r, "v2\n", "v1", NULL);
	put_text(r.tn.dir, "revisions/v1/adapter_model.safetensors", "adapter of v2");
	fails(head_rollback(&r.tn, &promoted, &now, &r.err), EUCLEAN, "v1 is damaged: files.json");
	fails(head_rollback(&r.tn, &promoted, &now, &r.err), EUCLEAN, "; HEAD stays v2");
	works(dir_remove(r.tn.dir, "revisions", &r.err));
	revision_make(&r, "v2");
	fails(head_rollback(&r.tn, &promoted, &now, &r.err), EUCLEAN, "v1 is damaged: files.json");
	cr_assert(heads_are(&r, "v2", "v1"));
	cr_assert_eq(in_log(&r, "event"), 0);
	rig_close(&r);
}

/* what a promotion of v2 over v1 (head.prev v0) or a rollback from v1 to v0 leaves when it is
 * killed between any two of its steps */
static const struct {
	const char *name, *event, *to;
	const char *head, *prev, *next; /* found */
	bool line;			/* the audit line is there */
	const char *end_head, *end_prev;
	int promoted, abandoned; /* lines there must be afterwards */
} states[] = {
	{"intent only", "promoted", "v2", "v1\n", "v0", NULL, false, "v1", "v0", 0, 1},
	{"next torn", "promoted", "v2", "v1\n", "v0", "", false, "v1", "v0", 0, 1},
	{"next written", "promoted", "v2", "v1\n", "v0", "v2\n", false, "v1", "v0", 0, 1},
	{"exchanged", "promoted", "v2", "v2\n", "v0", "v1\n", false, "v2", "v1", 1, 0},
	{"renamed", "promoted", "v2", "v2\n", "v1\n", NULL, false, "v2", "v1", 1, 0},
	{"logged", "promoted", "v2", "v2\n", "v1\n", NULL, true, "v2", "v1", 1, 0},
	{"undone half", "promoted", "v2", "v1\n", "v2\n", NULL, false, "v1", "v0", 0, 1},
	{"no exchange there", "promoted", "v2", "v2\n", "v0", "v2\n", false, "v2", "v1", 1, 0},
	{"rollback, intent only", "rolled_back", "v0", "v1\n", "v0", NULL, false, "v1", "v0", 0, 1},
	{"rollback, exchanged", "rolled_back", "v0", "v0", "v1\n", NULL, false, "v0", "v1", 1, 0},
	{"rollback, logged", "rolled_back", "v0", "v0", "v1\n", NULL, true, "v0", "v1", 1, 0},
	{"rollback, no exchange there", "rolled_back", "v0", "v0", "v0", NULL, false, "v0", "v1", 1,
		0},
};

static void state_make(struct rig *r, size_t i)
{
	char fields[80], event[60];
	struct intent in = {.from = "v1", .prev = "v0", .fields = fields, .job = 7};
	struct log_entry entry = {.event = event, .fields = fields, .slug = "demo", .job = 7};

	(void)snprintf(in.to, sizeof(in.to), "%s", states[i].to);
	(void)snprintf(in.event, sizeof(in.event), "%s", states[i].event);
	(void)snprintf(event, sizeof(event), "%s", states[i].event);
	(void)snprintf(
		fields, sizeof(fields), "\"revision\":\"%s\",\"previous\":\"v1\"", states[i].to);
	/* the same line long ago must not count */
	cr_assert_eq(log_append(&r->st, &entry, &r->err), 0);
	cr_assert_eq(log_ready(&r->st, &in.log_seq, &r->err), 0);
	cr_assert_eq(intent_write(&r->tn, &in, &r->err), 0, "%s", r->err.text);
	heads_put(r, states[i].head, states[i].prev, states[i].next);
	if (states[i].line)
		cr_assert_eq(log_append(&r->st, &entry, &r->err), 0);
}

Test(recovery, of_every_state_a_killed_change_leaves)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		char event[80];
		struct rig r;

		rig_open(&r);
		state_make(&r, i);
		/* also before anybody repaired it nobody sees a mix */
		cr_expect(heads_are(&r, states[i].end_head, states[i].end_prev), "%s: seen",
			states[i].name);
		cr_expect_eq(head_recover(&r.tn, &r.err), 1, "%s: %s", states[i].name, r.err.text);
		cr_expect(heads_are(&r, states[i].end_head, states[i].end_prev), "%s",
			states[i].name);
		(void)snprintf(event, sizeof(event), "\"event\":\"%s\"", states[i].event);
		cr_expect_eq(
			in_log(&r, event), (size_t)states[i].promoted + 1, "%s", states[i].name);
		cr_expect_eq(in_log(&r, "_abandoned"), (size_t)states[i].abandoned, "%s",
			states[i].name);
		cr_expect_eq(in_log(&r, "\"recovered\""),
			(size_t)(states[i].abandoned + (states[i].promoted && !states[i].line)),
			"%s", states[i].name);
		cr_expect_not(is_there(r.tn.dir, ".intent") || is_there(r.tn.dir, HEAD_NEXT), "%s",
			states[i].name);
		cr_expect_eq(head_recover(&r.tn, &r.err), 0, "%s: again", states[i].name);
		cr_expect_eq(log_verify(&r.st, NULL, &r.err), 0, "%s", r.err.text);
		rig_close(&r);
	}
}

Test(recovery, killed_after_its_own_audit_line)
{
	struct rig r;

	rig_open(&r);
	state_make(&r, 2);
	struct buf intent = get(r.tn.dir, ".intent");

	works(head_recover(&r.tn, &r.err));
	put(r.tn.dir, ".intent", intent.data, intent.len); /* as if the unlink had not happened */
	cr_assert_eq(head_recover(&r.tn, &r.err), 1);
	cr_assert_eq(in_log(&r, "promotion_abandoned"), 1);
	state_make(&r, 3);
	buf_release(&intent);
	intent = get(r.tn.dir, ".intent");
	works(head_recover(&r.tn, &r.err));
	put(r.tn.dir, ".intent", intent.data, intent.len);
	cr_assert_eq(head_recover(&r.tn, &r.err), 1);
	cr_assert_eq(in_log(&r, "\"recovered\":true"), 1);
	buf_release(&intent);
	rig_close(&r);
}

Test(recovery, what_no_change_can_have_left_is_for_a_person)
{
	static const char *const odd[][3] = {{"v3\n", "v0", NULL}, {"v2\n", "v3\n", NULL},
		{"v1\n", "v0", "v3\n"}, {"garbage", "v0", NULL}, {NULL, "v0", NULL}};
	struct head now;

	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct rig r;

		rig_open(&r);
		state_make(&r, 0);
		heads_put(&r, odd[i][0], odd[i][1], odd[i][2]);
		fails(head_recover(&r.tn, &r.err), EUCLEAN, "HEAD is ");
		fails(head_promote(&r.tn, "v3", &promoted, &r.err), EUCLEAN, "HEAD is ");
		fails(head_rollback(&r.tn, &promoted, &now, &r.err), EUCLEAN, "HEAD is ");
		if (i < 3)
			works(head_load(&r.tn, &now, &r.err)); /* HEAD stays readable */
		rig_close(&r);
	}
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, ".intent", "{\"from\":\"v1\"");
	fails(head_promote(&r.tn, "v3", &promoted, &r.err), EUCLEAN, "cannot be read");
	cr_assert(heads_are(&r, "v0", ""));
	rig_close(&r);
}

Test(recovery, the_next_promotion_repairs_first)
{
	struct log_entry third = {.event = "promoted",
		.fields = "\"revision\":\"v3\",\"previous\":\"v2\"",
		.slug = "demo"};
	struct rig r;

	rig_open(&r);
	state_make(&r, 3);
	works(head_promote(&r.tn, "v3", &third, &r.err));
	cr_assert(heads_are(&r, "v3", "v2"));
	rig_close(&r);
}

Test(head, a_broken_audit_log_refuses_and_changes_nothing)
{
	struct rig r;

	rig_open(&r);
	works(log_append(&r.st, &promoted, &r.err));
	(void)unlinkat(r.st.logs, "tune.jsonl", 0);
	fails(head_promote(&r.tn, "v2", &promoted, &r.err), EUCLEAN,
		"audit log was cut: last known line 1");
	cr_assert_eq(mkdirat(r.st.logs, "tune.jsonl", 0700), 0);
	fails(head_promote(&r.tn, "v2", &promoted, &r.err), EUCLEAN, "audit log was cut");
	cr_assert(same_file(r.tn.dir, "HEAD", "v0\n"));
	cr_assert_not(is_there(r.tn.dir, ".intent") || is_there(r.tn.dir, HEAD_NEXT) ||
		      is_there(r.tn.dir, "head.prev"));
	rig_close(&r);
}

Test(head, an_audit_line_that_cannot_be_written_undoes_the_change)
{
	/* fields that are no JSON stand for any failure of step 7 */
	const struct log_entry broken = {
		.event = "promoted", .fields = "\"revision\":", .slug = "demo"};
	struct head now;
	struct rig r;

	rig_open(&r);
	fails(head_promote(&r.tn, "v2", &broken, &r.err), EINVAL, "audit line");
	cr_assert(heads_are(&r, "v0", ""));
	cr_assert_not(is_there(r.tn.dir, "head.prev"));
	heads_put(&r, "v2\n", "v1", NULL);
	fails(head_promote(&r.tn, "v3", &broken, &r.err), EINVAL, "audit line");
	cr_assert(heads_are(&r, "v2", "v1"));
	fails(head_rollback(&r.tn, &broken, &now, &r.err), EINVAL, "audit line");
	cr_assert(heads_are(&r, "v2", "v1"));
	cr_assert_not(is_there(r.tn.dir, ".intent") || is_there(r.tn.dir, HEAD_NEXT));
	cr_assert_eq(in_log(&r, "event"), 0);
	rig_close(&r);
}

/* a small disk of our own; false where the machine does not allow it */
static bool small_disk(const char *at, const char *size)
{
	uid_t uid = geteuid();
	char map[40], options[40];

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	if (uid != 0) {
		int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC),
		    n = snprintf(map, sizeof(map), "%u %u 1", (unsigned)uid, (unsigned)uid);

		if (fd < 0 || write(fd, map, (size_t)n) != n)
			return false;
		close(fd);
	}
	(void)snprintf(options, sizeof(options), "size=%s,mode=0700", size);
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", at, "tmpfs", 0, options) == 0;
}

static void fill_disk(const char *at)
{
	char path[200];
	struct statvfs fs;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/filler", at);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	cr_assert_eq(fstatvfs(fd, &fs), 0);
	while (fs.f_bfree > 0 &&
		posix_fallocate(fd, lseek(fd, 0, SEEK_END), (off_t)(fs.f_bfree * fs.f_bsize)) == 0)
		cr_assert_eq(fstatvfs(fd, &fs), 0);
	close(fd);
}

Test(head, a_full_disk_refuses_a_promotion_and_rolls_back)
{
	char at[] = "/tmp/kolm-disk-XXXXXX";
	struct head now;
	struct config cf;
	struct rig r;

	cr_assert_not_null(mkdtemp(at));
	if (!small_disk(at, "4m")) {
		(void)rmdir(at);
		cr_skip_test("skipped: no mount namespace here");
	}
	rig_open_in(&r, at);
	works(head_promote(&r.tn, "v1", &promoted, &r.err));
	fill_disk(at);
	fails(head_promote(&r.tn, "v2", &promoted, &r.err), ENOSPC, "o space left");
	cr_assert(heads_are(&r, "v1", "v0"));
	works(config_load(&r.tn, &cf, &r.err));
	fails(config_save(&r.tn, &cf, &r.err), ENOSPC, "o space left");
	config_release(&cf);
	works(head_rollback(&r.tn, &promoted, &now, &r.err));
	cr_assert(heads_are(&r, "v0", "v1"));
	works(head_rollback(&r.tn, &promoted, &now, &r.err));
	cr_assert(heads_are(&r, "v1", "v0"));
	works(log_verify(&r.st, NULL, &r.err));
	cr_assert_not(is_there(r.tn.dir, ".intent") || is_there(r.tn.dir, HEAD_NEXT));
	rig_close(&r);
	(void)umount(at);
	(void)rmdir(at);
}

Test(head, a_read_only_store_is_read)
{
	char at[] = "/tmp/kolm-disk-XXXXXX";
	struct store again;
	struct head now;
	struct rig r;
	int lock;

	cr_assert_not_null(mkdtemp(at));
	if (!small_disk(at, "4m")) {
		(void)rmdir(at);
		cr_skip_test("skipped: no mount namespace here");
	}
	rig_open_in(&r, at);
	works(head_promote(&r.tn, "v1", &promoted, &r.err));
	works(store_lock_server(&r.st, &lock, &r.err));
	close(lock);
	cr_assert_eq(mount(NULL, at, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0, "%s", strerror(errno));
	works(store_open(r.path, &again, &r.err));
	store_close(&again);
	works(store_lock_server(&r.st, &lock, &r.err));
	works(store_recover(&r.st, &r.err));
	works(head_load(&r.tn, &now, &r.err));
	cr_assert_str_eq(now.head, "v1");
	works(log_verify(&r.st, NULL, &r.err));
	fails(head_promote(&r.tn, "v2", &promoted, &r.err), EROFS, "store is read-only");
	fails(head_rollback(&r.tn, &promoted, &now, &r.err), EROFS, "store is read-only");
	fails(captures_append(&r.tn, "{\"input\":1,\"output\":1}", 22, &r.err), EROFS,
		"store is read-only");
	fails(runs_append(&r.st, "{}", 2, &r.err), EROFS, "store is read-only");
	close(lock);
	tune_close(&r.tn);
	store_close(&r.st);
	(void)umount(at);
	(void)rmdir(at);
}
