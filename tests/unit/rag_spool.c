/* rag_spool - temporary files where the file system has none without a name. */
#include "rag_common.h"

#include <pthread.h>

#include "rag/spool.h"

enum { THREADS = 8, FILES = 200 };

struct spiller {
	int dirfd, failed;
};

static void *spill(void *arg)
{
	struct spiller *sl = arg;

	for (int i = 0; i < FILES; i++) {
		int fd = rag_temporary_named(sl->dirfd, NULL);

		sl->failed += fd < 0;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

Test(rag_spool, threads_that_spill_at_once_do_not_meet)
{
	struct spiller sl[THREADS];
	pthread_t threads[THREADS];
	char *dir = scratch();

	/* what a killed build left */
	put_text(dir, ".spool0", "");
	for (int i = 0; i < THREADS; i++) {
		sl[i] = (struct spiller){.dirfd = folder_of(dir)};
		cr_assert_eq(pthread_create(&threads[i], NULL, spill, &sl[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
		cr_assert_eq(sl[i].failed, 0, "%d of %d failed", sl[i].failed, FILES);
		close(sl[i].dirfd);
	}
	sweep(dir);
}
