/*
 * contents - what an artifact says: manifest, recipes, cases and the two slots. Shapes only;
 * whether it may be believed is trust.c's.
 */
#include "artifact/private.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* document(af, name, required, out, err): the checked JSON of an entry; len 0 when it is absent and
 * may be. */
static int document(const struct artifact *af, const char *name, bool required,
	struct json_slice *out, struct err *err)
{
	const struct artifact_entry *e = artifact_entry_named(af, name);

	*out = (struct json_slice){NULL, 0};
	if (e == NULL)
		return required ? err_set(err, EBADMSG, "%s missing", name) : 0;
	if (json_check(e->data, e->len, err) < 0)
		return err_prefix(err, "%s: ", name);
	*out = (struct json_slice){e->data, e->len};
	while (out->len > 0 && strchr(" \t\r\n", out->text[0]) != NULL)
		*out = (struct json_slice){out->text + 1, out->len - 1};
	while (out->len > 0 && strchr(" \t\r\n", out->text[out->len - 1]) != NULL)
		out->len--;
	return 0;
}

/* document() for what is signed as canonical JSON: its size is time */
static int signed_document(const struct artifact *af, const char *name, bool required,
	struct json_slice *out, struct err *err)
{
	const struct artifact_entry *e = artifact_entry_named(af, name);

	if (e != NULL && e->len > ARTIFACT_DOCUMENT_BYTES)
		return err_set(err, EFBIG, "%s is larger than %d MiB", name,
			ARTIFACT_DOCUMENT_BYTES >> 20);
	return document(af, name, required, out, err);
}

static int input_max(struct artifact *af, struct err *err)
{
	static const char *const places[] = {"policy", "runtime_policy"};

	af->input_max = ARTIFACT_INPUT_BYTES;
	for (size_t i = 0; i < 2; i++) {
		struct json_slice v =
			member_of(member_of(af->manifest, places[i]), "max_input_bytes");
		double x;

		if (v.len == 0 || json_kind_of(v) == JSON_NULL)
			continue;
		x = json_kind_of(v) == JSON_NUMBER ? json_double(v) : NAN;
		if (!(x >= 1 && x <= ARTIFACT_BYTES_MAX))
			return err_set(err, EBADMSG,
				"manifest.json: %s.max_input_bytes: number from 1 to %d expected",
				places[i], ARTIFACT_BYTES_MAX);
		af->input_max = (uint64_t)x;
	}
	return 0;
}

int contents_manifest(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	char *spec, q[ERR_QUOTE_BYTES + 8];
	int rc = signed_document(af, "manifest.json", true, &af->manifest, err);

	(void)keys;
	if (rc < 0)
		return rc;
	if (json_kind_of(af->manifest) != JSON_OBJECT)
		return err_set(err, EBADMSG, "manifest.json: object expected");
	rc = member_take(af->manifest, "spec", &spec);
	if (rc == -ENOMEM)
		rc = err_nomem(err);
	else if (rc < 0)
		rc = err_set(err, EBADMSG, "manifest.json: spec: string expected");
	else if (strcmp(spec, "kolm-1") != 0)
		rc = err_set(err, EOPNOTSUPP,
			"manifest.json: spec \"%s\" is not known; this program reads \"kolm-1\"",
			err_quote(q, spec, strlen(spec)));
	free(spec);
	if (rc < 0)
		return rc;
	af->hashes = member_of(af->manifest, "hashes");
	if (af->hashes.len == 0 || json_kind_of(af->hashes) != JSON_OBJECT)
		return err_set(err, EBADMSG, "manifest.json: hashes: object expected");
	rc = member_take(af->manifest, "job_id", &af->job_id);
	if (rc != -ENOMEM)
		rc = member_take(af->manifest, "task", &af->task);
	if (rc != -ENOMEM)
		rc = member_take(af->manifest, "runtime_target", &af->target);
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (af->job_id == NULL || af->task == NULL)
		return err_set(err, EBADMSG, "manifest.json: %s: string expected",
			af->job_id == NULL ? "job_id" : "task");
	return input_max(af, err);
}

static int read_recipe(struct json_slice v, size_t i, struct artifact_recipe *r, struct err *err)
{
	static const char *const keys[] = {"id", "name", "source", "version_id"};
	const char **const texts[] = {&r->id, &r->name, &r->source, &r->version_id};
	char *text;

	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		if (member_take(v, keys[k], &text) == -ENOMEM)
			return err_nomem(err);
		*texts[k] = text;
	}
	if (json_kind_of(v) != JSON_OBJECT)
		return err_set(err, EBADMSG, "recipes.json: recipe %zu: object expected", i);
	if (r->id == NULL || r->id[0] == '\0')
		return err_set(err, EBADMSG, "recipes.json: recipe %zu: id: text expected", i);
	if (r->source == NULL)
		return err_set(err, EBADMSG, "recipes.json: recipe %zu: source: text expected", i);
	if (r->name == NULL || r->name[0] == '\0') {
		free((char *)r->name);
		r->name = strdup(r->id);
	}
	if (r->version_id == NULL)
		r->version_id = strdup("");
	return r->name == NULL || r->version_id == NULL ? err_nomem(err) : 0;
}

static size_t count_items(struct json_slice array)
{
	struct json_slice v;
	size_t pos = 0, n = 0;

	while (json_next(array, &pos, NULL, &v))
		n++;
	return n;
}

int contents_recipes(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	struct json_slice list, v;
	size_t pos = 0;
	int rc = document(af, "recipes.json", true, &af->recipes_json, err);

	(void)keys;
	if (rc < 0)
		return rc;
	list = member_of(af->recipes_json, "recipes");
	if (list.len == 0 || json_kind_of(list) != JSON_ARRAY)
		return err_set(err, EBADMSG, "recipes.json: recipes: array expected");
	af->recipes = calloc(count_items(list) + 1, sizeof(*af->recipes));
	if (af->recipes == NULL)
		return err_nomem(err);
	while (rc == 0 && json_next(list, &pos, NULL, &v)) {
		rc = read_recipe(v, af->recipe_count, &af->recipes[af->recipe_count], err);
		af->recipe_count++;
	}
	return rc;
}

static int read_case(struct json_slice v, size_t i, struct artifact_case *c, struct err *err)
{
	struct json_slice id = member_of(v, "id");
	char number[32], *text;
	int rc = 0;

	if (json_kind_of(v) != JSON_OBJECT)
		return err_set(err, EBADMSG, "case %zu: object expected", i);
	snprintf(number, sizeof(number), "case_%zu", i + 1);
	if (id.len > 0)
		rc = member_take(v, "id", &text);
	else
		rc = (text = strdup(number)) != NULL ? 0 : -ENOMEM;
	if (rc == -ENOMEM)
		return err_nomem(err);
	c->id = text;
	c->input = member_of(v, "input");
	c->expected = member_of(v, "expected");
	c->params = member_of(v, "params");
	if (c->id == NULL)
		return err_set(err, EBADMSG, "case %zu: id: text expected", i);
	if (c->input.len == 0 || c->expected.len == 0)
		return err_set(err, EBADMSG, "case %zu: %s missing", i,
			c->input.len == 0 ? "input" : "expected");
	if (c->params.len > 0 && json_kind_of(c->params) == JSON_NULL)
		c->params = (struct json_slice){NULL, 0};
	return 0;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_ids(const struct artifact_case *cases, size_t n, struct err *err)
{
	const char **ids = calloc(n + 1, sizeof(*ids));
	char q[ERR_QUOTE_BYTES + 8];
	int rc = 0;

	if (ids == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++)
		ids[i] = cases[i].id;
	qsort(ids, n, sizeof(*ids), by_id);
	for (size_t i = 1; i < n && rc == 0; i++)
		if (strcmp(ids[i - 1], ids[i]) == 0)
			rc = err_set(err, EBADMSG, "duplicate case id \"%s\"",
				err_quote(q, ids[i], strlen(ids[i])));
	free(ids);
	return rc;
}

void cases_free(struct artifact_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)cases[i].id);
	free(cases);
}

int cases_read(struct json_slice list, struct artifact_case **out, size_t *n, struct err *err)
{
	size_t pos = 0, count = 0, room = count_items(list);
	struct artifact_case *cases = calloc(room + 1, sizeof(*cases));
	struct json_slice v;
	int rc = cases != NULL ? 0 : err_nomem(err);

	while (rc == 0 && json_next(list, &pos, NULL, &v)) {
		rc = read_case(v, count, &cases[count], err);
		count++;
	}
	if (rc == 0)
		rc = check_ids(cases, count, err);
	if (rc < 0) {
		cases_free(cases, count);
		return rc;
	}
	*out = cases;
	*n = count;
	return 0;
}

int contents_evals(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	struct json_slice list, v;
	int rc = document(af, "evals.json", false, &af->evals_json, err);

	(void)keys;
	if (rc < 0)
		return rc;
	if (af->evals_json.len > 0 && json_kind_of(af->evals_json) != JSON_OBJECT)
		return err_set(err, EBADMSG, "evals.json: object expected");
	if (member_take(af->evals_json, "comparator", &af->comparator) == -EBADMSG)
		af->comparator = strdup("exact");
	if (af->comparator == NULL)
		return err_nomem(err);
	v = member_of(af->evals_json, "coverage");
	af->coverage = v.len > 0 && json_kind_of(v) == JSON_NUMBER ? json_double(v) : 1;
	list = member_of(af->evals_json, "cases");
	if (list.len == 0)
		return 0;
	if (json_kind_of(list) != JSON_ARRAY)
		return err_set(err, EBADMSG, "evals.json: cases: array expected");
	if (cases_read(list, &af->cases, &af->case_count, err) < 0)
		return err_prefix(err, "evals.json: ");
	return 0;
}

/* one slot: magic, u32 length, JSON; nothing behind it */
static int read_slot(const struct artifact *af, const char *name, const char *magic,
	const char *code, struct json_slice *out, struct err *err)
{
	const struct artifact_entry *e = artifact_entry_named(af, name);
	size_t head = strlen(magic) + 4, len;
	const unsigned char *p;
	struct json_slice v;
	size_t pos = 0;

	if (e == NULL || e->len == 0)
		return 0;
	if (e->len < head || memcmp(e->data, magic, head - 4) != 0) {
		err_set(err, EBADMSG, "%s: wrong magic", name);
		return err_code(err, code);
	}
	p = (const unsigned char *)e->data + head - 4;
	len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
	if (len != e->len - head) {
		err_set(err, EBADMSG, "%s: %zu bytes announced, %zu there", name, len,
			e->len - head);
		return err_code(err, code);
	}
	*out = (struct json_slice){e->data + head, len};
	if (json_check(out->text, len, err) < 0) {
		err_prefix(err, "%s: ", name);
		return err_code(err, code);
	}
	if (out->text[0] == '{' && !json_next(*out, &pos, NULL, &v))
		out->len = 0;
	return 0;
}

int contents_slots(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	int rc = read_slot(af, "lora.bin", "KOLMPACK\1", "KOLM_E_PACK_DECODE", &af->pack, err);

	(void)keys;
	if (rc == 0)
		rc = read_slot(af, "index.sqlite-vec", "KOLMIDX\1", "KOLM_E_INDEX_DECODE",
			&af->index, err);
	return rc;
}

/* signature.sig, receipt.json, credential.json: present and of the right form; what they claim is
 * checked behind this */
int trust_documents(struct artifact *af, const struct artifact_keys *keys, struct err *err)
{
	static const char zeros[] =
		"0000000000000000000000000000000000000000000000000000000000000000";
	char hex[HASH_HEX_BYTES];
	int rc;

	(void)keys;
	if (artifact_entry_named(af, "signature.sig") == NULL)
		return err_set(err, EKEYREJECTED, "signature missing: no signature.sig");
	rc = signed_document(af, "signature.sig", true, &af->signature, err);
	if (rc == 0)
		rc = signed_document(af, "receipt.json", false, &af->receipt, err);
	if (rc == 0)
		rc = signed_document(af, "credential.json", false, &af->credential, err);
	if (rc < 0)
		return rc;
	if (!member_is(af->signature, "spec", "kolm-1"))
		return err_set(err, EKEYREJECTED, "signature.sig: spec is not \"kolm-1\"");
	if (member_of(af->signature, "hmac_alg").len > 0 &&
		!member_is(af->signature, "hmac_alg", "HMAC-SHA256"))
		return err_set(
			err, EKEYREJECTED, "signature.sig: unknown algorithm name in hmac_alg");
	if (member_of(af->signature, "hmac").len == 0)
		return err_set(err, EKEYREJECTED, "signature missing: signature.sig has no hmac");
	if (!member_hex(af->signature, "hmac", hex))
		return err_set(err, EKEYREJECTED, "signature.sig: hmac is not 64 hex digits");
	if (strcmp(hex, zeros) == 0)
		return err_set(err, EKEYREJECTED, "signature.sig: hmac is all zero");
	if ((af->receipt.len > 0 && json_kind_of(af->receipt) != JSON_OBJECT) ||
		(af->credential.len > 0 && json_kind_of(af->credential) != JSON_OBJECT))
		return err_set(err, EBADMSG, "receipt.json, credential.json: object expected");
	return 0;
}
