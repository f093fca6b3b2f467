#include "terms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "post.h"
#include "tokenize.h"

enum { FIRST_SLOTS = 1024, FIRST_POST_BYTES = 8 };

void rag_terms_release(struct rag_terms *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		free(ts->at[i].post);
	free(ts->at);
	free(ts->slots);
	free(ts->touched);
	buf_release(&ts->text);
	*ts = RAG_TERMS_INIT;
}

const char *rag_terms_text(const struct rag_terms *ts, size_t index)
{
	return ts->text.data + ts->at[index].text;
}

static size_t slot_of(const struct rag_terms *ts, const char *word, size_t len)
{
	size_t mask = ts->n_slots - 1, slot = (size_t)XXH3_64bits(word, len) & mask;

	for (; ts->slots[slot]; slot = (slot + 1) & mask) {
		const struct rag_term *t = &ts->at[ts->slots[slot] - 1];

		if (t->len == len && memcmp(ts->text.data + t->text, word, len) == 0)
			break;
	}
	return slot;
}

static int slots_grow(struct rag_terms *ts)
{
	size_t n = ts->n_slots ? ts->n_slots * 2 : FIRST_SLOTS;
	uint32_t *old = ts->slots, *slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	ts->slots = slots;
	ts->n_slots = n;
	for (size_t i = 0; i < ts->n; i++)
		slots[slot_of(ts, rag_terms_text(ts, i), ts->at[i].len)] = (uint32_t)i + 1;
	free(old);
	return 0;
}

int rag_terms_add(struct rag_terms *ts, const char *word, size_t len, uint32_t *index)
{
	size_t slot;

	if (ts->n * 3 >= ts->n_slots * 2 && slots_grow(ts) < 0)
		return -ENOMEM;
	slot = slot_of(ts, word, len);
	if (ts->slots[slot]) {
		*index = ts->slots[slot] - 1;
		return 0;
	}
	if (ts->n == ts->cap) {
		size_t cap = ts->cap ? ts->cap * 2 : FIRST_SLOTS;
		struct rag_term *at;

		if (cap >= UINT32_MAX || !(at = realloc(ts->at, cap * sizeof(*at))))
			return -ENOMEM;
		ts->at = at;
		ts->cap = cap;
	}
	ts->at[ts->n] = (struct rag_term){.text = ts->text.len, .len = (uint8_t)len};
	if (buf_add(&ts->text, word, len) < 0)
		return -ENOMEM;
	*index = (uint32_t)ts->n++;
	ts->slots[slot] = *index + 1;
	return 1;
}

int rag_terms_append(struct rag_terms *ts, uint32_t index, uint32_t doc, uint32_t tf)
{
	struct rag_term *t = &ts->at[index];

	if (t->post_cap - t->post_len < RAG_PAIR_BYTES) {
		uint32_t cap = t->post_cap ? t->post_cap + t->post_cap / 2 + RAG_PAIR_BYTES
					   : FIRST_POST_BYTES + RAG_PAIR_BYTES;
		uint8_t *post = realloc(t->post, cap);

		if (!post)
			return -ENOMEM;
		ts->post_bytes += cap - t->post_cap;
		t->post = post;
		t->post_cap = cap;
	}
	t->post_len += (uint32_t)rag_post_put(t->post + t->post_len, doc - t->next, tf);
	t->next = doc + 1;
	t->df++;
	return 0;
}

static int touch(struct rag_terms *ts, uint32_t index)
{
	if (ts->n_touched == ts->cap_touched) {
		size_t cap = ts->cap_touched ? ts->cap_touched * 2 : FIRST_SLOTS;
		uint32_t *touched = realloc(ts->touched, cap * sizeof(*touched));

		if (!touched)
			return -ENOMEM;
		ts->touched = touched;
		ts->cap_touched = cap;
	}
	ts->touched[ts->n_touched++] = index;
	return 0;
}

int rag_terms_count(
	struct rag_terms *ts, const char *text, size_t len, uint32_t doc, uint32_t *words)
{
	struct rag_words ws;
	uint32_t index;

	*words = 0;
	ts->n_touched = 0;
	rag_words_init(&ws, text, len);
	while (rag_words_next(&ws)) {
		if (rag_terms_add(ts, ws.word, ws.word_len, &index) < 0)
			return -ENOMEM;
		if (ts->at[index].tf++ == 0 && touch(ts, index) < 0)
			return -ENOMEM;
		++*words;
	}
	for (size_t i = 0; i < ts->n_touched; i++) {
		index = ts->touched[i];
		if (ts->at[index].df == 0)
			ts->at[index].rank = (uint32_t)i;
		if (rag_terms_append(ts, index, doc, ts->at[index].tf) < 0)
			return -ENOMEM;
		ts->at[index].tf = 0;
	}
	return 0;
}

size_t rag_terms_bytes(const struct rag_terms *ts)
{
	return ts->cap * sizeof(*ts->at) + ts->n_slots * sizeof(*ts->slots) + ts->text.cap +
	       ts->post_bytes + ts->n * 16;
}
