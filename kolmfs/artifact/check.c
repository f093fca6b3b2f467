/*
 * check - `kolm verify`: one line a check (FORMATS 13.3). Integrity decides; readiness is told
 * beside it.
 */
#include "artifact/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

struct report {
	artifact_check *each;
	void *arg;
	const char *lack; /* what a lack of trust is: "warn", or with --strict "fail" */
	int rc;		  /* of the first that failed */
	struct err *err;
};

static void say(struct report *r, const char *check, const char *verdict, const char *detail)
{
	r->each(r->arg, check, verdict, detail);
	if (strcmp(verdict, "fail") == 0 && r->rc == 0)
		r->rc = err_set(r->err, EKEYREJECTED, "%s: %s", check, detail);
}

static void check_hmac(const struct artifact *af, struct report *r)
{
	if (af->hmac == HMAC_BY_OWN)
		say(r, "hmac", "pass", "by this machine's secret");
	else if (af->hmac == HMAC_BY_PUBLIC)
		say(r, "hmac", "warn", "by a public fixture key: anybody can have made this");
	else
		say(r, "hmac", "warn", "by no secret of this machine");
}

/* which signature was checked by which key, and whether that is somebody */
static void check_trust(
	const struct artifact *af, const struct artifact_keys *keys, struct report *r)
{
	bool is_known = af->hmac == HMAC_BY_OWN;
	char detail[SIGNER_TEXT_BYTES];
	struct err why = ERR_NONE;
	struct signer sg;

	check_hmac(af, r);
	if (af->fingerprint[0] == '\0') {
		say(r, "ed25519 receipt", "warn", "no Ed25519 block");
	} else if (signer_look(keys, af->fingerprint, &sg, &why) < 0) {
		say(r, "ed25519 receipt", "warn", why.text);
	} else {
		signer_text(&sg, af->fingerprint, detail);
		say(r, "ed25519 receipt", sg.kind == SIGNER_UNKNOWN && !is_known ? "warn" : "pass",
			detail);
		is_known |= sg.kind != SIGNER_UNKNOWN;
	}
	say(r, "trust", is_known ? "pass" : r->lack,
		is_known ? af->trust_text
			 : "signed by no key this machine knows; kolm trust add takes one");
}

static void check_covered(const struct artifact *af, struct report *r)
{
	struct buf names = BUF_INIT;
	char q[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < af->n; i++)
		if (!af->entries[i].covered)
			(void)buf_addf(&names, "%s%s", names.len > 0 ? ", " : "",
				err_quote(q, af->entries[i].face.name,
					strlen(af->entries[i].face.name)));
	if (names.len > 0)
		(void)buf_puts(&names, ": under no hash, never used");
	say(r, "covered entries", names.len > 0 ? r->lack : "pass",
		names.len > 0 ? buf_str(&names) : "every entry is under a hash");
	buf_release(&names);
}

static void check_sidecars(const struct artifact *af, struct report *r)
{
	static const char *const names[] = {"provenance.intoto.dsse.json", "model.sig.bundle"};

	for (size_t i = 0; i < 2; i++) {
		const char *wrong = sidecar_check(af, names[i]);

		if (artifact_entry_named(af, names[i]) != NULL)
			say(r, names[i], wrong != NULL ? r->lack : "pass",
				wrong != NULL ? wrong : "fits the members");
	}
}

static void check_gate(const struct artifact *af, struct report *r)
{
	struct json_slice k = artifact_k_score(af), composite = member_of(k, "composite"),
			  gate = member_of(k, "gate");
	double have,
		want = gate.len > 0 && json_kind_of(gate) == JSON_NUMBER ? json_double(gate) : 0.85;
	char a[NUM_TEXT_BYTES], b[NUM_TEXT_BYTES], detail[96];

	if (composite.len == 0 || json_kind_of(composite) != JSON_NUMBER) {
		say(r, "K-score gate", "warn", "no K-score");
		return;
	}
	have = json_double(composite);
	snprintf(detail, sizeof(detail), "%s (gate %s)", num_fixed(have, 4, a),
		num_fixed(want, 2, b));
	say(r, "K-score gate", have >= want ? "pass" : "warn", detail);
}

static double number_of(struct json_slice object, const char *key)
{
	struct json_slice v = member_of(object, key);

	return v.len > 0 && json_kind_of(v) == JSON_NUMBER ? json_double(v) : 0;
}

static void check_seeds(const struct artifact *af, struct report *r)
{
	struct json_slice p = member_of(af->manifest, "seed_provenance");
	char train[HASH_HEX_BYTES], holdout[HASH_HEX_BYTES], text[128];
	double overlap = number_of(p, "input_overlap_count") + number_of(p, "near_duplicate_count");

	if (p.len == 0 || json_kind_of(p) != JSON_OBJECT)
		say(r, "seed gate", "warn", "no seed provenance");
	else if (member_is(p, "eval_source", "self_generated") ||
		 member_is(p, "eval_source", "empty"))
		say(r, "seed gate", "warn",
			"cases written beside the recipe, no seed split: not production ready");
	else if (!member_hex(p, "train_hash", train) || !member_hex(p, "holdout_hash", holdout) ||
		 strcmp(train, holdout) == 0)
		say(r, "seed gate", "warn", "train and holdout are not told apart");
	else if (overlap > 0 || number_of(p, "output_overlap_count") > 0 ||
		 number_of(p, "grouped_overlap_count") > 0)
		say(r, "seed gate", "warn", "train and holdout overlap");
	else {
		snprintf(text, sizeof(text), "%.0f train, %.0f holdout rows, no overlap",
			number_of(p, "train_count"), number_of(p, "holdout_count"));
		say(r, "seed gate", number_of(p, "holdout_count") < 10 ? "warn" : "pass", text);
	}
}

static void check_ready(const struct artifact *af, struct report *r)
{
	struct json_slice ready = member_of(af->manifest, "production_ready");
	char *target = member_text(af->manifest, "runtime_target"), detail[160],
	     q[ERR_QUOTE_BYTES + 8];
	bool js = target == NULL || strcmp(target, "js") == 0,
	     is_ready = ready.len == 4 && memcmp(ready.text, "true", 4) == 0;

	snprintf(detail, sizeof(detail), "runtime target \"%s\"",
		js ? "js" : err_quote(q, target, strlen(target)));
	say(r, "runtime target", js ? "pass" : "warn", detail);
	free(target);
	snprintf(detail, sizeof(detail), "%zu eval cases", af->case_count);
	say(r, "eval coverage", af->case_count > 0 ? "pass" : "warn", detail);
	say(r, "receipt", af->receipt.len > 0 ? "pass" : "warn",
		af->receipt.len > 0 ? "present" : "no receipt.json");
	say(r, "credential", af->credential.len > 0 ? "pass" : "warn",
		af->credential.len > 0 ? "present" : "no credential.json");
	check_gate(af, r);
	check_seeds(af, r);
	say(r, "production ready", is_ready ? "pass" : "warn",
		is_ready ? "the manifest says so" : "the manifest does not say so");
}

int artifact_verify(int dirfd, const char *path, const struct artifact_keys *keys, bool strict,
	artifact_check *each, void *arg, struct err *err)
{
	struct report r = {each, arg, strict ? "fail" : "warn", 0, err};
	struct err why = ERR_NONE;
	struct buf data = BUF_INIT;
	struct artifact *af = NULL;
	int rc = artifact_load(dirfd, path, &data, &why);

	if (rc == 0)
		rc = artifact_unpack(buf_str(&data), data.len, &af, &why);
	buf_release(&data);
	r.rc = rc;
	if (rc < 0 && err != NULL)
		*err = why;
	say(&r, "zip", rc < 0 ? "fail" : "pass",
		rc < 0 ? why.text : "structure and checksums hold");
	for (size_t i = 0; af != NULL && i < artifact_check_count; i++) {
		why = ERR_NONE;
		rc = artifact_checks[i].run(af, keys, &why);
		if (rc < 0 && r.rc == 0) { /* its own errno, not that of a missing trust */
			r.rc = rc;
			if (err != NULL)
				*err = why;
		}
		say(&r, artifact_checks[i].name, rc < 0 ? "fail" : "pass",
			rc < 0 ? why.text : "holds");
	}
	if (r.rc == 0)
		check_trust(af, keys, &r);
	if (af != NULL) {
		check_covered(af, &r);
		check_sidecars(af, &r);
		check_ready(af, &r);
	}
	artifact_free(af);
	return r.rc;
}
