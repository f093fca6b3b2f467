/* query - from the text of a question to the text of the answer. Only the documents shown are
 * unpacked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "index.h"
#include "text.h"
#include "tokenize.h"

/* memory that one answer uses again and again */
struct room {
	struct buf frame, preview, excerpt;
};

static void room_release(struct room *rm)
{
	buf_release(&rm->frame);
	buf_release(&rm->preview);
	buf_release(&rm->excerpt);
}

/* preview and excerpt of a document, from the text kept with the index, or, for an index.json
 * alone, as far as that can be had */
static int show(
	const struct rag_index *ix, uint32_t doc, const struct rag_terms *words, struct room *rm)
{
	const char *text = NULL;
	size_t len = 0;
	int rc;

	buf_reset(&rm->preview);
	buf_reset(&rm->excerpt);
	if (ix->is_live) {
		buf_reset(&rm->frame);
		rc = rag_live_preview(ix, doc, &rm->preview);
		if (rc == 0)
			rc = rag_live_text(ix, doc, &rm->frame);
		text = buf_str(&rm->frame);
		len = rm->frame.len;
	} else {
		rc = rag_bin_text(&ix->bin, doc, &rm->frame, &text, &len);
		if (rc == 0 && rag_slice(text, len, 0, RAG_PREVIEW_UNITS, &rm->preview) < 0)
			rc = -ENOMEM;
	}
	if (rc == 0)
		rc = rag_excerpt(text, len, words, &rm->excerpt);
	else if (rc == -ENODATA)
		rc = 0;
	if (rc == 0 && buf_add(&rm->excerpt, buf_str(&rm->preview), rm->preview.len) < 0)
		rc = -ENOMEM;
	return rc < 0 ? rc : 0;
}

static void put_score(struct buf *out, double score)
{
	char text[NUM_TEXT_BYTES];

	buf_puts(out, num_text(num_round(score, 4), text));
}

static int put_line(const struct rag_index *ix, const struct rag_hit *h,
	const struct rag_terms *words, enum rag_format form, struct room *rm, struct buf *out)
{
	const char *path;
	size_t len;
	int rc = rag_bin_path(&ix->bin, h->doc, &path, &len);

	if (rc == 0 && form == RAG_TEXT)
		rc = show(ix, h->doc, words, rm);
	if (rc < 0)
		return rc;
	if (form == RAG_TEXT) {
		put_score(out, h->score);
		buf_putc(out, '\t');
	}
	rag_put_line(out, path, len);
	if (form == RAG_TEXT) {
		buf_putc(out, '\t');
		rag_put_line(out, buf_str(&rm->excerpt), rm->excerpt.len);
	}
	return buf_putc(out, '\n');
}

static int put_match(const struct rag_index *ix, const struct rag_hit *h,
	const struct rag_terms *words, struct room *rm, struct buf *out)
{
	const char *path;
	size_t len;
	int rc = rag_bin_path(&ix->bin, h->doc, &path, &len);

	if (rc == 0)
		rc = show(ix, h->doc, words, rm);
	if (rc < 0)
		return rc;
	buf_puts(out, "{\"score\":");
	put_score(out, h->score);
	buf_puts(out, ",\"path\":");
	rag_put_json(out, path, len);
	buf_puts(out, ",\"preview\":");
	rag_put_json(out, buf_str(&rm->preview), rm->preview.len);
	buf_puts(out, ",\"excerpt\":");
	rag_put_json(out, buf_str(&rm->excerpt), rm->excerpt.len);
	return buf_putc(out, '}');
}

static void put_tail(const struct rag_index *ix, const struct rag_terms *words,
	enum rag_format form, struct buf *out)
{
	buf_addf(out, "],\"n_docs\":%llu,\"query_tokens\":[",
		(unsigned long long)ix->bin.header->n_docs);
	for (size_t i = 0; i < words->n; i++) {
		buf_puts(out, i ? ",\"" : "\"");
		buf_add(out, rag_terms_text(words, i), words->at[i].len);
		buf_putc(out, '"');
	}
	buf_putc(out, ']');
	if (form == RAG_JSON) {
		char generation[XXH3_HEX_BYTES];

		rag_bin_generation(ix->bin.header, generation);
		buf_addf(out, ",\"generation\":\"%s\"", generation);
	}
	buf_putc(out, '}');
}

static int render(const struct rag_index *ix, const struct rag_hit *hits, size_t n,
	const struct rag_terms *words, enum rag_format form, struct buf *out)
{
	bool is_object = form == RAG_JSON || form == RAG_RESULT;
	struct room rm = {0};
	int rc = 0;

	if (is_object)
		buf_puts(out, "{\"matches\":[");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (is_object && i)
			buf_putc(out, ',');
		rc = is_object ? put_match(ix, &hits[i], words, &rm, out)
			       : put_line(ix, &hits[i], words, form, &rm, out);
	}
	if (is_object)
		put_tail(ix, words, form, out);
	room_release(&rm);
	if (rc == 0 && out->failed)
		rc = -ENOMEM;
	return rc;
}

static int query_words(const char *text, size_t len, struct rag_terms *words)
{
	struct rag_words ws;
	uint32_t index;

	rag_words_init(&ws, text, len);
	while (rag_words_next(&ws))
		if (rag_terms_add(words, ws.word, ws.word_len, &index) < 0)
			return -ENOMEM;
	return 0;
}

int rag_query(const struct rag_index *ix, const char *text, size_t len, size_t k,
	enum rag_format form, struct buf *out, struct err *err)
{
	struct rag_terms words = RAG_TERMS_INIT;
	struct rag_hit *hits = NULL;
	size_t n = 0, start = out->len;
	int rc = query_words(text, len, &words);

	if (rc == 0)
		rc = rag_rank_words(&ix->bin, &words, k, &hits, &n);
	if (rc == 0)
		rc = render(ix, hits, n, &words, form, out);
	free(hits);
	rag_terms_release(&words);
	if (rc == 0)
		return 0;
	if (out->len > start)
		out->len = start;
	if (rc == -ENOMEM)
		return err_nomem(err);
	rag_bin_what(&ix->bin, err);
	return rag_damaged(ix->name, err);
}
