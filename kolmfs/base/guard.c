#include "base/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
	_Atomic(uintptr_t) at; /* 0: free, to be used again */
	_Atomic size_t bytes;
	atomic_bool lost;
	struct guarded *next; /* set before it is in the list, never changed */
};

/* All a signal handler can reach is what is global. The list only grows: a handler may be walking
 * it while another thread takes a mapping away. */
static _Atomic(struct guarded *) mappings;
static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct guarded *find(uintptr_t address)
{
	struct guarded *gd = atomic_load(&mappings);

	while (gd) {
		uintptr_t at = atomic_load(&gd->at);

		if (at && address >= at && address - at < atomic_load(&gd->bytes))
			break;
		gd = gd->next;
	}
	return gd;
}

/* zero pages from the missing one to the end of the mapping: what is behind a cut is missing too */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t address = (uintptr_t)info->si_addr & ~(page - 1);
	struct guarded *gd = find((uintptr_t)info->si_addr);

	(void)context;
	if (gd) {
		atomic_store(&gd->lost, true);
		if (mmap((void *)address, atomic_load(&gd->at) + atomic_load(&gd->bytes) - address,
			    PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			    0) != MAP_FAILED)
			return;
	}
	signal(sig, SIG_DFL); /* the access happens again, and ends the process */
}

static void install(void)
{
	struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigaction(SIGBUS, &act, NULL);
}

static int enlist(void *at, size_t bytes)
{
	struct guarded *gd;

	pthread_mutex_lock(&change);
	for (gd = atomic_load(&mappings); gd && atomic_load(&gd->at);)
		gd = gd->next;
	if (!gd) {
		gd = calloc(1, sizeof(*gd));
		if (!gd) {
			pthread_mutex_unlock(&change);
			return -1;
		}
		gd->next = atomic_load(&mappings);
		atomic_store(&mappings, gd);
	}
	atomic_store(&gd->lost, false);
	atomic_store(&gd->bytes, bytes);
	atomic_store(&gd->at, (uintptr_t)at);
	pthread_mutex_unlock(&change);
	return 0;
}

int guard_map(int fd, size_t bytes, void **out, struct err *err)
{
	void *at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);

	if (at == MAP_FAILED)
		return err_sys(err, "cannot map the file");
	pthread_once(&once, install);
	if (enlist(at, bytes) < 0) {
		munmap(at, bytes);
		return err_nomem(err);
	}
	*out = at;
	return 0;
}

void guard_unmap(void *at, size_t bytes)
{
	struct guarded *gd = at ? find((uintptr_t)at) : NULL;

	if (gd)
		atomic_store(&gd->at, 0);
	if (at)
		munmap(at, bytes);
}

bool guard_lost(const void *at)
{
	const struct guarded *gd = find((uintptr_t)at);

	return gd && atomic_load(&gd->lost);
}
