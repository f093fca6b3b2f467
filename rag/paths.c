#include "paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { TEXT_BYTES_MAX = 3 * RAG_FILE_BYTES_MAX, LINES_MAX = 65536 };

struct path {
	const char *at;
	size_t len;
};

/* only for documents of the tree, whose pages were looked at when it was made */
static struct path path_of(const struct rag_bin *bin, uint32_t doc)
{
	struct path p = {"", 0};

	(void)rag_bin_path(bin, doc, &p.at, &p.len);
	return p;
}

static int path_compare(struct path a, struct path b)
{
	int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

	return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static bool is_good(struct path p)
{
	if (p.len == 0 || p.len > RAG_PATH_BYTES || memchr(p.at, '\0', p.len))
		return false;
	for (size_t i = 0, n; i <= p.len; i += n + 1) {
		const char *part = p.at + i, *slash = memchr(part, '/', p.len - i);

		n = slash ? (size_t)(slash - part) : p.len - i;
		if (n == 0 || n > RAG_PATH_PART_BYTES || (n == 1 && part[0] == '.') ||
			(n == 2 && memcmp(part, "..", 2) == 0))
			return false;
	}
	return true;
}

static int doc_compare(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = path_compare(path_of(arg, x), path_of(arg, y));

	return order ? order : x < y ? -1 : x > y;
}

static int make(const struct rag_bin *bin, struct rag_paths **out)
{
	uint32_t n = (uint32_t)bin->header->n_docs;
	struct rag_paths *pt = calloc(1, sizeof(*pt));
	struct path last = {"", 0};
	bool is_sorted = true;

	if (pt)
		pt->docs = malloc(((size_t)n + 1) * sizeof(*pt->docs));
	if (!pt || !pt->docs) {
		free(pt);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct path p;

		if (rag_bin_path(bin, i, &p.at, &p.len) < 0) {
			rag_paths_free(pt);
			return -EUCLEAN;
		}
		if (!is_good(p))
			continue;
		is_sorted = is_sorted && path_compare(last, p) <= 0;
		last = p;
		pt->docs[pt->n++] = i;
	}
	if (!is_sorted) /* ids follow UTF-16 units */
		qsort_r(pt->docs, pt->n, sizeof(*pt->docs), doc_compare, (void *)(uintptr_t)bin);
	*out = pt;
	return 0;
}

void rag_paths_free(struct rag_paths *pt)
{
	if (!pt)
		return;
	free(pt->docs);
	free(pt);
}

int rag_paths_of(const struct rag_index *ix, const struct rag_paths **out)
{
	_Atomic(struct rag_paths *) *kept = &((struct rag_index *)(uintptr_t)ix)->paths;
	struct rag_paths *made, *other = NULL;
	int rc;

	*out = atomic_load(kept);
	if (*out)
		return 0;
	rc = make(&ix->bin, &made);
	if (rc < 0)
		return rc;
	*out = made;
	if (!atomic_compare_exchange_strong(kept, &other, made)) {
		rag_paths_free(made);
		*out = other;
	}
	return 0;
}

/* ---- looking ---- */

/* the first place whose path, cut to ${cut} bytes, is not below ${p} (above it, when ${is_behind})
 */
static size_t seek(const struct rag_bin *bin, const struct rag_paths *pt, size_t low, struct path p,
	size_t cut, bool is_behind)
{
	size_t high = pt->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct path q = path_of(bin, pt->docs[mid]);
		int order;

		q.len = q.len < cut ? q.len : cut;
		order = path_compare(q, p);
		if (order < 0 || (is_behind && order == 0))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t find(
	const struct rag_bin *bin, const struct rag_paths *pt, struct path p, size_t from)
{
	size_t i = seek(bin, pt, from, p, SIZE_MAX, false);

	return i < pt->n && path_compare(path_of(bin, pt->docs[i]), p) == 0 ? i : SIZE_MAX;
}

int rag_path_look(const struct rag_index *ix, const char *path, size_t len, enum rag_path *out)
{
	const struct rag_paths *pt;
	char folder[RAG_PATH_BYTES + 1];
	int rc = rag_paths_of(ix, &pt);
	size_t i;

	if (rc < 0)
		return rc;
	*out = RAG_PATH_NONE;
	if (len > RAG_PATH_BYTES)
		return 0;
	if (find(&ix->bin, pt, (struct path){path, len}, 0) != SIZE_MAX) {
		*out = RAG_PATH_FILE;
		return 0;
	}
	memcpy(folder, path, len);
	folder[len] = '/';
	i = seek(&ix->bin, pt, 0, (struct path){folder, len + 1}, len + 1, false);
	if (i < pt->n) {
		struct path p = path_of(&ix->bin, pt->docs[i]);

		if (p.len > len && memcmp(p.at, folder, len + 1) == 0)
			*out = RAG_PATH_FOLDER;
	}
	return 0;
}

int rag_path_each(
	const struct rag_index *ix, const char *folder, size_t len, rag_path_each_fn *fn, void *arg)
{
	const struct rag_bin *bin = &ix->bin;
	char prefix[RAG_PATH_BYTES + 1];
	const struct rag_paths *pt;
	size_t i, end;
	int rc = rag_paths_of(ix, &pt);

	if (rc < 0 || len > RAG_PATH_BYTES)
		return rc;
	memcpy(prefix, folder, len);
	if (len > 0)
		prefix[len++] = '/';
	i = seek(bin, pt, 0, (struct path){prefix, len}, len, false);
	end = seek(bin, pt, i, (struct path){prefix, len}, len, true);
	while (rc == 0 && i < end) {
		struct path p = path_of(bin, pt->docs[i]), to;
		const char *slash = memchr(p.at + len, '/', p.len - len);

		/* all that lies in a folder stands together; so do the pieces of a file */
		to = (struct path){p.at, slash ? (size_t)(slash - p.at) : p.len};
		if (!slash || find(bin, pt, to, 0) == SIZE_MAX)
			rc = fn(arg, p.at + len, to.len - len, slash != NULL);
		i = slash ? seek(bin, pt, i, (struct path){p.at, to.len + 1}, to.len + 1, true)
			  : seek(bin, pt, i, to, SIZE_MAX, true);
	}
	return rc;
}

int rag_docs(const struct rag_index *ix, struct buf *out)
{
	for (uint32_t i = 0; i < ix->bin.header->n_docs; i++) {
		const char *path;
		size_t len;

		if (!rag_bin_len_good(&ix->bin, i) || rag_bin_path(&ix->bin, i, &path, &len) < 0)
			return -EUCLEAN;
		buf_addf(out, "%u\t%u\t", i, ix->bin.lens[i]);
		rag_put_line(out, path, len);
		buf_putc(out, '\n');
	}
	return out->failed ? -ENOMEM : 0;
}

/* ---- text ---- */

/* The blanks between two pieces were not kept: as many lines as their numbers say, so that those
 * of an answer are found again; a blank in the middle of a line; a line where nothing is known. */
static int put_gap(struct buf *out, const struct rag_piece *before, const struct rag_piece *pc)
{
	uint64_t from = before ? before->to : 1, n = pc->from > from ? pc->from - from : 0;

	if (before && pc->from == 0)
		n = 1;
	if (before && n == 0 && out->len > 0 && !(out->data[out->len - 1] & 0x80))
		buf_putc(out, ' ');
	for (n = n < LINES_MAX ? n : LINES_MAX; n > 0; n--)
		buf_putc(out, '\n');
	return out->failed ? -ENOMEM : 0;
}

/* an index.json alone has no texts: the file, if it is still what was indexed, or its beginning */
static int put_live(const struct rag_index *ix, uint32_t doc, struct buf *out)
{
	size_t before = out->len;
	int rc = rag_live_text(ix, doc, out);

	if (rc != -ENODATA)
		return rc;
	out->len = before;
	return rag_live_preview(ix, doc, out) < 0 ? -ENOMEM : 0;
}

static int put_text(
	const struct rag_index *ix, uint32_t doc, struct rag_unpacked *frame, struct buf *out)
{
	const char *text;
	size_t len;
	int rc;

	if (ix->is_live)
		return put_live(ix, doc, out);
	rc = rag_bin_text_kept(&ix->bin, doc, frame, &text, &len);
	if (rc < 0)
		return rc;
	if (len > TEXT_BYTES_MAX - (out->len < TEXT_BYTES_MAX ? out->len : TEXT_BYTES_MAX))
		return -EFBIG;
	return buf_add(out, text, len) < 0 ? -ENOMEM : 0;
}

int rag_path_text(const struct rag_index *ix, const char *path, size_t len, struct buf *out)
{
	const struct rag_bin *bin = &ix->bin;
	struct rag_piece piece, before;
	struct path p = {path, len};
	struct rag_unpacked frame = {0};
	const struct rag_paths *pt;
	int rc = rag_paths_of(ix, &pt);
	size_t first;

	if (rc < 0)
		return rc;
	first = find(bin, pt, p, 0);
	if (first == SIZE_MAX)
		return -ENOENT;
	/* pieces have numbers that follow each other; another file of the same name does not */
	for (size_t i = first; rc == 0 && i < pt->n; i++) {
		if (i > first && (bin->len[RAG_PIECES] == 0 || pt->docs[i] != pt->docs[i - 1] + 1 ||
					 path_compare(path_of(bin, pt->docs[i]), p) != 0))
			break;
		rc = rag_bin_piece(bin, pt->docs[i], &piece);
		if (rc == 0 && bin->len[RAG_PIECES])
			rc = put_gap(out, i > first ? &before : NULL, &piece);
		if (rc == 0)
			rc = put_text(ix, pt->docs[i], &frame, out);
		before = piece;
	}
	buf_release(&frame.text);
	return rc == -ENODATA ? 0 : rc;
}
