/*
 * mischief - preloaded into a server: its machine goes wrong when a test says so, and the kernel
 * cannot be made to do it on demand. The test writes 64-bit words to the file that KOLM_MISCHIEF
 * names; all processes with this library see them at once.
 *
 * Only calls from the program itself fail (its libraries are other people's), so an allocation of
 * libfuse's own loop is left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* as poked by machine.py */
struct words {
	int64_t pid;		/* only this process; 0 all */
	int64_t fsync_no;	/* what the next fsyncs fail with */
	int64_t fsyncs;		/* how many of them */
	int64_t read_no, reads; /* the same of reads of a file... */
	int64_t alloc_every;	/* every how manieth allocation fails; 0 none */
	int64_t clock_s;	/* ahead of the true time */
	int64_t hits;		/* what failed so far */
	char name[64];		/* ...whose path ends so */
};

static struct words nothing, *words = &nothing;
static uintptr_t from, to; /* the program's own text */
static int64_t allocs;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static int find_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
			from = info->dlpi_addr + ph->p_vaddr;
			to = from + ph->p_memsz;
		}
	}
	return 1; /* the first one is the program */
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("KOLM_MISCHIEF");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED
			  : mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)dl_iterate_phdr(find_text, NULL);
	if (at != MAP_FAILED)
		words = at;
}

static bool is_ours(const void *caller)
{
	return (uintptr_t)caller >= from && (uintptr_t)caller < to &&
	       (words->pid == 0 || words->pid == getpid());
}

static bool take(int64_t *left)
{
	if (__atomic_load_n(left, __ATOMIC_RELAXED) <= 0 ||
		__atomic_fetch_sub(left, 1, __ATOMIC_RELAXED) <= 0)
		return false;
	__atomic_fetch_add(&words->hits, 1, __ATOMIC_RELAXED);
	return true;
}

/* ---- fsync ---- */

static int sync_of(int fd, long call, const void *caller)
{
	if (words->fsyncs > 0 && is_ours(caller) && take(&words->fsyncs)) {
		errno = (int)words->fsync_no;
		return -1;
	}
	return (int)syscall(call, fd);
}

int fsync(int fd)
{
	return sync_of(fd, SYS_fsync, __builtin_return_address(0));
}

int fdatasync(int fd)
{
	return sync_of(fd, SYS_fdatasync, __builtin_return_address(0));
}

/* ---- reads ---- */

static bool read_fails(int fd, const void *caller)
{
	char link[40], path[PATH_MAX];
	size_t n = strlen(words->name);
	ssize_t len;

	if (words->reads <= 0 || !is_ours(caller))
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	if (len < (ssize_t)n || memcmp(path + len - n, words->name, n) != 0 || !take(&words->reads))
		return false;
	errno = (int)words->read_no;
	return true;
}

ssize_t read(int fd, void *data, size_t len)
{
	return read_fails(fd, __builtin_return_address(0)) ? -1 : syscall(SYS_read, fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	return read_fails(fd, __builtin_return_address(0))
		       ? -1
		       : syscall(SYS_pread64, fd, data, len, at);
}

ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
	return read_fails(fd, __builtin_return_address(0))
		       ? -1
		       : syscall(SYS_pread64, fd, data, len, at);
}

/* ---- memory ---- */

static bool alloc_fails(const void *caller)
{
	const int64_t every = words->alloc_every;

	if (every <= 0 || !is_ours(caller) ||
		__atomic_add_fetch(&allocs, 1, __ATOMIC_RELAXED) % every != 0)
		return false;
	__atomic_fetch_add(&words->hits, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return alloc_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return alloc_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return alloc_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

/* ---- the clock on the wall ---- */

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);

	if (rc == 0 && clock == CLOCK_REALTIME)
		out->tv_sec += words->clock_s;
	return rc;
}
