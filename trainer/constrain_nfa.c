#include "trainer/constrain_nfa.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool grow(void *list, int n, int *cap, size_t size, int max)
{
	void **p = list, *more;
	int want = *cap ? 2 * *cap : 64;

	if (n < *cap)
		return true;
	if (want > max)
		want = max;
	more = realloc(*p, (size_t)want * size);
	if (!more)
		return false;
	*p = more;
	*cap = want;
	return true;
}

int nfa_node(struct nfa *f)
{
	if (f->n == NFA_NODES_MAX)
		f->failed = E2BIG;
	else if (!grow(&f->first, f->n, &f->cap, sizeof(*f->first), NFA_NODES_MAX))
		f->failed = ENOMEM;
	if (f->failed)
		return 0;
	f->first[f->n] = -1;
	return f->n++;
}

static void add_edge(struct nfa *f, int from, struct nfa_edge edge)
{
	if (!f->failed && f->edges == NFA_EDGES_MAX)
		f->failed = E2BIG;
	if (!f->failed && !grow(&f->edge, f->edges, &f->edge_cap, sizeof(*f->edge), NFA_EDGES_MAX))
		f->failed = ENOMEM;
	if (f->failed)
		return;
	edge.next = f->first[from];
	f->edge[f->edges] = edge;
	f->first[from] = f->edges++;
}

void nfa_free_edge(struct nfa *f, int from, int to)
{
	add_edge(f, from, (struct nfa_edge){.to = to, .is_free = true});
}

void nfa_read(struct nfa *f, size_t bytes)
{
	f->read += bytes;
	if (!f->failed && f->read > NFA_READ_MAX)
		f->failed = E2BIG;
}

static void byte_edge(struct nfa *f, int from, unsigned lo, unsigned hi, int to)
{
	add_edge(f, from, (struct nfa_edge){.to = to, .lo = (uint8_t)lo, .hi = (uint8_t)hi});
}

void nfa_bytes(struct nfa *f, int from, const char *text, size_t len, int to)
{
	if (!len)
		nfa_free_edge(f, from, to);
	for (size_t i = 0; i < len && !f->failed; i++) {
		int next = i + 1 < len ? nfa_node(f) : to;

		byte_edge(f, from, (unsigned char)text[i], (unsigned char)text[i], next);
		from = next;
	}
}

void nfa_init(struct nfa *f)
{
	*f = (struct nfa){0};
	f->start = nfa_node(f);
	f->accept = nfa_node(f);
}

void nfa_release(struct nfa *f)
{
	free(f->first);
	free(f->edge);
	free(f->dist);
	*f = (struct nfa){0};
}

/* ---- sets of characters ---- */

bool charset_add(struct charset *set, uint32_t lo, uint32_t hi)
{
	int at = 0, n;

	if (lo < 0xd800 && hi > 0xdfff)
		return charset_add(set, lo, 0xd7ff) && charset_add(set, 0xe000, hi);
	if (lo >= 0xd800 && lo <= 0xdfff)
		lo = 0xe000;
	if (hi >= 0xd800 && hi <= 0xdfff)
		hi = 0xd7ff;
	if (lo > hi)
		return true;
	while (at < set->n && set->range[at].hi + 1 < lo)
		at++;
	for (n = at; n < set->n && set->range[n].lo <= hi + 1; n++) { /* those it touches */
		lo = set->range[n].lo < lo ? set->range[n].lo : lo;
		hi = set->range[n].hi > hi ? set->range[n].hi : hi;
	}
	if (n == at && set->n == CHARSET_RANGES_MAX)
		return false;
	memmove(&set->range[at + 1], &set->range[n], (size_t)(set->n - n) * sizeof(set->range[0]));
	set->range[at].lo = lo;
	set->range[at].hi = hi;
	set->n += 1 - (n - at);
	return true;
}

bool charset_invert(struct charset *set)
{
	struct charset out = {.n = 0};
	uint32_t from = 0;

	for (int i = 0; i < set->n; i++) {
		if (set->range[i].lo > from && !charset_add(&out, from, set->range[i].lo - 1))
			return false;
		from = set->range[i].hi + 1;
	}
	if (from <= 0x10ffff && !charset_add(&out, from, 0x10ffff))
		return false;
	*set = out;
	return true;
}

/* the end of a character, shared by all whose last bytes may be any: [n] has n bytes to go */
struct tails {
	struct nfa *f;
	int node[4];
};

static int tail(struct tails *t, int n)
{
	if (t->node[n] < 0) {
		int next = tail(t, n - 1);

		t->node[n] = nfa_node(t->f);
		byte_edge(t->f, t->node[n], 0x80, 0xbf, next);
	}
	return t->node[n];
}

static int encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (int i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
	return n;
}

/* all of one length between ${lo} and ${hi}, ${n} bytes to go */
static void spread(struct tails *t, int from, const uint8_t *lo, const uint8_t *hi, int n)
{
	static const uint8_t least[4] = {0x80, 0x80, 0x80, 0x80},
			     most[4] = {0xbf, 0xbf, 0xbf, 0xbf};
	const size_t rest = (size_t)n - 1;
	unsigned a = lo[0], b = hi[0];

	if (a < b && memcmp(lo + 1, least, rest) != 0) {
		int next = nfa_node(t->f);

		byte_edge(t->f, from, a, a, next);
		spread(t, next, lo + 1, most, n - 1);
		a++;
	}
	if (a < b && memcmp(hi + 1, most, rest) != 0) {
		int next = nfa_node(t->f);

		byte_edge(t->f, from, b, b, next);
		spread(t, next, least, hi + 1, n - 1);
		b--;
	}
	if (a < b || (memcmp(lo + 1, least, rest) == 0 && memcmp(hi + 1, most, rest) == 0)) {
		byte_edge(t->f, from, a, b, tail(t, n - 1));
	} else {
		int next = nfa_node(t->f);

		byte_edge(t->f, from, a, a, next);
		spread(t, next, a == lo[0] ? lo + 1 : least, a == hi[0] ? hi + 1 : most, n - 1);
	}
}

static void put_range(struct tails *t, int from, uint32_t lo, uint32_t hi)
{
	static const uint32_t last[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};

	for (int i = 0; i < 4 && lo <= hi; i++) {
		uint32_t end = hi < last[i] ? hi : last[i];
		uint8_t a[4], b[4];

		if (lo > last[i])
			continue;
		int n = encode(lo, a);
		encode(end, b);
		spread(t, from, a, b, n);
		lo = end + 1;
	}
}

static bool holds(const struct charset *set, uint32_t c)
{
	for (int i = 0; i < set->n; i++)
		if (set->range[i].lo <= c && c <= set->range[i].hi)
			return true;
	return false;
}

/* what JSON does not let stand in a string, by its short escape */
static bool put_escapes(struct nfa *f, int from, const struct charset *set, int to)
{
	static const char plain[] = "\"\\\b\t\n\f\r", sign[] = "\"\\btnfr";
	int slash = -1;

	for (int i = 0; plain[i]; i++) {
		if (!holds(set, (unsigned char)plain[i]))
			continue;
		if (slash < 0) {
			slash = nfa_node(f);
			byte_edge(f, from, '\\', '\\', slash);
		}
		byte_edge(f, slash, (unsigned char)sign[i], (unsigned char)sign[i], to);
	}
	return slash >= 0;
}

bool nfa_set(struct nfa *f, int from, const struct charset *set, bool quoted, int to)
{
	struct tails t = {f, {to, -1, -1, -1}};
	static const uint32_t cut[][2] = {
		{' ', '!'}, {'#', '['}, {']', 0x10ffff}}; /* raw in a JSON string */
	bool any = false;

	for (int i = 0; i < set->n && !f->failed; i++) {
		if (!quoted)
			put_range(&t, from, set->range[i].lo, set->range[i].hi);
		for (int k = 0; quoted && k < 3; k++) {
			uint32_t lo = set->range[i].lo > cut[k][0] ? set->range[i].lo : cut[k][0],
				 hi = set->range[i].hi < cut[k][1] ? set->range[i].hi : cut[k][1];

			if (lo <= hi) {
				put_range(&t, from, lo, hi);
				any = true;
			}
		}
	}
	if (quoted)
		return put_escapes(f, from, set, to) || any;
	return set->n > 0;
}

int nfa_texts(struct nfa *f, struct json_slice list, struct err *err)
{
	struct json_slice one;
	size_t n = 0;

	for (size_t pos = 0; json_next(list, &pos, NULL, &one) && !f->failed; n++) {
		struct buf text = BUF_INIT;

		if (json_kind_of(one) != JSON_STRING || json_string(one, &text) < 0) {
			buf_release(&text);
			return err_set(err, EINVAL, "choices: texts expected");
		}
		nfa_bytes(f, f->start, buf_str(&text), text.len, f->accept);
		buf_release(&text);
	}
	return n ? 0 : err_set(err, EINVAL, "choices: at least one is needed");
}

/* ---- distances ---- */

/* edges by where they lead to */
struct back {
	int *first, *next, *from;
};

static int turn(const struct nfa *f, struct back *b)
{
	b->first = malloc((size_t)f->n * sizeof(int));
	b->next = malloc((size_t)(f->edges + 1) * sizeof(int));
	b->from = malloc((size_t)(f->edges + 1) * sizeof(int));
	if (!b->first || !b->next || !b->from)
		return -ENOMEM;
	for (int i = 0; i < f->n; i++)
		b->first[i] = -1;
	for (int i = 0; i < f->n; i++)
		for (int e = f->first[i]; e >= 0; e = f->edge[e].next) {
			b->from[e] = i;
			b->next[e] = b->first[f->edge[e].to];
			b->first[f->edge[e].to] = e;
		}
	return 0;
}

/* breadth first from the end, a free edge before those of a byte: each list is one distance */
static int measure(struct nfa *f, const struct back *b)
{
	int *now = malloc((size_t)(f->edges + 1) * sizeof(int)),
	    *later = malloc((size_t)(f->edges + 1) * sizeof(int)), n = 1, m = 0, rc = -ENOMEM;

	f->dist = malloc((size_t)f->n * sizeof(int));
	if (!now || !later || !f->dist)
		goto out;
	for (int i = 0; i < f->n; i++)
		f->dist[i] = INT_MAX;
	now[0] = f->accept;
	for (int d = 0; n > 0; d++) {
		while (n > 0) {
			int at = now[--n];

			if (f->dist[at] <= d)
				continue;
			f->dist[at] = d;
			for (int e = b->first[at]; e >= 0; e = b->next[e]) {
				if (f->dist[b->from[e]] <= d)
					continue;
				if (f->edge[e].is_free)
					now[n++] = b->from[e];
				else
					later[m++] = b->from[e];
			}
		}
		int *swap = now;

		now = later;
		later = swap;
		n = m;
		m = 0;
	}
	rc = 0;
out:
	free(now);
	free(later);
	return rc;
}

int nfa_finish(struct nfa *f, struct err *err)
{
	struct back b = {0};
	int rc = -ENOMEM;

	if (f->failed == E2BIG && f->read > NFA_READ_MAX)
		return err_set(err, E2BIG,
			"grammar is too much to read: more than %d MiB with all its copies; "
			"shorten what is repeated, or required",
			NFA_READ_MAX >> 20);
	if (f->failed == E2BIG)
		return err_set(err, E2BIG,
			"grammar needs more than %d states; shorten maxLength, maxItems or the "
			"repeats",
			NFA_NODES_MAX);
	if (!f->failed && turn(f, &b) == 0)
		rc = measure(f, &b);
	free(b.first);
	free(b.next);
	free(b.from);
	return rc < 0 ? err_nomem(err) : 0;
}
