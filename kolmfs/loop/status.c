/*
 * status - what a slug is doing, as people and scripts read it (PROTOCOLS section 5, FORMATS 9.4).
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "loop/private.h"
#include "store/tally.h"

static void line(struct buf *out, const char *key, const char *value)
{
	(void)buf_addf(out, "%s %s\n", key, value != NULL && value[0] != '\0' ? value : "-");
}

static void count(struct buf *out, const char *key, uint64_t n)
{
	(void)buf_addf(out, "%s %llu\n", key, (unsigned long long)n);
}

static void number(struct buf *out, const char *key, double x)
{
	char text[NUM_TEXT_BYTES];

	line(out, key, isnan(x) ? "-" : num_text(x, text));
}

struct facts {
	struct config cf;
	struct head hd;
	bool has_config, has_head;
	struct err damage;
	struct tally_counts counts;
	struct capture_drops drops;
	long latest;
	size_t revisions;
	double k_head, k_latest;
	bool fixed;
	char skipped[200];
	struct job_record last;
	bool has_job;
	char progress[96];
};

static double k_of(const struct tune *tn, const char *rev)
{
	cJSON *eval = NULL;
	double k = NAN;

	if (rev_json(tn, rev, "eval.json", &eval, NULL) == 0)
		k = json_get_number(eval, "k", NAN);
	cJSON_Delete(eval);
	return k;
}

static void read_train(const struct tune *tn, const char *rev, struct facts *f)
{
	const cJSON *one;
	cJSON *train = NULL;
	size_t n = 0;

	if (rev_json(tn, rev, "train.json", &train, NULL) < 0)
		return;
	f->fixed = json_get_bool(train, "answers_fixed", false);
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(train, "skipped"))
	{
		if (cJSON_IsNumber(one) && one->valuedouble > 0 && n < sizeof(f->skipped) - 48)
			n += (size_t)snprintf(f->skipped + n, sizeof(f->skipped) - n,
				"%s%.20s=%.0f", n > 0 ? "," : "", one->string, one->valuedouble);
	}
	cJSON_Delete(train);
}

static void read_captures(struct kolm *k, const struct tune *tn, struct facts *f)
{
	struct artifact *af = NULL;
	int cap = captures_open(tn, NULL);

	if (cap < 0)
		return;
	if (kolm_artifact_open(k, tn->slug, &af, NULL) < 0)
		af = NULL;
	(void)captures_tally(k, tn->slug, cap, TALLY_ANY, af, &f->counts, NULL);
	artifact_free(af);
	close(cap);
}

static void read_revisions(const struct tune *tn, struct facts *f)
{
	long *list = NULL;
	char rev[REV_BYTES];

	f->latest = -1;
	f->k_head = f->k_latest = NAN;
	if (revision_list(tn, &list, &f->revisions, NULL) == 0 && f->revisions > 0)
		f->latest = list[f->revisions - 1];
	free(list);
	if (f->has_head)
		f->k_head = k_of(tn, f->hd.head);
	if (f->latest >= 0) {
		(void)snprintf(rev, sizeof(rev), "v%d", (int)f->latest);
		f->k_latest = k_of(tn, rev);
		read_train(tn, rev, f);
	}
}

static void facts_load(struct kolm *k, const struct tune *tn, struct facts *f)
{
	struct err err = ERR_NONE;

	f->has_config = config_load(tn, &f->cf, &f->damage) == 0;
	f->has_head = head_load(tn, &f->hd, &err) == 0;
	if (!f->has_head && f->damage.no == 0)
		f->damage = err;
	read_captures(k, tn, f);
	read_revisions(tn, f);
	f->has_job = kolm_job(k, tn->slug, 0, &f->last, NULL) == 0;
	(void)snprintf(f->progress, sizeof(f->progress), "-");
	if (f->has_job && f->last.state != JOB_DONE)
		(void)kolm_job_progress(k, tn->slug, f->last.id, f->progress);
	(void)captures_dropped(tn, &f->drops, NULL); /* damaged: fsck says so */
}

static void facts_release(struct facts *f)
{
	if (f->has_config)
		config_release(&f->cf);
}

static const char *state_of(const struct facts *f, char out[16])
{
	size_t n;

	if (f->damage.no != 0)
		return "damaged";
	if (!f->has_job || f->last.state == JOB_DONE)
		return "idle";
	n = strcspn(f->last.verb, " ");
	(void)snprintf(out, 16, "%.*s", (int)(n < 15 ? n : 15), f->last.verb);
	return out;
}

/* "in force", or the walls that are missing */
static void put_walls(struct kolm *k, struct buf *out)
{
	struct buf report = BUF_INIT, missing = BUF_INIT;
	struct json_slice name, value;

	if (k->sp == NULL || spawner_walls(k->sp, &report, NULL) < 0) {
		line(out, "walls", "unknown");
		return;
	}
	for (size_t pos = 0;
		json_next((struct json_slice){report.data, report.len}, &pos, &name, &value);)
		if (value.len != 10 || memcmp(value.text, "\"in force\"", 10) != 0)
			(void)buf_addf(&missing, " %.*s", (int)(name.len - 2), name.text + 1);
	if (missing.len > 0)
		(void)buf_addf(out, "walls missing:%s\n", missing.data);
	else
		line(out, "walls", "in force");
	buf_release(&report);
	buf_release(&missing);
}

static void put_last_job(struct buf *out, const struct facts *f)
{
	struct buf text = BUF_INIT;

	if (!f->has_job) {
		line(out, "last_job", "-");
		return;
	}
	kolm_job_line(&f->last, &text);
	if (text.len > 0)
		(void)buf_addf(out, "last_job %.*s\n", (int)text.len - 1, text.data);
	buf_release(&text);
}

static void put_facts(struct kolm *k, const char *slug, struct facts *f, struct buf *out)
{
	char word[16], rev[REV_BYTES] = "-";

	if (f->latest >= 0)
		(void)snprintf(rev, sizeof(rev), "v%d", (int)f->latest);
	line(out, "artifact",
		f->has_config ? (f->cf.artifact_path != NULL ? f->cf.artifact_path : f->cf.artifact)
			      : NULL);
	line(out, "base",
		f->has_config ? (f->cf.base_path != NULL ? f->cf.base_path : f->cf.base_model)
			      : NULL);
	line(out, "slug", slug);
	line(out, "state", state_of(f, word));
	if (f->has_job && f->last.state != JOB_DONE)
		count(out, "job", f->last.id);
	else
		line(out, "job", "-");
	line(out, "head", f->has_head ? f->hd.head : NULL);
	line(out, "prev", f->has_head ? f->hd.prev : NULL);
	line(out, "latest", rev);
	count(out, "revisions", f->revisions);
	count(out, "captures", f->counts.rows.rows);
	count(out, "captures_teach", f->counts.teach);
	line(out, "captures_on", f->has_config && f->cf.captures_on ? "yes" : "no");
	number(out, "gate_k_min", f->has_config ? f->cf.k_min : NAN);
	line(out, "gate_require_improvement",
		f->has_config && f->cf.require_improvement ? "yes" : "no");
	number(out, "k_head", f->k_head);
	number(out, "k_latest", f->k_latest);
	if (f->has_config && f->cf.watch_on)
		(void)buf_addf(out, "watch on threshold=%d\n", f->cf.threshold_rows);
	else
		line(out, "watch", "off");
	put_walls(k, out);
	put_last_job(out, f);
	count(out, "gen", f->has_config ? f->cf.generation : 0);
	count(out, "torn", f->counts.rows.torn);
	count(out, "salvaged", f->counts.rows.salvaged);
	count(out, "dropped_oversize", f->drops.oversize + f->counts.rows.oversize);
	if (f->counts.rows.broken + f->drops.unfinished + f->counts.model + f->counts.superseded +
			f->counts.cases + f->counts.dropped >
		0)
		(void)buf_addf(out,
			"skipped "
			"broken=%llu,unfinished=%llu,model=%llu,superseded=%llu,case=%llu,dropped=%"
			"llu%s%s\n",
			(unsigned long long)f->counts.rows.broken,
			(unsigned long long)f->drops.unfinished,
			(unsigned long long)f->counts.model,
			(unsigned long long)f->counts.superseded,
			(unsigned long long)f->counts.cases, (unsigned long long)f->counts.dropped,
			f->skipped[0] != '\0' ? ",last_step:" : "", f->skipped);
	else
		line(out, "skipped", f->skipped);
	line(out, "answers_fixed", f->fixed ? "yes" : "no");
	line(out, "progress", f->progress);
	if (f->damage.no != 0)
		line(out, "damage", f->damage.text);
}

int kolm_walls(struct kolm *k, struct buf *out)
{
	struct buf report = BUF_INIT, said = BUF_INIT;
	struct json_slice name, value;

	/* a canary takes its time: the watch asked for it when the server began */
	if (k->sp == NULL || !spawner_walls_known(k->sp, &report)) {
		line(out, "walls", "unknown");
		return out->failed ? -ENOMEM : 0;
	}
	put_walls(k, out);
	for (size_t pos = 0;
		json_next((struct json_slice){report.data, report.len}, &pos, &name, &value);) {
		buf_reset(&said);
		(void)json_string(value, &said);
		(void)buf_addf(
			out, "wall_%.*s %s\n", (int)(name.len - 2), name.text + 1, buf_str(&said));
	}
	buf_release(&report);
	buf_release(&said);
	return out->failed ? -ENOMEM : 0;
}

int kolm_status(struct kolm *k, const char *slug, struct buf *out, struct err *err)
{
	struct facts f = {.latest = -1};
	struct tune tn;
	int rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	facts_load(k, &tn, &f);
	put_facts(k, slug, &f, out);
	facts_release(&f);
	tune_close(&tn);
	return out->failed ? err_nomem(err) : 0;
}

static int put_status_json(const struct facts *f, const struct tune *tn, struct buf *out)
{
	struct buf b = BUF_INIT;
	long *list = NULL;
	size_t n = 0;
	int rc;

	(void)buf_puts(&b, "{\"initialized\":true,\"artifact\":");
	(void)json_put_text(&b, f->cf.artifact);
	(void)buf_puts(&b, ",\"base_model\":");
	(void)json_put_text(&b, f->cf.base_model);
	(void)buf_addf(&b,
		",\"captures_on\":%s,\"captures\":%llu,\"captures_teach\":%llu,\"head\":",
		f->cf.captures_on ? "true" : "false", (unsigned long long)f->counts.rows.rows,
		(unsigned long long)f->counts.teach);
	(void)json_put_text(&b, f->has_head ? f->hd.head : NULL);
	(void)buf_puts(&b, ",\"revisions\":[");
	if (revision_list(tn, &list, &n, NULL) == 0)
		for (size_t i = 0; i < n; i++)
			(void)buf_addf(&b, "%s\"v%ld\"", i > 0 ? "," : "", list[i]);
	free(list);
	(void)buf_puts(&b, "],\"gate\":{\"k_min\":");
	(void)json_put_number(&b, f->cf.k_min);
	(void)buf_addf(&b,
		",\"require_improvement\":%s},\"watch\":{\"threshold_rows\":%d,\"sample_size\":%d}"
		"}",
		f->cf.require_improvement ? "true" : "false", f->cf.threshold_rows,
		f->cf.sample_size);
	rc = b.failed ? -ENOMEM : json_pretty((struct json_slice){b.data, b.len}, out);
	buf_release(&b);
	return rc;
}

int loop_status_json(struct kolm *k, const char *slug, struct buf *out, struct err *err)
{
	struct facts f = {.latest = -1};
	struct tune tn;
	int rc;

	rc = tune_open(&k->st, slug, &tn, NULL);
	if (rc == -ENOENT)
		return buf_puts(out, "{\"initialized\": false}") < 0 ? err_nomem(err) : 0;
	if (rc < 0)
		return tune_open(&k->st, slug, &tn, err);
	facts_load(k, &tn, &f);
	rc = f.has_config ? (put_status_json(&f, &tn, out) < 0 ? err_nomem(err) : 0)
			  : err_set(err, f.damage.no, "%s", f.damage.text);
	facts_release(&f);
	tune_close(&tn);
	return rc;
}
