/*
 * config - what tune-config.json says; see config.h. One table says what may be set, of which kind,
 * within which limits, with which sentence.
 */
#include "store/config.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"
#include "store/private.h"

enum { TARGETS_MAX = 16 };

enum kind { WHOLE, REAL, SWITCH };

struct option {
	const char *key;   /* as `set` names it */
	const char *group; /* the object it stands in; NULL the file itself */
	const char *name;
	const char *label; /* in sentences */
	enum kind kind;
	double min, max;
	bool above, below; /* min, max themselves do not belong to the range */
	const char *limits;
	double fallback;
	size_t at; /* in struct config */
};

static const struct option options[] = {
	{"rank", NULL, "rank", "rank", WHOLE, 1, 512, false, false, "1 to 512", 8,
		offsetof(struct config, rank)},
	{"alpha", NULL, "alpha", "alpha", REAL, 0, 4096, true, false, "above 0 and at most 4096",
		16, offsetof(struct config, alpha)},
	{"dropout", NULL, "dropout", "dropout", REAL, 0, 1, false, true, "0 or more and below 1", 0,
		offsetof(struct config, dropout)},
	{"captures_on", NULL, "captures_on", "captures_on", SWITCH, 0, 1, false, false, "", 0,
		offsetof(struct config, captures_on)},
	{"gate.k_min", "gate", "k_min", "gate", REAL, 0, 1, false, false, "number from 0 to 1",
		0.85, offsetof(struct config, k_min)},
	{"gate.require_improvement", "gate", "require_improvement", "require_improvement", SWITCH,
		0, 1, false, false, "", 1, offsetof(struct config, require_improvement)},
	{"watch.threshold_rows", "watch", "threshold_rows", "threshold_rows", WHOLE, 1, 1000000,
		false, false, "1 to 1000000", 200, offsetof(struct config, threshold_rows)},
	{"watch.sample_size", "watch", "sample_size", "sample_size", WHOLE, 0, 1000000, false,
		false, "0 to 1000000", 32, offsetof(struct config, sample_size)},
	{"watch.on", "watch", "on", "watch.on", SWITCH, 0, 1, false, false, "", 0,
		offsetof(struct config, watch_on)},
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

static const struct option *option_find(const char *key)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (strcmp(options[i].key, key) == 0)
			return &options[i];
	return NULL;
}

/* a value of the wrong kind; the gate's sentence is the same for everything */
static int bad_kind(const struct option *o, int no, struct err *err)
{
	static const char *const expected[] = {[WHOLE] = "whole number expected",
		[REAL] = "number expected",
		[SWITCH] = "true or false expected"};

	if (strcmp(o->label, "gate") == 0)
		return err_set(err, EINVAL, "gate: %s", o->limits);
	return err_set(err, no, "%s: %s", o->label, expected[o->kind]);
}

static int check_range(const struct option *o, double x, struct err *err)
{
	if (x < o->min || x > o->max || (o->above && x <= o->min) || (o->below && x >= o->max) ||
		isnan(x))
		return err_set(err, ERANGE, "%s: %s", o->label, o->limits);
	return 0;
}

static void option_store(struct config *cf, const struct option *o, double x)
{
	char *at = (char *)cf + o->at;

	if (o->kind == WHOLE)
		memcpy(at, &(int){(int)x}, sizeof(int));
	else if (o->kind == REAL)
		memcpy(at, &x, sizeof(x));
	else
		memcpy(at, &(bool){x != 0}, sizeof(bool));
}

static int option_read(struct config *cf, const struct option *o, struct err *err)
{
	const cJSON *group = cf->json, *node;
	double x = o->fallback;
	int rc;

	if (o->group != NULL)
		group = cJSON_GetObjectItemCaseSensitive(cf->json, o->group);
	if (group != NULL && !cJSON_IsObject(group))
		return err_set(err, EUCLEAN, "%s: object expected", o->group);
	node = group == NULL ? NULL : cJSON_GetObjectItemCaseSensitive(group, o->name);
	if (node != NULL) {
		if (o->kind == SWITCH ? !cJSON_IsBool(node) : !cJSON_IsNumber(node))
			return bad_kind(o, EUCLEAN, err);
		x = o->kind == SWITCH ? (double)cJSON_IsTrue(node) : node->valuedouble;
		if (o->kind == WHOLE && isfinite(x) && x != floor(x))
			return bad_kind(o, EUCLEAN, err);
		rc = check_range(o, x, err);
		if (rc < 0)
			return rc;
	}
	option_store(cf, o, x);
	return 0;
}

static int text_read(
	const cJSON *json, const char *key, bool needed, const char **out, struct err *err)
{
	const cJSON *node = cJSON_GetObjectItemCaseSensitive(json, key);

	*out = NULL;
	if (cJSON_IsString(node))
		*out = node->valuestring;
	else if (needed || (node != NULL && !cJSON_IsNull(node)))
		return err_set(err, EUCLEAN, "%s: text expected", key);
	return 0;
}

/* G06; whether the base has such modules is for those who know the base */
static int targets_read(struct config *cf, struct err *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(cf->json, "target_modules"), *node;
	const char *seen[TARGETS_MAX];
	char quoted[ERR_QUOTE_BYTES + 8];
	size_t n = 0, len = 0;

	(void)snprintf(cf->targets, sizeof(cf->targets), "q_proj,k_proj,v_proj,o_proj");
	if (list == NULL)
		return 0;
	if (!cJSON_IsArray(list))
		return err_set(err, EUCLEAN, "target_modules: list of texts expected");
	cJSON_ArrayForEach(node, list)
	{
		const char *name = cJSON_IsString(node) ? node->valuestring : NULL;
		size_t bytes = name == NULL ? 0 : strlen(name);

		if (name == NULL)
			return err_set(err, EUCLEAN, "target_modules: list of texts expected");
		if (bytes == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
					       "Z0123456789_") != bytes)
			return err_set(err, EINVAL, "target_modules: \"%s\" is no module name",
				err_quote(quoted, name, bytes));
		for (size_t i = 0; i < n; i++)
			if (strcmp(seen[i], name) == 0)
				return err_set(err, EINVAL, "target_modules: \"%s\" twice",
					err_quote(quoted, name, bytes));
		if (n == TARGETS_MAX || len + bytes + 2 > sizeof(cf->targets))
			return err_set(
				err, EINVAL, "target_modules: at most %d short names", TARGETS_MAX);
		len += (size_t)snprintf(cf->targets + len, sizeof(cf->targets) - len, "%s%s",
			n > 0 ? "," : "", name);
		seen[n++] = name;
	}
	return n > 0 ? 0 : err_set(err, EINVAL, "target_modules: empty");
}

/* fill ${cf} from cf->json */
static int config_read(struct config *cf, struct err *err)
{
	const cJSON *node = cJSON_GetObjectItemCaseSensitive(cf->json, "generation");
	double generation = node == NULL ? 0 : cJSON_IsNumber(node) ? node->valuedouble : -1;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < OPTIONS; i++)
		rc = option_read(cf, &options[i], err);
	if (rc == 0)
		rc = text_read(cf->json, "artifact", true, &cf->artifact, err);
	if (rc == 0)
		rc = text_read(cf->json, "base_model", false, &cf->base_model, err);
	if (rc == 0)
		rc = text_read(cf->json, "artifact_path", false, &cf->artifact_path, err);
	if (rc == 0)
		rc = text_read(cf->json, "artifact_sha256", false, &cf->artifact_sha256, err);
	if (rc == 0)
		rc = text_read(cf->json, "base_path", false, &cf->base_path, err);
	if (rc == 0)
		rc = text_read(cf->json, "base_id", false, &cf->base_id, err);
	if (rc == 0)
		rc = targets_read(cf, err);
	if (rc < 0)
		return rc;
	if (cf->base_model == NULL)
		cf->base_model = "";
	if (!(generation >= 0 && generation <= 9007199254740991.0) ||
		generation != floor(generation))
		return err_set(err, EUCLEAN, "generation: whole number expected");
	cf->generation = (uint64_t)generation;
	return 0;
}

void config_release(struct config *cf)
{
	cJSON_Delete(cf->json);
	*cf = (struct config){0};
}

int config_parse(const char *text, size_t len, struct config *out, struct err *err)
{
	struct config cf = {0};
	int rc;

	rc = json_parse(text, len, &cf.json, err);
	if (rc < 0)
		return rc;
	if (!cJSON_IsObject(cf.json))
		rc = err_set(err, EBADMSG, "not a JSON object");
	else
		rc = config_read(&cf, err);
	if (rc < 0) {
		config_release(&cf);
		return rc;
	}
	*out = cf;
	return 0;
}

int config_check(const char *text, size_t len, struct config *out, struct err *err)
{
	int rc;

	if (len > CONFIG_BYTES)
		return err_set(err, EFBIG, "%s is larger than %d bytes", CONFIG_NAME, CONFIG_BYTES);
	rc = config_parse(text, len, out, err);
	if (rc == -EBADMSG || rc == -EMSGSIZE) {
		if (err != NULL)
			err->no = EUCLEAN;
		rc = -EUCLEAN;
		(void)err_prefix(err, "%s is damaged: ", CONFIG_NAME);
	}
	return rc;
}

/* set the option's member of ${json}; one that is there is changed in place, because cJSON's
 * replacing loses the name when memory is short */
static int option_put(cJSON *json, const struct option *o, double x)
{
	cJSON *group = json, *node;

	if (o->group != NULL) {
		group = cJSON_GetObjectItemCaseSensitive(json, o->group);
		if (group == NULL)
			group = cJSON_AddObjectToObject(json, o->group);
	}
	node = group == NULL ? NULL : cJSON_GetObjectItemCaseSensitive(group, o->name);
	if (o->kind == SWITCH && cJSON_IsBool(node))
		node->type = x != 0 ? cJSON_True : cJSON_False;
	else if (o->kind != SWITCH && cJSON_IsNumber(node))
		(void)cJSON_SetNumberHelper(node, x);
	else if (group == NULL || node != NULL) /* of another kind it was never loaded */
		return -ENOMEM;
	else if (o->kind == SWITCH)
		return cJSON_AddBoolToObject(group, o->name, x != 0) != NULL ? 0 : -ENOMEM;
	else
		return cJSON_AddNumberToObject(group, o->name, x) != NULL ? 0 : -ENOMEM;
	return 0;
}

/* the text of a value as somebody typed it */
static int option_type(const struct option *o, const char *value, double *out, struct err *err)
{
	int64_t whole;
	int rc;

	switch (o->kind) {
	case SWITCH:
		if (strcmp(value, "true") == 0 || strcmp(value, "on") == 0)
			*out = 1;
		else if (strcmp(value, "false") == 0 || strcmp(value, "off") == 0)
			*out = 0;
		else
			return bad_kind(o, EINVAL, err);
		return 0;
	case WHOLE:
		rc = range_whole(o->label, value, (int64_t)o->min, (int64_t)o->max, &whole, err);
		if (rc == 0)
			*out = (double)whole;
		return rc;
	case REAL:
		break;
	}
	rc = num_real(value, strlen(value), out);
	if (rc == -EINVAL)
		return bad_kind(o, EINVAL, err);
	if (rc == -EDOM)
		return err_set(err, EDOM, "%s: %s", o->label,
			strcmp(o->label, "gate") == 0 ? o->limits : "finite number expected");
	if (rc < 0)
		return err_set(err, ERANGE, "%s: %s", o->label, o->limits);
	return check_range(o, *out, err);
}

int config_number(const char *key, const char *value, double *out, struct err *err)
{
	const struct option *o = option_find(key);
	char quoted[ERR_QUOTE_BYTES + 8];
	double x = 0;
	int rc;

	if (o == NULL)
		return err_set(err, EINVAL,
			"unknown setting \"%s\" (rank, alpha, dropout, captures_on, gate.k_min, "
			"gate.require_improvement, "
			"watch.threshold_rows, watch.sample_size, watch.on)",
			err_quote(quoted, key, strlen(key)));
	rc = option_type(o, value, &x, err);
	if (rc == 0)
		*out = x;
	return rc;
}

int config_set(struct config *cf, const char *key, const char *value, struct err *err)
{
	const struct option *o = option_find(key);
	double x;
	int rc = config_number(key, value, &x, err);

	if (rc < 0)
		return rc;
	if (option_put(cf->json, o, x) < 0)
		return err_nomem(err);
	option_store(cf, o, x);
	return 0;
}

static bool put_text(cJSON *json, const char *key, const char *value)
{
	return value == NULL ? cJSON_AddNullToObject(json, key) != NULL
			     : cJSON_AddStringToObject(json, key, value) != NULL;
}

int config_new(const struct config_init *in, struct config *out, struct err *err)
{
	const char *slash = strrchr(in->artifact_path, '/');
	char now[TIME_TEXT_BYTES];
	struct config cf = {.json = cJSON_CreateObject()};
	bool ok = cf.json != NULL;
	int rc;

	ok = ok && put_text(cf.json, "artifact", slash != NULL ? slash + 1 : in->artifact_path);
	ok = ok && put_text(cf.json, "base_model", in->base_model);
	for (size_t i = 0; ok && i < OPTIONS; i++) {
		const struct option *o = &options[i];
		double x = o->fallback;

		if (o->at == offsetof(struct config, rank))
			x = in->rank;
		else if (o->at == offsetof(struct config, alpha))
			x = in->alpha;
		else if (o->at == offsetof(struct config, dropout))
			x = in->dropout;
		ok = option_put(cf.json, o, x) == 0;
	}
	ok = ok && put_text(cf.json, "created_at", time_text(time_now(), now));
	ok = ok && put_text(cf.json, "artifact_path", in->artifact_path);
	ok = ok && put_text(cf.json, "artifact_sha256", in->artifact_sha256);
	ok = ok && put_text(cf.json, "base_path", in->base_path);
	ok = ok && put_text(cf.json, "base_id", in->base_id);
	ok = ok && cJSON_AddNumberToObject(cf.json, "generation", 0) != NULL;
	rc = ok ? config_read(&cf, err) : err_nomem(err);
	if (rc < 0) {
		config_release(&cf);
		return rc;
	}
	*out = cf;
	return 0;
}
