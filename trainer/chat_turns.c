/*
 * chat_turns - the tokens that part the turns of a conversation. Where somebody's training added
 * them to a base, they often are no control tokens, and text that spells one would become it: what
 * a user writes could end the user's turn and begin another.
 *
 * They are found by what the template makes of two messages that differ: the added tokens in front
 * of the message, the first one behind it, and those that begin and end a text. Tokens that stand
 * only in answers (of thoughts, of calls of tools) stay what they are.
 */
#include <errno.h>
#include <stdlib.h>

#include "trainer/chat.h"
#include "trainer/tokenizer_load.h"

static void reserve_around(struct tokenizer *tk, const int *a, size_t n, const int *b, size_t m)
{
	size_t least = n < m ? n : m, front = 0, behind = 0;

	while (front < least && a[front] == b[front])
		tokenizer_reserve(tk, a[front++]);
	while (behind < least - front && a[n - 1 - behind] == b[m - 1 - behind])
		behind++;
	while (behind > 0 && !tokenizer_reserve(tk, a[n - behind]))
		behind--;
}

int chat_part_turns(const struct chat *ch, struct tokenizer *tk, struct err *err)
{
	int *a = NULL, *b = NULL, rc;
	size_t n, m;

	tokenizer_reserve(tk, tokenizer_bos(tk));
	for (int id = 0; id < tokenizer_size(tk); id++)
		if (chat_is_end(ch, id))
			tokenizer_reserve(tk, id);
	rc = chat_prompt(ch, tk, "s", "a", 1, &a, &n, NULL);
	if (rc == 0)
		rc = chat_prompt(ch, tk, "s", "b", 1, &b, &m, NULL);
	if (rc == 0)
		reserve_around(tk, a, n, b, m);
	free(a);
	free(b);
	/* a template that refuses such a conversation has said all it will */
	return rc == -ENOMEM ? err_nomem(err) : 0;
}
