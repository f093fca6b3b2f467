/*
 * tree - the children of folders that no table can list: slugs, jobs, indexes, and what lies below
 * revisions/ and artifact/.
 */
#ifndef KOLM_TREE_H
#define KOLM_TREE_H

#include "names.h"

#define CHILD(name)                                                                                \
	int name(struct server *sv, const struct place *at, const char *child, size_t len,         \
		struct place *out, struct err *err)
#define EACH(name)                                                                                 \
	int name(struct server *sv, const struct place *at, names_each *fn, void *arg,             \
		struct err *err)

CHILD(slug_child);
EACH(slug_each);
CHILD(job_child);
EACH(job_each);
CHILD(index_child);
EACH(index_each);
CHILD(revision_child); /* below revisions/, any depth */
EACH(revision_each);
CHILD(entry_child); /* below artifact/ */
EACH(entry_each);
CHILD(query_child); /* query?... */

/* place_below(at, child, len, out, err): ${at} with one component more in its rest. -ENAMETOOLONG.
 */
int place_below(
	const struct place *at, const char *child, size_t len, struct place *out, struct err *err);

/* what those places are made of, defined in names.c */
extern const struct folder slug_folder, job_folder, index_folder, revision_folder, entry_folder;
extern const struct name revision_file, entry_file, query_name;

/* bytes of a file below revisions/ or artifact/ */
int revision_file_open(struct server *sv, const struct place *at, struct err *err);
int revision_file_stamp(
	struct server *sv, const struct place *at, char out[STAMP_BYTES], struct err *err);
int entry_render(struct server *sv, const struct place *at, struct buf *out, struct err *err);
int entry_stamp(struct server *sv, const struct place *at, char out[STAMP_BYTES], struct err *err);

#endif
