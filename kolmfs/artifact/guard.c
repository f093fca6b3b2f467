/*
 * guard - the source guard of FORMATS 15.2: a courtesy to authors, not a wall. The walls are around
 * the cell.
 */
#include "artifact/private.h"

#include <errno.h>
#include <string.h>

static const char *const words[] = {
	"process",
	"require",
	"module",
	"global",
	"globalThis",
	"__dirname",
	"__filename",
	"constructor",
	"prototype",
	"ArrayBuffer",
	"SharedArrayBuffer",
	"Atomics",
	"Reflect",
	"Proxy",
	"WeakRef",
	"FinalizationRegistry",
	"setTimeout",
	"setInterval",
	"setImmediate",
	"queueMicrotask",
};
/* refused only as a call */
static const char *const calls[] = {"import", "Function", "eval"};

/* strip(source, len, out): the text without comments and literals, each one space. Regular
 * expressions are not recognised. */
static int strip(const char *s, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len;) {
		if (s[i] == '/' && i + 1 < len && s[i + 1] == '/') {
			const char *lf = memchr(s + i, '\n', len - i);
			i = lf != NULL ? (size_t)(lf - s) : len;
		} else if (s[i] == '/' && i + 1 < len && s[i + 1] == '*') {
			const char *end = memmem(s + i + 2, len - i - 2, "*/", 2);
			i = end != NULL ? (size_t)(end - s) + 2 : len;
		} else if (s[i] == '\'' || s[i] == '"' || s[i] == '`') {
			char quote = s[i++];
			while (i < len && s[i] != quote)
				i += s[i] == '\\' ? 2 : 1;
			i = i < len ? i + 1 : len;
		} else {
			(void)buf_putc(out, s[i++]);
			continue;
		}
		(void)buf_putc(out, ' ');
	}
	return out->failed ? -ENOMEM : 0;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* blank(p, end): bytes of the WS character at ${p}, 0 when it is none */
static size_t blank(const char *p, const char *end)
{
	static const char *const wide[] = {"\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", "\xef\xbb\xbf"};

	if (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
		return 1;
	for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
		size_t n = strlen(wide[i]);
		if ((size_t)(end - p) >= n && memcmp(p, wide[i], n) == 0)
			return n;
	}
	if (end - p >= 3 && memcmp(p, "\xe2\x80", 2) == 0 &&
		(unsigned char)p[2] <= 0x8a) /* U+2000..200A */
		return 3;
	return 0;
}

static bool is_call(const char *p, const char *end)
{
	size_t n;

	while ((n = blank(p, end)) > 0)
		p += n;
	return p < end && *p == '(';
}

static const char *forbidden(const char *word, size_t n, const char *end)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == n && memcmp(words[i], word, n) == 0)
			return words[i];
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strlen(calls[i]) == n && memcmp(calls[i], word, n) == 0 &&
			is_call(word + n, end))
			return calls[i];
	return NULL;
}

/* UTF-16 units of UTF-8 text: one for each character, two for an astral one */
static size_t units(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			n += (unsigned char)s[i] >= 0xf0 ? 2 : 1;
	}
	return n;
}

int source_guard(const char *source, size_t len, struct err *err)
{
	struct buf text = BUF_INIT;
	const char *hit = NULL, *p, *end;

	if (units(source, len) > ARTIFACT_SOURCE_UNITS)
		return err_set(err, EMSGSIZE, "source larger than 64 KiB");
	if (strip(source, len, &text) < 0) {
		buf_release(&text);
		return err_nomem(err);
	}
	p = buf_str(&text);
	end = p + text.len;
	while (p < end && hit == NULL) {
		const char *from = p;
		while (p < end && is_word(*p))
			p++;
		hit = p > from ? forbidden(from, (size_t)(p - from), end) : NULL;
		p += p == from;
	}
	buf_release(&text);
	return hit != NULL ? err_set(err, EBADMSG, "recipe uses \"%s\": not allowed", hit) : 0;
}
