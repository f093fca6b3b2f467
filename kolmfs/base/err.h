/*
 * err - what a person must read when something failed.
 *
 * A function that can fail returns 0 (or a count) or a negative errno and takes a struct err as its
 * last argument. The text is one line: what is wrong first, the subject quoted, no capital, no full
 * stop, the cure if there is one.
 */
#ifndef KOLM_ERR_H
#define KOLM_ERR_H

#include <stddef.h>

enum { ERR_TEXT_BYTES = 640, ERR_QUOTE_BYTES = 80 };

struct err {
	int no;	       /* positive errno, 0 when nothing failed */
	char code[40]; /* K_GATE, KOLM_E_RECIPE_TIMEOUT, ... or "" */
	char text[ERR_TEXT_BYTES];
};

#define ERR_NONE ((struct err){0})

/* err_set(err, no, fmt): set the text and return -${no}. ${err} may be NULL. The code is cleared.
 */
int err_set(struct err *err, int no, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* err_code(err, code): give the failure in ${err} a code of FORMATS 15.5; returns -err->no. */
int err_code(struct err *err, const char *code);

/* err_sys(err, fmt): as err_set() with errno (0: EIO, never success); ": " and strerror are put
 * behind the text. */
int err_sys(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* err_full(err): as err_sys(), when errno says that a disk, a quota or a file takes no more
 * (BAD-INPUTS K01, K02) and the caller has changed nothing; 0 for any other errno. */
int err_full(struct err *err);

/* err_prefix(err, fmt): put text before what is there ("line 2: ..."); returns -err->no. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* err_nomem(err): -ENOMEM with its sentence. */
int err_nomem(struct err *err);

/*
 * err_quote(out, text, len): ${text} escaped for logs and terminals, at most 80 bytes of result:
 * control characters and ESC as \xNN, invalid UTF-8 bytes as \xNN, direction marks and other format
 * characters as \u{...}; cut with "..." when longer. Returns ${out}, so it can stand in an argument
 * list.
 */
const char *err_quote(char out[ERR_QUOTE_BYTES + 8], const char *text, size_t len);

/* err_said(err, no, text, len): a sentence another program said, escaped as by err_quote(), but as
 * long as a sentence may be; returns -${no}. */
int err_said(struct err *err, int no, const char *text, size_t len);

/* err_name(no): "EINVAL" for EINVAL; "EIO" for a number without a name. err_number("EINVAL"): the
 * number, EIO if unknown. */
const char *err_name(int no);
int err_number(const char *name);

#endif
