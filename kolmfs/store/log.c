/*
 * log - the audit log and the log of runs; see log.h.
 *
 * Beside tune.jsonl lies .tune.tip: which line was the last one, where it stands and its hash. It
 * is written after the line is durable and never before, so the log may be ahead of it but not
 * behind: a log that is shorter, or holds another line there, was cut or replaced.
 */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"

#define LOG_NAME "tune.jsonl"
#define TIP_NAME ".tune.tip"
enum { LOG_LINE_BYTES = 1024 * 1024 };

/* the last line known; all zero and EMPTY_SHA before the first */
struct tip {
	uint64_t seq;
	uint64_t start, end; /* its place, with its line feed */
	char sha[HASH_HEX_BYTES];
};

static void tip_read(const struct store *st, struct tip *tip)
{
	struct buf text = BUF_INIT;
	char sha[HASH_HEX_BYTES];

	*tip = (struct tip){.sha = EMPTY_SHA};
	/* torn by a power cut: as if there were none; the chain itself is still checked by
	 * log_verify() */
	if (read_file(st->logs, TIP_NAME, 512, &text, NULL) == 0 &&
		sscanf(buf_str(&text), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %64[0-9a-f] ok",
			&tip->seq, &tip->start, &tip->end, sha) == 4 &&
		strlen(sha) == 64 && tip->start < tip->end &&
		strstr(buf_str(&text), " ok\n") != NULL)
		memcpy(tip->sha, sha, sizeof(sha));
	else
		*tip = (struct tip){.sha = EMPTY_SHA};
	buf_release(&text);
}

/* not fsynced: an old tip is as true as a new one, only weaker */
static void tip_write(const struct store *st, const struct tip *tip)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %s ok\n",
		tip->seq, tip->start, tip->end, tip->sha);
	int fd = openat(st->logs, TIP_NAME, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0)
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

/* the log for reading; -ENOENT when there is none */
static int log_open(const struct store *st, struct err *err)
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

/* a chained line has both; the lines of the reference and torn ones have neither */
static bool line_chain(const struct line *ln, uint64_t *seq, char prev[HASH_HEX_BYTES])
{
	struct json_slice object = {ln->text, ln->len}, value;
	double x;

	if (ln->over || json_check(ln->text, ln->len, NULL) < 0)
		return false;
	if (!json_member(object, "seq", &value) || json_kind_of(value) != JSON_NUMBER)
		return false;
	x = json_double(value);
	if (!(x >= 1 && x < 9007199254740992.0) || !json_member(object, "prev", &value) ||
		value.len != 66 || value.text[0] != '"')
		return false;
	*seq = (uint64_t)x;
	memcpy(prev, value.text + 1, 64);
	prev[64] = '\0';
	return true;
}

/* from the line known to the line that is really last; under the log lock */
static int tip_find(const struct store *st, struct tip *tip, struct err *err)
{
	char sha[HASH_HEX_BYTES], prev[HASH_HEX_BYTES];
	struct lines ls;
	struct line ln;
	struct stat sb;
	uint64_t seq;
	int fd, rc;

	tip_read(st, tip);
	fd = log_open(st, err);
	if (fd == -ENOENT)
		return tip->seq == 0 ? 0 : log_cut(tip, "the log is gone", err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &sb) < 0) {
		rc = err_sys(err, "cannot stat logs/" LOG_NAME);
		goto out;
	}
	if (tip->seq > 0) {
		if ((uint64_t)sb.st_size < tip->end)
			rc = log_cut(tip, "the log is shorter", err);
		else if ((rc = sha256_fd(fd, tip->start, tip->end - tip->start - 1, sha, err)) ==
				 0 &&
			 strcmp(sha, tip->sha) != 0)
			rc = log_cut(tip, "another line stands there", err);
		if (rc < 0)
			goto out;
	}
	lines_init(&ls, fd, tip->end, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		if (ln.over) {
			rc = log_cut(tip, "a line behind it is no text", err);
			break;
		}
		sha256_hex(ln.text, ln.len, tip->sha);
		if (line_chain(&ln, &seq, prev))
			tip->seq = seq;
		tip->start = ln.offset;
		tip->end = ln.next;
	}
	lines_release(&ls);
out:
	close(fd);
	return rc;
}

static int log_lock(const struct store *st, int *fd, struct err *err)
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

int log_ready(const struct store *st, struct err *err)
{
	struct tip tip;
	int lock, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	rc = tip_find(st, &tip, err);
	close(lock);
	return rc;
}

uint64_t log_size(const struct store *st)
{
	struct stat sb;

	return fstatat(st->logs, LOG_NAME, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode)
		       ? (uint64_t)sb.st_size
		       : 0;
}

/* the line up to ,"slug":"x" */
static void put_head(struct buf *out, const struct log_entry *entry, bool recovered)
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

static int append(
	const struct store *st, const struct log_entry *entry, bool recovered, struct err *err)
{
	struct buf line = BUF_INIT;
	struct tip tip;
	int lock, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	rc = tip_find(st, &tip, err);
	if (rc < 0)
		goto out;
	put_head(&line, entry, recovered);
	put_tail(&line, entry, tip.seq + 1, tip.sha);
	if (line.failed)
		rc = err_nomem(err);
	else if (line.len > LOG_LINE_BYTES || json_check(line.data, line.len, NULL) < 0)
		rc = err_set(err, EINVAL,
			"the audit line of \"%.40s\" is not JSON of at most 1 MiB", entry->event);
	else
		rc = append_line(st->logs, LOG_NAME, line.data, line.len, true, err);
	if (rc < 0)
		goto out;
	/* a torn line before was given its line feed just now, so the place is counted from the end
	 */
	tip.seq++;
	tip.end = log_size(st);
	tip.start = tip.end - line.len - 1;
	sha256_hex(line.data, line.len, tip.sha);
	tip_write(st, &tip);
out:
	close(lock);
	buf_release(&line);
	return rc;
}

int log_append(const struct store *st, const struct log_entry *entry, struct err *err)
{
	return append(st, entry, false, err);
}

/* whether the line of ${entry} stands at or behind ${from}: 1, 0 or an error. Found, it is made
 * durable. */
static int log_has(
	const struct store *st, uint64_t from, const struct log_entry *entry, struct err *err)
{
	struct buf plain = BUF_INIT, again = BUF_INIT;
	bool found = false;
	struct lines ls;
	struct line ln;
	int fd, rc;

	put_head(&plain, entry, false);
	put_head(&again, entry, true);
	rc = fd = plain.failed || again.failed ? err_nomem(err) : log_open(st, err);
	if (rc >= 0) {
		lines_init(&ls, fd, from, UINT64_MAX, LOG_LINE_BYTES);
		while (!found && (rc = lines_next(&ls, &ln, err)) > 0)
			found = ln.whole &&
				((ln.len > plain.len &&
					 memcmp(ln.text, plain.data, plain.len) == 0) ||
					(ln.len > again.len &&
						memcmp(ln.text, again.data, again.len) == 0));
		if (found && fdatasync(fd) < 0)
			rc = err_sys(err, "could not make it durable; not counted as done");
		lines_release(&ls);
		close(fd);
	}
	buf_release(&plain);
	buf_release(&again);
	return rc < 0 && rc != -ENOENT ? rc : found;
}

int log_once(const struct store *st, uint64_t from, const struct log_entry *entry, bool recovered,
	struct err *err)
{
	int rc = log_has(st, from, entry, err);

	return rc != 0 ? (rc < 0 ? rc : 0) : append(st, entry, recovered, err);
}

int log_recovered(const struct store *st, const char *slug, const char *fields, struct err *err)
{
	struct by by = by_self();
	struct log_entry entry = {.event = "recovered", .fields = fields, .slug = slug, .by = &by};

	return log_append(st, &entry, err);
}

int log_slug(const struct store *st, const char *slug, struct buf *out, struct err *err)
{
	struct buf want = BUF_INIT;
	struct lines ls;
	struct line ln;
	int fd, rc;

	fd = log_open(st, err);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (json_put_text(&want, slug) < 0) {
		close(fd);
		return err_nomem(err);
	}
	lines_init(&ls, fd, 0, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		struct json_slice value;
		int is_json;

		if (!ln.whole || ln.over ||
			memmem(ln.text, ln.len, buf_str(&want), want.len) == NULL)
			continue;
		is_json = json_check(ln.text, ln.len, NULL);
		if (is_json == -ENOMEM) {
			rc = err_nomem(err);
			break;
		}
		if (is_json < 0 ||
			!json_member((struct json_slice){ln.text, ln.len}, "slug", &value) ||
			value.len != want.len || memcmp(value.text, want.data, want.len) != 0)
			continue;
		(void)buf_add(out, ln.text, ln.len);
		if (buf_putc(out, '\n') < 0 || out->failed) {
			rc = err_nomem(err);
			break;
		}
	}
	lines_release(&ls);
	close(fd);
	buf_release(&want);
	return rc;
}

static int chain_broken(uint64_t line, const char *why, struct err *err)
{
	return err_set(err, EKEYREJECTED, "chain breaks at line %" PRIu64 ": %s", line, why);
}

/* the lines between chained ones (torn, or of another program) are held by the hash in the line
 * behind them */
static int verify(int fd, const struct tip *tip, uint64_t *lines, struct err *err)
{
	char last[HASH_HEX_BYTES] = EMPTY_SHA, prev[HASH_HEX_BYTES];
	uint64_t n = 0, seq, last_seq = 0, end = 0;
	bool has_tip = tip->seq == 0;
	struct lines ls;
	struct line ln;
	int rc;

	lines_init(&ls, fd, 0, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0) {
		n++;
		if (ln.over) {
			rc = chain_broken(n, "longer than 1 MiB", err);
			break;
		}
		if (line_chain(&ln, &seq, prev)) {
			if (strcmp(prev, last) != 0)
				rc = chain_broken(n, "the line before it is another", err);
			else if (seq != last_seq + 1)
				rc = chain_broken(n, "a line before it is missing", err);
			if (rc < 0)
				break;
			last_seq = seq;
		}
		sha256_hex(ln.text, ln.len, last);
		end = ln.next;
		if (ln.offset == tip->start && tip->seq > 0) {
			if (strcmp(last, tip->sha) != 0) {
				rc = chain_broken(n, "it was changed", err);
				break;
			}
			has_tip = true;
		}
	}
	lines_release(&ls);
	if (rc == 0 && (!has_tip || end < tip->end))
		rc = chain_broken(n + 1, "lines are missing at the end", err);
	*lines = n;
	return rc;
}

int log_verify(const struct store *st, uint64_t *lines, struct err *err)
{
	uint64_t n = 0;
	struct tip tip;
	int lock, fd, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	tip_read(st, &tip);
	fd = log_open(st, err);
	if (fd == -ENOENT) {
		rc = tip.seq == 0 ? 0 : chain_broken(1, "the log is gone", err);
	} else if (fd < 0) {
		rc = fd;
	} else {
		rc = verify(fd, &tip, &n, err);
		close(fd);
	}
	close(lock);
	if (lines != NULL)
		*lines = n;
	return rc;
}

int runs_append(const struct store *st, const char *line, size_t len, struct err *err)
{
	return append_line(st->logs, "runs.jsonl", line, len, false, err);
}
