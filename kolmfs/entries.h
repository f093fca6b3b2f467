/*
 * entries - the artifact whose entries are being looked at, kept open: verifying one whole for
 * every name of a listing would be work. One is kept, the last.
 */
#ifndef KOLM_ENTRIES_H
#define KOLM_ENTRIES_H

#include "artifact/artifact.h"
#include "names.h"

struct entries; /* the one that is kept */
struct kept;	/* an open artifact; counted */

int entries_new(struct entries **out, struct err *err);
void entries_free(struct entries *es);

/* entries_get(sv, at, out, err): the artifact of ${at}'s slug, verified when it or the config
 * differs from what was seen last. Give it back with entries_put(). */
int entries_get(struct server *sv, const struct place *at, struct kept **out, struct err *err);
void entries_put(struct server *sv, struct kept *kp);
const struct artifact *entries_artifact(const struct kept *kp);

#endif
