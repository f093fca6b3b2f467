/*
 * receipt - the documents that sign an artifact: signature.sig, receipt.json with its chain,
 * credential.json (FORMATS 11.5-11.7).
 */
#include "artifact/compile.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/num.h"

/* sign(b, out, field): close the object in ${out} with ${field}, the HMAC of what it says so far */
static int sign(const struct build *b, struct buf *out, const char *field)
{
	char mac[HASH_HEX_BYTES];

	if (buf_putc(out, '}') < 0 || canonical_hmac(b->secret, slice_of(out), mac) < 0)
		return -ENOMEM;
	out->len--;
	return buf_addf(out, ",\"%s\":\"%s\"}", field, mac);
}

int doc_signature(const struct build *b, struct docs *d)
{
	struct buf *out = &d->signature, payload = BUF_INIT;
	char mac[HASH_HEX_BYTES];
	int rc = -ENOMEM;

	(void)buf_puts(out, "{\"spec\":\"kolm-1\"");
	doc_text(out, "job_id", b->plan->job_id);
	doc_text(out, "manifest_hash", d->manifest_hash);
	doc_text(out, "artifact_hash", d->artifact_hash);
	doc_text(out, "eval_set_hash", d->hash[SLOT_EVALS]);
	doc_number(out, "eval_score", num_round(b->plan->coverage, 4));
	doc_text(out, "judge_id", doc_judge());
	if (buf_putc(out, '}') == 0 && signature_payload(slice_of(out), false, &payload) &&
		canonical_hmac(b->secret, slice_of(&payload), mac) == 0) {
		out->len--;
		doc_text(out, "hmac_alg", "HMAC-SHA256");
		doc_text(out, "hmac", mac);
		doc_text(out, "issued_at", d->when);
		(void)buf_putc(out, '}');
		rc = doc_pretty(out);
	}
	buf_release(&payload);
	return rc;
}

static int put_step(const struct build *b, const char *step, const char *in, const char *output,
	struct buf *out)
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_addf(&text, "{\"step\":\"%s\",\"input_hash\":\"%s\",\"output_hash\":\"%s\"", step,
		in, output);
	rc = sign(b, &text, "hmac");
	(void)buf_puts(out, out->data[out->len - 1] == '[' ? "" : ",");
	(void)buf_add(out, buf_str(&text), text.len);
	buf_release(&text);
	return rc;
}

static int put_chain(const struct build *b, const struct docs *d, struct buf *out)
{
	static const char *const steps[] = {"task", "seeds", "recipes", "evals", "package"};
	char hash[6][HASH_HEX_BYTES];
	struct buf text = BUF_INIT;
	int rc;

	rc = canonical_sha256((struct json_slice){"{\"spec\":\"kolm-1\"}", 17}, hash[0]);
	(void)buf_puts(&text, "{\"task\":");
	(void)json_put_text(&text, b->plan->task);
	if (buf_putc(&text, '}') < 0 || canonical_sha256(slice_of(&text), hash[1]) < 0)
		rc = -ENOMEM;
	buf_reset(&text);
	(void)buf_addf(&text, "{\"eval_source\":\"self_generated\",\"training\":");
	(void)buf_add(&text, buf_str(&d->training), d->training.len);
	if (buf_putc(&text, '}') < 0 || canonical_sha256(slice_of(&text), hash[2]) < 0)
		rc = -ENOMEM;
	buf_release(&text);
	if (rc < 0)
		return rc;
	if (b->plan->seeds.present)
		strcpy(hash[2], b->plan->seeds.all_hash);
	strcpy(hash[3], d->hash[SLOT_RECIPES]);
	strcpy(hash[4], d->hash[SLOT_EVALS]);
	strcpy(hash[5], d->artifact_hash);
	(void)buf_puts(out, ",\"chain\":[");
	for (size_t i = 0; i < 5 && rc == 0; i++)
		rc = put_step(b, steps[i], hash[i], hash[i + 1], out);
	return buf_putc(out, ']') < 0 ? -ENOMEM : rc;
}

static int put_receipt_id(const struct build *b, const struct docs *d, struct buf *out)
{
	struct buf text = BUF_INIT;
	char hash[HASH_HEX_BYTES];
	unsigned char r[16];
	int rc = 0;

	if (b->is_reproducible) {
		(void)buf_addf(&text,
			"{\"artifact_hash\":\"%s\",\"cid\":\"%s\",\"eval_set_hash\":\"%s\","
			"\"issued_at\":\"%s\"",
			d->artifact_hash, d->cid, d->hash[SLOT_EVALS], d->when);
		doc_text(&text, "job_id", b->plan->job_id);
		if (buf_puts(&text, ",\"spec\":\"kolm-receipt-id-v1\"}") < 0 ||
			canonical_sha256(slice_of(&text), hash) < 0)
			rc = -ENOMEM;
		else
			(void)buf_addf(out, ",\"receipt_id\":\"rcpt_%.32s\"", hash);
		buf_release(&text);
		return rc;
	}
	randombytes_buf(r, sizeof(r));
	r[6] = (unsigned char)((r[6] & 0x0f) | 0x40); /* UUID version 4 */
	r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
	hex_encode(r, sizeof(r), hash);
	return buf_addf(out, ",\"receipt_id\":\"%.8s-%.4s-%.4s-%.4s-%.12s\"", hash, hash + 8,
		hash + 12, hash + 16, hash + 20);
}

static void put_toolchain(const struct docs *d, struct buf *out)
{
	struct utsname machine;
	const char *arch = uname(&machine) < 0			     ? "unknown"
			   : strcmp(machine.machine, "x86_64") == 0  ? "x64"
			   : strcmp(machine.machine, "aarch64") == 0 ? "arm64"
								     : machine.machine;

	(void)buf_puts(out, ",\"build_toolchain\":{\"node_version\":null,\"platform\":\"linux\"");
	doc_text(out, "arch", arch);
	(void)buf_puts(out, ",\"kolm_version\":\"0.1\",\"runtime_target\":\"js\"");
	doc_text(out, "signed_at", d->when);
	(void)buf_putc(out, '}');
}

static void put_artifact_files(const struct docs *d, struct buf *out)
{
	static const int sorted[SLOTS] = {
		SLOT_EVALS, SLOT_INDEX, SLOT_LORA, SLOT_MODEL, SLOT_RECIPES};

	(void)buf_puts(out, ",\"artifact_files\":[");
	for (size_t i = 0; i < SLOTS; i++)
		(void)buf_addf(out, "%s{\"filename\":\"%s\",\"sha256\":\"%s\"}", i > 0 ? "," : "",
			doc_slots[sorted[i]].key, d->hash[sorted[i]]);
	(void)buf_putc(out, ']');
}

static int add_ed25519(const struct build *b, const struct docs *d, struct buf *out)
{
	struct buf message = BUF_INIT;
	int rc = json_canonical(slice_of(out), &message);

	out->len--; /* reopen */
	(void)buf_puts(out, ",\"signature_ed25519\":");
	if (rc == 0)
		rc = ed25519_block(&b->key, buf_str(&message), message.len, d->when, out);
	buf_release(&message);
	return buf_putc(out, '}') < 0 ? -ENOMEM : rc;
}

int doc_receipt(const struct build *b, struct docs *d)
{
	const struct seeds *s = &b->plan->seeds;
	struct buf *out = &d->receipt;
	int rc;

	(void)buf_puts(out, "{\"kolm_version\":\"0.1\"");
	rc = put_receipt_id(b, d, out);
	doc_text(out, "cid", d->cid);
	doc_text(out, "artifact_hash", d->artifact_hash);
	doc_text(out, "eval_set_hash", d->hash[SLOT_EVALS]);
	doc_number(out, "eval_score", num_round(b->plan->coverage, 4));
	doc_text(out, "judge_id", doc_judge());
	doc_text(out, "tier", "recipe");
	if (rc == 0)
		rc = put_chain(b, d, out);
	(void)buf_puts(out, ",\"anchors\":[],\"event_source_hashes\":[]");
	doc_text(out, "dataset_hash", s->present ? s->all_hash : NULL);
	doc_text(out, "train_hash", s->present ? s->train_hash : NULL);
	doc_text(out, "holdout_hash", s->present ? s->holdout_hash : NULL);
	doc_text(out, "split_seed", s->present ? b->plan->split_seed : NULL);
	doc_text(out, "runtime_target", "js");
	put_artifact_files(d, out);
	put_toolchain(d, out);
	doc_text(out, "signature_alg", b->has_key ? "ed25519+hmac-sha256" : "hmac-sha256");
	doc_text(out, "signed_at", d->when);
	(void)buf_addf(out, ",\"signed_by\":\"%s%s\"", b->has_key ? "ed25519:" : "kolm-dev-hmac-1",
		b->key.fingerprint);
	if (rc == 0)
		rc = sign(b, out, "signature");
	if (rc == 0 && b->has_key)
		rc = add_ed25519(b, d, out);
	return rc < 0 ? rc : doc_pretty(out);
}

int doc_credential(const struct build *b, struct docs *d)
{
	struct buf *out = &d->credential;

	(void)buf_puts(out,
		"{\"spec\":\"kolm-credential/"
		"0.1\",\"type\":\"artifact\",\"claim_generator\":\"kolmfs/" KOLM_VERSION "\"");
	doc_text(out, "artifact_hash", d->artifact_hash);
	doc_text(out, "cid", d->cid);
	(void)buf_puts(out, ",\"assertions\":{\"kolm.k_score\":null");
	doc_text(out, "kolm.base_model", b->plan->base_model);
	doc_text(out, "kolm.judge_id", doc_judge());
	(void)buf_puts(out, ",\"kolm.tier\":\"recipe\"},\"ingredients\":[]");
	doc_text(out, "signed_at", d->when);
	doc_text(out, "signature_alg", "hmac-sha256");
	return sign(b, out, "signature") < 0 ? -ENOMEM : doc_pretty(out);
}
