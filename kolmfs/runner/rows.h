/*
 * rows - what the files that turn captures into training rows share: a search for the answers the
 * model should have given. Private to rows*.c.
 */
#ifndef KOLM_ROWS_H
#define KOLM_ROWS_H

#include "runner/runner.h"

enum { TRIES_MAX = 256, CALLS_MAX = 16 };

enum source { FROM_ROW, FROM_RECIPE, FROM_GUESS };

struct candidate {
	struct buf text;
	enum source source;
};

/* one call of lib.lm as the recipe made it */
struct call {
	bool choose;
	struct buf prompt;  /* JSON string */
	struct buf system;  /* JSON string or null */
	struct buf choices; /* JSON array, "" for generate without them */
	struct buf options; /* JSON of generate's grammar, regex or choices, "" without */
};

struct search {
	struct runner *rn;
	struct json_slice input, output, said; /* said: the row's own "answer", len 0 none */
	int tries;
	/* the run under way: answers given to calls 0..nanswers-1, what was asked */
	const struct buf *answer[CALLS_MAX];
	enum source source[CALLS_MAX];
	int nanswers;
	struct call call[CALLS_MAX];
	int ncalls;
	bool fits; /* the last run returned the row's output */
	bool ever_called;
	struct err err; /* why the last run failed */
};

struct candidates {
	struct candidate *list;
	size_t n, cap;
	bool failed;
};

/* call_grammar(s, c, out, err): the grammar a call was made under; borrowed until the next look */
int call_grammar(struct search *s, const struct call *c, struct lm_grammar **out, struct err *err);

/* candidates_for(s, i, cs, err): answers worth trying for call ${i}, likely ones first. Always
 * candidates_release(). */
int candidates_for(struct search *s, int i, struct candidates *cs, struct err *err);
void candidates_release(struct candidates *cs);

#endif
