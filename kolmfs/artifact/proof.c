/*
 * proof - receipts of runs and evals: what went in, what came out, through which artifact, adapter
 * and base, behind which walls; signed as an artifact's receipt is (FORMATS 11.6): an HMAC over the
 * canonical text, and with a key an Ed25519 block over that.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"

static const char *const blocks[] = {"signature_ed25519", NULL};
static const char *const signatures[] = {"signature", "signature_ed25519", NULL};

int proof_digest(struct json_slice value, char out[HASH_HEX_BYTES])
{
	if (value.len > 0)
		return canonical_sha256(value, out);
	sha256_hex("", 0, out); /* undefined */
	return 0;
}

int proof_cases(struct json_slice cases, char out[HASH_HEX_BYTES])
{
	static const char *const keys[] = {"id", "pass", "output"};
	struct buf text = BUF_INIT;
	struct json_slice one, v;
	int rc;

	(void)buf_putc(&text, '[');
	for (size_t pos = 0; json_next(cases, &pos, NULL, &one);) {
		(void)buf_puts(&text, text.len > 1 ? ",{" : "{");
		for (size_t i = 0; i < 3; i++) {
			(void)buf_addf(&text, "%s\"%s\":", i > 0 ? "," : "", keys[i]);
			if (json_member(one, keys[i], &v))
				(void)buf_add(&text, v.text, v.len);
			else
				(void)buf_puts(&text, "null");
		}
		(void)buf_putc(&text, '}');
	}
	rc = buf_putc(&text, ']') < 0 ? -ENOMEM : canonical_sha256(slice_of(&text), out);
	buf_release(&text);
	return rc;
}

int proof_inputs(const struct artifact *af, char out[HASH_HEX_BYTES])
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_putc(&text, '[');
	for (size_t i = 0; i < af->case_count; i++) {
		const struct artifact_case *c = &af->cases[i];

		(void)buf_puts(&text, i > 0 ? ",{\"id\":" : "{\"id\":");
		(void)json_put_text(&text, c->id);
		(void)buf_puts(&text, ",\"input\":");
		(void)buf_add(&text, c->input.text, c->input.len);
		if (c->params.len > 0) {
			(void)buf_puts(&text, ",\"params\":");
			(void)buf_add(&text, c->params.text, c->params.len);
		}
		(void)buf_putc(&text, '}');
	}
	rc = buf_putc(&text, ']') < 0 ? -ENOMEM : canonical_sha256(slice_of(&text), out);
	buf_release(&text);
	return rc;
}

static void put(struct buf *out, const char *key, const char *text)
{
	(void)buf_addf(out, ",\"%s\":", key);
	(void)json_put_text(out, text != NULL && text[0] != '\0' ? text : NULL);
}

static void put_facts(const struct proof *p, struct buf *out)
{
	(void)buf_addf(out, "{\"spec\":\"kolm-receipt-1\",\"kind\":\"%s\",\"artifact\":{\"file\":",
		p->is_eval ? "eval" : "run");
	(void)json_put_text(out, p->artifact_file);
	put(out, "sha256", artifact_sha256(p->af));
	put(out, "job_id", p->af->job_id);
	(void)buf_putc(out, '}');
	put(out, "recipe_id", p->recipe_id);
	put(out, "input_sha256", p->input_sha256);
	put(out, "output_sha256", p->output_sha256);
	put(out, "revision", p->revision);
	put(out, "adapter_sha256", p->adapter_sha256);
	(void)buf_puts(out, ",\"base\":");
	if (p->base_xxh3 != NULL && p->base_xxh3[0] != '\0') {
		(void)buf_puts(out, "{\"path\":");
		(void)json_put_text(out, p->base_path);
		(void)buf_addf(out, ",\"bytes\":%llu,\"xxh3\":\"%s\"}",
			(unsigned long long)p->base_bytes, p->base_xxh3);
	} else {
		(void)buf_puts(out, "null");
	}
	put(out, "engine", p->engine);
	(void)buf_puts(out, ",\"walls\":");
	(void)buf_add(out, p->walls.len > 0 ? p->walls.text : "null",
		p->walls.len > 0 ? p->walls.len : 4);
	put(out, "walls_seen_at", p->walls_seen_at);
	if (p->is_eval)
		(void)buf_addf(out, ",\"source\":\"%s\",\"passed\":%zu,\"total\":%zu",
			p->has_examples ? "examples" : "artifact", p->passed, p->total);
}

static int add_hmac(struct buf *out, const char *secret)
{
	char mac[HASH_HEX_BYTES];

	if (buf_putc(out, '}') < 0 || canonical_hmac(secret, slice_of(out), mac) < 0)
		return -ENOMEM;
	out->len--;
	return buf_addf(out, ",\"signature\":\"%s\"}", mac);
}

static int add_block(struct buf *out, const struct ed25519_key *key, const char *when)
{
	struct buf message = BUF_INIT;
	int rc = json_canonical(slice_of(out), &message);

	out->len--;
	(void)buf_puts(out, ",\"signature_ed25519\":");
	if (rc == 0)
		rc = ed25519_block(key, buf_str(&message), message.len, when, out);
	buf_release(&message);
	return buf_putc(out, '}') < 0 ? -ENOMEM : rc;
}

int proof_make(
	const struct proof *p, const struct artifact_keys *keys, struct buf *out, struct err *err)
{
	struct ed25519_key key;
	struct buf text = BUF_INIT;
	char when[TIME_TEXT_BYTES];
	int has_key = ed25519_load(keys, false, &key, err), rc;

	if (has_key < 0)
		return has_key;
	if (keys->secret[0] == '\0')
		return err_set(err, ENOKEY, "no secret to sign with; run kolm keygen");
	(void)time_text(time_now(), when);
	put_facts(p, &text);
	put(&text, "signature_alg", has_key ? "ed25519+hmac-sha256" : "hmac-sha256");
	put(&text, "signed_at", when);
	(void)buf_addf(&text, ",\"signed_by\":\"%s%s\"", has_key ? "ed25519:" : "kolm-dev-hmac-1",
		has_key ? key.fingerprint : "");
	rc = add_hmac(&text, keys->secret);
	if (rc == 0 && has_key)
		rc = add_block(&text, &key, when);
	sodium_memzero(&key, sizeof(key));
	if (rc == 0)
		rc = json_pretty(slice_of(&text), out);
	if (rc == 0)
		rc = buf_putc(out, '\n');
	buf_release(&text);
	return rc < 0 ? err_nomem(err) : 0;
}

/* ---- checking ---- */

struct look {
	struct json_slice receipt;
	const struct artifact_keys *keys;
	artifact_check *each;
	void *arg;
	bool is_known;
	int rc; /* of the first that failed */
	struct err *err;
};

static void say(struct look *lk, const char *check, const char *verdict, const char *detail)
{
	lk->each(lk->arg, check, verdict, detail);
	if (strcmp(verdict, "fail") == 0 && lk->rc == 0)
		lk->rc = err_set(lk->err, EKEYREJECTED, "%s: %s", check, detail);
}

static void look_hmac(struct look *lk)
{
	struct buf text = BUF_INIT;
	struct secrets secrets;
	char have[HASH_HEX_BYTES], mac[HASH_HEX_BYTES];
	size_t i = 0;
	bool has = member_hex(lk->receipt, "signature", have) &&
		   object_without(lk->receipt, signatures, &text) == 0;

	secrets_list(lk->keys, &secrets);
	while (has && i < secrets.n &&
		(canonical_hmac(secrets.text[i], slice_of(&text), mac) < 0 ||
			sodium_memcmp(mac, have, 64) != 0))
		i++;
	if (!has) {
		say(lk, "hmac", "fail", "signature: 64 hex digits expected");
	} else if (i == secrets.n) {
		say(lk, "hmac", "warn", "by no secret of this machine");
	} else if (secrets.public[i]) {
		say(lk, "hmac", "warn", "by a public fixture key: anybody can have made this");
	} else {
		say(lk, "hmac", "pass", "by this machine's secret");
		lk->is_known = true;
	}
	buf_release(&text);
}

static void look_block(struct look *lk)
{
	struct json_slice block = member_of(lk->receipt, "signature_ed25519");
	struct buf text = BUF_INIT, message = BUF_INIT;
	char fingerprint[FINGERPRINT_BYTES], detail[SIGNER_TEXT_BYTES];
	struct err why = ERR_NONE;
	struct signer sg;
	int rc;

	if (block.len == 0 || json_kind_of(block) == JSON_NULL) {
		say(lk, "ed25519",
			member_is(lk->receipt, "signature_alg", "hmac-sha256") ? "warn" : "fail",
			"no Ed25519 block");
		return;
	}
	rc = object_without(lk->receipt, blocks, &text);
	if (rc == 0)
		rc = json_canonical(slice_of(&text), &message);
	rc = rc < 0 ? err_nomem(&why)
		    : ed25519_check(block, buf_str(&message), message.len, fingerprint, &why);
	if (rc == 0)
		rc = signer_look(lk->keys, fingerprint, &sg, &why);
	if (rc < 0) {
		say(lk, "ed25519", "fail", why.text);
	} else {
		signer_text(&sg, fingerprint, detail);
		say(lk, "ed25519", sg.kind == SIGNER_UNKNOWN ? "warn" : "pass", detail);
		lk->is_known |= sg.kind != SIGNER_UNKNOWN;
	}
	buf_release(&text);
	buf_release(&message);
}

/* the digest the receipt has under ${key} against the real one; "": nothing to compare it with */
static void look_digest(struct look *lk, struct json_slice object, const char *key,
	const char *check, const char *real)
{
	char have[HASH_HEX_BYTES], detail[200];

	if (!member_hex(object, key, have)) {
		say(lk, check, "fail", "64 hex digits expected");
	} else if (real[0] == '\0') {
		say(lk, check, "pass", have);
	} else if (strcmp(have, real) == 0) {
		say(lk, check, "pass", "is what was given");
	} else {
		(void)snprintf(detail, sizeof(detail), "the receipt says %s, it is %s", have, real);
		say(lk, check, "fail", detail);
	}
}

static void look_facts(struct look *lk, const struct proof_given *given)
{
	struct json_slice artifact = member_of(lk->receipt, "artifact");

	look_digest(lk, artifact, "sha256", "artifact", given->artifact_sha256);
	look_digest(lk, lk->receipt, "input_sha256", "input", given->input_sha256);
	look_digest(lk, lk->receipt, "output_sha256", "output", given->output_sha256);
}

int proof_verify(const char *text, size_t len, const struct artifact_keys *keys,
	const struct proof_given *given, bool strict, artifact_check *each, void *arg,
	struct err *err)
{
	struct look lk = {.keys = keys, .each = each, .arg = arg, .err = err};
	int rc = json_check(text, len, err);

	while (rc == 0 && len > 0 && strchr(" \t\r\n", text[0]) != NULL) {
		text++;
		len--;
	}
	lk.receipt = (struct json_slice){text, len};
	if (rc < 0)
		return rc;
	if (json_kind_of(lk.receipt) != JSON_OBJECT ||
		!member_is(lk.receipt, "spec", "kolm-receipt-1") ||
		(!member_is(lk.receipt, "kind", "run") && !member_is(lk.receipt, "kind", "eval")))
		return err_set(err, EBADMSG, "not a receipt of a run or an eval (kolm-receipt-1)");
	look_hmac(&lk);
	look_block(&lk);
	look_facts(&lk, given);
	if (lk.is_known)
		say(&lk, "trust", "pass", "signed by a key this machine knows");
	else
		say(&lk, "trust", strict ? "fail" : "warn",
			"signed by no key this machine knows; kolm trust add takes one");
	return lk.rc;
}
