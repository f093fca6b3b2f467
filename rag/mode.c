#include "mode.h"

#include <errno.h>
#include <string.h>

#include "kolmrag.h"
#include "mode_kolm2.h"

int rag_mode_find(const char *name, const char *lang, struct rag_mode *out, struct err *err)
{
	int rc = rag_mode_check(name, lang, err);

	if (rc < 0)
		return rc;
	if (name && strcmp(name, RAG_KOLM2) == 0)
		return rag_mode_kolm2(lang, out, err);
	rag_mode_bm25(out);
	return 0;
}

int rag_mode_of(const char *analyser, struct rag_mode *out, struct err *err)
{
	char text[RAG_MODE_BYTES], quoted[ERR_QUOTE_BYTES + 8], *name, *lang, *rest;
	int rc;

	memcpy(text, analyser, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	name = strtok_r(text, " ", &rest);
	lang = name ? strtok_r(NULL, " ", &rest) : NULL;
	rc = rag_mode_find(name, lang, out, err);
	if (rc == 0 && strcmp(out->analyser, analyser) != 0)
		rc = err_set(err, EINVAL, "it was made with %s, this program has %s",
			err_quote(quoted, analyser, strlen(analyser)), out->analyser);
	return rc;
}
