/* dict - terms looked up and walked in index.bin: a search among the heads, then along sixteen
 * names, each told by what it does not share with the one before. */
#include <errno.h>
#include <string.h>

#include "bin.h"

static uint64_t prefix_of(const char *word, size_t len)
{
	unsigned char bytes[8] = {0};
	uint64_t x;

	memcpy(bytes, word, len < sizeof(bytes) ? len : sizeof(bytes));
	memcpy(&x, bytes, sizeof(x));
	return __builtin_bswap64(x);
}

static int compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* where the first term of a head stands: 0 or -EUCLEAN */
static int head_term(const struct rag_bin *bin, size_t i, const uint8_t **word, size_t *len)
{
	const struct rag_bin_head *h = &bin->heads[i];
	const uint8_t *p;

	if (h->dict > bin->len[RAG_DICT] || bin->len[RAG_DICT] - h->dict < 2)
		return -EUCLEAN;
	p = bin->section[RAG_DICT] + h->dict;
	if (!rag_bin_good(bin, p, 2) || p[0] != 0 || p[1] > bin->len[RAG_DICT] - h->dict - 2 ||
		!rag_bin_good(bin, p, 2 + (size_t)p[1]))
		return -EUCLEAN;
	*word = p + 2;
	*len = p[1];
	return 0;
}

/* the last head whose first term is not above the word (or 0) */
static int find_head(const struct rag_bin *bin, const char *word, size_t len, size_t *out)
{
	uint64_t prefix = prefix_of(word, len);
	size_t low = 0, high = bin->n_heads; /* heads below ${low} are not above the word */

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct rag_bin_head *h = &bin->heads[mid];
		bool is_above;

		if (!rag_bin_good(bin, h, sizeof(*h)))
			return -EUCLEAN;
		is_above = h->prefix > prefix;
		if (h->prefix == prefix) {
			const uint8_t *first;
			size_t first_len;

			if (head_term(bin, mid, &first, &first_len) < 0)
				return -EUCLEAN;
			is_above = compare(first, first_len, word, len) > 0;
		}
		if (is_above)
			high = mid;
		else
			low = mid + 1;
	}
	*out = low ? low - 1 : 0;
	return 0;
}

static const uint8_t *get16(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
	uint16_t x;

	if (!p || end - p < 2)
		return NULL;
	memcpy(&x, p, sizeof(x));
	*out = x;
	return p + 2;
}

/* what stands behind a name; ${at} is the place of its list */
static const uint8_t *get_entry(const struct rag_bin *bin, const uint8_t *p, const uint8_t *end,
	uint64_t *at, struct rag_entry *out)
{
	uint64_t df, x, room = bin->len[RAG_POST] - RAG_POST_SLACK, n_docs = bin->header->n_docs;

	*out = (struct rag_entry){0};
	p = rag_vbyte_get(p, end, n_docs, &df);
	if (!p || df == 0)
		return NULL;
	out->df = (uint32_t)df;
	if (df == 1) {
		p = rag_vbyte_get(p, end, n_docs - 1, &x);
		out->only_doc = p ? (uint32_t)x : 0;
		p = p ? rag_vbyte_get(p, end, UINT32_MAX, &x) : NULL;
		out->only_tf = p ? (uint32_t)x : 0;
		out->max = RAG_MAX_STEPS;
		return p && x > 0 ? p : NULL;
	}
	p = rag_vbyte_get(p, end, room, &x);
	if (!p || *at > room || x > room - *at)
		return NULL;
	out->data = bin->section[RAG_POST] + *at;
	out->len = (size_t)x;
	*at += x;
	p = get16(p, end, &out->max);
	if (df >= 10)
		p = get16(p, end, &out->tenth);
	if (df >= 100)
		p = get16(p, end, &out->hundredth);
	return p;
}

/* the term at it->at; false: damaged */
static bool read_term(struct rag_dict_it *it)
{
	const struct rag_bin *bin = it->bin;
	const uint8_t *end = bin->section[RAG_DICT] + bin->len[RAG_DICT], *p = it->at;
	size_t shared, own;

	if (end - p < 2 || !rag_bin_good(bin, p, 2))
		return false;
	shared = p[0];
	own = p[1];
	p += 2;
	if (shared > it->len || shared + own > RAG_MODE_TERM_BYTES || (size_t)(end - p) < own)
		return false;
	/* with what follows the name: at most 32 bytes */
	if (!rag_bin_good(bin, p, (size_t)(end - p) < own + 32 ? (size_t)(end - p) : own + 32))
		return false;
	memcpy(it->word + shared, p, own);
	it->len = shared + own;
	it->word[it->len] = '\0';
	it->at = get_entry(bin, p + own, end, &it->post, &it->entry);
	return it->at != NULL;
}

static int enter_head(struct rag_dict_it *it)
{
	const struct rag_bin *bin = it->bin;
	const struct rag_bin_head *h = &bin->heads[it->head];

	if (!rag_bin_good(bin, h, sizeof(*h)) || h->dict > bin->len[RAG_DICT])
		return -EUCLEAN;
	it->at = bin->section[RAG_DICT] + h->dict;
	it->post = h->post;
	it->len = 0;
	it->in_head = 0;
	return 0;
}

int rag_dict_next(struct rag_dict_it *it)
{
	const struct rag_bin *bin = it->bin;

	if (it->head * RAG_HEAD_TERMS + it->in_head >= bin->header->n_terms)
		return 0;
	if (it->in_head == RAG_HEAD_TERMS) {
		it->head++;
		if (enter_head(it) < 0)
			return -EUCLEAN;
	}
	if (!read_term(it))
		return -EUCLEAN;
	it->in_head++;
	return 1;
}

int rag_dict_seek(const struct rag_bin *bin, const char *word, size_t len, struct rag_dict_it *it)
{
	*it = (struct rag_dict_it){.bin = bin};
	if (bin->n_heads == 0)
		return 0;
	if (find_head(bin, word, len, &it->head) < 0 || enter_head(it) < 0)
		return -EUCLEAN;
	for (;;) {
		struct rag_dict_it before = *it;
		int rc = rag_dict_next(it);

		if (rc <= 0)
			return rc;
		if (compare(it->word, it->len, word, len) >= 0) {
			*it = before;
			return 0;
		}
	}
}

int rag_bin_find(const struct rag_bin *bin, const char *word, size_t len, struct rag_entry *out)
{
	struct rag_dict_it it;
	size_t in_head = 0, n;

	it.bin = bin;
	if (bin->n_heads == 0 || len > RAG_MODE_TERM_BYTES)
		return 0;
	if (find_head(bin, word, len, &it.head) < 0 || enter_head(&it) < 0)
		return -EUCLEAN;
	n = bin->header->n_terms - it.head * RAG_HEAD_TERMS;
	for (; in_head < RAG_HEAD_TERMS && in_head < n; in_head++) {
		int order;

		if (!read_term(&it))
			return -EUCLEAN;
		order = compare(it.word, it.len, word, len);
		if (order == 0) {
			*out = it.entry;
			return 1;
		}
		if (order > 0)
			return 0;
	}
	return 0;
}
