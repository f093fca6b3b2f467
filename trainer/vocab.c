#include "trainer/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct tokenizer *vocab_new(int n)
{
	struct tokenizer *tk = calloc(1, sizeof(*tk));

	if (!tk)
		return NULL;
	tk->n = n;
	tk->bos = tk->eos = tk->unknown = -1;
	for (int i = 0; i < 256; i++)
		tk->byte_id[i] = -1;
	tk->token = calloc((size_t)n + 1, sizeof(tk->token[0]));
	if (!tk->token) {
		free(tk);
		return NULL;
	}
	return tk;
}

/*
 * GPT-2's alphabet: a byte that prints in Latin-1 stands for itself, the 68 others are U+0100 and
 * up in order of their values. The byte of code point ${c}, or -1.
 */
static int alphabet_byte(unsigned c)
{
	if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad))
		return (int)c;
	if (c >= 0x100 && c <= 0x120)
		return (int)(c - 0x100);
	if (c >= 0x121 && c <= 0x142)
		return (int)(0x7f + (c - 0x121));
	return c == 0x143 ? 0xad : -1;
}

/* text in the alphabet to bytes; false (and nothing added) when a character is not of the alphabet
 */
static bool alphabet_decode(const char *text, size_t len, struct buf *out)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t before = out->len;

	for (size_t i = 0; i < len;) {
		unsigned c = s[i];
		int byte;

		if (c >= 0x80) {
			if ((c & 0xe0) != 0xc0 || i + 1 >= len || (s[i + 1] & 0xc0) != 0x80)
				break;
			c = (c & 0x1f) << 6 | (s[i + 1] & 0x3f);
			i++;
		}
		i++;
		byte = alphabet_byte(c);
		if (byte < 0) {
			out->len = before;
			return false;
		}
		buf_putc(out, (char)byte);
		if (i == len)
			return true;
	}
	out->len = before;
	return false;
}

int vocab_set(struct tokenizer *tk, int id, const char *text, size_t len, int kind, float score,
	struct err *err)
{
	struct token *tn = &tk->token[id];
	size_t at = tk->text.len;
	unsigned byte = 0;
	bool decoded = false;

	if (len > 65536)
		return err_set(err, EBADMSG, "tokenizer: token %d of %zu bytes", id, len);
	if (tk->kind == TOKENIZER_BYTES && kind == TOKEN_NORMAL && len)
		decoded = alphabet_decode(text, len, &tk->text);
	if (tk->kind != TOKENIZER_BYTES && !tk->no_bytes && len == 6 &&
		memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
		(kind == TOKEN_BYTE || kind == TOKEN_NORMAL)) {
		for (int i = 3; i < 5; i++) {
			char c = text[i];

			byte = byte * 16 + (unsigned)(c >= '0' && c <= '9'   ? c - '0'
						      : c >= 'A' && c <= 'F' ? c - 'A' + 10
									     : 256);
		}
		if (byte < 256) {
			tk->byte_id[byte] = id;
			kind = TOKEN_BYTE;
			buf_putc(&tk->text, (char)byte);
			decoded = true;
		}
	}
	if (!decoded)
		buf_add(&tk->text, text, len);
	if (tk->text.failed)
		return err_nomem(err);
	if (tk->text.len > UINT32_MAX)
		return err_set(err, EBADMSG, "tokenizer: token texts of more than 4 GiB");
	*tn = (struct token){
		(uint32_t)at, (uint32_t)(tk->text.len - at), score, (uint8_t)kind, tn->flags};
	return 0;
}

static const char *text_of(const struct tokenizer *tk, int id)
{
	return buf_str(&tk->text) + tk->token[id].at;
}

/* the slot of a text: where it is, or the free one where it belongs */
static size_t slot_of(const struct tokenizer *tk, const char *text, size_t len)
{
	size_t at = (size_t)XXH3_64bits(text, len) & (tk->map_size - 1);

	while (tk->map[at]) {
		int id = (int)tk->map[at] - 1;

		if (tk->token[id].len == len && memcmp(text_of(tk, id), text, len) == 0)
			break;
		at = (at + 1) & (tk->map_size - 1);
	}
	return at;
}

int vocab_find(const struct tokenizer *tk, const char *text, size_t len)
{
	return (int)tk->map[slot_of(tk, text, len)] - 1;
}

int vocab_index(struct tokenizer *tk, struct err *err)
{
	tk->map_size = 16;
	while (tk->map_size < 2 * (size_t)tk->n)
		tk->map_size *= 2;
	tk->map = calloc(tk->map_size, sizeof(tk->map[0]));
	if (!tk->map)
		return err_nomem(err);
	for (int pass = 0; pass < 2;
		pass++) { /* normal tokens first: they win over an added token of the same text */
		for (int i = 0; i < tk->n; i++) {
			const struct token *tn = &tk->token[i];
			bool normal = tn->kind == TOKEN_NORMAL;
			char quoted[ERR_QUOTE_BYTES + 8];
			size_t slot;

			if (!tn->kind || !tn->len || normal != (pass == 0) ||
				tn->kind == TOKEN_BYTE)
				continue;
			slot = slot_of(tk, text_of(tk, i), tn->len);
			if (tk->map[slot] && normal)
				return err_set(err, EBADMSG,
					"tokenizer: two ids, %d and %d, for \"%s\"",
					(int)tk->map[slot] - 1, i,
					err_quote(quoted, text_of(tk, i), tn->len));
			if (!tk->map[slot])
				tk->map[slot] = (uint32_t)i + 1;
		}
	}
	if (tk->kind == TOKENIZER_BYTES)
		for (int i = 0; i < 256; i++) {
			char byte = (char)i;

			tk->byte_id[i] = vocab_find(tk, &byte, 1);
		}
	int rc = added_make(&tk->added, tk, 0, 0, false, err);

	if (rc == 0)
		rc = added_make(&tk->raw, tk, ADDED_NORMALIZED, 0, false, err);
	if (rc == 0)
		rc = added_make(&tk->normalized, tk, ADDED_NORMALIZED, ADDED_NORMALIZED, true, err);
	return rc;
}

static struct merge *merge_slot(const struct tokenizer *tk, uint64_t pair)
{
	size_t at = (size_t)XXH3_64bits(&pair, sizeof(pair)) & (tk->merge_size - 1);

	while (tk->merge[at].pair != pair && tk->merge[at].pair != UINT64_MAX)
		at = (at + 1) & (tk->merge_size - 1);
	return &tk->merge[at];
}

static uint64_t pair_of(int left, int right)
{
	return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

const struct merge *vocab_find_merge(const struct tokenizer *tk, int left, int right)
{
	const struct merge *mg;

	if (left < 0 || right < 0 || !tk->merge_size)
		return NULL;
	mg = merge_slot(tk, pair_of(left, right));
	return mg->pair == UINT64_MAX ? NULL : mg;
}

int vocab_merges(struct tokenizer *tk, size_t n, struct err *err)
{
	tk->merge_size = 16;
	while (tk->merge_size < 2 * n)
		tk->merge_size *= 2;
	tk->merge = calloc(tk->merge_size, sizeof(tk->merge[0]));
	if (!tk->merge)
		return err_nomem(err);
	for (size_t i = 0; i < tk->merge_size; i++)
		tk->merge[i].pair = UINT64_MAX;
	return 0;
}

int vocab_merge(struct tokenizer *tk, const char *left, size_t llen, const char *right, size_t rlen,
	uint32_t rank, struct err *err)
{
	struct buf bf = BUF_INIT;
	char quoted[ERR_QUOTE_BYTES + 8];
	struct merge *mg;
	size_t middle;
	int a, b, id;

	if (tk->kind != TOKENIZER_BYTES || !alphabet_decode(left, llen, &bf))
		buf_add(&bf, left, llen);
	middle = bf.len;
	if (tk->kind != TOKENIZER_BYTES || !alphabet_decode(right, rlen, &bf))
		buf_add(&bf, right, rlen);
	if (bf.failed) {
		buf_release(&bf);
		return err_nomem(err);
	}
	a = vocab_find(tk, buf_str(&bf), middle);
	b = vocab_find(tk, buf_str(&bf) + middle, bf.len - middle);
	id = vocab_find(tk, buf_str(&bf), bf.len);
	buf_release(&bf);
	if (a < 0 || b < 0 || id < 0)
		return err_set(err, EBADMSG, "tokenizer: merge %u of \"%s\" is not made of tokens",
			rank, err_quote(quoted, left, llen));
	mg = merge_slot(tk, pair_of(a, b));
	if (mg->pair == UINT64_MAX) /* the first of two equal merges has the lower rank */
		*mg = (struct merge){pair_of(a, b), rank, id};
	return 0;
}
