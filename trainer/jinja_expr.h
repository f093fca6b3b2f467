/*
 * jinja_expr - expressions as trees. All of these begin at the token at hand and leave the one
 * behind what they took at hand; they return 0 or an error with its sentence, and trees of the
 * arena.
 */
#ifndef KOLM_JINJA_EXPR_H
#define KOLM_JINJA_EXPR_H

#include <stdbool.h>

#include "trainer/jinja_tree.h"

struct parser;

/* node_new(ps, kind): a node of the line at hand; NULL with -E2BIG's sentence */
struct node *node_new(struct parser *ps, enum node_kind kind);

/* parse_expr(ps, out): a whole expression, one level deeper */
int parse_expr(struct parser *ps, struct node **out);

/* parse_or(ps, out): one without a condition, so that "if" behind it is left to the caller */
int parse_or(struct parser *ps, struct node **out);

/* parse_postfix(ps, out): a literal, name or group and what is called or looked up in it */
int parse_postfix(struct parser *ps, struct node **out);

/* parse_list(ps, close, keywords, list, comma): NODE_ARGs up to the sign ${close} and past it; with
 * ${keywords} "NAME = VALUE" too. ${comma}: there was one. */
int parse_list(
	struct parser *ps, const char *close, bool keywords, struct node **list, bool *comma);

#endif
