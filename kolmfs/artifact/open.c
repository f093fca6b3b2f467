/*
 * open - a .kolm file from its path to a verified artifact. The table below is the whole of
 * FORMATS 13.2, in order: what the documents look like first, so that a damaged one is named as
 * such, then every digest, then the signatures.
 */
#include "artifact/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"

const struct check artifact_checks[] = {
	{"manifest", contents_manifest},
	{"recipes", contents_recipes},
	{"evals", contents_evals},
	{"slots", contents_slots},
	{"documents", trust_documents},
	{"member hashes", trust_members},
	{"artifact hash", trust_hash},
	{"cid", trust_cid},
	{"receipt chain", trust_chain},
	{"signature", trust_signature},
};
const size_t artifact_check_count = sizeof(artifact_checks) / sizeof(artifact_checks[0]);

int artifact_load(int dirfd, const char *path, struct buf *data, struct err *err)
{
	char q[ERR_QUOTE_BYTES + 8];
	struct stat st;
	int rc, fd;

	err_quote(q, path, strlen(path));
	fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ELOOP)
		return err_set(
			err, ELOOP, "artifact '%s' is a symbolic link; name the file itself", q);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "no artifact '%s'", q);
	if (fd < 0 && errno == ENXIO)
		return err_set(err, EINVAL, "'%s' is not a regular file", q);
	if (fd < 0)
		return err_sys(err, "cannot open artifact '%s'", q);
	if (fstat(fd, &st) < 0)
		rc = err_sys(err, "cannot look at artifact '%s'", q);
	else if (S_ISDIR(st.st_mode))
		rc = err_set(err, EISDIR, "artifact '%s' is a folder, not a regular file", q);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(err, EINVAL, "'%s' is not a regular file", q);
	else if (st.st_size > ARTIFACT_BYTES_MAX)
		rc = err_set(err, EFBIG, "artifact '%s' is too large: more than 256 MiB", q);
	else
		rc = read_fd(fd, ARTIFACT_BYTES_MAX, data, err);
	close(fd);
	return rc < 0 ? rc : 0;
}

int artifact_unpack(const char *data, size_t len, struct artifact **out, struct err *err)
{
	struct artifact *af = calloc(1, sizeof(*af));
	int rc;

	if (af == NULL)
		return err_nomem(err);
	rc = zip_read(data, len, af, err);
	if (rc < 0) {
		artifact_free(af);
		return rc;
	}
	af->bytes = len;
	sha256_hex(data, len, af->sha256);
	*out = af;
	return 0;
}

int artifact_read(const char *data, size_t len, const struct artifact_keys *keys,
	struct artifact **out, struct err *err)
{
	struct artifact *af;
	int rc = artifact_unpack(data, len, &af, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < artifact_check_count && rc == 0; i++)
		rc = artifact_checks[i].run(af, keys, err);
	if (rc < 0) {
		artifact_free(af);
		if (rc == -EKEYREJECTED && err != NULL)
			return err_code(err, "KOLM_E_SIGNATURE_INVALID");
		return rc;
	}
	*out = af;
	return 0;
}

int artifact_open(int dirfd, const char *path, const struct artifact_keys *keys,
	struct artifact **out, struct err *err)
{
	struct buf data = BUF_INIT;
	int rc = artifact_load(dirfd, path, &data, err);

	if (rc == 0)
		rc = artifact_read(buf_str(&data), data.len, keys, out, err);
	buf_release(&data);
	return rc;
}

void artifact_free(struct artifact *af)
{
	if (af == NULL)
		return;
	for (size_t i = 0; af->entries != NULL && i < af->n; i++) {
		free((char *)af->entries[i].face.name);
		free((char *)af->entries[i].face.data);
	}
	for (size_t i = 0; i < af->recipe_count; i++) {
		free((char *)af->recipes[i].id);
		free((char *)af->recipes[i].name);
		free((char *)af->recipes[i].source);
		free((char *)af->recipes[i].version_id);
	}
	cases_free(af->cases, af->case_count);
	free(af->entries);
	free(af->recipes);
	free(af->comparator);
	free(af->task);
	free(af->job_id);
	free(af->target);
	free(af);
}

const char *artifact_sha256(const struct artifact *af)
{
	return af->sha256;
}

uint64_t artifact_bytes(const struct artifact *af)
{
	return af->bytes;
}

enum artifact_trust artifact_trust(const struct artifact *af)
{
	return af->trust;
}

const char *artifact_trust_text(const struct artifact *af)
{
	return af->trust_text;
}

const char *artifact_task(const struct artifact *af)
{
	return af->task;
}

const char *artifact_job_id(const struct artifact *af)
{
	return af->job_id;
}

const char *artifact_runtime_target(const struct artifact *af)
{
	return af->target != NULL ? af->target : "js";
}

uint64_t artifact_input_max(const struct artifact *af)
{
	return af->input_max;
}

size_t artifact_entries(const struct artifact *af)
{
	return af->n;
}

const struct artifact_entry *artifact_entry(const struct artifact *af, size_t i)
{
	return &af->entries[i].face;
}

const struct artifact_entry *artifact_entry_named(const struct artifact *af, const char *name)
{
	for (size_t i = 0; i < af->n; i++)
		if (strcmp(af->entries[i].face.name, name) == 0)
			return &af->entries[i].face;
	return NULL;
}

size_t artifact_recipes(const struct artifact *af)
{
	return af->recipe_count;
}

const struct artifact_recipe *artifact_recipe(const struct artifact *af, size_t i)
{
	return &af->recipes[i];
}

struct json_slice artifact_pack(const struct artifact *af)
{
	return af->pack;
}

struct json_slice artifact_index(const struct artifact *af)
{
	return af->index;
}

size_t artifact_cases(const struct artifact *af)
{
	return af->case_count;
}

const struct artifact_case *artifact_case(const struct artifact *af, size_t i)
{
	return &af->cases[i];
}

const char *artifact_comparator(const struct artifact *af)
{
	return af->comparator;
}

double artifact_coverage(const struct artifact *af)
{
	return af->coverage;
}

struct json_slice artifact_k_score(const struct artifact *af)
{
	struct json_slice v = member_of(af->manifest, "k_score");

	return v.len > 0 && json_kind_of(v) == JSON_OBJECT ? v : (struct json_slice){NULL, 0};
}
