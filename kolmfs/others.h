/*
 * others - what other processes did to the store: each of their changes is a line of the audit log,
 * and names its slug.
 */
#ifndef KOLM_OTHERS_H
#define KOLM_OTHERS_H

#include "server.h"

/* up to where the log was read */
struct others {
	ino_t ino;
	off_t at;
};

/* others_begin(sv, ot): what stands in the log is no news. Takes no lock: a stopped process may
 * have it. others_look(sv, ot): notify_change() for each line that came since and is not ours; ours
 * may be told again behind one of another's. What stands at the end of a part that turned over
 * meanwhile is missed. */
void others_begin(struct server *sv, struct others *ot);
void others_look(struct server *sv, struct others *ot);

#endif
