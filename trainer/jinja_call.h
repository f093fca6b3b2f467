/*
 * jinja_call - what templates call by name: filters, tests, methods, functions. -EOPNOTSUPP for a
 * name that is not in the subset.
 */
#ifndef KOLM_JINJA_CALL_H
#define KOLM_JINJA_CALL_H

#include <stdbool.h>

#include "trainer/jinja_tree.h"
#include "trainer/jinja_value.h"

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
