/*
 * jinja_expr - expressions, from the tightest binding to the loosest. The names of the functions
 * are those of Jinja's grammar.
 */
#include "trainer/jinja_expr.h"

#include <errno.h>

#include "trainer/jinja_lex.h"

/* what a test without parentheses may take as its argument */
static bool at_argument(const struct parser *ps)
{
	if (ps->token == TOKEN_WORD)
		return !lex_at_word(ps, "else") && !lex_at_word(ps, "or") &&
		       !lex_at_word(ps, "and") && !lex_at_word(ps, "if") &&
		       !lex_at_word(ps, "is") && !lex_at_word(ps, "in") && !lex_at_word(ps, "not");
	return ps->token == TOKEN_STRING || ps->token == TOKEN_INTEGER || ps->token == TOKEN_REAL ||
	       lex_at_sign(ps, "[") || lex_at_sign(ps, "{");
}

/* a name and perhaps arguments; a test takes one without parentheses too */
static int parse_filter_or_test(struct parser *ps, enum node_kind kind, struct node **io)
{
	struct node *nd = node_new(ps, kind), *item;
	bool comma;
	int rc;

	if (!nd)
		return -E2BIG;
	if (ps->token != TOKEN_WORD && !lex_at_sign(ps, "=="))
		return parse_fail(ps, EBADMSG, "the name of a filter or test is missing");
	nd->a = *io;
	nd->text = ps->word;
	nd->len = ps->len;
	*io = nd;
	rc = lex_next(ps);
	if (rc < 0)
		return rc;
	rc = lex_take_sign(ps, "(");
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
	int negated = lex_take_word(ps, "not"), rc;
	struct node * not ;

	rc = negated < 0 ? negated : parse_filter_or_test(ps, NODE_TEST, io);
	if (rc < 0 || !negated)
		return rc;
	not = node_new(ps, NODE_NOT);
	if (!not )
		return -E2BIG;
	not ->a = *io;
	*io = not ;
	return 0;
}

static int parse_negation(struct parser *ps, struct node **out)
{
	int minus = lex_take_sign(ps, "-"), rc;
	struct node *nd;

	if (minus <= 0)
		return minus < 0 ? minus : parse_postfix(ps, out);
	nd = node_new(ps, NODE_NEGATE);
	if (!nd || ++ps->depth > JINJA_DEPTH)
		return parse_fail(ps, E2BIG, "is nested too deep");
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
		rc = lex_take_sign(ps, "|");
		if (rc > 0) {
			rc = parse_filter_or_test(ps, NODE_FILTER, out);
			continue;
		}
		if (rc == 0)
			rc = lex_take_word(ps, "is");
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
		rc = lex_take_sign(ps, level[i].sign);
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
		rc = lex_take_sign(ps, level[i].sign);
		if (rc > 0)
			rc = binary(ps, level[i].op, io, parse_sum) < 0 ? -ps->err->no : 1;
		if (rc)
			return rc;
	}
	negated = lex_take_word(ps, "not");
	if (negated < 0)
		return negated;
	rc = lex_take_word(ps, "in");
	if (rc > 0)
		rc = binary(ps, negated ? OP_NOT_IN : OP_IN, io, parse_sum) < 0 ? -ps->err->no : 1;
	else if (rc == 0 && negated)
		rc = parse_fail(ps, EBADMSG, "\"in\" is missing behind \"not\"");
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
		return parse_fail(ps, EOPNOTSUPP, "a chain of comparisons is not in the subset");
	return rc < 0 ? rc : more;
}

static int parse_not(struct parser *ps, struct node **out)
{
	int rc = lex_take_word(ps, "not");

	if (rc <= 0)
		return rc < 0 ? rc : parse_compare(ps, out);
	if (++ps->depth > JINJA_DEPTH)
		return parse_fail(ps, E2BIG, "is nested too deep");
	*out = node_new(ps, NODE_NOT);
	rc = *out ? parse_not(ps, &(*out)->a) : -E2BIG;
	ps->depth--;
	return rc;
}

static int parse_and(struct parser *ps, struct node **out)
{
	int rc = parse_not(ps, out);

	while (rc == 0 && (rc = lex_take_word(ps, "and")) > 0)
		rc = binary(ps, OP_AND, out, parse_not);
	return rc;
}

int parse_or(struct parser *ps, struct node **out)
{
	int rc = parse_and(ps, out);

	while (rc == 0 && (rc = lex_take_word(ps, "or")) > 0)
		rc = binary(ps, OP_OR, out, parse_and);
	return rc;
}

static int parse_choose(struct parser *ps, struct node **out)
{
	struct node *nd;
	int rc = parse_or(ps, out);

	if (rc == 0)
		rc = lex_take_word(ps, "if");
	if (rc <= 0)
		return rc;
	nd = node_new(ps, NODE_CHOOSE);
	if (!nd)
		return -E2BIG;
	nd->a = *out;
	*out = nd;
	rc = parse_or(ps, &nd->b);
	if (rc == 0)
		rc = lex_take_word(ps, "else");
	return rc <= 0 ? rc : parse_expr(ps, &nd->other);
}

int parse_expr(struct parser *ps, struct node **out)
{
	int rc;

	if (++ps->depth > JINJA_DEPTH)
		return parse_fail(ps, E2BIG, "is nested too deep");
	rc = parse_choose(ps, out);
	ps->depth--;
	return rc;
}
