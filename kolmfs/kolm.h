/*
 * kolm - the public face of libkolm: the loop over a store, used by the file server and the command
 * line alike. No FUSE here.
 *
 * One struct kolm is an open store with its spawner, its warm runners and the jobs this process
 * runs. Every function is thread-safe and blocks at most on short file locks, unless it says that
 * it waits. What another process changes in the store is seen at the next call: nothing read here
 * is cached.
 */
#ifndef KOLM_KOLM_H
#define KOLM_KOLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "spawner.h"
#include "store/captures.h"
#include "store/config.h"
#include "store/head.h"
#include "store/journal.h"
#include "store/log.h"
#include "store/revision.h"
#include "store/store.h"

struct kolm;

/* kolm_open(path, server, sp, out, err): open the store; ${server}: take the server lock, recover,
 * re-queue interrupted steps, start the watch. ${sp} is borrowed. */
int kolm_open(
	const char *path, bool server, struct spawner *sp, struct kolm **out, struct err *err);
/* kolm_ending(k): a server serves no more and will close: who wants the store waits for it. */
void kolm_ending(struct kolm *k);
/* kolm_close(k): ask running jobs to stop (a step keeps its checkpoint), wait for them, end the
 * runners. */
void kolm_close(struct kolm *k);
const struct store *kolm_store(const struct kolm *k);
struct eye *kolm_eye(const struct kolm *k); /* a server's; store/eye.h */

/* ---- changes, for those who wait ---- */
enum kolm_change {
	CHANGE_STATUS = 1, /* anything `status` shows */
	CHANGE_HEAD = 2,
	CHANGE_EVENTS = 4, /* a line was added to tune.jsonl */
	CHANGE_JOB = 8,	   /* a job changed its state */
	CHANGE_LOG = 16,   /* the job's log grew */
	CHANGE_SLUGS = 32, /* a slug or an index came or went */
	CHANGE_FOUND = 64, /* beside another: found on the disk, done here or by another process */
	CHANGE_SEEN = 128, /* alone, of no slug: files of the store changed, whoever did it */
};
/* kolm_on_change(k, fn, arg): called from any thread, without locks held, after the change is on
 * disk. ${slug} NULL: the rag side; "rag/NAME": that index. */
void kolm_on_change(
	struct kolm *k, void (*fn)(void *arg, const char *slug, unsigned what), void *arg);

/* ---- options of the verbs, parsed in one place for ctl ("epochs=3") and kolm ("--epochs 3") ----
 */
struct init_options {
	char artifact[STORE_PATH_BYTES];   /* absolute */
	char base[STORE_PATH_BYTES];	   /* absolute; "" none */
	char base_given[STORE_PATH_BYTES]; /* as typed; "" the same */
	char slug[SLUG_BYTES + 1];	   /* "" from the artifact's name */
	int rank;
	double alpha, dropout;
};
struct step_options {
	int epochs, batch;
	double lr;
	int64_t seed;
	uint64_t mem; /* bytes, 0: the engine's plan */
	bool airgap;
	bool all;	      /* rows=all */
	char from[REV_BYTES]; /* "": HEAD */
	char given[240];      /* the options as they came, for the job's verb line */
};
struct index_options {
	char dir[STORE_PATH_BYTES]; /* absolute */
	char name[80];		    /* "" from the folder's name */
	char ext[256];		    /* "-" not given */
	uint64_t max_bytes;	    /* 0 not given */
	uint64_t mem;		    /* 0 not given */
	char mode[16], lang[16];    /* "" not given */
	char shard[16];		    /* "2/4"; "" the whole folder */
	/* not by option: */
	char parts[8192]; /* folders of indexes to be joined, each with a line feed; "" none, then
			     ${dir} is not looked at */
	bool is_proof;	  /* build beside the index, compare, and publish nothing */
};
void init_options_default(struct init_options *o);
void step_options_default(struct step_options *o);
void index_options_default(struct index_options *o);
/* index_options_again(o, info): as the index was asked for that is there, ${info}.root apart. */
struct rag_info;
void index_options_again(struct index_options *o, const struct rag_info *info);
/* -EINVAL `unknown option "epoch"; did you mean "epochs"`; -EINVAL `epochs given twice` (A07) when
 * ${seen} says so; ranges A21-A25 */
int init_option(struct init_options *o, const char *key, const char *value, unsigned *seen,
	struct err *err);
int step_option(struct step_options *o, const char *key, const char *value, unsigned *seen,
	struct err *err);
/* eval_option: of an eval, timeout=S */
int eval_option(
	int64_t *timeout_s, const char *key, const char *value, unsigned *seen, struct err *err);
int index_option(struct index_options *o, const char *key, const char *value, unsigned *seen,
	struct err *err);

/* ---- verbs; a failure changed nothing ---- */
/* loop_init: verifies the artifact, writes config, v0 and HEAD; an initialised slug of the same
 * artifact: 0 and *${fresh} false. Waits for one kolm-runner (headers only). B01-B16, A25. */
int loop_init(struct kolm *k, const struct init_options *o, const struct by *by,
	char slug[SLUG_BYTES + 1], bool *fresh, struct err *err);
int loop_capture(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err);
int loop_watch(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err);
/* loop_fresh(k, slug, fresh, rows, err): what a watch looks at: rows that teach and came after the
 * newest completed step, and all rows */
int loop_fresh(struct kolm *k, const char *slug, uint64_t *fresh, uint64_t *rows, struct err *err);
int loop_set(struct kolm *k, const char *slug, const char *key, const char *value,
	const struct by *by, struct err *err);
/* loop_config_write(k, slug, text): tune-config.json written whole */
int loop_config_write(struct kolm *k, const char *slug, const char *text, size_t len,
	const struct by *by, struct err *err);
/* jobs: accepted when the call returns 0; *${job} is its number. EBUSY "job 17 (step) is running";
 * ENODATA F09, F10-like refusals decided before the job */
int loop_step(struct kolm *k, const char *slug, const struct step_options *o, const struct by *by,
	uint64_t *job, struct err *err);
int loop_eval(struct kolm *k, const char *slug, const char *rev /* NULL: HEAD */,
	int64_t timeout_s /* of one call of the model; 0: 30 */, const struct by *by, uint64_t *job,
	struct err *err);
int loop_cycle(
	struct kolm *k, const char *slug, const struct by *by, uint64_t *job, struct err *err);
enum export_form { EXPORT_PEFT, EXPORT_GGUF, EXPORT_MERGED };
/* loop_export: ${rev} to the absolute ${path}, which must not exist: a PEFT folder, a GGUF adapter,
 * a GGUF of the base with the adapter folded in. ESTALE: the base is not the one it was trained on;
 * EOPNOTSUPP: merged needs a GGUF base in one file. Waits for one kolm-runner. */
int loop_export(struct kolm *k, const char *slug, const char *rev, enum export_form form,
	const char *path, struct err *err);
/* loop_replay: train ${rev} again from what its train.json says; the job fails (-EUCLEAN) when
 * other bytes come out. ENODATA, ESTALE when what it was made from is not there any more. */
int loop_replay(struct kolm *k, const char *slug, const char *rev, const struct by *by,
	uint64_t *job, struct err *err);
int loop_index(struct kolm *k, const struct index_options *o, const struct by *by, uint64_t *job,
	struct err *err);
/* loop_cancel(k, slug, job): 0: the running one; -ESRCH "no job is running" */
int loop_cancel(
	struct kolm *k, const char *slug, uint64_t job, const struct by *by, struct err *err);
/* at once. ${id} (NULL none): asked again under the same one, what was done is answered and nothing
 * is changed; -EINVAL when it was another request. */
int loop_promote(struct kolm *k, const char *slug, const char *rev, bool force, const char *id,
	const struct by *by, struct head *now, struct err *err);
int loop_rollback(struct kolm *k, const char *slug, const char *id, const struct by *by,
	struct head *now, struct err *err);
/* attach: writes <artifact>.rag.json; ${artifact} NULL: the slug's artifact. ${sidecar} gets the
 * path written. */
int loop_attach(struct kolm *k, const char *slug, const char *artifact, const char *index,
	const struct by *by, struct buf *sidecar, struct err *err);
int loop_detach(struct kolm *k, const char *slug, const char *artifact, const struct by *by,
	struct err *err);
int loop_gc(struct kolm *k, const char *slug, long keep, const struct by *by, struct err *err);
int loop_remove(
	struct kolm *k, const char *slug, const char *again, const struct by *by, struct err *err);
int loop_index_remove(struct kolm *k, const char *name, const struct by *by, struct err *err);

/* ---- captures by people ---- */
/* loop_capture_append(k, slug, line, len): one whole line written by somebody through the mount or
 * the command line */
int loop_capture_append(
	struct kolm *k, const char *slug, const char *line, size_t len, struct err *err);
/* loop_capture_sync(k, slug, err): what was appended so far is on the disk, or -EIO, also when an
 * attempt failed that nobody was told of. */
int loop_capture_sync(struct kolm *k, const char *slug, struct err *err);
void loop_capture_dropped(
	struct kolm *k, const char *slug); /* an unfinished piece was dropped: counted in status */

/* ---- run ---- */
struct run_request {
	const char *slug;     /* NULL: ${artifact} alone */
	const char *artifact; /* absolute path; NULL: the slug's */
	const char *text;     /* as written: FORMATS 19.2 decides whether it is JSON */
	size_t len;
	struct json_slice params; /* len 0: none */
	int64_t timeout_s;	  /* of one call of the model; 0: 30 */
	/* of the bytes ${artifact} is known by: -ESTALE when others ran, and nothing is captured;
	 * NULL: any */
	const char *artifact_sha256;
	/* of a failure: JSON array of recipes that did not answer and why; may be NULL */
	struct buf *tried;
};
struct run_result {
	struct buf output; /* raw JSON; len 0: undefined */
	struct buf input;  /* the JSON the input was taken for */
	char recipe_id[128], recipe_name[128];
	int64_t latency_us, lm_us;
	char rev[REV_BYTES];	  /* "" the model was not called */
	char artifact_sha256[65]; /* of the bytes whose recipes ran */
};
/* run_start: waits for the answer (call it from a thread that may). On success one row in
 * runs.jsonl and, with capture on, one in captures.jsonl. */
int kolm_run(struct kolm *k, const struct run_request *rq, struct run_result *out, struct err *err);
void run_result_release(struct run_result *r);
/*
 * kolm_measure(k, slug, artifact, input, params, timeout_s, out, err): the same call on the bench:
 * nothing is logged or captured. ${input} is JSON as it is; ${slug} may be NULL (no model then);
 * ${timeout_s} as in struct run_request. ${out}->input stays empty.
 */
int kolm_measure(struct kolm *k, const char *slug, const char *artifact, struct json_slice input,
	struct json_slice params, int64_t timeout_s, struct run_result *out, struct err *err);
/* kolm_measure_end(k, slug, artifact, err): the bench is over. No measured answer counts before
 * this: it fails when the cell did not end as cells end, -EPERM "egress attempt: ..." when it tried
 * to reach the network after an answer. */
int kolm_measure_end(struct kolm *k, const char *slug, const char *artifact, struct err *err);
/* run_print(output, out): as `kolm run` prints it: a string as is, anything else pretty JSON, then
 * LF. */
int run_print(struct json_slice output, struct buf *out);
/* run_input(text, len, out, err): the JSON that text is taken for (FORMATS 19.2). */
int run_input(const char *text, size_t len, struct buf *out, struct err *err);

/* kolm_prove(k, slug, p, out, err): the signed receipt of ${p}, to which the store adds the adapter
 * of its revision, the base, the engine and, where ${p} has none, the walls by a fresh canary. Keys
 * that are missing are made, as by a first compile. */
struct proof;
int kolm_prove(struct kolm *k, const char *slug, struct proof *p, struct buf *out, struct err *err);
/* kolm_receipt_keep(): write it below the store's receipts/; ${path} gets its name. */
int kolm_receipt_keep(struct kolm *k, const char *text, size_t len, const char *kind,
	char path[STORE_PATH_BYTES], struct err *err);

/* ---- what there is to read ---- */
/* kolm_status(k, slug, out): PROTOCOLS section 5, "key value" lines. loop_status_json():
 * FORMATS 9.4. */
int kolm_status(struct kolm *k, const char *slug, struct buf *out, struct err *err);
/* kolm_walls(k, out): "walls in force" and a line a wall, wall_netns in force; -ENOMEM. Does not
 * wait: "walls unknown" until the first canary has reported. */
int kolm_walls(struct kolm *k, struct buf *out);
int loop_status_json(struct kolm *k, const char *slug, struct buf *out, struct err *err);

/* jobs of a slug; slug NULL: of rag */
int kolm_job(struct kolm *k, const char *slug, uint64_t id, struct job_record *out,
	struct err *err); /* id 0: the newest; -ENODATA when no job ever ran */
int kolm_jobs(
	struct kolm *k, const char *slug, struct job_record **list, size_t *n, struct err *err);
int kolm_job_progress(
	struct kolm *k, const char *slug, uint64_t id, char out[96]); /* "34 180 steps", "-" */
void kolm_job_line(const struct job_record *jr, struct buf *out); /* the line of `wait`, with LF */
/* kolm_job_dir(k, slug, id, err): descriptor of its folder (log, rows.jsonl) */
int kolm_job_dir(struct kolm *k, const char *slug, uint64_t id, struct err *err);
/* kolm_job_wait(k, slug, id, out, err): waits until it is done (jobs of this process, or by
 * watching the journal). ${tick}, may be NULL, is called about every second. */
int kolm_job_wait(struct kolm *k, const char *slug, uint64_t id,
	void (*tick)(void *arg, const char *progress), void *arg, struct job_record *out,
	struct err *err);

/* kolm_query(k, index, rq, out, err): rag_answer() of libkolmrag; opened indexes are kept
 * until they are replaced. A damaged index.bin is answered for by the index.json beside it, and
 * logged ("index_damaged") once. */
struct rag_request; /* rag/kolmrag.h */
int kolm_query(struct kolm *k, const char *index, const struct rag_request *rq, struct buf *out,
	struct err *err);
/* kolm_index_read(k, index, fn, arg, out, err): the same with another look at the opened index:
 * ${fn} appends to ${out}; -EUCLEAN of it is damage. It may be called twice, ${out} then as before.
 */
struct rag_index;
typedef int kolm_index_fn(const struct rag_index *ix, void *arg, struct buf *out, struct err *err);
int kolm_index_read(struct kolm *k, const char *index, kolm_index_fn *fn, void *arg,
	struct buf *out, struct err *err);
/* kolm_index_damage(k, index, out): append (${out} may be NULL) the sentence of the damage
 * that a query met. 1; 0: none. */
int kolm_index_damage(struct kolm *k, const char *index, struct buf *out);

/* kolm_artifact_open(k, slug, out, err): the slug's artifact, verified and unchanged since init
 * (B10 ENOENT, B11 ESTALE). */
struct artifact;
int kolm_artifact_open(struct kolm *k, const char *slug, struct artifact **out, struct err *err);

#endif
