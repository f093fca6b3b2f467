/* Extraction of a kind of file and the pieces it is cut into: whatever comes, the text is UTF-8,
 * bounded, and pieces lie in it, in order. */
#ifndef RAG_EXTRACT_FUZZ_H
#define RAG_EXTRACT_FUZZ_H

#include <stdlib.h>

#include "base/json.h"
#include "rag/chunk.h"

struct check {
	const struct rag_extract *ex;
	size_t at;
};

static inline int look(void *arg, const struct rag_chunk *ck)
{
	struct check *ch = arg;

	if (ck->start < ch->at || ck->end <= ck->start || ck->end > ch->ex->text.len)
		abort();
	ch->at = ck->end;
	return 0;
}

static inline int extract_any(const char *name, const unsigned char *data, size_t size)
{
	struct rag_extract ex = {0};
	struct check ch = {.ex = &ex};

	if (rag_extract(rag_kind_of(name), (const char *)data, size, &ex) == 0) {
		if (utf8_check(buf_str(&ex.text), ex.text.len) < ex.text.len)
			abort();
		rag_chunks(&ex, look, &ch);
	}
	rag_extract_release(&ex);
	return 0;
}

#endif
