/*
 * constrain_schema - a JSON schema as an automaton of the texts it allows: compact JSON, with one
 * blank allowed behind ':' and ','; the members of an object in the schema's order. What training
 * rows hold (compact JSON) is among them.
 *
 * What is not regular, or would need counting across values, is refused by name: an answer that
 * only looks as if it obeyed is worse than a sentence.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/constrain_nfa.h"

enum { ITEMS_MAX = 65535, PATH_BYTES = 160 };

struct schema {
	struct nfa *f;
	struct err *err;
	char path[PATH_BYTES]; /* of the value at hand, for people */
	int depth;
};

static int refuse(struct schema *s, const char *what)
{
	return err_set(s->err, EINVAL, "grammar%s%s: %s", s->path[0] ? " at " : "", s->path, what);
}

static bool member(struct json_slice object, const char *key, struct json_slice *out)
{
	return json_member(object, key, out);
}

static bool text_is(struct json_slice v, const char *text)
{
	return v.len == strlen(text) + 2 && memcmp(v.text + 1, text, v.len - 2) == 0;
}

/* keywords that say nothing about the text are passed over, all others must be known */
static int check_keywords(struct schema *s, struct json_slice schema)
{
	static const char *const known[] = {"type", "enum", "const", "anyOf", "properties",
		"required", "items", "minItems", "maxItems", "minLength", "maxLength", "pattern",
		"additionalProperties", "title", "description", "default", "examples", "$schema",
		"$id", "$comment", "deprecated", "readOnly", "writeOnly"};
	struct json_slice key, v;

	for (size_t pos = 0; json_next(schema, &pos, &key, &v);) {
		char q[ERR_QUOTE_BYTES + 8], what[ERR_QUOTE_BYTES + 64] = "keyword \"";
		size_t i = 0;

		while (i < sizeof(known) / sizeof(known[0]) && !text_is(key, known[i]))
			i++;
		if (i < sizeof(known) / sizeof(known[0]))
			continue;
		strcat(what, err_quote(q, key.text + 1, key.len - 2));
		strcat(what, "\" is not supported");
		return refuse(s, what);
	}
	return 0;
}

/* a whole number of a keyword, ${out} untouched when it is absent */
static int count(struct schema *s, struct json_slice schema, const char *key, int *out)
{
	struct json_slice v;
	double x;

	if (!member(schema, key, &v))
		return 0;
	x = json_kind_of(v) == JSON_NUMBER ? json_double(v) : -1;
	if (!(x >= 0 && x <= ITEMS_MAX) || x != (double)(int)x)
		return refuse(s, "lengths are whole numbers up to 65535");
	*out = (int)x;
	return 0;
}

static void put(struct schema *s, int from, const char *text, int to)
{
	nfa_bytes(s->f, from, text, strlen(text), to);
}

/* ':' or ',' and the blank models like behind it */
static void put_mark(struct schema *s, int from, char mark, int to)
{
	int space = nfa_node(s->f);

	nfa_bytes(s->f, from, &mark, 1, space);
	nfa_free_edge(s->f, space, to);
	put(s, space, " ", to);
}

static int put_value(struct schema *s, int from, struct json_slice v, int to)
{
	struct buf text = BUF_INIT;
	int rc = json_compact(v, &text);

	if (rc == 0)
		nfa_bytes(s->f, from, buf_str(&text), text.len, to);
	buf_release(&text);
	return rc < 0 ? err_nomem(s->err) : 0;
}

static int put_pattern(struct schema *s, int from, const char *pattern, bool quoted, int to)
{
	return nfa_regex(s->f, from, pattern, strlen(pattern), quoted, false, to, s->err);
}

static int value(struct schema *s, int from, struct json_slice schema, int to);

/* the schema of a part; ${name} is how people call it */
static int part(
	struct schema *s, int from, const char *name, size_t len, struct json_slice schema, int to)
{
	size_t was = strlen(s->path);
	char q[ERR_QUOTE_BYTES + 8];
	int rc;

	err_quote(q, name, len);
	if (was + strlen(q) + 2 < sizeof(s->path)) {
		s->path[was] = '/';
		strcpy(s->path + was + 1, q);
	}
	rc = value(s, from, schema, to);
	s->path[was] = '\0';
	return rc;
}

/* ---- strings ---- */

static int string_lengths(struct schema *s, int from, struct json_slice schema, int to)
{
	struct charset all = {.n = 0};
	int min = 0, max = -1, rc = count(s, schema, "minLength", &min);

	if (rc == 0)
		rc = count(s, schema, "maxLength", &max);
	if (rc == 0 && max >= 0 && max < min)
		rc = refuse(s, "maxLength is less than minLength");
	charset_add(&all, 0, 0x10ffff);
	for (int i = 0; rc == 0 && !s->f->failed && (max < 0 ? i < min : i < max); i++) {
		int next = nfa_node(s->f);

		if (i >= min)
			nfa_free_edge(s->f, from, to);
		nfa_set(s->f, from, &all, true, next);
		from = next;
	}
	if (rc == 0 && max < 0) {
		int loop = nfa_node(s->f);

		nfa_free_edge(s->f, from, loop);
		nfa_set(s->f, loop, &all, true, loop);
		from = loop;
	}
	nfa_free_edge(s->f, from, to);
	return rc;
}

static int string(struct schema *s, int from, struct json_slice schema, int to)
{
	struct json_slice pattern, v;
	int open = nfa_node(s->f), close = nfa_node(s->f), rc;

	put(s, from, "\"", open);
	put(s, close, "\"", to);
	if (!member(schema, "pattern", &pattern))
		return string_lengths(s, open, schema, close);
	struct buf text = BUF_INIT;

	if (member(schema, "minLength", &v) || member(schema, "maxLength", &v))
		rc = refuse(s, "pattern and a length together; put the length into the pattern");
	else if (json_kind_of(pattern) != JSON_STRING)
		rc = refuse(s, "pattern: text expected");
	else if (json_string(pattern, &text) < 0)
		rc = err_nomem(s->err);
	else
		rc = nfa_regex(s->f, open, buf_str(&text), text.len, true, true, close, s->err);
	if (rc == -EINVAL && strncmp(s->err->text, "grammar", 7) != 0)
		(void)err_prefix(s->err, "grammar at %s: ", s->path[0] ? s->path : "/");
	buf_release(&text);
	return rc;
}

/* ---- objects and arrays ---- */

static bool is_required(struct json_slice required, struct json_slice key)
{
	struct json_slice one;

	for (size_t pos = 0; required.len && json_next(required, &pos, NULL, &one);)
		if (json_same(one, key))
			return true;
	return false;
}

static int check_required(
	struct schema *s, struct json_slice required, struct json_slice properties)
{
	struct json_slice one, key, v;

	if (json_kind_of(required) != JSON_ARRAY)
		return refuse(s, "required: array expected");
	for (size_t pos = 0; !s->f->failed && json_next(required, &pos, NULL, &one);) {
		bool found = false;

		nfa_read(s->f, properties.len);
		for (size_t at = 0; !found && json_next(properties, &at, &key, &v);)
			found = json_same(one, key);
		if (!found)
			return refuse(s, "required names what properties lacks");
	}
	return 0;
}

/* two tracks, before and behind the first member, so that the comma stands where it must */
static int object(struct schema *s, int from, struct json_slice schema, int to)
{
	struct json_slice properties, required = {NULL, 0}, more, key, v;
	int none = nfa_node(s->f), some = nfa_node(s->f), rc = 0;

	if (!member(schema, "properties", &properties) || json_kind_of(properties) != JSON_OBJECT)
		return refuse(s, "an object needs properties");
	if (member(schema, "additionalProperties", &more) && json_kind_of(more) != JSON_BOOL)
		return refuse(s, "additionalProperties: only true and false are supported");
	if (member(schema, "required", &required))
		rc = check_required(s, required, properties);
	put(s, from, "{", none);
	for (size_t pos = 0; rc == 0 && !s->f->failed && json_next(properties, &pos, &key, &v);) {
		int next = nfa_node(s->f), in = nfa_node(s->f), name = nfa_node(s->f),
		    colon = nfa_node(s->f);

		if (none >= 0)
			nfa_free_edge(s->f, none, in);
		put_mark(s, some, ',', in); /* unreachable before the first member: costs nothing */
		rc = put_value(s, in, key, name);
		put_mark(s, name, ':', colon);
		if (rc == 0)
			rc = part(s, colon, key.text + 1, key.len - 2, v, next);
		nfa_read(s->f, required.len);
		if (is_required(required, key))
			none = -1;
		else
			nfa_free_edge(s->f, some, next);
		some = next;
	}
	if (none >= 0)
		put(s, none, "}", to);
	put(s, some, "}", to);
	return rc;
}

static int array(struct schema *s, int from, struct json_slice schema, int to)
{
	struct json_slice items;
	int min = 0, max = -1, rc = count(s, schema, "minItems", &min), at = nfa_node(s->f),
	    close = nfa_node(s->f);

	if (rc == 0)
		rc = count(s, schema, "maxItems", &max);
	if (rc == 0 && max >= 0 && max < min)
		rc = refuse(s, "maxItems is less than minItems");
	if (rc == 0 && max != 0 && !member(schema, "items", &items))
		rc = refuse(s, "an array needs items");
	put(s, from, "[", at);
	put(s, close, "]", to);
	for (int i = 0; rc == 0 && !s->f->failed; i++) {
		int begin = nfa_node(s->f), end = nfa_node(s->f);

		if (i >= min)
			nfa_free_edge(s->f, at, close);
		if (i == max)
			break;
		if (i == 0)
			nfa_free_edge(s->f, at, begin);
		else
			put_mark(s, at, ',', begin);
		rc = part(s, begin, "items", 5, items, end);
		if (max < 0 && i + 1 >= min) {
			put_mark(s, end, ',', begin);
			nfa_free_edge(s->f, end, close);
			break;
		}
		at = end;
	}
	return rc;
}

/* ---- any value ---- */

static const struct kind {
	const char *name;
	enum json_kind kind;
	int (*put)(struct schema *s, int from, struct json_slice schema, int to);
	const char *pattern; /* instead of ${put} */
} kinds[] = {
	{"object", JSON_OBJECT, object, NULL},
	{"array", JSON_ARRAY, array, NULL},
	{"string", JSON_STRING, string, NULL},
	/* as many digits as a double tells apart */
	{"integer", JSON_NUMBER, NULL, "-?(0|[1-9][0-9]{0,14})"},
	{"number", JSON_NUMBER, NULL,
		"-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?"},
	{"boolean", JSON_BOOL, NULL, "true|false"},
	{"null", JSON_NULL, NULL, "null"},
};

static const struct kind *kind_named(struct json_slice name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (json_kind_of(name) == JSON_STRING && text_is(name, kinds[i].name))
			return &kinds[i];
	return NULL;
}

static bool kind_holds(const struct kind *kd, struct json_slice v)
{
	if (strcmp(kd->name, "integer") == 0 && json_kind_of(v) == JSON_NUMBER) {
		double x = json_double(v);

		return x >= -9e15 && x <= 9e15 && x == (double)(int64_t)x;
	}
	return json_kind_of(v) == kd->kind;
}

static bool type_holds(struct json_slice type, struct json_slice v)
{
	struct json_slice one;
	const struct kind *kd;

	if (json_kind_of(type) != JSON_ARRAY)
		return (kd = kind_named(type)) != NULL && kind_holds(kd, v);
	for (size_t pos = 0; json_next(type, &pos, NULL, &one);)
		if ((kd = kind_named(one)) != NULL && kind_holds(kd, v))
			return true;
	return false;
}

static int one_kind(
	struct schema *s, int from, struct json_slice name, struct json_slice schema, int to)
{
	const struct kind *kd = kind_named(name);

	if (!kd)
		return refuse(s, "type: object, array, string, number, integer, boolean or null");
	return kd->put ? kd->put(s, from, schema, to)
		       : put_pattern(s, from, kd->pattern, false, to);
}

/* enum and const: the values of the type, when there is one */
static int listed(
	struct schema *s, int from, struct json_slice schema, struct json_slice list, int to)
{
	struct json_slice one, type;
	bool has_type = member(schema, "type", &type), any = false;
	int rc = 0;

	if (json_kind_of(list) != JSON_ARRAY)
		return refuse(s, "enum: array expected");
	for (size_t pos = 0; rc == 0 && !s->f->failed && json_next(list, &pos, NULL, &one);) {
		if (has_type && !type_holds(type, one))
			continue;
		rc = put_value(s, from, one, to);
		any = true;
	}
	return rc == 0 && !any ? refuse(s, "no value is allowed") : rc;
}

static int any_of(struct schema *s, int from, struct json_slice list, int to)
{
	struct json_slice one;
	int rc = 0, n = 0;

	if (json_kind_of(list) != JSON_ARRAY)
		return refuse(s, "anyOf: array expected");
	for (size_t pos = 0; rc == 0 && !s->f->failed && json_next(list, &pos, NULL, &one); n++)
		rc = part(s, from, "anyOf", 5, one, to);
	return rc == 0 && !n ? refuse(s, "no value is allowed") : rc;
}

static int value(struct schema *s, int from, struct json_slice schema, int to)
{
	struct json_slice v, one;
	int rc;

	if (s->depth == NFA_NESTING_MAX)
		return refuse(s, "nested deeper than 32");
	if (json_kind_of(schema) != JSON_OBJECT)
		return refuse(s, "a schema is an object");
	nfa_read(s->f, schema.len);
	rc = check_keywords(s, schema);
	if (rc < 0)
		return rc;
	s->depth++;
	if (member(schema, "const", &v)) {
		struct json_slice type;

		rc = member(schema, "type", &type) && !type_holds(type, v)
			     ? refuse(s, "no value is allowed")
			     : put_value(s, from, v, to);
	} else if (member(schema, "enum", &v)) {
		rc = listed(s, from, schema, v, to);
	} else if (member(schema, "anyOf", &v)) {
		rc = any_of(s, from, v, to);
	} else if (!member(schema, "type", &v)) {
		rc = refuse(s, "type, enum, const or anyOf is needed");
	} else if (json_kind_of(v) == JSON_ARRAY) {
		size_t n = 0;

		for (size_t pos = 0; rc == 0 && json_next(v, &pos, NULL, &one); n++)
			rc = one_kind(s, from, one, schema, to);
		if (rc == 0 && !n)
			rc = refuse(s, "no value is allowed");
	} else {
		rc = one_kind(s, from, v, schema, to);
	}
	s->depth--;
	return rc;
}

int nfa_schema(struct nfa *f, struct json_slice schema, struct err *err)
{
	struct schema s = {.f = f, .err = err};

	return value(&s, f->start, schema, f->accept);
}
