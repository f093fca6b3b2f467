/*
 * json_write - values in the spellings of FORMATS section 1: compact, pretty, canonical; see
 * json.h.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_hex.h"
#include "base/num.h"

/* UTF-16 order from UTF-8: only U+E000..U+FFFF (EE, EF) and astral characters (F0..F4) stand the
 * other way round */
int utf16_compare(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen, i = 0;

	while (i < n && a[i] == b[i])
		i++;
	if (i == n)
		return alen < blen ? -1 : alen > blen;
	unsigned x = (unsigned char)a[i], y = (unsigned char)b[i];
	bool high_x = x >= 0xee && x <= 0xef, high_y = y >= 0xee && y <= 0xef;
	if (high_x && y >= 0xf0)
		return 1;
	if (high_y && x >= 0xf0)
		return -1;
	return x < y ? -1 : 1;
}

static void put_escape(struct buf *out, unsigned char c)
{
	static const char named[] = "\b\t\n\f\r\"\\", letter[] = "btnfr\"\\";
	const char *at = c != 0 ? strchr(named, c) : NULL;

	if (at != NULL)
		(void)buf_addf(out, "\\%c", letter[at - named]);
	else
		(void)buf_addf(out, "\\u%04x", c);
}

int json_put_string(struct buf *out, const char *text, size_t len)
{
	size_t from = 0;

	(void)buf_putc(out, '"');
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
		bool good = c < 0x80 || (n <= len - i && utf8_check(text + i, n) == n);

		if (good && c >= 0x20 && c != '"' && c != '\\') {
			i += n;
			continue;
		}
		(void)buf_add(out, text + from, i - from);
		if (good)
			put_escape(out, c);
		else
			(void)buf_puts(out, "\xef\xbf\xbd");
		from = ++i;
	}
	(void)buf_add(out, text + from, len - from);
	return buf_putc(out, '"');
}

int json_put_text(struct buf *out, const char *text)
{
	return text == NULL ? buf_puts(out, "null") : json_put_string(out, text, strlen(text));
}

int json_put_number(struct buf *out, double x)
{
	char text[NUM_TEXT_BYTES];

	return buf_puts(out, num_text(x, text));
}

/* a checked string respelt: what can stand raw does, lone surrogates as \udxxx */
static void put_raw_string(struct buf *out, struct json_slice v)
{
	const char *p = v.text + 1, *end = v.text + v.len - 1;

	(void)buf_putc(out, '"');
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash != NULL ? slash : end) - p), n;
		struct buf one = BUF_INIT;
		unsigned c = 0;

		(void)buf_add(out, p, run);
		p += run;
		if (p == end)
			break;
		n = 2;
		if (p[1] == 'u') {
			(void)hex4(p + 2, (size_t)(end - p) - 2, &c);
			n = c >= 0xd800 && c <= 0xdbff && end - p >= 12 && p[6] == '\\' &&
					    p[7] == 'u' && (p[8] | 32) == 'd' &&
					    strchr("cdefCDEF", p[9]) != NULL
				    ? 12
				    : 6;
		}
		if (n == 6 && c >= 0xd800 && c <= 0xdfff) {
			(void)buf_addf(out, "\\u%04x", c);
		} else {
			char quoted[16] = {'"'};

			memcpy(quoted + 1, p, n);
			quoted[n + 1] = '"';
			(void)json_string((struct json_slice){quoted, n + 2}, &one);
			(void)buf_reserve(&one, 0);
			if (one.failed)
				out->failed = true;
			else if (one.len == 1 && ((unsigned char)one.data[0] < 0x20 ||
							 one.data[0] == '"' || one.data[0] == '\\'))
				put_escape(out, (unsigned char)one.data[0]);
			else
				(void)buf_add(out, one.data, one.len);
			buf_release(&one);
		}
		p += n;
	}
	(void)buf_putc(out, '"');
}

/* one member while its object is put in order */
struct member {
	struct buf name; /* the name respelt, with its quotes */
	struct json_slice value;
	uint32_t index; /* its number when the name is an array index */
	bool is_index;
	size_t order;
};

/* JavaScript's order: array indices by number, then the others as they came */
static int by_javascript(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;

	if (a->is_index != b->is_index)
		return a->is_index ? -1 : 1;
	if (a->is_index)
		return a->index < b->index ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

/*
 * UTF-16 code units of two names in their respelt form. Escapes are decoded on the way, because '"'
 * is 0x22 but its spelling begins with a backslash.
 */
static unsigned next_unit(const char **p, const char *end, unsigned *pending)
{
	const unsigned char *u = (const unsigned char *)*p;
	unsigned c;

	if (*pending != 0) {
		c = *pending;
		*pending = 0;
		return c;
	}
	if (*p >= end)
		return UINT32_MAX;
	if (u[0] == '\\') {
		if (u[1] == 'u') {
			c = 0;
			(void)hex4(*p + 2, (size_t)(end - *p) - 2, &c);
			*p += 6;
			return c;
		}
		const char *from = "\"\\bfnrt", *to = "\"\\\b\f\n\r\t";
		c = (unsigned char)to[strchr(from, u[1]) - from];
		*p += 2;
		return c;
	}
	if (u[0] < 0x80)
		return *p += 1, u[0];
	if (u[0] < 0xe0)
		return *p += 2, (unsigned)((u[0] & 0x1f) << 6 | (u[1] & 0x3f));
	if (u[0] < 0xf0)
		return *p += 3,
		       (unsigned)((u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f));
	c = (unsigned)((u[0] & 7) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 |
		       (u[3] & 0x3f)) -
	    0x10000;
	*p += 4;
	*pending = 0xdc00 + (c & 0x3ff);
	return 0xd800 + (c >> 10);
}

static int by_units(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;
	const char *p = a->name.data + 1, *q = b->name.data + 1;
	const char *pe = a->name.data + a->name.len - 1, *qe = b->name.data + b->name.len - 1;
	unsigned pp = 0, qq = 0;

	for (;;) {
		unsigned x = next_unit(&p, pe, &pp), y = next_unit(&q, qe, &qq);

		if (x == UINT32_MAX || y == UINT32_MAX)
			return x == y ? 0 : x == UINT32_MAX ? -1 : 1;
		if (x != y)
			return x < y ? -1 : 1;
	}
}

static bool array_index(const struct buf *name, uint32_t *out)
{
	int64_t x;
	size_t n = name->len - 2;

	if (n == 0 || n > 10 || (name->data[1] == '0' && n > 1))
		return false;
	if (num_whole(name->data + 1, n, 0, 4294967294, &x) < 0)
		return false;
	*out = (uint32_t)x;
	return true;
}

enum form { COMPACT, PRETTY, CANONICAL };

static void put_value(struct buf *out, struct json_slice v, enum form form, int indent);

static void put_break(struct buf *out, enum form form, int indent)
{
	if (form == PRETTY)
		(void)buf_addf(out, "\n%*s", 2 * indent, "");
}

static void put_object(struct buf *out, struct json_slice v, enum form form, int indent)
{
	struct member *list = NULL;
	struct json_slice key, value;
	size_t pos = 0, n = 0, cap = 0;

	while (json_next(v, &pos, &key, &value)) {
		if (n == cap) {
			struct member *more =
				realloc(list, (cap = cap == 0 ? 8 : cap * 2) * sizeof(*list));

			if (more == NULL) {
				out->failed = true;
				goto out;
			}
			list = more;
		}
		list[n] = (struct member){.value = value, .order = n};
		put_raw_string(&list[n].name, key);
		out->failed |= list[n].name.failed;
		n++;
		if (out->failed)
			goto out;
		list[n - 1].is_index =
			form != CANONICAL && array_index(&list[n - 1].name, &list[n - 1].index);
	}
	if (n > 1)
		qsort(list, n, sizeof(*list), form == CANONICAL ? by_units : by_javascript);
	(void)buf_putc(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			(void)buf_putc(out, ',');
		put_break(out, form, indent + 1);
		(void)buf_add(out, list[i].name.data, list[i].name.len);
		(void)buf_puts(out, form == PRETTY ? ": " : ":");
		put_value(out, list[i].value, form, indent + 1);
	}
	if (n > 0)
		put_break(out, form, indent);
	(void)buf_putc(out, '}');
out:
	for (size_t i = 0; i < n; i++)
		buf_release(&list[i].name);
	free(list);
}

static void put_array(struct buf *out, struct json_slice v, enum form form, int indent)
{
	struct json_slice value;
	size_t pos = 0, n = 0;

	(void)buf_putc(out, '[');
	for (; json_next(v, &pos, NULL, &value); n++) {
		if (n > 0)
			(void)buf_putc(out, ',');
		put_break(out, form, indent + 1);
		put_value(out, value, form, indent + 1);
	}
	if (n > 0)
		put_break(out, form, indent);
	(void)buf_putc(out, ']');
}

static void put_value(struct buf *out, struct json_slice v, enum form form, int indent)
{
	while (v.len > 0 && v.text[0] != '\0' && strchr(" \t\r\n", v.text[0]) != NULL)
		v.text++, v.len--;
	while (v.len > 0 && strchr(" \t\r\n", v.text[v.len - 1]) != NULL)
		v.len--;
	switch (json_kind_of(v)) {
	case JSON_OBJECT:
		put_object(out, v, form, indent);
		break;
	case JSON_ARRAY:
		put_array(out, v, form, indent);
		break;
	case JSON_STRING:
		put_raw_string(out, v);
		break;
	case JSON_NUMBER:
		(void)json_put_number(out, json_double(v));
		break;
	default:
		(void)buf_add(out, v.text, v.len);
	}
}

int json_canonical(struct json_slice value, struct buf *out)
{
	put_value(out, value, CANONICAL, 0);
	return out->failed ? -ENOMEM : 0;
}

int json_compact(struct json_slice value, struct buf *out)
{
	put_value(out, value, COMPACT, 0);
	return out->failed ? -ENOMEM : 0;
}

int json_pretty(struct json_slice value, struct buf *out)
{
	put_value(out, value, PRETTY, 0);
	return out->failed ? -ENOMEM : 0;
}

bool json_same(struct json_slice a, struct json_slice b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool same = json_canonical(a, &x) == 0 && json_canonical(b, &y) == 0 && x.len == y.len &&
		    memcmp(buf_str(&x), buf_str(&y), x.len) == 0;

	buf_release(&x);
	buf_release(&y);
	return same;
}

static void put_node(struct buf *out, const cJSON *node, bool pretty, int indent)
{
	enum form form = pretty ? PRETTY : COMPACT;
	const cJSON *child;

	if (cJSON_IsString(node)) {
		(void)json_put_text(out, node->valuestring);
	} else if (cJSON_IsRaw(node)) {
		put_value(out, (struct json_slice){node->valuestring, strlen(node->valuestring)},
			form, indent);
	} else if (cJSON_IsNumber(node)) {
		(void)json_put_number(out, node->valuedouble);
	} else if (cJSON_IsBool(node)) {
		(void)buf_puts(out, cJSON_IsTrue(node) ? "true" : "false");
	} else if (cJSON_IsObject(node) || cJSON_IsArray(node)) {
		bool object = cJSON_IsObject(node);

		(void)buf_putc(out, object ? '{' : '[');
		cJSON_ArrayForEach(child, node)
		{
			if (child != node->child)
				(void)buf_putc(out, ',');
			put_break(out, form, indent + 1);
			if (object) {
				(void)json_put_text(out, child->string);
				(void)buf_puts(out, pretty ? ": " : ":");
			}
			put_node(out, child, pretty, indent + 1);
		}
		if (node->child != NULL)
			put_break(out, form, indent);
		(void)buf_putc(out, object ? '}' : ']');
	} else {
		(void)buf_puts(out, "null");
	}
}

int json_put_cjson(struct buf *out, const cJSON *node, bool pretty)
{
	put_node(out, node, pretty, 0);
	return out->failed ? -ENOMEM : 0;
}
