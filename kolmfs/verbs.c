/*
 * verbs - what the commands of each ctl do: words to options, options to libkolm. The tables at the
 * end are what reading a ctl shows.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "ctl.h"
#include "rag/kolmrag.h"

/* ---- paths ---- */

/* an absolute path without "//", "/./" and "/x/../"; -ENAMETOOLONG */
static int normalise(const char *path, char out[STORE_PATH_BYTES])
{
	size_t n = 0;

	for (const char *p = path; *p;) {
		size_t len;

		while (*p == '/')
			p++;
		len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (n > 0 && out[--n] != '/')
				;
		} else if (len > 0 && !(len == 1 && p[0] == '.')) {
			if (n + 1 + len >= STORE_PATH_BYTES)
				return -ENAMETOOLONG;
			out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
	}
	out[n] = '\0';
	return 0;
}

int inside_mount(struct server *sv, const char *path, struct err *err)
{
	char plain[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	size_t len = strlen(sv->mountpoint);
	struct stat st;
	bool is_inside;

	if (normalise(path, plain) < 0)
		return err_set(
			err, ENAMETOOLONG, "path longer than %d bytes", STORE_PATH_BYTES - 1);
	is_inside = strncmp(plain, sv->mountpoint, len) == 0 &&
		    (plain[len] == '/' || plain[len] == '\0');
	/* by another way: a link, a bind mount. This thread may ask: it serves no requests. */
	if (!is_inside && stat(path, &st) == 0 && atomic_load(&sv->dev))
		is_inside = st.st_dev == (dev_t)atomic_load(&sv->dev);
	if (is_inside)
		return err_set(err, EINVAL, "\"%s\" lies inside this mount",
			err_quote(quoted, path, strlen(path)));
	return 0;
}

/* a path argument: absolute, not one of our own files */
static int take_path(struct server *sv, const char *what, const char *word,
	char out[STORE_PATH_BYTES], struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	if (word[0] != '/')
		return err_set(err, EINVAL, "%s must be an absolute path, not \"%s\"", what,
			err_quote(quoted, word, strlen(word)));
	if (strlen(word) >= STORE_PATH_BYTES)
		return err_set(
			err, ENAMETOOLONG, "%s longer than %d bytes", what, STORE_PATH_BYTES - 1);
	memcpy(out, word, strlen(word) + 1);
	return inside_mount(sv, out, err);
}

/* ---- words ---- */

typedef int set_option(
	void *options, const char *key, const char *value, unsigned *seen, struct err *err);

/* key=value from word ${from} on */
static int take_options(
	const struct ctl_call *call, int from, void *options, set_option *set, struct err *err)
{
	unsigned seen = 0;
	int rc = 0;

	for (int i = from; rc == 0 && i < call->argc; i++) {
		char *eq = strchr(call->word[i], '=');

		if (eq)
			*eq = '\0';
		/* a word without '=' is an unknown option, or a known one without its value */
		rc = set(options, call->word[i], eq ? eq + 1 : "", &seen, err);
	}
	return rc;
}

static int set_init(
	void *options, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return init_option(options, key, value, seen, err);
}

static int set_step(
	void *options, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return step_option(options, key, value, seen, err);
}

static int set_index(
	void *options, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return index_option(options, key, value, seen, err);
}

static int set_eval(
	void *options, const char *key, const char *value, unsigned *seen, struct err *err)
{
	return eval_option(options, key, value, seen, err);
}

static int say_job(struct ctl_call *call, int rc, const uint64_t *job)
{
	if (rc == 0)
		buf_addf(call->reply, "job %llu", (unsigned long long)*job);
	return rc;
}

static int on_off(const struct ctl_call *call, bool *on, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *word = call->word[1];

	*on = strcmp(word, "on") == 0;
	if (*on || strcmp(word, "off") == 0)
		return 0;
	return err_set(err, EINVAL, "on or off expected, not \"%s\"",
		err_quote(quoted, word, strlen(word)));
}

/* ---- the root ---- */

static int init_run(struct ctl_call *call, struct err *err)
{
	struct init_options o;
	char slug[SLUG_BYTES + 1];
	bool is_fresh;
	int rc;

	init_options_default(&o);
	rc = take_path(call->sv, "artifact", call->word[1], o.artifact, err);
	if (rc == 0)
		rc = take_options(call, 2, &o, set_init, err);
	if (rc == 0 && o.base[0] == '/')
		rc = inside_mount(call->sv, o.base, err);
	return rc < 0 ? rc : loop_init(call->sv->k, &o, &call->by, slug, &is_fresh, err);
}

static int shutdown_run(struct ctl_call *call, struct err *err)
{
	(void)call;
	return kill(getpid(), SIGTERM) < 0 ? err_sys(err, "cannot end") : 0;
}

/* ---- a slug ---- */

static int step_run(struct ctl_call *call, struct err *err)
{
	struct step_options o;
	uint64_t job = 0;
	int rc;

	step_options_default(&o);
	rc = take_options(call, 1, &o, set_step, err);
	return say_job(call,
		rc < 0 ? rc : loop_step(call->sv->k, call->at->slug, &o, &call->by, &job, err),
		&job);
}

static int eval_run(struct ctl_call *call, struct err *err)
{
	/* a word with '=' is an option; check_words() knows it too */
	const char *rev =
		call->argc > 1 && strchr(call->word[1], '=') == NULL ? call->word[1] : NULL;
	int64_t timeout_s = 0;
	uint64_t job = 0;
	int rc = take_options(call, rev != NULL ? 2 : 1, &timeout_s, set_eval, err);

	return say_job(call,
		rc < 0 ? rc
		       : loop_eval(
				 call->sv->k, call->at->slug, rev, timeout_s, &call->by, &job, err),
		&job);
}

static int replay_run(struct ctl_call *call, struct err *err)
{
	uint64_t job = 0;

	return say_job(call,
		loop_replay(call->sv->k, call->at->slug, call->word[1], &call->by, &job, err),
		&job);
}

/* id=WORD as word ${at}, or NULL */
static const char *request_id(const struct ctl_call *call, int at)
{
	return call->argc > at && strncmp(call->word[at], "id=", 3) == 0 ? call->word[at] + 3
									 : NULL;
}

static int promote_run(struct ctl_call *call, struct err *err)
{
	bool is_forced = call->argc > 2 && strcmp(call->word[2], "force") == 0;
	const char *id = request_id(call, is_forced ? 3 : 2);
	struct head now;

	if (call->argc > 2 + is_forced + (id != NULL))
		return err_set(err, EINVAL,
			"promote: too many arguments; usage: promote vN [force] [id=WORD]");
	return loop_promote(
		call->sv->k, call->at->slug, call->word[1], is_forced, id, &call->by, &now, err);
}

static int rollback_run(struct ctl_call *call, struct err *err)
{
	const char *id = request_id(call, 1);
	struct head now;

	if (call->argc > 1 && id == NULL)
		return err_set(
			err, EINVAL, "rollback: too many arguments; usage: rollback [id=WORD]");
	return loop_rollback(call->sv->k, call->at->slug, id, &call->by, &now, err);
}

static int cycle_run(struct ctl_call *call, struct err *err)
{
	uint64_t job = 0;

	return say_job(call, loop_cycle(call->sv->k, call->at->slug, &call->by, &job, err), &job);
}

static int cancel_run(struct ctl_call *call, struct err *err)
{
	int64_t job = 0;

	if (call->argc > 1) {
		int rc = range_whole("job", call->word[1], 1, INT64_MAX, &job, err);

		if (rc < 0)
			return rc;
	}
	return loop_cancel(call->sv->k, call->at->slug, (uint64_t)job, &call->by, err);
}

static int capture_run(struct ctl_call *call, struct err *err)
{
	bool on;
	int rc = on_off(call, &on, err);

	return rc < 0 ? rc : loop_capture(call->sv->k, call->at->slug, on, &call->by, err);
}

static int watch_run(struct ctl_call *call, struct err *err)
{
	bool on;
	int rc = on_off(call, &on, err);

	return rc < 0 ? rc : loop_watch(call->sv->k, call->at->slug, on, &call->by, err);
}

static int set_run(struct ctl_call *call, struct err *err)
{
	return loop_set(call->sv->k, call->at->slug, call->word[1], call->word[2], &call->by, err);
}

static int attach_run(struct ctl_call *call, struct err *err)
{
	struct buf sidecar = BUF_INIT;
	int rc = loop_attach(
		call->sv->k, call->at->slug, NULL, call->word[1], &call->by, &sidecar, err);

	buf_release(&sidecar);
	return rc;
}

static int detach_run(struct ctl_call *call, struct err *err)
{
	return loop_detach(call->sv->k, call->at->slug, NULL, &call->by, err);
}

static int gc_run(struct ctl_call *call, struct err *err)
{
	int64_t keep;
	int rc;

	if (strncmp(call->word[1], "keep=", 5) != 0)
		return err_set(err, EINVAL, "needs keep=N");
	rc = range_whole("keep", call->word[1] + 5, 1, 1000000, &keep, err);
	return rc < 0 ? rc : loop_gc(call->sv->k, call->at->slug, (long)keep, &call->by, err);
}

static int remove_run(struct ctl_call *call, struct err *err)
{
	return loop_remove(call->sv->k, call->at->slug, call->word[1], &call->by, err);
}

/* ---- rag ---- */

static int index_run(struct ctl_call *call, struct err *err)
{
	struct index_options o;
	uint64_t job = 0;
	int rc;

	index_options_default(&o);
	rc = take_path(call->sv, "folder", call->word[1], o.dir, err);
	if (rc == 0)
		rc = take_options(call, 2, &o, set_index, err);
	return say_job(call, rc < 0 ? rc : loop_index(call->sv->k, &o, &call->by, &job, err), &job);
}

static int index_remove_run(struct ctl_call *call, struct err *err)
{
	return loop_index_remove(call->sv->k, call->word[1], &call->by, err);
}

/* in rag/<name>: the folder it was made of, once more */
static int reindex_run(struct ctl_call *call, struct err *err)
{
	struct index_options o;
	struct rag_index *ix;
	struct rag_info info;
	uint64_t job = 0;
	int rc = rag_open(call->sv->st->rag, call->at->index, &ix, err);

	if (rc == -EUCLEAN && rag_open_spare(call->sv->st->rag, call->at->index, &ix, NULL) == 0)
		rc = 0;
	if (rc < 0)
		return rc;
	rag_describe(ix, &info);
	index_options_again(&o, &info);
	rc = take_path(call->sv, "folder", info.root, o.dir, err);
	rag_close(ix);
	return say_job(call, rc < 0 ? rc : loop_index(call->sv->k, &o, &call->by, &job, err), &job);
}

static int own_remove_run(struct ctl_call *call, struct err *err)
{
	if (strcmp(call->word[1], call->at->index) != 0)
		return err_set(
			err, EINVAL, "repeat the name to remove it: remove %s", call->at->index);
	return index_remove_run(call, err);
}

/* clang-format off */
const struct verb root_verbs[] = {
	{ "init", "ARTIFACT base=PATH [rank=N alpha=X dropout=X slug=NAME]", 1, -1, .needs = "an artifact", .run = init_run },
	{ "shutdown", "", 0, 0, .run = shutdown_run },
	{ .name = NULL },
};

const struct verb slug_verbs[] = {
	{ "step", "[epochs=N lr=X batch=N seed=N mem=BYTES airgap=on|off rows=teach|all from=vN]", 0, -1, .run = step_run },
	{ "eval", "[vN] [timeout=S]", 0, 2, .revision = true, .run = eval_run },
	{ "replay", "vN", 1, 1, .revision = true, .needs = "a revision", .run = replay_run },
	{ "promote", "vN [force] [id=WORD]", 1, 3, .revision = true, .needs = "a revision", .run = promote_run },
	{ "rollback", "[id=WORD]", 0, 1, .run = rollback_run },
	{ "cycle", "", 0, 0, .run = cycle_run },
	{ "cancel", "[JOB]", 0, 1, .run = cancel_run },
	{ "capture", "on|off", 1, 1, .needs = "on or off", .run = capture_run },
	{ "watch", "on|off", 1, 1, .needs = "on or off", .run = watch_run },
	{ "set", "KEY VALUE", 2, 2, .needs = "a key and a value", .run = set_run },
	{ "attach", "INDEX", 1, 1, .needs = "an index", .run = attach_run },
	{ "detach", "", 0, 0, .run = detach_run },
	{ "gc", "keep=N", 1, 1, .needs = "keep=N", .run = gc_run },
	{ "remove", "SLUG", 1, 1, .needs = "the slug's name", .run = remove_run },
	{ .name = NULL },
};

const struct verb rag_verbs[] = {
	{ "index", "DIR [name=NAME ext=txt,md,... maxbytes=N mode=MODE lang=LANG mem=BYTES shard=I/N]", 1, -1, .needs = "a folder", .run = index_run },
	{ "remove", "NAME", 1, 1, .needs = "an index", .run = index_remove_run },
	{ .name = NULL },
};

const struct verb index_verbs[] = {
	{ "reindex", "", 0, 0, .run = reindex_run },
	{ "remove", "NAME", 1, 1, .needs = "the index's name", .run = own_remove_run },
	{ .name = NULL },
};
