/*
 * added - the tokens that are looked for in text before it is cut into pieces. Private to the
 * tokenizer's files.
 */
#ifndef KOLM_ADDED_H
#define KOLM_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct tokenizer;

/* where to look for a token and what goes with it */
enum added_flags {
	ADDED_NORMALIZED = 1, /* in normalised text */
	ADDED_LSTRIP = 2,     /* blanks before it are part of it */
	ADDED_RSTRIP = 4,
	ADDED_WORD = 8,	     /* only where it is a word of its own */
	ADDED_RESERVED = 16, /* counts like a control token: tokenizer_reserve() */
};

struct added_text {
	uint32_t at;
	uint32_t len;
	int id;
};

/* texts by first byte, longest first */
struct added_set {
	struct added_text *list; /* owned */
	int n;
	int first[257]; /* where a first byte begins in ${list} */
	struct buf text;
};

/* added_make(set, tk, mask, value, normalized, err): of all control and user tokens of ${tk} whose
 * flags under ${mask} are ${value}; their texts are normalised when ${normalized}. */
int added_make(struct added_set *set, const struct tokenizer *tk, unsigned mask, unsigned value,
	bool normalized, struct err *err);
void added_release(struct added_set *set);

/* added_find(set, text, len, bytes): the longest that ${text} (len > 0) begins with; -1 none. */
int added_find(const struct added_set *set, const char *text, size_t len, size_t *bytes);

/* a token in a text, and where the text before it ends */
struct added_match {
	size_t start;
	size_t end;
	int id;
};

/*
 * added_next(set, tk, text, len, from, special, out): the next match at or behind ${from} that
 * counts, blanks taken along as its token says; false when there is none. Without ${special}
 * control tokens and reserved ones do not count.
 */
bool added_next(const struct added_set *set, const struct tokenizer *tk, const char *text,
	size_t len, size_t from, bool special, struct added_match *out);

#endif
