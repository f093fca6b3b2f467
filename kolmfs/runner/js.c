/*
 * js - JavaScriptCore: the engine, the program, a context.
 *
 * A recipe's source is the body of a function made by JSObjectMakeFunction, which parses exactly
 * one function and then the end of the text: no source can close it and go on outside. All recipes
 * are compiled before any runs, because afterwards the context refuses to compile anything (eval,
 * Function).
 */
#include "runner/js.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/js_jsc.h"

/* on the first line of the source, so that lines count as in the recipe; what follows a trailing
 * comment must be on its own line */
static const char body_head[] = "\"use strict\";";
static const char run_tail[] = "\nif (typeof generate !== \"function\") throw \"\\u0000no "
			       "generate\";\nreturn generate(input, lib);";
static const char answer_tail[] = "\nreturn typeof answer === \"function\" ? answer : undefined;";
enum { HEADER_LINES = 2 }; /* that JSObjectMakeFunction puts before the body */

bool js_should_stop(JSContextRef ctx, void *arg)
{
	struct js *js = arg;

	(void)ctx;
	js->timed_out = true;
	return true;
}

static size_t utf8_put(uint32_t c, char *to)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1) {
		to[0] = (char)c;
		return 1;
	}
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3f));
	to[0] = (char)((0xf00u >> n & 0xf0) | c);
	return n;
}

/* not JSStringGetUTF8CString(), which ends at the first lone surrogate */
int js_text(JSStringRef text, struct buf *out)
{
	const JSChar *p = JSStringGetCharactersPtr(text);
	size_t n = JSStringGetLength(text);
	char *to;

	if (n > (SIZE_MAX - out->len) / 4 || buf_reserve(out, 3 * n + 1) < 0)
		return -ENOMEM;
	to = out->data + out->len;
	for (size_t i = 0; i < n; i++) {
		uint32_t c = p[i];

		if (c >= 0xd800 && c < 0xdc00 && i + 1 < n && p[i + 1] >= 0xdc00 &&
			p[i + 1] < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (p[++i] - 0xdc00u);
		else if (c >= 0xd800 && c < 0xe000)
			c = 0xfffd;
		to += utf8_put(c, to);
	}
	*to = 0;
	out->len = (size_t)(to - out->data);
	return 0;
}

static JSStringRef string_of(struct json_slice text)
{
	struct buf copy = BUF_INIT;
	JSStringRef out = NULL;

	if (buf_add(&copy, text.text, text.len) == 0)
		out = JSStringCreateWithUTF8CString(buf_str(&copy));
	buf_release(&copy);
	return out;
}

JSValueRef js_value_of(JSContextRef ctx, struct json_slice json)
{
	JSStringRef text = string_of(json);
	JSValueRef out = NULL;

	if (text) {
		out = JSValueMakeFromJSONString(ctx, text);
		JSStringRelease(text);
	}
	return out;
}

int js_compile(JSContextRef ctx, JSStringRef body, const char *const *params, unsigned n,
	JSObjectRef *out, struct err *err)
{
	JSStringRef names[4] = {NULL}, line_key;
	JSValueRef thrown = NULL, line = NULL;
	JSObjectRef made;
	struct err what = ERR_NONE;
	double at = 0;

	for (unsigned i = 0; i < n; i++)
		names[i] = JSStringCreateWithUTF8CString(params[i]);
	made = JSObjectMakeFunction(ctx, NULL, n, names, body, NULL, 1, &thrown);
	for (unsigned i = 0; i < n; i++)
		JSStringRelease(names[i]);
	if (made) {
		*out = made;
		return 0;
	}
	if (thrown && JSValueIsObject(ctx, thrown)) {
		line_key = JSStringCreateWithUTF8CString("line");
		line = JSObjectGetProperty(ctx, JSValueToObject(ctx, thrown, NULL), line_key, NULL);
		JSStringRelease(line_key);
		at = line ? JSValueToNumber(ctx, line, NULL) - HEADER_LINES : 0;
	}
	js_fault(ctx, NULL, thrown, &what);
	if (what.no == EBADMSG)
		return err_set(err, ENOEXEC, "recipe does not compile: line %.0f: %s",
			at < 1 ? 1 : at, what.text);
	*err = what;
	return -what.no;
}

int js_new(const struct js_host *host, struct js **out, struct err *err)
{
	struct js *js = calloc(1, sizeof(*js));
	JSGlobalContextRef warm;
	JSStringRef script;

	if (!js)
		return err_nomem(err);
	js->host = *host;
	js->last = -1;
	js->group = JSContextGroupCreate();
	js->prelude = JSStringCreateWithUTF8CString(js_prelude);
	js->not_allowed = JSStringCreateWithUTF8CString("making code from text is not allowed");
	/* the first context starts what the engine starts lazily: the watchdog's thread,
	 * /dev/urandom */
	JSContextGroupSetExecutionTimeLimit(js->group, JS_TIME_MS / 1000.0, js_should_stop, js);
	warm = JSGlobalContextCreateInGroup(js->group, NULL);
	script = JSStringCreateWithUTF8CString("Math.random()");
	JSEvaluateScript(warm, script, NULL, NULL, 1, NULL);
	JSStringRelease(script);
	JSGarbageCollect(warm);
	JSGlobalContextRelease(warm);
	*out = js;
	return 0;
}

static void recipe_release(struct js_recipe *rc)
{
	free(rc->id);
	free(rc->name);
	if (rc->body)
		JSStringRelease(rc->body);
	if (rc->answer)
		JSStringRelease(rc->answer);
}

/* ${head} ${source} ${tail}; by UTF-16 units: a source may hold anything a JavaScript string can */
static JSStringRef join(JSStringRef source, const char *tail)
{
	size_t nhead = strlen(body_head), nsrc = JSStringGetLength(source), ntail = strlen(tail);
	JSChar *text = calloc(nhead + nsrc + ntail, sizeof(*text));
	JSStringRef out = NULL;

	if (!text)
		return NULL;
	for (size_t i = 0; i < nhead; i++)
		text[i] = (JSChar)body_head[i];
	memcpy(text + nhead, JSStringGetCharactersPtr(source), nsrc * sizeof(*text));
	for (size_t i = 0; i < ntail; i++)
		text[nhead + nsrc + i] = (JSChar)tail[i];
	out = JSStringCreateWithCharacters(text, nhead + nsrc + ntail);
	free(text);
	return out;
}

static int recipe_load(struct js *js, JSContextRef ctx, struct json_slice spec,
	struct js_recipe *rc, struct err *err)
{
	struct json_slice id = {"\"\"", 2}, source = {"\"\"", 2};
	struct buf name = BUF_INIT;
	JSValueRef value;
	JSStringRef text;
	int rc_ = 0;

	(void)js;
	json_member(spec, "id", &id);
	json_member(spec, "source", &source);
	rc->id = strndup(id.text, id.len);
	value = json_kind_of(source) == JSON_STRING ? js_value_of(ctx, source) : NULL;
	text = value ? JSValueToStringCopy(ctx, value, NULL) : NULL;
	if (!text)
		return err_set(err, EBADMSG, "recipe has no source");
	if (json_kind_of(id) == JSON_STRING)
		json_string(id, &name);
	rc->name = buf_detach(&name);
	if (JSStringGetLength(text) > ARTIFACT_SOURCE_UNITS)
		rc_ = err_set(err, EMSGSIZE, "source larger than 64 KiB");
	if (rc_ == 0 && JSStringGetLength(text) > 0) {
		rc->body = join(text, run_tail);
		rc->imports = rc->body && js_imports(ctx, rc->body);
		rc->answer = join(text, answer_tail);
	}
	JSStringRelease(text);
	return rc_ < 0 && err->no == 0 ? err_nomem(err) : rc_;
}

static void program_release(struct js *js)
{
	for (size_t i = 0; i < js->nrecipes; i++)
		recipe_release(&js->recipes[i]);
	free(js->recipes);
	js->recipes = NULL;
	js->nrecipes = 0;
	buf_reset(&js->conf);
}

/* the prelude's configuration, all but "params", which comes with each call */
static int conf_build(struct js *js, struct json_slice frame)
{
	static const char *const keys[] = {"pack", "index", "rag", "lm", "eval"};
	struct json_slice value;

	js->has_slots = false;
	buf_putc(&js->conf, '{');
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!json_member(frame, keys[i], &value))
			value = (struct json_slice){"null", 4};
		if (i < 2 && json_kind_of(value) != JSON_NULL)
			js->has_slots = true;
		buf_addf(&js->conf, "\"%s\":", keys[i]);
		buf_add(&js->conf, value.text, value.len);
		buf_putc(&js->conf, ',');
	}
	return js->conf.failed ? -ENOMEM : 0;
}

/* compile once at load, so that the author hears of it before anything runs */
static void report_errors(struct js *js, JSContextRef ctx, struct buf *reply)
{
	static const char *const params[] = {"input", "lib"};
	const char *comma = "";

	for (size_t i = 0; i < js->nrecipes; i++) {
		struct err what = ERR_NONE;
		JSObjectRef made;

		if (!js->recipes[i].body ||
			js_compile(ctx, js->recipes[i].body, params, 2, &made, &what) == 0)
			continue;
		buf_addf(reply, "%s{\"recipe\":%zu,\"id\":%s,\"error\":", comma, i,
			js->recipes[i].id);
		json_put_text(reply, what.text);
		buf_putc(reply, '}');
		comma = ",";
	}
}

int js_load(struct js *js, struct json_slice frame, struct buf *reply, struct err *err)
{
	JSGlobalContextRef ctx = JSGlobalContextCreateInGroup(js->group, NULL);
	struct json_slice recipes = {"[]", 2}, item;
	size_t pos = 0, n = 0;
	int rc = 0;

	program_release(js);
	json_member(frame, "recipes", &recipes);
	while (json_next(recipes, &pos, NULL, &item))
		n++;
	js->recipes = calloc(n ? n : 1, sizeof(*js->recipes));
	rc = js->recipes ? conf_build(js, frame) : -ENOMEM;
	if (rc < 0)
		rc = err_nomem(err);
	pos = 0;
	while (rc == 0 && json_next(recipes, &pos, NULL, &item)) {
		js->nrecipes++;
		rc = recipe_load(js, ctx, item, &js->recipes[js->nrecipes - 1], err);
	}
	if (rc == 0) {
		buf_puts(reply, "{\"op\":\"loaded\",\"errors\":[");
		report_errors(js, ctx, reply);
		buf_puts(reply, "]}");
	}
	JSGlobalContextRelease(ctx);
	return rc;
}
