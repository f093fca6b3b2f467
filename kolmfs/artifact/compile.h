/*
 * compile - what the three steps of a build pass on: plan.c and seeds.c (what is asked for),
 * build.c (the bytes), compile.c (measure, gate, publish). Private to this folder.
 */
#ifndef KOLM_ARTIFACT_COMPILE_H
#define KOLM_ARTIFACT_COMPILE_H

#include "artifact/private.h"
#include "base/replace.h"

enum { SEEDS_TRAIN_MIN = 40, SEEDS_HOLDOUT_MIN = 10 };

struct seeds {
	bool present;
	char all_hash[HASH_HEX_BYTES], train_hash[HASH_HEX_BYTES], holdout_hash[HASH_HEX_BYTES];
	size_t train, holdout, canonical, legacy; /* rows */
	size_t input_overlap, output_overlap, near_duplicates;
};

struct plan {
	char *job_id, *task, *base_model, *kind, *comparator, *split_seed, *evals_spec;
	const char *seeds_name;
	double holdout_ratio, coverage;
	struct json_slice pack, index, stats; /* borrowed from the spec's text */
	struct buf recipes;		      /* items of recipes.json, comma-separated */
	struct buf registry;		      /* items of the registry hash */
	size_t recipe_count;
	struct buf cases; /* items of evals.json */
	size_t case_count;
	struct seeds seeds;
};

int plan_make(const char *spec, size_t len, const struct compile_options *opt, struct plan *plan,
	struct err *err);
void plan_release(struct plan *plan);
/* plan_invalid(err, fmt): -EBADMSG "spec: ..." with its code. */
int plan_invalid(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* seeds_split(plan, text, len, err): holdout rows become the plan's cases. examples_add(): rows of
 * --examples behind them. */
int seeds_split(struct plan *plan, const char *text, size_t len, struct err *err);
int examples_add(struct plan *plan, const char *text, size_t len, struct err *err);
/* comparator_text(v, out): a value as the comparator normalized_string sees it. */
int comparator_text(struct json_slice v, struct buf *out);

struct build {
	const struct plan *plan;
	const char *secret;
	struct ed25519_key key;
	bool has_key, is_reproducible, is_overridden;
	int64_t ms; /* of every time stamp */
	size_t passed;
	double accuracy, latency_us;
	const struct kscore *k; /* NULL: a probe */
};

/* the documents of one build, filled in this order by build.c and receipt.c */
enum { SLOT_MODEL, SLOT_RECIPES, SLOT_LORA, SLOT_INDEX, SLOT_EVALS, SLOTS };

struct doc_slot {
	const char *key, *entry; /* in hashes, in the zip */
};
extern const struct doc_slot doc_slots[SLOTS];

struct docs {
	struct buf member[SLOTS], manifest, signature, receipt, credential;
	struct buf training; /* compact; the chain covers it */
	char hash[SLOTS][HASH_HEX_BYTES];
	char manifest_hash[HASH_HEX_BYTES], artifact_hash[HASH_HEX_BYTES], cid[80];
	char when[TIME_TEXT_BYTES];
};

int doc_signature(const struct build *b, struct docs *d);
int doc_receipt(const struct build *b, struct docs *d);
int doc_credential(const struct build *b, struct docs *d);
/* doc_pretty(out): lay out the compact text in ${out}. doc_text(), doc_number(): one more member of
 * the object begun in ${out}. */
int doc_pretty(struct buf *out);
void doc_text(struct buf *out, const char *key, const char *text);
void doc_number(struct buf *out, const char *key, double x);
const char *doc_judge(void);

/* latency and cost the spec states override the measured ones */
double build_latency(const struct build *b);
double build_cost(const struct build *b);
bool build_production_ready(const struct build *b);
int build_zip(const struct build *b, struct buf *zip, struct err *err);

#endif
