/*
 * opens - see opens.h.
 */
#include "opens.h"

#include <errno.h>
#include <stdlib.h>

enum { OPEN_MAX_FILES = 100000 };

struct opens {
	pthread_mutex_t lock;
	struct open *first;
	size_t n;
};

int opens_new(struct opens **out, struct err *err)
{
	struct opens *os = calloc(1, sizeof(*os));

	if (!os)
		return err_nomem(err);
	pthread_mutex_init(&os->lock, NULL);
	*out = os;
	return 0;
}

int opens_add(struct server *sv, struct open *o, struct err *err)
{
	struct opens *os = sv->opens;
	bool is_full;

	pthread_mutex_lock(&os->lock);
	is_full = os->n >= OPEN_MAX_FILES;
	if (!is_full) {
		o->prev = NULL;
		o->next = os->first;
		if (os->first)
			os->first->prev = o;
		os->first = o;
		os->n++;
	}
	pthread_mutex_unlock(&os->lock);
	return is_full ? err_set(err, ENFILE, "more than %d files are open", OPEN_MAX_FILES) : 0;
}

void opens_remove(struct server *sv, struct open *o)
{
	struct opens *os = sv->opens;

	pthread_mutex_lock(&os->lock);
	*(o->prev ? &o->prev->next : &os->first) = o->next;
	if (o->next)
		o->next->prev = o->prev;
	os->n--;
	pthread_mutex_unlock(&os->lock);
}

void opens_each(struct server *sv, bool (*want)(void *arg, const struct open *o),
	void (*fn)(void *arg, struct open *o), void *arg)
{
	struct opens *os = sv->opens;
	struct open **found = NULL;
	size_t n = 0;

	pthread_mutex_lock(&os->lock);
	if (os->n)
		found = malloc(os->n * sizeof(*found));
	for (struct open *o = os->first; found && o; o = o->next)
		if (want(arg, o))
			found[n++] = open_get(o);
	pthread_mutex_unlock(&os->lock);
	for (size_t i = 0; i < n; i++) {
		fn(arg, found[i]);
		open_put(found[i]);
	}
	free(found);
}

void opens_free(struct server *sv)
{
	struct opens *os = sv->opens;
	struct open *o;

	if (!os)
		return;
	while ((o = os->first)) {
		opens_remove(sv, o);
		open_put(o);
	}
	pthread_mutex_destroy(&os->lock);
	free(os);
	sv->opens = NULL;
}
