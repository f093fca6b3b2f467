#include "answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "passage.h"
#include "text.h"

enum { GENERATION_SHOWN = 12 };

int rag_answer_init(struct rag_answer *an, struct rag_plan *pl, enum rag_format form, bool explain)
{
	const struct rag_bin *bin = &pl->ix->bin;
	int rc = 0;

	*an = (struct rag_answer){.pl = pl, .form = form, .explain = explain};
	if (!explain && !pl->is_kolm2)
		return 0;
	an->entries = calloc(pl->n + 1, sizeof(*an->entries));
	an->idf = calloc(pl->n + 1, sizeof(*an->idf));
	an->values = calloc(pl->n + 1, sizeof(*an->values));
	if (!an->entries || !an->idf || !an->values)
		return -ENOMEM;
	for (size_t i = 0; rc >= 0 && i < pl->n; i++) {
		const struct rag_want *w = &pl->wants[i];

		rc = rag_bin_find(bin, w->word, w->len, &an->entries[i]);
		if (rc != 1)
			continue;
		an->idf[i] = rag_idf(bin->header->n_docs, an->entries[i].df);
		an->values[i] = w->need == RAG_NOT ? 0 : w->weight * an->idf[i];
	}
	return rc < 0 ? rc : 0;
}

void rag_answer_release(struct rag_answer *an)
{
	free(an->entries);
	free(an->idf);
	free(an->values);
	buf_release(&an->frame.text);
	buf_release(&an->whole);
	buf_release(&an->preview);
	buf_release(&an->excerpt);
}

/* ---- what is shown of a document ---- */

static uint64_t lines_in(const char *text, size_t from, size_t to)
{
	uint64_t n = 0;

	for (size_t i = from; i < to; i++)
		n += text[i] == '\n';
	return n;
}

static int show_passage(struct rag_answer *an, const char *text, size_t len)
{
	struct rag_passage pg;
	int rc = rag_passage_find(an->pl, an->values, text, len, &pg);

	if (rc == 0)
		rc = rag_passage_put(text, len, pg, &an->excerpt);
	an->from = an->piece.from;
	an->to = an->piece.to;
	/* a page of a PDF is one number; lines are counted */
	if (rc == 0 && an->from > 0 && an->to > an->from) {
		while (pg.end > pg.start && strchr(" \n\t\r", text[pg.end - 1]))
			pg.end--;
		an->from += lines_in(text, 0, pg.start);
		an->to = an->from + lines_in(text, pg.start, pg.end);
	}
	return rc;
}

static int show_mapped(struct rag_answer *an, uint32_t doc)
{
	const struct rag_bin *bin = &an->pl->ix->bin;
	const char *text = NULL;
	size_t len = 0;
	int rc = rag_bin_text_kept(bin, doc, &an->frame, &text, &len);

	if (rc < 0)
		return rc;
	rc = an->pl->is_kolm2 ? show_passage(an, text, len)
			      : rag_excerpt(text, len, &an->pl->words, &an->excerpt);
	/* lines show it only where there is no excerpt */
	if (rc >= 0 && (an->form != RAG_TEXT || an->excerpt.len == 0) &&
		rag_slice(text, len, 0, RAG_PREVIEW_UNITS, &an->preview) < 0)
		return -ENOMEM;
	return rc;
}

/* of the reference's index.json alone: as far as that can be had */
static int show_live(struct rag_answer *an, uint32_t doc)
{
	const struct rag_index *ix = an->pl->ix;
	int rc;

	buf_reset(&an->whole);
	rc = rag_live_preview(ix, doc, &an->preview);
	if (rc == 0)
		rc = rag_live_text(ix, doc, &an->whole);
	return rc < 0 ? rc
		      : rag_excerpt(
				buf_str(&an->whole), an->whole.len, &an->pl->words, &an->excerpt);
}

/* preview, excerpt, lines and heading of a document */
static int show(struct rag_answer *an, uint32_t doc)
{
	const struct rag_index *ix = an->pl->ix;
	int rc;

	buf_reset(&an->preview);
	buf_reset(&an->excerpt);
	an->from = an->to = 0;
	rc = rag_bin_piece(&ix->bin, doc, &an->piece);
	if (rc == 0)
		rc = ix->is_live ? show_live(an, doc) : show_mapped(an, doc);
	/* no text, or none of the words in it: its beginning */
	if (rc == -ENODATA || (rc == 0 && an->excerpt.len == 0))
		rc = buf_add(&an->excerpt, buf_str(&an->preview), an->preview.len);
	return rc < 0 ? rc : 0;
}

/* ---- explain ---- */

struct part {
	uint32_t tf;
	double weight, sum;
};

/* what want ${i} adds to the score of ${doc}; 0: it is not there */
static int part_of(struct rag_answer *an, size_t i, uint32_t doc, struct part *pt)
{
	const struct rag_bin *bin = &an->pl->ix->bin;
	struct rag_bm25 bm = {bin->header->k1, bin->header->b, bin->header->avgdl};
	struct rag_cursor *cur;
	int rc = 0;

	if (an->entries[i].df == 0 || an->pl->wants[i].need == RAG_NOT)
		return 0;
	cur = malloc(sizeof(*cur));
	if (!cur)
		return -ENOMEM;
	rag_cursor_init(cur, bin, &an->entries[i]);
	if (rag_cursor_seek(cur, doc) == doc) {
		pt->tf = rag_cursor_tf(cur);
		pt->weight = an->pl->wants[i].weight *
			     rag_weight(&bm, an->idf[i], pt->tf, bin->lens[doc]);
		pt->sum += pt->weight;
		rc = 1;
	}
	if (cur->is_damaged || !rag_bin_len_good(bin, doc))
		rc = -EUCLEAN;
	free(cur);
	return rc;
}

static void put_number(struct buf *out, double x)
{
	char text[NUM_TEXT_BYTES];

	buf_puts(out, num_text(num_round(x, 4), text));
}

static void put_named(struct buf *out, const char *name, double x)
{
	buf_puts(out, name);
	put_number(out, x);
}

static int put_explained(struct rag_answer *an, uint32_t doc, struct buf *out)
{
	bool is_object = an->form != RAG_TEXT;
	struct part pt = {0};
	bool is_first = true;
	int rc = 0;

	if (is_object)
		buf_puts(out, ",\"explain\":[");
	for (size_t i = 0; rc >= 0 && i < an->pl->n; i++) {
		const struct rag_want *w = &an->pl->wants[i];

		rc = part_of(an, i, doc, &pt);
		if (rc <= 0)
			continue;
		if (is_object) {
			buf_puts(out, is_first ? "{\"term\":" : ",{\"term\":");
			rag_put_json(out, w->word, w->len);
		} else {
			buf_putc(out, '\t');
			rag_put_line(out, w->word, w->len);
		}
		buf_addf(out, is_object ? ",\"tf\":%u,\"df\":%u" : "\ttf=%u\tdf=%u", pt.tf,
			an->entries[i].df);
		put_named(out, is_object ? ",\"idf\":" : "\tidf=", an->idf[i]);
		put_named(out, is_object ? ",\"weight\":" : "\tweight=", w->weight);
		put_named(out, is_object ? ",\"part\":" : "\tpart=", pt.weight);
		put_named(out, is_object ? ",\"sum\":" : "\tsum=", pt.sum);
		buf_putc(out, is_object ? '}' : '\n');
		is_first = false;
	}
	if (is_object)
		buf_addf(out, "],\"len\":%u", an->pl->ix->bin.lens[doc]);
	return rc < 0 ? rc : 0;
}

/* ---- the forms ---- */

static void put_generation(const struct rag_answer *an, size_t len, struct buf *out)
{
	char generation[XXH3_HEX_BYTES];

	rag_bin_generation(an->pl->ix->bin.header, generation);
	buf_add(out, generation, len);
}

static int put_line(struct rag_answer *an, const struct rag_hit *h, struct buf *out)
{
	const char *path;
	size_t len;
	int rc = rag_bin_path(&an->pl->ix->bin, h->doc, &path, &len);

	if (rc < 0)
		return rc;
	if (an->form == RAG_PATHS) {
		rag_put_line(out, path, len);
		return buf_putc(out, '\n');
	}
	rc = show(an, h->doc);
	if (rc < 0)
		return rc;
	put_number(out, h->score);
	buf_putc(out, '\t');
	rag_put_line(out, path, len);
	buf_putc(out, '\t');
	rag_put_line(out, buf_str(&an->excerpt), an->excerpt.len);
	buf_putc(out, '\t');
	put_generation(an, GENERATION_SHOWN, out);
	if (an->pl->is_kolm2) {
		buf_addf(out, an->from ? "\t%llu-%llu\t" : "\t-\t", (unsigned long long)an->from,
			(unsigned long long)an->to);
		rag_put_line(out, an->piece.title, an->piece.title_len);
	}
	buf_putc(out, '\n');
	return an->explain ? put_explained(an, h->doc, out) : 0;
}

static int put_match(struct rag_answer *an, const struct rag_hit *h, struct buf *out)
{
	const char *path;
	size_t len;
	int rc = rag_bin_path(&an->pl->ix->bin, h->doc, &path, &len);

	if (rc == 0)
		rc = show(an, h->doc);
	if (rc < 0)
		return rc;
	put_named(out, "{\"score\":", h->score);
	buf_puts(out, ",\"path\":");
	rag_put_json(out, path, len);
	buf_puts(out, ",\"preview\":");
	rag_put_json(out, buf_str(&an->preview), an->preview.len);
	buf_puts(out, ",\"excerpt\":");
	rag_put_json(out, buf_str(&an->excerpt), an->excerpt.len);
	if (an->pl->is_kolm2) {
		buf_puts(out, ",\"heading\":");
		rag_put_json(out, an->piece.title, an->piece.title_len);
		if (an->from)
			buf_addf(out, ",\"lines\":[%llu,%llu]", (unsigned long long)an->from,
				(unsigned long long)an->to);
	}
	if (an->explain)
		rc = put_explained(an, h->doc, out);
	buf_putc(out, '}');
	return rc;
}

/* the words of the question; pairs and fields are not words */
static void put_tokens(const struct rag_answer *an, struct buf *out)
{
	bool is_first = true;

	for (size_t i = 0; i < an->pl->n; i++) {
		const struct rag_want *w = &an->pl->wants[i];

		if (an->pl->is_kolm2 && (w->need == RAG_NOT || memchr(w->word, ' ', w->len) ||
						memchr(w->word, ':', w->len)))
			continue;
		if (!is_first)
			buf_putc(out, ',');
		rag_put_json(out, w->word, w->len);
		is_first = false;
	}
}

static int put_object(struct rag_answer *an, const struct rag_hit *hits, size_t n, struct buf *out)
{
	int rc = 0;

	buf_puts(out, "{\"matches\":[");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (i)
			buf_putc(out, ',');
		rc = put_match(an, &hits[i], out);
	}
	buf_addf(out, "],\"n_docs\":%llu,\"query_tokens\":[",
		(unsigned long long)an->pl->ix->bin.header->n_docs);
	put_tokens(an, out);
	buf_putc(out, ']');
	if (an->form == RAG_JSON) {
		buf_puts(out, ",\"generation\":\"");
		put_generation(an, XXH3_HEX_BYTES - 1, out);
		buf_putc(out, '"');
	}
	buf_putc(out, '}');
	return rc;
}

int rag_answer_put(struct rag_answer *an, const struct rag_hit *hits, size_t n, struct buf *out)
{
	int rc = 0;

	if (an->form == RAG_JSON || an->form == RAG_RESULT)
		rc = put_object(an, hits, n, out);
	else
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = put_line(an, &hits[i], out);
	return rc == 0 && out->failed ? -ENOMEM : rc;
}
