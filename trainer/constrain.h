/*
 * constrain - answers that obey a grammar (struct lm_grammar): which tokens may come next, and that
 * the answer is whole when its tokens are used up.
 *
 * A token may come when its bytes lead somewhere in the automaton. Which do is found by one walk of
 * the sorted vocabulary for a state of the automaton, and kept. An end of turn may come where an
 * answer ends. Near the limit a token that would leave too little room for the shortest way to an
 * end is passed over.
 */
#ifndef KOLM_CONSTRAIN_H
#define KOLM_CONSTRAIN_H

#include "trainer/constrain_dfa.h"
#include "trainer/kolmlm.h"

struct chat;
struct tokenizer;
struct words; /* a vocabulary's texts in order; opaque */

int words_new(const struct tokenizer *tk, const struct chat *ch, int vocab, struct words **out,
	struct err *err);
void words_free(struct words *w);

/* where one answer stands */
struct constrain {
	struct lm_grammar *g; /* borrowed */
	int state;
};

/* constrain_begin(c, g, tokens, err): -ERANGE when even the shortest answer needs more ${tokens}.
 */
int constrain_begin(struct constrain *c, struct lm_grammar *g, int tokens, struct err *err);
/* constrain_mask(c, logits, err): -INFINITY for what must not come next. */
int constrain_mask(struct constrain *c, float *logits, struct err *err);
/* constrain_fits(c, id, left): behind ${id}, which the mask allows, ${left} tokens are enough. */
bool constrain_fits(struct constrain *c, int id, int left);
/* constrain_home(c): the token to take when time is short; -1 none */
int constrain_home(struct constrain *c);
void constrain_take(struct constrain *c, int id);
/* constrain_is_over(c): an answer ends here and nothing can follow. */
bool constrain_is_over(const struct constrain *c);
/* constrain_draft(c, out, max): tokens of the only way on; as many as are certain but for how they
 * are cut. constrain_follow(c, ids, n): how many of ${ids} the grammar lets follow. */
int constrain_draft(struct constrain *c, int *out, int max);
int constrain_follow(struct constrain *c, const int *ids, int n);

#endif
