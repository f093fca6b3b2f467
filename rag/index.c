#include "index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/json.h"
#include "base/replace.h"
#include "build.h"
#include "paths.h"
#include "text.h"

enum {
	JSON_BYTES_MAX =
		1 << 29, /* of an index.json that is read; the reference cannot make a longer one */
	OPEN_TRIES = 100, /* publications in a row that one open may run into */
};

static const char *const reserved[] = {"ctl", "error", "jobs", "wait"};

int rag_name_check(const char *name, size_t len, struct err *err)
{
	static const char good[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	char quoted[ERR_QUOTE_BYTES + 8];

	if (len > RAG_NAME_BYTES)
		return err_set(err, ENAMETOOLONG, "bad index name \"%s\": longer than %d bytes",
			err_quote(quoted, name, len), RAG_NAME_BYTES);
	for (size_t i = 0; i < len; i++)
		if (name[i] == '\0' || !strchr(good, name[i]))
			goto bad;
	if (len == 0 || name[0] == '.' || name[0] == '-')
		goto bad;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		if (len == strlen(reserved[i]) && memcmp(name, reserved[i], len) == 0)
			return err_set(err, EINVAL,
				"bad index name \"%s\": a file of that name stands beside the "
				"indexes",
				reserved[i]);
	return 0;
bad:
	return err_set(err, EINVAL,
		"bad index name \"%s\": use letters, digits, '.', '_' and '-', not '.' or '-' "
		"first",
		err_quote(quoted, name, len));
}

int rag_damaged(const char *name, struct err *err)
{
	struct err cause = err ? *err : ERR_NONE;

	return err_set(
		err, EUCLEAN, "index \"%s\" is damaged: %.400s; rebuild it", name, cause.text);
}

/* what the small files say; empty strings where they are missing */
struct papers {
	char *root, *created_at, *name; /* of manifest.json */
	char sha256[HASH_HEX_BYTES];
	double n_docs, avgdl, bytes;
	bool has_manifest, has_state;
	char state_sha256[HASH_HEX_BYTES], generation[XXH3_HEX_BYTES], mtime[48];
	double state_bytes, max_bytes;
	char *ext;
};

static void papers_release(struct papers *pp)
{
	free(pp->root);
	free(pp->created_at);
	free(pp->name);
	free(pp->ext);
}

static void copy_text(char *out, size_t size, const cJSON *object, const char *key)
{
	const char *text = json_get_string(object, key);

	if (text && strlen(text) < size)
		memcpy(out, text, strlen(text) + 1);
}

static char *dup_text(const cJSON *object, const char *key)
{
	const char *text = json_get_string(object, key);

	return text ? strdup(text) : NULL;
}

/* 1: ${out} is the object in the file, 0: no such file. Whatever else is -EUCLEAN */
static int small_json(int dirfd, const char *file, cJSON **out, struct err *err)
{
	struct buf bf = BUF_INIT;
	int rc = read_file(dirfd, file, RAG_MANIFEST_BYTES, &bf, err);

	if (rc == -ENOENT) {
		buf_release(&bf);
		return 0;
	}
	if (rc == 0)
		rc = json_parse(buf_str(&bf), bf.len, out, err);
	buf_release(&bf);
	if (rc < 0)
		err_prefix(err, "%s: ", file);
	return rc < 0 ? rc : 1;
}

static bool is_spec(const char *spec)
{
	return spec && (strcmp(spec, RAG_SPEC) == 0 || strcmp(spec, "kolm-2") == 0);
}

static int read_manifest(int dirfd, struct papers *pp, struct err *err)
{
	cJSON *js = NULL;
	int rc = small_json(dirfd, "manifest.json", &js, err);

	if (rc <= 0)
		return rc;
	pp->has_manifest = true;
	pp->root = dup_text(js, "root");
	pp->created_at = dup_text(js, "created_at");
	pp->name = dup_text(js, "name");
	copy_text(pp->sha256, sizeof(pp->sha256), js, "sha256");
	pp->n_docs = json_get_number(js, "n_docs", -1);
	pp->avgdl = json_get_number(js, "avgdl", -1);
	pp->bytes = json_get_number(js, "size_bytes", -1);
	rc = 0;
	if (!is_spec(json_get_string(js, "spec")))
		rc = err_set(err, EUCLEAN, "manifest.json is not of '" RAG_SPEC "' or 'kolm-2'");
	else if (!pp->root || !pp->created_at || !pp->name ||
		 strlen(pp->sha256) != HASH_HEX_BYTES - 1)
		rc = err_set(err, EUCLEAN, "manifest.json lacks root, created_at, name or sha256");
	cJSON_Delete(js);
	return rc;
}

static int read_state(int dirfd, struct papers *pp, struct err *err)
{
	cJSON *js = NULL;
	int rc = small_json(dirfd, "state.json", &js, err);

	if (rc <= 0)
		return rc;
	pp->has_state = true;
	copy_text(pp->generation, sizeof(pp->generation), js, "generation");
	copy_text(pp->state_sha256, sizeof(pp->state_sha256), js, "index_sha256");
	copy_text(pp->mtime, sizeof(pp->mtime), js, "index_mtime");
	pp->state_bytes = json_get_number(js, "index_bytes", -1);
	pp->max_bytes = json_get_number(js, "max_bytes", 0);
	pp->ext = dup_text(js, "ext");
	cJSON_Delete(js);
	return 0;
}

/* index.json (or index.bin, where that is all there is) is the one that manifest.json names.
 * Reading it all is left out where size and time are those of the build. */
static int check_paper(const struct rag_index *ix, int fd, const struct papers *pp, struct err *err)
{
	const struct stat *st = &ix->json;
	char mtime[48], sha256[HASH_HEX_BYTES];
	int rc;

	if (pp->bytes != (double)st->st_size)
		return err_set(err, EUCLEAN, "%s has %lld bytes, manifest.json says %.0f",
			ix->paper, (long long)st->st_size, pp->bytes);
	snprintf(mtime, sizeof(mtime), "%lld.%09ld", (long long)st->st_mtim.tv_sec,
		st->st_mtim.tv_nsec);
	if (pp->has_state && strcmp(pp->mtime, mtime) == 0 &&
		strcmp(pp->sha256, pp->state_sha256) == 0 && pp->state_bytes == (double)st->st_size)
		return 0;
	rc = sha256_fd(fd, 0, (uint64_t)st->st_size, sha256, err);
	if (rc == 0 && strcmp(sha256, pp->sha256) != 0)
		rc = err_set(err, EUCLEAN, "%s does not have the sha256 that manifest.json gives",
			ix->paper);
	return rc;
}

/* 1: mapped and good, 0: there is no index.bin, or one of another version beside an index.json */
static int map_bin(struct rag_index *ix, int dirfd, struct err *err)
{
	struct stat st;
	int fd, rc = 1;

	fd = openat(dirfd, "index.bin", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(err, "cannot open 'index.bin'");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		rc = err_set(err, EUCLEAN, "index.bin is empty or not a file");
	} else {
		/* whoever cuts the file short, and a disk that cannot read it, must not end us */
		int bad = guard_map(fd, (size_t)st.st_size, &ix->map, err);

		ix->map_len = (size_t)st.st_size;
		rc = bad < 0 ? bad : 1;
	}
	close(fd);
	if (rc == 1) {
		int bad = rag_bin_open(ix->map, ix->map_len, true, &ix->bin, err);

		rc = bad < 0 ? bad : 1;
		if (bad == -ENOTSUP && strcmp(ix->paper, "index.json") == 0) {
			guard_unmap(ix->map, ix->map_len);
			ix->map = NULL;
			rc = 0;
		}
	}
	return rc;
}

static int load_mapped(struct rag_index *ix, int dirfd, struct papers *pp, struct err *err)
{
	char generation[XXH3_HEX_BYTES];
	int rc = map_bin(ix, dirfd, err);

	if (rc <= 0)
		return rc;
	rag_bin_generation(ix->bin.header, generation);
	if (strcmp(generation, pp->generation) != 0 ||
		(double)ix->bin.header->n_docs != pp->n_docs || ix->bin.header->avgdl != pp->avgdl)
		return err_set(err, EUCLEAN, "index.bin and index.json are not of the same build");
	ix->root = pp->root;
	ix->created_at = pp->created_at;
	pp->root = pp->created_at = NULL;
	return 1;
}

static int load_compat(struct rag_index *ix, int fd, struct err *err)
{
	struct buf bf = BUF_INIT;
	int rc = read_fd(fd, JSON_BYTES_MAX, &bf, err);

	if (rc == -EFBIG)
		rc = err_set(err, EUCLEAN, "index.json is longer than %d bytes", JSON_BYTES_MAX);
	if (rc == 0)
		rc = rag_compat(ix, buf_str(&bf), bf.len, err);
	buf_release(&bf);
	return rc;
}

static void put_mode(struct rag_index *ix)
{
	char *rest;

	memcpy(ix->mode, ix->bin.header->analyser, sizeof(ix->mode));
	if (strtok_r(ix->mode, " ", &rest))
		ix->lang = strtok_r(NULL, " ", &rest);
}

/* which files of the folder an index is opened from */
enum load { LOAD_ANY, LOAD_STRICT, LOAD_SPARE };

static int load_files(struct rag_index *ix, int dirfd, int fd, enum load how, struct err *err)
{
	bool is_strict = how == LOAD_STRICT;
	struct papers pp = {0};
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EUCLEAN, "%s is not a file", ix->paper);
	ix->json_bytes = (uint64_t)st.st_size;
	ix->json = st;
	rc = read_manifest(dirfd, &pp, err);
	if (rc == 0)
		rc = read_state(dirfd, &pp, err);
	if (rc == 0 && pp.has_manifest)
		rc = check_paper(ix, fd, &pp, err);
	if (rc == 0 && is_strict && strcmp(pp.name ? pp.name : "", ix->name) != 0)
		rc = err_set(err, EUCLEAN, "manifest.json names another index");
	if (rc == 0 && how != LOAD_SPARE && pp.has_manifest && pp.has_state &&
		strcmp(pp.sha256, pp.state_sha256) == 0)
		rc = load_mapped(ix, dirfd, &pp, err);
	if (rc == 1 && is_strict)
		rc = rag_bin_check(&ix->bin, err) < 0 ? -EUCLEAN : 1;
	if (rc == 0 && is_strict)
		rc = err_set(err, EUCLEAN, "index.bin, state.json or manifest.json is missing");
	if (rc == 0 && strcmp(ix->paper, "index.json") != 0)
		rc = err_set(err, EUCLEAN, "index.json is missing");
	/* no index.bin, or one that another program's index.json has overtaken */
	if (rc == 0)
		rc = load_compat(ix, fd, err);
	if (rc >= 0) {
		ix->ext = pp.ext;
		ix->max_bytes =
			pp.max_bytes >= 1 && pp.max_bytes < 1e15 ? (uint64_t)pp.max_bytes : 0;
		pp.ext = NULL;
		put_mode(ix);
	}
	papers_release(&pp);
	return rc < 0 ? rc : 0;
}

static bool exists(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* the files are not what they should be; all else (no memory, no descriptor, no right) may pass */
static bool is_damage(int rc)
{
	return rc == -EUCLEAN || rc == -ENOTSUP || rc == -EBADMSG || rc == -EINVAL ||
	       rc == -ELOOP || rc == -EFBIG || rc == -EMSGSIZE || rc == -EISDIR;
}

/* the file that manifest.json is about: a descriptor, or a negative errno */
static int open_paper(int dirfd, const char *name, const char **paper, struct err *err)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd, rc;

	*paper = "index.json";
	fd = openat(dirfd, *paper, flags);
	if (fd < 0 && errno == ENOENT) {
		if (!exists(dirfd, "manifest.json") && !exists(dirfd, "index.bin"))
			return err_set(err, ENOENT, "index \"%s\" not found", name);
		if (exists(dirfd, "manifest.json") && exists(dirfd, "index.bin"))
			*paper = "index.bin";
		fd = openat(dirfd, *paper, flags);
	}
	if (fd >= 0)
		return fd;
	rc = err_sys(err, "cannot open '%s'", *paper);
	return rc == -ENOENT || is_damage(rc) ? rag_damaged(name, err) : rc;
}

static int load(int dirfd, const char *name, enum load how, struct rag_index **out, struct err *err)
{
	struct rag_index *ix;
	const char *paper;
	int rc, fd = open_paper(dirfd, name, &paper, err);

	if (fd < 0)
		return fd;
	ix = calloc(1, sizeof(*ix));
	if (!ix || !(ix->name = strdup(name))) {
		rc = err_nomem(err);
		goto out;
	}
	ix->paper = paper;
	rc = load_files(ix, dirfd, fd, how, err);
	if (rc == 0) {
		*out = ix;
		ix = NULL;
	} else if (is_damage(rc)) {
		rc = rag_damaged(name, err);
	}
out:
	close(fd);
	rag_close(ix);
	return rc;
}

int rag_load(int dirfd, const char *name, bool is_strict, struct rag_index **out, struct err *err)
{
	return load(dirfd, name, is_strict ? LOAD_STRICT : LOAD_ANY, out, err);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/*
 * 1: opened, 0: a publication swept the folder away while its files were opened, so look again.
 * What is missing then either fails, or looks like an index.json alone.
 */
static int open_once(
	int ragdir, const char *name, enum load how, struct rag_index **out, struct err *err)
{
	struct stat opened, now;
	int dirfd, rc;

	dirfd = openat(ragdir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dirfd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return err_set(err, ENOENT, "index \"%s\" not found", name);
	if (dirfd < 0)
		return err_sys(err, "cannot open index \"%s\"", name);
	rc = load(dirfd, name, how, out, err);
	if ((rc < 0 || (*out)->is_live) && fstat(dirfd, &opened) == 0 &&
		fstatat(ragdir, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
		!is_same_file(&opened, &now)) {
		if (rc == 0)
			rag_close(*out);
		rc = 0;
	} else if (rc == 0) {
		rc = 1;
	}
	close(dirfd);
	return rc;
}

static int open_how(
	int ragdir, const char *name, enum load how, struct rag_index **out, struct err *err)
{
	struct rag_index *ix = NULL;
	int rc = rag_name_check(name, strlen(name), err);

	if (rc < 0)
		return rc;
	for (int i = 0; rc == 0 && i < OPEN_TRIES; i++)
		rc = open_once(ragdir, name, how, &ix, err);
	if (rc == 0)
		return err_set(
			err, EBUSY, "index \"%s\" is replaced again and again; try later", name);
	if (rc < 0)
		return rc;
	*out = ix;
	return 0;
}

int rag_open(int ragdir, const char *name, struct rag_index **out, struct err *err)
{
	return open_how(ragdir, name, LOAD_ANY, out, err);
}

int rag_open_spare(int ragdir, const char *name, struct rag_index **out, struct err *err)
{
	int rc = open_how(ragdir, name, LOAD_SPARE, out, err);

	return rc == -EUCLEAN && rag_load_last(ragdir, name, out) == 0 ? 0 : rc;
}

/* asked before each question. Each generation writes its own index.json, so that one file tells
 * them apart. */
bool rag_is_current(int ragdir, const struct rag_index *ix)
{
	char path[RAG_NAME_BYTES + sizeof("/index.json")];
	size_t len = strlen(ix->name);
	struct stat now;

	memcpy(path, ix->name, len);
	path[len] = '/';
	memcpy(path + len + 1, ix->paper, strlen(ix->paper) + 1);
	return fstatat(ragdir, path, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       is_same_file(&now, &ix->json) && now.st_size == ix->json.st_size &&
	       now.st_mtim.tv_sec == ix->json.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == ix->json.st_mtim.tv_nsec;
}

bool rag_has_texts(const struct rag_index *ix)
{
	return !ix->is_live;
}

void rag_close(struct rag_index *ix)
{
	if (!ix)
		return;
	rag_paths_free(atomic_load(&ix->paths));
	rag_bin_close(&ix->bin);
	guard_unmap(ix->map, ix->map_len);
	buf_release(&ix->image);
	buf_release(&ix->live.text);
	buf_release(&ix->live.docs);
	free(ix->name);
	free(ix->root);
	free(ix->created_at);
	free(ix->ext);
	free(ix);
}

void rag_describe(const struct rag_index *ix, struct rag_info *out)
{
	const struct rag_bin_header *h = ix->bin.header;

	*out = (struct rag_info){
		.name = ix->name,
		.root = ix->root,
		.created_at = ix->created_at,
		.n_docs = h->n_docs,
		.avgdl = h->avgdl,
		.json_bytes = ix->json_bytes,
		.ext = ix->ext,
		.mode = ix->mode,
		.lang = ix->lang,
		.max_bytes = ix->max_bytes,
	};
	rag_bin_generation(h, out->generation);
}

int rag_check(const struct rag_index *ix, struct err *err)
{
	int rc = rag_bin_check(&ix->bin, err);

	if (rc == 0 && ix->map && guard_lost(ix->map))
		rc = err_set(err, EUCLEAN, "index.bin was cut short, or the disk cannot read it");
	return rc < 0 ? rag_damaged(ix->name, err) : 0;
}
