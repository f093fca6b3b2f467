/*
 * intent - what a promotion or a rollback is about to do, on disk before it does it.
 *
 * The file is the journal's open intent: it appears whole before HEAD moves and goes when the audit
 * line is durable. Who finds it without somebody holding the slug's lock knows that a process died
 * in between, and has everything needed to finish or undo.
 */
#include "store/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"

#define INTENT_NAME ".intent"

int intent_write(const struct tune *tn, const struct intent *in, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_addf(&text,
		"{\"from\":\"%s\",\"to\":\"%s\",\"prev\":\"%s\",\"seq\":%" PRIu64
		",\"job\":%" PRIu64 ",\"event\":",
		in->from, in->to, in->prev, in->log_seq, in->job);
	(void)json_put_text(&text, in->event);
	(void)buf_puts(&text, ",\"fields\":");
	(void)json_put_text(&text, in->fields);
	(void)buf_puts(&text, ",\"by\":");
	if (in->has_by) {
		(void)buf_addf(&text, "{\"uid\":%u,\"pid\":%d,\"comm\":", (unsigned)in->by.uid,
			(int)in->by.pid);
		(void)json_put_string(
			&text, in->by.comm, strnlen(in->by.comm, sizeof(in->by.comm)));
		(void)buf_puts(&text, "}}");
	} else {
		(void)buf_puts(&text, "null}");
	}
	rc = crc_seal(&text, 0) < 0
		     ? err_nomem(err)
		     : replace_file(tn->dir, INTENT_NAME, text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

static bool rev_get(const cJSON *json, const char *key, bool needed, char out[REV_BYTES])
{
	const char *text = json_get_string(json, key);

	if (text == NULL || (needed && text[0] == '\0') ||
		(text[0] != '\0' && rev_check(text, strlen(text), NULL) < 0))
		return false;
	(void)snprintf(out, REV_BYTES, "%s", text);
	return true;
}

/* -EBADMSG, -ENOMEM */
static int intent_parse(const cJSON *json, struct intent *in)
{
	const cJSON *by = cJSON_GetObjectItemCaseSensitive(json, "by");
	const char *event = json_get_string(json, "event"),
		   *fields = json_get_string(json, "fields");

	if (event == NULL || !rev_get(json, "from", true, in->from) ||
		!rev_get(json, "to", true, in->to) || !rev_get(json, "prev", false, in->prev))
		return -EBADMSG;
	(void)snprintf(in->event, sizeof(in->event), "%s", event);
	in->log_seq = (uint64_t)json_get_number(json, "seq", 9e15);
	in->job = (uint64_t)json_get_number(json, "job", 0);
	if (cJSON_IsObject(by)) {
		const char *comm = json_get_string(by, "comm");

		in->has_by = true;
		in->by.uid = (uid_t)json_get_number(by, "uid", 0);
		in->by.pid = (pid_t)json_get_number(by, "pid", 0);
		(void)snprintf(in->by.comm, sizeof(in->by.comm), "%s", comm != NULL ? comm : "");
	}
	in->fields = fields != NULL ? strdup(fields) : NULL;
	return fields != NULL && in->fields == NULL ? -ENOMEM : 0;
}

int intent_read(const struct tune *tn, struct intent *out, struct err *err)
{
	struct buf text = BUF_INIT;
	struct intent in = {0};
	struct err why = ERR_NONE;
	cJSON *json = NULL;
	int rc;

	rc = read_file(tn->dir, INTENT_NAME, 64 * 1024, &text, &why);
	if (rc == -ENOENT)
		goto out;
	if (rc < 0 && rc != -EINVAL && rc != -ELOOP && rc != -EFBIG) {
		/* nothing is known of it: no reason to have it removed */
		rc = err_set(err, -rc, "%.300s", why.text);
		goto out;
	}
	if (rc == 0 && crc_holds(buf_str(&text), text.len))
		rc = json_parse(buf_str(&text), text.len, &json, NULL);
	if (rc == 0 && json != NULL)
		rc = intent_parse(json, &in);
	if (rc == -ENOMEM) {
		rc = err_nomem(err);
		goto out;
	}
	if (rc < 0 || json == NULL) {
		rc = err_set(err, EUCLEAN,
			"the open promotion in tune/%s/" INTENT_NAME
			" cannot be read; look at HEAD and head.prev, then remove it",
			tn->slug);
		goto out;
	}
	*out = in;
out:
	cJSON_Delete(json);
	buf_release(&text);
	return rc;
}

int intent_remove(const struct tune *tn, struct err *err)
{
	if (unlinkat(tn->dir, INTENT_NAME, 0) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '" INTENT_NAME "'");
	return dir_sync(tn->dir, err);
}

void intent_release(struct intent *in)
{
	free(in->fields);
	in->fields = NULL;
}
