/* journal - jobs.jsonl and the folders of jobs; see journal.h. */
#include "store/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"
#include "store/private.h"

#define JOURNAL_NAME "jobs.jsonl"
/* JOURNAL_BYTES: it is read whole after each of its changes, a millisecond and a half when it is as
 * long; 64 jobs take a third of it */
enum { JOURNAL_LINE_BYTES = 64 * 1024, JOURNAL_BYTES = 64 << 10, JOBS_SHOWN = 64 };
/* of a job: what JSON carries exactly */
static const int64_t number_max = 9007199254740991;

static const char *const states[] = {
	[JOB_QUEUED] = "queued", [JOB_RUNNING] = "running", [JOB_DONE] = "done"};
static const char *const outcomes[] = {[JOB_OK] = "ok",
	[JOB_FAILED] = "failed",
	[JOB_CANCELLED] = "cancelled",
	[JOB_INTERRUPTED] = "interrupted",
	[JOB_GATE] = "gate",
	[JOB_CRASHED] = "crashed"};

const char *job_outcome_name(enum job_outcome oc, int sig, char out[40])
{
	const char *abbrev = oc == JOB_CRASHED ? sigabbrev_np(sig) : NULL;

	if (abbrev != NULL)
		(void)snprintf(out, 40, "crashed:SIG%s", abbrev);
	else if (oc == JOB_CRASHED)
		(void)snprintf(out, 40, "crashed:%d", sig);
	else
		(void)snprintf(out, 40, "%s", outcomes[oc]);
	return out;
}

static bool outcome_parse(const char *text, enum job_outcome *oc, int *sig)
{
	char name[40];

	for (int i = JOB_OK; i < JOB_CRASHED; i++)
		if (strcmp(text, outcomes[i]) == 0) {
			*oc = (enum job_outcome)i;
			return true;
		}
	for (int i = 0; i < 65; i++)
		if (strcmp(text, job_outcome_name(JOB_CRASHED, i, name)) == 0) {
			*oc = JOB_CRASHED;
			*sig = i;
			return true;
		}
	return false;
}

static int record_render(const struct job_record *jr, struct buf *out)
{
	size_t from = out->len;
	char when[TIME_TEXT_BYTES], name[40], num[NUM_TEXT_BYTES];
	int64_t now = jr->state == JOB_RUNNING && jr->started_ms != 0 ? jr->started_ms : time_now();

	(void)buf_addf(out, "{\"job\":%" PRIu64 ",\"state\":\"%s\",\"ts\":\"%s\",\"verb\":", jr->id,
		states[jr->state], time_text(now, when));
	(void)json_put_text(out, jr->verb);
	if (jr->rev[0] != '\0')
		(void)buf_addf(out, ",\"rev\":\"%s\"", jr->rev);
	if (jr->state == JOB_DONE)
		(void)buf_addf(out, ",\"outcome\":\"%s\"",
			job_outcome_name(jr->outcome, jr->signal, name));
	if (isfinite(jr->k))
		(void)buf_addf(out, ",\"k\":%s", num_text(jr->k, num));
	if (jr->total > 0)
		(void)buf_addf(out, ",\"pass\":%d,\"total\":%d", jr->pass, jr->total);
	if (jr->state == JOB_DONE)
		(void)buf_addf(out, ",\"elapsed\":%s", num_text(jr->elapsed, num));
	if (jr->error[0] != '\0') {
		(void)buf_puts(out, ",\"error\":");
		(void)json_put_text(out, jr->error);
	}
	(void)buf_puts(out, "}");
	return crc_seal(out, from);
}

int journal_append(int dirfd, const struct job_record *jr, struct err *err)
{
	struct buf line = BUF_INIT;
	int rc = record_render(jr, &line) < 0
			 ? err_nomem(err)
			 : append_line(dirfd, JOURNAL_NAME, line.data, line.len, true, err);

	buf_release(&line);
	return rc;
}

/* "YYYY-MM-DDTHH:MM:SS.mmmZ" back to milliseconds; 0 when it is not one */
static int64_t time_parse(const char *text)
{
	int ms = 0, year, month;
	struct tm tm = {0};

	if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &year, &month, &tm.tm_mday,
				    &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) != 7)
		return 0;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	return (int64_t)timegm(&tm) * 1000 + ms;
}

static void copy_text(char *out, size_t size, const char *text)
{
	(void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static int count_get(const cJSON *json, const char *key)
{
	double x = json_get_number(json, key, 0);

	return x >= 0 && x <= INT32_MAX ? (int)x : 0;
}

/* 1 a record, 0 none, -ENOMEM: a number that was not read would be given twice */
static int record_parse(const struct line *ln, struct job_record *jr)
{
	const char *state, *outcome, *rev;
	cJSON *json;
	double id;
	bool ok = false;
	int rc;

	if (ln->over || !crc_holds(ln->text, ln->len))
		return 0;
	rc = json_parse(ln->text, ln->len, &json, NULL);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	*jr = (struct job_record){.k = json_get_number(json, "k", NAN)};
	id = json_get_number(json, "job", 0);
	state = json_get_string(json, "state");
	for (int i = JOB_QUEUED; state != NULL && i <= JOB_DONE; i++)
		if (strcmp(state, states[i]) == 0) {
			jr->state = (enum job_state)i;
			ok = id >= 1 && id <= (double)number_max;
		}
	jr->id = ok ? (uint64_t)id : 0;
	outcome = json_get_string(json, "outcome");
	if (ok && jr->state == JOB_DONE)
		ok = outcome != NULL && outcome_parse(outcome, &jr->outcome, &jr->signal);
	copy_text(jr->verb, sizeof(jr->verb), json_get_string(json, "verb"));
	rev = json_get_string(json, "rev");
	if (rev != NULL && rev_check(rev, strlen(rev), NULL) == 0)
		copy_text(jr->rev, sizeof(jr->rev), rev);
	jr->pass = count_get(json, "pass");
	jr->total = count_get(json, "total");
	jr->elapsed = json_get_number(json, "elapsed", 0);
	copy_text(jr->error, sizeof(jr->error), json_get_string(json, "error"));
	if (jr->state == JOB_RUNNING)
		jr->started_ms = time_parse(json_get_string(json, "ts"));
	cJSON_Delete(json);
	return ok;
}

typedef bool journal_each(void *arg, const struct job_record *jr); /* false: enough */

/* *${bad} grows by the whole lines that are no records */
static int scan_lines(int dirfd, journal_each *each, void *arg, uint64_t *bad, struct err *err)
{
	struct job_record jr;
	struct lines ls;
	struct line ln;
	struct stat st;
	int fd, rc;

	fd = openat(dirfd, JOURNAL_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot open '" JOURNAL_NAME "'");
	if (fstat(fd, &st) < 0) {
		rc = err_sys(err, "cannot stat '" JOURNAL_NAME "'");
		close(fd);
		return rc;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, EUCLEAN, "'" JOURNAL_NAME "' is not a regular file");
	}
	lines_init(&ls, fd, 0, UINT64_MAX, JOURNAL_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		if (!ln.whole)
			continue;
		rc = record_parse(&ln, &jr);
		if (rc < 0) {
			rc = err_nomem(err);
			break;
		}
		if (rc == 0)
			*bad += ln.len > 0;
		else if (!each(arg, &jr))
			break;
	}
	lines_release(&ls);
	close(fd);
	return rc < 0 ? rc : 0;
}

static int journal_scan(int dirfd, journal_each *each, void *arg, struct err *err)
{
	uint64_t bad = 0;

	return scan_lines(dirfd, each, arg, &bad, err);
}

static bool any_one(void *arg, const struct job_record *jr)
{
	(void)arg;
	(void)jr;
	return true;
}

int journal_check(int dirfd, uint64_t *bad, struct err *err)
{
	uint64_t n = 0;
	int rc = scan_lines(dirfd, any_one, NULL, &n, err);

	if (rc == 0)
		*bad = n;
	return rc;
}

struct gather {
	struct job_record *list; /* ascending; the oldest make room */
	size_t n;
};

/* the newer line of a job decides, but keeps when it was started */
static void record_update(struct job_record *at, const struct job_record *jr)
{
	int64_t started = jr->started_ms != 0 ? jr->started_ms : at->started_ms;

	*at = *jr;
	at->started_ms = started;
}

static bool gather_one(void *arg, const struct job_record *jr)
{
	struct gather *g = arg;
	size_t i = g->n;

	while (i > 0 && g->list[i - 1].id > jr->id)
		i--;
	if (i > 0 && g->list[i - 1].id == jr->id) {
		record_update(&g->list[i - 1], jr);
		return true;
	}
	if (g->n == JOBS_SHOWN) {
		if (i == 0)
			return true;
		memmove(g->list, g->list + 1, (i - 1) * sizeof(*g->list));
		i--;
	} else {
		memmove(g->list + i + 1, g->list + i, (g->n - i) * sizeof(*g->list));
		g->n++;
	}
	g->list[i] = *jr;
	return true;
}

int journal_load(int dirfd, struct job_record **list, size_t *n, struct err *err)
{
	struct gather g = {.list = calloc(JOBS_SHOWN, sizeof(*g.list))};
	int rc;

	if (g.list == NULL)
		return err_nomem(err);
	rc = journal_scan(dirfd, gather_one, &g, err);
	if (rc < 0) {
		free(g.list);
		return rc;
	}
	*list = g.list;
	*n = g.n;
	return 0;
}

static bool find_one(void *arg, const struct job_record *jr)
{
	struct job_record *want = arg;

	if (jr->id == want->id)
		record_update(want, jr);
	return true;
}

int journal_get(int dirfd, uint64_t id, struct job_record *out, struct err *err)
{
	struct job_record jr = {.id = id, .total = -1};
	int rc = journal_scan(dirfd, find_one, &jr, err);

	if (rc < 0)
		return rc;
	if (jr.total < 0)
		return err_set(err, ENOENT, "no job %" PRIu64, id);
	*out = jr;
	return 0;
}

static bool rev_one(void *arg, const struct job_record *jr)
{
	long *max = arg, number = jr->rev[0] != '\0' ? rev_number(jr->rev) : -1;

	if (number > *max)
		*max = number;
	return true;
}

int journal_rev_max(int dirfd, long *out, struct err *err)
{
	long max = -1;
	int rc = journal_scan(dirfd, rev_one, &max, err);

	if (rc == 0)
		*out = max;
	return rc;
}

/* ---- written anew ---- */

/* the job with the highest revision number: a number is never given twice */
static bool newest_rev(void *arg, const struct job_record *jr)
{
	struct job_record *at = arg;

	if (jr->rev[0] != '\0' && rev_number(jr->rev) > rev_number(at->rev))
		*at = *jr;
	return true;
}

/* as two lines, because when it began stands in the line that says it runs */
static int record_keep(const struct job_record *jr, struct buf *out)
{
	struct job_record running = *jr;
	int rc = 0;

	running.state = JOB_RUNNING;
	running.error[0] = '\0';
	if (jr->started_ms != 0 && jr->state == JOB_DONE) {
		rc = record_render(&running, out);
		(void)buf_putc(out, '\n');
	}
	if (rc == 0)
		rc = record_render(jr, out);
	return rc < 0 ? rc : buf_putc(out, '\n');
}

int journal_compact(int dirfd, struct err *err)
{
	struct job_record rev = {.rev = ""}, *list = NULL;
	struct buf text = BUF_INIT;
	size_t n = 0;
	int fd, rc;

	/* who appends waits for this lock, and then finds the new file */
	fd = append_open(dirfd, JOURNAL_NAME, err);
	if (fd < 0)
		return fd;
	rc = journal_load(dirfd, &list, &n, err);
	if (rc == 0)
		rc = journal_scan(dirfd, newest_rev, &rev, err);
	if (rc == 0 && rev.id != 0 && n > 0 && rev.id < list[0].id)
		rc = record_keep(&rev, &text) < 0 ? err_nomem(err) : 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		/* a job that failed gave its number up, and its last line does not have it */
		if (list[i].id == rev.id && strcmp(list[i].rev, rev.rev) != 0) {
			rev.state = JOB_QUEUED;
			rc = record_keep(&rev, &text) < 0 ? err_nomem(err) : 0;
		}
		if (rc == 0)
			rc = record_keep(&list[i], &text) < 0 ? err_nomem(err) : 0;
	}
	if (rc == 0)
		rc = replace_file(dirfd, JOURNAL_NAME, buf_str(&text), text.len, 0600, err);
	close(fd);
	free(list);
	buf_release(&text);
	return rc;
}

static void compact_if_large(int dirfd)
{
	struct stat st;

	if (fstatat(dirfd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_size > JOURNAL_BYTES)
		(void)journal_compact(dirfd, NULL); /* it may grow when there is no room to */
}

static bool id_one(void *arg, const struct job_record *jr)
{
	uint64_t *max = arg;

	if (jr->id > *max)
		*max = jr->id;
	return true;
}

/* a folder whose line was lost to a power cut still takes its number */
static int folder_max(int jobs, uint64_t *max, struct err *err)
{
	int fd = openat(jobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int64_t x;
	int rc;

	if (dir == NULL) {
		rc = err_sys(err, "cannot list jobs/");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while ((rc = dir_next(dir, "jobs/", &d, err)) > 0)
		if (num_whole(d->d_name, strlen(d->d_name), 1, number_max, &x) == 0 &&
			(uint64_t)x > *max)
			*max = (uint64_t)x;
	closedir(dir);
	return rc;
}

int journal_new(int dirfd, struct job_record *jr, struct err *err)
{
	uint64_t max = 0;
	char name[24];
	int jobs, fd, rc;

	jobs = dir_make(dirfd, "jobs", err);
	if (jobs < 0)
		return jobs;
	compact_if_large(dirfd);
	rc = journal_scan(dirfd, id_one, &max, err);
	if (rc < 0)
		goto out;
	rc = folder_max(jobs, &max, err);
	if (rc < 0)
		goto out;
	if (max >= (uint64_t)number_max) {
		rc = err_set(err, EOVERFLOW, "no job numbers left behind %" PRIu64, max);
		goto out;
	}
	jr->id = max + 1;
	jr->state = JOB_QUEUED;
	rc = journal_append(dirfd, jr, err);
	if (rc < 0)
		goto out;
	(void)snprintf(name, sizeof(name), "%" PRIu64, jr->id);
	rc = fd = dir_make(jobs, name, err);
	if (fd >= 0)
		close(fd);
out:
	close(jobs);
	return rc < 0 ? rc : 0;
}
