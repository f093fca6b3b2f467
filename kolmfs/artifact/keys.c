/*
 * keys - the secret of this machine and the secrets tried when verifying (FORMATS 12).
 */
#include "artifact/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/replace.h"

enum { CONFIG_BYTES_MAX = 1024 * 1024, SECRET_RANDOM_BYTES = 24 };

/* known to everybody: a match shows only that the bytes agree with each other */
static const char *const public_secrets[] = {
	"kolm-public-fixture-v0-1-0", "ks_receipt_dev_secret_change_in_prod"};

static const char *from_environment(void)
{
	const char *secret = getenv("RECIPE_RECEIPT_SECRET");

	if (secret == NULL || secret[0] == '\0')
		secret = getenv("KOLM_ARTIFACT_SECRET");
	return secret != NULL && secret[0] != '\0' ? secret : NULL;
}

static int take(struct artifact_keys *out, const char *secret, const char *where, struct err *err)
{
	if (strlen(secret) >= sizeof(out->secret))
		return err_set(err, EMSGSIZE, "secret of %s longer than %zu bytes", where,
			sizeof(out->secret) - 1);
	strcpy(out->secret, secret);
	return 0;
}

/* config.json as a tree; an empty one when the file is missing */
static int config_read(int storefd, cJSON **out, struct err *err)
{
	struct buf text = BUF_INIT;
	struct err why = ERR_NONE;
	int rc = read_file(storefd, "config.json", CONFIG_BYTES_MAX, &text, &why);

	*out = NULL;
	if (rc == -ENOENT) {
		*out = cJSON_CreateObject();
		rc = *out != NULL ? 0 : err_nomem(err);
	} else if (rc < 0) {
		rc = err_set(err, -rc, "%s", why.text);
	} else if ((rc = json_parse(buf_str(&text), text.len, out, &why)) == -ENOMEM) {
		rc = err_nomem(err);
	} else if (rc < 0 || !cJSON_IsObject(*out)) {
		rc = err_set(err, EUCLEAN, "config.json is damaged: %s",
			why.no != 0 ? why.text : "object expected");
		cJSON_Delete(*out);
		*out = NULL;
	}
	buf_release(&text);
	return rc;
}

static int config_store(int storefd, cJSON *config, const char *secret, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc;

	cJSON_DeleteItemFromObjectCaseSensitive(config, "local_receipt_secret");
	if (cJSON_AddStringToObject(config, "local_receipt_secret", secret) == NULL ||
		json_put_cjson(&text, config, true) < 0)
		rc = err_nomem(err);
	else
		rc = replace_file(storefd, "config.json", text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

/* 1 there is one, 0 none */
static int secret_read(int storefd, cJSON **config, struct artifact_keys *out, struct err *err)
{
	const char *have;
	int rc = config_read(storefd, config, err);

	if (rc < 0)
		return rc;
	have = json_get_string(*config, "local_receipt_secret");
	if (have == NULL || have[0] == '\0')
		return 0;
	rc = take(out, have, "config.json", err);
	return rc < 0 ? rc : 1;
}

/* of the many who find none at once one makes it: what another signed meanwhile with its own would
 * be by no secret of this machine */
static int secret_create(int storefd, struct artifact_keys *out, struct err *err)
{
	unsigned char raw[SECRET_RANDOM_BYTES];
	char fresh[16 + 2 * SECRET_RANDOM_BYTES] = "kolm-local-";
	cJSON *config = NULL;
	int lock = openat(storefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		rc = err_sys(err, "cannot lock the store's folder");
	else
		rc = secret_read(storefd, &config, out, err);
	if (rc == 0) {
		randombytes_buf(raw, sizeof(raw));
		hex_encode(raw, sizeof(raw), fresh + strlen(fresh));
		rc = config_store(storefd, config, fresh, err);
		if (rc == 0)
			rc = take(out, fresh, "config.json", err);
	}
	cJSON_Delete(config);
	if (lock >= 0)
		close(lock);
	return rc < 0 ? rc : 0;
}

static int secret_from_config(int storefd, bool create, struct artifact_keys *out, struct err *err)
{
	cJSON *config = NULL;
	int rc = secret_read(storefd, &config, out, err);

	cJSON_Delete(config);
	if (rc == 0 && create)
		rc = secret_create(storefd, out, err);
	return rc < 0 ? rc : 0;
}

int secret_of_store(int storefd, struct artifact_keys *out, struct err *err)
{
	return secret_from_config(storefd, false, out, err);
}

int artifact_keys_load(int storefd, const char *store_path, bool create, struct artifact_keys *out,
	struct err *err)
{
	struct artifact_keys keys = {.secret = ""};
	struct ed25519_key key;
	const char *dir = getenv("KOLM_ED25519_KEY_STORE"), *secret = from_environment();
	int rc;

	if (sodium_init() < 0)
		return err_set(err, EIO, "libsodium does not start");
	if (dir == NULL || dir[0] == '\0')
		dir = store_path != NULL ? store_path : ".";
	if (strlen(dir) >= sizeof(keys.key_dir))
		return err_set(err, ENAMETOOLONG, "path of the key folder longer than %zu bytes",
			sizeof(keys.key_dir) - 1);
	strcpy(keys.key_dir, dir);
	rc = secret != NULL ? take(&keys, secret, "the environment", err)
			    : secret_from_config(storefd, create, &keys, err);
	if (rc == 0 && create)
		rc = ed25519_load(&keys, true, &key, err);
	if (rc < 0)
		return rc;
	sodium_memzero(&key, sizeof(key));
	*out = keys;
	return 0;
}

void secrets_list(const struct artifact_keys *keys, struct secrets *out)
{
	*out = (struct secrets){.n = 0};
	if (keys != NULL && keys->secret[0] != '\0') {
		out->public[0] = strcmp(keys->secret, public_secrets[0]) == 0 ||
				 strcmp(keys->secret, public_secrets[1]) == 0;
		out->text[out->n++] = keys->secret;
	}
	for (size_t i = 0; i < 2; i++) {
		if (out->n > 0 && strcmp(out->text[0], public_secrets[i]) == 0)
			continue;
		out->public[out->n] = true;
		out->text[out->n++] = public_secrets[i];
	}
}
