/*
 * extract_html - the text of an HTML page, by one pass over its bytes: no tree, no script, nothing
 * fetched, and no input is refused. White space is collapsed, but in <pre>; blocks begin a line;
 * titles and headings are marked.
 */
#include <errno.h>
#include <libxml/HTMLparser.h>
#include <string.h>
#include <strings.h>

#include "extract.h"
#include "text.h"

enum {
	TAG_BYTES = 16,
	ENTITY_BYTES = 12,
	HEADING_BYTES = 512, /* a longer one is a heading that nobody closed */
};

enum tag_is {
	TAG_INLINE,
	TAG_LINE,      /* begins and ends a line */
	TAG_PARAGRAPH, /* and an empty one before it */
	TAG_CELL,      /* a blank before it */
	TAG_PRE,
	TAG_HEADING,
	TAG_HIDDEN, /* its content is no text, up to its end tag */
};

static const struct tag {
	const char *name;
	enum tag_is is;
	unsigned level;
} tags[] = {
	{"address", TAG_LINE, 0},
	{"article", TAG_PARAGRAPH, 0},
	{"aside", TAG_PARAGRAPH, 0},
	{"blockquote", TAG_PARAGRAPH, 0},
	{"body", TAG_PARAGRAPH, 0},
	{"br", TAG_LINE, 0},
	{"caption", TAG_LINE, 0},
	{"dd", TAG_LINE, 0},
	{"details", TAG_LINE, 0},
	{"div", TAG_LINE, 0},
	{"dl", TAG_PARAGRAPH, 0},
	{"dt", TAG_LINE, 0},
	{"figcaption", TAG_LINE, 0},
	{"figure", TAG_PARAGRAPH, 0},
	{"footer", TAG_PARAGRAPH, 0},
	{"form", TAG_LINE, 0},
	{"h1", TAG_HEADING, 1},
	{"h2", TAG_HEADING, 2},
	{"h3", TAG_HEADING, 3},
	{"h4", TAG_HEADING, 4},
	{"h5", TAG_HEADING, 5},
	{"h6", TAG_HEADING, 6},
	{"header", TAG_PARAGRAPH, 0},
	{"hr", TAG_PARAGRAPH, 0},
	{"li", TAG_LINE, 0},
	{"main", TAG_PARAGRAPH, 0},
	{"nav", TAG_PARAGRAPH, 0},
	{"ol", TAG_PARAGRAPH, 0},
	{"option", TAG_LINE, 0},
	{"p", TAG_PARAGRAPH, 0},
	{"pre", TAG_PRE, 0},
	{"script", TAG_HIDDEN, 0},
	{"section", TAG_PARAGRAPH, 0},
	{"style", TAG_HIDDEN, 0},
	{"summary", TAG_LINE, 0},
	{"svg", TAG_HIDDEN, 0},
	{"table", TAG_PARAGRAPH, 0},
	{"td", TAG_CELL, 0},
	{"template", TAG_HIDDEN, 0},
	{"textarea", TAG_LINE, 0},
	{"th", TAG_CELL, 0},
	{"title", TAG_HEADING, 1},
	{"tr", TAG_LINE, 0},
	{"ul", TAG_PARAGRAPH, 0},
};

struct page {
	const char *data;
	size_t len, pos;
	struct rag_extract *ex;
	bool is_pre;
	bool has_blank; /* white space was seen since the last character */
	unsigned level; /* of the heading that is open, or 0 */
	size_t heading; /* where it began */
};

static const struct tag *find_tag(const char *name)
{
	size_t low = 0, high = sizeof(tags) / sizeof(*tags);

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(name, tags[mid].name);

		if (order == 0)
			return &tags[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void put_rune(struct page *pg, uint32_t rune)
{
	struct buf *out = &pg->ex->text;

	if (!pg->is_pre && rag_is_space(rune)) {
		pg->has_blank = true;
		return;
	}
	if (rune == 0 || (rune < ' ' && rune != '\n' && rune != '\t'))
		rune = ' ';
	if (pg->has_blank && out->len > 0 && out->data[out->len - 1] != '\n')
		buf_putc(out, ' ');
	pg->has_blank = false;
	rag_put_rune(out, rune);
}

static void close_heading(struct page *pg)
{
	struct buf *out = &pg->ex->text;
	size_t end = out->len;

	if (pg->level == 0)
		return;
	while (end > pg->heading && (out->data[end - 1] == ' ' || out->data[end - 1] == '\n'))
		end--;
	if (end > pg->heading && end - pg->heading <= HEADING_BYTES)
		rag_extract_mark(pg->ex, pg->heading, end - pg->heading, pg->level);
	pg->level = 0;
}

static void start_line(struct page *pg, unsigned lines)
{
	rag_extract_break(pg->ex, lines);
	pg->has_blank = false;
}

/* at the end tag of a hidden element, or the end of the page */
static void skip_hidden(struct page *pg, const char *name)
{
	size_t n = strlen(name);

	while (pg->pos < pg->len) {
		const char *lt = memchr(pg->data + pg->pos, '<', pg->len - pg->pos);

		if (!lt) {
			pg->pos = pg->len;
			return;
		}
		pg->pos = (size_t)(lt - pg->data);
		if (pg->len - pg->pos > n + 1 && lt[1] == '/' && strncasecmp(lt + 2, name, n) == 0)
			return;
		pg->pos++;
	}
}

/* ${is_whole}: written <x/>, with no end tag to come */
static void on_tag(struct page *pg, const char *name, bool is_end, bool is_whole)
{
	const struct tag *tag = find_tag(name);

	if (!tag)
		return;
	switch (tag->is) {
	case TAG_INLINE:
		break;
	case TAG_CELL:
		pg->has_blank = true;
		break;
	case TAG_LINE:
		start_line(pg, 1);
		break;
	case TAG_PARAGRAPH:
		close_heading(pg);
		start_line(pg, 2);
		break;
	case TAG_PRE:
		start_line(pg, 2);
		pg->is_pre = !is_end;
		break;
	case TAG_HEADING:
		close_heading(pg);
		start_line(pg, 2);
		pg->is_pre = false;
		pg->level = is_end ? 0 : tag->level;
		pg->heading = pg->ex->text.len;
		break;
	case TAG_HIDDEN:
		if (!is_end && !is_whole)
			skip_hidden(pg, name);
		break;
	}
}

/* behind the '>' of a tag, the quotes of its attributes minded; true when it was "/>" */
static bool skip_attributes(struct page *pg)
{
	char quote = 0, last = 0; /* that is no blank */

	for (; pg->pos < pg->len; pg->pos++) {
		char c = pg->data[pg->pos];

		if (quote) {
			if (c == quote)
				quote = 0;
		} else if (c == '>') {
			pg->pos++;
			return last == '/';
		} else if ((c == '"' || c == '\'') && last == '=') {
			quote = c;
		}
		if (!rag_is_space((unsigned char)c))
			last = c;
	}
	return false;
}

static void skip_to(struct page *pg, const char *end)
{
	const char *at = memmem(pg->data + pg->pos, pg->len - pg->pos, end, strlen(end));

	pg->pos = at ? (size_t)(at - pg->data) + strlen(end) : pg->len;
}

/* at a '<'; false: it is only a character */
static bool read_markup(struct page *pg)
{
	const char *s = pg->data + pg->pos;
	size_t left = pg->len - pg->pos, n = 0;
	char name[TAG_BYTES];
	bool is_end, is_whole;

	if (left > 3 && memcmp(s, "<!--", 4) == 0) {
		pg->pos += 2; /* <!--> is a whole one */
		skip_to(pg, "-->");
		return true;
	}
	if (left > 1 && (s[1] == '!' || s[1] == '?')) {
		skip_to(pg, ">");
		return true;
	}
	is_end = left > 1 && s[1] == '/';
	pg->pos += 1 + is_end;
	if (pg->pos >= pg->len || !is_letter(pg->data[pg->pos])) {
		pg->pos -= 1 + is_end;
		return false;
	}
	for (; pg->pos < pg->len; pg->pos++) {
		char c = pg->data[pg->pos];

		if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-' && c != ':')
			break;
		if (n < TAG_BYTES - 1)
			name[n++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	name[n] = '\0';
	is_whole = skip_attributes(pg);
	on_tag(pg, name, is_end, is_whole);
	return true;
}

/* &#128; to &#159; mean Windows-1252 in old pages, and to browsers: the apostrophe of don&#146;t */
static uint32_t windows_1252(uint32_t rune)
{
	static const uint16_t of[32] = {0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020,
		0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f, 0x90, 0x2018,
		0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a,
		0x0153, 0x9d, 0x017e, 0x0178};

	return rune >= 0x80 && rune < 0xa0 ? of[rune - 0x80] : rune;
}

static uint32_t number_entity(const char *text, size_t len)
{
	bool is_hex = len > 0 && (text[0] | 0x20) == 'x';
	uint32_t rune = 0;

	for (size_t i = is_hex; i < len; i++) {
		char c = text[i], low = (char)(c | 0x20);
		uint32_t digit = c >= '0' && c <= '9'		      ? (uint32_t)(c - '0')
				 : is_hex && low >= 'a' && low <= 'f' ? (uint32_t)(low - 'a' + 10)
								      : 99;

		if (digit == 99 || rune > 0x10ffff)
			return RAG_REPLACEMENT;
		rune = rune * (is_hex ? 16 : 10) + digit;
	}
	if (rune == 0 || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
		return RAG_REPLACEMENT;
	return windows_1252(rune);
}

/* at a '&'; false: it is only a character */
static bool read_entity(struct page *pg)
{
	const char *s = pg->data + pg->pos + 1;
	size_t left = pg->len - pg->pos - 1, n = 0;
	char name[ENTITY_BYTES + 1];
	const htmlEntityDesc *entity;

	while (n < left && n < ENTITY_BYTES && s[n] != ';' &&
		(s[n] == '#' || (s[n] >= '0' && s[n] <= '9') || is_letter(s[n]))) {
		name[n] = s[n];
		n++;
	}
	if (n < 2 || n == left || s[n] != ';')
		return false;
	name[n] = '\0';
	if (name[0] == '#') {
		put_rune(pg, number_entity(name + 1, n - 1));
	} else {
		entity = htmlEntityLookup((const xmlChar *)name);
		if (!entity)
			return false;
		put_rune(pg, entity->value);
	}
	pg->pos += n + 2;
	return true;
}

int rag_extract_html(const char *data, size_t len, struct rag_extract *ex)
{
	struct page pg = {.data = data, .len = len, .ex = ex};

	while (pg.pos < len) {
		char c = data[pg.pos];

		if ((c == '<' && read_markup(&pg)) || (c == '&' && read_entity(&pg)))
			continue;
		put_rune(&pg, rag_rune(data, len, &pg.pos, false));
	}
	close_heading(&pg);
	rag_extract_break(ex, 1);
	while (ex->text.len > 1 && ex->text.data[ex->text.len - 2] == '\n')
		ex->text.len--;
	return ex->text.failed || ex->marks.failed ? -ENOMEM : 0;
}
