/* term - what an index knows of one term, for people: in which documents it stands. */
#include <errno.h>
#include <stdlib.h>

#include "base/num.h"
#include "plan.h"
#include "text.h"

static int put_doc(const struct rag_index *ix, uint32_t doc, uint32_t tf, struct buf *out)
{
	struct rag_piece pc;
	const char *path;
	size_t len;

	if (rag_bin_path(&ix->bin, doc, &path, &len) < 0 || rag_bin_piece(&ix->bin, doc, &pc) < 0)
		return -EUCLEAN;
	buf_addf(out, "%u\t%u\t", doc, tf);
	rag_put_line(out, path, len);
	if (ix->bin.len[RAG_PIECES])
		buf_addf(out, pc.from ? "\t%llu-%llu" : "\t-", (unsigned long long)pc.from,
			(unsigned long long)pc.to);
	return buf_putc(out, '\n') < 0 ? -ENOMEM : 0;
}

static int put_docs(const struct rag_index *ix, const struct rag_entry *en, struct buf *out)
{
	struct rag_cursor *cur = malloc(sizeof(*cur));
	uint32_t doc;
	int rc = 0;

	if (!cur)
		return -ENOMEM;
	rag_cursor_init(cur, &ix->bin, en);
	for (doc = rag_cursor_seek(cur, 0); rc == 0 && doc != RAG_NO_DOC;
		doc = rag_cursor_seek(cur, doc + 1))
		rc = put_doc(ix, doc, rag_cursor_tf(cur), out);
	if (rc == 0 && cur->is_damaged)
		rc = -EUCLEAN;
	free(cur);
	return rc;
}

static int put_term(const struct rag_index *ix, const char *word, size_t len,
	const struct rag_entry *en, struct buf *out)
{
	char text[NUM_TEXT_BYTES];
	double idf = rag_idf(ix->bin.header->n_docs, en->df);

	buf_puts(out, "term ");
	rag_put_line(out, word, len);
	buf_addf(out, "\ndf %u\nidf %s\n", en->df, num_text(num_round(idf, 4), text));
	return out->failed ? -ENOMEM : put_docs(ix, en, out);
}

/* the first term that a question of this one word asks for */
static int put_asked(const struct rag_index *ix, const char *word, size_t len, struct buf *out)
{
	struct rag_entry en;
	struct rag_plan pl;
	int rc = rag_plan_make(&pl, ix, word, len, NULL, 0, NULL);

	if (rc == 0 && pl.n > 0)
		rc = rag_bin_find(&ix->bin, pl.wants[0].word, pl.wants[0].len, &en);
	if (rc == 1)
		rc = put_term(ix, pl.wants[0].word, pl.wants[0].len, &en, out);
	else if (rc == 0 || rc == -EINVAL || rc == -E2BIG)
		rc = -ENOENT;
	rag_plan_release(&pl);
	return rc;
}

int rag_term(const struct rag_index *ix, const char *word, size_t len, struct buf *out)
{
	struct rag_entry en;
	int rc = rag_bin_find(&ix->bin, word, len, &en);

	if (rc == 1)
		return put_term(ix, word, len, &en, out);
	return rc < 0 ? rc : put_asked(ix, word, len, out);
}
