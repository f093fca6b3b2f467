/*
 * talk - see talk.h.
 */
#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "ctl.h"
#include "replies.h"

enum {
	INPUT_BYTES_MAX =
		4 << 20, /* more than any artifact takes; its own limit is the runner's to say */
	CONFIG_TEXT_BYTES = 64 << 10,
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_empty(const char *text, size_t len)
{
	while (len > 0 && is_space(text[len - 1]))
		len--;
	return len == 0;
}

/* a failure that did not come through a ctl */
static void say(struct server *sv, const struct open *o, const struct by *by, const struct err *err)
{
	char key[2 * SLUG_BYTES];

	names_key(&o->nd->at, key);
	refused(sv, key, by, err);
}

/* ---- captures.jsonl ---- */

static int append(struct open *o, const char *line, size_t len, struct err *err)
{
	if (is_empty(line, len))
		return 0;
	return loop_capture_append(o->sv->k, o->nd->at.slug, line, len, err);
}

/* a line from its pieces, or without any */
static int take_line(struct open *o, const char *data, size_t len, struct err *err)
{
	int rc;

	if (!o->in.len)
		return append(o, data, len, err);
	if (buf_add(&o->in, data, len) < 0)
		return err_nomem(err);
	rc = append(o, o->in.data, o->in.len, err);
	buf_release(&o->in); /* refused or not, what comes next is a line of its own again */
	return rc;
}

/* the beginning of a line, kept until the rest comes; one that is too long already is refused, and
 * counted, like a whole line */
static int keep_piece(struct open *o, const char *data, size_t len, struct err *err)
{
	if (o->in.len + len > CAPTURE_LINE_BYTES) {
		int rc = take_line(o, data, len, err);

		return rc < 0 ? rc
			      : err_set(err, EMSGSIZE, "capture larger than %d bytes",
					CAPTURE_LINE_BYTES); /* blanks only */
	}
	return buf_add(&o->in, data, len) < 0 ? err_nomem(err) : 0;
}

ssize_t captures_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err)
{
	struct err bad = ERR_NONE;
	size_t pos = 0;
	int rc = 0;

	while (pos < len) {
		const char *lf = memchr(data + pos, '\n', len - pos);
		size_t n = lf ? (size_t)(lf - (data + pos)) : len - pos;

		rc = lf ? take_line(o, data + pos, n, &bad) : keep_piece(o, data + pos, n, &bad);
		if (rc < 0)
			break;
		pos += n + (lf ? 1 : 0);
	}
	if (rc < 0) {
		say(sv, o, by, &bad);
		if (err)
			*err = bad;
	}
	return rc < 0 && pos == 0 ? rc : (ssize_t)pos;
}

void captures_flush(struct open *o, bool is_last)
{
	struct err err = ERR_NONE;

	if (!o->in.len)
		return;
	/* a whole JSON value cannot be the beginning of a longer one */
	if (json_check(o->in.data, o->in.len, NULL) == 0) {
		if (append(o, o->in.data, o->in.len, &err) < 0)
			say(o->sv, o, &o->by, &err);
		buf_release(&o->in);
	} else if (is_last) {
		err_set(&err, EINVAL, "unfinished capture of %zu bytes dropped", o->in.len);
		say(o->sv, o, &o->by, &err);
		loop_capture_dropped(o->sv->k, o->nd->at.slug);
		buf_release(&o->in);
	}
}

int captures_durable(struct server *sv, const struct place *at, struct err *err)
{
	return loop_capture_sync(sv->k, at->slug, err);
}

/* ---- tune-config.json ---- */

/* is this text, which begins an object, at its end? Strings are the only place where a brace is not
 * one. */
static bool is_whole(const char *text, size_t len)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			depth++;
		} else if ((text[i] == '}' || text[i] == ']') && --depth <= 0) {
			return true;
		}
	}
	return false;
}

/* B08 once more: a path the server would have to ask itself for */
static int check_paths(struct server *sv, const char *text, size_t len, struct err *err)
{
	static const char *const keys[] = {"artifact_path", "base_path"};
	struct json_slice whole = {text, len}, value;
	struct buf path = BUF_INIT;
	int rc = 0;

	if (json_check(text, len, NULL) < 0)
		return 0; /* said by who reads all of it */
	for (size_t i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
		buf_reset(&path);
		if (!json_member(whole, keys[i], &value) || json_kind_of(value) != JSON_STRING)
			continue;
		if (json_string(value, &path) == 0)
			rc = inside_mount(sv, buf_str(&path), err);
		if (rc < 0)
			(void)err_prefix(err, "%s: ", keys[i]);
	}
	buf_release(&path);
	return rc;
}

static int take_config(struct server *sv, struct open *o, const struct by *by, struct err *err)
{
	struct by who = *by;
	size_t at = 0;
	int rc;

	while (at < o->in.len && is_space(o->in.data[at]))
		at++;
	if (at == o->in.len)
		return 1;
	if (o->in.data[at] != '{')
		return err_set(err, EINVAL, "tune-config.json must be one JSON object");
	if (o->in.len > CONFIG_TEXT_BYTES)
		return err_set(
			err, EFBIG, "tune-config.json larger than %d bytes", CONFIG_TEXT_BYTES);
	if (!is_whole(o->in.data, o->in.len))
		return 1;
	rc = check_paths(sv, o->in.data, o->in.len, err);
	if (rc < 0)
		return rc;
	by_name(&who);
	return loop_config_write(sv->k, o->nd->at.slug, o->in.data, o->in.len, &who, err);
}

ssize_t config_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err)
{
	struct err bad = ERR_NONE;
	char key[2 * SLUG_BYTES];
	int rc;

	if (o->in.len + len > 2 * CONFIG_TEXT_BYTES)
		rc = err_set(
			&bad, EFBIG, "tune-config.json larger than %d bytes", CONFIG_TEXT_BYTES);
	else if (buf_add(&o->in, data, len) < 0)
		rc = err_nomem(&bad);
	else
		rc = take_config(sv, o, by, &bad);
	if (rc == 1) /* more must come */
		return (ssize_t)len;
	buf_release(&o->in);
	if (rc < 0) {
		say(sv, o, by, &bad);
		if (err)
			*err = bad;
		return rc;
	}
	names_key(&o->nd->at, key);
	replies_set(sv, key, "ok");
	return (ssize_t)len;
}

void config_flush(struct open *o, bool is_last)
{
	struct err err = ERR_NONE;

	if (!is_last || is_empty(buf_str(&o->in), o->in.len))
		return;
	err_set(&err, EINVAL, "tune-config.json was not written whole; nothing was changed");
	say(o->sv, o, &o->by, &err);
}

/* ---- run, query ---- */

/* what was written before is no input without this piece: it is not answered, also at the last
 * close. With o->lock. */
static void refuse_input(struct open *o, int no)
{
	buf_release(&o->in);
	buf_reset(&o->out);
	o->out_no = no;
	o->talk = TALK_DONE;
}

ssize_t input_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err)
{
	ssize_t rc = (ssize_t)len;

	(void)sv;
	pthread_mutex_lock(&o->lock);
	if (o->talk == TALK_RUNNING) {
		rc = err_set(err, EBUSY, "the last input is still being answered");
	} else if (o->in.len + len > INPUT_BYTES_MAX) {
		rc = err_set(err, EMSGSIZE, "input larger than %d bytes", INPUT_BYTES_MAX);
		refuse_input(o, EMSGSIZE);
	} else if (buf_add(&o->in, data, len) < 0) {
		rc = err_nomem(err);
		refuse_input(o, ENOMEM);
	} else {
		o->talk = TALK_WRITTEN;
		o->by = *by;
	}
	pthread_mutex_unlock(&o->lock);
	if (rc < 0 && err)
		say(sv, o, by, err);
	return rc;
}

void run_flush(struct open *o, bool is_last)
{
	bool is_due;

	pthread_mutex_lock(&o->lock);
	is_due = is_last && o->talk == TALK_WRITTEN;
	if (is_due)
		o->talk = TALK_RUNNING;
	pthread_mutex_unlock(&o->lock);
	if (is_due)
		open_answer(o);
}

int run_answer(struct server *sv, const struct place *at, const char *text, size_t len,
	struct buf *out, struct err *err)
{
	struct run_request rq = {.slug = at->slug, .text = text, .len = len};
	struct run_result rs = {0};
	int rc = kolm_run(sv->k, &rq, &rs, err);

	if (rc < 0)
		return rc;
	rc = run_print((struct json_slice){rs.output.data, rs.output.len}, out);
	run_result_release(&rs);
	return rc < 0 ? err_nomem(err) : 0;
}
