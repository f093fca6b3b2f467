/*
 * ctl - see ctl.h. Everything here is about words; what the verbs do is in verbs.c.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "open.h"
#include "replies.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A10-A12: what may not stand in a command at all */
static int check_bytes(const char *line, size_t len, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *nul = memchr(line, 0, len);
	size_t bad;

	if (nul)
		return err_set(err, EINVAL, "NUL byte at %zu", (size_t)(nul - line));
	bad = utf8_check(line, len);
	if (bad < len)
		return err_set(err, EILSEQ, "not UTF-8 at byte %zu: \"%s\"", bad,
			err_quote(quoted, line, len));
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return err_set(err, EINVAL, "control character \\x%02x in \"%s\"", c,
				err_quote(quoted, line, len));
	}
	return 0;
}

/* one word from ${p} on, copied to *${to}; returns where it ends, NULL for an unfinished quote */
static const char *take_word(const char *p, const char *end, char **to)
{
	bool is_quoted = false;

	for (; p < end && (is_quoted || !is_blank(*p)); p++) {
		if (*p == '\'') {
			if (is_quoted && p + 1 < end && p[1] == '\'') {
				*(*to)++ = *p++;
				continue;
			}
			is_quoted = !is_quoted;
			continue;
		}
		if (*p == '\\' && p + 1 == end)
			return NULL;
		*(*to)++ = *p;
	}
	*(*to)++ = '\0';
	return is_quoted ? NULL : p;
}

int ctl_split(const char *line, size_t len, char *word[CTL_WORDS_MAX], int *argc, char *store,
	struct err *err)
{
	const char *p = line, *end = line + len;
	char quoted[ERR_QUOTE_BYTES + 8];
	int n = 0, rc = check_bytes(line, len, err);

	if (rc < 0)
		return rc;
	for (;;) {
		while (p < end && is_blank(*p))
			p++;
		if (p == end)
			break;
		if (n == CTL_WORDS_MAX)
			return err_set(err, EINVAL, "more than %d words", CTL_WORDS_MAX);
		word[n++] = store;
		p = take_word(p, end, &store);
		if (!p)
			return err_set(err, EINVAL, "unfinished quote in \"%s\"",
				err_quote(quoted, line, len));
	}
	*argc = n;
	return 0;
}

static int unknown(const struct verb *verbs, const char *word, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8], known[256] = "";

	for (const struct verb *vb = verbs; vb->name; vb++) {
		if (vb > verbs)
			strncat(known, " ", sizeof(known) - strlen(known) - 1);
		strncat(known, vb->name, sizeof(known) - strlen(known) - 1);
	}
	return err_set(err, EINVAL, "unknown command \"%s\"; known: %s",
		err_quote(quoted, word, strlen(word)), known);
}

/* the words fit the verb's table entry */
static int check_words(const struct ctl_call *call, const struct verb *vb, struct err *err)
{
	int given = call->argc - 1;

	/* a bad revision is said first: `promote v1; rm -rf /` is about "v1;", not about the number
	 * of words (A20) */
	if (vb->revision && given >= 1 && (vb->min >= 1 || strchr(call->word[1], '=') == NULL) &&
		rev_check(call->word[1], strlen(call->word[1]), err) < 0)
		return -err->no;
	if (given < vb->min)
		return err_set(err, EINVAL, "%s: needs %s", vb->name, vb->needs);
	if (vb->max >= 0 && given > vb->max)
		return err_set(err, EINVAL, "%s: too many arguments; usage: %s%s%s", vb->name,
			vb->name, *vb->usage ? " " : "", vb->usage);
	return 0;
}

/* one line; 1 when there was a command, 0 for a blank line or a comment */
static int execute_line(struct ctl_call *call, const struct verb *verbs, const char *line,
	size_t len, struct err *err)
{
	char store[CTL_WRITE_BYTES + 1], **word = call->word, quoted[ERR_QUOTE_BYTES + 8];
	const struct verb *vb = verbs;
	int rc;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	rc = ctl_split(line, len, word, &call->argc, store, err);
	if (rc < 0)
		return rc;
	if (call->argc == 0)
		return 0;
	if (word[0][0] == '#')
		return 1;
	while (vb->name && strcmp(vb->name, word[0]) != 0)
		vb++;
	if (!vb->name)
		return unknown(verbs, word[0], err);
	rc = check_words(call, vb, err);
	if (rc < 0)
		return rc;
	by_name(&call->by);
	rc = vb->run(call, err);
	if (rc < 0) /* what was asked, before what is wrong */
		err_prefix(err, "%s: ", err_quote(quoted, line, len));
	return rc < 0 ? rc : 1;
}

ssize_t ctl_execute(struct ctl_call *call, const struct verb *verbs, const char *data, size_t len,
	struct err *err)
{
	size_t done = 0;
	int commands = 0, number = 0;

	if (len > CTL_WRITE_BYTES)
		return err_set(err, EMSGSIZE, "command longer than %d bytes", CTL_WRITE_BYTES);
	while (done < len) {
		const char *line = data + done, *lf = memchr(line, '\n', len - done);
		size_t n = lf ? (size_t)(lf - line) : len - done;
		int rc;

		number++;
		buf_reset(call->reply);
		rc = execute_line(call, verbs, line, n, err);
		if (rc < 0) {
			if (number > 1)
				err_prefix(err, "line %d: ", number);
			/* lines before it were blank: nothing was done, so nothing is counted */
			return commands > 0 ? (ssize_t)done : rc;
		}
		if (err && err->no)
			*err = ERR_NONE; /* what a verb looked at in vain on its way is no failure
					  */
		commands += rc;
		done += n + (lf ? 1 : 0);
	}
	if (commands == 0)
		return err_set(err, EINVAL, "empty command");
	return (ssize_t)done;
}

int ctl_render(const struct verb *verbs, struct buf *out)
{
	for (const struct verb *vb = verbs; vb->name; vb++)
		buf_addf(out, "%s%s%s\n", vb->name, *vb->usage ? " " : "", vb->usage);
	return out->failed ? -ENOMEM : 0;
}

ssize_t ctl_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err)
{
	struct buf reply = BUF_INIT;
	struct ctl_call call = {.sv = sv, .at = &o->nd->at, .by = *by, .reply = &reply};
	struct err bad = ERR_NONE;
	char key[2 * SLUG_BYTES];
	ssize_t n = ctl_execute(&call, o->nd->at.what->verbs, data, len, &bad);

	names_key(&o->nd->at, key);
	if (bad.no) {
		refused(sv, key, by, &bad);
		open_say(o, bad.text);
	} else {
		const char *text = reply.len ? buf_str(&reply) : "ok";

		replies_set(sv, key, "ok");
		open_say(o, text);
	}
	if (err)
		*err = bad;
	buf_release(&reply);
	return n;
}
