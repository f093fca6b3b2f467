#include "trainer/constrain_dfa.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { DFA_UNKNOWN = -2, SLOTS = 1 << 15 };

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* d->list[0..n) and what free edges reach from it; nodes without a byte of their own are left out
 */
static int close_set(struct dfa *d, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++) {
		for (int e = d->f->first[d->list[i]]; e >= 0; e = d->f->edge[e].next) {
			int to = d->f->edge[e].to;

			if (d->f->edge[e].is_free && d->mark[to] != d->stamp) {
				d->mark[to] = d->stamp;
				d->list[n++] = to;
			}
		}
	}
	for (int i = 0; i < n; i++) {
		bool has_byte = d->list[i] == d->f->accept;

		for (int e = d->f->first[d->list[i]]; e >= 0 && !has_byte; e = d->f->edge[e].next)
			has_byte = !d->f->edge[e].is_free;
		if (has_byte)
			d->list[kept++] = d->list[i];
	}
	qsort(d->list, (size_t)kept, sizeof(int), by_number);
	return kept;
}

static uint32_t hash_of(const int *list, int n)
{
	uint32_t h = 2166136261u;

	for (int i = 0; i < n; i++)
		h = (h ^ (uint32_t)list[i]) * 16777619u;
	return h ^ h >> 15;
}

static bool room(struct dfa *d, int n)
{
	if (d->n == DFA_STATES_MAX || d->used > DFA_NODES_MAX - n) {
		d->failed = E2BIG;
		return false;
	}
	if (d->n == d->cap) {
		int cap = d->cap ? 2 * d->cap : 64;
		void *state = realloc(d->state, (size_t)cap * sizeof(*d->state));
		void *next;

		if (state)
			d->state = state;
		next = state ? realloc(d->next, (size_t)cap * sizeof(*d->next)) : NULL;
		if (next)
			d->next = next;
		else
			d->failed = ENOMEM;
		if (next)
			d->cap = cap;
	}
	while (!d->failed && d->used + n > d->pool_cap) {
		int cap = d->pool_cap ? 2 * d->pool_cap : 1024;
		int *pool = realloc(d->pool, (size_t)cap * sizeof(int));

		if (pool) {
			d->pool = pool;
			d->pool_cap = cap;
		} else {
			d->failed = ENOMEM;
		}
	}
	return !d->failed;
}

/* the state of d->list[0..n), made when it is new */
static int find_state(struct dfa *d, int n)
{
	uint32_t at = hash_of(d->list, n) % SLOTS;
	struct dfa_state *st;
	bool goes_on = false;

	for (; d->slot[at]; at = (at + 1) % SLOTS) {
		st = &d->state[d->slot[at] - 1];
		if (st->n == n && !memcmp(d->pool + st->at, d->list, (size_t)n * sizeof(int)))
			return d->slot[at] - 1;
	}
	if (!room(d, n))
		return DFA_DEAD;
	st = &d->state[d->n];
	*st = (struct dfa_state){.at = d->used, .n = n, .dist = INT_MAX};
	memcpy(d->pool + d->used, d->list, (size_t)n * sizeof(int));
	d->used += n;
	for (int i = 0; i < n; i++) {
		int dist = d->f->dist[d->list[i]];

		st->dist = dist < st->dist ? dist : st->dist;
		for (int e = d->f->first[d->list[i]]; e >= 0; e = d->f->edge[e].next)
			goes_on |= !d->f->edge[e].is_free;
	}
	st->is_last = !goes_on;
	for (int i = 0; i < 256; i++)
		d->next[d->n][i] = DFA_UNKNOWN;
	d->slot[at] = ++d->n;
	return d->n - 1;
}

int dfa_init(struct dfa *d, const struct nfa *f, struct err *err)
{
	*d = (struct dfa){.f = f, .stamp = 1};
	d->list = calloc((size_t)f->n, sizeof(int));
	d->mark = calloc((size_t)f->n, sizeof(int));
	d->slot = calloc(SLOTS, sizeof(int));
	if (!d->list || !d->mark || !d->slot) {
		dfa_release(d);
		return err_nomem(err);
	}
	d->list[0] = f->start;
	d->mark[f->start] = d->stamp;
	if (find_state(d, close_set(d, 1)) < 0) {
		int rc = dfa_failed(d, err);

		dfa_release(d);
		return rc;
	}
	return 0;
}

void dfa_release(struct dfa *d)
{
	free(d->state);
	free(d->next);
	free(d->pool);
	free(d->slot);
	free(d->list);
	free(d->mark);
	*d = (struct dfa){0};
}

int dfa_step(struct dfa *d, int state, unsigned char byte)
{
	const struct dfa_state *st = &d->state[state];
	int n = 0, to;

	if (d->next[state][byte] != DFA_UNKNOWN)
		return d->next[state][byte];
	d->stamp++;
	for (int i = 0; i < st->n; i++) {
		for (int e = d->f->first[d->pool[st->at + i]]; e >= 0; e = d->f->edge[e].next) {
			const struct nfa_edge *edge = &d->f->edge[e];

			if (edge->is_free || byte < edge->lo || byte > edge->hi ||
				d->mark[edge->to] == d->stamp)
				continue;
			d->mark[edge->to] = d->stamp;
			d->list[n++] = edge->to;
		}
	}
	to = n ? find_state(d, close_set(d, n)) : DFA_DEAD;
	if (!d->failed)
		d->next[state][byte] = to;
	return to;
}

unsigned char dfa_toward_end(const struct dfa *d, int state)
{
	const struct dfa_state *st = &d->state[state];
	unsigned best = 256;

	for (int i = 0; i < st->n; i++)
		for (int e = d->f->first[d->pool[st->at + i]]; e >= 0; e = d->f->edge[e].next)
			if (!d->f->edge[e].is_free && d->f->edge[e].lo < best &&
				d->f->dist[d->f->edge[e].to] == st->dist - 1)
				best = d->f->edge[e].lo;
	return (unsigned char)best;
}

int dfa_failed(const struct dfa *d, struct err *err)
{
	if (d->failed == E2BIG)
		return err_set(err, E2BIG,
			"grammar is too ambiguous: more than %d states or %d MiB of them",
			DFA_STATES_MAX, DFA_NODES_MAX >> 18);
	return d->failed ? err_nomem(err) : 0;
}
