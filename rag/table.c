#include "table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pack.h"
#include "radix.h"
#include "table_entry.h"
#include "tokenize.h"

enum {
	FIRST_SLOTS = 1 << 14,
	FIRST_BYTES = 1 << 18,
	PAIR_BYTES = 12,      /* of a pair, at most */
	HUGE_BYTES = 4 << 20, /* from here on large pages are asked for */
};

static int grow(char **area, size_t *cap, size_t need)
{
	size_t want = *cap ? *cap : FIRST_BYTES;
	void *now;

	while (want < need)
		want += want / 2 / FIRST_BYTES * FIRST_BYTES + FIRST_BYTES;
	if (want > (size_t)(UINT32_MAX - 1) * RAG_TABLE_UNIT)
		return -ENOMEM;
	now = *area ? mremap(*area, *cap, want, MREMAP_MAYMOVE)
		    : mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		return -ENOMEM;
	*area = now;
	*cap = want;
	if (want >= HUGE_BYTES)
		madvise(now, want, MADV_HUGEPAGE);
	return 0;
}

/* ${n} empty slots, or NULL */
static uint64_t *slots_new(size_t n)
{
	size_t bytes = n * sizeof(uint64_t);
	void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return NULL;
	if (bytes >= HUGE_BYTES)
		madvise(area, bytes, MADV_HUGEPAGE);
	return area;
}

int rag_table_init(struct rag_table *tb)
{
	*tb = (struct rag_table){.n_slots = FIRST_SLOTS};
	tb->slots = slots_new(tb->n_slots);
	tb->batch = malloc(RAG_BATCH_WORDS * sizeof(*tb->batch));
	if (!tb->slots || !tb->batch || grow(&tb->entries, &tb->entries_cap, FIRST_BYTES) < 0 ||
		grow(&tb->chains, &tb->chains_cap, FIRST_BYTES) < 0)
		return -ENOMEM;
	return 0;
}

void rag_table_release(struct rag_table *tb)
{
	if (tb->entries)
		munmap(tb->entries, tb->entries_cap);
	if (tb->chains)
		munmap(tb->chains, tb->chains_cap);
	if (tb->slots)
		munmap(tb->slots, tb->n_slots * sizeof(*tb->slots));
	free(tb->batch);
	buf_release(&tb->touched);
	rag_marks_release(&tb->marks);
	*tb = (struct rag_table){0};
}

size_t rag_table_bytes(const struct rag_table *tb)
{
	return tb->n_slots * sizeof(*tb->slots) + tb->entries_len + tb->chains_len +
	       tb->touched.cap + rag_marks_bytes(&tb->marks) +
	       tb->n_terms * 2 * sizeof(struct rag_ranked);
}

/* the first ${len} bytes at ${p}, zeros behind; 8 can be read */
static uint64_t start_of(const char *p, size_t len)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return len >= 8 ? x : len ? x & UINT64_MAX >> (8 - len) * 8 : 0;
}

/* of a word with RAG_MARKS_PAD readable bytes behind it, and its start */
static uint32_t hash_of(const char *word, size_t len, uint64_t start)
{
	uint64_t h = (start ^ len * 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd;

	h ^= h >> 32;
	for (size_t at = 8; at < len; at += 8) {
		h = (h ^ start_of(word + at, len - at)) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	return (uint32_t)((h * 0xc4ceb9fe1a85ec53) >> 32);
}

static int slots_grow(struct rag_table *tb)
{
	size_t n = tb->n_slots * 2;
	uint64_t *slots = slots_new(n);

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < tb->n_slots; i++) {
		size_t slot = (size_t)(tb->slots[i] >> 32) & (n - 1);

		if (!tb->slots[i])
			continue;
		while (slots[slot])
			slot = (slot + 1) & (n - 1);
		slots[slot] = tb->slots[i];
	}
	munmap(tb->slots, tb->n_slots * sizeof(*tb->slots));
	tb->slots = slots;
	tb->n_slots = n;
	return 0;
}

static int add_entry(struct rag_table *tb, size_t slot, uint32_t hash, const char *word, size_t len,
	bool is_text)
{
	size_t bytes = (sizeof(struct rag_table_entry) + len + RAG_TABLE_UNIT - 1) /
		       RAG_TABLE_UNIT * RAG_TABLE_UNIT;
	uint32_t place = (uint32_t)(tb->entries_len / RAG_TABLE_UNIT);
	struct rag_table_entry *en;

	if (tb->entries_len + bytes > tb->entries_cap &&
		grow(&tb->entries, &tb->entries_cap, tb->entries_len + bytes) < 0)
		return -ENOMEM;
	en = rag_entry_at(tb, place);
	memset(en, 0, bytes);
	en->len = (uint8_t)len;
	en->is_stop = is_text && rag_is_stop_word(word, len);
	memcpy(en->word, word, len);
	tb->entries_len += bytes;
	tb->slots[slot] = (uint64_t)hash << 32 | (place + 1);
	tb->n_terms++;
	return tb->n_terms * 2 > tb->n_slots ? slots_grow(tb) : 0;
}

/* the entry of a word, a new one if there is none; NULL: no memory */
static inline struct rag_table_entry *find(
	struct rag_table *tb, const struct rag_table_word *w, const char *word, bool is_text)
{
	size_t mask = tb->n_slots - 1, slot = w->hash & mask;

	for (;; slot = (slot + 1) & mask) {
		uint64_t x = tb->slots[slot];
		struct rag_table_entry *en;

		if (!x) {
			uint32_t place = (uint32_t)(tb->entries_len / RAG_TABLE_UNIT);

			return add_entry(tb, slot, w->hash, word, w->len, is_text) < 0
				       ? NULL
				       : rag_entry_at(tb, place);
		}
		if ((uint32_t)(x >> 32) != w->hash)
			continue;
		en = rag_entry_at(tb, (uint32_t)x - 1);
		if (en->len == w->len && memcmp(en->word, &w->start, sizeof(w->start)) == 0 &&
			(w->len <= 8 || memcmp(en->word + 8, word + 8, w->len - 8U) == 0))
			return en;
	}
}

/* ${n} more of a word. There is room in tb->touched */
static inline int count(struct rag_table *tb, const struct rag_table_word *w, const char *word,
	uint32_t n, bool is_text)
{
	struct rag_table_entry *en = find(tb, w, word, is_text);
	uint32_t place;

	if (!en)
		return -ENOMEM;
	if (en->is_stop)
		return 0;
	tb->words += n;
	place = (uint32_t)(((char *)en - tb->entries) / RAG_TABLE_UNIT);
	if (en->tf == 0) {
		memcpy(tb->touched.data + tb->touched.len, &place, sizeof(place));
		tb->touched.len += sizeof(place);
	}
	en->tf = en->tf > UINT32_MAX - n ? UINT32_MAX : en->tf + n;
	return 0;
}

static int count_batch(struct rag_table *tb)
{
	size_t mask = tb->n_slots - 1;

	if (buf_reserve(&tb->touched, tb->n_batch * sizeof(uint32_t) + 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < tb->n_batch; i++) {
		uint64_t x = tb->slots[tb->batch[i].hash & mask];
		const char *en = tb->entries + (size_t)((uint32_t)x - 1) * RAG_TABLE_UNIT;

		if (x) {
			__builtin_prefetch(en, 1);
			__builtin_prefetch(en + offsetof(struct rag_table_entry, word), 1);
		}
	}
	for (size_t i = 0; i < tb->n_batch; i++) {
		const struct rag_table_word *w = &tb->batch[i];

		if (count(tb, w, tb->marks.text.data + w->at, 1, true) < 0)
			return -ENOMEM;
	}
	tb->n_batch = 0;
	return 0;
}

static inline int add_word(struct rag_table *tb, size_t at, size_t len)
{
	struct rag_table_word *w = &tb->batch[tb->n_batch];

	w->at = (uint32_t)at;
	w->len = (uint8_t)len;
	w->start = start_of(tb->marks.text.data + at, len);
	w->hash = hash_of(tb->marks.text.data + at, len, w->start);
	__builtin_prefetch(&tb->slots[w->hash & (tb->n_slots - 1)]);
	return ++tb->n_batch == RAG_BATCH_WORDS ? count_batch(tb) : 0;
}

static bool is_word(size_t len)
{
	return len >= RAG_WORD_MIN && len <= RAG_WORD_MAX;
}

/* the words between the edges of the marks */
static int cut(struct rag_table *tb)
{
	const uint64_t *marks = rag_marks_at(&tb->marks);
	uint64_t before = 0; /* the last bit of the marks before */
	size_t from = 0;

	for (size_t i = 0; i < tb->marks.n; i++) {
		uint64_t shifted = marks[i] << 1 | before, edges = marks[i] ^ shifted;

		for (; edges; edges &= edges - 1) {
			size_t at = i * RAG_MARKS + (size_t)__builtin_ctzll(edges);

			if (marks[i] & (edges & -edges))
				from = at;
			else if (is_word(at - from) && add_word(tb, from, at - from) < 0)
				return -ENOMEM;
		}
		before = marks[i] >> (RAG_MARKS - 1);
	}
	return 0;
}

int rag_table_text(struct rag_table *tb, const char *text, size_t len)
{
	if (rag_marks_make(&tb->marks, text, len) < 0 || cut(tb) < 0)
		return -ENOMEM;
	return count_batch(tb);
}

int rag_table_term(struct rag_table *tb, const char *word, size_t len, uint32_t n)
{
	struct rag_table_word w = {.len = (uint8_t)len};
	char padded[256 + RAG_MARKS_PAD];

	if (len == 0 || len > 255)
		return 0;
	if (buf_reserve(&tb->touched, sizeof(uint32_t) + 1) < 0)
		return -ENOMEM;
	memcpy(padded, word, len);
	memset(padded + len, 0, RAG_MARKS_PAD);
	w.start = start_of(padded, len);
	w.hash = hash_of(padded, len, w.start);
	return count(tb, &w, padded, n, false);
}

uint32_t rag_table_words(const struct rag_table *tb)
{
	return tb->words;
}

static uint32_t piece_new(struct rag_table *tb, size_t bytes)
{
	uint32_t place = (uint32_t)(tb->chains_len / RAG_TABLE_UNIT);

	if (tb->chains_len + bytes > tb->chains_cap &&
		grow(&tb->chains, &tb->chains_cap, tb->chains_len + bytes) < 0)
		return UINT32_MAX;
	tb->chains_len += bytes;
	return place;
}

static int put_bytes(
	struct rag_table *tb, struct rag_table_entry *en, const uint8_t *data, size_t len)
{
	if (en->at + len + RAG_LINK_BYTES <= en->room) {
		memcpy(tb->chains + (size_t)en->piece * RAG_TABLE_UNIT + en->at, data, len);
		en->at += (uint32_t)len;
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		if (en->room == 0 || en->at + RAG_LINK_BYTES == en->room) {
			uint32_t room = en->room == 0		    ? RAG_FIRST_PIECE
					: en->room < RAG_LAST_PIECE ? en->room * 2U
								    : RAG_LAST_PIECE;
			uint32_t next = piece_new(tb, room);

			if (next == UINT32_MAX)
				return -ENOMEM;
			if (en->room == 0)
				en->head = next;
			else
				memcpy(tb->chains + (size_t)en->piece * RAG_TABLE_UNIT + en->room -
						RAG_LINK_BYTES,
					&next, RAG_LINK_BYTES);
			en->piece = next;
			en->room = (uint16_t)room;
			en->at = 0;
		}
		tb->chains[(size_t)en->piece * RAG_TABLE_UNIT + en->at++] = (char)data[i];
	}
	return 0;
}

static int put_pair(struct rag_table *tb, struct rag_table_entry *en, uint32_t doc)
{
	uint8_t bytes[PAIR_BYTES];
	size_t n = rag_vbyte_put(bytes, (uint64_t)(doc - en->next_doc) << 1 | (en->tf == 1));

	if (en->tf != 1)
		n += rag_vbyte_put(bytes + n, en->tf - 2);
	en->next_doc = doc + 1;
	en->df++;
	tb->n_pairs++;
	en->tf = 0;
	return put_bytes(tb, en, bytes, n);
}

int rag_table_end(struct rag_table *tb, uint32_t doc)
{
	const uint32_t *touched = (const uint32_t *)(const void *)tb->touched.data;
	size_t n = tb->touched.len / sizeof(*touched);

	for (size_t i = 0; i < n; i++) {
		struct rag_table_entry *en = rag_entry_at(tb, touched[i]);

		if (i + 8 < n)
			__builtin_prefetch(
				tb->chains +
				(size_t)rag_entry_at(tb, touched[i + 8])->piece * RAG_TABLE_UNIT);
		if (en->df == 0)
			en->rank = (uint32_t)i;
		if (put_pair(tb, en, doc) < 0)
			return -ENOMEM;
	}
	tb->words = 0;
	buf_reset(&tb->touched);
	return 0;
}

void rag_table_drop(struct rag_table *tb)
{
	const uint32_t *touched = (const uint32_t *)(const void *)tb->touched.data;

	for (size_t i = 0; i < tb->touched.len / sizeof(*touched); i++)
		rag_entry_at(tb, touched[i])->tf = 0;
	tb->words = 0;
	buf_reset(&tb->touched);
}
