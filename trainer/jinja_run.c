/*
 * jinja_run - a tree and its inputs to text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja_inside.h"

static int eval(struct run *rn, const struct node *nd, struct val *out);
static int run_body(struct run *rn, const struct node *nd);

static const struct val *lookup(const struct run *rn, const char *name, size_t len)
{
	for (const struct frame *fr = rn->frame; fr; fr = fr->up) {
		const struct val *v = val_get(&fr->vars, name, len);

		if (v)
			return v;
	}
	return NULL;
}

static int define(struct run *rn, const char *name, size_t len, struct val value)
{
	struct val key = {.kind = VAL_STR, .s = {name, len, NULL}};

	return val_put(rn, &rn->frame->vars, key, value);
}

static int eval_list(struct run *rn, const struct node *nd, struct val *out)
{
	int rc = val_new_list(rn, out);

	for (const struct node *item = nd->names; item && rc == 0; item = item->next) {
		struct val v;

		rc = eval(rn, item->a, &v);
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

		rc = eval(rn, pair->a, &k);
		if (rc == 0)
			rc = eval(rn, pair->b, &v);
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

		rc = eval(rn, nd->a, &v);
		if (rc < 0)
			break;
		if (nd->text)
			rc = val_put(rn, &args->keyed,
				(struct val){.kind = VAL_STR, .s = {nd->text, nd->len, NULL}}, v);
		else
			rc = val_push(rn, &args->plain, v);
	}
	return rc;
}

static int eval_attr(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of;
	const struct val *found;
	int rc = eval(rn, nd->a, &of);

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

static struct val char_at(struct val_str s, size_t i)
{
	size_t from = char_offset(s, i);
	struct val_str rest = {s.text + from, s.len - from, NULL};

	return (struct val){.kind = VAL_STR,
		.s = {rest.text, char_offset(rest, 1), s.taint ? s.taint + from : NULL}};
}

static int eval_index(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of, by;
	const struct val *found;
	size_t i;
	int rc = eval(rn, nd->a, &of);

	*out = (struct val){0};
	if (rc == 0)
		rc = eval(rn, nd->b, &by);
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
			*out = char_at(of.s, i);
	}
	return 0;
}

/* Python's bounds of a slice with step 1, or the whole backwards with step -1 */
static int eval_slice(struct run *rn, const struct node *nd, struct val *out)
{
	struct val of, part[3] = {{0}};
	int64_t n, from, to, step = 1;
	int rc = eval(rn, nd->a, &of), i = 0;

	for (const struct node *p = nd->names; p && rc == 0; p = p->next, i++) {
		part[i] = (struct val){.kind = VAL_NONE};
		if (p->a)
			rc = eval(rn, p->a, &part[i]);
		if (rc == 0 && part[i].kind != VAL_NONE && part[i].kind != VAL_INT)
			rc = run_fail(rn, EDOM, "a slice by something that is no whole number");
	}
	if (rc < 0)
		return rc;
	if (of.kind != VAL_LIST && of.kind != VAL_STR)
		return run_fail(rn, EDOM, "a slice of something that is no list or text");
	n = of.kind == VAL_LIST ? (int64_t)of.list->n : (int64_t)char_count(of.s);
	if (part[2].kind == VAL_INT)
		step = part[2].i;
	from = part[0].kind == VAL_INT ? part[0].i : 0;
	to = part[1].kind == VAL_INT ? part[1].i : n;
	if (step == -1 && (part[0].kind == VAL_INT || part[1].kind == VAL_INT))
		return run_fail(rn, EOPNOTSUPP, "bounds of a slice backwards are not in the subset");
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

static int concat(struct run *rn, const struct val *a, const struct val *b, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = val_print(rn, a, &text, &taint);

	if (rc == 0)
		rc = val_print(rn, b, &text, &taint);
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

static int add(struct run *rn, const struct val *a, const struct val *b, struct val *out)
{
	int rc;

	if (a->kind == VAL_STR && b->kind == VAL_STR)
		return concat(rn, a, b, out);
	if (a->kind == VAL_INT && b->kind == VAL_INT) {
		*out = (struct val){.kind = VAL_INT};
		if (__builtin_add_overflow(a->i, b->i, &out->i))
			return run_fail(rn, EDOM, "a sum is too large");
		return 0;
	}
	if (a->kind != VAL_LIST || b->kind != VAL_LIST)
		return run_fail(rn, EDOM, "a sum of things that cannot be added");
	rc = val_new_list(rn, out);
	for (size_t i = 0; i < a->list->n && rc == 0; i++)
		rc = val_push(rn, out->list, a->list->item[i]);
	for (size_t i = 0; i < b->list->n && rc == 0; i++)
		rc = val_push(rn, out->list, b->list->item[i]);
	return rc;
}

static bool contains(const struct val *in, const struct val *what)
{
	if (in->kind == VAL_STR && what->kind == VAL_STR)
		return what->s.len == 0 ||
		       memmem(in->s.text, in->s.len, what->s.text, what->s.len) != NULL;
	if (in->kind == VAL_DICT)
		return what->kind == VAL_STR && val_get(in->dict, what->s.text, what->s.len);
	for (size_t i = 0; in->kind == VAL_LIST && i < in->list->n; i++)
		if (val_equal(&in->list->item[i], what))
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

static int eval_binary(struct run *rn, const struct node *nd, struct val *out)
{
	struct val a, b;
	int rc = eval(rn, nd->a, &a), order;

	if (rc < 0)
		return rc;
	if (nd->op == OP_OR || nd->op == OP_AND) {
		*out = a;
		return val_true(&a) == (nd->op == OP_OR) ? 0 : eval(rn, nd->b, out);
	}
	rc = eval(rn, nd->b, &b);
	if (rc < 0)
		return rc;
	switch (nd->op) {
	case OP_EQ:
	case OP_NE:
		*out = val_bool(val_equal(&a, &b) == (nd->op == OP_EQ));
		return 0;
	case OP_IN:
	case OP_NOT_IN:
		if (b.kind == VAL_NONE)
			return run_fail(rn, EDOM, "'in' of none");
		*out = val_bool(contains(&b, &a) == (nd->op == OP_IN));
		return 0;
	case OP_CAT:
		return concat(rn, &a, &b, out);
	case OP_ADD:
		return add(rn, &a, &b, out);
	case OP_LT:
	case OP_GT:
	case OP_LE:
	case OP_GE:
		if (!val_compare(&a, &b, &order))
			return run_fail(rn, EDOM, "a comparison of things without an order");
		*out = val_bool(nd->op == OP_LT	  ? order < 0
				: nd->op == OP_GT ? order > 0
				: nd->op == OP_LE ? order <= 0
						  : order >= 0);
		return 0;
	default:
		return arithmetic(rn, nd->op, &a, &b, out);
	}
}

/* bind the parameters of a macro, each to what was given or to its default */
static int bind(struct run *rn, const struct node *macro, const struct args *args)
{
	size_t i = 0;
	int rc = 0;

	for (const struct node *p = macro->names; p && rc == 0; p = p->next, i++) {
		const char *name = p->text ? p->text : p->a->text;
		size_t len = p->text ? p->len : p->a->len;
		const struct val *given =
			i < args->plain.n ? &args->plain.item[i] : val_get(&args->keyed, name, len);
		struct val value = {0};

		if (given)
			value = *given;
		else if (p->text)
			rc = eval(rn, p->a, &value);
		if (rc == 0)
			rc = define(rn, name, len, value);
	}
	return rc < 0 || args->plain.n <= i
		       ? rc
		       : run_fail(rn, EDOM, "a macro is given too many arguments");
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
	if (rc == 0)
		return val_from_bufs(rn, &text, &taint, out);
	buf_release(&text);
	buf_release(&taint);
	return rc;
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
		rc = eval(rn, callee->a, &self);
		if (rc < 0)
			return rc;
		return method_run(rn, &self, callee->text, callee->len, &args, out);
	}
	rc = eval(rn, callee, &what);
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
	const struct val *found = lookup(rn, nd->text, nd->len);
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
	int rc = eval(rn, nd->a, &in);

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
		*out = (struct val){.kind = VAL_STR, .s = {nd->text, nd->len, NULL}};
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
		rc = eval(rn, nd->a, &v);
		*out = val_bool(rc == 0 && !val_true(&v));
		return rc;
	case NODE_NEGATE:
		rc = eval(rn, nd->a, &v);
		if (rc == 0 && (v.kind != VAL_INT || v.i == INT64_MIN))
			rc = run_fail(rn, EOPNOTSUPP, "minus something that is no whole number");
		*out = val_int(rc == 0 ? -v.i : 0);
		return rc;
	case NODE_CHOOSE:
		rc = eval(rn, nd->b, &v);
		if (rc < 0)
			return rc;
		*out = (struct val){0};
		if (val_true(&v))
			return eval(rn, nd->a, out);
		return nd->other ? eval(rn, nd->other, out) : 0;
	default:
		return eval_binary(rn, nd, out);
	}
}

static int eval(struct run *rn, const struct node *nd, struct val *out)
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

/* ---- statements ---- */

/* what a loop goes over: the items of a list, the keys of a dictionary, the characters of a text */
static int items_of(struct run *rn, const struct val *v, struct val *out)
{
	int rc;

	if (v->kind == VAL_LIST) {
		*out = *v;
		return 0;
	}
	rc = val_new_list(rn, out);
	if (v->kind == VAL_DICT)
		*out->list = v->dict->key;
	else if (v->kind == VAL_STR)
		for (size_t i = 0, n = char_count(v->s); i < n && rc == 0; i++)
			rc = val_push(rn, out->list, char_at(v->s, i));
	else if (v->kind != VAL_UNDEFINED)
		rc = run_fail(rn, EDOM, "a loop over something that is no list");
	return rc;
}

static int assign(struct run *rn, const struct node *names, struct val value)
{
	size_t i = 0;
	int rc = 0;

	if (!names->next)
		return define(rn, names->text, names->len, value);
	for (; names && rc == 0; names = names->next, i++) {
		if (value.kind != VAL_LIST || i >= value.list->n)
			return run_fail(rn, EDOM, "too few values for the names of a loop");
		rc = define(rn, names->text, names->len, value.list->item[i]);
	}
	return rc;
}

static int define_loop(struct run *rn, const struct val_list *items, size_t i)
{
	const struct {
		const char *name;
		struct val value;
	} vars[] = {
		{"index", val_int((int64_t)i + 1)},
		{"index0", val_int((int64_t)i)},
		{"revindex", val_int((int64_t)(items->n - i))},
		{"revindex0", val_int((int64_t)(items->n - i) - 1)},
		{"first", val_bool(i == 0)},
		{"last", val_bool(i + 1 == items->n)},
		{"length", val_int((int64_t)items->n)},
		{"previtem", i > 0 ? items->item[i - 1] : (struct val){0}},
		{"nextitem", i + 1 < items->n ? items->item[i + 1] : (struct val){0}},
	};
	struct val loop;
	int rc = val_new_dict(rn, &loop);

	for (size_t k = 0; k < sizeof(vars) / sizeof(vars[0]) && rc == 0; k++)
		if (vars[k].value.kind != VAL_UNDEFINED)
			rc = val_put(rn, loop.dict, val_text(vars[k].name), vars[k].value);
	return rc < 0 ? rc : define(rn, "loop", 4, loop);
}

/* the items a loop's condition lets through */
static int chosen_items(struct run *rn, const struct node *nd, struct val *items)
{
	struct val kept, yes;
	int rc = val_new_list(rn, &kept);

	for (size_t i = 0; i < items->list->n && rc == 0; i++) {
		struct frame frame = {.up = rn->frame};

		rn->frame = &frame;
		rc = assign(rn, nd->names, items->list->item[i]);
		if (rc == 0)
			rc = eval(rn, nd->b, &yes);
		rn->frame = frame.up;
		if (rc == 0 && val_true(&yes))
			rc = val_push(rn, kept.list, items->list->item[i]);
	}
	*items = kept;
	return rc;
}

static int run_for(struct run *rn, const struct node *nd)
{
	struct val over, items;
	int rc = eval(rn, nd->a, &over);

	if (rc == 0)
		rc = items_of(rn, &over, &items);
	if (rc == 0 && nd->b)
		rc = chosen_items(rn, nd, &items);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < items.list->n && rc == 0; i++) {
		struct frame frame = {.up = rn->frame};

		rn->frame = &frame;
		rc = define_loop(rn, items.list, i);
		if (rc == 0)
			rc = assign(rn, nd->names, items.list->item[i]);
		if (rc == 0)
			rc = run_body(rn, nd->body);
		rn->frame = frame.up;
		if (rn->jump == RUN_BREAK)
			break;
		rn->jump = RUN_ON;
	}
	rn->jump = RUN_ON;
	return rc == 0 && !items.list->n ? run_body(rn, nd->other) : rc;
}

static int run_set(struct run *rn, const struct node *nd)
{
	struct val value;
	const struct val *space;
	int rc;

	if (nd->number) {
		struct buf text = BUF_INIT, taint = BUF_INIT, *was_text = rn->text,
			   *was_taint = rn->taint;

		rn->text = &text;
		rn->taint = &taint;
		rc = run_body(rn, nd->body);
		rn->text = was_text;
		rn->taint = was_taint;
		if (rc == 0) {
			rc = val_from_bufs(rn, &text, &taint, &value);
		} else {
			buf_release(&text);
			buf_release(&taint);
		}
	} else {
		rc = eval(rn, nd->a, &value);
	}
	if (rc < 0)
		return rc;
	if (!nd->text)
		return assign(rn, nd->names, value);
	space = lookup(rn, nd->names->text, nd->names->len);
	if (!space || space->kind != VAL_DICT || !space->dict->settable)
		return run_fail(rn, EDOM, "'%.*s' is no namespace", (int)nd->names->len,
			nd->names->text);
	return val_put(rn, space->dict,
		(struct val){.kind = VAL_STR, .s = {nd->text, nd->len, NULL}}, value);
}

static int run_print(struct run *rn, const struct node *nd)
{
	struct val v;
	int rc = eval(rn, nd->a, &v);

	return rc < 0 ? rc : val_print(rn, &v, rn->text, rn->taint);
}

static int run_if(struct run *rn, const struct node *nd)
{
	struct val v;
	int rc = eval(rn, nd->a, &v);

	if (rc < 0)
		return rc;
	return run_body(rn, val_true(&v) ? nd->body : nd->other);
}

static int run_one(struct run *rn, const struct node *nd)
{
	const struct val text = {.kind = VAL_STR, .s = {nd->text, nd->len, NULL}};

	rn->line = nd->line;
	if (++rn->steps > JINJA_STEPS)
		return run_fail(rn, E2BIG, "needs too much work");
	switch (nd->kind) {
	case NODE_TEXT:
		return val_print(rn, &text, rn->text, rn->taint);
	case NODE_PRINT:
		return run_print(rn, nd);
	case NODE_IF:
		return run_if(rn, nd);
	case NODE_FOR:
		return run_for(rn, nd);
	case NODE_SET:
		return run_set(rn, nd);
	case NODE_MACRO:
		return define(rn, nd->text, nd->len,
			(struct val){.kind = VAL_MACRO, .macro = nd});
	default:
		rn->jump = nd->kind == NODE_BREAK ? RUN_BREAK : RUN_CONTINUE;
		return 0;
	}
}

static int run_body(struct run *rn, const struct node *nd)
{
	int rc = 0;

	if (rn->depth > 4 * JINJA_DEPTH)
		return run_fail(rn, E2BIG, "is nested too deep");
	rn->depth++;
	for (; nd && rc == 0 && rn->jump == RUN_ON; nd = nd->next)
		rc = run_one(rn, nd);
	rn->depth--;
	return rc;
}

static int put_inputs(struct run *rn, const struct jinja_input *in)
{
	struct val messages;
	int rc = val_new_list(rn, &messages);

	for (size_t i = 0; i < in->messages && rc == 0; i++) {
		const struct jinja_message *msg = &in->message[i];
		struct val dict, content;
		char *taint = arena_take(&rn->arena, msg->len + 1);

		if (!taint)
			return run_fail(rn, E2BIG, "needs too much memory");
		memset(taint, 1, msg->len);
		content = (struct val){.kind = VAL_STR, .s = {msg->text, msg->len, taint}};
		rc = val_new_dict(rn, &dict);
		if (rc == 0)
			rc = val_put(rn, dict.dict, val_text("role"), val_text(msg->role));
		if (rc == 0)
			rc = val_put(rn, dict.dict, val_text("content"), content);
		if (rc == 0)
			rc = val_push(rn, messages.list, dict);
	}
	if (rc == 0)
		rc = define(rn, "messages", 8, messages);
	if (rc == 0)
		rc = define(rn, "bos_token", 9, val_text(in->bos));
	if (rc == 0)
		rc = define(rn, "eos_token", 9, val_text(in->eos));
	if (rc == 0)
		rc = define(rn, "enable_thinking", 15, val_bool(false));
	if (rc == 0)
		rc = define(rn, "add_generation_prompt", 21,
			val_bool(in->add_generation_prompt));
	return rc;
}

int jinja_render(const struct jinja *jn, const struct jinja_input *in, struct buf *text,
	struct buf *taint, struct err *err)
{
	struct frame global = {0};
	struct run rn = {
		.err = err, .text = text, .taint = taint, .frame = &global, .global = &global};
	int rc = put_inputs(&rn, in);

	if (rc == 0)
		rc = run_body(&rn, jn->root);
	arena_release(&rn.arena);
	return rc;
}
