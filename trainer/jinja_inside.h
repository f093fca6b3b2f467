/*
 * jinja_inside - trees and values of the template language. Private to the jinja files.
 */
#ifndef KOLM_JINJA_INSIDE_H
#define KOLM_JINJA_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/jinja.h"

enum {
	JINJA_TEXT_MAX = 1 << 20,	/* bytes of a template */
	JINJA_DEPTH = 100,		/* of nesting, in the text and at run time */
	JINJA_STEPS = 2 * 1000 * 1000,	/* expressions evaluated by one rendering */
	JINJA_MEMORY = 64 * 1024 * 1024 /* of a tree, of a rendering */
};

/* memory that is given back all at once */
struct arena {
	struct arena_piece *piece;
	size_t used; /* of the newest piece */
	size_t total;
};

void *arena_take(struct arena *ar, size_t bytes); /* zeroed; NULL when it is too much */
void arena_release(struct arena *ar);

enum node_kind {
	/* statements */
	NODE_TEXT,   /* text */
	NODE_PRINT,  /* a */
	NODE_IF,     /* a, body, other */
	NODE_FOR,    /* names, a, b: the condition or NULL, body, other */
	NODE_SET,    /* names (with text: a member), a; or body, when number is 1 */
	NODE_MACRO,  /* text: name; names: parameters with their defaults in a; body */
	NODE_BREAK,
	NODE_CONTINUE,
	/* expressions */
	NODE_STRING, /* text */
	NODE_INT,    /* number */
	NODE_FLOAT,  /* real */
	NODE_BOOL,   /* number */
	NODE_NONE,
	NODE_NAME,    /* text */
	NODE_LIST,    /* names: items */
	NODE_DICT,    /* names: pairs a, b */
	NODE_ATTR,    /* a, text */
	NODE_INDEX,   /* a, b */
	NODE_SLICE,   /* a, names: three of them, NODE_NONE when left out */
	NODE_CALL,    /* a, names: arguments; text: the keyword of an argument */
	NODE_FILTER,  /* a, text, names */
	NODE_TEST,    /* a, text, names */
	NODE_NOT,     /* a */
	NODE_NEGATE,  /* a */
	NODE_BINARY,  /* op, a, b */
	NODE_CHOOSE,  /* a: then, b: condition, other: else, may be NULL */
	NODE_ARG      /* a: the value, text: the keyword or NULL */
};

enum binary_op {
	OP_OR,
	OP_AND,
	OP_EQ,
	OP_NE,
	OP_LT,
	OP_GT,
	OP_LE,
	OP_GE,
	OP_IN,
	OP_NOT_IN,
	OP_CAT,
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_FLOOR,
	OP_MOD
};

struct node {
	enum node_kind kind;
	enum binary_op op;
	int line;
	struct node *a, *b, *body, *other;
	struct node *names;
	struct node *next; /* in a list */
	const char *text;
	size_t len;
	int64_t number;
	double real;
};

struct jinja {
	struct arena arena;
	struct node *root;
};

enum val_kind { VAL_UNDEFINED, VAL_NONE, VAL_BOOL, VAL_INT, VAL_FLOAT, VAL_STR, VAL_LIST, VAL_DICT,
	VAL_MACRO, VAL_FUNC };

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
struct val val_text(const char *text); /* borrowed */
int val_copy(struct run *rn, const char *text, size_t len, const char *taint, struct val *out);
int val_from_bufs(struct run *rn, struct buf *text, struct buf *taint, struct val *out);
int val_new_list(struct run *rn, struct val *out);
int val_new_dict(struct run *rn, struct val *out);
int val_push(struct run *rn, struct val_list *list, struct val item);
int val_put(struct run *rn, struct val_dict *dict, struct val key, struct val value);
const struct val *val_get(const struct val_dict *dict, const char *key, size_t len);
bool val_true(const struct val *v);
bool val_equal(const struct val *a, const struct val *b);
/* val_compare(a, b, out): of two numbers or two strings; false for others */
bool val_compare(const struct val *a, const struct val *b, int *out);
/* val_print(rn, v, text, taint): as Jinja prints it; a list or dict is -EOPNOTSUPP */
int val_print(struct run *rn, const struct val *v, struct buf *text, struct buf *taint);
bool val_is(const struct val *v, const char *text); /* this very string */
size_t char_count(struct val_str s);
size_t char_offset(struct val_str s, size_t chars); /* bytes of the first ${chars} characters */

/* arg(args, i, name): argument ${i}, or the one with that keyword; NULL: not given */
const struct val *arg(const struct args *args, size_t i, const char *name);

int filter_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out);
int test_run(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, bool *out);
int method_run(struct run *rn, const struct val *self, const char *name, size_t len,
	const struct args *args, struct val *out);

/* the functions templates may call; func_find(): -1 none of that name */
int func_find(const char *name, size_t len);
int func_run(struct run *rn, int64_t which, const struct args *args, struct val *out);

#endif
