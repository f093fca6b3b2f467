/*
 * lm_guard - a base that is cut short while it is mapped ends the step, or the call, with a
 * sentence (BAD-INPUTS I12), never with SIGBUS.
 */
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
#include "base/guard.h"
#include "trainer/kolmlm.h"

/* a folder of our own with a copy of the tiny base in it */
struct place {
	char path[32], base[64], weights[96], out[64];
	int dir;
};

static void copy(const char *name, int to)
{
	struct buf bf = BUF_INIT;
	int from = open("tests/unit/data/peft/tiny", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_geq(from, 0, "run from the top of the tree");
	cr_assert_eq(read_file(from, name, 1 << 20, &bf, NULL), 0);
	cr_assert_eq(replace_file(to, name, bf.data, bf.len, 0600, NULL), 0);
	close(from);
	buf_release(&bf);
}

static void place_make(struct place *pl)
{
	static const char *const files[] = {
		"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"};
	int base;

	strcpy(pl->path, "/tmp/lm_guard.XXXXXX");
	cr_assert(mkdtemp(pl->path));
	snprintf(pl->base, sizeof(pl->base), "%s/base", pl->path);
	snprintf(pl->out, sizeof(pl->out), "%s/out", pl->path);
	snprintf(pl->weights, sizeof(pl->weights), "%s/model.safetensors", pl->base);
	pl->dir = open(pl->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdir(pl->base, 0700);
	mkdir(pl->out, 0700);
	base = open(pl->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		copy(files[i], base);
	close(base);
}

static void place_free(struct place *pl)
{
	close(pl->dir);
	dir_remove(AT_FDCWD, pl->path, NULL);
}

static pid_t start_trainer(struct place *pl, int *from)
{
	struct buf text = BUF_INIT;
	char rows[64];
	int p[2];
	pid_t pid;

	buf_puts(&text, "{\"base_model\":\"tiny\",\"base_path\":");
	json_put_text(&text, pl->base);
	buf_puts(&text, ",\"rank\":4,\"alpha\":8,\"dropout\":0}");
	cr_assert_eq(replace_file(pl->dir, "tune-config.json", text.data, text.len, 0600, NULL), 0);
	buf_reset(&text);
	for (int i = 0; i < 8; i++)
		buf_addf(&text, "{\"prompt\":\"name %d\",\"answer\":\"text %d\"}\n", i, i);
	cr_assert_eq(replace_file(pl->dir, "rows.jsonl", text.data, text.len, 0600, NULL), 0);
	buf_release(&text);
	snprintf(rows, sizeof(rows), "%s/rows.jsonl", pl->path);
	cr_assert_eq(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		char *argv[] = {"kolm-trainer", "--tune-dir", pl->path, "--captures", rows,
			"--out-dir", pl->out, "--prev", "v0", "--epochs", "1000", "--batch-size",
			"2", "--lr", "1e-3", NULL};

		dup2(p[1], 1);
		close(p[0]);
		setenv("KOLM_ROWS", rows, 1);
		setenv("KOLM_THREADS", "2", 1);
		_exit(lm_train_main(15, argv, NULL));
	}
	close(p[1]);
	*from = p[0];
	return pid;
}

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

Test(lm_guard, a_base_cut_short_during_a_step_ends_it_with_a_sentence, .timeout = 60)
{
	struct place pl;
	struct stat st;
	int from, status;
	char *said;

	place_make(&pl);
	pid_t pid = start_trainer(&pl, &from);

	free(listen_to(from, "\"step\":3,"));
	cr_assert_eq(truncate(pl.weights, 4096), 0);
	said = listen_to(from, NULL);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x: %s", status, said);
	cr_assert(strstr(said, "{\"ok\":false,\"error\":\"base model changed while training\"}\n"),
		"%s", said);
	cr_assert_eq(fstatat(pl.dir, "out/adapter_model.safetensors", &st, 0), -1);
	free(said);
	close(from);
	place_free(&pl);
}

Test(lm_guard, a_base_cut_short_in_use_fails_the_call, .timeout = 60)
{
	struct place pl;
	struct lm *lm;
	struct buf out = BUF_INIT;
	struct err err = ERR_NONE;
	const struct lm_generate few = {.max_tokens = 4};
	int fd;

	place_make(&pl);
	fd = open(pl.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(lm_open(fd, &(struct lm_options){.threads = 2}, &lm, &err), 0, "%s", err.text);
	close(fd);
	cr_assert_eq(lm_generate(lm, "name", 4, &few, &out, &err), 0, "%s", err.text);
	cr_assert_eq(truncate(pl.weights, 4096), 0);
	for (int i = 0; i < 2; i++) {
		err = ERR_NONE;
		cr_assert_eq(lm_generate(lm, "text", 4, &few, &out, &err), -ESTALE);
		cr_assert_str_eq(err.text, "base model changed while it was in use");
	}
	lm_close(lm);
	buf_release(&out);
	place_free(&pl);
}

Test(lm_guard, other_bus_errors_still_end_the_process, .signal = SIGBUS)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	void *at;

	cr_assert_eq(guard_map(fd, 4096, &at, NULL), 0);
	close(fd);
	guard_unmap(at, 4096);
	raise(SIGBUS);
	raise(SIGBUS);
}
