#include "mode.h"

#include <errno.h>
#include <string.h>

#include "bm25.h"

int rag_mode_find(const char *name, const char *lang, struct rag_mode *out, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	if (name && strcmp(name, "rag-bm25-1") != 0)
		return err_set(err, EINVAL, "mode %s is not known; there is rag-bm25-1",
			err_quote(quoted, name, strlen(name)));
	if (lang)
		return err_set(err, EINVAL, "mode rag-bm25-1 has no languages");
	*out = (struct rag_mode){
		.analyser = "rag-bm25-1", .spec = "rag-bm25-1", .k1 = RAG_K1, .b = RAG_B};
	return 0;
}
