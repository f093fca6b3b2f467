/*
 * bench - a recipe measured on its cases while there is no slug yet: through a warm runner without
 * a model, or, with a base, through a store of its own that is removed afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "tools/cli.h"

#define BENCH_SLUG "probe"

/* the runner of that store verifies with its config.json, so the secret the probe is signed with
 * goes there */
static int write_secret(struct bench *b, int dir, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_puts(&text, "{\"local_receipt_secret\":");
	(void)json_put_text(&text, b->keys.secret);
	(void)buf_putc(&text, '}');
	rc = text.failed ? err_nomem(err)
			 : replace_file(dir, "config.json", text.data, text.len, 0600, err);
	buf_release(&text);
	return rc;
}

static int open_own_store(struct bench *b, const char *artifact_path, struct err *err)
{
	char slug[SLUG_BYTES + 1];
	struct init_options o;
	const char *tmp;
	bool fresh;
	int rc, n;

	tmp = getenv("TMPDIR");
	if (tmp == NULL || tmp[0] != '/')
		tmp = "/tmp";
	n = snprintf(b->dir, sizeof(b->dir), "%s/kolm-bench.XXXXXX", tmp);
	errno = ENAMETOOLONG;
	if (n >= (int)sizeof(b->dir) || mkdtemp(b->dir) == NULL) {
		b->dir[0] = '\0';
		return err_sys(err, "cannot make a folder below %.200s", tmp);
	}
	rc = kolm_open(b->dir, false, b->c->sp, &b->k, err);
	if (rc == 0)
		rc = write_secret(b, kolm_store(b->k)->dir, err);
	if (rc < 0)
		return rc;
	init_options_default(&o);
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s", artifact_path);
	(void)snprintf(o.base, sizeof(o.base), "%s", b->base);
	(void)snprintf(o.slug, sizeof(o.slug), BENCH_SLUG);
	return loop_init(b->k, &o, &b->c->by, slug, &fresh, err);
}

static int open_bench(struct bench *b, const char *artifact_path, struct err *err)
{
	int rc = b->base != NULL ? open_own_store(b, artifact_path, err) : 0;

	if (rc == 0)
		rc = artifact_open(AT_FDCWD, artifact_path, &b->keys, &b->probe, err);
	return rc;
}

int bench_measure(void *arg, const char *artifact_path, size_t case_index, struct buf *output,
	double *latency_us, struct err *err)
{
	struct bench *b = arg;
	const struct artifact_case *one;
	struct err why = ERR_NONE;
	struct run_result r;
	int rc;

	if (b->probe == NULL && (rc = open_bench(b, artifact_path, &why)) < 0) {
		/* not the recipe's fault: end the build with it */
		return err_set(err, rc == -EPERM ? EPERM : EOPNOTSUPP, "%s", why.text);
	}
	one = artifact_case(b->probe, case_index);
	for (int i = b->is_warm ? 1 : 0; i < 2; i++) {
		rc = kolm_measure(b->k != NULL ? b->k : b->c->k, b->k != NULL ? BENCH_SLUG : NULL,
			artifact_path, one->input, one->params.len > 0 ? one->params : b->params, 0,
			&r, err);
		if (rc < 0)
			break;
		b->is_warm = true; /* the first call is not of a warm cell */
		if (i == 1) {
			*latency_us = (double)r.latency_us;
			rc = buf_add(output, buf_str(&r.output), r.output.len) < 0 ? err_nomem(err)
										   : 0;
		}
		run_result_release(&r);
	}
	return rc;
}

void bench_release(struct bench *b)
{
	artifact_free(b->probe);
	kolm_close(b->k);
	if (b->dir[0] != '\0')
		(void)dir_remove(AT_FDCWD, b->dir, NULL);
}
