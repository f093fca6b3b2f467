/* pdf_helper - the process that runs pdftotext, and the start of it; linked by the indexer alone.
 */
#include "pdf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/replace.h"
#include "extract.h"

enum {
	FILE_SEC = 60, /* for one file */
	CPU_SEC = 30,
	FILES_MAX = 64,
	PART_BYTES = 65536,
};
#define MEMORY_MAX ((rlim_t)1 << 30)

/* ---- in the helper ---- */

static _Noreturn void become_pdftotext(const char *program, int in, int out)
{
	char name[] = "pdftotext", quiet[] = "-q", enc[] = "-enc", utf8[] = "UTF-8", eol[] = "-eol",
	     unix_eol[] = "unix", from[] = "-", to[] = "-", locale[] = "LC_ALL=C.UTF-8";
	char *const argv[] = {name, quiet, enc, utf8, eol, unix_eol, from, to, NULL};
	char *const env[] = {locale, NULL};
	const struct {
		int what;
		rlim_t most;
	} limits[] = {{RLIMIT_CPU, CPU_SEC}, {RLIMIT_FSIZE, 0}, {RLIMIT_NOFILE, FILES_MAX},
		{RLIMIT_DATA, MEMORY_MAX}, {RLIMIT_CORE, 0}};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(127);
	close_range(3, ~0U, 0);
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		if (setrlimit(limits[i].what, &(struct rlimit){limits[i].most, limits[i].most}) < 0)
			_exit(127);
	execve(program, argv, env);
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* all that comes, until the end, the clock or too much */
static int read_text(int fd, struct buf *out)
{
	int64_t end = now_ms() + FILE_SEC * 1000;

	for (;;) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ENODATA;
		if (poll(&pf, 1, (int)left) <= 0)
			continue;
		if (buf_reserve(out, PART_BYTES) < 0)
			return -ENOMEM;
		n = read(fd, out->data + out->len, PART_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -ENODATA : 0;
		out->len += (size_t)n;
		if (out->len > RAG_TEXT_MAX)
			return -EFBIG;
	}
}

static int run(const char *program, int in, struct buf *out)
{
	int text[2], status, rc;
	pid_t pid;

	if (pipe2(text, O_CLOEXEC) < 0)
		return -ENODATA;
	pid = fork();
	if (pid == 0)
		become_pdftotext(program, in, text[1]);
	close(text[1]);
	rc = pid < 0 ? -ENOMEM : read_text(text[0], out);
	close(text[0]);
	if (pid < 0)
		return rc;
	if (rc < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return rc < 0 ? rc : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENODATA;
}

/* the file into memory of its own, which the program can go back and forth in */
static int take_file(int ask, uint64_t len)
{
	int fd = memfd_create("pdf", MFD_CLOEXEC), rc = fd < 0 ? -ENODATA : 0;
	char part[PART_BYTES];

	while (len > 0) {
		size_t n = len < sizeof(part) ? (size_t)len : sizeof(part);

		if (rag_pdf_read(ask, part, n) < 0)
			_exit(0);
		if (rc == 0 && write_all(fd, part, n, NULL) < 0)
			rc = -ENODATA;
		len -= n;
	}
	if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
		rc = -ENODATA;
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

static _Noreturn void serve(const char *program, int ask, int answer)
{
	struct rag_pdf_head hd;

	while (rag_pdf_read(ask, &hd, sizeof(hd)) == 0) {
		struct buf text = BUF_INIT;
		int fd = take_file(ask, hd.len);

		hd.rc = fd < 0 ? fd : run(program, fd, &text);
		hd.len = hd.rc == 0 ? text.len : 0;
		if (fd >= 0)
			close(fd);
		if (write_all(answer, &hd, sizeof(hd), NULL) < 0 ||
			write_all(answer, buf_str(&text), (size_t)hd.len, NULL) < 0)
			break;
		buf_release(&text);
	}
	_exit(0);
}

static _Noreturn void be_helper(const char *program, int ask, int answer)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* not the pipe that says how the indexer ended */
	if (null < 0 || dup2(ask, 3) < 0 || dup2(answer, 4) < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		if (dup2(null, i) < 0)
			_exit(1);
	close_range(5, ~0U, 0);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	fcntl(4, F_SETFD, FD_CLOEXEC);
	serve(program, 3, 4);
}

/* ---- in the indexer ---- */

static int start(struct rag_pdf *pd, const char *program, struct err *err)
{
	int ask[2], answer[2], low;

	if (pipe2(ask, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	if (pipe2(answer, O_CLOEXEC) < 0) {
		close(ask[0]);
		close(ask[1]);
		return err_sys(err, "cannot make a pipe");
	}
	pd->pid = fork();
	if (pd->pid == 0) {
		/* above the places they go to */
		ask[0] = fcntl(ask[0], F_DUPFD_CLOEXEC, 10);
		low = fcntl(answer[1], F_DUPFD_CLOEXEC, 10);
		be_helper(program, ask[0], low);
	}
	close(ask[0]);
	close(answer[1]);
	pd->ask = ask[1];
	pd->answer = answer[0];
	return pd->pid < 0 ? err_sys(err, "cannot start a process") : 0;
}

int rag_pdf_start(const char *program, struct rag_pdf **out, struct err *err)
{
	struct rag_pdf *pd = calloc(1, sizeof(*pd));
	int rc;

	if (!pd)
		return err_nomem(err);
	pthread_mutex_init(&pd->lock, NULL);
	signal(SIGPIPE, SIG_IGN);
	rc = start(pd, program, err);
	if (rc < 0) {
		free(pd);
		return rc;
	}
	*out = pd;
	return 0;
}

void rag_pdf_stop(struct rag_pdf *pd)
{
	if (!pd)
		return;
	close(pd->ask);
	close(pd->answer);
	while (waitpid(pd->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&pd->lock);
	free(pd);
}
