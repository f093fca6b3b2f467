/*
 * program - the artifact's recipes in the cell: loaded for the revision in use and the index
 * attached now, called, asked for answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/replace.h"
#include "runner/runner.h"

void outcome_release(struct outcome *oc)
{
	buf_release(&oc->output);
	buf_release(&oc->egress);
	buf_release(&oc->tried);
}

int program_open(struct runner *rn, struct err *err)
{
	struct artifact_keys keys;
	int rc;

	if (rn->artifact_path == NULL)
		return err_set(err, EINVAL, "this runner was started without an artifact");
	if (rn->af != NULL)
		return 0;
	rc = artifact_keys_load(rn->st.dir, rn->st.path, false, &keys, err);
	if (rc == 0)
		rc = artifact_open(AT_FDCWD, rn->artifact_path, &keys, &rn->af, err);
	if (rc == 0 && strcmp(artifact_runtime_target(rn->af), "js") != 0) {
		(void)err_set(err, EOPNOTSUPP, "runtime \"%s\" cannot be run here, only js",
			artifact_runtime_target(rn->af));
		rc = err_code(err, "KOLM_E_UNSUPPORTED_RUNTIME");
		artifact_free(rn->af);
		rn->af = NULL;
	}
	return rc;
}

/* name of the attached index from the sidecar beside the artifact */
static int read_sidecar(struct runner *rn, const char *path, struct err *err)
{
	struct buf text = BUF_INIT;
	cJSON *side = NULL;
	const char *name;
	int rc;

	rc = read_file(AT_FDCWD, path, 65536, &text, err);
	if (rc == 0)
		rc = json_parse(text.data, text.len, &side, err);
	buf_release(&text);
	if (rc < 0)
		return rc == -ELOOP
			       ? rc
			       : err_set(err, EBADMSG,
					 "sidecar '%s' is damaged; detach or attach again", path);
	name = json_get_string(side, "index_name");
	if (name == NULL || rag_name_check(name, strlen(name), err) < 0 ||
		strcmp(json_get_string(side, "spec") != NULL ? json_get_string(side, "spec") : "",
			"rag-attach-1") != 0)
		rc = err_set(err, EBADMSG,
			"sidecar '%s' is of another version; detach or attach again", path);
	else
		(void)snprintf(rn->rag_name, sizeof(rn->rag_name), "%s", name);
	cJSON_Delete(side);
	return rc;
}

static void drop_index(struct runner *rn)
{
	if (rn->rag != NULL)
		rag_close(rn->rag);
	rn->rag = NULL;
}

/* look again at sidecar and index; the cell must load anew when the first changed */
static int follow_index(struct runner *rn, struct err *err)
{
	char path[STORE_PATH_BYTES + 16], id[FILE_ID_BYTES] = "";
	struct stat st;
	int rc;

	(void)snprintf(path, sizeof(path), "%s.rag.json", rn->artifact_path);
	if (lstat(path, &st) == 0)
		file_id(&st, id);
	if (strcmp(id, rn->sidecar) != 0) {
		drop_index(rn);
		rn->rag_name[0] = '\0';
		rn->loaded = false;
		rn->sidecar[0] = '\0';
		if (id[0] != '\0') {
			rc = read_sidecar(rn, path, err);
			if (rc < 0)
				return rc;
		}
		memcpy(rn->sidecar, id, sizeof(id));
	}
	if (rn->rag_name[0] == '\0')
		return 0;
	if (rn->rag != NULL && !rag_is_current(rn->st.rag, rn->rag))
		drop_index(rn);
	/* a missing index is an exception of lib.rag.query, not a failure of every run */
	if (rn->rag == NULL && rag_open(rn->st.rag, rn->rag_name, &rn->rag, NULL) == -EUCLEAN)
		(void)rag_open_spare(rn->st.rag, rn->rag_name, &rn->rag, NULL);
	return 0;
}

static void put_load(struct runner *rn, bool eval, struct buf *out)
{
	struct json_slice pack = artifact_pack(rn->af), index = artifact_index(rn->af);

	(void)buf_puts(out, "{\"op\":\"load\",\"recipes\":[");
	for (size_t i = 0; i < artifact_recipes(rn->af); i++) {
		const struct artifact_recipe *r = artifact_recipe(rn->af, i);

		(void)buf_puts(out, i > 0 ? ",{\"id\":" : "{\"id\":");
		(void)json_put_text(out, r->id);
		(void)buf_puts(out, ",\"name\":");
		(void)json_put_text(out, r->name);
		(void)buf_puts(out, ",\"source\":");
		(void)json_put_text(out, r->source);
		(void)buf_putc(out, '}');
	}
	(void)buf_puts(out, "],\"pack\":");
	(void)buf_add(out, pack.len > 0 ? pack.text : "null", pack.len > 0 ? pack.len : 4);
	(void)buf_puts(out, ",\"index\":");
	(void)buf_add(out, index.len > 0 ? index.text : "null", index.len > 0 ? index.len : 4);
	(void)buf_addf(out, ",\"rag\":%s,\"lm\":", rn->rag_name[0] != '\0' ? "true" : "false");
	if (rn->slug != NULL) {
		(void)buf_puts(out, "{\"revision\":");
		(void)json_put_text(out, rn->rev[0] != '\0' ? rn->rev : NULL);
		(void)buf_puts(out, ",\"base\":");
		(void)json_put_text(out, rn->base_path);
		(void)buf_putc(out, '}');
	} else {
		(void)buf_puts(out, "null");
	}
	(void)buf_addf(out, ",\"eval\":%s}", eval ? "true" : "false");
}

int program_ready(struct runner *rn, bool eval, struct err *err)
{
	struct buf frame = BUF_INIT, reply = BUF_INIT;
	int rc;

	rc = follow_index(rn, err);
	if (rc < 0)
		return rc;
	if (rn->loaded && rn->loaded_eval == eval && strcmp(rn->loaded_rev, rn->rev) == 0)
		return 0;
	put_load(rn, eval, &frame);
	rc = frame.failed ? err_nomem(err) : cell_call(rn, &frame, NULL, &reply, err);
	/* loading runs nothing: an attempt seen now was made before, and is noted; a new cell
	 * stands */
	if (rc == -EPERM && rn->egress.len > 0)
		rc = cell_call(rn, &frame, NULL, &reply, err);
	if (rc == 0) {
		rn->loaded = true;
		rn->loaded_eval = eval;
		memcpy(rn->loaded_rev, rn->rev, sizeof(rn->rev));
	}
	buf_release(&frame);
	buf_release(&reply);
	return rc;
}

static void text_of(struct json_slice object, const char *key, struct buf *out)
{
	struct json_slice v;

	if (json_member(object, key, &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, out);
}

/* the failed frame as an error; true when the cell is to be thrown away */
static bool read_failed(struct json_slice frame, struct err *err)
{
	struct buf no = BUF_INIT, code = BUF_INIT, text = BUF_INIT;

	text_of(frame, "errno", &no);
	text_of(frame, "code", &code);
	text_of(frame, "error", &text);
	(void)err_set(err, no.len > 0 ? err_number(no.data) : EBADMSG, "%s",
		text.len > 0 ? text.data : "recipe failed");
	if (code.len > 0)
		(void)err_code(err, code.data);
	buf_release(&no);
	buf_release(&code);
	buf_release(&text);
	return err->no == ETIMEDOUT || err->no == ENOMEM || err->no == EOVERFLOW;
}

static int take_result(struct json_slice frame, struct outcome *out, struct err *err)
{
	struct json_slice v;

	out->recipe = (int)member_whole(frame, "recipe", 0);
	if (out->recipe < 0)
		return err_set(err, EIO, "recipe cell answered no frame");
	if (json_member(frame, "output_json", &v) && json_kind_of(v) == JSON_STRING) {
		if (json_string(v, &out->output) < 0)
			return err_nomem(err);
		if (json_check(out->output.data, out->output.len, NULL) < 0)
			return err_set(err, EBADMSG, "output is not JSON: nested too deep");
	}
	out->ran = true;
	return 0;
}

int program_call(struct runner *rn, struct json_slice input, struct json_slice params,
	const struct host *host, struct outcome *out, struct err *err)
{
	struct buf frame = BUF_INIT, reply = BUF_INIT;
	struct json_slice answer, v;
	int64_t from;
	int rc;

	*out = (struct outcome){0};
	(void)buf_puts(&frame, "{\"op\":\"call\",\"input\":");
	(void)buf_add(&frame, input.text, input.len);
	(void)buf_puts(&frame, ",\"params\":");
	(void)buf_add(
		&frame, params.len > 0 ? params.text : "null", params.len > 0 ? params.len : 4);
	(void)buf_putc(&frame, '}');
	rn->lm_us = rn->lm_asked_us = 0;
	rn->lm_called = false;
	rn->lm_err = ERR_NONE;
	from = clock_us();
	rc = frame.failed ? err_nomem(err) : cell_call(rn, &frame, host, &reply, err);
	out->latency_us = clock_us() - from;
	out->lm_us = rn->lm_us;
	out->lm_called = rn->lm_called;
	if (rc == 0) {
		answer = (struct json_slice){reply.data, reply.len};
		if (json_member(answer, "op", &v) && v.len == 8 &&
			memcmp(v.text, "\"result\"", 8) == 0) {
			rc = take_result(answer, out, err);
		} else {
			bool limit = read_failed(answer, err);

			if (json_member(answer, "tried", &v))
				(void)buf_add(&out->tried, v.text, v.len);

			rc = -err->no;
			/* what the recipe saw as an exception was the model's failure */
			if (rc == -EBADMSG && rn->lm_err.no != 0) {
				*err = rn->lm_err;
				rc = -err->no;
			}
			if (limit) { /* a cell that hit a limit is thrown away; it ended itself */
				struct err ignored = ERR_NONE;

				(void)cell_renew(rn, &ignored);
			}
		}
	}
	if (rn->egress.len > 0) {
		(void)buf_addf(&out->egress, "[%s]", rn->egress.data);
		buf_reset(&rn->egress);
		if (rc == 0) { /* of the cell before: the answer is good, the recipe is not */
			(void)err_set(err, EPERM, "egress attempt after an earlier answer: %s",
				out->egress.data);
			rc = err_code(err, "KOLM_E_EGRESS");
		}
	}
	buf_release(&frame);
	buf_release(&reply);
	return rc;
}

int program_answer(struct runner *rn, struct json_slice input, struct json_slice output,
	struct json_slice prompt, int call, struct buf *out, struct err *err)
{
	struct buf frame = BUF_INIT, reply = BUF_INIT;
	struct err ignored = ERR_NONE;
	struct json_slice text, v;
	int rc;

	(void)buf_puts(&frame, "{\"op\":\"answer\",\"input\":");
	(void)buf_add(&frame, input.text, input.len);
	(void)buf_puts(&frame, ",\"output\":");
	(void)buf_add(&frame, output.text, output.len);
	(void)buf_puts(&frame, ",\"prompt\":");
	(void)buf_add(&frame, prompt.text, prompt.len);
	(void)buf_addf(&frame, ",\"call\":%d}", call);
	rc = frame.failed ? err_nomem(err) : cell_call(rn, &frame, NULL, &reply, err);
	text = (struct json_slice){buf_str(&reply), reply.len};
	if (rc == 0 && json_member(text, "answer", &v) && json_kind_of(v) == JSON_STRING) {
		rc = json_string(v, out) < 0 ? err_nomem(err) : 1;
	} else if (rc == 0 && json_member(text, "errno", &v) && read_failed(text, &ignored)) {
		(void)cell_renew(rn, &ignored); /* as in program_call() */
	}
	buf_release(&frame);
	buf_release(&reply);
	return rc;
}
