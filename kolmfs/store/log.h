/*
 * log - logs/tune.jsonl, the hash-chained audit log, and logs/runs.jsonl.
 *
 * A line of tune.jsonl (PROTOCOLS section 5): "event" and its own fields, then slug, ts, job, by
 * {uid,pid,comm}, seq, prev (sha256 of the line before, without its line feed; of nothing for the
 * first).
 *
 * A log of 64 MiB ("log_max_bytes" in config.json) turns over before its next line: what it held is
 * logs/tune.N.jsonl.zst then, N the seq of its last line, and the chain goes on in the new
 * tune.jsonl. So does runs.jsonl, N counting.
 */
#ifndef KOLM_LOG_H
#define KOLM_LOG_H

#include "store/store.h"

struct log_entry {
	const char *event;
	const char *fields; /* JSON members to stand after "event", as text:
			       "\"revision\":\"v1\",\"k\":0.9"; NULL none */
	const char *slug;   /* NULL: null */
	uint64_t job;	    /* 0: null */
	const struct by *by;
};

/* log_append(st, entry, err): under the log lock: heal the tail, chain, write once, fsync. K15:
 * -EUCLEAN when the log was cut or is no file. */
int log_append(const struct store *st, const struct log_entry *entry, struct err *err);

/* log_known(st): the seq up to which every line is one that this process appended, or was given to
 * log_know(): who looks for lines of others begins behind it. log_know(st, from, to): those up to
 * ${to} are, when all up to ${from} were. */
uint64_t log_known(const struct store *st);
void log_know(const struct store *st, uint64_t from, uint64_t to);

/* log_slug_back(st, slug, i, out, err): the lines of one slug in the ${i}th file back: 0
 * tune.jsonl, 1 the newest of its older parts, ...; -ENOENT: there are no more. */
int log_slug_back(
	const struct store *st, const char *slug, size_t i, struct buf *out, struct err *err);

/* log_verify(st, lines, err): from the first line of the oldest part to the last of tune.jsonl.
 * -EKEYREJECTED "chain breaks at line N" (K16). */
int log_verify(const struct store *st, uint64_t *lines, struct err *err);

/* the last line that was noted down apart from the log, so that a cut-off tail is seen */
struct log_checkpoint {
	uint64_t seq; /* 0 none */
	char who[80]; /* "ed25519 FINGERPRINT", "hmac-sha256": what signed it; "" nothing */
};
/* log_verify_signed(): the same, and what stands at the end. -EKEYREJECTED also when it is signed
 * by a key that is not this store's. */
int log_verify_signed(
	const struct store *st, uint64_t *lines, struct log_checkpoint *end, struct err *err);

/* runs_append(st, line, len, err): one JSON line to logs/runs.jsonl (healed tail, one write, no
 * fsync). */
int runs_append(const struct store *st, const char *line, size_t len, struct err *err);

/* append_line(dirfd, name, line, len, sync, err): the healed append everything above is made of:
 * flock, look at the last byte, one writev of [LF] line LF; a short write is cut off again
 * (-ENOSPC). Creates with 0600. */
int append_line(
	int dirfd, const char *name, const char *line, size_t len, bool sync, struct err *err);

#endif
