/* captures - writing captures.jsonl, and reading whatever is found in it; see captures.h. */
#include "store/captures.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/replace.h"
#include "store/private.h"

#define CAPTURES_NAME "captures.jsonl"
enum { SALVAGE_TRIES = 65536, QUIET_MS = 1000 };

/* ---- rows ---- */

static bool key_is(struct json_slice key, const char *name)
{
	size_t n = strlen(name);
	struct buf text = BUF_INIT;
	bool same;

	if (memchr(key.text, '\\', key.len) == NULL)
		return key.len == n + 2 && memcmp(key.text + 1, name, n) == 0;
	same = json_string(key, &text) == 0 && text.len == n &&
	       memcmp(buf_str(&text), name, n) == 0;
	buf_release(&text);
	return same;
}

/* the members of a checked object; false when it is no row */
static bool row_cut(struct json_slice line, struct capture_row *row)
{
	struct json_slice key, value;
	size_t pos = 0;

	row->line = line;
	row->input = row->output = row->rev = row->id = (struct json_slice){NULL, 0};
	row->drop = false;
	row->latency_us = 0;
	if (json_kind_of(line) != JSON_OBJECT)
		return false;
	while (json_next(line, &pos, &key, &value)) {
		if (key_is(key, "input"))
			row->input = value;
		else if (key_is(key, "output"))
			row->output = value;
		else if (key_is(key, "rev"))
			row->rev = value;
		else if (key_is(key, "id"))
			row->id = value;
		else if (key_is(key, "drop"))
			row->drop = value.len == 4 && memcmp(value.text, "true", 4) == 0;
		else if (key_is(key, "latency_us") && json_kind_of(value) == JSON_NUMBER) {
			double x = json_double(value);

			row->latency_us = x >= 0 && x < 9e15 ? (int64_t)x : 0;
		}
	}
	if (row->drop)
		row->output = (struct json_slice){NULL, 0};
	return row->input.len > 0 && (row->output.len > 0 || row->drop);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct json_slice trimmed(const char *text, size_t len)
{
	while (len > 0 && is_blank(text[0]))
		text++, len--;
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	return (struct json_slice){text, len};
}

int capture_check(const char *line, size_t len, struct err *err)
{
	struct json_slice text = trimmed(line, len);
	struct capture_row row;
	struct err why = ERR_NONE;
	int rc;

	if (len > CAPTURE_LINE_BYTES)
		return err_set(err, EMSGSIZE, "capture larger than %d bytes", CAPTURE_LINE_BYTES);
	if (memchr(line, '\n', len) != NULL)
		return err_set(err, EINVAL,
			"capture needs input and output in one line; it has a line feed");
	rc = json_check(line, len, &why);
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (rc < 0)
		return err_set(err, EINVAL, "capture needs input and output: %.300s", why.text);
	if (!row_cut(text, &row))
		return err_set(err, EINVAL, "capture needs input and output");
	if (!crc_holds(text.text, text.len))
		return err_set(err, EINVAL,
			"capture needs input and output: its crc is of another text; leave crc "
			"out");
	return 0;
}

static int put_value(struct buf *out, const char *key, struct json_slice value)
{
	(void)buf_addf(out, ",\"%s\":", key);
	return json_compact(value, out);
}

int capture_render(const struct capture *cp, struct buf *out, char id[33])
{
	unsigned char random[16];
	char when[TIME_TEXT_BYTES];
	size_t from = out->len;
	int rc;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	hex_encode(random, sizeof(random), id);
	(void)buf_addf(out, "{\"ts\":\"%s\"", time_text(time_now(), when));
	rc = put_value(out, "input", cp->input);
	if (rc == 0 && cp->output.len > 0 && !cp->drop)
		rc = put_value(out, "output", cp->output);
	(void)buf_puts(out, ",\"recipe\":");
	(void)json_put_text(out, cp->recipe);
	if (cp->latency_us > 0)
		(void)buf_addf(out, ",\"latency_us\":%lld", (long long)cp->latency_us);
	else
		(void)buf_puts(out, ",\"latency_us\":null");
	if (cp->rev != NULL) {
		(void)buf_puts(out, ",\"rev\":");
		(void)json_put_text(out, cp->rev);
	}
	(void)buf_addf(out, ",\"id\":\"%s\"", id);
	if (cp->of != NULL) {
		(void)buf_puts(out, ",\"of\":");
		(void)json_put_text(out, cp->of[0] != '\0' ? cp->of : NULL);
	}
	(void)buf_puts(out, cp->drop ? ",\"drop\":true}" : "}");
	if (rc < 0 || crc_seal(out, from) < 0 || out->failed)
		return rc < 0 ? rc : -ENOMEM;
	return 0;
}

/* ---- writing ---- */

static int append(const struct tune *tn, const char *line, size_t len, struct err *err)
{
	struct stat st;
	bool quiet = true;

	if (fstatat(tn->dir, CAPTURES_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		int64_t since = time_now() -
				((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);

		quiet = since < 0 || since >= QUIET_MS;
	}
	return append_line(tn->dir, CAPTURES_NAME, line, len, quiet, err);
}

int captures_append(const struct tune *tn, const char *line, size_t len, struct err *err)
{
	int rc = capture_check(line, len, err);

	return rc < 0 ? rc : append(tn, line, len, err);
}

int captures_append_run(const struct tune *tn, const struct buf *line, struct err *err)
{
	if (line->len > CAPTURE_LINE_BYTES)
		return err_set(err, EMSGSIZE, "capture larger than %d bytes", CAPTURE_LINE_BYTES);
	return append(tn, line->data, line->len, err);
}

int captures_open(const struct tune *tn, struct err *err)
{
	int fd = openat(tn->dir, CAPTURES_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "no captures yet");
	if (fd < 0 && errno == ELOOP)
		return err_set(err, EUCLEAN, CAPTURES_NAME " is a symbolic link");
	if (fd < 0)
		return err_sys(err, "cannot open " CAPTURES_NAME);
	if (fstat(fd, &st) < 0) {
		int rc = err_sys(err, "cannot stat " CAPTURES_NAME);

		close(fd);
		return rc;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, EUCLEAN, CAPTURES_NAME " is not a regular file");
	}
	return fd;
}

int captures_sync(const struct tune *tn, struct err *err)
{
	int fd = captures_open(tn, err), rc = 0;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fdatasync(fd) < 0)
		rc = err_sys(err, "could not make it durable; not counted as done");
	close(fd);
	return rc;
}

/* ---- reading ---- */

/*
 * A line that is no record may be half of one with a whole one glued to it (F02): the last {" from
 * which a record runs to the end of the line. What begins inside the record fails at its own
 * closing brace, so going backwards finds the outermost first that is whole. 1, 0, -ENOMEM.
 */
static int salvage(const struct line *ln, struct capture_row *row)
{
	struct json_slice text = trimmed(ln->text, ln->len);
	/* the whole line was tried already, unless it is one that was cut */
	size_t first = ln->over ? 0 : 1;
	int tries = 0;

	/* a line that begins with a byte order mark is skipped (FORMATS 6), not mended */
	if (text.len < 2 || text.text[text.len - 1] != '}' ||
		(text.len > 3 && memcmp(text.text, "\xef\xbb\xbf", 3) == 0))
		return 0;
	for (size_t at = text.len - 1; at-- > first && tries < SALVAGE_TRIES;) {
		struct json_slice part = {text.text + at, text.len - at};

		if (part.text[0] != '{' || part.text[1] != '"')
			continue;
		tries++;
		/* cheapest first: what begins inside the record fails at its own end */
		int rc = json_check(part.text, part.len, NULL);
		if (rc == -ENOMEM)
			return rc;
		if (rc == 0 && crc_holds(part.text, part.len) && row_cut(part, row)) {
			row->offset = ln->at + (uint64_t)(part.text - ln->text);
			row->end = ln->next;
			return 1;
		}
	}
	return 0;
}

static void count_bad(struct capture_counts *counts, const struct line *ln, struct json_slice text)
{
	uint64_t n = counts->torn + counts->oversize + counts->broken;

	if (n < sizeof(counts->broken_at) / sizeof(counts->broken_at[0]))
		counts->broken_at[n] = ln->offset;
	if (ln->over)
		counts->oversize++;
	else if (text.text[0] == '{' && json_check(text.text, text.len, NULL) < 0)
		counts->torn++;
	else
		counts->broken++;
}

/* from a line's begin; ${number} is its number, and afterwards that of the next */
static int scan(int fd, uint64_t from, uint64_t end, uint64_t *number, captures_each *each,
	void *arg, struct capture_counts *counts, struct err *err)
{
	struct lines ls;
	struct line ln;
	int rc;

	lines_init(&ls, fd, from, end, CAPTURE_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0 && ln.whole) {
		struct json_slice text = trimmed(ln.text, ln.len);
		struct capture_row row = {.number = (*number)++,
			.offset = ln.at + (uint64_t)(text.text - ln.text),
			.end = ln.next};
		bool is_whole, is_row;

		counts->bytes = ln.next;
		if (text.len == 0)
			continue;
		rc = ln.over || !crc_holds(text.text, text.len)
			     ? -EBADMSG
			     : json_check(text.text, text.len, NULL);
		if (rc == -ENOMEM) { /* no reason to call a good row broken */
			rc = err_nomem(err);
			break;
		}
		is_whole = rc == 0;
		is_row = is_whole && row_cut(text, &row);
		/* of a run that returned nothing: no row, and nothing is wrong with it */
		if (is_whole && !is_row && row.input.len > 0 && row.id.len > 0)
			continue;
		rc = is_row ? 0 : salvage(&ln, &row);
		if (rc < 0) {
			rc = err_nomem(err);
			break;
		}
		if (rc > 0) {
			is_row = true;
			counts->salvaged++;
		}
		if (!is_row) {
			count_bad(counts, &ln, text);
			continue;
		}
		counts->rows++;
		rc = each != NULL ? each(arg, &row, err) : 0;
		if (rc < 0)
			break;
	}
	lines_release(&ls);
	if (rc == -EIO)
		(void)err_prefix(err, CAPTURES_NAME ": ");
	return rc < 0 ? rc : 0;
}

int captures_scan(int fd, uint64_t end, captures_each *each, void *arg,
	struct capture_counts *counts, struct err *err)
{
	uint64_t number = 0;

	*counts = (struct capture_counts){0};
	return scan(fd, 0, end, &number, each, arg, counts, err);
}

int captures_more(int fd, uint64_t *number, captures_each *each, void *arg,
	struct capture_counts *counts, struct err *err)
{
	return scan(fd, counts->bytes, UINT64_MAX, number, each, arg, counts, err);
}

int captures_count(const struct tune *tn, struct capture_cache *cache, struct capture_counts *out,
	struct err *err)
{
	struct capture_cache now = *cache;
	struct stat st;
	char last = '\n';
	int fd, rc;

	fd = captures_open(tn, err);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (fd < 0) {
		*cache = (struct capture_cache){0};
		if (now.ino != 0)
			return err_set(err, ESTALE, CAPTURES_NAME " was replaced or cut");
		*out = cache->counts;
		return 0;
	}
	if (fstat(fd, &st) < 0) {
		rc = err_sys(err, "cannot stat " CAPTURES_NAME);
		goto out;
	}
	if (now.ino == 0) {
		now.dev = st.st_dev;
		now.ino = st.st_ino;
	}
	if (now.dev != st.st_dev || now.ino != st.st_ino ||
		(uint64_t)st.st_size < now.counts.bytes ||
		(now.counts.bytes > 0 &&
			(pread(fd, &last, 1, (off_t)now.counts.bytes - 1) != 1 || last != '\n'))) {
		*cache = (struct capture_cache){0};
		rc = err_set(err, ESTALE, CAPTURES_NAME " was replaced or cut");
		goto out;
	}
	rc = scan(fd, now.counts.bytes, UINT64_MAX, &now.number, NULL, NULL, &now.counts, err);
	if (rc == 0) {
		*cache = now;
		*out = now.counts;
	}
out:
	close(fd);
	return rc;
}
