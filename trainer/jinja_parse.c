/*
 * jinja_parse - template text to a tree. Recursive descent; the names of the functions are those of
 * Jinja's grammar, from the loosest binding to the tightest.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja_inside.h"

enum token {
	TOKEN_END_OF_TAG,
	TOKEN_WORD,
	TOKEN_STRING,
	TOKEN_INTEGER,
	TOKEN_REAL,
	TOKEN_SIGN, /* one or two characters */
};

struct parser {
	struct jinja *jn;
	struct err *err;
	const char *text; /* with \r\n as \n, owned by the arena */
	const char *at;
	const char *end;
	int line;
	int depth;
	/* the token at hand, inside a tag */
	enum token token;
	const char *word; /* its text; of a string decoded */
	size_t len;
	int64_t number;
	double real;
	bool fresh_line; /* the last piece of text or tag ended a line */
};

static int fail(struct parser *ps, int no, const char *what)
{
	return err_set(ps->err, no, "chat template line %d: %s", ps->line, what);
}

static struct node *node_new(struct parser *ps, enum node_kind kind)
{
	struct node *nd = arena_take(&ps->jn->arena, sizeof(*nd));

	if (!nd) {
		fail(ps, E2BIG, "needs too much memory");
		return NULL;
	}
	nd->kind = kind;
	nd->line = ps->line;
	return nd;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* a string literal from behind its quote */
static int lex_string(struct parser *ps, char quote)
{
	char *out;
	const char *from = ps->at;
	size_t n = 0;

	while (ps->at < ps->end && *ps->at != quote)
		ps->at += *ps->at == '\\' && ps->at + 1 < ps->end ? 2 : 1;
	if (ps->at >= ps->end)
		return fail(ps, EBADMSG, "a text without its closing quote");
	out = arena_take(&ps->jn->arena, (size_t)(ps->at - from) + 1);
	if (!out)
		return fail(ps, E2BIG, "needs too much memory");
	for (; from < ps->at; from++) {
		ps->line += *from == '\n';
		if (*from != '\\') {
			out[n++] = *from;
			continue;
		}
		switch (*++from) {
		case '\n': /* the line goes on */
			ps->line++;
			break;
		case 'n':
			out[n++] = '\n';
			break;
		case 't':
			out[n++] = '\t';
			break;
		case 'r':
			out[n++] = '\r';
			break;
		case '\\':
		case '\'':
		case '"':
			out[n++] = *from;
			break;
		default:
			if (strchr("01234567abfvxuUN", *from))
				return fail(ps, EOPNOTSUPP,
					"an escape that is not \\n \\t \\r \\\\ \\' \\\"");
			out[n++] = '\\'; /* no escape at all, as in Python */
			out[n++] = *from;
		}
	}
	ps->at++;
	ps->token = TOKEN_STRING;
	ps->word = out;
	ps->len = n;
	return 0;
}

static int lex_number(struct parser *ps)
{
	char digits[32];
	size_t n = 0;
	bool real = false;

	for (; ps->at < ps->end && n < sizeof(digits) - 1; ps->at++) {
		if (*ps->at == '.' && !real && ps->at + 1 < ps->end &&
			isdigit((unsigned char)ps->at[1]))
			real = true;
		else if (!isdigit((unsigned char)*ps->at))
			break;
		digits[n++] = *ps->at;
	}
	digits[n] = '\0';
	if (n > 15)
		return fail(ps, EOPNOTSUPP, "a number of more than 15 digits");
	ps->token = real ? TOKEN_REAL : TOKEN_INTEGER;
	ps->real = strtod(digits, NULL);
	ps->number = real ? 0 : (int64_t)ps->real;
	return 0;
}

/* the next token of a tag; ${close}, "%}" or "}}" with or without a sign before it, ends it */
static int lex(struct parser *ps)
{
	static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};

	while (ps->at < ps->end && isspace((unsigned char)*ps->at))
		ps->line += *ps->at++ == '\n';
	if (ps->at >= ps->end)
		return fail(ps, EBADMSG, "a tag without its end");
	ps->word = ps->at;
	if (*ps->at == '"' || *ps->at == '\'')
		return lex_string(ps, *ps->at++);
	if (isdigit((unsigned char)*ps->at))
		return lex_number(ps);
	ps->len = 1;
	if (isalpha((unsigned char)*ps->at) || *ps->at == '_') {
		while (ps->at < ps->end && in_word(*ps->at))
			ps->at++;
		ps->token = TOKEN_WORD;
		ps->len = (size_t)(ps->at - ps->word);
		return 0;
	}
	ps->token = TOKEN_SIGN;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]) && ps->at + 1 < ps->end; i++)
		if (memcmp(ps->at, pairs[i], 2) == 0)
			ps->len = 2;
	const char *close = *ps->at == '-' || *ps->at == '+' ? ps->at + 1 : ps->at;

	if (ps->end - close >= 2 && (memcmp(close, "%}", 2) == 0 || memcmp(close, "}}", 2) == 0)) {
		/* in {{ {} }} the first brace closes a dictionary: its parser asks for "}" first */
		ps->token = TOKEN_END_OF_TAG;
		ps->len = (size_t)(close + 2 - ps->at);
		return 0;
	}
	ps->at += ps->len;
	return 0;
}

static bool at_sign(const struct parser *ps, const char *sign)
{
	return ps->token == TOKEN_SIGN && ps->len == strlen(sign) &&
	       memcmp(ps->word, sign, ps->len) == 0;
}

static bool at_word(const struct parser *ps, const char *word)
{
	return ps->token == TOKEN_WORD && ps->len == strlen(word) &&
	       memcmp(ps->word, word, ps->len) == 0;
}

/* take a sign if it is there: 1, 0, or an error from reading on */
static int take_sign(struct parser *ps, const char *sign)
{
	int rc;

	/* "}}" may be the end of a dictionary in front of the end of its tag */
	if (*sign == '}' && ps->token == TOKEN_END_OF_TAG && *ps->word == '}') {
		ps->at = ps->word + 1;
		rc = lex(ps);
		return rc < 0 ? rc : 1;
	}
	if (!at_sign(ps, sign))
		return 0;
	rc = lex(ps);
	return rc < 0 ? rc : 1;
}

static int take_word(struct parser *ps, const char *word)
{
	int rc;

	if (!at_word(ps, word))
		return 0;
	rc = lex(ps);
	return rc < 0 ? rc : 1;
}

static int need_sign(struct parser *ps, const char *sign)
{
	char what[32];
	int rc = take_sign(ps, sign);

	if (rc == 0) {
		strcpy(what, "\"");
		strcat(strcat(what, sign), "\" is missing");
		rc = fail(ps, EBADMSG, what);
	}
	return rc < 0 ? rc : 0;
}

static int parse_choose(struct parser *ps, struct node **out);

static int nested(struct parser *ps, struct node **out)
{
	int rc;

	if (++ps->depth > JINJA_DEPTH)
		return fail(ps, E2BIG, "is nested too deep");
	rc = parse_choose(ps, out);
	ps->depth--;
	return rc;
}

/* expressions up to ${close}; with ${keywords} as NODE_ARG */
static int parse_list(
	struct parser *ps, const char *close, bool keywords, struct node **list, bool *comma)
{
	struct node **end = list;
	int rc;

	*comma = false;
	while ((rc = take_sign(ps, close)) == 0) {
		struct node *item, *wrap;

		if (at_sign(ps, "*") || at_sign(ps, "**"))
			return fail(ps, EOPNOTSUPP, "unpacked arguments are not in the subset");
		rc = nested(ps, &item);
		if (rc < 0)
			return rc;
		wrap = node_new(ps, NODE_ARG);
		if (!wrap)
			return -E2BIG;
		wrap->a = item;
		if (keywords && item->kind == NODE_NAME && at_sign(ps, "=")) {
			wrap->text = item->text;
			wrap->len = item->len;
			rc = lex(ps);
			if (rc == 0)
				rc = nested(ps, &wrap->a);
			if (rc < 0)
				return rc;
		}
		*end = wrap;
		end = &wrap->next;
		rc = take_sign(ps, ",");
		if (rc < 0)
			return rc;
		*comma = *comma || rc;
		if (rc == 0) {
			rc = need_sign(ps, close);
			return rc;
		}
	}
	return rc < 0 ? rc : 0;
}

static int parse_dict(struct parser *ps, struct node *dict)
{
	struct node **end = &dict->names;
	int rc;

	while ((rc = take_sign(ps, "}")) == 0) {
		struct node *pair = node_new(ps, NODE_ARG);

		if (!pair)
			return -E2BIG;
		rc = nested(ps, &pair->a);
		if (rc == 0)
			rc = need_sign(ps, ":");
		if (rc == 0)
			rc = nested(ps, &pair->b);
		if (rc < 0)
			return rc;
		*end = pair;
		end = &pair->next;
		rc = take_sign(ps, ",");
		if (rc < 0)
			return rc;
		if (rc == 0)
			return need_sign(ps, "}");
	}
	return rc < 0 ? rc : 0;
}

static int parse_word(struct parser *ps, struct node **out)
{
	static const struct {
		const char *word;
		enum node_kind kind;
		int value;
	} constants[] = {{"true", NODE_BOOL, 1}, {"True", NODE_BOOL, 1}, {"false", NODE_BOOL, 0},
		{"False", NODE_BOOL, 0}, {"none", NODE_NONE, 0}, {"None", NODE_NONE, 0}};
	struct node *nd = node_new(ps, NODE_NAME);

	if (!nd)
		return -E2BIG;
	nd->text = ps->word;
	nd->len = ps->len;
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		if (at_word(ps, constants[i].word)) {
			nd->kind = constants[i].kind;
			nd->number = constants[i].value;
		}
	*out = nd;
	return lex(ps);
}

/* neighbouring texts are one */
static int parse_string(struct parser *ps, struct node **out)
{
	struct node *nd = node_new(ps, NODE_STRING);
	int rc = 0;

	if (!nd)
		return -E2BIG;
	nd->text = ps->word;
	nd->len = ps->len;
	rc = lex(ps);
	while (rc == 0 && ps->token == TOKEN_STRING) {
		char *both = arena_take(&ps->jn->arena, nd->len + ps->len + 1);

		if (!both)
			return fail(ps, E2BIG, "needs too much memory");
		memcpy(both, nd->text, nd->len);
		memcpy(both + nd->len, ps->word, ps->len);
		nd->text = both;
		nd->len += ps->len;
		rc = lex(ps);
	}
	*out = nd;
	return rc;
}

static int parse_number(struct parser *ps, struct node **out)
{
	struct node *nd = node_new(ps, ps->token == TOKEN_REAL ? NODE_FLOAT : NODE_INT);

	if (!nd)
		return -E2BIG;
	nd->number = ps->number;
	nd->real = ps->real;
	*out = nd;
	return lex(ps);
}

/* what stands in parentheses: one expression, or a tuple, which is a list to us */
static int parse_group(struct parser *ps, struct node **out)
{
	struct node *items = NULL;
	bool comma;
	int rc = parse_list(ps, ")", false, &items, &comma);

	if (rc < 0)
		return rc;
	if (items && !items->next && !comma) {
		*out = items->a;
		return 0;
	}
	*out = node_new(ps, NODE_LIST);
	if (!*out)
		return -E2BIG;
	(*out)->names = items;
	return 0;
}

static int parse_atom(struct parser *ps, struct node **out)
{
	bool comma;
	int rc;

	if (ps->token == TOKEN_STRING)
		return parse_string(ps, out);
	if (ps->token == TOKEN_INTEGER || ps->token == TOKEN_REAL)
		return parse_number(ps, out);
	if (ps->token == TOKEN_WORD)
		return parse_word(ps, out);
	rc = take_sign(ps, "(");
	if (rc)
		return rc < 0 ? rc : parse_group(ps, out);
	rc = take_sign(ps, "[");
	if (rc > 0) {
		*out = node_new(ps, NODE_LIST);
		return *out ? parse_list(ps, "]", false, &(*out)->names, &comma) : -E2BIG;
	}
	if (rc == 0)
		rc = take_sign(ps, "{");
	if (rc > 0) {
		*out = node_new(ps, NODE_DICT);
		return *out ? parse_dict(ps, *out) : -E2BIG;
	}
	return rc < 0 ? rc : fail(ps, EBADMSG, "an expression is missing");
}

/* behind "[": an index, or a slice */
static int parse_subscript(struct parser *ps, struct node *of, struct node **out)
{
	struct node *part[3] = {NULL, NULL, NULL}, *nd;
	int n = 0, rc;

	for (;;) {
		if (!at_sign(ps, ":") && !at_sign(ps, "]")) {
			rc = nested(ps, &part[n]);
			if (rc < 0)
				return rc;
		}
		rc = n < 2 ? take_sign(ps, ":") : 0;
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		n++;
	}
	rc = need_sign(ps, "]");
	if (rc < 0)
		return rc;
	nd = node_new(ps, n ? NODE_SLICE : NODE_INDEX);
	if (!nd || (!n && !part[0]))
		return nd ? fail(ps, EBADMSG, "an index is missing") : -E2BIG;
	nd->a = of;
	nd->b = n ? NULL : part[0];
	for (int i = 2; n && i >= 0; i--) {
		struct node *wrap = node_new(ps, NODE_ARG);

		if (!wrap)
			return -E2BIG;
		wrap->a = part[i];
		wrap->next = nd->names;
		nd->names = wrap;
	}
	*out = nd;
	return 0;
}

/* calls, attributes and indices bind tightest */
static int parse_postfix(struct parser *ps, struct node **out)
{
	bool comma;
	int rc = parse_atom(ps, out);

	while (rc == 0) {
		struct node *nd = NULL;

		if ((rc = take_sign(ps, ".")) > 0) {
			if (ps->token != TOKEN_WORD)
				return fail(ps, EBADMSG, "a name is missing behind a point");
			nd = node_new(ps, NODE_ATTR);
			if (!nd)
				return -E2BIG;
			nd->a = *out;
			nd->text = ps->word;
			nd->len = ps->len;
			*out = nd;
			rc = lex(ps);
		} else if (rc == 0 && (rc = take_sign(ps, "[")) > 0) {
			rc = parse_subscript(ps, *out, out);
		} else if (rc == 0 && (rc = take_sign(ps, "(")) > 0) {
			nd = node_new(ps, NODE_CALL);
			if (!nd)
				return -E2BIG;
			nd->a = *out;
			*out = nd;
			rc = parse_list(ps, ")", true, &nd->names, &comma);
		} else if (rc == 0) {
			break;
		}
	}
	return rc;
}

/* what a test without parentheses may take as its argument */
static bool at_argument(const struct parser *ps)
{
	if (ps->token == TOKEN_WORD)
		return !at_word(ps, "else") && !at_word(ps, "or") && !at_word(ps, "and") &&
		       !at_word(ps, "if") && !at_word(ps, "is") && !at_word(ps, "in") &&
		       !at_word(ps, "not");
	return ps->token == TOKEN_STRING || ps->token == TOKEN_INTEGER ||
	       ps->token == TOKEN_REAL || at_sign(ps, "[") || at_sign(ps, "{");
}

/* a name and perhaps arguments; a test takes one without parentheses too */
static int parse_filter_or_test(struct parser *ps, enum node_kind kind, struct node **io)
{
	struct node *nd = node_new(ps, kind), *item;
	bool comma;
	int rc;

	if (!nd)
		return -E2BIG;
	if (ps->token != TOKEN_WORD && !at_sign(ps, "=="))
		return fail(ps, EBADMSG, "the name of a filter or test is missing");
	nd->a = *io;
	nd->text = ps->word;
	nd->len = ps->len;
	*io = nd;
	rc = lex(ps);
	if (rc < 0)
		return rc;
	rc = take_sign(ps, "(");
	if (rc)
		return rc < 0 ? rc : parse_list(ps, ")", true, &nd->names, &comma);
	if (kind != NODE_TEST || !at_argument(ps))
		return 0;
	rc = parse_postfix(ps, &item);
	nd->names = rc < 0 ? NULL : node_new(ps, NODE_ARG);
	if (!nd->names)
		return rc < 0 ? rc : -E2BIG;
	nd->names->a = item;
	return 0;
}

/* "is [not] NAME" */
static int parse_test(struct parser *ps, struct node **io)
{
	int negated = take_word(ps, "not"), rc;
	struct node *not;

	rc = negated < 0 ? negated : parse_filter_or_test(ps, NODE_TEST, io);
	if (rc < 0 || !negated)
		return rc;
	not = node_new(ps, NODE_NOT);
	if (!not)
		return -E2BIG;
	not->a = *io;
	*io = not;
	return 0;
}

static int parse_negation(struct parser *ps, struct node **out)
{
	int minus = take_sign(ps, "-"), rc;
	struct node *nd;

	if (minus <= 0)
		return minus < 0 ? minus : parse_postfix(ps, out);
	nd = node_new(ps, NODE_NEGATE);
	if (!nd || ++ps->depth > JINJA_DEPTH)
		return fail(ps, E2BIG, "is nested too deep");
	rc = parse_negation(ps, &nd->a);
	ps->depth--;
	*out = nd;
	return rc;
}

/* filters and tests, which bind looser than a minus and tighter than anything else */
static int parse_unary(struct parser *ps, struct node **out)
{
	int rc = parse_negation(ps, out);

	while (rc == 0) {
		rc = take_sign(ps, "|");
		if (rc > 0) {
			rc = parse_filter_or_test(ps, NODE_FILTER, out);
			continue;
		}
		if (rc == 0)
			rc = take_word(ps, "is");
		if (rc <= 0)
			break;
		rc = parse_test(ps, out);
	}
	return rc;
}

struct level {
	const char *sign;
	enum binary_op op;
};

static int binary(struct parser *ps, enum binary_op op, struct node **io,
	int (*next)(struct parser *, struct node **))
{
	struct node *nd = node_new(ps, NODE_BINARY);
	int rc;

	if (!nd)
		return -E2BIG;
	nd->op = op;
	nd->a = *io;
	rc = next(ps, &nd->b);
	*io = nd;
	return rc;
}

static int parse_level(struct parser *ps, const struct level *level, int n, struct node **out,
	int (*next)(struct parser *, struct node **))
{
	int rc = next(ps, out);

	for (int i = 0; i < n && rc == 0; i++) {
		rc = take_sign(ps, level[i].sign);
		if (rc > 0) {
			rc = binary(ps, level[i].op, out, next);
			i = -1;
		}
	}
	return rc;
}

static int parse_product(struct parser *ps, struct node **out)
{
	static const struct level level[] = {
		{"*", OP_MUL}, {"/", OP_DIV}, {"//", OP_FLOOR}, {"%", OP_MOD}};

	return parse_level(ps, level, 4, out, parse_unary);
}

static int parse_concat(struct parser *ps, struct node **out)
{
	static const struct level level[] = {{"~", OP_CAT}};

	return parse_level(ps, level, 1, out, parse_product);
}

static int parse_sum(struct parser *ps, struct node **out)
{
	static const struct level level[] = {{"+", OP_ADD}, {"-", OP_SUB}};

	return parse_level(ps, level, 2, out, parse_concat);
}

/* "[not] in", and signs; 1 when something was taken */
static int parse_comparison(struct parser *ps, struct node **io)
{
	static const struct level level[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
		{">=", OP_GE}, {"<", OP_LT}, {">", OP_GT}};
	int rc, negated;

	for (size_t i = 0; i < sizeof(level) / sizeof(level[0]); i++) {
		rc = take_sign(ps, level[i].sign);
		if (rc > 0)
			rc = binary(ps, level[i].op, io, parse_sum) < 0 ? -ps->err->no : 1;
		if (rc)
			return rc;
	}
	negated = take_word(ps, "not");
	if (negated < 0)
		return negated;
	rc = take_word(ps, "in");
	if (rc > 0)
		rc = binary(ps, negated ? OP_NOT_IN : OP_IN, io, parse_sum) < 0 ? -ps->err->no : 1;
	else if (rc == 0 && negated)
		rc = fail(ps, EBADMSG, "\"in\" is missing behind \"not\"");
	return rc;
}

/* one comparison: a < b < c means two, and is not in the subset */
static int parse_compare(struct parser *ps, struct node **out)
{
	int rc = parse_sum(ps, out), more = 0;

	if (rc == 0)
		rc = parse_comparison(ps, out);
	if (rc > 0)
		more = parse_comparison(ps, out);
	if (more > 0)
		return fail(ps, EOPNOTSUPP, "a chain of comparisons is not in the subset");
	return rc < 0 ? rc : more;
}

static int parse_not(struct parser *ps, struct node **out)
{
	int rc = take_word(ps, "not");

	if (rc <= 0)
		return rc < 0 ? rc : parse_compare(ps, out);
	if (++ps->depth > JINJA_DEPTH)
		return fail(ps, E2BIG, "is nested too deep");
	*out = node_new(ps, NODE_NOT);
	rc = *out ? parse_not(ps, &(*out)->a) : -E2BIG;
	ps->depth--;
	return rc;
}

static int parse_and(struct parser *ps, struct node **out)
{
	int rc = parse_not(ps, out);

	while (rc == 0 && (rc = take_word(ps, "and")) > 0)
		rc = binary(ps, OP_AND, out, parse_not);
	return rc;
}

static int parse_or(struct parser *ps, struct node **out)
{
	int rc = parse_and(ps, out);

	while (rc == 0 && (rc = take_word(ps, "or")) > 0)
		rc = binary(ps, OP_OR, out, parse_and);
	return rc;
}

static int parse_choose(struct parser *ps, struct node **out)
{
	struct node *nd;
	int rc = parse_or(ps, out);

	if (rc == 0)
		rc = take_word(ps, "if");
	if (rc <= 0)
		return rc;
	nd = node_new(ps, NODE_CHOOSE);
	if (!nd)
		return -E2BIG;
	nd->a = *out;
	*out = nd;
	rc = parse_or(ps, &nd->b);
	if (rc == 0)
		rc = take_word(ps, "else");
	return rc <= 0 ? rc : nested(ps, &nd->other);
}

/* ---- statements ---- */

/* blanks behind a tag that ends here, as its sign says; ${block}: one line end goes by itself */
static int end_tag(struct parser *ps, bool block)
{
	const char *close = ps->word + ps->len - 2;
	bool strip = *ps->word == '-', keep = *ps->word == '+';

	if (ps->token != TOKEN_END_OF_TAG || *close != (block ? '%' : '}'))
		return fail(ps, EBADMSG, "a tag goes on where it should end");
	ps->at = close + 2;
	ps->fresh_line = false;
	if (strip) {
		while (ps->at < ps->end && isspace((unsigned char)*ps->at)) {
			ps->fresh_line = *ps->at == '\n';
			ps->line += *ps->at++ == '\n';
		}
	} else if (block && !keep && ps->at < ps->end && *ps->at == '\n') {
		ps->at++;
		ps->line++;
		ps->fresh_line = true;
	}
	return 0;
}

/* {# ... #} */
static int skip_comment(struct parser *ps)
{
	const char *end = memmem(ps->at, (size_t)(ps->end - ps->at), "#}", 2);

	if (!end)
		return fail(ps, EBADMSG, "a comment without its end");
	for (; ps->at < end; ps->at++)
		ps->line += *ps->at == '\n';
	ps->token = TOKEN_END_OF_TAG;
	ps->word = ps->at[-1] == '-' ? ps->at - 1 : ps->at;
	ps->len = (size_t)(end + 2 - ps->word);
	/* the same rules as behind a block */
	bool strip = *ps->word == '-';

	ps->at = end + 2;
	ps->fresh_line = false;
	if (strip)
		while (ps->at < ps->end && isspace((unsigned char)*ps->at)) {
			ps->fresh_line = *ps->at == '\n';
			ps->line += *ps->at++ == '\n';
		}
	else if (ps->at < ps->end && *ps->at == '\n') {
		ps->at++;
		ps->line++;
		ps->fresh_line = true;
	}
	return 0;
}

/* text up to the next tag, without the blanks the tag takes */
static int parse_text(struct parser *ps, struct node ***tail)
{
	const char *from = ps->at, *tag = from, *end;
	struct node *nd;

	while (tag < ps->end && !(tag + 1 < ps->end && *tag == '{' && strchr("{%#", tag[1])))
		tag++;
	end = tag;
	if (tag + 2 < ps->end && tag[2] == '-') {
		while (end > from && isspace((unsigned char)end[-1]))
			end--;
	} else if (tag + 2 < ps->end && tag[1] != '{' && tag[2] != '+') {
		const char *line = end;

		while (line > from && (line[-1] == ' ' || line[-1] == '\t'))
			line--;
		if (line > from ? line[-1] == '\n' : ps->fresh_line)
			end = line;
	}
	for (; ps->at < tag; ps->at++)
		ps->line += *ps->at == '\n';
	if (end == from)
		return 0;
	nd = node_new(ps, NODE_TEXT);
	if (!nd)
		return -E2BIG;
	nd->text = from;
	nd->len = (size_t)(end - from);
	**tail = nd;
	*tail = &nd->next;
	return 0;
}

static int parse_body(struct parser *ps, const char *const *ends, struct node **out);

/* NAME or NAME, NAME (also in parentheses) as NODE_NAME list */
static int parse_names(struct parser *ps, struct node **out)
{
	int group = take_sign(ps, "("), rc = group < 0 ? group : 0;

	while (rc == 0) {
		struct node *nd = node_new(ps, NODE_NAME);

		if (!nd)
			return -E2BIG;
		if (ps->token != TOKEN_WORD)
			return fail(ps, EBADMSG, "a name is missing");
		nd->text = ps->word;
		nd->len = ps->len;
		*out = nd;
		out = &nd->next;
		rc = lex(ps);
		if (rc < 0)
			return rc;
		rc = take_sign(ps, ",");
		if (rc <= 0)
			break;
		rc = 0;
	}
	if (rc == 0 && group)
		rc = need_sign(ps, ")");
	return rc;
}

static int parse_for(struct parser *ps, struct node *nd)
{
	static const char *const ends[] = {"else", "endfor", NULL}, *const end[] = {"endfor", NULL};
	int rc = parse_names(ps, &nd->names);

	if (rc == 0)
		rc = take_word(ps, "in");
	if (rc == 0)
		rc = fail(ps, EBADMSG, "\"in\" is missing in a loop");
	if (rc > 0)
		rc = parse_or(ps, &nd->a);
	if (rc == 0)
		rc = take_word(ps, "if");
	if (rc > 0)
		rc = parse_or(ps, &nd->b);
	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, ends, &nd->body);
	if (rc == 0 && at_word(ps, "else")) {
		rc = lex(ps);
		if (rc == 0)
			rc = end_tag(ps, true);
		if (rc == 0)
			rc = parse_body(ps, end, &nd->other);
	}
	return rc < 0 ? rc : lex(ps);
}

static int parse_if(struct parser *ps, struct node *nd)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL},
				 *const end[] = {"endif", NULL};
	int rc = nested(ps, &nd->a);

	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, ends, &nd->body);
	if (rc < 0)
		return rc;
	if (at_word(ps, "elif")) {
		nd->other = node_new(ps, NODE_IF);
		if (!nd->other || ++ps->depth > JINJA_DEPTH)
			return fail(ps, E2BIG, "is nested too deep");
		rc = lex(ps);
		if (rc == 0)
			rc = parse_if(ps, nd->other);
		ps->depth--;
		return rc;
	}
	if (at_word(ps, "else")) {
		rc = lex(ps);
		if (rc == 0)
			rc = end_tag(ps, true);
		if (rc == 0)
			rc = parse_body(ps, end, &nd->other);
	}
	return rc < 0 ? rc : lex(ps);
}

/* set NAME[, NAME] = VALUE, set NAME.NAME = VALUE, set NAME ... endset */
static int parse_set(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endset", NULL};
	int rc = parse_names(ps, &nd->names);

	if (rc == 0 && (rc = take_sign(ps, ".")) > 0) {
		if (ps->token != TOKEN_WORD || nd->names->next)
			return fail(ps, EBADMSG, "a name is missing behind a point");
		nd->text = ps->word;
		nd->len = ps->len;
		rc = lex(ps);
	}
	if (rc == 0 && (rc = take_sign(ps, "=")) > 0) {
		rc = nested(ps, &nd->a);
		if (rc == 0 && at_sign(ps, ",")) /* a, b = x, y */
			return fail(ps, EOPNOTSUPP, "a tuple without parentheses");
		return rc;
	}
	if (rc == 0 && at_sign(ps, "|"))
		return fail(ps, EOPNOTSUPP, "filters of a set block are not in the subset");
	nd->number = 1; /* a block, perhaps an empty one */
	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, end, &nd->body);
	return rc < 0 ? rc : lex(ps);
}

static int parse_macro(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endmacro", NULL};
	bool comma;
	int rc;

	if (ps->token != TOKEN_WORD)
		return fail(ps, EBADMSG, "a macro without a name");
	nd->text = ps->word;
	nd->len = ps->len;
	rc = lex(ps);
	if (rc == 0)
		rc = need_sign(ps, "(");
	if (rc == 0)
		rc = parse_list(ps, ")", true, &nd->names, &comma);
	for (const struct node *p = nd->names; p && rc == 0; p = p->next)
		if (!p->text && p->a->kind != NODE_NAME)
			rc = fail(ps, EBADMSG, "a parameter is not a name");
	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, end, &nd->body);
	if (rc == 0)
		rc = lex(ps);
	/* the name may be said again */
	return rc == 0 && ps->token == TOKEN_WORD ? lex(ps) : rc;
}

/* a block whose tags do nothing here: {% generation %} marks answers for trainers */
static int parse_generation(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endgeneration", NULL};
	int rc = end_tag(ps, true);

	nd->kind = NODE_IF;
	nd->a = node_new(ps, NODE_BOOL);
	if (!nd->a)
		return -E2BIG;
	nd->a->number = 1;
	if (rc == 0)
		rc = parse_body(ps, end, &nd->body);
	return rc < 0 ? rc : lex(ps);
}

static int parse_nothing(struct parser *ps, struct node *nd)
{
	(void)ps;
	(void)nd;
	return 0;
}

static int parse_statement(struct parser *ps, struct node ***tail)
{
	static const struct {
		const char *word;
		enum node_kind kind;
		int (*parse)(struct parser *, struct node *);
	} statements[] = {
		{"for", NODE_FOR, parse_for},
		{"if", NODE_IF, parse_if},
		{"set", NODE_SET, parse_set},
		{"macro", NODE_MACRO, parse_macro},
		{"generation", NODE_IF, parse_generation},
		{"break", NODE_BREAK, parse_nothing},
		{"continue", NODE_CONTINUE, parse_nothing},
	};
	char what[ERR_QUOTE_BYTES + 64] = "\"", quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		struct node *nd;
		int rc;

		if (!at_word(ps, statements[i].word))
			continue;
		nd = node_new(ps, statements[i].kind);
		if (!nd)
			return -E2BIG;
		**tail = nd;
		*tail = &nd->next;
		rc = lex(ps);
		if (rc == 0 && ++ps->depth > JINJA_DEPTH)
			rc = fail(ps, E2BIG, "is nested too deep");
		if (rc == 0)
			rc = statements[i].parse(ps, nd);
		ps->depth--;
		return rc < 0 ? rc : end_tag(ps, true);
	}
	strcat(what, err_quote(quoted, ps->word, ps->len));
	return fail(ps, EOPNOTSUPP, strcat(what, "\" is not in the subset"));
}

static int parse_print(struct parser *ps, struct node ***tail)
{
	struct node *nd = node_new(ps, NODE_PRINT);
	int rc;

	if (!nd)
		return -E2BIG;
	**tail = nd;
	*tail = &nd->next;
	rc = lex(ps);
	if (rc == 0)
		rc = nested(ps, &nd->a);
	return rc < 0 ? rc : end_tag(ps, false);
}

/* up to a tag that begins with one of ${ends}, which is then the token at hand; NULL: to the end */
static int parse_body(struct parser *ps, const char *const *ends, struct node **out)
{
	struct node **tail = out;
	int rc = 0;

	while (rc == 0) {
		char kind;

		rc = parse_text(ps, &tail);
		if (rc < 0)
			break;
		if (ps->at >= ps->end)
			return ends ? fail(ps, EBADMSG, "a block without its end") : 0;
		kind = ps->at[1];
		ps->at += 2;
		if (kind == '#') {
			rc = skip_comment(ps);
			continue;
		}
		if (ps->at < ps->end && (*ps->at == '-' || *ps->at == '+'))
			ps->at++;
		if (kind == '{') {
			rc = parse_print(ps, &tail);
			continue;
		}
		rc = lex(ps);
		for (int i = 0; rc == 0 && ends && ends[i]; i++)
			if (at_word(ps, ends[i]))
				return 0;
		if (rc == 0)
			rc = parse_statement(ps, &tail);
	}
	return rc;
}

int jinja_parse(const char *text, size_t len, struct jinja **out, struct err *err)
{
	struct jinja *jn = calloc(1, sizeof(*jn));
	struct parser ps = {.jn = jn, .err = err, .line = 1, .fresh_line = true};
	struct err own;
	char *copy;
	size_t n = 0;
	int rc;

	if (!jn)
		return err_nomem(err);
	if (!err)
		ps.err = &own; /* its number is needed */
	copy = len <= JINJA_TEXT_MAX ? arena_take(&jn->arena, len + 1) : NULL;
	if (!copy) {
		jinja_free(jn);
		return err_set(err, E2BIG, "chat template of %zu bytes", len);
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
			copy[n++] = text[i];
	if (n && copy[n - 1] == '\n') /* Jinja drops one */
		n--;
	ps.text = ps.at = copy;
	ps.end = copy + n;
	rc = parse_body(&ps, NULL, &jn->root);
	if (rc < 0) {
		jinja_free(jn);
		return rc;
	}
	*out = jn;
	return 0;
}

void jinja_free(struct jinja *jn)
{
	if (!jn)
		return;
	arena_release(&jn->arena);
	free(jn);
}
