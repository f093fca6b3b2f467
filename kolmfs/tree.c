/*
 * tree - see tree.h.
 */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "entries.h"
#include "rag/kolmrag.h"
#include "texts.h"

enum { QUERY_NAME_BYTES = 1024 };

/* a list call-back of libkolm, carrying ours */
struct lister {
	names_each *fn;
	void *arg;
	int rc;
};

static void list_folder(void *arg, const char *name)
{
	struct lister *ls = arg;

	if (ls->rc == 0)
		ls->rc = ls->fn(ls->arg, name, strlen(name), true);
}

/* ---- slugs ---- */

CHILD(slug_child)
{
	static const char config[] = "/" CONFIG_NAME;
	char path[SLUG_BYTES + sizeof(config)];
	struct tune tn;
	struct stat st;
	int rc;

	if (len > SLUG_BYTES)
		return err_set(err, ENAMETOOLONG, "name longer than %d", SLUG_BYTES);
	if (slug_check(child, len, NULL) < 0)
		return err_set(err, ENOENT, "no such artifact");
	*out = *at;
	out->what = NULL;
	out->folder = &slug_folder;
	memcpy(out->slug, child, len);
	out->slug[len] = '\0';
	/* every path of a slug comes by here: one look for what tune_open() would find */
	memcpy(path, out->slug, len);
	memcpy(path + len, config, sizeof(config));
	if (fstatat(sv->st->tune, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
		return 0;
	rc = tune_open(sv->st, out->slug, &tn, err);
	if (rc < 0)
		return rc;
	tune_close(&tn);
	return 0;
}

EACH(slug_each)
{
	struct lister ls = {.fn = fn, .arg = arg};
	int rc = tune_list(sv->st, list_folder, &ls, err);

	(void)at;
	return rc < 0 ? rc : ls.rc;
}

/* ---- jobs ---- */

static const char *slug_or_rag(const struct place *at)
{
	return at->rag ? NULL : at->slug;
}

CHILD(job_child)
{
	struct job_record jr;
	int64_t id;

	if (len == 0 || (child[0] == '0') || num_whole(child, len, 1, INT64_MAX, &id) < 0)
		return err_set(err, ENOENT, "no such job");
	*out = *at;
	out->what = NULL;
	out->folder = &job_folder;
	out->job = (uint64_t)id;
	return kolm_job(sv->k, slug_or_rag(at), out->job, &jr, err) < 0 ? -ENOENT : 0;
}

EACH(job_each)
{
	struct job_record *list = NULL;
	char name[24];
	size_t n = 0;
	int rc = kolm_jobs(sv->k, slug_or_rag(at), &list, &n, err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		int len = snprintf(name, sizeof(name), "%llu", (unsigned long long)list[i].id);

		rc = fn(arg, name, (size_t)len, true);
	}
	free(list);
	return rc;
}

/* ---- indexes ---- */

CHILD(index_child)
{
	struct stat st;

	if (len > SLUG_BYTES)
		return err_set(err, ENAMETOOLONG, "bad index name: longer than %d", SLUG_BYTES);
	if (rag_name_check(child, len, NULL) < 0)
		return err_set(err, ENOENT, "no such index");
	*out = *at;
	out->what = NULL;
	out->folder = &index_folder;
	memcpy(out->index, child, len);
	out->index[len] = '\0';
	if (fstatat(sv->st->rag, out->index, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ENOENT, "index \"%s\" not found", out->index);
	return 0;
}

EACH(index_each)
{
	struct lister ls = {.fn = fn, .arg = arg};
	int rc = rag_list(sv->st->rag, list_folder, &ls, err);

	(void)at;
	return rc < 0 ? rc : ls.rc;
}

CHILD(query_child)
{
	(void)sv;
	if (len < 6 || memcmp(child, "query?", 6) != 0)
		return err_set(err, ENOENT, "no such file");
	if (len > QUERY_NAME_BYTES)
		return err_set(err, ENAMETOOLONG,
			"query longer than %d bytes; write it to the file `query` instead",
			QUERY_NAME_BYTES);
	*out = *at;
	out->what = &query_name;
	out->folder = NULL;
	memcpy(out->rest, child, len);
	out->rest[len] = '\0';
	return 0;
}

/* ---- revisions/ ---- */

int place_below(
	const struct place *at, const char *child, size_t len, struct place *out, struct err *err)
{
	size_t have = strlen(at->rest);

	if (have + 1 + len >= sizeof(out->rest))
		return err_set(err, ENAMETOOLONG, "path too long");
	*out = *at;
	out->what = NULL;
	if (have)
		out->rest[have++] = '/';
	memcpy(out->rest + have, child, len);
	out->rest[have + len] = '\0';
	return 0;
}

/* the descriptor of a file or folder below revisions/, links never followed; ${rest}
 * "v3/adapter_config.json" */
static int revision_at(struct server *sv, const struct place *at, int flags, struct err *err)
{
	char rest[PLACE_REST_BYTES], *save = NULL, *part;
	struct tune tn;
	int fd, next, rc = tune_open(sv->st, at->slug, &tn, err);

	if (rc < 0)
		return rc;
	memcpy(rest, at->rest, sizeof(rest));
	part = strtok_r(rest, "/", &save);
	fd = revision_open(&tn, part ? part : "", err);
	tune_close(&tn);
	while (fd >= 0 && (part = strtok_r(NULL, "/", &save))) {
		int how = *save ? O_DIRECTORY : flags;

		next = openat(fd, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | how);
		if (next < 0)
			next = err_sys(err, "cannot open '%s'", at->rest);
		close(fd);
		fd = next;
	}
	return fd;
}

CHILD(revision_child)
{
	struct stat st;
	int rc, fd;

	if (len == 0 || child[0] == '.')
		return err_set(err, ENOENT, "no such file");
	/* what is not named like a revision is none: no sentence, no damage */
	if (!*at->rest && rev_check(child, len, NULL) < 0)
		return err_set(err, ENOENT, "no such revision");
	rc = place_below(at, child, len, out, err);
	if (rc < 0)
		return rc;
	fd = revision_at(sv, out, 0, err);
	if (fd < 0)
		return fd == -ELOOP ? err_set(err, ENOENT, "'%s' is a link", out->rest) : fd;
	rc = fstat(fd, &st) < 0 ? err_sys(err, "cannot look at '%s'", out->rest) : 0;
	close(fd);
	if (rc < 0)
		return rc;
	if (S_ISDIR(st.st_mode))
		out->folder = &revision_folder;
	else if (S_ISREG(st.st_mode)) {
		out->what = &revision_file;
		out->folder = NULL;
	} else
		return err_set(err, ENOENT, "'%s' is neither file nor folder", out->rest);
	return 0;
}

static int each_revision(
	struct server *sv, const struct place *at, names_each *fn, void *arg, struct err *err)
{
	long *number = NULL;
	struct tune tn;
	char name[24];
	size_t n = 0;
	int rc = tune_open(sv->st, at->slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = revision_list(&tn, &number, &n, err);
	tune_close(&tn);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		int len = snprintf(name, sizeof(name), "v%ld", number[i]);

		rc = fn(arg, name, (size_t)len, true);
	}
	free(number);
	return rc;
}

EACH(revision_each)
{
	struct dirent *de;
	int fd, rc = 0;
	DIR *dir;

	if (!*at->rest)
		return each_revision(sv, at, fn, arg, err);
	fd = revision_at(sv, at, O_DIRECTORY, err);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		rc = err_sys(err, "cannot list '%s'", at->rest);
		close(fd);
		return rc;
	}
	while (rc == 0 && (rc = dir_next(dir, "the revision", &de, err)) > 0) {
		struct stat st;

		rc = 0;
		if (de->d_name[0] == '.' ||
			fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))
			rc = fn(arg, de->d_name, strlen(de->d_name), S_ISDIR(st.st_mode));
	}
	closedir(dir);
	return rc;
}

int revision_file_open(struct server *sv, const struct place *at, struct err *err)
{
	return revision_at(sv, at, 0, err);
}

int revision_file_stamp(
	struct server *sv, const struct place *at, char out[STAMP_BYTES], struct err *err)
{
	struct stat st;
	int fd = revision_at(sv, at, 0, err), rc;

	if (fd < 0)
		return fd;
	rc = fstat(fd, &st) < 0 ? err_sys(err, "cannot look at '%s'", at->rest) : 0;
	if (rc == 0)
		stamp_stat(&st, out);
	close(fd);
	return rc;
}

/* ---- artifact/ ---- */

/* what stands below ${prefix}: 1 a file (its entry in ${found}), 2 a folder, 0 nothing */
static int entry_kind(
	const struct artifact *af, const char *path, const struct artifact_entry **found)
{
	size_t len = strlen(path);

	*found = artifact_entry_named(af, path);
	if (*found)
		return 1;
	for (size_t i = 0; i < artifact_entries(af); i++) {
		const char *name = artifact_entry(af, i)->name;

		if (strncmp(name, path, len) == 0 && name[len] == '/')
			return 2;
	}
	return 0;
}

CHILD(entry_child)
{
	const struct artifact_entry *found;
	struct kept *kp;
	int rc = place_below(at, child, len, out, err);

	if (rc == 0)
		rc = entries_get(sv, at, &kp, err);
	if (rc < 0)
		return rc;
	switch (entry_kind(entries_artifact(kp), out->rest, &found)) {
	case 1:
		out->what = &entry_file;
		out->folder = NULL;
		break;
	case 2:
		out->folder = &entry_folder;
		break;
	default:
		rc = err_set(err, ENOENT, "no such entry");
	}
	entries_put(sv, kp);
	return rc;
}

EACH(entry_each)
{
	size_t have = strlen(at->rest);
	const struct artifact *af;
	struct kept *kp;
	int rc = entries_get(sv, at, &kp, err);

	if (rc == -ENOENT)
		return 0; /* the file is gone (status and every command say so): a folder with
			     nothing in it, so that whole-tree tools go on */
	if (rc < 0)
		return rc;
	af = entries_artifact(kp);
	for (size_t i = 0; rc == 0 && i < artifact_entries(af); i++) {
		const char *name = artifact_entry(af, i)->name, *slash;
		bool is_seen = false;
		size_t len;

		if (have && (strncmp(name, at->rest, have) != 0 || name[have] != '/'))
			continue;
		name += have ? have + 1 : 0;
		slash = strchr(name, '/');
		len = slash ? (size_t)(slash - name) : strlen(name);
		/* a folder is named by each of its entries: only the first counts */
		for (size_t j = 0; slash && j < i && !is_seen; j++) {
			const char *other = artifact_entry(af, j)->name;

			is_seen = strncmp(other, artifact_entry(af, i)->name,
					  have + (have ? 1 : 0) + len + 1) == 0;
		}
		if (!is_seen && len > 0)
			rc = fn(arg, name, len, slash != NULL);
	}
	entries_put(sv, kp);
	return rc;
}

RENDERER(entry_render)
{
	const struct artifact_entry *en;
	struct kept *kp;
	int rc = entries_get(sv, at, &kp, err);

	if (rc < 0)
		return rc;
	en = artifact_entry_named(entries_artifact(kp), at->rest);
	if (!en)
		rc = err_set(err, ENOENT, "no such entry");
	else if (buf_add(out, en->data, en->len) < 0)
		rc = err_nomem(err);
	entries_put(sv, kp);
	return rc;
}

STAMPER(entry_stamp)
{
	struct config cf;
	struct stat st;
	int rc = config_of(sv->st, at->slug, &cf, err);

	if (rc < 0)
		return rc;
	if (!cf.artifact_path || lstat(cf.artifact_path, &st) < 0)
		rc = err_set(err, ENOENT, "artifact is gone");
	else
		stamp_stat(&st, out);
	/* the same path may be another slug's artifact after `remove` and `init` */
	if (rc == 0 && cf.artifact_sha256)
		snprintf(
			out + strlen(out), STAMP_BYTES - strlen(out), ".%.12s", cf.artifact_sha256);
	config_release(&cf);
	return rc;
}
