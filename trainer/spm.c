/*
 * spm - text for the character kinds: where the tokenizer cuts at blanks they become U+2581, one
 * may stand before the first word; then pieces are merged up.
 */
#include <errno.h>
#include <string.h>

#include "trainer/vocab.h"

#define BLANK "\xe2\x96\x81" /* U+2581 */

static bool begins_blank(const char *text, size_t len)
{
	return *text == ' ' || (len >= 3 && memcmp(text, BLANK, 3) == 0);
}

int spm_text(
	const struct tokenizer *tk, const char *text, size_t len, bool at_start, struct ids *list)
{
	struct buf bf = BUF_INIT;
	size_t from = 0;
	int rc = 0;

	if (len == 0)
		return 0;
	if (!tk->mark_space)
		return bpe_piece(tk, text, len, list);
	if ((tk->mark_always || (tk->mark_first && at_start)) && !begins_blank(text, len))
		buf_puts(&bf, BLANK);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == ' ')
			buf_puts(&bf, BLANK);
		else
			buf_putc(&bf, text[i]);
	}
	if (bf.failed) {
		buf_release(&bf);
		return -ENOMEM;
	}
	for (size_t i = 1; tk->mark_words && i + 3 <= bf.len && rc == 0; i++) {
		if (memcmp(bf.data + i, BLANK, 3) == 0) {
			rc = bpe_piece(tk, bf.data + from, i - from, list);
			from = i;
		}
	}
	if (rc == 0)
		rc = bpe_piece(tk, bf.data + from, bf.len - from, list);
	buf_release(&bf);
	return rc;
}
