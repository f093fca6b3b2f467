/*
 * paths - the documents of an index as a tree of files, by the paths they were indexed under.
 *
 * Not every index is ours: a path may be anything. What could not be a file's name below a folder
 * (an empty component, `.`, `..`, a NUL, one too long) is not in the tree; of a path that is also a
 * folder of others, the file is.
 */
#ifndef KOLM_RAG_PATHS_H
#define KOLM_RAG_PATHS_H

#include "index.h"

enum { RAG_PATH_BYTES = 1024, RAG_PATH_PART_BYTES = 255 };

struct rag_paths {
	uint32_t *docs; /* owned: in bytewise order of their paths, then of their ids */
	size_t n;
};

/* rag_paths_of(ix, out): made when it is first asked for; as long as the index lives. -EUCLEAN,
 * -ENOMEM. */
int rag_paths_of(const struct rag_index *ix, const struct rag_paths **out);
void rag_paths_free(struct rag_paths *pt);

#endif
