/*
 * lang - the query language of mode kolm-2.
 *
 *   word            is looked for, and helps              +word   must be there    -word  must not
 *   "a phrase"      its words, side by side; must be there
 *   pre*            words that begin so                   word~   words that differ by a letter or
 * two path:docs/      only files whose path begins so       ext:md  only files of this extension
 *   title:word      only pieces with it in a heading or title
 *
 * + and - stand before any of them; what follows path: ext: title: may be quoted. Anything else is
 * plain text, unknown fields ("std::string", "note: ...") included.
 */
#ifndef KOLM_RAG_LANG_H
#define KOLM_RAG_LANG_H

#include <stddef.h>

#include "base/err.h"
#include "rank.h"

enum { RAG_CLAUSES_MAX = 64 };

enum rag_clause_kind {
	RAG_CLAUSE_TEXT, /* plain words as they came, side by side */
	RAG_CLAUSE_PHRASE,
	RAG_CLAUSE_PREFIX,
	RAG_CLAUSE_FUZZY,
	RAG_CLAUSE_PATH,
	RAG_CLAUSE_EXT,
	RAG_CLAUSE_TITLE,
};

struct rag_clause {
	enum rag_clause_kind kind;
	enum rag_need need;
	const char *text; /* borrowed from the question */
	size_t len;
};

struct rag_question {
	struct rag_clause at[RAG_CLAUSES_MAX];
	size_t n;
};

/* rag_question_parse(text, len, out, err): -EINVAL with a sentence that says where: an open quote,
 * an empty phrase or field, a prefix too short, more than RAG_CLAUSES_MAX parts, nothing but
 * exclusions. A question without any word is well-formed and empty. */
int rag_question_parse(const char *text, size_t len, struct rag_question *out, struct err *err);

#endif
