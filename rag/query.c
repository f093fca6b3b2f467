/* query - from the text of a question to the text of the answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "base/guard.h"

enum { PAGE_MAX = 1 << 16 }; /* pieces that are asked for at once */

/* hits of which each is of another file; a file is as good as its best piece */
struct files {
	struct rag_hit *at; /* owned */
	size_t n, max;
	uint64_t *seen; /* owned: the places of their paths, plus one, which the pieces of a file
			   share; open addressing, ${slots} a power of two */
	size_t slots;
};

static int files_init(struct files *fs, size_t max)
{
	*fs = (struct files){.max = max, .slots = 16};
	while (fs->slots < 2 * (max + 1))
		fs->slots *= 2;
	fs->at = calloc(max + 1, sizeof(*fs->at));
	fs->seen = calloc(fs->slots, sizeof(*fs->seen));
	return fs->at && fs->seen ? 0 : -ENOMEM;
}

/* 1: a file that was not there yet, and is now; 0; -EUCLEAN */
static int see(struct files *fs, const struct rag_bin *bin, uint32_t doc)
{
	const char *path;
	size_t len, slot;
	uint64_t place;
	int rc = rag_bin_path(bin, doc, &path, &len);

	if (rc < 0)
		return rc;
	place = bin->docs[doc].path + 1;
	for (slot = (size_t)(place * 0x9e3779b97f4a7c15 >> 32) & (fs->slots - 1); fs->seen[slot];
		slot = (slot + 1) & (fs->slots - 1))
		if (fs->seen[slot] == place)
			return 0;
	fs->seen[slot] = place;
	return 1;
}

static int add_files(
	struct files *fs, const struct rag_bin *bin, const struct rag_hit *hits, size_t n)
{
	for (size_t i = 0; i < n && fs->n < fs->max; i++) {
		int rc = see(fs, bin, hits[i].doc);

		if (rc < 0)
			return rc;
		if (rc == 1)
			fs->at[fs->n++] = hits[i];
	}
	return 0;
}

/* the best ${max} files, by asking for pieces until there are enough; for more each time, since a
 * file may have a hundred thousand and every time walks the lists again */
static int rank_files(struct rag_plan *pl, size_t max, struct files *fs)
{
	size_t page = 2 * max + 8, n = page;
	struct rag_hit last;
	int rc = files_init(fs, max);

	for (bool is_first = true; rc == 0 && fs->n < max && n == page; is_first = false) {
		struct rag_hit *hits;

		if (!is_first && page < PAGE_MAX)
			page = 4 * page < PAGE_MAX ? 4 * page : PAGE_MAX;
		rc = rag_plan_rank(pl, page, is_first ? NULL : &last, &hits, &n);
		if (rc == 0)
			rc = add_files(fs, &pl->ix->bin, hits, n);
		if (rc == 0 && n > 0)
			last = hits[n - 1];
		free(hits);
	}
	free(fs->seen);
	fs->seen = NULL;
	return rc;
}

static int rank(struct rag_plan *pl, size_t max, struct files *fs)
{
	*fs = (struct files){0};
	return pl->is_kolm2 ? rank_files(pl, max, fs)
			    : rag_plan_rank(pl, max, NULL, &fs->at, &fs->n);
}

static int check_mode(const struct rag_index *ix, const char *mode, size_t len, struct err *err)
{
	const char *analyser = ix->bin.header->analyser;
	char quoted[ERR_QUOTE_BYTES + 8];
	size_t n = strcspn(analyser, " ");

	if (!mode || (len == n && memcmp(mode, analyser, n) == 0))
		return 0;
	return err_set(err, EINVAL, "mode: index \"%s\" was made with mode %.*s, not \"%s\"",
		ix->name, (int)n, analyser, err_quote(quoted, mode, len));
}

static int put_answer(struct rag_plan *pl, const struct rag_request *rq, struct buf *out)
{
	struct files fs;
	struct rag_answer an;
	int rc;

	rc = rank(pl, rq->after + rq->k, &fs);
	if (rc == 0) {
		rc = rag_answer_init(&an, pl, rq->form, rq->explain);
		if (rc == 0)
			rc = rag_answer_put(&an, fs.n > rq->after ? fs.at + rq->after : fs.at,
				fs.n > rq->after ? fs.n - rq->after : 0, out);
		rag_answer_release(&an);
	}
	free(fs.at);
	return rc;
}

int rag_answer(
	const struct rag_index *ix, const struct rag_request *rq, struct buf *out, struct err *err)
{
	struct rag_plan pl;
	size_t start = out->len;
	int rc = check_mode(ix, rq->mode, rq->mode_len, err);

	if (rc < 0)
		return rc;
	rc = rag_plan_make(&pl, ix, rq->text, rq->len, rq->path, rq->path_len, err);
	if (rc == 0)
		rc = put_answer(&pl, rq, out);
	rag_plan_release(&pl);
	/* zeros in the place of what could not be read are no answer */
	if (rc == 0 && ix->map && guard_lost(ix->map))
		rc = -EUCLEAN;
	if (rc == 0)
		return 0;
	if (out->len > start)
		out->len = start;
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (rc != -EUCLEAN)
		return rc;
	rag_bin_what(&ix->bin, err);
	return rag_damaged(ix->name, err);
}

int rag_query(const struct rag_index *ix, const char *text, size_t len, size_t k,
	enum rag_format form, struct buf *out, struct err *err)
{
	struct rag_request rq = {.text = text, .len = len, .k = k, .form = form};

	return rag_answer(ix, &rq, out, err);
}
