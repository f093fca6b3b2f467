/*
 * node - see node.h. Two chained tables, by number and by path, and a list of queries nobody has
 * open.
 *
 * A node lives while the kernel knows it (lookups), an open file stands on it (opens) or one of us
 * holds it (refs). A cached file whose bytes changed under the same path - a slug removed and made
 * again - gets another node, so that the page cache of the old one is never shown.
 */
#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "notify.h"

enum { BUCKETS = 4096, FORGET_BATCH = 64 };

struct nodes {
	pthread_mutex_t lock;
	struct node *by_id[BUCKETS], *by_path[BUCKETS];
	uint64_t next_id;
	struct node *idle_first, *idle_last;
	size_t n_idle;
};

/* ---- the tables; all under nodes.lock ---- */

static size_t path_slot(const char *path)
{
	return XXH3_64bits(path, strlen(path)) % BUCKETS;
}

static struct node *find_path(struct nodes *ns, const char *path, const char *stamp)
{
	struct node *nd = ns->by_path[path_slot(path)];

	while (nd && (strcmp(nd->path, path) != 0 || strcmp(nd->stamp, stamp) != 0))
		nd = nd->by_path;
	return nd;
}

static struct node *find_id(struct nodes *ns, uint64_t id)
{
	struct node *nd = ns->by_id[id % BUCKETS];

	while (nd && nd->id != id)
		nd = nd->by_id;
	return nd;
}

static struct node *add_node(struct nodes *ns, uint64_t parent, const char *path,
	const struct place *at, const char *stamp)
{
	struct node *nd = calloc(1, sizeof(*nd));

	if (!nd)
		return NULL;
	nd->path = strdup(path);
	if (!nd->path) {
		free(nd);
		return NULL;
	}
	nd->id = ns->next_id++;
	nd->parent = parent;
	nd->at = *at;
	snprintf(nd->stamp, sizeof(nd->stamp), "%s", stamp);
	pthread_mutex_init(&nd->lock, NULL);
	nd->by_id = ns->by_id[nd->id % BUCKETS];
	ns->by_id[nd->id % BUCKETS] = nd;
	nd->by_path = ns->by_path[path_slot(path)];
	ns->by_path[path_slot(path)] = nd;
	return nd;
}

static void idle_remove(struct nodes *ns, struct node *nd)
{
	if (!nd->is_idle)
		return;
	*(nd->idle_prev ? &nd->idle_prev->idle_next : &ns->idle_first) = nd->idle_next;
	*(nd->idle_next ? &nd->idle_next->idle_prev : &ns->idle_last) = nd->idle_prev;
	nd->idle_prev = nd->idle_next = NULL;
	nd->is_idle = false;
	ns->n_idle--;
}

static void idle_append(struct nodes *ns, struct node *nd)
{
	nd->idle_prev = ns->idle_last;
	*(ns->idle_last ? &ns->idle_last->idle_next : &ns->idle_first) = nd;
	ns->idle_last = nd;
	nd->is_idle = true;
	ns->n_idle++;
}

static void free_node(struct node *nd)
{
	text_put(nd->text);
	pthread_mutex_destroy(&nd->lock);
	free(nd->path);
	free(nd);
}

static void drop_if_unused(struct nodes *ns, struct node *nd)
{
	struct node **at;

	if (nd->lookups || nd->opens || nd->refs || nd->id == NODE_ROOT)
		return;
	idle_remove(ns, nd);
	for (at = &ns->by_id[nd->id % BUCKETS]; *at != nd; at = &(*at)->by_id)
		;
	*at = nd->by_id;
	for (at = &ns->by_path[path_slot(nd->path)]; *at != nd; at = &(*at)->by_path)
		;
	*at = nd->by_path;
	free_node(nd);
}

int nodes_new(struct nodes **out, struct err *err)
{
	struct nodes *ns = calloc(1, sizeof(*ns));
	struct place root;

	if (!ns)
		return err_nomem(err);
	pthread_mutex_init(&ns->lock, NULL);
	ns->next_id = NODE_ROOT;
	names_root(&root);
	if (!add_node(ns, NODE_ROOT, "", &root, "")) {
		nodes_free(ns);
		return err_nomem(err);
	}
	*out = ns;
	return 0;
}

void nodes_free(struct nodes *ns)
{
	struct node *nd, *next;

	if (!ns)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (nd = ns->by_id[i]; nd; nd = next) {
			next = nd->by_id;
			free_node(nd);
		}
	pthread_mutex_destroy(&ns->lock);
	free(ns);
}

struct node *node_get(struct server *sv, uint64_t id)
{
	struct nodes *ns = sv->nodes;
	struct node *nd;

	pthread_mutex_lock(&ns->lock);
	nd = find_id(ns, id);
	if (nd)
		nd->refs++;
	pthread_mutex_unlock(&ns->lock);
	return nd;
}

void node_put(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;

	if (!nd)
		return;
	pthread_mutex_lock(&ns->lock);
	nd->refs--;
	drop_if_unused(ns, nd);
	pthread_mutex_unlock(&ns->lock);
}

void node_forget(struct server *sv, uint64_t id, uint64_t n)
{
	struct nodes *ns = sv->nodes;
	struct node *nd;

	pthread_mutex_lock(&ns->lock);
	nd = find_id(ns, id);
	if (nd) {
		nd->lookups -= n < nd->lookups ? n : nd->lookups;
		drop_if_unused(ns, nd);
	}
	pthread_mutex_unlock(&ns->lock);
}

uint64_t node_known(struct server *sv, const char *path)
{
	struct nodes *ns = sv->nodes;
	const struct node *nd;
	uint64_t id = 0;

	pthread_mutex_lock(&ns->lock);
	for (nd = ns->by_path[path_slot(path)]; nd && !id; nd = nd->by_path)
		if (strcmp(nd->path, path) == 0 && (nd->lookups || nd->id == NODE_ROOT))
			id = nd->id;
	pthread_mutex_unlock(&ns->lock);
	return id;
}

/* ---- queries, terms and documents nobody has open: the kernel would keep their names for ever
 * ---- */

bool node_is_query(const struct node *nd)
{
	return nd->at.what && (nd->at.what->flags & NAME_SLOW);
}

static void forget_query(struct server *sv, const struct node *nd)
{
	const char *slash = strrchr(nd->path, '/');

	notify_forget(sv, nd->parent, slash ? slash + 1 : nd->path);
}

void node_opened(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;

	pthread_mutex_lock(&ns->lock);
	nd->opens++;
	idle_remove(ns, nd);
	pthread_mutex_unlock(&ns->lock);
}

/* nobody has it open. The names nobody used for longest go, many at a time: one by one, each
 * question would wait for the thread that tells the kernel. */
static void idle_add(struct server *sv, struct node *nd)
{
	struct node *old[FORGET_BATCH];
	struct nodes *ns = sv->nodes;
	size_t n = 0;

	node_trim(nd);
	pthread_mutex_lock(&ns->lock);
	if (!nd->opens) {
		idle_remove(ns, nd);
		idle_append(ns, nd);
	}
	if (ns->n_idle > IDLE_QUERIES_MAX)
		for (; n < FORGET_BATCH; n++) {
			old[n] = ns->idle_first;
			old[n]->refs++;
			idle_remove(ns, old[n]);
		}
	pthread_mutex_unlock(&ns->lock);
	for (size_t i = 0; i < n; i++) {
		forget_query(sv, old[i]);
		node_put(sv, old[i]);
	}
}

void node_closed(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;
	bool is_last;

	pthread_mutex_lock(&ns->lock);
	is_last = --nd->opens == 0;
	pthread_mutex_unlock(&ns->lock);
	if (is_last && node_is_query(nd))
		idle_add(sv, nd);
}

/* looked at and perhaps never opened */
void node_query_seen(struct server *sv, struct node *nd)
{
	idle_add(sv, nd);
}

/* finds or makes the node of a place; counted once for the caller and once for the kernel */
struct node *node_intern(struct server *sv, uint64_t parent, const char *path,
	const struct place *at, const char *stamp)
{
	struct nodes *ns = sv->nodes;
	struct node *nd;

	pthread_mutex_lock(&ns->lock);
	nd = find_path(ns, path, stamp);
	if (!nd)
		nd = add_node(ns, parent, path, at, stamp);
	if (nd) {
		nd->refs++;
		nd->lookups++;
	}
	pthread_mutex_unlock(&ns->lock);
	return nd;
}
