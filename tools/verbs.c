/*
 * verbs - what kolm can do, said once: help, parsing and exit codes are made from this table
 * (FORMATS 19).
 */
#include "tools/cli.h"

/* clang-format off */
#define ARTIFACT { "--artifact", "FILE", "the artifact: a path, or a name in the store's artifacts" }
#define SLUG	 { "--slug", "NAME", "the slug, when it is not the artifact's name" }
#define REQUEST_ID { "--id", "WORD", "asked again under the same id, it is not done again" }
#define TIMEOUT	 { "--timeout", "S", "seconds the model may take for one call (default 30)" }
#define JSON	 { "--json", NULL, "one JSON object for programs" }
#define END	 { NULL, NULL, NULL }

static const struct flag no_flags[] = { END };
static const struct flag artifact_flags[] = { ARTIFACT, END };
static const struct flag look_flags[] = { ARTIFACT, JSON, END };
static const struct flag slug_flags[] = { ARTIFACT, SLUG, END };
static const struct flag list_flags[] = { JSON, END };

static const struct flag compile_flags[] = {
	{ "--spec", "FILE|-", "the spec.json" },
	{ "--out", "PATH", "file or folder to write (default: the store's artifacts folder)" },
	{ "--examples", "FILE", "more eval cases, JSONL" },
	{ "--seeds", "FILE", "rows to split into training and held-out cases, JSONL" },
	{ "--comparator", "NAME", "exact, normalized_string, json_subset or label" },
	{ "--gate", "K", "the K-score to reach (default $KOLM_K_GATE or 0.85)" },
	{ "--allow-below-gate", NULL, "build it all the same" },
	{ "--base", "PATH", "a base model to measure recipes with that call lib.lm" },
	JSON, END
};
static const struct flag verify_flags[] = {
	ARTIFACT, { "--strict", NULL, "fail unless a key this machine knows signed it" }, JSON, END
};
static const struct flag receipt_flags[] = {
	{ "--artifact", "FILE", "it must be of this artifact" },
	{ "--input", "FILE|@FILE|-", "it must be of this input" },
	{ "--output", "FILE|@FILE|-", "it must be of this output; of an eval: its eval.json" },
	{ "--strict", NULL, "fail unless a key this machine knows signed it" },
	END
};
static const struct flag keygen_flags[] = {
	{ "--force", NULL, "a new key; the old one is kept and still believed" }, END
};
static const struct flag run_flags[] = {
	ARTIFACT, SLUG,
	{ "--input", "FILE|@FILE|-", "read the input from a file or standard input" },
	{ "--params", "JSON|@FILE", "lib.params" },
	TIMEOUT,
	{ "--receipt", "FILE", "sign what went in and what came out (default: the store's receipts)" },
	JSON,
	{ "--strict", NULL, "exit 2 when the artifact is not production ready" },
	{ "--force", NULL, "no warning when it is not" },
	END
};
static const struct flag eval_flags[] = {
	ARTIFACT, SLUG,
	{ "--examples", "FILE", "these cases instead, JSONL" },
	{ "--trace", NULL, "a line for every case" },
	TIMEOUT, JSON, END
};
static const struct flag init_flags[] = {
	ARTIFACT,
	{ "--base", "PATH", "the base model: a GGUF file or a Hugging Face folder" },
	{ "--rank", "N", "LoRA rank (default 8)" },
	{ "--alpha", "X", "LoRA alpha (default 16)" },
	{ "--dropout", "X", "LoRA dropout (default 0)" },
	SLUG, END
};
static const struct flag step_flags[] = {
	ARTIFACT, SLUG,
	{ "--epochs", "N", "passes over the rows (default 3)" },
	{ "--lr", "X", "learning rate (default 1e-3)" },
	{ "--batch-size", "N", "rows an optimizer step (default 4)" },
	{ "--seed", "N", "default 42" },
	{ "--mem", "BYTES", "memory the trainer may plan with; M and G behind it work" },
	{ "--rows", "teach|all", "all: also rows nobody looked at" },
	{ "--from", "vN", "continue from vN instead of HEAD" },
	{ "--airgap", NULL, "refuse every network call: the default, and with the native trainer always" },
	{ "--no-airgap", NULL, "a worker with network \"cluster\" may reach its other machines" },
	END
};
static const struct flag tune_eval_flags[] = {
	ARTIFACT, SLUG, { "--rev", "vN", "default: HEAD" }, TIMEOUT, END
};
static const struct flag rev_flags[] = { ARTIFACT, SLUG, { "--rev", "vN", "the revision" }, END };
static const struct flag export_flags[] = {
	ARTIFACT, SLUG, { "--rev", "vN", "the revision" },
	{ "--to", "gguf|peft|merged", "a llama.cpp adapter, a PEFT folder, base and adapter in one" },
	{ "--out", "PATH", "default: SLUG-vN with the ending of its kind" }, END
};
static const struct flag promote_flags[] = {
	ARTIFACT, SLUG, { "--rev", "vN", "the revision" },
	{ "--force", NULL, "do not ask the gate" }, REQUEST_ID, END
};
static const struct flag rollback_flags[] = { ARTIFACT, SLUG, REQUEST_ID, END };
static const struct flag watch_flags[] = {
	ARTIFACT, SLUG, { "--interval", "MS", "how often to look (default 30000)" }, END
};
static const struct flag index_flags[] = {
	{ "--name", "NAME", "default: the folder's name" },
	{ "--ext", "LIST", "endings (default txt,md,json,html)" },
	{ "--max-bytes", "N", "skip larger files (default 4194304)" },
	{ "--mode", "MODE", "rag-bm25-1 (default) or kolm-2" },
	{ "--lang", "LANG", "of kolm-2's stems (default en)" },
	{ "--mem", "BYTES", "memory of the build (default 256M)" },
	{ "--shard", "I/N", "only the Ith of N parts, as NAME.I-N; see merge" },
	END
};
static const struct flag query_flags[] = { { "--top-k", "N", "how many (default 5)" }, { "--path", "P", "only files whose path begins so" },
	{ "--after", "N", "the hits behind the first N" }, JSON, END };
static const struct flag diff_flags[] = { { "--quiet", NULL, "the counts only" }, END };
static const struct flag rag_export_flags[] = {
	{ "--format", "FORMAT", "opensearch" },
	{ "--out", "DIR", "where to (default: here)" },
	END
};
static const struct flag attach_flags[] = { ARTIFACT, { "--index", "NAME", "the index" }, END };
static const struct flag rows_flags[] = {
	ARTIFACT, SLUG,
	{ "--waiting", NULL, "only rows the model answered and nobody looked at" },
	JSON, END
};
static const struct flag all_flags[] = {
	ARTIFACT, SLUG, { "--all", NULL, "every row that waits for a look" }, END
};
static const struct flag fix_flags[] = {
	ARTIFACT, SLUG,
	{ "--output", "FILE|@FILE|-", "read the output from a file or standard input" },
	END
};
static const struct flag fsck_flags[] = {
	{ "--repair", NULL, "put right what is certain, move the rest to .lost" }, END
};
static const struct flag mount_flags[] = {
	{ "-f", NULL, "stay in the foreground" }, { "-o", "OPTIONS", "passed to kolmfs" }, END
};

/* group, name, words, one line, needs, exit code of a failure (0: by errno), words min and max */
const struct verb verbs[] = {
	{ NULL, "compile", "", "build a .kolm file from a spec; measure it first",
		NEED_SPAWN, 0, 0, 0, cmd_compile, compile_flags },
	{ NULL, "verify", "ARTIFACT", "check every hash and signature of an artifact",
		NEED_STORE, 0, 0, 1, cmd_verify, verify_flags },
	{ NULL, "verify-receipt", "FILE", "check a receipt of a run or an eval",
		NEED_STORE, 0, 1, 1, cmd_verify_receipt, receipt_flags },
	{ NULL, "keygen", "", "make this machine's signing key, print the public one",
		NEED_STORE, 0, 0, 0, cmd_keygen, keygen_flags },
	{ "trust", "list", "", "the keys whose signatures count",
		NEED_STORE, 0, 0, 0, cmd_trust_list, no_flags },
	{ "trust", "add", "KEY [NAME]", "believe a public key's file, or its fingerprint",
		NEED_STORE, 0, 1, 2, cmd_trust_add, no_flags },
	{ "trust", "remove", "KEY", "believe it no more",
		NEED_STORE, 0, 1, 1, cmd_trust_remove, no_flags },
	{ NULL, "inspect", "ARTIFACT", "what an artifact says of itself",
		NEED_STORE, 0, 0, 1, cmd_inspect, look_flags },
	{ NULL, "run", "ARTIFACT [INPUT]",
		"run an input through the recipes; captured when capture is on",
		NEED_SPAWN, 0, 0, 2, cmd_run, run_flags },
	{ NULL, "eval", "ARTIFACT", "run the artifact's own cases; never captured",
		NEED_SPAWN, 0, 0, 1, cmd_eval, eval_flags },

	{ "tune", "init", "", "start tuning: config, a zero adapter as v0, HEAD",
		NEED_SPAWN, 0, 0, 1, cmd_init, init_flags },
	{ "tune", "capture-on", "", "keep every successful run as a row to learn from",
		NEED_STORE, EXIT_RUN, 0, 1, cmd_capture_on, slug_flags },
	{ "tune", "capture-off", "", "stop keeping runs",
		NEED_STORE, EXIT_RUN, 0, 1, cmd_capture_off, slug_flags },
	{ "tune", "step", "", "train one candidate revision on the rows that teach",
		NEED_SPAWN, EXIT_RUN, 0, 1, cmd_step, step_flags },
	{ "tune", "eval", "", "measure a revision on the artifact's cases, HEAD beside it",
		NEED_SPAWN, 0, 0, 1, cmd_tune_eval, tune_eval_flags },
	{ "tune", "replay", "", "train a revision again from its record and compare the bytes",
		NEED_SPAWN, EXIT_RUN, 0, 1, cmd_replay, rev_flags },
	{ "tune", "export", "", "write a revision for other engines",
		NEED_SPAWN, EXIT_RUN, 0, 1, cmd_export, export_flags },
	{ "tune", "promote", "", "make a revision HEAD if its eval passes the gate",
		NEED_STORE, 0, 0, 1, cmd_promote, promote_flags },
	{ "tune", "rollback", "", "exchange HEAD and head.prev",
		NEED_STORE, EXIT_RUN, 0, 1, cmd_rollback, rollback_flags },
	{ "tune", "status", "", "the state of an artifact's tuning, as JSON",
		NEED_STORE, 0, 0, 1, cmd_status, slug_flags },
	{ "tune", "watch", "", "step, eval and promote whenever enough rows came",
		NEED_SPAWN, EXIT_RUN, 0, 1, cmd_watch, watch_flags },

	{ "rag", "index", "DIR", "build a search index of a folder",
		NEED_SPAWN, EXIT_RUN, 1, 1, cmd_rag_index, index_flags },
	{ "rag", "query", "NAME QUERY", "the documents that answer best",
		NEED_STORE, EXIT_RUN, 2, WORDS_MAX, cmd_rag_query, query_flags },
	{ "rag", "merge", "NAME PART...", "one index of the parts of a tree (index --shard): the bytes of the whole",
		NEED_SPAWN, EXIT_RUN, 2, WORDS_MAX, cmd_rag_merge, no_flags },
	{ "rag", "verify", "NAME", "prove an index against its checksums and its folder",
		NEED_SPAWN, EXIT_RUN, 1, 1, cmd_rag_verify, no_flags },
	{ "rag", "diff", "A B", "which documents and terms two indexes differ in",
		NEED_STORE, EXIT_RUN, 2, 2, cmd_rag_diff, diff_flags },
	{ "rag", "export", "NAME", "an index for another search engine",
		NEED_STORE, EXIT_RUN, 1, 1, cmd_rag_export, rag_export_flags },
	{ "rag", "attach", "ARTIFACT", "give an artifact's recipes lib.rag over an index",
		NEED_STORE, EXIT_RUN, 0, 1, cmd_rag_attach, attach_flags },
	{ "rag", "detach", "ARTIFACT", "take it away again",
		NEED_STORE, EXIT_RUN, 0, 1, cmd_rag_detach, artifact_flags },
	{ "rag", "list", "", "the indexes of the store",
		NEED_STORE, EXIT_RUN, 0, 0, cmd_rag_list, list_flags },

	{ "captures", "list", "", "rows and whether they teach",
		NEED_STORE, 0, 0, 1, cmd_captures_list, rows_flags },
	{ "captures", "confirm", "[ID]", "what the model answered is right: now it teaches",
		NEED_STORE, 0, 0, 1, cmd_captures_confirm, all_flags },
	{ "captures", "fix", "ID [OUTPUT]", "what the output should have been",
		NEED_STORE, 0, 1, 2, cmd_captures_fix, fix_flags },
	{ "captures", "drop", "[ID]", "no row of that input shall teach",
		NEED_STORE, 0, 0, 1, cmd_captures_drop, all_flags },

	{ "log", "verify", "", "check the chain of the audit log",
		NEED_STORE, EXIT_RUN, 0, 0, cmd_log_verify, no_flags },
	{ NULL, "fsck", "", "check every invariant of the store",
		NEED_STORE, EXIT_RUN, 0, 0, cmd_fsck, fsck_flags },
	{ NULL, "doctor", "", "what this machine has of what kolm needs; the walls, tried now",
		NEED_NOTHING, 0, 0, 0, cmd_doctor, list_flags },
	{ NULL, "mount", "[MOUNTPOINT]", "serve the store as files (default /mnt/kolm)",
		NEED_NOTHING, 0, 0, 1, cmd_mount, mount_flags },
	{ NULL, "umount", "[MOUNTPOINT]", "end it",
		NEED_NOTHING, 0, 0, 1, cmd_umount, no_flags },
};
/* clang-format on */

const size_t verbs_count = sizeof(verbs) / sizeof(verbs[0]);
