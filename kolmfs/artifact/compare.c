/*
 * compare - does an output count as the expected one? (FORMATS 17)
 *
 * Both sides are made canonical first. Then equal values are equal bytes, and the members of two
 * objects stand in the same order, so that one walk over both is enough whatever their size.
 */
#include "artifact/compile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const struct json_slice undefined = {NULL, 0};

static bool same(struct json_slice a, struct json_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.text, b.text, a.len) == 0);
}

static bool is_container(struct json_slice v)
{
	return v.len > 0 && (v.text[0] == '{' || v.text[0] == '[');
}

/* array_index(key, out): is the quoted key a canonical array index? */
static bool array_index(struct json_slice key, size_t *out)
{
	size_t n = 0;

	if (key.len < 3 || key.len > 12 || (key.text[1] == '0' && key.len > 3))
		return false;
	for (size_t i = 1; i + 1 < key.len; i++) {
		if (key.text[i] < '0' || key.text[i] > '9')
			return false;
		n = n * 10 + (size_t)(key.text[i] - '0');
	}
	*out = n;
	return true;
}

/* items(array, n): its items as a table, owned by the caller; NULL without memory */
static struct json_slice *items(struct json_slice array, size_t *n)
{
	struct json_slice v, *list = NULL;
	size_t pos = 0, room = 0;

	*n = 0;
	while (json_next(array, &pos, NULL, &v)) {
		if (*n >= room) {
			struct json_slice *more =
				realloc(list, (room = 2 * room + 16) * sizeof(*list));
			if (more == NULL) {
				free(list);
				return NULL;
			}
			list = more;
		}
		list[(*n)++] = v;
	}
	return list != NULL ? list : calloc(1, sizeof(*list));
}

typedef bool matcher(struct json_slice actual, struct json_slice expected);

static bool array_in_array(struct json_slice a, struct json_slice e, matcher *match)
{
	struct json_slice x, y;
	size_t i = 0, j = 0;

	for (;;) {
		bool more = json_next(a, &i, NULL, &x), wanted = json_next(e, &j, NULL, &y);
		if (more != wanted)
			return false;
		if (!more)
			return true;
		if (!match(x, y))
			return false;
	}
}

/* every member of ${e} has its match in ${a}; an absent one never matches, so one pass over both
 * will do */
static bool object_in_object(struct json_slice a, struct json_slice e, matcher *match)
{
	struct json_slice ka, va, ke, ve;
	size_t i = 0, j = 0;

	while (json_next(e, &j, &ke, &ve)) {
		do {
			if (!json_next(a, &i, &ka, &va))
				return false;
		} while (!same(ka, ke));
		if (!match(va, ve))
			return false;
	}
	return true;
}

static bool array_in_object(struct json_slice a, struct json_slice e, matcher *match)
{
	struct json_slice key, v, *want;
	size_t n, pos = 0, hits = 0, at;
	bool good = true;

	want = items(e, &n);
	if (want == NULL)
		return false;
	while (good && json_next(a, &pos, &key, &v)) {
		if (!array_index(key, &at) || at >= n)
			continue;
		hits++;
		good = match(v, want[at]);
	}
	free(want);
	return good && hits == n;
}

static bool object_in_array(struct json_slice a, struct json_slice e, matcher *match)
{
	struct json_slice key, v, *have;
	size_t n, pos = 0, at;
	bool good = true;

	have = items(a, &n);
	if (have == NULL)
		return false;
	while (good && json_next(e, &pos, &key, &v)) {
		char number[24];
		struct json_slice length = {
			number, (size_t)snprintf(number, sizeof(number), "%zu", n)};

		if (array_index(key, &at) && at < n)
			good = match(have[at], v);
		else
			good = same(key, (struct json_slice){"\"length\"", 8}) && match(length, v);
	}
	free(have);
	return good;
}

static bool subset_equal(struct json_slice a, struct json_slice e)
{
	if (e.len == 0 || e.text[0] == 'n')
		return a.len > 0;
	if (is_container(a) && is_container(e)) {
		if (e.text[0] == '[')
			return a.text[0] == '[' ? array_in_array(a, e, subset_equal)
						: array_in_object(a, e, subset_equal);
		return a.text[0] == '[' ? object_in_array(a, e, subset_equal)
					: object_in_object(a, e, subset_equal);
	}
	if (a.len > 0 && json_kind_of(a) == JSON_NUMBER && json_kind_of(e) == JSON_NUMBER)
		return fabs(json_double(a) - json_double(e)) < 1e-6;
	return same(a, e);
}

static bool json_subset(struct json_slice a, struct json_slice e)
{
	if (!is_container(e))
		return same(a, e);
	if (!is_container(a) || a.text[0] != e.text[0])
		return false;
	return e.text[0] == '[' ? array_in_array(a, e, json_subset)
				: object_in_object(a, e, json_subset);
}

/* parse_text(v, out): canonical text of what the string ${v} holds, or of ${v} itself when it holds
 * no JSON */
static struct json_slice parse_text(struct json_slice v, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (v.len > 0 && v.text[0] == '"' && json_string(v, &text) == 0 &&
		json_check(buf_str(&text), text.len, NULL) == 0) {
		buf_reset(out);
		if (json_canonical(slice_of(&text), out) == 0)
			v = slice_of(out);
	}
	buf_release(&text);
	return v;
}

static bool is_white(utf8proc_int32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000 || c == 0xfeff;
}

static bool is_cased(utf8proc_int32_t c)
{
	utf8proc_category_t cat = utf8proc_category(c);

	return cat == UTF8PROC_CATEGORY_LU || cat == UTF8PROC_CATEGORY_LL ||
	       cat == UTF8PROC_CATEGORY_LT || c == 0xaa || c == 0xba ||
	       (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9);
}

static bool is_ignorable(utf8proc_int32_t c)
{
	utf8proc_category_t cat = utf8proc_category(c);

	return cat == UTF8PROC_CATEGORY_MN || cat == UTF8PROC_CATEGORY_ME ||
	       cat == UTF8PROC_CATEGORY_CF || cat == UTF8PROC_CATEGORY_LM ||
	       cat == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xb7 ||
	       c == 0x387 || c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
}

/* the final-sigma rule: a cased letter before it and none behind it, what is between does not count
 */
static bool sigma_is_final(const utf8proc_int32_t *c, size_t n, size_t at)
{
	size_t i = at, j = at + 1;

	while (i > 0 && is_ignorable(c[i - 1]))
		i--;
	while (j < n && is_ignorable(c[j]))
		j++;
	return i > 0 && is_cased(c[i - 1]) && !(j < n && is_cased(c[j]));
}

static void put_char(struct buf *out, utf8proc_int32_t c)
{
	utf8proc_uint8_t raw[4];

	(void)buf_add(out, raw, (size_t)utf8proc_encode_char(c, raw));
}

/* normalize(text, out): NFKC, lower case, runs of blanks to one space, trimmed */
static int normalize(const struct buf *text, struct buf *out)
{
	size_t room, n;
	utf8proc_int32_t *c;
	utf8proc_ssize_t got;
	bool gap = false;

	/* compatibility forms can be 18 times as long: ask first */
	got = utf8proc_decompose((const utf8proc_uint8_t *)buf_str(text),
		(utf8proc_ssize_t)text->len, NULL, 0,
		UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);
	if (got < 0 || (size_t)got > SIZE_MAX / 8)
		return -EINVAL;
	room = (size_t)got + 1;
	c = calloc(room, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	got = utf8proc_decompose((const utf8proc_uint8_t *)buf_str(text),
		(utf8proc_ssize_t)text->len, c, (utf8proc_ssize_t)room,
		UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);
	got = got < 0 ? got : utf8proc_normalize_utf32(c, got, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	n = got < 0 ? 0 : (size_t)got;
	for (size_t i = 0; i < n; i++) {
		if (is_white(c[i])) {
			gap = true;
			continue;
		}
		if (gap && out->len > 0)
			(void)buf_putc(out, ' ');
		gap = false;
		if (c[i] == 0x130)
			(void)buf_puts(out, "i\xcc\x87");
		else if (c[i] == 0x3a3)
			put_char(out, sigma_is_final(c, n, i) ? 0x3c2 : 0x3c3);
		else
			put_char(out, utf8proc_tolower(c[i]));
	}
	free(c);
	return out->failed ? -ENOMEM : 0;
}

int comparator_text(struct json_slice v, struct buf *out)
{
	struct buf text = BUF_INIT;
	int rc = 0;

	if (v.len > 0 && v.text[0] == '"')
		rc = json_string(v, &text);
	else if (v.len > 0 && v.text[0] != 'n')
		rc = buf_add(&text, v.text, v.len);
	if (rc == 0)
		rc = normalize(&text, out);
	buf_release(&text);
	return rc;
}

static bool same_text(struct json_slice a, struct json_slice e)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool equal = comparator_text(a, &x) == 0 && comparator_text(e, &y) == 0 && x.len == y.len &&
		     memcmp(buf_str(&x), buf_str(&y), x.len) == 0;

	buf_release(&x);
	buf_release(&y);
	return equal;
}

static struct json_slice label_of(struct json_slice v)
{
	static const char *const keys[] = {"label", "class", "tag"};
	struct json_slice m;

	if (v.len == 0 || v.text[0] != '{')
		return v;
	for (size_t i = 0; i < 3; i++)
		if (json_member(v, keys[i], &m) && m.text[0] != 'n')
			return m;
	return v;
}

static bool by_json_subset(struct json_slice a, struct json_slice e)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool good = json_subset(parse_text(a, &x), parse_text(e, &y));

	buf_release(&x);
	buf_release(&y);
	return good;
}

static bool by_label(struct json_slice a, struct json_slice e)
{
	return same_text(label_of(a), label_of(e));
}

static const struct {
	const char *name;
	matcher *match;
} comparators[] = {
	{"exact", subset_equal},
	{"subset_equal", subset_equal},
	{"json_subset", by_json_subset},
	{"normalized_string", same_text},
	{"label", by_label},
};

static matcher *matcher_find(const char *name)
{
	for (size_t i = 0; i < sizeof(comparators) / sizeof(comparators[0]); i++)
		if (strcmp(comparators[i].name, name) == 0)
			return comparators[i].match;
	return NULL;
}

bool comparator_known(const char *name)
{
	return matcher_find(name) != NULL;
}

bool comparator_match(const char *name, struct json_slice actual, struct json_slice expected)
{
	matcher *match = matcher_find(name);
	struct buf a = BUF_INIT, e = BUF_INIT;
	bool good;

	good = (actual.len == 0 || json_canonical(actual, &a) == 0) &&
	       (expected.len == 0 || json_canonical(expected, &e) == 0) &&
	       (match != NULL ? match : subset_equal)(actual.len > 0 ? slice_of(&a) : undefined,
		       expected.len > 0 ? slice_of(&e) : undefined);
	buf_release(&a);
	buf_release(&e);
	return good;
}
