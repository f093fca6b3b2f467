/*
 * compat - an index.json that another program wrote, without our index.bin: read strictly, and
 * turned into an index.bin in memory, so that there is one way to query. Excerpts come from the
 * files themselves, as the reference does it, but only from below the index's root, never through a
 * link, and only where the file still begins and counts as it was indexed; the preview stands in
 * otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "build.h"
#include "index.h"
#include "text.h"
#include "tokenize.h"
#include "walk.h"

/* what is being read */
struct source {
	struct rag_index *ix;
	struct rag_terms terms;
	struct rag_writer writer;
	struct buf df; /* uint64_t, by term */
	struct rag_bm25 bm;
	uint64_t n_docs;
};

static int four_hex(const char *s)
{
	int x = 0;

	for (int i = 0; i < 4; i++) {
		char c = s[i];

		x = x * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return x;
}

/* the text of a checked string value as WTF-8: halves of pairs stay halves */
static int get_string(struct json_slice v, struct buf *out)
{
	static const char names[] = "bfnrt", controls[] = "\b\f\n\r\t";

	for (size_t i = 1; i + 1 < v.len; i++) {
		const char *name;
		uint32_t rune;

		if (v.text[i] != '\\') {
			buf_putc(out, v.text[i]);
			continue;
		}
		i++;
		if (v.text[i] != 'u') {
			name = strchr(names, v.text[i]);
			buf_putc(out, name ? controls[name - names] : v.text[i]);
			continue;
		}
		rune = (uint32_t)four_hex(v.text + i + 1);
		i += 4;
		if (rune >> 10 == 0x36 && i + 7 < v.len && v.text[i + 1] == '\\' &&
			v.text[i + 2] == 'u') {
			uint32_t second = (uint32_t)four_hex(v.text + i + 3);

			if (second >> 10 == 0x37) {
				rune = 0x10000 + ((rune & 0x3ff) << 10 | (second & 0x3ff));
				i += 6;
			}
		}
		rag_put_rune(out, rune);
	}
	return out->failed ? -ENOMEM : 0;
}

static bool member(
	struct json_slice object, const char *key, enum json_kind kind, struct json_slice *out)
{
	return json_member(object, key, out) && json_kind_of(*out) == kind;
}

static bool whole(struct json_slice v, uint64_t max, uint64_t *out)
{
	int64_t x;

	if (json_kind_of(v) != JSON_NUMBER || num_whole(v.text, v.len, 0, (int64_t)max, &x) < 0)
		return false;
	*out = (uint64_t)x;
	return true;
}

static bool real(struct json_slice object, const char *key, double max, double *out)
{
	struct json_slice v;

	if (!member(object, key, JSON_NUMBER, &v))
		return false;
	*out = json_double(v);
	return *out >= 0 && *out <= max;
}

static int text_member(struct json_slice object, const char *key, char **out, struct err *err)
{
	struct json_slice v;
	struct buf bf = BUF_INIT;

	if (!member(object, key, JSON_STRING, &v))
		return err_set(err, EUCLEAN, "index.json: '%s' is missing or not a text", key);
	if (get_string(v, &bf) < 0 || !(*out = buf_detach(&bf))) {
		buf_release(&bf);
		return err_nomem(err);
	}
	return 0;
}

static int read_head(struct source *src, struct json_slice root, struct err *err)
{
	struct json_slice v;
	int rc;

	if (json_kind_of(root) != JSON_OBJECT || !json_member(root, "spec", &v))
		return err_set(err, EUCLEAN, "index.json has no 'spec'");
	if (v.len != sizeof("\"" RAG_SPEC "\"") - 1 ||
		memcmp(v.text, "\"" RAG_SPEC "\"", v.len) != 0) {
		char quoted[ERR_QUOTE_BYTES + 8];

		return err_set(err, EUCLEAN, "index.json has spec %s, not \"" RAG_SPEC "\"",
			err_quote(quoted, v.text, v.len));
	}
	if (!json_member(root, "n_docs", &v) || !whole(v, UINT32_MAX - 1, &src->n_docs))
		return err_set(err, EUCLEAN, "index.json: 'n_docs' is not a count");
	if (!real(root, "k1", 1e8, &src->bm.k1) || !real(root, "b", 1, &src->bm.b) ||
		!real(root, "avgdl", 1e17, &src->bm.avgdl) || (src->n_docs && src->bm.avgdl == 0))
		return err_set(err, EUCLEAN, "index.json: 'k1', 'b' or 'avgdl' is out of range");
	rc = text_member(root, "root", &src->ix->root, err);
	return rc < 0 ? rc : text_member(root, "created_at", &src->ix->created_at, err);
}

/* the name of a document's file below the root: what abs says, if that lies there, else path */
static int put_file(struct source *src, const char *abs, const char *path, struct rag_live_doc *doc)
{
	struct buf *text = &src->ix->live.text;
	const char *root = src->ix->root, *file = path;
	size_t len = strlen(root);

	while (len && root[len - 1] == '/')
		len--;
	if (strncmp(abs, root, len) == 0 && abs[len] == '/')
		file = abs + len + 1;
	doc->file = text->len;
	doc->file_len = strlen(file);
	return buf_add(text, file, doc->file_len + 1);
}

static int add_doc(struct source *src, struct json_slice v, uint64_t id, struct err *err)
{
	struct rag_live *live = &src->ix->live;
	struct buf path = BUF_INIT, abs = BUF_INIT;
	struct json_slice is, ps, as, ls, pv;
	struct rag_live_doc doc;
	uint64_t is_id, words;
	int rc = 0;

	if (json_kind_of(v) != JSON_OBJECT || !json_member(v, "id", &is) ||
		!whole(is, UINT32_MAX, &is_id) || is_id != id ||
		!member(v, "path", JSON_STRING, &ps) || !member(v, "abs", JSON_STRING, &as) ||
		!json_member(v, "len", &ls) || !whole(ls, UINT32_MAX, &words) ||
		!member(v, "preview", JSON_STRING, &pv))
		return err_set(err, EUCLEAN, "index.json: document %llu is not one",
			(unsigned long long)id);
	if (get_string(ps, &path) < 0 || get_string(as, &abs) < 0) {
		rc = err_nomem(err);
		goto out;
	}
	doc.preview = live->text.len;
	if (get_string(pv, &live->text) < 0) {
		rc = err_nomem(err);
		goto out;
	}
	doc.preview_len = live->text.len - doc.preview;
	if (put_file(src, buf_str(&abs), buf_str(&path), &doc) < 0 ||
		buf_add(&live->docs, &doc, sizeof(doc)) < 0)
		rc = err_nomem(err);
	else
		rc = rag_writer_doc(&src->writer,
			&(struct rag_writer_doc){.path = buf_str(&path),
				.path_len = path.len,
				.words = (uint32_t)words},
			err);
out:
	buf_release(&path);
	buf_release(&abs);
	return rc;
}

static int read_docs(struct source *src, struct json_slice root, struct err *err)
{
	struct json_slice docs, v;
	uint64_t n = 0;
	size_t pos = 0;
	int rc = 0;

	if (!member(root, "docs", JSON_ARRAY, &docs))
		return err_set(err, EUCLEAN, "index.json: 'docs' is missing or not an array");
	while (rc == 0 && json_next(docs, &pos, NULL, &v))
		rc = add_doc(src, v, n++, err);
	if (rc == 0 && n != src->n_docs)
		rc = err_set(err, EUCLEAN, "index.json has %llu documents and says %llu",
			(unsigned long long)n, (unsigned long long)src->n_docs);
	return rc;
}

/* a term longer than any word can never be asked for; 0 then, 1 with its place otherwise */
static int term_of(
	struct source *src, struct json_slice key, uint32_t *index, bool *is_new, struct err *err)
{
	struct buf word = BUF_INIT;
	int rc = 0;

	if (get_string(key, &word) < 0) {
		rc = err_nomem(err);
	} else if (word.len <= RAG_WORD_MAX) {
		int added = rag_terms_add(&src->terms, buf_str(&word), word.len, index);

		*is_new = added == 1;
		rc = added < 0 ? err_nomem(err) : 1;
	}
	buf_release(&word);
	return rc;
}

static int read_df(struct source *src, struct json_slice root, struct err *err)
{
	struct json_slice df, key, v;
	size_t pos = 0;

	if (!member(root, "df", JSON_OBJECT, &df))
		return err_set(err, EUCLEAN, "index.json: 'df' is missing or not an object");
	while (json_next(df, &pos, &key, &v)) {
		char quoted[ERR_QUOTE_BYTES + 8];
		uint64_t n;
		uint32_t index;
		bool is_new;
		int rc = term_of(src, key, &index, &is_new, err);

		if (rc < 0)
			return rc;
		if (!whole(v, src->n_docs, &n) || n == 0)
			return err_set(err, EUCLEAN,
				"index.json: df of %s is not a count of documents",
				err_quote(quoted, key.text, key.len));
		if (rc == 1 && buf_add(&src->df, &n, sizeof(n)) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* a walk over the pairs of a list: blanks, one expected character, a number */
static void blanks(const char **p)
{
	while (**p == ' ' || **p == '\t' || **p == '\n' || **p == '\r')
		++*p;
}

static bool take(const char **p, char c)
{
	blanks(p);
	if (**p != c)
		return false;
	++*p;
	return true;
}

static bool take_whole(const char **p, uint64_t max, uint64_t *out)
{
	const char *from;
	int64_t x;

	blanks(p);
	from = *p;
	while (**p >= '0' && **p <= '9')
		++*p;
	if (num_whole(from, (size_t)(*p - from), 0, (int64_t)max, &x) < 0)
		return false;
	*out = (uint64_t)x;
	return true;
}

/* the pairs of one list, appended to the term unless it has none; false: not a list of pairs of
 * this index. The text is checked JSON. */
static bool read_pairs(struct source *src, struct json_slice list, bool is_kept, uint32_t index,
	uint64_t *n, bool *no_memory)
{
	const char *p = list.text;
	uint64_t doc, tf, next = 0;

	*n = 0;
	if (!take(&p, '['))
		return false;
	for (; !take(&p, ']'); ++*n) {
		if (*n && !take(&p, ','))
			return false;
		if (!take(&p, '[') || !take_whole(&p, UINT32_MAX, &doc) || !take(&p, ',') ||
			!take_whole(&p, UINT32_MAX, &tf) || !take(&p, ']'))
			return false;
		if (doc >= src->n_docs || doc < next || tf == 0)
			return false;
		next = doc + 1;
		if (is_kept &&
			rag_terms_append(&src->terms, index, (uint32_t)doc, (uint32_t)tf) < 0) {
			*no_memory = true;
			return false;
		}
	}
	return true;
}

static int read_postings(struct source *src, struct json_slice root, struct err *err)
{
	struct json_slice postings, key, v;
	size_t pos = 0, n_terms = 0;

	if (!member(root, "postings", JSON_OBJECT, &postings))
		return err_set(err, EUCLEAN, "index.json: 'postings' is missing or not an object");
	while (json_next(postings, &pos, &key, &v)) {
		char quoted[ERR_QUOTE_BYTES + 8];
		bool is_new = false, no_memory = false;
		uint32_t index = 0;
		uint64_t n, df;
		int rc = term_of(src, key, &index, &is_new, err);

		if (rc < 0)
			return rc;
		if (is_new)
			return err_set(err, EUCLEAN, "index.json: df of %s is missing",
				err_quote(quoted, key.text, key.len));
		if (!read_pairs(src, v, rc == 1, index, &n, &no_memory))
			return no_memory ? err_nomem(err)
					 : err_set(err, EUCLEAN,
						   "index.json: the list of %s is not one of its "
						   "documents",
						   err_quote(quoted, key.text, key.len));
		memcpy(&df, rc == 1 ? src->df.data + index * sizeof(df) : (const char *)&n,
			sizeof(df));
		if (n != df)
			return err_set(err, EUCLEAN,
				"index.json: the list of %s has %llu documents, its df says %llu",
				err_quote(quoted, key.text, key.len), (unsigned long long)n,
				(unsigned long long)df);
		n_terms += rc == 1;
	}
	if (n_terms != src->terms.n)
		return err_set(
			err, EUCLEAN, "index.json: %zu terms have no list", src->terms.n - n_terms);
	return 0;
}

int rag_compat(struct rag_index *ix, const char *text, size_t len, struct err *err)
{
	struct source src = {.ix = ix};
	struct rag_mode mode;
	struct json_slice root;
	int rc = json_check(text, len, err);

	if (rc < 0) {
		err_prefix(err, "index.json: ");
		return rc == -ENOMEM ? rc : -EUCLEAN;
	}
	root.text = text + strspn(text, " \t\r\n");
	root.len = len - (size_t)(root.text - text);
	ix->is_live = true;
	rag_mode_bm25(&mode);
	rc = read_head(&src, root, err);
	mode.k1 = src.bm.k1;
	mode.b = src.bm.b;
	if (rc == 0)
		rc = rag_writer_init(&src.writer, -1, &ix->image, -1, &mode, err);
	if (rc == 0)
		rc = read_docs(&src, root, err);
	if (rc == 0)
		rc = read_df(&src, root, err);
	if (rc == 0)
		rc = read_postings(&src, root, err);
	if (rc == 0)
		rc = rag_writer_terms(&src.writer, src.bm.avgdl, err);
	if (rc == 0)
		rc = rag_writer_all(&src.writer, &src.terms, err);
	if (rc == 0)
		rc = rag_writer_finish(&src.writer, err);
	if (rc == 0)
		rc = rag_bin_open(ix->image.data, ix->image.len, false, &ix->bin, err);
	rag_writer_release(&src.writer);
	rag_terms_release(&src.terms);
	buf_release(&src.df);
	return rc;
}

static const struct rag_live_doc *live_doc(const struct rag_index *ix, uint32_t doc)
{
	return (const struct rag_live_doc *)(const void *)ix->live.docs.data + doc;
}

int rag_live_preview(const struct rag_index *ix, uint32_t doc, struct buf *out)
{
	const struct rag_live_doc *ld = live_doc(ix, doc);

	return buf_add(out, ix->live.text.data + ld->preview, ld->preview_len);
}

/* the file as it was indexed, as far as that can be told */
static bool is_same(const struct rag_index *ix, uint32_t doc, const struct buf *text)
{
	const struct rag_live_doc *ld = live_doc(ix, doc);
	struct buf preview = BUF_INIT;
	struct rag_words ws;
	uint64_t n = 0;
	bool is;

	rag_words_init(&ws, buf_str(text), text->len);
	while (rag_words_next(&ws))
		n++;
	is = n == ix->bin.lens[doc] &&
	     rag_slice(buf_str(text), text->len, 0, RAG_PREVIEW_UNITS, &preview) == 0 &&
	     preview.len == ld->preview_len &&
	     memcmp(buf_str(&preview), ix->live.text.data + ld->preview, preview.len) == 0;
	buf_release(&preview);
	return is;
}

int rag_live_text(const struct rag_index *ix, uint32_t doc, struct buf *out)
{
	struct buf raw = BUF_INIT;
	int fd, rc;

	fd = open(ix->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ENODATA;
	rc = rag_read_below(
		fd, ix->live.text.data + live_doc(ix, doc)->file, RAG_FILE_BYTES_MAX, &raw);
	close(fd);
	if (rc == 0 && rag_decode(buf_str(&raw), raw.len, out) < 0)
		rc = -ENOMEM;
	buf_release(&raw);
	if (rc == 0 && !is_same(ix, doc, out))
		rc = -ENODATA;
	return rc == 0 || rc == -ENOMEM ? rc : -ENODATA;
}
