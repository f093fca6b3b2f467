/*
 * notes - what this process remembers of each slug: whether rows were appended that are not on the
 * disk yet, how many of them teach, and the newest job.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/private.h"
#include "store/tally.h"

/* under k->lock; NULL when there is none and none is to be made, or memory is short */
static struct slug_note *note_of(struct kolm *k, const char *slug, bool make)
{
	struct slug_note *n;

	for (n = k->notes; n != NULL; n = n->next)
		if (strcmp(n->slug, slug) == 0)
			return n;
	n = make ? calloc(1, sizeof(*n)) : NULL;
	if (n != NULL) {
		(void)snprintf(n->slug, sizeof(n->slug), "%s", slug);
		pthread_mutex_init(&n->counting, NULL);
		n->next = k->notes;
		k->notes = n;
	}
	return n;
}

void note_unsynced(struct kolm *k, const char *slug)
{
	struct slug_note *n;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, true);
	if (n != NULL)
		n->unsynced = true;
	pthread_mutex_unlock(&k->lock);
	if (k->eye != NULL)
		eye_poke(k->eye);
}

static void note_failed(struct kolm *k, const char *slug, int no)
{
	struct slug_note *n;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, true);
	if (n != NULL)
		n->failed = no;
	pthread_mutex_unlock(&k->lock);
}

int loop_capture_sync(struct kolm *k, const char *slug, struct err *err)
{
	struct slug_note *n;
	struct tune tn;
	int failed = 0, rc;

	/* before the attempt: what is appended during it is not promised */
	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, false);
	if (n != NULL)
		n->unsynced = false;
	pthread_mutex_unlock(&k->lock);
	rc = tune_open(&k->st, slug, &tn, err);
	if (rc == 0) {
		rc = captures_sync(&tn, err);
		tune_close(&tn);
	}
	/* the kernel tells of a page it could not write once, and the thread that syncs by itself
	 * may have been the one it told */
	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, false);
	if (n != NULL) {
		failed = n->failed;
		n->failed = 0;
	}
	pthread_mutex_unlock(&k->lock);
	if (rc == 0 && failed != 0)
		rc = err_set(err, failed, "could not make it durable; not counted as done");
	return rc;
}

void captures_settle(struct kolm *k)
{
	for (;;) {
		char slug[SLUG_BYTES + 1] = "";
		struct err err = ERR_NONE;
		struct tune tn;

		pthread_mutex_lock(&k->lock);
		for (struct slug_note *n = k->notes; n != NULL && slug[0] == '\0'; n = n->next)
			if (n->unsynced) {
				n->unsynced = false;
				memcpy(slug, n->slug, sizeof(slug));
			}
		pthread_mutex_unlock(&k->lock);
		if (slug[0] == '\0')
			return;
		if (tune_open(&k->st, slug, &tn, &err) == 0) {
			if (captures_sync(&tn, &err) < 0)
				note_failed(k, slug, err.no);
			tune_close(&tn);
		} else if (err.no != ENOENT) { /* what is there is not known to be durable */
			note_failed(k, slug, err.no);
		}
	}
}

bool note_last(struct kolm *k, const char *slug, const struct stat *st, struct job_record *out)
{
	const struct slug_note *n;
	bool is_same;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, false);
	is_same = n != NULL && n->journal.st_ino == st->st_ino && n->journal.st_dev == st->st_dev &&
		  n->journal.st_size == st->st_size &&
		  n->journal.st_mtim.tv_sec == st->st_mtim.tv_sec &&
		  n->journal.st_mtim.tv_nsec == st->st_mtim.tv_nsec;
	if (is_same)
		*out = n->last;
	pthread_mutex_unlock(&k->lock);
	return is_same;
}

void note_last_set(
	struct kolm *k, const char *slug, const struct stat *st, const struct job_record *jr)
{
	struct slug_note *n;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, true);
	if (n != NULL) {
		n->journal = *st;
		n->last = *jr;
	}
	pthread_mutex_unlock(&k->lock);
}

int captures_tally(struct kolm *k, const char *slug, int cap, uint64_t from,
	const struct artifact *af, struct tally_counts *out, struct err *err)
{
	struct json_slice *cases = NULL;
	struct slug_note *n;
	size_t ncases = 0;
	int rc = 0;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, true);
	pthread_mutex_unlock(&k->lock);
	if (n == NULL)
		return err_nomem(err);
	if (af != NULL) {
		cases = case_inputs(af, &ncases);
		if (cases == NULL)
			return err_nomem(err);
	}
	pthread_mutex_lock(&n->counting);
	if (n->tally == NULL)
		rc = tally_new(&n->tally, err);
	if (rc == 0)
		rc = tally_count(n->tally, cap, from, cases, ncases, out, err);
	pthread_mutex_unlock(&n->counting);
	free(cases);
	return rc;
}

void note_gone(struct kolm *k, const char *slug)
{
	struct slug_note *n;

	pthread_mutex_lock(&k->lock);
	n = note_of(k, slug, false);
	pthread_mutex_unlock(&k->lock);
	if (n == NULL)
		return;
	pthread_mutex_lock(&n->counting);
	tally_free(n->tally);
	n->tally = NULL;
	pthread_mutex_unlock(&n->counting);
}

void notes_free(struct kolm *k)
{
	for (struct slug_note *n = k->notes, *next; n != NULL; n = next) {
		next = n->next;
		tally_free(n->tally);
		pthread_mutex_destroy(&n->counting);
		free(n);
	}
}
