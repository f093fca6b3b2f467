/* export - an index as another search engine reads it: OpenSearch's bulk lines, and a mapping with
 * the same words, k1 and b. */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/replace.h"
#include "index.h"
#include "text.h"
#include "tokenize.h"

enum { FLUSH_BYTES = 1 << 20 };

static void put_real(struct buf *out, double x)
{
	char text[NUM_TEXT_BYTES];

	buf_puts(out, num_text(x, text));
}

/* the words of rag-bm25-1; the words of another mode are near those of OpenSearch's own */
static void put_analysis(struct buf *out)
{
	bool is_first = true;

	buf_addf(out,
		",\"analysis\":{\"tokenizer\":{\"kolm\":{\"type\":\"pattern\",\"pattern\":"
		"\"[^A-Za-z0-9_-]+\"}},\"filter\":{\"kolm_length\":{\"type\":\"length\",\"min\":%d,"
		"\"max\":%d},\"kolm_stop\":{\"type\":\"stop\",\"stopwords\":[",
		RAG_WORD_MIN, RAG_WORD_MAX);
	for (const char *const *word = rag_stop_words(); *word; word++) {
		buf_addf(out, "%s\"%s\"", is_first ? "" : ",", *word);
		is_first = false;
	}
	buf_puts(out, "]}},\"analyzer\":{\"kolm\":{\"type\":\"custom\",\"tokenizer\":\"kolm\","
		      "\"filter\":["
		      "\"lowercase\",\"kolm_length\",\"kolm_stop\"]}}}");
}

int rag_export_mapping(const struct rag_index *ix, struct buf *out)
{
	const struct rag_bin_header *h = ix->bin.header;
	bool is_plain = strcmp(h->analyser, "rag-bm25-1") == 0;

	buf_puts(out,
		"{\"settings\":{\"index\":{\"similarity\":{\"default\":{\"type\":\"BM25\",\"k1\":");
	put_real(out, h->k1);
	buf_puts(out, ",\"b\":");
	put_real(out, h->b);
	buf_puts(out, "}}}");
	if (is_plain)
		put_analysis(out);
	buf_puts(out, "},\"mappings\":{\"properties\":{\"path\":{\"type\":\"keyword\"},"
		      "\"title\":{\"type\":\"text\"},\"from\":{\"type\":\"long\"},\"to\":{\"type\":"
		      "\"long\"},\"text\":{\"type\":\"text\"");
	if (is_plain)
		buf_puts(out, ",\"analyzer\":\"kolm\"");
	buf_puts(out, "}}}}\n");
	return out->failed ? -ENOMEM : 0;
}

/* OpenSearch knows small letters only, and no name that begins with _ */
static void put_index_name(struct buf *out, const char *name)
{
	if (*name == '_')
		buf_puts(out, "kolm");
	for (; *name; name++)
		buf_putc(out, (char)(*name >= 'A' && *name <= 'Z' ? *name | 0x20 : *name));
}

static int put_doc(const struct rag_index *ix, uint32_t doc, struct buf *frame, struct buf *out)
{
	struct rag_piece piece;
	const char *path, *text;
	size_t path_len, len;
	int rc = rag_bin_path(&ix->bin, doc, &path, &path_len);

	if (rc == 0)
		rc = rag_bin_piece(&ix->bin, doc, &piece);
	if (rc == 0 && !ix->is_live) {
		rc = rag_bin_text(&ix->bin, doc, frame, &text, &len);
	} else if (rc == 0) {
		buf_reset(frame);
		rc = rag_live_text(ix, doc, frame);
		text = buf_str(frame);
		len = frame->len;
	}
	if (rc < 0)
		return rc;
	buf_puts(out, "{\"index\":{\"_index\":\"");
	put_index_name(out, ix->name);
	buf_addf(out, "\",\"_id\":\"%u\"}}\n{\"path\":", doc);
	rag_put_json(out, path, path_len);
	if (ix->bin.len[RAG_PIECES]) {
		buf_puts(out, ",\"title\":");
		rag_put_json(out, piece.title, piece.title_len);
		buf_addf(out, ",\"from\":%llu,\"to\":%llu", (unsigned long long)piece.from,
			(unsigned long long)piece.to);
	}
	buf_puts(out, ",\"text\":");
	rag_put_json(out, text, len);
	buf_puts(out, "}\n");
	return out->failed ? -ENOMEM : 0;
}

int rag_export_bulk(const struct rag_index *ix, int fd, uint64_t *left_out, struct err *err)
{
	struct buf out = BUF_INIT, frame = BUF_INIT;
	int rc = 0;

	*left_out = 0;
	for (uint32_t doc = 0; rc == 0 && doc < ix->bin.header->n_docs; doc++) {
		rc = put_doc(ix, doc, &frame, &out);
		if (rc == -ENODATA) { /* of an index.json alone: the file is gone or another now */
			++*left_out;
			rc = 0;
		}
		if (rc == -ENOMEM) {
			err_nomem(err);
		} else if (rc < 0) {
			rag_bin_what(&ix->bin, err);
			rc = rag_damaged(ix->name, err);
		} else if (out.len >= FLUSH_BYTES) {
			rc = write_all(fd, out.data, out.len, err);
			buf_reset(&out);
		}
	}
	if (rc == 0 && out.len)
		rc = write_all(fd, out.data, out.len, err);
	buf_release(&out);
	buf_release(&frame);
	return rc;
}
