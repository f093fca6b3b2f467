/* The query language: whatever comes, the parts lie in the text, in order, and are no more than the
 * limit. */
#include <stdlib.h>

#include "rag/lang.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	const char *text = (const char *)data, *at = text;
	struct rag_question q;

	if (rag_question_parse(text, size, &q, NULL) < 0)
		return 0;
	for (size_t i = 0; i < q.n; i++) {
		if (q.at[i].len == 0 || q.at[i].text < at ||
			q.at[i].text + q.at[i].len > text + size)
			abort();
		at = q.at[i].text + q.at[i].len;
	}
	return q.n > RAG_CLAUSES_MAX ? abort(), 0 : 0;
}
