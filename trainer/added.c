#include "trainer/added.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "trainer/vocab.h"

static int compare(const void *a, const void *b, void *arg)
{
	const struct added_text *x = a, *y = b;
	const char *text = arg;

	if (text[x->at] != text[y->at])
		return (unsigned char)text[x->at] - (unsigned char)text[y->at];
	if (x->len != y->len)
		return x->len < y->len ? 1 : -1;
	return x->id - y->id;
}

static int add(
	struct added_set *set, const struct tokenizer *tk, int id, bool normalized, struct err *err)
{
	const struct token *tn = &tk->token[id];
	const char *text = buf_str(&tk->text) + tn->at;
	size_t at = set->text.len;
	int rc = 0;

	if (normalized)
		rc = normal_run(&tk->normal, text, tn->len, &set->text, err);
	else if (buf_add(&set->text, text, tn->len) < 0)
		rc = err_nomem(err);
	if (rc < 0 || set->text.len == at)
		return rc;
	set->list[set->n++] = (struct added_text){(uint32_t)at, (uint32_t)(set->text.len - at), id};
	return 0;
}

int added_make(struct added_set *set, const struct tokenizer *tk, unsigned mask, unsigned value,
	bool normalized, struct err *err)
{
	int next = 0;

	set->list = calloc((size_t)tk->n + 1, sizeof(set->list[0]));
	if (!set->list)
		return err_nomem(err);
	for (int i = 0; i < tk->n; i++) {
		const struct token *tn = &tk->token[i];
		int rc = 0;

		if ((tn->kind == TOKEN_CONTROL || tn->kind == TOKEN_USER) && tn->len &&
			(tn->flags & mask) == value)
			rc = add(set, tk, i, normalized, err);
		if (rc < 0)
			return rc;
	}
	if (set->text.len > UINT32_MAX)
		return err_set(err, EBADMSG, "tokenizer: added tokens of more than 4 GiB");
	qsort_r(set->list, (size_t)set->n, sizeof(set->list[0]), compare,
		(void *)buf_str(&set->text));
	for (int byte = 0; byte <= 256; byte++) {
		set->first[byte] = next;
		while (next < set->n &&
			(unsigned char)buf_str(&set->text)[set->list[next].at] == byte)
			next++;
	}
	return 0;
}

void added_release(struct added_set *set)
{
	free(set->list);
	buf_release(&set->text);
}

int added_find(const struct added_set *set, const char *text, size_t len, size_t *bytes)
{
	unsigned char first = (unsigned char)*text;

	for (int i = set->first[first]; i < set->first[first + 1]; i++) {
		const struct added_text *at = &set->list[i];

		if (at->len <= len && memcmp(buf_str(&set->text) + at->at, text, at->len) == 0) {
			*bytes = at->len;
			return at->id;
		}
	}
	return -1;
}

/* the code point that ends before ${text} + ${at}, begins there; -1 none */
static utf8proc_int32_t before(const char *text, size_t at, size_t *bytes)
{
	utf8proc_int32_t c = -1;
	size_t n = 1;

	while (n < 4 && n < at && (text[at - n] & 0xc0) == 0x80)
		n++;
	*bytes = n;
	if (at == 0 || utf8proc_iterate((const utf8proc_uint8_t *)text + at - n,
			       (utf8proc_ssize_t)n, &c) != (utf8proc_ssize_t)n)
		return -1;
	return c;
}

static utf8proc_int32_t behind(const char *text, size_t at, size_t len, size_t *bytes)
{
	utf8proc_int32_t c = -1;
	utf8proc_ssize_t n = utf8proc_iterate(
		(const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(len - at), &c);

	*bytes = n > 0 ? (size_t)n : 0;
	return n > 0 ? c : -1;
}

static bool is_word(utf8proc_int32_t c)
{
	if (c < 0)
		return false;
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		return c == 0x200c || c == 0x200d;
	}
}

static bool is_blank(utf8proc_int32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

static bool counts(const struct token *tn, const char *text, size_t len,
	const struct added_match *mt, bool special)
{
	size_t n;

	if (!special && (tn->kind == TOKEN_CONTROL || tn->flags & ADDED_RESERVED))
		return false;
	return !(tn->flags & ADDED_WORD) ||
	       !(is_word(before(text, mt->start, &n)) || is_word(behind(text, mt->end, len, &n)));
}

bool added_next(const struct added_set *set, const struct tokenizer *tk, const char *text,
	size_t len, size_t from, bool special, struct added_match *out)
{
	size_t bytes;

	for (size_t i = from; set->n && i < len; i++) {
		struct added_match mt = {
			.start = i, .id = added_find(set, text + i, len - i, &bytes)};
		const struct token *tn = &tk->token[mt.id < 0 ? 0 : mt.id];

		if (mt.id < 0)
			continue;
		mt.end = i + bytes;
		if (!counts(tn, text, len, &mt, special)) {
			i = mt.end - 1; /* what is found once is not looked into again */
			continue;
		}
		while (tn->flags & ADDED_LSTRIP && mt.start > from &&
			is_blank(before(text, mt.start, &bytes)))
			mt.start -= bytes;
		while (tn->flags & ADDED_RSTRIP && is_blank(behind(text, mt.end, len, &bytes)))
			mt.end += bytes;
		*out = mt;
		return true;
	}
	return false;
}
