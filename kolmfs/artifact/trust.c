/*
 * trust - why an artifact may be believed (FORMATS 13.2).
 *
 * The manifest names the digest of every member; signature.sig, the receipt and the credential name
 * the digest of the manifest; a secret or a key signs those. Each link is checked here, so that no
 * piece can be exchanged for one of another artifact.
 */
#include "artifact/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct entry *entry_find(struct artifact *af, const char *name)
{
	for (size_t i = 0; i < af->n; i++)
		if (strcmp(af->entries[i].face.name, name) == 0)
			return &af->entries[i];
	return NULL;
}

static int mismatch(struct err *err, const char *entry, const char *key)
{
	char q[ERR_QUOTE_BYTES + 8];

	return err_set(err, EKEYREJECTED,
		"\"%s\" does not match hashes.%s of the manifest; its bytes were changed",
		err_quote(q, entry, strlen(entry)), key);
}

/* with a parent, the pointer's hash covers the parent's name too */
static int pointer_sha(
	struct artifact *af, const struct entry *e, char out[HASH_HEX_BYTES], struct err *err)
{
	struct buf text = BUF_INIT;
	char *parent;
	int rc = member_take(af->manifest, "parent_cid", &parent);

	strcpy(out, e != NULL ? e->sha256 : EMPTY_SHA);
	if (rc == 0) {
		if (e != NULL)
			(void)buf_add(&text, e->face.data, e->face.len);
		(void)buf_putc(&text, '\0');
		rc = buf_addf(&text, "parent_cid:%s", parent);
		sha256_hex(buf_str(&text), text.len, out);
	}
	free(parent);
	buf_release(&text);
	return rc == -ENOMEM ? err_nomem(err) : 0;
}

static int check_fixed(struct artifact *af, struct err *err)
{
	static const struct {
		const char *key, *entry;
	} fixed[] = {
		{"model_pointer", "model.gguf"},
		{"recipes_json", "recipes.json"},
		{"lora_bin", "lora.bin"},
		{"index_bin", "index.sqlite-vec"},
		{"evals_json", "evals.json"},
	};
	bool weights = member_of(af->hashes, "model_weights").len > 0;
	char want[HASH_HEX_BYTES], have[HASH_HEX_BYTES];

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		struct entry *e = entry_find(af, fixed[i].entry);

		if (!member_hex(af->hashes, fixed[i].key, want))
			return err_set(err, EBADMSG,
				"manifest.json: hashes.%s: 64 hex digits expected", fixed[i].key);
		if (i == 0 && weights && strcmp(want, EMPTY_SHA) == 0)
			continue; /* model.gguf holds the weights, covered below */
		if (i > 0)
			strcpy(have, e != NULL ? e->sha256 : EMPTY_SHA);
		else if (pointer_sha(af, e, have, err) < 0)
			return -ENOMEM;
		if (strcmp(want, have) != 0)
			return mismatch(err, fixed[i].entry, fixed[i].key);
		if (e != NULL)
			e->covered = true;
	}
	return 0;
}

static int check_named(
	struct artifact *af, const char *name, struct json_slice value, struct err *err)
{
	struct entry *e = entry_find(af, name);
	char want[HASH_HEX_BYTES];

	if (!slice_hex(value, want))
		return err_set(
			err, EBADMSG, "manifest.json: hashes.extra_files: 64 hex digits expected");
	if (e == NULL || strcmp(e->sha256, want) != 0)
		return mismatch(err, name, "extra_files");
	e->covered = true;
	return 0;
}

static int check_extra(struct artifact *af, struct json_slice files, struct err *err)
{
	struct json_slice key, value;
	size_t pos = 0;
	int rc = 0;

	if (json_kind_of(files) == JSON_NULL)
		return 0;
	if (json_kind_of(files) != JSON_OBJECT)
		return err_set(err, EBADMSG, "manifest.json: hashes.extra_files: object expected");
	while (rc == 0 && json_next(files, &pos, &key, &value)) {
		struct buf name = BUF_INIT;

		rc = json_string(key, &name) < 0 ? err_nomem(err)
						 : check_named(af, buf_str(&name), value, err);
		buf_release(&name);
	}
	return rc;
}

/* hashes whose entry has no fixed name: some entry must have that digest */
static int check_anywhere(struct artifact *af, const char *key, const char *want, struct err *err)
{
	bool found = false;

	for (size_t i = 0; i < af->n; i++) {
		if (strcmp(af->entries[i].sha256, want) == 0)
			found = af->entries[i].covered = true;
	}
	if (!found && strcmp(want, EMPTY_SHA) != 0)
		return err_set(
			err, EKEYREJECTED, "no entry matches hashes.%s of the manifest", key);
	return 0;
}

static int check_other(
	struct artifact *af, const char *key, struct json_slice value, struct err *err)
{
	static const char *const fixed[] = {
		"model_pointer", "recipes_json", "lora_bin", "index_bin", "evals_json"};
	char want[HASH_HEX_BYTES];

	for (size_t i = 0; i < 5; i++)
		if (strcmp(key, fixed[i]) == 0)
			return 0;
	if (strcmp(key, "extra_files") == 0)
		return check_extra(af, value, err);
	if (json_kind_of(value) == JSON_NULL)
		return 0;
	if (!slice_hex(value, want))
		return err_set(err, EBADMSG, "manifest.json: hashes: 64 hex digits expected");
	if (strcmp(key, "recipe_bundle_mjs") == 0) {
		struct entry *e = entry_find(af, "recipe.bundle.mjs");
		if (e == NULL || strcmp(e->sha256, want) != 0)
			return mismatch(err, "recipe.bundle.mjs", key);
	}
	return check_anywhere(af, key, want, err);
}

int trust_members(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	static const char *const signed_by_form[] = {
		"manifest.json", "signature.sig", "receipt.json", "credential.json"};
	struct json_slice key, value;
	size_t pos = 0, n = 0;
	int rc = check_fixed(af, err);

	(void)keys;
	while (rc == 0 && json_next(af->hashes, &pos, &key, &value)) {
		struct buf name = BUF_INIT;

		if (++n > ARTIFACT_ENTRIES_MAX)
			return err_set(err, EBADMSG, "manifest.json: more than %d hashes",
				ARTIFACT_ENTRIES_MAX);
		rc = json_string(key, &name) < 0 ? err_nomem(err)
						 : check_other(af, buf_str(&name), value, err);
		buf_release(&name);
	}
	for (size_t i = 0; i < 4; i++) {
		struct entry *e = entry_find(af, signed_by_form[i]);
		if (e != NULL)
			e->covered = true;
	}
	return rc;
}

int trust_cid(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	const struct json_slice claims[] = {member_of(af->manifest, "cid"),
		member_of(af->receipt, "cid"), member_of(af->credential, "cid")};
	static const char *const where[] = {"manifest.json", "receipt.json", "credential.json"};
	char cid[80], quoted[84];

	(void)keys;
	if (cid_compute(af->hashes, cid) < 0)
		return err_nomem(err);
	snprintf(quoted, sizeof(quoted), "\"%s\"", cid);
	for (size_t i = 0; i < 3; i++)
		if (claims[i].len > 0 && json_kind_of(claims[i]) != JSON_NULL &&
			(claims[i].len != strlen(quoted) ||
				memcmp(claims[i].text, quoted, claims[i].len) != 0))
			return err_set(err, EKEYREJECTED,
				"%s: cid does not match, recomputed it is %s", where[i], cid);
	return 0;
}

/* agree(a, b, key): both have ${key} and the values differ? */
static bool disagree(struct json_slice a, struct json_slice b, const char *key)
{
	struct json_slice x = member_of(a, key), y = member_of(b, key);

	/* the same bytes need no memory to be the same */
	if (x.len == y.len && (x.len == 0 || memcmp(x.text, y.text, x.len) == 0))
		return false;
	return x.len > 0 && y.len > 0 && !json_same(x, y);
}

static int check_claims(struct artifact *af, struct err *err)
{
	static const char *const keys[] = {"job_id", "eval_score", "judge_id", "tier"};
	char evals[HASH_HEX_BYTES], claim[HASH_HEX_BYTES];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (disagree(af->manifest, af->signature, keys[i]))
			return err_set(err, EKEYREJECTED, "signature.sig: %s is not the manifest's",
				keys[i]);
		if (disagree(af->manifest, af->receipt, keys[i]))
			return err_set(err, EKEYREJECTED, "receipt.json: %s is not the manifest's",
				keys[i]);
	}
	if (!member_hex(af->hashes, "evals_json", evals))
		return err_set(err, EBADMSG, "manifest.json: hashes.evals_json missing");
	if ((member_hex(af->signature, "eval_set_hash", claim) && strcmp(claim, evals) != 0) ||
		(member_hex(af->receipt, "eval_set_hash", claim) && strcmp(claim, evals) != 0))
		return err_set(err, EKEYREJECTED,
			"signature or receipt: eval_set_hash is not that of evals.json");
	return 0;
}

int trust_hash(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	const struct entry *manifest = entry_find(af, "manifest.json");
	char six[HASH_HEX_BYTES], full[HASH_HEX_BYTES], claim[HASH_HEX_BYTES];

	(void)keys;
	if (manifest == NULL)
		return err_set(err, EBADMSG, "manifest.json missing");
	if (!member_hex(af->signature, "manifest_hash", claim) ||
		strcmp(claim, manifest->sha256) != 0)
		return err_set(err, EKEYREJECTED,
			"signature.sig does not match: its manifest_hash is not that of "
			"manifest.json");
	if (artifact_hash_compute(claim, af->manifest, HASH_SIX, six) < 0 ||
		artifact_hash_compute(claim, af->manifest, HASH_BLOCKS, full) < 0)
		return err_nomem(err);
	/* the oldest generations hash six fields only; either form covers manifest_hash and with it
	 * everything */
	if (!member_hex(af->signature, "artifact_hash", claim))
		strcpy(claim, full);
	if (strcmp(claim, full) != 0 && strcmp(claim, six) != 0)
		return err_set(err, EKEYREJECTED,
			"signature.sig does not match: artifact_hash %s, recomputed it is %s",
			claim, full);
	if (af->receipt.len > 0) {
		char receipt[HASH_HEX_BYTES] = "nothing";
		if (!member_hex(af->receipt, "artifact_hash", receipt) ||
			strcmp(receipt, claim) != 0)
			return err_set(err, EKEYREJECTED, "receipt is for %s, the artifact is %s",
				receipt, claim);
	}
	if (af->credential.len > 0) {
		char credential[HASH_HEX_BYTES] = "nothing";
		if (!member_hex(af->credential, "artifact_hash", credential) ||
			strcmp(credential, claim) != 0)
			return err_set(err, EKEYREJECTED,
				"credential is for %s, the artifact is %s", credential, claim);
	}
	strcpy(af->artifact_hash, claim);
	return check_claims(af, err);
}

int trust_chain(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	static const char *const steps[] = {"task", "seeds", "recipes", "evals", "package"};
	char last[HASH_HEX_BYTES] =
		"c912304357889cb36c4d032db540fcb799305ea41b7767d4d31c652fbb804d48";
	struct json_slice chain = member_of(af->receipt, "chain"), step;
	size_t pos = 0, i = 0;

	(void)keys;
	if (af->receipt.len == 0)
		return 0;
	if (chain.len == 0 || json_kind_of(chain) != JSON_ARRAY)
		return err_set(err, EKEYREJECTED, "receipt: chain breaks at step task: no chain");
	for (; json_next(chain, &pos, NULL, &step); i++) {
		char in[HASH_HEX_BYTES], out[HASH_HEX_BYTES], mac[HASH_HEX_BYTES],
			want[HASH_HEX_BYTES] = "";

		if (i >= 5)
			return err_set(err, EKEYREJECTED,
				"receipt: chain breaks at step %zu: too many steps", i + 1);
		if (!member_is(step, "step", steps[i]) || !member_hex(step, "input_hash", in) ||
			!member_hex(step, "output_hash", out) || !member_hex(step, "hmac", mac) ||
			strcmp(in, last) != 0)
			return err_set(
				err, EKEYREJECTED, "receipt: chain breaks at step %s", steps[i]);
		if (i == 2)
			(void)member_hex(af->hashes, "recipes_json", want);
		else if (i == 3)
			(void)member_hex(af->hashes, "evals_json", want);
		else if (i == 4)
			strcpy(want, af->artifact_hash);
		if (i >= 2 && strcmp(out, want) != 0)
			return err_set(err, EKEYREJECTED,
				"receipt: chain breaks at step %s: another output hash", steps[i]);
		strcpy(last, out);
	}
	if (i < 5)
		return err_set(
			err, EKEYREJECTED, "receipt: chain breaks at step %s: missing", steps[i]);
	return 0;
}
