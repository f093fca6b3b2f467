/* loop_memory - kolm-runner has a bound on its memory, and says so when a base does not fit. */
#include "loop_rig.h"

#include "base/parts.h"

/* the answer of a runner of slug "echo" that may have so much, to one line */
static void answer_of(
	struct rig *r, uint64_t data_bytes, const char *request, char *out, size_t cap)
{
	const char *argv[] = {spawner_program(r->sp, "kolm-runner"), "--store", r->store,
		"--artifact", r->artifact, "--slug", "echo", NULL};
	const char *const env[] = {"KOLM_THREADS=1",
#ifdef __SANITIZE_ADDRESS__
		"ASAN_OPTIONS=detect_leaks=0",
#endif
		NULL};
	const char *reads[] = {r->path, r->base, NULL};
	int in[2], from[2], exit_fd;
	struct spawn_exit ex;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
	struct spawn_request rq = {.kind = SPAWN_RUNNER,
		.argv = argv,
		.env = env,
		.cwd = "/",
		.in = in[0],
		.out = from[1],
		.err = -1,
		.reads = reads,
		.data_bytes = data_bytes};
	cr_assert_eq(spawner_spawn(r->sp, &rq, &pid, &exit_fd, &r->err), 0, "%s", r->err.text);
	close(in[0]);
	close(from[1]);
	cr_assert_eq(write_all(in[1], request, strlen(request), &r->err), 0);
	close(in[1]);
	while (n < cap - 1 && (got = read(from[0], out + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = '\0';
	close(from[0]);
	cr_assert_eq(spawner_wait(exit_fd, &ex, &r->err), 0, "%s", r->err.text);
	cr_expect(!ex.signalled && ex.status == 0, "signal or exit %d", ex.status);
}

Test(loop_memory, a_runner_that_reaches_its_bound_says_so)
{
	static const char request[] = "{\"id\":1,\"op\":\"run\",\"input\":\"hello\"}\n";
	char text[4096];
	struct rig r;

	rig_open(&r);
	compile(&r, "echo",
		"function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ['a', 'b']) "
		": "
		"'a'; }",
		ONE_CASE);
	works(init(&r, NULL));
	answer_of(&r, (uint64_t)4 << 30, request, text, sizeof(text));
	cr_expect_not_null(strstr(text, "{\"id\":1,\"ok\":true,\"output\":\""), "%s", text);
#ifndef __SANITIZE_ADDRESS__
	answer_of(&r, 64 << 20, request, text, sizeof(text));
	cr_expect_not_null(
		strstr(text, "\"errno\":\"ENOMEM\",\"code\":null,\"error\":\"out of memory: the "
			     "memory limit of kolm-runner is 64 MiB\""),
		"%s", text);
#endif
	rig_close(&r);
}

/* what the bound is computed from */
Test(loop_memory, bytes_of_a_base)
{
	char dir[] = "/tmp/kolm-base-XXXXXX", path[64];
	static const char *const names[] = {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"};

	cr_assert_not_null(mkdtemp(dir));
	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		cr_assert_eq(ftruncate(fd, 1000 * (i + 1)), 0);
		close(fd);
	}
	cr_expect_eq(parts_bytes(dir), 3000);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, names[0]);
	cr_expect_eq(parts_bytes(path), 3000);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, names[1]);
	cr_expect_eq(parts_bytes(path), 2000);
	cr_expect_eq(parts_bytes("/nonexistent"), 0);
	cr_assert_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
}
