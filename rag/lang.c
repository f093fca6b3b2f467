#include "lang.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { PREFIX_MIN = 2 }; /* bytes before a '*' */

struct parser {
	const char *text;
	size_t len, pos;
	struct rag_question *out;
	struct err *err;
};

static const struct {
	const char *name;
	enum rag_clause_kind kind;
	const char *example;
} fields[] = {
	{"path:", RAG_CLAUSE_PATH, "path:docs/"},
	{"ext:", RAG_CLAUSE_EXT, "ext:md"},
	{"title:", RAG_CLAUSE_TITLE, "title:install"},
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static bool at_end(const struct parser *ps)
{
	return ps->pos >= ps->len || is_blank(ps->text[ps->pos]);
}

static int add(
	struct parser *ps, enum rag_clause_kind kind, enum rag_need need, size_t start, size_t end)
{
	struct rag_question *q = ps->out;
	struct rag_clause *last = q->n ? &q->at[q->n - 1] : NULL;

	/* plain words stay together, so that neighbours are seen */
	if (kind == RAG_CLAUSE_TEXT && need == RAG_SHOULD && last &&
		last->kind == RAG_CLAUSE_TEXT && last->need == RAG_SHOULD) {
		last->len = (size_t)(ps->text + end - last->text);
		return 0;
	}
	if (q->n == RAG_CLAUSES_MAX)
		return err_set(ps->err, EINVAL, "q: more than %d parts", RAG_CLAUSES_MAX);
	q->at[q->n++] = (struct rag_clause){kind, need, ps->text + start, end - start};
	return 0;
}

/* the text between two quotes; ps->pos is at the first */
static int quoted(struct parser *ps, size_t *start, size_t *end)
{
	size_t open = ps->pos++;
	const char *close = memchr(ps->text + ps->pos, '"', ps->len - ps->pos);

	if (!close)
		return err_set(ps->err, EINVAL,
			"q: the quote at byte %zu is not closed; close it or leave it out", open);
	*start = ps->pos;
	*end = (size_t)(close - ps->text);
	ps->pos = *end + 1;
	for (size_t i = *start; i < *end; i++)
		if (!is_blank(ps->text[i]))
			return 0;
	return err_set(ps->err, EINVAL, "q: nothing between the quotes at byte %zu", open);
}

static void to_blank(struct parser *ps)
{
	while (!at_end(ps))
		ps->pos++;
}

static int parse_field(struct parser *ps, size_t which, enum rag_need need)
{
	size_t start, end;
	int rc;

	ps->pos += strlen(fields[which].name);
	if (at_end(ps))
		return err_set(ps->err, EINVAL, "q: %s needs a value, as in %s", fields[which].name,
			fields[which].example);
	start = ps->pos;
	if (ps->text[ps->pos] == '"') {
		rc = quoted(ps, &start, &end);
		if (rc < 0)
			return rc;
	} else {
		to_blank(ps);
		end = ps->pos;
	}
	return add(ps, fields[which].kind, need == RAG_NOT ? RAG_NOT : RAG_MUST, start, end);
}

static int parse_word(struct parser *ps, enum rag_need need)
{
	size_t start = ps->pos, end;
	enum rag_clause_kind kind = RAG_CLAUSE_TEXT;

	to_blank(ps);
	end = ps->pos;
	if (end - start > 1 && ps->text[end - 1] == '*')
		kind = RAG_CLAUSE_PREFIX;
	else if (end - start > 1 && ps->text[end - 1] == '~')
		kind = RAG_CLAUSE_FUZZY;
	if (kind != RAG_CLAUSE_TEXT)
		end--;
	if (kind == RAG_CLAUSE_PREFIX && end - start < PREFIX_MIN)
		return err_set(ps->err, EINVAL, "q: at least %d letters before the * at byte %zu",
			PREFIX_MIN, end);
	return add(ps, kind, need, start, end);
}

static int parse_clause(struct parser *ps)
{
	enum rag_need need = RAG_SHOULD;
	size_t start, end;
	char sign = ps->text[ps->pos];
	int rc;

	if ((sign == '+' || sign == '-') && ps->pos + 1 < ps->len &&
		!is_blank(ps->text[ps->pos + 1])) {
		need = sign == '+' ? RAG_MUST : RAG_NOT;
		ps->pos++;
	}
	if (ps->text[ps->pos] == '"') {
		rc = quoted(ps, &start, &end);
		return rc < 0 ? rc
			      : add(ps, RAG_CLAUSE_PHRASE, need == RAG_NOT ? RAG_NOT : RAG_MUST,
					start, end);
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		size_t n = strlen(fields[i].name);

		if (ps->len - ps->pos >= n && memcmp(ps->text + ps->pos, fields[i].name, n) == 0)
			return parse_field(ps, i, need);
	}
	return parse_word(ps, need);
}

int rag_question_parse(const char *text, size_t len, struct rag_question *out, struct err *err)
{
	struct parser ps = {.text = text, .len = len, .out = out, .err = err};
	size_t kept = 0;
	int rc = 0;

	out->n = 0;
	while (rc == 0) {
		while (ps.pos < len && is_blank(text[ps.pos]))
			ps.pos++;
		if (ps.pos == len)
			break;
		rc = parse_clause(&ps);
	}
	for (size_t i = 0; i < out->n; i++)
		kept += out->at[i].need != RAG_NOT && out->at[i].kind != RAG_CLAUSE_PATH;
	if (rc == 0 && out->n > 0 && kept == 0)
		return err_set(err, EINVAL,
			"q: nothing to look for: every part only excludes or names a path");
	return rc;
}
