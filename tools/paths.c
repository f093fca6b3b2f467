/*
 * paths - which file, which slug, which base somebody meant (FORMATS 19.1).
 */
#include "tools/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/replace.h"

const char *path_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

int path_absolute(const char *path, char out[STORE_PATH_BYTES], struct err *err)
{
	char folder[STORE_PATH_BYTES], real[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	size_t n = strlen(path);
	const char *name;
	int len;

	if (n == 0 || n >= sizeof(folder))
		return err_set(err, n == 0 ? ENOENT : ENAMETOOLONG,
			n == 0 ? "empty path" : "path too long");
	memcpy(folder, path, n + 1);
	while (n > 1 && folder[n - 1] == '/')
		folder[--n] = '\0';
	name = path_name(folder);
	/* "..", "." and "/" have no last component to keep */
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		if (realpath(folder, out) == NULL)
			return err_set(err, errno, "'%s' not found",
				err_quote(quoted, path, strlen(path)));
		return 0;
	}
	size_t cut = (size_t)(name - folder);
	char last[STORE_PATH_BYTES];

	memcpy(last, name, n - cut + 1);
	folder[cut] = '\0';
	if (realpath(cut > 0 ? folder : ".", real) == NULL)
		return err_set(err, errno, "'%s' not found: %s",
			err_quote(quoted, path, strlen(path)), strerror(errno));
	len = snprintf(out, STORE_PATH_BYTES, "%s/%s", strcmp(real, "/") == 0 ? "" : real, last);
	return len < STORE_PATH_BYTES ? 0 : err_set(err, ENAMETOOLONG, "path too long");
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static const char *artifact_given(const struct cli *c)
{
	const char *given = flag_value(c, "--artifact");

	if (given == NULL && c->words > 0 && !flag_on(c, "--artifact") &&
		(c->verb->group == NULL || strcmp(c->verb->group, "captures") != 0))
		given = c->word[0];
	return given;
}

/* the four places of FORMATS 19.1, in order */
static bool artifact_find(const struct cli *c, const char *given, char out[STORE_PATH_BYTES])
{
	static const char *const endings[] = {"", ".kolm"};

	for (size_t i = 0; i < 2; i++) {
		if (snprintf(out, STORE_PATH_BYTES, "%s%s", given, endings[i]) < STORE_PATH_BYTES &&
			is_there(out))
			return true;
		if (given[0] == '/')
			continue;
		if (snprintf(out, STORE_PATH_BYTES, "%s/artifacts/%s%s", c->store, given,
			    endings[i]) < STORE_PATH_BYTES &&
			is_there(out))
			return true;
	}
	return false;
}

int path_artifact(const struct cli *c, char out[STORE_PATH_BYTES], struct err *err)
{
	char found[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	const char *given = artifact_given(c);

	if (given == NULL || given[0] == '\0')
		return usage_error(err, "which artifact? give --artifact FILE");
	if (!artifact_find(c, given, found))
		return err_set(err, ENOENT, "no such artifact \"%s\"",
			err_quote(quoted, given, strlen(given)));
	return path_absolute(found, out, err);
}

/* -EEXIST when the file is not what the slug was initialised with; a file that is gone is judged by
 * the verb */
static int same_artifact(const struct cli *c, const char *slug, const char *path, struct err *err)
{
	char sha[HASH_HEX_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	struct config cf;
	int fd, rc;

	rc = config_of(kolm_store(c->k), slug, &cf, NULL);
	if (rc < 0)
		return 0;
	if (cf.artifact_path != NULL && cf.artifact_sha256 != NULL &&
		strcmp(cf.artifact_path, path) != 0) {
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && sha256_fd(fd, 0, UINT64_MAX, sha, NULL) == 0 &&
			strcmp(sha, cf.artifact_sha256) != 0)
			rc = err_set(err, EEXIST,
				"slug already belongs to another artifact: \"%s\" is %s, not "
				"\"%s\"; name yours with --slug",
				slug, cf.artifact_path, err_quote(quoted, path, strlen(path)));
		if (fd >= 0)
			close(fd);
	}
	config_release(&cf);
	return rc;
}

int path_slug(const struct cli *c, char slug[SLUG_BYTES + 1], struct err *err)
{
	const char *given = flag_value(c, "--slug");
	char path[STORE_PATH_BYTES];
	int rc;

	if (given != NULL) {
		rc = slug_check(given, strlen(given), err);
		if (rc < 0)
			return usage_mark(err);
		(void)snprintf(slug, SLUG_BYTES + 1, "%s", given);
		return 0;
	}
	given = artifact_given(c);
	if (given == NULL || given[0] == '\0')
		return usage_error(err, "which artifact? give --artifact FILE");
	rc = slug_of_path(given, slug, err);
	if (rc < 0)
		return usage_mark(err);
	if (artifact_find(c, given, path) && path_absolute(path, path, NULL) == 0)
		rc = same_artifact(c, slug, path, err);
	return rc;
}

int path_same_slug(const struct cli *c, const char *artifact, const char *sha256,
	char slug[SLUG_BYTES + 1], struct err *err)
{
	const char *given = flag_value(c, "--slug");
	struct config cf;
	bool same = false;

	if (given != NULL && slug_check(given, strlen(given), NULL) == 0)
		(void)snprintf(slug, SLUG_BYTES + 1, "%s", given);
	else if (slug_of_path(artifact, slug, NULL) < 0)
		slug[0] = '\0';
	if (slug[0] != '\0' && config_of(kolm_store(c->k), slug, &cf, NULL) == 0) {
		same = cf.artifact_sha256 != NULL && strcmp(cf.artifact_sha256, sha256) == 0;
		config_release(&cf);
	}
	if (!same)
		slug[0] = '\0';
	return same || given == NULL
		       ? 0
		       : err_set(err, ENOENT,
				 "slug \"%.64s\" is not initialised with this artifact", given);
}

/* "org/model": one slash, no ending, and no such folder here */
static bool is_model_name(const char *given)
{
	const char *slash = strchr(given, '/');
	char folder[256];
	size_t n;

	if (slash == NULL || slash == given || given[0] == '.' || given[0] == '~' ||
		strchr(slash + 1, '/') != NULL || strstr(given, ".gguf") != NULL)
		return false;
	n = (size_t)(slash - given);
	if (n >= sizeof(folder))
		return false;
	memcpy(folder, given, n);
	folder[n] = '\0';
	return !is_there(folder);
}

int path_base(const char *given, char out[STORE_PATH_BYTES], struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	if (strlen(given) >= STORE_PATH_BYTES)
		return usage_error(err, "--base: path too long");
	if (strstr(given, "://") != NULL || strncmp(given, "file:", 5) == 0 ||
		is_model_name(given)) {
		(void)snprintf(out, STORE_PATH_BYTES, "%s", given);
		return 0;
	}
	rc = path_absolute(given, out, NULL);
	if (rc < 0)
		return err_set(err, -rc, "base model not found: \"%s\"",
			err_quote(quoted, given, strlen(given)));
	return 0;
}

const char *path_short(const char *path, char out[STORE_PATH_BYTES])
{
	const char *home = getenv("HOME");
	size_t n = home != NULL ? strlen(home) : 0;

	while (n > 0 && home[n - 1] == '/')
		n--;
	if (n > 0 && strncmp(path, home, n) == 0 && path[n] == '/')
		(void)snprintf(out, STORE_PATH_BYTES, "~%s", path + n);
	else
		(void)snprintf(out, STORE_PATH_BYTES, "%s", path);
	return out;
}

int path_read(const char *path, size_t max, struct buf *out, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	struct stat st;
	int fd, rc;

	if (strcmp(path, "-") == 0)
		return read_fd(STDIN_FILENO, max, out, err);
	err_quote(quoted, path, strlen(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot read '%s'", quoted);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		rc = err_set(err, EISDIR, "'%s' is a folder", quoted);
	else
		rc = read_fd(fd, max, out, err);
	close(fd);
	return rc;
}
