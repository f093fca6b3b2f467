/*
 * watch-sim SEED FIRST COUNT STEPS - the watch's decisions (kolmfs/loop/watch_state.c, the code the
 * server runs) over a simulated store and clock, COUNT worlds of STEPS random steps each, numbered
 * from FIRST; as the server's, it looks when something changed or it does not sleep. Rows come,
 * cycles fail, are refused or promoted, effects fail, the server is killed between any two effects,
 * the clock steps, the watch is switched. The first world that breaks a rule is named with the
 * command that plays it again.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/watch_state.h"

enum { ROWS_MAX = 40000, LOOK_MS = 1000, FILES = 6 };
enum phase { NONE, STEPPING, EVALUATING };
enum outcome { GOOD, REFUSED, FAILED };

struct world {
	uint64_t random;
	/* the disk */
	bool teaches[ROWS_MAX];
	unsigned taught[ROWS_MAX];
	size_t rows, trained; /* where the rows of the newest revision end */
	uint64_t revisions, threshold;
	bool on;
	/* the one job a slug can have */
	enum phase phase;
	uint64_t job, jobs;
	size_t from, frozen;
	enum outcome last; /* of the watch's own */
	bool watchs;	   /* it was begun by the watch, which has not forgotten it */
	/* the server */
	struct watch_state state;
	uint64_t files[FILES]; /* what has_changed() saw at the last look */
	bool again;	       /* one more look, whatever the files say */
	int64_t now;
	/* the faults */
	bool faults;
	int kill_in; /* effects; -1 never */
	jmp_buf killed;
	/* what the rules are checked with */
	bool saw_busy, said;
	int64_t failed_at; /* -1: none since the start, a toggle or a step of the clock */
	uint64_t begun, refused, promoted, failed, kills;
	const char *broken;
};

static uint64_t draw(struct world *w)
{
	w->random += 0x9e3779b97f4a7c15u;
	uint64_t z = w->random;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static bool chance(struct world *w, unsigned percent)
{
	return draw(w) % 100 < percent;
}

static void rule(struct world *w, bool holds, const char *text)
{
	if (!holds && w->broken == NULL)
		w->broken = text;
}

static uint64_t fresh_rows(const struct world *w)
{
	uint64_t n = 0;

	for (size_t i = w->trained; i < w->rows; i++)
		n += w->teaches[i];
	return n;
}

static void append(struct world *w, unsigned max)
{
	for (uint64_t n = 1 + draw(w) % max; n > 0 && w->rows < ROWS_MAX; n--)
		w->teaches[w->rows++] = !chance(w, 20);
}

/* ---- the effects ---- */

/* before each: the server may die here, the effect may fail, and others go on working */
static int happens(struct world *w, struct err *err)
{
	(void)err;
	if (w->kill_in > 0 && --w->kill_in == 0)
		longjmp(w->killed, 1);
	if (!w->faults)
		return 0;
	if (chance(w, 5))
		append(w, 5);
	if (!chance(w, 6))
		return 0;
	w->failed_at = w->now;
	return -EIO;
}

static int see(void *arg, uint64_t job, struct watch_seen *seen, struct err *err)
{
	struct world *w = arg;

	if (w->kill_in > 0 && --w->kill_in == 0)
		longjmp(w->killed, 1);
	(void)err;
	seen->now = w->now;
	seen->threshold = w->threshold;
	seen->busy = w->saw_busy = w->phase != NONE;
	if (job != 0 && w->phase == NONE) {
		seen->is_over = true;
		seen->is_failed = w->last == FAILED;
	}
	seen->stamp.part[0] = (int64_t)w->rows;
	seen->stamp.part[3] = (int64_t)w->revisions;
	return 0;
}

static int count(void *arg, uint64_t *fresh, uint64_t *rows, struct err *err)
{
	struct world *w = arg;
	int rc = happens(w, err);

	if (rc < 0)
		return rc;
	*fresh = fresh_rows(w);
	*rows = w->rows;
	return 0;
}

static int say_started(void *arg, uint64_t rows, struct err *err)
{
	struct world *w = arg;

	rule(w, !w->state.on, "watch_started is said once");
	rule(w, rows <= w->rows, "watch_started tells of rows there are");
	return happens(w, err);
}

static int say_triggered(void *arg, uint64_t rows, struct err *err)
{
	struct world *w = arg;
	int rc;

	rule(w, rows <= w->rows, "step_triggered tells of rows there are");
	rule(w, !w->said, "step_triggered is said once of a cycle");
	rc = happens(w, err);
	w->said = rc == 0;
	return rc;
}

static int begin(void *arg, uint64_t *job, struct err *err)
{
	struct world *w = arg;
	int rc;

	rule(w, w->on, "no cycle while the watch is off");
	rule(w, !w->saw_busy, "no cycle is tried while the slug has a job");
	rule(w, w->said, "a cycle is announced");
	rule(w, fresh_rows(w) >= w->threshold, "no cycle without enough fresh rows");
	rule(w, w->failed_at < 0 || w->now - w->failed_at >= WATCH_RETRY_MS,
		"after a failure it waits");
	rc = happens(w, err);
	if (rc < 0)
		return rc;
	if (w->faults && chance(w, 8)) { /* another process was first */
		w->phase = STEPPING;
		w->from = w->trained;
		w->frozen = w->rows;
		w->watchs = false;
	}
	if (w->phase != NONE)
		return -EBUSY;
	w->phase = STEPPING;
	w->from = w->trained;
	w->frozen = w->rows;
	w->watchs = true;
	w->said = false;
	w->failed_at = -1;
	w->begun++;
	*job = w->job = ++w->jobs;
	/* it is accepted, and the server does not live to know */
	if (w->kill_in > 0 && --w->kill_in == 0)
		longjmp(w->killed, 1);
	return 0;
}

/* ---- the world goes on ---- */

static void over(struct world *w, enum outcome outcome)
{
	w->phase = NONE;
	if (w->watchs)
		w->last = outcome;
	w->failed += outcome == FAILED;
	w->refused += outcome == REFUSED;
	w->promoted += outcome == GOOD;
	if (w->watchs && outcome == FAILED)
		w->failed_at = w->now;
}

static void job_goes_on(struct world *w)
{
	if (w->phase == NONE)
		return;
	if (w->faults && chance(w, 15)) {
		over(w, FAILED);
	} else if (w->phase == STEPPING) {
		rule(w, w->from == w->trained, "nobody trained meanwhile: one cycle at a time");
		for (size_t i = w->from; i < w->frozen; i++)
			w->taught[i]++;
		w->trained = w->frozen;
		w->revisions++;
		w->phase = EVALUATING;
	} else {
		over(w, chance(w, 40) ? REFUSED : GOOD);
	}
}

/* the process is gone with all it knew; the next one queues the step again, or cannot */
static void server_dies(struct world *w)
{
	w->kills++;
	w->state = (struct watch_state){0};
	w->again = true;
	w->said = false;
	w->failed_at = -1;
	w->kill_in = -1;
	w->watchs = false;
	if (w->phase != NONE && chance(w, 30))
		over(w, FAILED);
}

/* what the kernel tells of: captures, revisions, configuration, journal */
static bool has_changed(struct world *w)
{
	const uint64_t is[FILES] = {
		w->rows, w->revisions, w->threshold, w->on, w->jobs, (uint64_t)w->phase};
	bool has = memcmp(w->files, is, sizeof(is)) != 0;

	memcpy(w->files, is, sizeof(is));
	return has;
}

static void look(struct world *w)
{
	static const struct watch_effects fx = {see, count, say_started, say_triggered, begin};
	bool is_due = has_changed(w) || w->again;

	if (!is_due)
		return;
	w->again = false;
	if (setjmp(w->killed) != 0) {
		server_dies(w);
		return;
	}
	if (w->on) {
		(void)watch_look(&w->state, &fx, w, NULL);
		w->again = !w->state.sleeps;
	} else {
		w->state = (struct watch_state){0};
		w->said = w->watchs = false;
		w->failed_at = -1;
	}
	if (w->state.counted && w->state.fresh < w->threshold)
		w->said = false; /* what was announced was taken away */
	rule(w, w->state.failures < 1000, "failures are counted");
	rule(w, w->state.retry_at - w->now <= WATCH_RETRY_MAX_MS,
		"no wait is longer than the longest");
}

static void fault(struct world *w)
{
	switch (draw(w) % 12) {
	case 0:
		w->kill_in = 1 + (int)(draw(w) % 6);
		break;
	case 1:
		server_dies(w);
		break;
	case 2: /* back or forward, up to a day */
		w->now += (int64_t)(draw(w) % 172800000) - 86400000;
		w->failed_at = -1;
		break;
	case 3:
		w->on = !w->on;
		break;
	case 4:
		w->threshold = 1 + draw(w) % 60;
		break;
	case 5: /* a step asked for by a person */
		if (w->phase == NONE && fresh_rows(w) > 0) {
			w->phase = STEPPING;
			w->from = w->trained;
			w->frozen = w->rows;
			w->watchs = false;
		}
		break;
	default:
		append(w, 20);
		break;
	}
}

static void time_goes_on(struct world *w)
{
	w->now += LOOK_MS;
	if (w->faults && chance(w, 20))
		w->now += (int64_t)(draw(w) % (2 * WATCH_RETRY_MAX_MS));
}

/* no more faults: what waits to be trained is trained, and then there is rest */
static void calm(struct world *w)
{
	const int looks = 3 * WATCH_RETRY_MAX_MS / LOOK_MS;
	uint64_t begun;
	int i = 0;

	w->faults = false;
	w->kill_in = -1;
	w->on = true;
	while (w->rows < ROWS_MAX && fresh_rows(w) < w->threshold)
		append(w, 5);
	for (; i < looks && (fresh_rows(w) >= w->threshold || w->phase != NONE); i++) {
		look(w);
		job_goes_on(w);
		time_goes_on(w);
	}
	rule(w, i < looks, "when the faults stop, the rows that wait are trained");
	begun = w->begun;
	for (i = 0; i < 200; i++) {
		look(w);
		job_goes_on(w);
		w->now += WATCH_RETRY_MS;
	}
	rule(w, w->begun == begun,
		"the same rows do not begin another cycle, whatever the gate said");
	rule(w, w->state.counted && w->state.fresh == fresh_rows(w), "the count is right");
}

static void play(struct world *w, uint64_t seed, uint64_t number, int steps)
{
	memset(w, 0, sizeof(*w));
	w->random = seed * 0x9e3779b97f4a7c15u + number;
	w->threshold = 1 + draw(w) % 60;
	w->now = 100000000000 + (int64_t)(draw(w) % 1000000000);
	w->failed_at = w->kill_in = -1;
	w->on = w->faults = w->again = true;
	for (int i = 0; i < steps && w->broken == NULL; i++) {
		fault(w);
		look(w);
		if (chance(w, 50))
			job_goes_on(w);
		time_goes_on(w);
	}
	calm(w);
	for (size_t i = 0; i < w->rows; i++)
		rule(w, w->taught[i] == (i < w->trained), "each row is in one revision, or waits");
}

int main(int argc, char **argv)
{
	uint64_t seed, first, n, begun = 0, refused = 0, failed = 0, kills = 0, promoted = 0;
	static struct world w;

	if (argc != 5)
		return 2;
	seed = strtoull(argv[1], NULL, 10);
	first = strtoull(argv[2], NULL, 10);
	n = strtoull(argv[3], NULL, 10);
	for (uint64_t i = first; i < first + n; i++) {
		play(&w, seed, i, atoi(argv[4]));
		if (w.broken != NULL) {
			printf("broken: %s\nagain: %s %" PRIu64 " %" PRIu64 " 1 %s\n", w.broken,
				argv[0], seed, i, argv[4]);
			return 1;
		}
		begun += w.begun;
		refused += w.refused;
		promoted += w.promoted;
		failed += w.failed;
		kills += w.kills;
	}
	if (n >= 100 &&
		(begun == 0 || refused == 0 || promoted == 0 || failed == 0 || kills == 0)) {
		printf("broken: something never happened\n");
		return 1;
	}
	printf("watch-sim: %" PRIu64 " worlds of %s steps, %" PRIu64 " cycles, %" PRIu64
	       " promoted, %" PRIu64 " refused, %" PRIu64 " failed, %" PRIu64
	       " kills (seed %" PRIu64 ")\n",
		n, argv[4], begun, promoted, refused, failed, kills, seed);
	return 0;
}
