/*
 * constrain_regex - a regular expression as an automaton: the part of JavaScript's language that
 * is regular. A greedy or lazy repeat is the same set of texts; what looks around or back is
 * refused by name. A repeat of n copies reads its atom n times.
 */
#include <errno.h>
#include <string.h>

#include "trainer/constrain_nfa.h"

struct parser {
	struct nfa *f;
	const char *text;
	size_t len, at;
	bool quoted, search;
	int depth;
	struct err *err;
};

static int wrong(struct parser *p, const char *what)
{
	return err_set(p->err, EINVAL, "pattern: %s at byte %zu", what, p->at);
}

static bool next_is(const struct parser *p, const char *text)
{
	size_t n = strlen(text);

	return p->len - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

static bool eat(struct parser *p, const char *text)
{
	if (!next_is(p, text))
		return false;
	p->at += strlen(text);
	return true;
}

/* one code point of valid UTF-8 */
static uint32_t take(struct parser *p)
{
	unsigned char c = (unsigned char)p->text[p->at++];
	int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	uint32_t out = more ? c & (0x3fu >> more) : c;

	for (; more > 0 && p->at < p->len; more--)
		out = out << 6 | ((unsigned char)p->text[p->at++] & 0x3f);
	return out;
}

static int hex(struct parser *p, int min, int max, uint32_t *out)
{
	int n = 0;

	for (*out = 0; n < max && p->at < p->len; n++, p->at++) {
		char c = p->text[p->at];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			break;
		*out = *out << 4 | (uint32_t)digit;
	}
	return n < min || *out > 0x10ffff ? wrong(p, "hexadecimal digits expected") : 0;
}

/* \d \w \s and their opposites; false when ${c} is none */
static bool class_of(uint32_t c, struct charset *set)
{
	static const uint32_t space[][2] = {{9, 13}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680},
		{0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
		{0x3000, 0x3000}, {0xfeff, 0xfeff}};
	struct charset out = {.n = 0};

	if (c == 'd' || c == 'D') {
		charset_add(&out, '0', '9');
	} else if (c == 'w' || c == 'W') {
		charset_add(&out, '0', '9');
		charset_add(&out, 'A', 'Z');
		charset_add(&out, '_', '_');
		charset_add(&out, 'a', 'z');
	} else if (c == 's' || c == 'S') {
		for (size_t i = 0; i < sizeof(space) / sizeof(space[0]); i++)
			charset_add(&out, space[i][0], space[i][1]);
	} else {
		return false;
	}
	if (c < 'a')
		charset_invert(&out);
	for (int i = 0; i < out.n; i++)
		charset_add(set, out.range[i].lo, out.range[i].hi);
	return true;
}

/* what stands behind a backslash; *is_class: it was added to ${set}, otherwise *c is the character
 */
static int escape(struct parser *p, struct charset *set, bool *is_class, uint32_t *c)
{
	static const char sign[] = "tnvfr0", plain[] = "\t\n\v\f\r";
	const char *found;
	int rc = 0;

	*is_class = false;
	if (p->at == p->len)
		return wrong(p, "nothing behind the backslash");
	*c = take(p);
	if (class_of(*c, set)) {
		*is_class = true;
	} else if (*c == 'x') {
		rc = hex(p, 2, 2, c);
	} else if (*c == 'u' && eat(p, "{")) {
		rc = hex(p, 1, 6, c);
		if (rc == 0 && !eat(p, "}"))
			rc = wrong(p, "'}' expected");
	} else if (*c == 'u') {
		rc = hex(p, 4, 4, c);
	} else if (*c < 0x80 && (found = strchr(sign, (int)*c)) != NULL && *found) {
		*c = (unsigned char)plain[found - sign];
	} else if ((*c >= '1' && *c <= '9') || *c == 'k') {
		rc = wrong(p, "a reference to a group is not regular");
	} else if (*c == 'b' || *c == 'B') {
		rc = wrong(p, "word boundaries are not supported");
	} else if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')) {
		rc = wrong(p, "unknown escape");
	}
	return rc;
}

/* one end of a range inside brackets */
static int bracket_item(struct parser *p, struct charset *set, bool *is_class, uint32_t *c)
{
	*is_class = false;
	if (eat(p, "\\b")) {
		*c = '\b';
		return 0;
	}
	if (eat(p, "\\-")) {
		*c = '-';
		return 0;
	}
	if (eat(p, "\\"))
		return escape(p, set, is_class, c);
	*c = take(p);
	return 0;
}

static int brackets(struct parser *p, struct charset *set)
{
	bool inverted = eat(p, "^"), is_class, is_class_too;
	uint32_t lo, hi;
	int rc;

	while (!eat(p, "]")) {
		if (p->at == p->len)
			return wrong(p, "']' expected");
		rc = bracket_item(p, set, &is_class, &lo);
		if (rc < 0)
			return rc;
		hi = lo;
		if (!is_class && next_is(p, "-") && !next_is(p, "-]") && p->len - p->at > 1) {
			p->at++;
			rc = bracket_item(p, set, &is_class_too, &hi);
			if (rc == 0 && (is_class_too || hi < lo))
				rc = wrong(p, "range out of order");
			if (rc < 0)
				return rc;
		}
		if (!is_class && !charset_add(set, lo, hi))
			return wrong(p, "too many ranges in a class");
	}
	if (inverted && !charset_invert(set))
		return wrong(p, "too many ranges in a class");
	return 0;
}

static int put_set(struct parser *p, int from, const struct charset *set, int to)
{
	return nfa_set(p->f, from, set, p->quoted, to) || p->f->failed
		       ? 0
		       : wrong(p, "a class that matches nothing, ending");
}

static int alternatives(struct parser *p, int from, int to);

static int group(struct parser *p, int from, int to)
{
	int rc;

	if (++p->depth > NFA_NESTING_MAX)
		return wrong(p, "groups nested deeper than 32");
	if (next_is(p, "?=") || next_is(p, "?!") || next_is(p, "?<=") || next_is(p, "?<!"))
		return wrong(p, "looking around is not regular");
	if (next_is(p, "?") && !eat(p, "?:"))
		return wrong(p, "only (?: ) and ( ) are known");
	rc = alternatives(p, from, to);
	if (rc == 0 && !p->f->failed && !eat(p, ")"))
		rc = wrong(p, "')' expected");
	p->depth--;
	return rc;
}

static int atom(struct parser *p, int from, int to)
{
	struct charset set = {.n = 0};
	bool is_class;
	uint32_t c;
	int rc;

	if (eat(p, "("))
		return group(p, from, to);
	if (eat(p, "[")) {
		rc = brackets(p, &set);
		return rc < 0 ? rc : put_set(p, from, &set, to);
	}
	if (eat(p, ".")) {
		charset_add(&set, '\n', '\n');
		charset_add(&set, '\r', '\r');
		charset_add(&set, 0x2028, 0x2029);
		charset_invert(&set);
		return put_set(p, from, &set, to);
	}
	if (strchr("^$*+?{}])", p->text[p->at]) != NULL)
		return wrong(p, next_is(p, "^") || next_is(p, "$")
					? "^ and $ work only at the ends of the pattern"
					: "unexpected character");
	is_class = eat(p, "\\");
	if (!is_class) {
		c = take(p);
	} else {
		rc = escape(p, &set, &is_class, &c);
		if (rc < 0)
			return rc;
	}
	if (!is_class)
		charset_add(&set, c, c);
	return put_set(p, from, &set, to);
}

static int number(struct parser *p, int *out)
{
	size_t from = p->at;

	for (*out = 0; p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
		*out = *out * 10 + (p->text[p->at] - '0');
		if (*out > REPEAT_MAX)
			return wrong(p, "more than 4096 repeats");
	}
	return p->at > from ? 0 : wrong(p, "number expected");
}

/* min, max; max -1: without end */
static int quantifier(struct parser *p, int *min, int *max)
{
	int rc = 0;

	*min = *max = 1;
	if (eat(p, "*")) {
		*min = 0;
		*max = -1;
	} else if (eat(p, "+")) {
		*max = -1;
	} else if (eat(p, "?")) {
		*min = 0;
	} else if (eat(p, "{")) {
		rc = number(p, min);
		*max = *min;
		if (rc == 0 && eat(p, ",")) {
			*max = -1;
			if (!next_is(p, "}"))
				rc = number(p, max);
		}
		if (rc == 0 && !eat(p, "}"))
			rc = wrong(p, "'}' expected");
		if (rc == 0 && *max >= 0 && *max < *min)
			rc = wrong(p, "repeats out of order");
	} else {
		return 0;
	}
	if (rc == 0)
		(void)eat(p, "?"); /* lazy: the same texts */
	return rc;
}

/* an atom and its repeats from ${from} to ${to} */
static int piece(struct parser *p, int from, int to)
{
	size_t begin = p->at, end;
	int a = nfa_node(p->f), b = nfa_node(p->f), min, max, rc;

	rc = atom(p, a, b);
	if (rc == 0)
		rc = quantifier(p, &min, &max);
	if (rc < 0)
		return rc;
	end = p->at;
	for (int i = 0; rc == 0 && !p->f->failed; i++) {
		if (i >= min)
			nfa_free_edge(p->f, from, to);
		if (i == max)
			break;
		nfa_free_edge(p->f, from, a);
		if (max < 0 && i + 1 >= min) {
			nfa_free_edge(p->f, b, a);
			nfa_free_edge(p->f, b, to);
			break;
		}
		from = b;
		if (i + 1 == max)
			continue;
		a = nfa_node(p->f);
		b = nfa_node(p->f);
		p->at = begin;
		nfa_read(p->f, end - begin);
		rc = atom(p, a, b);
	}
	p->at = end;
	return rc;
}

static int anything(struct parser *p, int from, int to)
{
	struct charset all = {.n = 0};
	int loop = nfa_node(p->f), rc;

	charset_add(&all, 0, 0x10ffff);
	nfa_free_edge(p->f, from, loop);
	nfa_free_edge(p->f, loop, to);
	rc = put_set(p, loop, &all, loop);
	return rc;
}

static int alternative(struct parser *p, int from, int to)
{
	bool is_top = p->depth == 0;
	int rc = 0;

	if (is_top && !eat(p, "^") && p->search) {
		int next = nfa_node(p->f);

		rc = anything(p, from, next);
		from = next;
	}
	while (rc == 0 && !p->f->failed && p->at < p->len && !next_is(p, "|") && !next_is(p, ")")) {
		int next;

		if (is_top && next_is(p, "$") &&
			(p->at + 1 == p->len || p->text[p->at + 1] == '|')) {
			p->at++;
			nfa_free_edge(p->f, from, to);
			return 0;
		}
		next = nfa_node(p->f);
		rc = piece(p, from, next);
		from = next;
	}
	if (rc == 0 && is_top && p->search)
		return anything(p, from, to);
	nfa_free_edge(p->f, from, to);
	return rc;
}

static int alternatives(struct parser *p, int from, int to)
{
	int rc;

	do {
		rc = alternative(p, from, to);
	} while (rc == 0 && eat(p, "|"));
	return rc;
}

int nfa_regex(struct nfa *f, int from, const char *pattern, size_t len, bool quoted, bool search,
	int to, struct err *err)
{
	struct parser p = {.f = f,
		.text = pattern,
		.len = len,
		.quoted = quoted,
		.search = search,
		.err = err};
	int rc;

	if (memchr(pattern, '\0', len) != NULL)
		return err_set(err, EINVAL, "pattern: a zero byte");
	rc = alternatives(&p, from, to);
	if (rc == 0 && p.at < len && !f->failed)
		rc = wrong(&p, "')' without '('");
	return rc;
}
