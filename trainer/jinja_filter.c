/*
 * jinja_filter - filters, tests and methods of the subset. Names and meanings are Jinja's and
 * Python's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "trainer/jinja_inside.h"

static bool named(const char *name, size_t len, const char *wanted)
{
	return strlen(wanted) == len && memcmp(name, wanted, len) == 0;
}

static struct val part_of(struct val_str s, size_t from, size_t to)
{
	return (struct val){.kind = VAL_STR,
		.s = {s.text + from, to - from, s.taint ? s.taint + from : NULL}};
}

enum side { SIDE_LEFT = 1, SIDE_RIGHT = 2 };

/* the blanks Python's strip() takes: ASCII's, the four separators, and those beyond ASCII */
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

static struct val strip(struct val_str s, unsigned sides, const struct val *chars)
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
	return part_of(s, from, to);
}

static int need_text(struct run *rn, const struct val *v, const char *name, size_t len)
{
	return v && v->kind == VAL_STR
		       ? 0
		       : run_fail(rn, EOPNOTSUPP, "'%.*s' of something that is no text", (int)len,
				 name);
}

enum letters { LETTERS_UPPER, LETTERS_LOWER, LETTERS_CAPITAL, LETTERS_TITLE };

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
			return run_fail(
				rn, EOPNOTSUPP, "the case of letters beyond ASCII is not in the subset");
		if (letter)
			text[i] = (char)(upper ? c & ~0x20 : c | 0x20);
		start = how == LETTERS_TITLE ? !letter : false;
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
		struct val kept = part_of(s, at, end);

		rc = val_print(rn, &kept, &text, &taint);
		if (rc == 0 && hit)
			rc = val_print(rn, to, &text, &taint);
		at = hit ? end + from->s.len : s.len;
	}
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

static int join(struct run *rn, const struct val *list, const struct val *between,
	const struct val *attribute, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = 0;

	if (list->kind != VAL_LIST || attribute)
		return run_fail(rn, EOPNOTSUPP, "'join' of something that is no list");
	for (size_t i = 0; i < list->list->n && rc == 0; i++) {
		if (i && between)
			rc = val_print(rn, between, &text, &taint);
		if (rc == 0)
			rc = val_print(rn, &list->list->item[i], &text, &taint);
	}
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

/* ---- tojson ---- */

struct writer {
	struct run *rn;
	struct buf *text, *taint;
	int64_t indent; /* 0: on one line */
	int depth;
};

static void put(struct writer *wr, const char *text, const char taint)
{
	buf_puts(wr->text, text);
	for (size_t i = 0; i < strlen(text); i++)
		buf_putc(wr->taint, taint);
}

static void new_line(struct writer *wr)
{
	if (!wr->indent)
		return;
	put(wr, "\n", 0);
	for (int64_t i = 0; i < wr->indent * wr->depth; i++)
		put(wr, " ", 0);
}

/* as json.dumps(ensure_ascii=False) spells a text */
static void put_string(struct writer *wr, struct val_str s)
{
	static const char hex[] = "0123456789abcdef";

	put(wr, "\"", 0);
	for (size_t i = 0; i < s.len; i++) {
		char c = s.text[i], taint = s.taint ? s.taint[i] : 0, spelt[8] = {c, 0};

		if (c == '"' || c == '\\') {
			memcpy(spelt, (char[]){'\\', c, 0}, 3);
		} else if (strchr("\b\f\n\r\t", c) && c) {
			char letter = c == '\b'	  ? 'b'
				      : c == '\f' ? 'f'
				      : c == '\n' ? 'n'
				      : c == '\r' ? 'r'
						  : 't';

			memcpy(spelt, (char[]){'\\', letter, 0}, 3);
		} else if ((unsigned char)c < 0x20) {
			memcpy(spelt,
				(char[]){'\\', 'u', '0', '0', hex[(unsigned char)c >> 4],
					hex[c & 15], 0},
				7);
		}
		put(wr, spelt, taint);
	}
	put(wr, "\"", 0);
}

static int put_json(struct writer *wr, const struct val *v);

static int put_items(struct writer *wr, const struct val *v)
{
	const struct val_list *items = v->kind == VAL_LIST ? v->list : &v->dict->value;
	const char *open = v->kind == VAL_LIST ? "[" : "{", *close = v->kind == VAL_LIST ? "]" : "}";
	int rc = 0;

	if (++wr->depth > JINJA_DEPTH)
		return run_fail(wr->rn, E2BIG, "is nested too deep");
	put(wr, open, 0);
	for (size_t i = 0; i < items->n && rc == 0; i++) {
		if (i)
			put(wr, wr->indent ? "," : ", ", 0);
		new_line(wr);
		if (v->kind == VAL_DICT) {
			rc = put_json(wr, &v->dict->key.item[i]);
			put(wr, ": ", 0);
		}
		if (rc == 0)
			rc = put_json(wr, &items->item[i]);
	}
	wr->depth--;
	if (items->n)
		new_line(wr);
	put(wr, close, 0);
	return rc;
}

static int put_json(struct writer *wr, const struct val *v)
{
	switch (v->kind) {
	case VAL_NONE:
		put(wr, "null", 0);
		break;
	case VAL_BOOL:
		put(wr, v->i ? "true" : "false", 0);
		break;
	case VAL_INT:
		return val_print(wr->rn, v, wr->text, wr->taint);
	case VAL_STR:
		put_string(wr, v->s);
		break;
	case VAL_LIST:
	case VAL_DICT:
		return put_items(wr, v);
	default:
		return run_fail(wr->rn, EDOM, "'tojson' of something that has no JSON");
	}
	if (wr->text->len > JINJA_MEMORY)
		return run_fail(wr->rn, E2BIG, "needs too much memory");
	return 0;
}

static int to_json(struct run *rn, const struct val *in, const struct args *args, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	const struct val *indent = arg(args, 0, "indent");
	struct writer wr = {.rn = rn, .text = &text, .taint = &taint};
	int rc;

	if (indent && indent->kind == VAL_INT && indent->i > 0)
		wr.indent = indent->i < 16 ? indent->i : 16;
	rc = put_json(&wr, in);
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

/* ---- lists ---- */

/* pairs of a dictionary as lists of two */
static int items(struct run *rn, const struct val *in, struct val *out)
{
	int rc = val_new_list(rn, out);

	if (in->kind != VAL_DICT)
		return rc < 0 ? rc : run_fail(rn, EDOM, "'items' of something that is no dictionary");
	for (size_t i = 0; i < in->dict->key.n && rc == 0; i++) {
		struct val pair;

		rc = val_new_list(rn, &pair);
		if (rc == 0)
			rc = val_push(rn, pair.list, in->dict->key.item[i]);
		if (rc == 0)
			rc = val_push(rn, pair.list, in->dict->value.item[i]);
		if (rc == 0)
			rc = val_push(rn, out->list, pair);
	}
	return rc;
}

static struct val member_of(const struct val *of, const struct val *name)
{
	const struct val *found = of->kind == VAL_DICT && name->kind == VAL_STR
					  ? val_get(of->dict, name->s.text, name->s.len)
					  : NULL;

	return found ? *found : (struct val){0};
}

/* select, reject (of items) and selectattr, rejectattr (of one member of each) by a test */
static int choose(struct run *rn, const struct val *in, const struct args *args, bool attr,
	bool keep, struct val *out)
{
	const struct val *name = attr ? arg(args, 0, NULL) : NULL, *test;
	size_t first = attr ? 1 : 0;
	struct args rest = {0};
	int rc = val_new_list(rn, out);

	test = arg(args, first, NULL);
	if (in->kind != VAL_LIST || (attr && !name) || (test && test->kind != VAL_STR))
		return run_fail(rn, EOPNOTSUPP, "'select' or 'reject' without a list and a test");
	for (size_t i = first + 1; i < args->plain.n && rc == 0; i++)
		rc = val_push(rn, &rest.plain, args->plain.item[i]);
	for (size_t i = 0; i < in->list->n && rc == 0; i++) {
		struct val v = in->list->item[i];
		bool yes;

		if (attr)
			v = member_of(&v, name);
		yes = val_true(&v);
		if (test)
			rc = test_run(rn, test->s.text, test->s.len, &v, &rest, &yes);
		if (rc == 0 && yes == keep)
			rc = val_push(rn, out->list, in->list->item[i]);
	}
	return rc;
}

/* map(attribute="name") or map("filter", arguments) */
static int map(struct run *rn, const struct val *in, const struct args *args, struct val *out)
{
	const struct val *name = val_get(&args->keyed, "attribute", 9), *filter = arg(args, 0, NULL);
	struct args rest = {0};
	int rc = val_new_list(rn, out);

	if (in->kind != VAL_LIST || (!name && (!filter || filter->kind != VAL_STR)))
		return run_fail(rn, EOPNOTSUPP, "'map' without a list and a name");
	for (size_t i = 1; i < args->plain.n && rc == 0; i++)
		rc = val_push(rn, &rest.plain, args->plain.item[i]);
	for (size_t i = 0; i < in->list->n && rc == 0; i++) {
		struct val v = in->list->item[i];

		if (name)
			v = member_of(&v, name);
		else
			rc = filter_run(rn, filter->s.text, filter->s.len, &in->list->item[i],
				&rest, &v);
		if (rc == 0)
			rc = val_push(rn, out->list, v);
	}
	return rc;
}

static int reverse(struct run *rn, const struct val *in, struct val *out)
{
	int rc = val_new_list(rn, out);

	if (in->kind != VAL_LIST)
		return run_fail(rn, EOPNOTSUPP, "'reverse' of something that is no list");
	for (size_t i = in->list->n; i > 0 && rc == 0; i--)
		rc = val_push(rn, out->list, in->list->item[i - 1]);
	return rc;
}

static int end_of(struct run *rn, const struct val *in, bool last, struct val *out)
{
	*out = (struct val){0};
	if (in->kind == VAL_LIST) {
		if (in->list->n)
			*out = in->list->item[last ? in->list->n - 1 : 0];
		return 0;
	}
	if (in->kind != VAL_STR)
		return run_fail(rn, EOPNOTSUPP, "'first' or 'last' of something that is no list");
	size_t n = char_count(in->s), from = last && n ? char_offset(in->s, n - 1) : 0;

	*out = part_of(in->s, from, last ? in->s.len : char_offset(in->s, 1));
	return 0;
}

static int length(struct run *rn, const struct val *in, struct val *out)
{
	if (in->kind == VAL_STR)
		*out = val_int((int64_t)char_count(in->s));
	else if (in->kind == VAL_LIST)
		*out = val_int((int64_t)in->list->n);
	else if (in->kind == VAL_DICT)
		*out = val_int((int64_t)in->dict->key.n);
	else if (in->kind == VAL_UNDEFINED)
		*out = val_int(0);
	else
		return run_fail(rn, EDOM, "'length' of something without one");
	return 0;
}

static int to_text(struct run *rn, const struct val *in, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = val_print(rn, in, &text, &taint);

	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

static int to_int(const struct val *in, struct val *out)
{
	char digits[20] = "";
	char *end;

	*out = val_int(in->kind == VAL_INT || in->kind == VAL_BOOL ? in->i : 0);
	if (in->kind == VAL_FLOAT) /* at most 15 digits */
		out->i = (int64_t)in->f;
	if (in->kind == VAL_STR && in->s.len < sizeof(digits)) {
		memcpy(digits, in->s.text, in->s.len);
		long long n = strtoll(digits, &end, 10);

		out->i = *end || end == digits ? 0 : n;
	}
	return 0;
}

/* indent(width=4, first=False): every line but the first, blank ones not */
static int indent(struct run *rn, const struct val *in, const struct args *args, struct val *out)
{
	const struct val *width = arg(args, 0, "width"), *first = arg(args, 1, "first");
	int64_t n = width && width->kind == VAL_INT ? width->i : 4;
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = 0;

	if (n < 0 || n > 64)
		return run_fail(rn, EDOM, "'indent' by %lld", (long long)n);
	for (size_t at = 0; at < in->s.len && rc == 0;) {
		const char *nl = memchr(in->s.text + at, '\n', in->s.len - at);
		size_t end = nl ? (size_t)(nl - in->s.text) + 1 : in->s.len;
		struct val line = part_of(in->s, at, end);

		if ((at || (first && val_true(first))) && in->s.text[at] != '\n')
			for (int64_t i = 0; i < n; i++) {
				buf_putc(&text, ' ');
				buf_putc(&taint, 0);
			}
		rc = val_print(rn, &line, &text, &taint);
		at = end;
	}
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

static bool is_text_filter(const char *name, size_t len)
{
	static const char *const names[] = {
		"trim", "upper", "lower", "capitalize", "title", "replace", "indent"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (named(name, len, names[i]))
			return true;
	return false;
}

static int text_filter(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out)
{
	const struct val nothing = val_text("");
	int rc = 0;

	in = in->kind == VAL_UNDEFINED ? &nothing : in;
	rc = need_text(rn, in, name, len);
	if (rc < 0)
		return rc;
	if (named(name, len, "trim")) {
		*out = strip(in->s, SIDE_LEFT | SIDE_RIGHT, arg(args, 0, "chars"));
		return 0;
	}
	if (named(name, len, "replace"))
		return replace(rn, in->s, arg(args, 0, "old"), arg(args, 1, "new"), out);
	if (named(name, len, "indent"))
		return indent(rn, in, args, out);
	return letters(rn, in->s,
		*name == 'u'   ? LETTERS_UPPER
		: *name == 'l' ? LETTERS_LOWER
		: *name == 'c' ? LETTERS_CAPITAL
			       : LETTERS_TITLE,
		out);
}

int filter_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out)
{
	const struct val *fallback;

	if (named(name, len, "default") || named(name, len, "d")) {
		const struct val *strict = arg(args, 1, "boolean");
		bool use = in->kind == VAL_UNDEFINED ||
			   (strict && val_true(strict) && !val_true(in));

		fallback = arg(args, 0, "default_value");
		*out = !use ? *in : fallback ? *fallback : val_text("");
		return 0;
	}
	if (named(name, len, "tojson"))
		return to_json(rn, in, args, out);
	if (named(name, len, "length") || named(name, len, "count"))
		return length(rn, in, out);
	if (named(name, len, "join"))
		return join(rn, in, arg(args, 0, "d"), val_get(&args->keyed, "attribute", 9), out);
	if (named(name, len, "first") || named(name, len, "last"))
		return end_of(rn, in, *name == 'l', out);
	if (named(name, len, "items"))
		return items(rn, in, out);
	if (named(name, len, "map"))
		return map(rn, in, args, out);
	if (named(name, len, "select") || named(name, len, "reject"))
		return choose(rn, in, args, false, *name == 's', out);
	if (named(name, len, "selectattr") || named(name, len, "rejectattr"))
		return choose(rn, in, args, true, *name == 's', out);
	if (named(name, len, "reverse"))
		return reverse(rn, in, out);
	if (named(name, len, "string"))
		return to_text(rn, in, out);
	if (named(name, len, "int"))
		return to_int(in, out);
	if (named(name, len, "safe") || (named(name, len, "list") && in->kind == VAL_LIST)) {
		*out = *in;
		return 0;
	}
	if (is_text_filter(name, len))
		return text_filter(rn, name, len, in, args, out);
	return run_fail(rn, EOPNOTSUPP, "filter '%.*s' is not in the subset", (int)len, name);
}

/* ---- tests ---- */

static bool is_sequence(const struct val *v)
{
	return v->kind == VAL_LIST || v->kind == VAL_STR || v->kind == VAL_DICT;
}

int test_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, bool *out)
{
	const struct val *other = arg(args, 0, NULL);
	const struct {
		const char *name;
		bool yes;
	} plain[] = {
		{"defined", in->kind != VAL_UNDEFINED},
		{"undefined", in->kind == VAL_UNDEFINED},
		{"none", in->kind == VAL_NONE},
		{"string", in->kind == VAL_STR},
		{"mapping", in->kind == VAL_DICT},
		{"sequence", is_sequence(in)},
		{"iterable", is_sequence(in) || in->kind == VAL_UNDEFINED},
		{"boolean", in->kind == VAL_BOOL},
		{"number", in->kind == VAL_INT || in->kind == VAL_FLOAT || in->kind == VAL_BOOL},
		{"integer", in->kind == VAL_INT},
		{"float", in->kind == VAL_FLOAT},
		{"true", in->kind == VAL_BOOL && in->i},
		{"false", in->kind == VAL_BOOL && !in->i},
		{"callable", in->kind == VAL_MACRO || in->kind == VAL_FUNC},
		{"odd", in->kind == VAL_INT && in->i % 2 != 0},
		{"even", in->kind == VAL_INT && in->i % 2 == 0},
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (named(name, len, plain[i].name)) {
			*out = plain[i].yes;
			return 0;
		}
	if (!other)
		return run_fail(rn, EOPNOTSUPP, "test '%.*s' is not in the subset", (int)len, name);
	if (named(name, len, "equalto") || named(name, len, "eq") || named(name, len, "==")) {
		*out = val_equal(in, other);
		return 0;
	}
	if (named(name, len, "ne")) {
		*out = !val_equal(in, other);
		return 0;
	}
	if (!named(name, len, "in") || other->kind != VAL_LIST)
		return run_fail(rn, EOPNOTSUPP, "test '%.*s' is not in the subset", (int)len, name);
	*out = false;
	for (size_t i = 0; i < other->list->n; i++)
		*out = *out || val_equal(&other->list->item[i], in);
	return 0;
}

/* ---- methods ---- */

static int split(struct run *rn, struct val_str s, const struct val *by, const struct val *most,
	struct val *out)
{
	int64_t left = most && most->kind == VAL_INT && most->i >= 0 ? most->i : INT64_MAX;
	size_t at = 0;
	int rc = val_new_list(rn, out);

	if (rc == 0 && (!by || by->kind != VAL_STR || !by->s.len))
		return run_fail(rn, EOPNOTSUPP, "'split' at blanks is not in the subset");
	while (rc == 0) {
		const char *hit = left-- > 0 ? memmem(s.text + at, s.len - at, by->s.text, by->s.len)
					     : NULL;

		rc = val_push(
			rn, out->list, part_of(s, at, hit ? (size_t)(hit - s.text) : s.len));
		if (!hit)
			break;
		at = (size_t)(hit - s.text) + by->s.len;
	}
	return rc;
}

static bool has_end(struct val_str s, const struct val *end, bool start)
{
	return end->kind == VAL_STR && end->s.len <= s.len &&
	       memcmp(s.text + (start ? 0 : s.len - end->s.len), end->s.text, end->s.len) == 0;
}

/* startswith, endswith: of one text, or of any of a tuple's */
static int ends(struct run *rn, struct val_str s, const struct val *with, bool start,
	struct val *out)
{
	if (!with || (with->kind != VAL_STR && with->kind != VAL_LIST))
		return run_fail(rn, EDOM, "'startswith' or 'endswith' without a text");
	*out = val_bool(has_end(s, with, start));
	for (size_t i = 0; with->kind == VAL_LIST && i < with->list->n; i++)
		if (has_end(s, &with->list->item[i], start))
			*out = val_bool(true);
	return 0;
}

static int text_method(struct run *rn, const struct val *self, const char *name, size_t len,
	const struct args *args, struct val *out)
{
	const struct val *first = arg(args, 0, NULL);

	if (named(name, len, "strip") || named(name, len, "lstrip") || named(name, len, "rstrip")) {
		*out = strip(self->s,
			*name == 's'   ? SIDE_LEFT | SIDE_RIGHT
			: *name == 'l' ? SIDE_LEFT
				       : SIDE_RIGHT,
			first);
		return 0;
	}
	if (named(name, len, "split"))
		return split(rn, self->s, arg(args, 0, "sep"), arg(args, 1, "maxsplit"), out);
	if (named(name, len, "startswith") || named(name, len, "endswith"))
		return ends(rn, self->s, first, *name == 's', out);
	if (named(name, len, "join"))
		return first ? join(rn, first, self, NULL, out)
			     : run_fail(rn, EDOM, "'join' without a list");
	if (is_text_filter(name, len) && !named(name, len, "trim") && !named(name, len, "indent"))
		return text_filter(rn, name, len, self, args, out);
	return run_fail(rn, EOPNOTSUPP, "method '%.*s' is not in the subset", (int)len, name);
}

int method_run(struct run *rn, const struct val *self, const char *name, size_t len,
	const struct args *args, struct val *out)
{
	if (self->kind == VAL_STR)
		return text_method(rn, self, name, len, args, out);
	if (self->kind == VAL_DICT && named(name, len, "items"))
		return items(rn, self, out);
	if (self->kind == VAL_DICT && (named(name, len, "keys") || named(name, len, "values"))) {
		int rc = val_new_list(rn, out);

		if (rc == 0)
			*out->list = *name == 'k' ? self->dict->key : self->dict->value;
		return rc;
	}
	if (self->kind == VAL_DICT && named(name, len, "get") && arg(args, 0, NULL)) {
		const struct val *fallback = arg(args, 1, NULL);

		*out = member_of(self, arg(args, 0, NULL));
		if (out->kind == VAL_UNDEFINED)
			*out = fallback ? *fallback : (struct val){.kind = VAL_NONE};
		return 0;
	}
	if (self->kind == VAL_LIST && named(name, len, "append") && args->plain.n == 1) {
		*out = (struct val){.kind = VAL_NONE};
		return val_push(rn, self->list, args->plain.item[0]);
	}
	if (self->kind == VAL_UNDEFINED)
		return run_fail(rn, EDOM, "'%.*s' of something undefined", (int)len, name);
	return run_fail(rn, EOPNOTSUPP, "method '%.*s' is not in the subset", (int)len, name);
}
