/*
 * jinja_parse - template text to a tree: the text between tags, and the statements.
 */
#include "trainer/jinja.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja_expr.h"
#include "trainer/jinja_lex.h"

enum { JINJA_TEXT_MAX = 1 << 20 }; /* bytes of a template */

/* what goes with a tag that ended: with ${strip} all blanks, else with ${line_end} one line end */
static void after_tag(struct parser *ps, bool strip, bool line_end)
{
	ps->fresh_line = false;
	if (strip) {
		while (ps->at < ps->end && isspace((unsigned char)*ps->at)) {
			ps->fresh_line = *ps->at == '\n';
			ps->line += *ps->at++ == '\n';
		}
	} else if (line_end && ps->at < ps->end && *ps->at == '\n') {
		ps->at++;
		ps->line++;
		ps->fresh_line = true;
	}
}

/* the tag ends here, and its sign says which blanks go; ${block}: one line end goes by itself */
static int end_tag(struct parser *ps, bool block)
{
	const char *close = ps->word + ps->len - 2;

	if (ps->token != TOKEN_END_OF_TAG || *close != (block ? '%' : '}'))
		return parse_fail(ps, EBADMSG, "a tag goes on where it should end");
	ps->at = close + 2;
	after_tag(ps, *ps->word == '-', block && *ps->word != '+');
	return 0;
}

/* {# ... #} */
static int skip_comment(struct parser *ps)
{
	const char *from = ps->at + (ps->at < ps->end && (*ps->at == '-' || *ps->at == '+')),
		   *end = memmem(from, (size_t)(ps->end - from), "#}", 2);
	char sign = 0;

	if (!end)
		return parse_fail(ps, EBADMSG, "a comment without its end");
	for (; ps->at < end; ps->at++)
		ps->line += *ps->at == '\n';
	ps->at = end + 2;
	if (end > from)
		sign = end[-1];
	after_tag(ps, sign == '-', sign != '+');
	return 0;
}

/* text up to the next tag, without the blanks the tag takes */
static int parse_text(struct parser *ps, struct node ***tail)
{
	const char *from = ps->at, *tag = from, *end;
	struct node *nd;

	while (tag < ps->end && !(tag + 1 < ps->end && *tag == '{' && strchr("{%#", tag[1])))
		tag++;
	end = tag;
	if (tag + 2 < ps->end && tag[2] == '-') {
		while (end > from && isspace((unsigned char)end[-1]))
			end--;
	} else if (tag + 2 < ps->end && tag[1] != '{' && tag[2] != '+') {
		const char *line = end;

		while (line > from && (line[-1] == ' ' || line[-1] == '\t'))
			line--;
		if (line > from ? line[-1] == '\n' : ps->fresh_line)
			end = line;
	}
	for (; ps->at < tag; ps->at++)
		ps->line += *ps->at == '\n';
	if (end == from)
		return 0;
	nd = node_new(ps, NODE_TEXT);
	if (!nd)
		return -E2BIG;
	nd->text = from;
	nd->len = (size_t)(end - from);
	**tail = nd;
	*tail = &nd->next;
	return 0;
}

static int parse_body(struct parser *ps, const char *const *ends, struct node **out);

/* NAME or NAME, NAME (also in parentheses) as NODE_NAME list */
static int parse_names(struct parser *ps, struct node **out)
{
	int group = lex_take_sign(ps, "("), rc = group < 0 ? group : 0;

	while (rc == 0) {
		struct node *nd = node_new(ps, NODE_NAME);

		if (!nd)
			return -E2BIG;
		if (ps->token != TOKEN_WORD)
			return parse_fail(ps, EBADMSG, "a name is missing");
		nd->text = ps->word;
		nd->len = ps->len;
		*out = nd;
		out = &nd->next;
		rc = lex_next(ps);
		if (rc < 0)
			return rc;
		rc = lex_take_sign(ps, ",");
		if (rc <= 0)
			break;
		rc = 0;
	}
	if (rc == 0 && group)
		rc = lex_need_sign(ps, ")");
	return rc;
}

static int parse_for(struct parser *ps, struct node *nd)
{
	static const char *const ends[] = {"else", "endfor", NULL}, *const end[] = {"endfor", NULL};
	int rc = parse_names(ps, &nd->names);

	if (rc == 0)
		rc = lex_take_word(ps, "in");
	if (rc == 0)
		rc = parse_fail(ps, EBADMSG, "\"in\" is missing in a loop");
	if (rc > 0)
		rc = parse_or(ps, &nd->a);
	if (rc == 0)
		rc = lex_take_word(ps, "if");
	if (rc > 0)
		rc = parse_or(ps, &nd->b);
	if (rc == 0)
		rc = end_tag(ps, true);
	ps->loops++;
	if (rc == 0)
		rc = parse_body(ps, ends, &nd->body);
	ps->loops--;
	if (rc == 0 && lex_at_word(ps, "else")) {
		rc = lex_next(ps);
		if (rc == 0)
			rc = end_tag(ps, true);
		if (rc == 0)
			rc = parse_body(ps, end, &nd->other);
	}
	return rc < 0 ? rc : lex_next(ps);
}

static int parse_if(struct parser *ps, struct node *nd)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end[] = {
										   "endif", NULL};
	int rc = parse_expr(ps, &nd->a);

	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, ends, &nd->body);
	if (rc < 0)
		return rc;
	if (lex_at_word(ps, "elif")) {
		nd->other = node_new(ps, NODE_IF);
		if (!nd->other || ++ps->depth > JINJA_DEPTH)
			return parse_fail(ps, E2BIG, "is nested too deep");
		rc = lex_next(ps);
		if (rc == 0)
			rc = parse_if(ps, nd->other);
		ps->depth--;
		return rc;
	}
	if (lex_at_word(ps, "else")) {
		rc = lex_next(ps);
		if (rc == 0)
			rc = end_tag(ps, true);
		if (rc == 0)
			rc = parse_body(ps, end, &nd->other);
	}
	return rc < 0 ? rc : lex_next(ps);
}

/* set NAME[, NAME] = VALUE, set NAME.NAME = VALUE, set NAME ... endset */
static int parse_set(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endset", NULL};
	int rc = parse_names(ps, &nd->names);

	if (rc == 0 && (rc = lex_take_sign(ps, ".")) > 0) {
		if (ps->token != TOKEN_WORD || nd->names->next)
			return parse_fail(ps, EBADMSG, "a name is missing behind a point");
		nd->text = ps->word;
		nd->len = ps->len;
		rc = lex_next(ps);
	}
	if (rc == 0 && (rc = lex_take_sign(ps, "=")) > 0) {
		rc = parse_expr(ps, &nd->a);
		if (rc == 0 && lex_at_sign(ps, ",")) /* a, b = x, y */
			return parse_fail(ps, EOPNOTSUPP, "a tuple without parentheses");
		return rc;
	}
	if (rc == 0 && lex_at_sign(ps, "|"))
		return parse_fail(ps, EOPNOTSUPP, "filters of a set block are not in the subset");
	nd->number = 1; /* a block, perhaps an empty one */
	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_body(ps, end, &nd->body);
	return rc < 0 ? rc : lex_next(ps);
}

/* a body that no break of its own leaves for a loop around it */
static int parse_apart(struct parser *ps, const char *const *end, struct node **out)
{
	int loops = ps->loops, rc;

	ps->loops = 0;
	rc = parse_body(ps, end, out);
	ps->loops = loops;
	return rc;
}

static int parse_macro(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endmacro", NULL};
	bool comma;
	int rc;

	if (ps->token != TOKEN_WORD)
		return parse_fail(ps, EBADMSG, "a macro without a name");
	nd->text = ps->word;
	nd->len = ps->len;
	rc = lex_next(ps);
	if (rc == 0)
		rc = lex_need_sign(ps, "(");
	if (rc == 0)
		rc = parse_list(ps, ")", true, &nd->names, &comma);
	for (const struct node *p = nd->names; p && rc == 0; p = p->next)
		if (!p->text && p->a->kind != NODE_NAME)
			rc = parse_fail(ps, EBADMSG, "a parameter is not a name");
	if (rc == 0)
		rc = end_tag(ps, true);
	if (rc == 0)
		rc = parse_apart(ps, end, &nd->body);
	if (rc == 0)
		rc = lex_next(ps);
	/* the name may be said again */
	return rc == 0 && ps->token == TOKEN_WORD ? lex_next(ps) : rc;
}

/* a block whose tags do nothing here: {% generation %} marks answers for trainers */
static int parse_generation(struct parser *ps, struct node *nd)
{
	static const char *const end[] = {"endgeneration", NULL};
	int rc = end_tag(ps, true);

	if (rc == 0)
		rc = parse_apart(ps, end, &nd->body);
	return rc < 0 ? rc : lex_next(ps);
}

static int parse_break(struct parser *ps, struct node *nd)
{
	(void)nd;
	return ps->loops ? 0 : parse_fail(ps, EBADMSG, "a break outside a loop");
}

static int parse_statement(struct parser *ps, struct node ***tail)
{
	static const struct {
		const char *word;
		enum node_kind kind;
		int (*parse)(struct parser *, struct node *);
	} statements[] = {
		{"for", NODE_FOR, parse_for},
		{"if", NODE_IF, parse_if},
		{"set", NODE_SET, parse_set},
		{"macro", NODE_MACRO, parse_macro},
		{"generation", NODE_APART, parse_generation},
		{"break", NODE_BREAK, parse_break},
		{"continue", NODE_CONTINUE, parse_break},
	};
	char what[ERR_QUOTE_BYTES + 64] = "\"", quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		struct node *nd;
		int rc;

		if (!lex_at_word(ps, statements[i].word))
			continue;
		nd = node_new(ps, statements[i].kind);
		if (!nd)
			return -E2BIG;
		**tail = nd;
		*tail = &nd->next;
		rc = lex_next(ps);
		if (rc == 0 && ++ps->depth > JINJA_DEPTH)
			rc = parse_fail(ps, E2BIG, "is nested too deep");
		if (rc == 0)
			rc = statements[i].parse(ps, nd);
		ps->depth--;
		return rc < 0 ? rc : end_tag(ps, true);
	}
	strcat(what, err_quote(quoted, ps->word, ps->len));
	return parse_fail(ps, EOPNOTSUPP, strcat(what, "\" is not in the subset"));
}

static int parse_print(struct parser *ps, struct node ***tail)
{
	struct node *nd = node_new(ps, NODE_PRINT);
	int rc;

	if (!nd)
		return -E2BIG;
	**tail = nd;
	*tail = &nd->next;
	rc = lex_next(ps);
	if (rc == 0)
		rc = parse_expr(ps, &nd->a);
	return rc < 0 ? rc : end_tag(ps, false);
}

/* up to a tag that begins with one of ${ends}, which is then the token at hand; NULL: to the end */
static int parse_body(struct parser *ps, const char *const *ends, struct node **out)
{
	struct node **tail = out;
	int rc = 0;

	while (rc == 0) {
		char kind;

		rc = parse_text(ps, &tail);
		if (rc < 0)
			break;
		if (ps->at >= ps->end)
			return ends ? parse_fail(ps, EBADMSG, "a block without its end") : 0;
		kind = ps->at[1];
		ps->at += 2;
		if (kind == '#') {
			rc = skip_comment(ps);
			continue;
		}
		if (ps->at < ps->end && (*ps->at == '-' || *ps->at == '+'))
			ps->at++;
		if (kind == '{') {
			rc = parse_print(ps, &tail);
			continue;
		}
		rc = lex_next(ps);
		for (int i = 0; rc == 0 && ends && ends[i]; i++)
			if (lex_at_word(ps, ends[i]))
				return 0;
		if (rc == 0)
			rc = parse_statement(ps, &tail);
	}
	return rc;
}

int jinja_parse(const char *text, size_t len, struct jinja **out, struct err *err)
{
	struct jinja *jn = calloc(1, sizeof(*jn));
	struct parser ps = {.jn = jn, .err = err, .line = 1, .fresh_line = true};
	struct err own;
	char *copy;
	size_t n = 0;
	int rc;

	if (!jn)
		return err_nomem(err);
	if (!err)
		ps.err = &own; /* its number is needed */
	copy = len <= JINJA_TEXT_MAX ? arena_take(&jn->arena, len + 1) : NULL;
	if (!copy) {
		jinja_free(jn);
		return err_set(err, E2BIG, "chat template of %zu bytes", len);
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
			copy[n++] = text[i];
	if (n && copy[n - 1] == '\n') /* Jinja drops one */
		n--;
	ps.at = copy;
	ps.end = copy + n;
	rc = parse_body(&ps, NULL, &jn->root);
	if (rc < 0) {
		jinja_free(jn);
		return rc;
	}
	*out = jn;
	return 0;
}

void jinja_free(struct jinja *jn)
{
	if (!jn)
		return;
	arena_release(&jn->arena);
	free(jn);
}
