/*
 * link - the runner's pipes: frames to and from the cell, and the line to the spawner that owns the
 * cell's life (PROTOCOLS section 3).
 *
 * The spawner keeps both ends of the cell's pipes, so a dead cell is a silent one: the wall clock
 * notices. It runs while the recipe does and stands still while the model works.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "runner/egress.h"
#include "runner/runner.h"
#include "spawner.h"

enum {
	RECIPE_WALL_US = 1500000,
	LOAD_WALL_US = 5000000,
	/* one that is gone is seen at once; a canary is some forty cells, one after the other */
	SPAWNER_WAIT_MS = 120000,
	SPAWNER_LINE_BYTES = 2048
};

int64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* one line of the spawner, without its line feed */
static int spawner_line(const char *word, char out[SPAWNER_LINE_BYTES], struct err *err)
{
	size_t n = 0;
	int rc;

	rc = write_all(RUNNER_SPAWN_OUT, word, strlen(word), err);
	if (rc < 0)
		return rc;
	for (;;) {
		struct pollfd pf = {.fd = RUNNER_SPAWN_IN, .events = POLLIN};
		ssize_t got;

		rc = poll(&pf, 1, SPAWNER_WAIT_MS);
		if (rc < 0 && errno == EINTR)
			continue;
		got = rc > 0 ? read(RUNNER_SPAWN_IN, out + n, 1) : 0;
		if (got <= 0 || n == SPAWNER_LINE_BYTES - 2)
			return err_set(err, EIO, "the spawner does not answer");
		if (out[n] == '\n')
			break;
		n++;
	}
	out[n] = '\0';
	return 0;
}

/* what poll() waits for; with nothing left it only looks */
static int wait_ms(int64_t left)
{
	return left > 0 ? (int)(left / 1000) + 1 : 0;
}

/* A cell that takes nothing must not hold us: a pipe that poll() calls writable has room for
 * PIPE_BUF bytes. -ETIMEDOUT and -EIO without a sentence. */
static int write_timed(const void *data, size_t len, int64_t *left)
{
	const char *p = data;

	while (len > 0) {
		struct pollfd pf = {.fd = RUNNER_CELL_OUT, .events = POLLOUT};
		int64_t from = clock_us();
		int rc = poll(&pf, 1, wait_ms(*left));
		ssize_t n;

		*left -= clock_us() - from;
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc == 0)
			return -ETIMEDOUT;
		n = rc > 0 ? write(RUNNER_CELL_OUT, p, len < PIPE_BUF ? len : PIPE_BUF) : -1;
		if (n <= 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* before *left microseconds are used up; a failure has no sentence yet: silent() */
static int frame_write(const struct buf *frame, int64_t *left)
{
	unsigned char head[4];
	int rc;

	if (frame->len > CELL_FRAME_BYTES)
		return -EMSGSIZE;
	for (int i = 0; i < 4; i++)
		head[i] = (unsigned char)(frame->len >> 8 * i);
	rc = write_timed(head, 4, left);
	return rc < 0 ? rc : write_timed(frame->data, frame->len, left);
}

/* exactly len bytes before *left microseconds are used up; -ETIMEDOUT without a sentence */
static int read_timed(void *data, size_t len, int64_t *left)
{
	char *p = data;

	while (len > 0) {
		struct pollfd pf = {.fd = RUNNER_CELL_IN, .events = POLLIN};
		int64_t from = clock_us();
		int rc = poll(&pf, 1, wait_ms(*left));
		ssize_t n;

		*left -= clock_us() - from;
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc == 0 || (rc > 0 && *left <= 0 && !(pf.revents & POLLIN)))
			return -ETIMEDOUT;
		n = rc > 0 ? read(RUNNER_CELL_IN, p, len) : -1;
		if (n <= 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int frame_read(struct buf *frame, int64_t *left)
{
	unsigned char head[4];
	size_t len;
	int rc = read_timed(head, 4, left);

	if (rc < 0)
		return rc;
	len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
	      (size_t)head[3] << 24;
	if (len == 0 || len > CELL_FRAME_BYTES)
		return -EPROTO;
	buf_reset(frame);
	if (buf_reserve(frame, len) < 0)
		return -ENOMEM;
	rc = read_timed(frame->data, len, left);
	if (rc < 0)
		return rc;
	frame->len = len;
	frame->data[len] = '\0';
	return json_check(frame->data, frame->len, NULL) < 0 ? -EPROTO : 0;
}

int cell_walls(struct buf *report, struct err *err)
{
	char line[SPAWNER_LINE_BYTES];
	int rc = spawner_line("walls\n", line, err);

	if (rc < 0)
		return rc;
	if (line[0] != '{' || json_check(line, strlen(line), NULL) < 0)
		return err_set(err, EOPNOTSUPP, "%.160s", line);
	return buf_puts(report, line) < 0 ? err_nomem(err) : 0;
}

/* how the old cell ended, by the spawner's word */
struct ending {
	bool signalled;
	int status;
	char egress[64];
};

/* what no outcome has told yet: a frame that looks well does not undo an attempt */
static void note_egress(struct runner *rn, const char *api)
{
	if (rn->egress.len > 0)
		(void)buf_putc(&rn->egress, ',');
	(void)json_put_text(&rn->egress, api);
}

static int egress_error(const char *api, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	(void)err_set(err, EPERM, "egress attempt: %s", err_quote(quoted, api, strlen(api)));
	return err_code(err, "KOLM_E_EGRESS");
}

static int renew(struct runner *rn, const char *word, struct ending *end, struct err *err)
{
	char line[SPAWNER_LINE_BYTES];
	int rc;

	rn->loaded = false;
	rc = spawner_line(word, line, err);
	if (rc < 0)
		return rc;
	*end = (struct ending){.signalled = strstr(line, "signal=") != NULL};
	if (sscanf(line, "ended %*[a-z]=%d egress=%63s", &end->status, end->egress) != 2)
		return err_set(err, EOPNOTSUPP, "%.160s", line);
	if (strcmp(end->egress, "-") == 0)
		end->egress[0] = '\0';
	else
		note_egress(rn, end->egress);
	return 0;
}

int cell_renew(struct runner *rn, struct err *err)
{
	struct ending end;
	int rc = renew(rn, "new\n", &end, err);

	if (rc == 0 && end.egress[0] != '\0')
		rc = egress_error(end.egress, err);
	else if (rc == 0 && !(end.signalled ? end.status == 9 : end.status == 0))
		rc = err_set(err, EIO, "recipe cell died (%s %d)",
			end.signalled ? "signal" : "exit", end.status);
	return rc;
}

int cell_last(struct runner *rn, struct err *err)
{
	struct buf frame = BUF_INIT;
	int64_t left = RECIPE_WALL_US;
	struct ending end;
	int rc;

	if (buf_puts(&frame, "{\"op\":\"end\"}") < 0)
		return err_nomem(err);
	(void)frame_write(&frame, &left); /* one that is gone already is told of next */
	buf_release(&frame);
	rc = renew(rn, "last\n", &end, err);
	if (rc == 0 && end.egress[0] != '\0')
		rc = egress_error(end.egress, err);
	else if (rc == 0 && (end.signalled || end.status != 0))
		rc = err_set(err, EIO, "recipe cell did not end by itself (%s %d)",
			end.signalled ? "signal" : "exit", end.status);
	return rc;
}

/* the cell said nothing (any more), or cannot be heard to the end: end it and find out why */
static int silent(struct runner *rn, int why, struct err *err)
{
	struct ending end;
	int rc = renew(rn, "new\n", &end, err);

	if (rc < 0)
		return rc;
	if (end.egress[0] != '\0')
		return egress_error(end.egress, err);
	if (why == -ETIMEDOUT && end.signalled && end.status == 9) {
		(void)err_set(err, ETIMEDOUT, "recipe stopped after 1000 ms");
		return err_code(err, "KOLM_E_RECIPE_TIMEOUT");
	}
	if (!end.signalled && end.status == CELL_CPU) {
		(void)err_set(err, ETIMEDOUT, "recipe stopped after 1000 ms");
		return err_code(err, "KOLM_E_RECIPE_TIMEOUT");
	}
	if (why == -ENOMEM)
		return err_nomem(err);
	if (why == -EPROTO)
		return err_set(err, EIO, "recipe cell answered no frame");
	return err_set(err, EIO, "recipe cell died (%s %d)", end.signalled ? "signal" : "exit",
		end.status);
}

static bool op_is(struct json_slice frame, const char *op)
{
	struct json_slice v;

	return json_member(frame, "op", &v) && v.len == strlen(op) + 2 &&
	       memcmp(v.text + 1, op, v.len - 2) == 0;
}

/* lib.rag.query; what an index that turns out to be damaged cannot answer, its spare does */
static int look_up(
	struct runner *rn, const struct buf *text, int64_t k, struct buf *out, struct err *err)
{
	const size_t hits = k < 0 ? 0 : k > RAG_K_MAX ? RAG_K_MAX : (size_t)k;
	struct rag_index *spare;
	int rc = rag_query(rn->rag, buf_str(text), text->len, hits, RAG_RESULT, out, err);

	if (rc != -EUCLEAN || rag_open_spare(rn->st.rag, rn->rag_name, &spare, NULL) < 0)
		return rc;
	rag_close(rn->rag);
	rn->rag = spare;
	return rag_query(rn->rag, buf_str(text), text->len, hits, RAG_RESULT, out, err);
}

/* a question of the recipe; what fails is told to it as an exception */
static int answer_question(
	struct runner *rn, const struct host *host, struct json_slice frame, struct buf *out)
{
	struct err why = ERR_NONE;
	struct json_slice v;
	int rc = -EOPNOTSUPP;

	if (op_is(frame, "rag")) {
		struct buf text = BUF_INIT;
		int64_t k = member_whole(frame, "k", RAG_K_DEFAULT);

		(void)buf_puts(out, "{\"result\":");
		if (rn->rag == NULL)
			rc = err_set(&why, ENOENT, "index \"%s\" not found; detach or re-index",
				rn->rag_name);
		else if (!json_member(frame, "query", &v) || json_kind_of(v) != JSON_STRING ||
			 json_string(v, &text) < 0)
			rc = err_set(&why, EINVAL, "lib.rag.query: text expected");
		else
			rc = look_up(rn, &text, k, out, &why);
		(void)buf_putc(out, '}');
		buf_release(&text);
	} else if (host != NULL && host->lm != NULL) {
		rc = host->lm(host->arg, frame, op_is(frame, "choose"), out, &why);
	}
	if (rc >= 0 && out->len > CELL_FRAME_BYTES)
		rc = err_set(&why, EMSGSIZE, "answer larger than 2 MiB; ask for less");
	if (rc < 0) {
		buf_reset(out);
		(void)buf_puts(out, "{\"error\":");
		(void)json_put_text(out, why.no != 0 ? why.text : "not available");
		(void)buf_putc(out, '}');
	}
	return out->failed ? -ENOMEM : 0;
}

/* the traps of the language have spoken; the spawner may know more */
static int told_egress(struct runner *rn, struct json_slice frame, struct err *err)
{
	struct buf api = BUF_INIT;
	struct json_slice v;
	struct ending end;
	int rc;

	if (json_member(frame, "api", &v) && json_kind_of(v) == JSON_STRING)
		(void)json_string(v, &api);
	note_egress(rn, buf_str(&api));
	rc = renew(rn, "new\n", &end, err);
	if (rc == 0)
		rc = egress_error(buf_str(&api), err);
	buf_release(&api);
	return rc;
}

/* ${left} microseconds are the recipe's own. Its clock stops while the model works, which has a
 * limit of its own, and never begins anew: a recipe that asks for ever ends. */
static int converse(struct runner *rn, const struct host *host, struct buf *reply, int64_t left,
	struct err *err)
{
	struct buf answer = BUF_INIT;
	struct json_slice frame;
	int rc;

	for (;;) {
		int64_t from;

		rc = frame_read(&rn->frame, &left);
		frame = (struct json_slice){rn->frame.data, rn->frame.len};
		if (rc < 0 || !(op_is(frame, "generate") || op_is(frame, "choose") ||
				      op_is(frame, "rag")))
			break;
		from = clock_us();
		buf_reset(&answer);
		rc = answer_question(rn, host, frame, &answer);
		if (op_is(frame, "rag"))
			left -= clock_us() - from;
		if (rc == 0)
			rc = frame_write(&answer, &left);
		if (rc < 0)
			break;
	}
	buf_release(&answer);
	if (rc < 0) /* it is in the middle of a call: what it says next is no answer to another */
		return silent(rn, rc, err);
	if (op_is(frame, "egress"))
		return told_egress(rn, frame, err);
	buf_reset(reply);
	return buf_add(reply, frame.text, frame.len) < 0 ? err_nomem(err) : 0;
}

int cell_call(struct runner *rn, const struct buf *frame, const struct host *host,
	struct buf *reply, struct err *err)
{
	char line[SPAWNER_LINE_BYTES];
	struct json_slice text = {frame->data, frame->len};
	bool is_load = op_is(text, "load");
	int64_t left = is_load ? LOAD_WALL_US : RECIPE_WALL_US;
	int rc = spawner_line("arm\n", line, err);

	if (rc == 0 && strcmp(line, "ok") != 0) { /* it died between two calls */
		rc = cell_renew(rn, err);
		return rc < 0 ? rc
			      : err_set(err, EIO, "recipe cell died between two calls; try again");
	}
	if (rc < 0)
		return rc;
	rc = frame_write(frame, &left);
	if (rc == -EMSGSIZE) /* nothing of it was written */
		return err_set(err, EMSGSIZE, "%s larger than 2 MiB as JSON",
			is_load ? "recipes, pack and index" : "input and params");
	return rc < 0 ? silent(rn, rc, err) : converse(rn, host, reply, left, err);
}
