/*
 * extract - the text of a file of any known kind, for mode kolm-2: what is kept, shown and cut into
 * pieces, with marks where its parts begin.
 *
 * Files that are text already (plain, Markdown, source code, CSV) stay as they are, so that lines
 * can be told. HTML is stripped; JSON becomes a line `key.path: value` for each value; DOCX, ODT
 * and EPUB are read through libzip and libxml2, PDF by poppler's pdftotext. Everything is bounded: what a file may become
 * (RAG_TEXT_MAX), how deep it may go, how many entries it may have.
 */
#ifndef KOLM_RAG_EXTRACT_H
#define KOLM_RAG_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	RAG_TEXT_MAX = 64 << 20, /* bytes of text that one file may give */
	RAG_LEVELS = 6,		 /* of headings */
};

enum rag_kind {
	RAG_KIND_TEXT,
	RAG_KIND_MARKDOWN,
	RAG_KIND_HTML,
	RAG_KIND_JSON,
	RAG_KIND_JSONL,
	RAG_KIND_CSV,
	RAG_KIND_DOCX,
	RAG_KIND_ODT,
	RAG_KIND_EPUB,
	RAG_KIND_PDF, /* the bytes are what pdftotext made of it (pdf.h) */
};

/* a place in the text where a part begins, in order */
struct rag_mark {
	size_t pos;
	uint32_t len;	/* of the heading that stands there; 0: a record or a page */
	uint32_t level; /* 1 to RAG_LEVELS; 0: a record or a page */
};

struct rag_extract {
	struct buf text;  /* valid UTF-8 */
	struct buf marks; /* struct rag_mark */
	struct buf title; /* of the whole file where it does not stand in the text (a CSV's first
			     line); may be empty */
	bool has_lines;	  /* the lines of the text are those of the file */
	bool has_pages;	  /* a mark of level 0 is a page, the first at 0 */
};

/* rag_kind_of(path): by the extension; RAG_KIND_TEXT for what is not known. */
enum rag_kind rag_kind_of(const char *path);

/*
 * rag_extract(kind, data, len, out): make ${out} (all of it emptied first; release in any case) of
 * a file's bytes. JSON that is none is plain text. -ENODATA: no text of that kind (binary, damaged,
 * encrypted), -EFBIG: more than RAG_TEXT_MAX; -ENOMEM.
 */
int rag_extract(enum rag_kind kind, const char *data, size_t len, struct rag_extract *out);
void rag_extract_release(struct rag_extract *ex);

/* the kinds, one file each; all append to ex->text */
int rag_extract_html(const char *data, size_t len, struct rag_extract *ex);
int rag_extract_json(const char *data, size_t len, struct rag_extract *ex); /* -EBADMSG: none */
int rag_extract_jsonl(const char *data, size_t len, struct rag_extract *ex);
int rag_extract_markdown(struct rag_extract *ex); /* marks in the text that is there */
int rag_extract_office(enum rag_kind kind, const char *data, size_t len, struct rag_extract *ex);

/* rag_extract_mark(ex, pos, len, level): one more mark. -ENOMEM. */
int rag_extract_mark(struct rag_extract *ex, size_t pos, size_t len, unsigned level);

/* rag_extract_break(ex, lines): end the line being written, and leave ${lines} - 1 empty ones;
 * blanks before the end go. Nothing at the start of the text. */
void rag_extract_break(struct rag_extract *ex, unsigned lines);

#endif
