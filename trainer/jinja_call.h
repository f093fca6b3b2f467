/*
 * jinja_call - what templates call by name: filters, tests, methods, functions. -EOPNOTSUPP for a
 * name that is not in the subset.
 */
#ifndef KOLM_JINJA_CALL_H
#define KOLM_JINJA_CALL_H

#include <stdbool.h>

#include "trainer/jinja_tree.h"
#include "trainer/jinja_value.h"

/* what a filter or method takes: arguments by their place, and some of them by their name */
struct takes {
	const char *name;
	size_t plain;
	const char *keyed[2];
};

/* args_fit(rn, list, n, name, len, args): -EOPNOTSUPP where ${args} has one that the entry of
 * ${name} lacks: to leave it out of account would be another template. */
int args_fit(struct run *rn, const struct takes *list, size_t n, const char *name, size_t len,
	const struct args *args);

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
