/*
 * The scorer against the formula taken literally: 100,000 random questions over five seeded
 * corpora, every score to the bit, ties in id order; with and without required and refused terms,
 * ranges, filters and pages. (A third of them unless LONG is set.)
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/bin.h"
#include "rag/rank.h"

enum {
	QUESTIONS = 6000,
	QUESTIONS_LONG = 20000,
	DOCS_MAX = 6000,
	TERMS_MAX = 2000,
	WANTS_MAX = 12
};

/* frequencies by term and document: as plain as it gets */
struct corpus {
	const char *name;
	uint32_t docs, terms, words; /* words: mean length */
	int skew, copies;	     /* of the words; of each document */
	uint16_t *tf;		     /* [term * docs + doc] */
	uint32_t *len, *df;
	struct buf image;
	struct rag_bin bin;
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* small numbers are likelier: the product of ${skew} uniform ones */
static uint32_t skewed(uint64_t *rnd, uint32_t n, int skew)
{
	double x = 1;

	for (int i = 0; i < skew; i++)
		x *= (double)(next_random(rnd) % 1000000) / 1e6;
	return (uint32_t)(x * n);
}

static void fill(struct corpus *c, uint64_t *rnd)
{
	c->tf = calloc((size_t)c->terms * c->docs, sizeof(*c->tf));
	c->len = calloc(c->docs, sizeof(*c->len));
	c->df = calloc(c->terms, sizeof(*c->df));
	for (uint32_t d = 0; d < c->docs; d++) {
		uint32_t words = 1 + (uint32_t)(next_random(rnd) % (2 * c->words));

		if (c->copies > 1 && d % (uint32_t)c->copies) { /* the same again: ties */
			for (uint32_t t = 0; t < c->terms; t++)
				c->tf[t * c->docs + d] = c->tf[t * c->docs + d - 1];
			c->len[d] = c->len[d - 1];
			continue;
		}
		for (uint32_t w = 0; w < words; w++)
			c->tf[skewed(rnd, c->terms, c->skew) * c->docs + d]++;
		c->len[d] = words;
	}
}

static void word_of(uint32_t term, char word[16])
{
	snprintf(word, 16, "w%05u", term);
}

static void make(struct corpus *c)
{
	struct rag_writer w;
	struct rag_mode mode;
	struct err err = ERR_NONE;

	cr_assert_eq(rag_mode_find(NULL, NULL, &mode, &err), 0);
	cr_assert_eq(rag_writer_init(&w, -1, &c->image, -1, &mode, &err), 0, "%s", err.text);
	for (uint32_t d = 0; d < c->docs; d++) {
		struct rag_writer_doc doc = {.path = "p", .path_len = 1, .words = c->len[d]};

		cr_assert_eq(rag_writer_doc(&w, &doc, &err), 0, "%s", err.text);
	}
	cr_assert_eq(rag_writer_terms(&w, -1, &err), 0, "%s", err.text);
	for (uint32_t t = 0; t < c->terms; t++) {
		char word[16];
		int n = 0;

		for (uint32_t d = 0; d < c->docs; d++)
			if (c->tf[t * c->docs + d] && ++n)
				cr_assert_eq(
					rag_writer_pair(&w, d, c->tf[t * c->docs + d], &err), 0);
		word_of(t, word);
		c->df[t] = (uint32_t)n;
		if (n)
			cr_assert_eq(rag_writer_term(&w, word, strlen(word), 0, &err), 0);
	}
	cr_assert_eq(rag_writer_finish(&w, &err), 0, "%s", err.text);
	rag_writer_release(&w);
	cr_assert_eq(
		rag_bin_open(c->image.data, c->image.len, true, &c->bin, &err), 0, "%s", err.text);
}

struct question {
	struct rag_want wants[WANTS_MAX];
	char words[WANTS_MAX][16];
	uint32_t terms[WANTS_MAX];
	struct rag_range ranges[2];
	struct rag_hit after;
	struct rag_ask ask;
	uint32_t modulus; /* the filter lets documents through that it does not divide */
};

static bool let_through(void *arg, uint32_t doc)
{
	return doc % *(const uint32_t *)arg != 0;
}

static void draw(const struct corpus *c, struct question *q, uint64_t *rnd)
{
	static const size_t ks[] = {1, 3, 5, 10, 10, 10, 30, 100, 1000};
	uint64_t extra = next_random(rnd) % 8;

	memset(q, 0, sizeof(*q));
	q->ask.wants = q->wants;
	q->ask.k = ks[next_random(rnd) % (sizeof(ks) / sizeof(*ks))];
	for (uint64_t n = 1 + next_random(rnd) % WANTS_MAX; n > 0; n--) {
		uint32_t term = skewed(rnd, c->terms + 3, 1 + (int)(next_random(rnd) % 3));
		size_t at = q->ask.n;
		bool is_new = true;

		for (size_t i = 0; i < at; i++)
			is_new &= q->terms[i] != term;
		if (!is_new)
			continue;
		q->terms[at] = term;
		word_of(term, q->words[at]);
		q->wants[at] = (struct rag_want){
			.word = q->words[at], .len = strlen(q->words[at]), .weight = 1};
		if (extra == 1 && next_random(rnd) % 3 == 0)
			q->wants[at].need = next_random(rnd) % 2 ? RAG_MUST : RAG_NOT;
		if (extra == 2)
			q->wants[at].weight = (double)(next_random(rnd) % 5) / 4;
		q->ask.n++;
	}
	if (extra == 3) {
		q->ranges[0].from = (uint32_t)(next_random(rnd) % c->docs);
		q->ranges[0].to = q->ranges[0].from + (uint32_t)(next_random(rnd) % c->docs) / 4;
		q->ranges[1] = (struct rag_range){q->ranges[0].to + 5, c->docs};
		q->ask.ranges = q->ranges;
		q->ask.n_ranges = 2;
	}
	if (extra == 4) {
		q->modulus = 2 + (uint32_t)(next_random(rnd) % 3);
		q->ask.accept = let_through;
		q->ask.arg = &q->modulus;
	}
	if (extra == 5) {
		q->after = (struct rag_hit){.score = (double)(next_random(rnd) % 800) / 100,
			.doc = (uint32_t)(next_random(rnd) % c->docs)};
		q->ask.after = &q->after;
	}
}

/* -1: not an answer at all */
static double literal(
	const struct corpus *c, const struct question *q, const double *idf, uint32_t d)
{
	double avgdl = c->bin.header->avgdl, score = 0, k1 = 1.5, b = 0.75;
	bool any = false;

	for (size_t i = 0; i < q->ask.n; i++) {
		uint32_t t = q->terms[i];
		uint16_t tf = t < c->terms ? c->tf[t * c->docs + d] : 0;
		double dl = c->len[d], denom = tf + k1 * (1 - b + b * (dl / avgdl));

		if ((q->wants[i].need == RAG_MUST && !tf) || (q->wants[i].need == RAG_NOT && tf))
			return -1;
		if (!tf || q->wants[i].need == RAG_NOT)
			continue;
		if (q->wants[i].weight > 0) {
			any = true;
			score += q->wants[i].weight * (idf[i] * (tf * (k1 + 1)) / denom);
		}
	}
	if (!any || (q->modulus && d % q->modulus == 0))
		return -1;
	if (q->ask.n_ranges &&
		!((d >= q->ranges[0].from && d < q->ranges[0].to) || d >= q->ranges[1].from))
		return -1;
	if (q->ask.after &&
		!(score < q->after.score || (score == q->after.score && d > q->after.doc)))
		return -1;
	return score;
}

static int rank_compare(const void *a, const void *b)
{
	const struct rag_hit *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->doc < y->doc ? -1 : x->doc > y->doc;
}

static void ask_one(const struct corpus *c, const struct question *q, struct rag_hit *want)
{
	double idf[WANTS_MAX] = {0};
	struct rag_hit *hits;
	size_t n, n_want = 0;

	for (size_t i = 0; i < q->ask.n; i++) {
		double df = q->terms[i] < c->terms ? c->df[q->terms[i]] : 0, N = c->docs;

		idf[i] = rag_log(1 + (N - df + 0.5) / (df + 0.5));
	}
	for (uint32_t d = 0; d < c->docs; d++) {
		double score = literal(c, q, idf, d);

		if (score >= 0)
			want[n_want++] = (struct rag_hit){score, d};
	}
	qsort(want, n_want, sizeof(*want), rank_compare);
	n_want = n_want < q->ask.k ? n_want : q->ask.k;
	cr_assert_eq(rag_rank(&c->bin, &q->ask, &hits, &n), 0);
	cr_assert_eq(n, n_want, "%s: %zu answers, not %zu", c->name, n, n_want);
	for (size_t i = 0; i < n; i++)
		cr_assert(hits[i].doc == want[i].doc &&
				  memcmp(&hits[i].score, &want[i].score, sizeof(double)) == 0,
			"%s: place %zu: document %u with %.17g, not %u with %.17g", c->name, i,
			hits[i].doc, hits[i].score, want[i].doc, want[i].score);
	free(hits);
}

static void compare_all(struct corpus c, uint64_t rnd)
{
	struct rag_hit *want = malloc(DOCS_MAX * sizeof(*want));
	struct question q;

	fill(&c, &rnd);
	make(&c);
	for (int i = 0; i < (getenv("LONG") ? QUESTIONS_LONG : QUESTIONS); i++) {
		draw(&c, &q, &rnd);
		ask_one(&c, &q, want);
	}
	free(want);
	rag_bin_close(&c.bin);
	buf_release(&c.image);
	free(c.tf);
	free(c.len);
	free(c.df);
}

Test(rag_oracle, short_texts_many_ties)
{
	compare_all((struct corpus){.name = "ties",
			    .docs = 600,
			    .terms = 60,
			    .words = 8,
			    .skew = 2,
			    .copies = 5},
		1);
}

Test(rag_oracle, common_words_in_most_documents)
{
	compare_all((struct corpus){.name = "common",
			    .docs = 1500,
			    .terms = 120,
			    .words = 60,
			    .skew = 3,
			    .copies = 1},
		2);
}

Test(rag_oracle, long_lists)
{
	compare_all((struct corpus){.name = "long",
			    .docs = DOCS_MAX,
			    .terms = 300,
			    .words = 25,
			    .skew = 3,
			    .copies = 1},
		3);
}

Test(rag_oracle, rare_words)
{
	compare_all((struct corpus){.name = "rare",
			    .docs = 2000,
			    .terms = TERMS_MAX,
			    .words = 40,
			    .skew = 2,
			    .copies = 1},
		4);
}

Test(rag_oracle, lengths_far_apart)
{
	compare_all((struct corpus){.name = "lengths",
			    .docs = 900,
			    .terms = 500,
			    .words = 900,
			    .skew = 4,
			    .copies = 2},
		5);
}
