/* config_file - tune-config.json and the copy before it, tune-config.json.prev; see config.h. */
#include "store/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "store/private.h"

/* of read_file(): what could not be read is not known to be damaged */
static bool is_damage(int rc)
{
	return rc == -ENOENT || rc == -EINVAL || rc == -ELOOP || rc == -EFBIG;
}

/* the sentence of G01: the damage, and where the last good copy is */
static int config_damaged(const struct tune *tn, const char *why, struct err *err)
{
	char when[TIME_TEXT_BYTES], first[ERR_TEXT_BYTES];
	struct buf text = BUF_INIT;
	struct config prev;
	struct stat st;
	int rc;

	(void)snprintf(first, sizeof(first), "%.300s", why);
	rc = read_file(tn->dir, CONFIG_PREV, CONFIG_BYTES, &text, NULL);
	if (rc == 0)
		rc = config_parse(buf_str(&text), text.len, &prev, NULL);
	buf_release(&text);
	if (rc < 0 || fstatat(tn->dir, CONFIG_PREV, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (rc == 0)
			config_release(&prev);
		return err_set(err, EUCLEAN, "%s is damaged: %s; last good copy from: none kept",
			CONFIG_NAME, first);
	}
	config_release(&prev);
	(void)time_text((int64_t)st.st_mtim.tv_sec * 1000, when);
	return err_set(err, EUCLEAN,
		"%s is damaged: %s; last good copy from %s: write %s back to it", CONFIG_NAME,
		first, when, CONFIG_PREV);
}

int config_load(const struct tune *tn, struct config *out, struct err *err)
{
	struct buf text = BUF_INIT;
	struct err why = ERR_NONE;
	int rc;

	rc = read_file(tn->dir, CONFIG_NAME, CONFIG_BYTES, &text, &why);
	if (rc < 0 && !is_damage(rc)) {
		buf_release(&text);
		return err_set(err, -rc, "%s", why.text);
	}
	if (rc == 0 && text.len == 0)
		rc = err_set(&why, EBADMSG, "it is empty");
	if (rc == 0) {
		rc = config_parse(buf_str(&text), text.len, out, &why);
		if (rc < 0 && rc != -EBADMSG && rc != -EMSGSIZE) {
			buf_release(&text);
			return err_set(err, -rc, "%s", why.text);
		}
	}
	buf_release(&text);
	return rc < 0 ? config_damaged(tn, why.text, err) : 0;
}

int config_of(const struct store *st, const char *slug, struct config *out, struct err *err)
{
	struct tune tn;
	int rc = tune_open(st, slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = config_load(&tn, out, err);
	tune_close(&tn);
	return rc;
}

static int generation_set(struct config *cf, uint64_t generation)
{
	cJSON *node = cJSON_GetObjectItemCaseSensitive(cf->json, "generation");

	if (node != NULL)
		(void)cJSON_SetNumberHelper(node, (double)generation);
	else if (cJSON_AddNumberToObject(cf->json, "generation", (double)generation) == NULL)
		return -ENOMEM;
	cf->generation = generation;
	return 0;
}

int config_save(const struct tune *tn, struct config *cf, struct err *err)
{
	struct buf old = BUF_INIT, text = BUF_INIT;
	uint64_t before = cf->generation;
	struct config disk;
	bool good;
	int rc;

	rc = read_file(tn->dir, CONFIG_NAME, CONFIG_BYTES, &old, err);
	if (rc < 0 && !is_damage(rc))
		goto out;
	if (rc == 0)
		rc = config_parse(buf_str(&old), old.len, &disk, NULL);
	if (rc == -ENOMEM) {
		rc = err_nomem(err);
		goto out;
	}
	/* what is damaged has no generation, and must not become the last good copy */
	good = rc == 0;
	if (good) {
		uint64_t now = disk.generation;

		config_release(&disk);
		if (now != before) {
			rc = err_set(err, ESTALE,
				"config is at generation %llu, edit was made on %llu",
				(unsigned long long)now, (unsigned long long)before);
			goto out;
		}
	}
	if (generation_set(cf, before + 1) < 0 || json_put_cjson(&text, cf->json, true) < 0) {
		rc = err_nomem(err);
		goto out;
	}
	rc = good ? replace_file(tn->dir, CONFIG_PREV, old.data, old.len, 0600, err) : 0;
	if (rc == 0)
		rc = replace_file(tn->dir, CONFIG_NAME, text.data, text.len, 0600, err);
	/* the first one is its own good copy */
	if (rc == 0 && !good && faccessat(tn->dir, CONFIG_PREV, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		(void)replace_file(tn->dir, CONFIG_PREV, text.data, text.len, 0600, NULL);
	if (rc < 0) {
		/* the name may have changed already when only the directory could not be synced */
		if (good)
			(void)replace_file(tn->dir, CONFIG_NAME, old.data, old.len, 0600, NULL);
		(void)generation_set(cf, before);
	}
out:
	buf_release(&old);
	buf_release(&text);
	return rc;
}
