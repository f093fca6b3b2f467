/*
 * replies - the last reply of each command folder: what its `error` shows. "ok" until something
 * failed.
 */
#ifndef KOLM_REPLIES_H
#define KOLM_REPLIES_H

#include "server.h"

int replies_new(struct replies **out, struct err *err);
void replies_free(struct replies *rs);
/* replies_set(sv, key, text): ${key} as names_key() gives it; one line without line feed. Tells who
 * polls `error`. */
void replies_set(struct server *sv, const char *key, const char *text);
int replies_render(struct replies *rs, const char *key, struct buf *out);

/* by_name(by): fills in the name of the command that asks; while it waits for its answer. */
void by_name(struct by *by);

/* refused(sv, key, by, err): a command failed: into `error`, and into the server's own log. */
void refused(struct server *sv, const char *key, const struct by *by, const struct err *err);
/* log_refusal(): into the log alone: of somebody who has no business in `error`. */
void log_refusal(const char *key, const struct by *by, const struct err *err);

#endif
