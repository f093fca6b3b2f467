/* err - texts for people; see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

static void err_vset(struct err *err, int no, const char *fmt, va_list ap)
{
	if (err == NULL)
		return;
	err->no = no;
	err->code[0] = '\0';
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int err_set(struct err *err, int no, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(err, no, fmt, ap);
	va_end(ap);
	return -no;
}

int err_code(struct err *err, const char *code)
{
	if (err == NULL)
		return -EIO;
	(void)snprintf(err->code, sizeof(err->code), "%s", code);
	return -err->no;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	/* a call that did less than it was asked to leaves none: that is no success */
	int no = errno != 0 ? errno : EIO;
	va_list ap;

	va_start(ap, fmt);
	err_vset(err, no, fmt, ap);
	va_end(ap);
	if (err != NULL) {
		size_t n = strlen(err->text);

		(void)snprintf(err->text + n, sizeof(err->text) - n, ": %s", strerror(no));
	}
	return -no;
}

int err_full(struct err *err)
{
	if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)
		return 0;
	return err_set(err, errno, "no space left; nothing was changed%s",
		errno == EDQUOT	 ? " (quota)"
		: errno == EFBIG ? " (file size limit)"
				 : "");
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char head[ERR_TEXT_BYTES], tail[ERR_TEXT_BYTES];
	va_list ap;

	if (err == NULL)
		return -EIO;
	va_start(ap, fmt);
	(void)vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	memcpy(tail, err->text, sizeof(tail));
	size_t n = strlen(head);
	if (n >= sizeof(err->text))
		n = sizeof(err->text) - 1;
	memcpy(err->text, head, n);
	(void)snprintf(err->text + n, sizeof(err->text) - n, "%s", tail);
	return -err->no;
}

int err_nomem(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

/* code points that reorder or hide text on a terminal */
static bool is_format_mark(unsigned c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb);
}

/* decode one valid UTF-8 character; 0 when there is none at p */
static size_t utf8_one(const char *p, size_t len, unsigned *c)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t n = u[0] < 0x80 ? 1 : u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;

	if (n > len || utf8_check(p, n) != n)
		return 0;
	if (n == 1)
		*c = u[0];
	else if (n == 2)
		*c = (unsigned)((u[0] & 0x1f) << 6 | (u[1] & 0x3f));
	else if (n == 3)
		*c = (unsigned)((u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f));
	else
		*c = (unsigned)((u[0] & 0x07) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 |
				(u[3] & 0x3f));
	return n;
}

/* at most ${room} bytes and a NUL; what is cut ends in dots */
static void quote(char *out, size_t room, const char *text, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < len;) {
		char piece[16];
		unsigned c = 0;
		size_t n = utf8_one(text + i, len - i, &c), m;

		if (n == 0 || (n == 1 && (c < 0x20 || c == 0x7f)))
			m = (size_t)snprintf(
				piece, sizeof(piece), "\\x%02x", (unsigned char)text[i]);
		else if (is_format_mark(c))
			m = (size_t)snprintf(piece, sizeof(piece), "\\u{%x}", c);
		else
			memcpy(piece, text + i, m = n);
		if (used + m > room - 3) {
			memcpy(out + used, "...", 3);
			used += 3;
			break;
		}
		memcpy(out + used, piece, m);
		used += m;
		i += n == 0 ? 1 : n;
	}
	out[used] = '\0';
}

const char *err_quote(char out[ERR_QUOTE_BYTES + 8], const char *text, size_t len)
{
	quote(out, ERR_QUOTE_BYTES, text, len);
	return out;
}

int err_said(struct err *err, int no, const char *text, size_t len)
{
	char said[ERR_TEXT_BYTES];

	quote(said, sizeof(said) - 1, text, len);
	return err_set(err, no, "%s", said);
}

static const struct {
	int no;
	const char *name;
} names[] = {
#define N(x)                                                                                       \
	{                                                                                          \
		x, #x                                                                              \
	}
	N(EPERM),
	N(ENOENT),
	N(ESRCH),
	N(EINTR),
	N(EIO),
	N(E2BIG),
	N(ENOEXEC),
	N(EBADF),
	N(EAGAIN),
	N(ENOMEM),
	N(EACCES),
	N(EBUSY),
	N(EEXIST),
	N(EXDEV),
	N(ENODEV),
	N(ENOTDIR),
	N(EISDIR),
	N(EINVAL),
	N(ENFILE),
	N(EMFILE),
	N(EFBIG),
	N(ENOSPC),
	N(EROFS),
	N(EPIPE),
	N(EDOM),
	N(ERANGE),
	N(ENAMETOOLONG),
	N(ENOSYS),
	N(ENOTEMPTY),
	N(ELOOP),
	N(ENODATA),
	N(ETIME),
	N(EPROTO),
	N(EBADMSG),
	N(EOVERFLOW),
	N(EILSEQ),
	N(EMSGSIZE),
	N(EOPNOTSUPP),
	N(ENOTCONN),
	N(ETIMEDOUT),
	N(EALREADY),
	N(ESTALE),
	N(EUCLEAN),
	N(EDQUOT),
	N(ECANCELED),
	N(EKEYREJECTED),
	N(ENOTRECOVERABLE),
	N(ENOTSUP),
#undef N
};

const char *err_name(int no)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].no == no)
			return names[i].name;
	return "EIO";
}

int err_number(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].no;
	return EIO;
}
