/* mode_check - apart from mode.c, so that who only asks links nothing of what reads documents. */
#include <errno.h>
#include <string.h>

#include "analyze.h"
#include "kolmrag.h"
#include "mode_kolm2.h"

int rag_mode_check(const char *name, const char *lang, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	struct rag_analyzer an;
	int rc;

	if (name && strcmp(name, RAG_KOLM2) == 0) {
		rc = rag_analyzer_init(&an, lang, err);
		if (rc == 0)
			rag_analyzer_release(&an);
		return rc;
	}
	if (name && strcmp(name, "rag-bm25-1") != 0)
		return err_set(err, EINVAL,
			"mode \"%s\" is not known; there are rag-bm25-1 and kolm-2",
			err_quote(quoted, name, strlen(name)));
	if (lang)
		return err_set(err, EINVAL, "mode rag-bm25-1 has no languages");
	return 0;
}
