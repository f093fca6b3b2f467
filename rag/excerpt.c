/* excerpt - the piece of a document that is shown with a hit (FORMATS 10.7). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "text.h"
#include "tokenize.h"

enum { UNITS_BEFORE = 80, UNITS_BEHIND = 160 };

#define ELLIPSIS "\xe2\x80\xa6"

/* the unit of the lower-cased text where the first of the words that occurs at all begins, or
 * SIZE_MAX */
static size_t first_hit(const unsigned char *low, size_t units, const struct rag_terms *words)
{
	for (size_t i = 0; i < words->n; i++) {
		const unsigned char *at =
			memmem(low, units, rag_terms_text(words, i), words->at[i].len);

		if (at)
			return (size_t)(at - low);
	}
	return SIZE_MAX;
}

int rag_excerpt(const char *text, size_t len, const struct rag_terms *words, struct buf *out)
{
	unsigned char *low = malloc(len + 1);
	size_t units, dotted, hit, start, end;

	if (!low)
		return -ENOMEM;
	units = rag_fold(text, len, low, &dotted);
	hit = first_hit(low, units, words);
	free(low);
	if (hit == SIZE_MAX)
		return 0;
	/* the window is counted in the lower-cased text and cut from the other one, which is
	 * shorter by each U+0130 */
	units -= dotted;
	start = hit > UNITS_BEFORE ? hit - UNITS_BEFORE : 0;
	end = hit + UNITS_BEHIND < units ? hit + UNITS_BEHIND : units;
	if (start > 0)
		buf_puts(out, ELLIPSIS " ");
	rag_slice(text, len, start, end, out);
	if (end < units)
		buf_puts(out, " " ELLIPSIS);
	return out->failed ? -ENOMEM : 1;
}
