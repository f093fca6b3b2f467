/*
 * jinja_value - the values templates compute with, and the rendering that owns them.
 */
#ifndef KOLM_JINJA_VALUE_H
#define KOLM_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "trainer/jinja_arena.h"

struct node;

enum val_kind {
	VAL_UNDEFINED,
	VAL_NONE,
	VAL_BOOL,
	VAL_INT,
	VAL_FLOAT,
	VAL_STR,
	VAL_LIST,
	VAL_DICT,
	VAL_MACRO,
	VAL_FUNC
};

struct val;

struct val_str {
	const char *text;
	size_t len;
	const char *taint; /* a byte for each of text; NULL: all 0 */
};

struct val_list {
	struct val *item;
	size_t n, cap;
};

struct val_dict {
	struct val_list key, value;
	bool settable; /* a namespace */
};

struct val {
	enum val_kind kind;
	union {
		int64_t i; /* of VAL_BOOL, VAL_INT; of VAL_FUNC which */
		double f;
		struct val_str s;
		struct val_list *list;
		struct val_dict *dict;
		const struct node *macro;
	};
};

struct frame {
	struct val_dict vars;
	struct frame *up;
};

struct run {
	struct arena arena;
	struct err *err;
	struct buf *text; /* what is rendered to */
	struct buf *taint;
	struct frame *frame;
	struct frame *global;
	int line;
	int depth;
	int64_t steps;
	enum { RUN_ON, RUN_BREAK, RUN_CONTINUE } jump;
};

/* arguments of a call: those without a keyword, then those with */
struct args {
	struct val_list plain;
	struct val_dict keyed;
};

/* run_fail(rn, no, fmt): the sentence with the line; returns -no */
int run_fail(struct run *rn, int no, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* values; those that make one return 0 or -ENOMEM with its sentence */
struct val val_int(int64_t i);
struct val val_bool(bool b);
struct val val_text(const char *text); /* borrowed, as are the next three */
struct val val_span(const char *text, size_t len);
struct val val_part(struct val_str s, size_t from, size_t to); /* its bytes ${from} to ${to} */
struct val val_char(struct val_str s, size_t i);	       /* character ${i} */
int val_copy(struct run *rn, const char *text, size_t len, const char *taint, struct val *out);
/* val_from_bufs(rn, rc, text, taint, out): what is in the buffers, which are released; with ${rc} <
 * 0 they are only released, and ${rc} returned */
int val_from_bufs(struct run *rn, int rc, struct buf *text, struct buf *taint, struct val *out);
int val_new_list(struct run *rn, struct val *out);
int val_new_dict(struct run *rn, struct val *out);
int val_push(struct run *rn, struct val_list *list, struct val item);
int val_put(struct run *rn, struct val_dict *dict, struct val key, struct val value);
const struct val *val_get(const struct val_dict *dict, const char *key, size_t len);
bool val_true(const struct val *v);
/* val_equal(rn, a, b): lists and dictionaries by what is in them; false where that is too much
 * work, which ends the rendering */
bool val_equal(struct run *rn, const struct val *a, const struct val *b);
/* val_compare(a, b, out): of two numbers or two strings; false for others */
bool val_compare(const struct val *a, const struct val *b, int *out);
/* val_print(rn, v, text, taint): as Jinja prints it; a list or dict is -EOPNOTSUPP */
int val_print(struct run *rn, const struct val *v, struct buf *text, struct buf *taint);
bool val_is(const struct val *v, const char *text);		  /* this very string */
bool val_named(const char *name, size_t len, const char *wanted); /* the same for bytes */
size_t char_count(struct val_str s);
size_t char_offset(struct val_str s, size_t chars); /* bytes of the first ${chars} characters */

/* arg(args, i, name): argument ${i}, or the one with that keyword; NULL: not given */
const struct val *arg(const struct args *args, size_t i, const char *name);

#endif
