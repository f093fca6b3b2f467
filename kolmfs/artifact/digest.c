/*
 * digest - the hashes and payloads of FORMATS 11, computed once for signing and for verifying.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct json_slice slice_of(const struct buf *bf)
{
	return (struct json_slice){buf_str(bf), bf->len};
}

struct json_slice member_of(struct json_slice object, const char *key)
{
	struct json_slice v = {NULL, 0};

	if (object.len == 0 || json_kind_of(object) != JSON_OBJECT || !json_member(object, key, &v))
		return (struct json_slice){NULL, 0};
	return v;
}

int member_take(struct json_slice object, const char *key, char **out)
{
	struct json_slice v = member_of(object, key);
	struct buf text = BUF_INIT;
	int rc = v.len == 0 || json_kind_of(v) != JSON_STRING ? -EBADMSG : json_string(v, &text);

	*out = NULL;
	if (rc == 0 && strlen(buf_str(&text)) != text.len)
		rc = -EBADMSG;
	if (rc == 0) {
		*out = text.len == 0 ? strdup("") : buf_detach(&text);
		rc = *out != NULL ? 0 : -ENOMEM;
	}
	buf_release(&text);
	return rc;
}

char *member_text(struct json_slice object, const char *key)
{
	char *out;

	return member_take(object, key, &out) < 0 ? NULL : out;
}

/* is the JSON string ${v} the text ${text}? 1, 0 or -ENOMEM; one without an escape needs no memory
 */
static int string_is(struct json_slice v, const char *text)
{
	const size_t n = strlen(text);
	struct buf have = BUF_INIT;
	int rc;

	if (memchr(v.text, '\\', v.len) == NULL)
		return v.len == n + 2 && memcmp(v.text + 1, text, n) == 0;
	rc = json_string(v, &have);
	if (rc == 0)
		rc = have.len == n && memcmp(buf_str(&have), text, n) == 0;
	buf_release(&have);
	return rc;
}

bool member_is(struct json_slice object, const char *key, const char *text)
{
	struct json_slice v = member_of(object, key);

	return v.len > 0 && json_kind_of(v) == JSON_STRING && string_is(v, text) == 1;
}

bool slice_hex(struct json_slice v, char out[HASH_HEX_BYTES])
{
	if (v.len != 66 || v.text[0] != '"' || strspn(v.text + 1, "0123456789abcdef") != 64)
		return false;
	memcpy(out, v.text + 1, 64);
	out[64] = '\0';
	return true;
}

bool member_hex(struct json_slice object, const char *key, char out[HASH_HEX_BYTES])
{
	return slice_hex(member_of(object, key), out);
}

int canonical_sha256(struct json_slice value, char out[HASH_HEX_BYTES])
{
	struct buf text = BUF_INIT;
	int rc = json_canonical(value, &text);

	if (rc == 0)
		sha256_hex(buf_str(&text), text.len, out);
	buf_release(&text);
	return rc;
}

int canonical_hmac(const char *secret, struct json_slice value, char out[HASH_HEX_BYTES])
{
	struct buf text = BUF_INIT;
	int rc = json_canonical(value, &text);

	if (rc == 0) {
		unsigned char mac[crypto_auth_hmacsha256_BYTES];
		crypto_auth_hmacsha256_state st;

		crypto_auth_hmacsha256_init(&st, (const unsigned char *)secret, strlen(secret));
		crypto_auth_hmacsha256_update(&st, (const unsigned char *)buf_str(&text), text.len);
		crypto_auth_hmacsha256_final(&st, mac);
		hex_encode(mac, sizeof(mac), out);
	}
	buf_release(&text);
	return rc;
}

int object_without(struct json_slice object, const char *const *drop, struct buf *out)
{
	struct json_slice key, value;
	size_t pos = 0;
	bool first = true;

	(void)buf_putc(out, '{');
	while (json_next(object, &pos, &key, &value)) {
		int dropped = 0;

		for (size_t i = 0; drop[i] != NULL && dropped == 0; i++)
			dropped = string_is(key, drop[i]);
		if (dropped < 0)
			return dropped;
		if (dropped)
			continue;
		if (!first)
			(void)buf_putc(out, ',');
		first = false;
		(void)buf_add(out, key.text, key.len);
		(void)buf_putc(out, ':');
		(void)buf_add(out, value.text, value.len);
	}
	return buf_putc(out, '}');
}

int cid_compute(struct json_slice hashes, char out[80])
{
	static const char *const parts[] = {
		"evals_json", "index_bin", "lora_bin", "model_pointer", "recipes_json"};
	struct buf text = BUF_INIT;
	char hex[HASH_HEX_BYTES];
	int rc;

	(void)buf_puts(&text, "{\"digest\":\"sha256\",\"parts\":{");
	for (size_t i = 0; i < 5; i++) {
		if (!member_hex(hashes, parts[i], hex))
			hex[0] = '\0';
		(void)buf_addf(&text, "%s\"%s\":\"%s\"", i > 0 ? "," : "", parts[i], hex);
	}
	rc = buf_puts(&text, "}}");
	memcpy(out, "cidv1:sha256:", 13);
	sha256_hex(buf_str(&text), text.len, out + 13);
	buf_release(&text);
	return rc;
}

/* manifest blocks that, when there, have a <block>_hash of their own */
static const char *const optional_blocks[] = {
	"moe",
	"pretokenize",
	"external_holdout_provenance",
	"tenant_shadow_corpus_provenance",
	"auditor_attestation_provenance",
	"supersession_provenance",
	"drift_report",
	"confidential_compute",
	"mixed_precision_profile",
	"sparsity_profile",
	"kv_profile",
	"output_schema",
	"guardrails",
};

static void put_hash(struct buf *out, const char *key, const char *hex)
{
	(void)buf_addf(out, ",\"%s_hash\":\"%s\"", key, hex);
}

int artifact_hash_compute(const char *manifest_hash, struct json_slice manifest,
	enum hash_form form, char out[HASH_HEX_BYTES])
{
	static const char *const six[] = {
		"model_pointer", "recipes_json", "lora_bin", "index_bin", "evals_json"};
	static const char *const more[] = {"recipe_bundle_mjs", "workflow_ir", "attestation_report",
		"model_weights", "model_weight_artifact_manifest"};
	struct json_slice hashes = member_of(manifest, "hashes"), v;
	struct buf text = BUF_INIT;
	char hex[HASH_HEX_BYTES];
	int rc = 0;

	(void)buf_addf(&text, "{\"manifest_hash\":\"%s\"", manifest_hash);
	for (size_t i = 0; i < 5; i++)
		if (member_hex(hashes, six[i], hex))
			put_hash(&text, six[i], hex);
	for (size_t i = 0; form == HASH_BLOCKS && i < sizeof(more) / sizeof(more[0]); i++)
		if (member_hex(hashes, more[i], hex))
			put_hash(&text, more[i], hex);
	v = member_of(hashes, "extra_files");
	if (form == HASH_BLOCKS && v.len > 0 && json_kind_of(v) == JSON_OBJECT &&
		(rc = canonical_sha256(v, hex)) == 0)
		put_hash(&text, "extra_files", hex);
	v = member_of(manifest, "parent_cid");
	if (form == HASH_BLOCKS && v.len > 0 && json_kind_of(v) == JSON_STRING)
		(void)buf_addf(&text, ",\"parent_cid\":%.*s", (int)v.len, v.text);
	for (size_t i = 0; rc == 0 && form == HASH_BLOCKS &&
			   i < sizeof(optional_blocks) / sizeof(optional_blocks[0]);
		i++) {
		v = member_of(manifest, optional_blocks[i]);
		if (v.len > 0 && json_kind_of(v) != JSON_NULL &&
			(rc = canonical_sha256(v, hex)) == 0)
			put_hash(&text, optional_blocks[i], hex);
	}
	if (buf_putc(&text, '}') < 0 || rc < 0)
		rc = -ENOMEM;
	else
		rc = canonical_sha256(slice_of(&text), out);
	buf_release(&text);
	return rc;
}

bool signature_payload(struct json_slice sig, bool legacy, struct buf *out)
{
	static const char *const seven[] = {"artifact_hash", "eval_score", "eval_set_hash",
		"job_id", "judge_id", "manifest_hash", "spec", NULL};
	static const char *const three[] = {"job_id", "manifest_hash", "spec", NULL};
	const char *const *keys = legacy ? three : seven;

	(void)buf_putc(out, '{');
	for (size_t i = 0; keys[i] != NULL; i++) {
		struct json_slice v = member_of(sig, keys[i]);
		if (v.len == 0)
			return false;
		(void)buf_addf(out, "%s\"%s\":", i > 0 ? "," : "", keys[i]);
		(void)buf_add(out, v.text, v.len);
	}
	return buf_putc(out, '}') == 0;
}
