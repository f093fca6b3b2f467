/*
 * proof - receipts of runs and evals: what only the store knows of them (adapter, base, walls), and
 * where they lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/replace.h"
#include "loop/private.h"

enum { WALLS_BYTES = 65536 };
static const char walls_file[] = "walls.json";

static int look_up_model(struct kolm *k, const char *slug, struct proof *p,
	char adapter[HASH_HEX_BYTES], char xxh3[33], struct config *cf, struct err *err)
{
	struct tune tn;
	int rc = tune_open(&k->st, slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = revision_verify(&tn, p->revision, adapter, err);
	if (rc == 0)
		rc = config_load(&tn, cf, err);
	tune_close(&tn);
	if (rc < 0)
		return rc;
	p->base_path = cf->base_path != NULL ? cf->base_path : cf->base_model;
	rc = base_identify(k, p->base_path, &p->base_bytes, xxh3, err);
	p->adapter_sha256 = adapter;
	p->base_xxh3 = xxh3;
	return rc;
}

/*
 * What a canary's report depends on: this boot, this cell's program, this user. A canary takes 27
 * processes and a quarter of a second; a cell that starts has checked its walls itself, so for
 * receipts the last report under the same key will do, told with its time. tune eval never asks it.
 */
static int walls_key(struct kolm *k, char out[HASH_HEX_BYTES], struct err *err)
{
	const char *cell = spawner_program(k->sp, "kolm-cell");
	struct buf text = BUF_INIT;
	struct stat st;
	int fd, rc;

	if (stat(cell, &st) < 0)
		return err_sys(err, "cannot stat '%s'", cell);
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	rc = fd >= 0 ? read_fd(fd, 64, &text, err) : err_sys(err, "cannot read boot_id");
	if (fd >= 0)
		close(fd);
	(void)buf_addf(&text, " %llx %llx %llx %llx.%lx %ld", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino, (unsigned long long)st.st_size,
		(unsigned long long)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec,
		(long)geteuid());
	if (rc >= 0)
		sha256_hex(buf_str(&text), text.len, out);
	buf_release(&text);
	return rc < 0 ? rc : 0;
}

static bool read_known(struct kolm *k, const char *key, struct buf *text, struct proof *p)
{
	struct json_slice v, at;
	char want[HASH_HEX_BYTES + 2];

	(void)snprintf(want, sizeof(want), "\"%s\"", key);
	if (read_file(k->st.dir, walls_file, WALLS_BYTES, text, NULL) < 0 ||
		json_check(text->data, text->len, NULL) < 0)
		return false;
	v = (struct json_slice){text->data, text->len};
	if (!json_member(v, "key", &at) || at.len != strlen(want) ||
		memcmp(at.text, want, at.len) != 0 || !json_member(v, "seen_at", &at) ||
		json_kind_of(at) != JSON_STRING || at.len - 2 >= sizeof(p->walls_seen_at) ||
		!json_member(v, "walls", &p->walls))
		return false;
	memcpy(p->walls_seen_at, at.text + 1, at.len - 2);
	return true;
}

static bool all_in_force(struct json_slice walls)
{
	struct json_slice name, value;

	for (size_t pos = 0; json_next(walls, &pos, &name, &value);)
		if (value.len != 10 || memcmp(value.text, "\"in force\"", 10) != 0)
			return false;
	return true;
}

/* the report for ${p}, in ${text} */
static int walls_of(struct kolm *k, struct proof *p, struct buf *text, struct err *err)
{
	char key[HASH_HEX_BYTES];
	struct buf keep = BUF_INIT;
	int rc = k->sp != NULL ? walls_key(k, key, err)
			       : err_set(err, EOPNOTSUPP, "sandbox: no spawner; nothing to prove");

	if (rc < 0 || read_known(k, key, text, p))
		return rc;
	buf_reset(text);
	rc = spawner_walls(k->sp, text, err);
	if (rc < 0)
		return rc;
	p->walls = (struct json_slice){buf_str(text), text->len};
	(void)time_text(time_now(), p->walls_seen_at);
	if (!all_in_force(p->walls))
		return 0;
	(void)buf_addf(&keep,
		"{\"spec\":\"kolm-walls-1\",\"key\":\"%s\",\"seen_at\":\"%s\",\"walls\":%s}\n", key,
		p->walls_seen_at, buf_str(text));
	rc = keep.failed ? err_nomem(err)
			 : replace_file(k->st.dir, walls_file, keep.data, keep.len, 0600, err);
	buf_release(&keep);
	return rc;
}

int kolm_prove(struct kolm *k, const char *slug, struct proof *p, struct buf *out, struct err *err)
{
	char adapter[HASH_HEX_BYTES] = "", xxh3[33] = "";
	struct buf walls = BUF_INIT;
	struct artifact_keys keys;
	struct config cf = {0};
	bool has_model = slug != NULL && p->revision != NULL && p->revision[0] != '\0';
	int rc = artifact_keys_load(k->st.dir, k->st.path, true, &keys, err);

	p->engine = "kolmfs-" KOLM_VERSION;
	if (rc == 0 && has_model)
		rc = look_up_model(k, slug, p, adapter, xxh3, &cf, err);
	if (rc == 0 && p->walls.len == 0)
		rc = walls_of(k, p, &walls, err);
	if (rc == 0)
		rc = proof_make(p, &keys, out, err);
	if (has_model)
		config_release(&cf);
	buf_release(&walls);
	return rc;
}

int kolm_receipt_keep(struct kolm *k, const char *text, size_t len, const char *kind,
	char path[STORE_PATH_BYTES], struct err *err)
{
	char hex[HASH_HEX_BYTES], when[TIME_TEXT_BYTES], name[80];
	int dir = dir_make(k->st.dir, "receipts", err), rc;

	if (dir < 0)
		return dir;
	sha256_hex(text, len, hex);
	(void)time_text(time_now(), when);
	for (char *c = when; *c != '\0'; c++)
		if (*c == ':')
			*c = '-';
	(void)snprintf(name, sizeof(name), "%s-%s-%.8s.json", kind, when, hex);
	rc = replace_file(dir, name, text, len, 0600, err);
	close(dir);
	if (rc == 0 && snprintf(path, STORE_PATH_BYTES, "%s/receipts/%s", k->st.path, name) >=
			       STORE_PATH_BYTES)
		rc = err_set(err, ENAMETOOLONG, "path of the receipt is too long");
	return rc;
}
