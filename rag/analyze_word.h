/*
 * analyze_word - one word of mode kolm-2: its characters by kind, folded, stemmed, and whether it
 * says anything in a question.
 */
#ifndef KOLM_RAG_ANALYZE_WORD_H
#define KOLM_RAG_ANALYZE_WORD_H

#include "analyze.h"

enum rag_char {
	RAG_CHAR_OTHER, /* separates */
	RAG_CHAR_LOWER, /* a letter without case too */
	RAG_CHAR_UPPER,
	RAG_CHAR_DIGIT,
	RAG_CHAR_MARK, /* belongs to the letter before it */
	RAG_CHAR_GRAM, /* of a script without blanks */
};

/* rag_char_of(rune): the kind of a code point. */
enum rag_char rag_char_of(uint32_t rune);

/* rag_word_fold(is_bare, text, len, out): append ${text}, case-folded, apostrophes as ', without
 * marks if ${is_bare}. At most RAG_TOKEN_CHARS characters are looked at. -ENOMEM. */
int rag_word_fold(bool is_bare, const char *text, size_t len, struct buf *out);

/* rag_word_stem(an, word, from): stem what stands in ${word} from ${from} on, in its place, and
 * drop what marks are left. -ENOMEM. */
int rag_word_stem(struct rag_analyzer *an, struct buf *word, size_t from);

/* rag_word_is_stop(an, word, len): of a folded word that is not stemmed yet. */
bool rag_word_is_stop(const struct rag_analyzer *an, const char *word, size_t len);

#endif
