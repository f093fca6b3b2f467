/*
 * promote - the gate: recorded evals are compared, HEAD and head.prev change in one transaction.
 * And the way back.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "loop/measure.h"
#include "loop/private.h"

enum { EVAL_BYTES_MAX = 1 << 30 };

/* the recorded eval of a candidate, read back and recomputed */
struct record {
	struct buf text;
	struct json_slice root;
	struct measured own;
	bool there;
};

static bool member_is(struct json_slice object, const char *key, const char *text)
{
	struct json_slice v;
	size_t n = strlen(text);

	return json_member(object, key, &v) && v.len == n + 2 && memcmp(v.text + 1, text, n) == 0;
}

static double number_of(struct json_slice object, const char *key)
{
	struct json_slice v;

	return json_member(object, key, &v) && json_kind_of(v) == JSON_NUMBER ? json_double(v)
									      : NAN;
}

static int record_load(const struct tune *tn, const char *rev, struct record *out, struct err *err)
{
	struct json_slice cases, one;
	int dir, rc;

	dir = revision_open(tn, rev, err);
	if (dir < 0)
		return dir;
	rc = read_file(dir, "eval.json", EVAL_BYTES_MAX, &out->text, err);
	close(dir);
	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = json_check(out->text.data, out->text.len, err);
	if (rc < 0)
		return rc == -EBADMSG
			       ? err_set(err, EUCLEAN, "%s/eval.json is damaged; eval again", rev)
			       : rc;
	out->root = (struct json_slice){out->text.data, out->text.len};
	out->there = true;
	if (json_member(out->root, "cases", &cases))
		for (size_t pos = 0; rc == 0 && json_next(cases, &pos, NULL, &one);)
			rc = measured_add(&out->own, one) < 0 ? err_nomem(err) : 0;
	measured_finish(&out->own);
	return rc;
}

static void record_release(struct record *rd)
{
	measured_release(&rd->own);
	buf_release(&rd->text);
}

struct gate {
	struct kolm *kolm; /* borrowed */
	struct tune tn;
	struct config cf;
	struct artifact *af;
	struct head hd;
	const char *rev;
	const char *id; /* of the request, or NULL */
	char adapter[65];
	struct record rd;
	struct kscore k;
};

/* every digest of the eval must still be true (E06) */
static int check_fresh(struct gate *g, struct err *err)
{
	struct json_slice v, settings;
	uint64_t base_bytes;
	char base_xxh3[33];
	int rc;

	if (!json_member(g->rd.root, "artifact", &v) ||
		!member_is(v, "sha256", artifact_sha256(g->af)))
		return err_set(err, ESTALE,
			"eval is out of date: the artifact or its cases changed; eval %s again",
			g->rev);
	if (!member_is(g->rd.root, "adapter_sha256", g->adapter))
		return err_set(err, ESTALE,
			"eval is out of date: the adapter of %s changed; eval it again", g->rev);
	rc = base_identify(g->kolm, g->cf.base_path != NULL ? g->cf.base_path : g->cf.base_model,
		&base_bytes, base_xxh3, err);
	if (rc < 0)
		return rc;
	if (!json_member(g->rd.root, "base", &v) || !member_is(v, "xxh3", base_xxh3))
		return err_set(err, ESTALE,
			"eval is out of date: the base model changed; eval %s again", g->rev);
	if (g->rd.own.n != artifact_cases(g->af))
		return err_set(err, ESTALE, "eval is out of date: the cases changed; eval %s again",
			g->rev);
	if (!json_member(g->rd.root, "settings", &settings) ||
		number_of(settings, "gate_k_min") != g->cf.k_min ||
		!json_member(settings, "gate_require_improvement", &v) ||
		json_true(v) != g->cf.require_improvement)
		return err_set(err, ESTALE,
			"eval is out of date: the gate settings changed; eval %s again", g->rev);
	return 0;
}

static int gate_error(struct err *err)
{
	(void)err_code(err, "K_GATE");
	return -ERANGE;
}

/* K(vN) against the K of HEAD measured in the same job; a latency difference inside the noise of
 * the pair never decides */
static int check_improvement(struct gate *g, struct err *err)
{
	struct json_slice cmp;
	struct kscore own = g->k, beside;
	struct kscore_in in;
	char adapter[65], a[NUM_TEXT_BYTES], b[NUM_TEXT_BYTES];
	int rc;

	if (!json_member(g->rd.root, "compared", &cmp) || json_kind_of(cmp) != JSON_OBJECT)
		return err_set(
			err, ESTALE, "HEAD is %s, eval was made alone; eval again", g->hd.head);
	if (!member_is(cmp, "revision", g->hd.head)) {
		struct buf other = BUF_INIT;
		struct json_slice v;

		if (json_member(cmp, "revision", &v) && json_kind_of(v) == JSON_STRING)
			(void)json_string(v, &other);
		rc = err_set(err, ESTALE, "HEAD is %s, eval was made beside %.12s; eval again",
			g->hd.head, buf_str(&other));
		buf_release(&other);
		return rc;
	}
	rc = revision_verify(&g->tn, g->hd.head, adapter, err);
	if (rc < 0)
		return rc;
	if (!member_is(cmp, "adapter_sha256", adapter))
		return err_set(err, ESTALE,
			"HEAD %s has other adapter bytes than the eval was made beside; eval again",
			g->hd.head);
	in = (struct kscore_in){.size_bytes = (double)artifact_bytes(g->af),
		.accuracy = number_of(cmp, "accuracy"),
		.coverage = 1,
		.p50_latency_us = number_of(cmp, "p50_latency_us"),
		.cost_usd = 0};
	if (isnan(in.accuracy))
		return err_set(err, EUCLEAN,
			"%s/eval.json is damaged: no accuracy of HEAD; eval again", g->rev);
	kscore_compute(&in, &beside);
	if (fabs(number_of(cmp, "latency_median_us")) <= number_of(cmp, "latency_noise_us"))
		measured_k(&g->rd.own, artifact_bytes(g->af), in.p50_latency_us, &own);
	if (own.composite >= beside.composite)
		return 0;
	(void)err_set(err, ERANGE, "K_GATE: %s < %s of HEAD %s", num_fixed(own.composite, 4, a),
		num_fixed(beside.composite, 4, b), g->hd.head);
	return gate_error(err);
}

static int check_gate(struct gate *g, bool force, struct err *err)
{
	char a[NUM_TEXT_BYTES], b[NUM_TEXT_BYTES];
	int rc;

	if (g->rd.there && number_of(g->rd.root, "egress") > 0)
		return err_set(err, EPERM,
			"the eval of %s saw an egress attempt; it cannot be promoted", g->rev);
	if (force)
		return 0;
	if (!g->rd.there) {
		(void)err_set(err, ERANGE, "K_GATE: %s has no eval; eval it first", g->rev);
		return gate_error(err);
	}
	rc = check_fresh(g, err);
	if (rc < 0)
		return rc;
	if (g->k.composite < g->cf.k_min) {
		(void)err_set(err, ERANGE, "K_GATE: %s < %s", num_fixed(g->k.composite, 4, a),
			num_fixed(g->cf.k_min, 4, b));
		return gate_error(err);
	}
	return g->cf.require_improvement ? check_improvement(g, err) : 0;
}

static int gate_open(struct kolm *k, const char *slug, struct gate *g, struct err *err)
{
	int rc;

	rc = rev_check(g->rev, strlen(g->rev), err);
	if (rc == 0)
		rc = head_load(&g->tn, &g->hd, err);
	if (rc < 0)
		return rc;
	if (strcmp(g->hd.head, g->rev) == 0)
		return err_set(err, EALREADY, "HEAD is %s already", g->rev);
	rc = config_load(&g->tn, &g->cf, err);
	if (rc == 0)
		rc = revision_verify(&g->tn, g->rev, g->adapter, err);
	if (rc == 0)
		rc = kolm_artifact_open(k, slug, &g->af, err);
	if (rc == 0)
		rc = record_load(&g->tn, g->rev, &g->rd, err);
	if (rc == 0 && g->rd.there)
		measured_k(&g->rd.own, artifact_bytes(g->af), NAN, &g->k);
	return rc;
}

/* ,"id":"x" or nothing */
static const char *id_member(const char *id, char out[REQUEST_ID_BYTES + 16])
{
	out[0] = '\0';
	if (id != NULL)
		(void)snprintf(out, REQUEST_ID_BYTES + 16, ",\"id\":\"%s\"", id);
	return out;
}

static int promote_logged(struct kolm *k, struct gate *g, bool force, const struct by *by,
	uint64_t job, struct err *err)
{
	struct log_entry entry = {.event = "promoted", .slug = g->tn.slug, .job = job, .by = by};
	char fields[256], kt[NUM_TEXT_BYTES], asked[REQUEST_ID_BYTES + 16];
	int lock, rc;

	(void)snprintf(fields, sizeof(fields),
		"\"revision\":\"%s\",\"previous\":\"%s\",\"k\":%s%s%s", g->rev, g->hd.head,
		g->rd.there ? num_text(g->k.composite, kt) : "null",
		force ? ",\"forced\":true" : "", id_member(g->id, asked));
	entry.fields = fields;
	rc = tune_lock(&g->tn, &lock, err);
	if (rc < 0)
		return rc;
	struct head now;
	rc = head_load(&g->tn, &now, err);
	if (rc == 0 && strcmp(now.head, g->hd.head) != 0)
		rc = err_set(err, ESTALE, "HEAD became %s meanwhile; try again", now.head);
	if (rc == 0)
		rc = head_promote(&g->tn, g->rev, &entry, err);
	if (rc == 0) {
		memcpy(g->hd.prev, g->hd.head, sizeof(g->hd.prev));
		(void)snprintf(g->hd.head, sizeof(g->hd.head), "%s", g->rev);
	}
	close(lock);
	(void)k;
	return rc;
}

int promote_gated(struct kolm *k, const char *slug, const char *rev, bool force, const char *id,
	const struct by *by, uint64_t job, struct head *now, struct err *err)
{
	struct gate g = {.kolm = k, .rev = rev, .id = id};
	char kt[NUM_TEXT_BYTES], min[NUM_TEXT_BYTES];
	int rc;

	rc = tune_open(&k->st, slug, &g.tn, err);
	if (rc < 0)
		return rc;
	rc = gate_open(k, slug, &g, err);
	if (rc == 0)
		rc = check_gate(&g, force, err);
	if (rc == -ERANGE && strcmp(err->code, "K_GATE") == 0)
		(void)log_event(k, slug, job, by, NULL, "gate_blocked",
			"\"revision\":\"%s\",\"k\":%s,\"gate\":%s", rev,
			g.rd.there ? num_text(g.k.composite, kt) : "null",
			num_text(g.cf.k_min, min));
	if (rc == 0)
		rc = promote_logged(k, &g, force, by, job, err);
	if (rc == 0)
		*now = g.hd;
	record_release(&g.rd);
	artifact_free(g.af);
	config_release(&g.cf);
	tune_close(&g.tn);
	if (rc == 0)
		change(k, slug, CHANGE_HEAD | CHANGE_STATUS | CHANGE_EVENTS);
	return rc;
}

/* whether this request was done before: 1, 0 or an error */
static int done_before(const struct tune *tn, const char *id, const char *event, const char *to,
	struct head *now, struct err *err)
{
	int lock, rc;

	if (id == NULL)
		return 0;
	rc = tune_lock(tn, &lock, err);
	if (rc < 0)
		return rc;
	rc = request_done(tn, id, event, to, now, err);
	close(lock);
	return rc;
}

int loop_promote(struct kolm *k, const char *slug, const char *rev, bool force, const char *id,
	const struct by *by, struct head *now, struct err *err)
{
	struct tune tn;
	int busy = -1, rc;

	rc = id != NULL ? request_id_check(id, err) : 0;
	if (rc == 0)
		rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	/* E13 also for a job of another process; and from here on nobody else promotes */
	rc = tune_lock_job(&tn, &busy, err);
	if (rc == 0)
		rc = done_before(&tn, id, "promoted", rev, now, err);
	tune_close(&tn);
	if (rc == 0)
		rc = promote_gated(k, slug, rev, force, id, by, 0, now, err);
	if (busy >= 0)
		close(busy);
	return rc < 0 ? rc : 0;
}

/* under the slug's lock */
static int rollback(const struct tune *tn, const char *id, const struct by *by, struct head *now,
	struct err *err)
{
	struct log_entry entry = {.event = "rolled_back", .slug = tn->slug, .by = by};
	char fields[192], asked[REQUEST_ID_BYTES + 16];
	struct head hd;
	int rc = id != NULL ? request_done(tn, id, "rolled_back", NULL, now, err) : 0;

	if (rc == 0)
		rc = head_load(tn, &hd, err);
	if (rc != 0)
		return rc;
	(void)snprintf(fields, sizeof(fields), "\"revision\":\"%s\",\"previous\":\"%s\"%s", hd.prev,
		hd.head, id_member(id, asked));
	entry.fields = fields;
	return head_rollback(tn, &entry, now, err);
}

int loop_rollback(struct kolm *k, const char *slug, const char *id, const struct by *by,
	struct head *now, struct err *err)
{
	struct tune tn;
	int lock, rc;

	rc = id != NULL ? request_id_check(id, err) : 0;
	if (rc == 0)
		rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = tune_lock(&tn, &lock, err);
	if (rc == 0) {
		rc = rollback(&tn, id, by, now, err);
		close(lock);
	}
	tune_close(&tn);
	if (rc == 0)
		change(k, slug, CHANGE_HEAD | CHANGE_STATUS | CHANGE_EVENTS);
	return rc < 0 ? rc : 0;
}
