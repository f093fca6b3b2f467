/*
 * signature - the HMACs and the Ed25519 block of an artifact, and which of them make it trusted
 * (FORMATS 12, 13.2).
 *
 * All HMACs must be under one secret. When some are and some are not, a piece was exchanged: that
 * is refused even with a good Ed25519 block. When none is, the secret is not ours, and only a good
 * Ed25519 block over this very artifact_hash helps.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
	unsigned good, all;
	const char *wrong; /* the first that does not match */
	bool no_memory;	   /* to look at one of them: nothing is known */
};

static void count(struct tally *t, const char *what, int good)
{
	t->all++;
	t->good += good > 0;
	t->no_memory |= good < 0;
	if (good <= 0 && t->wrong == NULL)
		t->wrong = what;
}

/* mac_is(secret, value, have): is ${have} the HMAC of canonical ${value}? 1, 0 or -ENOMEM, as the
 * two below */
static int mac_is(const char *secret, struct json_slice value, const char *have)
{
	char mac[HASH_HEX_BYTES];
	int rc = canonical_hmac(secret, value, mac);

	return rc < 0 ? rc : sodium_memcmp(mac, have, 64) == 0;
}

static int part_signed(
	const char *secret, struct json_slice object, const char *field, const char *const *drop)
{
	struct buf text = BUF_INIT;
	char have[HASH_HEX_BYTES];
	int rc;

	if (!member_hex(object, field, have))
		return 0;
	rc = object_without(object, drop, &text);
	if (rc == 0)
		rc = mac_is(secret, slice_of(&text), have);
	buf_release(&text);
	return rc;
}

static int sig_signed(const struct artifact *af, const char *secret)
{
	char have[HASH_HEX_BYTES];
	int rc = 0;

	if (!member_hex(af->signature, "hmac", have))
		return 0;
	for (int legacy = 0; legacy < 2 && rc == 0; legacy++) {
		struct buf text = BUF_INIT;

		if (signature_payload(af->signature, legacy, &text))
			rc = mac_is(secret, slice_of(&text), have);
		else if (text.failed)
			rc = -ENOMEM;
		buf_release(&text);
	}
	return rc;
}

static struct tally try_secret(const struct artifact *af, const char *secret)
{
	static const char *const body[] = {
		"signature", "signature_ed25519", "signature_sigstore", NULL};
	static const char *const mac[] = {"hmac", NULL}, *const credential[] = {"signature", NULL};
	struct json_slice step;
	struct tally t = {0};
	size_t pos = 0;

	count(&t, "signature.sig", sig_signed(af, secret));
	if (af->receipt.len > 0) {
		struct json_slice chain = member_of(af->receipt, "chain");
		while (chain.len > 0 && json_kind_of(chain) == JSON_ARRAY &&
			json_next(chain, &pos, NULL, &step))
			count(&t, "the receipt's chain",
				json_kind_of(step) == JSON_OBJECT
					? part_signed(secret, step, "hmac", mac)
					: 0);
		count(&t, "the receipt", part_signed(secret, af->receipt, "signature", body));
	}
	if (af->credential.len > 0)
		count(&t, "the credential",
			part_signed(secret, af->credential, "signature", credential));
	return t;
}

/* 1: a good block over this artifact, 0: no block */
static int check_ed25519(struct artifact *af, struct err *err)
{
	static const char *const drop[] = {"signature_ed25519", "signature_sigstore", NULL};
	struct json_slice block = member_of(af->receipt, "signature_ed25519");
	struct buf text = BUF_INIT, message = BUF_INIT;
	char claim[HASH_HEX_BYTES], *alg;
	int rc = member_take(af->receipt, "signature_alg", &alg);
	bool announced = alg != NULL && strstr(alg, "ed25519") != NULL;
	bool known = alg == NULL || strcmp(alg, "hmac-sha256") == 0 ||
		     strcmp(alg, "ed25519+hmac-sha256") == 0 ||
		     strcmp(alg, "sigstore+ed25519+hmac-sha256") == 0;

	free(alg);
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (!known)
		return err_set(err, EKEYREJECTED,
			"signature of the receipt: unknown algorithm name in signature_alg");
	if (block.len == 0 || json_kind_of(block) == JSON_NULL)
		return announced ? err_set(err, EKEYREJECTED,
					   "signature missing: the receipt announces an Ed25519 "
					   "block and has none")
				 : 0;
	if (af->artifact_hash[0] == '\0' || !member_hex(af->receipt, "artifact_hash", claim) ||
		strcmp(claim, af->artifact_hash) != 0)
		return err_set(err, EKEYREJECTED,
			"signature: the Ed25519 block signs the receipt of another artifact");
	if (object_without(af->receipt, drop, &text) < 0 ||
		json_canonical(slice_of(&text), &message) < 0)
		rc = err_nomem(err);
	else
		rc = ed25519_check(block, buf_str(&message), message.len, af->fingerprint, err);
	buf_release(&text);
	buf_release(&message);
	return rc < 0 ? rc : 1;
}

static void set_trust(struct artifact *af, enum artifact_trust trust)
{
	af->trust = trust;
	if (trust == ARTIFACT_ED25519)
		snprintf(af->trust_text, sizeof(af->trust_text), "ed25519:%s", af->fingerprint);
	else
		strcpy(af->trust_text,
			trust == ARTIFACT_HMAC_LOCAL ? "hmac-local" : "hmac-public-fixture");
}

int trust_signature(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	struct secrets secrets;
	struct json_slice need = member_of(member_of(af->manifest, "policy"), "require_ed25519");
	int block = check_ed25519(af, err);

	if (block < 0)
		return block;
	if (block == 0 && need.len == 4 && memcmp(need.text, "true", 4) == 0)
		return err_set(err, EKEYREJECTED,
			"signature missing: the manifest's policy requires an Ed25519 block");
	secrets_list(keys, &secrets);
	for (size_t i = 0; i < secrets.n; i++) {
		struct tally t = try_secret(af, secrets.text[i]);

		if (t.no_memory)
			return err_nomem(err);
		if (t.good == 0)
			continue;
		if (t.good < t.all)
			return err_set(err, EKEYREJECTED,
				"signature of %s does not match, though others do: it was changed "
				"or exchanged",
				t.wrong);
		af->hmac = secrets.public[i] ? HMAC_BY_PUBLIC : HMAC_BY_OWN;
		set_trust(af, !secrets.public[i] ? ARTIFACT_HMAC_LOCAL
			      : block		 ? ARTIFACT_ED25519
						 : ARTIFACT_HMAC_PUBLIC);
		return 0;
	}
	if (!block)
		return err_set(err, EKEYREJECTED,
			"signature does not match any known secret, and there is no Ed25519 "
			"signature; "
			"set RECIPE_RECEIPT_SECRET to the secret it was built with");
	set_trust(af, ARTIFACT_ED25519);
	return 0;
}
