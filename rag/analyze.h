/*
 * analyze - the terms of mode kolm-2: one function for documents and questions, so that both sides
 * agree.
 *
 * Words are runs of Unicode letters and digits, case-folded (NFKC) and stemmed by Snowball in the
 * index's language; marks (accents) are dropped, in English before stemming and elsewhere after it,
 * because those stemmers look at them. `-` `_` `.` join words to a compound: each word is a term,
 * and so is the whole without its joints, so that foo_bar, foo-bar and fooBar meet. camelCase and
 * letters against digits give parts. Scripts without blanks (Han, Kana, Hangul, Thai, Lao, Khmer,
 * Myanmar) give every character and every two neighbours. Two words side by side also give a pair.
 */
#ifndef KOLM_RAG_ANALYZE_H
#define KOLM_RAG_ANALYZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "mode.h"

enum {
	RAG_TOKEN_CHARS = 64, /* of a word; a longer run is no word (base64, keys) */
	RAG_LANG_BYTES = 16,
};

#define RAG_LANG_DEFAULT "en"

enum rag_token_kind {
	RAG_TOKEN_WORD,	 /* counts towards a document's length; so does a single character of a
			    script without blanks */
	RAG_TOKEN_WHOLE, /* a compound without its joints */
	RAG_TOKEN_PART,	 /* of a camelCase word, or a word's letters or digits */
	RAG_TOKEN_GRAM,	 /* two characters of a script without blanks */
	RAG_TOKEN_PAIR,	 /* two words side by side, a blank between them */
};

struct rag_token {
	enum rag_token_kind kind;
	const char *term; /* borrowed for the call; at most RAG_MODE_TERM_BYTES bytes, no NUL */
	size_t len;
	size_t start, end; /* bytes of the text it stands for */
	bool is_stop;	   /* a word that says nothing in a question */
};

/* below zero ends the analysis */
typedef int rag_token_each(void *arg, const struct rag_token *tk);

struct rag_analyzer {
	void *stemmer;		   /* NULL: words stay as they are */
	char lang[RAG_LANG_BYTES]; /* ISO 639-1, or "none" */
	bool is_english;
	struct buf word, term; /* room */
	struct buf last, pair; /* the term of the word before, for pairs */
	size_t last_start;
	bool has_last;
};

/* rag_analyzer_init(an, lang, err): ${lang} NULL: English; "none": no stems. -EINVAL for a language
 * there is no stemmer of, the sentence names those there are. Not for two threads at once. */
int rag_analyzer_init(struct rag_analyzer *an, const char *lang, struct err *err);
void rag_analyzer_release(struct rag_analyzer *an);

/* rag_analyze(an, text, len, each, arg): the terms of ${text} (UTF-8; what is not, separates), in
 * order. -ENOMEM, or what ${each} returned below zero. */
int rag_analyze(
	struct rag_analyzer *an, const char *text, size_t len, rag_token_each *each, void *arg);

/* rag_analyze_word(an, text, len, out): ${text} as one word, folded and, where ${is_stemmed},
 * stemmed. What is no word gives "". */
int rag_analyze_word(
	struct rag_analyzer *an, const char *text, size_t len, bool is_stemmed, struct buf *out);

/* rag_analyzer_lang(analyser, out): the language in an index's "kolm-2 LANG ...". -EINVAL: of
 * another mode. */
int rag_analyzer_lang(const char *analyser, char out[RAG_LANG_BYTES]);

/* what went into the terms, for the identity of an index: "snowball-2.2.0 unicode-14.0.0 text-2"
 */
const char *rag_analyzer_version(char out[64]);

#endif
