/* Scores to the last bit: the logarithm, and random queries against the formula taken literally
 * over index.json. */
#include "rag_common.h"

#include "base/num.h"
#include "rag/bm25.h"
#include "rag/index.h"
#include "rag/tokenize.h"

/* idf of df in N documents, as V8's Math.log gives it */
static const struct {
	uint64_t docs, df, bits;
} idfs[] = {
	{3, 1, 0x3fef62f40794a7ba},
	{3, 2, 0x3fde148a1a2726ce},
	{81, 4, 0x4007389c4a5ec63b},
	{81, 81, 0x3f790d54303c9e5f},
	{97, 13, 0x3fffb768eb57e57e},
	{1000, 1, 0x401a035e5e18fee0},
	{5000, 777, 0x3ffdc7ec7fbc4a25},
	{50000, 49999, 0x3eff7505fe8f2ad8},
	{123457, 4242, 0x400af74ae25e784d},
	{1, 1, 0x3fd269621134db91},
	{7, 3, 0x3fea74269f84330e},
	{11, 5, 0x3fe8f70f144bd6b3},
	{86, 17, 0x3ff9a8c8eba634b5},
	{1000003, 31337, 0x400bb41be31b4f85},
};

Test(rag_score, idf_has_the_bits_of_fdlibm)
{
	for (size_t i = 0; i < sizeof(idfs) / sizeof(*idfs); i++) {
		double idf = rag_idf(idfs[i].docs, idfs[i].df);
		uint64_t bits;

		memcpy(&bits, &idf, sizeof(bits));
		cr_assert_eq(bits, idfs[i].bits, "idf of %lu in %lu", (unsigned long)idfs[i].df,
			(unsigned long)idfs[i].docs);
	}
	cr_assert_eq(rag_log(1), 0);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* a small vocabulary, so that words repeat; some documents are copies, so that scores tie */
static void put_corpus(const char *dir, uint64_t *rnd, int docs)
{
	struct buf text = BUF_INIT;
	char name[64];

	for (int i = 0; i < docs; i++) {
		uint64_t words = next_random(rnd) % 60;

		if (i % 7 != 6)
			buf_reset(&text);
		for (uint64_t w = 0; i % 7 != 6 && w < words; w++) {
			uint64_t rank = next_random(rnd) % 40 * (next_random(rnd) % 40) / 40;

			buf_addf(&text, "%s%lu%s", rank % 3 ? "w" : "", (unsigned long)(rank + 10),
				w % 9 ? " " : " the\n");
		}
		snprintf(name, sizeof(name), "d%lu/f%d.md", (unsigned long)(next_random(rnd) % 5),
			i);
		put_bytes(dir, name, buf_str(&text), text.len);
	}
	buf_release(&text);
}

/* the formula, word for word, over the JSON */
static void score_literally(struct json_slice index, const struct rag_terms *words, double *scores)
{
	struct json_slice docs = member_of(index, "docs"), postings = member_of(index, "postings"),
			  df = member_of(index, "df");
	double N = json_double(member_of(index, "n_docs")),
	       avgdl = json_double(member_of(index, "avgdl"));
	double k1 = json_double(member_of(index, "k1")), b = json_double(member_of(index, "b"));
	double dls[1000];
	struct json_slice v, pair, x;
	size_t pos = 0, n_docs = 0;

	while (json_next(docs, &pos, NULL, &v))
		dls[n_docs++] = json_double(member_of(v, "len"));
	for (size_t i = 0; i < words->n; i++) {
		char word[RAG_WORD_MAX + 1] = "";
		double n, idf;

		memcpy(word, rag_terms_text(words, i), words->at[i].len);
		if (!json_member(df, word, &v))
			continue;
		n = json_double(v);
		idf = rag_log(1 + (N - n + 0.5) / (n + 0.5));
		v = member_of(postings, word);
		for (pos = 0; json_next(v, &pos, NULL, &pair);) {
			size_t at = 0, d;
			double tf, denom;

			json_next(pair, &at, NULL, &x);
			d = (size_t)json_double(x);
			json_next(pair, &at, NULL, &x);
			tf = json_double(x);
			denom = tf + k1 * (1 - b + b * (dls[d] / avgdl));
			scores[d] += idf * (tf * (k1 + 1)) / denom;
		}
	}
}

static void one_query(const struct rag_index *ix, struct json_slice json, uint64_t *rnd)
{
	struct rag_terms words = RAG_TERMS_INIT;
	double scores[1000] = {0};
	struct rag_hit *hits;
	uint64_t n_words = 1 + next_random(rnd) % 8;
	size_t n, k = next_random(rnd) % 30, want = 0;
	uint32_t index;

	for (uint64_t i = 0; i < n_words; i++) {
		char word[16];
		uint64_t rank = next_random(rnd) % 42;

		snprintf(word, sizeof(word), "%s%lu", rank % 3 ? "w" : "",
			(unsigned long)(rank + 10));
		cr_assert_geq(rag_terms_add(&words, word, strlen(word), &index), 0);
	}
	score_literally(json, &words, scores);
	cr_assert_eq(rag_rank_words(&ix->bin, &words, k, &hits, &n), 0);
	for (size_t i = 0; i < n; i++) {
		size_t best = 0;

		for (size_t d = 1; d < ix->bin.header->n_docs; d++)
			if (scores[d] > scores[best])
				best = d;
		cr_assert_eq(hits[i].doc, best);
		cr_assert_eq(memcmp(&hits[i].score, &scores[best], sizeof(double)), 0,
			"score bits differ");
		scores[best] = -1;
	}
	for (size_t d = 0; d < ix->bin.header->n_docs; d++)
		want += scores[d] > 0;
	cr_assert(n == k || want == 0, "documents are missing");
	free(hits);
	rag_terms_release(&words);
}

Test(rag_score, random_queries_have_the_bits_of_the_formula)
{
	uint64_t rnd = 20260101;
	char *dir = scratch(), *store = scratch();
	struct buf text = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_index *ix;

	put_corpus(dir, &rnd, 300);
	build_plain(dir, store, "rnd");
	get_bytes(store, "rnd/index.json", &text);
	cr_assert_eq(open_index(store, "rnd", &ix, &err), 0, "%s", err.text);
	for (int i = 0; i < 200; i++)
		one_query(ix, (struct json_slice){buf_str(&text), text.len}, &rnd);
	rag_close(ix);
	buf_release(&text);
	sweep(dir);
	sweep(store);
}

Test(rag_score, worked_example_of_the_format)
{
	char *dir = scratch(), *store = scratch(), *answer;
	struct err err = ERR_NONE;
	struct rag_index *ix;

	put_text(dir, "a.md", "cat sat");
	put_text(dir, "b.md", "cat cat dog");
	put_text(dir, "c.md", "bird");
	build_plain(dir, store, "pets");
	cr_assert_eq(open_index(store, "pets", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "cat", RAG_K_DEFAULT, RAG_RESULT);
	cr_assert_str_eq(answer,
		"{\"matches\":[{\"score\":0.5785,\"path\":\"b.md\",\"preview\":\"cat cat "
		"dog\",\"excerpt\":\"cat cat dog\"},"
		"{\"score\":0.47,\"path\":\"a.md\",\"preview\":\"cat sat\",\"excerpt\":\"cat "
		"sat\"}],\"n_docs\":3,\"query_tokens\":[\"cat\"]}");
	free(answer);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}
