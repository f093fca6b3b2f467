/*
 * jinja_run - a tree at work: statements (jinja_run.c), expressions (jinja_eval.c), operators
 * (jinja_op.c). All return 0 or an error with its sentence.
 */
#ifndef KOLM_JINJA_RUN_H
#define KOLM_JINJA_RUN_H

#include "trainer/jinja_tree.h"
#include "trainer/jinja_value.h"

enum { JINJA_STEPS = 2 * 1000 * 1000 }; /* statements and expressions of one rendering */

/* run_body(rn, nd): ${nd} and those after it, to rn->text; NULL is nothing */
int run_body(struct run *rn, const struct node *nd);

/* run_eval(rn, nd, out): the value of an expression */
int run_eval(struct run *rn, const struct node *nd, struct val *out);

/* op_run(rn, op, a, b, out): any operator but "and" and "or", which need not look at ${b} */
int op_run(struct run *rn, enum binary_op op, const struct val *a, const struct val *b,
	struct val *out);

/* run_lookup(): what the name stands for, borrowed; NULL nothing. run_define(): from now on, in the
 * innermost frame; ${name} is borrowed for the rendering. */
const struct val *run_lookup(const struct run *rn, const char *name, size_t len);
int run_define(struct run *rn, const char *name, size_t len, struct val value);

#endif
