/*
 * bpe - merging symbols up: always the pair of lowest rank, leftmost first. A heap keeps a long
 * piece n log n.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/vocab.h"

/* a run of text that is a token or a single character; ${len} 0: merged into its left neighbour */
struct symbol {
	size_t at;
	size_t len;
	int prev;
	int next;
	int id; /* -1: not a token (a character to be spelt in bytes) */
};

struct candidate {
	uint64_t order; /* rank, then position */
	int left;
	int id;
	size_t left_len; /* as they were when the candidate was found: other lengths mean that it is
			    stale */
	size_t right_len;
};

struct work {
	const struct tokenizer *tk;
	const char *text;
	struct symbol *symbol;
	int n;
	struct candidate *heap;
	size_t heaped;
};

/* a higher score comes first: its bits as a number that falls when the score grows */
static uint32_t rank_of_score(float score)
{
	uint32_t bits;

	memcpy(&bits, &score, sizeof(bits));
	bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
	return ~bits;
}

static void heap_push(struct work *wk, struct candidate c)
{
	size_t i = wk->heaped++;

	while (i && wk->heap[(i - 1) / 2].order > c.order) {
		wk->heap[i] = wk->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	wk->heap[i] = c;
}

static struct candidate heap_pop(struct work *wk)
{
	struct candidate top = wk->heap[0], last = wk->heap[--wk->heaped];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= wk->heaped)
			break;
		if (child + 1 < wk->heaped && wk->heap[child + 1].order < wk->heap[child].order)
			child++;
		if (wk->heap[child].order >= last.order)
			break;
		wk->heap[i] = wk->heap[child];
		i = child;
	}
	wk->heap[i] = last;
	return top;
}

static void consider(struct work *wk, int left)
{
	const struct symbol *a, *b;
	uint32_t rank;
	int id;

	if (left < 0 || wk->symbol[left].next < 0)
		return;
	a = &wk->symbol[left];
	b = &wk->symbol[a->next];
	if (wk->tk->kind == TOKENIZER_SCORES) {
		id = vocab_find(wk->tk, wk->text + a->at, a->len + b->len);
		if (id < 0 || wk->tk->token[id].kind == TOKEN_UNUSED ||
			wk->tk->token[id].kind == TOKEN_CONTROL ||
			wk->tk->token[id].flags & ADDED_RESERVED)
			return;
		rank = rank_of_score(wk->tk->token[id].score);
	} else {
		const struct merge *mg = vocab_find_merge(wk->tk, a->id, b->id);

		if (!mg)
			return;
		id = mg->id;
		rank = mg->rank;
	}
	heap_push(wk, (struct candidate){
			      (uint64_t)rank << 32 | (uint32_t)left, left, id, a->len, b->len});
}

static size_t char_bytes(const char *text, size_t len)
{
	unsigned char c = (unsigned char)*text;
	size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	return n < len ? n : len;
}

static void start(struct work *wk, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t n =
			wk->tk->kind == TOKENIZER_BYTES ? 1 : char_bytes(wk->text + at, len - at);
		int i = wk->n++, id;

		id = wk->tk->kind == TOKENIZER_BYTES ? wk->tk->byte_id[(unsigned char)wk->text[at]]
						     : vocab_find(wk->tk, wk->text + at, n);
		wk->symbol[i] = (struct symbol){at, n, i - 1, at + n < len ? i + 1 : -1, id};
		at += n;
	}
	for (int i = 0; i + 1 < wk->n; i++)
		consider(wk, i);
}

static void merge_all(struct work *wk)
{
	while (wk->heaped) {
		struct candidate c = heap_pop(wk);
		struct symbol *a = &wk->symbol[c.left], *b;

		if (a->len != c.left_len || a->next < 0)
			continue;
		b = &wk->symbol[a->next];
		if (b->len != c.right_len)
			continue;
		a->len += b->len;
		a->id = c.id;
		a->next = b->next;
		b->len = 0;
		if (a->next >= 0)
			wk->symbol[a->next].prev = c.left;
		consider(wk, a->prev);
		consider(wk, c.left);
	}
}

/* a symbol that is no token: its bytes, or the unknown token, perhaps once for several in a row;
 * ${from}: where the ids of this piece begin */
static int spell(
	const struct tokenizer *tk, const char *text, size_t len, size_t from, struct ids *list)
{
	bool known = true;

	for (size_t i = 0; i < len; i++)
		known = known && tk->byte_id[(unsigned char)text[i]] >= 0;
	if (!known) {
		if (tk->unknown < 0 || (tk->fuse_unknown && list->n > from &&
					       list->id[list->n - 1] == tk->unknown))
			return 0;
		return ids_add(list, tk->unknown);
	}
	for (size_t i = 0; i < len; i++)
		if (ids_add(list, tk->byte_id[(unsigned char)text[i]]) < 0)
			return -ENOMEM;
	return 0;
}

int bpe_piece(const struct tokenizer *tk, const char *text, size_t len, struct ids *list)
{
	struct work wk = {.tk = tk, .text = text};
	const size_t from = list->n;
	int rc = 0, whole;

	if (len == 0)
		return 0;
	if (len > INT32_MAX / 4)
		return -ENOMEM;
	whole = tk->whole_first || len == 1 ? vocab_find(tk, text, len) : -1;
	if (whole >= 0)
		return ids_add(list, whole);
	wk.symbol = malloc(len * sizeof(*wk.symbol));
	wk.heap = malloc(3 * len * sizeof(*wk.heap)); /* one for each neighbour pair, two more for
							 each of at most len merges */
	if (wk.symbol && wk.heap) {
		start(&wk, len);
		merge_all(&wk);
	} else {
		rc = -ENOMEM;
	}
	for (int i = wk.n ? 0 : -1; i >= 0 && rc == 0; i = wk.symbol[i].next)
		rc = wk.symbol[i].id >= 0
			     ? ids_add(list, wk.symbol[i].id)
			     : spell(tk, text + wk.symbol[i].at, wk.symbol[i].len, from, list);
	free(wk.symbol);
	free(wk.heap);
	return rc;
}
