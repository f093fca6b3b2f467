/*
 * direct - a long file that is written once and not read soon: past the page cache, where the file
 * system can. A copy into fresh pages, of which the kernel must find one for each 4 KiB, took
 * longer than the disk does.
 */
#ifndef KOLM_RAG_DIRECT_H
#define KOLM_RAG_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct rag_direct {
	int fd;	    /* borrowed */
	char *room; /* owned: a block that is not full yet */
	size_t n;
	off_t at; /* where it begins */
	bool is_direct;
};

/*
 * rag_direct_put(dr, data, len, err): the next bytes of the file; ${dr} is all zeros at first but
 * for its fd. rag_direct_end(dr, err): no more will come; all are in the file, fsync() is the
 * caller's. rag_direct_release(dr): due in any case.
 */
int rag_direct_put(struct rag_direct *dr, const void *data, size_t len, struct err *err);
int rag_direct_end(struct rag_direct *dr, struct err *err);
void rag_direct_release(struct rag_direct *dr);

#endif
