/*
 * fsck_private - what fsck.c (the store), fsck_slug.c (one slug) and lost.c share.
 */
#ifndef KOLM_FSCK_PRIVATE_H
#define KOLM_FSCK_PRIVATE_H

#include "store/fsck.h"
#include "store/private.h"

struct fsck {
	const struct store *st; /* borrowed */
	bool repair;
	bool chain_holds; /* the audit log can be believed */
	fsck_say *say;
	void *arg;
	unsigned damaged;
};

/* fsck_say_about(f, kind, path, fmt): tell it, and count it when it is damage */
void fsck_tell(struct fsck *f, enum fsck_kind kind, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* fsck_mended(f, slug, path, what, fmt): tell a repair, and write its "recovered" line */
void fsck_mended(struct fsck *f, const char *slug, enum fsck_kind kind, const char *path,
	const char *what, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* fsck_lose(f, slug, dirfd, name, path, why): with repair, ${name} goes to .lost/ and that is told;
 * without, or when it cannot be moved, ${why} is told as damage. */
void fsck_lose(struct fsck *f, const char *slug, int dirfd, const char *name, const char *path,
	const char *why);

/* fsck_slug(f, tn): everything below tune/<slug>/, under its lock */
void fsck_slug(struct fsck *f, const struct tune *tn);

/* fsck_journal(f, slug, dirfd, path): the jobs.jsonl in ${dirfd}, ${path} below the store */
void fsck_journal(struct fsck *f, const char *slug, int dirfd, const char *path);

/* lost_move(st, dirfd, name, path, out, err): ${name} below ${dirfd} to .lost/<time>-<path with _
 * for />; the new name in ${out} */
int lost_move(const struct store *st, int dirfd, const char *name, const char *path, char out[300],
	struct err *err);

/* lost_copy(st, dirfd, name, path, out, err): a copy of the file there, which stays */
int lost_copy(const struct store *st, int dirfd, const char *name, const char *path, char out[300],
	struct err *err);

#endif
