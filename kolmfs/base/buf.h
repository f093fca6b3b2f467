/*
 * buf - a growing piece of memory. Owned by whoever declares it; BUF_INIT, then buf_release().
 *
 * Additions return 0 or -ENOMEM and also remember the failure in ${failed}, so that a renderer may
 * add many pieces and look once: at ${failed}, or at what the last one returned, for after one that
 * failed all fail until buf_reset() or buf_release(). ${data} is always NUL-terminated behind
 * ${len} when it is not NULL.
 */
#ifndef KOLM_BUF_H
#define KOLM_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	bool failed;
};

#define BUF_INIT ((struct buf){0})

int buf_reserve(struct buf *bf, size_t more);
int buf_add(struct buf *bf, const void *data, size_t len);
int buf_puts(struct buf *bf, const char *text);
int buf_putc(struct buf *bf, char c);
int buf_addf(struct buf *bf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* buf_consume(bf, n): drop the first ${n} bytes. */
void buf_consume(struct buf *bf, size_t n);
void buf_reset(struct buf *bf);	  /* length 0, memory kept */
void buf_release(struct buf *bf); /* memory freed, usable again */
/* buf_detach(bf): the memory, owned by the caller (NUL-terminated, never NULL unless out of
 * memory). */
char *buf_detach(struct buf *bf);
/* buf_str(bf): the text, "" when empty; borrowed. */
const char *buf_str(const struct buf *bf);

#endif
