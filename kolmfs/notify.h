/*
 * notify - the thread that tells others what changed: poll handles, parked reads, inotify, and
 * names the kernel should forget. Never called back from a request.
 *
 * inotify (files.md 3.6, 4.7): the thread truncates the changed file to 0 through the mount; the
 * server answers that as a no-op, the kernel tells the watchers.
 */
#ifndef KOLM_NOTIFY_H
#define KOLM_NOTIFY_H

#include "server.h"

int notify_new(struct server *sv, struct err *err);
/* notify_start(sv): the thread; it asks the mount, so the session must be about to serve. */
int notify_start(struct server *sv, struct err *err);
/* notify_stop(sv): while the session still serves: the thread may be inside the mount. */
void notify_stop(struct server *sv);
void notify_free(struct notify *nt);

/* notify_change(sv, key, what): something changed: ${key} a slug, "rag", "rag/<name>" or "" the
 * root; may be called from any thread, does not block. */
void notify_change(struct server *sv, const char *key, unsigned what);

/* notify_other(sv, slug, what): its files were found changed; told like a change of ours, unless
 * they are as they were when one was told last. */
void notify_other(struct server *sv, const char *slug, unsigned what);

/* notify_look(sv): files of the store changed: look for what others did. */
void notify_look(struct server *sv);

/* notify_generation(sv, key, what): counts such changes; ${key} NULL: of all. */
uint64_t notify_generation(struct server *sv, const char *key, unsigned what);

/* notify_forget(sv, parent, name): tell the kernel to drop a name. */
void notify_forget(struct server *sv, uint64_t parent, const char *name);

/* notify_is_own(sv, tid): is that the thread touching files for inotify? */
bool notify_is_own(struct server *sv, pid_t tid);

#endif
