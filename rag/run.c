#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void rag_run_bytes(
	struct rag_run *rn, const void *data, size_t len, const uint32_t *map, size_t n_map)
{
	memset(rn, 0, offsetof(struct rag_run, cur));
	rn->map = map;
	rn->n_map = n_map;
	rn->at = data;
	rn->end = rn->at + len;
}

int rag_run_bin(struct rag_run *rn, const struct rag_bin *bin, const uint32_t *map, size_t n_map)
{
	memset(rn, 0, offsetof(struct rag_run, cur));
	rn->map = map;
	rn->n_map = n_map;
	rn->bin = bin;
	rn->order = bin->section[RAG_ORDER];
	if (!rag_bin_good(bin, rn->order, bin->len[RAG_ORDER]))
		return -EUCLEAN;
	return rag_dict_seek(bin, "", 0, &rn->it);
}

static int next_of_bytes(struct rag_run *rn)
{
	uint64_t rank, df, bytes;

	if (rn->at == rn->end)
		return 0;
	rn->len = *rn->at++;
	if ((size_t)(rn->end - rn->at) < rn->len)
		return -EUCLEAN;
	memcpy(rn->word, rn->at, rn->len);
	rn->at = rag_vbyte_get(rn->at + rn->len, rn->end, UINT32_MAX, &rank);
	if (rn->at)
		rn->at = rag_vbyte_get(rn->at, rn->end, UINT32_MAX, &df);
	if (rn->at)
		rn->at = rag_vbyte_get(rn->at, rn->end, (uint64_t)(rn->end - rn->at), &bytes);
	if (!rn->at || bytes > (uint64_t)(rn->end - rn->at))
		return -EUCLEAN;
	rn->rank = (uint32_t)rank;
	rag_post_init(&rn->post, rn->at, (size_t)bytes, df, rn->n_map);
	rn->at += bytes;
	return 1;
}

static int next_of_bin(struct rag_run *rn)
{
	const uint8_t *end = rn->bin->section[RAG_ORDER] + rn->bin->len[RAG_ORDER];
	uint64_t rank;
	int rc = rag_dict_next(&rn->it);

	if (rc <= 0)
		return rc;
	rn->order = rag_vbyte_get(rn->order, end, UINT32_MAX, &rank);
	if (!rn->order)
		return -EUCLEAN;
	rn->rank = (uint32_t)rank;
	rn->len = rn->it.len;
	memcpy(rn->word, rn->it.word, rn->len);
	rag_cursor_init(&rn->cur, rn->bin, &rn->it.entry);
	rn->block_pos = 0;
	return rn->cur.is_damaged ? -EUCLEAN : 1;
}

int rag_run_next(struct rag_run *rn)
{
	rn->old_first = RAG_NO_DOC;
	rn->is_first = false;
	return rn->bin ? next_of_bin(rn) : next_of_bytes(rn);
}

/* the next pair as it is in the source */
static int raw_pair(struct rag_run *rn, uint32_t *doc)
{
	struct rag_cursor *cur = &rn->cur;

	if (!rn->bin) {
		if (!rag_post_next(&rn->post))
			return rn->post.is_damaged ? -EUCLEAN : 0;
		*doc = rn->post.doc;
		rn->tf = rn->post.tf;
		return 1;
	}
	if (rn->block_pos == 0 && (!rag_cursor_load(cur) || !rag_cursor_load_tf(cur)))
		return cur->is_damaged ? -EUCLEAN : 0;
	*doc = cur->doc[rn->block_pos];
	rn->tf = cur->tf[rn->block_pos];
	if (++rn->block_pos == cur->n) {
		rn->block_pos = 0;
		rag_cursor_shallow(cur, cur->last + 1);
		if (cur->is_damaged)
			return -EUCLEAN;
	}
	return 1;
}

int rag_run_pair(struct rag_run *rn)
{
	uint32_t doc;
	int rc;

	while ((rc = raw_pair(rn, &doc)) > 0) {
		if (doc >= rn->n_map || rn->tf == 0)
			return -EUCLEAN;
		if (rn->old_first == RAG_NO_DOC)
			rn->old_first = doc;
		if (rn->map[doc] == RAG_NO_DOC)
			continue;
		rn->doc = rn->map[doc];
		rn->is_first = rn->old_first == doc;
		return 1;
	}
	return rc;
}

/* up to ${max} pairs from where an index.bin stands, in the block it has unpacked */
static size_t some_of_bin(struct rag_run *rn, uint32_t *docs, uint32_t *tfs, size_t max)
{
	const struct rag_cursor *cur = &rn->cur;
	size_t n = 0;

	/* the last one is left: what comes behind it is for raw_pair() */
	while (n < max && rn->block_pos && rn->block_pos + 1 < cur->n) {
		uint32_t doc = cur->doc[rn->block_pos];

		if (doc >= rn->n_map || cur->tf[rn->block_pos] == 0)
			break;
		docs[n] = rn->map[doc];
		tfs[n] = cur->tf[rn->block_pos++];
		n += docs[n] != RAG_NO_DOC;
	}
	return n;
}

/* what is left of a term that only this run still has, the pair it stands at first */
static int put_rest(struct rag_run *rn, struct rag_writer *w, struct err *err)
{
	uint32_t docs[RAG_BLOCK], tfs[RAG_BLOCK];
	size_t n = 0;
	int rc = 1;

	while (rc > 0) {
		docs[n] = rn->doc;
		tfs[n++] = rn->tf;
		if (rn->bin)
			n += some_of_bin(rn, docs + n, tfs + n, RAG_BLOCK - n);
		rc = rag_run_pair(rn);
		if (n == RAG_BLOCK || rc <= 0) {
			int put = rag_writer_pairs(w, docs, tfs, n, err);

			if (put < 0)
				return put;
			n = 0;
		}
	}
	return rc;
}

/* ---- merging ---- */

static int run_compare(const struct rag_run *a, const struct rag_run *b)
{
	int order = memcmp(a->word, b->word, a->len < b->len ? a->len : b->len);

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* a heap of runs, the one with the lowest term (then number) on top */
static bool is_before(struct rag_run *const *heap, size_t a, size_t b)
{
	int order = run_compare(heap[a], heap[b]);

	return order ? order < 0 : heap[a] < heap[b];
}

static void sink(struct rag_run **heap, size_t n, size_t i)
{
	for (;;) {
		size_t first = i;
		struct rag_run *swap;

		for (size_t c = 2 * i + 1; c < 2 * i + 3 && c < n; c++)
			if (is_before(heap, c, first))
				first = c;
		if (first == i)
			return;
		swap = heap[i];
		heap[i] = heap[first];
		heap[first] = swap;
		i = first;
	}
}

/* all pairs of one term, by document; ${same} are the runs that have it */
static int put_pairs(struct rag_merge *mg, struct rag_run **same, size_t n, struct err *err)
{
	const struct rag_run *word = same[0];
	uint32_t rank = 0;
	bool any = false;
	int rc;

	for (size_t i = 0; i < n;) {
		rc = rag_run_pair(same[i]);
		if (rc < 0)
			return rc;
		if (rc == 0)
			same[i] = same[--n];
		else
			i++;
	}
	while (n > 0) {
		size_t low = 0;

		for (size_t i = 1; i < n; i++)
			if (same[i]->doc < same[low]->doc)
				low = i;
		if (!any && same[low]->is_first)
			rank = same[low]->rank;
		else if (!any && mg->rank_in &&
			 mg->rank_in(mg->arg, same[low]->doc, word->word, word->len, &rank) < 0)
			return -EUCLEAN;
		any = true;
		if (n == 1) {
			rc = put_rest(same[0], mg->writer, err);
			if (rc < 0)
				return rc;
			break;
		}
		rc = rag_writer_pair(mg->writer, same[low]->doc, same[low]->tf, err);
		if (rc == 0 && (rc = rag_run_pair(same[low])) == 0)
			same[low] = same[--n];
		if (rc < 0)
			return rc;
	}
	return any ? rag_writer_term(mg->writer, word->word, word->len, rank, err) : 0;
}

/* the block that the list of an index.bin has loaded, in the numbers of the new index; as bytes,
 * where all of it is there and only moved. ${any}: there was something of the list before */
static int put_block(
	struct rag_merge *mg, struct rag_run *rn, bool *any, uint32_t *rank, struct err *err)
{
	struct rag_cursor *cur = &rn->cur;
	uint32_t docs[RAG_BLOCK], tfs[RAG_BLOCK], n = 0, moved = 0;
	size_t len;
	const uint8_t *bytes;
	int rc;

	if (cur->doc[cur->n - 1] >= rn->n_map)
		return -EUCLEAN;
	for (uint32_t i = 0; i < cur->n; i++) {
		docs[n] = rn->map[cur->doc[i]];
		tfs[n] = cur->tf[i];
		moved |= (docs[n] - cur->doc[i]) ^ (docs[0] - cur->doc[0]);
		n += docs[n] != RAG_NO_DOC;
		if (cur->tf[i] == 0)
			return -EUCLEAN;
	}
	if (n == 0)
		return 0;
	if (!*any && docs[0] == rn->map[cur->doc[0]] && cur->block == 0)
		*rank = rn->rank;
	else if (!*any && mg->rank_in && mg->rank_in(mg->arg, docs[0], rn->word, rn->len, rank) < 0)
		return -EUCLEAN;
	*any = true;
	rc = rag_writer_pairs(mg->writer, docs, tfs, n, err);
	bytes = rag_cursor_bytes(cur, &len);
	if (rc == 0 && bytes && n == cur->n && moved == 0)
		rag_writer_packed(mg->writer, n, cur->low + (docs[0] - cur->doc[0]), bytes, len);
	return rc;
}

/* all of a term that only an index.bin has */
static int put_list(struct rag_merge *mg, struct rag_run *rn, struct err *err)
{
	struct rag_cursor *cur = &rn->cur;
	uint32_t rank = 0;
	bool any = false;
	int rc = 0;

	while (rc == 0 && cur->block < cur->n_blocks) {
		if (!rag_cursor_load(cur) || !rag_cursor_load_tf(cur))
			return -EUCLEAN;
		rc = put_block(mg, rn, &any, &rank, err);
		rag_cursor_shallow(cur, cur->last + 1);
		if (cur->is_damaged)
			return -EUCLEAN;
	}
	return rc == 0 && any ? rag_writer_term(mg->writer, rn->word, rn->len, rank, err) : rc;
}

static int merge_terms(struct rag_merge *mg, struct rag_run **heap, size_t n, struct rag_run **same,
	struct err *err)
{
	uint64_t terms = 0;

	while (n > 0) {
		struct rag_run **keep = same + mg->n;
		size_t n_same = 0;
		int rc;

		/* those with the lowest term leave the heap, and come back with their next one */
		do {
			same[n_same++] = heap[0];
			heap[0] = heap[--n];
			sink(heap, n, 0);
		} while (n > 0 && run_compare(heap[0], same[0]) == 0);
		memcpy(keep, same, n_same * sizeof(*same));
		rc = n_same == 1 && same[0]->bin ? put_list(mg, same[0], err)
						 : put_pairs(mg, same, n_same, err);
		for (size_t i = 0; rc >= 0 && i < n_same; i++) {
			rc = rag_run_next(keep[i]);
			if (rc <= 0)
				continue;
			heap[n] = keep[i];
			for (size_t c = n++; c > 0 && is_before(heap, c, (c - 1) / 2);
				c = (c - 1) / 2) {
				struct rag_run *swap = heap[c];

				heap[c] = heap[(c - 1) / 2];
				heap[(c - 1) / 2] = swap;
			}
		}
		if (rc < 0)
			return rc;
		if (mg->tick && ++terms % 4096 == 0)
			mg->tick(mg->arg);
	}
	return 0;
}

int rag_merge(struct rag_merge *mg, struct err *err)
{
	struct rag_run **heap = malloc((3 * mg->n + 1) * sizeof(*heap));
	size_t n = 0;
	int rc = 0;

	if (!heap)
		return err_nomem(err);
	for (size_t i = 0; rc >= 0 && i < mg->n; i++) {
		rc = rag_run_next(&mg->runs[i]);
		if (rc > 0)
			heap[n++] = &mg->runs[i];
	}
	for (size_t i = n / 2; i-- > 0;)
		sink(heap, n, i);
	if (rc >= 0)
		rc = merge_terms(mg, heap, n, heap + mg->n, err);
	free(heap);
	return rc < 0 ? rc : 0;
}
