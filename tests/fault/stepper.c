/*
 * stepper N COMMAND... - run COMMAND and kill it with SIGKILL as it enters its Nth system call,
 * counted over all its threads from the moment it first makes a folder (a store is opened by making
 * it). N 0: run it to its end. Prints how many calls it made; the exit status is COMMAND's, 137
 * when it was killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPTIONS = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE };

static bool is_entry(pid_t pid, long *nr)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
		info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	*nr = (long)info.entry.nr;
	return true;
}

int main(int argc, char **argv)
{
	unsigned long at = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, n = 0;
	bool counts = false;
	pid_t main_pid, pid;
	int status, rc = 3;

	if (argc < 3)
		return 2;
	main_pid = fork();
	if (main_pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(main_pid, &status, 0) != main_pid ||
		ptrace(PTRACE_SETOPTIONS, main_pid, NULL, OPTIONS) < 0)
		return 3;
	ptrace(PTRACE_SYSCALL, main_pid, NULL, NULL);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		int sig = 0;
		long nr;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == main_pid)
				rc = WIFEXITED(status) ? WEXITSTATUS(status)
						       : 128 + WTERMSIG(status);
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			if (is_entry(pid, &nr)) {
				counts = counts || nr == SYS_mkdir;
				n += counts;
				if (at > 0 && n == at)
					kill(main_pid, SIGKILL);
			}
		} else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
			sig = WSTOPSIG(status);
		}
		(void)ptrace(PTRACE_SYSCALL, pid, NULL, sig);
	}
	fprintf(stderr, "\n%lu\n", n);
	return rc;
}
