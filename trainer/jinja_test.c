/*
 * jinja_test - the tests of the subset, behind "is".
 */
#include "trainer/jinja_call.h"

#include <errno.h>

static bool is_sequence(const struct val *v)
{
	return v->kind == VAL_LIST || v->kind == VAL_STR || v->kind == VAL_UNDEFINED ||
	       (v->kind == VAL_DICT && !v->dict->settable);
}

int test_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, bool *out)
{
	const struct val *other = arg(args, 0, NULL);
	const bool is_whole = in->kind == VAL_INT || in->kind == VAL_BOOL;
	const struct {
		const char *name;
		bool yes;
	} plain[] = {
		{"defined", in->kind != VAL_UNDEFINED},
		{"undefined", in->kind == VAL_UNDEFINED},
		{"none", in->kind == VAL_NONE},
		{"string", in->kind == VAL_STR},
		{"mapping", in->kind == VAL_DICT && !in->dict->settable},
		{"sequence", is_sequence(in)},
		{"iterable", is_sequence(in)},
		{"boolean", in->kind == VAL_BOOL},
		{"number", in->kind == VAL_INT || in->kind == VAL_FLOAT || in->kind == VAL_BOOL},
		{"integer", in->kind == VAL_INT},
		{"float", in->kind == VAL_FLOAT},
		{"true", in->kind == VAL_BOOL && in->i},
		{"false", in->kind == VAL_BOOL && !in->i},
		{"callable", in->kind == VAL_MACRO || in->kind == VAL_FUNC},
		{"odd", is_whole && in->i % 2 != 0},
		{"even", is_whole && in->i % 2 == 0},
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (val_named(name, len, plain[i].name)) {
			*out = plain[i].yes;
			return 0;
		}
	if (!other)
		return run_fail(rn, EOPNOTSUPP, "test '%.*s' is not in the subset", (int)len, name);
	if (val_named(name, len, "equalto") || val_named(name, len, "eq") ||
		val_named(name, len, "==")) {
		*out = val_equal(rn, in, other);
		return 0;
	}
	if (val_named(name, len, "ne")) {
		*out = !val_equal(rn, in, other);
		return 0;
	}
	if (!val_named(name, len, "in") || other->kind != VAL_LIST)
		return run_fail(rn, EOPNOTSUPP, "test '%.*s' is not in the subset", (int)len, name);
	*out = false;
	for (size_t i = 0; i < other->list->n; i++)
		*out = *out || val_equal(rn, &other->list->item[i], in);
	return 0;
}
