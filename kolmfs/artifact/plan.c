/*
 * plan - spec.json and what comes with it (FORMATS 18.1), checked and put in the form build.c
 * writes.
 */
#include "artifact/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/replace.h"

enum { SOURCE_FILE_BYTES = 4 * ARTIFACT_SOURCE_UNITS };

int plan_invalid(struct err *err, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(err, EBADMSG, "spec: %s", text);
	if (err != NULL)
		err_code(err, "KOLM_E_SPEC_INVALID");
	return -EBADMSG;
}

static bool job_id_is_good(const char *id)
{
	static const char set[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	return strncasecmp(id, "job_", 4) == 0 && id[4] != '\0' && strspn(id, set) == strlen(id) &&
	       strlen(id) <= 200;
}

/* text_or(object, key, fallback): the string, or a copy of the fallback when the member is absent
 * or null; NULL: of another kind */
static char *text_or(struct json_slice object, const char *key, const char *fallback)
{
	struct json_slice v = member_of(object, key);

	return v.len == 0 || json_kind_of(v) == JSON_NULL ? strdup(fallback)
							  : member_text(object, key);
}

/* source_read(dir, path, out, err): a file below ${dir}; neither a link nor `..` leads out of it.
 */
static int source_read(const char *dir, const char *path, struct buf *out, struct err *err)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	char q[ERR_QUOTE_BYTES + 8];
	struct stat st;
	int rc = 0, fd, dirfd = open(dir != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	err_quote(q, path, strlen(path));
	if (dirfd < 0)
		return err_sys(err, "cannot open the spec's folder");
	fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	if (fd < 0 && errno == EXDEV)
		rc = plan_invalid(err, "source_file '%s' leads out of the spec's folder", q);
	else if (fd < 0)
		rc = plan_invalid(err, "source_file '%s': %s", q, strerror(errno));
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = plan_invalid(err, "source_file '%s' is not a regular file", q);
	else if (read_fd(fd, SOURCE_FILE_BYTES, out, err) < 0)
		rc = plan_invalid(err, "source_file '%s': source larger than 64 KiB", q);
	else if (utf8_check(buf_str(out), out->len) != out->len || strlen(buf_str(out)) != out->len)
		rc = plan_invalid(err, "source_file '%s' is not UTF-8 text", q);
	if (fd >= 0)
		close(fd);
	close(dirfd);
	return rc;
}

static int recipe_source(
	struct json_slice recipe, size_t i, const char *dir, struct buf *out, struct err *err)
{
	char *inline_text = member_text(recipe, "source"),
	     *file = member_text(recipe, "source_file");
	struct err why = ERR_NONE;
	int rc = 0;

	if (inline_text != NULL && inline_text[0] != '\0')
		rc = buf_puts(out, inline_text) < 0 ? err_nomem(err) : 0;
	else if (file != NULL)
		rc = source_read(dir, file, out, err);
	else
		rc = plan_invalid(err, "recipe %zu: source: text expected", i);
	if (rc == 0 && out->len == 0)
		rc = plan_invalid(err, "recipe %zu: source: empty", i);
	if (rc == 0 && source_guard(buf_str(out), out->len, &why) < 0)
		rc = plan_invalid(err, "recipe %zu: %s", i, why.text);
	free(inline_text);
	free(file);
	return rc;
}

/* put_raw(out, key, v, fallback): a member with the raw value, or the raw fallback */
static void put_raw(struct buf *out, const char *key, struct json_slice v, const char *fallback)
{
	(void)buf_addf(out, ",\"%s\":", key);
	if (v.len > 0)
		(void)buf_add(out, v.text, v.len);
	else
		(void)buf_puts(out, fallback);
}

static int add_recipe(struct plan *plan, struct json_slice recipe, const char *dir, struct err *err)
{
	char *id = member_text(recipe, "id"), *name = member_text(recipe, "name"),
	     *version = member_text(recipe, "version_id");
	struct buf source = BUF_INIT, *out = &plan->recipes;
	char hash[HASH_HEX_BYTES];
	int rc;

	if (id == NULL || id[0] == '\0' || name == NULL || name[0] == '\0')
		rc = plan_invalid(err, "recipe %zu: %s: text expected", plan->recipe_count,
			id == NULL || id[0] == '\0' ? "id" : "name");
	else
		rc = recipe_source(recipe, plan->recipe_count, dir, &source, err);
	if (rc == 0) {
		const char *sep = plan->recipe_count > 0 ? "," : "";
		sha256_hex(buf_str(&source), source.len, hash);
		(void)buf_addf(out, "%s{\"id\":", sep);
		(void)json_put_text(out, id);
		(void)buf_puts(out, ",\"name\":");
		(void)json_put_text(out, name);
		(void)buf_puts(out, ",\"source\":");
		(void)json_put_string(out, buf_str(&source), source.len);
		(void)buf_addf(out, ",\"source_hash\":\"%.16s\",\"version_id\":", hash);
		if (version != NULL && version[0] != '\0') {
			(void)json_put_text(out, version);
		} else {
			struct buf made = BUF_INIT;
			(void)buf_addf(
				&made, "ver_%s_001", strncmp(id, "rcp_", 4) == 0 ? id + 4 : id);
			(void)json_put_text(out, buf_str(&made));
			buf_release(&made);
		}
		put_raw(out, "tags", member_of(recipe, "tags"), "[]");
		put_raw(out, "schema", member_of(recipe, "schema"), "null");
		(void)buf_puts(out, ",\"class\":");
		(void)json_put_text(out, plan->kind);
		(void)buf_puts(out, ",\"source_type\":\"hand_written\",\"dsl\":null,\"teacher_"
				    "vendor\":null,\"teacher_model\":null,"
				    "\"synthesized_by\":null}");
		(void)buf_addf(&plan->registry, "%s{\"hash\":\"%.16s\",\"id\":", sep, hash);
		(void)json_put_text(&plan->registry, id);
		(void)buf_putc(&plan->registry, '}');
		plan->recipe_count++;
		rc = out->failed || plan->registry.failed ? err_nomem(err) : 0;
	}
	buf_release(&source);
	free(id);
	free(name);
	free(version);
	return rc;
}

static int read_recipes(struct plan *plan, struct json_slice spec, const char *dir, struct err *err)
{
	struct json_slice list = member_of(spec, "recipes"), v;
	size_t pos = 0;
	int rc = 0;

	if (list.len == 0 || json_kind_of(list) != JSON_ARRAY)
		return plan_invalid(err, "recipes: array expected");
	while (rc == 0 && json_next(list, &pos, NULL, &v)) {
		if (json_kind_of(v) != JSON_OBJECT)
			return plan_invalid(err, "recipe %zu: object expected", plan->recipe_count);
		rc = add_recipe(plan, v, dir, err);
	}
	if (rc == 0 && plan->recipe_count == 0)
		rc = plan_invalid(err, "recipes: at least one expected");
	return rc;
}

static int read_cases(struct plan *plan, struct json_slice evals, struct err *err)
{
	struct json_slice list = member_of(evals, "cases"), v;
	size_t pos = 0;

	if (list.len == 0)
		return 0;
	if (json_kind_of(list) != JSON_ARRAY)
		return plan_invalid(err, "evals.cases: array expected");
	while (json_next(list, &pos, NULL, &v)) {
		(void)buf_puts(&plan->cases, plan->case_count++ > 0 ? "," : "");
		(void)buf_add(&plan->cases, v.text, v.len);
	}
	return plan->cases.failed ? err_nomem(err) : 0;
}

/* the cases as they will stand in evals.json, looked at as a reader will */
static int check_cases(const struct plan *plan, struct err *err)
{
	struct buf text = BUF_INIT;
	struct artifact_case *cases = NULL;
	struct err why = ERR_NONE;
	size_t n = 0;
	int rc = 0;

	(void)buf_putc(&text, '[');
	(void)buf_add(&text, buf_str(&plan->cases), plan->cases.len);
	if (buf_putc(&text, ']') < 0)
		rc = err_nomem(err);
	else if (cases_read(slice_of(&text), &cases, &n, &why) < 0)
		rc = plan_invalid(err, "%s", why.text);
	else if (n == 0)
		rc = plan_invalid(err, "no eval cases: nothing to measure; give evals.cases, "
				       "--examples or --seeds");
	cases_free(cases, n);
	buf_release(&text);
	return rc;
}

static int read_heads(struct plan *plan, struct json_slice spec, const struct compile_options *opt,
	struct err *err)
{
	static const char *const kinds[] = {
		"rule", "synthesized_rule", "compiled_rule", "distilled_model", "workflow_capsule"};
	bool known = false;

	plan->job_id = member_text(spec, "job_id");
	plan->task = member_text(spec, "task");
	plan->base_model = text_or(spec, "base_model", "Qwen/Qwen2.5-3B-Instruct");
	plan->kind = text_or(spec, "artifact_class", "rule");
	plan->comparator = opt->comparator != NULL ? strdup(opt->comparator)
						   : text_or(spec, "comparator", "exact");
	plan->split_seed = text_or(spec, "split_seed", "kolm-default-split-seed-v1");
	if (plan->job_id == NULL || !job_id_is_good(plan->job_id))
		return plan_invalid(err, "job_id: \"job_\" and letters, digits, _ or - expected");
	if (plan->task == NULL || plan->task[0] == '\0')
		return plan_invalid(err, "task: text expected");
	if (plan->base_model == NULL || plan->base_model[0] == '\0' || plan->split_seed == NULL)
		return plan_invalid(err, "base_model and split_seed: text expected");
	if (plan->comparator == NULL || !comparator_known(plan->comparator))
		return plan_invalid(
			err, "comparator: exact, normalized_string, json_subset or label expected");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		known = known || (plan->kind != NULL && strcmp(plan->kind, kinds[i]) == 0);
	return known ? 0 : plan_invalid(err, "artifact_class: not known");
}

static int read_numbers(struct plan *plan, struct json_slice spec, struct err *err)
{
	struct json_slice ratio = member_of(spec, "holdout_ratio"),
			  coverage = member_of(member_of(spec, "evals"), "coverage");

	plan->holdout_ratio = ratio.len == 0			   ? 0.2
			      : json_kind_of(ratio) == JSON_NUMBER ? json_double(ratio)
								   : NAN;
	plan->coverage = coverage.len == 0			 ? 1
			 : json_kind_of(coverage) == JSON_NUMBER ? json_double(coverage)
								 : NAN;
	if (!(plan->holdout_ratio > 0 && plan->holdout_ratio < 1))
		return plan_invalid(err, "holdout_ratio: number between 0 and 1 expected");
	if (!(plan->coverage >= 0 && plan->coverage <= 1))
		return plan_invalid(err, "evals.coverage: number from 0 to 1 expected");
	return 0;
}

static int read_objects(struct plan *plan, struct json_slice spec, struct err *err)
{
	struct {
		const char *key;
		struct json_slice *to;
	} slots[] = {
		{"pack", &plan->pack}, {"index", &plan->index}, {"training_stats", &plan->stats}};
	struct json_slice evals = member_of(spec, "evals"), v;

	for (size_t i = 0; i < 3; i++) {
		size_t pos = 0;
		struct json_slice first;

		v = member_of(spec, slots[i].key);
		if (v.len == 0 || json_kind_of(v) == JSON_NULL)
			continue;
		if (json_kind_of(v) != JSON_OBJECT)
			return plan_invalid(err, "%s: object expected", slots[i].key);
		if (json_next(v, &pos, NULL, &first))
			*slots[i].to = v;
	}
	if (evals.len > 0 && json_kind_of(evals) != JSON_OBJECT)
		return plan_invalid(err, "evals: object expected");
	plan->evals_spec = text_or(evals, "spec", "rs-1-evals");
	return plan->evals_spec != NULL ? 0 : plan_invalid(err, "evals.spec: text expected");
}

int plan_make(const char *spec, size_t len, const struct compile_options *opt, struct plan *plan,
	struct err *err)
{
	struct json_slice root = {spec, len};
	int rc;

	*plan = (struct plan){.seeds_name = opt->seeds_name};
	if (json_check(spec, len, err) < 0)
		return err_prefix(err, "spec: ");
	while (root.len > 0 && strchr(" \t\r\n", root.text[0]) != NULL)
		root = (struct json_slice){root.text + 1, root.len - 1};
	if (json_kind_of(root) != JSON_OBJECT)
		return plan_invalid(err, "object expected");
	rc = read_heads(plan, root, opt, err);
	if (rc == 0)
		rc = read_objects(plan, root, err);
	if (rc == 0)
		rc = read_numbers(plan, root, err);
	if (rc == 0)
		rc = read_recipes(plan, root, opt->spec_dir, err);
	if (rc == 0)
		rc = opt->seeds != NULL ? seeds_split(plan, opt->seeds, opt->seeds_len, err)
					: read_cases(plan, member_of(root, "evals"), err);
	if (rc == 0 && opt->examples != NULL)
		rc = examples_add(plan, opt->examples, opt->examples_len, err);
	if (rc == 0)
		rc = check_cases(plan, err);
	return rc;
}

void plan_release(struct plan *plan)
{
	free(plan->job_id);
	free(plan->task);
	free(plan->base_model);
	free(plan->kind);
	free(plan->comparator);
	free(plan->split_seed);
	free(plan->evals_spec);
	buf_release(&plan->recipes);
	buf_release(&plan->registry);
	buf_release(&plan->cases);
}
