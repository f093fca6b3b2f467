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
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/hash.h"
#include "base/replace.h"
#include "notify.h"
#include "open.h"

enum { BUCKETS = 4096, OPEN_MAX_FILES = 100000 };

struct nodes {
	pthread_mutex_t lock;
	struct node *by_id[BUCKETS], *by_path[BUCKETS];
	uint64_t next_id;
	struct node *idle_first, *idle_last;
	size_t n_idle;
	struct open *opens;
	size_t n_opens;
};

int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct text *text_get(struct text *tx)
{
	atomic_fetch_add(&tx->refs, 1);
	return tx;
}

void text_put(struct text *tx)
{
	if (tx && atomic_fetch_sub(&tx->refs, 1) == 1)
		free(tx);
}

static struct text *text_new(const char *data, size_t len)
{
	struct text *tx = malloc(sizeof(*tx) + len + 1);

	if (!tx)
		return NULL;
	atomic_init(&tx->refs, 1);
	tx->len = len;
	if (len)
		memcpy(tx->data, data, len);
	tx->data[len] = '\0';
	return tx;
}

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

/* ---- queries nobody has open: the kernel would keep their names for ever ---- */

static bool is_query(const struct node *nd)
{
	return nd->at.what && (nd->at.what->flags & NAME_SLOW);
}

static void forget_query(struct server *sv, const struct node *nd)
{
	notify_forget(sv, nd->parent, nd->at.rest);
}

void node_opened(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;

	pthread_mutex_lock(&ns->lock);
	nd->opens++;
	idle_remove(ns, nd);
	pthread_mutex_unlock(&ns->lock);
}

void node_closed(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;
	bool is_last;

	pthread_mutex_lock(&ns->lock);
	is_last = --nd->opens == 0;
	pthread_mutex_unlock(&ns->lock);
	if (is_last && is_query(nd))
		forget_query(sv, nd);
}

/* looked at and perhaps never opened: the oldest of too many such names goes */
static void query_seen(struct server *sv, struct node *nd)
{
	struct nodes *ns = sv->nodes;
	struct node *old = NULL;

	pthread_mutex_lock(&ns->lock);
	if (!nd->opens) {
		idle_remove(ns, nd);
		idle_append(ns, nd);
	}
	if (ns->n_idle > IDLE_QUERIES_MAX) {
		old = ns->idle_first;
		old->refs++;
		idle_remove(ns, old);
	}
	pthread_mutex_unlock(&ns->lock);
	if (old) {
		forget_query(sv, old);
		node_put(sv, old);
	}
}

/* ---- what a node shows ---- */

/* takes a new rendering over if it differs; under nd->lock */
static void keep_text(struct server *sv, struct node *nd, struct text *tx, const char *stamp)
{
	bool is_first = !nd->text;

	nd->text_at = clock_ms();
	snprintf(nd->text_stamp, sizeof(nd->text_stamp), "%s", stamp);
	if (nd->text && nd->text->len == tx->len &&
		memcmp(nd->text->data, tx->data, tx->len) == 0) {
		text_put(tx);
		return;
	}
	text_put(nd->text);
	nd->text = tx;
	nd->mtime = is_first && (nd->at.what->flags & (NAME_STATIC | NAME_CACHED)) ? sv->started_ms
										   : time_now();
}

static int render(
	struct server *sv, struct node *nd, const char *stamp, struct text **out, struct err *err)
{
	struct buf bf = BUF_INIT;
	struct text *tx = NULL;
	int rc = nd->at.what->render(sv, &nd->at, &bf, err);

	/* an absent file without NAME_MAYBE is an empty one */
	if (rc == -ENOENT && !(nd->at.what->flags & NAME_MAYBE)) {
		buf_reset(&bf);
		rc = 0;
	}
	if (rc == 0) {
		tx = text_new(bf.data, bf.len);
		rc = tx ? 0 : err_nomem(err);
	}
	buf_release(&bf);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&nd->lock);
	keep_text(sv, nd, tx, stamp);
	*out = text_get(nd->text);
	pthread_mutex_unlock(&nd->lock);
	return 0;
}

int node_text(
	struct server *sv, struct node *nd, int64_t max_age_ms, struct text **out, struct err *err)
{
	const struct name *what = nd->at.what;
	char stamp[STAMP_BYTES] = "";
	bool is_good;

	if (what->stamp && what->stamp(sv, &nd->at, stamp, NULL) < 0)
		*stamp = '\0';
	pthread_mutex_lock(&nd->lock);
	is_good = nd->text && (*stamp ? strcmp(stamp, nd->text_stamp) == 0
				      : max_age_ms > 0 && clock_ms() - nd->text_at <= max_age_ms);
	if (is_good)
		*out = text_get(nd->text);
	pthread_mutex_unlock(&nd->lock);
	return is_good ? 0 : render(sv, nd, stamp, out, err);
}

static void set_times(struct stat *st, int64_t ms)
{
	st->st_mtim = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	st->st_ctim = st->st_atim = st->st_mtim;
}

/* size and times of a file of the store; -ENOENT when it is missing and may be */
static int stat_file(struct server *sv, struct node *nd, struct stat *st, struct err *err)
{
	const struct name *what = nd->at.what;
	struct stat real;
	int fd = what->open(sv, &nd->at, err);

	if (fd < 0)
		return fd == -ENOENT && (what->flags & NAME_MAYBE) ? fd : 0;
	if (fstat(fd, &real) == 0) {
		st->st_size = real.st_size;
		st->st_mtim = real.st_mtim;
		st->st_ctim = st->st_atim = real.st_mtim;
	}
	close(fd);
	return 0;
}

int node_stat(
	struct server *sv, struct node *nd, int64_t max_age_ms, struct stat *st, struct err *err)
{
	const struct name *what = nd->at.what;
	struct text *tx;
	int rc = 0;

	*st = (struct stat){.st_ino = nd->id == NODE_ROOT
					      ? NODE_ROOT
					      : inode_number(nd->path, strlen(nd->path)),
		.st_uid = sv->owner,
		.st_gid = sv->group};
	set_times(st, sv->started_ms);
	st->st_blksize = 4096;
	if (nd->at.folder) {
		st->st_mode = S_IFDIR | (sv->others ? 0555 : 0500);
		st->st_nlink = 2;
		return 0;
	}
	st->st_mode = S_IFREG | what->mode | (sv->others && !(what->mode & 0200) ? 0044 : 0);
	st->st_nlink = 1;
	if (what->open) {
		rc = stat_file(sv, nd, st, err);
	} else if (what->render) {
		/* what cannot be rendered is there all the same, and says why when it is opened */
		rc = node_text(sv, nd, max_age_ms, &tx, err);
		if (rc == 0) {
			st->st_size = (off_t)tx->len;
			text_put(tx);
			pthread_mutex_lock(&nd->lock);
			set_times(st, nd->mtime);
			pthread_mutex_unlock(&nd->lock);
		} else if (rc != -ENOENT && rc != -ENOMEM && !(what->flags & NAME_SLOW)) {
			rc = 0;
		}
	} else {
		st->st_size = what->size;
	}
	st->st_blocks = (st->st_size + 511) / 512;
	return rc;
}

/* finds or makes the node of a place; counted once for the caller and once for the kernel */
static struct node *intern(struct server *sv, uint64_t parent, const char *path,
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

int node_lookup(struct server *sv, struct node *parent, const char *name, struct node **out,
	struct stat *st, struct err *err)
{
	char path[STORE_PATH_BYTES], stamp[STAMP_BYTES] = "";
	struct place at;
	struct node *nd;
	int n, rc = names_child(sv, &parent->at, name, strlen(name), &at, err);

	if (rc == 0 && at.what && (at.what->flags & NAME_CACHED))
		rc = at.what->stamp(sv, &at, stamp, err);
	if (rc < 0)
		return rc;
	n = snprintf(path, sizeof(path), "%s%s%s", parent->path, *parent->path ? "/" : "", name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(err, ENAMETOOLONG, "path too long");
	nd = intern(sv, parent->id, path, &at, stamp);
	if (!nd)
		return err_nomem(err);
	rc = node_stat(sv, nd, 0, st, err);
	if (rc < 0) {
		node_forget(sv, nd->id, 1);
		node_put(sv, nd);
		return rc;
	}
	if (is_query(nd))
		query_seen(sv, nd);
	*out = nd;
	return 0;
}

/* ---- all opens ---- */

int nodes_add_open(struct server *sv, struct open *o, struct err *err)
{
	struct nodes *ns = sv->nodes;
	bool is_full;

	pthread_mutex_lock(&ns->lock);
	is_full = ns->n_opens >= OPEN_MAX_FILES;
	if (!is_full) {
		o->prev = NULL;
		o->next = ns->opens;
		if (ns->opens)
			ns->opens->prev = o;
		ns->opens = o;
		ns->n_opens++;
	}
	pthread_mutex_unlock(&ns->lock);
	return is_full ? err_set(err, ENFILE, "more than %d files are open", OPEN_MAX_FILES) : 0;
}

void nodes_remove_open(struct server *sv, struct open *o)
{
	struct nodes *ns = sv->nodes;

	pthread_mutex_lock(&ns->lock);
	*(o->prev ? &o->prev->next : &ns->opens) = o->next;
	if (o->next)
		o->next->prev = o->prev;
	ns->n_opens--;
	pthread_mutex_unlock(&ns->lock);
}

void nodes_each_open(struct server *sv, bool (*want)(void *arg, const struct open *o),
	void (*fn)(void *arg, struct open *o), void *arg)
{
	struct nodes *ns = sv->nodes;
	struct open **found = NULL;
	size_t n = 0;

	pthread_mutex_lock(&ns->lock);
	if (ns->n_opens)
		found = malloc(ns->n_opens * sizeof(*found));
	for (struct open *o = ns->opens; found && o; o = o->next)
		if (want(arg, o))
			found[n++] = open_get(o);
	pthread_mutex_unlock(&ns->lock);
	for (size_t i = 0; i < n; i++) {
		fn(arg, found[i]);
		open_put(found[i]);
	}
	free(found);
}

void nodes_drop_opens(struct server *sv)
{
	struct open *o;

	while ((o = sv->nodes->opens)) {
		nodes_remove_open(sv, o);
		open_put(o);
	}
}
