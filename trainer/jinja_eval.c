/*
 * jinja_eval - expressions to values.
 */
#include "trainer/jinja_run.h"

#include <errno.h>
#include <string.h>

#include "trainer/jinja_call.h"

static int eval_list(struct run *rn, const struct node *nd, struct val *out)
{
	int rc = val_new_list(rn, out);

	for (const struct node *item = nd->names; item && rc == 0; item = item->next) {
		struct val v;

		rc = run_eval(rn, item->a, &v);
		if (rc == 0)
			rc = val_push(rn, out->list, v);
	}
	return rc;
}

static int eval_dict(struct run *rn, const struct node *nd, struct val *out)
{
	int rc = val_new_dict(rn, out);

	for (const struct node *pair = nd->names; pair && rc == 0; pair = pair->next) {
		struct val k, v;

		rc = run_eval(rn, pair->a, &k);
		if (rc == 0)
			rc = run_eval(rn, pair->b, &v);
		if (rc == 0)
			rc = val_put(rn, out->dict, k, v);
	}
	return rc;
}

static int eval_args(struct run *rn, const struct node *nd, struct args *args)
{
	int rc = 0;

	for (; nd && rc == 0; nd = nd->next) {
		struct val v;

		rc = run_eval(rn, nd->a, &v);
		if (rc < 0)
			break;
		if (nd->text)
			rc = val_put(rn, &args->keyed, val_span(nd->text, nd->len), v);
		else
			rc = val_push(rn, &args->plain, v);
	}
	return rc;
}

static int eval_attr(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of;
	const struct val *found;
	int rc = run_eval(rn, nd->a, &of);

	*out = (struct val){0};
	if (rc < 0)
		return rc;
	if (of.kind == VAL_UNDEFINED)
		return run_fail(rn, EDOM, "'%.*s' of something undefined", (int)nd->len, nd->text);
	found = of.kind == VAL_DICT ? val_get(of.dict, nd->text, nd->len) : NULL;
	if (found)
		*out = *found;
	return 0;
}

/* of a list or text: the index of ${i}, negative from the end; false when it is outside */
static bool index_of(int64_t i, size_t n, size_t *out)
{
	if (i < 0)
		i += (int64_t)n;
	*out = (size_t)i;
	return i >= 0 && i < (int64_t)n;
}

static int eval_index(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of, by;
	const struct val *found;
	size_t i;
	int rc = run_eval(rn, nd->a, &of);

	*out = (struct val){0};
	if (rc == 0)
		rc = run_eval(rn, nd->b, &by);
	if (rc < 0)
		return rc;
	if (of.kind == VAL_UNDEFINED)
		return run_fail(rn, EDOM, "an item of something undefined");
	if (of.kind == VAL_DICT && by.kind == VAL_STR) {
		found = val_get(of.dict, by.s.text, by.s.len);
		if (found)
			*out = *found;
	} else if (of.kind == VAL_LIST && by.kind == VAL_INT) {
		if (index_of(by.i, of.list->n, &i))
			*out = of.list->item[i];
	} else if (of.kind == VAL_STR && by.kind == VAL_INT) {
		if (index_of(by.i, char_count(of.s), &i))
			*out = val_char(of.s, i);
	}
	return 0;
}

/* Python's bounds of a slice with step 1, or the whole backwards with step -1 */
static int eval_slice(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of, part[3] = {{0}};
	int64_t n, from, to, step = 1;
	int rc = run_eval(rn, nd->a, &of), i = 0;

	for (const struct node *p = nd->names; p && rc == 0; p = p->next, i++) {
		part[i] = (struct val){.kind = VAL_NONE};
		if (p->a)
			rc = run_eval(rn, p->a, &part[i]);
		if (rc == 0 && part[i].kind != VAL_NONE && part[i].kind != VAL_INT)
			rc = run_fail(rn, EDOM, "a slice by something that is no whole number");
	}
	if (rc < 0)
		return rc;
	if (of.kind == VAL_UNDEFINED)
		return run_fail(rn, EDOM, "a slice of something undefined");
	*out = (struct val){0};
	if (of.kind != VAL_LIST && of.kind != VAL_STR)
		return 0;
	n = of.kind == VAL_LIST ? (int64_t)of.list->n : (int64_t)char_count(of.s);
	if (part[2].kind == VAL_INT)
		step = part[2].i;
	from = part[0].kind == VAL_INT ? part[0].i : 0;
	to = part[1].kind == VAL_INT ? part[1].i : n;
	if (step == -1 && (part[0].kind == VAL_INT || part[1].kind == VAL_INT))
		return run_fail(
			rn, EOPNOTSUPP, "bounds of a slice backwards are not in the subset");
	if (step != 1 && step != -1)
		return run_fail(rn, EOPNOTSUPP, "a slice by steps is not in the subset");
	from = from < 0 ? (from + n < 0 ? 0 : from + n) : from > n ? n : from;
	to = to < 0 ? (to + n < 0 ? 0 : to + n) : to > n ? n : to;
	to = to < from ? from : to;
	if (of.kind == VAL_STR && step == 1) {
		size_t a = char_offset(of.s, (size_t)from), b = char_offset(of.s, (size_t)to);

		*out = (struct val){.kind = VAL_STR,
			.s = {of.s.text + a, b - a, of.s.taint ? of.s.taint + a : NULL}};
		return 0;
	}
	if (of.kind == VAL_STR)
		return run_fail(rn, EOPNOTSUPP, "a text backwards is not in the subset");
	rc = val_new_list(rn, out);
	for (int64_t k = from; k < to && rc == 0; k++)
		rc = val_push(rn, out->list, of.list->item[step == 1 ? k : n - 1 - k]);
	return rc;
}

static int eval_binary(struct run *rn, const struct node *nd, struct val *out)
{
	struct val a, b;
	int rc = run_eval(rn, nd->a, &a);

	if (rc < 0)
		return rc;
	if (nd->op == OP_OR || nd->op == OP_AND) {
		*out = a;
		return val_true(&a) == (nd->op == OP_OR) ? 0 : run_eval(rn, nd->b, out);
	}
	rc = run_eval(rn, nd->b, &b);
	return rc < 0 ? rc : op_run(rn, nd->op, &a, &b, out);
}

/* bind the parameters of a macro, each to what was given or to its default */
static int bind(struct run *rn, const struct node *macro, const struct args *args)
{
	size_t i = 0, named = 0;
	int rc = 0;

	for (const struct node *p = macro->names; p && rc == 0; p = p->next, i++) {
		const char *name = p->text ? p->text : p->a->text;
		size_t len = p->text ? p->len : p->a->len;
		const struct val *keyed = val_get(&args->keyed, name, len),
				 *given = i < args->plain.n ? &args->plain.item[i] : keyed;
		struct val value = {0};

		named += given && given == keyed;

		if (given)
			value = *given;
		else if (p->text)
			rc = run_eval(rn, p->a, &value);
		if (rc == 0)
			rc = run_define(rn, name, len, value);
	}
	return rc < 0 || (args->plain.n <= i && named == args->keyed.key.n)
		       ? rc
		       : run_fail(rn, EDOM, "a macro is given arguments it does not take");
}

static int call_macro(
	struct run *rn, const struct node *macro, const struct args *args, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT, *was_text = rn->text, *was_taint = rn->taint;
	struct frame frame = {.up = rn->global}, *was = rn->frame;
	int rc;

	rn->frame = &frame;
	rn->text = &text;
	rn->taint = &taint;
	rc = bind(rn, macro, args);
	if (rc == 0)
		rc = run_body(rn, macro->body);
	rn->frame = was;
	rn->text = was_text;
	rn->taint = was_taint;
	return val_from_bufs(rn, rc, &text, &taint, out);
}

static int eval_call(struct run *rn, const struct node *nd, struct val *out)
{
	const struct node *callee = nd->a;
	struct args args = {0};
	struct val self, what = {0};
	int rc = eval_args(rn, nd->names, &args);

	if (rc < 0)
		return rc;
	if (callee->kind == NODE_ATTR) {
		rc = run_eval(rn, callee->a, &self);
		if (rc < 0)
			return rc;
		return method_run(rn, &self, callee->text, callee->len, &args, out);
	}
	rc = run_eval(rn, callee, &what);
	if (rc < 0)
		return rc;
	if (what.kind == VAL_MACRO)
		return call_macro(rn, what.macro, &args, out);
	if (what.kind == VAL_FUNC)
		return func_run(rn, what.i, &args, out);
	return run_fail(rn, EOPNOTSUPP, "'%.*s' is no function of the subset", (int)callee->len,
		callee->text ? callee->text : "");
}

static int eval_name(struct run *rn, const struct node *nd, struct val *out)
{
	const struct val *found = run_lookup(rn, nd->text, nd->len);
	int func = found ? -1 : func_find(nd->text, nd->len);

	*out = (struct val){0};
	if (found)
		*out = *found;
	else if (func >= 0)
		*out = (struct val){.kind = VAL_FUNC, .i = func};
	return 0;
}

static int eval_filter(struct run *rn, const struct node *nd, struct val *out)
{
	struct args args = {0};
	struct val in;
	bool yes = false;
	int rc = run_eval(rn, nd->a, &in);

	if (rc == 0)
		rc = eval_args(rn, nd->names, &args);
	if (rc < 0)
		return rc;
	if (nd->kind == NODE_FILTER)
		return filter_run(rn, nd->text, nd->len, &in, &args, out);
	rc = test_run(rn, nd->text, nd->len, &in, &args, &yes);
	*out = val_bool(yes);
	return rc;
}

static int eval_kind(struct run *rn, const struct node *nd, struct val *out)
{
	struct val v;
	int rc;

	switch (nd->kind) {
	case NODE_STRING:
		*out = val_span(nd->text, nd->len);
		return 0;
	case NODE_INT:
		*out = val_int(nd->number);
		return 0;
	case NODE_FLOAT:
		*out = (struct val){.kind = VAL_FLOAT, .f = nd->real};
		return 0;
	case NODE_BOOL:
		*out = val_bool(nd->number);
		return 0;
	case NODE_NONE:
		*out = (struct val){.kind = VAL_NONE};
		return 0;
	case NODE_NAME:
		return eval_name(rn, nd, out);
	case NODE_LIST:
		return eval_list(rn, nd, out);
	case NODE_DICT:
		return eval_dict(rn, nd, out);
	case NODE_ATTR:
		return eval_attr(rn, nd, out);
	case NODE_INDEX:
		return eval_index(rn, nd, out);
	case NODE_SLICE:
		return eval_slice(rn, nd, out);
	case NODE_CALL:
		return eval_call(rn, nd, out);
	case NODE_FILTER:
	case NODE_TEST:
		return eval_filter(rn, nd, out);
	case NODE_NOT:
		rc = run_eval(rn, nd->a, &v);
		*out = val_bool(rc == 0 && !val_true(&v));
		return rc;
	case NODE_NEGATE:
		rc = run_eval(rn, nd->a, &v);
		if (rc == 0 && (v.kind != VAL_INT || v.i == INT64_MIN))
			rc = run_fail(rn, EOPNOTSUPP, "minus something that is no whole number");
		*out = val_int(rc == 0 ? -v.i : 0);
		return rc;
	case NODE_CHOOSE:
		rc = run_eval(rn, nd->b, &v);
		if (rc < 0)
			return rc;
		*out = (struct val){0};
		if (val_true(&v))
			return run_eval(rn, nd->a, out);
		return nd->other ? run_eval(rn, nd->other, out) : 0;
	default:
		return eval_binary(rn, nd, out);
	}
}

int run_eval(struct run *rn, const struct node *nd, struct val *out)
{
	int rc;

	rn->line = nd->line;
	if (++rn->steps > JINJA_STEPS)
		return run_fail(rn, E2BIG, "needs too much work");
	if (rn->depth > 4 * JINJA_DEPTH)
		return run_fail(rn, E2BIG, "is nested too deep");
	rn->depth++;
	rc = eval_kind(rn, nd, out);
	rn->depth--;
	return rc;
}
