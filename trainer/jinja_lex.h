/*
 * jinja_lex - a template under the parser's eyes: what is left of it, and one token ahead.
 */
#ifndef KOLM_JINJA_LEX_H
#define KOLM_JINJA_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "trainer/jinja_tree.h"

enum token {
	TOKEN_END_OF_TAG,
	TOKEN_WORD,
	TOKEN_STRING,
	TOKEN_INTEGER,
	TOKEN_REAL,
	TOKEN_SIGN, /* one or two characters */
};

struct parser {
	struct jinja *jn;
	struct err *err;
	const char *at; /* in the text, with \r\n as \n; the arena owns it */
	const char *end;
	int line;
	int depth;
	int loops; /* that a break may end */
	/* the token at hand, inside a tag */
	enum token token;
	const char *word; /* its text; of a string decoded */
	size_t len;
	int64_t number;
	double real;
	bool fresh_line; /* the last piece of text or tag ended a line */
};

/* parse_fail(ps, no, what): the sentence with the line; returns -no */
int parse_fail(struct parser *ps, int no, const char *what);

/* lex_next(ps): to the next token of the tag; the end of the tag stays the token at hand. -EBADMSG,
 * -EOPNOTSUPP, -E2BIG with their sentence. */
int lex_next(struct parser *ps);

/* is this sign, this word the token at hand? */
bool lex_at_sign(const struct parser *ps, const char *sign);
bool lex_at_word(const struct parser *ps, const char *word);

/* lex_take_sign(), lex_take_word(ps, text): take it if it is there: 1; 0 it is not; or an error
 * from reading on. lex_need_sign(): 0, or the error that it is missing. */
int lex_take_sign(struct parser *ps, const char *sign);
int lex_take_word(struct parser *ps, const char *word);
int lex_need_sign(struct parser *ps, const char *sign);

#endif
