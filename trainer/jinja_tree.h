/*
 * jinja_tree - a template as a tree: jinja_parse.c makes it, jinja_run.c runs it.
 */
#ifndef KOLM_JINJA_TREE_H
#define KOLM_JINJA_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/jinja.h"
#include "trainer/jinja_arena.h"

enum { JINJA_DEPTH = 100 }; /* of nesting, in the text and at run time */

enum node_kind {
	/* statements */
	NODE_TEXT,  /* text */
	NODE_PRINT, /* a */
	NODE_IF,    /* a, body, other */
	NODE_FOR,   /* names, a, b: the condition or NULL, body, other */
	NODE_SET,   /* names (with text: a member), a; or body, when number is 1 */
	NODE_MACRO, /* text: name; names: parameters with their defaults in a; body */
	NODE_APART, /* body, whose names are its own */
	NODE_BREAK,
	NODE_CONTINUE,
	/* expressions */
	NODE_STRING, /* text */
	NODE_INT,    /* number */
	NODE_FLOAT,  /* real */
	NODE_BOOL,   /* number */
	NODE_NONE,
	NODE_NAME,   /* text */
	NODE_LIST,   /* names: items */
	NODE_DICT,   /* names: pairs a, b */
	NODE_ATTR,   /* a, text */
	NODE_INDEX,  /* a, b */
	NODE_SLICE,  /* a, names: three of them, NODE_NONE when left out */
	NODE_CALL,   /* a, names: arguments; text: the keyword of an argument */
	NODE_FILTER, /* a, text, names */
	NODE_TEST,   /* a, text, names */
	NODE_NOT,    /* a */
	NODE_NEGATE, /* a */
	NODE_BINARY, /* op, a, b */
	NODE_CHOOSE, /* a: then, b: condition, other: else, may be NULL */
	NODE_ARG     /* a: the value, text: the keyword or NULL */
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

#endif
