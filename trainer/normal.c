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

static int compose(
	enum normal_kind kind, const char *text, size_t len, struct buf *out, struct err *err)
{
	static const utf8proc_option_t options[] = {
		[NORMAL_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
		[NORMAL_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
		[NORMAL_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
		[NORMAL_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
	};
	utf8proc_uint8_t *made = NULL;
	utf8proc_ssize_t n = utf8proc_map(
		(const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &made, options[kind]);

	if (n < 0)
		return err_nomem(err);
	buf_add(out, made, (size_t)n);
	free(made);
	return out->failed ? err_nomem(err) : 0;
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
