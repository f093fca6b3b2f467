/*
 * model - the base model and the adapters of a slug's revisions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "runner/runner.h"
#include "store/config.h"
#include "store/head.h"
#include "store/revision.h"

int64_t member_whole(struct json_slice object, const char *key, int64_t fallback)
{
	struct json_slice v;
	double x;

	if (!json_member(object, key, &v) || json_kind_of(v) != JSON_NUMBER)
		return fallback;
	x = json_double(v);
	return x >= -9007199254740991.0 && x <= 9007199254740991.0 ? (int64_t)x : fallback;
}

static int threads_wanted(void)
{
	const char *text = getenv("KOLM_THREADS");
	int64_t n = 0;

	if (text != NULL && num_whole(text, strlen(text), 0, 256, &n) < 0)
		n = 0;
	return (int)n;
}

static int open_path(struct runner *rn, const char *path, bool headers_only, struct err *err)
{
	struct lm_options opt = {.threads = threads_wanted(),
		.kernel = getenv("KOLM_KERNEL"),
		.headers_only = headers_only};
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "base model not found: '%s'", path);
	if (fd < 0)
		return err_sys(err, "cannot open base model '%s'", path);
	rc = lm_open(fd, &opt, &rn->lm, err);
	close(fd);
	return rc;
}

int model_open_base(struct runner *rn, struct err *err)
{
	struct config cf;
	int rc;

	if (rn->base_path != NULL)
		return 0;
	rc = config_of(&rn->st, rn->slug, &cf, err);
	if (rc < 0)
		return rc;
	rn->base_path = strdup(cf.base_path != NULL ? cf.base_path : cf.base_model);
	config_release(&cf);
	return rn->base_path != NULL ? 0 : err_nomem(err);
}

int model_headers(struct runner *rn, struct err *err)
{
	struct lm_options opt = {.headers_only = true};
	struct lm *lm;
	int fd, rc = model_open_base(rn, err);

	if (rc < 0)
		return rc;
	fd = open(rn->base_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open base model '%s'", rn->base_path);
	rc = lm_open(fd, &opt, &lm, err);
	close(fd);
	if (rc == 0)
		lm_close(lm);
	return rc;
}

/* ---- revisions ---- */

static struct loaded_adapter *slot_for(struct runner *rn, const char *rev)
{
	struct loaded_adapter *oldest = &rn->adapter[0];

	for (int i = 0; i < ADAPTERS_MAX; i++) {
		struct loaded_adapter *la = &rn->adapter[i];

		if (la->ad != NULL && strcmp(la->rev, rev) == 0)
			return la;
		if (la->ad == NULL || (oldest->ad != NULL && la->used < oldest->used))
			oldest = la;
	}
	return oldest;
}

/* the model itself is opened by the first call that needs it: a recipe that never asks costs
 * nothing */
static int adapter_get(struct runner *rn, const char *rev, struct lm_adapter **out, struct err *err)
{
	struct loaded_adapter *la = slot_for(rn, rev);
	struct tune tn;
	int dir, rc;

	if (la->ad == NULL || strcmp(la->rev, rev) != 0) {
		lm_use(rn->lm, NULL);
		lm_adapter_free(la->ad);
		la->ad = NULL;
		rc = tune_open(&rn->st, rn->slug, &tn, err);
		if (rc < 0)
			return rc;
		rc = revision_verify(&tn, rev, NULL, err);
		dir = rc < 0 ? rc : revision_open(&tn, rev, err);
		tune_close(&tn);
		if (dir < 0)
			return dir;
		rc = lm_adapter_load(rn->lm, dir, &la->ad, err);
		close(dir);
		if (rc < 0)
			return err_prefix(err, "%s: ", rev);
		(void)snprintf(la->rev, sizeof(la->rev), "%s", rev);
	}
	la->used = ++rn->clock;
	*out = la->ad;
	return 0;
}

int model_ready(struct runner *rn, struct err *err)
{
	struct lm_adapter *ad = NULL;
	int rc = 0;

	if (rn->lm == NULL)
		rc = open_path(rn, rn->base_path, false, err);
	if (rc == 0 && rn->rev[0] != '\0')
		rc = adapter_get(rn, rn->rev, &ad, err);
	if (rc == 0)
		lm_use(rn->lm, ad);
	return rc;
}

int model_use(struct runner *rn, const char *rev, struct err *err)
{
	struct tune tn;
	int rc = 0;

	if (rn->slug == NULL)
		return 0;
	rc = model_open_base(rn, err);
	if (rc == 0 && rev[0] != '\0') {
		rc = rev_check(rev, strlen(rev), err);
		if (rc == 0)
			rc = tune_open(&rn->st, rn->slug, &tn, err);
		if (rc == 0) {
			int dir = revision_open(&tn, rev, err);

			tune_close(&tn);
			if (dir < 0)
				return dir;
			close(dir);
		}
	}
	if (rc == 0)
		(void)snprintf(rn->rev, sizeof(rn->rev), "%s", rev);
	return rc;
}

int model_head(struct runner *rn, struct err *err)
{
	struct head hd;
	struct tune tn;
	int rc;

	if (rn->slug == NULL)
		return 0;
	rc = tune_open(&rn->st, rn->slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = head_load(&tn, &hd, err);
	tune_close(&tn);
	return rc < 0 ? rc : model_use(rn, hd.head, err);
}

void model_close(struct runner *rn)
{
	grammars_free(rn);
	for (int i = 0; i < ADAPTERS_MAX; i++)
		lm_adapter_free(rn->adapter[i].ad);
	lm_close(rn->lm);
	free(rn->base_path);
}

/* ---- init: v0's weights ---- */

int op_init(struct runner *rn, struct json_slice request, struct buf *answer, struct err *err)
{
	struct lm_options opt = {.headers_only = true};
	struct lm_init init = {.seed = (uint64_t)member_whole(request, "seed", 42),
		.rank = (int)member_whole(request, "rank", 8)};
	int base = (int)member_whole(request, "base", -1),
	    out = (int)member_whole(request, "out", -1), rc;
	struct buf targets = BUF_INIT;
	struct json_slice v, one;
	uint64_t trainable = 0;

	init.alpha = json_member(request, "alpha", &v) && json_kind_of(v) == JSON_NUMBER
			     ? json_double(v)
			     : 16;
	init.dropout = json_member(request, "dropout", &v) && json_kind_of(v) == JSON_NUMBER
			       ? json_double(v)
			       : 0;
	if (json_member(request, "targets", &v))
		for (size_t pos = 0; json_next(v, &pos, NULL, &one);) {
			if (targets.len > 0)
				(void)buf_putc(&targets, ',');
			if (json_kind_of(one) == JSON_STRING)
				(void)json_string(one, &targets);
		}
	init.targets = buf_str(&targets);
	if (base < 3 || out < 3)
		rc = err_set(err, EINVAL, "init: base and out are descriptors");
	else
		rc = lm_open(base, &opt, &rn->lm, err);
	if (rc == 0)
		rc = lm_adapter_init(rn->lm, &init, out, &trainable, err);
	if (rc == 0) {
		(void)buf_puts(answer, ",\"arch\":");
		(void)json_put_text(answer, lm_arch(rn->lm));
		(void)buf_puts(answer, ",\"types\":");
		(void)lm_types(rn->lm, answer);
		(void)buf_addf(answer, ",\"trainable_params\":%llu,\"total_params\":%llu",
			(unsigned long long)trainable, (unsigned long long)lm_params(rn->lm));
	}
	buf_release(&targets);
	return rc;
}

/* ---- export: an adapter for other engines ---- */

int op_export(struct runner *rn, struct json_slice request, struct err *err)
{
	struct lm_options opt = {.headers_only = true};
	int base = (int)member_whole(request, "base", -1),
	    adapter = (int)member_whole(request, "adapter", -1),
	    out = (int)member_whole(request, "out", -1), rc;
	struct json_slice v;
	bool merged = json_member(request, "merged", &v) && json_true(v);

	if (base < 3 || adapter < 3 || out < 3)
		return err_set(err, EINVAL, "export: base, adapter and out are descriptors");
	rc = lm_open(base, &opt, &rn->lm, err);
	if (rc == 0)
		rc = lm_export(
			rn->lm, adapter, merged ? LM_EXPORT_MERGED : LM_EXPORT_ADAPTER, out, err);
	return rc;
}
