/*
 * talk - what is written on an open and what comes back: run, query, captures.jsonl,
 * tune-config.json.
 */
#ifndef KOLM_TALK_H
#define KOLM_TALK_H

#include "open.h"

/* names.h: write */
ssize_t captures_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err);
ssize_t config_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err);
/* input_write: collects what is to be answered (run, query) */
ssize_t input_write(struct server *sv, struct open *o, const char *data, size_t len,
	const struct by *by, struct err *err);

/*
 * names.h: flush. A piece of a row that is whole JSON is kept; at the last close the rest is
 * dropped and counted. A config that was never whole is dropped. An input nobody asked the answer
 * of is run at the last close, for what it leaves behind.
 */
void captures_flush(struct open *o, bool is_last);
void config_flush(struct open *o, bool is_last);
void run_flush(struct open *o, bool is_last);

/* names.h: sync */
int captures_durable(struct server *sv, const struct place *at, struct err *err);

/* names.h: answer */
int run_answer(struct server *sv, const struct place *at, const char *text, size_t len,
	struct buf *out, struct err *err);
int query_answer(struct server *sv, const struct place *at, const char *text, size_t len,
	struct buf *out, struct err *err);
int query_render(struct server *sv, const struct place *at, struct buf *out,
	struct err *err); /* of query?... */

#endif
