/* watch_state - see the header. */
#include "loop/watch_state.h"

#include <errno.h>
#include <string.h>

/* the job it waited for is over: what it taught is to be counted anew */
static void job_over(struct watch_state *w, const struct watch_seen *seen)
{
	w->job = 0;
	w->counted = false;
	if (seen->is_failed)
		watch_did(w, seen, WATCH_REST, -EIO);
	else
		w->failures = 0;
}

enum watch_act watch_next(struct watch_state *w, const struct watch_seen *seen)
{
	if (w->job != 0 && seen->is_over)
		job_over(w, seen);
	if (w->retry_at - seen->now > WATCH_RETRY_MAX_MS)
		w->retry_at = seen->now; /* the clock stepped back */
	if (w->job != 0 || seen->busy || seen->now < w->retry_at)
		return WATCH_REST;
	if (!w->counted || memcmp(&w->stamp, &seen->stamp, sizeof(w->stamp)) != 0)
		return WATCH_COUNT;
	if (!w->on)
		return WATCH_SAY_STARTED;
	if (w->fresh < seen->threshold) {
		w->triggered = false;
		return WATCH_REST;
	}
	return w->triggered ? WATCH_BEGIN : WATCH_SAY_TRIGGERED;
}

void watch_did(struct watch_state *w, const struct watch_seen *seen, enum watch_act act, int rc)
{
	int64_t wait = WATCH_RETRY_MS;

	if (rc < 0) {
		w->counted = false;
		if (rc == -EBUSY)
			return;
		for (unsigned i = 0; i < w->failures && wait < WATCH_RETRY_MAX_MS; i++)
			wait *= 2;
		w->failures++;
		w->retry_at = seen->now + wait;
		return;
	}
	switch (act) {
	case WATCH_COUNT:
		w->counted = true;
		w->stamp = seen->stamp;
		break;
	case WATCH_SAY_STARTED:
		w->on = true;
		break;
	case WATCH_SAY_TRIGGERED:
		w->triggered = true;
		break;
	case WATCH_BEGIN:
		w->triggered = false;
		break;
	case WATCH_REST:
		break;
	}
}

/* what was counted is what was seen, and it is not enough */
static bool sleeps(const struct watch_state *w, const struct watch_seen *seen)
{
	return w->on && w->job == 0 && w->counted && w->fresh < seen->threshold &&
	       memcmp(&w->stamp, &seen->stamp, sizeof(w->stamp)) == 0;
}

int watch_look(struct watch_state *w, const struct watch_effects *fx, void *arg, struct err *err)
{
	struct watch_seen seen = {0};
	enum watch_act act = WATCH_REST;
	int rc = fx->see(arg, w->job, &seen, err);

	w->sleeps = false;
	if (rc < 0)
		return rc;
	/* what was seen of the job before is not true of the one it begins */
	while (rc == 0 && act != WATCH_BEGIN && (act = watch_next(w, &seen)) != WATCH_REST) {
		switch (act) {
		case WATCH_COUNT:
			rc = fx->count(arg, &w->fresh, &w->rows, err);
			break;
		case WATCH_SAY_STARTED:
			rc = fx->say_started(arg, w->rows, err);
			break;
		case WATCH_SAY_TRIGGERED:
			rc = fx->say_triggered(arg, w->rows, err);
			break;
		default:
			rc = fx->begin(arg, &w->job, err);
			break;
		}
		watch_did(w, &seen, act, rc);
	}
	w->sleeps = sleeps(w, &seen);
	return rc;
}
