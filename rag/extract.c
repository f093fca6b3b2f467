#include "extract.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "text.h"

enum { BINARY_LOOK = 8192 }; /* bytes that are looked at for a NUL */

static const struct {
	const char *ext;
	enum rag_kind kind;
} kinds[] = {
	{"md", RAG_KIND_MARKDOWN},
	{"markdown", RAG_KIND_MARKDOWN},
	{"mdown", RAG_KIND_MARKDOWN},
	{"mkd", RAG_KIND_MARKDOWN},
	{"html", RAG_KIND_HTML},
	{"htm", RAG_KIND_HTML},
	{"xhtml", RAG_KIND_HTML},
	{"json", RAG_KIND_JSON},
	{"jsonl", RAG_KIND_JSONL},
	{"ndjson", RAG_KIND_JSONL},
	{"csv", RAG_KIND_CSV},
	{"tsv", RAG_KIND_CSV},
	{"docx", RAG_KIND_DOCX},
	{"odt", RAG_KIND_ODT},
	{"epub", RAG_KIND_EPUB},
	{"pdf", RAG_KIND_PDF},
};

enum rag_kind rag_kind_of(const char *path)
{
	const char *name = strrchr(path, '/'), *dot;

	name = name ? name + 1 : path;
	dot = strrchr(name, '.');
	if (!dot || dot == name)
		return RAG_KIND_TEXT;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcasecmp(dot + 1, kinds[i].ext) == 0)
			return kinds[i].kind;
	return RAG_KIND_TEXT;
}

int rag_extract_mark(struct rag_extract *ex, size_t pos, size_t len, unsigned level)
{
	struct rag_mark mark = {.pos = pos,
		.len = len < UINT32_MAX ? (uint32_t)len : 0,
		.level = level <= RAG_LEVELS ? level : RAG_LEVELS};

	return buf_add(&ex->marks, &mark, sizeof(mark));
}

void rag_extract_break(struct rag_extract *ex, unsigned lines)
{
	struct buf *text = &ex->text;
	unsigned have = 0;

	while (text->len > 0 &&
		(text->data[text->len - 1] == ' ' || text->data[text->len - 1] == '\n')) {
		have += text->data[text->len - 1] == '\n';
		text->len--;
	}
	if (text->len == 0)
		return;
	for (unsigned i = 0; i < (have > lines ? have : lines); i++)
		buf_putc(text, '\n');
}

/* files that are text already */
static int extract_plain(const char *data, size_t len, struct rag_extract *ex)
{
	if (memchr(data, 0, len < BINARY_LOOK ? len : BINARY_LOOK))
		return -ENODATA;
	ex->has_lines = true;
	return rag_decode(data, len, &ex->text);
}

/* the names of the columns belong to every row */
static int extract_csv(const char *data, size_t len, struct rag_extract *ex)
{
	int rc = extract_plain(data, len, ex);
	const char *text = buf_str(&ex->text), *lf = memchr(text, '\n', ex->text.len);
	size_t n = lf ? (size_t)(lf - text) : ex->text.len;

	if (rc == 0 && lf && n <= 1024 && memchr(text, '"', n) == NULL)
		for (size_t i = 0; i < n; i++)
			buf_putc(&ex->title, text[i] == ',' || text[i] == ';' || text[i] == '\t' ||
							     text[i] == '\r'
						     ? ' '
						     : text[i]);
	return rc < 0 ? rc : ex->title.failed ? -ENOMEM : 0;
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] > ' ')
			return false;
	return true;
}

/* a form feed stands behind each page */
static int extract_pages(const char *data, size_t len, struct rag_extract *ex)
{
	bool has_text = false;
	int rc = 0;

	for (size_t i = 0, n; rc == 0 && i < len; i += n + 1) {
		const char *end = memchr(data + i, '\f', len - i);

		n = end ? (size_t)(end - data) - i : len - i;
		rc = rag_extract_mark(ex, ex->text.len, 0, 0);
		if (rc == 0)
			rc = rag_decode(data + i, n, &ex->text);
		has_text = has_text || !is_blank(data + i, n);
		/* what stands on it is no part of the next */
		if (rc == 0)
			rc = buf_putc(&ex->text, '\n');
	}
	ex->has_pages = true;
	return rc < 0 ? -ENOMEM : has_text ? 0 : -ENODATA;
}

static int extract_kind(enum rag_kind kind, const char *data, size_t len, struct rag_extract *ex)
{
	int rc;

	switch (kind) {
	case RAG_KIND_HTML:
		return memchr(data, 0, len < BINARY_LOOK ? len : BINARY_LOOK)
			       ? -ENODATA
			       : rag_extract_html(data, len, ex);
	case RAG_KIND_JSON:
		rc = rag_extract_json(data, len, ex);
		return rc == -EBADMSG ? extract_plain(data, len, ex) : rc;
	case RAG_KIND_JSONL:
		return rag_extract_jsonl(data, len, ex);
	case RAG_KIND_CSV:
		return extract_csv(data, len, ex);
	case RAG_KIND_MARKDOWN:
		rc = extract_plain(data, len, ex);
		return rc < 0 ? rc : rag_extract_markdown(ex);
	case RAG_KIND_DOCX:
	case RAG_KIND_ODT:
	case RAG_KIND_EPUB:
		return rag_extract_office(kind, data, len, ex);
	case RAG_KIND_PDF:
		return extract_pages(data, len, ex);
	case RAG_KIND_TEXT:
		break;
	}
	return extract_plain(data, len, ex);
}

int rag_extract(enum rag_kind kind, const char *data, size_t len, struct rag_extract *out)
{
	int rc;

	buf_reset(&out->text);
	buf_reset(&out->marks);
	buf_reset(&out->title);
	out->has_lines = out->has_pages = false;
	if (len == 0)
		return -ENODATA;
	/* a mark of the byte order is no text */
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	rc = extract_kind(kind, data, len, out);
	if (out->text.data) /* the end may have been taken back */
		out->text.data[out->text.len] = '\0';
	if (rc == 0 && (out->text.failed || out->marks.failed || out->title.failed))
		rc = -ENOMEM;
	if (rc == 0 && out->text.len > RAG_TEXT_MAX)
		rc = -EFBIG;
	return rc;
}

void rag_extract_release(struct rag_extract *ex)
{
	buf_release(&ex->text);
	buf_release(&ex->marks);
	buf_release(&ex->title);
}
