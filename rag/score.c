/*
 * score - BM25 over the lists of a query's words, and the best documents.
 *
 * Scores are added word by word in the order of the query, as the formula is written, so their bits
 * are those of any other implementation. Only the lists of these words are read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"

struct scores {
	double *of;	   /* by document */
	uint32_t *touched; /* documents with a word of the query */
	size_t n, cap;
	unsigned char *seen; /* a bit a document */
};

static void scores_release(struct scores *sc)
{
	free(sc->of);
	free(sc->touched);
	free(sc->seen);
}

static int touch(struct scores *sc, uint32_t doc)
{
	unsigned char bit = (unsigned char)(1 << (doc & 7));

	if (sc->seen[doc >> 3] & bit)
		return 0;
	if (sc->n == sc->cap) {
		size_t cap = sc->cap ? sc->cap * 2 : 256;
		uint32_t *touched = realloc(sc->touched, cap * sizeof(*touched));

		if (!touched)
			return -ENOMEM;
		sc->touched = touched;
		sc->cap = cap;
	}
	sc->seen[doc >> 3] |= bit;
	sc->touched[sc->n++] = doc;
	return 0;
}

static int add_word(const struct rag_bin *bin, const char *word, size_t len, struct scores *sc)
{
	struct rag_bm25 bm = {
		.k1 = bin->header->k1, .b = bin->header->b, .avgdl = bin->header->avgdl};
	struct rag_post ps;
	double idf;
	int rc = rag_bin_find(bin, word, len, &ps);

	if (rc <= 0)
		return rc;
	idf = rag_idf(bin->header->n_docs, ps.df);
	while (rag_post_next(&ps)) {
		sc->of[ps.doc] += rag_weight(&bm, idf, ps.tf, bin->docs[ps.doc].len);
		if (touch(sc, ps.doc) < 0)
			return -ENOMEM;
	}
	return ps.is_damaged ? -EUCLEAN : 0;
}

static bool is_better(const struct rag_hit *a, const struct rag_hit *b)
{
	return a->score > b->score || (a->score == b->score && a->doc < b->doc);
}

/* a heap with the worst of the best on top */
static void sink(struct rag_hit *heap, size_t n, size_t i)
{
	for (;;) {
		size_t worst = i, child = 2 * i + 1;
		struct rag_hit swap;

		for (size_t c = child; c < child + 2 && c < n; c++)
			if (is_better(&heap[worst], &heap[c]))
				worst = c;
		if (worst == i)
			return;
		swap = heap[i];
		heap[i] = heap[worst];
		heap[worst] = swap;
		i = worst;
	}
}

static int hit_compare(const void *a, const void *b)
{
	return is_better(b, a) ? 1 : -1;
}

/* the best ${k}, best first; ${out} is owned by the caller */
static int best(const struct scores *sc, size_t k, struct rag_hit **out, size_t *n_out)
{
	size_t n = k < sc->n ? k : sc->n;
	struct rag_hit *heap = malloc((n + 1) * sizeof(*heap));

	if (!heap)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		heap[i] = (struct rag_hit){.score = sc->of[sc->touched[i]], .doc = sc->touched[i]};
	for (size_t i = n / 2; i-- > 0;)
		sink(heap, n, i);
	for (size_t i = n; n > 0 && i < sc->n; i++) {
		struct rag_hit h = {.score = sc->of[sc->touched[i]], .doc = sc->touched[i]};

		if (is_better(&h, &heap[0])) {
			heap[0] = h;
			sink(heap, n, 0);
		}
	}
	qsort(heap, n, sizeof(*heap), hit_compare);
	*out = heap;
	*n_out = n;
	return 0;
}

int rag_rank(const struct rag_bin *bin, const struct rag_terms *words, size_t k,
	struct rag_hit **out, size_t *n)
{
	size_t docs = (size_t)bin->header->n_docs;
	struct scores sc = {0};
	int rc = 0;

	sc.of = calloc(docs + 1, sizeof(*sc.of));
	sc.seen = calloc(docs / 8 + 1, 1);
	if (!sc.of || !sc.seen)
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < words->n; i++)
		rc = add_word(bin, rag_terms_text(words, i), words->at[i].len, &sc);
	if (rc == 0)
		rc = best(&sc, k, out, n);
	scores_release(&sc);
	return rc;
}
