/*
 * cmd_run - one input through an artifact's recipes (FORMATS 19.2).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/num.h"
#include "base/replace.h"
#include "tools/cli.h"

enum { INPUT_BYTES_MAX = 4 << 20, PREVIEW_UNITS = 200 };

struct running {
	struct cli *c;
	char path[STORE_PATH_BYTES], slug[SLUG_BYTES + 1];
	struct artifact_keys keys;
	struct artifact *af;
	struct buf text, params, reasons; /* reasons: JSON strings with commas */
	bool is_ready;
	struct buf first_reason;
};

static void on_check(void *arg, const char *check, const char *verdict, const char *detail)
{
	struct running *r = arg;
	struct buf line = BUF_INIT;

	if (strcmp(check, "production ready") == 0)
		r->is_ready = strcmp(verdict, "pass") == 0;
	else if (strcmp(verdict, "warn") == 0 &&
		 (strcmp(check, "seed gate") == 0 || strcmp(check, "K-score gate") == 0 ||
			 strcmp(check, "eval coverage") == 0)) {
		(void)buf_addf(&line, "%s: %s", check, detail);
		if (r->first_reason.len == 0)
			(void)buf_puts(&r->first_reason, buf_str(&line));
		if (r->reasons.len > 0)
			(void)buf_putc(&r->reasons, ',');
		(void)json_put_text(&r->reasons, buf_str(&line));
	}
	buf_release(&line);
}

static int read_input(struct running *r, struct err *err)
{
	const char *from = flag_value(r->c, "--input");
	/* the artifact is the first word unless --artifact named it */
	size_t at = flag_value(r->c, "--artifact") == NULL ? 1 : 0;

	if (from != NULL)
		return path_read(from[0] == '@' ? from + 1 : from, INPUT_BYTES_MAX, &r->text, err);
	if (r->c->words > at)
		return buf_puts(&r->text, r->c->word[at]) < 0 ? err_nomem(err) : 0;
	return isatty(STDIN_FILENO) ? 0 : path_read("-", INPUT_BYTES_MAX, &r->text, err);
}

/* EXIT_GATE, as the reference ends, when --params is not JSON */
static int read_params(struct running *r, struct err *err)
{
	const char *given = flag_value(r->c, "--params");
	int rc;

	if (given == NULL)
		return 0;
	if (given[0] == '@')
		rc = path_read(given + 1, INPUT_BYTES_MAX, &r->params, err);
	else
		rc = buf_puts(&r->params, given) < 0 ? err_nomem(err) : 0;
	if (rc < 0)
		return rc;
	if (json_check(buf_str(&r->params), r->params.len, err) == 0)
		return 0;
	fprintf(stderr, "error: [kolm run] --params: ");
	say_text(stderr, err->text);
	fputc('\n', stderr);
	return EXIT_GATE;
}

static int open_artifact(struct running *r, struct err *err)
{
	int rc = path_artifact(r->c, r->path, err);

	if (rc == 0)
		rc = artifact_keys_load(
			kolm_store(r->c->k)->dir, r->c->store, false, &r->keys, err);
	if (rc == 0)
		rc = artifact_open(AT_FDCWD, r->path, &r->keys, &r->af, err);
	if (rc < 0)
		return rc;
	rc = path_same_slug(r->c, r->path, artifact_sha256(r->af), r->slug, err);
	return rc < 0 ? rc : artifact_verify(AT_FDCWD, r->path, &r->keys, false, on_check, r, err);
}

/* what an artifact that is not production ready gets: a line, or with --strict the end */
static int warn(const struct running *r)
{
	if (r->is_ready || (flag_on(r->c, "--force") && !flag_on(r->c, "--strict")))
		return 0;
	fprintf(stderr, "warning: ");
	say_text(stderr, path_name(r->path));
	fprintf(stderr, " is not production ready%s", r->first_reason.len > 0 ? ": " : "");
	say_text(stderr, buf_str(&r->first_reason));
	fputc('\n', stderr);
	return flag_on(r->c, "--strict") ? EXIT_GATE : 0;
}

/* first ${units} UTF-16 units of a text, then an ellipsis when something was cut */
static void put_preview(struct buf *out, const char *text, size_t len, size_t units)
{
	struct buf cut = BUF_INIT;
	size_t n = 0;

	while (n < len && units > 0) {
		unsigned char c = (unsigned char)text[n];
		size_t bytes = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if (bytes == 4 && units < 2)
			break;
		units -= bytes == 4 ? 2 : 1;
		n += bytes;
	}
	(void)buf_add(&cut, text, n < len ? n : len);
	if (n < len)
		(void)buf_puts(&cut, "…");
	(void)json_put_string(out, buf_str(&cut), cut.len);
	buf_release(&cut);
}

static void put_audit(
	struct buf *out, const struct running *r, const struct run_result *res, const char *ran_at)
{
	struct json_slice input = {res->input.data, res->input.len};
	struct buf text = BUF_INIT;
	char sha[HASH_HEX_BYTES];

	if (json_kind_of(input) == JSON_STRING)
		(void)json_string(input, &text);
	else
		(void)json_compact(input, &text);
	sha256_hex(buf_str(&text), text.len, sha);
	(void)buf_puts(out, "{\"spec\":\"kolm-audit-1\",\"artifact_job_id\":");
	(void)json_put_text(out, artifact_job_id(r->af));
	(void)buf_puts(out, ",\"recipe_id\":");
	(void)json_put_text(out, res->recipe_id);
	(void)buf_puts(out, ",\"recipe_name\":");
	(void)json_put_text(out, res->recipe_name);
	(void)buf_addf(out,
		",\"input_sha256_prefix\":\"%.16s\",\"input_bytes\":%zu,\"input_preview\":", sha,
		json_kind_of(input) == JSON_NULL ? (size_t)0 : text.len);
	put_preview(out, buf_str(&text), text.len, PREVIEW_UNITS);
	(void)buf_addf(out,
		",\"latency_us\":%lld,\"ran_at\":\"%s\",\"ok\":true,\"runtime\":\"js\"}",
		(long long)res->latency_us, ran_at);
	buf_release(&text);
}

static int say_result_json(const struct running *r, const struct run_result *res, struct err *err)
{
	const char *version = NULL;
	struct json_slice k = artifact_k_score(r->af);
	char ran_at[TIME_TEXT_BYTES];
	struct buf out = BUF_INIT;
	int rc;

	(void)time_text(time_now(), ran_at);
	for (size_t i = 0; i < artifact_recipes(r->af); i++)
		if (strcmp(artifact_recipe(r->af, i)->id, res->recipe_id) == 0)
			version = artifact_recipe(r->af, i)->version_id;
	(void)buf_putc(&out, '{');
	if (res->output.len > 0)
		(void)buf_addf(&out, "\"output\":%s,", res->output.data);
	(void)buf_puts(&out, "\"recipe\":");
	(void)json_put_text(&out, res->recipe_name);
	(void)buf_addf(&out,
		",\"latency_us\":%lld,\"k_score\":%.*s,\"receipt\":{\"spec\":\"rs-1-run\","
		"\"artifact_job_id\":",
		(long long)res->latency_us, k.len > 0 ? (int)k.len : 4,
		k.len > 0 ? k.text : "null");
	(void)json_put_text(&out, artifact_job_id(r->af));
	(void)buf_puts(&out, ",\"recipe_id\":");
	(void)json_put_text(&out, res->recipe_id);
	(void)buf_puts(&out, ",\"version_id\":");
	(void)json_put_text(&out, version);
	(void)buf_addf(&out, ",\"runtime\":\"js\",\"ran_at\":\"%s\"},\"audit\":", ran_at);
	put_audit(&out, r, res, ran_at);
	(void)buf_addf(&out, ",\"production_ready\":%s,\"gate_reasons\":[%s]",
		r->is_ready ? "true" : "false", buf_str(&r->reasons));
	if (res->rev[0] != '\0')
		(void)buf_addf(&out, ",\"rev\":\"%s\"", res->rev);
	(void)buf_putc(&out, '}');
	rc = out.failed ? err_nomem(err) : say_json((struct json_slice){out.data, out.len}, err);
	buf_release(&out);
	return rc;
}

static int keep_receipt(const struct running *r, const struct run_result *res, struct err *err)
{
	struct proof p = {.af = r->af,
		.artifact_file = path_name(r->path),
		.recipe_id = res->recipe_id,
		.revision = res->rev};
	char path[STORE_PATH_BYTES];
	struct buf text = BUF_INIT;
	int rc;

	if (!flag_on(r->c, "--receipt"))
		return 0;
	if (proof_digest((struct json_slice){res->input.data, res->input.len}, p.input_sha256) <
			0 ||
		proof_digest((struct json_slice){res->output.data, res->output.len},
			p.output_sha256) < 0)
		return err_nomem(err);
	rc = kolm_prove(r->c->k, r->slug[0] != '\0' ? r->slug : NULL, &p, &text, err);
	if (rc == 0)
		rc = receipt_save(r->c, "run", flag_value(r->c, "--receipt"), &text, path, err);
	if (rc == 0) {
		fprintf(stderr, "receipt: ");
		say_text(stderr, path);
		fputc('\n', stderr);
	}
	buf_release(&text);
	return rc;
}

static int say_result(const struct running *r, const struct run_result *res, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc = 0;

	if (flag_on(r->c, "--json"))
		return say_result_json(r, res, err);
	if (run_print((struct json_slice){res->output.data, res->output.len}, &out) < 0)
		rc = err_nomem(err);
	else
		(void)fwrite(out.data, 1, out.len, stdout);
	buf_release(&out);
	fflush(stdout);
	fprintf(stderr, "recipe: ");
	say_text(stderr, res->recipe_name);
	fprintf(stderr, "  ·  %lldus\n", (long long)res->latency_us);
	return rc;
}

/* FORMATS 19.2: a failed run tells programs what happened, too */
static void say_failure(const struct err *err, const struct buf *tried)
{
	struct buf out = BUF_INIT, pretty = BUF_INIT;

	(void)buf_puts(&out, "{\"error\":");
	(void)json_put_text(&out, err->text);
	(void)buf_puts(&out, ",\"code\":");
	(void)json_put_text(&out, err->code[0] != '\0' ? err->code : err_name(err->no));
	(void)buf_addf(&out, ",\"tried\":%s}", tried->len > 0 ? tried->data : "null");
	if (!out.failed && json_pretty((struct json_slice){out.data, out.len}, &pretty) == 0) {
		for (const char *p = buf_str(&pretty); *p != '\0';) {
			size_t n = strcspn(p, "\n");

			say_safe(stderr, p, n);
			fputc('\n', stderr);
			p += n + (p[n] == '\n');
		}
	}
	buf_release(&out);
	buf_release(&pretty);
}

int cmd_run(struct cli *c, struct err *err)
{
	struct running r = {.c = c};
	struct run_request rq = {0};
	struct run_result res;
	struct buf tried = BUF_INIT;
	int64_t timeout = 0;
	int rc;

	rc = flag_timeout(c, &timeout, err);
	if (rc == 0)
		rc = read_params(&r, err);
	if (rc == 0)
		rc = open_artifact(&r, err);
	if (rc == 0)
		rc = read_input(&r, err);
	if (rc == 0)
		rc = warn(&r);
	if (rc == 0) {
		rq = (struct run_request){.slug = r.slug[0] != '\0' ? r.slug : NULL,
			.artifact = r.path,
			.artifact_sha256 = artifact_sha256(r.af),
			.text = buf_str(&r.text),
			.len = r.text.len,
			.params = {r.params.data, r.params.len},
			.timeout_s = timeout,
			.tried = &tried};
		rc = kolm_run(c->k, &rq, &res, err);
		if (rc < 0) {
			say_failure(err, &tried);
		} else {
			rc = say_result(&r, &res, err);
			if (rc == 0)
				rc = keep_receipt(&r, &res, err);
			run_result_release(&res);
		}
	}
	artifact_free(r.af);
	buf_release(&r.text);
	buf_release(&r.params);
	buf_release(&r.reasons);
	buf_release(&r.first_reason);
	buf_release(&tried);
	return rc;
}
