/*
 * constrain_nfa - what an answer may be, as a nondeterministic automaton over bytes; made from a
 * regular expression, a JSON schema or a list of texts.
 *
 * Every node leads to the accepting one: the builders refuse what matches nothing. So a set of
 * nodes that is not empty can always be brought to an end, and nfa_finish() knows in how many
 * bytes.
 */
#ifndef KOLM_CONSTRAIN_NFA_H
#define KOLM_CONSTRAIN_NFA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"

struct nfa_edge {
	int to;
	int next; /* of the same node, -1 none */
	uint8_t lo, hi;
	bool is_free; /* taken without a byte */
};

struct nfa {
	int *first; /* edge of a node, -1 none; owned */
	int n, cap;
	struct nfa_edge *edge; /* owned */
	int edges, edge_cap;
	int start, accept;
	int *dist;   /* fewest bytes from a node to ${accept}; made by nfa_finish(), owned */
	int failed;  /* ENOMEM or E2BIG: something was not added */
	size_t read; /* bytes, see nfa_read() */
};

/* a set of code points as sorted ranges that do not touch; surrogates are never in it */
struct charset {
	struct {
		uint32_t lo, hi;
	} range[CHARSET_RANGES_MAX];
	int n;
};

void nfa_init(struct nfa *f); /* with ${start} and ${accept} */
void nfa_release(struct nfa *f);

/* Additions that fail set ${failed} and go on; the builders look before they loop. */
int nfa_node(struct nfa *f);
void nfa_free_edge(struct nfa *f, int from, int to);
/* nfa_read(f, bytes): so many more are going to be read; ${failed} above NFA_READ_MAX. */
void nfa_read(struct nfa *f, size_t bytes);
void nfa_bytes(struct nfa *f, int from, const char *text, size_t len, int to);
/* nfa_set(f, from, set, quoted, to): one character of ${set} in UTF-8; ${quoted}: as it stands
 * inside a JSON string, escaped where it must be. Control characters without a short escape are
 * left out. False when nothing is left. */
bool nfa_set(struct nfa *f, int from, const struct charset *set, bool quoted, int to);

/* charset_add(set, lo, hi): false when there are too many ranges. charset_invert(): the others. */
bool charset_add(struct charset *set, uint32_t lo, uint32_t hi);
bool charset_invert(struct charset *set);

/* nfa_regex(f, from, pattern, len, quoted, search, to, err): ${search}: the pattern may stand
 * anywhere unless ^ and $ say otherwise (JSON schema's pattern); else it is the whole.
 * -EINVAL with the byte and what is wrong there. */
int nfa_regex(struct nfa *f, int from, const char *pattern, size_t len, bool quoted, bool search,
	int to, struct err *err);
/* nfa_schema(f, schema, err): ${schema} is checked JSON. -EINVAL with the place of what the subset
 * cannot express. */
int nfa_schema(struct nfa *f, struct json_slice schema, struct err *err);
/* nfa_texts(f, list, err): one of the strings of a checked JSON array. */
int nfa_texts(struct nfa *f, struct json_slice list, struct err *err);

/* nfa_finish(f, err): after the last addition: -E2BIG, -ENOMEM, or the distances stand. */
int nfa_finish(struct nfa *f, struct err *err);

#endif
