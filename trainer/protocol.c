#include "trainer/protocol.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"

/* a whole line in one write, so that lines of a log never mix */
static int say(struct buf *line)
{
	int rc;

	buf_puts(line, "}\n");
	rc = line->failed ? -1 : write_all(STDOUT_FILENO, line->data, line->len, NULL);
	buf_release(line);
	return rc;
}

static void put_text(struct buf *line, const char *key, const char *value)
{
	buf_addf(line, ",\"%s\":", key);
	json_put_text(line, value);
}

static void put_number(struct buf *line, const char *key, double value, int digits)
{
	buf_addf(line, ",\"%s\":", key);
	json_put_number(line, isfinite(value) ? num_round(value, digits) : NAN);
}

int protocol_plan(uint64_t params, int64_t tokens, int steps, uint64_t bytes)
{
	struct buf line = BUF_INIT;

	buf_addf(&line,
		"{\"event\":\"plan\",\"params\":%llu,\"tokens\":%lld,\"steps\":%d,\"mem\":%llu",
		(unsigned long long)params, (long long)tokens, steps, (unsigned long long)bytes);
	return say(&line);
}

int protocol_progress(const struct protocol_progress *pr)
{
	struct buf line = BUF_INIT;

	buf_addf(&line, "{\"event\":\"progress\",\"step\":%d,\"of\":%d,\"epoch\":%d", pr->step,
		pr->of, pr->epoch);
	put_number(&line, "loss", pr->loss, 4);
	put_number(&line, "heldout", pr->heldout, 4);
	put_number(&line, "tokens_per_sec", pr->tokens_per_sec, 1);
	put_number(&line, "left_sec", pr->left_sec, 0);
	return say(&line);
}

int protocol_result(const struct protocol_result *rs)
{
	struct buf line = BUF_INIT;

	struct rusage used = {0};

	(void)getrusage(RUSAGE_SELF, &used);
	buf_puts(&line, "{\"ok\":true");
	put_text(&line, "revision_dir", rs->revision_dir);
	buf_addf(&line,
		",\"captures_trained_on\":%d,\"epochs\":%d,\"trainable_params\":%llu,\"total_"
		"params\":%llu",
		rs->rows, rs->epochs, (unsigned long long)rs->trainable,
		(unsigned long long)rs->total);
	put_number(&line, "elapsed_sec", rs->elapsed_sec, 2);
	buf_addf(&line, ",\"airgap\":%s,\"trl\":false", rs->airgap ? "true" : "false");
	put_text(&line, "base_model", rs->base_model);
	put_text(&line, "template", rs->template);
	put_text(&line, "kernel", rs->kernel);
	put_text(&line, "engine", rs->engine);
	put_text(&line, "schedule", "linear decay after 5% warm-up");
	buf_addf(&line,
		",\"best_epoch\":%d,\"tokens\":%lld,\"types\":%s,\"skipped\":%d,\"apart\":%d,"
		"\"heldout_rows\":%"
		"d",
		rs->best_epoch, (long long)rs->tokens, rs->types, rs->skipped, rs->apart,
		rs->held_rows);
	buf_addf(&line, ",\"peak_bytes\":%lld", (long long)used.ru_maxrss * 1024);
	put_number(&line, "forgetting_kl", rs->forgetting_kl, 6);
	buf_addf(&line, ",\"epochs_trained\":%d", rs->epochs_trained);
	if (rs->early_stop)
		put_text(&line, "early_stop", rs->early_stop);
	else
		buf_puts(&line, ",\"early_stop\":null");
	return say(&line);
}

int protocol_failure(const struct err *err)
{
	struct buf line = BUF_INIT;

	buf_puts(&line, "{\"ok\":false");
	put_text(&line, "error", err->text);
	return say(&line);
}
