/*
 * One text, one index: the bytes do not depend on the order of the folder, the number of threads,
 * the memory, what was there before, or how many parts it was made in.
 */
#include "rag_common.h"

#include <sys/wait.h>

#include "rag/pdf.h"

enum { FILES = 400, EDITS = 12 };

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static void name_of(int i, char name[64])
{
	static const char *const folders[] = {"a", "a-b", "a/deep", "z", "\xc3\xa9", "b\xff"};

	snprintf(name, 64, "%s/f%d.%s", folders[i % 6], i, i % 3 ? "md" : "txt");
}

/* a text of 20 to 4,000 words of a skewed vocabulary; now and then none at all */
static void put_random(const char *dir, int i, uint64_t *rnd)
{
	struct buf text = BUF_INIT;
	uint64_t words = next_random(rnd) % 40 ? 20 + next_random(rnd) % 300 : 4000;
	char name[64];

	if (next_random(rnd) % 25 == 0)
		words = 0;
	for (uint64_t w = 0; w < words; w++) {
		uint64_t a = next_random(rnd) % 3000, b = next_random(rnd) % 3000;

		buf_addf(&text, "%s%llu ", a % 5 ? "w" : "", (unsigned long long)(a * b / 3000));
	}
	name_of(i, name);
	put_bytes(dir, name, buf_str(&text), text.len);
	buf_release(&text);
}

static void put_corpus(const char *dir, uint64_t *rnd)
{
	for (int i = 0; i < FILES; i++)
		put_random(dir, i, rnd);
}

static void expect_same_file(const char *store, const char *a, const char *b, const char *file)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	char name[64];

	snprintf(name, sizeof(name), "%s/%s", a, file);
	get_bytes(store, name, &x);
	snprintf(name, sizeof(name), "%s/%s", b, file);
	get_bytes(store, name, &y);
	cr_assert(x.len == y.len && memcmp(x.data, y.data, x.len) == 0,
		"%s of %s and %s differ (%zu and %zu bytes)", file, a, b, x.len, y.len);
	buf_release(&x);
	buf_release(&y);
}

static void expect_same(const char *store, const char *a, const char *b)
{
	expect_same_file(store, a, b, "index.bin");
	expect_same_file(store, a, b, "index.json");
}

/* one build over ${dir}/, from what stands in ${prev} or from nothing; the folder is named as
 * asked, the index in it always the same */
static struct rag_built build_from(const char *dir, const char *store, const char *folder,
	struct rag_build opt, const char *prev)
{
	struct err err = ERR_NONE;
	struct rag_built built;
	char path[4096];
	int rootfd = folder_of(dir), out;

	opt.name = "same";
	opt.root = dir;
	opt.created_at = FIXED_TIME;
	snprintf(path, sizeof(path), "%s/%s", store, folder);
	cr_assert_eq(mkdir(path, 0700), 0);
	out = folder_of(path);
	if (prev) {
		snprintf(path, sizeof(path), "%s/%s", store, prev);
		opt.prev = folder_of(path);
		opt.has_prev = true;
	}
	cr_assert_eq(
		rag_build(rootfd, out, "/x/index.json", &opt, &built, &err), 0, "%s", err.text);
	if (prev)
		close(opt.prev);
	close(out);
	close(rootfd);
	return built;
}

static uint64_t build_as(const char *dir, const char *store, const char *folder, unsigned threads,
	uint64_t mem, const char *prev, unsigned shard, unsigned shards)
{
	const struct rag_build opt = {
		.threads = threads, .mem = mem, .shard = shard, .shards = shards};

	return build_from(dir, store, folder, opt, prev).unchanged;
}

Test(rag_same, threads_and_memory_do_not_show)
{
	char *dir = scratch(), *store = scratch();
	uint64_t rnd = 5;

	put_corpus(dir, &rnd);
	build_as(dir, store, "plain", 1, 0, NULL, 0, 0);
	build_as(dir, store, "four", 4, 0, NULL, 0, 0);
	expect_same(store, "plain", "four");
	build_as(dir, store, "small", 3, 1 << 16, NULL, 0, 0); /* many runs */
	expect_same(store, "plain", "small");
	sweep(dir);
	sweep(store);
}

/* what is unchanged is not read: it is made unreadable to prove it. Root reads everything, so the
 * proof is the count, too */
Test(rag_same, histories_of_edits_do_not_show)
{
	char *dir = scratch(), *store = scratch(), name[64], path[4200], last[16] = "e0";
	struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	uint64_t rnd = 6, unchanged;

	put_corpus(dir, &rnd);
	build_as(dir, store, last, 2, 0, NULL, 0, 0);
	for (int e = 1; e <= EDITS; e++) {
		char folder[16], full[16];

		for (uint64_t n = e == 1 ? 0 : 1 + next_random(&rnd) % 5; n > 0; n--) {
			int i = (int)(next_random(&rnd) % (FILES + 20));

			name_of(i, name);
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			if (e == 3)
				name_of(0, name); /* the first document goes: its words begin
						     elsewhere */
			if (e == 3 || next_random(&rnd) % 3 == 0)
				unlink(path);
			else
				put_random(dir, i, &rnd);
		}
		if (e == 2) {
			name_of(0, name);
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			unlink(path);
		}
		if (e == 5) {
			name_of(7, name);
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			utimensat(AT_FDCWD, path, past, 0);
		}
		snprintf(folder, sizeof(folder), "e%d", e);
		snprintf(full, sizeof(full), "full%d", e);
		unchanged = build_as(dir, store, folder, 1 + (unsigned)e % 3, 0, last, 0, 0);
		cr_assert_gt(
			unchanged, FILES - 60, "%llu taken over", (unsigned long long)unchanged);
		build_as(dir, store, full, 1, 0, NULL, 0, 0);
		expect_same(store, full, folder);
		snprintf(last, sizeof(last), "%s", folder);
	}
	sweep(dir);
	sweep(store);
}

/* a file that changed but keeps its size and its time is found out by its inode's own time */
Test(rag_same, a_change_behind_the_back_is_seen)
{
	struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	char *dir = scratch(), *store = scratch(), path[4200];
	struct rag_index *ix;
	struct err err = ERR_NONE;
	char *answer;

	snprintf(path, sizeof(path), "%s/a.md", dir);
	put_text(dir, "a.md", "before");
	cr_assert_eq(utimensat(AT_FDCWD, path, past, 0), 0);
	build_as(dir, store, "one", 1, 0, NULL, 0, 0);
	put_text(dir, "a.md", "behind");
	cr_assert_eq(utimensat(AT_FDCWD, path, past, 0), 0);
	cr_assert_eq(build_as(dir, store, "two", 1, 0, "one", 0, 0), 0);
	cr_assert_eq(open_index(store, "two", &ix, &err), 0, "%s", err.text);
	answer = ask(ix, "behind", 1, RAG_PATHS);
	cr_assert_str_eq(answer, "a.md\n");
	free(answer);
	rag_close(ix);
	sweep(dir);
	sweep(store);
}

Test(rag_same, what_is_too_large_by_now_is_not_taken_over)
{
	char *dir = scratch(), *store = scratch();
	struct rag_build most = {.max_bytes = 20}, all = {.max_bytes = 0};

	put_text(dir, "large.md", "one two three four five six seven eight");
	put_text(dir, "small.md", "one two");
	sleep(4); /* until they are taken over unread */
	build_from(dir, store, "one", all, NULL);
	cr_assert_eq(build_from(dir, store, "two", most, "one").skipped_big, 1);
	build_from(dir, store, "two-full", most, NULL);
	expect_same(store, "two-full", "two");
	sweep(dir);
	sweep(store);
}

/* a program that makes one word of any PDF */
static void start_reader(struct rag_pdf *pd)
{
	static const char said[] = "parchment";
	int ask[2], answer[2];

	cr_assert_eq(pipe(ask), 0);
	cr_assert_eq(pipe(answer), 0);
	*pd = (struct rag_pdf){.lock = PTHREAD_MUTEX_INITIALIZER};
	pd->pid = fork();
	if (pd->pid == 0) {
		struct rag_pdf_head hd;
		char byte;

		close(ask[1]);
		while (rag_pdf_read(ask[0], &hd, sizeof(hd)) == 0) {
			for (; hd.len > 0; hd.len--)
				rag_pdf_read(ask[0], &byte, 1);
			hd = (struct rag_pdf_head){.len = strlen(said)};
			write_all(answer[1], &hd, sizeof(hd), NULL);
			write_all(answer[1], said, strlen(said), NULL);
		}
		_exit(0);
	}
	close(ask[0]);
	close(answer[1]);
	pd->ask = ask[1];
	pd->answer = answer[0];
}

Test(rag_same, a_pdf_that_nothing_read_is_read_when_something_does)
{
	char *dir = scratch(), *store = scratch();
	struct rag_build opt = {.mode = "kolm-2", .ext = "pdf,md"};
	struct rag_pdf reader;

	put_text(dir, "a.pdf", "%PDF-1.4 nothing to see");
	put_text(dir, "b.md", "one two");
	cr_assert_eq(build_from(dir, store, "one", opt, NULL).docs, 1);
	start_reader(&reader);
	opt.pdf = &reader;
	cr_assert_eq(build_from(dir, store, "two", opt, "one").docs, 2);
	build_from(dir, store, "two-full", opt, NULL);
	expect_same_file(store, "two-full", "two", "index.bin");
	/* and what was read stays */
	cr_assert_eq(build_from(dir, store, "three", opt, "two").unchanged, 2);
	close(reader.ask);
	close(reader.answer);
	waitpid(reader.pid, NULL, 0);
	sweep(dir);
	sweep(store);
}

static void join_as(const char *store, const char *folder, int n)
{
	struct rag_build opt = {.name = "same", .created_at = FIXED_TIME};
	struct err err = ERR_NONE;
	struct rag_built built;
	char path[4096];
	int parts[8], out;

	for (int i = 0; i < n; i++) { /* in any order */
		snprintf(path, sizeof(path), "%s/part%d", store, (i * 3 + 1) % n);
		parts[i] = folder_of(path);
	}
	snprintf(path, sizeof(path), "%s/%s", store, folder);
	cr_assert_eq(mkdir(path, 0700), 0);
	out = folder_of(path);
	cr_assert_eq(rag_join(parts, (size_t)n, out, "/x/index.json", &opt, &built, &err), 0, "%s",
		err.text);
	close(out);
	for (int i = 0; i < n; i++)
		close(parts[i]);
}

Test(rag_same, four_parts_by_four_processes)
{
	char *dir = scratch(), *store = scratch();
	uint64_t rnd = 7;
	pid_t pids[4];

	put_corpus(dir, &rnd);
	build_as(dir, store, "whole", 2, 0, NULL, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char folder[16];

			snprintf(folder, sizeof(folder), "part%u", i);
			build_as(dir, store, folder, 1, 0, NULL, i + 1, 4);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++) {
		int status;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert_eq(status, 0);
	}
	join_as(store, "joined", 4);
	expect_same(store, "whole", "joined");
	/* and the joined index is as good a start for an update as the whole one */
	put_random(dir, 11, &rnd);
	cr_assert_gt(build_as(dir, store, "next", 2, 0, "joined", 0, 0), FILES - 60);
	build_as(dir, store, "next-full", 1, 0, NULL, 0, 0);
	expect_same(store, "next-full", "next");
	sweep(dir);
	sweep(store);
}

Test(rag_same, parts_that_do_not_fit_are_refused)
{
	char *dir = scratch(), *store = scratch(), path[4200];
	struct rag_build opt = {.name = "same", .created_at = FIXED_TIME};
	struct err err = ERR_NONE;
	struct rag_built built;
	uint64_t rnd = 8;
	int parts[2], out;

	put_corpus(dir, &rnd);
	build_as(dir, store, "part0", 1, 0, NULL, 1, 2);
	snprintf(path, sizeof(path), "%s/part0", store);
	parts[0] = parts[1] = folder_of(path);
	snprintf(path, sizeof(path), "%s/out", store);
	cr_assert_eq(mkdir(path, 0700), 0);
	out = folder_of(path);
	cr_assert_eq(rag_join(parts, 2, out, "/x/index.json", &opt, &built, &err), -EINVAL);
	cr_assert(strstr(err.text, "overlap"), "%s", err.text);
	/* a failed build leaves its folder empty */
	cr_assert_eq(rmdir(path), 0);
	close(out);
	close(parts[0]);
	sweep(dir);
	sweep(store);
}
