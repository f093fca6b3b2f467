/*
 * cmd_keys - the signing key of this machine, the keys it believes, and receipts: made for runs and
 * evals, checked by verify-receipt.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/replace.h"
#include "tools/cli.h"

enum { PEM_BYTES = 4096, RECEIPT_BYTES = 1 << 20, VALUE_BYTES = 64 << 20 };

static int keys_of(const struct cli *c, bool create, struct artifact_keys *keys, struct err *err)
{
	return artifact_keys_load(kolm_store(c->k)->dir, c->store, create, keys, err);
}

/* ---- keygen, trust ---- */

int cmd_keygen(struct cli *c, struct err *err)
{
	char fingerprint[FINGERPRINT_BYTES];
	struct buf pem = BUF_INIT;
	struct artifact_keys keys;
	int rc = keys_of(c, false, &keys, err);

	if (rc == 0)
		rc = keys_generate(&keys, flag_on(c, "--force"), fingerprint, err);
	if (rc == 0) /* the HMAC's secret too, as a first compile makes it */
		rc = keys_of(c, true, &keys, err);
	if (rc == 0)
		rc = keys_public(&keys, fingerprint, &pem, err);
	if (rc == 0)
		printf("ok key ed25519:%s\n%s", fingerprint, buf_str(&pem));
	buf_release(&pem);
	return rc;
}

int cmd_trust_list(struct cli *c, struct err *err)
{
	char fingerprint[FINGERPRINT_BYTES];
	struct trusted_key *list = NULL;
	struct buf pem = BUF_INIT;
	struct artifact_keys keys;
	size_t n = 0;
	int rc = keys_of(c, false, &keys, err);

	if (rc == 0)
		rc = keys_public(&keys, fingerprint, &pem, err);
	if (rc == 0)
		printf("ed25519:%s  (this machine)\n", fingerprint);
	if (rc == 0 || rc == -ENOENT)
		rc = trusted_list(&keys, &list, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		printf("ed25519:%s  ", list[i].fingerprint);
		say_text(stdout, list[i].name);
		putchar('\n');
	}
	free(list);
	buf_release(&pem);
	return rc;
}

/* what was typed: a public key's file, or its fingerprint with or without "ed25519:" */
static int read_key(const char *given, char out[FINGERPRINT_BYTES], struct err *err)
{
	const char *hex = strncmp(given, "ed25519:", 8) == 0 ? given + 8 : given;
	struct buf pem = BUF_INIT;
	int rc;

	if (strlen(hex) == FINGERPRINT_BYTES - 1 && strchr(hex, '/') == NULL) {
		strcpy(out, hex);
		return 0;
	}
	rc = path_read(given, PEM_BYTES, &pem, err);
	if (rc == 0 && !key_fingerprint(buf_str(&pem), out))
		rc = err_set(err, EBADMSG,
			"neither 32 hex digits nor the file of an Ed25519 public key (SPKI PEM)");
	buf_release(&pem);
	return rc;
}

int cmd_trust_add(struct cli *c, struct err *err)
{
	char fingerprint[FINGERPRINT_BYTES];
	const char *name = c->words > 1 ? c->word[1] : "unnamed";
	struct artifact_keys keys;
	int rc = read_key(c->word[0], fingerprint, err);

	if (rc == 0)
		rc = keys_of(c, false, &keys, err);
	if (rc == 0)
		rc = trusted_add(&keys, fingerprint, name, err);
	if (rc == 0) {
		printf("ok ed25519:%s trusted as ", fingerprint);
		say_text(stdout, name);
		putchar('\n');
	}
	return rc;
}

int cmd_trust_remove(struct cli *c, struct err *err)
{
	char fingerprint[FINGERPRINT_BYTES];
	struct artifact_keys keys;
	int rc = read_key(c->word[0], fingerprint, err);

	if (rc == 0)
		rc = keys_of(c, false, &keys, err);
	if (rc == 0)
		rc = trusted_remove(&keys, fingerprint, err);
	if (rc == 0)
		printf("ok ed25519:%s is trusted no more\n", fingerprint);
	return rc;
}

/* ---- receipts ---- */

int receipt_save(struct cli *c, const char *kind, const char *given, const struct buf *text,
	char path[STORE_PATH_BYTES], struct err *err)
{
	char folder[STORE_PATH_BYTES];
	char *slash;
	int dir, rc;

	if (given == NULL)
		return kolm_receipt_keep(c->k, text->data, text->len, kind, path, err);
	rc = path_absolute(given, path, err);
	if (rc < 0)
		return rc;
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	*slash = '\0';
	dir = open(folder[0] != '\0' ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "cannot open folder '%s'", folder);
	rc = replace_file(dir, slash + 1, text->data, text->len, 0600, err);
	close(dir);
	return rc;
}

static void on_check(void *arg, const char *check, const char *verdict, const char *detail)
{
	size_t *warnings = arg;

	*warnings += strcmp(verdict, "warn") == 0;
	printf("  %-4s  %-10s ", verdict, check);
	say_text(stdout, detail);
	putchar('\n');
}

/* the digest a receipt has of a value: an eval.json stands for its cases, other text for the value
 * `run` takes it for */
static int digest_value(const char *path, bool is_input, char out[HASH_HEX_BYTES], struct err *err)
{
	struct buf text = BUF_INIT, value = BUF_INIT;
	struct json_slice v, cases;
	int rc = path_read(path[0] == '@' ? path + 1 : path, VALUE_BYTES, &text, err);

	if (rc == 0)
		rc = run_input(buf_str(&text), text.len, &value, err);
	v = (struct json_slice){buf_str(&value), value.len};
	if (rc == 0 && !is_input && json_member(v, "spec", &cases) && cases.len == 13 &&
		memcmp(cases.text, "\"kolm-eval-1\"", 13) == 0 && json_member(v, "cases", &cases))
		rc = proof_cases(cases, out) < 0 ? err_nomem(err) : 0;
	else if (rc == 0)
		rc = proof_digest(v, out) < 0 ? err_nomem(err) : 0;
	buf_release(&text);
	buf_release(&value);
	return rc;
}

/* an artifact that is named must hold itself; it is also where an eval's inputs come from */
static int digest_artifact(const struct cli *c, const struct artifact_keys *keys, bool is_eval,
	struct proof_given *given, struct err *err)
{
	char path[STORE_PATH_BYTES];
	struct artifact *af;
	int rc = path_artifact(c, path, err);

	if (rc == 0)
		rc = artifact_open(AT_FDCWD, path, keys, &af, err);
	if (rc < 0)
		return rc;
	strcpy(given->artifact_sha256, artifact_sha256(af));
	if (is_eval && given->input_sha256[0] == '\0')
		rc = proof_inputs(af, given->input_sha256) < 0 ? err_nomem(err) : 0;
	artifact_free(af);
	return rc;
}

static int read_given(const struct cli *c, const struct buf *receipt,
	const struct artifact_keys *keys, struct proof_given *given, struct err *err)
{
	struct json_slice v, whole = {buf_str(receipt), receipt->len};
	/* an eval of the artifact's own cases: the artifact tells their digest */
	bool is_eval = json_check(whole.text, whole.len, NULL) == 0 &&
		       json_member(whole, "source", &v) && v.len == 10 &&
		       memcmp(v.text, "\"artifact\"", 10) == 0;
	int rc = 0;

	if (flag_value(c, "--input") != NULL)
		rc = digest_value(flag_value(c, "--input"), true, given->input_sha256, err);
	if (rc == 0 && flag_value(c, "--output") != NULL)
		rc = digest_value(flag_value(c, "--output"), false, given->output_sha256, err);
	if (rc == 0 && flag_value(c, "--artifact") != NULL)
		rc = digest_artifact(c, keys, is_eval, given, err);
	return rc;
}

int cmd_verify_receipt(struct cli *c, struct err *err)
{
	struct proof_given given = {.input_sha256 = ""};
	struct buf text = BUF_INIT;
	struct artifact_keys keys;
	size_t warnings = 0;
	int rc = path_read(c->word[0], RECEIPT_BYTES, &text, err);

	if (rc == 0)
		rc = keys_of(c, false, &keys, err);
	if (rc == 0)
		rc = read_given(c, &text, &keys, &given, err);
	if (rc == 0) {
		printf("verify-receipt: ");
		say_text(stdout, path_name(c->word[0]));
		putchar('\n');
		rc = proof_verify(buf_str(&text), text.len, &keys, &given, flag_on(c, "--strict"),
			on_check, &warnings, err);
		printf("verdict: %s\n", rc < 0 ? "fail" : warnings > 0 ? "warn" : "pass");
	}
	buf_release(&text);
	return rc;
}
