/*
 * private - what the files of store/ share: a reader of lines that stays small, the crc of a line,
 * audit lines written once, and the intent of a promotion.
 */
#ifndef KOLM_STORE_PRIVATE_H
#define KOLM_STORE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "artifact/artifact.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/config.h"
#include "store/head.h"
#include "store/log.h"
#include "store/store.h"

/* ---- lines.c: the lines of a file, in memory bounded by ${max} and a quarter of a megabyte ----
 */
struct lines {
	int fd;
	size_t max;	/* longer lines are cut to their last ${max} bytes */
	uint64_t pos;	/* where to read next */
	uint64_t end;	/* nothing at or after this is read */
	uint64_t start; /* offset of the line being gathered */
	char *buf;
	size_t cap, from, len, seen;
	bool over;
};
struct line {
	const char *text; /* without its line feed; borrowed until the next call */
	size_t len;
	uint64_t offset; /* where the line begins */
	uint64_t at;	 /* where ${text} begins: behind ${offset} when the line is over */
	uint64_t next;	 /* behind its line feed */
	bool whole;	 /* it has one */
	bool over;	 /* longer than max */
};
void lines_init(struct lines *ls, int fd, uint64_t from, uint64_t end, size_t max);
/* lines_next(): 1 a line, 0 no more, negative errno. */
int lines_next(struct lines *ls, struct line *out, struct err *err);
void lines_release(struct lines *ls);
/* mark_before(fd, end, out, err): a hash of the 4 KiB before ${end}: whoever writes the file anew
 * hardly writes the same there. */
int mark_before(int fd, uint64_t end, uint64_t *out, struct err *err);

/* ---- crc.c ---- */
/* crc_seal(out, from): the object that begins at ${from} and ends the buffer gets ,"crc":"xxxxxxxx"
 * as its last member. */
int crc_seal(struct buf *out, size_t from);
/* crc_holds(text, len): false when the object carries a crc as its last member and it is wrong. */
bool crc_holds(const char *text, size_t len);

/* ---- append.c ---- */
/* flock_wait(fd, op, err): flock() through signals; -EWOULDBLOCK is passed on without a sentence.
 */
int flock_wait(int fd, int op, struct err *err);
/* lock_open(dirfd, name, err): a lock file, made if it is missing; on a read-only store it must be
 * there. */
int lock_open(int dirfd, const char *name, struct err *err);

/* append_open(dirfd, name, err): the file locked as append_line() locks it, so that who replaces it
 * loses no line; closing frees it. */
int append_open(int dirfd, const char *name, struct err *err);

/* ---- log_parts.c: logs/STEM.jsonl, and the older parts of it ---- */
enum {
	PART_NAME_BYTES = 64,
	/* of the text of a packed one, which is unpacked into memory; what is longer stays plain */
	PART_BYTES_MAX = 2 * LOG_TURN_BYTES
};
struct log_part {
	uint64_t number;
	bool is_packed; /* STEM.N.jsonl.zst, else STEM.N.jsonl */
};
struct log_parts {
	struct log_part *part; /* ascending, owned */
	size_t n;
};
int parts_list(const struct store *st, const char *stem, struct log_parts *out, struct err *err);
void parts_release(struct log_parts *ps);
/* part_file(stem, p, out): its name in logs/ */
const char *part_file(const char *stem, const struct log_part *p, char out[PART_NAME_BYTES]);
/* part_open(st, stem, p, err): its text, for reading; -EUCLEAN when it cannot be unpacked,
 * -EFBIG to more than PART_BYTES_MAX */
int part_open(const struct store *st, const char *stem, const struct log_part *p, struct err *err);
/* part_turn(st, stem, number, err): STEM.jsonl becomes STEM.<number>.jsonl and is empty: 1; 0: it
 * cannot now, all is as it was; an error when it may have or not. Under the log lock. */
int part_turn(const struct store *st, const char *stem, uint64_t number, struct err *err);
/* parts_pack(st, stem): pack what is not packed yet, remove what a turn that died left. Under the
 * log lock. */
void parts_pack(const struct store *st, const char *stem);

/* ---- log.c ---- */
#define LOG_NAME  "tune.jsonl"
#define LOG_STEM  "tune"
#define RUNS_STEM "runs"
enum { LOG_LINE_BYTES = 1024 * 1024 };
/* the last line known; all zero and EMPTY_SHA before the first. start = end = 0 behind a turn: it
 * is the last of the newest part. */
struct tip {
	uint64_t seq;
	uint64_t start, end; /* its place in tune.jsonl, with its line feed */
	char sha[HASH_HEX_BYTES];
	char stamp[STAMP_TEXT_BYTES]; /* the store's signature of the above, "-" none */
};
/* tip_text(tip, out): what is signed */
enum { TIP_TEXT_BYTES = 160 };
size_t tip_text(const struct tip *tip, char out[TIP_TEXT_BYTES]);
void tip_read(const struct store *st, struct tip *tip);
/* log_lock(st, fd, err): freed by close(*fd) */
int log_lock(const struct store *st, int *fd, struct err *err);
/* log_open(st, err): tune.jsonl for reading; -ENOENT when there is none */
int log_open(const struct store *st, struct err *err);
/* log_back(st, i, fd, err): the log's file ${i} back from tune.jsonl (0); -ENOENT: no more. */
int log_back(const struct store *st, size_t i, int *fd, struct err *err);
/* log_slug_next(fd, slug, pos, out, err): appends to ${out} the first whole line of ${slug} at or
 * behind ${pos} of a file of the log, with its line feed; ${pos} is then behind the lines looked
 * at. 0 also when there is none yet. */
int log_slug_next(int fd, const char *slug, uint64_t *pos, struct buf *out, struct err *err);
/* line_is_of(ln, slug, err): whether a whole line is of ${slug}, written as JSON writes it: 1, 0,
 * -ENOMEM */
int line_is_of(const struct line *ln, const struct buf *slug, struct err *err);
/* line_chain(ln, seq, prev): 1: a chained line has both; 0: the lines of the reference and torn
 * ones have neither; -ENOMEM: not known */
int line_chain(const struct line *ln, uint64_t *seq, char prev[HASH_HEX_BYTES]);
/* log_put_head(out, entry, recovered): the line up to ,"slug":"x" and its comma */
void log_put_head(struct buf *out, const struct log_entry *entry, bool recovered);
/* log_has(st, seq, entry, err): whether the line of ${entry} stands behind line ${seq}: 1, 0 or an
 * error. Found, it is made durable. */
int log_has(const struct store *st, uint64_t seq, const struct log_entry *entry, struct err *err);
/* log_ready(st, seq, err): whether a line could be appended (K15), and the seq of the last. */
int log_ready(const struct store *st, uint64_t *seq, struct err *err);
/* log_once(st, seq, entry, recovered, err): append unless this line of this slug stands behind line
 * ${seq} already. */
int log_once(const struct store *st, uint64_t seq, const struct log_entry *entry, bool recovered,
	struct err *err);
/* logs_pack(st): what a turn that died left */
void logs_pack(const struct store *st);
/* log_recovered(st, slug, fields, err): one "recovered" line of this process. */
int log_recovered(const struct store *st, const char *slug, const char *fields, struct err *err);

/* ---- intent.c: tune/<slug>/.intent, there while HEAD and head.prev change; all of it is in the
 * file ---- */
struct intent {
	char from[REV_BYTES], to[REV_BYTES],
		prev[REV_BYTES]; /* HEAD before and after, head.prev before ("" none) */
	uint64_t log_seq;	 /* of the audit log's last line then */
	uint64_t job;
	struct by by;
	bool has_by;
	char event[40];
	char *fields; /* owned, or NULL */
};
int intent_write(const struct tune *tn, const struct intent *in, struct err *err);
/* intent_read(): -ENOENT when no change is open, -EUCLEAN when it cannot be read. */
int intent_read(const struct tune *tn, struct intent *out, struct err *err);
int intent_remove(const struct tune *tn, struct err *err);
void intent_release(struct intent *in);

/* ---- head.c ---- */
#define HEAD_NEXT ".HEAD.next"
/* rev_file(dirfd, name, out, err): -ENOENT, -EUCLEAN. Trimmed. */
int rev_file(int dirfd, const char *name, char out[REV_BYTES], struct err *err);
/* head_logged(tn, out, err): what the audit log says HEAD and head.prev are; "" where it says
 * nothing */
int head_logged(const struct tune *tn, struct head *out, struct err *err);
/* head_exchange(dirfd, a, b, err): swap two names at once; -ENOSYS where the file system cannot */
int head_exchange(int dirfd, const char *a, const char *b, struct err *err);
/* head_write(tn, name, rev, err): a new file ${name}, fsynced, not yet the directory */
int head_write(const struct tune *tn, const char *name, const char *rev, struct err *err);

/* ---- slug.c ---- */
/* name_is_plain(name, len): [A-Za-z0-9_][A-Za-z0-9_-]* */
bool name_is_plain(const char *name, size_t len);

/* ---- request.c ---- */
/* rev_member(line, key, out): a member of a line that is a revision; "" when it is none */
void rev_member(struct json_slice line, const char *key, char out[REV_BYTES]);

/* ---- reserve.c ---- */
void reserve_make(const struct store *st);
/* reserve_free(): true when there is a megabyte more than before. The next store_open() makes it
 * again, once there is room. */
bool reserve_free(const struct store *st);

/* config_parse(text, len, out, err): -EBADMSG when the text is no JSON object: the caller says what
 * that means. */
int config_parse(const char *text, size_t len, struct config *out, struct err *err);

/* tune_foreign(tn): the store was made by the reference implementation: its config has no
 * artifact_sha256. */
bool tune_foreign(const struct tune *tn);

/* ---- recover.c ---- */
typedef void stale_found(void *arg, const char *path, const char *text);
/* captures_more(fd, number, each, arg, counts, err): captures_scan() from where ${counts} ends;
 * ${number} is that of the next line, and afterwards of the one behind. */
struct capture_counts;
struct capture_row;
int captures_more(int fd, uint64_t *number,
	int (*each)(void *arg, const struct capture_row *row, struct err *err), void *arg,
	struct capture_counts *counts, struct err *err);
/* store_recover_every(st): store_recover(), and temporary names in every revision go too. */
void store_recover_every(const struct store *st);
/* store_stale(st, found, arg): tell what store_recover_every() would do, and do nothing */
void store_stale(const struct store *st, stale_found *found, void *arg);

/* ---- temporary.c ---- */
/* name_is_temporary(name): a file or folder being made (".NAME.tmp.PID", ".NAME.tmp.PID.N" and the
 * few other ends we write) or being removed (".NAME.removed.PID", ".NAME.removed.PID.N",
 * ".vN.removed"); nothing else, NAME may be anything. name_owner(): PID, 0 none. */
bool name_is_temporary(const char *name);
pid_t name_owner(const char *name);

#endif
