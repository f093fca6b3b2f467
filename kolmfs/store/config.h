/*
 * config - tune-config.json (FORMATS section 4): read, checked, changed and written whole. Unknown
 * keys are kept.
 */
#ifndef KOLM_CONFIG_H
#define KOLM_CONFIG_H

#include <cjson/cJSON.h>

#include "store/store.h"

/* the file, and the one before it */
#define CONFIG_NAME "tune-config.json"
#define CONFIG_PREV "tune-config.json.prev"
enum { CONFIG_BYTES = 1024 * 1024 };

struct config {
	cJSON *json; /* the whole file, owned */
	/* borrowed from json, or defaults */
	const char *artifact;	     /* file name */
	const char *artifact_path;   /* absolute; NULL in a store of the reference */
	const char *artifact_sha256; /* NULL there too */
	const char *base_model;	     /* as given */
	const char *base_path;	     /* absolute; NULL: base_model */
	const char *base_id;	     /* stat identity at init, "dev:ino:size:mtime" */
	int rank;
	double alpha;
	double dropout;
	char targets[160]; /* "q_proj,k_proj,v_proj,o_proj" */
	bool captures_on;
	double k_min;
	bool require_improvement;
	int threshold_rows;
	int sample_size;
	bool watch_on; /* watch.on, ours */
	uint64_t generation;
};

/* config_load(tn, out, err): G01-G04: -EUCLEAN "tune-config.json is damaged: ... last good copy
 * from ..." (kept as tune-config.json.prev), -ERANGE. */
int config_load(const struct tune *tn, struct config *out, struct err *err);

/* config_of(st, slug, out, err): the same of a slug that is not open; errors of tune_open() too. */
int config_of(const struct store *st, const char *slug, struct config *out, struct err *err);
void config_release(struct config *cf);

/* config_save(tn, cf, err): generation + 1, replace, the old file kept as .prev. -ESTALE when the
 * file on disk has another generation than ${cf} (G05). Under tune_lock. */
int config_save(const struct tune *tn, struct config *cf, struct err *err);

/* config_set(cf, key, value, err): `set KEY VALUE`: gate.k_min, gate.require_improvement,
 * watch.threshold_rows, watch.sample_size, rank, alpha, dropout, captures_on: -EINVAL unknown key
 * or kind, -ERANGE/-EDOM outside limits (E09, G03, A25). Changes ${cf} only. */
int config_set(struct config *cf, const char *key, const char *value, struct err *err);

/* config_number(key, value, out, err): judge one value as config_set() would (rank, alpha, dropout
 * of init too), and change nothing. */
int config_number(const char *key, const char *value, double *out, struct err *err);

/* config_check(text, len, out, err): a whole new text, as config_load() would judge it. */
int config_check(const char *text, size_t len, struct config *out, struct err *err);

/* config_new(...): the object init writes. */
struct config_init {
	const char *artifact_path; /* absolute */
	const char *artifact_sha256;
	const char *base_model; /* as given */
	const char *base_path;	/* absolute */
	const char *base_id;
	int rank;
	double alpha;
	double dropout;
};
int config_new(const struct config_init *in, struct config *out, struct err *err);

/* ranges, one place for ctl, CLI and file: -EINVAL/-ERANGE/-EDOM with the sentences of A21-A25, G03
 * ("rank: 1 to 512") */
int range_whole(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
	struct err *err);
/* "lr: finite number expected", "lr: above 0 and below 1" */
int range_real(const char *what, const char *text, double above, double below, double *out,
	struct err *err);

#endif
