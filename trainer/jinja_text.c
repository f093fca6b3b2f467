/*
 * jinja_text - what filters and methods do to texts. Names and meanings are Jinja's and Python's.
 */
#include "trainer/jinja_text.h"

#include <errno.h>
#include <string.h>

/* the blanks Python's text_strip() takes: ASCII's, the four separators, and those beyond ASCII */
static size_t blank_bytes(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	if ((s[0] >= 9 && s[0] <= 13) || (s[0] >= 0x1c && s[0] <= 0x20))
		return 1;
	if (len >= 2 && s[0] == 0xc2 && (s[1] == 0x85 || s[1] == 0xa0))
		return 2;
	if (len < 3)
		return 0;
	unsigned c = (s[0] & 15u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);

	if ((s[0] & 0xf0) == 0xe0 &&
		(c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
			c == 0x202f || c == 0x205f || c == 0x3000))
		return 3;
	return 0;
}

/* bytes of the character at ${from} when it is to be stripped, else 0 */
static size_t stripped(struct val_str s, size_t from, const struct val *chars)
{
	struct val_str rest = {s.text + from, s.len - from, NULL};
	size_t n = char_offset(rest, 1);

	if (!chars || chars->kind != VAL_STR)
		return blank_bytes(rest.text, rest.len);
	return n && memmem(chars->s.text, chars->s.len, rest.text, n) ? n : 0;
}

struct val text_strip(struct val_str s, unsigned sides, const struct val *chars)
{
	size_t from = 0, to = s.len, n;

	while (sides & SIDE_LEFT && from < to && (n = stripped(s, from, chars)) > 0)
		from += n;
	while (sides & SIDE_RIGHT && to > from) {
		size_t last = to - 1;

		while (last > from && (s.text[last] & 0xc0) == 0x80)
			last--;
		if (!stripped(s, last, chars))
			break;
		to = last;
	}
	return val_part(s, from, to);
}

enum { INDENT_MAX = 64 };

static int need_text(struct run *rn, const struct val *v, const char *name, size_t len)
{
	return v && v->kind == VAL_STR
		       ? 0
		       : run_fail(rn, EOPNOTSUPP, "'%.*s' of something that is no text", (int)len,
				 name);
}

/* Python's title() begins a word behind anything but a letter, Jinja's filter of that name only
 * behind blanks, dashes and brackets */
enum letters { LETTERS_UPPER, LETTERS_LOWER, LETTERS_CAPITAL, LETTERS_TITLE, LETTERS_WORDS };

/* of ASCII; other letters would need their own tables, and templates change the case of roles */
static int letters(struct run *rn, struct val_str s, enum letters how, struct val *out)
{
	bool start = true;
	int rc = val_copy(rn, s.text, s.len, s.taint, out);
	char *text = rc == 0 ? (char *)out->s.text : NULL; /* the copy is ours */

	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		char c = text[i];
		bool upper = how == LETTERS_UPPER || (how >= LETTERS_CAPITAL && start),
		     letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if ((unsigned char)c >= 0x80)
			return run_fail(rn, EOPNOTSUPP,
				"the case of letters beyond ASCII is not in the subset");
		if (letter)
			text[i] = (char)(upper ? c & ~0x20 : c | 0x20);
		start = how == LETTERS_WORDS ? strchr(" \t\n\r\v\f-({[<", c) != NULL
					     : how == LETTERS_TITLE && !letter;
	}
	return rc;
}

static int replace(struct run *rn, struct val_str s, const struct val *from, const struct val *to,
	struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	size_t at = 0;
	int rc = 0;

	if (!from || from->kind != VAL_STR || !from->s.len || !to || to->kind != VAL_STR)
		return run_fail(rn, EDOM, "'replace' needs two texts");
	while (at < s.len && rc == 0) {
		const char *hit = memmem(s.text + at, s.len - at, from->s.text, from->s.len);
		size_t end = hit ? (size_t)(hit - s.text) : s.len;
		struct val kept = val_part(s, at, end);

		rc = val_print(rn, &kept, &text, &taint);
		if (rc == 0 && hit)
			rc = val_print(rn, to, &text, &taint);
		at = hit ? end + from->s.len : s.len;
	}
	return val_from_bufs(rn, rc, &text, &taint, out);
}

int text_join(struct run *rn, const struct val *list, const struct val *between, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = 0;

	if (list->kind != VAL_LIST)
		return run_fail(rn, EOPNOTSUPP, "'join' of something that is no list");
	for (size_t i = 0; i < list->list->n && rc == 0; i++) {
		if (i && between)
			rc = val_print(rn, between, &text, &taint);
		if (rc == 0)
			rc = val_print(rn, &list->list->item[i], &text, &taint);
	}
	return val_from_bufs(rn, rc, &text, &taint, out);
}

static int indent_by(struct run *rn, int64_t n, struct buf *text, struct buf *taint)
{
	static const char blanks[INDENT_MAX + 1] = "                                "
						   "                                ";
	const struct val some = val_span(blanks, (size_t)n);

	return val_print(rn, &some, text, taint);
}

/* indent(width=4, first=False): every line but the first, blank ones not */
static int indent(struct run *rn, const struct val *in, const struct args *args, struct val *out)
{
	const struct val *width = arg(args, 0, "width"), *first = arg(args, 1, "first");
	int64_t n = width && width->kind == VAL_INT ? width->i : 4;
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = 0;

	if ((width && width->kind != VAL_INT) || n < 0 || n > INDENT_MAX)
		return run_fail(rn, EOPNOTSUPP, "'indent' by that");
	if (first && val_true(first))
		rc = indent_by(rn, n, &text, &taint);
	for (size_t at = 0; at < in->s.len && rc == 0;) {
		const char *nl = memchr(in->s.text + at, '\n', in->s.len - at);
		size_t end = nl ? (size_t)(nl - in->s.text) + 1 : in->s.len;
		struct val line = val_part(in->s, at, end);

		if (at && in->s.text[at] != '\n')
			rc = indent_by(rn, n, &text, &taint);
		if (rc == 0)
			rc = val_print(rn, &line, &text, &taint);
		at = end;
	}
	return val_from_bufs(rn, rc, &text, &taint, out);
}

bool is_text_filter(const char *name, size_t len)
{
	static const char *const names[] = {
		"trim", "upper", "lower", "capitalize", "title", "replace", "indent"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (val_named(name, len, names[i]))
			return true;
	return false;
}

int text_filter(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out)
{
	const struct val nothing = val_text("");
	int rc = 0;

	in = in->kind == VAL_UNDEFINED ? &nothing : in;
	rc = need_text(rn, in, name, len);
	if (rc < 0)
		return rc;
	if (val_named(name, len, "trim")) {
		*out = text_strip(in->s, SIDE_LEFT | SIDE_RIGHT, arg(args, 0, "chars"));
		return 0;
	}
	if (val_named(name, len, "replace"))
		return replace(rn, in->s, arg(args, 0, "old"), arg(args, 1, "new"), out);
	if (val_named(name, len, "indent"))
		return indent(rn, in, args, out);
	return letters(rn, in->s,
		*name == 'u'   ? LETTERS_UPPER
		: *name == 'l' ? LETTERS_LOWER
		: *name == 'c' ? LETTERS_CAPITAL
			       : LETTERS_WORDS,
		out);
}

int text_title(struct run *rn, struct val_str s, struct val *out)
{
	return letters(rn, s, LETTERS_TITLE, out);
}
