/*
 * stamp - a line of text signed by this store, and told to be: the checkpoint of the audit log.
 *
 * "ed25519:PUBLIC:SIGNATURE" in hex with the store's own signing-key.pem, else
 * "hmac-sha256:MAC" with the secret of its config.json, else "-". Keys of the environment do not
 * count: another process of the same store would have others. A key that was replaced (keygen
 * --force keeps it as signing-key.FINGERPRINT.pem) is still the store's own.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/replace.h"

enum { SIG_BYTES = crypto_sign_BYTES, PUBLIC_BYTES = crypto_sign_PUBLICKEYBYTES };
static const char ed25519[] = "ed25519:", hmac[] = "hmac-sha256:";

static void mac_of(const char *secret, const char *text, size_t len,
	unsigned char out[crypto_auth_hmacsha256_BYTES])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)text, len);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
}

void stamp_make(int storefd, const char *text, size_t len, char out[STAMP_TEXT_BYTES])
{
	unsigned char sig[SIG_BYTES], mac[crypto_auth_hmacsha256_BYTES];
	struct artifact_keys keys = {.secret = ""};
	struct ed25519_key key;
	char hex[2][2 * SIG_BYTES + 1];

	(void)snprintf(out, STAMP_TEXT_BYTES, "-");
	if (sodium_init() < 0)
		return;
	if (ed25519_of_store(storefd, NULL, &key, NULL) == 0) {
		crypto_sign_detached(sig, NULL, (const unsigned char *)text, len, key.secret);
		hex_encode(key.public, PUBLIC_BYTES, hex[0]);
		hex_encode(sig, SIG_BYTES, hex[1]);
		(void)snprintf(out, STAMP_TEXT_BYTES, "%s%s:%s", ed25519, hex[0], hex[1]);
		sodium_memzero(&key, sizeof(key));
	} else if (secret_of_store(storefd, &keys, NULL) == 0 && keys.secret[0] != '\0') {
		mac_of(keys.secret, text, len, mac);
		hex_encode(mac, sizeof(mac), hex[0]);
		(void)snprintf(out, STAMP_TEXT_BYTES, "%s%s", hmac, hex[0]);
		sodium_memzero(&keys, sizeof(keys));
	}
}

static int not_ours(const char *why, struct err *err)
{
	return err_set(err, EKEYREJECTED, "its checkpoint is not signed by this store: %s", why);
}

static int check_ed25519(
	int storefd, const char *hex, const char *text, size_t len, char who[80], struct err *err)
{
	unsigned char public[PUBLIC_BYTES], sig[SIG_BYTES];
	char fingerprint[FINGERPRINT_BYTES];
	struct ed25519_key key;
	int rc;

	if (strlen(hex) != 2 * PUBLIC_BYTES + 1 + 2 * SIG_BYTES ||
		sodium_hex2bin(public, sizeof(public), hex, sizeof(public) * 2, NULL, NULL, NULL) !=
			0 ||
		hex[2 * PUBLIC_BYTES] != ':' ||
		sodium_hex2bin(sig, sizeof(sig), hex + 2 * PUBLIC_BYTES + 1, sizeof(sig) * 2, NULL,
			NULL, NULL) != 0)
		return not_ours("it is cut or changed", err);
	ed25519_fingerprint(public, fingerprint);
	rc = ed25519_of_store(storefd, NULL, &key, NULL);
	if (rc == -ENOENT || (rc == 0 && memcmp(key.public, public, sizeof(public)) != 0))
		rc = ed25519_of_store(storefd, fingerprint, &key, NULL);
	if (rc == 0 && memcmp(key.public, public, sizeof(public)) != 0)
		rc = -ENOENT;
	sodium_memzero(key.secret, sizeof(key.secret));
	if (rc == -ENOENT || rc == -EBADMSG)
		return not_ours("its key is none of the store's", err);
	if (rc < 0)
		return err_set(err, -rc, "the store's signing key cannot be read");
	if (crypto_sign_verify_detached(sig, (const unsigned char *)text, len, public) != 0)
		return not_ours("the signature is of another text", err);
	(void)snprintf(who, 80, "ed25519 %s", fingerprint);
	return 1;
}

int stamp_check(
	int storefd, const char *stamp, const char *text, size_t len, char who[80], struct err *err)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES], got[crypto_auth_hmacsha256_BYTES];
	struct artifact_keys keys = {.secret = ""};
	int rc;

	if (sodium_init() < 0)
		return err_set(err, EIO, "libsodium does not start");
	if (strcmp(stamp, "-") == 0)
		return 0;
	if (strncmp(stamp, ed25519, strlen(ed25519)) == 0)
		return check_ed25519(storefd, stamp + strlen(ed25519), text, len, who, err);
	if (strncmp(stamp, hmac, strlen(hmac)) != 0 ||
		strlen(stamp + strlen(hmac)) != 2 * sizeof(got) ||
		sodium_hex2bin(got, sizeof(got), stamp + strlen(hmac), 2 * sizeof(got), NULL, NULL,
			NULL) != 0)
		return not_ours("it is cut or changed", err);
	rc = secret_of_store(storefd, &keys, err);
	if (rc < 0)
		return rc;
	if (keys.secret[0] == '\0')
		return not_ours("config.json has no secret any more", err);
	mac_of(keys.secret, text, len, mac);
	sodium_memzero(&keys, sizeof(keys));
	if (sodium_memcmp(mac, got, sizeof(mac)) != 0)
		return not_ours("the signature is of another text or another secret", err);
	(void)snprintf(who, 80, "hmac-sha256");
	return 1;
}
