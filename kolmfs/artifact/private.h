/*
 * private - what the files of this folder share; nobody else includes it.
 *
 * open.c drives, zip.c turns bytes into entries, contents.c reads recipes, cases and slots, trust.c
 * proves hashes and signatures, hmac.c and ed25519.c are the two kinds of key.
 */
#ifndef KOLM_ARTIFACT_PRIVATE_H
#define KOLM_ARTIFACT_PRIVATE_H

#include "artifact/artifact.h"

enum { SECRETS_MAX = 3, SIGNER_TEXT_BYTES = 160 };

struct entry {
	struct artifact_entry face; /* name and data owned */
	char sha256[HASH_HEX_BYTES];
	bool covered; /* by a hash of the manifest, or by the signatures themselves */
};

struct artifact {
	struct entry *entries;
	size_t n;
	uint64_t bytes;
	char sha256[HASH_HEX_BYTES];

	/* raw values, borrowed from the entries; len 0 when absent */
	struct json_slice manifest, hashes, signature, receipt, credential, recipes_json,
		evals_json, pack, index;

	struct artifact_recipe *recipes; /* strings owned */
	size_t recipe_count;
	struct artifact_case *cases; /* ids owned */
	size_t case_count;
	char *comparator, *task, *job_id, *target;
	double coverage;
	uint64_t input_max;

	char artifact_hash[HASH_HEX_BYTES];  /* recomputed */
	char fingerprint[FINGERPRINT_BYTES]; /* of a good Ed25519 block, or "" */
	enum artifact_trust trust;
	enum hmac_by { HMAC_BY_NONE, HMAC_BY_OWN, HMAC_BY_PUBLIC } hmac; /* whose secret it is */
	char trust_text[48];
};

/* zip_read(data, len, af, err): check the whole structure, then expand every entry into ${af}. */
int zip_read(const char *data, size_t len, struct artifact *af, struct err *err);

/* one entry of a zip to be made */
struct pack_entry {
	const char *name;
	struct buf data;
};
/* zip_write(entries, n, ms, out, err): a zip of ${entries} in their order, every time stamp ${ms}.
 */
int zip_write(
	const struct pack_entry *entries, size_t n, int64_t ms, struct buf *out, struct err *err);

/* artifact_read(data, len, keys, out, err): artifact_open() of bytes in memory. */
int artifact_read(const char *data, size_t len, const struct artifact_keys *keys,
	struct artifact **out, struct err *err);

/* one check of an opened zip; integrity needs all of them to return 0 */
struct check {
	const char *name;
	int (*run)(struct artifact *af, const struct artifact_keys *keys, struct err *err);
};
extern const struct check artifact_checks[];
extern const size_t artifact_check_count;

/* artifact_load(dirfd, path, data, err): the whole file, if it is a regular one. artifact_unpack():
 * its entries, nothing checked but the zip. */
int artifact_load(int dirfd, const char *path, struct buf *data, struct err *err);
int artifact_unpack(const char *data, size_t len, struct artifact **out, struct err *err);

/* contents.c, in the order they must run */
int contents_manifest(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int contents_recipes(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int contents_evals(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int contents_slots(struct artifact *af, const struct artifact_keys *keys, struct err *err);
/* cases_read(cases, subject, out, n, err): an array of cases; ids owned. cases_free() */
int cases_read(struct json_slice cases, struct artifact_case **out, size_t *n, struct err *err);
void cases_free(struct artifact_case *cases, size_t n);

/* trust.c, in the order they must run */
int trust_documents(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int trust_members(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int trust_cid(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int trust_hash(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int trust_chain(struct artifact *af, const struct artifact_keys *keys, struct err *err);
int trust_signature(struct artifact *af, const struct artifact_keys *keys, struct err *err);

/* digest.c: the computations signing and verifying share. 0 or -ENOMEM. */
struct hash_part {
	const char *key;
	struct json_slice value;
};
int canonical_sha256(struct json_slice value, char out[HASH_HEX_BYTES]);
int canonical_hmac(const char *secret, struct json_slice value, char out[HASH_HEX_BYTES]);
/* object_without(object, drop, out): compact text of ${object} without the members named in the
 * NULL-terminated ${drop}. */
int object_without(struct json_slice object, const char *const *drop, struct buf *out);
int cid_compute(struct json_slice hashes, char out[80]);
enum hash_form {
	HASH_SIX,
	HASH_BLOCKS
}; /* the six fields of the oldest generations, or with what exists beside them */
int artifact_hash_compute(const char *manifest_hash, struct json_slice manifest,
	enum hash_form form, char out[HASH_HEX_BYTES]);
/* signature_payload(sig, legacy, out): what signature.sig's hmac covers; false when a field is
 * missing. */
bool signature_payload(struct json_slice sig, bool legacy, struct buf *out);

/* member_is(object, key, text): is the member the string ${text}? */
bool member_is(struct json_slice object, const char *key, const char *text);
/* member_text(object, key): the member's string, allocated; NULL when absent, of another kind, or
 * out of memory. */
char *member_text(struct json_slice object, const char *key);
/* member_take(object, key, out): the same where it matters why there is none: -EBADMSG, -ENOMEM */
int member_take(struct json_slice object, const char *key, char **out);
/* member_hex(object, key, out): a member of exactly 64 lower-case hex digits; slice_hex(): a value.
 */
bool slice_hex(struct json_slice v, char out[HASH_HEX_BYTES]);
bool member_hex(struct json_slice object, const char *key, char out[HASH_HEX_BYTES]);
struct json_slice slice_of(const struct buf *bf);
struct json_slice member_of(struct json_slice object, const char *key); /* len 0 when absent */

/* ed25519.c */
struct ed25519_key {
	unsigned char secret[64], public[32];
	char fingerprint[FINGERPRINT_BYTES];
};
/* ed25519_of_store(storefd, fingerprint, key, err): the store's own key (NULL), or one it had
 * before; whatever the environment says. -ENOENT none. */
int ed25519_of_store(
	int storefd, const char *fingerprint, struct ed25519_key *key, struct err *err);
void ed25519_fingerprint(const unsigned char public[32], char out[FINGERPRINT_BYTES]);
/* secret_of_store(storefd, out, err): local_receipt_secret of config.json; "" none */
int secret_of_store(int storefd, struct artifact_keys *out, struct err *err);
/* ed25519_load(keys, create, key, err): 1 with a key, 0 when switched off (or none and not
 * ${create}). */
int ed25519_load(
	const struct artifact_keys *keys, bool create, struct ed25519_key *key, struct err *err);
/* ed25519_block(key, message, len, when, out): the signature block of FORMATS 11.6 as JSON. */
int ed25519_block(const struct ed25519_key *key, const char *message, size_t len, const char *when,
	struct buf *out);
/* ed25519_check(block, message, len, fingerprint, err): -EKEYREJECTED with the reason. */
int ed25519_check(struct json_slice block, const char *message, size_t len,
	char fingerprint[FINGERPRINT_BYTES], struct err *err);
/* ed25519_public(block, out): the key inside a block; false when there is none. */
bool ed25519_public(struct json_slice block, unsigned char out[32]);

/* trusted.c */
struct signer {
	enum signer_kind { SIGNER_UNKNOWN, SIGNER_OWN, SIGNER_TRUSTED } kind;
	char name[TRUSTED_NAME_BYTES];
};
/* signer_look(keys, fingerprint, out, err): is it this machine's key, or a pinned one? -EUCLEAN
 * when the list cannot be read. signer_text(): that in words. */
int signer_look(const struct artifact_keys *keys, const char *fingerprint, struct signer *out,
	struct err *err);
void signer_text(const struct signer *sg, const char *fingerprint, char out[SIGNER_TEXT_BYTES]);

/* sidecar_check(af, name): what is wrong with a sidecar, NULL when it fits or is absent. */
const char *sidecar_check(const struct artifact *af, const char *name);

/* keys.c: the secrets to try, without repeats; *locals are not public constants */
struct secrets {
	const char *text[SECRETS_MAX];
	bool public[SECRETS_MAX];
	size_t n;
};
void secrets_list(const struct artifact_keys *keys, struct secrets *out);

#endif
