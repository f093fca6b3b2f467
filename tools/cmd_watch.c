/*
 * cmd_watch - `kolm tune watch`: where no server runs on the store, this loop does what the
 * server's watch does; where one runs, its lines are shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "store/log_tail.h"
#include "tools/cli.h"

enum { INTERVAL_MS = 30000, INTERVAL_MS_MIN = 10, INTERVAL_MS_MAX = 86400000, FOLLOW_MS = 1000 };

struct watch {
	struct cli *c;
	char slug[SLUG_BYTES + 1];
	int64_t interval_ms;
	struct tails *tails;
	struct follower at; /* what was printed of the log */
	bool retry;	    /* the last cycle failed: its rows are still untrained */
};

static int note(struct watch *w, struct err *err, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int note(struct watch *w, struct err *err, const char *event, const char *fmt, ...)
{
	char fields[512];
	struct log_entry entry = {
		.event = event, .fields = fields, .slug = w->slug, .by = &w->c->by};
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(fields, sizeof(fields), fmt, ap);
	va_end(ap);
	return log_append(kolm_store(w->c->k), &entry, err);
}

/* what the log of this slug gained since the last look */
static int show_log(struct watch *w, struct err *err)
{
	struct buf line = BUF_INIT;
	int rc;

	while ((rc = follower_next(w->tails, &w->at, w->slug, &line, err)) > 0) {
		say_safe(stdout, line.data, line.len - 1);
		putchar('\n');
		buf_reset(&line);
	}
	if (rc == 0 && fflush(stdout) != 0)
		rc = err_sys(err, "cannot write to standard output");
	buf_release(&line);
	return rc;
}

/* until the time is over or somebody interrupts */
static void pause_ms(int64_t ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* a server holds the lock as long as it lives; a shared try does not disturb it */
static bool server_runs(const struct store *st)
{
	int fd = openat(st->dir, ".lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool runs = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return runs;
}

static int threshold_of(struct watch *w, int *rows, bool *on, struct err *err)
{
	struct config cf;
	int rc = config_of(kolm_store(w->c->k), w->slug, &cf, err);

	if (rc < 0)
		return rc;
	*rows = cf.threshold_rows;
	*on = cf.watch_on;
	config_release(&cf);
	return 0;
}

static int follow(struct watch *w, bool on, struct err *err)
{
	int rc = 0;

	printf("a server runs on this store%s; following %s\n",
		on ? " and watches" : ", its watch of this slug is off (echo watch on > ctl)",
		w->slug);
	while (rc == 0 && !interrupted()) {
		pause_ms(w->interval_ms < FOLLOW_MS ? w->interval_ms : FOLLOW_MS);
		rc = show_log(w, err);
	}
	return rc;
}

/* step, eval, gated promote; what went wrong is in the log and on the terminal, the watch goes on
 */
static int cycle(struct watch *w, uint64_t rows, struct err *err)
{
	struct err why = ERR_NONE;
	struct job_record jr;
	uint64_t id;
	int rc = note(w, err, "step_triggered", "\"captures\":%llu", (unsigned long long)rows);

	if (rc < 0)
		return rc;
	rc = loop_cycle(w->c->k, w->slug, &w->c->by, &id, &why);
	if (rc == 0)
		rc = job_finish(w->c, w->slug, id, &jr, &why);
	if (rc < 0) {
		fputs("warning: ", stderr);
		say_text(stderr, why.text);
		fputc('\n', stderr);
	}
	/* a refused gate is an answer: its rows were trained on */
	w->retry = rc < 0 && strcmp(why.code, "K_GATE") != 0;
	return 0;
}

static int look(struct watch *w, struct err *err)
{
	struct err why = ERR_NONE;
	uint64_t fresh = 0, rows = 0;
	int threshold, rc;
	bool on;

	rc = threshold_of(w, &threshold, &on, &why);
	if (rc == 0)
		rc = loop_fresh(w->c->k, w->slug, &fresh, &rows, &why);
	if (rc < 0)
		rc = note(w, err, "tick_error", "\"error\":\"%s\"", err_name(why.no));
	else if (fresh >= (uint64_t)threshold)
		rc = cycle(w, rows, err);
	return rc < 0 ? rc : show_log(w, err);
}

static int watch_slug(struct watch *w, struct err *err)
{
	const struct store *st = kolm_store(w->c->k);
	uint64_t fresh, rows;
	int threshold, rc;
	bool on;

	rc = threshold_of(w, &threshold, &on, err);
	if (rc < 0)
		return rc;
	interrupts_catch();
	rc = follower_begin(w->tails, &w->at, err);
	if (rc < 0)
		return rc;
	if (server_runs(st))
		return follow(w, on, err);
	rc = loop_fresh(w->c->k, w->slug, &fresh, &rows, err);
	if (rc == 0)
		rc = note(w, err, "watch_started", "\"captures\":%llu,\"threshold\":%d",
			(unsigned long long)rows, threshold);
	if (rc == 0)
		printf("watching %s: %llu rows to train on, a step at %d\n", w->slug,
			(unsigned long long)fresh, threshold);
	while (rc == 0 && !interrupted()) {
		rc = look(w, err);
		if (rc == 0 && !interrupted())
			pause_ms(w->retry && w->interval_ms < 60000 ? 60000 : w->interval_ms);
	}
	return rc;
}

int cmd_watch(struct cli *c, struct err *err)
{
	struct watch w = {.c = c, .interval_ms = INTERVAL_MS};
	const char *given = flag_value(c, "--interval");
	int rc;

	if (given != NULL && range_whole("interval", given, INTERVAL_MS_MIN, INTERVAL_MS_MAX,
				     &w.interval_ms, err) < 0)
		return usage_mark(err);
	rc = path_slug(c, w.slug, err);
	if (rc == 0)
		rc = tails_new(kolm_store(c->k), &w.tails, err);
	if (rc == 0)
		rc = watch_slug(&w, err);
	follower_end(&w.at);
	tails_free(w.tails);
	return rc;
}
