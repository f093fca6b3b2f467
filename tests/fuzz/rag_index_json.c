/* rag_index_json - an index.json of another program, and a question to it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rag/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char question[] = "cat dog 42 __proto__ constructor";
	struct rag_index *ix = calloc(1, sizeof(*ix));
	struct buf out = BUF_INIT, text = BUF_INIT;

	if (!ix || !(ix->name = strdup("fuzz")) || buf_add(&text, data, size) < 0)
		goto out;
	ix->paper = "index.json";
	if (rag_compat(ix, buf_str(&text), text.len, NULL) == 0) {
		/* its files are not to be read from this machine */
		free(ix->root);
		ix->root = strdup("/nowhere/at/all");
		rag_query(ix, question, strlen(question), 10, RAG_JSON, &out, NULL);
		rag_docs(ix, &out);
	}
out:
	buf_release(&out);
	buf_release(&text);
	rag_close(ix);
	return 0;
}
