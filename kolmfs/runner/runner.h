/*
 * runner - kolm-runner: owns the model, its adapters and the attached index; has recipes run by its
 * cell; answers JSON lines (PROTOCOLS section 2).
 *
 * One thread. The cell is a stranger: everything it says is bounded and parsed again, and what it
 * does not say in time is taken from it.
 */
#ifndef KOLM_RUNNER_H
#define KOLM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "artifact/artifact.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/replace.h"
#include "rag/kolmrag.h"
#include "store/store.h"
#include "trainer/kolmlm.h"

enum { ADAPTERS_MAX = 4 };

struct loaded_adapter {
	char rev[REV_BYTES];
	struct lm_adapter *ad; /* owned */
	uint64_t used;	       /* clock of the last use */
};

/* of the last answers asked for; a grammar remembers what its answers needed */
struct known_grammar {
	char *key; /* which option, and its JSON; NULL: free */
	struct lm_grammar *g;
};

/* what answers the questions of one call */
struct host {
	void *arg;
	/* ${op} is "generate" or "choose"; append the answer frame's JSON. A failure is told to the
	 * recipe as an exception. */
	int (*lm)(void *arg, struct json_slice frame, bool choose, struct buf *answer,
		struct err *err);
};

struct runner {
	struct store st;
	const char *artifact_path;
	const char *slug; /* NULL: no tune state, no lib.lm */
	struct artifact *af;
	uint64_t data_mib; /* memory of its own it may have; 0: as much as there is */

	/* model.c */
	struct lm *lm;
	char *base_path;
	struct loaded_adapter adapter[ADAPTERS_MAX];
	uint64_t clock;
	char rev[REV_BYTES]; /* in use; "" the base alone */
	int64_t lm_us;	     /* spent in the model during the current call */
	int64_t lm_asked_us; /* of that, without loading it */
	int64_t lm_limit_ms; /* of one call, 0: LM_CALL_MS; of all calls of a run LM_RUN_CALLS times
			      * that */
	struct known_grammar grammar[LM_GRAMMARS_MAX];
	int grammar_turn;
	bool lm_called;
	struct err lm_err; /* why the model failed during the current call */

	/* program.c: what the cell has loaded */
	bool loaded;
	bool loaded_eval;
	char loaded_rev[REV_BYTES];
	struct rag_index *rag; /* NULL: nothing is attached, or the index is missing */
	char rag_name[RAG_NAME_BYTES + 1];
	char sidecar[FILE_ID_BYTES]; /* file_id() of the sidecar the above came from, "" none */

	/* link.c */
	struct buf frame;
	struct buf egress; /* attempts seen and not yet told by an outcome: JSON strings, commas */
};

/* result of one call */
struct outcome {
	struct buf output; /* JSON; len 0: undefined */
	int recipe;	   /* which one answered */
	int64_t latency_us, lm_us;
	bool lm_called;
	struct buf egress; /* JSON array of attempts, len 0 none */
	struct buf tried;  /* of a failure: JSON array of recipes that did not answer and why */
	bool ran;	   /* the cell answered with a result */
};
void outcome_release(struct outcome *oc);

/* ---- link.c ---- */
/* cell_call(rn, frame, host, reply, err): send a frame, answer what it asks, take the frame that
 * ends it. Keeps the wall clock. When the cell had to be ended (limit, death, egress) a new one
 * stands, unloaded; egress: -EPERM with code KOLM_E_EGRESS. Attempts are added to rn->egress,
 * whoever saw them and whatever the cell answered. */
int cell_call(struct runner *rn, const struct buf *frame, const struct host *host,
	struct buf *reply, struct err *err);
/* cell_renew(rn, err): end the cell and start the next; fails when the old one did not end as ours
 * do. */
int cell_renew(struct runner *rn, struct err *err);

/* cell_last(rn, err): the same after the last call: the cell is told to end and must do so by
 * itself, cleanly; what it tries meanwhile is egress. */
int cell_last(struct runner *rn, struct err *err);

/* cell_walls(report, err): a fresh canary's report as JSON; -EOPNOTSUPP when it cannot be made. */
int cell_walls(struct buf *report, struct err *err);

/* ---- program.c ---- */
/* program_open(rn, err): the artifact; program_ready(rn, eval, err): the cell has the recipes, for
 * the revision in use and the index attached now. */
int program_open(struct runner *rn, struct err *err);
int program_ready(struct runner *rn, bool eval, struct err *err);
/* program_call(rn, input, params, host, out, err): one input. ${params}.len 0: the cell takes
 * input.params or null (FORMATS 15.4). */
int program_call(struct runner *rn, struct json_slice input, struct json_slice params,
	const struct host *host, struct outcome *out, struct err *err);
/* program_answer(rn, input, output, prompt, call, out, err): the recipe's own answer(); 1 when it
 * gave one. */
int program_answer(struct runner *rn, struct json_slice input, struct json_slice output,
	struct json_slice prompt, int call, struct buf *out, struct err *err);

/* ---- model.c ---- */
int model_open_base(struct runner *rn, struct err *err);
/* model_headers(rn, err): read the base's headers and tokenizer and let them go: what is damaged or
 * hostile meets this short-lived process before the trainer, which works for hours. */
int model_headers(struct runner *rn, struct err *err);
/* model_use(rn, rev, err): ${rev} "" is the base alone. model_head(rn, err): what HEAD says now. */
int model_use(struct runner *rn, const char *rev, struct err *err);
int model_head(struct runner *rn, struct err *err);
/* model_ready(rn, err): the model and the adapter in use are loaded. */
int model_ready(struct runner *rn, struct err *err);
void model_close(struct runner *rn);
int op_init(struct runner *rn, struct json_slice request, struct buf *answer, struct err *err);
int op_export(struct runner *rn, struct json_slice request, struct err *err);

/* ---- ask.c ---- */
struct host model_host(struct runner *rn);
/* grammar_of(rn, options, out, err): what grammar, regex or choices of a call's options say; NULL
 * without one. Borrowed until the next call. */
int grammar_of(
	struct runner *rn, struct json_slice options, struct lm_grammar **out, struct err *err);
void grammars_free(struct runner *rn);

/* ---- eval.c, rows.c: append the members behind "ok":true ---- */
int op_eval(struct runner *rn, struct json_slice request, int64_t id, struct buf *answer,
	struct err *err);
int op_rows(struct runner *rn, struct json_slice request, struct buf *answer, struct err *err);

/* say(text, len): one line on standard output */
int say(const struct buf *line, struct err *err);
int64_t clock_us(void);
/* whole number of a member, or ${fallback} */
int64_t member_whole(struct json_slice object, const char *key, int64_t fallback);

#endif
