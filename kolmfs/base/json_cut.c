/*
 * json_cut - raw values out of a checked text, without a tree; see json.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_hex.h"
#include "base/num.h"

static struct json_slice trim(struct json_slice v)
{
	while (v.len > 0 && strchr(" \t\r\n", v.text[0]) != NULL && v.text[0] != '\0')
		v.text++, v.len--;
	while (v.len > 0 && strchr(" \t\r\n", v.text[v.len - 1]) != NULL)
		v.len--;
	return v;
}

enum json_kind json_kind_of(struct json_slice value)
{
	value = trim(value);
	switch (value.len > 0 ? value.text[0] : 'n') {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
	case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

/* end of the checked value that starts at p[at] */
static size_t value_end(const char *p, size_t len, size_t at)
{
	int depth = 0;

	do {
		char c = p[at];

		if (c == '"') {
			for (at++; at < len && p[at] != '"'; at++)
				if (p[at] == '\\')
					at++;
			at++;
		} else if (c == '{' || c == '[') {
			depth++;
			at++;
		} else if (c == '}' || c == ']') {
			depth--;
			at++;
		} else if (depth > 0) {
			at++;
		} else {
			while (at < len && strchr(",]} \t\r\n", p[at]) == NULL)
				at++;
		}
	} while (depth > 0 && at < len);
	return at < len ? at : len;
}

static size_t past_blanks(struct json_slice v, size_t at)
{
	while (at < v.len && v.text[at] != '\0' && strchr(" \t\r\n", v.text[at]) != NULL)
		at++;
	return at;
}

bool json_next(
	struct json_slice container, size_t *pos, struct json_slice *key, struct json_slice *value)
{
	struct json_slice v = trim(container);
	size_t at = *pos == 0 ? 1 : *pos;
	bool object = v.len > 0 && v.text[0] == '{';
	struct json_slice k = {NULL, 0};
	size_t end;

	if (v.len < 2 || (!object && v.text[0] != '['))
		return false;
	at = past_blanks(v, at);
	if (at < v.len && v.text[at] == ',')
		at = past_blanks(v, at + 1);
	if (at >= v.len - 1)
		return false;
	if (object) {
		end = value_end(v.text, v.len, at);
		k = (struct json_slice){v.text + at, end - at};
		at = past_blanks(v, past_blanks(v, end) + 1); /* ':' */
		if (at >= v.len)			      /* only in a text nobody checked */
			return false;
	}
	end = value_end(v.text, v.len, at);
	if (end == at)
		return false;
	*value = (struct json_slice){v.text + at, end - at};
	if (key != NULL)
		*key = k;
	*pos = end;
	return true;
}

bool json_member(struct json_slice object, const char *key, struct json_slice *out)
{
	struct json_slice k, v;
	size_t pos = 0, n = strlen(key);
	bool found = false;

	if (json_kind_of(object) != JSON_OBJECT)
		return false;
	while (!found && json_next(object, &pos, &k, &v)) {
		if (memchr(k.text, '\\', k.len) == NULL) {
			found = k.len == n + 2 && memcmp(k.text + 1, key, n) == 0;
		} else {
			struct buf name = BUF_INIT;

			found = json_string(k, &name) == 0 && name.len == n &&
				memcmp(name.data, key, n) == 0;
			buf_release(&name);
		}
	}
	if (found)
		*out = v;
	return found;
}

static int put_utf8(struct buf *out, unsigned c)
{
	char b[4];
	size_t n;

	if (c < 0x80) {
		b[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else {
		b[0] = (char)(0xf0 | c >> 18);
		b[1] = (char)(0x80 | (c >> 12 & 0x3f));
		b[2] = (char)(0x80 | (c >> 6 & 0x3f));
		b[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	}
	return buf_add(out, b, n);
}

int json_string(struct json_slice value, struct buf *out)
{
	struct json_slice v = trim(value);
	const char *p = v.text + 1, *end = v.text + v.len - 1;

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash != NULL ? slash : end) - p);
		unsigned c = 0, low;

		(void)buf_add(out, p, run);
		p += run;
		if (p == end)
			break;
		if (p[1] != 'u') {
			const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t";

			(void)buf_putc(out, to[strchr(from, p[1]) - from]);
			p += 2;
			continue;
		}
		(void)hex4(p + 2, 4, &c);
		p += 6;
		if (c >= 0xd800 && c <= 0xdbff && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
			hex4(p + 2, 4, &low) == 0 && low >= 0xdc00 && low <= 0xdfff) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			p += 6;
		} else if (c >= 0xd800 && c <= 0xdfff) {
			c = 0xfffd;
		}
		(void)put_utf8(out, c);
	}
	return out->failed ? -ENOMEM : 0;
}

bool json_true(struct json_slice value)
{
	return value.len == 4 && memcmp(value.text, "true", 4) == 0;
}

double json_double(struct json_slice value)
{
	struct json_slice v = trim(value);
	double x = 0;
	int rc = num_real(v.text, v.len, &x);

	if (rc == -ERANGE) /* over- and underflow: what JavaScript reads */
		return memchr(v.text, '-', v.len) != NULL && strpbrk(v.text, "eE") != NULL
			       ? 0
			       : __builtin_inf();
	return x;
}

const char *json_get_string(const cJSON *object, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(v) ? v->valuestring : NULL;
}

double json_get_number(const cJSON *object, const char *key, double fallback)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(v) ? v->valuedouble : fallback;
}

bool json_get_bool(const cJSON *object, const char *key, bool fallback)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsBool(v) ? cJSON_IsTrue(v) : fallback;
}
