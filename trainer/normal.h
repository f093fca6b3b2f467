/*
 * normal - the normaliser of a tokenizer: steps over text before it is cut. Private to the
 * tokenizer's files.
 */
#ifndef KOLM_NORMAL_H
#define KOLM_NORMAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum normal_kind {
	NORMAL_NFC,
	NORMAL_NFD,
	NORMAL_NFKC,
	NORMAL_NFKD,
	NORMAL_PREPEND,
	NORMAL_REPLACE
};

enum { NORMAL_STEPS = 8, NORMAL_TEXT = 32 };

struct normal_step {
	enum normal_kind kind;
	char from[NORMAL_TEXT]; /* of NORMAL_REPLACE, never empty */
	char to[NORMAL_TEXT];	/* and of NORMAL_PREPEND */
};

struct normal {
	struct normal_step step[NORMAL_STEPS];
	int n;
};

/* normal_add(nm, kind, from, to, err): one more step; ${from} and ${to} may be NULL where the kind
 * has none. -EOPNOTSUPP when there are too many or a text is too long. */
int normal_add(struct normal *nm, enum normal_kind kind, const char *from, const char *to,
	struct err *err);

/* normal_run(nm, text, len, out, err): all steps over valid UTF-8, appended to ${out}. */
int normal_run(
	const struct normal *nm, const char *text, size_t len, struct buf *out, struct err *err);

#endif
