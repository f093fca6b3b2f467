#include "chunk.h"

#include <errno.h>
#include <string.h>

enum { TITLE_BYTES = 400, HEADING_SHOWN = 160 };

struct cutter {
	const struct rag_extract *ex;
	const char *text;
	size_t len;
	rag_chunk_each *each;
	void *arg;
	const struct rag_mark *marks;
	size_t n_marks;
	struct rag_mark open[RAG_LEVELS + 1]; /* the headings in force, by level; len 0: none */
	struct buf title;
	uint64_t line, page; /* at ${counted} */
	size_t counted;
};

static void add_title(struct buf *title, const char *text, size_t len)
{
	if (len > HEADING_SHOWN) {
		len = HEADING_SHOWN;
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	if (len == 0 || title->len + len + 3 > TITLE_BYTES)
		return;
	if (title->len)
		buf_puts(title, " > ");
	buf_add(title, text, len);
}

static int make_title(struct cutter *ct)
{
	buf_reset(&ct->title);
	add_title(&ct->title, buf_str(&ct->ex->title), ct->ex->title.len);
	for (size_t i = 1; i <= RAG_LEVELS; i++)
		add_title(&ct->title, ct->text + ct->open[i].pos, ct->open[i].len);
	return ct->title.failed ? -ENOMEM : 0;
}

static void open_heading(struct cutter *ct, const struct rag_mark *mark)
{
	for (size_t i = mark->level; i <= RAG_LEVELS; i++)
		ct->open[i].len = 0;
	/* two headings of one text, as a page's title and its h1 mostly are, are shown once */
	for (size_t i = 1; i < mark->level; i++)
		if (ct->open[i].len == mark->len &&
			memcmp(ct->text + ct->open[i].pos, ct->text + mark->pos, mark->len) == 0)
			ct->open[i].len = 0;
	ct->open[mark->level] = *mark;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static uint64_t line_at(struct cutter *ct, size_t pos)
{
	for (; ct->counted < pos; ct->counted++)
		ct->line += ct->text[ct->counted] == '\n';
	return ct->line;
}

static int emit(struct cutter *ct, size_t start, size_t end)
{
	struct rag_chunk ck = {.title = &ct->title};
	size_t skip;

	/* from the start of its first line that is not empty */
	for (skip = start; skip < end && is_blank(ct->text[skip]); skip++)
		if (ct->text[skip] == '\n')
			start = skip + 1;
	while (end > start && is_blank(ct->text[end - 1]))
		end--;
	if (end <= start)
		return 0;
	ck.start = start;
	ck.end = end;
	if (ct->ex->has_lines) {
		ck.from = line_at(ct, start);
		ck.to = line_at(ct, end - 1);
	} else if (ct->ex->has_pages) {
		ck.from = ck.to = ct->page;
	}
	return ct->each(ct->arg, &ck);
}

/* the last place in [low, high) behind which ${a}, and ${b} before it unless 0, stands; 0 none */
static size_t last_break(const char *text, size_t low, size_t high, char a, char b)
{
	for (size_t i = high; i > low + 1; i--)
		if (text[i - 1] == a && (!b || text[i - 2] == b))
			return i;
	return 0;
}

static size_t whole_rune(const char *text, size_t pos)
{
	while (pos > 0 && ((unsigned char)text[pos] & 0xc0) == 0x80)
		pos--;
	return pos;
}

/* where a part that is too long is cut: as early as a good place comes */
static size_t cut_at(const char *text, size_t start, size_t end)
{
	const char *at;
	size_t pos;

	at = memmem(text + start + RAG_CHUNK_PARAGRAPH, RAG_CHUNK_LINE - RAG_CHUNK_PARAGRAPH,
		"\n\n", 2);
	if (at)
		return (size_t)(at - text) + 2;
	at = memchr(text + start + RAG_CHUNK_LINE, '\n', RAG_CHUNK_SENTENCE - RAG_CHUNK_LINE);
	if (at)
		return (size_t)(at - text) + 1;
	if (end - start <= RAG_CHUNK_MAX)
		return end;
	pos = last_break(text, start + RAG_CHUNK_LINE, start + RAG_CHUNK_SENTENCE, ' ', '.');
	if (!pos)
		pos = last_break(
			text, start + RAG_CHUNK_LINE, start + RAG_CHUNK_MAX, '\x82', '\x80');
	if (!pos)
		pos = last_break(text, start + RAG_CHUNK_LINE, start + RAG_CHUNK_MAX, ' ', 0);
	return pos ? pos : whole_rune(text, start + RAG_CHUNK_MAX);
}

/* a part between two marks */
static int emit_part(struct cutter *ct, size_t start, size_t end)
{
	int rc = make_title(ct);

	while (rc == 0 && end - start > RAG_CHUNK_SENTENCE) {
		size_t at = cut_at(ct->text, start, end);

		rc = emit(ct, start, at);
		start = at;
	}
	return rc < 0 ? rc : emit(ct, start, end);
}

/* the start of the line that holds a mark, so that its # signs go with it */
static size_t line_start(const struct cutter *ct, const struct rag_mark *mark)
{
	size_t pos = mark->pos;

	while (pos > 0 && ct->text[pos - 1] != '\n')
		pos--;
	return pos;
}

static bool has_body(const struct cutter *ct, size_t body, size_t end)
{
	size_t n = 0;

	for (size_t i = body; i < end && n < RAG_CHUNK_BODY; i++)
		n += !is_blank(ct->text[i]);
	return n >= RAG_CHUNK_BODY;
}

int rag_chunks(const struct rag_extract *ex, rag_chunk_each *each, void *arg)
{
	struct cutter ct = {.ex = ex,
		.text = buf_str(&ex->text),
		.len = ex->text.len,
		.each = each,
		.arg = arg,
		.marks = (const struct rag_mark *)ex->marks.data,
		.n_marks = ex->marks.len / sizeof(struct rag_mark),
		.line = 1};
	size_t start = 0, body = 0; /* of the part being gathered, and behind its headings */
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ct.n_marks; i++) {
		const struct rag_mark *mark = &ct.marks[i];
		size_t at = line_start(&ct, mark);

		if (at < start)
			at = start;
		/* little before a heading: it stays with what follows; a record or a page is
		 * always alone */
		if (mark->level == 0 || has_body(&ct, body, at)) {
			rc = emit_part(&ct, start, at);
			start = at;
		}
		if (mark->level > 0)
			open_heading(&ct, mark);
		else if (ex->has_pages)
			ct.page++;
		else
			memset(ct.open, 0, sizeof(ct.open));
		body = mark->pos + mark->len;
	}
	if (rc == 0)
		rc = emit_part(&ct, start, ct.len);
	buf_release(&ct.title);
	return rc;
}
