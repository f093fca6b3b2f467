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

/* load, edit, save under the slug's lock; ${edit} changes the loaded config */
static int edit_config(struct kolm *k, const char *slug,
	int (*edit)(struct config *, void *, struct err *), void *arg, struct err *err)
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
		rc = edit(&cf, arg, err);
		if (rc == 0)
			rc = config_save(&tn, &cf, err);
		config_release(&cf);
	}
	close(lock);
close_tune:
	tune_close(&tn);
	if (rc == 0)
		change(k, slug, CHANGE_STATUS);
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
	struct buf quoted = BUF_INIT;
	int rc = edit_config(k, slug, edit_setting, &s, err);

	if (rc < 0)
		return rc;
	(void)json_put_text(&quoted, value);
	rc = log_event(
		k, slug, 0, by, err, "set", "\"key\":\"%s\",\"value\":%s", key, buf_str(&quoted));
	buf_release(&quoted);
	return rc;
}

int loop_capture(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err)
{
	struct setting s = {"captures_on", on ? "true" : "false"};
	int rc = edit_config(k, slug, edit_setting, &s, err);

	return rc < 0 ? rc
		      : log_event(
				k, slug, 0, by, err, on ? "captures_on" : "captures_off", "%s", "");
}

static int edit_watch(struct config *cf, void *arg, struct err *err)
{
	const bool *on = arg;
	cJSON *watch = cJSON_GetObjectItemCaseSensitive(cf->json, "watch"),
	      *flag = cJSON_CreateBool(*on);

	if (watch == NULL || flag == NULL) {
		cJSON_Delete(flag);
		return err_nomem(err);
	}
	if (cJSON_HasObjectItem(watch, "on"))
		cJSON_ReplaceItemInObjectCaseSensitive(watch, "on", flag);
	else
		cJSON_AddItemToObject(watch, "on", flag);
	cf->watch_on = *on;
	return 0;
}

int loop_watch(struct kolm *k, const char *slug, bool on, const struct by *by, struct err *err)
{
	int rc = edit_config(k, slug, edit_watch, &on, err);

	/* the watch itself logs watch_started when it takes the slug up */
	if (rc == 0 && !on)
		rc = log_event(k, slug, 0, by, err, "watch_stopped", "%s", "");
	pthread_mutex_lock(&k->lock);
	pthread_cond_broadcast(&k->wake);
	pthread_mutex_unlock(&k->lock);
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
	if (cJSON_HasObjectItem(fresh.json, "generation") && fresh.generation != cf->generation) {
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
	int rc = edit_config(k, slug, edit_whole, &w, err);

	return rc < 0 ? rc : log_event(k, slug, 0, by, err, "config_written", "%s", "");
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
	if (rc == 0 && dropped > 0)
		rc = log_event(k, slug, 0, by, err, "collected", "\"revisions\":%ld,\"keep\":%ld",
			dropped, keep);
	change(k, slug, CHANGE_STATUS | CHANGE_SLUGS);
	return rc;
}

int loop_remove(
	struct kolm *k, const char *slug, const char *again, const struct by *by, struct err *err)
{
	char gone[SLUG_BYTES + 40];
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
	(void)snprintf(gone, sizeof(gone), ".%s.removed.%d", slug, (int)getpid());
	if (rc == 0 && renameat(k->st.tune, slug, k->st.tune, gone) < 0)
		rc = err_sys(err, "cannot remove \"%s\"", slug);
	if (rc == 0)
		rc = dir_sync(k->st.tune, err);
	if (busy >= 0)
		close(busy);
	tune_close(&tn);
	if (rc < 0)
		return rc;
	rc = log_event(k, slug, 0, by, err, "removed", "%s", "");
	(void)dir_remove(k->st.tune, gone, NULL);
	change(k, slug, CHANGE_SLUGS);
	return rc;
}
