/*
 * open - one open file: what it has read, what was written on it and what is to be answered. Every
 * open is a conversation of its own.
 */
#ifndef KOLM_OPEN_H
#define KOLM_OPEN_H

#include <pthread.h>

#include "node.h"
#include "store/log_tail.h"

struct fuse_pollhandle;

/* where a conversation stands: text is collected until somebody asks for the answer */
enum talk { TALK_NONE, TALK_WRITTEN, TALK_RUNNING, TALK_DONE };

struct open {
	struct server *sv; /* borrowed */
	struct node *nd;   /* counted */
	atomic_uint refs;
	int flags; /* of open(2) */

	pthread_mutex_t writing; /* held by worker threads while they take what was written: over
				    ${in} of a file that collects pieces */
	pthread_mutex_t lock;	 /* short; over everything below */
	struct text *text;	 /* counted; what a read shows */
	int fd;			 /* or a file of the store, -1 */
	bool was_read;
	struct buf in;	/* written and not yet used: an input; pieces of a line (then under
			   ${writing}) */
	struct buf out; /* the answer, or what a stream has ready */
	int out_no;	/* the answer is this errno */
	bool ended;	/* a stream: nothing more comes */
	enum talk talk;
	uint64_t base; /* file offset of the answer's first byte */
	bool has_base;
	uint64_t seen;		  /* generation of changes when last read */
	uint64_t job;		  /* a wait: the job it was opened for, 0 none */
	struct follower follower; /* a follow */
	struct by by;
	struct fuse_pollhandle *ph;
	atomic_bool is_polled;	 /* ${ph} was ever set */
	_Atomic uint64_t looked; /* streams.h: stream_moved() */

	struct open *next, *prev; /* of all opens, under opens.lock */
};

struct open *open_get(struct open *o);
void open_put(struct open *o);

/* open_new(sv, nd, flags, by, out, err): permissions by the node's mode, then a snapshot of its
 * text or a descriptor. */
int open_new(struct server *sv, struct node *nd, int flags, const struct by *by, struct open **out,
	struct err *err);

/*
 * open_read(o, size, off, out, err): what a read may have now, at most ${size} bytes, into ${out}.
 * 1 done (no bytes: end of file); 0 it must wait: an answer is being made, or a stream has nothing;
 * or -errno.
 */
int open_read(struct open *o, size_t size, uint64_t off, struct buf *out, struct err *err);

/* open_write(o, data, len, err): bytes taken or -errno. In a worker's thread: a command may take
 * its time. */
ssize_t open_write(
	struct open *o, const char *data, size_t len, const struct by *by, struct err *err);

/* open_ready(o): can a read be answered without waiting? open_changed(o): has the file changed
 * since it was last read? */
bool open_ready(struct open *o);
bool open_changed(struct open *o);

/* open_needs_flush(o): is there anything to do at its close()? open_flush(o): do it. open_close(o):
 * the last close; drops the reference. Neither fails. */
bool open_needs_flush(const struct open *o);
void open_flush(struct open *o);
void open_close(struct open *o);

/* open_poll(o, ph): remember who polls (owned; NULL: only look). open_tell(o): tell them. */
void open_poll(struct open *o, struct fuse_pollhandle *ph);
void open_tell(struct open *o);

/* open_is_asked(o): is this read the first after a write whose answer is NAME_QUICK? Then the
 * caller makes it, or says that it cannot: open_not_asked(o), and the next read asks. */
bool open_is_asked(struct open *o);
void open_not_asked(struct open *o);

/* open_answer(o): make the answer to what was written now, in this thread */
void open_answer(struct open *o);

/* open_say(o, text): the answer of a finished command, read back on this open */
void open_say(struct open *o, const char *text);

#endif
