/*
 * inject STORE ARTIFACT errno|alloc POINTS SEED - every state change of the store with one of its
 * system calls (or allocations) failing: the first, each one behind it, and from each one on, with
 * sixteen errors and short writes. After every fault the store is what it was before or what it
 * would be after (after, when the change said so), one recovery mends what is left, a second finds
 * nothing, no descriptor and no memory is lost.
 *
 * POINTS 0: every one of them. Else as many, drawn by SEED.
 */
#include "tests/fault/fault_calls.h"
#include "tests/fault/rig.h"

#include <time.h>

static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS, ENOMEM, EMFILE, ENFILE, EACCES, EPERM,
	EFBIG, EAGAIN, EINTR, ESTALE, EBUSY, ENODEV, EUCLEAN};
enum { ERRORS = sizeof(errors) / sizeof(errors[0]) };

static const char *store_path, *artifact;
static struct by me;

/* ---- the state changes; each opens the store for itself, as a command does ---- */

static int with_kolm(int (*fn)(struct kolm *, struct err *), struct err *err)
{
	struct kolm *k;
	int rc = kolm_open(store_path, false, NULL, &k, err);

	if (rc < 0)
		return rc;
	rc = fn(k, err);
	kolm_close(k);
	return rc;
}

static int with_tune(int (*fn)(struct tune *, struct err *), struct err *err)
{
	struct store st;
	struct tune tn;
	int rc = store_open(store_path, &st, err), lock;

	if (rc < 0)
		return rc;
	rc = tune_open(&st, "demo", &tn, err);
	if (rc == 0) {
		rc = tune_lock(&tn, &lock, err);
		if (rc == 0) {
			rc = fn(&tn, err);
			close(lock);
		}
		tune_close(&tn);
	}
	store_close(&st);
	return rc;
}

static int k_capture_on(struct kolm *k, struct err *err)
{
	return loop_capture(k, "demo", true, &me, err);
}

static int k_set(struct kolm *k, struct err *err)
{
	return loop_set(k, "demo", "watch.threshold_rows", "77", &me, err);
}

static int k_config(struct kolm *k, struct err *err)
{
	static const char text[] = "{\"artifact\":\"shout.kolm\",\"rank\":4,\"watch\":{"
				   "\"threshold_rows\":99}}";

	return loop_config_write(k, "demo", text, strlen(text), &me, err);
}

static int k_append(struct kolm *k, struct err *err)
{
	static const char row[] = "{\"input\":\"one more\",\"output\":\"ONE\"}";

	return loop_capture_append(k, "demo", row, strlen(row), err);
}

static int k_promote(struct kolm *k, struct err *err)
{
	struct head now;

	return loop_promote(k, "demo", "v3", true, "once", &me, &now, err);
}

static int k_rollback(struct kolm *k, struct err *err)
{
	struct head now;

	return loop_rollback(k, "demo", "once", &me, &now, err);
}

static int k_attach(struct kolm *k, struct err *err)
{
	return loop_attach(k, "demo", NULL, "docs", &me, NULL, err);
}

static int k_detach(struct kolm *k, struct err *err)
{
	return loop_detach(k, "demo", NULL, &me, err);
}

static int k_gc(struct kolm *k, struct err *err)
{
	return loop_gc(k, "demo", 1, &me, err);
}

static int k_remove(struct kolm *k, struct err *err)
{
	return loop_remove(k, "demo", "demo", &me, err);
}

static int k_index_remove(struct kolm *k, struct err *err)
{
	return loop_index_remove(k, "docs", &me, err);
}

static int k_status(struct kolm *k, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc = kolm_status(k, "demo", &out, err);

	buf_release(&out);
	return rc;
}

static int t_publish(struct tune *tn, struct err *err)
{
	struct job_record jr = {.verb = "step", .rev = "v4", .k = NAN};
	int jobs, out, rc = journal_new(tn->dir, &jr, err);

	if (rc < 0)
		return rc;
	jobs = dir_open(tn->dir, "jobs", err);
	if (jobs < 0)
		return jobs;
	rc = out = dir_make(jobs, "out", err);
	if (out >= 0) {
		rc = replace_file(out, "adapter_config.json", "{}", 2, 0600, err);
		if (rc == 0)
			rc = replace_file(out, "adapter_model.safetensors", "new", 3, 0600, err);
		if (rc == 0)
			rc = revision_seal(out, err);
		close(out);
	}
	if (rc == 0)
		rc = revision_publish(tn, jobs, "out", jr.rev, err);
	close(jobs);
	return rc;
}

static int t_eval(struct tune *tn, struct err *err)
{
	int dir = revision_open(tn, "v3", err), rc;

	if (dir < 0)
		return dir;
	rc = replace_file(dir, "eval.json", "{\"k\":1}", 7, 0600, err);
	close(dir);
	return rc;
}

static int t_job(struct tune *tn, struct err *err)
{
	struct job_record jr = {.verb = "eval", .k = NAN};
	int rc = journal_new(tn->dir, &jr, err);

	jr.state = JOB_RUNNING;
	jr.started_ms = time_now();
	if (rc == 0)
		rc = journal_append(tn->dir, &jr, err);
	jr.state = JOB_DONE;
	return rc < 0 ? rc : journal_append(tn->dir, &jr, err);
}

static int t_audit(struct tune *tn, struct err *err)
{
	struct log_entry entry = {.event = "audited", .slug = "demo", .by = &me};

	return log_append(tn->st, &entry, err);
}

static int t_compact(struct tune *tn, struct err *err)
{
	return journal_compact(tn->dir, err);
}

static int t_teach(struct tune *tn, struct err *err)
{
	struct teach_options opt = {.end = UINT64_MAX};
	struct teach te;
	int fd = captures_open(tn, err), rc;

	if (fd < 0)
		return fd;
	rc = captures_teach(fd, &opt, &te, err);
	close(fd);
	if (rc == 0 && te.n != 3)
		rc = err_set(err, EBADMSG, "%zu rows teach, not 3", te.n);
	if (rc == 0 || rc == -EBADMSG)
		teach_release(&te);
	return rc;
}

static int recovery(struct err *err)
{
	struct store st;
	int rc = store_open(store_path, &st, err);

	if (rc < 0)
		return rc;
	rc = store_recover(&st, err);
	store_close(&st);
	return rc;
}

static int verify(struct err *err)
{
	struct store st;
	int rc = store_open(store_path, &st, err);

	if (rc < 0)
		return rc;
	rc = log_verify(&st, NULL, err);
	store_close(&st);
	return rc;
}

static void say_nothing(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	struct buf *out = arg;

	if (kind != FSCK_NOTE && out != NULL)
		(void)buf_addf(out, "%d %s: %s\n", kind, path, text);
}

static int repair(struct err *err)
{
	struct store st;
	unsigned damaged;
	int rc = store_open(store_path, &st, err);

	if (rc < 0)
		return rc;
	rc = store_fsck(&st, true, say_nothing, NULL, &damaged, err);
	if (rc == 0 && damaged > 0)
		rc = err_set(err, EUCLEAN, "%u damaged", damaged);
	store_close(&st);
	return rc;
}

/* ---- what lies there before ---- */

static void with_store(void (*fn)(struct store *, struct tune *))
{
	struct store st;
	struct tune tn;

	must(store_open(store_path, &st, &rig_err));
	must(tune_open(&st, "demo", &tn, &rig_err));
	fn(&st, &tn);
	tune_close(&tn);
	store_close(&st);
}

static void make_attached(struct store *st, struct tune *tn)
{
	char side[300];

	(void)st;
	(void)tn;
	(void)snprintf(side, sizeof(side), "%s.rag.json", artifact);
	rig_put(AT_FDCWD, side, "{\"spec\":\"rag-attach-1\",\"index_name\":\"docs\"}");
}

/* a promotion, a job and temporary names of processes that died */
static void make_wreck(struct store *st, struct tune *tn)
{
	struct job_record jr = {.verb = "step", .rev = "v4", .k = NAN};

	must(journal_new(tn->dir, &jr, &rig_err));
	rig_put(tn->dir, ".tune-config.json.tmp.999999.3", "{");
	rig_put(tn->dir, "revisions/v1/.eval.json.tmp.999999.0", "{");
	rig_put(st->rag, ".x.tmp.999999.0", "");
	/* after the exchange, before head.prev */
	rig_put(tn->dir, "HEAD", "v3\n");
	rig_put(tn->dir, ".HEAD.next", "v2\n");
	struct buf text = BUF_INIT;

	(void)buf_puts(&text, "{\"from\":\"v2\",\"to\":\"v3\",\"prev\":\"v1\",\"seq\":0,\"job\":0,"
			      "\"event\":\"promoted\",\"fields\":\"\\\"revision\\\":\\\"v3\\\","
			      "\\\"previous\\\":\\\"v2\\\"\",\"by\":null}");
	rig_put(tn->dir, ".intent", buf_str(&text));
	buf_release(&text);
}

/* a log that turns over at its next line */
static void make_long(struct store *st, struct tune *tn)
{
	struct log_entry entry = {.event = "filler", .slug = "demo", .by = &me};

	(void)tn;
	rig_put(st->dir, "config.json", "{\"log_max_bytes\":4096}");
	for (int i = 0; i < 24; i++)
		must(log_append(st, &entry, &rig_err));
}

/* what only a repair mends */
static void make_damage(struct store *st, struct tune *tn)
{
	(void)st;
	rig_put(tn->dir, "tune-config.json", "{\"half");
	rig_put(tn->dir, "HEAD", "garbage");
	must(mkdirat(tn->dir, "revisions/v9", 0700));
}

struct change {
	const char *name;
	int (*kolm)(struct kolm *, struct err *);
	int (*tune)(struct tune *, struct err *);
	int (*bare)(struct err *);
	void (*before)(struct store *, struct tune *);
	bool in_parts;	 /* a failed one may have done a part: gc drops revision by revision */
	bool has_intent; /* change and audit line are one also when every call fails from then on */
};

static const struct change changes[] = {
	{"capture on", .kolm = k_capture_on},
	{"set", .kolm = k_set},
	{"config written whole", .kolm = k_config},
	{"append", .kolm = k_append},
	{"step publish", .tune = t_publish},
	{"eval receipt", .tune = t_eval},
	{"promote", .kolm = k_promote, .has_intent = true},
	{"rollback", .kolm = k_rollback, .has_intent = true},
	{"audit line, the log turns over", .tune = t_audit, .before = make_long},
	{"promote, the log turns over", .kolm = k_promote, .before = make_long, .has_intent = true},
	{"attach", .kolm = k_attach},
	{"detach", .kolm = k_detach, .before = make_attached},
	{"job journal", .tune = t_job},
	{"journal compaction", .tune = t_compact},
	{"audit line", .tune = t_audit},
	{"gc", .kolm = k_gc, .in_parts = true},
	{"remove", .kolm = k_remove},
	{"index remove", .kolm = k_index_remove},
	{"status", .kolm = k_status},
	{"teach", .tune = t_teach},
	{"log verify", .bare = verify},
	{"recovery", .bare = recovery, .before = make_wreck},
	{"repair", .bare = repair, .before = make_damage, .in_parts = true},
};
enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

static int run(const struct change *c, struct err *err)
{
	*err = ERR_NONE;
	return c->kolm != NULL	 ? with_kolm(c->kolm, err)
	       : c->tune != NULL ? with_tune(c->tune, err)
				 : c->bare(err);
}

/* ---- one fault ---- */

static struct snapshot *fresh; /* one for each change */
static unsigned failures;

static void put_back(size_t i)
{
	char side[300];

	snapshot_restore(&fresh[i], store_path);
	(void)snprintf(side, sizeof(side), "%s.rag.json", artifact);
	(void)unlink(side);
	if (changes[i].before == make_attached)
		make_attached(NULL, NULL);
}

/* the number the next descriptor would get */
static int lowest_fd(void)
{
	int fd = dup(STDIN_FILENO);

	(void)syscall(SYS_close, fd);
	return fd;
}

static void bad(const struct change *c, const char *what, const char *detail)
{
	failures++;
	printf("FAILED %s: %s\n  fault: %s at call %u%s, errno %s; allocation %u%s\n  %s\n",
		c->name, what, plan.site != NULL ? plan.site : "-", plan.at,
		plan.stays ? " and on" : "", plan.is_short ? "short" : err_name(plan.no),
		plan.alloc_at, plan.alloc_stays ? " and on" : "", detail);
	if (failures > 20)
		exit(1);
}

/* a recovery leaves a sound store, a second one changes nothing */
static void check_repair(const struct change *c)
{
	struct buf said = BUF_INIT;
	struct store st;
	struct err err = ERR_NONE;
	unsigned damaged = 0;

	must(store_open(store_path, &st, &rig_err));
	if (store_fsck(&st, true, say_nothing, &said, &damaged, &err) < 0 || damaged > 0)
		bad(c, "damaged after a repair", said.len > 0 ? said.data : err.text);
	buf_reset(&said);
	if (store_fsck(&st, true, say_nothing, &said, &damaged, &err) < 0 || said.len > 0)
		bad(c, "a second repair found something", buf_str(&said));
	store_close(&st);
	buf_release(&said);
}

/* when nothing works any more a change cannot be taken back: then it is done, its line apart */
static bool same_but(const struct change *c, const char *now, const char *after)
{
	size_t n = c->has_intent ? strlen(after) + 1 : strcspn(after, "|");

	return strncmp(now, after, n) == 0;
}

static void judge(const struct change *c, int rc, const struct err *err, const char *before,
	const char *after)
{
	struct buf now = BUF_INIT, text = BUF_INIT;

	plan.armed = plan.alloc_armed = false;
	check_repair(c);
	rig_state(store_path, artifact, &now);
	(void)buf_addf(&text, "answer %d (%s)\n  before %s\n  after  %s\n  now    %s", rc,
		err->text, before, after, buf_str(&now));
	if (rc == 0 && strcmp(buf_str(&now), after) != 0)
		bad(c, "it said done, and it is not", buf_str(&text));
	else if (rc < 0 && !c->in_parts && strcmp(buf_str(&now), before) != 0 &&
		 !(plan.stays && same_but(c, buf_str(&now), after)))
		bad(c, "it failed, and something changed", buf_str(&text));
	if (rc < 0 && err->text[0] == '\0')
		bad(c, "it failed without a sentence", buf_str(&text));
	buf_release(&now);
	buf_release(&text);
}

static void one_fault(size_t i, const char *before, const char *after)
{
	struct err err;
	long balance;
	int fd, rc;

	put_back(i);
	fd = lowest_fd();
	plan.calls = plan.hits = plan.allocs = plan.alloc_hits = 0;
	plan.site = NULL;
	plan.leaky = false;
	balance = plan.balance;
	plan.armed = plan.at > 0;
	plan.alloc_armed = plan.alloc_at > 0;
	rc = run(&changes[i], &err);
	plan.armed = plan.alloc_armed = false;
	tzset(); /* libc keeps a copy of the zone's name */
	if (lowest_fd() != fd)
		bad(&changes[i], "a descriptor stayed open", err.text);
	if (plan.balance != balance && !plan.leaky)
		bad(&changes[i], "memory was not freed", err.text);
	judge(&changes[i], rc, &err, before, after);
}

/* ---- all of them, or some ---- */

struct draw {
	uint64_t seed;
	double part; /* of all points */
	uint64_t done;
};

static bool drawn(struct draw *d)
{
	d->seed ^= d->seed << 13;
	d->seed ^= d->seed >> 7;
	d->seed ^= d->seed << 17;
	if ((double)(d->seed >> 11) / (double)(1ULL << 53) >= d->part)
		return false;
	d->done++;
	return true;
}

/* how many calls (short writes, allocations) a change makes; its state afterwards in ${after} */
static void measure(size_t i, unsigned n[3], struct buf *after)
{
	struct err err;

	for (int round = 0; round < 3; round++) {
		put_back(i);
		plan = (struct fault_plan){.balance = plan.balance,
			.armed = round < 2,
			.is_short = round == 1,
			.alloc_armed = round == 2};
		if (run(&changes[i], &err) < 0) {
			plan.armed = plan.alloc_armed = false;
			printf("FAILED %s without any fault: %s\n", changes[i].name, err.text);
			exit(1);
		}
		plan.armed = plan.alloc_armed = false;
		n[round] = round == 2 ? plan.allocs : plan.calls;
	}
	/* a clean change needs no recovery, but a wreck is not one */
	check_repair(&changes[i]);
	rig_state(store_path, artifact, after);
}

static uint64_t points_of(const unsigned n[3], bool of_calls)
{
	return of_calls ? (uint64_t)n[0] * 2 * ERRORS + n[1] : (uint64_t)n[2] * 2;
}

static void faults_of(size_t i, const unsigned n[3], bool of_calls, struct draw *d,
	const char *before, const char *after)
{
	plan = (struct fault_plan){.balance = plan.balance};
	for (unsigned at = 1; of_calls && at <= n[0]; at++)
		for (int k = 0; k < 2 * ERRORS; k++) {
			plan.at = at;
			plan.stays = k >= ERRORS;
			plan.no = errors[k % ERRORS];
			if (drawn(d))
				one_fault(i, before, after);
		}
	plan = (struct fault_plan){.balance = plan.balance, .is_short = true, .no = ENOSPC};
	for (unsigned at = 1; of_calls && at <= n[1]; at++) {
		plan.at = at;
		if (drawn(d))
			one_fault(i, before, after);
	}
	plan = (struct fault_plan){.balance = plan.balance};
	for (unsigned at = 1; !of_calls && at <= n[2]; at++)
		for (int k = 0; k < 2; k++) {
			plan.alloc_at = at;
			plan.alloc_stays = plan.stays = k > 0;
			if (drawn(d))
				one_fault(i, before, after);
		}
}

int main(int argc, char **argv)
{
	struct buf before[CHANGES], after[CHANGES];
	unsigned n[CHANGES][3];
	uint64_t all = 0, wanted;
	struct draw d = {.part = 2};
	bool of_calls;

	if (argc != 6)
		return 2;
	store_path = argv[1];
	artifact = argv[2];
	of_calls = strcmp(argv[3], "errno") == 0;
	wanted = strtoull(argv[4], NULL, 10);
	d.seed = strtoull(argv[5], NULL, 10) * 2654435761u + 88172645463325252u;
	setvbuf(stdout, NULL, _IOLBF, 4096);
	me = by_self();
	rig_make(store_path, artifact);
	fresh = calloc(CHANGES, sizeof(*fresh));
	struct snapshot plain = snapshot_take(store_path);

	for (size_t i = 0; i < CHANGES; i++) {
		before[i] = after[i] = BUF_INIT;
		snapshot_restore(&plain, store_path);
		fresh[i] = plain;
		if (changes[i].before != NULL) {
			with_store(changes[i].before);
			fresh[i] = snapshot_take(store_path);
		}
		put_back(i);
		if (changes[i].bare == NULL)
			rig_state(store_path, artifact, &before[i]);
		measure(i, n[i], &after[i]);
		/* whoever mends it, it is mended the same way */
		if (changes[i].bare != NULL)
			(void)buf_puts(&before[i], buf_str(&after[i]));
		all += points_of(n[i], of_calls);
	}
	if (wanted > 0 && wanted < all)
		d.part = (double)wanted / (double)all;
	for (size_t i = 0; i < CHANGES; i++)
		faults_of(i, n[i], of_calls, &d, buf_str(&before[i]), buf_str(&after[i]));
	printf("%s: %llu of %llu points of %d changes, %u failures\n", argv[3],
		(unsigned long long)d.done, (unsigned long long)all, CHANGES, failures);
	return failures > 0;
}
