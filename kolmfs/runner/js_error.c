/*
 * js_error - what a thrown value means: BAD-INPUTS D.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/js_jsc.h"

/* escaped for logs, at most JS_MESSAGE_BYTES; err_quote() takes short pieces, cut between
 * characters */
static void quote(const char *text, size_t len, char out[JS_MESSAGE_BYTES + 4])
{
	enum { PIECE = 16 };
	char piece[ERR_QUOTE_BYTES + 8];
	size_t used = 0;

	out[0] = 0;
	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE, add;

		while (n < len && n > PIECE - 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
		err_quote(piece, text, n);
		add = strlen(piece);
		if (used + add > JS_MESSAGE_BYTES) {
			memcpy(out + used, "...", 4);
			return;
		}
		memcpy(out + used, piece, add + 1);
		used += add;
		text += n;
		len -= n;
	}
}

/* a property as text; false when it is missing or throws */
static bool property(JSContextRef ctx, JSValueRef of, const char *key, struct buf *out)
{
	JSStringRef name = JSStringCreateWithUTF8CString(key), text;
	JSValueRef thrown = NULL,
		   value = JSObjectGetProperty(ctx, JSValueToObject(ctx, of, NULL), name, &thrown);
	bool is_text;

	JSStringRelease(name);
	if (thrown || !value || !JSValueIsString(ctx, value))
		return false;
	text = JSValueToStringCopy(ctx, value, NULL);
	is_text = text && js_text(text, out) == 0;
	if (text)
		JSStringRelease(text);
	return is_text;
}

/* an error's own message, or the value as text */
static void describe(JSContextRef ctx, JSValueRef thrown, struct buf *out)
{
	JSValueRef again = NULL;
	JSStringRef text;

	if (JSValueIsObject(ctx, thrown) && property(ctx, thrown, "message", out))
		return;
	text = JSValueToStringCopy(ctx, thrown, &again);
	if (text && !again)
		js_text(text, out);
	else
		buf_puts(out, "a value that cannot be shown");
	if (text)
		JSStringRelease(text);
}

static bool is_range_error(JSContextRef ctx, JSValueRef thrown)
{
	struct buf name = BUF_INIT;
	bool is = JSValueIsObject(ctx, thrown) && property(ctx, thrown, "name", &name) &&
		  strcmp(buf_str(&name), "RangeError") == 0;

	buf_release(&name);
	return is;
}

static int timed_out(struct err *err)
{
	err_set(err, ETIMEDOUT, "recipe was stopped after %d ms", JS_TIME_MS);
	return err_code(err, "KOLM_E_RECIPE_TIMEOUT");
}

int js_fault(JSContextRef ctx, const struct js *js, JSValueRef thrown, struct err *err)
{
	static const char unknown[] = "Can't find variable: ", marker[] = "no generate";
	char shown[JS_MESSAGE_BYTES + 4];
	struct buf text = BUF_INIT;
	const char *what;
	int rc;

	if (js && js->timed_out)
		return timed_out(err);
	if (!thrown)
		return err_set(err, EBADMSG, "recipe threw: nothing");
	describe(ctx, thrown, &text);
	what = buf_str(&text);
	if (js && js->timed_out) { /* in the getter of a message */
		rc = timed_out(err);
	} else if (is_range_error(ctx, thrown) && strncmp(what, "Maximum call stack", 18) == 0) {
		rc = err_set(err, EOVERFLOW, "recipe overflowed the call stack");
	} else if (strncmp(what, "Out of memory", 13) == 0) {
		err_set(err, ENOMEM, "recipe reached the memory limit of %d MiB", JS_MEMORY_MIB);
		rc = err_code(err, "KOLM_E_RECIPE_TIMEOUT");
	} else if (text.len == 1 + strlen(marker) && what[0] == 0 &&
		   memcmp(what + 1, marker, strlen(marker)) == 0) {
		rc = err_set(err, ENOEXEC, "recipe does not compile: no function 'generate'");
	} else if (strncmp(what, unknown, strlen(unknown)) == 0) { /* the words everybody knows */
		quote(what + strlen(unknown), text.len - strlen(unknown), shown);
		rc = err_set(
			err, EBADMSG, "%s%s is not defined", js ? "recipe threw: " : "", shown);
	} else {
		quote(what, text.len, shown);
		rc = err_set(err, EBADMSG, "%s%s", js ? "recipe threw: " : "", shown);
	}
	buf_release(&text);
	return rc;
}

bool js_fault_is_limit(const struct err *err)
{
	return err->no == ETIMEDOUT || err->no == ENOMEM || err->no == EOVERFLOW;
}
