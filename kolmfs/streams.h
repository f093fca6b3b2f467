/*
 * streams - wait and follow: files a read of which ends when something happens.
 */
#ifndef KOLM_STREAMS_H
#define KOLM_STREAMS_H

#include "open.h"

/* names.h: ready and bind */
int wait_ready(struct server *sv, struct open *o, struct err *err);
int follow_ready(struct server *sv, struct open *o, struct err *err);
int wait_bind(struct server *sv, struct open *o, struct err *err);
int follow_bind(struct server *sv, struct open *o, struct err *err);

/*
 * stream_moved(sv, o, lk): has the file of the store that ${o} waits for changed since this was
 * last asked of it? The first time: yes. What this process does is told at once; this is for what
 * others do, and looks at each file once a sweep: ${lk}, zeroed before.
 */
struct look {
	int (*ready)(struct server *sv, struct open *o, struct err *err);
	char key[2 * SLUG_BYTES];
	uint64_t seen; /* never 0 */
};
bool stream_moved(struct server *sv, struct open *o, struct look *lk);

#endif
