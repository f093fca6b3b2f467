/*
 * sidecar - the two generated files of FORMATS 11.8 that list the members again: an in-toto
 * statement and an OMS bundle, each in a DSSE envelope. Nothing here depends on them; `verify` says
 * whether they still fit.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* statement_read(envelope, out): the payload, decoded and checked */
static int statement_read(struct json_slice envelope, struct buf *out)
{
	char *payload = member_text(envelope, "payload");
	size_t len = payload != NULL ? strlen(payload) : 0, n = 0;
	int rc = payload != NULL ? buf_reserve(out, len) : -EBADMSG;

	if (rc == 0 && sodium_base642bin((unsigned char *)out->data, len, payload, len, "\r\n", &n,
			       NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		rc = -EBADMSG;
	out->len = n;
	free(payload);
	return rc < 0 ? rc : json_check(out->data, n, NULL);
}

static bool subject_fits(const struct artifact *af, struct json_slice subject)
{
	char *name = member_text(subject, "name"), want[HASH_HEX_BYTES];
	bool good = false;

	for (size_t i = 0; name != NULL && i < af->n; i++)
		if (strcmp(af->entries[i].face.name, name) == 0)
			good = member_hex(member_of(subject, "digest"), "sha256", want) &&
			       strcmp(want, af->entries[i].sha256) == 0;
	free(name);
	return good;
}

/* signed by the key of the receipt: DSSE signs "DSSEv1 LEN TYPE LEN PAYLOAD" */
static bool envelope_signed(
	const struct artifact *af, struct json_slice envelope, const struct buf *payload)
{
	struct json_slice list = member_of(envelope, "signatures"), first;
	char *type = member_text(envelope, "payloadType"), *sig = NULL;
	unsigned char raw[crypto_sign_BYTES], public[32];
	struct buf message = BUF_INIT;
	size_t pos = 0, n = 0;
	bool good = false;

	if (type != NULL && list.len > 0 && json_kind_of(list) == JSON_ARRAY &&
		json_next(list, &pos, NULL, &first))
		sig = member_text(first, "sig");
	if (sig != NULL && ed25519_public(member_of(af->receipt, "signature_ed25519"), public) &&
		sodium_base642bin(raw, sizeof(raw), sig, strlen(sig), NULL, &n, NULL,
			sodium_base64_VARIANT_ORIGINAL) == 0 &&
		n == sizeof(raw)) {
		(void)buf_addf(&message, "DSSEv1 %zu %s %zu ", strlen(type), type, payload->len);
		good = buf_add(&message, payload->data, payload->len) == 0 &&
		       crypto_sign_verify_detached(
			       raw, (const unsigned char *)message.data, message.len, public) == 0;
	}
	buf_release(&message);
	free(type);
	free(sig);
	return good;
}

const char *sidecar_check(const struct artifact *af, const char *name)
{
	const struct artifact_entry *e = artifact_entry_named(af, name);
	struct json_slice root, envelope, list, subject;
	struct buf statement = BUF_INIT;
	const char *wrong = NULL;
	size_t pos = 0, n = 0;

	if (e == NULL)
		return NULL;
	if (json_check(e->data, e->len, NULL) < 0)
		return "damaged";
	root = (struct json_slice){e->data, e->len};
	envelope = member_of(root, "dsseEnvelope");
	if (envelope.len == 0)
		envelope = root;
	if (statement_read(envelope, &statement) < 0) {
		buf_release(&statement);
		return "damaged";
	}
	list = member_of(slice_of(&statement), "subject");
	while (wrong == NULL && list.len > 0 && json_kind_of(list) == JSON_ARRAY &&
		json_next(list, &pos, NULL, &subject))
		if (++n > af->n || !subject_fits(af, subject))
			wrong = "lists other bytes than the members have";
	if (n == 0)
		wrong = "lists no member";
	else if (wrong == NULL && !envelope_signed(af, envelope, &statement))
		wrong = "is not signed by the key of the receipt";
	buf_release(&statement);
	return wrong;
}
