/*
 * constrain_words - a vocabulary's texts in order: made once for a model, read by all its grammars.
 * Private to constrain*.c.
 */
#ifndef KOLM_CONSTRAIN_WORDS_H
#define KOLM_CONSTRAIN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { WORD_BYTES_MAX = 256 }; /* a longer text is no word */

struct words {
	int vocab, n; /* ids, and those with a text */
	uint32_t *at; /* text of an id: [at[id], at[id + 1]) */
	struct buf text;
	int *order;	  /* ids by their bytes */
	uint16_t *shared; /* bytes an entry of ${order} has in common with the one before */
	int *end;	  /* ids that end a turn */
	int ends;
	bool has_bytes; /* every byte of UTF-8 text is a token: an end n bytes away is n tokens away
			   at most */
};

/* words_text(w, id, len): borrowed, no NUL; ${len} 0: the id is no word. */
static inline const unsigned char *words_text(const struct words *w, int id, size_t *len)
{
	*len = w->at[id + 1] - w->at[id];
	return (const unsigned char *)buf_str(&w->text) + w->at[id];
}

#endif
