/*
 * jinja_op - the operators of expressions.
 */
#include "trainer/jinja_run.h"

#include <errno.h>
#include <string.h>

static int concat(struct run *rn, const struct val *a, const struct val *b, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = val_print(rn, a, &text, &taint);

	if (rc == 0)
		rc = val_print(rn, b, &text, &taint);
	return val_from_bufs(rn, rc, &text, &taint, out);
}

static int add(struct run *rn, const struct val *a, const struct val *b, struct val *out)
{
	int rc, order;

	if (a->kind == VAL_STR && b->kind == VAL_STR)
		return concat(rn, a, b, out);
	if (a->kind == VAL_INT && b->kind == VAL_INT) {
		*out = (struct val){.kind = VAL_INT};
		if (__builtin_add_overflow(a->i, b->i, &out->i))
			return run_fail(rn, EDOM, "a sum is too large");
		return 0;
	}
	if (val_compare(a, b, &order)) /* texts have gone */
		return run_fail(rn, EOPNOTSUPP, "arithmetic of other than whole numbers");
	if (a->kind != VAL_LIST || b->kind != VAL_LIST)
		return run_fail(rn, EDOM, "a sum of things that cannot be added");
	rc = val_new_list(rn, out);
	for (size_t i = 0; i < a->list->n && rc == 0; i++)
		rc = val_push(rn, out->list, a->list->item[i]);
	for (size_t i = 0; i < b->list->n && rc == 0; i++)
		rc = val_push(rn, out->list, b->list->item[i]);
	return rc;
}

static bool contains(struct run *rn, const struct val *in, const struct val *what)
{
	if (in->kind == VAL_STR && what->kind == VAL_STR)
		return what->s.len == 0 ||
		       memmem(in->s.text, in->s.len, what->s.text, what->s.len) != NULL;
	if (in->kind == VAL_DICT)
		return what->kind == VAL_STR && val_get(in->dict, what->s.text, what->s.len);
	for (size_t i = 0; in->kind == VAL_LIST && i < in->list->n; i++)
		if (val_equal(rn, &in->list->item[i], what))
			return true;
	return false;
}

static int arithmetic(struct run *rn, enum binary_op op, const struct val *a, const struct val *b,
	struct val *out)
{
	int64_t rest;

	if (op == OP_MUL && a->kind == VAL_STR && b->kind == VAL_INT) {
		struct val none = val_text("");

		if (b->i > 1000)
			return run_fail(rn, E2BIG, "a text is repeated too often");
		*out = none;
		for (int64_t i = 0; i < b->i; i++) {
			int rc = concat(rn, out, a, out);

			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (a->kind != VAL_INT || b->kind != VAL_INT || op == OP_DIV)
		return run_fail(rn, EOPNOTSUPP, "arithmetic of other than whole numbers");
	*out = (struct val){.kind = VAL_INT};
	if (op == OP_SUB || op == OP_MUL) {
		if (op == OP_SUB ? __builtin_sub_overflow(a->i, b->i, &out->i)
				 : __builtin_mul_overflow(a->i, b->i, &out->i))
			return run_fail(rn, EDOM, "a number is too large");
		return 0;
	}
	if (b->i == 0 || (a->i == INT64_MIN && b->i == -1))
		return run_fail(rn, EDOM, "a division by zero");
	rest = a->i % b->i; /* Python rounds down */
	if (rest && (rest < 0) != (b->i < 0))
		rest += b->i;
	out->i = op == OP_MOD ? rest : (a->i - rest) / b->i;
	return 0;
}

int op_run(struct run *rn, enum binary_op op, const struct val *a, const struct val *b,
	struct val *out)
{
	int order;

	switch (op) {
	case OP_EQ:
	case OP_NE:
		*out = val_bool(val_equal(rn, a, b) == (op == OP_EQ));
		return 0;
	case OP_IN:
	case OP_NOT_IN:
		if (b->kind == VAL_NONE)
			return run_fail(rn, EDOM, "'in' of none");
		*out = val_bool(contains(rn, b, a) == (op == OP_IN));
		return 0;
	case OP_CAT:
		return concat(rn, a, b, out);
	case OP_ADD:
		return add(rn, a, b, out);
	case OP_LT:
	case OP_GT:
	case OP_LE:
	case OP_GE:
		if (!val_compare(a, b, &order))
			return run_fail(rn, a->kind == VAL_LIST ? EOPNOTSUPP : EDOM,
				"a comparison of things without an order");
		*out = val_bool(op == OP_LT   ? order < 0
				: op == OP_GT ? order > 0
				: op == OP_LE ? order <= 0
					      : order >= 0);
		return 0;
	default:
		return arithmetic(rn, op, a, b, out);
	}
}
