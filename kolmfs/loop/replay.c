/*
 * replay - a step done again from what its train.json says, to see that the same bytes come out
 * (DESIGN section 8: same inputs, same bytes). Nothing is published.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"
#include "loop/train.h"

/* what train.json must have for a replay; others have their defaults */
static int record_load(const struct tune *tn, const char *rev, cJSON **out, struct err *err)
{
	static const char *const texts[] = {
		"from", "kernel", "rows_sha256", "adapter_sha256", "worker", "policy"};
	cJSON *train;
	int rc = rev_json(tn, rev, "train.json", &train, err);

	if (rc == -ENOENT)
		return err_set(err, ENODATA, "%s was not trained here: it has no train.json", rev);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
		if (json_get_string(train, texts[i]) == NULL)
			rc = err_set(err, ENODATA, "train.json of %s does not say its %s", rev,
				texts[i]);
	if (rc == 0 && strcmp(json_get_string(train, "worker"), "native") != 0)
		rc = err_set(err, EOPNOTSUPP,
			"%s was trained by \"%s\": only the native trainer promises the same bytes",
			rev, json_get_string(train, "worker"));
	if (rc == 0 && rev_check(json_get_string(train, "from"),
			       strlen(json_get_string(train, "from")), NULL) < 0)
		rc = err_set(err, EBADMSG, "train.json of %s: from: a revision expected", rev);
	if (rc == 0)
		*out = train;
	else
		cJSON_Delete(train);
	return rc;
}

int loop_replay(struct kolm *k, const char *slug, const char *rev, const struct by *by,
	uint64_t *id, struct err *err)
{
	cJSON *train = NULL;
	struct tune tn;
	int rc = tune_open(&k->st, slug, &tn, err);

	if (rc < 0)
		return rc;
	rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = rev_check(rev, strlen(rev), err);
	if (rc == 0)
		rc = revision_verify(&tn, rev, NULL, err);
	if (rc == 0)
		rc = record_load(&tn, rev, &train, err);
	if (rc == 0) {
		rc = revision_verify(&tn, json_get_string(train, "from"), NULL, err);
		if (rc < 0)
			err_prefix(
				err, "%s continued from %s: ", rev, json_get_string(train, "from"));
	}
	cJSON_Delete(train);
	if (rc < 0)
		goto out;
	rc = job_accept_rev(k, JOB_REPLAY, &tn, rev, 0, by, id, err);
out:
	tune_close(&tn);
	return rc;
}

/* ---- the job ---- */

/* "q_proj,k_proj" of a list of names */
static void join_targets(const cJSON *list, struct buf *out)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_IsString(item))
			(void)buf_addf(out, "%s%s", out->len > 0 ? "," : "", item->valuestring);
	}
}

/* the trainer reads these from tune-config.json, which may have been changed since */
static int same_settings(const struct train *t, const cJSON *train, struct err *err)
{
	struct buf targets = BUF_INIT;
	int rc = 0;

	join_targets(cJSON_GetObjectItemCaseSensitive(train, "target_modules"), &targets);
	if (t->cf.dropout != json_get_number(train, "dropout", 0) ||
		t->cf.alpha != json_get_number(train, "alpha", 16) ||
		t->cf.rank != (int)json_get_number(train, "rank", 8) ||
		strcmp(t->cf.targets, buf_str(&targets)) != 0)
		rc = err_set(err, ESTALE,
			"the settings differ from %s's: it had rank %d, alpha %g, dropout %g, %s",
			t->jb->rev, (int)json_get_number(train, "rank", 8),
			json_get_number(train, "alpha", 16), json_get_number(train, "dropout", 0),
			buf_str(&targets));
	buf_release(&targets);
	return rc;
}

static int same_captures(struct train *t, const cJSON *train, struct err *err)
{
	const cJSON *cap = cJSON_GetObjectItemCaseSensitive(train, "captures");
	const char *sha = json_get_string(cap, "sha256");
	int rc;

	t->captures_rows = (uint64_t)json_get_number(cap, "rows", 0);
	t->captures_bytes = (uint64_t)json_get_number(cap, "bytes", 0);
	t->capfd = captures_open(&t->tn, err);
	if (t->capfd < 0)
		return t->capfd;
	rc = sha256_fd(t->capfd, 0, t->captures_bytes, t->captures_sha256, err);
	if (rc == 0 && (sha == NULL || strcmp(sha, t->captures_sha256) != 0))
		rc = err_set(
			err, ESTALE, "captures.jsonl is not what %s was trained on", t->jb->rev);
	return rc == 0 ? captures_seen(&t->tn, t->capfd, t->from, &t->captures_from, err) : rc;
}

static int same_base(struct train *t, const cJSON *train, struct err *err)
{
	const char *want = json_get_string(cJSON_GetObjectItemCaseSensitive(train, "base"), "xxh3");
	int rc = base_identify(t->jb->k,
		t->cf.base_path != NULL ? t->cf.base_path : t->cf.base_model, &t->base_bytes,
		t->base_xxh3, err);

	if (rc == 0 && (want == NULL || strcmp(want, t->base_xxh3) != 0))
		rc = err_set(err, ESTALE, "base digest differs from %s's", t->jb->rev);
	return rc;
}

static int restore(struct train *t, const cJSON *train, struct err *err)
{
	struct step_options *o = &t->jb->step;
	int rc = config_load(&t->tn, &t->cf, err);

	if (rc < 0)
		return rc;
	(void)snprintf(t->from, sizeof(t->from), "%s", json_get_string(train, "from"));
	(void)snprintf(t->kernel, sizeof(t->kernel), "%s", json_get_string(train, "kernel"));
	step_options_default(o);
	o->epochs = (int)json_get_number(train, "epochs", o->epochs);
	o->batch = (int)json_get_number(train, "batch_size", o->batch);
	o->lr = json_get_number(train, "lr", o->lr);
	o->seed = (int64_t)json_get_number(train, "seed", (double)o->seed);
	o->mem = (uint64_t)json_get_number(train, "mem", 0);
	o->all = strcmp(json_get_string(train, "policy"), "all") == 0;
	o->airgap = true;
	t->cf.sample_size = (int)json_get_number(train, "replayed_rows", t->cf.sample_size);
	rc = same_settings(t, train, err);
	if (rc == 0)
		rc = same_base(t, train, err);
	if (rc == 0)
		rc = same_captures(t, train, err);
	return rc == 0 ? kolm_artifact_open(t->jb->k, t->jb->slug, &t->af, err) : rc;
}

static int compare(const struct train *t, const cJSON *train, struct err *err)
{
	const char *want = json_get_string(train, "adapter_sha256");
	char sha[65];
	int out = dir_open(t->jb->dir, "out", err), fd, rc;

	if (out < 0)
		return out;
	fd = openat(out, "adapter_model.safetensors", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	close(out);
	if (fd < 0)
		return err_sys(err, "cannot open the adapter");
	rc = sha256_fd(fd, 0, UINT64_MAX, sha, err);
	close(fd);
	if (rc == 0 && strcmp(sha, want) != 0)
		rc = err_set(err, EUCLEAN,
			"replay of %s gave other bytes: adapter %.16s..., was %.16s...", t->jb->rev,
			sha, want);
	return rc;
}

static int replay_body(struct train *t, const cJSON *train, struct err *err)
{
	int rc = t->log = job_log_open(t->jb, err);

	if (rc < 0)
		return rc;
	rc = restore(t, train, err);
	if (rc == 0)
		rc = train_room(t, err);
	if (rc == 0)
		rc = train_rows(t, err);
	if (rc == 0 && strcmp(t->rows_sha256, json_get_string(train, "rows_sha256")) != 0)
		rc = err_set(err, ESTALE,
			"the artifact's recipes or cases teach other rows today than %s was "
			"trained on",
			t->jb->rev);
	if (rc == 0)
		rc = train_work(t, err);
	return rc == 0 ? compare(t, train, err) : rc;
}

int replay_run(struct job *jb, struct err *err)
{
	struct train t = {
		.jb = jb, .capfd = -1, .log = -1, .begun = clock_ms(), .last_heldout = NAN};
	cJSON *train = NULL;
	int rc = tune_open(&jb->k->st, jb->slug, &t.tn, err);

	if (rc < 0)
		return rc;
	rc = record_load(&t.tn, jb->rev, &train, err);
	if (rc == 0)
		rc = replay_body(&t, train, err);
	(void)dir_remove(jb->dir, "out", NULL);
	cJSON_Delete(train);
	train_release(&t);
	return rc;
}
