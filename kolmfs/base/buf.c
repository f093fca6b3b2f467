/* buf - a growing piece of memory; see buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int buf_reserve(struct buf *bf, size_t more)
{
	size_t cap = bf->cap != 0 ? bf->cap : 64;
	char *data;

	if (bf->failed || more > SIZE_MAX / 4 - bf->len)
		goto fail;
	while (cap < bf->len + more + 1)
		cap *= 2;
	if (cap == bf->cap)
		return 0;
	data = realloc(bf->data, cap);
	if (data == NULL)
		goto fail;
	bf->data = data;
	bf->cap = cap;
	return 0;
fail:
	bf->failed = true;
	return -ENOMEM;
}

int buf_add(struct buf *bf, const void *data, size_t len)
{
	if (buf_reserve(bf, len) < 0)
		return -ENOMEM;
	if (len > 0)
		memcpy(bf->data + bf->len, data, len);
	bf->len += len;
	bf->data[bf->len] = '\0';
	return 0;
}

int buf_puts(struct buf *bf, const char *text)
{
	return buf_add(bf, text, strlen(text));
}

int buf_putc(struct buf *bf, char c)
{
	return buf_add(bf, &c, 1);
}

int buf_addf(struct buf *bf, const char *fmt, ...)
{
	size_t room = bf->failed ? 0 : bf->cap - bf->len;
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(room ? bf->data + bf->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0 || buf_reserve(bf, (size_t)n) < 0) {
		if (room)
			bf->data[bf->len] = '\0'; /* what was begun is not there */
		va_end(again);
		bf->failed = true;
		return -ENOMEM;
	}
	if ((size_t)n >= room)
		(void)vsnprintf(bf->data + bf->len, (size_t)n + 1, fmt, again);
	va_end(again);
	bf->len += (size_t)n;
	return 0;
}

void buf_consume(struct buf *bf, size_t n)
{
	if (n == 0)
		return;
	memmove(bf->data, bf->data + n, bf->len - n);
	bf->len -= n;
	bf->data[bf->len] = '\0';
}

void buf_reset(struct buf *bf)
{
	bf->len = 0;
	bf->failed = false;
	if (bf->data != NULL)
		bf->data[0] = '\0';
}

void buf_release(struct buf *bf)
{
	free(bf->data);
	*bf = BUF_INIT;
}

char *buf_detach(struct buf *bf)
{
	char *data;

	if (bf->data == NULL)
		(void)buf_reserve(bf, 0);
	if (bf->data != NULL)
		bf->data[bf->len] = '\0';
	data = bf->data;
	*bf = BUF_INIT;
	return data;
}

const char *buf_str(const struct buf *bf)
{
	return bf->data != NULL ? bf->data : "";
}
