#include "list.h"

#include <string.h>

#include "bin.h"

static uint32_t get32(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static uint32_t get16(const uint8_t *p)
{
	uint16_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static uint32_t block_last(const struct rag_cursor *cur, uint32_t block)
{
	return get32(cur->skip + (size_t)block * RAG_SKIP_BYTES);
}

static void damaged(struct rag_cursor *cur)
{
	cur->is_damaged = true;
	cur->block = cur->n_blocks;
	cur->unpacked = RAG_NO_DOC;
	cur->n = cur->pos = 0;
}

void rag_cursor_init(
	struct rag_cursor *cur, const struct rag_bin *bin, const struct rag_entry *entry)
{
	size_t head = 0;

	/* doc[] and tf[] are left as they are: 1 KiB a term that most questions never use */
	memset(cur, 0, offsetof(struct rag_cursor, doc));
	cur->bin = bin;
	cur->df = entry->df;
	cur->max = entry->max;
	cur->n_docs = (uint32_t)bin->header->n_docs;
	cur->n_blocks = (entry->df + RAG_BLOCK - 1) / RAG_BLOCK;
	cur->unpacked = RAG_NO_DOC;
	cur->last = cur->n_docs - 1;
	if (entry->df == 1) {
		cur->doc[0] = entry->only_doc;
		cur->tf[0] = entry->only_tf;
		cur->n = 1;
		cur->unpacked = 0;
		cur->last = entry->only_doc;
		cur->has_tf = true;
		return;
	}
	if (entry->df >= RAG_BLOCK) {
		size_t super = (cur->n_blocks + RAG_SUPER_BLOCKS - 1) / RAG_SUPER_BLOCKS * 2;

		head = super + (size_t)cur->n_blocks * RAG_SKIP_BYTES;
		cur->super = entry->data;
		cur->skip = entry->data + super;
	}
	if (head > entry->len || !rag_bin_good(bin, entry->data, head)) {
		damaged(cur);
		return;
	}
	cur->blocks = entry->data + head;
	cur->len = entry->len - head;
	if (cur->skip)
		cur->last = block_last(cur, 0);
	if (cur->last >= cur->n_docs)
		damaged(cur);
}

bool rag_cursor_shallow(struct rag_cursor *cur, uint32_t doc)
{
	uint32_t block = cur->block, low;

	if (doc <= cur->last && block < cur->n_blocks)
		return true;
	low = cur->last;
	if (!cur->skip)
		block = cur->n_blocks;
	/* at most 32 blocks one by one, then by their super blocks */
	while (block < cur->n_blocks && (low = block_last(cur, block)) < doc) {
		uint32_t super = block | (RAG_SUPER_BLOCKS - 1);

		if (block % RAG_SUPER_BLOCKS == 0 && super < cur->n_blocks &&
			block_last(cur, super) < doc)
			block = super;
		block++;
	}
	if (block >= cur->n_blocks) {
		cur->block = cur->n_blocks;
		cur->n = cur->pos = 0;
		cur->unpacked = RAG_NO_DOC;
		return false;
	}
	cur->low = block_last(cur, block - 1) + 1;
	if (low >= cur->n_docs || cur->low > low || cur->low == 0) {
		damaged(cur);
		return false;
	}
	cur->block = block;
	cur->last = low;
	return true;
}

uint32_t rag_cursor_max(const struct rag_cursor *cur)
{
	return cur->skip && cur->block < cur->n_blocks
		       ? get16(cur->skip + (size_t)cur->block * RAG_SKIP_BYTES + 8)
		       : cur->max;
}

uint32_t rag_cursor_max_until(const struct rag_cursor *cur, uint32_t last)
{
	uint32_t max = 0, x;

	if (!cur->skip || cur->block >= cur->n_blocks)
		return cur->max;
	for (uint32_t b = cur->block; b < cur->n_blocks; b++) {
		const uint8_t *p = cur->skip + (size_t)b * RAG_SKIP_BYTES;

		if (b - cur->block >= RAG_SUPER_BLOCKS)
			return cur->max;
		x = get16(p + 8);
		max = x > max ? x : max;
		if (get32(p) >= last)
			break;
	}
	return max;
}

/* the distances become ids; false: they do not end where the block does */
static bool add_up(struct rag_cursor *cur)
{
	uint32_t *v = cur->doc, n = cur->n, any = 0, doc = cur->low;

	for (uint32_t i = 0; i < n; i++)
		any |= v[i];
	if (any >> 24) { /* their sum may not fit */
		uint64_t sum = 0;

		for (uint32_t i = 0; i < n; i++)
			sum += (uint64_t)v[i] + 1;
		if (sum - 1 > (uint64_t)cur->n_docs - cur->low)
			return false;
	}
	doc += v[0];
	v[0] = doc;
	for (uint32_t i = 1; i < n; i++) {
		doc += v[i] + 1;
		v[i] = doc;
	}
	/* a list of one block says its last document nowhere else */
	if (!cur->skip && doc < cur->n_docs && doc >= cur->low)
		cur->last = doc;
	return doc == cur->last;
}

bool rag_cursor_load(struct rag_cursor *cur)
{
	const uint8_t *from, *to;
	size_t start = 0, end = cur->len;

	if (cur->unpacked == cur->block)
		return true;
	if (cur->block >= cur->n_blocks)
		return false;
	if (cur->skip) {
		const uint8_t *p = cur->skip + (size_t)cur->block * RAG_SKIP_BYTES;

		if (cur->block)
			start = get32(p - RAG_SKIP_BYTES + 4);
		end = get32(p + 4);
	}
	if (start > end || end > cur->len)
		goto bad;
	from = cur->blocks + start;
	to = cur->blocks + end;
	if (!rag_bin_good(cur->bin, from, end - start))
		goto bad;
	cur->n = cur->block + 1 < cur->n_blocks ? RAG_BLOCK
						: cur->df - (cur->n_blocks - 1) * RAG_BLOCK;
	cur->pos = 0;
	cur->has_tf = false;
	cur->tf_at = rag_unpack(from, to, cur->n, cur->doc);
	if (!cur->tf_at || !add_up(cur))
		goto bad;
	cur->unpacked = cur->block;
	return true;
bad:
	damaged(cur);
	return false;
}

const uint8_t *rag_cursor_bytes(const struct rag_cursor *cur, size_t *len)
{
	size_t start = 0, end = cur->len;

	if (cur->skip) {
		const uint8_t *p = cur->skip + (size_t)cur->unpacked * RAG_SKIP_BYTES;

		if (cur->unpacked)
			start = get32(p - RAG_SKIP_BYTES + 4);
		end = get32(p + 4);
	}
	*len = end - start;
	return cur->blocks ? cur->blocks + start : NULL;
}

bool rag_cursor_load_tf(struct rag_cursor *cur)
{
	size_t end = cur->len;

	if (cur->has_tf)
		return true;
	if (cur->skip)
		end = get32(cur->skip + (size_t)cur->unpacked * RAG_SKIP_BYTES + 4);
	if (!rag_unpack(cur->tf_at, cur->blocks + end, cur->n, cur->tf)) {
		damaged(cur);
		return false;
	}
	for (uint32_t i = 0; i < cur->n; i++)
		cur->tf[i]++;
	cur->has_tf = true;
	return true;
}

uint32_t rag_cursor_seek(struct rag_cursor *cur, uint32_t doc)
{
	uint32_t pos, step;

	if (!rag_cursor_shallow(cur, doc) || !rag_cursor_load(cur))
		return RAG_NO_DOC;
	pos = cur->pos;
	if (cur->doc[pos] < doc) {
		if (cur->doc[cur->n - 1] < doc) /* a list of one block ends before ${doc} */
			return RAG_NO_DOC;
		for (step = RAG_BLOCK / 2; step; step /= 2)
			if (pos + step < cur->n && cur->doc[pos + step] < doc)
				pos += step;
		cur->pos = ++pos;
	}
	return cur->doc[pos];
}

uint32_t rag_cursor_tf(struct rag_cursor *cur)
{
	return rag_cursor_load_tf(cur) && cur->pos < cur->n ? cur->tf[cur->pos] : 0;
}
