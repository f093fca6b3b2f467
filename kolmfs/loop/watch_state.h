/*
 * watch_state - what the watch decides for one slug, apart from how it looks and acts: no clock, no
 * file, no thread. watch.c runs it over the store, tests/fault/watch-sim.c over a simulated one.
 */
#ifndef KOLM_WATCH_STATE_H
#define KOLM_WATCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct err;

enum { WATCH_RETRY_MS = 60000, WATCH_RETRY_MAX_MS = 16 * WATCH_RETRY_MS };

/* what a count depends on; equal stamps, equal counts */
struct watch_stamp {
	int64_t part[5];
};

/* zero at the start and while the watch is off; a restart may forget it at any moment */
struct watch_state {
	bool on;	/* watch_started was said */
	bool counted;	/* ${fresh} and ${rows} are those of ${stamp} */
	bool triggered; /* step_triggered was said of a cycle that has not begun yet */
	struct watch_stamp stamp;
	uint64_t fresh, rows;
	uint64_t job;	   /* the cycle it started and has not seen end */
	unsigned failures; /* one after the other */
	int64_t retry_at;  /* not before */
	bool sleeps;	   /* after watch_look(): only a change of the slug's files can give it
			      something to do, neither the clock nor the end of a job */
};

struct watch_seen {
	int64_t now; /* ms; a clock that steps costs at most WATCH_RETRY_MAX_MS */
	uint64_t threshold;
	bool busy;	/* the slug has a job, whoever began it */
	bool is_over;	/* ${job} is */
	bool is_failed; /* and neither promoted nor refused at the gate */
	struct watch_stamp stamp;
};

enum watch_act { WATCH_REST, WATCH_COUNT, WATCH_SAY_STARTED, WATCH_SAY_TRIGGERED, WATCH_BEGIN };

/* watch_next(w, seen): what to do now. The result of any act but WATCH_REST goes to
 * watch_did(). After WATCH_REST, WATCH_BEGIN and a failure there is nothing to do before the next
 * look; else this is asked again. */
enum watch_act watch_next(struct watch_state *w, const struct watch_seen *seen);

/* watch_did(w, seen, act, rc): ${act} returned ${rc}. -EBUSY is looked at again at the next look,
 * any other failure after a while: WATCH_RETRY_MS, twice that each time it happens again, at most
 * WATCH_RETRY_MAX_MS. */
void watch_did(struct watch_state *w, const struct watch_seen *seen, enum watch_act act, int rc);

/* how the watch reaches the world; each returns 0 or a negative errno */
struct watch_effects {
	int (*see)(void *arg, uint64_t job, struct watch_seen *seen, struct err *err);
	int (*count)(void *arg, uint64_t *fresh, uint64_t *rows, struct err *err);
	int (*say_started)(void *arg, uint64_t rows, struct err *err);
	int (*say_triggered)(void *arg, uint64_t rows, struct err *err);
	int (*begin)(void *arg, uint64_t *job, struct err *err);
};

/* watch_look(w, fx, arg, err): one look and what follows from it. Returns what the act that failed
 * did, 0 when none. */
int watch_look(struct watch_state *w, const struct watch_effects *fx, void *arg, struct err *err);

#endif
