/*
 * node_show - what a node shows: its text, rendered when it is asked for and kept while it is good,
 * its attributes, and lookup, which needs both.
 */
#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/replace.h"

enum { IDLE_TEXT_BYTES = 256 << 10 };

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
	pthread_mutex_lock(&nd->lock);
	if (rc < 0) { /* what it showed before is not right any more, however young it is */
		text_put(nd->text);
		nd->text = NULL;
		pthread_mutex_unlock(&nd->lock);
		return rc;
	}
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

	pthread_mutex_lock(&nd->lock);
	is_good = nd->text && ((what->flags & NAME_STATIC) ||
				      (max_age_ms > 0 && clock_ms() - nd->text_at <= max_age_ms));
	if (is_good)
		*out = text_get(nd->text);
	pthread_mutex_unlock(&nd->lock);
	if (is_good)
		return 0;
	/* the stamp first: what changes while it is rendered is rendered again the next time */
	if (what->stamp && what->stamp(sv, &nd->at, stamp, NULL) < 0)
		*stamp = '\0';
	pthread_mutex_lock(&nd->lock);
	is_good = nd->text && *stamp && strcmp(stamp, nd->text_stamp) == 0;
	if (is_good) {
		*out = text_get(nd->text);
		nd->text_at = clock_ms();
	}
	pthread_mutex_unlock(&nd->lock);
	return is_good ? 0 : render(sv, nd, stamp, out, err);
}

void node_trim(struct node *nd)
{
	pthread_mutex_lock(&nd->lock);
	if (nd->text && nd->text->len > IDLE_TEXT_BYTES) {
		text_put(nd->text);
		nd->text = NULL;
	}
	pthread_mutex_unlock(&nd->lock);
}

mode_t node_mode(const struct server *sv, const struct place *at)
{
	mode_t mode = at->folder ? 0500 : at->what->mode;

	if (!sv->others)
		return mode;
	if (sv->has_group)
		return mode | (mode & 0500) >> 3;
	/* what is written may hold what is nobody's business: captures, settings */
	if (!at->folder && (at->what->flags & NAME_PRIVATE))
		return mode;
	return mode & 0200 ? mode : mode | (mode & 0500) >> 3 | (mode & 0500) >> 6;
}

static void set_times(struct stat *st, int64_t ms)
{
	st->st_mtim = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	st->st_ctim = st->st_atim = st->st_mtim;
}

/* this machine has not enough of something now: nothing is known of the file */
static bool is_short(int rc)
{
	return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

/* what cannot be read is there all the same, and says why when it is opened */
static int stat_length(struct server *sv, struct node *nd, struct stat *st, struct err *err)
{
	struct timespec grown;
	uint64_t len;
	int rc = nd->at.what->length(sv, &nd->at, &len, &grown, err);

	if (rc < 0)
		return is_short(rc) ? rc : 0;
	st->st_size = (off_t)len;
	if (len > 0)
		st->st_mtim = st->st_ctim = st->st_atim = grown;
	return 0;
}

/* size and times of a file of the store; -ENOENT when it is missing and may be */
static int stat_file(struct server *sv, struct node *nd, struct stat *st, struct err *err)
{
	const struct name *what = nd->at.what;
	struct stat real;
	int fd = what->open(sv, &nd->at, err);

	/* a size of 0 would be kept, and the file be empty for whoever reads it next */
	if (fd < 0 && (is_short(fd) || (what->flags & NAME_CACHED)))
		return fd;
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
	st->st_mode = (nd->at.folder ? S_IFDIR : S_IFREG) | node_mode(sv, &nd->at);
	st->st_nlink = nd->at.folder ? 2 : 1;
	if (nd->at.folder)
		return 0;
	if (what->open) {
		rc = stat_file(sv, nd, st, err);
	} else if (what->length) {
		rc = stat_length(sv, nd, st, err);
	} else if (what->render) {
		/* what cannot be rendered is there all the same, and says why when it is opened */
		rc = node_text(sv, nd, max_age_ms, &tx, err);
		if (rc == 0) {
			st->st_size = (off_t)tx->len;
			text_put(tx);
			pthread_mutex_lock(&nd->lock);
			set_times(st, nd->mtime);
			pthread_mutex_unlock(&nd->lock);
		} else if (rc != -ENOENT && !is_short(rc) && !(what->flags & NAME_SLOW)) {
			rc = 0;
		}
	} else {
		st->st_size = what->size;
	}
	st->st_blocks = (st->st_size + 511) / 512;
	return rc;
}

int node_lookup(struct server *sv, struct node *parent, const char *name, struct node **out,
	struct stat *st, struct err *err)
{
	char path[STORE_PATH_BYTES], stamp[STAMP_BYTES] = "";
	size_t have = strlen(parent->path), len = strlen(name);
	struct place at;
	struct node *nd;
	int rc = names_child(sv, &parent->at, name, len, &at, err);

	if (rc == 0 && at.what && (at.what->flags & NAME_CACHED))
		rc = at.what->stamp(sv, &at, stamp, err);
	if (rc < 0)
		return rc;
	if (have + len + 2 > sizeof(path))
		return err_set(err, ENAMETOOLONG, "path too long");
	memcpy(path, parent->path, have);
	if (have > 0)
		path[have++] = '/';
	memcpy(path + have, name, len + 1);
	nd = node_intern(sv, parent->id, path, &at, stamp);
	if (!nd)
		return err_nomem(err);
	rc = node_stat(sv, nd, 0, st, err);
	if (rc < 0) {
		node_forget(sv, nd->id, 1);
		node_put(sv, nd);
		return rc;
	}
	if (node_is_query(nd))
		node_query_seen(sv, nd);
	*out = nd;
	return 0;
}
