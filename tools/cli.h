/*
 * cli - what the files of the command line share: the table of verbs, the words that were typed,
 * and how things are said to people.
 */
#ifndef KOLM_CLI_H
#define KOLM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "artifact/artifact.h"
#include "kolm.h"

/* FORMATS 19.1 */
enum cli_exit { EXIT_OK, EXIT_USAGE, EXIT_GATE, EXIT_MISSING, EXIT_RUN, EXIT_NOT_FOUND };

enum { FLAGS_MAX = 12, WORDS_MAX = 257 }; /* rag merge: a name and RAG_PARTS_MAX parts */

/* a flag of a verb; its value is the next word unless that begins with '-' (a lone "-" is a value)
 */
struct flag {
	const char *name;
	const char *value; /* what help calls it; NULL: a switch */
	const char *text;
};

enum verb_needs {
	NEED_NOTHING,
	NEED_STORE, /* an open store */
	NEED_SPAWN, /* and the process that starts others */
};

struct cli;

struct verb {
	const char *group; /* NULL: the name stands alone */
	const char *name;
	const char *words; /* positional words, as in help */
	const char *text;  /* one line */
	enum verb_needs needs;
	int fails; /* exit code of a failure that is neither usage, gate nor a missing part; 0: by
		      errno */
	size_t words_min, words_max;
	/* negative errno with ${err}, or an exit code */
	int (*run)(struct cli *c, struct err *err);
	const struct flag *flags; /* at most FLAGS_MAX, ends with name NULL */
};

extern const struct verb verbs[];
extern const size_t verbs_count;

/* one command; lives as long as the program */
struct cli {
	const struct verb *verb;
	char store[STORE_PATH_BYTES];
	const char *store_given; /* --store; NULL */
	bool help;
	bool given[FLAGS_MAX];
	const char *value[FLAGS_MAX]; /* NULL: given without a value, or not given */
	const char *word[WORDS_MAX];
	size_t words;
	struct spawner *sp;
	struct kolm *k;
	struct by by;
};

/* ---- args.c ---- */
/* args_parse(c, argc, argv, err): find the verb, then its flags and words. ${c}->verb stays NULL
 * when nothing or only a group was typed. */
int args_parse(struct cli *c, int argc, char **argv, struct err *err);
/* flag_value(c, name): NULL when it was not given or has no value. flag_on(c, name): it was given.
 */
const char *flag_value(const struct cli *c, const char *name);
bool flag_on(const struct cli *c, const char *name);
/* flag_timeout(c, out, err): --timeout, seconds of one call of the model; 0 when it was not given
 */
int flag_timeout(const struct cli *c, int64_t *out, struct err *err);
/* usage_error(err, fmt): -EINVAL that ends with exit code 1; usage_mark(err): make a failure one.
 */
int usage_error(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int usage_mark(struct err *err);
int missing_mark(struct err *err); /* one that ends with exit code 3 */
int exit_code(const struct verb *v, const struct err *err);
void help_all(FILE *out);
void help_group(FILE *out, const char *group);
void help_verb(FILE *out, const struct verb *v);
size_t verb_title(const struct verb *v, char *out, size_t cap); /* "tune step" */

/* ---- paths.c ---- */
/* path_absolute(path, out, err): the folder part resolved, the last component kept (a link stays a
 * link). The folder must exist. */
int path_absolute(const char *path, char out[STORE_PATH_BYTES], struct err *err);
/* path_artifact(c, out, err): --artifact, -a or the first word, by FORMATS 19.1: as it is, below
 * the store's artifacts/, and both with .kolm behind it. Usage error when there is none, ENOENT
 * when nothing is found. */
int path_artifact(const struct cli *c, char out[STORE_PATH_BYTES], struct err *err);
/* path_slug(c, slug, err): --slug, or the slug of the artifact named. A file of that name which is
 * not the slug's artifact is -EEXIST. It need not be initialised. */
int path_slug(const struct cli *c, char slug[SLUG_BYTES + 1], struct err *err);
/* path_same_slug(c, artifact, sha256, slug, err): the initialised slug this artifact has, or "";
 * -ENOENT when --slug names one that has it not. */
int path_same_slug(const struct cli *c, const char *artifact, const char *sha256,
	char slug[SLUG_BYTES + 1], struct err *err);
/* path_base(given, out, err): absolute; what looks like an address or a model's name stays as it
 * is, for loop_init() to refuse. */
int path_base(const char *given, char out[STORE_PATH_BYTES], struct err *err);
/* path_short(path, out): with ~ when below HOME, for people. */
const char *path_short(const char *path, char out[STORE_PATH_BYTES]);
const char *path_name(const char *path); /* last component; borrowed */
/* path_read(path, max, out, err): a file, or standard input for "-". */
int path_read(const char *path, size_t max, struct buf *out, struct err *err);

/* ---- say.c ---- */
/* say_safe(out, text, len): control characters and direction marks as \xNN and \u{...} */
void say_safe(FILE *out, const char *text, size_t len);
void say_text(FILE *out, const char *text);
/* say_json(value): pretty, on standard output, with a line feed */
int say_json(struct json_slice value, struct err *err);
const char *say_elapsed(double seconds, char out[40]); /* "4m 31s" */
const char *say_count(double n, char out[24]);	       /* "460.8K", "7B" */
/* say_preview(out, json, columns): a JSON value on one line, cut */
void say_preview(FILE *out, struct json_slice json, size_t columns);

/* ---- wait.c ---- */
/* job_finish(c, slug, id, jr, err): wait for an accepted job, with a progress line on a terminal;
 * an outcome other than ok is a failure with the job's sentence. Ctrl-C cancels it. */
int job_finish(
	struct cli *c, const char *slug, uint64_t id, struct job_record *jr, struct err *err);

/* ---- kolm.c ---- */
/* interrupts_catch(): from here on the first SIGINT or SIGTERM only makes interrupted() true; the
 * second ends the program. */
void interrupts_catch(void);
bool interrupted(void);

/* ---- bench.c: a compile's cases, measured before there is a slug ---- */
struct bench {
	struct cli *c;
	struct artifact_keys keys;
	const char *base;	  /* --base, absolute; NULL */
	struct json_slice params; /* of recipe 0, when a case has none */
	/* with a base: a store of its own */
	struct kolm *k;
	char dir[STORE_PATH_BYTES];
	bool is_warm;
	struct artifact *probe;
};
int bench_measure(void *arg, const char *artifact_path, size_t case_index, struct buf *output,
	double *latency_us, struct err *err);
void bench_release(struct bench *b);

/* ---- cmd_keys.c ---- */
/* receipt_save(c, kind, given, text, path, err): at ${given}, or NULL: in the store's receipts. */
int receipt_save(struct cli *c, const char *kind, const char *given, const struct buf *text,
	char path[STORE_PATH_BYTES], struct err *err);

/* ---- verbs ---- */
int cmd_compile(struct cli *c, struct err *err);
int cmd_keygen(struct cli *c, struct err *err);
int cmd_trust_list(struct cli *c, struct err *err);
int cmd_trust_add(struct cli *c, struct err *err);
int cmd_trust_remove(struct cli *c, struct err *err);
int cmd_verify_receipt(struct cli *c, struct err *err);
int cmd_verify(struct cli *c, struct err *err);
int cmd_inspect(struct cli *c, struct err *err);
int cmd_run(struct cli *c, struct err *err);
int cmd_eval(struct cli *c, struct err *err);
int cmd_init(struct cli *c, struct err *err);
int cmd_capture_on(struct cli *c, struct err *err);
int cmd_capture_off(struct cli *c, struct err *err);
int cmd_step(struct cli *c, struct err *err);
int cmd_tune_eval(struct cli *c, struct err *err);
int cmd_promote(struct cli *c, struct err *err);
int cmd_export(struct cli *c, struct err *err);
int cmd_replay(struct cli *c, struct err *err);
int cmd_rollback(struct cli *c, struct err *err);
int cmd_status(struct cli *c, struct err *err);
int cmd_watch(struct cli *c, struct err *err);
int cmd_rag_index(struct cli *c, struct err *err);
int cmd_rag_query(struct cli *c, struct err *err);
int cmd_rag_merge(struct cli *c, struct err *err);
int cmd_rag_verify(struct cli *c, struct err *err);
int cmd_rag_diff(struct cli *c, struct err *err);
int cmd_rag_export(struct cli *c, struct err *err);
int cmd_rag_attach(struct cli *c, struct err *err);
int cmd_rag_detach(struct cli *c, struct err *err);
int cmd_rag_list(struct cli *c, struct err *err);
int cmd_captures_list(struct cli *c, struct err *err);
int cmd_captures_confirm(struct cli *c, struct err *err);
int cmd_captures_fix(struct cli *c, struct err *err);
int cmd_captures_drop(struct cli *c, struct err *err);
int cmd_log_verify(struct cli *c, struct err *err);
int cmd_fsck(struct cli *c, struct err *err);
int cmd_doctor(struct cli *c, struct err *err);
int cmd_mount(struct cli *c, struct err *err);
int cmd_umount(struct cli *c, struct err *err);

#endif
