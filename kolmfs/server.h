/*
 * server - what every part of the file server shares: the store's loop, the tables of nodes and
 * waiting requests, the threads. One per process, made by main.c.
 *
 * Lock order: open.lock, node.lock, nodes.lock, then one of the short inner ones (opens, park,
 * notify, work, last errors). None is held across a reply or a call into libkolm.
 */
#ifndef KOLM_SERVER_H
#define KOLM_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "kolm.h"

struct entries;
struct events;
struct fresh;
struct nodes;
struct notify;
struct opens;
struct park;
struct replies;
struct session;
struct tails;
struct work;

struct server {
	struct kolm *k;
	struct spawner *sp;
	const struct store *st;		   /* of k */
	char mountpoint[STORE_PATH_BYTES]; /* absolute, links resolved */
	_Atomic uint64_t dev;		   /* st_dev of the mount, 0 until it answered */
	uid_t owner;
	gid_t group;
	int64_t started_ms;
	bool others;	     /* -o allow_other: everybody may read, the owner commands */
	bool has_group;	     /* -o group=G: not everybody but ${group}, and all that is listed */
	atomic_bool closing; /* no command is taken any more */
	atomic_bool is_mounted;
	sem_t served;		/* posted when the session is over */
	pthread_mutex_t ending; /* held by who stops serving; before all other locks */
	bool is_over;		/* under it: nothing of this may be touched any more */
	int manager;		/* socket to the service manager until it was told, or -1 */
	struct nodes *nodes;
	struct opens *opens;
	struct park *park;
	struct notify *notify;
	struct work *work;
	struct replies *replies;
	struct entries *entries;
	struct fresh *fresh;
	struct events *events;
	struct tails *tails;
	atomic_uint in_place; /* requests being worked on in their own thread: fuse_request.c */
	struct session *session;
};

#endif
