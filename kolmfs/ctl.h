/*
 * ctl - words to verbs: the grammar of every command file (files.md R5 and R6, BAD-INPUTS A).
 *
 * A write holds whole lines, executed in order; words are split at blanks, '...' quotes ('' inside
 * is one quote); blank and # lines are skipped. A line that fails changed nothing; the count
 * returned covers the lines before it, or it is its errno when it is the first.
 */
#ifndef KOLM_CTL_H
#define KOLM_CTL_H

#include "names.h"

enum { CTL_WRITE_BYTES = 4096, CTL_WORDS_MAX = 64 };

struct ctl_call {
	struct server *sv;
	const struct place *at;
	struct by by;
	int argc;
	char *word[CTL_WORDS_MAX]; /* word[0] is the verb; good during its run */
	struct buf *reply;	   /* "job 12"; "ok" when left empty */
};

struct verb {
	const char *name;
	const char *usage; /* what follows the name */
	int min, max;	   /* words after the name; max -1: any number */
	bool revision;	   /* the first of them is one */
	const char *needs; /* "a revision": for too few */
	int (*run)(struct ctl_call *call, struct err *err);
};

/* ctl_split(line, len, word, argc, store, err): ${line} into NUL-terminated words kept in ${store}
 * (at least len + 1 bytes). A10-A12, A26. */
int ctl_split(const char *line, size_t len, char *word[CTL_WORDS_MAX], int *argc, char *store,
	struct err *err);

/* ctl_execute(call, verbs, data, len, err): every line of one write; bytes done, or -errno. ${err}
 * has the sentence of the line that failed, also after a short count. */
ssize_t ctl_execute(struct ctl_call *call, const struct verb *verbs, const char *data, size_t len,
	struct err *err);

/* what names.c needs: reading a ctl, writing one */
int ctl_render(const struct verb *verbs, struct buf *out);
ssize_t ctl_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err);

extern const struct verb root_verbs[], slug_verbs[], rag_verbs[], index_verbs[];

/* inside_mount(sv, path, err): -EINVAL "... lies inside this mount" (B08). Not from a request
 * thread: it may look at the path. */
int inside_mount(struct server *sv, const char *path, struct err *err);

#endif
