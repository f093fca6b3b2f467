/*
 * query - the words of a search: the name query?q=... and the first line of the query file
 * (files.md 4.5, BAD-INPUTS J11-J15).
 */
#ifndef KOLM_QUERY_H
#define KOLM_QUERY_H

#include "base/buf.h"
#include "base/err.h"
#include "rag/kolmrag.h"

struct query {
	struct buf text, path, mode; /* decoded, owned; the last two may be absent */
	bool has_path, has_mode;
	size_t k, after;
	enum rag_format format;
	bool explain;
};

/* query_parse(name, len, out, err): of "query?q=...&k=...&fmt=text|json|paths&mode=...&path=...&
 * after=N&explain=1": '+' is a blank, %XX a byte, a
 * '%' without two hex digits itself. -EINVAL, -ERANGE, -EILSEQ. */
int query_parse(const char *name, size_t len, struct query *out, struct err *err);

/* query_parse_text(text, len, out, err): a question as written, its first line perhaps `#k=10
 * fmt=json`. */
int query_parse_text(const char *text, size_t len, struct query *out, struct err *err);

void query_release(struct query *qr);

#endif
