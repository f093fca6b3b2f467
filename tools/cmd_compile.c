/*
 * cmd_compile - from a spec to a .kolm file, and its K (FORMATS 18, 19.3).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "tools/cli.h"

enum { SPEC_BYTES_MAX = 64 << 20, ROWS_BYTES_MAX = 256 << 20 };

struct compile {
	struct cli *c;
	struct buf spec, examples, seeds;
	char dir[STORE_PATH_BYTES]; /* folder of the spec */
	char out[STORE_PATH_BYTES];
	double gate;
};

static int read_gate(struct compile *cm, struct err *err)
{
	const char *given = flag_value(cm->c, "--gate"), *env = getenv("KOLM_K_GATE");
	const char *text = given != NULL ? given : env;

	cm->gate = 0.85;
	if (text == NULL || text[0] == '\0')
		return 0;
	if (num_real(text, strlen(text), &cm->gate) < 0 || cm->gate < 0 || cm->gate > 1)
		return usage_error(err, "gate: number from 0 to 1");
	return 0;
}

static int read_spec(struct compile *cm, struct err *err)
{
	const char *path = flag_value(cm->c, "--spec");
	char *slash;
	int rc;

	if (path == NULL)
		return usage_error(err, "needs a spec: --spec FILE, or - for standard input");
	rc = path_read(path, SPEC_BYTES_MAX, &cm->spec, err);
	if (rc < 0)
		return rc;
	if (json_check(buf_str(&cm->spec), cm->spec.len, err) < 0) {
		(void)err_prefix(err, "spec is not JSON: ");
		return usage_mark(err);
	}
	rc = path_absolute(strcmp(path, "-") == 0 ? "." : path, cm->dir, err);
	if (rc == 0 && strcmp(path, "-") != 0 && (slash = strrchr(cm->dir, '/')) != NULL)
		slash[slash == cm->dir ? 1 : 0] = '\0';
	return rc;
}

/* --out FILE.kolm, --out DIR, or the store's artifacts folder */
static int place_out(struct compile *cm, struct err *err)
{
	struct json_slice spec = {cm->spec.data, cm->spec.len}, v;
	const char *given = flag_value(cm->c, "--out");
	char folder[STORE_PATH_BYTES];
	struct buf job = BUF_INIT;
	struct stat st;
	int dir, rc = 0;

	if (given != NULL && (stat(given, &st) < 0 || !S_ISDIR(st.st_mode))) {
		size_t n = strlen(given);

		if (n > 0 && given[n - 1] == '/')
			return err_set(err, ENOENT, "no such folder '%s'", given);
		return path_absolute(given, cm->out, err);
	}
	if (given == NULL) {
		dir = dir_make(kolm_store(cm->c->k)->dir, "artifacts", err);
		if (dir < 0)
			return dir;
		close(dir);
		(void)snprintf(folder, sizeof(folder), "%.4000s/artifacts", cm->c->store);
	} else {
		rc = path_absolute(given, folder, err);
	}
	while (spec.len > 0 && strchr(" \t\r\n", spec.text[0]) != NULL)
		spec = (struct json_slice){spec.text + 1, spec.len - 1};
	if (rc == 0 && spec.text[0] == '{' && json_member(spec, "job_id", &v) &&
		json_kind_of(v) == JSON_STRING)
		rc = json_string(v, &job) < 0 ? err_nomem(err) : 0;
	/* a job_id that is no name is refused by artifact_compile() before the path is used */
	if (rc == 0 && (job.len == 0 || strchr(job.data, '/') != NULL))
		(void)buf_puts(&job, "job");
	if (rc == 0 && snprintf(cm->out, sizeof(cm->out), "%s/%s.kolm", folder,
			       path_name(buf_str(&job))) >= (int)sizeof(cm->out))
		rc = err_set(err, ENAMETOOLONG, "path too long");
	buf_release(&job);
	return rc;
}

static int read_rows(struct compile *cm, struct compile_options *o, struct err *err)
{
	const char *examples = flag_value(cm->c, "--examples"),
		   *seeds = flag_value(cm->c, "--seeds");
	int rc = examples != NULL ? path_read(examples, ROWS_BYTES_MAX, &cm->examples, err) : 0;

	if (rc == 0 && seeds != NULL)
		rc = path_read(seeds, ROWS_BYTES_MAX, &cm->seeds, err);
	if (rc < 0)
		return rc;
	if (examples != NULL) {
		o->examples = buf_str(&cm->examples);
		o->examples_len = cm->examples.len;
	}
	if (seeds != NULL) {
		o->seeds = buf_str(&cm->seeds);
		o->seeds_len = cm->seeds.len;
		o->seeds_name = path_name(seeds);
	}
	return 0;
}

/* params of the spec's first recipe are used only while measuring (FORMATS 18.1) */
static struct json_slice recipe_params(const struct buf *spec)
{
	struct json_slice root = {spec->data, spec->len}, recipes, first, params;
	size_t pos = 0;

	while (root.len > 0 && strchr(" \t\r\n", root.text[0]) != NULL)
		root = (struct json_slice){root.text + 1, root.len - 1};
	if (root.len > 0 && root.text[0] == '{' && json_member(root, "recipes", &recipes) &&
		json_kind_of(recipes) == JSON_ARRAY && json_next(recipes, &pos, NULL, &first) &&
		json_kind_of(first) == JSON_OBJECT && json_member(first, "params", &params))
		return params;
	return (struct json_slice){"", 0};
}

static int build(struct compile *cm, struct compile_result *res, struct err *err)
{
	struct compile_options o = {.spec_dir = cm->dir,
		.comparator = flag_value(cm->c, "--comparator"),
		.allow_below_gate = flag_on(cm->c, "--allow-below-gate"),
		.measure = bench_measure};
	struct bench bench = {.c = cm->c, .params = recipe_params(&cm->spec)};
	const char *given = flag_value(cm->c, "--base");
	char base[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	o.arg = &bench;
	rc = read_rows(cm, &o, err);
	if (rc == 0 && given != NULL) {
		rc = path_base(given, base, err);
		if (rc == 0 && base[0] == '/' && access(base, F_OK) < 0)
			rc = err_set(err, errno, "base model not found: \"%s\"",
				err_quote(quoted, given, strlen(given)));
		bench.base = base;
	}
	if (rc == 0)
		rc = artifact_keys_load(
			kolm_store(cm->c->k)->dir, cm->c->store, true, &bench.keys, err);
	if (rc == 0)
		rc = artifact_compile(
			cm->spec.data, cm->spec.len, cm->out, &bench.keys, &o, res, err);
	bench_release(&bench);
	return rc;
}

static int say_built(const struct compile *cm, const struct compile_result *res, struct err *err)
{
	char k[NUM_TEXT_BYTES], gate[NUM_TEXT_BYTES];
	bool passes = res->k.composite >= cm->gate;
	struct buf out = BUF_INIT;
	int rc = 0;

	if (!flag_on(cm->c, "--json")) {
		printf("built:      ");
		say_text(stdout, cm->out);
		printf("\nbytes:      %llu\nsha256:     %s\nK-score for ",
			(unsigned long long)res->bytes, res->sha256);
		say_text(stdout, path_name(cm->out));
		printf(": %s  (gate >= %s - %s)\n", num_fixed(res->k.composite, 3, k),
			num_text(cm->gate, gate), passes ? "pass" : "fail");
		printf("production_ready: %s\n", res->production_ready ? "true" : "false");
		printf("evals:     %zu / %zu cases pass\n", res->passed, res->total);
		return 0;
	}
	(void)buf_puts(&out, "{\"built\":");
	(void)json_put_text(&out, cm->out);
	(void)buf_addf(&out,
		",\"bytes\":%llu,\"sha256\":\"%s\",\"k_score\":", (unsigned long long)res->bytes,
		res->sha256);
	(void)kscore_render(&res->k, false, &out);
	(void)buf_puts(&out, ",\"gate\":");
	(void)json_put_number(&out, cm->gate);
	(void)buf_addf(&out,
		",\"gate_pass\":%s,\"production_ready\":%s,\"evals\":{\"passed\":%zu,\"total\":%zu}"
		"}",
		passes ? "true" : "false", res->production_ready ? "true" : "false", res->passed,
		res->total);
	rc = out.failed ? err_nomem(err) : say_json((struct json_slice){out.data, out.len}, err);
	buf_release(&out);
	return rc;
}

int cmd_compile(struct cli *c, struct err *err)
{
	struct compile cm = {.c = c};
	struct compile_result res;
	int rc;

	rc = read_gate(&cm, err);
	if (rc == 0 && flag_value(c, "--comparator") != NULL &&
		!comparator_known(flag_value(c, "--comparator")))
		rc = usage_error(
			err, "--comparator: exact, normalized_string, json_subset or label");
	if (rc == 0)
		rc = read_spec(&cm, err);
	if (rc == 0)
		rc = place_out(&cm, err);
	if (rc == 0)
		rc = build(&cm, &res, err);
	if (rc == 0)
		rc = say_built(&cm, &res, err);
	if (rc == 0 && res.k.composite < cm.gate && !flag_on(c, "--allow-below-gate"))
		rc = EXIT_GATE;
	buf_release(&cm.spec);
	buf_release(&cm.examples);
	buf_release(&cm.seeds);
	return rc;
}
