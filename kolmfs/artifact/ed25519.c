/*
 * ed25519 - the signing key of this machine, and signature blocks made with it or with somebody
 * else's.
 *
 * Keys travel as PEM around a fixed DER prefix and 32 bytes: PKCS#8 for the private one, SPKI for
 * the public one. Nothing else is read or written, so no DER parser is needed.
 */
#include "artifact/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

enum { PEM_BYTES_MAX = 4096, RAW_BYTES = 32, PKCS8_HEAD = 16, SPKI_HEAD = 12 };

static const unsigned char pkcs8_head[PKCS8_HEAD] = {
	0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20};
static const unsigned char spki_head[SPKI_HEAD] = {
	0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0};
static const char key_file[] = "signing-key.pem";

static bool is_disabled(void)
{
	const char *off = getenv("KOLM_ED25519_DISABLE");

	return off != NULL && strcmp(off, "1") == 0;
}

/* pem_read(text, label, head, n, raw): the 32 bytes behind the DER prefix ${head}; false when it is
 * anything else. */
static bool pem_read(const char *text, const char *label, const unsigned char *head, size_t n,
	unsigned char raw[RAW_BYTES])
{
	char begin[48], end[48];
	unsigned char der[64];
	const char *from, *to;
	size_t len;

	snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
	snprintf(end, sizeof(end), "-----END %s-----", label);
	from = strstr(text, begin);
	to = from != NULL ? strstr(from, end) : NULL;
	if (to == NULL)
		return false;
	from += strlen(begin);
	if (sodium_base642bin(der, sizeof(der), from, (size_t)(to - from), " \t\r\n", &len, NULL,
		    sodium_base64_VARIANT_ORIGINAL) != 0 ||
		len != n + RAW_BYTES || memcmp(der, head, n) != 0)
		return false;
	memcpy(raw, der + n, RAW_BYTES);
	sodium_memzero(der, sizeof(der));
	return true;
}

static void pem_write(const char *label, const unsigned char *head, size_t n,
	const unsigned char raw[RAW_BYTES], struct buf *out)
{
	unsigned char der[64];
	char text[128];

	memcpy(der, head, n);
	memcpy(der + n, raw, RAW_BYTES);
	sodium_bin2base64(text, sizeof(text), der, n + RAW_BYTES, sodium_base64_VARIANT_ORIGINAL);
	(void)buf_addf(out, "-----BEGIN %s-----\n%s\n-----END %s-----\n", label, text, label);
	sodium_memzero(der, sizeof(der));
	sodium_memzero(text, sizeof(text));
}

void ed25519_fingerprint(const unsigned char public[RAW_BYTES], char out[FINGERPRINT_BYTES])
{
	unsigned char der[SPKI_HEAD + RAW_BYTES];
	char hex[HASH_HEX_BYTES];

	memcpy(der, spki_head, SPKI_HEAD);
	memcpy(der + SPKI_HEAD, public, RAW_BYTES);
	sha256_hex(der, sizeof(der), hex);
	memcpy(out, hex, FINGERPRINT_BYTES - 1);
	out[FINGERPRINT_BYTES - 1] = '\0';
}

static int key_from_pem(
	const char *text, const char *where, struct ed25519_key *key, struct err *err)
{
	unsigned char seed[RAW_BYTES];

	if (!pem_read(text, "PRIVATE KEY", pkcs8_head, PKCS8_HEAD, seed))
		return err_set(
			err, EBADMSG, "%s is not an Ed25519 private key (PKCS#8 PEM)", where);
	crypto_sign_seed_keypair(key->public, key->secret, seed);
	sodium_memzero(seed, sizeof(seed));
	ed25519_fingerprint(key->public, key->fingerprint);
	return 1;
}

/* in the environment, a line break may be written as \n */
static int key_from_environment(const char *text, struct ed25519_key *key, struct err *err)
{
	struct buf pem = BUF_INIT;
	int rc;

	for (const char *p = text; *p != '\0'; p++) {
		bool escape = p[0] == '\\' && p[1] == 'n';
		(void)buf_putc(&pem, escape ? '\n' : *p);
		p += escape;
	}
	rc = pem.failed ? err_nomem(err)
			: key_from_pem(buf_str(&pem), "KOLM_ED25519_PRIVATE_KEY", key, err);
	buf_release(&pem);
	return rc;
}

static int key_from_file(int dirfd, const char *path, struct ed25519_key *key, struct err *err)
{
	struct buf pem = BUF_INIT;
	int rc = read_file(dirfd, path, PEM_BYTES_MAX, &pem, err);

	if (rc >= 0)
		rc = key_from_pem(buf_str(&pem), path, key, err);
	if (pem.data != NULL)
		sodium_memzero(pem.data, pem.cap);
	buf_release(&pem);
	return rc;
}

/* made under another name and linked, so that two first compiles end with one key; a start takes
 * the name away that a killed one left */
static int key_create(int dirfd, struct err *err)
{
	unsigned char seed[RAW_BYTES];
	char tmp[64];
	struct buf pem = BUF_INIT;
	int rc;

	randombytes_buf(seed, sizeof(seed));
	snprintf(tmp, sizeof(tmp), ".signing-key.tmp.%d.%08x.pem", (int)getpid(),
		randombytes_random());
	pem_write("PRIVATE KEY", pkcs8_head, PKCS8_HEAD, seed, &pem);
	sodium_memzero(seed, sizeof(seed));
	rc = pem.failed ? err_nomem(err) : replace_file(dirfd, tmp, pem.data, pem.len, 0600, err);
	if (rc == 0 && linkat(dirfd, tmp, dirfd, key_file, 0) < 0 && errno != EEXIST)
		rc = err_sys(err, "cannot create '%s'", key_file);
	unlinkat(dirfd, tmp, 0);
	if (rc == 0)
		rc = dir_sync(dirfd, err);
	if (pem.data != NULL)
		sodium_memzero(pem.data, pem.cap);
	buf_release(&pem);
	return rc;
}

static int key_from_store(const char *dir, bool create, struct ed25519_key *key, struct err *err)
{
	int dirfd, rc;

	if (create && mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "cannot create the key folder '%s'", dir);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return create || errno != ENOENT
			       ? err_sys(err, "cannot open the key folder '%s'", dir)
			       : 0;
	rc = key_from_file(dirfd, key_file, key, err);
	if (rc == -ENOENT && !create) {
		rc = 0;
	} else if (rc == -ENOENT) {
		rc = key_create(dirfd, err);
		if (rc == 0)
			rc = key_from_file(dirfd, key_file, key, err);
	}
	close(dirfd);
	return rc;
}

int ed25519_of_store(int storefd, const char *fingerprint, struct ed25519_key *key, struct err *err)
{
	char name[64] = "signing-key.pem";
	int rc;

	memset(key, 0, sizeof(*key));
	if (fingerprint != NULL)
		snprintf(name, sizeof(name), "signing-key.%.8s.pem", fingerprint);
	rc = key_from_file(storefd, name, key, err);
	return rc < 0 ? rc : 0;
}

int ed25519_load(
	const struct artifact_keys *keys, bool create, struct ed25519_key *key, struct err *err)
{
	const char *text = getenv("KOLM_ED25519_PRIVATE_KEY"),
		   *path = getenv("KOLM_ED25519_PRIVATE_KEY_PATH");

	memset(key, 0, sizeof(*key));
	if (is_disabled())
		return 0;
	if (text != NULL && text[0] != '\0')
		return key_from_environment(text, key, err);
	if (path != NULL && path[0] != '\0')
		return key_from_file(AT_FDCWD, path, key, err);
	return key_from_store(keys->key_dir, create, key, err);
}

static bool from_environment(void)
{
	const char *text = getenv("KOLM_ED25519_PRIVATE_KEY"),
		   *path = getenv("KOLM_ED25519_PRIVATE_KEY_PATH");

	return (text != NULL && text[0] != '\0') || (path != NULL && path[0] != '\0');
}

/* the old key stays, for those who must open what it signed, and is believed as before */
static int retire(const struct artifact_keys *keys, int dirfd, struct err *err)
{
	struct ed25519_key old;
	char name[64];
	int rc = key_from_file(dirfd, key_file, &old, err);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	sodium_memzero(old.secret, sizeof(old.secret));
	snprintf(name, sizeof(name), "signing-key.%.8s.pem", old.fingerprint);
	rc = trusted_add(keys, old.fingerprint, "retired", err);
	if (rc == 0 && renameat(dirfd, key_file, dirfd, name) < 0)
		rc = err_sys(err, "cannot rename '%s'", key_file);
	return rc;
}

int keys_generate(const struct artifact_keys *keys, bool replace,
	char fingerprint[FINGERPRINT_BYTES], struct err *err)
{
	struct ed25519_key key;
	int dirfd, rc;

	if (is_disabled() || from_environment())
		return err_set(err, EPERM, "%s; unset it to make a key here",
			is_disabled() ? "Ed25519 is switched off by KOLM_ED25519_DISABLE"
				      : "the key comes from KOLM_ED25519_PRIVATE_KEY");
	if (mkdir(keys->key_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "cannot create the key folder '%s'", keys->key_dir);
	dirfd = open(keys->key_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(err, "cannot open the key folder '%s'", keys->key_dir);
	if (replace)
		rc = retire(keys, dirfd, err);
	else
		rc = faccessat(dirfd, key_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0
			     ? err_set(err, EEXIST, "there is a key already: %s/%s", keys->key_dir,
				       key_file)
			     : 0;
	if (rc == 0)
		rc = key_create(dirfd, err);
	if (rc == 0)
		rc = key_from_file(dirfd, key_file, &key, err);
	close(dirfd);
	if (rc < 0)
		return rc;
	strcpy(fingerprint, key.fingerprint);
	sodium_memzero(&key, sizeof(key));
	return 0;
}

int keys_public(const struct artifact_keys *keys, char fingerprint[FINGERPRINT_BYTES],
	struct buf *pem, struct err *err)
{
	struct ed25519_key key;
	int rc = ed25519_load(keys, false, &key, err);

	if (rc == 0)
		return err_set(err, ENOENT, "this machine has no key; kolm keygen makes one");
	if (rc < 0)
		return rc;
	strcpy(fingerprint, key.fingerprint);
	pem_write("PUBLIC KEY", spki_head, SPKI_HEAD, key.public, pem);
	sodium_memzero(&key, sizeof(key));
	return pem->failed ? err_nomem(err) : 0;
}

bool key_fingerprint(const char *pem, char out[FINGERPRINT_BYTES])
{
	unsigned char public[RAW_BYTES];

	if (!pem_read(pem, "PUBLIC KEY", spki_head, SPKI_HEAD, public))
		return false;
	ed25519_fingerprint(public, out);
	return true;
}

int ed25519_block(const struct ed25519_key *key, const char *message, size_t len, const char *when,
	struct buf *out)
{
	unsigned char sig[crypto_sign_BYTES];
	char text[96];
	struct buf pem = BUF_INIT;

	crypto_sign_detached(sig, NULL, (const unsigned char *)message, len, key->secret);
	sodium_bin2base64(
		text, sizeof(text), sig, sizeof(sig), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	pem_write("PUBLIC KEY", spki_head, SPKI_HEAD, key->public, &pem);
	(void)buf_puts(out, "{\"spec\":\"kolm-ed25519-v1\",\"alg\":\"ed25519\",\"public_key\":");
	(void)json_put_text(out, buf_str(&pem));
	(void)buf_addf(out,
		",\"key_fingerprint\":\"%s\",\"signature\":\"%s\",\"signed_at\":\"%s\"}",
		key->fingerprint, text, when);
	buf_release(&pem);
	return out->failed ? -ENOMEM : 0;
}

int ed25519_check(struct json_slice block, const char *message, size_t len,
	char fingerprint[FINGERPRINT_BYTES], struct err *err)
{
	unsigned char public[RAW_BYTES], raw[crypto_sign_BYTES + 1];
	char real[FINGERPRINT_BYTES], *pem, *sig, *print;
	size_t n = 0;
	bool no_memory = member_take(block, "public_key", &pem) == -ENOMEM;
	int rc = 0;

	no_memory |= member_take(block, "signature", &sig) == -ENOMEM;
	no_memory |= member_take(block, "key_fingerprint", &print) == -ENOMEM;
	if (no_memory) {
		rc = err_nomem(err);
	} else if (!member_is(block, "spec", "kolm-ed25519-v1") ||
		   !member_is(block, "alg", "ed25519")) {
		rc = err_set(
			err, EKEYREJECTED, "Ed25519 signature: unknown spec or algorithm name");
	} else if (pem == NULL || !pem_read(pem, "PUBLIC KEY", spki_head, SPKI_HEAD, public)) {
		rc = err_set(err, EKEYREJECTED,
			"Ed25519 signature: public_key is not an Ed25519 key in SPKI PEM");
	} else if (sig == NULL ||
		   sodium_base642bin(raw, sizeof(raw), sig, strlen(sig), NULL, &n, NULL,
			   sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
		   n != crypto_sign_BYTES) {
		rc = err_set(
			err, EKEYREJECTED, "Ed25519 signature: 64 bytes in base64url expected");
	} else {
		ed25519_fingerprint(public, real);
		if (print == NULL || strcmp(print, real) != 0)
			rc = err_set(err, EKEYREJECTED,
				"Ed25519 signature: key_fingerprint is not that of the key, %s",
				real);
		else if (crypto_sign_verify_detached(
				 raw, (const unsigned char *)message, len, public) != 0)
			rc = err_set(err, EKEYREJECTED,
				"Ed25519 signature of the receipt does not match");
		else
			strcpy(fingerprint, real);
	}
	free(pem);
	free(sig);
	free(print);
	return rc;
}

bool ed25519_public(struct json_slice block, unsigned char out[RAW_BYTES])
{
	char *pem = member_text(block, "public_key");
	bool good = pem != NULL && pem_read(pem, "PUBLIC KEY", spki_head, SPKI_HEAD, out);

	free(pem);
	return good;
}
