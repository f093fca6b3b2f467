/*
 * js_call - one call of a program: dispatch in order (FORMATS 15.3), or one question to a recipe's
 * answer().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/js_jsc.h"

static JSValueRef throw_text(JSContextRef ctx, const char *text, JSValueRef *thrown)
{
	JSStringRef message = JSStringCreateWithUTF8CString(text);
	JSValueRef arg = JSValueMakeString(ctx, message);

	JSStringRelease(message);
	*thrown = JSObjectMakeError(ctx, 1, &arg, NULL);
	return JSValueMakeUndefined(ctx);
}

/* the struct js of a call-back: the engine's group has one, found through the private data of the
 * call-back's object */
static struct js *js_of(JSObjectRef function)
{
	return JSObjectGetPrivate(function);
}

static JSValueRef host_ask(JSContextRef ctx, JSObjectRef function, JSObjectRef this, size_t argc,
	const JSValueRef argv[], JSValueRef *thrown)
{
	struct js *js = js_of(function);
	struct buf question = BUF_INIT, answer = BUF_INIT;
	struct err err = ERR_NONE;
	JSStringRef text = argc == 1 ? JSValueToStringCopy(ctx, argv[0], thrown) : NULL;
	JSValueRef out;
	int rc;

	(void)this;
	if (!text)
		return JSValueMakeUndefined(ctx);
	/* the engine counts processor time, so waiting here does not use up the recipe's second */
	rc = js_text(text, &question);
	JSStringRelease(text);
	if (rc == 0)
		rc = js->host.ask(js->host.arg, question.data, question.len, &answer, &err);
	if (rc < 0) {
		out = throw_text(ctx, err.no ? err.text : "out of memory", thrown);
	} else {
		text = JSStringCreateWithUTF8CString(buf_str(&answer));
		out = JSValueMakeString(ctx, text);
		JSStringRelease(text);
	}
	buf_release(&question);
	buf_release(&answer);
	return out;
}

static JSValueRef host_trap(JSContextRef ctx, JSObjectRef function, JSObjectRef this, size_t argc,
	const JSValueRef argv[], JSValueRef *thrown)
{
	struct js *js = js_of(function);
	struct buf api = BUF_INIT;
	JSStringRef text = argc == 1 ? JSValueToStringCopy(ctx, argv[0], thrown) : NULL;

	(void)this;
	if (text) {
		js_text(text, &api);
		JSStringRelease(text);
	}
	js->host.egress(js->host.arg, buf_str(&api));
	buf_release(&api);
	return JSValueMakeUndefined(ctx);
}

/* a function with private data: made of a class, since JSObjectMakeFunctionWithCallback has none */
static JSObjectRef host_function(struct js_run *run, JSObjectCallAsFunctionCallback call)
{
	JSClassDefinition def = kJSClassDefinitionEmpty;
	JSClassRef class;
	JSObjectRef out;

	def.className = "Function";
	def.callAsFunction = call;
	class = JSClassCreate(&def);
	out = JSObjectMake(run->ctx, class, run->js);
	JSClassRelease(class);
	return out;
}

/* params: those of the call, else input.params of a plain object, else null (FORMATS 15.4) */
static struct json_slice params_of(struct json_slice input, struct json_slice params)
{
	struct json_slice own;

	if (params.len && json_kind_of(params) != JSON_NULL)
		return params;
	if (json_kind_of(input) == JSON_OBJECT && json_member(input, "params", &own))
		return own;
	return (struct json_slice){"null", 4};
}

static int make_lib(
	struct js_run *run, JSObjectRef prelude, struct json_slice params, struct err *err)
{
	struct js *js = run->js;
	struct buf conf = BUF_INIT;
	JSValueRef args[3], thrown = NULL, lib;
	int rc;

	buf_add(&conf, js->conf.data, js->conf.len);
	buf_addf(&conf, "\"slots\":%s,\"params\":",
		js->has_slots || json_kind_of(params) != JSON_NULL ? "true" : "false");
	buf_add(&conf, params.text, params.len);
	rc = buf_putc(&conf, '}');
	args[0] = host_function(run, host_ask);
	args[1] = host_function(run, host_trap);
	args[2] = rc == 0 ? js_value_of(run->ctx, (struct json_slice){conf.data, conf.len}) : NULL;
	buf_release(&conf);
	if (!args[2])
		return err_set(err, EBADMSG, "pack, index or params is not JSON");
	lib = JSObjectCallAsFunction(run->ctx, prelude, NULL, 3, args, &thrown);
	if (!lib)
		return js_fault(run->ctx, js, thrown, err);
	run->lib = JSValueToObject(run->ctx, lib, NULL);
	return 0;
}

void js_run_close(struct js_run *run)
{
	for (size_t i = 0; run->ctx && run->functions && i < run->js->nrecipes; i++) {
		if (run->functions[i])
			JSValueUnprotect(run->ctx, run->functions[i]);
	}
	if (run->input)
		JSValueUnprotect(run->ctx, run->input);
	if (run->lib)
		JSValueUnprotect(run->ctx, run->lib);
	free(run->functions);
	free(run->errors);
	if (run->ctx)
		JSGlobalContextRelease(run->ctx);
}

int js_run_open(struct js *js, struct json_slice input, struct json_slice params, bool answers,
	struct js_run *out, struct err *err)
{
	static const char *const names[] = {"input", "lib"}, *const prelude_names[] = {
								     "ask", "trap", "conf"};
	JSObjectRef prelude = NULL;
	int rc;

	*out = (struct js_run){.js = js};
	js->timed_out = false;
	out->functions = calloc(js->nrecipes + 1, sizeof(*out->functions));
	out->errors = calloc(js->nrecipes + 1, sizeof(*out->errors));
	if (!out->functions || !out->errors)
		return err_nomem(err);
	out->ctx = JSGlobalContextCreateInGroup(js->group, NULL);
	rc = js_compile(out->ctx, js->prelude, prelude_names, 3, &prelude, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < js->nrecipes; i++) {
		const struct js_recipe *rcp = &js->recipes[i];

		if (rcp->imports)
			js->host.egress(js->host.arg, "import");
		if (rcp->body)
			js_compile(out->ctx, answers ? rcp->answer : rcp->body, names, 2,
				&out->functions[i], &out->errors[i]);
		if (out->functions[i]) /* the collector looks at stacks, not at our heap */
			JSValueProtect(out->ctx, out->functions[i]);
	}
	JSGlobalContextSetEvalEnabled(out->ctx, false, js->not_allowed);
	out->input = js_value_of(out->ctx, input);
	if (!out->input)
		return err_set(err, EBADMSG, "input is not JSON");
	JSValueProtect(out->ctx, out->input);
	rc = make_lib(out, prelude, params_of(input, params), err);
	if (rc == 0)
		JSValueProtect(out->ctx, out->lib);
	return rc;
}

/* ---- call ---- */

static void put_tried(
	struct buf *tried, const struct js_recipe *rc, const char *stage, const struct err *what)
{
	buf_addf(tried, "%s{\"id\":%s,\"stage\":\"%s\",\"error\":", tried->len > 1 ? "," : "",
		rc->id, stage);
	json_put_text(tried, what->text);
	buf_putc(tried, '}');
}

/* the value as JSON text, made once by the engine; an empty text says undefined */
static int put_output(struct js_run *run, JSValueRef value, struct buf *out, struct err *err)
{
	JSValueRef thrown = NULL;
	JSStringRef text = NULL;
	struct err why = ERR_NONE;
	int rc = 0;

	if (JSValueIsUndefined(run->ctx, value))
		return 0;
	text = JSValueCreateJSONString(run->ctx, value, 0, &thrown);
	if (thrown)
		js_fault(run->ctx, NULL, thrown, &why);
	if (run->js->timed_out || js_fault_is_limit(&why))
		rc = js_fault(run->ctx, run->js, thrown, err);
	else if (!text)
		rc = err_set(err, EBADMSG, "output is not JSON: %s",
			thrown ? why.text : "a function or a symbol");
	else if (JSStringGetLength(text) > JS_OUTPUT_BYTES)
		rc = err_set(err, EMSGSIZE, "output larger than 1 MiB");
	else if (js_text(text, out) < 0)
		rc = err_nomem(err);
	if (text)
		JSStringRelease(text);
	if (rc == 0 && out->len > JS_OUTPUT_BYTES)
		rc = err_set(err, EMSGSIZE, "output larger than 1 MiB");
	if (rc == 0 && json_check(out->data, out->len, &why) < 0)
		rc = err_set(err, EBADMSG, "output is not JSON: %s", why.text);
	return rc;
}

/* the first recipe that returns; fills ${tried}; -errno of the last one that did not */
static int dispatch(
	struct js_run *run, JSValueRef *value, int *which, struct buf *tried, struct err *err)
{
	JSValueRef args[2] = {run->input, run->lib}, thrown;
	size_t ntried = 0;

	for (size_t i = 0; i < run->js->nrecipes; i++) {
		const struct js_recipe *rc = &run->js->recipes[i];

		if (!rc->body)
			continue;
		ntried++;
		thrown = NULL;
		if (run->functions[i]) {
			*value = JSObjectCallAsFunction(
				run->ctx, run->functions[i], NULL, 2, args, &thrown);
			if (*value && !run->js->timed_out) {
				*which = (int)i;
				return 0;
			}
			js_fault(run->ctx, run->js, thrown, err);
		} else {
			*err = run->errors[i];
		}
		put_tried(tried, rc, run->functions[i] ? "run" : "compile", err);
		if (err->no == ETIMEDOUT || err->no == ENOMEM)
			return -err->no;
	}
	if (run->js->nrecipes == 0) {
		err_set(err, ENOENT, "artifact has no recipes");
		return err_code(err, "KOLM_E_NO_RECIPES");
	}
	if (ntried == 0)
		err_set(err, EBADMSG, "no recipe in artifact handled the input: all are empty");
	else if (ntried > 1)
		err_prefix(
			err, "no recipe in artifact handled the input. tried %zu; last: ", ntried);
	return err_code(err, "KOLM_E_NO_RECIPE_HANDLED");
}

static void put_failed(struct buf *reply, const struct err *err, const char *tried)
{
	buf_addf(reply, "{\"op\":\"failed\",\"errno\":\"%s\",\"code\":", err_name(err->no));
	json_put_text(reply, err->code[0] ? err->code : NULL);
	buf_puts(reply, ",\"error\":");
	json_put_text(reply, err->text);
	buf_addf(reply, ",\"tried\":%s}", tried);
}

static struct json_slice member(struct json_slice frame, const char *key)
{
	struct json_slice out;

	return json_member(frame, key, &out) ? out : (struct json_slice){"null", 4};
}

bool js_call(struct js *js, struct json_slice frame, struct buf *reply)
{
	struct buf tried = BUF_INIT, output = BUF_INIT;
	struct err err = ERR_NONE;
	struct js_run run;
	JSValueRef value = NULL;
	int which = -1, rc;

	buf_putc(&tried, '[');
	rc = js_run_open(js, member(frame, "input"), member(frame, "params"), false, &run, &err);
	if (rc == 0)
		rc = dispatch(&run, &value, &which, &tried, &err);
	if (rc == 0)
		rc = put_output(&run, value, &output, &err);
	buf_putc(&tried, ']');
	if (rc == 0) {
		js->last = which;
		buf_addf(reply, "{\"op\":\"result\",\"recipe\":%d,", which);
		if (output.len) {
			buf_puts(reply, "\"output_json\":");
			json_put_string(reply, output.data, output.len);
		} else {
			buf_puts(reply, "\"undefined\":true");
		}
		buf_addf(reply, ",\"tried\":%s}", buf_str(&tried));
	} else {
		put_failed(reply, &err, buf_str(&tried));
	}
	js_run_close(&run);
	buf_release(&tried);
	buf_release(&output);
	return rc < 0 && js_fault_is_limit(&err);
}

/* ---- answer ---- */

static int ask_recipe(
	struct js_run *run, size_t i, struct json_slice frame, struct buf *out, struct err *err)
{
	JSValueRef args[4] = {run->input, NULL, NULL, NULL}, lib[2] = {run->input, run->lib},
		   thrown = NULL, value;
	JSStringRef text;
	JSObjectRef answer;
	int rc;

	value = JSObjectCallAsFunction(run->ctx, run->functions[i], NULL, 2, lib, &thrown);
	if (!value || run->js->timed_out)
		return js_fault(run->ctx, run->js, thrown, err);
	if (!JSValueIsObject(run->ctx, value))
		return -ENOENT; /* it has none */
	answer = JSValueToObject(run->ctx, value, NULL);
	args[1] = js_value_of(run->ctx, member(frame, "output"));
	args[2] = js_value_of(run->ctx, member(frame, "prompt"));
	args[3] = js_value_of(run->ctx, member(frame, "call"));
	if (!args[1] || !args[2] || !args[3])
		return err_set(err, EBADMSG, "answer frame is not JSON");
	value = JSObjectCallAsFunction(run->ctx, answer, NULL, 4, args, &thrown);
	if (!value || run->js->timed_out)
		return js_fault(run->ctx, run->js, thrown, err);
	if (!JSValueIsString(run->ctx, value))
		return -ENOENT; /* it says nothing */
	text = JSValueToStringCopy(run->ctx, value, NULL);
	rc = text ? js_text(text, out) : -ENOMEM;
	if (text)
		JSStringRelease(text);
	return rc;
}

bool js_answer(struct js *js, struct json_slice frame, struct buf *reply)
{
	struct err err = ERR_NONE;
	struct buf text = BUF_INIT;
	struct js_run run;
	size_t i = js->last >= 0 ? (size_t)js->last : 0;
	int rc;

	rc = js_run_open(
		js, member(frame, "input"), (struct json_slice){"null", 4}, true, &run, &err);
	if (rc == 0)
		rc = i < js->nrecipes && run.functions[i] ? ask_recipe(&run, i, frame, &text, &err)
							  : -ENOENT;
	buf_puts(reply, "{\"answer\":");
	if (rc == 0)
		json_put_string(reply, text.data ? text.data : "", text.len);
	else
		buf_puts(reply, "null");
	if (err.no) {
		buf_addf(reply, ",\"errno\":\"%s\",\"error\":", err_name(err.no));
		json_put_text(reply, err.text);
	}
	buf_putc(reply, '}');
	js_run_close(&run);
	buf_release(&text);
	return err.no && js_fault_is_limit(&err);
}
