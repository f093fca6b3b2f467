/* kolm-indexer as its starter sees it: JSON lines, files, exit status. */
#include "rag_common.h"

#include <sys/wait.h>

static const char *indexer(void)
{
	static char path[4096];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/bin/kolm-indexer", build ? build : "build");
	if (access(path, X_OK) < 0)
		cr_skip_test("skipped: %s is not built", path);
	return path;
}

/* the exit status; the last line of standard output (with what came before, if ${all}), standard
 * error in ${store}/err */
static int run(const char *store, const char *flags, struct buf *out)
{
	char cmd[8192];
	FILE *f;
	int c;

	snprintf(cmd, sizeof(cmd), "%s %s 2>'%s/err'", indexer(), flags, store);
	f = popen(cmd, "r");
	cr_assert(f);
	buf_reset(out);
	while ((c = getc(f)) != EOF)
		buf_putc(out, (char)c);
	c = pclose(f);
	cr_assert(WIFEXITED(c), "killed by %d", WTERMSIG(c));
	return WEXITSTATUS(c);
}

Test(rag_indexer, builds_and_tells)
{
	char *dir = scratch(), *store = scratch(), flags[8192], *answer;
	struct buf out = BUF_INIT, log = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_index *ix;
	struct rag_info info;
	cJSON *js;

	put_text(dir, "a.md", "alpha beta");
	put_text(dir, "sub/big.txt", "0123456789012345678901234567890123456789");
	put_text(dir, "b.xyz", "nothing");
	put_text(store, ".docs.1/x", "");
	{
		int fd = folder_of(store);

		unlinkat(fd, ".docs.1/x", 0);
		close(fd);
	}
	snprintf(flags, sizeof(flags),
		"--name docs --root '%s' --out '%s/.docs.1' --ext txt,md --max-bytes 20 --mem "
		"100000000 --mode rag-bm25-1 --index-path /s/rag/docs/index.json",
		dir, store);
	cr_assert_eq(run(store, flags, &out), 0, "%s", buf_str(&out));
	cr_assert_eq(json_parse(buf_str(&out), out.len, &js, &err), 0, "%s", err.text);
	cr_assert(json_get_bool(js, "ok", false));
	cr_assert_eq(json_get_number(js, "docs", -1), 1);
	cr_assert_eq(json_get_number(cJSON_GetObjectItem(js, "skipped"), "big", -1), 1);
	cJSON_Delete(js);
	get_bytes(store, "err", &log);
	cr_assert_str_eq(buf_str(&log), "skipped 1 (over 20 bytes)\n");
	buf_reset(&log);
	get_bytes(store, ".docs.1/manifest.json", &log);
	cr_assert(strstr(buf_str(&log), "\"index_path\": \"/s/rag/docs/index.json\""));
	{
		int fd = folder_of(store);

		cr_assert_eq(rag_publish(fd, ".docs.1", "docs", &err), 0, "%s", err.text);
		close(fd);
	}
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	rag_describe(ix, &info);
	cr_assert_str_eq(info.root, dir);
	answer = ask(ix, "beta", 5, RAG_PATHS);
	cr_assert_str_eq(answer, "a.md\n");
	free(answer);
	rag_close(ix);
	buf_release(&out);
	buf_release(&log);
	sweep(dir);
	sweep(store);
}

Test(rag_indexer, says_what_is_wrong)
{
	static const struct {
		const char *flags;
		int status;
		const char *errno_name, *cause;
	} rows[] = {
		{"--name d --root S/none --out S", 1, "ENOENT", "/none"},
		{"--name d --root S/file --out S", 1, "ENOTDIR", "/file"},
		{"--name d --root S --out S/none", 1, "ENOENT", "/none"},
		{"--name d --root S --out S --ext zzz", 1, "ENODATA", "no files matched (zzz)"},
		{"--name ../d --root S --out S", 2, "EINVAL", "bad index name"},
		{"--name d --root S", 2, "EINVAL", "--out"},
		{"--name d --root S --out S --nope", 2, "EINVAL", "--nope"},
		{"--name d --root S --out S --max-bytes 0", 2, "EINVAL", "--max-bytes"},
		{"--name d --root S --out S --max-bytes 1x", 2, "EINVAL", "--max-bytes"},
		{"--name d --root S --out S --mode kolm-9", 2, "EINVAL", "--mode"},
		{"--name d --root S --out S word", 2, "EINVAL", "word"},
	};
	char *store = scratch();
	struct buf out = BUF_INIT, flags = BUF_INIT;

	put_text(store, "file", "x");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err err = ERR_NONE;
		cJSON *js;

		buf_reset(&flags);
		for (const char *p = rows[i].flags; *p; p++)
			if (*p == 'S')
				buf_puts(&flags, store);
			else
				buf_putc(&flags, *p);
		cr_assert_eq(run(store, buf_str(&flags), &out), rows[i].status, "%s: %s",
			buf_str(&flags), buf_str(&out));
		cr_assert_eq(json_parse(buf_str(&out), out.len, &js, &err), 0, "%s", err.text);
		cr_assert_not(json_get_bool(js, "ok", true));
		cr_assert(strstr(json_get_string(js, "error"), rows[i].cause), "%s", buf_str(&out));
		cr_assert_str_eq(json_get_string(js, "errno"), rows[i].errno_name);
		cJSON_Delete(js);
	}
	buf_release(&out);
	buf_release(&flags);
	sweep(store);
}
