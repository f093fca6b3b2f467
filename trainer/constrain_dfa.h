/*
 * constrain_dfa - the automaton made deterministic, state by state as it is walked. States stay
 * where they are for the life of the automaton; together they are bounded.
 */
#ifndef KOLM_CONSTRAIN_DFA_H
#define KOLM_CONSTRAIN_DFA_H

#include "trainer/constrain_nfa.h"

enum { DFA_DEAD = -1 };

struct dfa_state {
	int at, n;    /* its nodes, in ${pool} */
	int dist;     /* fewest bytes to an end; 0: it is one */
	bool is_last; /* an end that nothing follows */
};

struct dfa {
	const struct nfa *f; /* borrowed, finished */
	struct dfa_state *state;
	int32_t (*next)[256]; /* DFA_UNKNOWN until walked */
	int n, cap;
	int *pool;
	int used, pool_cap;
	int *slot; /* open addressing: state + 1 */
	/* one step at a time */
	int *list, *mark;
	int stamp;
	int failed; /* ENOMEM or E2BIG; the walk answers DFA_DEAD from then on */
};

int dfa_init(struct dfa *d, const struct nfa *f, struct err *err); /* state 0 is the start */
void dfa_release(struct dfa *d);
/* dfa_step(d, state, byte): the state behind it, DFA_DEAD when no answer goes on so. */
int dfa_step(struct dfa *d, int state, unsigned char byte);
/* dfa_toward_end(d, state): the first byte of the shortest way to an end; state is not one. */
unsigned char dfa_toward_end(const struct dfa *d, int state);
/* dfa_failed(d, err): what ${failed} means. */
int dfa_failed(const struct dfa *d, struct err *err);

#endif
