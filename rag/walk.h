/*
 * walk - the files of a folder that an index is made of (FORMATS 10.1), and the one careful way to
 * open them.
 *
 * Links are never followed and nothing outside the folder is ever opened, whatever changes
 * meanwhile.
 */
#ifndef KOLM_RAG_WALK_H
#define KOLM_RAG_WALK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

struct rag_file {
	char *name; /* owned: the bytes below the root, to open it by */
	char *path; /* owned, or the same as ${name}: decoded, to sort and show */
};

struct rag_files {
	struct rag_file *at; /* owned, sorted by ${path} in code unit order */
	size_t n, cap;
	uint64_t unreadable; /* folders that could not be read */
	uint64_t special;    /* links, pipes, devices, sockets met on the way */
	uint64_t mounts; /* folders of a mounted kolmfs: what is in them is not there to be indexed
			  */
};

struct rag_walk {
	const char *ext; /* "txt,md"; "": every file */
	size_t max_files;
	void (*tick)(void *arg, size_t found); /* may be NULL */
	void *arg;
};

/* rag_walk(rootfd, opt, out, err): -EACCES, -EIO the root cannot be read (a folder below it is
 * counted as unreadable, what was read of it stays), -EFBIG "more than ... files". Release ${out}
 * in any case. */
int rag_walk(int rootfd, const struct rag_walk *opt, struct rag_files *out, struct err *err);
void rag_files_release(struct rag_files *files);

/* rag_path_compare(a, b): the order of two names in an index: of their decoded paths by code units,
 * then of their bytes. */
int rag_path_compare(const char *a, const char *b);

/* rag_open_below(rootfd, name, flags): a descriptor, or a negative errno; -ELOOP or -ENOTDIR for a
 * link anywhere in ${name}. */
int rag_open_below(int rootfd, const char *name, int flags);

/* rag_read_below(rootfd, name, max, out): append the whole of a regular file. -EFBIG above ${max}
 * bytes, -EINVAL not a regular file. */
int rag_read_below(int rootfd, const char *name, uint64_t max, struct buf *out);

/* rag_read_stat(rootfd, name, max, out, st): the same; ${st} is of the file that was opened. */
int rag_read_stat(int rootfd, const char *name, uint64_t max, struct buf *out, struct stat *st);

#endif
