/*
 * fault_calls - system calls and allocations that fail when they are told to. Included by the one
 * program that links the store into itself (inject.c): what it defines here is what the libraries
 * in it call, so every call site of the store is one of ours.
 *
 * A plan names a call by its number since it was armed; calls are counted also when none fails.
 */
#ifndef KOLM_FAULT_CALLS_H
#define KOLM_FAULT_CALLS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct fault_plan {
	bool armed;
	unsigned calls; /* since it was armed */
	unsigned at;	/* the call that fails; 0 none */
	bool stays;	/* and every one behind it */
	bool is_short;	/* a write takes half of it instead */
	int no;		/* errno */
	unsigned hits;
	const char *site; /* what failed first */
	/* the same of allocations */
	bool alloc_armed;
	unsigned allocs, alloc_at;
	bool alloc_stays;
	unsigned alloc_hits;
	long balance; /* allocations minus frees */
	bool leaky;   /* one that failed was asked for by a library that does not free then */
};
static struct fault_plan plan;

static bool fault(const char *site)
{
	if (!plan.armed || plan.is_short)
		return false;
	plan.calls++;
	if (plan.at == 0 || plan.calls < plan.at || (plan.calls > plan.at && !plan.stays))
		return false;
	/* a signal does not come for ever */
	if (plan.no == EINTR && plan.hits >= 50)
		return false;
	if (plan.hits++ == 0)
		plan.site = site;
	errno = plan.no;
	return true;
}

/* how much of ${len} a write may take */
static size_t fault_short(size_t len)
{
	if (!plan.armed || !plan.is_short || len < 2)
		return len;
	plan.calls++;
	if (plan.calls != plan.at)
		return len;
	plan.hits++;
	plan.site = "short write";
	return len / 2;
}

#define CALL(name, ...) (fault(#name) ? -1 : syscall(SYS_##name, __VA_ARGS__))

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return (int)CALL(openat, dirfd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return (int)CALL(openat, AT_FDCWD, path, flags, mode);
}

/* the kernel frees the number also when it answers with an error */
int close(int fd)
{
	int rc = (int)syscall(SYS_close, fd);

	return fault("close") ? -1 : rc;
}

ssize_t read(int fd, void *data, size_t len)
{
	return CALL(read, fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	return CALL(pread64, fd, data, len, at);
}

ssize_t write(int fd, const void *data, size_t len)
{
	return CALL(write, fd, data, fault_short(len));
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return CALL(pwrite64, fd, data, fault_short(len), at);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	size_t all = 0, take;
	struct iovec cut;

	for (int i = 0; i < n; i++)
		all += iov[i].iov_len;
	take = fault_short(all);
	if (take == all)
		return CALL(writev, fd, iov, n);
	/* the first that has anything, cut: shorter than asked in any case */
	while (iov->iov_len == 0)
		iov++;
	cut = (struct iovec){iov->iov_base, iov->iov_len < take ? iov->iov_len : take};
	return syscall(SYS_writev, fd, &cut, 1);
}

int fsync(int fd)
{
	return (int)CALL(fsync, fd);
}

int fdatasync(int fd)
{
	return (int)CALL(fdatasync, fd);
}

int renameat(int a, const char *from, int b, const char *to)
{
	return (int)CALL(renameat, a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	return (int)CALL(renameat2, a, from, b, to, flags);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	return (int)CALL(unlinkat, dirfd, path, flags);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	return (int)CALL(mkdirat, dirfd, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
	return (int)CALL(mkdirat, AT_FDCWD, path, mode);
}

int ftruncate(int fd, off_t size)
{
	return (int)CALL(ftruncate, fd, size);
}

int fstat(int fd, struct stat *st)
{
	return (int)CALL(fstat, fd, st);
}

int fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	return (int)CALL(newfstatat, dirfd, path, st, flags);
}

int stat(const char *path, struct stat *st)
{
	return (int)CALL(newfstatat, AT_FDCWD, path, st, 0);
}

int faccessat(int dirfd, const char *path, int mode, int flags)
{
	return (int)CALL(faccessat2, dirfd, path, mode, flags);
}

int flock(int fd, int op)
{
	return (int)CALL(flock, fd, op);
}

off_t lseek(int fd, off_t at, int whence)
{
	return CALL(lseek, fd, at, whence);
}

ssize_t getrandom(void *data, size_t len, unsigned flags)
{
	return CALL(getrandom, data, len, flags);
}

int posix_fallocate(int fd, off_t at, off_t len)
{
	return fault("fallocate")				 ? plan.no
	       : (int)syscall(SYS_fallocate, fd, 0, at, len) < 0 ? errno
								 : 0;
}

DIR *fdopendir(int fd)
{
	static DIR *(*real)(int);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	return fault("fdopendir") ? NULL : real(fd);
}

/* ---- allocations ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* the libraries under us that lose memory themselves when they get none */
static bool is_leaky(void *caller)
{
	Dl_info at;

	return dladdr(caller, &at) != 0 && at.dli_fname != NULL &&
	       strstr(at.dli_fname, "libzip") != NULL;
}

static bool no_memory(void *caller)
{
	if (!plan.alloc_armed)
		return false;
	plan.allocs++;
	if (plan.alloc_at == 0 || plan.allocs < plan.alloc_at ||
		(plan.allocs > plan.alloc_at && !plan.alloc_stays))
		return false;
	plan.alloc_hits++;
	plan.leaky |= is_leaky(caller);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	void *p = no_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(n);

	plan.balance += p != NULL;
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = no_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);

	plan.balance += p != NULL;
	return p;
}

void *realloc(void *old, size_t n)
{
	void *p = no_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(old, n);

	plan.balance += p != NULL && old == NULL;
	return p;
}

void *aligned_alloc(size_t align, size_t n)
{
	void *p = no_memory(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);

	plan.balance += p != NULL;
	return p;
}

int posix_memalign(void **out, size_t align, size_t n)
{
	*out = aligned_alloc(align, n);
	return *out == NULL ? ENOMEM : 0;
}

void free(void *p)
{
	plan.balance -= p != NULL;
	__libc_free(p);
}

#endif
