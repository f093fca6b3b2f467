/*
 * jinja_func - the functions templates may call. The day is pinned: a prompt that changed with the
 * calendar could not be trained on, nor replayed.
 */
#include "trainer/jinja_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum func { FUNC_RANGE, FUNC_NAMESPACE, FUNC_DICT, FUNC_RAISE, FUNC_NOW, FUNCS };

enum { RANGE_MAX = 100000 };

int func_find(const char *name, size_t len)
{
	static const char *const names[FUNCS] = {
		"range", "namespace", "dict", "raise_exception", "strftime_now"};

	for (int i = 0; i < FUNCS; i++)
		if (val_named(name, len, names[i]))
			return i;
	return -1;
}

static int range(struct run *rn, const struct args *args, struct val *out)
{
	int64_t bound[3] = {0, 0, 1};
	int rc = val_new_list(rn, out);

	if (args->plain.n < 1 || args->plain.n > 3)
		return run_fail(rn, EDOM, "'range' of %zu arguments", args->plain.n);
	for (size_t i = 0; i < args->plain.n; i++) {
		if (args->plain.item[i].kind != VAL_INT)
			return run_fail(rn, EDOM, "'range' of something that is no whole number");
		bound[args->plain.n == 1 ? 1 : i] = args->plain.item[i].i;
	}
	if (bound[2] == 0)
		return run_fail(rn, EDOM, "'range' by steps of zero");
	for (int64_t i = bound[0]; rc == 0 && (bound[2] > 0 ? i < bound[1] : i > bound[1]);) {
		if (out->list->n == RANGE_MAX)
			return run_fail(rn, E2BIG, "'range' of more than %d", RANGE_MAX);
		rc = val_push(rn, out->list, val_int(i));
		if (__builtin_add_overflow(i, bound[2], &i))
			break;
	}
	return rc;
}

/* 26 July 2024, the day Llama's templates name when they are given none */
static int now(struct run *rn, const struct args *args, struct val *out)
{
	const struct tm day = {
		.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5, .tm_yday = 207};
	const struct val *format = arg(args, 0, "format");
	char pattern[64], text[256];

	if (!format || format->kind != VAL_STR || format->s.len >= sizeof(pattern))
		return run_fail(rn, EDOM, "'strftime_now' without a short format");
	memcpy(pattern, format->s.text, format->s.len);
	pattern[format->s.len] = '\0';
	/* the program never leaves the C locale */
	size_t n = strftime(text, sizeof(text), pattern, &day);

	return val_copy(rn, text, n, NULL, out);
}

static int raise_exception(struct run *rn, const struct args *args)
{
	const struct val *text = arg(args, 0, NULL);
	char quoted[ERR_QUOTE_BYTES + 8];

	if (!text || text->kind != VAL_STR)
		return run_fail(rn, EDOM, "the template refuses this conversation");
	return run_fail(rn, EDOM, "%s", err_quote(quoted, text->s.text, text->s.len));
}

int func_run(struct run *rn, int64_t which, const struct args *args, struct val *out)
{
	int rc;

	switch (which) {
	case FUNC_RANGE:
		return range(rn, args, out);
	case FUNC_NAMESPACE:
	case FUNC_DICT:
		rc = val_new_dict(rn, out);
		if (rc == 0) {
			*out->dict = args->keyed;
			out->dict->settable = which == FUNC_NAMESPACE;
		}
		return rc;
	case FUNC_RAISE:
		return raise_exception(rn, args);
	default:
		return now(rn, args, out);
	}
}
