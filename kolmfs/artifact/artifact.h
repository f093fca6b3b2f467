/*
 * artifact - a .kolm file: opened, verified whole, and only then read (FORMATS 11-14, 17, 18;
 * BAD-INPUTS C).
 *
 * Nothing of an artifact is used before artifact_open() has checked the zip, every hash, the HMAC
 * or the bound Ed25519 signature, and the receipt chain. Its bytes never change.
 */
#ifndef KOLM_ARTIFACT_H
#define KOLM_ARTIFACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"

enum {
	ARTIFACT_COMPOSITE_GATE = 8500, /* 0.85, in 1/10000 */
};

struct artifact; /* opaque; immutable after open, may be shared by threads */

/* keys of this machine: the store's secret and signing key (FORMATS 12). */
struct artifact_keys {
	char secret[256]; /* HMAC secret for building and the first one tried for verifying; "" none
			   */
	char key_dir[512]; /* folder of signing-key.pem (the store) */
};

/* artifact_keys_load(storefd, store_path, create, out, err): environment, then config.json's
 * local_receipt_secret; ${create}: make what is missing (secret and signing-key.pem), as a first
 * compile does. */
int artifact_keys_load(int storefd, const char *store_path, bool create, struct artifact_keys *out,
	struct err *err);

enum artifact_trust { ARTIFACT_HMAC_LOCAL, ARTIFACT_HMAC_PUBLIC, ARTIFACT_ED25519 };

/*
 * artifact_open(dirfd, path, keys, out, err): ${path} may be absolute. A link is -ELOOP, a folder
 * -EISDIR, another kind of file -EINVAL "not a regular file", damaged -EBADMSG, a digest or
 * signature that does not match -EKEYREJECTED, too large -EFBIG, ...
 */
int artifact_open(int dirfd, const char *path, const struct artifact_keys *keys,
	struct artifact **out, struct err *err);
void artifact_free(struct artifact *af);

const char *artifact_sha256(const struct artifact *af); /* of the file */
uint64_t artifact_bytes(const struct artifact *af);
enum artifact_trust artifact_trust(const struct artifact *af);
const char *artifact_trust_text(const struct artifact
		*af); /* "hmac-local", "hmac-public-fixture", "ed25519:<fingerprint>" */
const char *artifact_task(const struct artifact *af);
const char *artifact_job_id(const struct artifact *af);
const char *artifact_runtime_target(
	const struct artifact *af); /* "js" when the manifest says nothing; opening accepts any,
				       running only "js" */
uint64_t artifact_input_max(const struct artifact *af);

struct artifact_entry {
	const char *name;
	const char *data;
	size_t len;
};
size_t artifact_entries(const struct artifact *af);
const struct artifact_entry *artifact_entry(const struct artifact *af, size_t i);
const struct artifact_entry *artifact_entry_named(const struct artifact *af, const char *name);

struct artifact_recipe {
	const char *id;
	const char *name;   /* the id when the name is empty */
	const char *source; /* UTF-8 */
	const char *version_id;
};
size_t artifact_recipes(const struct artifact *af);
const struct artifact_recipe *artifact_recipe(const struct artifact *af, size_t i);

/* the two JSON slots; len 0 when absent */
struct json_slice artifact_pack(const struct artifact *af);
struct json_slice artifact_index(const struct artifact *af);

struct artifact_case {
	const char *id;
	struct json_slice input;
	struct json_slice expected;
	struct json_slice params; /* len 0: none */
};
/* cases are checked at open: -EINVAL "no eval cases" is left to the eval; E02 and E03 are refused
 * here. */
size_t artifact_cases(const struct artifact *af);
const struct artifact_case *artifact_case(const struct artifact *af, size_t i);
const char *artifact_comparator(const struct artifact *af);
double artifact_coverage(const struct artifact *af); /* declared */

/* artifact_k_score(af): the manifest's k_score object, raw; len 0 when absent. */
struct json_slice artifact_k_score(const struct artifact *af);

/* comparator_known(name): does FORMATS 17 know it? comparator_match(name, actual, expected): an
 * unknown one is subset_equal. ${actual}.len 0: undefined. */
bool comparator_known(const char *name);
bool comparator_match(const char *name, struct json_slice actual, struct json_slice expected);

/* source_guard(source, len, err): FORMATS 15.2: -EBADMSG names the word ("recipe uses \"process\":
 * not allowed"), -EMSGSIZE longer than 64 KiB. */
int source_guard(const char *source, size_t len, struct err *err);

/* FORMATS 8.1 */
struct kscore_in {
	double size_bytes; /* NAN: missing */
	double accuracy;
	double coverage;
	double p50_latency_us; /* NAN: null */
	double cost_usd;       /* NAN: null */
};
struct kscore {
	struct kscore_in in;
	double a, v, s, l, c;
	double composite; /* r4 */
	bool ships;
};
void kscore_compute(const struct kscore_in *in, struct kscore *out);
/* kscore_render(k, envelope, pretty_indent<0 compact, out): the result object of FORMATS 8.1, with
 * the five keys of 8.2 when ${envelope}. */
int kscore_render(const struct kscore *k, bool envelope, struct buf *out);

/*
 * What compile needs from outside: run recipe 0 on a case. Writes the output's JSON to ${output}
 * (empty: undefined) and the latency; a recipe that fails is -errno with ${err}. The caller of
 * compile gives one made of a runner.
 */
typedef int artifact_measure(void *arg, const char *artifact_path, size_t case_index,
	struct buf *output, double *latency_us, struct err *err);

struct compile_options {
	const char *spec_dir; /* where source_file is looked up; a folder path */
	const char *examples; /* JSONL text of --examples, or NULL */
	size_t examples_len;
	const char *seeds; /* JSONL text of --seeds, or NULL */
	size_t seeds_len;
	const char *seeds_name; /* file name of the seeds, kept in the manifest; may be NULL */
	const char *comparator; /* overrides the spec's; NULL */
	bool allow_below_gate;
	artifact_measure *measure;
	void *arg;
};
struct compile_result {
	uint64_t bytes;
	char sha256[HASH_HEX_BYTES];
	size_t passed, total;
	struct kscore k;
	bool production_ready;
};
/*
 * artifact_compile(spec, len, out_path, keys, opt, res, err): FORMATS 18. The file appears whole or
 * not at all; what stood at ${out_path} before a failed build is still there. -EBADMSG with code
 * KOLM_E_SPEC_INVALID: bad spec; -ERANGE with code K_GATE: below the gate.
 * ${measure} is called with the path of a probe artifact in the same folder, signed and openable,
 * removed afterwards.
 */
int artifact_compile(const char *spec, size_t len, const char *out_path,
	const struct artifact_keys *keys, const struct compile_options *opt,
	struct compile_result *res, struct err *err);

/* One line a check for `kolm verify` (FORMATS 13.3): ${verdict} is "pass", "warn" or "fail".
 * Returns 0 when integrity holds, -EKEYREJECTED or another errno of artifact_open() otherwise;
 * every check is reported either way. ${strict}: integrity also needs a signer this machine knows
 * (its own secret or key, or a pinned key) and every entry under a hash. */
typedef void artifact_check(void *arg, const char *check, const char *verdict, const char *detail);
int artifact_verify(int dirfd, const char *path, const struct artifact_keys *keys, bool strict,
	artifact_check *each, void *arg, struct err *err);

/* ---- keys and whom to believe ---- */

enum { FINGERPRINT_BYTES = 33 };

/*
 * keys_generate(keys, replace, fingerprint, err): a fresh signing-key.pem. -EEXIST when there is
 * one, unless ${replace}: the old one is kept as signing-key.<8 hex>.pem and trusted as "retired".
 * -EPERM when the key comes from the environment, or Ed25519 is switched off.
 */
int keys_generate(const struct artifact_keys *keys, bool replace,
	char fingerprint[FINGERPRINT_BYTES], struct err *err);
/* keys_public(keys, fingerprint, pem, err): this machine's public key as SPKI PEM; -ENOENT none. */
int keys_public(const struct artifact_keys *keys, char fingerprint[FINGERPRINT_BYTES],
	struct buf *pem, struct err *err);
/* key_fingerprint(pem, out): of somebody's public key; false when it is none. */
bool key_fingerprint(const char *pem, char out[FINGERPRINT_BYTES]);

/*
 * stamp_make(storefd, text, len, out): ${text} signed by this store: its Ed25519 key, else the
 * secret of its config.json; "-" where it has neither. stamp_check(): 1 it is, and ${who} says by
 * what; 0 "-"; -EKEYREJECTED it is not, or by somebody else.
 */
enum { STAMP_TEXT_BYTES = 300 };
void stamp_make(int storefd, const char *text, size_t len, char out[STAMP_TEXT_BYTES]);
int stamp_check(int storefd, const char *stamp, const char *text, size_t len, char who[80],
	struct err *err);

struct trusted_key {
	char fingerprint[FINGERPRINT_BYTES];
	char name[TRUSTED_NAME_BYTES];
};
/* trusted_list(keys, out, n, err): the pinned keys, in order; ${out} is the caller's to free.
 * -EUCLEAN for a file with a line that is none. trusted_add() replaces one of that fingerprint;
 * trusted_remove(): -ENOENT. */
int trusted_list(
	const struct artifact_keys *keys, struct trusted_key **out, size_t *n, struct err *err);
int trusted_add(const struct artifact_keys *keys, const char *fingerprint, const char *name,
	struct err *err);
int trusted_remove(const struct artifact_keys *keys, const char *fingerprint, struct err *err);

/* ---- receipts of runs and evals ---- */

struct proof {
	bool is_eval;
	const struct artifact *af;
	const char *artifact_file; /* its name */
	const char *recipe_id;	   /* of a run */
	char input_sha256[HASH_HEX_BYTES], output_sha256[HASH_HEX_BYTES];
	const char *revision, *adapter_sha256; /* NULL or "": the model was not asked */
	const char *base_path, *base_xxh3;
	uint64_t base_bytes;
	const char *engine;
	struct json_slice walls;
	char walls_seen_at[32]; /* "": at the time of the receipt */
	size_t passed, total;	/* of an eval */
	bool has_examples;	/* the cases are not the artifact's own */
};
/* proof_digest(value, out): of an input or an output; len 0: undefined. proof_inputs(af, out): of
 * all cases' ids, inputs and params. proof_cases(cases, out): of id, pass and output of the cases
 * of an eval.json. 0 or -ENOMEM. */
int proof_digest(struct json_slice value, char out[HASH_HEX_BYTES]);
int proof_inputs(const struct artifact *af, char out[HASH_HEX_BYTES]);
int proof_cases(struct json_slice cases, char out[HASH_HEX_BYTES]);
/* proof_make(proof, keys, out, err): the signed receipt, pretty JSON with a line feed. */
int proof_make(
	const struct proof *p, const struct artifact_keys *keys, struct buf *out, struct err *err);

/* what the receipt is compared with; "" not given */
struct proof_given {
	char artifact_sha256[HASH_HEX_BYTES], input_sha256[HASH_HEX_BYTES],
		output_sha256[HASH_HEX_BYTES];
};
/* proof_verify(): one line a check, as artifact_verify(). -EBADMSG no receipt, -EKEYREJECTED what
 * does not hold; with ${strict} also a signer this machine does not know. */
int proof_verify(const char *text, size_t len, const struct artifact_keys *keys,
	const struct proof_given *given, bool strict, artifact_check *each, void *arg,
	struct err *err);

#endif
