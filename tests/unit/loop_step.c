/* loop_step - real training, small: eight corrected rows of the redactor, one epoch, on the real
 * base model. */
#include <sys/mount.h>

#include "loop_rig.h"

static void start(struct rig *r)
{
	rig_open(r);
	compile_example(r, "redactor");
	cr_assert_eq(init(r, NULL), 0, "%s", r->err.text);
}

/* step ${words} ("epochs=1 from=v0") */
static int step(struct rig *r, const char *words, uint64_t *job)
{
	struct step_options o;
	unsigned seen = 0;
	char text[200];

	step_options_default(&o);
	(void)snprintf(text, sizeof(text), "%s", words);
	for (char *save = NULL, *w = strtok_r(text, " ", &save); w != NULL;
		w = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(w, '=');

		*eq = '\0';
		cr_assert_eq(step_option(&o, w, eq + 1, &seen, &r->err), 0, "%s", r->err.text);
	}
	r->err = ERR_NONE;
	return loop_step(r->k, "redactor", &o, &r->by, job, &r->err);
}

/* a job that must end well; what it wrote to its log is shown when it does not */
static struct job_record good_end(struct rig *r, uint64_t job)
{
	struct job_record jr = job_end(r, "redactor", job);
	struct buf text;
	char name[80];

	if (jr.outcome == JOB_OK)
		return jr;
	(void)snprintf(name, sizeof(name), "tune/redactor/jobs/%llu/log", (unsigned long long)job);
	text = store_text(r, name);
	cr_assert_fail("job %llu: %s\n%s", (unsigned long long)job, jr.error,
		text.data + (text.len > 3000 ? text.len - 3000 : 0));
	return jr;
}

static pid_t worker_of(struct rig *r)
{
	pid_t pid;

	pthread_mutex_lock(&r->k->lock);
	pid = r->k->jobs != NULL ? r->k->jobs->worker : -1;
	pthread_mutex_unlock(&r->k->lock);
	return pid;
}

/* wait until the job's trainer has begun its steps; its process */
static pid_t training(struct rig *r, uint64_t job)
{
	char progress[96] = "";

	for (int i = 0; i < 600; i++) {
		(void)kolm_job_progress(r->k, "redactor", job, progress);
		if (strstr(progress, " steps") != NULL && strncmp(progress, "0 ", 2) != 0)
			return worker_of(r);
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	cr_assert_fail("the trainer did not begin: \"%s\"", progress);
	return -1;
}

static void adapter_sha(struct rig *r, const char *rev, char sha[65])
{
	struct tune tn;

	cr_assert_eq(tune_open(&r->k->st, "redactor", &tn, &r->err), 0);
	cr_assert_eq(revision_verify(&tn, rev, sha, &r->err), 0, "%s", r->err.text);
	tune_close(&tn);
}

/* the members of a checked object, joined by blanks */
static void keys_of(struct json_slice object, struct buf *out)
{
	struct json_slice key, value;

	buf_reset(out);
	for (size_t pos = 0; json_next(object, &pos, &key, &value);) {
		(void)buf_puts(out, out->len > 0 ? " " : "");
		(void)buf_add(out, key.text + 1, key.len - 2);
	}
}

/* PROTOCOLS section 4 */
static const char train_keys[] =
	"spec revision from base captures rows_used skipped rows_sha256 seed epochs batch_size lr "
	"schedule rank alpha dropout target_modules "
	"template kernel engine worker network loss heldout best_epoch tokens elapsed_sec "
	"peak_bytes adapter_sha256";

static void check_records(struct rig *r)
{
	struct buf train = store_text(r, "tune/redactor/revisions/v1/train.json"),
		   files = store_text(r, "tune/redactor/revisions/v1/files.json"), keys = BUF_INIT;
	struct json_slice root = {train.data, train.len}, v;
	char sha[65], part[100];

	cr_assert_eq(json_check(train.data, train.len, &r->err), 0, "%s", r->err.text);
	keys_of(root, &keys);
	cr_expect_eq(strncmp(keys.data, train_keys, strlen(train_keys)), 0, "%s", keys.data);
	cr_assert(json_member(root, "base", &v));
	keys_of(v, &keys);
	cr_expect_str_eq(keys.data, "path bytes xxh3 types");
	cr_assert(json_member(root, "captures", &v));
	keys_of(v, &keys);
	cr_expect_str_eq(keys.data, "rows bytes sha256");
	cr_expect(json_member(root, "rows_used", &v) && json_double(v) == 8);
	cr_expect(
		json_member(root, "loss", &v) && v.len > 2, "no loss was recorded: %s", train.data);
	cr_expect(json_member(root, "template", &v) && json_kind_of(v) != JSON_NULL);
	cr_expect(json_member(root, "tokens", &v) && json_kind_of(v) == JSON_NUMBER &&
		  json_double(v) > 0);
	adapter_sha(r, "v1", sha);
	(void)snprintf(part, sizeof(part), "\"adapter_sha256\": \"%s\"", sha);
	cr_expect_not_null(strstr(train.data, part));

	cr_assert_eq(json_check(files.data, files.len, &r->err), 0);
	keys_of((struct json_slice){files.data, files.len}, &keys);
	cr_expect_str_eq(keys.data, "spec files");
	cr_expect_not_null(strstr(files.data, "kolm-files-1"));
	char *config = strstr(files.data, "adapter_config.json"),
	     *weights = strstr(files.data, "adapter_model.safetensors"),
	     *record = strstr(files.data, "train.json");
	cr_expect(config != NULL && config < weights && weights < record, "%s", files.data);
	cr_expect_null(strstr(files.data, "\"files.json\""));
	buf_release(&train);
	buf_release(&files);
	buf_release(&keys);
}

/* another model of the same shapes under the same name */
static void change_base(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, "changed", 7, 90000000), 7);
	close(fd);
}

/* the rig's slug, on a copy of the base at ${own} that may be changed */
static void init_on_a_copy(struct rig *r, char own[200])
{
	char line[STORE_PATH_BYTES + 300];

	compile_example(r, "redactor");
	(void)snprintf(own, 200, "%s/base.gguf", r->path);
	(void)snprintf(line, sizeof(line), "cp %s %s", r->base, own);
	cr_assert_eq(system(line), 0);
	(void)snprintf(r->base, sizeof(r->base), "%s", own);
	cr_assert_eq(init(r, NULL), 0, "%s", r->err.text);
}

/* one story, since each step costs seconds: refusals, v1, the same again, then another base under
 * the same path */
Test(loop_step, publishes_refuses_and_repeats)
{
	char own[200], sha[2][65];
	struct job_record jr;
	struct rig r;
	uint64_t job, other;
	struct buf text;

	rig_open(&r);
	init_on_a_copy(&r, own);
	fails(step(&r, "epochs=1", &job), ENODATA, "no captures yet");
	capture(&r, "redactor",
		"{\"input\":{\"text\":\"a\"},\"output\":{\"text\":\"a\"},\"rev\":\"v0\"}");
	fails(step(&r, "epochs=1", &job), ENODATA,
		"1 rows the model answered itself wait for a look");
	fails(step(&r, "from=v9", &job), ENOENT, "no revision v9");
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1"), "a refused step is no job");

	capture_example(&r, "redactor", "redactor", 0, 8);
	works(step(&r, "epochs=1", &job));
	cr_expect_eq(job, 1);
	fails(step(&r, "epochs=1", &other), EBUSY, "job 1 (step) is running");
	fails(loop_eval(r.k, "redactor", NULL, 0, &r.by, &other, &r.err), EBUSY,
		"job 1 (step) is running");
	jr = good_end(&r, job);
	cr_expect_str_eq(jr.rev, "v1");
	cr_expect_str_eq(jr.verb, "step epochs=1");
	check_records(&r);
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1/out"));
	text = store_text(&r, "tune/redactor/jobs/1/rows.jsonl");
	cr_expect_not_null(strstr(text.data, "{\"prompt\":\"Names of people, or none:\\n"));
	buf_release(&text);
	text = store_text(&r, "tune/redactor/HEAD");
	cr_expect_str_eq(text.data, "v0\n");
	buf_release(&text);
	cr_expect_eq(in_log(&r, "\"step_complete\",\"revision\":\"v1\""), 1);

	/* the same rows from the same start: the same bytes */
	works(step(&r, "epochs=1 from=v0", &job));
	jr = good_end(&r, job);
	adapter_sha(&r, "v1", sha[0]);
	adapter_sha(&r, "v2", sha[1]);
	cr_expect_str_eq(jr.rev, "v2");
	cr_expect_str_eq(sha[0], sha[1]);

	/* v1 has seen every row */
	fails(step(&r, "from=v1", &job), ENODATA, "no captures yet that teach something new");

	change_base(own);
	capture_example(&r, "redactor", "redactor", 8, 1);
	works(step(&r, "epochs=1 from=v1", &job));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect_not_null(strstr(jr.error, "base digest differs from v1's"), "%s", jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v3"));
	rig_close(&r);
}

/* BAD-INPUTS I16 */
Test(loop_step, cancelled_and_killed_ones_leave_nothing)
{
	struct job_record jr;
	struct rig r;
	uint64_t job;
	pid_t pid;

	start(&r);
	fails(loop_cancel(r.k, "redactor", 0, &r.by, &r.err), ESRCH, "no job is running");
	capture_example(&r, "redactor", "redactor", 0, 8);
	works(step(&r, "epochs=1000", &job));
	(void)training(&r, job);
	works(loop_cancel(r.k, "redactor", job, &r.by, &r.err));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_CANCELLED, "%s", jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v1"));
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1/out"));

	/* nor does the end of the server, right behind it, make it one to go on with */
	works(step(&r, "epochs=1000", &job));
	(void)training(&r, job);
	works(loop_cancel(r.k, "redactor", job, &r.by, &r.err));
	kolm_close(r.k);
	works(kolm_open(r.store, false, r.sp, &r.k, &r.err));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_CANCELLED, "%d %s", jr.outcome, jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/jobs/2/out"));

	works(step(&r, "epochs=1000", &job));
	pid = training(&r, job);
	cr_assert_gt(pid, 1);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_CRASHED);
	cr_expect_eq(jr.signal, SIGKILL);
	cr_expect_str_eq(jr.error, "trainer was killed (signal 9)");
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v3"));
	cr_expect_not(store_has(&r, "tune/redactor/jobs/3/out"));
	cr_expect_eq(in_log(&r, "\"step_failed\",\"error\":\"trainer was killed (signal 9)\""), 1);

	/* no number is used again */
	works(step(&r, "epochs=1", &job));
	jr = good_end(&r, job);
	cr_expect_str_eq(jr.rev, "v4");

	/* what the log could not be told of is not there: no revision of a failed step */
	works(renameat(r.k->st.logs, "tune.jsonl", r.k->st.logs, "elsewhere"));
	works(step(&r, "epochs=1 from=v0 rows=all", &job));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect_not_null(strstr(jr.error, "audit log was cut"), "%s", jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v5"));
	cr_expect_not(store_has(&r, "tune/redactor/jobs/5/out"));
	rig_close(&r);
}

Test(loop_step, a_server_that_stops_goes_on_with_the_same_step_and_the_same_bytes)
{
	struct buf curve[2] = {BUF_INIT, BUF_INIT};
	struct json_slice v;
	char sha[2][65];
	struct job_record jr;
	struct rig r;
	uint64_t job;

	start(&r);
	kolm_close(r.k);
	works(kolm_open(r.store, true, r.sp, &r.k, &r.err));
	capture_example(&r, "redactor", "redactor", 0, 8);
	works(step(&r, "epochs=3", &job));
	(void)training(&r, job);
	kolm_close(r.k);
	cr_expect(store_has(&r, "tune/redactor/jobs/1/out"), "the checkpoint is gone");
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v1"));
	works(kolm_open(r.store, true, r.sp, &r.k, &r.err));
	jr = job_end(&r, "redactor", job);
	for (int i = 0; i < 100 && jr.outcome == JOB_INTERRUPTED;
		i++) { /* until it is queued once more */
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		jr = job_end(&r, "redactor", job);
	}
	jr = good_end(&r, job);
	cr_expect_str_eq(jr.rev, "v1");
	works(step(&r, "epochs=3 from=v0", &job));
	jr = good_end(&r, job);
	adapter_sha(&r, "v1", sha[0]);
	adapter_sha(&r, "v2", sha[1]);
	cr_expect_str_eq(sha[0], sha[1]);
	/* and the same curve, from its first step */
	for (int i = 0; i < 2; i++) {
		struct buf train = store_text(&r, i == 0 ? "tune/redactor/revisions/v1/train.json"
							 : "tune/redactor/revisions/v2/train.json");

		cr_assert(json_member((struct json_slice){train.data, train.len}, "loss", &v));
		cr_expect_eq(buf_add(&curve[i], v.text, v.len), 0);
		buf_release(&train);
	}
	cr_expect_str_eq(buf_str(&curve[0]), buf_str(&curve[1]));
	buf_release(&curve[0]);
	buf_release(&curve[1]);
	rig_close(&r);
}

Test(loop_step, a_cycle_stopped_in_its_eval_does_not_train_again)
{
	struct buf source, cases;
	struct job_record jr;
	struct rig r;
	uint64_t job;
	char progress[96] = "", *end;

	rig_open(&r);
	source = example("redactor", "recipe.js");
	cases = example("redactor", "cases.jsonl");
	end = cases.data;
	for (int i = 0; i < 8; i++)
		end = strchr(end, '\n') + 1;
	*end = '\0';
	compile(&r, "redactor", source.data, cases.data);
	works(init(&r, NULL));
	kolm_close(r.k);
	works(kolm_open(r.store, true, r.sp, &r.k, &r.err));
	capture_example(&r, "redactor", "redactor", 0, 4);
	works(loop_cycle(r.k, "redactor", &r.by, &job, &r.err));
	for (int i = 0; i < 4800 && strstr(progress, " cases") == NULL; i++) {
		(void)kolm_job_progress(r.k, "redactor", job, progress);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	kolm_close(r.k);
	cr_assert_eq(in_log(&r, "\"step_complete\""), 1);
	cr_assert_eq(in_log(&r, "\"eval_complete\""), 0, "the eval was over before the server was");
	works(kolm_open(r.store, true, r.sp, &r.k, &r.err));
	jr = job_end(&r, "redactor", job);
	for (int i = 0; i < 100 && jr.outcome == JOB_INTERRUPTED; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		jr = job_end(&r, "redactor", job);
	}
	cr_expect(jr.outcome == JOB_OK || jr.outcome == JOB_GATE, "%s", jr.error);
	cr_expect_str_eq(jr.rev, "v1");
	cr_expect_eq(jr.total, 8);
	cr_expect_eq(in_log(&r, "\"step_complete\""), 1);
	cr_expect_eq(in_log(&r, "\"eval_complete\""), 1);
	buf_release(&source);
	buf_release(&cases);
	rig_close(&r);
}

/* what a change says, heard in the thread that made it */
struct told {
	struct rig *r;
	bool after_eval, when_done;
	int rc; /* of the cancel */
};

static void cancel_then(void *arg, const char *slug, unsigned what)
{
	struct told *t = arg;
	struct job_record jr;

	if (slug == NULL || (what & (CHANGE_EVENTS | CHANGE_JOB)) == 0)
		return;
	if (t->after_eval && in_log(t->r, "\"eval_complete\"") == 1) {
		t->after_eval = false;
		t->rc = loop_cancel(t->r->k, slug, 0, &t->r->by, NULL);
	}
	if (t->when_done && kolm_job(t->r->k, slug, 0, &jr, NULL) == 0 && jr.state == JOB_DONE) {
		t->when_done = false;
		t->rc = loop_cancel(t->r->k, slug, 0, &t->r->by, NULL);
	}
}

/* a cycle cancelled when it was measured is not promoted; a job that is over cannot be cancelled,
 * also when its thread has not ended */
Test(loop_step, a_cancelled_cycle_does_not_go_on_with_its_next_part)
{
	struct told told = {.after_eval = true, .rc = 1};
	struct buf text, source;
	struct job_record jr;
	struct rig r;
	uint64_t job;

	rig_open(&r);
	source = example("redactor", "recipe.js");
	compile(&r, "redactor", source.data, ONE_CASE);
	buf_release(&source);
	works(init(&r, NULL));
	works(loop_set(r.k, "redactor", "gate.k_min", "0", &r.by, &r.err));
	works(loop_set(r.k, "redactor", "gate.require_improvement", "off", &r.by, &r.err));
	capture_example(&r, "redactor", "redactor", 0, 2);
	told.r = &r;
	kolm_on_change(r.k, cancel_then, &told);
	works(loop_cycle(r.k, "redactor", &r.by, &job, &r.err));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(told.rc, 0);
	cr_expect_eq(jr.outcome, JOB_CANCELLED, "%d %s", jr.outcome, jr.error);
	cr_expect_str_eq(jr.rev, "v1");
	cr_expect_eq(in_log(&r, "\"promoted\""), 0);
	text = store_text(&r, "tune/redactor/HEAD");
	cr_expect_str_eq(text.data, "v0\n");
	buf_release(&text);

	told.when_done = true;
	told.rc = 1;
	works(step(&r, "epochs=1 from=v0", &job));
	(void)good_end(&r, job);
	for (int i = 0; i < 200 && told.when_done; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	cr_expect_eq(told.rc, -ESRCH);
	rig_close(&r);
}

/* the server died when the revision was published and the log did not know yet */
Test(loop_step, a_published_step_gets_its_line_at_the_next_start_once)
{
	struct job_record jr = {.verb = "step epochs=1", .rev = "v1", .k = NAN};
	struct rig r;
	struct tune tn;
	int out;

	start(&r);
	kolm_close(r.k);
	works(kolm_open(r.store, false, r.sp, &r.k, &r.err));
	works(tune_open(kolm_store(r.k), "redactor", &tn, &r.err));
	works(journal_new(tn.dir, &jr, &r.err));
	out = dir_make(tn.dir, "out", &r.err);
	works(out);
	works(replace_file(out, "adapter_config.json", "{}", 2, 0600, &r.err));
	works(replace_file(out, "train.json", "{\"elapsed_sec\":1.5}", 19, 0600, &r.err));
	works(revision_seal(out, &r.err));
	close(out);
	works(revision_publish(&tn, tn.dir, "out", "v1", &r.err));
	/* and before the job had its folder */
	works(dir_remove(tn.dir, "jobs", &r.err));
	tune_close(&tn);
	for (int i = 0; i < 2; i++) {
		kolm_close(r.k);
		works(kolm_open(r.store, true, r.sp, &r.k, &r.err));
		for (int n = 0; n < 100; n++) {
			jr = job_end(&r, "redactor", 1);
			if (jr.outcome != JOB_INTERRUPTED)
				break;
			nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		}
		cr_expect_eq(jr.outcome, JOB_OK, "%s", jr.error);
		cr_expect_eq(
			in_log(&r, "\"step_complete\",\"revision\":\"v1\",\"elapsed_sec\":1.50"),
			1);
	}
	rig_close(&r);
}

Test(loop_step, nothing_but_bad_lines)
{
	struct rig r;
	uint64_t job;
	char path[200];
	FILE *f;

	start(&r);
	(void)snprintf(path, sizeof(path), "%s/tune/redactor/captures.jsonl", r.store);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	for (int i = 0; i < 4; i++)
		fputs("{}\n[1,2]\n{\"input\":1,\n", f);
	fclose(f);
	fails(step(&r, "", &job), ENODATA, "no usable captures (12 skipped)");
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1"));
	rig_close(&r);
}

/* one step with config.json's worker of these keys: why it fails */
static struct job_record step_with(struct rig *r, const char *command, const char *reads)
{
	uint64_t job;
	char path[200];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/config.json", r->store);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fprintf(f, "{\"workers\":{\"redactor\":{\"command\":\"%s\",\"reads\":[\"%s\"]}}}", command,
		reads);
	fclose(f);
	cr_assert_eq(step(r, "epochs=1", &job), 0, "%s", r->err.text);
	return job_end(r, "redactor", job);
}

Test(loop_step, a_worker_that_reads_no_absolute_path_is_refused)
{
	struct job_record jr;
	struct rig r;

	start(&r);
	capture_example(&r, "redactor", "redactor", 0, 2);
	jr = step_with(&r, "/bin/true", "");
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect(strstr(jr.error, "no absolute paths") != NULL, "%s", jr.error);
	rig_close(&r);
}

/* a step on two rows by a worker that is this shell script; it finds its out-dir in $2 */
static struct job_record step_by_script(struct rig *r, const char *script)
{
	char path[200], command[240];
	FILE *f;

	capture_example(r, "redactor", "redactor", 0, 2);
	(void)snprintf(path, sizeof(path), "%s/worker.sh", r->path);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fprintf(f, "while [ \"$1\" != --out-dir ]; do shift; done\n%s", script);
	fclose(f);
	(void)snprintf(command, sizeof(command), "/bin/sh %s", path);
	return step_with(r, command, path);
}

/* BAD-INPUTS I18 */
Test(loop_step, what_a_worker_leaves_must_be_plain_files)
{
	struct job_record jr;
	struct rig r;

	start(&r);
	jr = step_by_script(&r,
		"mkdir \"$2/adapter_model.safetensors\"\n"
		"ln -s /etc/passwd \"$2/adapter_config.json\"\n"
		"echo '{\"ok\":true,\"revision_dir\":\"/etc\",\"captures_trained_on\":2,"
		"\"epochs\":1}'\n");
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect(strstr(jr.error, "trainer named a path outside") != NULL, "%s", jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/revisions/v1"));
	rig_close(&r);
}

/* contract 5: nothing from outside goes raw to a log, a terminal or a line of `wait` */
Test(loop_step, what_a_worker_says_is_escaped)
{
	struct job_record jr;
	struct rig r;

	start(&r);
	jr = step_by_script(&r, "printf '%s\\n' '{\"ok\":false,\"error\":\"bad\\u001b[2J\\nstate "
				"idle\"}'\nexit 1\n");
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect_str_eq(jr.error, "bad\\x1b[2J\\x0astate idle");
	rig_close(&r);
}

/* `true` is the only success */
Test(loop_step, a_worker_that_is_not_sure_has_failed)
{
	struct job_record jr;
	struct rig r;

	start(&r);
	jr = step_by_script(
		&r, "echo '{\"ok\":null,\"error\":\"not sure\",\"revision_dir\":\"/etc\"}'\n");
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect(strstr(jr.error, "not sure") != NULL, "%s", jr.error);
	rig_close(&r);
}

static double point(const cJSON *curve, int i, int which)
{
	return cJSON_GetNumberValue(cJSON_GetArrayItem(cJSON_GetArrayItem(curve, i), which));
}

/* a curve of train.json: every fourth point of 40,000, the value ${more} above the step */
static void is_every_fourth(const cJSON *js, const char *name, double more)
{
	const cJSON *curve = cJSON_GetObjectItem(js, name);

	cr_expect_eq(cJSON_GetArraySize(curve), 10000, "%s: %d", name, cJSON_GetArraySize(curve));
	for (int i = 0; i < 10000; i += 3333) {
		cr_expect_eq(point(curve, i, 0), 4 * i + 1, "%s: %g", name, point(curve, i, 0));
		cr_expect_eq(point(curve, i, 1), 4 * i + 1 + more);
	}
}

/* 40,000 points are kept as every fourth of them; a number of 300 digits as one of 17 */
Test(loop_step, a_worker_that_says_much_has_a_coarser_curve)
{
	struct job_record jr;
	struct buf text;
	cJSON *js = NULL;
	struct rig r;

	start(&r);
	jr = step_by_script(&r,
		"cp revisions/v0/adapter* \"$2\"\n"
		"awk 'BEGIN { for (i = 1; i <= 40000; i++) printf \"{\\\"event\\\":"
		"\\\"progress\\\",\\\"step\\\":%d,\\\"of\\\":40000,\\\"loss\\\":%d.5,"
		"\\\"heldout\\\":%d.%0300d}\\n\", i, i, i, 1 }'\n"
		"echo '{\"ok\":true,\"captures_trained_on\":2,\"epochs\":1}'\n");
	cr_assert_eq(jr.outcome, JOB_OK, "%s", jr.error);
	text = store_text(&r, "tune/redactor/revisions/v1/train.json");
	works(json_parse(text.data, text.len, &js, &r.err));
	is_every_fourth(js, "loss", 0.5);
	is_every_fourth(js, "heldout", 0);
	cr_expect_lt(text.len, 1000000, "%zu", text.len);
	cJSON_Delete(js);
	buf_release(&text);
	rig_close(&r);
}

/* BAD-INPUTS I20 */
Test(loop_step, no_room_is_said_before_training)
{
	struct job_record jr;
	struct rig r;
	uint64_t job;

	start(&r);
	capture_example(&r, "redactor", "redactor", 0, 2);
	kolm_close(r.k);
	/* the store moves to a small disk */
	{
		char line[300], small[sizeof(r.store)];

		(void)snprintf(small, sizeof(small), "%s/small", r.path);
		cr_assert_eq(mkdir(small, 0700), 0);
		if (mount("kolm-test", small, "tmpfs", MS_NOSUID | MS_NODEV, "size=12m,mode=0700") <
			0) {
			r.k = NULL;
			rig_close(&r);
			cr_skip_test("skipped: cannot mount a small disk here");
		}
		(void)snprintf(line, sizeof(line), "cp -a %s/. %s/", r.store, small);
		cr_assert_eq(system(line), 0);
		memcpy(r.store, small, sizeof(small));
	}
	works(kolm_open(r.store, false, r.sp, &r.k, &r.err));
	works(step(&r, "epochs=1", &job));
	jr = job_end(&r, "redactor", job);
	cr_expect_eq(jr.outcome, JOB_FAILED);
	cr_expect(strncmp(jr.error, "needs ", 6) == 0 && strstr(jr.error, " MiB free") != NULL,
		"%s", jr.error);
	cr_expect_not(store_has(&r, "tune/redactor/jobs/1/rows.jsonl"));
	kolm_close(r.k);
	(void)umount2(r.store, MNT_DETACH);
	r.k = NULL;
	rig_close(&r);
}
