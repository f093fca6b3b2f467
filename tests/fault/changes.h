/*
 * changes - the state changes inject.c makes fail, and what lies in the store before each. Every
 * one opens the store for itself, as a command does. Included by that one program, behind
 * fault_calls.h.
 */
#ifndef KOLM_FAULT_CHANGES_H
#define KOLM_FAULT_CHANGES_H

#include "tests/fault/rig.h"

static const char *store_path, *artifact;
static struct by me;

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

static int k_capture_off(struct kolm *k, struct err *err)
{
	return loop_capture(k, "demo", false, &me, err);
}

static int k_watch_on(struct kolm *k, struct err *err)
{
	return loop_watch(k, "demo", true, &me, err);
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

static int k_status_json(struct kolm *k, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc = loop_status_json(k, "demo", &out, err);

	buf_release(&out);
	return rc;
}

static int k_fresh(struct kolm *k, struct err *err)
{
	uint64_t fresh, rows;
	int rc = loop_fresh(k, "demo", &fresh, &rows, err);

	return rc == 0 && (fresh != 3 || rows != 3)
		       ? err_set(err, EBADMSG, "%d of %d rows are fresh, not 3", (int)fresh,
				 (int)rows)
		       : rc;
}

static int k_jobs(struct kolm *k, struct err *err)
{
	struct job_record *list;
	size_t n;
	int rc = kolm_jobs(k, "demo", &list, &n, err);

	if (rc < 0)
		return rc;
	free(list);
	return n == 1 ? 0 : err_set(err, EBADMSG, "%zu jobs, not 1", n);
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

static void make_on(struct store *st, struct tune *tn)
{
	struct config cf;

	(void)st;
	must(config_load(tn, &cf, &rig_err));
	must(config_set(&cf, "captures_on", "true", &rig_err));
	must(config_save(tn, &cf, &rig_err));
	config_release(&cf);
}

static void make_rowless(struct store *st, struct tune *tn)
{
	(void)st;
	must(unlinkat(tn->dir, "captures.jsonl", 0));
}

/* a writer died in the middle of its row */
static void make_torn(struct store *st, struct tune *tn)
{
	static const char half[] = "{\"input\":\"half of a r";
	int fd = openat(tn->dir, "captures.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);

	(void)st;
	must(fd);
	must(write(fd, half, strlen(half)));
	close(fd);
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
	{"capture off", .kolm = k_capture_off, .before = make_on},
	{"watch on", .kolm = k_watch_on},
	{"set", .kolm = k_set},
	{"config written whole", .kolm = k_config},
	{"append", .kolm = k_append},
	{"the first row", .kolm = k_append, .before = make_rowless},
	{"a row behind half a one", .kolm = k_append, .before = make_torn},
	{"step publish", .tune = t_publish},
	{"eval receipt", .tune = t_eval},
	{"promote", .kolm = k_promote, .has_intent = true},
	{"rollback", .kolm = k_rollback, .has_intent = true},
	{"audit line, the log turns over", .tune = t_audit, .before = make_long},
	{"promote, the log turns over", .kolm = k_promote, .before = make_long, .has_intent = true},
	{"rollback, the log turns over", .kolm = k_rollback, .before = make_long,
		.has_intent = true},
	{"attach", .kolm = k_attach},
	{"detach", .kolm = k_detach, .before = make_attached},
	{"job journal", .tune = t_job},
	{"journal compaction", .tune = t_compact},
	{"audit line", .tune = t_audit},
	{"gc", .kolm = k_gc, .in_parts = true},
	{"remove", .kolm = k_remove},
	{"index remove", .kolm = k_index_remove},
	{"status", .kolm = k_status},
	{"status as JSON", .kolm = k_status_json},
	{"fresh rows", .kolm = k_fresh},
	{"jobs", .kolm = k_jobs},
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

#endif
