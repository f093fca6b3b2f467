/* diff - what two indexes differ in: their documents, by path and content, and their terms, by the
 * number of documents they stand in. Both are in order, so one walk along each is enough. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "index.h"
#include "walk.h"

/* the documents of one file */
struct group {
	const struct rag_bin *bin;
	uint32_t next;	  /* the first document behind it */
	const char *path; /* NULL: there are no more */
	size_t len;
	XXH128_hash_t content;
};

static int group_next(struct group *g)
{
	const struct rag_bin *bin = g->bin;
	XXH3_state_t *sum;
	uint32_t n = (uint32_t)bin->header->n_docs;
	const char *path;
	size_t len;

	g->path = NULL;
	if (g->next >= n)
		return 0;
	if (rag_bin_path(bin, g->next, &g->path, &g->len) < 0)
		return -EUCLEAN;
	sum = XXH3_createState();
	if (!sum)
		return -ENOMEM;
	XXH3_128bits_reset(sum);
	do {
		XXH3_128bits_update(sum, bin->docs[g->next].content, 16);
		g->next++;
		if (g->next < n && rag_bin_path(bin, g->next, &path, &len) < 0) {
			XXH3_freeState(sum);
			return -EUCLEAN;
		}
	} while (g->next < n && len == g->len && memcmp(path, g->path, len) == 0);
	g->content = XXH3_128bits_digest(sum);
	XXH3_freeState(sum);
	return 0;
}

static int path_order(const struct group *a, const struct group *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	int order;

	if (!a->path || !b->path)
		return a->path ? -1 : 1;
	if (buf_add(&x, a->path, a->len) < 0 || buf_add(&y, b->path, b->len) < 0)
		order = 0;
	else
		order = rag_path_compare(buf_str(&x), buf_str(&y));
	buf_release(&x);
	buf_release(&y);
	return order;
}

static void say(const struct rag_diff_opt *opt, char what, bool is_term, const char *name,
	size_t len, uint32_t before, uint32_t after)
{
	if (opt && opt->each)
		opt->each(opt->arg, &(struct rag_change){what, is_term, name, len, before, after});
}

static int diff_docs(const struct rag_bin *a, const struct rag_bin *b,
	const struct rag_diff_opt *opt, struct rag_diff *out)
{
	struct group x = {.bin = a}, y = {.bin = b};
	int rc = group_next(&x);

	if (rc == 0)
		rc = group_next(&y);
	while (rc == 0 && (x.path || y.path)) {
		int order = path_order(&x, &y);

		if (order < 0) {
			out->docs_gone++;
			say(opt, '-', false, x.path, x.len, 0, 0);
		} else if (order > 0) {
			out->docs_new++;
			say(opt, '+', false, y.path, y.len, 0, 0);
		} else if (!XXH128_isEqual(x.content, y.content)) {
			out->docs_changed++;
			say(opt, '~', false, x.path, x.len, 0, 0);
		}
		if (order <= 0)
			rc = group_next(&x);
		if (rc == 0 && order >= 0)
			rc = group_next(&y);
	}
	return rc;
}

static int diff_terms(const struct rag_bin *a, const struct rag_bin *b,
	const struct rag_diff_opt *opt, struct rag_diff *out)
{
	struct rag_dict_it x, y;
	int more_x, more_y;

	if (rag_dict_seek(a, "", 0, &x) < 0 || rag_dict_seek(b, "", 0, &y) < 0)
		return -EUCLEAN;
	more_x = rag_dict_next(&x);
	more_y = rag_dict_next(&y);
	while (more_x > 0 || more_y > 0) {
		int order = more_x <= 0 ? 1 : more_y <= 0 ? -1 : strcmp(x.word, y.word);

		if (order < 0) {
			out->terms_gone++;
			say(opt, '-', true, x.word, x.len, x.entry.df, 0);
		} else if (order > 0) {
			out->terms_new++;
			say(opt, '+', true, y.word, y.len, 0, y.entry.df);
		} else if (x.entry.df != y.entry.df) {
			out->terms_changed++;
			say(opt, '~', true, x.word, x.len, x.entry.df, y.entry.df);
		}
		if (order <= 0 && more_x > 0)
			more_x = rag_dict_next(&x);
		if (order >= 0 && more_y > 0)
			more_y = rag_dict_next(&y);
		if (more_x < 0 || more_y < 0)
			return -EUCLEAN;
	}
	return 0;
}

int rag_diff(const struct rag_index *a, const struct rag_index *b, const struct rag_diff_opt *opt,
	struct rag_diff *out, struct err *err)
{
	int rc;

	*out = (struct rag_diff){0};
	rc = diff_docs(&a->bin, &b->bin, opt, out);
	if (rc == 0)
		rc = diff_terms(&a->bin, &b->bin, opt, out);
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (rc < 0) {
		bool is_a = a->bin.pages && atomic_load(&a->bin.pages->bad);

		rag_bin_what(is_a ? &a->bin : &b->bin, err);
		return rag_damaged(is_a ? a->name : b->name, err);
	}
	return 0;
}

int rag_same(int ragdir, const char *built, const char *name, struct err *err)
{
	struct rag_index *old = NULL, *now = NULL;
	struct rag_diff df;
	int fd = dir_open(ragdir, built, err), rc;

	if (fd < 0)
		return fd;
	rc = rag_load(fd, name, true, &now, err);
	close(fd);
	if (rc == 0)
		rc = rag_open(ragdir, name, &old, err);
	if (rc == 0 && !old->is_live)
		rc = rag_check(old, err);
	if (rc == 0 && memcmp(old->bin.header->generation, now->bin.header->generation, 16) != 0 &&
		(rc = rag_diff(old, now, NULL, &df, err)) == 0)
		rc = err_set(err, ESTALE,
			"index \"%s\" is not what its folder makes now: %llu files changed, %llu "
			"new, %llu gone; index it again",
			name, (unsigned long long)df.docs_changed, (unsigned long long)df.docs_new,
			(unsigned long long)df.docs_gone);
	rag_close(old);
	rag_close(now);
	return rc;
}
