/*
 * js_import - does a source say import(...)?
 *
 * Dynamic import cannot be trapped at run time (the engine refuses it silently, having no loader),
 * so saying it is the attempt. Whether a word stands in the program or inside a text, a comment or
 * a regular expression only a parser knows, and the engine is one: with "@mport" in the word's
 * place a program does not compile, and all else does. `import` cannot be written with escapes.
 */
#include <stdlib.h>
#include <string.h>

#include "runner/js_jsc.h"

enum { LOOKS_MAX = 64 }; /* compilations; who says it more often means it */

static const char word[] = "import";
enum { WORD = sizeof(word) - 1 };

static bool is_line_end(JSChar c)
{
	return c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029;
}

static bool is_blank(JSChar c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || is_line_end(c) || c == 0x202f || c == 0x205f ||
	       c == 0x3000 || c == 0xfeff;
}

static bool is_name(JSChar c)
{
	return c == '_' || c == '$' || c == '#' || (c >= '0' && c <= '9') ||
	       (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0x80 && !is_blank(c));
}

/* behind blanks and comments */
static size_t skip(const JSChar *s, size_t n, size_t at)
{
	while (at < n) {
		if (is_blank(s[at])) {
			at++;
		} else if (at + 1 < n && s[at] == '/' && s[at + 1] == '/') {
			while (at < n && !is_line_end(s[at]))
				at++;
		} else if (at + 1 < n && s[at] == '/' && s[at + 1] == '*') {
			for (at += 2; at < n && !(s[at] == '*' && at + 1 < n && s[at + 1] == '/');)
				at++;
			at = at + 2 < n ? at + 2 : n;
		} else {
			break;
		}
	}
	return at;
}

/* the word as a whole, and neither a property (a.import, { import: 1 }) nor part of a name */
static bool may_be_import(const JSChar *s, size_t n, size_t at)
{
	static const char no[] = ":=,;)}]?";
	size_t next;

	for (size_t i = 0; i < WORD; i++)
		if (at + i >= n || s[at + i] != (JSChar)word[i])
			return false;
	if (at > 0 && (is_name(s[at - 1]) || (s[at - 1] == '.' && !(at > 2 && s[at - 2] == '.' &&
									  s[at - 3] == '.'))))
		return false;
	if (at + WORD < n && is_name(s[at + WORD]))
		return false;
	next = skip(s, n, at + WORD);
	return next < n && !is_name(s[next]) &&
	       (s[next] >= 0x80 || strchr(no, (char)s[next]) == NULL);
}

static bool compiles(JSContextRef ctx, JSStringRef body)
{
	static const char *const params[] = {"input", "lib"};
	struct err err = ERR_NONE;
	JSObjectRef made;

	return js_compile(ctx, body, params, 2, &made, &err) == 0;
}

/* the program with one letter changed */
static bool compiles_without(JSContextRef ctx, JSChar *s, size_t n, size_t at)
{
	JSStringRef text;
	bool does;

	s[at] = '@';
	text = JSStringCreateWithCharacters(s, n);
	s[at] = (JSChar)word[0];
	does = compiles(ctx, text);
	JSStringRelease(text);
	return does;
}

bool js_imports(JSContextRef ctx, JSStringRef body)
{
	size_t n = JSStringGetLength(body), looks = 0;
	JSChar *s = calloc(n + 1, sizeof(*s));
	bool found = false;

	if (!s)
		return true; /* not known to be honest */
	memcpy(s, JSStringGetCharactersPtr(body), n * sizeof(*s));
	for (size_t at = 0; !found && at < n; at++) {
		if (!may_be_import(s, n, at))
			continue;
		if (looks == 0 && !compiles(ctx, body))
			break; /* it will never run */
		found = ++looks > LOOKS_MAX || !compiles_without(ctx, s, n, at);
	}
	free(s);
	return found;
}
