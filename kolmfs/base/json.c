/*
 * json - the strict scanner; see json.h. Cutting values out of a checked text is json_cut.c,
 * spelling them json_write.c.
 */
#include "base/json.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json_hex.h"

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
	while (sc->at < sc->len && strchr(" \t\r\n", sc->p[sc->at]) != NULL &&
		sc->p[sc->at] != '\0')
		sc->at++;
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
			return err_set(sc->err, EMSGSIZE, "string longer than %d bytes",
				JSON_STRING_BYTES);
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
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i]);

		if (sc->len - sc->at >= n && memcmp(sc->p + sc->at, words[i], n) == 0) {
			sc->at += n;
			return 0;
		}
	}
	return bad(sc, "unexpected character");
}

/* the decoded keys of one object, as 128-bit hashes in an open table: the same key twice is refused
 */
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
	struct json_slice key = {sc->p + from, sc->at - from};
	struct buf text = BUF_INIT;
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	/* without an escape the raw text is the name; with one its canonical spelling is (lone
	 * surrogates differ) */
	if (memchr(key.text, '\\', key.len) == NULL) {
		rc = key_set_add(ks, XXH3_128bits(key.text, key.len));
	} else {
		rc = json_canonical(key, &text);
		if (rc == 0)
			rc = key_set_add(ks, XXH3_128bits(text.data, text.len));
		buf_release(&text);
	}
	if (rc == -EEXIST)
		return err_set(sc->err, EBADMSG, "JSON: duplicate key %s at byte %zu",
			err_quote(quoted, key.text, key.len), from);
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
	struct key_set ks = {0};
	int rc = 0;

	if (++sc->depth > JSON_DEPTH_MAX)
		return err_set(sc->err, EBADMSG, "JSON: nested deeper than %d at byte %zu",
			JSON_DEPTH_MAX, sc->at);
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
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		return scan_number(sc);
	default:
		return scan_word(sc);
	}
}

static int check(const char *text, size_t len, bool for_cjson, struct err *err)
{
	struct scan sc = {.p = text, .len = len, .for_cjson = for_cjson, .err = err};
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
