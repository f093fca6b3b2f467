/*
 * jinja_value - what templates compute with: numbers, texts that know which of their bytes are the
 * template's own, lists, dictionaries.
 */
#include "trainer/jinja_value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "trainer/jinja_run.h"

int run_fail(struct run *rn, int no, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(rn->err, no, "chat template line %d: %s", rn->line, text);
}

static int too_much(struct run *rn)
{
	return run_fail(rn, E2BIG, "needs too much memory");
}

struct val val_int(int64_t i)
{
	return (struct val){.kind = VAL_INT, .i = i};
}

struct val val_bool(bool b)
{
	return (struct val){.kind = VAL_BOOL, .i = b};
}

struct val val_span(const char *text, size_t len)
{
	return (struct val){.kind = VAL_STR, .s = {text, len, NULL}};
}

struct val val_text(const char *text)
{
	return val_span(text, strlen(text));
}

int val_copy(struct run *rn, const char *text, size_t len, const char *taint, struct val *out)
{
	char *at = arena_take(&rn->arena, (taint ? 2 : 1) * len + 1);

	if (!at)
		return too_much(rn);
	if (len)
		memcpy(at, text, len);
	if (taint && len)
		memcpy(at + len, taint, len);
	*out = (struct val){.kind = VAL_STR, .s = {at, len, taint ? at + len : NULL}};
	return 0;
}

int val_from_bufs(struct run *rn, int rc, struct buf *text, struct buf *taint, struct val *out)
{
	if (rc == 0 && (text->failed || taint->failed))
		rc = err_nomem(rn->err);
	if (rc == 0)
		rc = val_copy(rn, buf_str(text), text->len, buf_str(taint), out);
	buf_release(text);
	buf_release(taint);
	return rc;
}

int val_new_list(struct run *rn, struct val *out)
{
	*out = (struct val){.kind = VAL_LIST, .list = arena_take(&rn->arena, sizeof(*out->list))};
	return out->list ? 0 : too_much(rn);
}

int val_new_dict(struct run *rn, struct val *out)
{
	*out = (struct val){.kind = VAL_DICT, .dict = arena_take(&rn->arena, sizeof(*out->dict))};
	return out->dict ? 0 : too_much(rn);
}

int val_push(struct run *rn, struct val_list *list, struct val item)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 8;
		struct val *more = arena_take(&rn->arena, cap * sizeof(*more));

		if (!more)
			return too_much(rn);
		if (list->n)
			memcpy(more, list->item, list->n * sizeof(*more));
		list->item = more;
		list->cap = cap;
	}
	list->item[list->n++] = item;
	return 0;
}

const struct val *val_get(const struct val_dict *dict, const char *key, size_t len)
{
	for (size_t i = 0; i < dict->key.n; i++) {
		const struct val *k = &dict->key.item[i];

		if (k->kind == VAL_STR && k->s.len == len && memcmp(k->s.text, key, len) == 0)
			return &dict->value.item[i];
	}
	return NULL;
}

int val_put(struct run *rn, struct val_dict *dict, struct val key, struct val value)
{
	int rc;

	for (size_t i = 0; i < dict->key.n; i++) {
		if (val_equal(rn, &dict->key.item[i], &key)) {
			dict->value.item[i] = value;
			return 0;
		}
	}
	rc = val_push(rn, &dict->key, key);
	return rc < 0 ? rc : val_push(rn, &dict->value, value);
}

bool val_true(const struct val *v)
{
	switch (v->kind) {
	case VAL_UNDEFINED:
	case VAL_NONE:
		return false;
	case VAL_BOOL:
	case VAL_INT:
		return v->i != 0;
	case VAL_FLOAT:
		return v->f != 0;
	case VAL_STR:
		return v->s.len != 0;
	case VAL_LIST:
		return v->list->n != 0;
	case VAL_DICT:
		return v->dict->key.n != 0;
	default:
		return true;
	}
}

static bool is_number(const struct val *v)
{
	return v->kind == VAL_BOOL || v->kind == VAL_INT || v->kind == VAL_FLOAT;
}

bool val_compare(const struct val *a, const struct val *b, int *out)
{
	if (is_number(a) && is_number(b)) {
		double x = a->kind == VAL_FLOAT ? a->f : (double)a->i,
		       y = b->kind == VAL_FLOAT ? b->f : (double)b->i;

		*out = (x > y) - (x < y);
		return true;
	}
	if (a->kind != VAL_STR || b->kind != VAL_STR)
		return false;
	size_t n = a->s.len < b->s.len ? a->s.len : b->s.len;

	*out = n ? memcmp(a->s.text, b->s.text, n) : 0;
	if (*out == 0)
		*out = (a->s.len > b->s.len) - (a->s.len < b->s.len);
	return true;
}

static bool equal_lists(struct run *rn, const struct val_list *a, const struct val_list *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = val_equal(rn, &a->item[i], &b->item[i]);
	return same;
}

/* in any order */
static bool equal_dicts(struct run *rn, const struct val_dict *a, const struct val_dict *b)
{
	bool same = a->key.n == b->key.n;

	for (size_t i = 0; same && i < a->key.n; i++) {
		size_t k = 0;

		while (k < b->key.n && !val_equal(rn, &a->key.item[i], &b->key.item[k]))
			k++;
		same = k < b->key.n && val_equal(rn, &a->value.item[i], &b->value.item[k]);
	}
	return same;
}

/* item by item, each a step; the depth ends a list that holds itself */
static bool equal_inside(struct run *rn, const struct val *a, const struct val *b)
{
	bool same;

	if (++rn->steps > JINJA_STEPS || rn->depth > 4 * JINJA_DEPTH) {
		rn->steps = JINJA_STEPS;
		return false;
	}
	rn->depth++;
	same = a->kind == VAL_LIST ? equal_lists(rn, a->list, b->list)
				   : equal_dicts(rn, a->dict, b->dict);
	rn->depth--;
	return same;
}

bool val_equal(struct run *rn, const struct val *a, const struct val *b)
{
	int order;

	if (val_compare(a, b, &order))
		return order == 0;
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case VAL_LIST:
		return a->list == b->list || equal_inside(rn, a, b);
	case VAL_DICT: /* a namespace is itself only */
		return a->dict == b->dict ||
		       (!a->dict->settable && !b->dict->settable && equal_inside(rn, a, b));
	case VAL_MACRO:
		return a->macro == b->macro;
	case VAL_FUNC:
		return a->i == b->i;
	case VAL_STR:
		return false;
	default:
		return true;
	}
}

bool val_is(const struct val *v, const char *text)
{
	return v->kind == VAL_STR && val_named(v->s.text, v->s.len, text);
}

static void put_taint(struct buf *taint, const char *from, size_t n)
{
	if (from)
		buf_add(taint, from, n);
	else
		for (size_t i = 0; i < n; i++)
			buf_putc(taint, 0);
}

static void put_plain(struct buf *text, struct buf *taint, const char *s)
{
	buf_puts(text, s);
	put_taint(taint, NULL, strlen(s));
}

int val_print(struct run *rn, const struct val *v, struct buf *text, struct buf *taint)
{
	char number[32];

	switch (v->kind) {
	case VAL_UNDEFINED:
		break;
	case VAL_NONE:
		put_plain(text, taint, "None");
		break;
	case VAL_BOOL:
		put_plain(text, taint, v->i ? "True" : "False");
		break;
	case VAL_INT:
		snprintf(number, sizeof(number), "%lld", (long long)v->i);
		put_plain(text, taint, number);
		break;
	case VAL_STR:
		buf_add(text, v->s.text, v->s.len);
		put_taint(taint, v->s.taint, v->s.len);
		break;
	default:
		return run_fail(
			rn, EOPNOTSUPP, "a value that is no text or whole number is printed");
	}
	if (text->len > JINJA_MEMORY)
		return too_much(rn);
	return text->failed || taint->failed ? err_nomem(rn->err) : 0;
}

size_t char_offset(struct val_str s, size_t chars)
{
	size_t at = 0;

	for (; chars && at < s.len; chars--)
		for (at++; at < s.len && (s.text[at] & 0xc0) == 0x80;)
			at++;
	return at;
}

size_t char_count(struct val_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += (s.text[i] & 0xc0) != 0x80;
	return n;
}

struct val val_part(struct val_str s, size_t from, size_t to)
{
	return (struct val){
		.kind = VAL_STR, .s = {s.text + from, to - from, s.taint ? s.taint + from : NULL}};
}

struct val val_char(struct val_str s, size_t i)
{
	size_t from = char_offset(s, i);
	struct val_str rest = {s.text + from, s.len - from, NULL};

	return val_part(s, from, from + char_offset(rest, 1));
}

bool val_named(const char *name, size_t len, const char *wanted)
{
	return strlen(wanted) == len && memcmp(name, wanted, len) == 0;
}

const struct val *arg(const struct args *args, size_t i, const char *name)
{
	if (i < args->plain.n)
		return &args->plain.item[i];
	return name ? val_get(&args->keyed, name, strlen(name)) : NULL;
}
