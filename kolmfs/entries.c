/*
 * entries - see entries.h.
 */
#include "entries.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

struct kept {
	struct artifact *af; /* owned */
	unsigned users;	     /* under entries.lock; one of them is the table */
	char slug[SLUG_BYTES + 1];
	char stamp[STAMP_BYTES];
};

struct entries {
	pthread_mutex_t lock;
	struct kept *last;
};

int entries_new(struct entries **out, struct err *err)
{
	struct entries *es = calloc(1, sizeof(*es));

	if (!es)
		return err_nomem(err);
	pthread_mutex_init(&es->lock, NULL);
	*out = es;
	return 0;
}

static void free_kept(struct kept *kp)
{
	artifact_free(kp->af);
	free(kp);
}

void entries_free(struct entries *es)
{
	if (!es)
		return;
	if (es->last)
		free_kept(es->last);
	pthread_mutex_destroy(&es->lock);
	free(es);
}

void entries_put(struct server *sv, struct kept *kp)
{
	bool is_last;

	pthread_mutex_lock(&sv->entries->lock);
	is_last = --kp->users == 0;
	pthread_mutex_unlock(&sv->entries->lock);
	if (is_last)
		free_kept(kp);
}

static struct kept *find(struct entries *es, const char *slug, const char *stamp)
{
	struct kept *kp;

	pthread_mutex_lock(&es->lock);
	kp = es->last;
	if (kp && strcmp(kp->slug, slug) == 0 && strcmp(kp->stamp, stamp) == 0)
		kp->users++;
	else
		kp = NULL;
	pthread_mutex_unlock(&es->lock);
	return kp;
}

static void keep(struct server *sv, struct kept *kp)
{
	struct kept *old;

	pthread_mutex_lock(&sv->entries->lock);
	old = sv->entries->last;
	sv->entries->last = kp;
	kp->users++;
	pthread_mutex_unlock(&sv->entries->lock);
	if (old)
		entries_put(sv, old);
}

int entries_get(struct server *sv, const struct place *at, struct kept **out, struct err *err)
{
	char stamp[STAMP_BYTES];
	struct kept *kp;
	int rc = entry_stamp(sv, at, stamp, err);

	if (rc < 0)
		return rc;
	*out = find(sv->entries, at->slug, stamp);
	if (*out)
		return 0;
	kp = calloc(1, sizeof(*kp));
	if (!kp)
		return err_nomem(err);
	rc = kolm_artifact_open(sv->k, at->slug, &kp->af, err);
	if (rc < 0) {
		free(kp);
		return rc;
	}
	kp->users = 1;
	snprintf(kp->slug, sizeof(kp->slug), "%s", at->slug);
	snprintf(kp->stamp, sizeof(kp->stamp), "%s", stamp);
	keep(sv, kp);
	*out = kp;
	return 0;
}

const struct artifact *entries_artifact(const struct kept *kp)
{
	return kp->af;
}
