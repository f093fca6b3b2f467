/* constrain - grammars, and the answers that obey one; see constrain.h. */
#include "trainer/constrain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/constrain_words.h"
#include "trainer/lm.h"

enum { MASKS = 256 };

struct mask {
	int state; /* -1: free */
	uint64_t *bits;
};

struct lm_grammar {
	const struct words *words; /* borrowed from the lm */
	struct nfa nfa;
	struct dfa dfa;
	struct mask mask[MASKS];
	int16_t *mask_of; /* of a state, -1 none */
	int turn;	  /* the next to be replaced */
};

/* ---- grammars ---- */

static int build(
	struct lm_grammar *g, enum lm_grammar_kind kind, struct json_slice text, struct err *err)
{
	struct buf pattern = BUF_INIT;
	int rc;

	nfa_init(&g->nfa);
	if (kind == LM_GRAMMAR_SCHEMA) {
		rc = nfa_schema(&g->nfa, text, err);
	} else if (kind == LM_GRAMMAR_CHOICES) {
		rc = json_kind_of(text) == JSON_ARRAY
			     ? nfa_texts(&g->nfa, text, err)
			     : err_set(err, EINVAL, "choices: array expected");
	} else if (json_kind_of(text) != JSON_STRING) {
		rc = err_set(err, EINVAL, "regex: text expected");
	} else {
		rc = json_string(text, &pattern) < 0
			     ? err_nomem(err)
			     : nfa_regex(&g->nfa, g->nfa.start, buf_str(&pattern), pattern.len,
				       false, false, g->nfa.accept, err);
		buf_release(&pattern);
	}
	if (rc == 0)
		rc = nfa_finish(&g->nfa, err);
	return rc < 0 ? rc : dfa_init(&g->dfa, &g->nfa, err);
}

int lm_grammar(struct lm *lm, enum lm_grammar_kind kind, const char *json, size_t len,
	struct lm_grammar **out, struct err *err)
{
	struct lm_grammar *g;
	int rc = 0;

	if (lm && !lm->words)
		rc = words_new(lm->m->tokenizer, lm->m->chat, lm->m->vocab, &lm->words, err);
	if (rc < 0)
		return rc;
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_nomem(err);
	g->words = lm ? lm->words : NULL;
	for (int i = 0; i < MASKS; i++)
		g->mask[i].state = -1;
	g->mask_of = malloc(DFA_STATES_MAX * sizeof(*g->mask_of));
	if (!g->mask_of)
		rc = err_nomem(err);
	for (int i = 0; rc == 0 && i < DFA_STATES_MAX; i++)
		g->mask_of[i] = -1;
	if (rc == 0)
		rc = build(g, kind, (struct json_slice){json, len}, err);
	if (rc < 0) {
		lm_grammar_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

void lm_grammar_free(struct lm_grammar *g)
{
	if (!g)
		return;
	for (int i = 0; i < MASKS; i++)
		free(g->mask[i].bits);
	free(g->mask_of);
	dfa_release(&g->dfa);
	nfa_release(&g->nfa);
	free(g);
}

bool lm_grammar_holds(struct lm_grammar *g, const char *text, size_t len)
{
	int state = 0;

	for (size_t i = 0; i < len && state >= 0; i++)
		state = dfa_step(&g->dfa, state, (unsigned char)text[i]);
	return state >= 0 && g->dfa.state[state].dist == 0;
}

/* from ${state} the shortest way to an end */
static bool go_home(struct lm_grammar *g, int state, struct buf *out)
{
	while (state >= 0 && g->dfa.state[state].dist > 0) {
		unsigned char byte = dfa_toward_end(&g->dfa, state);

		buf_putc(out, (char)byte);
		state = dfa_step(&g->dfa, state, byte);
	}
	return state >= 0 && !out->failed;
}

/* leave ${text} where its first other way on begins, by a blank only when ${blanks} */
static bool leave(struct lm_grammar *g, const char *text, size_t len, bool blanks, struct buf *out)
{
	int state = 0;

	for (size_t i = 0; state >= 0; i++) {
		if (i < len && g->dfa.state[state].dist == 0)
			return buf_add(out, text, i) == 0;
		for (int byte = 0; byte < 256; byte++) {
			int to = (i < len && byte == (unsigned char)text[i]) ||
						 (byte == ' ' && !blanks)
					 ? DFA_DEAD
					 : dfa_step(&g->dfa, state, (unsigned char)byte);

			if (to >= 0)
				return buf_add(out, text, i) == 0 &&
				       buf_putc(out, (char)byte) == 0 && go_home(g, to, out);
		}
		state = i < len ? dfa_step(&g->dfa, state, (unsigned char)text[i]) : DFA_DEAD;
	}
	return false;
}

bool lm_grammar_other(struct lm_grammar *g, const char *text, size_t len, struct buf *out)
{
	if (!text)
		return go_home(g, 0, out);
	/* the blanks of JSON make no other value */
	return leave(g, text, len, false, out) || leave(g, text, len, true, out);
}

/* ---- masks ---- */

/* all words that lead somewhere; a word that shares its beginning with the one before goes on from
 * there, and those that share the byte at which it died are passed over */
static void walk_words(struct dfa *d, const struct words *w, int state, uint64_t *bits)
{
	int behind[WORD_BYTES_MAX + 1] = {state};
	size_t alive = 0; /* bytes of the word before that led somewhere */

	for (int i = 0; i < w->n; i++) {
		size_t len, at = w->shared[i];
		const unsigned char *text = words_text(w, w->order[i], &len);

		if (at > alive)
			continue;
		for (; at < len; at++) {
			behind[at + 1] = dfa_step(d, behind[at], text[at]);
			if (behind[at + 1] == DFA_DEAD)
				break;
		}
		alive = at;
		if (at == len)
			bits[w->order[i] / 64] |= UINT64_C(1) << w->order[i] % 64;
	}
}

static const uint64_t *mask_for(struct lm_grammar *g, int state, struct err *err)
{
	const size_t bytes = ((size_t)g->words->vocab + 63) / 64 * sizeof(uint64_t);
	struct mask *m;

	if (g->mask_of[state] >= 0)
		return g->mask[g->mask_of[state]].bits;
	m = &g->mask[g->turn];
	if (!m->bits && !(m->bits = malloc(bytes))) {
		err_nomem(err);
		return NULL;
	}
	if (m->state >= 0)
		g->mask_of[m->state] = -1;
	m->state = -1;
	memset(m->bits, 0, bytes);
	walk_words(&g->dfa, g->words, state, m->bits);
	if (dfa_failed(&g->dfa, err) < 0)
		return NULL;
	if (g->dfa.state[state].dist == 0)
		for (int i = 0; i < g->words->ends; i++)
			m->bits[g->words->end[i] / 64] |= UINT64_C(1) << g->words->end[i] % 64;
	m->state = state;
	g->mask_of[state] = (int16_t)g->turn;
	g->turn = (g->turn + 1) % MASKS;
	return m->bits;
}

int constrain_mask(struct constrain *c, float *logits, struct err *err)
{
	const uint64_t *bits = mask_for(c->g, c->state, err);
	bool any = false;

	if (!bits)
		return -err->no;
	for (int id = 0; id < c->g->words->vocab; id++) {
		if (bits[id / 64] >> id % 64 & 1)
			any = true;
		else
			logits[id] = -INFINITY;
	}
	return any ? 0
		   : err_set(err, EILSEQ,
			     "no token of this model's vocabulary goes on with the answer");
}

/* ---- the shortest way to an end ---- */

/* entries [lo, hi) of the order, equal in ${depth} bytes, that have ${byte} next */
static void narrow(const struct words *w, int *lo, int *hi, size_t depth, unsigned char byte)
{
	for (int side = 0; side < 2; side++) {
		int a = *lo, b = *hi;

		while (a < b) {
			int mid = a + (b - a) / 2, have = -1;
			size_t len;
			const unsigned char *text = words_text(w, w->order[mid], &len);

			if (depth < len)
				have = text[depth];
			if (have < byte + side)
				a = mid + 1;
			else
				b = mid;
		}
		*(side == 0 ? lo : hi) = a;
	}
}

/* the longest word along the shortest way to an end; *to: where it leads. -1 none */
static int home_word(struct lm_grammar *g, int state, int *to)
{
	const struct words *w = g->words;
	int lo = 0, hi = w->n, best = -1;

	for (size_t depth = 0; lo < hi && g->dfa.state[state].dist > 0;) {
		unsigned char byte = dfa_toward_end(&g->dfa, state);
		size_t len;

		state = dfa_step(&g->dfa, state, byte);
		if (state < 0)
			return -1;
		narrow(w, &lo, &hi, depth++, byte);
		if (lo == hi)
			break;
		words_text(w, w->order[lo], &len);
		if (len == depth) {
			best = w->order[lo];
			*to = state;
		}
	}
	return best;
}

static bool ends_within(struct lm_grammar *g, int state, int tokens)
{
	if (g->words->has_bytes && g->dfa.state[state].dist <= tokens)
		return true;
	for (; g->dfa.state[state].dist > 0; tokens--)
		if (tokens <= 0 || home_word(g, state, &state) < 0)
			return false;
	return true;
}

static int behind_word(struct lm_grammar *g, int state, int id)
{
	size_t len;
	const unsigned char *text = words_text(g->words, id, &len);

	for (size_t i = 0; i < len && state >= 0; i++)
		state = dfa_step(&g->dfa, state, text[i]);
	return len ? state : DFA_DEAD;
}

static bool is_end(const struct words *w, int id)
{
	for (int i = 0; i < w->ends; i++)
		if (w->end[i] == id)
			return true;
	return false;
}

/* ---- one answer ---- */

int constrain_begin(struct constrain *c, struct lm_grammar *g, int tokens, struct err *err)
{
	*c = (struct constrain){.g = g};
	if (ends_within(g, 0, tokens))
		return 0;
	return dfa_failed(&g->dfa, err) < 0
		       ? -err->no
		       : err_set(err, ERANGE,
				 "max_tokens: %d is not enough for the shortest answer the grammar "
				 "allows (%d bytes)",
				 tokens, g->dfa.state[0].dist);
}

bool constrain_fits(struct constrain *c, int id, int left)
{
	int state;

	if (is_end(c->g->words, id))
		return true;
	state = behind_word(c->g, c->state, id);
	return state >= 0 && ends_within(c->g, state, left);
}

int constrain_home(struct constrain *c)
{
	int to;

	if (c->g->dfa.state[c->state].dist == 0)
		return c->g->words->ends ? c->g->words->end[0] : -1;
	return home_word(c->g, c->state, &to);
}

void constrain_take(struct constrain *c, int id)
{
	int state = behind_word(c->g, c->state, id);

	if (state >= 0)
		c->state = state;
}

bool constrain_is_over(const struct constrain *c)
{
	return c->g->dfa.state[c->state].is_last;
}

/* the only byte that may come next, -1 when there are several, or an end */
static int only_byte(const struct lm_grammar *g, int state)
{
	const struct dfa_state *st = &g->dfa.state[state];
	int byte = -1;

	if (st->dist == 0)
		return -1;
	for (int i = 0; i < st->n; i++)
		for (int e = g->nfa.first[g->dfa.pool[st->at + i]]; e >= 0;
			e = g->nfa.edge[e].next) {
			const struct nfa_edge *edge = &g->nfa.edge[e];

			if (edge->is_free)
				continue;
			if (edge->lo != edge->hi || (byte >= 0 && byte != edge->lo))
				return -1;
			byte = edge->lo;
		}
	return byte;
}

int constrain_draft(struct constrain *c, int *out, int max)
{
	const struct words *w = c->g->words;
	int state = c->state, n = 0;

	while (n < max) {
		int lo = 0, hi = w->n, best = -1, to = state, at = state, byte;

		for (size_t depth = 0; (byte = only_byte(c->g, at)) >= 0;) {
			size_t len;

			at = dfa_step(&c->g->dfa, at, (unsigned char)byte);
			narrow(w, &lo, &hi, depth++, (unsigned char)byte);
			if (at < 0 || lo == hi)
				break;
			words_text(w, w->order[lo], &len);
			if (len == depth) {
				best = w->order[lo];
				to = at;
			}
		}
		if (best < 0)
			break;
		out[n++] = best;
		state = to;
	}
	return n;
}

int constrain_follow(struct constrain *c, const int *ids, int n)
{
	int state = c->state;

	for (int i = 0; i < n; i++) {
		state = behind_word(c->g, state, ids[i]);
		if (state < 0)
			return i;
	}
	return n;
}
