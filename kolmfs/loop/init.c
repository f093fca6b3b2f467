/*
 * init - a slug is born whole: config, a real zero-B adapter as v0, HEAD. Built under a temporary
 * name, then renamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"

#define TARGETS_DEFAULT "q_proj", "k_proj", "v_proj", "o_proj"

/* a folder that is no model is seen here, without the cost of a runner */
static bool lacks_config(const char *folder)
{
	char path[STORE_PATH_BYTES + 16];

	(void)snprintf(path, sizeof(path), "%s/config.json", folder);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

static int base_check(const char *base, struct stat *st, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	err_quote(quoted, base, strlen(base));
	if (base[0] == '\0')
		return err_set(err, EINVAL, "init: base=PATH is missing");
	if (strstr(base, "://") != NULL)
		return err_set(err, EPERM, "airgap: base must be a local path, not \"%s\"", quoted);
	if (strncmp(base, "..", 2) == 0 || strstr(base, "/../") != NULL)
		return err_set(err, EINVAL, "base model not found: \"%s\" is not an absolute path",
			quoted);
	if (base[0] != '/')
		return err_set(err, EPERM,
			"airgap: base must be a local path (absolute), not \"%s\"", quoted);
	if (stat(base, st) < 0)
		return err_set(err, errno, "base model not found: \"%s\"", quoted);
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return err_set(
			err, EINVAL, "base model \"%s\" is neither a file nor a folder", quoted);
	if (S_ISDIR(st->st_mode) && lacks_config(base))
		return err_set(err, EBADMSG, "no config.json in base model \"%s\"", quoted);
	return 0;
}

/* v0's weights, written by a runner that reads headers and tokenizer only */
static int make_adapter(struct kolm *k, const struct init_options *o, int out, struct err *err)
{
	struct buf request = BUF_INIT, answer = BUF_INIT;
	int fds[2], rc;
	struct runner_start rs = {.base = o->base, .fds = fds, .nfds = 2, .log = -1};
	struct runner *rn;

	fds[0] = open(o->base, O_RDONLY | O_CLOEXEC);
	if (fds[0] < 0)
		return err_sys(err, "cannot open base model '%s'", o->base);
	fds[1] = out;
	(void)buf_addf(
		&request, "{\"id\":1,\"op\":\"init\",\"base\":10,\"rank\":%d,\"alpha\":", o->rank);
	(void)json_put_number(&request, o->alpha);
	(void)buf_puts(&request, ",\"dropout\":");
	(void)json_put_number(&request, o->dropout);
	(void)buf_puts(&request, ",\"targets\":[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\"],"
				 "\"seed\":42,\"out\":11}");
	rc = request.failed ? err_nomem(err) : runner_start(k, &rs, &rn, err);
	close(fds[0]);
	if (rc == 0) {
		rc = runner_call(rn, request.data, request.len, NULL, NULL, &answer, err);
		runner_end(rn, false);
	}
	buf_release(&request);
	buf_release(&answer);
	return rc;
}

static int write_adapter_config(int dirfd, const struct init_options *o, struct err *err)
{
	struct buf text = BUF_INIT;
	static const char *const targets[] = {TARGETS_DEFAULT};
	cJSON *root = cJSON_CreateObject(), *list = cJSON_CreateStringArray(targets, 4);
	int rc = -ENOMEM;

	if (root != NULL && list != NULL) {
		cJSON_AddStringToObject(root, "base_model_name_or_path",
			o->base_given[0] != '\0' ? o->base_given : o->base);
		cJSON_AddStringToObject(root, "peft_type", "LORA");
		cJSON_AddStringToObject(root, "task_type", "CAUSAL_LM");
		cJSON_AddNumberToObject(root, "r", o->rank);
		cJSON_AddNumberToObject(root, "lora_alpha", o->alpha);
		cJSON_AddNumberToObject(root, "lora_dropout", o->dropout);
		cJSON_AddStringToObject(root, "bias", "none");
		cJSON_AddItemToObject(root, "target_modules", list);
		list = NULL;
		cJSON_AddBoolToObject(root, "inference_mode", false);
		cJSON_AddBoolToObject(root, "init_lora_weights", true);
		cJSON_AddStringToObject(root, "revision", "v0");
		rc = json_put_cjson(&text, root, true);
	}
	cJSON_Delete(root);
	cJSON_Delete(list);
	if (rc == 0)
		rc = replace_file(dirfd, "adapter_config.json", text.data, text.len, 0600, err);
	else
		rc = err_nomem(err);
	buf_release(&text);
	return rc;
}

static int make_v0(
	struct kolm *k, const struct tune *tn, const struct init_options *o, struct err *err)
{
	int revisions, dir, fd, rc;

	revisions = dir_make(tn->dir, "revisions", err);
	if (revisions < 0)
		return revisions;
	rc = dir = dir_make(revisions, "v0", err);
	if (dir < 0)
		goto out;
	rc = write_adapter_config(dir, o, err);
	if (rc == 0) {
		fd = openat(dir, "adapter_model.safetensors", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			0600);
		rc = fd < 0 ? err_sys(err, "cannot create v0's adapter")
			    : make_adapter(k, o, fd, err);
		if (rc == 0 && fsync(fd) < 0)
			rc = err_sys(err, "could not make v0 durable");
		if (fd >= 0)
			close(fd);
	}
	if (rc == 0)
		rc = revision_seal(dir, err);
	close(dir);
	if (rc == 0)
		rc = dir_sync(revisions, err);
out:
	close(revisions);
	return rc;
}

static int build(struct kolm *k, const struct tune *tn, const struct init_options *o,
	const struct artifact *af, const struct stat *base, struct err *err)
{
	struct config_init in = {.artifact_path = o->artifact,
		.artifact_sha256 = artifact_sha256(af),
		.base_path = o->base,
		.base_model = o->base_given[0] != '\0' ? o->base_given : o->base,
		.rank = o->rank,
		.alpha = o->alpha,
		.dropout = o->dropout};
	struct config cf;
	char id[120];
	int rc;

	(void)snprintf(id, sizeof(id), "%llu:%llu:%llu:%lld.%09ld",
		(unsigned long long)base->st_dev, (unsigned long long)base->st_ino,
		(unsigned long long)base->st_size, (long long)base->st_mtim.tv_sec,
		base->st_mtim.tv_nsec);
	in.base_id = id;
	rc = config_new(&in, &cf, err);
	if (rc < 0)
		return rc;
	rc = config_save(tn, &cf, err);
	config_release(&cf);
	if (rc == 0)
		rc = make_v0(k, tn, o, err);
	if (rc == 0)
		rc = head_init(tn, err);
	return rc;
}

/* an initialised slug: the same artifact is fine, another is EEXIST */
static int already(struct kolm *k, const char *slug, const struct artifact *af, struct err *err)
{
	struct config cf;
	int rc = config_of(&k->st, slug, &cf, err);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (cf.artifact_sha256 == NULL || strcmp(cf.artifact_sha256, artifact_sha256(af)) != 0)
		rc = err_set(err, EEXIST,
			"slug already belongs to another artifact: \"%s\" is %s; choose one with "
			"slug=",
			slug, cf.artifact_path != NULL ? cf.artifact_path : cf.artifact);
	else
		rc = 1;
	config_release(&cf);
	return rc;
}

void temporary_name(const char *slug, const char *why, char out[TEMPORARY_BYTES])
{
	static atomic_uint counter;

	(void)snprintf(out, TEMPORARY_BYTES, ".%s.%s.%d.%u", slug, why, (int)getpid(),
		atomic_fetch_add(&counter, 1));
}

/* what was not said to be done is not done */
static void unpublish(struct kolm *k, const char *slug)
{
	char tmp[TEMPORARY_BYTES];

	temporary_name(slug, "tmp", tmp);
	if (renameat2(k->st.tune, slug, k->st.tune, tmp, RENAME_NOREPLACE) == 0)
		(void)dir_remove(k->st.tune, tmp, NULL);
}

static int publish(struct kolm *k, const struct init_options *o, const char *slug,
	const struct artifact *af, const struct stat *base, struct err *err)
{
	struct tune tn = {.st = &k->st};
	char tmp[TEMPORARY_BYTES];
	int rc;

	(void)snprintf(tn.slug, sizeof(tn.slug), "%s", slug);
	temporary_name(slug, "tmp", tmp);
	rc = tn.dir = dir_make(k->st.tune, tmp, err);
	if (rc < 0)
		return rc;
	rc = build(k, &tn, o, af, base, err);
	if (rc == 0)
		rc = dir_sync(tn.dir, err);
	if (rc == 0 && renameat2(k->st.tune, tmp, k->st.tune, slug, RENAME_NOREPLACE) < 0)
		rc = errno == EEXIST || errno == ENOTEMPTY
			     ? err_set(err, EEXIST,
				       "slug already belongs to something else: '%s/tune/%s' is "
				       "not empty",
				       k->st.path, slug)
			     : err_sys(err, "cannot publish '%s'", slug);
	close(tn.dir);
	if (rc < 0) {
		(void)dir_remove(k->st.tune, tmp, NULL);
		return rc;
	}
	rc = dir_sync(k->st.tune, err);
	if (rc < 0)
		unpublish(k, slug);
	return rc;
}

int loop_init(struct kolm *k, const struct init_options *o, const struct by *by,
	char slug[SLUG_BYTES + 1], bool *fresh, struct err *err)
{
	struct artifact *af;
	struct stat base;
	int rc;

	*fresh = false;
	if (o->slug[0] != '\0')
		(void)snprintf(slug, SLUG_BYTES + 1, "%s", o->slug);
	else if ((rc = slug_of_path(o->artifact, slug, err)) < 0)
		return rc;
	rc = slug_check(slug, strlen(slug), err);
	if (rc == 0)
		rc = base_check(o->base, &base, err);
	if (rc == 0)
		rc = artifact_at(k, o->artifact, &af, err);
	if (rc < 0)
		return rc;
	rc = already(k, slug, af, err);
	if (rc == 0) {
		rc = publish(k, o, slug, af, &base, err);
		/* another init of it was quicker: as if this one came later */
		if (rc == -EEXIST && already(k, slug, af, NULL) == 1) {
			if (err != NULL)
				*err = ERR_NONE;
			rc = 1;
		}
		if (rc == 0) {
			rc = log_event(k, slug, 0, by, err, "initialised",
				"\"revision\":\"v0\",\"artifact_sha256\":\"%s\"",
				artifact_sha256(af));
			if (rc < 0)
				unpublish(k, slug);
		}
		*fresh = rc == 0;
	}
	if (rc == 1)
		rc = 0;
	artifact_free(af);
	if (*fresh)
		change(k, slug, CHANGE_SLUGS | CHANGE_STATUS | CHANGE_HEAD);
	return rc;
}
