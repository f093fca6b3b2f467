/*
 * jinja_lex - the tokens of a tag.
 */
#include "trainer/jinja_lex.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int parse_fail(struct parser *ps, int no, const char *what)
{
	return err_set(ps->err, no, "chat template line %d: %s", ps->line, what);
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* a string literal from behind its quote */
static int lex_string(struct parser *ps, char quote)
{
	char *out;
	const char *from = ps->at;
	size_t n = 0;

	while (ps->at < ps->end && *ps->at != quote)
		ps->at += *ps->at == '\\' && ps->at + 1 < ps->end ? 2 : 1;
	if (ps->at >= ps->end)
		return parse_fail(ps, EBADMSG, "a text without its closing quote");
	out = arena_take(&ps->jn->arena, (size_t)(ps->at - from) + 1);
	if (!out)
		return parse_fail(ps, E2BIG, "needs too much memory");
	for (; from < ps->at; from++) {
		ps->line += *from == '\n';
		if (*from != '\\') {
			out[n++] = *from;
			continue;
		}
		switch (*++from) {
		case '\n': /* the line goes on */
			ps->line++;
			break;
		case 'n':
			out[n++] = '\n';
			break;
		case 't':
			out[n++] = '\t';
			break;
		case 'r':
			out[n++] = '\r';
			break;
		case '\\':
		case '\'':
		case '"':
			out[n++] = *from;
			break;
		default:
			if (strchr("01234567abfvxuUN", *from))
				return parse_fail(ps, EOPNOTSUPP,
					"an escape that is not \\n \\t \\r \\\\ \\' \\\"");
			out[n++] = '\\'; /* no escape at all, as in Python */
			out[n++] = *from;
		}
	}
	ps->at++;
	ps->token = TOKEN_STRING;
	ps->word = out;
	ps->len = n;
	return 0;
}

static int lex_number(struct parser *ps)
{
	char digits[32];
	size_t n = 0;
	bool real = false;

	for (; ps->at < ps->end && n < sizeof(digits) - 1; ps->at++) {
		if (*ps->at == '.' && !real && ps->at + 1 < ps->end &&
			isdigit((unsigned char)ps->at[1]))
			real = true;
		else if (!isdigit((unsigned char)*ps->at))
			break;
		digits[n++] = *ps->at;
	}
	digits[n] = '\0';
	if (n > 15)
		return parse_fail(ps, EOPNOTSUPP, "a number of more than 15 digits");
	ps->token = real ? TOKEN_REAL : TOKEN_INTEGER;
	ps->real = strtod(digits, NULL);
	ps->number = real ? 0 : (int64_t)ps->real;
	return 0;
}

/* the next token of a tag; ${close}, "%}" or "}}" with or without a sign before it, ends it */
int lex_next(struct parser *ps)
{
	static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};

	while (ps->at < ps->end && isspace((unsigned char)*ps->at))
		ps->line += *ps->at++ == '\n';
	if (ps->at >= ps->end)
		return parse_fail(ps, EBADMSG, "a tag without its end");
	ps->word = ps->at;
	if (*ps->at == '"' || *ps->at == '\'')
		return lex_string(ps, *ps->at++);
	if (isdigit((unsigned char)*ps->at))
		return lex_number(ps);
	ps->len = 1;
	if (isalpha((unsigned char)*ps->at) || *ps->at == '_') {
		while (ps->at < ps->end && in_word(*ps->at))
			ps->at++;
		ps->token = TOKEN_WORD;
		ps->len = (size_t)(ps->at - ps->word);
		return 0;
	}
	ps->token = TOKEN_SIGN;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]) && ps->at + 1 < ps->end; i++)
		if (memcmp(ps->at, pairs[i], 2) == 0)
			ps->len = 2;
	const char *close = *ps->at == '-' || *ps->at == '+' ? ps->at + 1 : ps->at;

	if (ps->end - close >= 2 && (memcmp(close, "%}", 2) == 0 || memcmp(close, "}}", 2) == 0)) {
		/* in {{ {} }} the first brace closes a dictionary: its parser asks for "}" first */
		ps->token = TOKEN_END_OF_TAG;
		ps->len = (size_t)(close + 2 - ps->at);
		return 0;
	}
	ps->at += ps->len;
	return 0;
}

static bool is_token(const struct parser *ps, enum token token, const char *text)
{
	return ps->token == token && ps->len == strlen(text) &&
	       memcmp(ps->word, text, ps->len) == 0;
}

bool lex_at_sign(const struct parser *ps, const char *sign)
{
	return is_token(ps, TOKEN_SIGN, sign);
}

bool lex_at_word(const struct parser *ps, const char *word)
{
	return is_token(ps, TOKEN_WORD, word);
}

/* take a sign if it is there: 1, 0, or an error from reading on */
int lex_take_sign(struct parser *ps, const char *sign)
{
	int rc;

	/* "}}" may be the end of a dictionary in front of the end of its tag */
	if (*sign == '}' && ps->token == TOKEN_END_OF_TAG && *ps->word == '}') {
		ps->at = ps->word + 1;
		rc = lex_next(ps);
		return rc < 0 ? rc : 1;
	}
	if (!lex_at_sign(ps, sign))
		return 0;
	rc = lex_next(ps);
	return rc < 0 ? rc : 1;
}

int lex_take_word(struct parser *ps, const char *word)
{
	int rc;

	if (!lex_at_word(ps, word))
		return 0;
	rc = lex_next(ps);
	return rc < 0 ? rc : 1;
}

int lex_need_sign(struct parser *ps, const char *sign)
{
	char what[32];
	int rc = lex_take_sign(ps, sign);

	if (rc == 0) {
		strcpy(what, "\"");
		strcat(strcat(what, sign), "\" is missing");
		rc = parse_fail(ps, EBADMSG, what);
	}
	return rc < 0 ? rc : 0;
}
