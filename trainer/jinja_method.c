/*
 * jinja_method - the methods of texts, dictionaries and lists. Names and meanings are Python's.
 */
#include "trainer/jinja_call.h"

#include <errno.h>
#include <string.h>

#include "trainer/jinja_text.h"

static int split(struct run *rn, struct val_str s, const struct val *by, const struct val *most,
	struct val *out)
{
	int64_t left = most && most->kind == VAL_INT && most->i >= 0 ? most->i : INT64_MAX;
	size_t at = 0;
	int rc = val_new_list(rn, out);

	if (rc == 0 && (!by || by->kind != VAL_STR || !by->s.len))
		return run_fail(rn, EOPNOTSUPP, "'split' at blanks is not in the subset");
	while (rc == 0) {
		const char *hit =
			left-- > 0 ? memmem(s.text + at, s.len - at, by->s.text, by->s.len) : NULL;

		rc = val_push(rn, out->list, val_part(s, at, hit ? (size_t)(hit - s.text) : s.len));
		if (!hit)
			break;
		at = (size_t)(hit - s.text) + by->s.len;
	}
	return rc;
}

static bool has_end(struct val_str s, const struct val *end, bool start)
{
	return end->kind == VAL_STR && end->s.len <= s.len &&
	       memcmp(s.text + (start ? 0 : s.len - end->s.len), end->s.text, end->s.len) == 0;
}

/* startswith, endswith: of one text, or of any of a tuple's */
static int ends(
	struct run *rn, struct val_str s, const struct val *with, bool start, struct val *out)
{
	if (!with || (with->kind != VAL_STR && with->kind != VAL_LIST))
		return run_fail(rn, EDOM, "'startswith' or 'endswith' without a text");
	*out = val_bool(has_end(s, with, start));
	for (size_t i = 0; with->kind == VAL_LIST && i < with->list->n; i++)
		if (has_end(s, &with->list->item[i], start))
			*out = val_bool(true);
	return 0;
}

static int text_method(struct run *rn, const struct val *self, const char *name, size_t len,
	const struct args *args, struct val *out)
{
	const struct val *first = arg(args, 0, NULL);

	if (val_named(name, len, "strip") || val_named(name, len, "lstrip") ||
		val_named(name, len, "rstrip")) {
		*out = text_strip(self->s,
			*name == 's'   ? SIDE_LEFT | SIDE_RIGHT
			: *name == 'l' ? SIDE_LEFT
				       : SIDE_RIGHT,
			first);
		return 0;
	}
	if (val_named(name, len, "split"))
		return split(rn, self->s, arg(args, 0, "sep"), arg(args, 1, "maxsplit"), out);
	if (val_named(name, len, "startswith") || val_named(name, len, "endswith"))
		return ends(rn, self->s, first, *name == 's', out);
	if (val_named(name, len, "join"))
		return first ? text_join(rn, first, self, out)
			     : run_fail(rn, EDOM, "'join' without a list");
	if (val_named(name, len, "title"))
		return text_title(rn, self->s, out);
	if (is_text_filter(name, len) && !val_named(name, len, "trim") &&
		!val_named(name, len, "indent"))
		return text_filter(rn, name, len, self, args, out);
	return run_fail(rn, EOPNOTSUPP, "method '%.*s' is not in the subset", (int)len, name);
}

int method_run(struct run *rn, const struct val *self, const char *name, size_t len,
	const struct args *args, struct val *out)
{
	static const struct takes takes[] = {{"strip", 1, {0}}, {"lstrip", 1, {0}},
		{"rstrip", 1, {0}}, {"split", 2, {"sep", "maxsplit"}}, {"startswith", 1, {0}},
		{"endswith", 1, {0}}, {"join", 1, {0}}, {"upper", 0, {0}}, {"lower", 0, {0}},
		{"capitalize", 0, {0}}, {"title", 0, {0}}, {"replace", 2, {0}}, {"items", 0, {0}},
		{"keys", 0, {0}}, {"values", 0, {0}}, {"get", 2, {0}}, {"append", 1, {0}}};
	int rc = args_fit(rn, takes, sizeof(takes) / sizeof(takes[0]), name, len, args);

	if (rc < 0)
		return rc;
	if (self->kind == VAL_STR)
		return text_method(rn, self, name, len, args, out);
	if (self->kind == VAL_DICT && val_named(name, len, "items"))
		return dict_items(rn, self, out);
	if (self->kind == VAL_DICT &&
		(val_named(name, len, "keys") || val_named(name, len, "values"))) {
		rc = val_new_list(rn, out);
		if (rc == 0)
			*out->list = *name == 'k' ? self->dict->key : self->dict->value;
		return rc;
	}
	if (self->kind == VAL_DICT && val_named(name, len, "get") && arg(args, 0, NULL)) {
		const struct val *fallback = arg(args, 1, NULL);

		*out = dict_member(self, arg(args, 0, NULL));
		if (out->kind == VAL_UNDEFINED)
			*out = fallback ? *fallback : (struct val){.kind = VAL_NONE};
		return 0;
	}
	if (self->kind == VAL_LIST && val_named(name, len, "append") && args->plain.n == 1) {
		*out = (struct val){.kind = VAL_NONE};
		return val_push(rn, self->list, args->plain.item[0]);
	}
	if (self->kind == VAL_UNDEFINED)
		return run_fail(rn, EDOM, "'%.*s' of something undefined", (int)len, name);
	return run_fail(rn, EOPNOTSUPP, "method '%.*s' is not in the subset", (int)len, name);
}
