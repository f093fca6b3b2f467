/* tune - the folders of slugs: tune/<slug>/. */
#include "store/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "store/config.h"

/* a folder is a slug from the moment it has a configuration: 1 or 0; what cannot be looked at is an
 * error, and not a slug that was never made */
static int is_initialised(int dir, struct err *err)
{
	static const char *const names[] = {"tune-config.json", "tune-config.json.prev"};
	struct stat st;

	for (size_t i = 0; i < 2; i++) {
		if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			return 1;
		if (errno != ENOENT)
			return err_sys(err, "cannot stat '%s'", names[i]);
	}
	return 0;
}

int tune_open(const struct store *st, const char *slug, struct tune *out, struct err *err)
{
	int rc = slug_check(slug, strlen(slug), err), dir;

	if (rc < 0)
		return rc;
	dir = dir_open(st->tune, slug, err);
	if (dir < 0 && dir != -ENOENT && dir != -ENOTDIR)
		return dir;
	rc = dir < 0 ? 0 : is_initialised(dir, err);
	if (rc <= 0) {
		if (dir >= 0)
			close(dir);
		return rc < 0 ? rc
			      : err_set(err, ENOENT, "no such artifact \"%s\"; make it with init",
					slug);
	}
	out->st = st;
	out->dir = dir;
	(void)snprintf(out->slug, sizeof(out->slug), "%s", slug);
	return 0;
}

int tune_create(const struct store *st, const char *slug, struct tune *out, struct err *err)
{
	int rc = slug_check(slug, strlen(slug), err), dir;

	if (rc < 0)
		return rc;
	dir = dir_make(st->tune, slug, err);
	if (dir < 0)
		return dir;
	out->st = st;
	out->dir = dir;
	(void)snprintf(out->slug, sizeof(out->slug), "%s", slug);
	return 0;
}

void tune_close(struct tune *tn)
{
	if (tn->dir >= 0)
		close(tn->dir);
	tn->dir = -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(char ***names, size_t *n, const char *name)
{
	char **grown;

	if ((*n & (*n - 1)) == 0) { /* at 0, 1, 2, 4, ...: doubled */
		grown = realloc(*names, (*n == 0 ? 1 : *n * 2) * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		*names = grown;
	}
	(*names)[*n] = strdup(name);
	if ((*names)[*n] == NULL)
		return -ENOMEM;
	(*n)++;
	return 0;
}

int tune_list(const struct store *st, store_each *each, void *arg, struct err *err)
{
	int fd = dir_open(st->dir, "tune", err), rc = 0;
	char **names = NULL;
	struct dirent *d;
	size_t n = 0;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return err_nomem(err);
	}
	while (rc == 0 && (rc = dir_next(dir, "tune/", &d, err)) > 0) {
		int slug;

		rc = 0;
		if (slug_check(d->d_name, strlen(d->d_name), NULL) < 0)
			continue;
		slug = dir_open(fd, d->d_name, NULL);
		if (slug == -ENOENT || slug == -ENOTDIR || slug == -ELOOP)
			continue;
		/* one that cannot be looked at is there: who opens it is told why */
		if ((slug < 0 || is_initialised(slug, NULL) != 0) &&
			names_add(&names, &n, d->d_name) < 0)
			rc = err_nomem(err);
		if (slug >= 0)
			close(slug);
	}
	closedir(dir);
	if (n > 0)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			each(arg, names[i]);
		free(names[i]);
	}
	free(names);
	return rc;
}

bool tune_foreign(const struct tune *tn)
{
	struct buf text = BUF_INIT;
	cJSON *json = NULL;
	bool foreign = false;

	if (read_file(tn->dir, "tune-config.json", 1024 * 1024, &text, NULL) == 0 &&
		json_parse(buf_str(&text), text.len, &json, NULL) == 0 && cJSON_IsObject(json))
		foreign =
			!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "artifact_sha256"));
	cJSON_Delete(json);
	buf_release(&text);
	return foreign;
}
