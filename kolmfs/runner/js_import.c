/*
 * js_import - does a source say import(...)?
 *
 * Dynamic import cannot be trapped at run time (the engine refuses it silently, having no loader),
 * so saying it is the attempt. Whether a word stands in the program or inside a text, a comment or
 * a regular expression only a parser knows, and the engine is one: a text, the name of a property
 * (a.import(), { import() {} }) and the name of a group may be `export` as well, but nothing of a
 * function's body can begin with it. So a program that compiles, and does not with every `import`
 * exchanged for `export`, has one of its own. `import` cannot be written with escapes.
 */
#include <stdlib.h>
#include <string.h>

#include "runner/js_jsc.h"

static const char word[] = "import", other[] = "export";
enum { WORD = sizeof(word) - 1 };

static bool is_blank(JSChar c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000 || c == 0xfeff;
}

static bool is_name(JSChar c)
{
	return c == '_' || c == '$' || c == '#' || (c >= '0' && c <= '9') ||
	       (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0x80 && !is_blank(c));
}

/* the word as a whole, and no part of a name */
static bool is_word(const JSChar *s, size_t n, size_t at)
{
	if (n - at < WORD || (at > 0 && is_name(s[at - 1])) ||
		(at + WORD < n && is_name(s[at + WORD])))
		return false;
	for (size_t i = 0; i < WORD; i++)
		if (s[at + i] != (JSChar)word[i])
			return false;
	return true;
}

static bool compiles(JSContextRef ctx, JSStringRef body)
{
	static const char *const params[] = {"input", "lib"};
	struct err err = ERR_NONE;
	JSObjectRef made;

	return js_compile(ctx, body, params, 2, &made, &err) == 0;
}

bool js_imports(JSContextRef ctx, JSStringRef body)
{
	size_t n = JSStringGetLength(body), words = 0;
	JSChar *s = calloc(n + 1, sizeof(*s));
	JSStringRef text;
	bool found = false;

	if (!s)
		return true; /* not known to be honest */
	memcpy(s, JSStringGetCharactersPtr(body), n * sizeof(*s));
	for (size_t at = 0; at < n; at++) {
		if (!is_word(s, n, at))
			continue;
		for (size_t i = 0; i < WORD; i++)
			s[at + i] = (JSChar)other[i];
		words++;
	}
	if (words > 0 && compiles(ctx, body)) { /* else it will never run */
		text = JSStringCreateWithCharacters(s, n);
		found = !compiles(ctx, text);
		JSStringRelease(text);
	}
	free(s);
	return found;
}
