/*
 * mount - where the mount goes, and when it is there: paths checked before anything is started, and
 * the readiness a background start waits for.
 */
#ifndef KOLM_MOUNT_H
#define KOLM_MOUNT_H

#include "server.h"

/* mount_resolve(store, mountpoint, over, out, err): the mountpoint's real path, also of a stale
 * one. -EINVAL when one of the two folders lies in the other, or, with ${over}, when they are not
 * the same; -EBUSY when the store is a mount of ours; K10. */
int mount_resolve(const char *store, const char *mountpoint, bool over, char out[STORE_PATH_BYTES],
	struct err *err);

/* what a child tells the parent that waits for it */
struct ready {
	int status; /* 0: serving */
	char text[ERR_TEXT_BYTES];
};
void ready_tell(int fd, int status, const char *text);

/* ready_wait(fd, mountpoint, err): until the child says so and the root answers. In a process of
 * its own: the server must never touch its own mount. Exit status. */
int ready_wait(int fd, const char *mountpoint, struct err *err);

/* manager_open(): a socket to the service manager (NOTIFY_SOCKET), -1 without one; before the
 * walls. manager_tell(fd): we are ready; closes it, so that the server owns no socket. */
int manager_open(void);
void manager_tell(int *fd);

#endif
