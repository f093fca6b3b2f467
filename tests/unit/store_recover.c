/* store/recover: what a start repairs, and processes killed at random instants (reliability.md 9,
 * BAD-INPUTS H05, K09, K11). */
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "store/fsck.h"
#include "store/private.h"
#include "store_rig.h"

/* what people may call their own files beside ours */
static const char *const owned[] = {"artifacts/.a.tmp.mine", "artifacts/.a.tmp.5.kolm",
	".notes.tmp.old", ".rows.removed.before", ".rows.removed", "tune/.x.tmp.7.bak",
	"tune/demo/.mine.tmp.", "rag/.docs.12", "logs/.tune.tmp.3x", ".tmp.999999.0"};

/* what a process that died leaves behind, in a store where another one lives */
static void leave_behind(struct rig *r, char mine[80])
{
	struct job_record jr = {.verb = "step", .k = NAN};

	cr_assert_eq(journal_new(r->tn.dir, &jr, &r->err), 0, "%s", r->err.text);
	jr.state = JOB_RUNNING;
	jr.started_ms = time_now() + 1000LL * 3600 * 24 * 365; /* the clock was a year ahead */
	(void)snprintf(jr.rev, sizeof(jr.rev), "v1");
	cr_assert_eq(journal_append(r->tn.dir, &jr, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(journal_new(r->st.rag, &jr, &r->err), 0, "%s", r->err.text);
	put_text(r->tn.dir, ".tune-config.json.tmp.999999.3", "{");
	put_text(r->tn.dir, HEAD_NEXT, "v2\n");
	put_text(r->tn.dir, "revisions/v1/.eval.json.tmp.999999.0", "{");
	put_text(r->st.dir, ".config.json.tmp.999999.0", "{");
	cr_assert_eq(mkdirat(r->st.dir, "receipts", 0700), 0);
	put_text(r->st.dir, "receipts/.run-x.json.tmp.999999.0", "{");
	cr_assert_eq(mkdirat(r->st.dir, "artifacts", 0700), 0);
	put_text(r->st.dir, "artifacts/.a.kolm.tmp.999999", "PK");
	put_text(r->st.dir, "artifacts/.a.kolm.tmp.999999.probe.kolm", "PK");
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		put_text(r->st.dir, owned[i], "a file of somebody's own");
	put_text(r->tn.dir, "notes", "mine");
	cr_assert_eq(mkdirat(r->st.tune, ".half.tmp.999999", 0700), 0);
	put_text(r->st.tune, ".half.tmp.999999/HEAD", "v0\n");
	cr_assert_eq(mkdirat(r->tn.dir, "revisions/.v2.removed", 0700), 0);
	cr_assert_eq(mkdirat(r->st.rag, ".docs.1", 0700), 0);
	put_text(r->st.rag, ".docs.1/index.json", "{");
	cr_assert_eq(mkdirat(r->st.rag, "docs", 0700), 0);
	(void)snprintf(mine, 80, ".x.tmp.%d.0", (int)getppid()); /* of a process that lives */
	put_text(r->st.dir, mine, "");
}

Test(recover, jobs_and_temporary_names)
{
	struct job_record got;
	struct rig r;
	int lock, index;
	char mine[80];

	rig_open(&r);
	leave_behind(&r, mine);

	/* while others work nothing of theirs is touched */
	works(tune_lock_job(&r.tn, &lock, &r.err));
	works(store_lock_index(&r.st, &index, &r.err));
	works(store_recover(&r.st, &r.err));
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_RUNNING);
	cr_assert(is_there(r.st.rag, ".docs.1") && is_there(r.tn.dir, "revisions/.v2.removed"));
	close(lock);
	close(index);

	works(store_recover(&r.st, &r.err));
	works(journal_get(r.tn.dir, 1, &got, &r.err));
	cr_assert_eq(got.state, JOB_DONE);
	cr_assert_eq(got.outcome, JOB_INTERRUPTED);
	cr_assert_float_eq(got.elapsed, 0, 0);
	works(journal_get(r.st.rag, 1, &got, &r.err));
	cr_assert_eq(got.outcome, JOB_INTERRUPTED);
	cr_assert_not(is_there(r.tn.dir, ".tune-config.json.tmp.999999.3") ||
		      is_there(r.tn.dir, HEAD_NEXT) ||
		      is_there(r.st.dir, ".config.json.tmp.999999.0"));
	cr_assert_not(is_there(r.tn.dir, "revisions/v1/.eval.json.tmp.999999.0") ||
		      is_there(r.st.tune, ".half.tmp.999999"));
	cr_assert_not(is_there(r.tn.dir, "revisions/.v2.removed") || is_there(r.st.rag, ".docs.1"));
	cr_assert_not(is_there(r.st.dir, "receipts/.run-x.json.tmp.999999.0") ||
		      is_there(r.st.dir, "artifacts/.a.kolm.tmp.999999") ||
		      is_there(r.st.dir, "artifacts/.a.kolm.tmp.999999.probe.kolm"));
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		cr_assert(is_there(r.st.dir, owned[i]), "%s", owned[i]);
	cr_assert(is_there(r.tn.dir, "notes") && is_there(r.st.rag, "docs") &&
		  is_there(r.st.dir, mine));
	cr_assert_eq(in_log(&r, "job_interrupted"), 2);
	cr_assert_gt(in_log(&r, "temporary_names_removed"), 0);
	works(log_verify(&r.st, NULL, &r.err));
	size_t lines = in_log(&r, "\n");

	works(store_recover(&r.st, &r.err)); /* a second one changes nothing */
	cr_assert_eq(in_log(&r, "\n"), lines);
	rig_close(&r);
}

static void leave(struct rig *r, const char *rev)
{
	char path[80];

	(void)snprintf(path, sizeof(path), "revisions/%s", rev);
	if (!is_there(r->tn.dir, path))
		cr_assert_eq(mkdirat(r->tn.dir, path, 0700), 0);
	(void)snprintf(path, sizeof(path), "revisions/%s/.eval.json.tmp.999999.0", rev);
	put_text(r->tn.dir, path, "{");
}

static void count_stale(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	unsigned *stale = arg;

	(void)kind;
	(void)text;
	*stale += strstr(path, ".eval.json.tmp.") != NULL;
}

/* a start opens the revisions of jobs that died, however long ago that was found out; fsck all */
Test(recover, revisions_of_jobs_that_died)
{
	struct job_record jr = {.verb = "eval v1", .k = NAN, .rev = "v1"};
	unsigned damaged, stale = 0;
	struct rig r;

	rig_open(&r);
	works(journal_new(r.tn.dir, &jr, &r.err));
	works(store_recover(&r.st, &r.err)); /* and was killed before it came to the revisions */
	works(journal_get(r.tn.dir, 1, &jr, &r.err));
	cr_assert_eq(jr.outcome, JOB_INTERRUPTED);
	jr = (struct job_record){.verb = "eval v2", .k = NAN, .rev = "v2"};
	works(journal_new(r.tn.dir, &jr, &r.err));
	jr.state = JOB_DONE;
	works(journal_append(r.tn.dir, &jr, &r.err));
	leave(&r, "v1");
	leave(&r, "v2");
	leave(&r, "v3");
	works(store_recover(&r.st, &r.err));
	cr_assert_not(is_there(r.tn.dir, "revisions/v1/.eval.json.tmp.999999.0"));
	cr_assert(is_there(r.tn.dir, "revisions/v2/.eval.json.tmp.999999.0"));
	cr_assert(is_there(r.tn.dir, "revisions/v3/.eval.json.tmp.999999.0"));
	works(store_fsck(&r.st, false, count_stale, &stale, &damaged, &r.err));
	cr_assert_eq(stale, 2);
	cr_assert(is_there(r.tn.dir, "revisions/v3/.eval.json.tmp.999999.0"));
	works(store_fsck(&r.st, true, count_stale, &stale, &damaged, &r.err));
	cr_assert_not(is_there(r.tn.dir, "revisions/v2/.eval.json.tmp.999999.0") ||
		      is_there(r.tn.dir, "revisions/v3/.eval.json.tmp.999999.0"));
	rig_close(&r);
}

Test(recover, leaves_damage_for_people)
{
	struct head hd;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "HEAD", "garbage");
	put_text(r.tn.dir, "tune-config.json", "{\"half");
	put_text(r.tn.dir, ".intent", "{\"half");
	cr_assert_eq(mkdirat(r.tn.dir, "revisions/v9", 0700), 0);
	works(store_recover(&r.st, &r.err));
	fails(head_load(&r.tn, &hd, &r.err), EUCLEAN, "HEAD is damaged");
	cr_assert(same_file(r.tn.dir, "tune-config.json", "{\"half"));
	cr_assert(is_there(r.tn.dir, ".intent") && is_there(r.tn.dir, "revisions/v9"));
	cr_assert_eq(in_log(&r, "event"), 0);
	rig_close(&r);
}

/* ---- the storm: a child changes everything in turn and says so; it is killed; what it said must
 * be true ---- */

struct said {
	int n;	   /* number of the change, from 1 */
	bool done; /* false: about to */
	char head[REV_BYTES], prev[REV_BYTES];
	uint64_t generation;
};

enum { PROMOTE, ROLLBACK, CAPTURE, CONFIG, JOURNAL, KINDS };

static void tell(int fd, const struct said *s)
{
	if (write(fd, s, sizeof(*s)) != sizeof(*s))
		_exit(3);
}

static int heads(struct rig *r, struct said *s)
{
	char fields[120];
	struct log_entry entry = {.fields = fields, .slug = "demo"};
	struct head now;
	int rc;

	if (s->n % KINDS == PROMOTE) {
		char to[REV_BYTES];

		(void)snprintf(
			to, sizeof(to), "v%d", (int)(rev_number(s->head) + 1 + s->n % 3) % 4);
		entry.event = "promoted";
		memcpy(s->prev, s->head, REV_BYTES);
		memcpy(s->head, to, REV_BYTES);
		(void)snprintf(fields, sizeof(fields),
			"\"revision\":\"%s\",\"previous\":\"%s\",\"n\":%d", to, s->prev, s->n);
		rc = head_promote(&r->tn, to, &entry, &r->err);
	} else {
		char was[REV_BYTES];

		memcpy(was, s->head, REV_BYTES);
		memcpy(s->head, s->prev, REV_BYTES);
		memcpy(s->prev, was, REV_BYTES);
		entry.event = "rolled_back";
		(void)snprintf(fields, sizeof(fields),
			"\"revision\":\"%s\",\"previous\":\"%s\",\"n\":%d", s->head, was, s->n);
		rc = head_rollback(&r->tn, &entry, &now, &r->err);
	}
	return rc;
}

static int one_change(struct rig *r, struct said *s)
{
	struct job_record jr = {.verb = "eval", .k = NAN};
	struct config cf;
	char line[100];
	int rc;

	switch (s->n % KINDS) {
	case CAPTURE:
		(void)snprintf(line, sizeof(line), "{\"input\":\"n%d\",\"output\":1}", s->n);
		return captures_append(&r->tn, line, strlen(line), &r->err);
	case CONFIG:
		rc = config_load(&r->tn, &cf, &r->err);
		if (rc < 0)
			return rc;
		rc = config_set(&cf, "watch.sample_size", "5", &r->err);
		if (rc == 0)
			rc = config_save(&r->tn, &cf, &r->err);
		s->generation = cf.generation;
		config_release(&cf);
		return rc;
	case JOURNAL:
		(void)snprintf(jr.error, sizeof(jr.error), "n%d!", s->n);
		return journal_new(r->tn.dir, &jr, &r->err);
	default:
		return heads(r, s);
	}
}

static void child(struct rig *r, struct said s, int fd)
{
	struct head now;

	for (s.n++;; s.n++) {
		int lock, rc;

		if (tune_lock(&r->tn, &lock, &r->err) < 0 || head_load(&r->tn, &now, &r->err) < 0)
			_exit(1);
		memcpy(s.head, now.head, REV_BYTES);
		memcpy(s.prev, now.prev, REV_BYTES);
		s.done = false;
		tell(fd, &s);
		rc = one_change(r, &s);
		if (rc < 0) {
			fprintf(stderr, "change %d: %d %s\n", s.n, rc, r->err.text);
			_exit(2);
		}
		s.done = true;
		tell(fd, &s);
		close(lock);
	}
}

/* how often each change is in the store */
static size_t times(struct rig *r, int n)
{
	char what[40];
	struct buf text;
	size_t found;

	if (n % KINDS == CAPTURE)
		(void)snprintf(what, sizeof(what), "\"n%d\"", n);
	else if (n % KINDS == JOURNAL)
		(void)snprintf(what, sizeof(what), "\"n%d!\",", n);
	else
		(void)snprintf(what, sizeof(what), "\"n\":%d,\"slug\"", n);
	text = n % KINDS == CAPTURE   ? get(r->tn.dir, "captures.jsonl")
	       : n % KINDS == JOURNAL ? get(r->tn.dir, "jobs.jsonl")
				      : get(r->st.logs, "tune.jsonl");
	found = count_text(buf_str(&text), what);
	if (n % KINDS < CAPTURE) { /* finished by recovery */
		(void)snprintf(what, sizeof(what), "\"n\":%d,\"recovered\":true", n);
		found += count_text(buf_str(&text), what);
	}
	buf_release(&text);
	return found;
}

static bool is_state(const struct head *now, const struct said *s)
{
	return strcmp(now->head, s->head) == 0 && strcmp(now->prev, s->prev) == 0;
}

static bool has_temporary(struct rig *r)
{
	char command[300];

	(void)snprintf(command, sizeof(command),
		"find %s -name '.*.tmp.*' -o -name .HEAD.next -o -name .intent | grep -q .",
		r->path);
	return system(command) == 0;
}

static void check_round(struct rig *r, const struct said *before, const struct said *after,
	const struct said *last, uint64_t generation, int round)
{
	struct config cf;
	struct head seen, now;

	/* what readers see before anybody repaired anything */
	cr_assert_eq(head_load(&r->tn, &seen, &r->err), 0, "%s", r->err.text);
	cr_assert(is_state(&seen, before) || is_state(&seen, after), "round %d: seen %s %s", round,
		seen.head, seen.prev);
	cr_assert_eq(store_recover(&r->st, &r->err), 0);
	cr_assert_eq(head_load(&r->tn, &now, &r->err), 0, "%s", r->err.text);
	cr_assert(strcmp(now.head, seen.head) == 0 && strcmp(now.prev, seen.prev) == 0,
		"round %d: repair took back what was seen", round);
	cr_assert_eq(revision_verify(&r->tn, now.head, NULL, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(log_verify(&r->st, NULL, &r->err), 0, "round %d: %s", round, r->err.text);
	cr_assert_eq(config_load(&r->tn, &cf, &r->err), 0, "%s", r->err.text);
	cr_assert(cf.generation == generation || (cf.generation == generation + 1 && !last->done &&
							 last->n % KINDS == CONFIG),
		"round %d: generation", round);
	config_release(&cf);
	if (!last->done && last->n % KINDS != CONFIG) {
		size_t n = times(r, last->n);

		cr_assert_leq(n, 1, "round %d: change %d is there %zu times", round, last->n, n);
		if (last->n % KINDS < CAPTURE && strcmp(before->head, after->head) != 0)
			cr_assert_eq(n, (size_t)is_state(&now, after),
				"round %d: change %d: the log says otherwise", round, last->n);
	}
	cr_assert_not(has_temporary(r), "round %d", round);
}

/* where HEAD and head.prev stand when a change that was not acknowledged was done */
static void suppose_done(const struct said *last, struct said *after)
{
	*after = *last;
	if (last->n % KINDS == PROMOTE) {
		memcpy(after->prev, last->head, REV_BYTES);
		(void)snprintf(after->head, sizeof(after->head), "v%d",
			(int)(rev_number(last->head) + 1 + last->n % 3) % 4);
	} else if (last->n % KINDS == ROLLBACK) {
		memcpy(after->head, last->prev, REV_BYTES);
		memcpy(after->prev, last->head, REV_BYTES);
	}
}

/* a child goes on behind ${last} and says so to ${out}, until it is killed after ${nap} */
static void kill_child(
	struct rig *r, struct said last, int out, const struct timespec *nap, int round)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		child(r, last, out);
	close(out);
	nanosleep(nap, NULL);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status), "round %d: the child ended by itself: %x", round, status);
}

Test(recover, sixty_kills_at_random_instants, .timeout = 240)
{
	struct said last = {.generation = 1, .head = "v0", .done = true}, s;
	uint64_t generation = 1;
	unsigned seed = 11;
	int acked = 0, cut = 0;
	struct rig r;

	rig_open(&r);
	/* so that a rollback always has somewhere to go */
	works(head_promote(&r.tn, "v1",
		&(struct log_entry){
			.event = "promoted", .fields = "\"revision\":\"v1\"", .slug = "demo"},
		&r.err));
	last.n = KINDS - 1;
	for (int round = 0; round < 60; round++) {
		struct timespec nap = {.tv_nsec = 1000000 + rand_r(&seed) % 60000000};
		struct said before = {0}, after = {0};
		int pipes[2], from = last.n;
		struct head now;

		works(head_load(&r.tn, &now, &r.err));
		memcpy(before.head, now.head, REV_BYTES);
		memcpy(before.prev, now.prev, REV_BYTES);
		after = before;
		cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
		kill_child(&r, last, pipes[1], &nap, round);
		while (read(pipes[0], &s, sizeof(s)) == sizeof(s)) {
			last = s;
			if (s.done) {
				acked++;
				before = after = s;
				generation = s.n % KINDS == CONFIG ? s.generation : generation;
			}
		}
		close(pipes[0]);
		if (last.n > from && !last.done) {
			cut++;
			suppose_done(&last, &after);
		}
		check_round(&r, &before, &after, &last, generation, round);
		for (int n = from + 1; n < last.n + last.done; n++)
			if (n % KINDS != CONFIG)
				cr_assert_eq(times(&r, n), 1, "round %d: change %d", round, n);
		struct config cf;

		works(config_load(&r.tn, &cf, &r.err));
		generation = cf.generation;
		config_release(&cf);
		last.done = true;
	}
	fprintf(stderr, "%d changes acknowledged, %d cut short, %zu recovered lines\n", acked, cut,
		in_log(&r, "\"recovered\""));
	cr_assert_gt(cut, 5);
	rig_close(&r);
}
