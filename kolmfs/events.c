/*
 * events - see events.h. What is found stays until the server ends: who reads one slug's lines does
 * not wait for another's.
 */
#include "events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/slug_log.h"

struct found {
	char slug[SLUG_BYTES + 1];
	pthread_mutex_t lock;
	struct slug_log *lines; /* under it */
	struct found *next;
};

struct events {
	pthread_mutex_t lock;
	struct found *first;
};

int events_new(struct events **out, struct err *err)
{
	struct events *es = calloc(1, sizeof(*es));

	if (!es)
		return err_nomem(err);
	pthread_mutex_init(&es->lock, NULL);
	*out = es;
	return 0;
}

void events_free(struct events *es)
{
	struct found *fo, *next;

	if (!es)
		return;
	for (fo = es->first; fo; fo = next) {
		next = fo->next;
		slug_log_free(fo->lines);
		pthread_mutex_destroy(&fo->lock);
		free(fo);
	}
	pthread_mutex_destroy(&es->lock);
	free(es);
}

/* under the lock */
static struct found *add(struct events *es, const char *slug, struct err *err)
{
	struct found *fo = calloc(1, sizeof(*fo));

	if (!fo || slug_log_new(slug, &fo->lines, err) < 0) {
		free(fo);
		(void)err_nomem(err);
		return NULL;
	}
	snprintf(fo->slug, sizeof(fo->slug), "%s", slug);
	pthread_mutex_init(&fo->lock, NULL);
	fo->next = es->first;
	es->first = fo;
	return fo;
}

/* the slug's, locked; NULL when memory is short */
static struct found *take(struct events *es, const char *slug, struct err *err)
{
	struct found *fo;

	pthread_mutex_lock(&es->lock);
	fo = es->first;
	while (fo && strcmp(fo->slug, slug) != 0)
		fo = fo->next;
	if (!fo)
		fo = add(es, slug, err);
	pthread_mutex_unlock(&es->lock);
	if (fo)
		pthread_mutex_lock(&fo->lock);
	return fo;
}

int events_length(struct server *sv, const struct place *at, uint64_t *len, struct timespec *grown,
	struct err *err)
{
	struct found *fo = take(sv->events, at->slug, err);
	int rc;

	if (!fo)
		return err_nomem(err);
	rc = slug_log_look(fo->lines, sv->st, len, grown, err);
	pthread_mutex_unlock(&fo->lock);
	return rc;
}

int events_read(struct server *sv, const struct place *at, uint64_t off, size_t size,
	struct buf *out, struct err *err)
{
	struct found *fo = take(sv->events, at->slug, err);
	int rc;

	if (!fo)
		return err_nomem(err);
	rc = slug_log_read(fo->lines, sv->st, off, size, out, err);
	pthread_mutex_unlock(&fo->lock);
	return rc;
}
