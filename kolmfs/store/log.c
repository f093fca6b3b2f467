/*
 * log - the audit log and the log of runs; see log.h.
 *
 * Beside tune.jsonl lies .tune.tip: which line was the last one, where it stands and its hash. It
 * is written after the line is durable and never before, so the log may be ahead of it but not
 * behind: a log that is shorter, or holds another line there, was cut or replaced. It bears the
 * store's signature, so that whoever cuts the log cannot write another one without its key.
 */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"

#define TIP_NAME ".tune.tip"

void tip_read(const struct store *st, struct tip *tip)
{
	struct buf text = BUF_INIT;
	char sha[HASH_HEX_BYTES];

	*tip = (struct tip){.sha = EMPTY_SHA, .stamp = "-"};
	/* torn by a power cut: as if there were none; the chain itself is still checked by
	 * log_verify() */
	if (read_file(st->logs, TIP_NAME, 1024, &text, NULL) == 0 &&
		sscanf(buf_str(&text), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %64[0-9a-f] %299s",
			&tip->seq, &tip->start, &tip->end, sha, tip->stamp) == 5 &&
		strlen(sha) == 64 &&
		(tip->start < tip->end || (tip->start == 0 && tip->end == 0 && tip->seq > 0)) &&
		strstr(buf_str(&text), " ok\n") != NULL)
		memcpy(tip->sha, sha, sizeof(sha));
	else
		*tip = (struct tip){.sha = EMPTY_SHA, .stamp = "-"};
	if (strcmp(tip->stamp, "ok") == 0) /* of a version that did not sign */
		(void)snprintf(tip->stamp, sizeof(tip->stamp), "-");
	buf_release(&text);
}

size_t tip_text(const struct tip *tip, char out[TIP_TEXT_BYTES])
{
	return (size_t)snprintf(out, TIP_TEXT_BYTES, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %s",
		tip->seq, tip->start, tip->end, tip->sha);
}

/* not fsynced: an old tip is as true as a new one, only weaker */
static void tip_write(const struct store *st, const struct tip *tip)
{
	char text[TIP_TEXT_BYTES], stamp[STAMP_TEXT_BYTES],
		line[TIP_TEXT_BYTES + STAMP_TEXT_BYTES + 8];
	size_t len = tip_text(tip, text);
	int n, fd;

	stamp_make(st->dir, text, len, stamp);
	n = snprintf(line, sizeof(line), "%s %s ok\n", text, stamp);
	fd = openat(st->logs, TIP_NAME, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (pwrite(fd, line, (size_t)n, 0) != n || ftruncate(fd, n) < 0)
		(void)unlinkat(st->logs, TIP_NAME, 0);
	close(fd);
}

static int log_cut(const struct tip *tip, const char *what, struct err *err)
{
	return err_set(err, EUCLEAN,
		"audit log was cut: last known line %" PRIu64 ", but %s; put logs/" LOG_NAME
		" back, or remove logs/" TIP_NAME " to accept it",
		tip->seq, what);
}

int log_open(const struct store *st, struct err *err)
{
	struct stat sb;
	int fd = openat(st->logs, LOG_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == ELOOP)
		return err_set(
			err, EUCLEAN, "audit log was cut: logs/" LOG_NAME " is a symbolic link");
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : err_sys(err, "cannot open logs/" LOG_NAME);
	if (fstat(fd, &sb) < 0) {
		int rc = err_sys(err, "cannot stat logs/" LOG_NAME);

		close(fd);
		return rc;
	}
	if (!S_ISREG(sb.st_mode)) {
		close(fd);
		return err_set(
			err, EUCLEAN, "audit log was cut: logs/" LOG_NAME " is not a regular file");
	}
	return fd;
}

int line_chain(const struct line *ln, uint64_t *seq, char prev[HASH_HEX_BYTES])
{
	struct json_slice object = {ln->text, ln->len}, value;
	double x;
	int rc = ln->over ? -EBADMSG : json_check(ln->text, ln->len, NULL);

	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	if (!json_member(object, "seq", &value) || json_kind_of(value) != JSON_NUMBER)
		return 0;
	x = json_double(value);
	if (!(x >= 1 && x < 9007199254740992.0) || !json_member(object, "prev", &value) ||
		value.len != 66 || value.text[0] != '"')
		return 0;
	*seq = (uint64_t)x;
	memcpy(prev, value.text + 1, 64);
	prev[64] = '\0';
	return 1;
}

/* the hash of a part's last line, for a tip that is older than the turn */
static int part_last(
	const struct store *st, const struct log_part *p, char sha[HASH_HEX_BYTES], struct err *err)
{
	uint64_t from = 0, end = 0;
	struct lines ls;
	struct line ln;
	int fd = part_open(st, LOG_STEM, p, err), rc;

	if (fd < 0)
		return fd;
	lines_init(&ls, fd, 0, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		from = ln.offset;
		end = ln.next - ln.whole;
	}
	lines_release(&ls);
	if (rc == 0)
		rc = sha256_fd(fd, from, end - from, sha, err);
	close(fd);
	return rc;
}

/* the tip as it was written, or, when the log turned over since, the end of its newest part */
static int tip_base(const struct store *st, struct tip *tip, uint64_t *newest, struct err *err)
{
	struct log_parts ps;
	int rc;

	tip_read(st, tip);
	rc = parts_list(st, LOG_STEM, &ps, err);
	if (rc < 0)
		return rc;
	*newest = ps.n > 0 ? ps.part[ps.n - 1].number : 0;
	if (ps.n > 0 && (tip->seq < *newest || (tip->seq == *newest && tip->end > 0))) {
		rc = part_last(st, &ps.part[ps.n - 1], tip->sha, err);
		tip->seq = *newest;
		tip->start = tip->end = 0;
	}
	parts_release(&ps);
	return rc;
}

/* that the line known stands where it stood */
static int tip_check(int fd, const struct tip *tip, struct err *err)
{
	char sha[HASH_HEX_BYTES];
	struct stat sb;
	int rc;

	if (fstat(fd, &sb) < 0)
		return err_sys(err, "cannot stat logs/" LOG_NAME);
	if ((uint64_t)sb.st_size < tip->end)
		return log_cut(tip, "the log is shorter", err);
	rc = sha256_fd(fd, tip->start, tip->end - tip->start - 1, sha, err);
	if (rc == 0 && strcmp(sha, tip->sha) != 0)
		rc = log_cut(tip, "another line stands there", err);
	return rc;
}

/* from the line known to the line that is really last; under the log lock. ${newest}: the number of
 * the newest part, 0 none. */
static int tip_find(const struct store *st, struct tip *tip, uint64_t *newest, struct err *err)
{
	char prev[HASH_HEX_BYTES];
	struct lines ls;
	struct line ln;
	uint64_t seq;
	int fd, rc;

	rc = tip_base(st, tip, newest, err);
	if (rc < 0)
		return rc;
	fd = log_open(st, err);
	if (fd == -ENOENT)
		return tip->end == 0 ? 0 : log_cut(tip, "the log is gone", err);
	if (fd < 0)
		return fd;
	rc = tip->end > 0 ? tip_check(fd, tip, err) : 0;
	if (rc < 0)
		goto out;
	lines_init(&ls, fd, tip->end, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		if (ln.over) {
			rc = log_cut(tip, "a line behind it is no text", err);
			break;
		}
		sha256_hex(ln.text, ln.len, tip->sha);
		rc = line_chain(&ln, &seq, prev);
		if (rc < 0) { /* taken for no line of the chain, its number would be given twice */
			rc = err_nomem(err);
			break;
		}
		if (rc > 0)
			tip->seq = seq;
		tip->start = ln.offset;
		tip->end = ln.next;
	}
	lines_release(&ls);
out:
	close(fd);
	return rc;
}

int log_lock(const struct store *st, int *fd, struct err *err)
{
	int lock = lock_open(st->logs, ".lock", err), rc;

	if (lock < 0)
		return lock;
	rc = flock_wait(lock, LOCK_EX, err);
	if (rc < 0) {
		close(lock);
		return rc;
	}
	*fd = lock;
	return 0;
}

int log_ready(const struct store *st, uint64_t *seq, struct err *err)
{
	uint64_t newest;
	struct tip tip;
	int lock, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	rc = tip_find(st, &tip, &newest, err);
	close(lock);
	if (rc == 0)
		*seq = tip.seq;
	return rc;
}

uint64_t log_known(const struct store *st)
{
	return atomic_load(st->known);
}

void log_know(const struct store *st, uint64_t from, uint64_t to)
{
	atomic_compare_exchange_strong(st->known, &from, to);
}

static uint64_t log_size(const struct store *st, const char *name)
{
	struct stat sb;

	return fstatat(st->logs, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode)
		       ? (uint64_t)sb.st_size
		       : 0;
}

void log_put_head(struct buf *out, const struct log_entry *entry, bool recovered)
{
	(void)buf_puts(out, "{\"event\":");
	(void)json_put_text(out, entry->event);
	if (entry->fields != NULL && entry->fields[0] != '\0')
		(void)buf_addf(out, ",%s", entry->fields);
	if (recovered)
		(void)buf_puts(out, ",\"recovered\":true");
	(void)buf_puts(out, ",\"slug\":");
	(void)json_put_text(out, entry->slug);
	(void)buf_puts(out, ",");
}

static void put_tail(struct buf *out, const struct log_entry *entry, uint64_t seq, const char *prev)
{
	char when[TIME_TEXT_BYTES];

	(void)buf_addf(out, "\"ts\":\"%s\",\"job\":", time_text(time_now(), when));
	(void)(entry->job != 0 ? buf_addf(out, "%" PRIu64, entry->job) : buf_puts(out, "null"));
	if (entry->by != NULL) {
		(void)buf_addf(out,
			",\"by\":{\"uid\":%u,\"pid\":%d,\"comm\":", (unsigned)entry->by->uid,
			(int)entry->by->pid);
		(void)json_put_string(
			out, entry->by->comm, strnlen(entry->by->comm, sizeof(entry->by->comm)));
		(void)buf_putc(out, '}');
	} else {
		(void)buf_puts(out, ",\"by\":null");
	}
	(void)buf_addf(out, ",\"seq\":%" PRIu64 ",\"prev\":\"%s\"}", seq, prev);
}

/* a log that is long turns over before its next line */
static int turn_if_long(
	const struct store *st, struct tip *tip, uint64_t newest, bool *turned, struct err *err)
{
	int rc;

	*turned = false;
	/* without a line of its own since the last turn there is no number for the part */
	if (tip->seq <= newest || log_size(st, LOG_NAME) < st->log_bytes)
		return 0;
	rc = part_turn(st, LOG_STEM, tip->seq, err);
	if (rc <= 0)
		return rc;
	*turned = true;
	tip->start = tip->end = 0;
	tip_write(st, tip);
	return 0;
}

static int append(
	const struct store *st, const struct log_entry *entry, bool recovered, struct err *err)
{
	struct buf line = BUF_INIT;
	bool turned = false;
	uint64_t newest;
	struct tip tip;
	int lock, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	rc = tip_find(st, &tip, &newest, err);
	if (rc == 0)
		rc = turn_if_long(st, &tip, newest, &turned, err);
	if (rc < 0)
		goto out;
	log_put_head(&line, entry, recovered);
	put_tail(&line, entry, tip.seq + 1, tip.sha);
	if (line.failed)
		rc = err_nomem(err);
	else if (line.len > LOG_LINE_BYTES || (rc = json_check(line.data, line.len, NULL)) < 0)
		rc = rc == -ENOMEM ? err_nomem(err)
				   : err_set(err, EINVAL,
					     "the audit line of \"%.40s\" is not JSON of at most "
					     "1 MiB",
					     entry->event);
	else
		rc = append_line(st->logs, LOG_NAME, line.data, line.len, true, err);
	if (rc < 0)
		goto out;
	/* a torn line before was given its line feed just now, so the place is counted from the end
	 */
	tip.seq++;
	log_know(st, tip.seq - 1, tip.seq);
	tip.end = log_size(st, LOG_NAME);
	tip.start = tip.end - line.len - 1;
	sha256_hex(line.data, line.len, tip.sha);
	if (tip.end > line.len) /* else nobody could say, and the tip of before holds */
		tip_write(st, &tip);
out:
	if (turned)
		parts_pack(st, LOG_STEM);
	close(lock);
	buf_release(&line);
	return rc;
}

int log_append(const struct store *st, const struct log_entry *entry, struct err *err)
{
	return append(st, entry, false, err);
}

int log_once(const struct store *st, uint64_t seq, const struct log_entry *entry, bool recovered,
	struct err *err)
{
	int rc = log_has(st, seq, entry, err);

	return rc != 0 ? (rc < 0 ? rc : 0) : append(st, entry, recovered, err);
}

int log_recovered(const struct store *st, const char *slug, const char *fields, struct err *err)
{
	struct by by = by_self();
	struct log_entry entry = {.event = "recovered", .fields = fields, .slug = slug, .by = &by};

	return log_append(st, &entry, err);
}

/* a log of runs that is long: best effort, it may grow */
static void runs_turn(const struct store *st)
{
	struct log_parts ps;
	int lock;

	if (log_lock(st, &lock, NULL) < 0)
		return;
	if (log_size(st, RUNS_STEM ".jsonl") >= st->log_bytes &&
		parts_list(st, RUNS_STEM, &ps, NULL) == 0) {
		if (part_turn(st, RUNS_STEM, ps.n > 0 ? ps.part[ps.n - 1].number + 1 : 1, NULL) > 0)
			parts_pack(st, RUNS_STEM);
		parts_release(&ps);
	}
	close(lock);
}

void logs_pack(const struct store *st)
{
	int lock;

	if (log_lock(st, &lock, NULL) < 0)
		return;
	parts_pack(st, LOG_STEM);
	parts_pack(st, RUNS_STEM);
	close(lock);
}

int runs_append(const struct store *st, const char *line, size_t len, struct err *err)
{
	if (log_size(st, RUNS_STEM ".jsonl") >= st->log_bytes)
		runs_turn(st);
	return append_line(st->logs, RUNS_STEM ".jsonl", line, len, false, err);
}
