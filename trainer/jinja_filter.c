/*
 * jinja_filter - the filters of the subset. Names and meanings are Jinja's.
 */
#include "trainer/jinja_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja_text.h"

/* pairs of a dictionary as lists of two */
int dict_items(struct run *rn, const struct val *in, struct val *out)
{
	int rc = val_new_list(rn, out);

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

	if (in->kind != VAL_LIST || (!name && (!filter || filter->kind != VAL_STR)))
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

int filter_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out)
{
	const struct val *fallback;

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
		return text_join(
			rn, in, arg(args, 0, "d"), val_get(&args->keyed, "attribute", 9), out);
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
		return to_int(in, out);
	if (val_named(name, len, "safe") ||
		(val_named(name, len, "list") && in->kind == VAL_LIST)) {
		*out = *in;
		return 0;
	}
	if (is_text_filter(name, len))
		return text_filter(rn, name, len, in, args, out);
	return run_fail(rn, EOPNOTSUPP, "filter '%.*s' is not in the subset", (int)len, name);
}
