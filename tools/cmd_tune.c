/*
 * cmd_tune - init, capture, step, eval, promote, rollback, status: one slug at a time.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "tools/cli.h"

enum { LOG_TAIL_BYTES = 65536 };

/* one flag that init_option() or step_option() knows by another name */
struct named {
	const char *flag, *key;
};

static int not_initialised(const struct cli *c, const char *slug, struct err *err)
{
	struct tune tn;
	int rc = tune_open(kolm_store(c->k), slug, &tn, err);

	if (rc == 0)
		tune_close(&tn);
	else if (rc == -ENOENT)
		rc = err_set(err, ENOENT,
			"no such artifact \"%s\" in this store: not initialised; kolm tune init "
			"--artifact FILE --base PATH",
			slug);
	return rc;
}

static int slug_ready(const struct cli *c, char slug[SLUG_BYTES + 1], struct err *err)
{
	int rc = path_slug(c, slug, err);

	return rc < 0 ? rc : not_initialised(c, slug, err);
}

int cmd_init(struct cli *c, struct err *err)
{
	static const struct named flags[] = {{"--rank", "rank"}, {"--alpha", "alpha"},
		{"--dropout", "dropout"}, {"--slug", "slug"}};
	const char *base = flag_value(c, "--base"), *v;
	char slug[SLUG_BYTES + 1], shown[STORE_PATH_BYTES];
	struct init_options o;
	unsigned seen = 0;
	bool fresh;
	int rc;

	init_options_default(&o);
	if (base == NULL)
		return usage_error(err, "needs a base model: --base PATH");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if ((v = flag_value(c, flags[i].flag)) != NULL &&
			init_option(&o, flags[i].key, v, &seen, err) < 0)
			return usage_mark(err);
	rc = path_artifact(c, o.artifact, err);
	if (rc == 0)
		rc = path_base(base, o.base, err);
	if (rc < 0)
		return rc;
	(void)snprintf(o.base_given, sizeof(o.base_given), "%s", base);
	rc = loop_init(c->k, &o, &c->by, slug, &fresh, err);
	if (rc < 0)
		return rc;
	if (fresh) {
		puts("ok wrote skeleton v0 (zero-init, identity to base)");
	} else {
		struct tune tn;
		struct head hd;

		rc = tune_open(kolm_store(c->k), slug, &tn, err);
		if (rc < 0)
			return rc;
		rc = head_load(&tn, &hd, err);
		tune_close(&tn);
		if (rc < 0)
			return rc;
		printf("ok initialised already, HEAD = %s\n", hd.head);
	}
	printf("   ");
	say_text(stdout, path_short(c->store, shown));
	printf("/tune/%s\n", slug);
	return 0;
}

static int capture(struct cli *c, bool on, struct err *err)
{
	char slug[SLUG_BYTES + 1], path[STORE_PATH_BYTES + 200], shown[STORE_PATH_BYTES];
	int rc = slug_ready(c, slug, err);

	if (rc == 0)
		rc = loop_capture(c->k, slug, on, &c->by, err);
	if (rc < 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/tune/%s/captures.jsonl", c->store, slug);
	printf("ok captures %s ", on ? "on" : "off");
	say_text(stdout, path_short(path, shown));
	putchar('\n');
	return 0;
}

int cmd_capture_on(struct cli *c, struct err *err)
{
	return capture(c, true, err);
}

int cmd_capture_off(struct cli *c, struct err *err)
{
	return capture(c, false, err);
}

/* the worker's result line stands in the job's log: what it trained, of how much; NAN where it does
 * not say */
static void read_params(
	struct cli *c, const char *slug, uint64_t id, double *trainable, double *total)
{
	struct buf text = BUF_INIT;
	int dir = kolm_job_dir(c->k, slug, id, NULL);

	*trainable = *total = NAN;
	if (dir < 0)
		return;
	if (read_file(dir, "log", 64 << 20, &text, NULL) == 0) {
		size_t at = text.len > LOG_TAIL_BYTES ? text.len - LOG_TAIL_BYTES : 0;

		for (; at < text.len;) {
			const char *from = text.data + at, *lf = memchr(from, '\n', text.len - at);
			struct json_slice line = {from,
						  lf != NULL ? (size_t)(lf - from) : text.len - at},
					  v;

			if (json_check(line.text, line.len, NULL) == 0 &&
				json_member(line, "trainable_params", &v) &&
				json_kind_of(v) == JSON_NUMBER) {
				*trainable = json_double(v);
				if (json_member(line, "total_params", &v) &&
					json_kind_of(v) == JSON_NUMBER)
					*total = json_double(v);
			}
			at += line.len + 1;
		}
	}
	buf_release(&text);
	close(dir);
}

int cmd_step(struct cli *c, struct err *err)
{
	static const struct named flags[] = {{"--epochs", "epochs"}, {"--lr", "lr"},
		{"--batch-size", "batch"}, {"--seed", "seed"}, {"--mem", "mem"}, {"--rows", "rows"},
		{"--from", "from"}};
	char slug[SLUG_BYTES + 1], elapsed[40], a[24], b[24];
	struct step_options o;
	struct job_record jr;
	double trainable, total;
	unsigned seen = 0;
	const char *v;
	uint64_t id;
	int rc;

	step_options_default(&o);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if ((v = flag_value(c, flags[i].flag)) != NULL &&
			step_option(&o, flags[i].key, v, &seen, err) < 0)
			return usage_mark(err);
	if (flag_on(c, "--airgap") && step_option(&o, "airgap", "on", &seen, err) < 0)
		return usage_mark(err);
	if (flag_on(c, "--no-airgap") && step_option(&o, "airgap", "off", &seen, err) < 0)
		return usage_mark(err);
	rc = slug_ready(c, slug, err);
	if (rc == 0)
		rc = loop_step(c->k, slug, &o, &c->by, &id, err);
	if (rc == 0)
		rc = job_finish(c, slug, id, &jr, err);
	if (rc < 0)
		return rc;
	printf("ok revision %s elapsed %s", jr.rev, say_elapsed(jr.elapsed, elapsed));
	read_params(c, slug, id, &trainable, &total);
	if (!isnan(trainable))
		printf(" · trainable %s", say_count(trainable, a));
	if (!isnan(trainable) && !isnan(total))
		printf(" / %s", say_count(total, b));
	putchar('\n');
	return 0;
}

static int gate_of(struct cli *c, const char *slug, double *k_min, struct err *err)
{
	struct config cf;
	int rc = config_of(kolm_store(c->k), slug, &cf, err);

	if (rc < 0)
		return rc;
	*k_min = cf.k_min;
	config_release(&cf);
	return 0;
}

int cmd_tune_eval(struct cli *c, struct err *err)
{
	const char *rev = flag_value(c, "--rev");
	char slug[SLUG_BYTES + 1], k[NUM_TEXT_BYTES], gate[NUM_TEXT_BYTES];
	struct job_record jr;
	int64_t timeout_s;
	double k_min = 0;
	uint64_t id;
	int rc;

	if (rev != NULL && rev_check(rev, strlen(rev), err) < 0)
		return usage_mark(err);
	rc = flag_timeout(c, &timeout_s, err);
	if (rc == 0)
		rc = slug_ready(c, slug, err);
	if (rc == 0)
		rc = gate_of(c, slug, &k_min, err);
	if (rc == 0)
		rc = loop_eval(c->k, slug, rev, timeout_s, &c->by, &id, err);
	if (rc == 0)
		rc = job_finish(c, slug, id, &jr, err);
	if (rc < 0)
		return rc;
	/* a K that only rounding lifts over the gate is told exactly */
	int digits = num_round(jr.k, 2) >= k_min && jr.k < k_min ? 4 : 2;
	printf("ok K-score %s (gate %s · pass %d/%d)\n", num_fixed(jr.k, digits, k),
		num_fixed(k_min, digits, gate), jr.pass, jr.total);
	return 0;
}

int cmd_replay(struct cli *c, struct err *err)
{
	const char *rev = flag_value(c, "--rev");
	char slug[SLUG_BYTES + 1], elapsed[40];
	struct job_record jr;
	uint64_t id;
	int rc;

	if (rev == NULL)
		return usage_error(err, "replay: needs a revision: --rev vN");
	if (rev_check(rev, strlen(rev), err) < 0)
		return usage_mark(err);
	rc = slug_ready(c, slug, err);
	if (rc == 0)
		rc = loop_replay(c->k, slug, rev, &c->by, &id, err);
	if (rc == 0)
		rc = job_finish(c, slug, id, &jr, err);
	if (rc == 0)
		printf("ok replay of %s gave the same bytes, elapsed %s\n", rev,
			say_elapsed(jr.elapsed, elapsed));
	return rc;
}

int cmd_export(struct cli *c, struct err *err)
{
	static const char *const forms[] = {"peft", "gguf", "merged"};
	static const char *const tails[] = {"", ".gguf", "-merged.gguf"};
	const char *rev = flag_value(c, "--rev"), *to = flag_value(c, "--to"),
		   *out = flag_value(c, "--out");
	char slug[SLUG_BYTES + 1], name[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
	size_t form = 0;
	int rc;

	if (rev == NULL || to == NULL)
		return usage_error(err, "export: needs --rev vN and --to gguf, peft or merged");
	if (rev_check(rev, strlen(rev), err) < 0)
		return usage_mark(err);
	while (form < 3 && strcmp(to, forms[form]) != 0)
		form++;
	if (form == 3)
		return usage_error(err, "export: --to is gguf, peft or merged");
	rc = slug_ready(c, slug, err);
	if (rc < 0)
		return rc;
	(void)snprintf(name, sizeof(name), "%s-%s%s", slug, rev, tails[form]);
	rc = path_absolute(out != NULL ? out : name, path, err);
	if (rc == 0)
		rc = loop_export(c->k, slug, rev, (enum export_form)form, path, err);
	if (rc == 0) {
		printf("ok wrote ");
		say_text(stdout, out != NULL ? out : name);
		putchar('\n');
	}
	return rc;
}

/* refused as asked, for another reason than the gate, the id of another request among them; what is
 * not there or damaged is no such reason */
static bool is_refusal(int rc, const char *id)
{
	return rc == -EALREADY || rc == -ESTALE || rc == -EBUSY || rc == -EPERM ||
	       (rc == -EINVAL && id != NULL);
}

int cmd_promote(struct cli *c, struct err *err)
{
	const char *rev = flag_value(c, "--rev"), *id = flag_value(c, "--id");
	char slug[SLUG_BYTES + 1];
	struct head now;
	int rc;

	if (rev == NULL)
		return usage_error(err, "promote: needs a revision: --rev vN");
	if (rev_check(rev, strlen(rev), err) < 0 || (id != NULL && request_id_check(id, err) < 0))
		return usage_mark(err);
	rc = slug_ready(c, slug, err);
	if (rc == 0)
		rc = loop_promote(c->k, slug, rev, flag_on(c, "--force"), id, &c->by, &now, err);
	if (rc == 0)
		printf("ok HEAD = %s prev %s snapshotted to head.prev\n", now.head, now.prev);
	return is_refusal(rc, id) ? usage_mark(err) : rc;
}

int cmd_rollback(struct cli *c, struct err *err)
{
	const char *id = flag_value(c, "--id");
	char slug[SLUG_BYTES + 1];
	struct head now;
	int rc;

	if (id != NULL && request_id_check(id, err) < 0)
		return usage_mark(err);
	rc = slug_ready(c, slug, err);
	if (rc == 0)
		rc = loop_rollback(c->k, slug, id, &c->by, &now, err);
	if (rc == 0)
		printf("ok rolled back to %s (was %s)\n", now.head, now.prev);
	return rc;
}

int cmd_status(struct cli *c, struct err *err)
{
	char slug[SLUG_BYTES + 1];
	struct buf text = BUF_INIT;
	int rc = path_slug(c, slug, err);

	if (rc == 0)
		rc = loop_status_json(c->k, slug, &text, err);
	if (rc == 0)
		puts(buf_str(&text));
	buf_release(&text);
	return rc;
}
