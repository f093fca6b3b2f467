/* Damaged, foreign, replaced: what opening an index says (J09), what publishing checks. */
#include "rag_common.h"

#include <sys/wait.h>

#include "base/hash.h"
#include "rag/bin.h"

static char *make_store(void)
{
	char *dir = scratch(), *store = scratch();

	put_text(dir, "a.md", "alpha beta gamma the gate is open");
	put_text(dir, "sub/b.md", "beta beta delta epsilon");
	put_text(dir, "sub/c.md", "alpha \xf0\x9f\x98\x80 zeta __proto__ 42 7");
	build_plain(dir, store, "docs");
	sweep(dir);
	return store;
}

static void expect_damaged(const char *store, const char *cause)
{
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	int rc = open_index(store, "docs", &ix, &err);

	if (rc == 0)
		rag_close(ix);
	cr_assert_eq(rc, -EUCLEAN, "rc %d for %s: %s", rc, cause, err.text);
	cr_assert(strstr(err.text, "index \"docs\" is damaged: ") == err.text &&
			  strstr(err.text, "; rebuild it"),
		"%s", err.text);
	cr_assert(strstr(err.text, cause), "'%s' should name %s", err.text, cause);
}

/* opening looks at the header and the sums only; a question at the pages it reads (here all
 * sections lie on one), a check at everything */
static void expect_section(const char *store, const char *name)
{
	char cause[128];
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;

	snprintf(cause, sizeof(cause), "section %s of index.bin does not match its checksum", name);
	if (strcmp(name, "SUMS") == 0) {
		expect_damaged(store, cause);
		return;
	}
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s: %s", name, err.text);
	cr_assert_eq(rag_query(ix, "beta", 4, 5, RAG_RESULT, &out, &err), -EUCLEAN, "%s", name);
	cr_assert(strstr(err.text, cause), "'%s' should name %s", err.text, cause);
	cr_assert_eq(out.len, 0);
	cr_assert_eq(rag_check(ix, &err), -EUCLEAN);
	cr_assert(strstr(err.text, cause), "'%s' should name %s", err.text, cause);
	rag_close(ix);
	buf_release(&out);
}

Test(rag_damage, a_flipped_byte_in_any_section)
{
	static const char *const names[] = {[RAG_STORE] = "STORE",
		[RAG_FRAMES] = "FRAMES",
		[RAG_DOCS] = "DOCS",
		[RAG_PATHS_TEXT] = "PATHS",
		[RAG_LENS] = "LENS",
		[RAG_POST] = "POST",
		[RAG_HEADS] = "HEADS",
		[RAG_DICT] = "DICT",
		[RAG_ORDER] = "ORDER",
		[RAG_SUMS] = "SUMS"};
	char *store = make_store();
	struct buf bin = BUF_INIT;
	struct rag_bin_header h;

	get_bytes(store, "docs/index.bin", &bin);
	memcpy(&h, bin.data, sizeof(h));
	cr_assert_eq(h.n_sections, 12);
	for (uint32_t i = 0; i < h.n_sections; i++) {
		char *at = bin.data + h.sections[i].offset + h.sections[i].len / 2;

		if (h.sections[i].id == RAG_PIECES || h.sections[i].id == RAG_TITLES) {
			cr_assert_eq(h.sections[i].len, 0);
			continue;
		}
		cr_assert_gt(h.sections[i].len, 0);
		*at ^= 0x10;
		put_bytes(store, "docs/index.bin", bin.data, bin.len);
		expect_section(store, names[h.sections[i].id]);
		*at ^= 0x10;
	}
	for (size_t at = 0; at < RAG_HEADER_BYTES; at += 97) {
		bin.data[at] ^= 1;
		put_bytes(store, "docs/index.bin", bin.data, bin.len);
		expect_damaged(store, "index.bin");
		bin.data[at] ^= 1;
	}
	for (size_t len = 0; len < bin.len; len += len < 100 ? 33 : 777) {
		put_bytes(store, "docs/index.bin", bin.data, len);
		expect_damaged(store, "index.bin");
	}
	buf_release(&bin);
	sweep(store);
}

/* sums that fit what the file holds now */
static void reseal(char *data)
{
	struct rag_bin_header *h = (struct rag_bin_header *)(void *)data;
	uint64_t sums = 0, sum;

	for (uint32_t i = 0; i < h->n_sections; i++)
		if (h->sections[i].id == RAG_SUMS)
			sums = h->sections[i].offset;
	for (uint64_t at = RAG_HEADER_BYTES, n = 0; at < sums; at += RAG_PAGE_BYTES, n++) {
		uint64_t len = sums - at < RAG_PAGE_BYTES ? sums - at : RAG_PAGE_BYTES;
		uint32_t page = (uint32_t)XXH3_64bits(data + at, len);

		memcpy(data + sums + n * sizeof(page), &page, sizeof(page));
	}
	for (uint32_t i = 0; i < h->n_sections; i++)
		h->sections[i].xxh3 = XXH3_64bits(data + h->sections[i].offset, h->sections[i].len);
	sum = XXH3_64bits(data, RAG_HEADER_BYTES - sizeof(sum));
	memcpy(data + RAG_HEADER_BYTES - sizeof(sum), &sum, sizeof(sum));
}

/* words that stand in all of 300 documents, in some, in one: lists of every form */
static char *make_long_store(void)
{
	char *dir = scratch(), *store = scratch(), name[32], text[256];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "d%03d.md", i);
		snprintf(text, sizeof(text), "alpha alpha %s %s only%d zeta %s",
			i % 2 ? "beta" : "gamma", i % 5 ? "" : "delta delta 42", i,
			i % 7 ? "" : "__proto__ alpha alpha");
		put_text(dir, name, text);
	}
	build_plain(dir, store, "docs");
	sweep(dir);
	return store;
}

/* checksums that fit do not make an index safe: every offset and count is looked at before it is
 * used */
/* a file that is cut short while it is mapped is damage as any other, not the end of who reads it
 */
Test(rag_damage, cut_short_while_it_is_open)
{
	char *store = make_store(), path[4200];
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;

	snprintf(path, sizeof(path), "%s/docs/index.bin", store);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	cr_assert_eq(rag_query(ix, "beta", 4, 5, RAG_RESULT, &out, &err), 0, "%s", err.text);
	cr_assert(strstr(buf_str(&out), "a.md"), "%s", buf_str(&out));
	buf_reset(&out);
	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(rag_query(ix, "beta", 4, 5, RAG_RESULT, &out, &err), -EUCLEAN);
	cr_assert(strstr(err.text, "index \"docs\" is damaged: ") == err.text, "%s", err.text);
	cr_assert_eq(out.len, 0);
	cr_assert_neq(rag_check(ix, &err), 0);
	rag_close(ix);
	buf_release(&out);
	sweep(store);
}

Test(rag_damage, hostile_bytes_with_good_checksums)
{
	char *store = make_long_store();
	struct buf bin = BUF_INIT, out = BUF_INIT;
	uint64_t rnd = 7;
	int opened = 0, refused = 0;

	get_bytes(store, "docs/index.bin", &bin);
	for (int i = 0; i < 3000; i++) {
		struct buf bad = BUF_INIT;
		struct rag_bin_header *h;
		struct rag_bin_section *sec;
		struct rag_index *ix;
		struct err err = ERR_NONE;

		buf_add(&bad, bin.data, bin.len);
		h = (struct rag_bin_header *)(void *)bad.data;
		for (int flips = 0; flips < 1 + i % 3; flips++) {
			rnd = rnd * 6364136223846793005ULL + 1442695040888963407ULL;
			sec = &h->sections[(rnd >> 33) % h->n_sections];
			if (sec->len)
				bad.data[sec->offset + (rnd >> 40) % sec->len] ^=
					(char)(1 << (rnd >> 60 & 7));
		}
		reseal(bad.data);
		put_bytes(store, "docs/index.bin", bad.data, bad.len);
		if (open_index(store, "docs", &ix, &err) == 0) {
			static const char q[] = "alpha beta delta 42 __proto__ only7 zz";
			int rc = rag_query(ix, q, strlen(q), 5, RAG_RESULT, &out, &err);

			cr_assert(rc == 0 || rc == -EUCLEAN, "%d: %s", rc, err.text);
			opened++;
			refused += rc != 0;
			rag_docs(ix, &out);
			rag_close(ix);
		}
		buf_release(&bad);
		buf_reset(&out);
	}
	cr_assert(opened > 1000 && refused > 10, "%d opened, %d refused", opened, refused);
	buf_release(&bin);
	buf_release(&out);
	sweep(store);
}

static void replace_in(struct buf *text, const char *from, const char *to)
{
	char *at = strstr(text->data, from);
	struct buf out = BUF_INIT;

	cr_assert(at, "'%s' is not there", from);
	buf_add(&out, text->data, (size_t)(at - text->data));
	buf_puts(&out, to);
	buf_puts(&out, at + strlen(from));
	buf_release(text);
	*text = out;
}

Test(rag_damage, an_edited_index_json)
{
	static const struct {
		const char *from, *to, *cause;
	} edits[] = {
		{"rag-bm25-1", "rag-bm25-9", "spec"},
		{"\"n_docs\":3", "\"n_docs\":4", "documents"},
		{"\"n_docs\":3", "\"n_docs\":-3", "n_docs"},
		{"\"n_docs\":3", "\"n_docs\":1e99", "n_docs"},
		{"\"id\":1", "\"id\":7", "document 1"},
		{"\"len\":4", "\"len\":-4", "document 1"},
		{"\"k1\":1.5", "\"k1\":-1.5", "k1"},
		{"\"k1\":1.5", "\"k1\":1e999", "k1"},
		{"\"df\":{", "\"df\":{\"extra\":1,", "no list"},
		{"\"beta\":2", "\"beta\":-2", "beta"},
		{"\"beta\":2", "\"beta\":1", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[0,1],[9,2]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[1,2],[0,1]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[0,1],[1,-2]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[0,1],[1,0]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[0,1],[1,2,3]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":[[0,1],[1,99999999999999999999]]", "beta"},
		{"\"beta\":[[0,1],[1,2]]", "\"beta\":{}", "beta"},
		{"\"postings\":{", "\"postings\":{\"extra\":[[0,1]],", "extra"},
		{"\"docs\":[", "\"docs\":[[],", "document 0"},
		{"}}", "}", "index.json"},
	};
	char *store = make_store(), path[4096];
	struct buf text = BUF_INIT;

	get_bytes(store, "docs/index.json", &text);
	for (int alone = 0; alone < 2; alone++) {
		for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
			struct buf bad = BUF_INIT;

			buf_add(&bad, text.data, text.len);
			replace_in(&bad, edits[i].from, edits[i].to);
			put_bytes(store, "docs/index.json", bad.data, bad.len);
			expect_damaged(store, alone ? edits[i].cause : "manifest.json");
			buf_release(&bad);
		}
		for (size_t len = 0; len < text.len; len += 61) {
			put_bytes(store, "docs/index.json", text.data, len);
			expect_damaged(store, "index.json");
		}
		for (const char *const *f = (const char *const[]){"manifest.json", "state.json",
			     "index.bin", NULL};
			*f; f++) {
			snprintf(path, sizeof(path), "%s/docs/%s", store, *f);
			cr_assert(unlink(path) == 0 || alone);
		}
	}
	buf_release(&text);
	sweep(store);
}

Test(rag_damage, a_folder_without_its_files)
{
	char *store = make_store(), path[4096];
	struct rag_index *ix;
	struct err err = ERR_NONE;

	for (const char *const *f = (const char *const[]){"manifest.json", "state.json",
		     "index.bin", "index.json", NULL};
		*f; f++) {
		snprintf(path, sizeof(path), "%s/docs/%s", store, *f);
		cr_assert_eq(unlink(path), 0);
	}
	cr_assert_eq(open_index(store, "docs", &ix, &err), -ENOENT);
	cr_assert_str_eq(err.text, "index \"docs\" not found");
	cr_assert_eq(open_index(store, "nowhere", &ix, &err), -ENOENT);
	cr_assert_str_eq(err.text, "index \"nowhere\" not found");
	cr_assert_eq(open_index(store, "../docs", &ix, &err), -EINVAL);
	sweep(store);
}

Test(rag_damage, zero_documents_with_postings)
{
	char *store = scratch();

	put_text(store, "docs/index.json",
		"{\"spec\":\"rag-bm25-1\",\"name\":\"docs\",\"created_at\":\"\",\"root\":\"/"
		"\",\"n_docs\":0,\"avgdl\":0,\"k1\":1.5,\"b\":0.75,\"docs\":[],"
		"\"df\":{\"aa\":1},\"postings\":{\"aa\":[[0,1]]}}");
	expect_damaged(store, "aa");
	sweep(store);
}

/* the reference knows nothing of index.bin and writes over index.json and manifest.json */
Test(rag_damage, an_index_json_of_another_program_is_served)
{
	static const char head[] =
		"{\"spec\":\"rag-bm25-1\",\"name\":\"docs\",\"created_at\":\"" FIXED_TIME
		"\",\"root\":\"/nowhere/at/all\",";
	static const char tail[] =
		"\"n_docs\":2,\"avgdl\":1.5,\"k1\":1.5,\"b\":0.75,\"docs\":[{\"id\":0,\"path\":\"x."
		"md\",\"abs\":\"x.md\",\"len\":1,\"preview\":\"half \\ud83d\"},"
		"{\"id\":1,\"path\":\"y\\n.md\",\"abs\":\"/etc/"
		"passwd\",\"len\":2,\"preview\":\"pair \\ud83d\\ude00 \\u00e9\\\\\"}],"
		"\"df\":{\"__proto__\":1,\"w\\u006frd\":2,\"constructor\":1},"
		"\"postings\":{\"__proto__\":[[1,1]],\"word\":[ [0 , 1],[1,1] "
		"],\"constructor\":[[1,1]]}}";
	char *store = make_store(), *answer;
	struct buf text = BUF_INIT, manifest = BUF_INIT;
	char sha256[HASH_HEX_BYTES];
	struct err err = ERR_NONE;
	struct rag_index *ix;
	struct rag_info info;

	buf_addf(&text, "%s%s", head, tail);
	sha256_hex(text.data, text.len, sha256);
	buf_addf(&manifest,
		"{\n  \"spec\": \"rag-bm25-1\",\n  \"name\": \"docs\",\n  \"root\": "
		"\"/nowhere/at/all\",\n  \"n_docs\": 2,\n  \"avgdl\": 1.5,\n"
		"  \"created_at\": \"" FIXED_TIME
		"\",\n  \"index_path\": \"x\",\n  \"sha256\": \"%s\",\n  \"size_bytes\": %zu\n}",
		sha256, text.len);
	put_bytes(store, "docs/index.json", text.data, text.len);
	put_bytes(store, "docs/manifest.json", manifest.data, manifest.len);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	rag_describe(ix, &info);
	cr_assert_eq(info.n_docs, 2);
	cr_assert_eq(info.json_bytes, text.len);
	cr_assert_str_eq(info.root, "/nowhere/at/all");
	answer = ask(ix, "__proto__", 5, RAG_RESULT);
	cr_assert(strstr(answer,
			  "\"path\":\"y\\n.md\",\"preview\":\"pair \xf0\x9f\x98\x80 "
			  "\xc3\xa9\\\\\",\"excerpt\":\"pair \xf0\x9f\x98\x80 \xc3\xa9\\\\\"}"),
		"%s", answer);
	free(answer);
	answer = ask(ix, "word", 1, RAG_RESULT);
	cr_assert(strstr(answer, "\"preview\":\"half \\ud83d\""), "%s", answer);
	free(answer);
	answer = ask(ix, "word", 1, RAG_TEXT);
	cr_assert(strstr(answer, "\tx.md\thalf \xef\xbf\xbd\t"), "%s", answer);
	free(answer);
	rag_close(ix);
	buf_release(&text);
	buf_release(&manifest);
	sweep(store);
}

/* a copy of the store has other times; the bytes still tell that index.bin belongs to it */
Test(rag_damage, a_copied_index_is_mapped_all_the_same)
{
	char *store = make_store(), *answer;
	struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	struct err err = ERR_NONE;
	struct rag_index *ix;
	int fd = folder_of(store);

	cr_assert_eq(utimensat(fd, "docs/index.json", times, 0), 0);
	close(fd);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "gate", 1,
		RAG_TEXT); /* the documents are gone: only index.bin still has the text */
	cr_assert(strstr(answer, "\talpha beta gamma the gate is open\t"), "%s", answer);
	free(answer);
	rag_close(ix);
	sweep(store);
}

static void note_name(void *arg, const char *name)
{
	buf_addf(arg, "%s\n", name);
}

Test(rag_damage, publish_checks_exchanges_and_sweeps)
{
	char *store = make_store(), *dir = scratch(), *answer;
	struct rag_build opt = {.name = "docs", .root = dir, .created_at = FIXED_TIME};
	struct buf names = BUF_INIT, bin = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_built built;
	struct rag_index *old, *ix;
	int fd = folder_of(store), out, rootfd;

	put_text(dir, "new.md", "brand new words");
	cr_assert_eq(mkdirat(fd, ".docs.1", 0700), 0);
	out = openat(fd, ".docs.1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rootfd = folder_of(dir);
	cr_assert_eq(
		rag_build(rootfd, out, "/p/index.json", &opt, &built, &err), 0, "%s", err.text);
	close(rootfd);
	close(out);

	/* not under another name, not damaged */
	cr_assert_eq(rag_publish(fd, ".docs.1", "other", &err), -EUCLEAN);
	get_bytes(store, ".docs.1/index.bin", &bin);
	bin.data[bin.len - 1] ^= 1;
	put_bytes(store, ".docs.1/index.bin", bin.data, bin.len);
	cr_assert_eq(rag_publish(fd, ".docs.1", "docs", &err), -EUCLEAN);
	cr_assert(strstr(err.text, "is damaged"), "%s", err.text);
	bin.data[bin.len - 1] ^= 1;
	put_bytes(store, ".docs.1/index.bin", bin.data, bin.len);

	cr_assert_eq(rag_open(fd, "docs", &old, &err), 0, "%s", err.text);
	cr_assert(rag_is_current(fd, old));
	cr_assert_eq(rag_publish(fd, ".docs.1", "docs", &err), 0, "%s", err.text);
	cr_assert_not(rag_is_current(fd, old));
	cr_assert_eq(faccessat(fd, ".docs.1", F_OK, 0), -1);
	answer = ask(old, "alpha", 9, RAG_PATHS); /* who has it open keeps the old one */
	cr_assert_str_eq(answer, "sub/c.md\na.md\n");
	free(answer);
	rag_close(old);
	cr_assert_eq(rag_open(fd, "docs", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "alpha new", 9, RAG_PATHS);
	cr_assert_str_eq(answer, "new.md\n");
	free(answer);
	rag_close(ix);

	/* the list shows indexes and nothing else */
	put_text(store, "jobs/1/log", "");
	put_text(store, ".tmp/index.json", "{}");
	put_text(store, "empty/nothing", "");
	put_text(store, "a-b/manifest.json", "{}");
	cr_assert_eq(rag_list(fd, note_name, &names, &err), 0, "%s", err.text);
	cr_assert_str_eq(buf_str(&names), "a-b\ndocs\n");
	close(fd);
	buf_release(&names);
	buf_release(&bin);
	sweep(store);
	sweep(dir);
}

/* asks until it is told to stop; exit status 0: every answer was wholly of one generation */
static void ask_on(int ragdir, int stop)
{
	struct buf out = BUF_INIT;
	char c;

	while (read(stop, &c, 1) < 0 && errno == EAGAIN) {
		struct rag_index *ix;
		struct err err = ERR_NONE;
		int rc = rag_open(ragdir, "docs", &ix, &err);

		if (rc < 0) {
			fprintf(stderr, "%s\n", err.text);
			_exit(1);
		}
		buf_reset(&out);
		if (rag_query(ix, "common", 6, 5, RAG_TEXT, &out, &err) < 0)
			_exit(2);
		rag_close(ix);
		/* path and text of the same build */
		if (!strstr(buf_str(&out), "old.md\tcommon old") ==
			!strstr(buf_str(&out), "new.md\tcommon new"))
			_exit(3);
	}
	_exit(0);
}

Test(rag_damage, readers_see_the_old_index_or_the_new_one) /* J10 */
{
	char *store = scratch(), *dirs[2] = {scratch(), scratch()};
	int fd = folder_of(store), stop[2], status;
	struct err err = ERR_NONE;
	struct rag_built built;
	pid_t readers[4];

	put_text(dirs[0], "old.md", "common old");
	put_text(dirs[1], "new.md", "common new");
	build_plain(dirs[0], store, "docs");
	cr_assert_eq(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
	for (int i = 0; i < 4; i++) {
		readers[i] = fork();
		if (readers[i] == 0) {
			close(stop[1]);
			ask_on(fd, stop[0]);
		}
	}
	for (int i = 0; i < 60; i++) {
		struct rag_build opt = {.name = "docs", .root = "/r", .created_at = FIXED_TIME};
		int out, rootfd = folder_of(dirs[i & 1]);

		cr_assert_eq(mkdirat(fd, ".docs.1", 0700), 0);
		out = openat(fd, ".docs.1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert_eq(rag_build(rootfd, out, "/p", &opt, &built, &err), 0, "%s", err.text);
		close(out);
		close(rootfd);
		cr_assert_eq(rag_publish(fd, ".docs.1", "docs", &err), 0, "%s", err.text);
	}
	close(stop[1]);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(waitpid(readers[i], &status, 0), readers[i]);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "reader ended with %x",
			status);
	}
	close(stop[0]);
	close(fd);
	sweep(store);
	sweep(dirs[0]);
	sweep(dirs[1]);
}

/* a generation more: one document "edition N" */
static void publish(int fd, const char *mode, int edition)
{
	struct rag_build opt = {
		.name = "docs", .root = "/r", .created_at = FIXED_TIME, .mode = mode};
	struct err err = ERR_NONE;
	struct rag_built built;
	char *dir = scratch(), text[64];
	int out, rootfd = folder_of(dir);

	snprintf(text, sizeof(text), "edition number%d", edition);
	put_text(dir, "a.md", text);
	cr_assert_eq(mkdirat(fd, ".docs.1", 0700), 0);
	out = openat(fd, ".docs.1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(rag_build(rootfd, out, "/p", &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq(rag_publish(fd, ".docs.1", "docs", &err), 0, "%s", err.text);
	close(out);
	close(rootfd);
	sweep(dir);
}

/* the spare holds that edition; 0: there is no spare */
static void expect_spare(int fd, int edition)
{
	struct err err = ERR_NONE;
	struct rag_index *ix;
	char word[32], *got;
	int rc = rag_open_spare(fd, "docs", &ix, &err);

	cr_assert_eq(rc, edition ? 0 : -EUCLEAN, "%d for edition %d: %s", rc, edition, err.text);
	if (rc < 0)
		return;
	snprintf(word, sizeof(word), "number%d", edition);
	got = ask(ix, word, 5, RAG_PATHS);
	cr_assert_str_eq(got, "a.md\n", "edition %d: %s", edition, got);
	free(got);
	rag_close(ix);
}

static void flip(int fd, const char *name)
{
	int file = openat(fd, name, O_RDWR | O_CLOEXEC);
	unsigned char c;

	cr_assert(file >= 0, "%s", name);
	cr_assert_eq(pread(file, &c, 1, 4100), 1);
	c ^= 1;
	cr_assert_eq(pwrite(file, &c, 1, 4100), 1);
	close(file);
}

Test(rag_damage, the_generation_before_answers)
{
	static const char *const modes[] = {"rag-bm25-1", "kolm-2"};
	struct err err = ERR_NONE;

	for (int i = 0; i < 2; i++) {
		char *store = scratch();
		int fd = folder_of(store), own = i == 0 ? 1 : 0;

		publish(fd, modes[i], 1);
		expect_spare(fd, own); /* index.json is the first spare, kolm-2 has none */
		publish(fd, modes[i], 2);
		expect_spare(fd, i == 0 ? 2 : 1);
		if (i == 0)
			cr_assert_eq(unlinkat(fd, "docs/index.json", 0), 0);
		flip(fd, "docs/index.bin");
		expect_spare(fd, 1);
		publish(fd, modes[i], 3); /* a damaged one takes nobody's place */
		if (i == 0)
			cr_assert_eq(unlinkat(fd, "docs/index.json", 0), 0);
		expect_spare(fd, 1);
		flip(fd, ".docs.last/index.bin");
		expect_spare(fd, 0);
		publish(fd, modes[i], 4);
		cr_assert_eq(rag_forget_last(fd, "docs", &err), 0);
		cr_assert_eq(faccessat(fd, ".docs.last", F_OK, 0), -1);
		close(fd);
		sweep(store);
	}
}
