/*
 * model - the base model, the adapters of a slug's revisions, and the answers to lib.lm.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "runner/runner.h"
#include "store/config.h"
#include "store/head.h"
#include "store/revision.h"

enum {
	CALL_MS = 30000,
	TOKENS_DEFAULT = 256,
	TOKENS_MAX = 4096,
	CHOICES_MAX = 1024,
	STOPS_MAX = 16
};

int64_t member_whole(struct json_slice object, const char *key, int64_t fallback)
{
	struct json_slice v;
	double x;

	if (!json_member(object, key, &v) || json_kind_of(v) != JSON_NUMBER)
		return fallback;
	x = json_double(v);
	return x >= -9e15 && x <= 9e15 ? (int64_t)x : fallback;
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
	struct tune tn;
	int rc;

	if (rn->base_path != NULL)
		return 0;
	rc = tune_open(&rn->st, rn->slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = config_load(&tn, &cf, err);
	tune_close(&tn);
	if (rc < 0)
		return rc;
	rn->base_path = strdup(cf.base_path != NULL ? cf.base_path : cf.base_model);
	config_release(&cf);
	return rn->base_path != NULL ? 0 : err_nomem(err);
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

static int model_ready(struct runner *rn, struct err *err)
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

/* ---- lib.lm ---- */

struct question {
	struct buf prompt, system;
	bool has_system;
	struct lm_generate opt;
	struct buf stop[STOPS_MAX];
	const char *stop_list[STOPS_MAX + 1];
};

static void question_release(struct question *q)
{
	buf_release(&q->prompt);
	buf_release(&q->system);
	for (int i = 0; i < STOPS_MAX; i++)
		buf_release(&q->stop[i]);
}

static int read_stops(struct question *q, struct json_slice stop, struct err *err)
{
	struct json_slice one;
	size_t n = 0;

	if (json_kind_of(stop) == JSON_STRING) {
		(void)json_string(stop, &q->stop[n++]);
	} else if (json_kind_of(stop) == JSON_ARRAY) {
		for (size_t pos = 0; json_next(stop, &pos, NULL, &one);) {
			if (n == STOPS_MAX || json_kind_of(one) != JSON_STRING)
				return err_set(
					err, EINVAL, "lib.lm: stop: at most %d texts", STOPS_MAX);
			(void)json_string(one, &q->stop[n++]);
		}
	}
	for (size_t i = 0; i < n; i++)
		q->stop_list[i] = buf_str(&q->stop[i]);
	q->opt.stop = n > 0 ? q->stop_list : NULL;
	return 0;
}

static int read_question(struct json_slice frame, struct question *q, struct err *err)
{
	struct json_slice v, options = {"{}", 2};

	if (!json_member(frame, "prompt", &v) || json_kind_of(v) != JSON_STRING ||
		json_string(v, &q->prompt) < 0)
		return err_set(err, EINVAL, "lib.lm: prompt: text expected");
	(void)json_member(frame, "options", &options);
	if (json_member(options, "system", &v) && json_kind_of(v) == JSON_STRING) {
		q->has_system = true;
		(void)json_string(v, &q->system);
	}
	int64_t max = member_whole(options, "max_tokens", TOKENS_DEFAULT);
	if (max < 1 || max > TOKENS_MAX)
		return err_set(err, ERANGE, "lib.lm: max_tokens: 1 to %d", TOKENS_MAX);
	q->opt.max_tokens = (int)max;
	q->opt.seed = (uint64_t)member_whole(options, "seed", 0);
	if (json_member(options, "temperature", &v) && json_kind_of(v) == JSON_NUMBER)
		q->opt.temperature = json_double(v);
	if (!(q->opt.temperature >= 0 && q->opt.temperature <= 100))
		return err_set(err, ERANGE, "lib.lm: temperature: 0 to 100");
	if (json_member(options, "stop", &v))
		return read_stops(q, v, err);
	return 0;
}

static int generate(struct runner *rn, struct question *q, struct buf *answer, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc;

	q->opt.system = q->has_system ? buf_str(&q->system) : NULL;
	q->opt.deadline_ms = clock_us() / 1000 + CALL_MS;
	rc = lm_generate(rn->lm, buf_str(&q->prompt), q->prompt.len, &q->opt, &text, err);
	if (rc >= 0) {
		(void)buf_puts(answer, "{\"text\":");
		(void)json_put_string(answer, buf_str(&text), text.len);
		(void)buf_putc(answer, '}');
		rc = 0;
	}
	buf_release(&text);
	return rc;
}

static int choose_among(struct runner *rn, struct question *q, const struct lm_choice *list,
	size_t n, struct buf *answer, struct err *err)
{
	double *scores = calloc(n, sizeof(*scores));
	size_t best = 0;
	int rc;

	if (scores == NULL)
		return err_nomem(err);
	rc = lm_choose(rn->lm, buf_str(&q->prompt), q->prompt.len,
		q->has_system ? buf_str(&q->system) : NULL, list, n, clock_us() / 1000 + CALL_MS,
		scores, &best, err);
	if (rc >= 0) {
		rc = 0;
		(void)buf_addf(answer, "{\"index\":%zu,\"scores\":[", best);
		for (size_t i = 0; i < n; i++) {
			if (i > 0)
				(void)buf_putc(answer, ',');
			(void)json_put_number(answer, scores[i]);
		}
		(void)buf_puts(answer, "]}");
	}
	free(scores);
	return rc;
}

static int choose(struct runner *rn, struct question *q, struct json_slice frame,
	struct buf *answer, struct err *err)
{
	struct json_slice choices, one;
	struct lm_choice *list;
	struct buf *text;
	size_t n = 0, i = 0;
	int rc = 0;

	if (!json_member(frame, "choices", &choices))
		return err_set(err, EINVAL, "lib.lm.choose: no choices");
	for (size_t pos = 0; json_next(choices, &pos, NULL, &one);)
		n++;
	if (n == 0 || n > CHOICES_MAX)
		return err_set(err, ERANGE, "lib.lm.choose: 1 to %d choices", CHOICES_MAX);
	list = calloc(n, sizeof(*list));
	text = calloc(n, sizeof(*text));
	if (list == NULL || text == NULL)
		rc = err_nomem(err);
	for (size_t pos = 0; rc == 0 && i < n && json_next(choices, &pos, NULL, &one); i++) {
		rc = json_kind_of(one) != JSON_STRING
			     ? err_set(err, EINVAL, "lib.lm.choose: texts expected")
			     : json_string(one, &text[i]);
		list[i] = (struct lm_choice){buf_str(&text[i]), text[i].len};
	}
	if (rc == 0)
		rc = choose_among(rn, q, list, n, answer, err);
	for (i = 0; text != NULL && i < n; i++)
		buf_release(&text[i]);
	free(text);
	free(list);
	return rc;
}

static int ask_model(
	void *arg, struct json_slice frame, bool is_choice, struct buf *answer, struct err *err)
{
	struct runner *rn = arg;
	struct question q = {0};
	int64_t from = clock_us();
	int rc;

	rn->lm_called = true;
	rc = read_question(frame, &q, err);
	if (rc == 0)
		rc = model_ready(rn, err);
	if (rc == 0)
		rc = is_choice ? choose(rn, &q, frame, answer, err) : generate(rn, &q, answer, err);
	question_release(&q);
	if (rc < 0 && rn->lm_err.no == 0)
		rn->lm_err = *err;
	rn->lm_us += clock_us() - from;
	return rc;
}

struct host model_host(struct runner *rn)
{
	return (struct host){.arg = rn, .lm = rn->slug != NULL ? ask_model : NULL};
}

void model_close(struct runner *rn)
{
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
	bool merged = json_member(request, "merged", &v) && v.len == 4;

	if (base < 3 || adapter < 3 || out < 3)
		return err_set(err, EINVAL, "export: base, adapter and out are descriptors");
	rc = lm_open(base, &opt, &rn->lm, err);
	if (rc == 0)
		rc = lm_export(rn->lm, adapter, merged ? LM_EXPORT_MERGED : LM_EXPORT_ADAPTER, out,
			err);
	return rc;
}
