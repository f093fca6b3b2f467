/*
 * cell_memory - what a recipe hears when memory ends.
 *
 * Much of the engine answers a failed allocation with a catchable RangeError, some of it with a
 * null pointer write or a deliberate crash. So the allocator is wrapped to remember that it once
 * had to say no, and a crash after that is told as the memory limit, in a frame, before the process
 * ends. It never hides anything: the cell ends all the same, and a crash without a failed
 * allocation stays a crash.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/cell.h"
#include "runner/egress.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static volatile sig_atomic_t ran_out; /* of the whole process; the allocator is too */

static void *noted(void *p)
{
	if (!p)
		ran_out = 1;
	return p;
}

void *malloc(size_t size)
{
	return noted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return noted(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
	void *p = __libc_realloc(old, size);

	return size ? noted(p) : p;
}

void *aligned_alloc(size_t align, size_t size)
{
	return noted(__libc_memalign(align, size));
}

int posix_memalign(void **out, size_t align, size_t size)
{
	void *p = noted(__libc_memalign(align, size));

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

static void on_crash(int sig)
{
	static const char frame[] =
		"{\"op\":\"failed\",\"errno\":\"ENOMEM\",\"code\":\"KOLM_E_RECIPE_TIMEOUT\","
		"\"error\":\"recipe reached the memory limit of 64 MiB\",\"tried\":[]}";
	const unsigned char head[4] = {sizeof(frame) - 1, 0, 0, 0};

	_Static_assert(sizeof(frame) < 256, "one byte of length");
	if (ran_out && write(STDOUT_FILENO, head, sizeof(head)) == (ssize_t)sizeof(head) &&
		write(STDOUT_FILENO, frame, sizeof(frame) - 1) == (ssize_t)sizeof(frame) - 1)
		_exit(CELL_LIMIT);
	/* the first process of a pid namespace cannot raise(); returning to the fault with the
	 * default action back kills it */
	signal(sig, SIG_DFL);
	if (sig == SIGABRT)
		_exit(128 + SIGABRT);
}

void cell_watch_memory(void)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE};
	struct sigaction act = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
	static char stack[16384];
	const stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};

	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &act, NULL);
	ran_out = 0;
}
