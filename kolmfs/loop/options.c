/*
 * options - key=value of the verbs, read in one place for ctl and the command line.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "kolm.h"
#include "rag/kolmrag.h"

struct option {
	const char *key;
	int (*set)(void *o, const char *key, const char *value, struct err *err);
};

static size_t edit_distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);

	if (n >= sizeof(row) / sizeof(row[0]) || strlen(a) > 64)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t cost = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j - 1] + 1 < cost)
				cost = row[j - 1] + 1;
			row[j] = row[j] + 1 < cost ? row[j] + 1 : cost;
		}
	}
	return row[n];
}

static int set_option(const struct option *table, size_t n, void *o, const char *key,
	const char *value, unsigned *seen, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *near = NULL;
	size_t best = 3;

	for (size_t i = 0; i < n; i++) {
		size_t d = edit_distance(key, table[i].key);

		if (d == 0) {
			if (*seen & 1u << i)
				return err_set(err, EINVAL, "%s given twice", key);
			*seen |= 1u << i;
			return table[i].set(o, key, value, err);
		}
		if (d < best) {
			best = d;
			near = table[i].key;
		}
	}
	err_quote(quoted, key, strlen(key));
	if (near != NULL)
		return err_set(
			err, EINVAL, "unknown option \"%s\"; did you mean \"%s\"", quoted, near);
	struct buf list = BUF_INIT;
	for (size_t i = 0; i < n; i++)
		(void)buf_addf(&list, "%s%s", i > 0 ? " " : "", table[i].key);
	(void)err_set(err, EINVAL, "unknown option \"%s\"; known: %s", quoted, buf_str(&list));
	buf_release(&list);
	return -EINVAL;
}

static int copy_text(char *out, size_t cap, const char *key, const char *value, struct err *err)
{
	if (strlen(value) >= cap)
		return err_set(err, ENAMETOOLONG, "%s: longer than %zu bytes", key, cap - 1);
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

/* ---- init ---- */

static int set_base(void *o, const char *key, const char *value, struct err *err)
{
	struct init_options *io = o;

	return copy_text(io->base, sizeof(io->base), key, value, err);
}

static int set_slug(void *o, const char *key, const char *value, struct err *err)
{
	struct init_options *io = o;
	int rc = slug_check(value, strlen(value), err);

	return rc < 0 ? rc : copy_text(io->slug, sizeof(io->slug), key, value, err);
}

static int set_rank(void *o, const char *key, const char *value, struct err *err)
{
	double x;
	int rc = config_number(key, value, &x, err);

	if (rc == 0)
		((struct init_options *)o)->rank = (int)x;
	return rc;
}

static int set_alpha(void *o, const char *key, const char *value, struct err *err)
{
	return config_number(key, value, &((struct init_options *)o)->alpha, err);
}

static int set_dropout(void *o, const char *key, const char *value, struct err *err)
{
	return config_number(key, value, &((struct init_options *)o)->dropout, err);
}

static const struct option init_table[] = {
	{"base", set_base},
	{"slug", set_slug},
	{"rank", set_rank},
	{"alpha", set_alpha},
	{"dropout", set_dropout},
};

void init_options_default(struct init_options *o)
{
	*o = (struct init_options){.rank = 8, .alpha = 16, .dropout = 0};
}

int init_option(
	struct init_options *o, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return set_option(
		init_table, sizeof(init_table) / sizeof(init_table[0]), o, key, value, seen, err);
}

/* ---- step ---- */

static int set_epochs(void *o, const char *key, const char *value, struct err *err)
{
	int64_t n;
	int rc = range_whole(key, value, 1, 1000, &n, err);

	if (rc == 0)
		((struct step_options *)o)->epochs = (int)n;
	return rc;
}

static int set_batch(void *o, const char *key, const char *value, struct err *err)
{
	int64_t n;
	int rc = range_whole(key, value, 1, 1024, &n, err);

	if (rc == 0)
		((struct step_options *)o)->batch = (int)n;
	return rc;
}

static int set_lr(void *o, const char *key, const char *value, struct err *err)
{
	return range_real(key, value, 0, 1, &((struct step_options *)o)->lr, err);
}

static int set_seed(void *o, const char *key, const char *value, struct err *err)
{
	/* train.json and the requests to a runner carry it as a number of JSON, and a replay reads
	 * it there: none that a double cannot hold */
	return range_whole(
		key, value, 0, INT64_C(9007199254740991), &((struct step_options *)o)->seed, err);
}

/* bytes, ${least} of them, or a number with M or G behind it (MiB, GiB) */
static int get_mem(
	const char *key, const char *value, int64_t least, uint64_t *out, struct err *err)
{
	size_t n = strlen(value);
	int64_t unit = 1, x;
	char digits[32];
	int rc;

	if (n > 0 && n < sizeof(digits)) {
		char last = (char)toupper((unsigned char)value[n - 1]);

		unit = last == 'G' ? 1 << 30 : last == 'M' ? 1 << 20 : 1;
		if (unit > 1)
			n--;
	}
	if (n >= sizeof(digits))
		return err_set(err, EINVAL, "%s: a number of bytes, or with M or G, expected", key);
	memcpy(digits, value, n);
	digits[n] = '\0';
	rc = range_whole(key, digits, unit > 1 ? 1 : least, INT64_MAX / unit, &x, err);
	if (rc == 0)
		*out = (uint64_t)(x * unit);
	return rc;
}

static int set_mem(void *o, const char *key, const char *value, struct err *err)
{
	return get_mem(key, value, 64 << 20, &((struct step_options *)o)->mem, err);
}

static int set_airgap(void *o, const char *key, const char *value, struct err *err)
{
	bool on = strcmp(value, "on") == 0 || strcmp(value, "1") == 0;

	if (!on && strcmp(value, "off") != 0 && strcmp(value, "0") != 0)
		return err_set(err, EINVAL, "%s: on or off expected", key);
	((struct step_options *)o)->airgap = on;
	return 0;
}

static int set_rows(void *o, const char *key, const char *value, struct err *err)
{
	bool all = strcmp(value, "all") == 0;

	if (!all && strcmp(value, "teach") != 0)
		return err_set(err, EINVAL, "%s: teach or all expected", key);
	((struct step_options *)o)->all = all;
	return 0;
}

static int set_from(void *o, const char *key, const char *value, struct err *err)
{
	struct step_options *so = o;
	int rc = rev_check(value, strlen(value), err);

	return rc < 0 ? rc : copy_text(so->from, sizeof(so->from), key, value, err);
}

static const struct option step_table[] = {
	{"epochs", set_epochs},
	{"lr", set_lr},
	{"batch", set_batch},
	{"seed", set_seed},
	{"mem", set_mem},
	{"airgap", set_airgap},
	{"rows", set_rows},
	{"from", set_from},
};

/* DESIGN section 4, defaults of the native trainer */
void step_options_default(struct step_options *o)
{
	*o = (struct step_options){.epochs = 3, .batch = 4, .lr = 1e-3, .seed = 42, .airgap = true};
}

int step_option(
	struct step_options *o, const char *key, const char *value, unsigned *seen, struct err *err)
{
	size_t n = strlen(o->given);
	int rc = set_option(
		step_table, sizeof(step_table) / sizeof(step_table[0]), o, key, value, seen, err);

	if (rc == 0)
		(void)snprintf(o->given + n, sizeof(o->given) - n, " %s=%s", key, value);
	return rc;
}

/* ---- eval ---- */

static int set_timeout(void *o, const char *key, const char *value, struct err *err)
{
	return range_whole(key, value, 1, LM_CALL_S_MAX, o, err);
}

static const struct option eval_table[] = {
	{"timeout", set_timeout},
};

int eval_option(
	int64_t *timeout_s, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return set_option(eval_table, sizeof(eval_table) / sizeof(eval_table[0]), timeout_s, key,
		value, seen, err);
}

/* ---- index ---- */

static int set_name(void *o, const char *key, const char *value, struct err *err)
{
	struct index_options *io = o;

	/* J01; left out, the folder's own name is taken */
	int rc = rag_name_check(value, strlen(value), err);

	return rc < 0 ? rc : copy_text(io->name, sizeof(io->name), key, value, err);
}

static int set_ext(void *o, const char *key, const char *value, struct err *err)
{
	struct index_options *io = o;

	return copy_text(io->ext, sizeof(io->ext), key, value, err);
}

static int set_max_bytes(void *o, const char *key, const char *value, struct err *err)
{
	int64_t n;
	int rc = range_whole(key, value, 1, (int64_t)1 << 40, &n, err);

	if (rc == 0)
		((struct index_options *)o)->max_bytes = (uint64_t)n;
	return rc;
}

static int set_index_mem(void *o, const char *key, const char *value, struct err *err)
{
	return get_mem(key, value, RAG_MEM_MIN, &((struct index_options *)o)->mem, err);
}

static int set_mode(void *o, const char *key, const char *value, struct err *err)
{
	struct index_options *io = o;

	return copy_text(io->mode, sizeof(io->mode), key, value, err);
}

static int set_lang(void *o, const char *key, const char *value, struct err *err)
{
	struct index_options *io = o;

	return copy_text(io->lang, sizeof(io->lang), key, value, err);
}

static int set_shard(void *o, const char *key, const char *value, struct err *err)
{
	struct index_options *io = o;
	unsigned shard, shards;
	int rc = rag_shard_parse(value, &shard, &shards, err);

	return rc < 0 ? rc : copy_text(io->shard, sizeof(io->shard), key, value, err);
}

static const struct option index_table[] = {
	{"name", set_name},
	{"ext", set_ext},
	{"maxbytes", set_max_bytes},
	{"mem", set_index_mem},
	{"mode", set_mode},
	{"lang", set_lang},
	{"shard", set_shard},
};

void index_options_default(struct index_options *o)
{
	*o = (struct index_options){.ext = "-"};
}

void index_options_again(struct index_options *o, const struct rag_info *info)
{
	index_options_default(o);
	(void)snprintf(o->name, sizeof(o->name), "%s", info->name);
	(void)snprintf(o->mode, sizeof(o->mode), "%s", info->mode);
	(void)snprintf(o->lang, sizeof(o->lang), "%s", info->lang != NULL ? info->lang : "");
	if (info->ext != NULL && strlen(info->ext) < sizeof(o->ext))
		(void)snprintf(o->ext, sizeof(o->ext), "%s", info->ext);
	o->max_bytes = info->max_bytes;
}

int index_option(struct index_options *o, const char *key, const char *value, unsigned *seen,
	struct err *err)
{
	return set_option(index_table, sizeof(index_table) / sizeof(index_table[0]), o, key, value,
		seen, err);
}
