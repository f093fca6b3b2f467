/*
 * sandbox_cell - cells and the lines of their runners: start, memory and processor limits,
 * replacement (PROTOCOLS section 3).
 *
 * The spawner keeps both ends of the cell's two pipes, so that a new cell continues where the old
 * one died and the runner's descriptors stay what they were. For emptying them it opens each pipe
 * once more: O_NONBLOCK belongs to an open file, and the runner's and the cell's must block.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/wall.h"
#include "runner/egress.h"
#include "runner/sandbox.h"

enum { READY_MS = 10000, ARM_SECONDS = 2, MEMORY_CAP_MIB = 64, LAST_MS = 1000 };

static int reopen(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

int cell_pipes(struct child *runner, struct sandbox_fd theirs[4], struct err *err)
{
	int down[2] = {-1, -1}, up[2] = {-1, -1}, line[2] = {-1, -1}, reply[2] = {-1, -1};
	bool made = pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0 &&
		    pipe2(line, O_CLOEXEC) == 0 && pipe2(reply, O_CLOEXEC) == 0;

	theirs[0] = (struct sandbox_fd){down[1], RUNNER_CELL_OUT};
	theirs[1] = (struct sandbox_fd){up[0], RUNNER_CELL_IN};
	theirs[2] = (struct sandbox_fd){line[1], RUNNER_SPAWN_OUT};
	theirs[3] = (struct sandbox_fd){reply[0], RUNNER_SPAWN_IN};
	runner->cell_in = down[0];
	runner->cell_out = up[1];
	runner->line_in = line[0];
	runner->line_out = reply[1];
	if (made) {
		runner->drain_in = reopen(down[0]);
		runner->drain_out = reopen(up[1]);
	}
	/* our ends of the line must never make us wait for a runner */
	if (made)
		made = fcntl(line[0], F_SETFL, O_NONBLOCK) == 0 &&
		       fcntl(reply[1], F_SETFL, O_NONBLOCK) == 0;
	if (!made || runner->drain_in < 0 || runner->drain_out < 0)
		return err_sys(err, "cannot make the pipes of a cell");
	return 0;
}

#ifdef KOLM_ABLATE
static const char *ablate_setting(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "KOLM_ABLATE=%s", getenv("KOLM_ABLATE"));
	return text;
}
#endif

int cell_start(struct sandbox *sb, struct child *runner, const char *probe, int in, int out,
	struct child **cell, struct err *err)
{
	/* the engine without just-in-time compiler, without concurrent collector, on plain malloc;
	 * nothing else of the environment */
	const char *const env[] = {"JSC_useJIT=0", "JSC_useConcurrentGC=0",
		"JSC_numberOfGCMarkers=1", "GIGACAGE_ENABLED=0", "Malloc=1", "TZ=UTC",
#ifdef KOLM_ABLATE
		ablate_setting(),
#endif
		NULL};
	const char *const argv[] = {sb->cell_path, probe ? "--probe" : NULL, probe, NULL};
	int say[2] = {-1, -1}, go[2] = {-1, -1}, null = open("/dev/null", O_RDWR | O_CLOEXEC), rc;
	struct child *ch = child_new(sb, SANDBOX_CELL);

	if (!ch || null < 0 || pipe2(say, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0) {
		rc = err_set(err, EAGAIN, "cannot start a cell: no more processes or descriptors");
	} else {
		const struct sandbox_fd fds[] = {
			{in, 0}, {out, 1}, {null, 2}, {say[1], CELL_SAY}, {go[0], CELL_GO}};
		const struct sandbox_spec spec = {.kind = SANDBOX_CELL,
			.argv = argv,
			.env = env,
			.cwd = "/",
			.fds = fds,
			.nfds = 5};

		rc = sandbox_start(&spec, &ch->box, err);
	}
	if (say[1] >= 0)
		close(say[1]);
	if (go[0] >= 0)
		close(go[0]);
	if (null >= 0)
		close(null);
	if (ch) {
		ch->say = say[0];
		ch->go = go[1];
		ch->runner = runner;
	}
	if (rc < 0) {
		if (ch)
			child_free(sb, ch);
		return rc;
	}
	*cell = ch;
	return 0;
}

/* a number of kibibytes from /proc/PID/status */
static long status_kib(pid_t pid, const char *key)
{
	char path[40], line[160];
	long out = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (out < 0 && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0 &&
			sscanf(line + strlen(key), " %ld", &out) != 1)
			break;
	}
	fclose(f);
	return out;
}

/* the engine reserves gigabytes of address space at its start, so the limit is what it has now and
 * the cap */
static int limit_memory(struct child *cell)
{
	long now = status_kib(cell->box.pid, "VmData:");
	struct rlimit both;

	if (wall_is_ablated("rlimits"))
		return 0;
	if (now < 0)
		return -EIO;
	both.rlim_cur = both.rlim_max = ((rlim_t)now + MEMORY_CAP_MIB * 1024) * 1024;
	return prlimit(cell->box.pid, RLIMIT_DATA, &both, NULL) < 0 ? -errno : 0;
}

void cell_said(struct child *cell)
{
	ssize_t n = read(cell->say, cell->line, sizeof(cell->line) - 1);
	bool is_ready;

	cell->line_len = n > 0 ? (size_t)n : 0;
	cell->line[cell->line_len] = 0;
	is_ready = strcmp(cell->line, "ready\n") == 0;
	if (!is_ready || limit_memory(cell) < 0 || write(cell->go, "g", 1) != 1)
		child_kill(cell);
	close(cell->say);
	close(cell->go);
	cell->say = cell->go = -1;
}

int cell_wait_ready(struct child *cell, struct err *err)
{
	struct pollfd pfd = {.fd = cell->say, .events = POLLIN};
	int rc = poll(&pfd, 1, READY_MS);

	if (rc == 1)
		cell_said(cell);
	if (rc != 1 || strcmp(cell->line, "ready\n") != 0) {
		cell->line[strcspn(cell->line, "\n")] = 0;
		return err_set(err, EOPNOTSUPP, "%s; recipes will not be run",
			cell->line[0] ? cell->line
				      : "sandbox: cell unavailable (it did not start)");
	}
	return 0;
}

/* ---- the runner's line ---- */

static void tell(struct child *runner, const char *line)
{
	if (write(runner->line_out, line, strlen(line)) < 0)
		child_kill(
			runner); /* it closed its line: nobody is left to hear how its cells end */
}

/*
 * Processor time: what is used, and two seconds. The soft limit only, since one without
 * CAP_SYS_RESOURCE (a container's root too) could never raise the hard one again: the cell ends
 * itself at SIGXCPU, and the runner's wall clock is behind that.
 */
static int arm(struct child *cell)
{
	struct rlimit limit;
	struct timespec used;
	clockid_t clock;

	if (cell->is_over || clock_getcpuclockid(cell->box.pid, &clock) != 0 ||
		clock_gettime(clock, &used) < 0)
		return -ESRCH;
	if (prlimit(cell->box.pid, RLIMIT_CPU, NULL, &limit) < 0)
		return -errno;
	limit.rlim_cur = (rlim_t)used.tv_sec + 1 + ARM_SECONDS;
	return prlimit(cell->box.pid, RLIMIT_CPU, &limit, NULL) < 0 ? -errno : 0;
}

static void drain(int fd)
{
	char junk[4096];

	while (read(fd, junk, sizeof(junk)) > 0)
		;
}

/* the cell was told to end: what it does until it has is seen */
static void wait_end(struct child *cell)
{
	struct pollfd pf[] = {
		{.fd = (int)syscall(SYS_pidfd_open, cell->box.pid, 0), .events = POLLIN},
		{.fd = cell->box.listener, .events = POLLIN}};

	if (pf[0].fd < 0)
		return;
	if (poll(pf, 2, LAST_MS) > 0 && pf[0].revents == 0) {
		child_notified(cell); /* kills it */
		(void)poll(pf, 1, LAST_MS);
	}
	close(pf[0].fd);
}

static void replace_cell(struct sandbox *sb, struct child *runner)
{
	struct child *old = runner->cell;
	char line[160] = "ended exit=0 egress=-\n";
	struct err err = ERR_NONE;
	int status;

	runner->cell = NULL;
	if (old) {
		if (!old->is_over) {
			child_notified(old); /* before it is killed: what it did is what counts */
			child_kill(old);
			waitpid(old->box.pid, &status, 0);
			child_ended(old, status);
		}
		status = old->wait_status;
		snprintf(line, sizeof(line), "ended %s=%d egress=%s\n",
			WIFSIGNALED(status) ? "signal" : "exit",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			old->egress[0] ? old->egress : "-");
		child_free(sb, old);
	}
	drain(runner->drain_in);
	drain(runner->drain_out);
	if (cell_start(sb, runner, NULL, runner->cell_in, runner->cell_out, &runner->cell, &err) <
		0)
		snprintf(line, sizeof(line), "%.150s\n",
			err.text); /* a sentence instead: there is no next cell */
	tell(runner, line);
}

/* a fresh canary, for the eval about to begin; a sentence when it cannot report */
static void tell_walls(struct sandbox *sb, struct child *runner)
{
	struct buf report = BUF_INIT;
	struct err err = ERR_NONE;

	if (sandbox_canary(sb, &report, &err) < 0) {
		buf_reset(&report);
		buf_puts(&report, err.text);
	}
	buf_putc(&report, '\n');
	tell(runner, report.failed ? "out of memory\n" : report.data);
	buf_release(&report);
}

static void obey(struct sandbox *sb, struct child *runner, const char *word)
{
	if (strcmp(word, "arm") == 0)
		tell(runner, runner->cell && arm(runner->cell) == 0 ? "ok\n" : "gone\n");
	else if (strcmp(word, "new") == 0)
		replace_cell(sb, runner);
	else if (strcmp(word, "last") == 0) {
		if (runner->cell && !runner->cell->is_over)
			wait_end(runner->cell);
		replace_cell(sb, runner);
	} else if (strcmp(word, "walls") == 0)
		tell_walls(sb, runner);
	else
		child_kill(runner); /* it does not speak our language */
}

void runner_said(struct sandbox *sb, struct child *runner)
{
	ssize_t n = read(runner->line_in, runner->line + runner->line_len,
		sizeof(runner->line) - 1 - runner->line_len);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(runner->line_in);
		runner->line_in = -1;
		return;
	}
	runner->line_len += (size_t)n;
	runner->line[runner->line_len] = 0;
	runner->hearing++;
	while ((end = strchr(runner->line, '\n')) != NULL) {
		*end++ = 0;
		obey(sb, runner, runner->line);
		runner->line_len -= (size_t)(end - runner->line);
		memmove(runner->line, end, runner->line_len + 1);
	}
	if (runner->line_len == sizeof(runner->line) - 1)
		child_kill(runner);
	runner->hearing--;
}
