/*
 * cmd_eval - the artifact's own cases, or others, through its recipes (FORMATS 17, 19.3). The
 * bench: nothing is captured.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "tools/cli.h"

enum { FAILURES_SHOWN = 5, EXAMPLES_BYTES_MAX = 256 << 20, PREVIEW_COLUMNS = 120 };

struct eval {
	struct cli *c;
	char path[STORE_PATH_BYTES], slug[SLUG_BYTES + 1];
	struct artifact *af;
	struct buf examples;
	struct buf errors;	    /* JSON objects with commas */
	struct buf inputs, outputs; /* JSON arrays of what the receipt digests, open */
	char rev[REV_BYTES];	    /* whose model answered, "" none */
	int64_t timeout_s;
	double *latency;
	size_t n, passed, ran;
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void put_failure(struct eval *ev, const char *id, struct json_slice expected,
	const struct run_result *res, int rc, const struct err *why)
{
	struct buf *b = &ev->errors;

	(void)buf_puts(b, b->len > 0 ? ",{\"id\":" : "{\"id\":");
	(void)json_put_text(b, id);
	if (rc < 0) {
		(void)buf_puts(b, ",\"error\":");
		(void)json_put_text(b, why->text);
	} else {
		(void)buf_puts(b, ",\"expected\":");
		(void)buf_add(b, expected.text, expected.len);
		if (res->output.len > 0)
			(void)buf_addf(b, ",\"got\":%s", res->output.data);
	}
	(void)buf_putc(b, '}');
}

static void say_case(const char *id, bool pass, struct json_slice expected,
	const struct run_result *res, int rc, const struct err *why)
{
	printf("    %-4s  ", pass ? "pass" : "FAIL");
	say_text(stdout, id);
	if (rc < 0) {
		printf("  error: ");
		say_text(stdout, why->text);
	} else if (!pass) {
		printf("  expected ");
		say_preview(stdout, expected, PREVIEW_COLUMNS);
		printf("  got ");
		say_preview(stdout, (struct json_slice){res->output.data, res->output.len},
			PREVIEW_COLUMNS);
	} else {
		printf("  %lldus", (long long)res->latency_us);
	}
	putchar('\n');
}

static void note_case(struct eval *ev, const char *id, struct json_slice input,
	struct json_slice params, bool pass, const struct buf *output)
{
	struct buf *b = &ev->inputs;

	(void)buf_puts(b, b->len > 0 ? ",{\"id\":" : "[{\"id\":");
	(void)json_put_text(b, id);
	(void)buf_puts(b, ",\"input\":");
	(void)buf_add(b, input.text, input.len);
	if (params.len > 0) {
		(void)buf_puts(b, ",\"params\":");
		(void)buf_add(b, params.text, params.len);
	}
	(void)buf_putc(b, '}');
	b = &ev->outputs;
	(void)buf_puts(b, b->len > 0 ? ",{\"id\":" : "[{\"id\":");
	(void)json_put_text(b, id);
	(void)buf_addf(b, ",\"pass\":%s,\"output\":%s}", pass ? "true" : "false",
		output != NULL && output->len > 0 ? output->data : "null");
}

/* a recipe that fails fails its case; a machine that cannot run recipes, or an attempt to reach the
 * network (D11), ends the eval */
static int one_case(struct eval *ev, const char *id, struct json_slice input,
	struct json_slice params, struct json_slice expected, struct err *err)
{
	struct err why = ERR_NONE;
	struct run_result res;
	bool pass;
	int rc = 0;

	/* an eval is of a warm cell: the first case runs once unmeasured */
	for (int i = ev->n == 0 ? 0 : 1; i < 2; i++) {
		rc = kolm_measure(ev->c->k, ev->slug[0] != '\0' ? ev->slug : NULL, ev->path, input,
			params, ev->timeout_s, &res, &why);
		if (rc == 0 && i == 0)
			run_result_release(&res);
	}
	if (rc == -EOPNOTSUPP || rc == -EKEYREJECTED || rc == -EPERM) {
		*err = why;
		return rc;
	}
	if (rc == 0 && strcmp(res.artifact_sha256, artifact_sha256(ev->af)) != 0) {
		run_result_release(&res);
		return err_set(err, ESTALE,
			"the artifact was replaced meanwhile: it was %s, other recipes ran",
			artifact_sha256(ev->af));
	}
	if (rc == 0 && res.rev[0] != '\0')
		memcpy(ev->rev, res.rev, sizeof(ev->rev));
	pass = rc == 0 &&
	       comparator_match(artifact_comparator(ev->af),
		       (struct json_slice){buf_str(&res.output), res.output.len}, expected);
	if (rc == 0)
		ev->latency[ev->ran++] = (double)res.latency_us;
	ev->n++;
	ev->passed += pass;
	note_case(ev, id, input, params, pass, rc == 0 ? &res.output : NULL);
	if (flag_on(ev->c, "--trace") && !flag_on(ev->c, "--json"))
		say_case(id, pass, expected, &res, rc, &why);
	if (!pass)
		put_failure(ev, id, expected, &res, rc, &why);
	if (rc == 0)
		run_result_release(&res);
	return 0;
}

static int keep_receipt(struct eval *ev, char path[STORE_PATH_BYTES], struct err *err)
{
	struct proof p = {.is_eval = true,
		.af = ev->af,
		.artifact_file = path_name(ev->path),
		.revision = ev->rev,
		.passed = ev->passed,
		.total = ev->n,
		.has_examples = ev->examples.len > 0};
	struct buf text = BUF_INIT;
	int rc;

	if (buf_putc(&ev->inputs, ']') < 0 || buf_putc(&ev->outputs, ']') < 0 ||
		proof_digest((struct json_slice){ev->inputs.data, ev->inputs.len}, p.input_sha256) <
			0 ||
		proof_cases((struct json_slice){ev->outputs.data, ev->outputs.len},
			p.output_sha256) < 0)
		return err_nomem(err);
	rc = kolm_prove(ev->c->k, ev->slug[0] != '\0' ? ev->slug : NULL, &p, &text, err);
	if (rc == 0)
		rc = receipt_save(ev->c, "eval", NULL, &text, path, err);
	buf_release(&text);
	return rc;
}

static int embedded(struct eval *ev, struct err *err)
{
	int rc = 0;

	ev->latency = calloc(artifact_cases(ev->af) + 1, sizeof(*ev->latency));
	if (ev->latency == NULL)
		return err_nomem(err);
	for (size_t i = 0; rc == 0 && i < artifact_cases(ev->af); i++) {
		const struct artifact_case *one = artifact_case(ev->af, i);

		rc = one_case(ev, one->id, one->input, one->params, one->expected, err);
	}
	return rc;
}

/* one row of --examples: input, and expected or output */
static int example(struct eval *ev, struct json_slice row, size_t number, struct err *err)
{
	struct json_slice input, expected, params = {"", 0}, v;
	struct buf id = BUF_INIT;
	int rc;

	if (json_kind_of(row) != JSON_OBJECT || !json_member(row, "input", &input) ||
		(!json_member(row, "expected", &expected) &&
			!json_member(row, "output", &expected)))
		return err_set(
			err, EBADMSG, "examples, line %zu: input and expected are needed", number);
	(void)json_member(row, "params", &params);
	if (json_member(row, "id", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &id);
	else
		(void)buf_addf(&id, "user_%zu", number);
	rc = id.failed ? err_nomem(err) : one_case(ev, buf_str(&id), input, params, expected, err);
	buf_release(&id);
	return rc;
}

static int from_file(struct eval *ev, const char *path, struct err *err)
{
	size_t lines = 1, number = 0;
	int rc = path_read(path, EXAMPLES_BYTES_MAX, &ev->examples, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ev->examples.len; i++)
		lines += ev->examples.data[i] == '\n';
	ev->latency = calloc(lines, sizeof(*ev->latency));
	if (ev->latency == NULL)
		return err_nomem(err);
	for (size_t at = 0; rc == 0 && at < ev->examples.len;) {
		const char *from = ev->examples.data + at,
			   *lf = memchr(from, '\n', ev->examples.len - at);
		struct json_slice row = {
			from, lf != NULL ? (size_t)(lf - from) : ev->examples.len - at};

		at += row.len + 1;
		number++;
		while (row.len > 0 && strchr(" \t\r", row.text[0]) != NULL)
			row = (struct json_slice){row.text + 1, row.len - 1};
		if (row.len == 0)
			continue;
		rc = json_check(row.text, row.len, err);
		rc = rc < 0 ? err_prefix(err, "examples, line %zu: ", number)
			    : example(ev, row, number, err);
	}
	return rc;
}

static double p50(struct eval *ev)
{
	if (ev->ran == 0)
		return NAN;
	qsort(ev->latency, ev->ran, sizeof(*ev->latency), by_value);
	return ev->latency[ev->ran / 2];
}

static int say_json_result(
	struct eval *ev, const char *source, const char *receipt, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc;

	(void)buf_addf(&out, "{\"n\":%zu,\"passed\":%zu,\"accuracy\":", ev->n, ev->passed);
	(void)json_put_number(&out, num_round((double)ev->passed / (double)ev->n, 4));
	(void)buf_puts(&out, ",\"p50_latency_us\":");
	(void)json_put_number(&out, p50(ev));
	(void)buf_addf(&out, ",\"errors\":[%s],\"source\":", buf_str(&ev->errors));
	(void)json_put_text(&out, source);
	(void)buf_puts(&out, ",\"receipt\":");
	(void)json_put_text(&out, receipt);
	(void)buf_putc(&out, '}');
	rc = out.failed || ev->errors.failed
		     ? err_nomem(err)
		     : say_json((struct json_slice){out.data, out.len}, err);
	buf_release(&out);
	return rc;
}

static void say_failures(const struct eval *ev)
{
	struct buf list = BUF_INIT;
	struct json_slice one, v, all;
	size_t pos = 0;

	(void)buf_addf(&list, "[%s]", buf_str(&ev->errors));
	all = (struct json_slice){buf_str(&list), list.len};
	for (int i = 0; !list.failed && i < FAILURES_SHOWN && json_next(all, &pos, NULL, &one);
		i++) {
		printf("    ");
		if (json_member(one, "id", &v))
			say_preview(stdout, v, PREVIEW_COLUMNS);
		if (json_member(one, "error", &v)) {
			printf("  error: ");
			say_preview(stdout, v, PREVIEW_COLUMNS);
		} else if (json_member(one, "expected", &v)) {
			printf("  expected ");
			say_preview(stdout, v, PREVIEW_COLUMNS);
			printf("  got ");
			if (json_member(one, "got", &v))
				say_preview(stdout, v, PREVIEW_COLUMNS);
			else
				printf("undefined");
		}
		putchar('\n');
	}
	buf_release(&list);
}

static void say_plain(struct eval *ev)
{
	char percent[NUM_TEXT_BYTES];
	double median = p50(ev);

	printf("eval: ");
	say_text(stdout, path_name(ev->path));
	printf("\n  passed:    %zu / %zu  (%s%%)\n", ev->passed, ev->n,
		num_fixed(100 * (double)ev->passed / (double)ev->n, 1, percent));
	if (isnan(median))
		printf("  p50_lat:   -\n");
	else
		printf("  p50_lat:   %.0fus\n", median);
	if (ev->passed == ev->n) {
		printf("  failures:  none\n");
		return;
	}
	printf("  failures:  %zu\n", ev->n - ev->passed);
	say_failures(ev);
}

int cmd_eval(struct cli *c, struct err *err)
{
	const char *examples = flag_value(c, "--examples");
	struct artifact_keys keys;
	struct eval ev = {.c = c};
	char receipt[STORE_PATH_BYTES];
	int rc;

	rc = flag_timeout(c, &ev.timeout_s, err);
	if (rc == 0)
		rc = path_artifact(c, ev.path, err);
	if (rc == 0)
		rc = artifact_keys_load(kolm_store(c->k)->dir, c->store, false, &keys, err);
	if (rc == 0)
		rc = artifact_open(AT_FDCWD, ev.path, &keys, &ev.af, err);
	if (rc < 0)
		return rc;
	rc = path_same_slug(c, ev.path, artifact_sha256(ev.af), ev.slug, err);
	if (rc == 0)
		rc = examples != NULL ? from_file(&ev, examples, err) : embedded(&ev, err);
	if (rc == 0 && ev.n == 0)
		rc = err_set(err, EINVAL, "no eval cases: nothing to measure");
	if (rc == 0)
		rc = kolm_measure_end(c->k, ev.slug[0] != '\0' ? ev.slug : NULL, ev.path, err);
	if (rc == 0)
		rc = keep_receipt(&ev, receipt, err);
	if (rc == 0 && flag_on(c, "--json")) {
		rc = say_json_result(&ev, examples != NULL ? examples : "artifact", receipt, err);
	} else if (rc == 0) {
		say_plain(&ev);
		printf("  receipt:   ");
		say_text(stdout, receipt);
		putchar('\n');
	}
	free(ev.latency);
	buf_release(&ev.examples);
	buf_release(&ev.errors);
	buf_release(&ev.inputs);
	buf_release(&ev.outputs);
	artifact_free(ev.af);
	return rc;
}
