/* An index as files: the tree of its documents, their texts, and what it says of a term. */
#include "rag_common.h"

#include "base/hash.h"

static int add_name(void *arg, const char *name, size_t len, bool is_folder)
{
	buf_add(arg, name, len);
	buf_puts(arg, is_folder ? "/ " : " ");
	return 0;
}

static void expect_list(const struct rag_index *ix, const char *folder, const char *names)
{
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_path_each(ix, folder, strlen(folder), add_name, &out), 0);
	cr_assert_str_eq(buf_str(&out), names, "'%s' lists '%s'", folder, buf_str(&out));
	buf_release(&out);
}

static void expect_kind(const struct rag_index *ix, const char *path, enum rag_path kind)
{
	enum rag_path got;

	cr_assert_eq(rag_path_look(ix, path, strlen(path), &got), 0);
	cr_assert_eq(got, kind, "'%s' is %d, not %d", path, (int)got, (int)kind);
}

static void expect_text(const struct rag_index *ix, const char *path, const char *text)
{
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_path_text(ix, path, strlen(path), &out), 0, "%s", path);
	cr_assert_str_eq(buf_str(&out), text);
	buf_release(&out);
}

static void expect_term(const struct rag_index *ix, const char *word, const char *text)
{
	struct buf out = BUF_INIT;
	int rc = rag_term(ix, word, strlen(word), &out);

	cr_assert_eq(rc, text ? 0 : -ENOENT, "%s: %d", word, rc);
	if (text)
		cr_assert_str_eq(buf_str(&out), text);
	buf_release(&out);
}

/* ids follow UTF-16 units of whole paths, the tree does not care */
Test(rag_paths, the_tree_is_that_of_the_files)
{
	char *dir = scratch(), *store = scratch();
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	struct buf none = BUF_INIT;

	put_text(dir, "a.md", "alpha beta\n");
	put_text(dir, "a/x.md", "beta beta gamma");
	put_text(dir, "a-b/y.md", "alpha");
	put_text(dir, "a/deep/er/z.md", "delta");
	put_text(dir, "a/deep/z.md", "delta delta");
	put_text(dir, "\xf0\x9f\x98\x80.md", "smile");
	put_text(dir, "\xee\x80\x80.md", "private");
	put_text(dir, "new\nline\\back.md", "odd names");
	build_plain(dir, store, "docs");
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	expect_list(ix, "", "a-b/ a.md a/ new\nline/ \xee\x80\x80.md \xf0\x9f\x98\x80.md ");
	expect_list(ix, "a", "deep/ x.md ");
	expect_list(ix, "a/deep", "er/ z.md ");
	expect_list(ix, "a/deep/er", "z.md ");
	expect_list(ix, "new\nline", "back.md ");
	expect_list(ix, "a/dee", "");
	expect_kind(ix, "a", RAG_PATH_FOLDER);
	expect_kind(ix, "a.md", RAG_PATH_FILE);
	expect_kind(ix, "a.m", RAG_PATH_NONE);
	expect_kind(ix, "a/deep/er/z.md", RAG_PATH_FILE);
	expect_kind(ix, "a/deep/er/z.md/x", RAG_PATH_NONE);
	expect_kind(ix, "\xf0\x9f\x98\x80.md", RAG_PATH_FILE);
	expect_kind(ix, "../a.md", RAG_PATH_NONE);
	expect_kind(ix, "zz", RAG_PATH_NONE);
	expect_text(ix, "a.md", "alpha beta\n");
	expect_text(ix, "a/x.md", "beta beta gamma");
	expect_text(ix, "new\nline/back.md", "odd names");
	cr_assert_eq(rag_path_text(ix, "a", 1, &none), -ENOENT);
	expect_term(ix, "beta", "term beta\ndf 2\nidf 1.2809\n1\t1\ta.md\n4\t2\ta/x.md\n");
	expect_term(ix, "Beta", "term beta\ndf 2\nidf 1.2809\n1\t1\ta.md\n4\t2\ta/x.md\n");
	expect_term(ix, "odd", "term odd\ndf 1\nidf 1.7918\n5\t1\tnew\\x0aline/back.md\n");
	expect_term(ix, "unicorn", NULL);
	expect_term(ix, "the", NULL);
	expect_term(ix, "", NULL);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}

/* an index.json of somebody else: what no file can be called is not shown, all else is */
Test(rag_paths, hostile_paths_are_left_out)
{
	static const char json[] =
		"{\"spec\":\"rag-bm25-1\",\"name\":\"docs\",\"created_at\":\"" FIXED_TIME
		"\",\"root\":\"/nowhere\",\"n_docs\":9,\"avgdl\":1,\"k1\":1.5,\"b\":0.75,\"docs\":["
#define DOC(id, path)                                                                              \
	"{\"id\":" #id ",\"path\":\"" path                                                         \
	"\",\"abs\":\"/nowhere/x\",\"len\":1,\"preview\":\"word\"}"
		DOC(0, "../../etc/passwd") "," DOC(1, "/etc/passwd") "," DOC(2, "a//b") "," DOC(
			3, "a/./b") "," DOC(4, "a\\u0000b") "," DOC(5, "") "," DOC(6,
			"x") "," DOC(7, "x/y") "," DOC(8,
			"ok/\\u0001") "],\"df\":{\"word\":9},\"postings\":{\"word\":[[0,1],[1,1],["
				      "2,1],[3,1],[4,1],[5,1],"
				      "[6,1],[7,1],[8,1]]}}";
	char *store = scratch();
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;

	put_text(store, "docs/index.json", json);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	expect_list(ix, "", "ok/ x ");
	expect_list(ix, "ok", "\x01 ");
	expect_kind(ix, "..", RAG_PATH_NONE);
	expect_kind(ix, "a", RAG_PATH_NONE);
	expect_kind(ix, "x", RAG_PATH_FILE);
	expect_text(ix, "x", "word"); /* its file is gone: the beginning that was kept */
	cr_assert_eq(rag_term(ix, "word", 4, &out), 0);
	cr_assert(strstr(buf_str(&out), "\n0\t1\t../../etc/passwd\n"), "%s", buf_str(&out));
	buf_release(&out);
	rag_close(ix);
	sweep(store);
}

/* pieces of a kolm-2 file make the file again, line by line */
Test(rag_paths, pieces_stand_at_their_lines)
{
	struct rag_build opt = {.name = "docs", .created_at = FIXED_TIME, .mode = "kolm-2"};
	char *dir = scratch(), *store = scratch(), *want;
	struct buf text = BUF_INIT, got = BUF_INIT;
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	struct rag_built built;

	buf_puts(&text, "\n\n# First things\n\n");
	for (int i = 0; i < 300; i++)
		buf_addf(&text, "Line %d of a chapter about %s.\n%s", i,
			i % 2 ? "zebras" : "parcels", i % 20 == 19 ? "\n\n## Next\n\n" : "");
	buf_puts(&text, "the end");
	put_text(dir, "in/book.md", buf_str(&text));
	opt.root = dir;
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_gt(built.docs, 5);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	expect_list(ix, "in", "book.md ");
	cr_assert_eq(rag_path_text(ix, "in/book.md", 10, &got), 0);
	want = buf_str(&text)[0] ? text.data : NULL;
	cr_assert_str_eq(buf_str(&got), want);
	buf_release(&got);
	cr_assert_eq(rag_term(ix, "Zebras", 6, &got), 0);
	cr_assert(strncmp(buf_str(&got), "term zebra\ndf ", 14) == 0, "%s", buf_str(&got));
	cr_assert(strstr(buf_str(&got), "\tin/book.md\t3-"), "%s", buf_str(&got));
	buf_release(&got);
	buf_release(&text);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}
