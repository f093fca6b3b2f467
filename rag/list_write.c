#include "list_write.h"

#include <errno.h>
#include <string.h>

enum { TENTH = 10, HUNDREDTH = 100 };

/* what a pair can add at most, in steps, rounded up. The share is off by less than 2^-51 of itself,
 * and the scorer takes a step for a little more than it is. */
static inline uint16_t steps_up(double share)
{
	double x = share * RAG_MAX_STEPS;
	uint32_t n;

	if (!(x < RAG_MAX_STEPS))
		return RAG_MAX_STEPS;
	n = (uint32_t)x;
	return (uint16_t)(n + ((double)n < x));
}

/* a heap of the best hundred, the lowest on top */
static void keep_best(struct rag_list_maker *lm, uint32_t x)
{
	uint32_t *h = lm->best, n = lm->n_best, i, child;

	if (n < HUNDREDTH) {
		for (i = lm->n_best++; i > 0 && h[(i - 1) / 2] > x; i = (i - 1) / 2)
			h[i] = h[(i - 1) / 2];
		h[i] = x;
		return;
	}
	if (x <= h[0])
		return;
	for (i = 0; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && h[child + 1] < h[child])
			child++;
		if (h[child] >= x)
			break;
		h[i] = h[child];
	}
	h[i] = x;
}

/* what the block's pairs add, among the best. Of fewer than a hundred all are, in any order */
static void keep_block(struct rag_list_maker *lm)
{
	if (lm->df < HUNDREDTH) {
		for (unsigned i = 0; i < lm->n; i++)
			lm->best[i] = lm->up[i] ? lm->up[i] - 1U : 0;
		lm->n_best = lm->n;
		return;
	}
	for (unsigned i = 0; i < lm->n; i++)
		if (lm->n_best < HUNDREDTH || lm->up[i] > lm->best[0] + 1)
			keep_best(lm, lm->up[i] ? lm->up[i] - 1U : 0);
}

static int block_end(struct rag_list_maker *lm, uint32_t low)
{
	uint8_t bytes[2 * RAG_PACKED_BYTES], skip[RAG_SKIP_BYTES];
	uint32_t gaps[RAG_BLOCK], tfs[RAG_BLOCK], end;
	uint16_t max = 0;

	for (unsigned i = 0; i < lm->n; i++) {
		gaps[i] = lm->doc[i] - low;
		low = lm->doc[i] + 1;
		tfs[i] = lm->tf[i] - 1;
		max = lm->up[i] > max ? lm->up[i] : max;
	}
	if (lm->df >= TENTH)
		keep_block(lm);
	if (!lm->packed) {
		lm->packed = bytes;
		lm->packed_len = rag_pack(gaps, lm->n, bytes);
		lm->packed_len += rag_pack(tfs, lm->n, bytes + lm->packed_len);
	}
	if (buf_add(&lm->blocks, lm->packed, lm->packed_len) < 0 || lm->blocks.len > UINT32_MAX)
		return -ENOMEM;
	lm->packed = NULL;
	end = (uint32_t)lm->blocks.len;
	memcpy(skip, &lm->doc[lm->n - 1], 4);
	memcpy(skip + 4, &end, 4);
	memcpy(skip + 8, &max, 2);
	if (max > lm->list_max)
		lm->list_max = max;
	lm->last = lm->doc[lm->n - 1];
	lm->n = 0;
	return buf_add(&lm->skip, skip, sizeof(skip));
}

static uint32_t low_of(const struct rag_list_maker *lm)
{
	return lm->skip.len ? lm->last + 1 : 0;
}

static inline double norm_of(const struct rag_norms *norms, uint32_t doc)
{
	uint32_t len = norms->lens[doc];

	return len < RAG_NORMS ? norms->of_len[len] : rag_norm(norms->bm, len);
}

int rag_list_pairs(struct rag_list_maker *lm, const struct rag_norms *norms, const uint32_t *docs,
	const uint32_t *tfs, size_t n)
{
	if (lm->df == 0) {
		lm->first_doc = docs[0];
		lm->first_tf = tfs[0];
	}
	while (n > 0) {
		size_t some = RAG_BLOCK - lm->n;

		if (some == 0) {
			if (block_end(lm, low_of(lm)) < 0)
				return -ENOMEM;
			some = RAG_BLOCK;
		}
		lm->packed = NULL;
		some = some < n ? some : n;
		for (size_t i = 0; i < some; i++) /* in shares of k1 + 1: none is above 1 */
			lm->up[lm->n + i] = steps_up(
				(double)tfs[i] / ((double)tfs[i] + norm_of(norms, docs[i])));
		memcpy(lm->doc + lm->n, docs, some * sizeof(*docs));
		memcpy(lm->tf + lm->n, tfs, some * sizeof(*tfs));
		lm->n += (unsigned)some;
		lm->df += (uint32_t)some;
		docs += some;
		tfs += some;
		n -= some;
	}
	return 0;
}

void rag_list_packed(
	struct rag_list_maker *lm, size_t n, uint32_t low, const uint8_t *bytes, size_t len)
{
	if (n == lm->n && low == low_of(lm)) {
		lm->packed = bytes;
		lm->packed_len = len;
	}
}

/* the tenth highest of those kept: bit by bit the largest number that ten are not below. Sixteen
 * looks at all of them take less than the wrong guesses of a sort. */
static uint16_t tenth_best(const struct rag_list_maker *lm)
{
	uint32_t x = 0;

	for (uint32_t bit = 1U << 15; bit; bit >>= 1) {
		uint32_t n = 0;

		for (uint32_t i = 0; i < lm->n_best; i++)
			n += lm->best[i] >= (x | bit);
		if (n >= TENTH)
			x |= bit;
	}
	return (uint16_t)x;
}

static int put_skips(const struct rag_list_maker *lm, struct buf *out)
{
	size_t n = lm->skip.len / RAG_SKIP_BYTES;

	for (size_t super = 0; super < n; super += RAG_SUPER_BLOCKS) {
		uint16_t max = 0, x;

		for (size_t i = super; i < n && i < super + RAG_SUPER_BLOCKS; i++) {
			memcpy(&x, lm->skip.data + i * RAG_SKIP_BYTES + 8, 2);
			max = x > max ? x : max;
		}
		if (buf_add(out, &max, sizeof(max)) < 0)
			return -ENOMEM;
	}
	return buf_add(out, lm->skip.data, lm->skip.len);
}

static size_t put16(uint8_t *out, uint16_t x)
{
	memcpy(out, &x, sizeof(x));
	return sizeof(x);
}

int rag_list_end(struct rag_list_maker *lm, struct buf *out, uint8_t said[RAG_LIST_SAID_BYTES],
	size_t *n_said)
{
	size_t from = out->len, n = rag_vbyte_put(said, lm->df);

	if (lm->df == 1) {
		n += rag_vbyte_put(said + n, lm->first_doc);
		n += rag_vbyte_put(said + n, lm->first_tf);
	} else {
		if (block_end(lm, low_of(lm)) < 0 ||
			(lm->df >= RAG_BLOCK && put_skips(lm, out) < 0) ||
			buf_add(out, lm->blocks.data, lm->blocks.len) < 0)
			return -ENOMEM;
		n += rag_vbyte_put(said + n, out->len - from);
		n += put16(said + n, (uint16_t)lm->list_max);
		if (lm->df >= TENTH)
			n += put16(said + n, tenth_best(lm));
		if (lm->df >= HUNDREDTH) /* the lowest of a hundred */
			n += put16(said + n, (uint16_t)lm->best[0]);
	}
	buf_reset(&lm->skip);
	buf_reset(&lm->blocks);
	lm->n = lm->df = lm->n_best = 0;
	lm->last = lm->list_max = 0;
	*n_said = n;
	return 0;
}
