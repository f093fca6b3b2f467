/* bin_put - see bin_put.h */
#include "bin_put.h"

#include <errno.h>
#include <string.h>

#include "base/replace.h"

enum { PENDING_BYTES = 1 << 18 };

/* ${data} behind what is pending */
int rag_put_flush(struct rag_writer *w, const void *data, size_t len, struct err *err)
{
	int rc = w->pending.failed ? -ENOMEM : 0;

	if (rc == 0 && w->fd >= 0) {
		rc = write_all(w->fd, w->pending.data, w->pending.len, err);
		buf_reset(&w->pending);
		return rc < 0 ? rc : write_all(w->fd, data, len, err);
	}
	if (rc == 0)
		rc = buf_add(w->mem, w->pending.data, w->pending.len);
	if (rc == 0)
		rc = buf_add(w->mem, data, len);
	buf_reset(&w->pending);
	return rc < 0 ? err_nomem(err) : 0;
}

/* the sums of pages; the header's bytes are not among them */
static int sum_pages(struct rag_writer *w, const char *data, size_t len, struct err *err)
{
	while (len > 0) {
		size_t n = RAG_PAGE_BYTES - w->page_len;

		n = n < len ? n : len;
		XXH3_64bits_update(w->page, data, n);
		data += n;
		len -= n;
		w->page_len += n;
		if (w->page_len == RAG_PAGE_BYTES) {
			uint32_t sum = (uint32_t)XXH3_64bits_digest(w->page);

			if (buf_add(&w->sums, &sum, sizeof(sum)) < 0)
				return err_nomem(err);
			XXH3_64bits_reset(w->page);
			w->page_len = 0;
		}
	}
	return 0;
}

/* bytes of the file, whatever they are for */
static int put_plain(struct rag_writer *w, const void *data, size_t len, struct err *err)
{
	int rc = sum_pages(w, data, len, err);

	w->off += len;
	if (rc == 0 && w->pending.len + len >= PENDING_BYTES)
		return rag_put_flush(w, data, len, err);
	return rc == 0 && buf_add(&w->pending, data, len) < 0 ? err_nomem(err) : rc;
}

int rag_put(struct rag_writer *w, const void *data, size_t len, struct err *err)
{
	if (len == 0)
		return 0;
	XXH3_64bits_update(w->sum, data, len);
	if (w->identity)
		XXH3_128bits_update(w->identity, data, len);
	return put_plain(w, data, len, err);
}

static int put_spooled(void *arg, const void *data, size_t len, struct err *err)
{
	return rag_put(arg, data, len, err);
}

int rag_section_begin(struct rag_writer *w, enum rag_section id, struct err *err)
{
	static const char zeros[RAG_SECTION_ALIGN];
	size_t n = (RAG_SECTION_ALIGN - (size_t)(w->off % RAG_SECTION_ALIGN)) % RAG_SECTION_ALIGN;
	int rc = put_plain(w, zeros, n, err);

	w->header.sections[w->header.n_sections++] =
		(struct rag_bin_section){.id = id, .offset = w->off};
	XXH3_64bits_reset(w->sum);
	return rc;
}

void rag_section_end(struct rag_writer *w)
{
	struct rag_bin_section *sec = &w->header.sections[w->header.n_sections - 1];

	sec->len = w->off - sec->offset;
	sec->xxh3 = XXH3_64bits_digest(w->sum);
}

int rag_put_section(struct rag_writer *w, enum rag_section id, struct buf *bf, struct err *err)
{
	int rc = rag_section_begin(w, id, err);

	if (rc == 0)
		rc = rag_put(w, bf->data, bf->len, err);
	rag_section_end(w);
	buf_release(bf);
	return rc;
}

int rag_put_spool(struct rag_writer *w, enum rag_section id, struct rag_spool *sp, struct err *err)
{
	int rc = rag_section_begin(w, id, err);

	if (rc == 0)
		rc = rag_spool_each(sp, put_spooled, w, err);
	rag_section_end(w);
	rag_spool_release(sp);
	return rc;
}
