/*
 * js_jsc - what js.c, js_call.c and js_error.c share: JavaScriptCore's C API and three functions of
 * it that its public headers leave out.
 */
#ifndef KOLM_JS_JSC_H
#define KOLM_JS_JSC_H

#include <JavaScriptCore/JavaScript.h>
#include <stdbool.h>
#include <stddef.h>

#include "runner/js.h"

/* JSContextRefPrivate.h; exported by the library since 2012 */
bool js_should_stop(JSContextRef ctx, void *arg);
extern void JSContextGroupSetExecutionTimeLimit(
	JSContextGroupRef group, double seconds, bool (*stop)(JSContextRef, void *), void *arg);
extern void JSGlobalContextSetEvalEnabled(
	JSGlobalContextRef ctx, bool enabled, JSStringRef message);

struct js_recipe {
	char *id;	    /* JSON text of the id, with its quotes */
	char *name;	    /* the id as plain text */
	JSStringRef body;   /* of the function that runs it; NULL: empty source, passed over */
	JSStringRef answer; /* of the function that returns its answer() */
	bool imports;	    /* the source says import(...) */
};

struct js {
	struct js_host host;
	JSContextGroupRef group;
	JSStringRef prelude;
	JSStringRef not_allowed;
	struct js_recipe *recipes;
	size_t nrecipes;
	struct buf conf; /* the prelude's configuration, open for "params" */
	bool has_slots;	 /* the artifact has a pack or an index */
	bool timed_out;
	int last; /* recipe that answered last */
};

/* one call: a context, its recipes compiled, its lib */
struct js_run {
	struct js *js;
	JSGlobalContextRef ctx;
	JSObjectRef *functions; /* NULL where it does not compile */
	struct err *errors;	/* why */
	JSObjectRef lib;
	JSValueRef input;
};

/* js_run_open(js, input, params, answers, out, err): a fresh context; -EBADMSG when the frame's
 * values are not JSON. js_run_close() always. */
int js_run_open(struct js *js, struct json_slice input, struct json_slice params, bool answers,
	struct js_run *out, struct err *err);
void js_run_close(struct js_run *run);

/* js_fault(ctx, js, thrown, err): what ${thrown} means as an errno and a sentence; returns -errno.
 * js_fault_is_limit(): the engine is done for. */
int js_fault(JSContextRef ctx, const struct js *js, JSValueRef thrown, struct err *err);
bool js_fault_is_limit(const struct err *err);

/* js_compile(js, ctx, body, params, n, out, err): -ENOEXEC "recipe does not compile: line 3: ..."
 */
int js_compile(JSContextRef ctx, JSStringRef body, const char *const *params, unsigned n,
	JSObjectRef *out, struct err *err);

/* js_imports(ctx, body): does the source of a recipe say import(...)? */
bool js_imports(JSContextRef ctx, JSStringRef body);

/* text of a JSString in UTF-8 (lone surrogates become U+FFFD); js_value_of(): the value of a JSON
 * text, NULL if it is not JSON */
int js_text(JSStringRef text, struct buf *out);
JSValueRef js_value_of(JSContextRef ctx, struct json_slice json);

/* the fixed beginning of every context (js_prelude.c) */
extern const char js_prelude[];

#endif
