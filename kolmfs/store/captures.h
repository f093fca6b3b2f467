/*
 * captures - captures.jsonl (FORMATS section 6, reliability.md 9.3) and the one decision which of
 * its rows teach (DESIGN section 4).
 */
#ifndef KOLM_CAPTURES_H
#define KOLM_CAPTURES_H

#include "base/json.h"
#include "store/store.h"

enum { CAPTURE_LINE_BYTES = 1000000 };

/* capture_check(line, len, err): a row that may enter: JSON object with input and output (F04
 * -EINVAL "capture needs input and output"; a "drop":true row needs input only), at most 1,000,000
 * bytes (F03 -EMSGSIZE). */
int capture_check(const char *line, size_t len, struct err *err);

/* captures_append(tn, line, len, err): checked and appended, healed at the tail, under the file's
 * lock. */
int captures_append(const struct tune *tn, const char *line, size_t len, struct err *err);
/* captures_append_run(tn, line, err): the same for a line of capture_render(), of which only the
 * length is looked at: a recipe that returned nothing makes a line without output (FORMATS 6),
 * which is not counted as a row, nor as broken. */
int captures_append_run(const struct tune *tn, const struct buf *line, struct err *err);

/* captures_row(...): render a row with ts, id and crc. */
struct capture {
	struct json_slice input, output; /* output.len 0: left out */
	const char *recipe;		 /* NULL: null */
	int64_t latency_us;		 /* 0: null */
	const char *rev;		 /* NULL: left out */
	const char *of; /* confirm/fix/drop: id looked at; "" null; NULL: left out */
	bool drop;
};
int capture_render(const struct capture *cp, struct buf *out, char id[33]);

struct capture_counts {
	uint64_t rows;	/* lines that parse as rows */
	uint64_t bytes; /* end of the last whole line: what a step freezes */
	uint64_t torn, salvaged, oversize, broken;
	uint64_t broken_at[8]; /* offsets of the first broken ones */
};

/* one row as it lies in the file; slices borrowed during the call */
struct capture_row {
	uint64_t number;      /* line number from 0 */
	uint64_t offset, end; /* from the record's first byte to behind its line feed */
	struct json_slice line, input, output; /* output.len 0 for a drop row */
	struct json_slice rev; /* len 0: no "rev": a person's row, or a foreign one */
	struct json_slice id;
	bool drop;
	int64_t latency_us;
};
typedef int captures_each(void *arg, const struct capture_row *row, struct err *err);

/* captures_scan(fd, end, each, arg, counts, err): every row that begins before ${end} (UINT64_MAX:
 * to the end), salvaged ones too. Bounded memory. ${each} may be NULL. */
int captures_scan(int fd, uint64_t end, captures_each *each, void *arg,
	struct capture_counts *counts, struct err *err);

/* captures_open(tn, err): read-only descriptor, -ENOENT when there is none yet. */
int captures_open(const struct tune *tn, struct err *err);

/*
 * captures_count(tn, cache, out, err): the counts of the whole file; only what was appended since
 * the last call with ${cache} (zero at first, one per slug, kept by the caller) is read. A file
 * that is not there counts as empty. -ESTALE once "captures.jsonl was replaced or cut" (F08); the
 * next call counts anew.
 */
struct capture_cache {
	uint64_t dev, ino, number;
	struct capture_counts counts;
};
int captures_count(const struct tune *tn, struct capture_cache *cache, struct capture_counts *out,
	struct err *err);

/* rows that were not taken: longer than CAPTURE_LINE_BYTES, and pieces a writer never finished */
struct capture_drops {
	uint64_t oversize, unfinished;
};
/* captures_drop(tn, more, err): counted in tune/<slug>/.dropped, for every process and after a
 * SIGKILL too. captures_dropped(): the count; nothing was ever dropped: zeros. -EUCLEAN when the
 * file holds something else. */
int captures_drop(const struct tune *tn, struct capture_drops more, struct err *err);
int captures_dropped(const struct tune *tn, struct capture_drops *out, struct err *err);

/*
 * captures_sync(tn, err): what was appended is on the disk when this returns. captures_append()
 * does it itself when the file was quiet for a second; in a burst it does not, so a server calls
 * this about a second after it has appended, and a command before it ends.
 */
int captures_sync(const struct tune *tn, struct err *err);

/*
 * Which rows teach. Reads the rows before ${end}; those at or after ${from} are new, of the earlier
 * ones ${replay} are taken again (lowest XXH3 of seed and canonical input). For each input the last
 * row without rev decides; rows with rev teach only under ${all}, of those with equal output the
 * last; inputs equal to one of ${cases} never do.
 */
struct teach_options {
	uint64_t from, end;
	uint64_t replay;
	uint64_t seed;
	bool all;
	const struct json_slice *cases;
	size_t ncases;
};
struct teach_row {
	uint64_t number;
	char *input, *output; /* raw JSON, owned */
	size_t input_len, output_len;
};
struct teach {
	struct teach_row *row; /* in file order */
	size_t n;
	size_t fresh;					    /* of which at or after ${from} */
	uint64_t model, superseded, cases, dropped, broken; /* rows that do not teach, by reason */
};
int captures_teach(int fd, const struct teach_options *opt, struct teach *out, struct err *err);
void teach_release(struct teach *te);

#endif
