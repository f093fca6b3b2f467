/* constrain_words - see constrain_words.h, and words_new() in constrain.h. */
#include "trainer/constrain_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/chat.h"
#include "trainer/constrain.h"
#include "trainer/tokenizer.h"

static int by_text(const void *a, const void *b, void *arg)
{
	size_t n, m;
	const unsigned char *x = words_text(arg, *(const int *)a, &n),
			    *y = words_text(arg, *(const int *)b, &m);
	int diff = memcmp(x, y, n < m ? n : m);

	if (diff == 0)
		diff = (n > m) - (n < m);
	return diff != 0 ? diff : *(const int *)a - *(const int *)b;
}

static bool all_bytes(const struct words *w)
{
	bool has[256] = {false};

	for (int i = 0; i < w->n; i++) {
		size_t len;
		const unsigned char *text = words_text(w, w->order[i], &len);

		if (len == 1)
			has[text[0]] = true;
	}
	for (int c = ' '; c <= 0xf4; c++)
		if (!has[c] && c != 0x7f && c != 0xc0 && c != 0xc1)
			return false;
	return has['\t'] && has['\n'] && has['\r'];
}

static int read_words(struct words *w, const struct tokenizer *tk, const struct chat *ch)
{
	for (int id = 0; id < w->vocab; id++) {
		size_t from = w->text.len;

		w->at[id] = (uint32_t)from;
		if (chat_is_end(ch, id)) {
			w->end[w->ends++] = id;
			continue;
		}
		if (tokenizer_decode(tk, &id, 1, &w->text) < 0)
			return -ENOMEM;
		if (w->text.len - from > WORD_BYTES_MAX)
			w->text.len = from; /* no word at all: runs of blanks and the like */
		if (w->text.len > from)
			w->order[w->n++] = id;
	}
	w->at[w->vocab] = (uint32_t)w->text.len;
	return 0;
}

int words_new(const struct tokenizer *tk, const struct chat *ch, int vocab, struct words **out,
	struct err *err)
{
	struct words *w = calloc(1, sizeof(*w));
	size_t n = (size_t)vocab + 1;

	if (!w)
		return err_nomem(err);
	w->vocab = vocab;
	w->at = calloc(n, sizeof(*w->at));
	w->order = calloc(n, sizeof(*w->order));
	w->shared = calloc(n, sizeof(*w->shared));
	w->end = calloc(n, sizeof(*w->end));
	if (!w->at || !w->order || !w->shared || !w->end || read_words(w, tk, ch) < 0) {
		words_free(w);
		return err_nomem(err);
	}
	qsort_r(w->order, (size_t)w->n, sizeof(int), by_text, w);
	for (int i = 1; i < w->n; i++) {
		size_t a, b, same = 0;
		const unsigned char *x = words_text(w, w->order[i - 1], &a),
				    *y = words_text(w, w->order[i], &b);

		while (same < a && same < b && x[same] == y[same])
			same++;
		w->shared[i] = (uint16_t)same;
	}
	w->has_bytes = all_bytes(w);
	*out = w;
	return 0;
}

void words_free(struct words *w)
{
	if (!w)
		return;
	free(w->at);
	free(w->order);
	free(w->shared);
	free(w->end);
	buf_release(&w->text);
	free(w);
}
