/*
 * tokenize - the words of a text (FORMATS 10.3), one after the other.
 *
 * Lower-casing the whole of Unicode comes down to bytes: only U+0130 and U+212A become ASCII, and
 * everything that is not ASCII by then separates words. So raw bytes and decoded text give the same
 * words.
 */
#ifndef KOLM_RAG_TOKENIZE_H
#define KOLM_RAG_TOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

enum { RAG_WORD_MIN = 2, RAG_WORD_MAX = 64 };

struct rag_words {
	const unsigned char *text; /* borrowed */
	size_t len, pos;
	char word[RAG_WORD_MAX];
	size_t word_len;
};

/* rag_is_stop_word(word, len): one of the 38 that are dropped. */
bool rag_is_stop_word(const char *word, size_t len);

/* rag_stop_words(): they, NULL at the end. */
const char *const *rag_stop_words(void);

void rag_words_init(struct rag_words *ws, const char *text, size_t len);
/* rag_words_next(ws): false at the end; otherwise ws->word and ws->word_len are the next word. */
bool rag_words_next(struct rag_words *ws);

/*
 * rag_fold(text, len, out, dotted): one byte for each UTF-16 unit of the lower-cased text: the
 * character if it is ASCII, else 0xff.
 * ${out} has room for ${len} + 1 bytes (no character has more units than UTF-8 bytes, U+0130
 * included). Returns their count;
 * ${dotted}: the number of U+0130, by which the lower-cased text is longer.
 */
size_t rag_fold(const char *text, size_t len, unsigned char *out, size_t *dotted);

#endif
