/* keys - a rank for each term, sorted: its array index; or, above all these, 2^63 + its first
 * document
 * * 2^31 + how many words come before it there. */
#include "keys.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { AHEAD = 8 };

/* the number a key stands for among the array indices of JavaScript; false when it is an ordinary
 * key */
static bool array_index(const char *word, size_t len, uint64_t *out)
{
	uint64_t x = 0;

	if (len > 10 || (len > 1 && word[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		x = x * 10 + (uint64_t)(word[i] - '0');
	}
	*out = x;
	return x <= 4294967294;
}

static int first_doc(const struct rag_bin *bin, const struct rag_entry *en, uint32_t *doc)
{
	struct rag_cursor cur;

	if (en->df == 1) {
		*doc = en->only_doc;
		return 0;
	}
	rag_cursor_init(&cur, bin, en);
	*doc = rag_cursor_seek(&cur, 0);
	return cur.is_damaged || *doc == RAG_NO_DOC ? -EUCLEAN : 0;
}

int rag_keys_read(const struct rag_bin *bin, struct rag_keys *ks)
{
	const uint8_t *order = bin->section[RAG_ORDER], *end = order + bin->len[RAG_ORDER];
	size_t n = bin->header->n_terms;
	struct rag_dict_it it;
	int rc = rag_dict_seek(bin, "", 0, &it);

	ks->at = malloc((n + 1) * sizeof(*ks->at));
	ks->ranked = malloc((2 * n + 1) * sizeof(*ks->ranked));
	if (!ks->at || !ks->ranked)
		return -ENOMEM;
	while (rc == 0 && (rc = rag_dict_next(&it)) > 0) {
		struct rag_ranked *ranked = &ks->ranked[ks->n];
		uint64_t before;
		uint32_t doc;

		rc = 0;
		ks->at[ks->n] = (struct rag_key){
			.text = (uint32_t)ks->text.len, .len = (uint8_t)it.len, .entry = it.entry};
		order = rag_vbyte_get(order, end, INT32_MAX, &before);
		if (!order || first_doc(bin, &it.entry, &doc) < 0)
			rc = -EUCLEAN;
		else if (buf_add(&ks->text, it.word, it.len) < 0)
			rc = -ENOMEM;
		else if (!array_index(it.word, it.len, &ranked->rank))
			ranked->rank = 1ULL << 63 | (uint64_t)doc << 31 | before;
		ranked->item = ks->n++;
	}
	ks->order = rag_radix_sort(ks->ranked, ks->ranked + ks->n, ks->n);
	return rc;
}

void rag_keys_release(struct rag_keys *ks)
{
	free(ks->at);
	free(ks->ranked);
	buf_release(&ks->text);
}

const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i)
{
	if (i + 2 * AHEAD < ks->n)
		__builtin_prefetch(&ks->at[ks->order[i + 2 * AHEAD].item]);
	if (i + AHEAD < ks->n) {
		const struct rag_key *key = &ks->at[ks->order[i + AHEAD].item];

		__builtin_prefetch(ks->text.data + key->text);
		__builtin_prefetch(key->entry.data);
	}
	return &ks->at[ks->order[i].item];
}
