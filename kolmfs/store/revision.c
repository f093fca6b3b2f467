/* revision - finding, checking, sealing and publishing revisions/vN/; see revision.h. */
#include "store/revision.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "store/digests.h"
#include "store/journal.h"
#include "store/private.h"

enum { FILES_BYTES = 4 * 1024 * 1024 };
#define FILES_NAME "files.json"

static bool is_file(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* 1, 0, or an error: what cannot be looked at is not the same as what is not there */
static int has_file(int revisions, const char *rev, const char *name, struct err *err)
{
	char path[300];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", rev, name);
	if (fstatat(revisions, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(st.st_mode);
	return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "cannot stat '%s'", path);
}

/* complete as far as names go: digests are revision_verify()'s */
static int is_complete(int revisions, const char *rev, bool foreign, struct err *err)
{
	int rc = has_file(revisions, rev, FILES_NAME, err);

	return rc == 0 && foreign ? has_file(revisions, rev, "adapter_config.json", err) : rc;
}

static int by_number(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

/* every folder vN of revisions/, complete or not */
static int folders(const struct tune *tn, bool complete, long **numbers, size_t *n, struct err *err)
{
	bool foreign = tune_foreign(tn);
	size_t cap = 0, count = 0;
	long *list = NULL;
	struct dirent *d;
	DIR *dir;
	int fd, rc = 0;

	*numbers = NULL;
	*n = 0;
	fd = dir_open(tn->dir, "revisions", err);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return err_nomem(err);
	}
	while ((rc = dir_next(dir, "revisions/", &d, err)) > 0) {
		long number = rev_number(d->d_name);

		if (number < 0)
			continue;
		rc = complete ? is_complete(fd, d->d_name, foreign, err) : 1;
		if (rc < 0)
			break;
		if (rc == 0)
			continue;
		rc = 0;
		if (count == cap) {
			long *grown =
				realloc(list, (cap = cap == 0 ? 64 : cap * 2) * sizeof(*list));

			if (grown == NULL) {
				rc = err_nomem(err);
				break;
			}
			list = grown;
		}
		list[count++] = number;
	}
	closedir(dir);
	if (rc < 0) {
		free(list);
		return rc;
	}
	if (count > 0)
		qsort(list, count, sizeof(*list), by_number);
	*numbers = list;
	*n = count;
	return 0;
}

int revision_list(const struct tune *tn, long **numbers, size_t *n, struct err *err)
{
	return folders(tn, true, numbers, n, err);
}

static int no_revision(const struct tune *tn, const char *rev, struct err *err)
{
	long *numbers;
	size_t n;
	int rc = revision_list(tn, &numbers, &n, err);

	if (rc < 0)
		return rc;
	if (n == 0)
		rc = err_set(err, ENOENT, "no revision %s (have none)", rev);
	else if (n == 1)
		rc = err_set(err, ENOENT, "no revision %s (have v%ld)", rev, numbers[0]);
	else
		rc = err_set(err, ENOENT, "no revision %s (have v%ld..v%ld)", rev, numbers[0],
			numbers[n - 1]);
	free(numbers);
	return rc;
}

/* the folder, and its files.json parsed; *${json} NULL for one of the reference's */
static int rev_open(const struct tune *tn, const char *rev, cJSON **json, struct err *err)
{
	struct buf text = BUF_INIT;
	struct err why = ERR_NONE;
	char path[32];
	int fd, rc;

	*json = NULL;
	rc = rev_check(rev, strlen(rev), err);
	if (rc < 0)
		return rc;
	(void)snprintf(path, sizeof(path), "revisions/%s", rev);
	fd = openat(tn->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? no_revision(tn, rev, err)
			       : err_sys(err, "cannot open '%s'", path);
	rc = read_file(fd, FILES_NAME, FILES_BYTES, &text, &why);
	if (rc == -ENOENT && is_file(fd, "adapter_config.json") && tune_foreign(tn)) {
		rc = 0;
	} else if (rc == -ENOENT) {
		rc = err_set(err, ENOENT, "%s is incomplete: it has no " FILES_NAME, rev);
	} else if (rc == 0 && (rc = json_parse(buf_str(&text), text.len, json, &why)) == 0) {
		const char *spec = json_get_string(*json, "spec");

		if (spec == NULL || strcmp(spec, "kolm-files-1") != 0 ||
			!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(*json, "files")))
			rc = err_set(err, ENOENT, "%s is incomplete: its " FILES_NAME " is not one",
				rev);
	} else if (rc == -EBADMSG) {
		rc = err_set(
			err, ENOENT, "%s is incomplete: " FILES_NAME ": %.300s", rev, why.text);
	} else {
		rc = err_set(err, -rc, "%s: " FILES_NAME ": %.300s", rev, why.text);
	}
	buf_release(&text);
	if (rc == 0)
		return fd;
	cJSON_Delete(*json);
	*json = NULL;
	close(fd);
	return rc;
}

int revision_open(const struct tune *tn, const char *rev, struct err *err)
{
	cJSON *json;
	int fd = rev_open(tn, rev, &json, err);

	cJSON_Delete(json);
	return fd;
}

/* a regular file's length and digest, ${ds} NULL: read in any case; -ENOENT, -EINVAL, -EIO */
static int file_digest(struct digests *ds, int dirfd, const char *name, uint64_t *bytes,
	char sha[HASH_HEX_BYTES], struct err *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", name);
	if (fstat(fd, &st) < 0) {
		rc = err_sys(err, "cannot stat '%s'", name);
		close(fd);
		return rc;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, EINVAL, "'%s' is not a regular file", name);
	}
	*bytes = (uint64_t)st.st_size;
	rc = digests_fd(ds, fd, sha, err);
	if (rc == -EIO)
		(void)err_prefix(err, "'%s': ", name);
	close(fd);
	return rc;
}

static int entry_verify(const struct tune *tn, int dirfd, const char *rev, const cJSON *entry,
	char adapter[65], struct err *err)
{
	const char *name = json_get_string(entry, "name"), *want = json_get_string(entry, "sha256");
	double size = json_get_number(entry, "bytes", -1);
	char sha[HASH_HEX_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	uint64_t bytes;
	int rc;

	if (name == NULL || want == NULL || strchr(name, '/') != NULL || name[0] == '\0' ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, EKEYREJECTED, "%s/" FILES_NAME " is damaged", rev);
	(void)err_quote(quoted, name, strlen(name));
	rc = file_digest(tn->st->digests, dirfd, name, &bytes, sha, err);
	if (rc == -ENOENT || rc == -EINVAL || rc == -ELOOP)
		return err_set(err, EKEYREJECTED, "%s/%s is missing", rev, quoted);
	if (rc < 0)
		return rc;
	if ((double)bytes != size || strcmp(sha, want) != 0)
		return err_set(err, EKEYREJECTED, "%s/%s does not match its digest", rev, quoted);
	if (strcmp(name, "adapter_model.safetensors") == 0)
		memcpy(adapter, sha, HASH_HEX_BYTES);
	return 0;
}

int revision_verify(
	const struct tune *tn, const char *rev, char adapter_sha256[65], struct err *err)
{
	char adapter[HASH_HEX_BYTES] = "";
	const cJSON *entry;
	uint64_t bytes;
	cJSON *json;
	int fd, rc = 0;

	fd = rev_open(tn, rev, &json, err);
	if (fd < 0)
		return fd;
	cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(json, "files"))
	{
		rc = entry_verify(tn, fd, rev, entry, adapter, err);
		if (rc < 0)
			break;
	}
	if (json == NULL && is_file(fd, "adapter_model.safetensors"))
		rc = file_digest(
			tn->st->digests, fd, "adapter_model.safetensors", &bytes, adapter, err);
	cJSON_Delete(json);
	close(fd);
	if (rc == 0 && adapter_sha256 != NULL)
		memcpy(adapter_sha256, adapter, HASH_HEX_BYTES);
	return rc;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* the names to seal, sorted; what is no regular file has no place in a revision */
static int names_list(int dirfd, char ***names, size_t *n, struct err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	struct stat st;

	*names = NULL;
	*n = 0;
	if (dir == NULL) {
		rc = err_sys(err, "cannot list the new revision");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0 && (rc = dir_next(dir, "the new revision", &d, err)) > 0) {
		char **grown;

		rc = 0;
		if (strcmp(d->d_name, FILES_NAME) == 0 || strncmp(d->d_name, "eval.", 5) == 0 ||
			strncmp(d->d_name, "eval-", 5) == 0)
			continue;
		if (fstatat(dirfd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			rc = err_sys(err, "cannot stat '%.200s'", d->d_name);
			break;
		}
		if (!S_ISREG(st.st_mode)) {
			char quoted[ERR_QUOTE_BYTES + 8];

			rc = err_set(err, EBADMSG,
				"\"%s\" of the new revision is not a regular file",
				err_quote(quoted, d->d_name, strlen(d->d_name)));
			break;
		}
		grown = realloc(*names, (*n + 1) * sizeof(*grown));
		if (grown != NULL)
			*names = grown;
		if (grown == NULL || (grown[*n] = strdup(d->d_name)) == NULL)
			rc = err_nomem(err);
		else
			(*n)++;
	}
	closedir(dir);
	if (*n > 0)
		qsort(*names, *n, sizeof(**names), by_text);
	return rc;
}

static int seal_one(int dirfd, const char *name, struct buf *out, struct err *err)
{
	char sha[HASH_HEX_BYTES];
	uint64_t bytes;
	int fd, rc;

	rc = file_digest(NULL, dirfd, name, &bytes, sha, err);
	if (rc < 0)
		return rc;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", name);
	if (fsync(fd) < 0)
		rc = err_sys(err, "'%s': could not make it durable; not counted as done", name);
	close(fd);
	(void)buf_puts(out, out->data[out->len - 1] == '[' ? "{\"name\":" : ",{\"name\":");
	(void)json_put_string(out, name, strlen(name));
	if (buf_addf(out, ",\"bytes\":%llu,\"sha256\":\"%s\"}", (unsigned long long)bytes, sha) < 0)
		return err_nomem(err);
	return rc;
}

int revision_seal(int dirfd, struct err *err)
{
	struct buf text = BUF_INIT;
	char **names;
	size_t n;
	int rc;

	rc = names_list(dirfd, &names, &n, err);
	if (rc == 0 && buf_puts(&text, "{\"spec\":\"kolm-files-1\",\"files\":[") < 0)
		rc = err_nomem(err);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = seal_one(dirfd, names[i], &text, err);
		free(names[i]);
	}
	free(names);
	if (rc == 0)
		rc = buf_puts(&text, "]}") < 0
			     ? err_nomem(err)
			     : replace_file(dirfd, FILES_NAME, text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

int revision_publish(
	const struct tune *tn, int fromdir, const char *name, const char *rev, struct err *err)
{
	int revisions, rc;

	rc = rev_check(rev, strlen(rev), err);
	if (rc < 0)
		return rc;
	revisions = dir_make(tn->dir, "revisions", err);
	if (revisions < 0)
		return revisions;
	rc = renameat2(fromdir, name, revisions, rev, RENAME_NOREPLACE);
	/* without NOREPLACE rename itself refuses a folder that is not empty */
	if (rc < 0 && (errno == EINVAL || errno == ENOSYS) &&
		faccessat(revisions, rev, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		rc = renameat(fromdir, name, revisions, rev);
	if (rc < 0)
		rc = errno == EEXIST || errno == ENOTEMPTY
			     ? err_set(err, EEXIST, "%s is there already", rev)
			     : err_sys(err, "cannot publish %s", rev);
	if (rc == 0) {
		rc = dir_sync(revisions, err);
		if (rc == 0)
			rc = dir_sync(fromdir, err);
		/* what is not durable was not published */
		if (rc < 0)
			(void)renameat2(revisions, rev, fromdir, name, RENAME_NOREPLACE);
	}
	close(revisions);
	return rc;
}

int revision_next(const struct tune *tn, char out[REV_BYTES], struct err *err)
{
	static const char *const heads[] = {"HEAD", "head.prev"};
	char text[REV_BYTES];
	long max = -1, *numbers;
	size_t n;
	int rc;

	rc = journal_rev_max(tn->dir, &max, err);
	if (rc < 0)
		return rc;
	rc = folders(tn, false, &numbers, &n, err);
	if (rc < 0)
		return rc;
	if (n > 0 && numbers[n - 1] > max)
		max = numbers[n - 1];
	free(numbers);
	for (size_t i = 0; i < 2; i++)
		if (rev_file(tn->dir, heads[i], text, NULL) == 0 && rev_number(text) > max)
			max = rev_number(text);
	if (max >= 999999999)
		return err_set(err, EOVERFLOW, "no revision numbers left behind v%ld", max);
	(void)snprintf(out, REV_BYTES, "v%u", (unsigned)(max + 1));
	return 0;
}
