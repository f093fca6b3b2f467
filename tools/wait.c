/*
 * wait - the end of a job, with a line that shows how far it is on a terminal.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

enum { BAR_COLUMNS = 24 };

struct waiting {
	struct cli *c;
	const char *slug;
	uint64_t id;
	bool is_drawn, is_cancelled;
};

static void draw(struct waiting *w, const char *progress)
{
	unsigned long long done, of;
	char rest[64];

	if (!isatty(STDERR_FILENO))
		return;
	/* "DONE OF UNIT", and what else the job tells: MB/s, time left */
	if (sscanf(progress, "%llu %llu %63[^\n]", &done, &of, rest) == 3) {
		unsigned long long full = of ? done * BAR_COLUMNS / of : 0;

		fprintf(stderr, "\r\033[K[");
		for (unsigned long long i = 0; i < BAR_COLUMNS; i++)
			fputc(i < full ? '#' : '.', stderr);
		fprintf(stderr, "] %llu of %llu %s", done, of, rest);
	} else
		fprintf(stderr, "\r\033[Kworking");
	fflush(stderr);
	w->is_drawn = true;
}

static void tick(void *arg, const char *progress)
{
	struct waiting *w = arg;

	if (interrupted() && !w->is_cancelled) {
		w->is_cancelled = true;
		(void)loop_cancel(w->c->k, w->slug, w->id, &w->c->by, NULL);
	}
	draw(w, progress);
}

static int outcome(const struct job_record *jr, struct err *err)
{
	char name[40];

	if (jr->outcome == JOB_OK)
		return 0;
	if (jr->outcome == JOB_GATE) {
		(void)err_set(err, ERANGE, "%s", jr->error);
		return err_code(err, "K_GATE");
	}
	(void)err_set(err, jr->outcome == JOB_CANCELLED ? ECANCELED : EIO, "%s",
		jr->error[0] != '\0' ? jr->error : job_outcome_name(jr->outcome, jr->signal, name));
	return -err->no;
}

int job_finish(struct cli *c, const char *slug, uint64_t id, struct job_record *jr, struct err *err)
{
	struct waiting w = {.c = c, .slug = slug, .id = id};
	int rc;

	interrupts_catch();
	rc = kolm_job_wait(c->k, slug, id, tick, &w, jr, err);
	if (w.is_drawn)
		fprintf(stderr, "\r\033[K");
	return rc < 0 ? rc : outcome(jr, err);
}
