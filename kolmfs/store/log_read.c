/*
 * log_read - looking lines up in the audit log: tune.jsonl first, then its older parts from the
 * newest back.
 */
#include "store/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

int log_back(const struct store *st, size_t i, int *fd, struct err *err)
{
	struct log_parts ps;
	int rc;

	if (i == 0) {
		rc = *fd = log_open(st, err);
		return rc < 0 ? rc : 0;
	}
	rc = parts_list(st, LOG_STEM, &ps, err);
	if (rc < 0)
		return rc;
	rc = i > ps.n ? -ENOENT : part_open(st, LOG_STEM, &ps.part[ps.n - i], err);
	if (rc >= 0)
		*fd = rc;
	parts_release(&ps);
	return rc < 0 ? rc : 0;
}

int line_is_of(const struct line *ln, const struct buf *slug, struct err *err)
{
	struct json_slice value, whole = {ln->text, ln->len};
	int rc;

	/* most lines are other slugs': no need to parse them */
	if (ln->over || memmem(ln->text, ln->len, slug->data, slug->len) == NULL)
		return 0;
	rc = json_check(ln->text, ln->len, NULL);
	if (rc == -ENOMEM)
		return err_nomem(err);
	return rc == 0 && json_member(whole, "slug", &value) && value.len == slug->len &&
	       memcmp(value.text, slug->data, slug->len) == 0;
}

/* at most ${max} lines of ${slug} at or behind ${pos} */
static int add_lines(
	int fd, const char *slug, size_t max, uint64_t *pos, struct buf *out, struct err *err)
{
	struct buf want = BUF_INIT;
	struct lines ls;
	struct line ln;
	int rc = 0;

	if (json_put_text(&want, slug) < 0)
		return err_nomem(err);
	lines_init(&ls, fd, *pos, UINT64_MAX, LOG_LINE_BYTES);
	while (max > 0 && (rc = lines_next(&ls, &ln, err)) > 0 && ln.whole) {
		rc = line_is_of(&ln, &want, err);
		if (rc > 0) {
			(void)buf_add(out, ln.text, ln.len);
			(void)buf_putc(out, '\n');
			max--;
		}
		if (rc >= 0 && out->failed)
			rc = err_nomem(err);
		if (rc < 0)
			break;
		*pos = ln.next;
	}
	lines_release(&ls);
	buf_release(&want);
	return rc < 0 ? rc : 0;
}

int log_slug_next(int fd, const char *slug, uint64_t *pos, struct buf *out, struct err *err)
{
	return add_lines(fd, slug, 1, pos, out, err);
}

int log_slug_back(
	const struct store *st, const char *slug, size_t i, struct buf *out, struct err *err)
{
	int fd, rc = log_back(st, i, &fd, err);
	uint64_t pos = 0;

	if (rc < 0)
		return rc;
	rc = add_lines(fd, slug, SIZE_MAX, &pos, out, err);
	close(fd);
	return rc;
}

/* ---- one line ---- */

static bool begins(const struct line *ln, const struct buf *head)
{
	return ln->len > head->len && memcmp(ln->text, head->data, head->len) == 0;
}

struct sought {
	struct buf plain, again; /* how it begins, and how when a recovery wrote it */
	uint64_t seq;
};

/* 1 found in this file, 0 not; *${first} is the first seq seen in it, 0 none */
static int file_has(int fd, const struct sought *want, uint64_t *first, struct err *err)
{
	char prev[HASH_HEX_BYTES];
	bool found = false;
	struct lines ls;
	struct line ln;
	uint64_t seq;
	int rc;

	*first = 0;
	lines_init(&ls, fd, 0, UINT64_MAX, LOG_LINE_BYTES);
	while (!found && (rc = lines_next(&ls, &ln, err)) > 0) {
		bool is_it = ln.whole && (begins(&ln, &want->plain) || begins(&ln, &want->again));

		if (!is_it && *first != 0)
			continue;
		rc = line_chain(&ln, &seq, prev);
		if (rc < 0) {
			rc = err_nomem(err);
			break;
		}
		if (rc > 0) {
			*first = *first == 0 ? seq : *first;
			found = is_it && seq > want->seq;
		}
	}
	if (found && fdatasync(fd) < 0)
		rc = err_sys(err, "could not make it durable; not counted as done");
	lines_release(&ls);
	return rc < 0 ? rc : found;
}

int log_has(const struct store *st, uint64_t seq, const struct log_entry *entry, struct err *err)
{
	struct sought want = {.plain = BUF_INIT, .again = BUF_INIT, .seq = seq};
	int rc, fd;

	log_put_head(&want.plain, entry, false);
	log_put_head(&want.again, entry, true);
	rc = want.plain.failed || want.again.failed ? err_nomem(err) : 0;
	for (size_t i = 0; rc == 0; i++) {
		uint64_t first = 0;

		rc = log_back(st, i, &fd, err);
		if (rc == -ENOENT && i == 0) { /* it turned over and has no line yet */
			rc = 0;
			continue;
		}
		if (rc < 0)
			break;
		rc = file_has(fd, &want, &first, err);
		close(fd);
		if (first > 0 && first <= seq + 1)
			break;
	}
	buf_release(&want.plain);
	buf_release(&want.again);
	return rc == -ENOENT ? 0 : rc;
}
