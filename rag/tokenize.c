#include "tokenize.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

/* clang-format off */
static const char *const stop_words[] = {
	"a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "i", "if", "in", "into",
	"is", "it", "no", "not", "of", "on", "or", "our", "such", "that", "the", "their", "then",
	"there", "these", "they", "this", "to", "was", "we", "will", "with", "you", "your",
	NULL,
};
/* clang-format on */

enum { STOP_WORD_MAX = 5, STOP_WORDS = sizeof(stop_words) / sizeof(*stop_words) - 1 };

const char *const *rag_stop_words(void)
{
	return stop_words;
}

static int word_compare(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

bool rag_is_stop_word(const char *word, size_t len)
{
	char key[STOP_WORD_MAX + 1];

	if (len > STOP_WORD_MAX)
		return false;
	memcpy(key, word, len);
	key[len] = '\0';
	return bsearch(key, stop_words, STOP_WORDS, sizeof(*stop_words), word_compare);
}

/* the character of a word that an ASCII byte is, or 0 */
static unsigned char word_char(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned char)(c | 0x20);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ? c : 0;
}

void rag_words_init(struct rag_words *ws, const char *text, size_t len)
{
	ws->text = (const unsigned char *)text;
	ws->len = len;
	ws->pos = 0;
	ws->word_len = 0;
}

/*
 * The next character of a run, 0 for a separator; ${closes}: the separator that U+0130 brings along
 * (U+0307) follows it.
 */
static unsigned char next_char(struct rag_words *ws, bool *closes)
{
	const unsigned char *s = ws->text + ws->pos;
	size_t left = ws->len - ws->pos;

	*closes = false;
	if (s[0] < 0x80) {
		ws->pos++;
		return word_char(s[0]);
	}
	if (s[0] == 0xc4 && left > 1 && s[1] == 0xb0) {
		ws->pos += 2;
		*closes = true;
		return 'i';
	}
	if (s[0] == 0xe2 && left > 2 && s[1] == 0x84 && s[2] == 0xaa) {
		ws->pos += 3;
		return 'k';
	}
	ws->pos++;
	return 0;
}

bool rag_words_next(struct rag_words *ws)
{
	size_t n = 0;

	while (ws->pos < ws->len) {
		bool closes;
		unsigned char c = next_char(ws, &closes);

		if (c) {
			if (n < RAG_WORD_MAX)
				ws->word[n] = (char)c;
			n++;
		}
		if (c && !closes && ws->pos < ws->len)
			continue;
		if (n >= RAG_WORD_MIN && n <= RAG_WORD_MAX && !rag_is_stop_word(ws->word, n)) {
			ws->word_len = n;
			return true;
		}
		n = 0;
	}
	return false;
}

static bool is_ascii16(const char *text)
{
	uint64_t a, b;

	memcpy(&a, text, sizeof(a));
	memcpy(&b, text + sizeof(a), sizeof(b));
	return ((a | b) & 0x8080808080808080) == 0;
}

size_t rag_fold(const char *text, size_t len, unsigned char *out, size_t *dotted)
{
	size_t pos = 0, n = 0;

	*dotted = 0;
	while (pos < len) {
		uint32_t rune;

		/* most text is ASCII, and a compiler makes many bytes of this at once */
		if (len - pos >= 16 && is_ascii16(text + pos)) {
			for (int i = 0; i < 16; i++) {
				unsigned char c = (unsigned char)text[pos + (size_t)i];

				out[n + (size_t)i] =
					(unsigned char)(c |
							(unsigned char)((unsigned char)(c - 'A') <
									26)
								<< 5);
			}
			pos += 16;
			n += 16;
			continue;
		}
		rune = rag_rune(text, len, &pos, false);

		if (rune < 0x80) {
			out[n++] = (unsigned char)(rune >= 'A' && rune <= 'Z' ? rune | 0x20 : rune);
		} else if (rune == 0x130) {
			out[n++] = 'i';
			out[n++] = 0xff;
			++*dotted;
		} else {
			out[n++] = rune == 0x212a ? 'k' : 0xff;
			if (rune >= 0x10000)
				out[n++] = 0xff;
		}
	}
	return n;
}
