/* table_spill - a table becomes a run: its terms in order, each with the bytes of its chain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"
#include "radix.h"
#include "table_entry.h"

enum { AHEAD = 12 }; /* terms that memory is asked for ahead of their turn */

static int entry_compare(const void *a, const void *b)
{
	const struct rag_ranked *x = a, *y = b;
	const struct rag_table_entry *v = (const void *)(uintptr_t)x->item,
				     *w = (const void *)(uintptr_t)y->item;
	int order = memcmp(v->word, w->word, v->len < w->len ? v->len : w->len);

	return order ? order : (int)v->len - (int)w->len;
}

/* all terms in order, by their first 8 bytes and then by the rest; owned, in one of the halves */
static struct rag_ranked *sort(
	const struct rag_table *tb, const struct rag_ranked **sorted, size_t *n_out)
{
	struct rag_ranked *all = malloc((2 * tb->n_terms + 1) * sizeof(*all)), *at;
	size_t n = 0, to;

	for (size_t place = 0; all && place < tb->entries_len;) {
		const struct rag_table_entry *en =
			rag_entry_at(tb, (uint32_t)(place / RAG_TABLE_UNIT));
		uint64_t x = 0;

		memcpy(&x, en->word, en->len < 8 ? en->len : 8);
		if (en->df)
			all[n++] = (struct rag_ranked){__builtin_bswap64(x), (uintptr_t)en};
		place += (sizeof(*en) + en->len + RAG_TABLE_UNIT - 1) / RAG_TABLE_UNIT *
			 RAG_TABLE_UNIT;
	}
	*n_out = n;
	if (!all)
		return NULL;
	*sorted = at = rag_radix_sort(all, all + tb->n_terms, n);
	for (size_t from = 0; from < n; from = to) {
		for (to = from + 1; to < n && at[to].rank == at[from].rank; to++)
			;
		if (to - from > 1)
			qsort(at + from, to - from, sizeof(*at), entry_compare);
	}
	return all;
}

/* the bytes of a chain */
static int chain_copy(const struct rag_table *tb, const struct rag_table_entry *en, struct buf *out)
{
	size_t room = RAG_FIRST_PIECE;

	buf_reset(out);
	for (uint32_t piece = en->head;; room = room < RAG_LAST_PIECE ? room * 2 : RAG_LAST_PIECE) {
		const char *p = tb->chains + (size_t)piece * RAG_TABLE_UNIT;
		bool is_last = piece == en->piece;

		if (buf_add(out, p, is_last ? en->at : room - RAG_LINK_BYTES) < 0)
			return -ENOMEM;
		if (is_last)
			return 0;
		memcpy(&piece, p + room - RAG_LINK_BYTES, RAG_LINK_BYTES);
	}
}

static int put_term(const struct rag_table *tb, const struct rag_table_entry *en, struct buf *chain,
	struct rag_spool *out, struct err *err)
{
	uint8_t head[1 + 255 + 3 * 10];
	size_t n = 1 + (size_t)en->len;
	int rc;

	if (chain_copy(tb, en, chain) < 0)
		return err_nomem(err);
	head[0] = en->len;
	memcpy(head + 1, en->word, en->len);
	n += rag_vbyte_put(head + n, en->rank);
	n += rag_vbyte_put(head + n, en->df);
	n += rag_vbyte_put(head + n, chain->len);
	rc = rag_spool_add(out, head, n, err);
	return rc < 0 ? rc : rag_spool_add(out, chain->data, chain->len, err);
}

/* asks for the memory of a term that is still to come */
static void ask_for(const struct rag_table *tb, const struct rag_ranked *at, size_t n, size_t i)
{
	if (i + 2 * AHEAD < n)
		__builtin_prefetch((const void *)(uintptr_t)at[i + 2 * AHEAD].item);
	if (i + AHEAD < n) {
		const struct rag_table_entry *en = (const void *)(uintptr_t)at[i + AHEAD].item;

		__builtin_prefetch(tb->chains + (size_t)en->head * RAG_TABLE_UNIT);
	}
}

int rag_table_spill(struct rag_table *tb, struct rag_spool *out, struct err *err)
{
	struct buf chain = BUF_INIT;
	const struct rag_ranked *at;
	size_t n;
	struct rag_ranked *all = sort(tb, &at, &n);
	int rc = all ? 0 : err_nomem(err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		ask_for(tb, at, n, i);
		rc = put_term(tb, (const void *)(uintptr_t)at[i].item, &chain, out, err);
	}
	free(all);
	buf_release(&chain);
	memset(tb->slots, 0, tb->n_slots * sizeof(*tb->slots));
	tb->n_terms = tb->entries_len = tb->chains_len = 0;
	return rc;
}
