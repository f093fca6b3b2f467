/*
 * request - a promotion or rollback asked for twice under one id is done once (reliability.md 9.2).
 *
 * The record is the line of the audit log, which has the id: it stands there when the change is
 * done and never otherwise, and whoever recovers from a killed process writes it. So there is
 * nothing to keep beside it. A request that was refused or undone left no line; asked again, it is
 * asked anew.
 */
#include "store/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

enum { REQUEST_FILES = 2 }; /* tune.jsonl, and the part before it: 64 MiB of lines at least */

int request_id_check(const char *id, struct err *err)
{
	size_t len = strlen(id);
	char quoted[ERR_QUOTE_BYTES + 8];

	if (len > REQUEST_ID_BYTES)
		return err_set(err, ENAMETOOLONG, "id longer than %d: \"%s\"", REQUEST_ID_BYTES,
			err_quote(quoted, id, len));
	if (!name_is_plain(id, len))
		return err_set(err, EINVAL, "bad id \"%s\": letters, digits, _ and -, not - first",
			err_quote(quoted, id, len));
	return 0;
}

/* a member of a line that is a revision; "" when it is not there */
void rev_member(struct json_slice line, const char *key, char out[REV_BYTES])
{
	struct json_slice v;

	out[0] = '\0';
	if (json_member(line, key, &v) && v.len > 2 && v.len - 2 < REV_BYTES &&
		rev_check(v.text + 1, v.len - 2, NULL) == 0)
		(void)snprintf(out, REV_BYTES, "%.*s", (int)v.len - 2, v.text + 1);
}

static bool text_member_is(struct json_slice line, const char *key, const char *text)
{
	struct json_slice v;
	size_t n = strlen(text);

	return json_member(line, key, &v) && v.len == n + 2 && memcmp(v.text + 1, text, n) == 0;
}

/* the line of ${id}: what was done, or that it was something else */
static int answer(struct json_slice line, const char *id, const char *event, const char *to,
	struct head *now, struct err *err)
{
	bool promoted = text_member_is(line, "event", "promoted");
	char rev[REV_BYTES];

	rev_member(line, "revision", rev);
	if (!text_member_is(line, "event", event) || (to != NULL && strcmp(to, rev) != 0))
		return err_set(err, EINVAL,
			"id \"%s\" was %s%s already; another request needs another id", id,
			promoted ? "promote " : "rollback", promoted ? rev : "");
	memcpy(now->head, rev, sizeof(rev));
	rev_member(line, "previous", now->prev);
	return 1;
}

/* in one file of the log */
static int look(const char *lines, const char *id, const char *event, const char *to,
	struct head *now, struct err *err)
{
	char want[REQUEST_ID_BYTES + 16];
	int rc = 0;

	(void)snprintf(want, sizeof(want), "\"id\":\"%s\"", id);
	for (const char *p = lines, *lf; rc == 0 && (lf = strchr(p, '\n')) != NULL; p = lf + 1) {
		struct json_slice line = {p, (size_t)(lf - p)};

		if (memmem(line.text, line.len, want, strlen(want)) != NULL &&
			text_member_is(line, "id", id) &&
			(text_member_is(line, "event", "promoted") ||
				text_member_is(line, "event", "rolled_back")))
			rc = answer(line, id, event, to, now, err);
	}
	return rc;
}

int request_done(const struct tune *tn, const char *id, const char *event, const char *to,
	struct head *now, struct err *err)
{
	struct buf lines = BUF_INIT;
	int rc = head_recover(tn, err);

	if (rc > 0)
		rc = 0;
	for (size_t i = 0; rc == 0 && i < REQUEST_FILES; i++) {
		buf_reset(&lines);
		rc = log_slug_back(tn->st, tn->slug, i, &lines, err);
		if (rc == 0)
			rc = look(buf_str(&lines), id, event, to, now, err);
		else if (rc == -ENOENT)
			rc = 0;
	}
	buf_release(&lines);
	return rc;
}
