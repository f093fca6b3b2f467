/*
 * node - the names the kernel knows: interned by path, counted by lookups, with the text last
 * rendered for them. A node's number is never used again.
 */
#ifndef KOLM_NODE_H
#define KOLM_NODE_H

#include <pthread.h>

#include "names.h"

enum { NODE_ROOT = 1, IDLE_QUERIES_MAX = 256 };

/* a rendering; counted, never changed */
struct text {
	atomic_uint refs;
	size_t len;
	char data[];
};
struct text *text_get(struct text *tx);
void text_put(struct text *tx);

struct node {
	uint64_t id;
	uint64_t parent; /* its number */
	char *path;	 /* owned, "" the root */
	struct place at;
	char stamp[STAMP_BYTES]; /* of a cached file: part of what it is */

	/* under nodes.lock */
	uint64_t lookups; /* how often the kernel was given it */
	unsigned refs;	  /* how many of us hold it */
	unsigned opens;
	bool is_idle; /* a query nobody has open */
	struct node *by_id, *by_path, *idle_next, *idle_prev;

	pthread_mutex_t lock; /* over what follows */
	struct text *text;
	char text_stamp[STAMP_BYTES];
	int64_t text_at; /* when it was made, monotonic ms */
	int64_t mtime;	 /* when it last differed, ms since 1970 */
};

int nodes_new(struct nodes **out, struct err *err);
void nodes_free(struct nodes *ns);

/* node_get(sv, id): counted, NULL when unknown. node_put(): gives it back. */
struct node *node_get(struct server *sv, uint64_t id);
void node_put(struct server *sv, struct node *nd);

/*
 * node_lookup(sv, parent, name, out, st, err): the child, counted and with one lookup more, and its
 * attributes: its true size too, so it is rendered here. Does not block, except for names_is_slow()
 * names.
 */
int node_lookup(struct server *sv, struct node *parent, const char *name, struct node **out,
	struct stat *st, struct err *err);
void node_forget(struct server *sv, uint64_t id, uint64_t n);
/* node_stat(sv, nd, max_age_ms, st, err): its attributes; a rendering at most so old will do for
 * the size. */
int node_stat(
	struct server *sv, struct node *nd, int64_t max_age_ms, struct stat *st, struct err *err);

/* node_mode(sv, at): the permission bits of a place, with what -o allow_other and group give. */
mode_t node_mode(const struct server *sv, const struct place *at);

/* node_text(sv, nd, max_age_ms, out, err): its text, rendered anew when older; counted. */
int node_text(
	struct server *sv, struct node *nd, int64_t max_age_ms, struct text **out, struct err *err);

/* node_opened(), node_closed(): of the names of queries, terms and documents that nobody has open,
 * the last IDLE_QUERIES_MAX stay; older ones are given back to the kernel's forgetfulness (files.md
 * 4.5). */
void node_opened(struct server *sv, struct node *nd);
void node_closed(struct server *sv, struct node *nd);

/* node_known(sv, path): does the kernel know this path? The number of its node, 0 no. */
uint64_t node_known(struct server *sv, const char *path);

/* for node_show.c: node_intern(): finds or makes the node of a place; counted once for the caller
 * and once for the kernel. node_query_seen(): a query was looked at and perhaps is never opened. */
struct node *node_intern(struct server *sv, uint64_t parent, const char *path,
	const struct place *at, const char *stamp);
/* node_trim(nd): a long text is not kept for somebody who may never open it again. */
void node_trim(struct node *nd);
bool node_is_query(const struct node *nd);
void node_query_seen(struct server *sv, struct node *nd);

#endif
