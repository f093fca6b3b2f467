/* kolm-trainer as a process on the real base: env MODEL, else skipped */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/replace.h"
#include "trainer/kolmlm.h"

struct place {
	char path[64], rows[96], out[96], captures[96];
	int dir;
};

static void place_make(struct place *pl, int rows)
{
	static const char *const answers[] = {
		"azure", "teal", "amber", "ivory", "coral", "mauve", "olive", "umber"};
	static const char *const cities[] = {
		"Oslo", "Lima", "Cairo", "Delhi", "Turin", "Quito", "Perth", "Dakar"};
	const char *model = getenv("MODEL");
	struct buf text = BUF_INIT;

	if (!model || access(model, R_OK) != 0)
		cr_skip_test("skipped: no base model (env MODEL)");
	strcpy(pl->path, "/tmp/lm_train.XXXXXX");
	cr_assert(mkdtemp(pl->path));
	pl->dir = open(pl->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(pl->rows, sizeof(pl->rows), "%s/rows.jsonl", pl->path);
	snprintf(pl->captures, sizeof(pl->captures), "%s/captures.jsonl", pl->path);
	buf_puts(&text, "{\"base_model\":\"smol\",\"base_path\":");
	json_put_text(&text, model);
	buf_puts(&text, ",\"rank\":8,\"alpha\":16,\"dropout\":0}");
	cr_assert_eq(replace_file(pl->dir, "tune-config.json", text.data, text.len, 0600, NULL), 0);
	buf_reset(&text);
	for (int i = 0; i < rows; i++)
		buf_addf(&text,
			"{\"prompt\":\"Code of %s?\",\"system\":\"Say the code.\",\"answer\":\"%s "
			"%d\",\"row\":%d,\"call\":0}\n",
			cities[i % 8], answers[i % 8], i / 8, i);
	buf_puts(&text, "{\"prompt\":\"half a li\nnull\n{\"answer\":\"no prompt\"}\n");
	cr_assert_eq(replace_file(pl->dir, "rows.jsonl", text.data, text.len, 0600, NULL), 0);
	buf_release(&text);
}

static void place_free(struct place *pl)
{
	close(pl->dir);
	dir_remove(AT_FDCWD, pl->path, NULL);
}

/* the worker in a child; its standard output comes through the pipe */
static pid_t start(struct place *pl, const char *out, const char *threads, const char *epochs,
	const char *batch, const char *lr, bool resume, int *from)
{
	int p[2];
	pid_t pid;

	snprintf(pl->out, sizeof(pl->out), "%s/%s", pl->path, out);
	mkdir(pl->out, 0700);
	cr_assert_eq(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		char *argv[] = {"kolm-trainer", "--tune-dir", pl->path, "--captures", pl->captures,
			"--out-dir", pl->out, "--prev", "v0", "--epochs", (char *)epochs,
			"--batch-size", (char *)batch, "--lr", (char *)lr, "--airgap", NULL};

		dup2(p[1], 1);
		close(p[0]);
		setenv("KOLM_ROWS", pl->rows, 1);
		setenv("KOLM_THREADS", threads, 1);
		setenv("KOLM_CHECKPOINT_SEC", "0", 1);
		if (resume)
			setenv("KOLM_RESUME", "1", 1);
		_exit(lm_train_main(16, argv, NULL));
	}
	close(p[1]);
	*from = p[0];
	return pid;
}

/* read what the worker says until it ends, or until ${until} was said */
static char *listen_to(int from, const char *until)
{
	struct buf said = BUF_INIT;
	char c;

	while (read(from, &c, 1) == 1) {
		buf_putc(&said, c);
		if (until && c == '\n' && strstr(said.data, until))
			break;
	}
	return buf_detach(&said);
}

static int status_of(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static struct buf adapter(struct place *pl, const char *out)
{
	struct buf bytes = BUF_INIT;
	int dir = dir_open(pl->dir, out, NULL);

	cr_assert(dir >= 0);
	cr_assert_eq(read_file(dir, "adapter_model.safetensors", 64 << 20, &bytes, NULL), 0);
	close(dir);
	return bytes;
}

static void same_bytes(struct place *pl, const char *a, const char *b)
{
	struct buf x = adapter(pl, a), y = adapter(pl, b);

	cr_assert_eq(x.len, y.len);
	cr_assert(memcmp(x.data, y.data, x.len) == 0, "%s and %s differ", a, b);
	buf_release(&x);
	buf_release(&y);
}

Test(lm_train_model, same_bytes_for_threads_kills_and_stops, .timeout = 120)
{
	struct place pl;
	int from;

	place_make(&pl, 6);
	pid_t pid = start(&pl, "one", "1", "2", "2", "1e-3", false, &from);
	char *said = listen_to(from, NULL);

	cr_assert_eq(status_of(pid), 0, "%s", said);
	cr_assert(strstr(said, "{\"event\":\"plan\",\"params\":921600,"), "%s", said);
	cr_assert(strstr(said, "\"step\":6,\"of\":6,\"epoch\":2,"), "%s", said);
	cr_assert(strstr(said, "{\"ok\":true,\"revision_dir\":"), "%s", said);
	cr_assert(strstr(said, "\"captures_trained_on\":6,"), "%s", said);
	cr_assert(strstr(said, "\"trainable_params\":921600,\"total_params\":134515008,"), "%s",
		said);
	cr_assert(strstr(said, "\"skipped\":3"), "%s", said);
	free(said);
	close(from);

	pid = start(&pl, "three", "3", "2", "2", "1e-3", false, &from);
	said = listen_to(from, NULL);
	cr_assert_eq(status_of(pid), 0, "%s", said);
	free(said);
	close(from);
	same_bytes(&pl, "one", "three");

	/* killed at the third step, then stopped politely at the fifth, then finished */
	pid = start(&pl, "killed", "2", "2", "2", "1e-3", false, &from);
	said = listen_to(from, "\"step\":3,");
	kill(pid, SIGKILL);
	cr_assert_eq(status_of(pid), -SIGKILL);
	free(said);
	close(from);
	pid = start(&pl, "killed", "2", "2", "2", "1e-3", true, &from);
	said = listen_to(from, "\"step\":4,");
	cr_assert(!strstr(said, "\"step\":1,"), "it began again: %s", said);
	free(said);
	kill(pid, SIGTERM);
	said = listen_to(from, NULL);
	cr_assert_eq(status_of(pid), 1);
	cr_assert(!strstr(said, "\"ok\""), "%s", said);
	free(said);
	close(from);
	pid = start(&pl, "killed", "1", "2", "2", "1e-3", true, &from);
	said = listen_to(from, NULL);
	cr_assert_eq(status_of(pid), 0, "%s", said);
	free(said);
	close(from);
	same_bytes(&pl, "one", "killed");
	place_free(&pl);
}

Test(lm_train_model, eight_rows_are_learned_by_heart, .timeout = 120)
{
	struct place pl;
	double loss = 9;
	int from;

#ifdef __SANITIZE_ADDRESS__
	cr_skip_test(
		"skipped: minutes under the sanitizer; the other tests run the same code there");
#endif
	place_make(&pl, 8);
	pid_t pid = start(&pl, "out", "2", "24", "8", "4e-3", false, &from);
	char *said = listen_to(from, NULL), *at = said;

	cr_assert_eq(status_of(pid), 0, "%s", said);
	while ((at = strstr(at, "\"loss\":")))
		loss = strtod(at += 7, NULL);
	cr_assert_lt(loss, 0.1, "%s", said);
	free(said);
	close(from);
	place_free(&pl);
}

/* BAD-INPUTS I15: too long is skipped and counted; empty texts are rows like others */
Test(lm_train_model, texts_too_long_or_empty, .timeout = 60)
{
	struct buf text = BUF_INIT;
	struct place pl;
	int from;

	place_make(&pl, 0);
	buf_puts(&text, "{\"prompt\":\"");
	for (int i = 0; i < 1100; i++)
		buf_puts(&text, " word");
	buf_puts(&text, "\",\"answer\":\"long\",\"row\":0,\"call\":0}\n"
			"{\"prompt\":\"\",\"answer\":\"nothing was asked\",\"row\":1,\"call\":0}\n"
			"{\"prompt\":\"Say nothing.\",\"answer\":\"\",\"row\":2,\"call\":0}\n");
	cr_assert_eq(replace_file(pl.dir, "rows.jsonl", text.data, text.len, 0600, NULL), 0);
	buf_release(&text);

	pid_t pid = start(&pl, "out", "2", "1", "4", "1e-3", false, &from);
	char *said = listen_to(from, NULL);

	cr_assert_eq(status_of(pid), 0, "%s", said);
	cr_assert(strstr(said, "\"captures_trained_on\":2,"), "%s", said);
	cr_assert(strstr(said, "\"skipped\":1"), "%s", said);
	free(said);
	close(from);
	place_free(&pl);
}

Test(lm_train_model, says_what_is_wrong, .timeout = 60)
{
	struct place pl;
	int from;

	place_make(&pl, 0);
	pid_t pid = start(&pl, "out", "1", "1", "4", "1e-3", false, &from);
	char *said = listen_to(from, NULL);

	cr_assert_eq(status_of(pid), 1);
	cr_assert_str_eq(said, "{\"ok\":false,\"error\":\"no usable captures (3 skipped)\"}\n");
	free(said);
	close(from);
	pid = start(&pl, "out", "1", "nine", "4", "1e-3", false, &from);
	said = listen_to(from, NULL);
	cr_assert_eq(status_of(pid), 2);
	cr_assert_str_eq(said, "");
	free(said);
	close(from);
	unlinkat(pl.dir, "tune-config.json", 0);
	pid = start(&pl, "out", "1", "1", "4", "1e-3", false, &from);
	said = listen_to(from, NULL);
	cr_assert_eq(status_of(pid), 1);
	cr_assert(strstr(said, "{\"ok\":false,\"error\":\"tune-config.json: "), "%s", said);
	free(said);
	close(from);
	place_free(&pl);
}
