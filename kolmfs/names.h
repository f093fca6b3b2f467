/*
 * names - THE map of the mount: one static table per kind of folder. It alone decides which names
 * there are, their modes, what a read shows and what a write does; lookup, readdir, permissions,
 * the README and the manual's FILES list are drawn from it.
 */
#ifndef KOLM_NAMES_H
#define KOLM_NAMES_H

#include <stdio.h>

#include "server.h"

enum {
	NAME_HIDDEN = 1,    /* lookup finds it, readdir does not show it */
	NAME_MAYBE = 2,	    /* may be missing: -ENOENT of render or open hides it */
	NAME_CACHED = 4,    /* its bytes never change: page cache and mmap */
	NAME_LIVE = 8,	    /* grows: every read looks again */
	NAME_SLOW = 16,	    /* looking it up is work: not in a request thread */
	NAME_STATIC = 32,   /* the same as long as the server lives */
	NAME_QUICK = 64,    /* its answer is there soon: not worth parking the read */
	NAME_PRIVATE = 128, /* holds what captures hold: not for everybody, whoever may read */
	PLACE_REST_BYTES = 1088,
	STAMP_BYTES = 96,
};
#define CHANGE_ERROR 0x10000u /* ours, beside enum kolm_change: the folder's last reply */

struct folder;
struct name;
struct open;

/* where a path leads */
struct place {
	const struct folder *folder; /* NULL for a file */
	const struct name *what; /* NULL for a folder that is no table entry (a slug, a job, ...) */
	char slug[SLUG_BYTES + 1];  /* "" outside of a slug */
	char index[SLUG_BYTES + 1]; /* "" outside of rag/<name> */
	bool rag;
	uint64_t job;		     /* 0 outside of jobs/<n> */
	char rest[PLACE_REST_BYTES]; /* below revisions/ and artifact/; a query's name */
};

typedef int names_each(void *arg, const char *name, size_t len, bool is_folder);

/*
 * One name. A readable file has one of: ${render}, the whole text; ${open}, a descriptor of a file
 * of the store; ${length} and ${read}, of a text that grows and is not kept; ${ready}, a stream.
 * ${render} or ${open} failing with -ENOENT is an empty file, or
 * no file when NAME_MAYBE.
 */
struct name {
	const char *name;
	mode_t mode; /* 0400 reading, 0200 writing; the owner's */
	unsigned flags;
	unsigned watch; /* which changes it shows: poll() and inotify tell */
	const struct folder *folder;
	int (*render)(struct server *sv, const struct place *at, struct buf *out, struct err *err);
	int (*open)(struct server *sv, const struct place *at, struct err *err);
	/* stamp: identity of what is shown; while it is the same, a rendering is used again, a
	 * cached file is the same node */
	int (*stamp)(
		struct server *sv, const struct place *at, char out[STAMP_BYTES], struct err *err);
	/* length: of the text now, and when it grew last. read: appends at most ${size} bytes from
	 * ${off} on, as it is now. */
	int (*length)(struct server *sv, const struct place *at, uint64_t *len,
		struct timespec *grown, struct err *err);
	int (*read)(struct server *sv, const struct place *at, uint64_t off, size_t size,
		struct buf *out, struct err *err);
	/* ready: 1 something can be read (it is put into o->out), 0 a read must wait, or -errno;
	 * nothing there: 1 and o->ended. Called with o->lock. */
	int (*ready)(struct server *sv, struct open *o, struct err *err);
	int (*bind)(struct server *sv, struct open *o, struct err *err); /* at open, of a stream */
	off_t size; /* what stat says of a stream */
	/* write: bytes taken or -errno. In a worker's thread, with o->writing; a stream of whole
	 * lines, offsets mean nothing. */
	ssize_t (*write)(struct server *sv, struct open *o, const char *data, size_t len,
		const struct by *by, struct err *err);
	/* answer: what a read returns after a write on the same open. In a worker's thread, without
	 * locks. */
	int (*answer)(struct server *sv, const struct place *at, const char *text, size_t len,
		struct buf *out, struct err *err);
	/* sync: what was taken is durable, or -errno. In a worker's thread. */
	int (*sync)(struct server *sv, const struct place *at, struct err *err);
	/* flush: after a close() of an open for writing, and after the last one. In a worker's
	 * thread, with o->writing. */
	void (*flush)(struct open *o, bool is_last);
	const struct verb *verbs; /* of a ctl */
	const char *about;
};

struct folder {
	const char *path; /* as people write it: "<slug>/jobs/<n>" */
	mode_t mode;
	const struct name *names; /* ends with a NULL name; may be NULL */
	/* children that are no table entries: -ENOENT when there is none of that name */
	int (*child)(struct server *sv, const struct place *at, const char *name, size_t len,
		struct place *out, struct err *err);
	int (*each)(struct server *sv, const struct place *at, names_each *fn, void *arg,
		struct err *err);
	const char *about;
	unsigned flags; /* NAME_SLOW: its children that are no table entries are work to find */
};

/* names_is_slow(at, name): must looking this child up be left to a worker? */
bool names_is_slow(const struct place *at, const char *name);

void names_root(struct place *out);

/* names_child(sv, at, name, len, out, err): one step down from the folder ${at}. -ENOENT,
 * -ENAMETOOLONG (B02). Existence of a file that may be missing is not looked at. */
int names_child(struct server *sv, const struct place *at, const char *name, size_t len,
	struct place *out, struct err *err);

/* names_list(sv, at, fn, arg, err): every listed name of a folder. */
int names_list(
	struct server *sv, const struct place *at, names_each *fn, void *arg, struct err *err);

/* names_watched(key, what, fn, arg): the paths of the files that show a change ${what} of the
 * folder
 * ${key}, as names_key() says it. names_watched_job(): those of one of its jobs. */
void names_watched(
	const char *key, unsigned what, void (*fn)(void *arg, const char *path), void *arg);
void names_watched_job(const char *key, uint64_t job, unsigned what,
	void (*fn)(void *arg, const char *path), void *arg);

/* names_key(at, out): the folder whose ctl and error a place belongs to: "" for the root,
 * "redactor", "rag", "rag/docs". */
void names_key(const struct place *at, char out[2 * SLUG_BYTES]);

/* names_print(out): PATH, mode, what it is, TAB between them: for the manual. names_readme(): the
 * README of the mount. */
void names_print(FILE *out);
int names_readme(struct buf *out);

#endif
