#include "passage.h"

#include <errno.h>
#include <string.h>

#include "text.h"

enum {
	SPOTS_MAX = 2048, /* hits of a text that are weighed */
	LEAD = 80,	  /* bytes before the first hit in which a sentence may begin */
};

#define ELLIPSIS "\xe2\x80\xa6"

struct spot {
	uint32_t start, end;
	uint32_t want;
};

struct search {
	const struct rag_plan *pl;
	const double *values;
	struct spot at[SPOTS_MAX];
	size_t n;
};

static int look(void *arg, const struct rag_token *tk)
{
	struct search *se = arg;
	size_t n = se->pl->n < RAG_PASSAGE_TERMS ? se->pl->n : RAG_PASSAGE_TERMS;

	for (size_t i = 0; i < n && se->n < SPOTS_MAX; i++) {
		const struct rag_want *w = &se->pl->wants[i];

		if (se->values[i] > 0 && w->len == tk->len &&
			memcmp(w->word, tk->term, tk->len) == 0) {
			se->at[se->n++] =
				(struct spot){(uint32_t)tk->start, (uint32_t)tk->end, (uint32_t)i};
			break;
		}
	}
	return 0;
}

/* the window from spot ${i}: what it covers, each want once, a repeat a little */
static double value_from(const struct search *se, size_t i, size_t *last)
{
	double of[RAG_PASSAGE_TERMS] = {0}, sum = 0;
	size_t limit = se->at[i].start + RAG_PASSAGE_BYTES;

	for (*last = i; i < se->n && se->at[i].end <= limit; i++) {
		uint32_t want = se->at[i].want;

		sum += of[want] > 0 ? se->values[want] * 0.1 : se->values[want];
		of[want] = 1;
		*last = i;
	}
	return sum;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static size_t rune_start(const char *text, size_t pos)
{
	while (pos > 0 && ((unsigned char)text[pos] & 0xc0) == 0x80)
		pos--;
	return pos;
}

/* a sentence, a line or at least a word that begins shortly before ${pos} */
static size_t lead_in(const char *text, size_t pos, size_t room)
{
	size_t low = pos > room ? pos - room : 0, word = pos;

	for (size_t i = pos; i > low; i--) {
		char c = text[i - 1];

		if (c == '\n')
			return i;
		if (is_blank(c)) {
			if (i >= 2 && strchr(".!?:", text[i - 2]))
				return i;
			word = i;
		}
		if (i >= 3 && memcmp(text + i - 3, "\xe3\x80\x82", 3) == 0)
			return i;
	}
	return low == 0 ? 0 : word == pos ? rune_start(text, low) : word;
}

static size_t tail_out(const char *text, size_t len, size_t start, size_t least)
{
	size_t end = start + RAG_PASSAGE_BYTES, at;

	if (end < least)
		end = least;
	if (end >= len)
		return len;
	for (at = end; at > least && !is_blank(text[at]); at--)
		;
	return at > least ? at : rune_start(text, end);
}

int rag_passage_find(struct rag_plan *pl, const double *values, const char *text, size_t len,
	struct rag_passage *out)
{
	struct search se = {.pl = pl, .values = values};
	double best = 0;
	size_t first = 0, last = 0;
	int rc = rag_analyze(&pl->an, text, len, look, &se);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < se.n; i++) {
		size_t end;
		double value = value_from(&se, i, &end);

		if (value > best) {
			best = value;
			first = i;
			last = end;
		}
	}
	if (se.n == 0) {
		*out = (struct rag_passage){0, tail_out(text, len, 0, 0)};
		return 0;
	}
	{
		size_t span = se.at[last].end - se.at[first].start,
		       room = span < RAG_PASSAGE_BYTES ? RAG_PASSAGE_BYTES - span : 0;

		out->start = lead_in(text, se.at[first].start, room < LEAD ? room : LEAD);
		out->end = tail_out(text, len, out->start, se.at[last].end);
	}
	return 0;
}

int rag_passage_put(const char *text, size_t len, struct rag_passage pg, struct buf *out)
{
	bool is_blank_due = false;

	if (pg.start > 0)
		buf_puts(out, ELLIPSIS " ");
	for (size_t pos = pg.start, any = 0; pos < pg.end;) {
		uint32_t rune = rag_rune(text, len, &pos, false);

		if (rag_is_space(rune)) {
			is_blank_due = any;
			continue;
		}
		if (is_blank_due)
			buf_putc(out, ' ');
		is_blank_due = false;
		rag_put_rune(out, rune);
		any = 1;
	}
	if (pg.end < len)
		buf_puts(out, " " ELLIPSIS);
	return out->failed ? -ENOMEM : 0;
}
