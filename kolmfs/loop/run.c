/*
 * run - one input through the artifact's recipes, with HEAD's adapter behind lib.lm; then the run
 * log and, with capture on, one row.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/replace.h"
#include "loop/private.h"

enum { RUN_TEXT_BYTES = 2 * 1024 * 1024 };

/* FORMATS 19.2: what the writer meant */
int run_input(const char *text, size_t len, struct buf *out, struct err *err)
{
	size_t from = 0;

	if (len > RUN_TEXT_BYTES)
		return err_set(err, EMSGSIZE, "input larger than 1 MiB");
	if (len > 0 && text[len - 1] == '\n')
		len--;
	while (from < len && text[from] != '\0' && strchr(" \t\r\n", text[from]) != NULL)
		from++;
	if (from == len)
		return buf_puts(out, "null") < 0 ? err_nomem(err) : 0;
	if (text[from] != '\0' && strchr("{[\"", text[from]) != NULL &&
		json_check(text, len, NULL) == 0)
		return json_compact((struct json_slice){text, len}, out) < 0 ? err_nomem(err) : 0;
	return json_put_string(out, text, len) < 0 ? err_nomem(err) : 0;
}

static void copy_member(struct json_slice line, const char *key, char *out, size_t cap)
{
	struct buf text = BUF_INIT;
	struct json_slice v;

	out[0] = '\0';
	if (json_member(line, key, &v) && json_kind_of(v) == JSON_STRING &&
		json_string(v, &text) == 0)
		(void)snprintf(out, cap, "%s", buf_str(&text));
	buf_release(&text);
}

static int64_t number_member(struct json_slice line, const char *key)
{
	struct json_slice v;

	return json_member(line, key, &v) && json_kind_of(v) == JSON_NUMBER
		       ? (int64_t)json_double(v)
		       : 0;
}

static int read_answer(struct json_slice line, struct run_result *out, struct err *err)
{
	struct json_slice v;

	copy_member(line, "recipe_id", out->recipe_id, sizeof(out->recipe_id));
	copy_member(line, "recipe_name", out->recipe_name, sizeof(out->recipe_name));
	copy_member(line, "rev", out->rev, sizeof(out->rev));
	copy_member(line, "artifact_sha256", out->artifact_sha256, sizeof(out->artifact_sha256));
	out->latency_us = number_member(line, "latency_us");
	out->lm_us = number_member(line, "lm_us");
	if (json_member(line, "output", &v) && buf_add(&out->output, v.text, v.len) < 0)
		return err_nomem(err);
	return 0;
}

static void log_run(struct kolm *k, const char *artifact, struct json_slice answer, int rc,
	const struct err *failed)
{
	struct buf line = BUF_INIT;
	char ts[TIME_TEXT_BYTES];
	static const char *const keys[] = {"recipe_id", "recipe_name", "latency_us", "k_composite"};
	struct json_slice v;

	(void)buf_addf(&line,
		"{\"ts\":\"%s\",\"command\":\"run\",\"artifact\":", time_text(time_now(), ts));
	(void)json_put_text(&line, artifact);
	for (size_t i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
		(void)buf_addf(&line, ",\"%s\":", keys[i]);
		if (json_member(answer, keys[i], &v))
			(void)buf_add(&line, v.text, v.len);
		else
			(void)buf_puts(&line, "null");
	}
	(void)buf_addf(&line, ",\"ok\":%s", rc == 0 ? "true" : "false");
	if (rc < 0) {
		(void)buf_puts(&line, ",\"error\":");
		(void)json_put_text(&line, failed->text);
		(void)buf_puts(&line, ",\"error_code\":");
		(void)json_put_text(
			&line, failed->code[0] != '\0' ? failed->code : err_name(failed->no));
	}
	(void)buf_putc(&line, '}');
	if (!line.failed)
		(void)runs_append(&k->st, line.data, line.len, NULL);
	buf_release(&line);
}

static const struct capture_drops one_oversize = {.oversize = 1},
				  one_unfinished = {.unfinished = 1};

static int capture_run(
	struct kolm *k, const char *slug, const struct run_result *r, struct err *err)
{
	struct capture cp = {.input = {r->input.data, r->input.len},
		.output = {r->output.data, r->output.len},
		.recipe = r->recipe_name[0] != '\0' ? r->recipe_name : NULL,
		.latency_us = r->latency_us,
		.rev = r->rev[0] != '\0' ? r->rev : NULL};
	struct buf line = BUF_INIT;
	struct config cf;
	struct tune tn;
	char id[33];
	int rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = config_load(&tn, &cf, err);
	if (rc < 0)
		goto out;
	if (cf.captures_on) {
		rc = capture_render(&cp, &line, id);
		if (rc == 0)
			rc = captures_append_run(&tn, &line, err);
		if (rc == 0)
			note_unsynced(k, slug);
		if (rc == -EMSGSIZE) { /* F03: the run itself succeeded, also when the count cannot
					  be kept */
			(void)captures_drop(&tn, one_oversize, NULL);
			rc = 0;
		}
	}
	config_release(&cf);
	buf_release(&line);
out:
	tune_close(&tn);
	return rc;
}

/* one call; a warm runner that went away meanwhile (idle end, replaced program) is started once
 * more */
static int call_warm(struct kolm *k, const char *slug, const char *artifact,
	const struct buf *request, struct buf *answer, struct err *err)
{
	bool is_gone = true;
	int rc = -EIO;

	for (int try = 0; try < 2 && is_gone; try++) {
		struct runner *rn = runner_take(k, slug, artifact, err);

		if (rn == NULL)
			return -err->no;
		*err = ERR_NONE;
		buf_reset(answer);
		rc = runner_call(rn, request->data, request->len, NULL, NULL, answer, err);
		if (rc == -EPIPE)
			rc = -EIO;
		/* one that answers EIO is there, and says of its cell that it died (D16); of one
		 * that was not heard to the end the rest would be taken for the next answer */
		bool is_heard = rc == 0 || answer->len > 0;
		is_gone = rc == -EIO && !is_heard;
		runner_give(k, rn, !is_heard);
	}
	return rc;
}

/* where the artifact is, and what it is known by, "" by nothing */
static int artifact_of(struct kolm *k, const struct run_request *rq, char out[STORE_PATH_BYTES],
	char sha256[HASH_HEX_BYTES], struct err *err)
{
	struct artifact *af;
	struct config cf;
	int rc;

	if (rq->artifact != NULL && strlen(rq->artifact) < STORE_PATH_BYTES) {
		(void)snprintf(out, STORE_PATH_BYTES, "%s", rq->artifact);
		(void)snprintf(sha256, HASH_HEX_BYTES, "%s",
			rq->artifact_sha256 != NULL ? rq->artifact_sha256 : "");
		return 0;
	}
	/* B10, B11: it must be the artifact of init */
	rc = kolm_artifact_open(k, rq->slug, &af, err);
	if (rc < 0)
		return rc;
	(void)snprintf(sha256, HASH_HEX_BYTES, "%s", artifact_sha256(af));
	artifact_free(af);
	rc = config_of(&k->st, rq->slug, &cf, err);
	if (rc < 0)
		return rc;
	(void)snprintf(out, STORE_PATH_BYTES, "%s", cf.artifact_path);
	config_release(&cf);
	return 0;
}

int kolm_run(struct kolm *k, const struct run_request *rq, struct run_result *out, struct err *err)
{
	struct buf request = BUF_INIT, answer = BUF_INIT;
	char artifact[STORE_PATH_BYTES], sha256[HASH_HEX_BYTES];
	struct json_slice line = {"", 0}, tried;
	struct err local = ERR_NONE;
	int rc;

	if (err == NULL)
		err = &local;
	*out = (struct run_result){0};
	rc = artifact_of(k, rq, artifact, sha256, err);
	if (rc == 0)
		rc = run_input(rq->text, rq->len, &out->input, err);
	if (rc < 0)
		goto out;
	(void)buf_puts(&request, "{\"id\":1,\"op\":\"run\",\"input\":");
	(void)buf_add(&request, out->input.data, out->input.len);
	if (rq->params.len > 0) {
		(void)buf_puts(&request, ",\"params\":");
		(void)json_compact(rq->params, &request);
	}
	if (rq->timeout_s > 0)
		(void)buf_addf(&request, ",\"timeout\":%lld", (long long)rq->timeout_s);
	(void)buf_putc(&request, '}');
	if (request.failed) {
		rc = err_nomem(err);
		goto out;
	}
	rc = call_warm(k, rq->slug, artifact, &request, &answer, err);
	if (rc == 0) {
		line = (struct json_slice){answer.data, answer.len};
		rc = answer_is_of(line, sha256[0] != '\0' ? sha256 : NULL, err);
		if (rc == 0)
			rc = read_answer(line, out, err);
	}
	if (rc < 0 && rq->tried != NULL &&
		json_member((struct json_slice){buf_str(&answer), answer.len}, "tried", &tried))
		(void)buf_add(rq->tried, tried.text, tried.len);
	log_run(k, artifact, line, rc, err);
	if (rc == 0 && rq->slug != NULL)
		rc = capture_run(k, rq->slug, out, err);
	if (rq->slug != NULL)
		change(k, rq->slug, CHANGE_STATUS);
out:
	buf_release(&request);
	buf_release(&answer);
	if (rc < 0)
		run_result_release(out);
	return rc;
}

int kolm_measure(struct kolm *k, const char *slug, const char *artifact, struct json_slice input,
	struct json_slice params, int64_t timeout_s, struct run_result *out, struct err *err)
{
	struct buf request = BUF_INIT, answer = BUF_INIT;
	struct err local = ERR_NONE;
	int rc;

	if (err == NULL)
		err = &local;
	*out = (struct run_result){0};
	(void)buf_puts(&request, "{\"id\":1,\"op\":\"run\",\"eval\":true,\"input\":");
	(void)json_compact(input, &request);
	if (params.len > 0) {
		(void)buf_puts(&request, ",\"params\":");
		(void)json_compact(params, &request);
	}
	if (timeout_s > 0)
		(void)buf_addf(&request, ",\"timeout\":%lld", (long long)timeout_s);
	(void)buf_putc(&request, '}');
	rc = request.failed ? err_nomem(err) : call_warm(k, slug, artifact, &request, &answer, err);
	if (rc == 0)
		rc = read_answer((struct json_slice){answer.data, answer.len}, out, err);
	buf_release(&request);
	buf_release(&answer);
	if (rc < 0)
		run_result_release(out);
	return rc;
}

int kolm_measure_end(struct kolm *k, const char *slug, const char *artifact, struct err *err)
{
	struct buf request = BUF_INIT, answer = BUF_INIT;
	struct err local = ERR_NONE;
	int rc;

	if (err == NULL)
		err = &local;
	(void)buf_puts(&request, "{\"id\":1,\"op\":\"end\"}");
	rc = request.failed ? err_nomem(err) : call_warm(k, slug, artifact, &request, &answer, err);
	buf_release(&request);
	buf_release(&answer);
	return rc;
}

void run_result_release(struct run_result *r)
{
	buf_release(&r->output);
	buf_release(&r->input);
}

int run_print(struct json_slice output, struct buf *out)
{
	if (output.len == 0)
		(void)buf_puts(out, "undefined");
	else if (json_kind_of(output) == JSON_STRING)
		(void)json_string(output, out);
	else
		(void)json_pretty(output, out);
	return buf_putc(out, '\n');
}

int loop_capture_append(
	struct kolm *k, const char *slug, const char *line, size_t len, struct err *err)
{
	struct tune tn;
	int rc = tune_open(&k->st, slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = captures_append(&tn, line, len, err);
	if (rc == -EMSGSIZE)
		(void)captures_drop(&tn, one_oversize, NULL);
	tune_close(&tn);
	if (rc == 0)
		note_unsynced(k, slug);
	if (rc == 0 || rc == -EMSGSIZE)
		change(k, slug, CHANGE_STATUS);
	return rc;
}

void loop_capture_dropped(struct kolm *k, const char *slug)
{
	struct tune tn;

	if (tune_open(&k->st, slug, &tn, NULL) < 0)
		return;
	(void)captures_drop(&tn, one_unfinished, NULL);
	tune_close(&tn);
	change(k, slug, CHANGE_STATUS);
}
