/*
 * log_verify - the chain of the audit log proved from its first line to its last, over all its
 * parts; and that nothing is missing behind the last one known.
 */
#include "store/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

/* what is carried from file to file */
struct chain {
	char last[HASH_HEX_BYTES]; /* hash of the line before */
	uint64_t seq;		   /* of the last chained line */
	uint64_t lines;		   /* in all */
	struct tip tip;
	bool has_tip;		    /* the line the tip tells of was seen */
	char name[PART_NAME_BYTES]; /* the part being looked at, "" tune.jsonl */
};

static int chain_broken(const struct chain *c, uint64_t line, const char *why, struct err *err)
{
	return err_set(err, EKEYREJECTED, "chain breaks at line %" PRIu64 "%s%s: %s", line,
		c->name[0] != '\0' ? " of logs/" : "", c->name, why);
}

static int check_line(
	struct chain *c, const struct line *ln, uint64_t n, bool has_tip_here, struct err *err)
{
	char prev[HASH_HEX_BYTES];
	uint64_t seq;

	if (ln->over)
		return chain_broken(c, n, "longer than 1 MiB", err);
	int rc = line_chain(ln, &seq, prev);

	if (rc < 0)
		return err_nomem(err);
	if (rc > 0) {
		if (strcmp(prev, c->last) != 0)
			return chain_broken(c, n, "the line before it is another", err);
		if (seq != c->seq + 1)
			return chain_broken(c, n, "a line before it is missing", err);
		c->seq = seq;
	}
	sha256_hex(ln->text, ln->len, c->last);
	if (has_tip_here && ln->offset == c->tip.start) {
		if (strcmp(c->last, c->tip.sha) != 0)
			return chain_broken(c, n, "it was changed", err);
		c->has_tip = true;
	}
	return 0;
}

/* the lines between chained ones (torn, or of another program) are held by the hash in the line
 * behind them. ${number}: of the part, UINT64_MAX: tune.jsonl. */
static int check_file(struct chain *c, int fd, uint64_t number, struct err *err)
{
	bool has_tip_here = c->tip.end > 0 && c->tip.seq > c->seq && c->tip.seq <= number;
	uint64_t n = 0, end = 0;
	struct lines ls;
	struct line ln;
	int rc;

	lines_init(&ls, fd, 0, UINT64_MAX, LOG_LINE_BYTES);
	while ((rc = lines_next(&ls, &ln, err)) > 0 &&
		(rc = check_line(c, &ln, ++n, has_tip_here, err)) == 0)
		end = ln.next;
	lines_release(&ls);
	c->lines += n;
	if (rc < 0)
		return rc;
	if (has_tip_here && (!c->has_tip || end < c->tip.end))
		return chain_broken(c, n + 1, "lines are missing at the end", err);
	if (number != UINT64_MAX && c->seq != number)
		return chain_broken(c, n + 1, "lines are missing at the end", err);
	/* the log turned over behind the line of the tip */
	if (c->tip.end == 0 && c->tip.seq == number) {
		if (strcmp(c->last, c->tip.sha) != 0)
			return chain_broken(c, n, "it was changed", err);
		c->has_tip = true;
	}
	return 0;
}

static int check_parts(const struct store *st, struct chain *c, struct err *err)
{
	struct log_parts ps;
	int rc = parts_list(st, LOG_STEM, &ps, err);

	for (size_t i = 0; rc == 0 && i < ps.n; i++) {
		const struct log_part *p = &ps.part[i];
		struct err why = ERR_NONE;
		int fd = part_open(st, LOG_STEM, p, &why);

		(void)part_file(LOG_STEM, p, c->name);
		if (fd == -EUCLEAN)
			rc = chain_broken(
				c, 1, "it cannot be unpacked: it was changed or cut", err);
		else if (fd < 0)
			rc = err_set(err, -fd, "%.300s", why.text);
		if (fd < 0)
			break;
		rc = check_file(c, fd, p->number, err);
		close(fd);
	}
	c->name[0] = '\0';
	parts_release(&ps);
	return rc;
}

/* who signed the tip: 1, 0 nobody */
static int check_stamp(const struct store *st, struct chain *c, char who[80], struct err *err)
{
	char text[TIP_TEXT_BYTES];
	struct err why = ERR_NONE;
	size_t len = tip_text(&c->tip, text);
	int rc = c->tip.seq == 0 ? 0 : stamp_check(st->dir, c->tip.stamp, text, len, who, &why);

	if (rc < 0)
		return err_set(
			err, -rc, "the end of the chain cannot be believed: %.300s", why.text);
	if (rc == 0)
		who[0] = '\0';
	return rc;
}

int log_verify(const struct store *st, uint64_t *lines, struct err *err)
{
	struct log_checkpoint end;

	return log_verify_signed(st, lines, &end, err);
}

int log_verify_signed(
	const struct store *st, uint64_t *lines, struct log_checkpoint *end, struct err *err)
{
	struct chain c = {.last = EMPTY_SHA};
	int lock, fd, rc;

	rc = log_lock(st, &lock, err);
	if (rc < 0)
		return rc;
	tip_read(st, &c.tip);
	c.has_tip = c.tip.seq == 0;
	end->seq = c.tip.seq;
	rc = check_stamp(st, &c, end->who, err);
	if (rc >= 0)
		rc = check_parts(st, &c, err);
	if (rc == 0) {
		rc = fd = log_open(st, err);
		if (fd >= 0) {
			rc = check_file(&c, fd, UINT64_MAX, err);
			close(fd);
		} else if (fd == -ENOENT) {
			rc = 0;
		}
	}
	if (rc == 0 && !c.has_tip)
		rc = chain_broken(&c, 1, "the log is gone", err);
	close(lock);
	if (lines != NULL)
		*lines = c.lines;
	return rc;
}
