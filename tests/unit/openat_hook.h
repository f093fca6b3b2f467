/*
 * openat_hook - every openat() of the program and of the store linked into it asks before_openat()
 * first, which the test defines: false, with errno set, makes the call fail.
 */
#ifndef KOLM_OPENAT_HOOK_H
#define KOLM_OPENAT_HOOK_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool before_openat(const char *path);

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return before_openat(path) ? (int)syscall(SYS_openat, dirfd, path, flags, mode) : -1;
}

#endif
