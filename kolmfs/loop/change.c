/*
 * change - the small verbs that edit a slug's settings, and the two that throw things away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "loop/private.h"

/* an edit, and the line of the audit log that tells of it; a NULL event: nothing to tell */
struct edit {
	int (*change)(struct config *, void *, struct err *);
	void *arg;
	const char *event, *fields;
	const struct by *by;
};

/* save and log, or neither: a line that cannot be written takes the change back */
/* a file as it was read before: its bytes, or that there was none */
static void put_back(const struct tune *tn, const char *name, int was, const struct buf *text)
{
	if (was == 0)
		(void)replace_file(tn->dir, name, text->data, text->len, 0600, NULL);
	else if (was == -ENOENT)
		(void)unlinkat(tn->dir, name, 0);
}

static int save_logged(
	const struct tune *tn, struct config *cf, const struct edit *e, struct err *err)
{
	struct log_entry entry = {
		.event = e->event, .fields = e->fields, .slug = tn->slug, .by = e->by};
	struct buf old = BUF_INIT, prev = BUF_INIT;
	int rc = read_file(tn->dir, CONFIG_NAME, CONFIG_BYTES, &old, err);
	int was = read_file(tn->dir, CONFIG_PREV, CONFIG_BYTES, &prev, NULL);

	if (rc == 0)
		rc = config_save(tn, cf, err);
	if (rc == 0 && e->event != NULL) {
		rc = log_append(tn->st, &entry, err);
		if (rc < 0) { /* what the log was not told of did not happen */
			put_back(tn, CONFIG_NAME, 0, &old);
			put_back(tn, CONFIG_PREV, was, &prev);
		}
	}
	buf_release(&old);
	buf_release(&prev);
	return rc;
}

/* load, edit, save and log under the slug's lock */
static int edit_config(struct kolm *k, const char *slug, const struct edit *e, struct err *err)
{
	struct config cf;
	struct tune tn;
	int lock, rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc == -ENOENT)
		return err_set(err, ENOENT, "not initialised: no such artifact \"%.64s\"", slug);
	if (rc < 0)
		return rc;
	rc = tune_lock(&tn, &lock, err);
	if (rc < 0)
		goto close_tune;
	rc = config_load(&tn, &cf, err);
	if (rc == 0) {
		rc = e->change(&cf, e->arg, err);
		if (rc == 0)
			rc = save_logged(&tn, &cf, e, err);
		config_release(&cf);
	}
	close(lock);
close_tune:
	tune_close(&tn);
	if (rc == 0)
		change(k, slug, CHANGE_STATUS | (e->event != NULL ? CHANGE_EVENTS : 0));
	return rc;
}

struct setting {
	const char *key, *value;
};

static int edit_setting(struct config *cf, void *arg, struct err *err)
{
	const struct setting *s = arg;

	return config_set(cf, s->key, s->value, err);
}

int loop_set(struct kolm *k, const char *slug, const char *key, const char *value,
	const struct by *by, struct err *err)
{
	struct setting s = {key, value};
	struct buf fields = BUF_INIT;
	struct edit e = {edit_setting, &s, "set", NULL, by};
	int rc;

	(void)buf_puts(&fields, "\"key\":");
	(void)json_put_text(&fields, key);
	(void)buf_puts(&fields, ",\"value\":");
	(void)json_put_text(&fields, value);
	e.fields = buf_str(&fields);
	rc = fields.failed ? err_nomem(err) : edit_config(k, slug, &e, err);
	buf_release(&fields);
	return rc;
}

int loop_capture(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err)
{
	struct setting s = {"captures_on", on ? "true" : "false"};
	const struct edit e = {edit_setting, &s, on ? "captures_on" : "captures_off", NULL, by};

	return edit_config(k, slug, &e, err);
}

int loop_watch(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err)
{
	/* the watch itself logs watch_started when it takes the slug up */
	struct setting s = {"watch.on", on ? "true" : "false"};
	const struct edit e = {edit_setting, &s, on ? NULL : "watch_stopped", NULL, by};
	int rc = edit_config(k, slug, &e, err);

	if (k->eye != NULL)
		eye_hurry(k->eye);
	return rc;
}

struct whole {
	const char *text;
	size_t len;
};

static int edit_whole(struct config *cf, void *arg, struct err *err)
{
	const struct whole *w = arg;
	struct config fresh;
	int rc = config_check(w->text, w->len, &fresh, err);

	if (rc < 0)
		return rc;
	if (cJSON_GetObjectItemCaseSensitive(fresh.json, "generation") != NULL &&
		fresh.generation != cf->generation) {
		rc = err_set(err, ESTALE, "config is at generation %llu, edit was made on %llu",
			(unsigned long long)cf->generation, (unsigned long long)fresh.generation);
		config_release(&fresh);
		return rc;
	}
	fresh.generation = cf->generation;
	config_release(cf);
	*cf = fresh;
	return 0;
}

int loop_config_write(struct kolm *k, const char *slug, const char *text, size_t len,
	const struct by *by, struct err *err)
{
	struct whole w = {text, len};
	const struct edit e = {edit_whole, &w, "config_written", NULL, by};

	return edit_config(k, slug, &e, err);
}

/* ---- throwing away ---- */

static int drop_revision(int revisions, long number, struct err *err)
{
	char name[24], gone[40];

	(void)snprintf(name, sizeof(name), "v%ld", number);
	(void)snprintf(gone, sizeof(gone), ".v%ld.removed", number);
	if (renameat(revisions, name, revisions, gone) < 0)
		return err_sys(err, "cannot remove %s", name);
	return dir_remove(revisions, gone, err);
}

int loop_gc(struct kolm *k, const char *slug, long keep, const struct by *by, struct err *err)
{
	long *list = NULL, dropped = 0;
	struct head hd;
	struct tune tn;
	size_t n = 0;
	int lock = -1, busy = -1, dir = -1, rc;

	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = tune_lock_job(&tn, &busy, err);
	if (rc == 0)
		rc = tune_lock(&tn, &lock, err);
	if (rc == 0)
		rc = head_load(&tn, &hd, err);
	if (rc == 0)
		rc = revision_list(&tn, &list, &n, err);
	if (rc == 0)
		rc = dir = dir_open(tn.dir, "revisions", err);
	for (size_t i = 0; rc >= 0 && i + (size_t)keep < n; i++) {
		if (list[i] == rev_number(hd.head) ||
			(hd.prev[0] != '\0' && list[i] == rev_number(hd.prev)))
			continue;
		rc = drop_revision(dir, list[i], err);
		dropped += rc == 0;
	}
	free(list);
	if (dir >= 0) {
		if (rc >= 0)
			rc = dir_sync(dir, err);
		close(dir);
	}
	if (lock >= 0)
		close(lock);
	if (busy >= 0)
		close(busy);
	tune_close(&tn);
	/* what went is told, also when the next one could not go */
	if (dropped > 0) {
		int told = log_event(k, slug, 0, by, rc == 0 ? err : NULL, "collected",
			"\"revisions\":%ld,\"keep\":%ld", dropped, keep);

		rc = rc == 0 ? told : rc;
	}
	change(k, slug, CHANGE_STATUS | CHANGE_SLUGS);
	return rc;
}

int loop_remove(
	struct kolm *k, const char *slug, const char *again, const struct by *by, struct err *err)
{
	char gone[TEMPORARY_BYTES];
	struct tune tn;
	int busy = -1, rc;

	if (strcmp(slug, again) != 0)
		return err_set(err, EINVAL, "remove: repeat the name \"%s\" to remove it", slug);
	rc = tune_open(&k->st, slug, &tn, err);
	if (rc < 0)
		return rc;
	rc = job_busy(k, slug, err);
	if (rc == 0)
		rc = tune_lock_job(&tn, &busy, err);
	temporary_name(slug, "removed", gone);
	if (rc == 0 && renameat(k->st.tune, slug, k->st.tune, gone) < 0)
		rc = err_sys(err, "cannot remove \"%s\"", slug);
	else if (rc == 0) {
		rc = dir_sync(k->st.tune, err);
		if (rc == 0)
			rc = log_event(k, slug, 0, by, err, "removed", "%s", "");
		/* what was not said to be done is not done */
		if (rc < 0)
			(void)renameat2(k->st.tune, gone, k->st.tune, slug, RENAME_NOREPLACE);
	}
	if (busy >= 0)
		close(busy);
	tune_close(&tn);
	if (rc < 0)
		return rc;
	(void)dir_remove(k->st.tune, gone, NULL);
	change(k, slug, CHANGE_SLUGS);
	return rc;
}
