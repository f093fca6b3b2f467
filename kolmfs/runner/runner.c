/*
 * kolm-runner - started by the spawner with its cell beside it; answers one JSON line at a time;
 * ends after five idle minutes or when its input closes.
 */
#include "runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/replace.h"
#include "base/wall.h"

enum { IDLE_MS = 5 * 60 * 1000, REQUEST_BYTES_MAX = 8 * 1024 * 1024 };

int say(const struct buf *line, struct err *err)
{
	int rc;

	if (line->failed)
		return err_nomem(err);
	rc = write_all(STDOUT_FILENO, line->data, line->len, err);
	return rc < 0 ? rc : write_all(STDOUT_FILENO, "\n", 1, err);
}

/* FORMATS 15.5: the bytes of a text, of the compact JSON of anything else; null is 0 */
static bool too_large(struct json_slice input, uint64_t max)
{
	struct buf text = BUF_INIT;
	bool over;

	if (input.len <= max || json_kind_of(input) == JSON_NULL)
		return false;
	if (json_kind_of(input) != JSON_STRING)
		return true;
	(void)json_string(input, &text);
	over = text.failed || text.len > max;
	buf_release(&text);
	return over;
}

static int refuse_size(uint64_t max, struct err *err)
{
	if (max == ARTIFACT_INPUT_BYTES)
		(void)err_set(err, EMSGSIZE, "input larger than 1 MiB");
	else
		(void)err_set(err, EMSGSIZE, "input larger than %llu bytes, as the artifact says",
			(unsigned long long)max);
	return err_code(err, "KOLM_E_INPUT_TOO_LARGE");
}

static int op_run(struct runner *rn, struct json_slice request, struct buf *answer, struct err *err)
{
	struct json_slice input, params = {"", 0}, rev;
	struct host host = model_host(rn);
	struct outcome oc = {0};
	int rc;

	if (!json_member(request, "input", &input))
		return err_set(err, EINVAL, "run: input is missing");
	(void)json_member(request, "params", &params);
	rc = program_open(rn, err);
	if (rc < 0)
		return rc;
	if (too_large(input, artifact_input_max(rn->af)))
		return refuse_size(artifact_input_max(rn->af), err);
	if (!json_member(request, "rev", &rev)) {
		rc = model_head(rn, err);
	} else {
		char name[REV_BYTES] = "";

		if (json_kind_of(rev) == JSON_STRING && rev.len - 2 < sizeof(name))
			memcpy(name, rev.text + 1, rev.len - 2);
		rc = model_use(rn, name, err);
	}
	if (rc == 0)
		rc = program_ready(rn, json_member(request, "eval", &rev) && json_true(rev), err);
	if (rc == 0)
		rc = program_call(rn, input, params, &host, &oc, err);
	if (rc == 0) {
		const struct artifact_recipe *r =
			(size_t)oc.recipe < artifact_recipes(rn->af)
				? artifact_recipe(rn->af, (size_t)oc.recipe)
				: NULL;
		struct json_slice k = artifact_k_score(rn->af), composite = {"null", 4};

		if (oc.output.len > 0)
			(void)buf_addf(answer, ",\"output\":%s", oc.output.data);
		(void)buf_puts(answer, ",\"recipe_id\":");
		(void)json_put_text(answer, r != NULL ? r->id : NULL);
		(void)buf_puts(answer, ",\"recipe_name\":");
		(void)json_put_text(answer, r != NULL ? r->name : NULL);
		(void)buf_addf(answer, ",\"latency_us\":%lld,\"lm_us\":%lld",
			(long long)oc.latency_us, (long long)oc.lm_us);
		if (oc.lm_called && rn->rev[0] != '\0')
			(void)buf_addf(answer, ",\"rev\":\"%s\"", rn->rev);
		if (k.len > 0)
			(void)json_member(k, "composite", &composite);
		(void)buf_puts(answer, ",\"k_composite\":");
		(void)json_compact(composite, answer); /* a stranger's: it may have lines */
	} else if (oc.egress.len > 0) {
		(void)buf_addf(answer, ",\"egress\":%s", oc.egress.data);
	} else if (oc.tried.len > 0) {
		(void)buf_addf(answer, ",\"tried\":%s", oc.tried.data);
	}
	outcome_release(&oc);
	return rc;
}

static int op_check(struct buf *answer, struct err *err)
{
	(void)buf_puts(answer, ",\"walls\":");
	return cell_walls(answer, err);
}

/* the bench is over: its cell must have ended as cells end before what it answered counts */
static int op_end(struct runner *rn, struct err *err)
{
	int rc = rn->loaded ? cell_last(rn, err) : 0;

	buf_reset(&rn->egress);
	return rc;
}

static int dispatch(struct runner *rn, struct json_slice request, int64_t id, struct buf *answer,
	struct err *err)
{
	struct json_slice op = {"", 0};

	(void)json_member(request, "op", &op);
	rn->lm_limit_ms = member_whole(request, "timeout", 0) * 1000;
	if (op.len == 5 && memcmp(op.text, "\"run\"", 5) == 0)
		return op_run(rn, request, answer, err);
	if (op.len == 6 && memcmp(op.text, "\"eval\"", 6) == 0)
		return op_eval(rn, request, id, answer, err);
	if (op.len == 6 && memcmp(op.text, "\"rows\"", 6) == 0)
		return op_rows(rn, request, answer, err);
	if (op.len == 6 && memcmp(op.text, "\"init\"", 6) == 0)
		return op_init(rn, request, answer, err);
	if (op.len == 8 && memcmp(op.text, "\"export\"", 8) == 0)
		return op_export(rn, request, err);
	if (op.len == 7 && memcmp(op.text, "\"check\"", 7) == 0)
		return op_check(answer, err);
	if (op.len == 5 && memcmp(op.text, "\"end\"", 5) == 0)
		return op_end(rn, err);
	return err_set(err, EINVAL, "unknown request");
}

static int serve_line(struct runner *rn, const char *text, size_t len)
{
	struct buf line = BUF_INIT, members = BUF_INIT;
	struct json_slice request = {text, len};
	struct err err = ERR_NONE;
	int64_t id = 0;
	int rc = json_check(text, len, &err);

	if (rc == 0) {
		id = member_whole(request, "id", 0);
		rc = dispatch(rn, request, id, &members, &err);
	}
	if (rc >= 0 && members.failed) /* an answer without its output says that there is none */
		rc = err_nomem(&err);
	if (rc >= 0) {
		/* whose recipes these were: the file may have been replaced since who asks read it
		 */
		if (rn->af != NULL)
			(void)buf_addf(
				&members, ",\"artifact_sha256\":\"%s\"", artifact_sha256(rn->af));
		(void)buf_addf(
			&line, "{\"id\":%lld,\"ok\":true%s}", (long long)id, buf_str(&members));
	} else {
		if (err.no == ENOMEM && strcmp(err.text, "out of memory") == 0 && rn->data_mib > 0)
			(void)err_set(&err, ENOMEM,
				"out of memory: the memory limit of kolm-runner is %llu MiB",
				(unsigned long long)rn->data_mib);
		(void)buf_addf(&line,
			"{\"id\":%lld,\"ok\":false,\"errno\":\"%s\",\"code\":", (long long)id,
			err_name(err.no));
		(void)json_put_text(&line, err.code[0] != '\0' ? err.code : NULL);
		(void)buf_puts(&line, ",\"error\":");
		(void)json_put_text(&line, err.text);
		(void)buf_addf(&line, "%s}",
			strcmp(err.code, "KOLM_E_EGRESS") == 0 ||
					strncmp(buf_str(&members), ",\"tried\":", 9) == 0
				? buf_str(&members)
				: "");
	}
	rc = say(&line, &err);
	buf_release(&line);
	buf_release(&members);
	return rc;
}

static int serve(struct runner *rn)
{
	struct buf in = BUF_INIT;
	int rc = 0;

	while (rc == 0) {
		struct pollfd pf = {.fd = STDIN_FILENO, .events = POLLIN};
		char *lf = in.len > 0 ? memchr(in.data, '\n', in.len) : NULL;
		ssize_t n;

		if (lf != NULL) {
			size_t len = (size_t)(lf - in.data);

			rc = serve_line(rn, in.data, len);
			buf_consume(&in, len + 1);
			continue;
		}
		if (in.len > REQUEST_BYTES_MAX || buf_reserve(&in, 65536) < 0)
			break;
		n = poll(&pf, 1, IDLE_MS);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		n = read(STDIN_FILENO, in.data + in.len, 65536);
		if (n <= 0)
			break;
		in.len += (size_t)n;
		in.data[in.len] = '\0';
	}
	buf_release(&in);
	return rc < 0 ? 4 : 0;
}

/* the store as this process may see it: nothing is made or locked */
static int open_store(struct store *st, const char *path, struct err *err)
{
	*st = (struct store){.dir = -1, .tune = -1, .rag = -1, .logs = -1};
	(void)snprintf(st->path, sizeof(st->path), "%s", path);
	st->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dir < 0)
		return err_sys(err, "cannot open store '%s'", path);
	st->tune = openat(st->dir, "tune", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	st->rag = openat(st->dir, "rag", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return st->tune < 0 || st->rag < 0
		       ? err_sys(err, "cannot open the folders of store '%s'", path)
		       : 0;
}

int main(int argc, char **argv)
{
	struct runner rn = {0};
	struct err err = ERR_NONE;
	struct rlimit data;
	const char *store = NULL;
	int rc;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--store") == 0)
			store = argv[i + 1];
		else if (strcmp(argv[i], "--artifact") == 0)
			rn.artifact_path = argv[i + 1];
		else if (strcmp(argv[i], "--slug") == 0)
			rn.slug = argv[i + 1];
		else
			store = NULL, argc = 0;
	}
	if (store == NULL) {
		(void)fprintf(stderr, "usage: kolm-runner --store DIR [--artifact FILE] [--slug S] "
				      "  (started by kolmfs and kolm)\n");
		return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY)
		rn.data_mib = data.rlim_cur >> 20;
	rc = open_store(&rn.st, store, &err);
	if (rc == 0)
		rc = wall_enter(WALL_WORKER, &err);
	if (rc < 0) {
		(void)fprintf(stderr, "kolm-runner: %s\n", err.text);
		return 3;
	}
	rc = serve(&rn);
	model_close(&rn);
	if (rn.rag != NULL)
		rag_close(rn.rag);
	artifact_free(rn.af);
	buf_release(&rn.frame);
	buf_release(&rn.egress);
	return rc;
}
