#include "table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pack.h"
#include "tokenize.h"

enum {
	FIRST_SLOTS = 1 << 14,
	FIRST_BYTES = 1 << 18,
	UNIT = 8,	   /* bytes of a unit of places */
	LINK_BYTES = 4,	   /* at the end of each piece of a chain: the place of the next */
	FIRST_PIECE = 16,  /* bytes of a chain's first piece; each next one is twice as long */
	LAST_PIECE = 1024, /* up to this */
	PAD = 8,	   /* bytes behind the folded text that hashing reads */
	PAIR_BYTES = 12,   /* of a pair, at most */
};

struct entry {
	uint32_t df, next_doc; /* the lowest document that may follow */
	uint32_t tf;	       /* in the document being made */
	uint32_t rank;	       /* words of its first document that come before it there */
	uint32_t head;	       /* first piece of its chain */
	uint32_t at;	       /* the next byte of the chain, in bytes from its piece */
	uint32_t piece;	       /* the last piece */
	uint16_t room;	       /* bytes of the last piece, link included */
	uint8_t len;
	uint8_t is_stop;
	char word[];
};

static struct entry *entry_at(const struct rag_table *tb, uint32_t place)
{
	return (struct entry *)(void *)(tb->entries + (size_t)place * UNIT);
}

static int grow(char **area, size_t *cap, size_t need)
{
	size_t want = *cap ? *cap : FIRST_BYTES;
	void *now;

	while (want < need)
		want += want / 2 / FIRST_BYTES * FIRST_BYTES + FIRST_BYTES;
	if (want > (size_t)(UINT32_MAX - 1) * UNIT)
		return -ENOMEM;
	now = *area ? mremap(*area, *cap, want, MREMAP_MAYMOVE)
		    : mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		return -ENOMEM;
	*area = now;
	*cap = want;
	return 0;
}

int rag_table_init(struct rag_table *tb)
{
	*tb = (struct rag_table){.n_slots = FIRST_SLOTS};
	tb->slots = calloc(tb->n_slots, sizeof(*tb->slots));
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
	free(tb->slots);
	free(tb->batch);
	buf_release(&tb->touched);
	buf_release(&tb->folded);
	*tb = (struct rag_table){0};
}

size_t rag_table_bytes(const struct rag_table *tb)
{
	return tb->n_slots * sizeof(*tb->slots) + tb->entries_len + tb->chains_len +
	       tb->touched.cap + tb->folded.cap;
}

/* of a word with PAD readable bytes behind it */
static uint32_t hash_of(const char *word, size_t len)
{
	uint64_t h = len * 0x9e3779b97f4a7c15, x;

	for (; len > 8; len -= 8, word += 8) {
		memcpy(&x, word, sizeof(x));
		h = (h ^ x) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	memcpy(&x, word, sizeof(x));
	x &= UINT64_MAX >> (8 - len) * 8;
	h = (h ^ x) * 0xff51afd7ed558ccd;
	h ^= h >> 29;
	return (uint32_t)((h * 0xc4ceb9fe1a85ec53) >> 32);
}

static int slots_grow(struct rag_table *tb)
{
	size_t n = tb->n_slots * 2;
	uint64_t *slots = calloc(n, sizeof(*slots));

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
	free(tb->slots);
	tb->slots = slots;
	tb->n_slots = n;
	return 0;
}

static int add_entry(struct rag_table *tb, size_t slot, uint32_t hash, const char *word, size_t len,
	bool is_text)
{
	size_t bytes = (sizeof(struct entry) + len + UNIT - 1) / UNIT * UNIT;
	uint32_t place = (uint32_t)(tb->entries_len / UNIT);
	struct entry *en;

	if (tb->entries_len + bytes > tb->entries_cap &&
		grow(&tb->entries, &tb->entries_cap, tb->entries_len + bytes) < 0)
		return -ENOMEM;
	en = entry_at(tb, place);
	memset(en, 0, sizeof(*en));
	en->len = (uint8_t)len;
	en->is_stop = is_text && rag_is_stop_word(word, len);
	memcpy(en->word, word, len);
	tb->entries_len += bytes;
	tb->slots[slot] = (uint64_t)hash << 32 | (place + 1);
	tb->n_terms++;
	return tb->n_terms * 2 > tb->n_slots ? slots_grow(tb) : 0;
}

/* ${n} more of a word */
static int count(
	struct rag_table *tb, uint32_t hash, const char *word, size_t len, uint32_t n, bool is_text)
{
	size_t mask = tb->n_slots - 1, slot = hash & mask;
	struct entry *en;
	uint32_t place;

	for (;; slot = (slot + 1) & mask) {
		uint64_t x = tb->slots[slot];

		if (!x) {
			place = (uint32_t)(tb->entries_len / UNIT);
			if (add_entry(tb, slot, hash, word, len, is_text) < 0)
				return -ENOMEM;
			en = entry_at(tb, place);
			break;
		}
		if ((uint32_t)(x >> 32) != hash)
			continue;
		place = (uint32_t)x - 1;
		en = entry_at(tb, place);
		if (en->len == len && memcmp(en->word, word, len) == 0)
			break;
	}
	if (en->is_stop)
		return 0;
	tb->words += n;
	if (en->tf == 0 && buf_add(&tb->touched, &place, sizeof(place)) < 0)
		return -ENOMEM;
	en->tf = en->tf > UINT32_MAX - n ? UINT32_MAX : en->tf + n;
	return 0;
}

static int count_batch(struct rag_table *tb)
{
	size_t mask = tb->n_slots - 1;

	for (size_t i = 0; i < tb->n_batch; i++) {
		struct rag_table_word *w = &tb->batch[i];
		uint64_t x = tb->slots[w->hash & mask];

		if (x)
			__builtin_prefetch(tb->entries + (size_t)((uint32_t)x - 1) * UNIT, 1);
	}
	for (size_t i = 0; i < tb->n_batch; i++) {
		struct rag_table_word *w = &tb->batch[i];

		if (count(tb, w->hash, tb->folded.data + w->at, w->len, 1, true) < 0)
			return -ENOMEM;
	}
	tb->n_batch = 0;
	return 0;
}

/* what a byte is in a word: itself in lower case; 0: it separates; 1: look closer */
static void fill_kinds(unsigned char kinds[256])
{
	memset(kinds, 0, 256);
	for (int c = 0; c < 128; c++) {
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-')
			kinds[c] = (unsigned char)c;
		else if (c >= 'A' && c <= 'Z')
			kinds[c] = (unsigned char)(c | 0x20);
	}
	kinds[0xc4] = kinds[0xe2] = 1; /* U+0130 becomes i and a separator, U+212A becomes k */
}

static int add_word(struct rag_table *tb, size_t at, size_t len)
{
	struct rag_table_word *w = &tb->batch[tb->n_batch];

	w->at = (uint32_t)at;
	w->len = (uint8_t)len;
	w->hash = hash_of(tb->folded.data + at, len);
	__builtin_prefetch(&tb->slots[w->hash & (tb->n_slots - 1)]);
	return ++tb->n_batch == RAG_BATCH_WORDS ? count_batch(tb) : 0;
}

int rag_table_text(struct rag_table *tb, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	unsigned char kinds[256];
	size_t n = 0, from = 0;
	char *out;

	if (len >= UINT32_MAX - PAD)
		return -ENOMEM;
	fill_kinds(kinds);
	buf_reset(&tb->folded);
	if (buf_reserve(&tb->folded, len + PAD + 1) < 0)
		return -ENOMEM;
	out = tb->folded.data;
	for (; p <= end; p++) {
		unsigned char c = p < end ? kinds[*p] : 0;
		bool closes = false;

		if (c == 1) {
			c = 0;
			if (*p == 0xc4 && end - p > 1 && p[1] == 0xb0) {
				p++;
				c = 'i';
				closes = true;
			} else if (*p == 0xe2 && end - p > 2 && p[1] == 0x84 && p[2] == 0xaa) {
				p += 2;
				c = 'k';
			}
		}
		if (c)
			out[n++] = (char)c;
		if (c && !closes)
			continue;
		if (n - from >= RAG_WORD_MIN && n - from <= RAG_WORD_MAX &&
			add_word(tb, from, n - from) < 0)
			return -ENOMEM;
		from = n;
	}
	return count_batch(tb);
}

int rag_table_term(struct rag_table *tb, const char *word, size_t len, uint32_t n)
{
	char padded[256 + PAD];

	if (len == 0 || len > 255)
		return 0;
	memcpy(padded, word, len);
	memset(padded + len, 0, PAD);
	return count(tb, hash_of(padded, len), word, len, n, false);
}

uint32_t rag_table_words(const struct rag_table *tb)
{
	return tb->words;
}

static uint32_t piece_new(struct rag_table *tb, size_t bytes)
{
	uint32_t place = (uint32_t)(tb->chains_len / UNIT);

	if (tb->chains_len + bytes > tb->chains_cap &&
		grow(&tb->chains, &tb->chains_cap, tb->chains_len + bytes) < 0)
		return UINT32_MAX;
	tb->chains_len += bytes;
	return place;
}

static int put_bytes(struct rag_table *tb, struct entry *en, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (en->room == 0 || en->at + LINK_BYTES == en->room) {
			uint32_t room = en->room == 0		? FIRST_PIECE
					: en->room < LAST_PIECE ? en->room * 2U
								: LAST_PIECE;
			uint32_t next = piece_new(tb, room);

			if (next == UINT32_MAX)
				return -ENOMEM;
			if (en->room == 0)
				en->head = next;
			else
				memcpy(tb->chains + (size_t)en->piece * UNIT + en->room -
						LINK_BYTES,
					&next, LINK_BYTES);
			en->piece = next;
			en->room = (uint16_t)room;
			en->at = 0;
		}
		tb->chains[(size_t)en->piece * UNIT + en->at++] = (char)data[i];
	}
	return 0;
}

static int put_pair(struct rag_table *tb, struct entry *en, uint32_t doc)
{
	uint8_t bytes[PAIR_BYTES];
	size_t n = rag_vbyte_put(bytes, (uint64_t)(doc - en->next_doc) << 1 | (en->tf == 1));

	if (en->tf != 1)
		n += rag_vbyte_put(bytes + n, en->tf - 2);
	en->next_doc = doc + 1;
	en->df++;
	en->tf = 0;
	return put_bytes(tb, en, bytes, n);
}

int rag_table_end(struct rag_table *tb, uint32_t doc)
{
	const uint32_t *touched = (const uint32_t *)(const void *)tb->touched.data;
	size_t n = tb->touched.len / sizeof(*touched);

	for (size_t i = 0; i < n; i++) {
		struct entry *en = entry_at(tb, touched[i]);

		if (i + 8 < n)
			__builtin_prefetch(
				tb->chains + (size_t)entry_at(tb, touched[i + 8])->piece * UNIT);
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
		entry_at(tb, touched[i])->tf = 0;
	tb->words = 0;
	buf_reset(&tb->touched);
}

/* ---- in order ---- */

struct sorted {
	uint64_t prefix; /* the first 8 bytes, big-endian */
	const struct entry *en;
};

static int sorted_compare(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	size_t n;
	int order;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	n = x->en->len < y->en->len ? x->en->len : y->en->len;
	order = memcmp(x->en->word, y->en->word, n);
	return order ? order : (int)x->en->len - (int)y->en->len;
}

static struct sorted *sort(const struct rag_table *tb, size_t *n_out)
{
	struct sorted *all = malloc((tb->n_terms + 1) * sizeof(*all));
	size_t n = 0, at = 0;

	while (all && at < tb->entries_len) {
		const struct entry *en = entry_at(tb, (uint32_t)(at / UNIT));

		if (en->df) {
			uint64_t x = 0;

			memcpy(&x, en->word, en->len < 8 ? en->len : 8);
			all[n++] = (struct sorted){__builtin_bswap64(x), en};
		}
		at += (sizeof(*en) + en->len + UNIT - 1) / UNIT * UNIT;
	}
	if (n)
		qsort(all, n, sizeof(*all), sorted_compare);
	*n_out = n;
	return all;
}

/* the bytes of a chain */
static int chain_copy(const struct rag_table *tb, const struct entry *en, struct buf *out)
{
	size_t room = FIRST_PIECE;

	buf_reset(out);
	for (uint32_t piece = en->head;; room = room < LAST_PIECE ? room * 2 : LAST_PIECE) {
		const char *p = tb->chains + (size_t)piece * UNIT;
		bool is_last = piece == en->piece;

		if (buf_add(out, p, is_last ? en->at : room - LINK_BYTES) < 0)
			return -ENOMEM;
		if (is_last)
			return 0;
		memcpy(&piece, p + room - LINK_BYTES, LINK_BYTES);
	}
}

static int put_term(const struct rag_table *tb, const struct entry *en, struct buf *chain,
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

int rag_table_spill(struct rag_table *tb, struct rag_spool *out, struct err *err)
{
	struct buf chain = BUF_INIT;
	size_t n;
	struct sorted *all = sort(tb, &n);
	int rc = all ? 0 : err_nomem(err);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = put_term(tb, all[i].en, &chain, out, err);
	free(all);
	buf_release(&chain);
	memset(tb->slots, 0, tb->n_slots * sizeof(*tb->slots));
	tb->n_terms = tb->entries_len = tb->chains_len = 0;
	return rc;
}
