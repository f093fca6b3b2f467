/*
 * log_tail - the lines of a slug as they come. Who follows the audit log holds the file it reads
 * open, so that what was written before the log turned over can still be read behind its name; all
 * who stand in the same file share one descriptor.
 */
#ifndef KOLM_LOG_TAIL_H
#define KOLM_LOG_TAIL_H

#include "store/store.h"

struct tails;
struct tail;

/* tails_new(st, out, err): ${st} must outlive it. tails_free(ts): all followers ended before; NULL
 * does nothing. */
int tails_new(const struct store *st, struct tails **out, struct err *err);
void tails_free(struct tails *ts);

/* where one who follows stands; {0} at the beginning of the log that comes */
struct follower {
	struct tail *tail; /* counted; NULL: there was no log */
	uint64_t pos;
};

/*
 * follower_begin(ts, fo, err): behind the last line of now. follower_next(ts, fo, slug, out, err):
 * the next whole line of ${slug}, with its line feed, into the empty ${out}: 1; 0 none yet; -errno,
 * and the same line is next again. However often the log turned over meanwhile, the parts are read
 * in their order. follower_end(fo). One thread at a time for each follower.
 */
int follower_begin(struct tails *ts, struct follower *fo, struct err *err);
int follower_next(
	struct tails *ts, struct follower *fo, const char *slug, struct buf *out, struct err *err);
void follower_end(struct follower *fo);

#endif
