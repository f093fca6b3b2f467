#include "trainer/normal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int normal_add(
	struct normal *nm, enum normal_kind kind, const char *from, const char *to, struct err *err)
{
	struct normal_step *st = &nm->step[nm->n];

	from = from ? from : "";
	to = to ? to : "";
	if (nm->n == NORMAL_STEPS)
		return err_set(err, EOPNOTSUPP, "tokenizer: more than %d normalizers are not read",
			NORMAL_STEPS);
	if (strlen(from) >= NORMAL_TEXT || strlen(to) >= NORMAL_TEXT ||
		(kind == NORMAL_REPLACE && !*from))
		return err_set(
			err, EOPNOTSUPP, "tokenizer: a normalizer with that text is not read");
	st->kind = kind;
	strcpy(st->from, from);
	strcpy(st->to, to);
	nm->n++;
	return 0;
}

/* marks of a character in the order of their classes, those of one class as they came. By counting:
 * a prompt may be one run of marks, and utf8proc_map() takes the square of its length. */
static void order_run(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *room)
{
	size_t at[256] = {0}, from = 0;

	for (size_t i = 0; i < n; i++)
		at[utf8proc_get_property(run[i])->combining_class]++;
	for (size_t c = 0; c < 256; c++) {
		size_t here = at[c];

		at[c] = from;
		from += here;
	}
	for (size_t i = 0; i < n; i++)
		room[at[utf8proc_get_property(run[i])->combining_class]++] = run[i];
	memcpy(run, room, n * sizeof(*run));
}

static int order_marks(utf8proc_int32_t *rune, size_t n)
{
	utf8proc_int32_t *room = NULL;

	for (size_t i = 0, end; i < n; i = end + 1) {
		bool sorted = true;

		for (end = i; end < n && utf8proc_get_property(rune[end])->combining_class; end++)
			sorted = sorted &&
				 (end == i ||
					 utf8proc_get_property(rune[end - 1])->combining_class <=
						 utf8proc_get_property(rune[end])->combining_class);
		if (sorted)
			continue;
		if (!room && !(room = malloc(n * sizeof(*room))))
			return -ENOMEM;
		order_run(rune + i, end - i, room);
	}
	free(room);
	return 0;
}

/* code points, each taken apart */
static int take_apart(const char *text, size_t len, utf8proc_option_t options, struct buf *out)
{
	enum { APART_MAX = 32 }; /* what one becomes: 18 at most */

	for (size_t at = 0; at < len;) {
		utf8proc_int32_t rune, apart[APART_MAX];
		int boundary = 0;
		utf8proc_ssize_t n = utf8proc_iterate(
			(const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(len - at), &rune);

		if (n <= 0)
			return -EILSEQ;
		at += (size_t)n;
		n = utf8proc_decompose_char(rune, apart, APART_MAX, options, &boundary);
		if (n < 0 || n > APART_MAX)
			return -EILSEQ;
		buf_add(out, apart, (size_t)n * sizeof(*apart));
	}
	return out->failed ? -ENOMEM : 0;
}

static int compose(
	enum normal_kind kind, const char *text, size_t len, struct buf *out, struct err *err)
{
	static const utf8proc_option_t options[] = {
		[NORMAL_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
		[NORMAL_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
		[NORMAL_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
		[NORMAL_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
	};
	struct buf runes = BUF_INIT;
	int rc = take_apart(text, len, options[kind], &runes);
	utf8proc_int32_t *rune = (utf8proc_int32_t *)(void *)runes.data;
	utf8proc_ssize_t n = (utf8proc_ssize_t)(runes.len / sizeof(*rune));

	if (rc == 0)
		rc = order_marks(rune, (size_t)n);
	if (rc == 0 && n > 0)
		n = utf8proc_normalize_utf32(rune, n, options[kind]);
	for (utf8proc_ssize_t i = 0; rc == 0 && i < n; i++) {
		utf8proc_uint8_t bytes[4];

		buf_add(out, bytes, (size_t)utf8proc_encode_char(rune[i], bytes));
	}
	buf_release(&runes);
	return rc < 0 || n < 0 || out->failed ? err_nomem(err) : 0;
}

static int replace(const struct normal_step *st, const char *text, size_t len, struct buf *out,
	struct err *err)
{
	const size_t n = strlen(st->from);

	if (st->kind == NORMAL_PREPEND && len)
		buf_puts(out, st->to);
	for (size_t i = 0; i < len;) {
		if (st->kind == NORMAL_REPLACE && len - i >= n &&
			memcmp(text + i, st->from, n) == 0) {
			buf_puts(out, st->to);
			i += n;
		} else {
			buf_putc(out, text[i++]);
		}
	}
	return out->failed ? err_nomem(err) : 0;
}

int normal_run(
	const struct normal *nm, const char *text, size_t len, struct buf *out, struct err *err)
{
	struct buf now = BUF_INIT, next = BUF_INIT;
	int rc = buf_add(&now, text, len) < 0 ? err_nomem(err) : 0;

	for (int i = 0; i < nm->n && rc == 0; i++) {
		const struct normal_step *st = &nm->step[i];
		struct buf swap = now;

		buf_reset(&next);
		rc = st->kind <= NORMAL_NFKD ? compose(st->kind, buf_str(&now), now.len, &next, err)
					     : replace(st, buf_str(&now), now.len, &next, err);
		now = next;
		next = swap;
	}
	if (rc == 0 && buf_add(out, buf_str(&now), now.len) < 0)
		rc = err_nomem(err);
	buf_release(&now);
	buf_release(&next);
	return rc;
}
