/* extract_markdown - the headings of a Markdown text: `# ...`, underlined ones, and the title of a
 * front matter. Lines inside fences are none. */
#include <errno.h>
#include <string.h>

#include "extract.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct line {
	const char *text;
	size_t pos, len; /* without its end; at most three blanks before it are dropped */
};

static bool next_line(const struct buf *text, size_t *pos, struct line *out)
{
	const char *lf;
	size_t start = *pos, len, skip = 0;

	if (start >= text->len)
		return false;
	lf = memchr(text->data + start, '\n', text->len - start);
	len = lf ? (size_t)(lf - text->data) - start : text->len - start;
	*pos = start + len + 1;
	while (skip < 3 && skip < len && text->data[start + skip] == ' ')
		skip++;
	while (len > skip && strchr(" \t\r", text->data[start + len - 1]))
		len--;
	*out = (struct line){text->data + start + skip, start + skip, len - skip};
	return true;
}

/* the length of a run of ${c} that a line begins with */
static size_t run_of(const struct line *ln, char c)
{
	size_t n = 0;

	while (n < ln->len && ln->text[n] == c)
		n++;
	return n;
}

/* the fence that is open: as many of its sign at least, and nothing behind them, close it */
struct fence {
	char sign; /* 0: none is */
	size_t n;
};

static bool is_fence(const struct line *ln, struct fence *open)
{
	char c = ln->len >= 3 ? ln->text[0] : 0;
	size_t n = c == '`' || c == '~' ? run_of(ln, c) : 0;

	if (n < 3 || (open->sign && (open->sign != c || n < open->n || n < ln->len)))
		return false;
	/* ```code``` in a line is no fence */
	if (!open->sign && c == '`' && memchr(ln->text + n, '`', ln->len - n))
		return false;
	*open = open->sign ? (struct fence){0} : (struct fence){c, n};
	return true;
}

static int mark_atx(struct rag_extract *ex, const struct line *ln)
{
	size_t level = run_of(ln, '#'), start = level, end = ln->len, sign = end;

	if (level < 1 || level > RAG_LEVELS || level == ln->len || !is_blank(ln->text[level]))
		return 0;
	while (start < end && is_blank(ln->text[start]))
		start++;
	/* # signs behind a blank close the heading; those of "C#" are its text */
	while (sign > start && ln->text[sign - 1] == '#')
		sign--;
	if (sign == start || is_blank(ln->text[sign - 1]))
		end = sign;
	while (end > start && is_blank(ln->text[end - 1]))
		end--;
	return rag_extract_mark(ex, ln->pos + start, end - start, (unsigned)level);
}

/* a list, a quotation or code: a line of dashes under it is a rule */
static bool is_paragraph(const struct line *ln)
{
	return ln->len > 0 &&
	       !(strchr("-*+>", ln->text[0]) && (ln->len == 1 || is_blank(ln->text[1]))) &&
	       !is_blank(ln->text[0]);
}

static bool is_underline(const struct line *ln)
{
	return ln->len >= 2 && (run_of(ln, '=') == ln->len || run_of(ln, '-') == ln->len);
}

/* a front matter at the start: its end, and the title it may give */
static size_t front_matter(struct rag_extract *ex)
{
	size_t pos = 0, title = 0, title_len = 0;
	struct line ln;

	if (!next_line(&ex->text, &pos, &ln) || ln.len != 3 || run_of(&ln, '-') != 3)
		return 0;
	while (next_line(&ex->text, &pos, &ln)) {
		if (ln.len == 3 && run_of(&ln, '-') == 3) {
			if (title_len)
				rag_extract_mark(ex, title, title_len, 1);
			return pos;
		}
		if (ln.len > 7 && memcmp(ln.text, "title: ", 7) == 0) {
			title = ln.pos + 7;
			title_len = ln.len - 7;
		}
	}
	return 0;
}

int rag_extract_markdown(struct rag_extract *ex)
{
	struct line ln, before = {0};
	size_t pos = front_matter(ex);
	struct fence open = {0};

	while (next_line(&ex->text, &pos, &ln)) {
		bool is_code = open.sign != 0;

		if (is_fence(&ln, &open) || is_code) {
			before.len = 0;
			continue;
		}
		if (ln.len > 0 && ln.text[0] == '#') {
			mark_atx(ex, &ln);
			before.len = 0;
			continue;
		}
		/* a line under a paragraph: its last line stands for it */
		if (is_paragraph(&before) && before.len <= 200 && is_underline(&ln)) {
			rag_extract_mark(ex, before.pos, before.len, ln.text[0] == '=' ? 1 : 2);
			before.len = 0;
			continue;
		}
		before = ln;
	}
	return ex->marks.failed ? -ENOMEM : 0;
}
