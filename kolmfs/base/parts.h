/*
 * parts - a base model in several files, NAME-00001-of-0000N.gguf, all in one folder. A caller has
 * the first one open; the others are found beside it by its name.
 */
#ifndef KOLM_PARTS_H
#define KOLM_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PARTS_MAX = 1024 };

/* parts_count(fd): N by the name of the open file ${fd}, 1 when it is not the first of several. */
int parts_count(int fd);

/* parts_name(fd, number, out, size): the name part ${number} (from 1) has in its folder. -ENOENT
 * when ${fd} is none. */
int parts_name(int fd, int number, char *out, size_t size);

/* parts_open(fd, number, err): a descriptor of part ${number}, a regular file (no link), owned by
 * the caller; -EBADMSG when it is not there. */
int parts_open(int fd, int number, struct err *err);

/* parts_bytes(path): all bytes of a base model: of a file, of all its parts, of the files of a
 * folder; 0 when it cannot be read. */
uint64_t parts_bytes(const char *path);

#endif
