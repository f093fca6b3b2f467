/*
 * replace - files that change whole or not at all (reliability.md section 9.1), and the careful
 * reads that go with them.
 *
 * Every name is one path component below a directory descriptor; links are never followed.
 */
#ifndef KOLM_REPLACE_H
#define KOLM_REPLACE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * replace_file(dirfd, name, data, len, mode, err): write ".name.tmp.<pid>.<n>", fsync, close,
 * rename, fsync the directory. An answer of 0 means it is durable. On failure the old file is as it
 * was and no temporary name is left. A folder of that name is not replaced: -EISDIR.
 */
int replace_file(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err);

/* write_all(fd, data, len, err): loop over short writes and EINTR. */
int write_all(int fd, const void *data, size_t len, struct err *err);

/* dir_sync(dirfd, err): fsync a directory. */
int dir_sync(int dirfd, struct err *err);

/*
 * read_file(dirfd, name, max, out, err): append the whole of a regular file to ${out}. Opens with
 * O_NOFOLLOW|O_NONBLOCK: a FIFO, a folder, a device or a link is -EINVAL "... is not a regular
 * file" (-ELOOP for a link); larger than ${max}, and only then: -EFBIG; -ENOENT as is.
 */
int read_file(int dirfd, const char *name, size_t max, struct buf *out, struct err *err);

/* read_fd(fd, max, out, err): append what is left of ${fd}. */
int read_fd(int fd, size_t max, struct buf *out, struct err *err);

/* dir_open(dirfd, name, err): open a folder (no link), or a negative errno. dir_make(): mkdir 0700
 * if it is missing, then open. */
int dir_open(int dirfd, const char *name, struct err *err);
int dir_make(int dirfd, const char *name, struct err *err);

/* dir_next(dir, what, out, err): 1 and the next entry, "." and ".." left out; 0 at the end. A
 * folder that cannot be read to its end is not a short one: a negative errno, "cannot list
 * ${what}". */
int dir_next(DIR *dir, const char *what, struct dirent **out, struct err *err);

/* dir_remove(dirfd, name, err): remove a tree below ${dirfd} without following links; a missing one
 * is success. */
int dir_remove(int dirfd, const char *name, struct err *err);

/* file_id(st, out): which file it is and which state of it: whoever writes to it, and whoever sets
 * its times back, changes the ctime */
struct stat;
enum { FILE_ID_BYTES = 96 };
void file_id(const struct stat *st, char out[FILE_ID_BYTES]);

/* time_now(): milliseconds since 1970. clock_ms(): milliseconds of a clock that nobody sets, for
 * how long something took or may take. time_text(ms, out): "YYYY-MM-DDTHH:MM:SS.mmmZ". */
int64_t time_now(void);
int64_t clock_ms(void);
enum { TIME_TEXT_BYTES = 32 };
const char *time_text(int64_t ms, char out[TIME_TEXT_BYTES]);

#endif
