/*
 * extract_office - DOCX, ODT and EPUB: zip archives of XML. Only the entries that hold the text are
 * unpacked, each and all together bounded whatever the archive says of itself; entities of the XML
 * are not expanded and nothing is fetched.
 */
#include <errno.h>
#include <libxml/xmlreader.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zip.h>

#include "extract.h"

enum {
	ENTRIES_MAX = 10000,
	ENTRY_MAX = RAG_TEXT_MAX, /* bytes unpacked, of all entries read */
	SPINE_MAX = 5000,	  /* chapters of a book */
	NAME_BYTES = 1024,
	XML_OPTIONS = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING,
};

struct archive {
	zip_t *zip;
	struct buf entry; /* the one unpacked last */
	size_t left;	  /* bytes that may still be unpacked */
};

static int archive_open(const char *data, size_t len, struct archive *ar)
{
	zip_error_t why;
	zip_source_t *source;

	*ar = (struct archive){.left = ENTRY_MAX};
	zip_error_init(&why);
	source = zip_source_buffer_create(data, len, 0, &why);
	if (source)
		ar->zip = zip_open_from_source(source, ZIP_RDONLY, &why);
	if (source && !ar->zip)
		zip_source_free(source);
	zip_error_fini(&why);
	if (ar->zip && zip_get_num_entries(ar->zip, 0) <= ENTRIES_MAX)
		return 0;
	if (ar->zip)
		zip_discard(ar->zip);
	return -ENODATA;
}

static void archive_close(struct archive *ar)
{
	zip_discard(ar->zip);
	buf_release(&ar->entry);
}

/* unpack an entry into ar->entry */
static int archive_read(struct archive *ar, const char *name)
{
	zip_file_t *file = zip_fopen(ar->zip, name, 0);
	zip_int64_t n = 0;

	buf_reset(&ar->entry);
	if (!file)
		return -ENODATA;
	do {
		size_t part = ar->left < 65536 ? ar->left + 1 : 65536;

		if (buf_reserve(&ar->entry, part) < 0) {
			zip_fclose(file);
			return -ENOMEM;
		}
		n = zip_fread(file, ar->entry.data + ar->entry.len, part);
		if (n > 0 && (size_t)n > ar->left) {
			zip_fclose(file);
			return -EFBIG;
		}
		ar->entry.len += n > 0 ? (size_t)n : 0;
		ar->left -= n > 0 ? (size_t)n : 0;
	} while (n > 0);
	zip_fclose(file);
	return n < 0 || ar->entry.len == 0 ? -ENODATA : 0;
}

static xmlTextReaderPtr reader_of(const struct buf *xml)
{
	return xmlReaderForMemory(xml->data, (int)xml->len, NULL, NULL, XML_OPTIONS);
}

static bool is_named(xmlTextReaderPtr rd, const char *name)
{
	const xmlChar *local = xmlTextReaderConstLocalName(rd);

	return local && strcmp((const char *)local, name) == 0;
}

/* the value of an attribute, whatever the prefix of its name; freed with free() by the caller */
static char *attribute(xmlTextReaderPtr rd, const char *name)
{
	char *out = NULL;

	while (!out && xmlTextReaderMoveToNextAttribute(rd) == 1)
		if (is_named(rd, name))
			out = strdup((const char *)xmlTextReaderConstValue(rd));
	xmlTextReaderMoveToElement(rd);
	return out;
}

/* ---- DOCX and ODT: paragraphs ---- */

struct paragraphs {
	struct rag_extract *ex;
	bool is_docx;
	bool is_text;	/* inside an element whose characters count */
	unsigned level; /* of the heading that is open */
	size_t start;	/* of the paragraph */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void paragraph_end(struct paragraphs *pr)
{
	const char *text = pr->ex->text.data;
	size_t start = pr->start, end = pr->ex->text.len;

	/* those behind it are taken back, and something else stands there then */
	while (end > start && is_blank(text[end - 1]))
		end--;
	while (start < end && is_blank(text[start]))
		start++;
	if (pr->level > 0 && end > start && end - start <= 512)
		rag_extract_mark(pr->ex, start, end - start, pr->level);
	rag_extract_break(pr->ex, 1);
	pr->level = 0;
	pr->start = pr->ex->text.len;
}

static unsigned level_of(const char *text)
{
	return text && text[0] >= '1' && text[0] <= '9' && !text[1] ? (unsigned)(text[0] - '0') : 0;
}

/* DOCX: <w:pStyle w:val="Heading1"/> or "Title" inside of the paragraph */
static void docx_style(struct paragraphs *pr, xmlTextReaderPtr rd)
{
	char *style = attribute(rd, "val");

	if (style && strncasecmp(style, "heading", 7) == 0)
		pr->level = level_of(style + 7);
	else if (style && strcasecmp(style, "title") == 0)
		pr->level = 1;
	free(style);
}

static void element_start(struct paragraphs *pr, xmlTextReaderPtr rd)
{
	if (is_named(rd, "p") || is_named(rd, "h")) {
		paragraph_end(pr);
		if (!pr->is_docx && is_named(rd, "h")) {
			char *level = attribute(rd, "outline-level");

			pr->level = level_of(level);
			free(level);
		}
		pr->is_text = !pr->is_docx && !xmlTextReaderIsEmptyElement(rd);
	} else if (pr->is_docx && is_named(rd, "pStyle")) {
		docx_style(pr, rd);
	} else if (pr->is_docx && is_named(rd, "t")) {
		pr->is_text = !xmlTextReaderIsEmptyElement(rd);
	} else if (is_named(rd, "tab") || is_named(rd, "s")) {
		buf_putc(&pr->ex->text, ' ');
	} else if (is_named(rd, "br") || is_named(rd, "line-break")) {
		buf_putc(&pr->ex->text, '\n');
	}
}

static void element_end(struct paragraphs *pr, xmlTextReaderPtr rd)
{
	if (pr->is_docx && is_named(rd, "t"))
		pr->is_text = false;
	if (is_named(rd, "p") || is_named(rd, "h")) {
		paragraph_end(pr);
		pr->is_text = false;
	}
}

static int read_paragraphs(const struct buf *xml, bool is_docx, struct rag_extract *ex)
{
	struct paragraphs pr = {.ex = ex, .is_docx = is_docx};
	xmlTextReaderPtr rd = reader_of(xml);

	if (!rd)
		return -ENOMEM;
	while (xmlTextReaderRead(rd) == 1 && !ex->text.failed) {
		int type = xmlTextReaderNodeType(rd);

		if (type == XML_READER_TYPE_ELEMENT)
			element_start(&pr, rd);
		else if (type == XML_READER_TYPE_END_ELEMENT)
			element_end(&pr, rd);
		else if (pr.is_text && xmlTextReaderConstValue(rd))
			buf_puts(&ex->text, (const char *)xmlTextReaderConstValue(rd));
	}
	paragraph_end(&pr);
	xmlFreeTextReader(rd);
	if (ex->text.failed)
		return -ENOMEM;
	return ex->text.len ? 0 : -ENODATA;
}

/* ---- EPUB: chapters, in the order of the spine ---- */

struct item {
	char *id, *href; /* owned */
};

struct book {
	struct item *items; /* owned */
	size_t n_items;
	size_t spine[SPINE_MAX];
	size_t n_spine, n_refs; /* found; looked for */
};

static void book_release(struct book *bk)
{
	for (size_t i = 0; i < bk->n_items; i++) {
		free(bk->items[i].id);
		free(bk->items[i].href);
	}
	free(bk->items);
}

/* the path of the package file, which META-INF/container.xml names; freed by the caller */
static char *package_path(struct archive *ar, int *rc)
{
	xmlTextReaderPtr rd;
	char *path = NULL;

	*rc = archive_read(ar, "META-INF/container.xml");
	if (*rc < 0)
		return NULL;
	rd = reader_of(&ar->entry);
	while (rd && !path && xmlTextReaderRead(rd) == 1)
		if (xmlTextReaderNodeType(rd) == XML_READER_TYPE_ELEMENT &&
			is_named(rd, "rootfile"))
			path = attribute(rd, "full-path");
	xmlFreeTextReader(rd);
	if (!path || strlen(path) >= NAME_BYTES) {
		free(path);
		path = NULL;
		*rc = -ENODATA;
	}
	return path;
}

static int add_item(struct book *bk, xmlTextReaderPtr rd)
{
	char *media = attribute(rd, "media-type");
	bool is_text = media && (strstr(media, "html") != NULL);
	struct item *items;

	free(media);
	if (!is_text || bk->n_items == SPINE_MAX)
		return 0;
	items = realloc(bk->items, (bk->n_items + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	bk->items = items;
	items[bk->n_items] = (struct item){attribute(rd, "id"), attribute(rd, "href")};
	bk->n_items++;
	return 0;
}

/* those that name nothing count, too: each is held against all items */
static void add_chapter(struct book *bk, xmlTextReaderPtr rd)
{
	char *id = bk->n_refs++ < SPINE_MAX ? attribute(rd, "idref") : NULL;

	for (size_t i = 0; id && i < bk->n_items; i++)
		if (bk->items[i].id && strcmp(bk->items[i].id, id) == 0) {
			bk->spine[bk->n_spine++] = i;
			break;
		}
	free(id);
}

static int read_package(const struct buf *xml, struct book *bk, struct rag_extract *ex)
{
	xmlTextReaderPtr rd = reader_of(xml);
	bool is_title = false;
	int rc = rd ? 0 : -ENOMEM;

	while (rc == 0 && xmlTextReaderRead(rd) == 1) {
		int type = xmlTextReaderNodeType(rd);

		if (type == XML_READER_TYPE_TEXT && is_title && ex->title.len == 0)
			buf_puts(&ex->title, (const char *)xmlTextReaderConstValue(rd));
		is_title = type == XML_READER_TYPE_ELEMENT && is_named(rd, "title");
		if (type == XML_READER_TYPE_ELEMENT && is_named(rd, "item"))
			rc = add_item(bk, rd);
		else if (type == XML_READER_TYPE_ELEMENT && is_named(rd, "itemref"))
			add_chapter(bk, rd);
	}
	xmlFreeTextReader(rd);
	return rc < 0 ? rc : bk->n_spine ? 0 : -ENODATA;
}

/* a href is relative to the package file and may hold %XX */
static void chapter_path(const char *package, const char *href, char out[NAME_BYTES])
{
	const char *slash = strrchr(package, '/');
	size_t n = slash ? (size_t)(slash - package) + 1 : 0;

	memcpy(out, package, n);
	for (; *href && *href != '#' && n < NAME_BYTES - 1; href++) {
		char hex[3] = {0}, *end;
		unsigned long byte;

		if (href[0] == '%' && href[1] && href[2]) {
			hex[0] = href[1];
			hex[1] = href[2];
			byte = strtoul(hex, &end, 16);
			if (*end == '\0' && byte > 0) {
				out[n++] = (char)byte;
				href += 2;
				continue;
			}
		}
		out[n++] = *href;
	}
	out[n] = '\0';
}

static int read_book(struct archive *ar, struct rag_extract *ex)
{
	struct book *bk = calloc(1, sizeof(*bk));
	char name[NAME_BYTES], *package = NULL;
	int rc = bk ? 0 : -ENOMEM;

	if (rc == 0)
		package = package_path(ar, &rc);
	if (rc == 0)
		rc = archive_read(ar, package);
	if (rc == 0)
		rc = read_package(&ar->entry, bk, ex);
	for (size_t i = 0; rc == 0 && i < bk->n_spine; i++) {
		const char *href = bk->items[bk->spine[i]].href;

		if (!href)
			continue;
		chapter_path(package, href, name);
		rc = archive_read(ar, name);
		if (rc == 0) {
			rag_extract_break(ex, 2);
			rag_extract_mark(ex, ex->text.len, 0, 0);
			rc = rag_extract_html(ar->entry.data, ar->entry.len, ex);
		} else if (rc == -ENODATA) { /* a chapter that is not there */
			rc = 0;
		}
	}
	free(package);
	if (bk)
		book_release(bk);
	free(bk);
	return rc < 0 ? rc : ex->text.len ? 0 : -ENODATA;
}

int rag_extract_office(enum rag_kind kind, const char *data, size_t len, struct rag_extract *ex)
{
	struct archive ar;
	int rc = archive_open(data, len, &ar);

	if (rc < 0)
		return rc;
	if (kind == RAG_KIND_EPUB) {
		rc = read_book(&ar, ex);
	} else {
		rc = archive_read(&ar, kind == RAG_KIND_DOCX ? "word/document.xml" : "content.xml");
		if (rc == 0)
			rc = read_paragraphs(&ar.entry, kind == RAG_KIND_DOCX, ex);
	}
	archive_close(&ar);
	return rc;
}
