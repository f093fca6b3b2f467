/*
 * indexes - the indexes that questions are asked of: opened once, kept while what is in the store
 * is still that generation, and replaced by index.json where index.bin turns out to be damaged.
 */
#include "kolm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "loop/answers.h"
#include "loop/private.h"
#include "rag/kolmrag.h"

/* an index kept open, with the identity of the folder it was opened from */
struct index_ref {
	struct index_ref *next;
	struct rag_index *ix;
	struct answers *answers; /* NULL: they may change, or no memory for them */
	unsigned users;
	bool stale;
	dev_t dev;
	ino_t ino;
	char name[RAG_NAME_BYTES + 1];
	char damage[512]; /* of its index.bin: ${ix} is its index.json. "": none was met */
};

static void free_index(struct index_ref *ref)
{
	rag_close(ref->ix);
	answers_free(ref->answers);
	free(ref);
}

void indexes_free(struct kolm *k)
{
	for (struct index_ref *ref = k->indexes, *next; ref != NULL; ref = next) {
		next = ref->next;
		free_index(ref);
	}
}

/* under k->lock: the open index of this name, if the folder is still the one it was opened from */
static struct index_ref *index_find(struct kolm *k, const char *name, const struct stat *st)
{
	for (struct index_ref **p = &k->indexes; *p != NULL;) {
		struct index_ref *ref = *p;

		if (strcmp(ref->name, name) != 0) {
			p = &ref->next;
			continue;
		}
		if (ref->dev == st->st_dev && ref->ino == st->st_ino)
			return ref;
		*p = ref->next;
		ref->stale = true;
		if (ref->users == 0)
			free_index(ref);
	}
	return NULL;
}

/* ${ix}, just opened, is what this name stands for from now on; one user */
static int index_add(struct kolm *k, const char *name, const struct stat *st, struct rag_index *ix,
	const char *damage, struct index_ref **out, struct err *err)
{
	struct index_ref *ref = calloc(1, sizeof(*ref));

	if (ref == NULL) {
		rag_close(ix);
		return err_nomem(err);
	}
	ref->ix = ix;
	ref->answers = rag_has_texts(ix) ? answers_new() : NULL;
	(void)snprintf(ref->name, sizeof(ref->name), "%s", name);
	(void)snprintf(ref->damage, sizeof(ref->damage), "%s", damage);
	ref->dev = st->st_dev;
	ref->ino = st->st_ino;
	ref->users = 1;
	pthread_mutex_lock(&k->lock);
	ref->next = k->indexes;
	k->indexes = ref;
	pthread_mutex_unlock(&k->lock);
	*out = ref;
	return 0;
}

static int index_open(struct kolm *k, const char *name, const struct stat *st,
	struct index_ref **out, struct err *err)
{
	struct rag_index *ix;
	int rc = rag_open(k->st.rag, name, &ix, err);

	return rc < 0 ? rc : index_add(k, name, st, ix, "", out, err);
}

void index_changed(struct kolm *k, const char *name)
{
	char key[RAG_NAME_BYTES + 8];

	(void)snprintf(key, sizeof(key), "rag/%.*s", (int)RAG_NAME_BYTES, name);
	change(k, key, CHANGE_STATUS);
	change(k, NULL, CHANGE_SLUGS);
}

static void log_damage(struct kolm *k, const char *name, const struct err *damage)
{
	struct buf text = BUF_INIT;

	if (json_put_text(&text, damage->text) == 0)
		(void)log_event(k, NULL, 0, NULL, NULL, "index_damaged",
			"\"index\":\"%s\",\"error\":%s", name, buf_str(&text));
	buf_release(&text);
	index_changed(k, name);
}

/* index.bin is damaged, as ${err} says: index.json answers in its place until there is a new one.
 * Where it cannot, the damage stays the answer. */
static int index_spare(struct kolm *k, const char *name, const struct stat *st,
	struct index_ref **out, struct err *err)
{
	struct err damage = err != NULL ? *err : ERR_NONE;
	struct index_ref *ref;
	struct rag_index *ix;
	int rc = 0;

	pthread_mutex_lock(&k->spares);
	pthread_mutex_lock(&k->lock);
	ref = index_find(k, name, st);
	if (ref != NULL && ref->damage[0] == '\0')
		ref = NULL;
	if (ref != NULL)
		ref->users++;
	pthread_mutex_unlock(&k->lock);
	if (ref != NULL)
		*out = ref;
	else if (rag_open_spare(k->st.rag, name, &ix, NULL) < 0)
		rc = -EUCLEAN;
	else
		rc = index_add(k, name, st, ix, damage.text, out, err);
	if (rc == 0 && ref == NULL)
		log_damage(k, name, &damage);
	pthread_mutex_unlock(&k->spares);
	return rc;
}

static void index_put(struct kolm *k, struct index_ref *ref)
{
	pthread_mutex_lock(&k->lock);
	bool last = --ref->users == 0 && ref->stale;
	pthread_mutex_unlock(&k->lock);
	if (last)
		free_index(ref);
}

/* an answer met damage: nobody else gets this one */
static void index_drop(struct kolm *k, struct index_ref *ref)
{
	pthread_mutex_lock(&k->lock);
	for (struct index_ref **p = &k->indexes; *p != NULL; p = &(*p)->next)
		if (*p == ref) {
			*p = ref->next;
			ref->stale = true;
			break;
		}
	pthread_mutex_unlock(&k->lock);
}

/* the index opened last under this name, one user more; NULL: what is there now is another. Most
 * questions need no more than this. */
static struct index_ref *index_kept(struct kolm *k, const char *name)
{
	struct index_ref *ref;

	pthread_mutex_lock(&k->lock);
	for (ref = k->indexes; ref != NULL && strcmp(ref->name, name) != 0;)
		ref = ref->next;
	if (ref != NULL)
		ref->users++;
	pthread_mutex_unlock(&k->lock);
	if (ref == NULL || rag_is_current(k->st.rag, ref->ix))
		return ref;
	index_put(k, ref);
	return NULL;
}

static int index_get(struct kolm *k, const char *name, struct index_ref **out, struct err *err)
{
	struct index_ref *ref = index_kept(k, name);
	struct stat st;
	int rc;

	if (ref != NULL) {
		*out = ref;
		return 0;
	}
	rc = rag_name_check(name, strlen(name), err);
	if (rc < 0)
		return rc;
	if (fstatat(k->st.rag, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? err_set(err, ENOENT,
					 "index \"%s\" not found; index a folder first", name)
			       : err_sys(err, "cannot look at index \"%s\"", name);
	pthread_mutex_lock(&k->lock);
	ref = index_find(k, name, &st);
	if (ref != NULL)
		ref->users++;
	pthread_mutex_unlock(&k->lock);
	if (ref != NULL && rag_is_current(k->st.rag, ref->ix)) {
		*out = ref;
		return 0;
	}
	/* a folder made later can have the number of one that is gone, and another program writes
	 * its index.json in place */
	if (ref != NULL) {
		index_drop(k, ref);
		index_put(k, ref);
	}
	rc = index_open(k, name, &st, out, err);
	return rc == -EUCLEAN ? index_spare(k, name, &st, out, err) : rc;
}

void indexes_settle(struct kolm *k)
{
	struct index_ref *ref, *next;

	pthread_mutex_lock(&k->lock);
	ref = k->indexes;
	if (ref != NULL)
		ref->users++;
	pthread_mutex_unlock(&k->lock);
	for (; ref != NULL; ref = next) {
		bool is_current = rag_is_current(k->st.rag, ref->ix);

		/* what somebody else took off the list meanwhile does not know the next one */
		pthread_mutex_lock(&k->lock);
		next = ref->stale ? NULL : ref->next;
		if (next != NULL)
			next->users++;
		pthread_mutex_unlock(&k->lock);
		if (!is_current)
			index_drop(k, ref);
		index_put(k, ref);
	}
}

/* what ${fn} makes of the index; of its index.json, when it meets damage */
static int read_index(struct kolm *k, const char *index, struct index_ref *ref, kolm_index_fn *fn,
	void *arg, struct buf *out, struct err *err)
{
	struct index_ref *spare;
	size_t before = out->len;
	int rc = fn(ref->ix, arg, out, err);

	if (rc == -EUCLEAN && ref->damage[0] == '\0') {
		struct stat st = {.st_dev = ref->dev, .st_ino = ref->ino};

		index_drop(k, ref);
		rc = index_spare(k, index, &st, &spare, err);
		if (rc == 0) {
			out->len = before;
			rc = fn(spare->ix, arg, out, err);
			index_put(k, spare);
		}
	}
	return rc;
}

int kolm_index_read(struct kolm *k, const char *index, kolm_index_fn *fn, void *arg,
	struct buf *out, struct err *err)
{
	struct index_ref *ref = NULL;
	int rc = index_get(k, index, &ref, err);

	if (rc < 0)
		return rc;
	rc = read_index(k, index, ref, fn, arg, out, err);
	index_put(k, ref);
	return rc;
}

static int answer(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	return rag_answer(ix, arg, out, err);
}

int kolm_query(struct kolm *k, const char *index, const struct rag_request *rq, struct buf *out,
	struct err *err)
{
	struct index_ref *ref = NULL;
	size_t before = out->len;
	int rc = index_get(k, index, &ref, err);

	if (rc < 0)
		return rc;
	if (ref->answers == NULL || !answers_find(ref->answers, rq, out)) {
		rc = read_index(k, index, ref, answer, (void *)(uintptr_t)rq, out, err);
		if (rc == 0 && ref->answers != NULL && !out->failed)
			answers_keep(ref->answers, rq, buf_str(out) + before, out->len - before);
	}
	index_put(k, ref);
	return rc;
}

int kolm_index_damage(struct kolm *k, const char *index, struct buf *out)
{
	struct stat st;
	int rc = 0;

	if (fstatat(k->st.rag, index, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	pthread_mutex_lock(&k->lock);
	for (const struct index_ref *ref = k->indexes; ref != NULL; ref = ref->next)
		if (strcmp(ref->name, index) == 0 && ref->dev == st.st_dev &&
			ref->ino == st.st_ino && ref->damage[0] != '\0') {
			if (out != NULL)
				(void)buf_puts(out, ref->damage);
			rc = 1;
			break;
		}
	pthread_mutex_unlock(&k->lock);
	return rc;
}
