/*
 * build - the documents of a generation (c) artifact (FORMATS 11), signed, as one zip.
 *
 * Every document is put together as compact JSON and then laid out by json_pretty(); the digests of
 * the pretty bytes go into the next document: members, manifest, signature and receipt, credential.
 */
#include "artifact/compile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/replace.h"

const struct doc_slot doc_slots[SLOTS] = {
	{"model_pointer", "model.gguf"},
	{"recipes_json", "recipes.json"},
	{"lora_bin", "lora.bin"},
	{"index_bin", "index.sqlite-vec"},
	{"evals_json", "evals.json"},
};

/* doc_pretty(out): lay out the compact text in ${out} */
int doc_pretty(struct buf *out)
{
	struct buf text = *out;
	int rc = text.failed ? -ENOMEM : 0;

	*out = BUF_INIT;
	if (rc == 0)
		rc = json_pretty(slice_of(&text), out);
	buf_release(&text);
	return rc;
}

void doc_text(struct buf *out, const char *key, const char *text)
{
	(void)buf_addf(out, ",\"%s\":", key);
	(void)json_put_text(out, text);
}

void doc_number(struct buf *out, const char *key, double x)
{
	(void)buf_addf(out, ",\"%s\":", key);
	(void)json_put_number(out, x);
}

static void put_nulls(struct buf *out, const char *const *keys)
{
	for (; *keys != NULL; keys++)
		(void)buf_addf(out, ",\"%s\":null", *keys);
}

static double stat_number(const struct build *b, const char *key, double fallback)
{
	struct json_slice v = member_of(b->plan->stats, key);

	return v.len > 0 && json_kind_of(v) == JSON_NUMBER ? json_double(v) : fallback;
}

double build_latency(const struct build *b)
{
	return stat_number(b, "latency_p50_us", b->latency_us);
}

double build_cost(const struct build *b)
{
	return stat_number(b, "cost_usd_per_call", 0);
}

static bool seeds_clean(const struct seeds *s)
{
	return s->present && s->train >= SEEDS_TRAIN_MIN && s->holdout >= SEEDS_HOLDOUT_MIN &&
	       s->input_overlap == 0 && s->near_duplicates == 0;
}

bool build_production_ready(const struct build *b)
{
	return seeds_clean(&b->plan->seeds) && b->k != NULL && b->k->ships;
}

/* the slots: magic, length, compact JSON; empty when there is nothing */
static int put_slot(struct json_slice value, const char *magic, struct buf *out)
{
	struct buf text = BUF_INIT;
	int rc = 0;

	if (value.len > 0 && (rc = json_compact(value, &text)) == 0) {
		const unsigned char len[4] = {(unsigned char)text.len,
			(unsigned char)(text.len >> 8), (unsigned char)(text.len >> 16),
			(unsigned char)(text.len >> 24)};
		(void)buf_puts(out, magic);
		(void)buf_add(out, len, 4);
		rc = buf_add(out, text.data, text.len);
	}
	buf_release(&text);
	return rc;
}

static int make_members(const struct build *b, struct docs *d)
{
	const struct plan *p = b->plan;
	struct buf *out = &d->member[SLOT_MODEL];
	int rc = 0;

	if (strcmp(p->base_model, "none") != 0) {
		(void)buf_puts(out, "{\"spec\":\"kolm-1\"");
		doc_text(out, "base_model", p->base_model);
		(void)buf_puts(out, ",\"runtime\":\"js\",\"note\":\"pointer-only artifact; weights "
				    "resolved on `kolm run` first launch.\"}");
		rc = doc_pretty(out);
	}
	out = &d->member[SLOT_RECIPES];
	(void)buf_addf(out, "{\"spec\":\"rs-1\",\"n\":%zu,\"recipes\":[", p->recipe_count);
	(void)buf_add(out, buf_str(&p->recipes), p->recipes.len);
	(void)buf_puts(out, "]}");
	if (rc == 0)
		rc = doc_pretty(out);
	out = &d->member[SLOT_EVALS];
	(void)buf_puts(out, "{\"spec\":");
	(void)json_put_text(out, p->evals_spec);
	(void)buf_addf(out, ",\"n\":%zu,\"cases\":[", p->case_count);
	(void)buf_add(out, buf_str(&p->cases), p->cases.len);
	(void)buf_putc(out, ']');
	doc_number(out, "coverage", p->coverage);
	if (p->seeds.present)
		doc_text(out, "source", "seeds.jsonl holdout");
	doc_text(out, "comparator", p->comparator);
	(void)buf_putc(out, '}');
	if (rc == 0)
		rc = doc_pretty(out);
	if (rc == 0)
		rc = put_slot(p->pack, "KOLMPACK\1", &d->member[SLOT_LORA]);
	if (rc == 0)
		rc = put_slot(p->index, "KOLMIDX\1", &d->member[SLOT_INDEX]);
	for (size_t i = 0; i < SLOTS; i++)
		sha256_hex(buf_str(&d->member[i]), d->member[i].len, d->hash[i]);
	return rc;
}

/* one member of the training object; a later one of the same key takes the place of the earlier, as
 * in a JavaScript object */
struct stat {
	struct buf key, value;
};

static struct stat *stat_place(struct stat *list, size_t *n, struct json_slice key)
{
	for (size_t i = 0; i < *n; i++)
		if (json_same(slice_of(&list[i].key), key)) {
			buf_reset(&list[i].value);
			return &list[i];
		}
	(void)buf_add(&list[*n].key, key.text, key.len);
	return &list[(*n)++];
}

static void stat_number_put(struct stat *list, size_t *n, const char *key, double x)
{
	char quoted[64];

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	(void)json_put_number(
		&stat_place(list, n, (struct json_slice){quoted, strlen(quoted)})->value, x);
}

static void stat_text_put(struct stat *list, size_t *n, const char *key, const char *text)
{
	char quoted[64];

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	(void)json_put_text(
		&stat_place(list, n, (struct json_slice){quoted, strlen(quoted)})->value, text);
}

/* FORMATS 18.3 (c): what was measured, then all the spec states, then again what must not be stated
 */
static int make_training(const struct build *b, struct docs *d)
{
	struct json_slice key, value;
	size_t n = 0, pos = 0, room = 16;
	struct stat *list;
	int rc = 0;

	while (b->plan->stats.len > 0 && json_next(b->plan->stats, &pos, &key, &value))
		room++;
	list = calloc(room, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	stat_number_put(list, &n, "pass_rate_positive", b->accuracy);
	stat_number_put(list, &n, "latency_p50_us", b->latency_us);
	stat_number_put(list, &n, "evaluated_against", (double)b->plan->case_count);
	stat_number_put(list, &n, "eval_passed", (double)b->passed);
	pos = 0;
	while (b->plan->stats.len > 0 && json_next(b->plan->stats, &pos, &key, &value))
		(void)buf_add(&stat_place(list, &n, key)->value, value.text, value.len);
	stat_number_put(list, &n, "pass_rate_positive", b->accuracy);
	stat_number_put(list, &n, "pass_rate_positive_measured", b->accuracy);
	stat_text_put(list, &n, "comparator", b->plan->comparator);
	stat_text_put(list, &n, "eval_split", b->plan->seeds.present ? "holdout" : "inline");
	if (b->plan->seeds.present)
		stat_number_put(list, &n, "holdout_accuracy", b->accuracy);
	for (size_t i = 0; i < n; i++) {
		(void)buf_putc(&d->training, i > 0 ? ',' : '{');
		(void)buf_add(&d->training, buf_str(&list[i].key), list[i].key.len);
		(void)buf_putc(&d->training, ':');
		(void)buf_add(&d->training, buf_str(&list[i].value), list[i].value.len);
		rc = list[i].key.failed || list[i].value.failed ? -ENOMEM : rc;
		buf_release(&list[i].key);
		buf_release(&list[i].value);
	}
	free(list);
	return buf_putc(&d->training, '}') < 0 ? -ENOMEM : rc;
}

static void put_count(struct buf *out, const char *key, bool known, size_t n)
{
	if (known)
		(void)buf_addf(out, ",\"%s\":%zu", key, n);
	else
		(void)buf_addf(out, ",\"%s\":null", key);
}

static int put_seed_provenance(const struct plan *p, struct buf *out)
{
	static const char *const rest[] = {"synthesis_input_hash", "group_key", "source_seed_count",
		"approved_count", "synthetic_count", NULL};
	const struct seeds *s = &p->seeds;
	struct buf report = BUF_INIT;
	char report_hash[HASH_HEX_BYTES];

	(void)buf_addf(&report,
		"{\"grouped_overlap_count\":0,\"input_overlap_count\":%zu,\"near_duplicate_count\":"
		"%zu,\"output_overlap_count\":%zu}",
		s->input_overlap, s->near_duplicates, s->output_overlap);
	sha256_hex(buf_str(&report), report.len, report_hash);
	buf_release(&report);
	(void)buf_puts(out, ",\"seed_provenance\":{\"seeds_hash\":");
	(void)json_put_text(out, s->present ? s->all_hash : NULL);
	doc_text(out, "split_seed", s->present ? p->split_seed : NULL);
	doc_number(out, "holdout_ratio", s->present ? p->holdout_ratio : NAN);
	doc_text(out, "train_hash", s->present ? s->train_hash : NULL);
	doc_text(out, "holdout_hash", s->present ? s->holdout_hash : NULL);
	(void)buf_addf(out, ",\"train_count\":%zu,\"holdout_count\":%zu", s->train, s->holdout);
	doc_text(out, "eval_source", s->present ? "tenant_captured" : "self_generated");
	doc_text(out, "leakage_report_hash", s->present ? report_hash : NULL);
	doc_text(out, "comparator", p->comparator);
	if (s->present)
		(void)buf_addf(out,
			",\"source_format_mix\":{\"canonical\":%zu,\"legacy_prompt_completion\":%"
			"zu}",
			s->canonical, s->legacy);
	else
		(void)buf_puts(out, ",\"source_format_mix\":null");
	doc_text(out, "seeds_path_basename", s->present ? p->seeds_name : NULL);
	(void)buf_addf(out, ",\"production_ready\":%s", seeds_clean(s) ? "true" : "false");
	put_count(out, "min_train", s->present, SEEDS_TRAIN_MIN);
	put_count(out, "min_holdout", s->present, SEEDS_HOLDOUT_MIN);
	put_count(out, "input_overlap_count", s->present, s->input_overlap);
	put_count(out, "output_overlap_count", s->present, s->output_overlap);
	put_count(out, "near_duplicate_count", s->present, s->near_duplicates);
	put_count(out, "grouped_overlap_count", s->present, 0);
	put_nulls(out, rest);
	return buf_puts(out, ",\"eval_provenance\":\"unknown\"}");
}

const char *doc_judge(void)
{
	const char *id = getenv("KOLM_JUDGE_ID");

	return id != NULL && id[0] != '\0' ? id : "kolm-pattern-synth-1";
}

static void put_hashes(const struct docs *d, struct buf *out)
{
	for (size_t i = 0; i < SLOTS; i++)
		(void)buf_addf(
			out, "%s\"%s\":\"%s\"", i > 0 ? "," : "{", doc_slots[i].key, d->hash[i]);
	(void)buf_putc(out, '}');
}

/* the manifest up to the training block */
static void put_manifest_head(const struct build *b, const struct docs *d, struct buf *out)
{
	const struct plan *p = b->plan;
	char registry[HASH_HEX_BYTES];
	struct buf text = BUF_INIT;

	(void)buf_addf(&text, "[%s]", buf_str(&p->registry));
	if (canonical_sha256(slice_of(&text), registry) < 0)
		out->failed = true;
	buf_release(&text);
	(void)buf_puts(out, "{\"spec\":\"kolm-1\"");
	doc_text(out, "job_id", p->job_id);
	doc_text(out, "task", p->task);
	doc_text(out, "created_at", d->when);
	if (b->is_reproducible)
		(void)buf_addf(out,
			",\"reproducible_build\":{\"spec\":\"kolm-reproducible-build-v1\",\"source_"
			"date_epoch\":%lld,\"timestamp\":\"%s\"}",
			(long long)(b->ms / 1000), d->when);
	(void)buf_puts(out, ",\"runtime\":\"js\",\"runtime_target\":\"js\",\"runtime_target_"
			    "config\":null,\"entrypoint\":null");
	doc_text(out, "artifact_class", p->kind);
	(void)buf_addf(out, ",\"artifact_class_breakdown\":{\"%s\":%zu}", p->kind, p->recipe_count);
	doc_text(out, "base_model", p->base_model);
	(void)buf_puts(out, ",\"target_device\":null,\"train_device\":null,\"memory_requirement_"
			    "mb\":5,\"offline_capable\":true,\"tier\":\"recipe\"");
	doc_text(out, "judge_id", doc_judge());
	doc_number(out, "eval_score", num_round(p->coverage, 4));
	(void)buf_addf(out,
		",\"recipes\":{\"n\":%zu,\"registry_hash\":\"%s\"},\"lora\":null,\"recall\":null,"
		"\"training\":",
		p->recipe_count, registry);
	(void)buf_add(out, buf_str(&d->training), d->training.len);
	(void)buf_addf(out, ",\"evals\":{\"n\":%zu", p->case_count);
	doc_text(out, "spec", p->evals_spec);
	doc_text(out, "hash", d->hash[SLOT_EVALS]);
	(void)buf_putc(out, '}');
}

static int make_manifest(const struct build *b, struct docs *d)
{
	static const char *const nulls[] = {"native_skip_reasons", "compiled_targets", "capability",
		"lineage", "export", "moe", "pretokenize", "external_holdout_provenance",
		"tenant_shadow_corpus_provenance", "auditor_attestation_provenance",
		"supersession_provenance", "drift_report", "confidential_compute",
		"mixed_precision_profile", "sparsity_profile", "kv_profile", "output_schema",
		"guardrails", NULL};
	struct buf *out = &d->manifest, hashes = BUF_INIT;
	int rc;

	put_hashes(d, &hashes);
	if (hashes.failed || cid_compute(slice_of(&hashes), d->cid) < 0) {
		buf_release(&hashes);
		return -ENOMEM;
	}
	put_manifest_head(b, d, out);
	(void)put_seed_provenance(b->plan, out);
	(void)buf_addf(out, ",\"binaries\":[],\"compiled_binary\":null,\"production_ready\":%s",
		build_production_ready(b) ? "true" : "false");
	put_nulls(out, nulls);
	if (b->k != NULL) {
		(void)buf_puts(out, ",\"k_score\":");
		(void)kscore_render(b->k, true, out);
	}
	if (b->is_overridden)
		(void)buf_puts(out, ",\"ship_gate_overridden\":true");
	(void)buf_puts(out,
		",\"license\":{\"id\":\"LicenseRef-kolm-default-1.0\",\"name\":\"kolm default "
		"artifact license (1.0)\","
		"\"url\":\"https://kolm.ai/license#artifact-default-1-0\","
		"\"allows\":[\"inference\",\"evaluation\",\"redistribution-with-attribution\"],"
		"\"requires\":[\"preserve-receipt\",\"preserve-attribution\"],\"forbids\":[]}");
	(void)buf_addf(out, ",\"policy\":{\"require_ed25519\":%s,\"require_rekor\":false}",
		b->has_key ? "true" : "false");
	doc_text(out, "cid", d->cid);
	(void)buf_puts(out, ",\"hashes\":");
	(void)buf_add(out, buf_str(&hashes), hashes.len);
	(void)buf_puts(out, ",\"entry\":null}");
	buf_release(&hashes);
	rc = doc_pretty(out);
	sha256_hex(buf_str(out), out->len, d->manifest_hash);
	return rc < 0 ? rc
		      : artifact_hash_compute(
				d->manifest_hash, slice_of(out), HASH_BLOCKS, d->artifact_hash);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct pack_entry *)a)->name, ((const struct pack_entry *)b)->name);
}

int build_zip(const struct build *b, struct buf *zip, struct err *err)
{
	struct docs d;
	int rc;

	memset(&d, 0, sizeof(d));
	time_text(b->ms, d.when);
	rc = make_members(b, &d);
	if (rc == 0)
		rc = make_training(b, &d);
	if (rc == 0)
		rc = make_manifest(b, &d);
	if (rc == 0)
		rc = doc_signature(b, &d);
	if (rc == 0)
		rc = doc_receipt(b, &d);
	if (rc == 0)
		rc = doc_credential(b, &d);
	if (rc < 0) {
		rc = err_nomem(err);
	} else {
		struct pack_entry entry[] = {{"manifest.json", d.manifest},
			{"recipes.json", d.member[SLOT_RECIPES]},
			{"evals.json", d.member[SLOT_EVALS]}, {"signature.sig", d.signature},
			{"receipt.json", d.receipt}, {"credential.json", d.credential},
			{doc_slots[SLOT_MODEL].entry, d.member[SLOT_MODEL]},
			{doc_slots[SLOT_LORA].entry, d.member[SLOT_LORA]},
			{doc_slots[SLOT_INDEX].entry, d.member[SLOT_INDEX]}};
		size_t n = 6;

		for (size_t i = 6; i < sizeof(entry) / sizeof(entry[0]); i++)
			if (entry[i].data.len > 0)
				entry[n++] = entry[i];
		if (b->is_reproducible)
			qsort(entry, n, sizeof(entry[0]), by_name);
		rc = zip_write(entry, n, b->ms, zip, err);
	}
	for (size_t i = 0; i < SLOTS; i++)
		buf_release(&d.member[i]);
	buf_release(&d.manifest);
	buf_release(&d.signature);
	buf_release(&d.receipt);
	buf_release(&d.credential);
	buf_release(&d.training);
	return rc;
}
