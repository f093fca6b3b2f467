#include "trainer/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"

enum { THREADS_MAX = 256, CONFIG_MAX = 1024 * 1024 };

static bool whole(const char *what, const char *text, int64_t min, int64_t max, int64_t *out)
{
	if (num_whole(text, strlen(text), min, max, out) == 0)
		return true;
	fprintf(stderr, "kolm-trainer: %s: whole number from %lld to %lld expected, not '%s'\n",
		what, (long long)min, (long long)max, text);
	return false;
}

static bool real_number(const char *what, const char *text, double max, double *out)
{
	if (num_real(text, strlen(text), out) == 0 && *out > 0 && *out <= max)
		return true;
	fprintf(stderr, "kolm-trainer: %s: number above 0, at most %g, expected, not '%s'\n", what,
		max, text);
	return false;
}

static bool revision(const char *text)
{
	size_t n = strlen(text);

	return n >= 2 && n <= 12 && text[0] == 'v' && strspn(text + 1, "0123456789") == n - 1;
}

static bool is_set(const char *name)
{
	const char *v = getenv(name);

	return v && strcmp(v, "1") == 0;
}

static bool from_environment(struct worker_request *rq)
{
	const char *v;
	int64_t n;
	cpu_set_t cpus;

	rq->rows = getenv("KOLM_ROWS");
	rq->targets = getenv("KOLM_TARGETS");
	rq->kernel = getenv("KOLM_KERNEL");
	rq->resume = is_set("KOLM_RESUME");
	rq->airgap = rq->airgap || is_set("KOLM_AIRGAP");
	if ((v = getenv("KOLM_SEED"))) {
		if (!whole("KOLM_SEED", v, 0, INT64_MAX, &n))
			return false;
		rq->seed = (uint64_t)n;
	}
	if ((v = getenv("KOLM_MEM"))) {
		if (!whole("KOLM_MEM", v, 1, INT64_MAX, &n))
			return false;
		rq->mem = (uint64_t)n;
	}
	if ((v = getenv("KOLM_CHECKPOINT_SEC"))) {
		if (!whole("KOLM_CHECKPOINT_SEC", v, 0, 3600, &n))
			return false;
		rq->checkpoint_sec = (double)n;
	}
	rq->threads = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	if ((v = getenv("KOLM_THREADS")) && *v && strcmp(v, "0") != 0) {
		if (!whole("KOLM_THREADS", v, 1, THREADS_MAX, &n))
			return false;
		rq->threads = (int)n;
	}
	return true;
}

/* what must be there, whatever else was said */
static bool complete(const struct worker_request *rq, bool has_more)
{
	if (has_more || !rq->tune_dir || !rq->out_dir) {
		fprintf(stderr, "usage: kolm-trainer --tune-dir DIR --captures FILE --out-dir DIR "
				"--prev vM "
				"--epochs E --batch-size B --lr LR [--airgap] [--max-seq-len N]\n");
		return false;
	}
	if (revision(rq->prev))
		return true;
	fprintf(stderr, "kolm-trainer: --prev: a revision such as v3 expected\n");
	return false;
}

int worker_flags(int argc, char **argv, struct worker_request *rq)
{
	enum { TUNE_DIR, CAPTURES, OUT_DIR, PREV, EPOCHS, BATCH, LR, MAX_LEN, AIRGAP };
	static const struct option options[] = {
		{"tune-dir", required_argument, NULL, TUNE_DIR},
		{"captures", required_argument, NULL, CAPTURES},
		{"out-dir", required_argument, NULL, OUT_DIR},
		{"prev", required_argument, NULL, PREV},
		{"epochs", required_argument, NULL, EPOCHS},
		{"batch-size", required_argument, NULL, BATCH},
		{"lr", required_argument, NULL, LR},
		{"max-seq-len", required_argument, NULL, MAX_LEN},
		{"airgap", no_argument, NULL, AIRGAP},
		{0},
	};
	int64_t epochs = 3, batch = 4, max_len = 1024;
	bool good = true;
	int c;

	*rq = (struct worker_request){.prev = "v0", .lr = 1e-3, .seed = 42, .checkpoint_sec = 10};
	optind = 1;
	while (good && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case TUNE_DIR:
			rq->tune_dir = optarg;
			break;
		case CAPTURES:
			rq->captures = optarg;
			break;
		case OUT_DIR:
			rq->out_dir = optarg;
			break;
		case PREV:
			rq->prev = optarg;
			break;
		case EPOCHS:
			good = whole("--epochs", optarg, 1, 1000, &epochs);
			break;
		case BATCH:
			good = whole("--batch-size", optarg, 1, 4096, &batch);
			break;
		case LR:
			good = real_number("--lr", optarg, 1, &rq->lr);
			break;
		case MAX_LEN:
			good = whole("--max-seq-len", optarg, 2, 1 << 20, &max_len);
			break;
		case AIRGAP:
			rq->airgap = true;
			break;
		default:
			good = false;
		}
	}
	good = good && complete(rq, optind != argc);
	rq->epochs = (int)epochs;
	rq->batch = (int)batch;
	rq->max_tokens = (int)max_len;
	return good && from_environment(rq) ? 0 : -EINVAL;
}

/* ["q_proj","k_proj"] as "q_proj,k_proj"; NULL when the key is absent */
static int targets_text(const cJSON *config, char **out, struct err *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "target_modules"), *item;
	struct buf text = BUF_INIT;

	if (!list || cJSON_IsNull(list))
		return 0;
	if (!cJSON_IsArray(list))
		return err_set(err, EUCLEAN, "target_modules: list of names expected");
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item)) {
			buf_release(&text);
			return err_set(err, EUCLEAN, "target_modules: list of names expected");
		}
		buf_puts(&text, text.len ? "," : "");
		buf_puts(&text, item->valuestring);
	}
	*out = buf_detach(&text);
	return *out ? 0 : err_nomem(err);
}

static int config_values(struct worker_request *rq, const cJSON *config, struct err *err)
{
	const char *base = json_get_string(config, "base_model"),
		   *path = json_get_string(config, "base_path");
	double rank = json_get_number(config, "rank", 8);

	if (!base || !*base)
		return err_set(err, EUCLEAN, "base_model: non-empty text expected");
	rq->alpha = json_get_number(config, "alpha", 16);
	rq->dropout = json_get_number(config, "dropout", 0);
	if (!(rank >= 1 && rank <= 1024 && floor(rank) == rank))
		return err_set(err, EUCLEAN, "rank: whole number from 1 to 1024 expected");
	if (!(fabs(rq->alpha) <= 1e6) || !(rq->dropout >= 0 && rq->dropout < 1))
		return err_set(err, EUCLEAN, "alpha is a number, dropout is from 0 to below 1");
	rq->rank = (int)rank;
	rq->base_model = strdup(base);
	if (path && *path)
		base = path;
	if (strstr(base, "://"))
		return err_set(err, EINVAL,
			"base model '%s' is an address; a file or folder is needed", base);
	const char *home = getenv("HOME");
	struct buf full = BUF_INIT;

	buf_addf(&full, "%s%s", strncmp(base, "~/", 2) == 0 && home ? home : "",
		strncmp(base, "~/", 2) == 0 && home ? base + 1 : base);
	rq->base_path = buf_detach(&full);
	if (!rq->base_model || !rq->base_path)
		return err_nomem(err);
	return targets_text(config, &rq->config_targets, err);
}

int worker_config(struct worker_request *rq, struct err *err)
{
	struct buf text = BUF_INIT;
	cJSON *config = NULL;
	int rc, dir = open(rq->tune_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(err, "cannot open '%s'", rq->tune_dir);
	rc = read_file(dir, "tune-config.json", CONFIG_MAX, &text, err);
	close(dir);
	if (rc == 0)
		rc = json_parse(text.data, text.len, &config, err);
	if (rc < 0)
		err_prefix(err, "tune-config.json: ");
	else
		rc = config_values(rq, config, err);
	cJSON_Delete(config);
	buf_release(&text);
	return rc;
}

void worker_release(struct worker_request *rq)
{
	free(rq->base_model);
	free(rq->base_path);
	free(rq->config_targets);
}
