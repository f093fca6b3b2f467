/*
 * jinja_atom - what binds tightest in an expression: literals, names, groups, and the calls,
 * members and indices behind them.
 */
#include "trainer/jinja_expr.h"

#include <errno.h>
#include <string.h>

#include "trainer/jinja_lex.h"

struct node *node_new(struct parser *ps, enum node_kind kind)
{
	struct node *nd = arena_take(&ps->jn->arena, sizeof(*nd));

	if (!nd) {
		parse_fail(ps, E2BIG, "needs too much memory");
		return NULL;
	}
	nd->kind = kind;
	nd->line = ps->line;
	return nd;
}

/* expressions up to ${close}; with ${keywords} as NODE_ARG */
int parse_list(struct parser *ps, const char *close, bool keywords, struct node **list, bool *comma)
{
	struct node **end = list;
	int rc;

	*comma = false;
	while ((rc = lex_take_sign(ps, close)) == 0) {
		struct node *item, *wrap;

		if (lex_at_sign(ps, "*") || lex_at_sign(ps, "**"))
			return parse_fail(
				ps, EOPNOTSUPP, "unpacked arguments are not in the subset");
		rc = parse_expr(ps, &item);
		if (rc < 0)
			return rc;
		wrap = node_new(ps, NODE_ARG);
		if (!wrap)
			return -E2BIG;
		wrap->a = item;
		if (keywords && item->kind == NODE_NAME && lex_at_sign(ps, "=")) {
			wrap->text = item->text;
			wrap->len = item->len;
			rc = lex_next(ps);
			if (rc == 0)
				rc = parse_expr(ps, &wrap->a);
			if (rc < 0)
				return rc;
		}
		*end = wrap;
		end = &wrap->next;
		rc = lex_take_sign(ps, ",");
		if (rc < 0)
			return rc;
		*comma = *comma || rc;
		if (rc == 0) {
			rc = lex_need_sign(ps, close);
			return rc;
		}
	}
	return rc < 0 ? rc : 0;
}

static int parse_dict(struct parser *ps, struct node *dict)
{
	struct node **end = &dict->names;
	int rc;

	while ((rc = lex_take_sign(ps, "}")) == 0) {
		struct node *pair = node_new(ps, NODE_ARG);

		if (!pair)
			return -E2BIG;
		rc = parse_expr(ps, &pair->a);
		if (rc == 0)
			rc = lex_need_sign(ps, ":");
		if (rc == 0)
			rc = parse_expr(ps, &pair->b);
		if (rc < 0)
			return rc;
		*end = pair;
		end = &pair->next;
		rc = lex_take_sign(ps, ",");
		if (rc < 0)
			return rc;
		if (rc == 0)
			return lex_need_sign(ps, "}");
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
		if (lex_at_word(ps, constants[i].word)) {
			nd->kind = constants[i].kind;
			nd->number = constants[i].value;
		}
	*out = nd;
	return lex_next(ps);
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
	rc = lex_next(ps);
	while (rc == 0 && ps->token == TOKEN_STRING) {
		char *both = arena_take(&ps->jn->arena, nd->len + ps->len + 1);

		if (!both)
			return parse_fail(ps, E2BIG, "needs too much memory");
		memcpy(both, nd->text, nd->len);
		memcpy(both + nd->len, ps->word, ps->len);
		nd->text = both;
		nd->len += ps->len;
		rc = lex_next(ps);
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
	return lex_next(ps);
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
	rc = lex_take_sign(ps, "(");
	if (rc)
		return rc < 0 ? rc : parse_group(ps, out);
	rc = lex_take_sign(ps, "[");
	if (rc > 0) {
		*out = node_new(ps, NODE_LIST);
		return *out ? parse_list(ps, "]", false, &(*out)->names, &comma) : -E2BIG;
	}
	if (rc == 0)
		rc = lex_take_sign(ps, "{");
	if (rc > 0) {
		*out = node_new(ps, NODE_DICT);
		return *out ? parse_dict(ps, *out) : -E2BIG;
	}
	return rc < 0 ? rc : parse_fail(ps, EBADMSG, "an expression is missing");
}

/* behind "[": an index, or a slice */
static int parse_subscript(struct parser *ps, struct node *of, struct node **out)
{
	struct node *part[3] = {NULL, NULL, NULL}, *nd;
	int n = 0, rc;

	for (;;) {
		if (!lex_at_sign(ps, ":") && !lex_at_sign(ps, "]")) {
			rc = parse_expr(ps, &part[n]);
			if (rc < 0)
				return rc;
		}
		rc = n < 2 ? lex_take_sign(ps, ":") : 0;
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		n++;
	}
	rc = lex_need_sign(ps, "]");
	if (rc < 0)
		return rc;
	nd = node_new(ps, n ? NODE_SLICE : NODE_INDEX);
	if (!nd || (!n && !part[0]))
		return nd ? parse_fail(ps, EBADMSG, "an index is missing") : -E2BIG;
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
int parse_postfix(struct parser *ps, struct node **out)
{
	bool comma;
	int rc = parse_atom(ps, out);

	while (rc == 0) {
		struct node *nd = NULL;

		if ((rc = lex_take_sign(ps, ".")) > 0) {
			if (ps->token != TOKEN_WORD)
				return parse_fail(ps, EBADMSG, "a name is missing behind a point");
			nd = node_new(ps, NODE_ATTR);
			if (!nd)
				return -E2BIG;
			nd->a = *out;
			nd->text = ps->word;
			nd->len = ps->len;
			*out = nd;
			rc = lex_next(ps);
		} else if (rc == 0 && (rc = lex_take_sign(ps, "[")) > 0) {
			rc = parse_subscript(ps, *out, out);
		} else if (rc == 0 && (rc = lex_take_sign(ps, "(")) > 0) {
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
