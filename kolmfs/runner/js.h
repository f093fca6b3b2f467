/*
 * js - the JavaScript engine behind a small interface. Only js*.c knows which engine it is.
 *
 * One struct js is one engine with one program (the recipes of an artifact). Every call gets a
 * fresh context: nothing a recipe changes outlives its call. The engine must be made on the thread
 * that calls it, with a stack of JS_STACK_BYTES, before the system-call filter is loaded.
 */
#ifndef KOLM_JS_H
#define KOLM_JS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"

struct js;

/* what the engine needs of its cell; borrowed for the life of the engine */
struct js_host {
	void *arg;
	/* one question upstream (a frame's JSON text) and its answer, appended. Its time is not the
	 * recipe's. */
	int (*ask)(void *arg, const char *text, size_t len, struct buf *answer, struct err *err);
	/* a recipe reached for the network; does not return when the cell must end */
	void (*egress)(void *arg, const char *api);
};

int js_new(const struct js_host *host, struct js **out, struct err *err);

/*
 * js_load(js, frame, reply, err): take the program of a load frame (PROTOCOLS section 3) and append
 * the "loaded" frame, its errors being
 * {"recipe":N,"id":...,"error":...} of those that do not compile.
 */
int js_load(struct js *js, struct json_slice frame, struct buf *reply, struct err *err);

/*
 * js_call(js, frame, reply), js_answer(js, frame, reply): append the frame that answers a call or
 * an answer frame. True when the recipe hit a limit: the engine is not to be used again, the cell
 * is thrown away.
 */
bool js_call(struct js *js, struct json_slice frame, struct buf *reply);
bool js_answer(struct js *js, struct json_slice frame, struct buf *reply);

#endif
