/*
 * trusted - whose Ed25519 signatures count: this machine's own key, and those a person pinned in
 * trusted-keys beside it. One line a key, "ed25519:<32 hex> name"; '#' begins a comment. A line
 * that is none makes the whole file count for nothing, with a sentence: half a list of trust is a
 * guess.
 */
#include "artifact/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

static const char file_name[] = "trusted-keys";

static int key_dir(const struct artifact_keys *keys, struct err *err)
{
	int fd = open(keys->key_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : err_sys(err, "cannot open the key folder '%s'", keys->key_dir);
}

static bool is_fingerprint(const char *text)
{
	for (int i = 0; i < FINGERPRINT_BYTES - 1; i++)
		if (text[i] == '\0' || strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	return text[FINGERPRINT_BYTES - 1] == '\0';
}

static bool is_name(const char *name, size_t len)
{
	if (len == 0 || len >= TRUSTED_NAME_BYTES || utf8_check(name, len) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	return true;
}

/* 1 a key, 0 a comment or an empty line, -EBADMSG */
static int read_line(const char *line, size_t len, struct trusted_key *out)
{
	static const char head[] = "ed25519:";
	const size_t name_at = sizeof(head) - 1 + FINGERPRINT_BYTES;

	if (len == 0 || line[0] == '#')
		return 0;
	if (len <= name_at || memcmp(line, head, sizeof(head) - 1) != 0 ||
		line[name_at - 1] != ' ' || !is_name(line + name_at, len - name_at))
		return -EBADMSG;
	*out = (struct trusted_key){.name = ""};
	memcpy(out->fingerprint, line + sizeof(head) - 1, FINGERPRINT_BYTES - 1);
	memcpy(out->name, line + name_at, len - name_at);
	return is_fingerprint(out->fingerprint) ? 1 : -EBADMSG;
}

static int list_read(int dirfd, struct trusted_key **out, size_t *n, struct err *err)
{
	struct buf text = BUF_INIT;
	struct trusted_key *list = NULL;
	size_t number = 0;
	int rc = read_file(dirfd, file_name, TRUSTED_FILE_BYTES, &text, err);

	*n = 0;
	if (rc >= 0) {
		list = calloc(text.len / FINGERPRINT_BYTES + 1, sizeof(*list));
		rc = list != NULL ? 0 : err_nomem(err);
	} else if (rc == -ENOENT) {
		rc = 0;
	}
	for (size_t at = 0; rc >= 0 && at < text.len;) {
		const char *from = text.data + at, *lf = memchr(from, '\n', text.len - at);
		size_t len = lf != NULL ? (size_t)(lf - from) : text.len - at;

		at += len + 1;
		number++;
		rc = read_line(from, len, &list[*n]);
		*n += rc == 1;
		if (rc < 0)
			(void)err_set(err, EUCLEAN,
				"%s: line %zu: 'ed25519:<32 hex digits> name' expected", file_name,
				number);
	}
	buf_release(&text);
	if (rc < 0) {
		free(list);
		return rc == -EBADMSG ? -EUCLEAN : rc;
	}
	*out = list;
	return 0;
}

int trusted_list(
	const struct artifact_keys *keys, struct trusted_key **out, size_t *n, struct err *err)
{
	int dirfd = key_dir(keys, err), rc;

	if (dirfd < 0)
		return dirfd;
	*out = NULL;
	rc = list_read(dirfd, out, n, err);
	close(dirfd);
	return rc;
}

/* the lines as they are, comments too, without those of ${drop}, with ${add} behind; they were read
 * before and are good. *${found}: how many there were of ${drop}. */
static int list_edit(int dirfd, const char *drop, const struct trusted_key *add, struct buf *out,
	size_t *found, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc = read_file(dirfd, file_name, TRUSTED_FILE_BYTES, &text, err);

	for (size_t at = 0; rc >= 0 && at < text.len;) {
		const char *from = text.data + at, *lf = memchr(from, '\n', text.len - at);
		size_t len = lf != NULL ? (size_t)(lf - from) : text.len - at;
		struct trusted_key key;

		at += len + 1;
		if (read_line(from, len, &key) == 1 && strcmp(key.fingerprint, drop) == 0) {
			(*found)++;
			continue;
		}
		(void)buf_add(out, from, len);
		(void)buf_putc(out, '\n');
	}
	if (add != NULL)
		(void)buf_addf(out, "ed25519:%s %s\n", add->fingerprint, add->name);
	buf_release(&text);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	return out->failed ? err_nomem(err) : 0;
}

/* two writers in turn */
static int change(const struct artifact_keys *keys, const char *fingerprint,
	const struct trusted_key *add, struct err *err)
{
	struct trusted_key *list = NULL;
	struct buf text = BUF_INIT;
	size_t n = 0, found = 0;
	int dirfd = key_dir(keys, err), rc;

	if (dirfd < 0)
		return dirfd;
	rc = flock(dirfd, LOCK_EX) < 0 ? err_sys(err, "cannot lock the key folder")
				       : list_read(dirfd, &list, &n, err);
	if (rc == 0)
		rc = list_edit(dirfd, fingerprint, add, &text, &found, err);
	if (rc == 0 && add == NULL && found == 0)
		rc = err_set(err, ENOENT, "no key ed25519:%s in %s", fingerprint, file_name);
	if (rc == 0)
		rc = replace_file(dirfd, file_name, buf_str(&text), text.len, 0600, err);
	free(list);
	buf_release(&text);
	close(dirfd);
	return rc;
}

int trusted_add(const struct artifact_keys *keys, const char *fingerprint, const char *name,
	struct err *err)
{
	struct trusted_key add = {.name = ""};
	char q[ERR_QUOTE_BYTES + 8];

	if (!is_fingerprint(fingerprint))
		return err_set(err, EINVAL, "\"%s\" is no key: 32 hex digits expected",
			err_quote(q, fingerprint, strlen(fingerprint)));
	if (!is_name(name, strlen(name)))
		return err_set(err, EINVAL, "name of a key: 1 to %d characters on one line",
			TRUSTED_NAME_BYTES - 1);
	strcpy(add.fingerprint, fingerprint);
	strcpy(add.name, name);
	return change(keys, fingerprint, &add, err);
}

int trusted_remove(const struct artifact_keys *keys, const char *fingerprint, struct err *err)
{
	return change(keys, fingerprint, NULL, err);
}

int signer_look(const struct artifact_keys *keys, const char *fingerprint, struct signer *out,
	struct err *err)
{
	struct trusted_key *list;
	struct ed25519_key own;
	size_t n;
	int rc;

	*out = (struct signer){.kind = SIGNER_UNKNOWN};
	if (keys == NULL || keys->key_dir[0] == '\0')
		return 0;
	if (ed25519_load(keys, false, &own, NULL) == 1 && strcmp(own.fingerprint, fingerprint) == 0)
		out->kind = SIGNER_OWN;
	sodium_memzero(&own, sizeof(own));
	if (out->kind == SIGNER_OWN || access(keys->key_dir, F_OK) < 0)
		return 0;
	rc = trusted_list(keys, &list, &n, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].fingerprint, fingerprint) == 0) {
			out->kind = SIGNER_TRUSTED;
			strcpy(out->name, list[i].name);
		}
	free(list);
	return 0;
}

void signer_text(const struct signer *sg, const char *fingerprint, char out[SIGNER_TEXT_BYTES])
{
	if (sg->kind == SIGNER_OWN)
		(void)snprintf(
			out, SIGNER_TEXT_BYTES, "ed25519:%s, this machine's key", fingerprint);
	else if (sg->kind == SIGNER_TRUSTED)
		(void)snprintf(
			out, SIGNER_TEXT_BYTES, "ed25519:%s, trusted as %s", fingerprint, sg->name);
	else
		(void)snprintf(out, SIGNER_TEXT_BYTES,
			"ed25519:%s, an unknown key: it shows only who holds that key",
			fingerprint);
}
