/*
 * jinja_filter - the filters of the subset. Names and meanings are Jinja's.
 */
#include "trainer/jinja_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja_text.h"

static bool takes_key(const struct takes *tk, const struct val *key)
{
	for (size_t i = 0; i < sizeof(tk->keyed) / sizeof(tk->keyed[0]) && tk->keyed[i]; i++)
		if (val_is(key, tk->keyed[i]))
			return true;
	return false;
}

int args_fit(struct run *rn, const struct takes *list, size_t n, const char *name, size_t len,
	const struct args *args)
{
	const struct takes *tk = list;

	while (tk < list + n && !val_named(name, len, tk->name))
		tk++;
	if (tk == list + n)
		return 0;
	for (size_t i = 0; i < args->keyed.key.n; i++) {
		const struct val_str key = args->keyed.key.item[i].s;

		if (!takes_key(tk, &args->keyed.key.item[i]))
			return run_fail(rn, EOPNOTSUPP, "'%s' with '%.*s' is not in the subset",
				tk->name, (int)key.len, key.text);
	}
	return args->plain.n <= tk->plain
		       ? 0
		       : run_fail(rn, EOPNOTSUPP, "'%s' with %zu arguments is not in the subset",
				 tk->name, args->plain.n);
}

/* pairs of a dictionary as lists of two */
int dict_items(struct run *rn, const struct val *in, struct val *out)
{
	int rc = val_new_list(rn, out);

	if (in->kind == VAL_UNDEFINED)
		return rc;
	if (in->kind != VAL_DICT)
		return rc < 0 ? rc
			      : run_fail(rn, EDOM, "'items' of something that is no dictionary");
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

struct val dict_member(const struct val *of, const struct val *name)
{
	const struct val *found = of->kind == VAL_DICT && name->kind == VAL_STR
					  ? val_get(of->dict, name->s.text, name->s.len)
					  : NULL;

	return found ? *found : (struct val){0};
}

/* the name of one member; a path of names and numbers with points is not in the subset */
static bool is_member(const struct val *name)
{
	return name && name->kind == VAL_STR && !memchr(name->s.text, '.', name->s.len);
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
	if (in->kind != VAL_LIST || (attr && !is_member(name)) || (test && test->kind != VAL_STR))
		return run_fail(rn, EOPNOTSUPP, "'select' or 'reject' without a list and a test");
	for (size_t i = first + 1; i < args->plain.n && rc == 0; i++)
		rc = val_push(rn, &rest.plain, args->plain.item[i]);
	for (size_t i = 0; i < in->list->n && rc == 0; i++) {
		struct val v = in->list->item[i];
		bool yes;

		if (attr)
			v = dict_member(&v, name);
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
	const struct val *name = val_get(&args->keyed, "attribute", 9),
			 *filter = arg(args, 0, NULL);
	struct args rest = {0};
	int rc = val_new_list(rn, out);

	if (in->kind != VAL_LIST ||
		(name ? !is_member(name) || args->plain.n : !filter || filter->kind != VAL_STR))
		return run_fail(rn, EOPNOTSUPP, "'map' without a list and a name");
	for (size_t i = 1; i < args->plain.n && rc == 0; i++)
		rc = val_push(rn, &rest.plain, args->plain.item[i]);
	for (size_t i = 0; i < in->list->n && rc == 0; i++) {
		struct val v = in->list->item[i];

		if (name)
			v = dict_member(&v, name);
		else
			rc = filter_run(
				rn, filter->s.text, filter->s.len, &in->list->item[i], &rest, &v);
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

	*out = val_part(in->s, from, last ? in->s.len : char_offset(in->s, 1));
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

	return val_from_bufs(rn, rc, &text, &taint, out);
}

/* a text that is no plain number is 0, unless a digit makes it one to Python in another way */
static int to_int(struct run *rn, const struct val *in, struct val *out)
{
	struct val text = in->kind == VAL_STR ? text_strip(in->s, SIDE_LEFT | SIDE_RIGHT, NULL)
					      : val_text("");
	char digits[20] = "";
	char *end;

	*out = val_int(in->kind == VAL_INT || in->kind == VAL_BOOL ? in->i : 0);
	if (in->kind == VAL_FLOAT) /* at most 15 digits */
		out->i = (int64_t)in->f;
	if (text.s.len < sizeof(digits)) {
		memcpy(digits, text.s.text, text.s.len);
		out->i += strtoll(digits, &end, 10);
		if (!*end)
			return 0;
	}
	*out = val_int(0);
	for (size_t i = 0; i < text.s.len; i++)
		if (text.s.text[i] >= '0' && text.s.text[i] <= '9')
			return run_fail(rn, EOPNOTSUPP, "'int' of a text that is no plain number");
	return 0;
}

int filter_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out)
{
	static const struct takes takes[] = {{"default", 2, {"default_value", "boolean"}},
		{"d", 2, {"default_value", "boolean"}}, {"tojson", 2, {"ensure_ascii", "indent"}},
		{"length", 0, {0}}, {"count", 0, {0}}, {"join", 1, {"d"}}, {"first", 0, {0}},
		{"last", 0, {0}}, {"items", 0, {0}}, {"map", SIZE_MAX, {"attribute"}},
		{"select", SIZE_MAX, {0}}, {"reject", SIZE_MAX, {0}}, {"selectattr", SIZE_MAX, {0}},
		{"rejectattr", SIZE_MAX, {0}}, {"reverse", 0, {0}}, {"string", 0, {0}},
		{"int", 0, {0}}, {"safe", 0, {0}}, {"list", 0, {0}}, {"trim", 1, {"chars"}},
		{"upper", 0, {0}}, {"lower", 0, {0}}, {"capitalize", 0, {0}}, {"title", 0, {0}},
		{"replace", 2, {"old", "new"}}, {"indent", 2, {"width", "first"}}};
	const struct val *fallback;
	int rc = args_fit(rn, takes, sizeof(takes) / sizeof(takes[0]), name, len, args);

	if (rc < 0)
		return rc;
	if (val_named(name, len, "default") || val_named(name, len, "d")) {
		const struct val *strict = arg(args, 1, "boolean");
		bool use =
			in->kind == VAL_UNDEFINED || (strict && val_true(strict) && !val_true(in));

		fallback = arg(args, 0, "default_value");
		*out = !use ? *in : fallback ? *fallback : val_text("");
		return 0;
	}
	if (val_named(name, len, "tojson"))
		return text_json(rn, in, args, out);
	if (val_named(name, len, "length") || val_named(name, len, "count"))
		return length(rn, in, out);
	if (val_named(name, len, "join"))
		return text_join(rn, in, arg(args, 0, "d"), out);
	if (val_named(name, len, "first") || val_named(name, len, "last"))
		return end_of(rn, in, *name == 'l', out);
	if (val_named(name, len, "items"))
		return dict_items(rn, in, out);
	if (val_named(name, len, "map"))
		return map(rn, in, args, out);
	if (val_named(name, len, "select") || val_named(name, len, "reject"))
		return choose(rn, in, args, false, *name == 's', out);
	if (val_named(name, len, "selectattr") || val_named(name, len, "rejectattr"))
		return choose(rn, in, args, true, *name == 's', out);
	if (val_named(name, len, "reverse"))
		return reverse(rn, in, out);
	if (val_named(name, len, "string"))
		return to_text(rn, in, out);
	if (val_named(name, len, "int"))
		return to_int(rn, in, out);
	if (val_named(name, len, "safe") ||
		(val_named(name, len, "list") && in->kind == VAL_LIST)) {
		*out = *in;
		return 0;
	}
	if (is_text_filter(name, len))
		return text_filter(rn, name, len, in, args, out);
	return run_fail(rn, EOPNOTSUPP, "filter '%.*s' is not in the subset", (int)len, name);
}
