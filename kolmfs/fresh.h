/*
 * fresh - is what was rendered a while ago still what a rendering would give? Told by the identity
 * of the files of the store it was made of and by the changes this process announced, so that a
 * lookup costs a few stat() instead of a rendering.
 */
#ifndef KOLM_FRESH_H
#define KOLM_FRESH_H

#include "texts.h"

int fresh_new(struct fresh **out, struct err *err);
void fresh_free(struct fresh *fr);

/* names.h: stamp */
STAMPER(head_stamp);
STAMPER(config_stamp); /* tune-config.json */
STAMPER(status_stamp); /* <slug>/status */
STAMPER(job_stamp);    /* what jobs.jsonl alone decides */

/* fresh_files(sv, slug): of the files that others may change without a line in the log; not 0 */
uint64_t fresh_files(const struct server *sv, const char *slug);

#endif
