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
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* what fails besides the one named: nothing; the next, so that undoing fails, too; all of its kind
 * behind it, as on a disk that is full or read-only; everything behind it */
enum fault_mode { FAULT_ONCE, FAULT_TWICE, FAULT_KIND, FAULT_ON, FAULT_MODES };
/* what a short write takes */
enum fault_part { PART_NONE, PART_BYTE, PART_HALF, PART_BUT_ONE, FAULT_PARTS };

struct fault_plan {
	bool armed;
	unsigned calls; /* since it was armed */
	unsigned at;	/* the call that fails; 0 none */
	enum fault_mode mode;
	enum fault_part part; /* instead of a failing call: a write that takes a part of it */
	int no;		      /* errno */
	unsigned hits;
	const char *site; /* what failed first */
	/* the same of allocations */
	bool alloc_armed;
	unsigned allocs, alloc_at, alloc_hits;
	long balance; /* allocations minus frees */
	bool leaky;   /* one that failed was asked for by a library that does not free then */
};
static struct fault_plan plan;

/* does the ${n}th fail? ${same}: it is of the kind of the one named */
static bool falls(unsigned n, unsigned at, bool same)
{
	if (at == 0 || n < at)
		return false;
	return n == at || plan.mode == FAULT_ON || (plan.mode == FAULT_TWICE && n == at + 1) ||
	       (plan.mode == FAULT_KIND && same);
}

static bool fault(const char *site)
{
	if (!plan.armed || plan.part != PART_NONE)
		return false;
	plan.calls++;
	if (!falls(plan.calls, plan.at, plan.site != NULL && strcmp(plan.site, site) == 0))
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
	if (!plan.armed || plan.part == PART_NONE || len < 2)
		return len;
	plan.calls++;
	if (plan.calls != plan.at)
		return len;
	plan.hits++;
	plan.site = "short write";
	return plan.part == PART_BYTE ? 1 : plan.part == PART_HALF ? len / 2 : len - 1;
}

#define CALL_AS(kind, name, ...) (fault(kind) ? -1 : syscall(SYS_##name, __VA_ARGS__))
#define CALL(name, ...)		 CALL_AS(#name, name, __VA_ARGS__)

/* to make a file is another kind than to open one: only the first wants room */
static const char *open_kind(int flags)
{
	return (flags & O_CREAT) != 0 ? "openat O_CREAT" : "openat";
}

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return (int)CALL_AS(open_kind(flags), openat, dirfd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return (int)CALL_AS(open_kind(flags), openat, AT_FDCWD, path, flags, mode);
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

int linkat(int a, const char *from, int b, const char *to, int flags)
{
	return (int)CALL(linkat, a, from, b, to, flags);
}

int memfd_create(const char *name, unsigned flags)
{
	return (int)CALL(memfd_create, name, flags);
}

ssize_t readlink(const char *path, char *out, size_t len)
{
	return CALL(readlink, path, out, len);
}

ssize_t getdents64(int fd, void *out, size_t len)
{
	return CALL(getdents64, fd, out, len);
}

int fcntl(int fd, int op, ...)
{
	va_list ap;
	long arg;

	va_start(ap, op);
	arg = va_arg(ap, long);
	va_end(ap);
	return (int)CALL(fcntl, fd, op, arg);
}

/* what libc does more for than to call the kernel */
static void *libc_call(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

DIR *fdopendir(int fd)
{
	static DIR *(*real)(int);

	if (real == NULL)
		*(void **)&real = libc_call("fdopendir");
	return fault("fdopendir") ? NULL : real(fd);
}

struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR *);

	if (real == NULL)
		*(void **)&real = libc_call("readdir");
	return fault("readdir") ? NULL : real(dir);
}

int fstatvfs(int fd, struct statvfs *out)
{
	static int (*real)(int, struct statvfs *);

	if (real == NULL)
		*(void **)&real = libc_call("fstatvfs");
	return fault("fstatvfs") ? -1 : real(fd, out);
}

char *realpath(const char *path, char *out)
{
	static char *(*real)(const char *, char *);

	if (real == NULL)
		*(void **)&real = libc_call("realpath");
	return fault("realpath") ? NULL : real(path, out);
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
	if (!falls(plan.allocs, plan.alloc_at, false))
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
