/* The conformance data of FORMATS section 10: index bytes, every query on the odd corpus, the
 * tokenizer's table. */
#include "rag_common.h"

#include "base/hash.h"
#include "rag/tokenize.h"

static char *compact(struct json_slice v)
{
	struct buf bf = BUF_INIT;

	cr_assert_eq(json_compact(v, &bf), 0);
	return buf_detach(&bf);
}

static void same_member(
	struct json_slice got, struct json_slice want, const char *key, const char *q)
{
	struct json_slice a = member_of(got, key), b;
	char *x, *y;

	if (!json_member(want, key, &b))
		return; /* the table leaves out what is long */
	x = compact(a);
	y = compact(b);
	cr_assert_str_eq(x, y, "query '%s', %s", q, key);
	free(x);
	free(y);
}

static size_t same_matches(struct json_slice got, struct json_slice want, const char *q)
{
	struct json_slice g, w;
	size_t gp = 0, wp = 0, n = 0;

	for (; json_next(want, &wp, NULL, &w); n++) {
		cr_assert(json_next(got, &gp, NULL, &g), "query '%s': too few matches", q);
		same_member(g, w, "score", q);
		same_member(g, w, "path", q);
		same_member(g, w, "preview", q);
		same_member(g, w, "excerpt", q);
	}
	cr_assert_not(json_next(got, &gp, NULL, &g), "query '%s': too many matches", q);
	return n;
}

static void same_result(const struct rag_index *ix, struct json_slice want)
{
	struct buf q = BUF_INIT;
	struct json_slice got, throws;
	struct err err = ERR_NONE;
	size_t n;
	char *answer;

	text_of(member_of(want, "q"), &q);
	answer = ask(ix, buf_str(&q), (size_t)json_double(member_of(want, "topK")), RAG_RESULT);
	got = (struct json_slice){answer, strlen(answer)};
	cr_assert_eq(json_check(got.text, got.len, &err), 0, "%s", err.text);
	if (json_member(want, "reference_throws", &throws)) {
		cr_assert(strstr(answer, "{\"matches\":[],"), "%s", answer);
	} else {
		n = same_matches(
			member_of(got, "matches"), member_of(want, "matches"), buf_str(&q));
		cr_assert_eq((double)n, json_double(member_of(want, "n")));
		same_member(got, want, "n_docs", buf_str(&q));
		same_member(got, want, "query_tokens", buf_str(&q));
	}
	free(answer);
	buf_release(&q);
}

static size_t same_results(const struct rag_index *ix, struct json_slice gold)
{
	struct json_slice results = member_of(gold, "results"), want;
	size_t pos = 0, n = 0;

	for (; json_next(results, &pos, NULL, &want); n++)
		same_result(ix, want);
	return n;
}

static void same_docs(struct json_slice index, struct json_slice gold)
{
	struct json_slice gs = member_of(index, "docs"), ws = member_of(gold, "docs"), g, w;
	size_t gp = 0, wp = 0;

	while (json_next(ws, &wp, NULL, &w)) {
		cr_assert(json_next(gs, &gp, NULL, &g));
		same_member(g, w, "id", "");
		same_member(g, w, "path", "");
		same_member(g, w, "len", "");
		same_member(g, w, "preview", "");
	}
}

/* the whole file, under the name the reference gave its index (which ours may not have) */
static void same_bytes(const struct buf *index, struct json_slice gold)
{
	static const char head[] = "{\"spec\":\"rag-bm25-1\",\"name\":\"odd\"";
	struct buf text = BUF_INIT, name = BUF_INIT, want = BUF_INIT;
	char got[HASH_HEX_BYTES];

	text_of(member_of(gold, "corpus"), &name);
	cr_assert_eq(memcmp(index->data, head, sizeof(head) - 1), 0);
	buf_addf(&text, "{\"spec\":\"rag-bm25-1\",\"name\":\"%s\"", buf_str(&name));
	buf_add(&text, index->data + sizeof(head) - 1, index->len - (sizeof(head) - 1));
	sha256_hex(text.data, text.len, got);
	text_of(member_of(gold, "index_text_sha256_normalised"), &want);
	cr_assert_str_eq(got, buf_str(&want), "index.json is not byte for byte the reference's");
	buf_release(&text);
	buf_release(&name);
	buf_release(&want);
}

static void check_corpus(const char *gold_name, const char *ext, uint64_t max_bytes)
{
	struct rag_build opt = {.name = "odd",
		.root = "<ROOT>",
		.ext = ext,
		.max_bytes = max_bytes,
		.created_at = "<CREATED_AT>"};
	char *dir = odd_corpus(), *store = scratch();
	struct buf gold_text = BUF_INIT, index = BUF_INIT;
	struct err err = ERR_NONE;
	struct json_slice gold;
	struct rag_built built;
	struct rag_index *ix;

	golden(gold_name, &gold_text, &gold);
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq((double)built.docs, json_double(member_of(gold, "n_docs")));
	cr_assert_eq(built.avgdl, json_double(member_of(gold, "avgdl")));
	get_bytes(store, "odd/index.json", &index);
	same_docs((struct json_slice){buf_str(&index), index.len}, gold);
	same_bytes(&index, gold);
	cr_assert_eq(open_index(store, "odd", &ix, &err), 0, "%s", err.text);
	cr_assert_geq(same_results(ix, gold), 188);
	rag_close(ix);

	/* the same from index.json alone; the files are found below the root it names */
	sweep(store);
	store = scratch();
	opt.root = dir;
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	{
		char path[4096];

		snprintf(path, sizeof(path), "%s/odd/index.bin", store);
		cr_assert_eq(unlink(path), 0);
		snprintf(path, sizeof(path), "%s/odd/state.json", store);
		cr_assert_eq(unlink(path), 0);
	}
	cr_assert_eq(open_index(store, "odd", &ix, &err), 0, "%s", err.text);
	cr_assert_geq(same_results(ix, gold), 188);
	rag_close(ix);
	buf_release(&gold_text);
	buf_release(&index);
	sweep(dir);
	sweep(store);
}

Test(rag_golden, odd)
{
	check_corpus("rag_odd.json", NULL, 0);
}

Test(rag_golden, odd_with_all_files)
{
	check_corpus("rag_odd@allfiles.json", "", 0);
}

Test(rag_golden, odd_txt_up_to_2000_bytes)
{
	check_corpus("rag_odd@txtonly_max2000.json", "txt", 2000);
}

static void put_words(const char *text, size_t len, struct buf *out)
{
	struct rag_words ws;

	buf_reset(out);
	buf_putc(out, '[');
	rag_words_init(&ws, text, len);
	while (rag_words_next(&ws)) {
		if (out->len > 1)
			buf_putc(out, ',');
		json_put_string(out, ws.word, ws.word_len);
	}
	buf_putc(out, ']');
}

Test(rag_golden, tokenizer_table)
{
	struct buf text = BUF_INIT, in = BUF_INIT, got = BUF_INIT;
	struct json_slice table, row, v;
	size_t pos = 0, n = 0;

	golden("rag_tokenize.json", &text, &table);
	while (json_next(table, &pos, NULL, &row)) {
		char *want;

		if (!json_member(row, "in", &v))
			continue; /* what JavaScript makes of a value that is no text is the
				     caller's affair */
		text_of(v, &in);
		put_words(buf_str(&in), in.len, &got);
		want = compact(member_of(row, "out"));
		cr_assert_str_eq(buf_str(&got), want, "of '%s'", buf_str(&in));
		free(want);
		n++;
	}
	cr_assert_geq(n, 40);
	buf_release(&text);
	buf_release(&in);
	buf_release(&got);
}
