/* What a build makes of a folder: which files, in which order, the same bytes each time, and what
 * cannot be indexed. */
#include "rag_common.h"

#include <poll.h>
#include <sys/wait.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "rag/tokenize.h"

Test(rag_build, files_of_two_builds_are_equal)
{
	static const char *const order[] = {"b.md", "a.md", "sub/c.txt", "a-b/y.md", "z/z/z.json"};
	char *one = scratch(), *two = scratch(), *store = scratch();
	struct rag_build opt = {.name = "x", .root = "/elsewhere", .created_at = FIXED_TIME};
	struct buf a = BUF_INIT, b = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_built built;

	for (size_t i = 0; i < 5; i++) {
		put_text(one, order[i], order[i]);
		put_text(two, order[4 - i], order[4 - i]);
	}
	cr_assert_eq(build_with(one, store, &opt, &built, &err), 0, "%s", err.text);
	opt.name = "y";
	opt.root = "/another";
	opt.created_at = NULL;
	cr_assert_eq(build_with(two, store, &opt, &built, &err), 0, "%s", err.text);
	get_bytes(store, "x/index.bin", &a);
	get_bytes(store, "y/index.bin", &b);
	cr_assert_eq(a.len, b.len);
	cr_assert_eq(memcmp(a.data, b.data, a.len), 0);
	buf_release(&a);
	buf_release(&b);
	sweep(one);
	sweep(two);
	sweep(store);
}

Test(rag_build, example_of_the_format_byte_for_byte)
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {.name = "pets", .root = "/srv/pets", .created_at = FIXED_TIME};
	struct buf text = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_built built;
	int fd;

	put_text(dir, "a.md", "cat sat");
	put_text(dir, "b.md", "cat cat dog");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	get_bytes(store, "pets/index.json", &text);
	cr_assert_str_eq(buf_str(&text),
		"{\"spec\":\"rag-bm25-1\",\"name\":\"pets\",\"created_at\":\"2031-02-03T04:05:06."
		"007Z\",\"root\":\"/srv/pets\",\"n_docs\":2,\"avgdl\":2.5,"
		"\"k1\":1.5,\"b\":0.75,\"docs\":[{\"id\":0,\"path\":\"a.md\",\"abs\":\"/srv/pets/"
		"a.md\",\"len\":2,\"preview\":\"cat sat\"},"
		"{\"id\":1,\"path\":\"b.md\",\"abs\":\"/srv/pets/"
		"b.md\",\"len\":3,\"preview\":\"cat cat "
		"dog\"}],\"df\":{\"cat\":2,\"sat\":1,\"dog\":1},"
		"\"postings\":{\"cat\":[[0,1],[1,2]],\"sat\":[[0,1]],\"dog\":[[1,1]]}}");
	buf_reset(&text);
	get_bytes(store, "pets/manifest.json", &text);
	cr_assert(
		strstr(buf_str(&text),
			"{\n  \"spec\": \"rag-bm25-1\",\n  \"name\": \"pets\",\n  \"root\": "
			"\"/srv/pets\",\n  \"n_docs\": 2,\n  \"avgdl\": 2.5,\n"
			"  \"created_at\": \"2031-02-03T04:05:06.007Z\",\n  \"index_path\": \"") ==
		buf_str(&text));
	cr_assert(strstr(buf_str(&text), built.sha256));
	cr_assert_eq(buf_str(&text)[text.len - 1], '}');
	/* nothing is left over beside the five files */
	fd = folder_of(store);
	cr_assert_eq(
		unlinkat(fd, "pets/index.json", 0) | unlinkat(fd, "pets/manifest.json", 0) |
			unlinkat(fd, "pets/index.bin", 0) | unlinkat(fd, "pets/state.json", 0) |
			unlinkat(fd, "pets/sources.bin", 0) | unlinkat(fd, "pets", AT_REMOVEDIR),
		0);
	close(fd);
	buf_release(&text);
	sweep(dir);
	sweep(store);
}

static void expect_docs(const char *store, const char *name, const char *want)
{
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;
	struct rag_index *ix;

	cr_assert_eq(open_index(store, name, &ix, &err), 0, "%s", err.text);
	cr_assert_eq(rag_docs(ix, &out), 0);
	cr_assert_str_eq(buf_str(&out), want);
	buf_release(&out);
	rag_close(ix);
}

Test(rag_build, links_pipes_and_sockets_are_skipped_and_counted) /* J04 */
{
	char *dir = scratch(), *store = scratch(), path[4096];
	struct rag_build opt = {.name = "x", .root = dir, .created_at = FIXED_TIME};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct err err = ERR_NONE;
	struct rag_built built;
	int fd;

	put_text(dir, "sub/a.md", "word");
	fd = folder_of(dir);
	cr_assert_eq(symlinkat("..", fd, "sub/circle"), 0);
	cr_assert_eq(symlinkat("sub/a.md", fd, "link.md"), 0);
	cr_assert_eq(mkfifoat(fd, "pipe.md", 0600), 0);
	close(fd);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s.md", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/d.md", dir);
	fd = mknod(path, S_IFCHR | 0600, 1 << 8 | 5) == 0; /* only root may */
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq(built.docs, 1);
	cr_assert_eq(built.skipped_special, 4 + (uint64_t)fd);
	expect_docs(store, "x", "0\t1\tsub/a.md\n");
	sweep(dir);
	sweep(store);
}

Test(rag_build, odd_content_is_handled_by_rule) /* J05, J06 */
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {
		.name = "x", .root = dir, .max_bytes = 64, .created_at = FIXED_TIME};
	struct err err = ERR_NONE;
	struct rag_built built;
	char big[65];

	put_bytes(dir, "bin.md", "\x00\xff\xfe zebra \xc3\x28\x00", 14);
	put_text(dir, "stop.md", "the of and");
	put_text(dir, "empty.md", "");
	memset(big, 'x', sizeof(big));
	big[32] = ' ';
	put_bytes(dir, "fits.md", big, 64);
	put_bytes(dir, "over.md", big, 65);
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq(built.docs, 2);
	cr_assert_eq(built.skipped_empty, 2);
	cr_assert_eq(built.skipped_big, 1);
	expect_docs(store, "x", "0\t1\tbin.md\n1\t2\tfits.md\n");
	sweep(dir);
	sweep(store);
}

Test(rag_build, too_many_files_are_refused) /* J06 */
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {.name = "x", .root = dir, .max_files = 2};
	struct err err = ERR_NONE;
	struct rag_built built;

	put_text(dir, "a.md", "aa");
	put_text(dir, "b.md", "bb");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	opt.name = "y";
	put_text(dir, "c.md", "cc");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), -EFBIG);
	cr_assert(strstr(err.text, "more than 2 files"), "%s", err.text);
	/* a failed build leaves its folder empty */
	{
		int fd = folder_of(store);

		cr_assert_eq(unlinkat(fd, "y", AT_REMOVEDIR), 0);
		close(fd);
	}
	sweep(dir);
	sweep(store);
}

Test(rag_build, names_are_escaped) /* J07 */
{
	char *dir = scratch(), *store = scratch(), *answer;
	struct err err = ERR_NONE;
	struct rag_index *ix;

	put_text(dir, "line\nfeed.md", "zebra one");
	put_text(dir, "quo\"te.md", "zebra two words");
	put_text(dir, "bad\xff\xc3.md", "zebra three more words");
	put_text(dir, "esc\x1b[31m\xe2\x80\xae.md", "zebra four plain more words");
	build_plain(dir, store, "x");
	expect_docs(store, "x",
		"0\t4\tbad\xef\xbf\xbd\xef\xbf\xbd.md\n1\t5\tesc\\x1b[31m\\u{202e}."
		"md\n2\t2\tline\\x0afeed.md\n3\t3\tquo\"te.md\n");
	cr_assert_eq(open_index(store, "x", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "zebra", 5, RAG_PATHS);
	cr_assert_str_eq(answer, "line\\x0afeed.md\nquo\"te.md\nbad\xef\xbf\xbd\xef\xbf\xbd."
				 "md\nesc\\x1b[31m\\u{202e}.md\n");
	free(answer);
	answer = ask(ix, "zebra", 1, RAG_TEXT);
	cr_assert(strstr(answer, "0.1305\tline\\x0afeed.md\tzebra one\t") == answer, "%s", answer);
	free(answer);
	answer = ask(ix, "zebra", 2, RAG_JSON);
	cr_assert(strstr(answer, "\"path\":\"line\\nfeed.md\""), "%s", answer);
	cr_assert(strstr(answer, "\"path\":\"quo\\\"te.md\""), "%s", answer);
	cr_assert(strstr(answer, ",\"generation\":\""), "%s", answer);
	free(answer);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}

Test(rag_build, nothing_matched_is_an_error) /* J03 */
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {.name = "x", .root = dir, .ext = "txt,.md,json"};
	struct err err = ERR_NONE;
	struct rag_built built;

	put_text(dir, "a.py", "word");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), -ENODATA);
	cr_assert_str_eq(err.text, "no files matched (txt, md, json)");
	/* matched, but none usable: an index without documents */
	put_text(dir, "a.md", "the");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq(built.docs, 0);
	cr_assert_eq(built.avgdl, 0);
	expect_docs(store, "x", "");
	sweep(dir);
	sweep(store);
}

Test(rag_build, extensions_follow_the_reference)
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {
		.name = "x", .root = dir, .ext = "\xc3\xa4,tar,.,\xcf\x83\xcf\x82,MD"};
	struct err err = ERR_NONE;
	struct rag_built built;

	put_text(dir, "1.\xc3\x84", "word"); /* .Ä */
	put_text(dir, "2.TAR", "word");
	put_text(dir, "3.", "word");
	put_text(
		dir, "4.\xce\xa3\xce\xa3", "word"); /* capital sigmas: the last one becomes final */
	put_text(dir, "5.MD", "word");		    /* entries are not lower-cased, names are */
	put_text(dir, ".tar", "word");		    /* no extension */
	put_text(dir, "noext", "word");
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	expect_docs(
		store, "x", "0\t1\t1.\xc3\x84\n1\t1\t2.TAR\n2\t1\t3.\n3\t1\t4.\xce\xa3\xce\xa3\n");
	sweep(dir);
	sweep(store);
}

Test(rag_build, names_of_indexes) /* J01 */
{
	static const char *const bad[] = {
		"", ".", "..", "../x", "a/b", ".x", "-x", "a b", "a\nb", "\xc3\xa4", "ctl", "jobs"};
	struct err err = ERR_NONE;
	char name[301];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(rag_name_check(bad[i], strlen(bad[i]), &err), -EINVAL, "'%s'", bad[i]);
		cr_assert(strstr(err.text, "bad index name"), "%s", err.text);
	}
	memset(name, 'a', 300);
	name[300] = '\0';
	cr_assert_eq(rag_name_check(name, 300, &err), -ENAMETOOLONG);
	cr_assert(strstr(err.text, "bad index name"), "%s", err.text);
	cr_assert_eq(rag_name_check(name, 64, &err), 0);
	cr_assert_eq(rag_name_check("internal-docs_2.0", 17, &err), 0);
}

Test(rag_build, no_word_left_is_an_empty_answer) /* J15 */
{
	char *dir = scratch(), *store = scratch(), *answer;
	struct err err = ERR_NONE;
	struct rag_index *ix;

	put_text(dir, "a.md", "word __proto__ constructor");
	build_plain(dir, store, "x");
	cr_assert_eq(open_index(store, "x", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "the of ... \xff", 5, RAG_RESULT);
	cr_assert_str_eq(answer, "{\"matches\":[],\"n_docs\":1,\"query_tokens\":[]}");
	free(answer);
	answer = ask(ix, "the", 5, RAG_TEXT);
	cr_assert_str_eq(answer, "");
	free(answer);
	answer = ask(ix, "toString valueof", 5, RAG_PATHS);
	cr_assert_str_eq(answer, "");
	free(answer);
	answer = ask(ix, "constructor __proto__", 0, RAG_PATHS);
	cr_assert_str_eq(answer, "");
	free(answer);
	answer = ask(ix, "__proto__", 1000000, RAG_PATHS);
	cr_assert_str_eq(answer, "a.md\n");
	free(answer);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}

/* a document that is one bigger than a frame of the store, and many small ones around it */
Test(rag_build, excerpts_come_from_the_text_of_the_same_generation)
{
	char *dir = scratch(), *store = scratch(), *answer, name[32];
	struct buf text = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_index *ix;

	for (int i = 0; i < 60000; i++)
		buf_addf(&text, "filler%d ", i);
	buf_puts(&text, "needle at the end");
	put_bytes(dir, "m.md", buf_str(&text), text.len);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "d%d.md", i);
		buf_reset(&text);
		buf_addf(&text, "document unique%d %0600d needle%d", i, 0, i);
		put_bytes(dir, name, buf_str(&text), text.len);
	}
	build_plain(dir, store, "x");
	put_text(dir, "m.md", "changed since");
	cr_assert_eq(open_index(store, "x", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "needle", 1, RAG_TEXT);
	cr_assert(strstr(answer, "\tm.md\t\xe2\x80\xa6 "), "%s", answer);
	cr_assert(strstr(answer, "filler59999 needle at the end\t"), "%s", answer);
	free(answer);
	for (int i = 0; i < 300; i += 7) {
		char want[64];

		snprintf(name, sizeof(name), "needle%d", i);
		snprintf(want, sizeof(want), "0 needle%d\t", i);
		answer = ask(ix, name, 1, RAG_TEXT);
		cr_assert(strstr(answer, want), "%s", answer);
		free(answer);
	}
	rag_close(ix);
	buf_release(&text);
	sweep(dir);
	sweep(store);
}

/* files that vanish, grow, shrink and come back, until the pipe closes */
static void stir(const char *dir, int stop)
{
	struct pollfd pf = {.fd = stop, .events = POLLIN};
	char path[4200], text[2048];

	memset(text, 'w', sizeof(text));
	for (unsigned i = 0; poll(&pf, 1, 0) == 0; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%u.md", dir, i * 7 % 100);
		if (i % 3 == 0)
			unlink(path);
		fd = open(path, O_WRONLY | O_CREAT | (i % 3 == 1 ? O_APPEND : O_TRUNC), 0600);
		if (fd < 0 || write(fd, "some words ", 11) < 0 ||
			write(fd, text, i * 31 % sizeof(text)) < 0)
			_exit(1);
		close(fd);
	}
	_exit(0);
}

Test(rag_build, files_change_under_the_build) /* J08 */
{
	char *dir = scratch(), *store = scratch(), name[16];
	int stop[2], status;
	pid_t pid;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%d.md", i);
		put_text(dir, name, "some words to begin with");
	}
	cr_assert_eq(pipe2(stop, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(stop[1]);
		stir(dir, stop[0]);
	}
	for (int i = 0; i < 40; i++) {
		struct rag_build opt = {.name = "docs",
			.root = dir,
			.created_at = FIXED_TIME,
			.threads = 2,
			.mode = i % 2 ? "kolm-2" : NULL};
		struct err err = ERR_NONE;
		struct rag_index *ix = NULL;
		struct rag_built built;
		char *answer;

		cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
		cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
		cr_assert_eq(rag_check(ix, &err), 0, "%s", err.text);
		answer = ask(ix, "some words", 1000, RAG_RESULT);
		cr_assert_leq(built.docs + built.skipped_empty + built.skipped_unreadable, 101);
		cr_assert_geq(built.docs, 50);
		free(answer);
		rag_close(ix);
		sweep(store);
		store = scratch();
	}
	close(stop[1]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	close(stop[0]);
	sweep(store);
	sweep(dir);
}
