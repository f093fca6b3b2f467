/*
 * cmd_artifact - verify and inspect: what can be said of an artifact without running it
 * (FORMATS 13.3, 19.3).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "tools/cli.h"

static int keys_for(const struct cli *c, struct artifact_keys *keys, struct err *err)
{
	return artifact_keys_load(kolm_store(c->k)->dir, c->store, false, keys, err);
}

/* ---- verify ---- */

struct verdicts {
	bool json;
	struct buf out; /* the checks as JSON */
	size_t warnings;
};

static void on_check(void *arg, const char *check, const char *verdict, const char *detail)
{
	struct verdicts *v = arg;

	v->warnings += strcmp(verdict, "warn") == 0;
	if (!v->json) {
		printf("  %-4s  %-28s ", verdict, check);
		say_text(stdout, detail);
		putchar('\n');
		return;
	}
	(void)buf_puts(&v->out, v->out.len > 0 ? ",{\"check\":" : "{\"check\":");
	(void)json_put_text(&v->out, check);
	(void)buf_addf(&v->out, ",\"verdict\":\"%s\",\"detail\":", verdict);
	(void)json_put_text(&v->out, detail);
	(void)buf_putc(&v->out, '}');
}

int cmd_verify(struct cli *c, struct err *err)
{
	struct verdicts v = {.json = flag_on(c, "--json")};
	char path[STORE_PATH_BYTES];
	struct artifact_keys keys;
	struct buf out = BUF_INIT;
	const char *verdict;
	int rc, said = 0;

	rc = path_artifact(c, path, err);
	if (rc == 0)
		rc = keys_for(c, &keys, err);
	if (rc < 0)
		return rc;
	if (!v.json) {
		printf("verify: ");
		say_text(stdout, path_name(path));
		putchar('\n');
	}
	rc = artifact_verify(AT_FDCWD, path, &keys, flag_on(c, "--strict"), on_check, &v, err);
	verdict = rc < 0 ? "fail" : v.warnings > 0 ? "warn" : "pass";
	if (v.json) {
		(void)buf_puts(&out, "{\"artifact\":");
		(void)json_put_text(&out, path);
		(void)buf_addf(
			&out, ",\"verdict\":\"%s\",\"checks\":[%s]}", verdict, buf_str(&v.out));
		said = out.failed || v.out.failed
			       ? err_nomem(err)
			       : say_json((struct json_slice){out.data, out.len}, err);
	} else {
		printf("verdict: %s\n", verdict);
	}
	buf_release(&v.out);
	buf_release(&out);
	return rc < 0 ? rc : said;
}

/* ---- inspect ---- */

static void say_member(struct json_slice manifest, const char *key)
{
	struct json_slice v;

	if (!json_member(manifest, key, &v) || json_kind_of(v) == JSON_NULL)
		return;
	printf("%s:%*s", key, (int)(15 - (strlen(key) < 15 ? strlen(key) : 15)), "");
	say_preview(stdout, v, 300);
	putchar('\n');
}

static void say_summary(const struct artifact *af, struct json_slice manifest, const char *path)
{
	static const char *const keys[] = {"spec", "job_id", "task", "created_at", "artifact_class",
		"base_model", "runtime_target", "cid"};
	char k[NUM_TEXT_BYTES];
	struct json_slice v;

	printf("inspect: ");
	say_text(stdout, path_name(path));
	printf("\nbytes:          %llu\nsha256:         %s\n",
		(unsigned long long)artifact_bytes(af), artifact_sha256(af));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		say_member(manifest, keys[i]);
	printf("recipes:        %zu\n", artifact_recipes(af));
	for (size_t i = 0; i < artifact_recipes(af); i++) {
		printf("  ");
		say_text(stdout, artifact_recipe(af, i)->id);
		printf("  ");
		say_text(stdout, artifact_recipe(af, i)->name);
		printf("  %zu bytes\n", strlen(artifact_recipe(af, i)->source));
	}
	printf("evals:          %zu cases, comparator ", artifact_cases(af));
	say_text(stdout, artifact_comparator(af));
	v = artifact_k_score(af);
	if (v.len > 0 && json_member(v, "composite", &v) && json_kind_of(v) == JSON_NUMBER)
		printf("\nk_score:        %s", num_fixed(json_double(v), 4, k));
	printf("\nentries:        ");
	for (size_t i = 0; i < artifact_entries(af); i++) {
		if (i > 0)
			putchar(' ');
		say_text(stdout, artifact_entry(af, i)->name);
	}
	printf("\nsignature:  valid (");
	say_text(stdout, artifact_trust_text(af));
	printf(")\n");
}

static int say_summary_json(
	const struct artifact *af, struct json_slice manifest, const char *path, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc;

	(void)buf_puts(&out, "{\"artifact\":");
	(void)json_put_text(&out, path);
	(void)buf_addf(&out, ",\"bytes\":%llu,\"sha256\":\"%s\",\"signature\":",
		(unsigned long long)artifact_bytes(af), artifact_sha256(af));
	(void)json_put_text(&out, artifact_trust_text(af));
	(void)buf_puts(&out, ",\"recipes\":[");
	for (size_t i = 0; i < artifact_recipes(af); i++) {
		const struct artifact_recipe *r = artifact_recipe(af, i);

		(void)buf_puts(&out, i > 0 ? ",{\"id\":" : "{\"id\":");
		(void)json_put_text(&out, r->id);
		(void)buf_puts(&out, ",\"name\":");
		(void)json_put_text(&out, r->name);
		(void)buf_puts(&out, ",\"version_id\":");
		(void)json_put_text(&out, r->version_id);
		(void)buf_putc(&out, '}');
	}
	(void)buf_addf(&out, "],\"cases\":%zu,\"comparator\":", artifact_cases(af));
	(void)json_put_text(&out, artifact_comparator(af));
	(void)buf_puts(&out, ",\"manifest\":");
	(void)buf_add(&out, manifest.text, manifest.len);
	(void)buf_putc(&out, '}');
	rc = out.failed ? err_nomem(err) : say_json((struct json_slice){out.data, out.len}, err);
	buf_release(&out);
	return rc;
}

int cmd_inspect(struct cli *c, struct err *err)
{
	const struct artifact_entry *entry;
	char path[STORE_PATH_BYTES];
	struct artifact_keys keys;
	struct json_slice manifest;
	struct artifact *af;
	int rc;

	rc = path_artifact(c, path, err);
	if (rc == 0)
		rc = keys_for(c, &keys, err);
	if (rc == 0)
		rc = artifact_open(AT_FDCWD, path, &keys, &af, err);
	if (rc < 0)
		return rc;
	entry = artifact_entry_named(af, "manifest.json");
	manifest = (struct json_slice){
		entry != NULL ? entry->data : "{}", entry != NULL ? entry->len : 2};
	/* json_member() wants the value without blanks in front */
	while (manifest.len > 0 && strchr(" \t\r\n", manifest.text[0]) != NULL)
		manifest = (struct json_slice){manifest.text + 1, manifest.len - 1};
	if (flag_on(c, "--json"))
		rc = say_summary_json(af, manifest, path, err);
	else
		say_summary(af, manifest, path);
	artifact_free(af);
	return rc;
}
