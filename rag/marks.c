/* marks - sixteen bytes at a time, unless one of the two letters beyond ASCII that matter is in the
 * text. */
#include "marks.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

typedef unsigned char bytes16 __attribute__((vector_size(16)));

void rag_marks_release(struct rag_marks *mk)
{
	buf_release(&mk->text);
	buf_release(&mk->bits);
	*mk = (struct rag_marks){0};
}

size_t rag_marks_bytes(const struct rag_marks *mk)
{
	return mk->text.cap + mk->bits.cap;
}

const uint64_t *rag_marks_at(const struct rag_marks *mk)
{
	return (const uint64_t *)(const void *)mk->bits.data;
}

static bool is_dotted_i(const char *p, const char *end)
{
	return end - p > 1 && memcmp(p, "\xc4\xb0", 2) == 0;
}

static bool is_kelvin(const char *p, const char *end)
{
	return end - p > 2 && memcmp(p, "\xe2\x84\xaa", 3) == 0;
}

/* U+0130, which becomes i and a separator, or U+212A, which becomes k, stands in the text */
static bool has_letterlike(const char *text, size_t len)
{
	const char *end = text + len, *p;

	for (p = text; p < end && (p = memchr(p, 0xc4, (size_t)(end - p))); p++)
		if (is_dotted_i(p, end))
			return true;
	for (p = text; p < end && (p = memchr(p, 0xe2, (size_t)(end - p))); p++)
		if (is_kelvin(p, end))
			return true;
	return false;
}

/* the character of a word that an ASCII byte is, or 0 */
static char word_char(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c | 0x20);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ? c : 0;
}

/* such a text: byte by byte, into ${out}, which has zeros where nothing is written */
static void fold_slowly(const char *text, size_t len, char *out, uint64_t *marks)
{
	const char *end = text + len;
	size_t n = 0;

	for (const char *p = text; p < end; p++) {
		char c = word_char(*p);
		bool closes = is_dotted_i(p, end);

		if (closes) {
			p++;
			c = 'i';
		} else if (is_kelvin(p, end)) {
			p += 2;
			c = 'k';
		}
		out[n] = c;
		marks[n / RAG_MARKS] |= (uint64_t)(c != 0) << n % RAG_MARKS;
		n += closes ? 2 : 1;
	}
}

/* sixteen bytes folded; a bit for each that is of a word */
static inline uint64_t fold(const char *in, char *out)
{
	const uint64_t ones = 0x0101010101010101, gather = 0x0102040810204080;
	uint64_t halves[2];
	bytes16 c, low, is_letter, is_other;

	memcpy(&c, in, sizeof(c));
	low = c | 0x20;
	is_letter = (bytes16)(low - 'a' < 26);
	is_other = (bytes16)((c - '0' < 10) | (c == '-') | (c == '_'));
	low = (low & is_letter) | (c & is_other);
	is_letter |= is_other;
	memcpy(out, &low, sizeof(low));
	memcpy(halves, &is_letter, sizeof(halves));
	return ((halves[0] & ones) * gather >> 56) | ((halves[1] & ones) * gather >> 56) << 8;
}

/* in whole RAG_MARKS, a zero behind the text at least */
static void fold_all(const char *text, size_t len, char *out, uint64_t *marks)
{
	char rest[RAG_MARKS] = {0};
	size_t whole = len / RAG_MARKS;

	memcpy(rest, text + whole * RAG_MARKS, len % RAG_MARKS);
	for (size_t i = 0; i <= whole; i++) {
		const char *in = i < whole ? text + i * RAG_MARKS : rest;

		marks[i] = 0;
		for (unsigned k = 0; k < RAG_MARKS; k += sizeof(bytes16))
			marks[i] |= fold(in + k, out + i * RAG_MARKS + k) << k;
	}
}

int rag_marks_make(struct rag_marks *mk, const char *text, size_t len)
{
	size_t n = len / RAG_MARKS + 1;
	uint64_t *bits;

	if (len >= UINT32_MAX - RAG_MARKS - RAG_MARKS_PAD)
		return -ENOMEM;
	buf_reset(&mk->text);
	buf_reset(&mk->bits);
	mk->n = n;
	if (buf_reserve(&mk->text, n * RAG_MARKS + RAG_MARKS_PAD) < 0 ||
		buf_reserve(&mk->bits, n * sizeof(*bits)) < 0)
		return -ENOMEM;
	bits = (uint64_t *)(void *)mk->bits.data;
	if (!has_letterlike(text, len)) {
		fold_all(text, len, mk->text.data, bits);
		return 0;
	}
	memset(mk->text.data, 0, n * RAG_MARKS);
	memset(bits, 0, n * sizeof(*bits));
	fold_slowly(text, len, mk->text.data, bits);
	return 0;
}
