/*
 * json - the strict scanner, and cutting raw values out of a checked text; see json.h. Spelling values is json_write.c.
 */
#include "base/json.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/num.h"

struct scan {
	const char *p; /* the text */
	size_t len;
	size_t at;
	int depth;
	bool for_cjson; /* also refuse what cJSON's strings cannot hold */
	struct err *err;
};

size_t utf8_check(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0;

	while (i < len) {
		unsigned char c = s[i], lo = 0x80, hi = 0xbf;
		size_t n;

		if (c < 0x80) {
			i++;
			continue;
		}
		if (c >= 0xc2 && c <= 0xdf)
			n = 1;
		else if (c >= 0xe0 && c <= 0xef)
			n = 2;
		else if (c >= 0xf0 && c <= 0xf4)
			n = 3;
		else
			return i;
		if (c == 0xe0)
			lo = 0xa0;
		else if (c == 0xed)
			hi = 0x9f;
		else if (c == 0xf0)
			lo = 0x90;
		else if (c == 0xf4)
			hi = 0x8f;
		if (len - i <= n || s[i + 1] < lo || s[i + 1] > hi)
			return i;
		for (size_t k = 2; k <= n; k++)
			if (s[i + k] < 0x80 || s[i + k] > 0xbf)
				return i;
		i += n + 1;
	}
	return len;
}

static int bad(struct scan *sc, const char *what)
{
	return err_set(sc->err, EBADMSG, "JSON: %s at byte %zu", what, sc->at);
}

static void skip_blanks(struct scan *sc)
{
	while (sc->at < sc->len && strchr(" \t\r\n", sc->p[sc->at]) != NULL && sc->p[sc->at] != '\0')
		sc->at++;
}

static int hex4(const char *p, size_t len, unsigned *out)
{
	unsigned x = 0;

	if (len < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		x <<= 4;
		if (c >= '0' && c <= '9')
			x |= (unsigned)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			x |= (unsigned)((c | 32) - 'a' + 10);
		else
			return -1;
	}
	*out = x;
	return 0;
}

/* one escape at sc->at (a backslash); a surrogate pair is one escape */
static int scan_escape(struct scan *sc)
{
	const char *p = sc->p + sc->at;
	size_t left = sc->len - sc->at;
	unsigned c, low;

	if (left < 2)
		return bad(sc, "unfinished string");
	if (p[1] != 'u') {
		if (memchr("\"\\/bfnrt", p[1], 8) == NULL)
			return bad(sc, "unknown escape");
		sc->at += 2;
		return 0;
	}
	if (hex4(p + 2, left - 2, &c) < 0)
		return bad(sc, "bad \\u escape");
	bool pair = c >= 0xd800 && c <= 0xdbff && left >= 12 && p[6] == '\\' && p[7] == 'u' &&
		    hex4(p + 8, left - 8, &low) == 0 && low >= 0xdc00 && low <= 0xdfff;
	if (sc->for_cjson && c == 0)
		return bad(sc, "\\u0000");
	if (sc->for_cjson && c >= 0xd800 && c <= 0xdfff && !pair)
		return bad(sc, "lone surrogate");
	sc->at += pair ? 12 : 6;
	return 0;
}

static int scan_string(struct scan *sc)
{
	size_t from = sc->at++;

	for (;;) {
		unsigned char c;
		size_t run;

		if (sc->at >= sc->len)
			return bad(sc, "unfinished string");
		if (sc->at - from > JSON_STRING_BYTES)
			return err_set(sc->err, EMSGSIZE, "string longer than %d bytes", JSON_STRING_BYTES);
		c = (unsigned char)sc->p[sc->at];
		if (c == '"')
			break;
		if (c < 0x20)
			return bad(sc, "control character in a string");
		if (c == '\\') {
			int rc = scan_escape(sc);

			if (rc < 0)
				return rc;
		} else if (c < 0x80) {
			sc->at++;
		} else {
			run = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
			if (run > sc->len - sc->at || utf8_check(sc->p + sc->at, run) != run)
				return bad(sc, "not UTF-8");
			sc->at += run;
		}
	}
	sc->at++;
	return 0;
}

static size_t scan_digits(struct scan *sc)
{
	size_t from = sc->at;

	while (sc->at < sc->len && sc->p[sc->at] >= '0' && sc->p[sc->at] <= '9')
		sc->at++;
	return sc->at - from;
}

static int scan_number(struct scan *sc)
{
	size_t from = sc->at, digits;

	if (sc->p[sc->at] == '-')
		sc->at++;
	bool zero = sc->at < sc->len && sc->p[sc->at] == '0';
	digits = scan_digits(sc);
	if (digits == 0 || (zero && digits > 1))
		return bad(sc, "bad number");
	if (sc->at < sc->len && sc->p[sc->at] == '.') {
		sc->at++;
		if (scan_digits(sc) == 0)
			return bad(sc, "bad number");
	}
	if (sc->at < sc->len && (sc->p[sc->at] | 32) == 'e') {
		sc->at++;
		if (sc->at < sc->len && (sc->p[sc->at] == '+' || sc->p[sc->at] == '-'))
			sc->at++;
		if (scan_digits(sc) == 0)
			return bad(sc, "bad number");
	}
	if (sc->at - from > JSON_NUMBER_BYTES)
		return err_set(sc->err, EMSGSIZE, "number longer than %d bytes", JSON_NUMBER_BYTES);
	return 0;
}

static int scan_word(struct scan *sc)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i]);

		if (sc->len - sc->at >= n && memcmp(sc->p + sc->at, words[i], n) == 0) {
			sc->at += n;
			return 0;
		}
	}
	return bad(sc, "unexpected character");
}

/* the decoded keys of one object, as 128-bit hashes in an open table: the same key twice is refused */
struct key_set {
	XXH128_hash_t *slot;
	size_t cap;
	size_t n;
};

static int key_set_add(struct key_set *ks, XXH128_hash_t h)
{
	if (ks->n * 2 >= ks->cap) {
		size_t cap = ks->cap == 0 ? 16 : ks->cap * 2;
		XXH128_hash_t *old = ks->slot, *slot = calloc(cap, sizeof(*slot));

		if (slot == NULL)
			return -ENOMEM;
		for (size_t i = 0; i < ks->cap; i++) {
			if (old[i].low64 == 0 && old[i].high64 == 0)
				continue;
			size_t at = old[i].low64 & (cap - 1);
			while (slot[at].low64 != 0 || slot[at].high64 != 0)
				at = (at + 1) & (cap - 1);
			slot[at] = old[i];
		}
		free(old);
		ks->slot = slot;
		ks->cap = cap;
	}
	size_t at = h.low64 & (ks->cap - 1);
	for (; ks->slot[at].low64 != 0 || ks->slot[at].high64 != 0; at = (at + 1) & (ks->cap - 1))
		if (XXH128_isEqual(ks->slot[at], h))
			return -EEXIST;
	ks->slot[at] = h;
	ks->n++;
	return 0;
}

static int key_add(struct scan *sc, struct key_set *ks, size_t from)
{
	struct json_slice key = { sc->p + from, sc->at - from };
	struct buf text = BUF_INIT;
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	/* without an escape the raw text is the name; with one its canonical spelling is (lone surrogates differ) */
	if (memchr(key.text, '\\', key.len) == NULL) {
		rc = key_set_add(ks, XXH3_128bits(key.text, key.len));
	} else {
		rc = json_canonical(key, &text);
		if (rc == 0)
			rc = key_set_add(ks, XXH3_128bits(text.data, text.len));
		buf_release(&text);
	}
	if (rc == -EEXIST)
		return err_set(sc->err, EBADMSG, "JSON: duplicate key %s at byte %zu", err_quote(quoted, key.text, key.len), from);
	return rc < 0 ? err_nomem(sc->err) : 0;
}

static int scan_value(struct scan *sc);

static int scan_member(struct scan *sc, struct key_set *ks)
{
	size_t from = sc->at;
	int rc;

	if (sc->at >= sc->len || sc->p[sc->at] != '"')
		return bad(sc, "member name expected");
	rc = scan_string(sc);
	if (rc == 0)
		rc = key_add(sc, ks, from);
	if (rc < 0)
		return rc;
	skip_blanks(sc);
	if (sc->at >= sc->len || sc->p[sc->at] != ':')
		return bad(sc, "':' expected");
	sc->at++;
	return 0;
}

static int scan_container(struct scan *sc, char close)
{
	struct key_set ks = { 0 };
	int rc = 0;

	if (++sc->depth > JSON_DEPTH_MAX)
		return err_set(sc->err, EBADMSG, "JSON: nested deeper than %d at byte %zu", JSON_DEPTH_MAX, sc->at);
	sc->at++;
	skip_blanks(sc);
	if (sc->at < sc->len && sc->p[sc->at] == close)
		goto closed;
	for (;;) {
		skip_blanks(sc);
		if (close == '}' && (rc = scan_member(sc, &ks)) < 0)
			goto out;
		if ((rc = scan_value(sc)) < 0)
			goto out;
		skip_blanks(sc);
		if (sc->at < sc->len && sc->p[sc->at] == close)
			break;
		if (sc->at >= sc->len || sc->p[sc->at] != ',') {
			rc = bad(sc, sc->at >= sc->len ? "unfinished text" : "',' expected");
			goto out;
		}
		sc->at++;
	}
closed:
	sc->at++;
	sc->depth--;
out:
	free(ks.slot);
	return rc;
}

static int scan_value(struct scan *sc)
{
	skip_blanks(sc);
	if (sc->at >= sc->len)
		return bad(sc, "value expected");
	switch (sc->p[sc->at]) {
	case '{':
		return scan_container(sc, '}');
	case '[':
		return scan_container(sc, ']');
	case '"':
		return scan_string(sc);
	case '-':
	case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return scan_number(sc);
	default:
		return scan_word(sc);
	}
}

static int check(const char *text, size_t len, bool for_cjson, struct err *err)
{
	struct scan sc = { .p = text, .len = len, .for_cjson = for_cjson, .err = err };
	int rc;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return bad(&sc, "byte order mark");
	rc = scan_value(&sc);
	if (rc < 0)
		return rc;
	skip_blanks(&sc);
	return sc.at == len ? 0 : bad(&sc, "text after the value");
}

int json_check(const char *text, size_t len, struct err *err)
{
	return check(text, len, false, err);
}

int json_parse(const char *text, size_t len, cJSON **out, struct err *err)
{
	cJSON *node;
	int rc = check(text, len, true, err);

	if (rc < 0)
		return rc;
	node = cJSON_ParseWithLength(text, len);
	if (node == NULL)
		return err_nomem(err);
	*out = node;
	return 0;
}

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

bool json_next(struct json_slice container, size_t *pos, struct json_slice *key, struct json_slice *value)
{
	struct json_slice v = trim(container);
	struct scan sc = { .p = v.text, .len = v.len, .at = *pos == 0 ? 1 : *pos };
	bool object = v.len > 0 && v.text[0] == '{';
	struct json_slice k = { NULL, 0 };
	size_t end;

	if (v.len < 2 || (!object && v.text[0] != '['))
		return false;
	skip_blanks(&sc);
	if (sc.p[sc.at] == ',')
		sc.at++;
	skip_blanks(&sc);
	if (sc.at >= v.len - 1)
		return false;
	if (object) {
		end = value_end(sc.p, v.len, sc.at);
		k = (struct json_slice){ sc.p + sc.at, end - sc.at };
		sc.at = end;
		skip_blanks(&sc);
		sc.at++; /* ':' */
		skip_blanks(&sc);
	}
	end = value_end(sc.p, v.len, sc.at);
	*value = (struct json_slice){ sc.p + sc.at, end - sc.at };
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

			found = json_string(k, &name) == 0 && name.len == n && memcmp(name.data, key, n) == 0;
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
		if (c >= 0xd800 && c <= 0xdbff && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, 4, &low) == 0 &&
			low >= 0xdc00 && low <= 0xdfff) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			p += 6;
		} else if (c >= 0xd800 && c <= 0xdfff) {
			c = 0xfffd;
		}
		(void)put_utf8(out, c);
	}
	return out->failed ? -ENOMEM : 0;
}

double json_double(struct json_slice value)
{
	struct json_slice v = trim(value);
	double x = 0;
	int rc = num_real(v.text, v.len, &x);

	if (rc == -ERANGE)	/* over- and underflow: what JavaScript reads */
		return memchr(v.text, '-', v.len) != NULL && strpbrk(v.text, "eE") != NULL ? 0 : __builtin_inf();
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
