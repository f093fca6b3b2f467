/*
 * cmd_rag_parts - indexes among themselves: made in parts and merged, compared, proved, exported.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "rag/kolmrag.h"
#include "tools/cli.h"

/* the folder of a part: a path, or the name of an index of this store */
static int add_part(struct cli *c, struct index_options *o, const char *word, struct err *err)
{
	char path[STORE_PATH_BYTES + 100];
	size_t n = strlen(o->parts);
	struct stat st;

	if (strchr(word, '/') == NULL && rag_name_check(word, strlen(word), NULL) == 0)
		(void)snprintf(path, sizeof(path), "%s/rag/%s", kolm_store(c->k)->path, word);
	else if (path_absolute(word, path, err) < 0)
		return -err->no;
	if (stat(path, &st) < 0)
		return err_sys(err, "cannot open part '%s'", word);
	if (strchr(path, '\n') != NULL || n + strlen(path) + 2 > sizeof(o->parts))
		return err_set(err, E2BIG, "too many parts at once, or a line feed in '%s'", word);
	(void)snprintf(o->parts + n, sizeof(o->parts) - n, "%s\n", path);
	return 0;
}

static int run_job(struct cli *c, const struct index_options *o, struct err *err)
{
	struct job_record jr;
	uint64_t id;
	int rc = loop_index(c->k, o, &c->by, &id, err);

	return rc < 0 ? rc : job_finish(c, NULL, id, &jr, err);
}

int cmd_rag_merge(struct cli *c, struct err *err)
{
	struct index_options o;
	struct rag_index *ix;
	struct rag_info info;
	int rc = 0;

	index_options_default(&o);
	if (strlen(c->word[0]) >= sizeof(o.name))
		return err_set(err, ENAMETOOLONG, "bad index name: too long");
	(void)snprintf(o.name, sizeof(o.name), "%s", c->word[0]);
	for (size_t i = 1; rc == 0 && i < c->words; i++)
		rc = add_part(c, &o, c->word[i], err);
	if (rc == 0)
		rc = run_job(c, &o, err);
	if (rc == 0)
		rc = rag_open(kolm_store(c->k)->rag, o.name, &ix, err);
	if (rc < 0)
		return rc;
	rag_describe(ix, &info);
	printf("ok  merged %zu parts: %llu docs\n    name:    %s\n    root:    ", c->words - 1,
		(unsigned long long)info.n_docs, info.name);
	say_text(stdout, info.root);
	printf("\n    id:      %.16s...\n", info.generation);
	rag_close(ix);
	return 0;
}

int cmd_rag_verify(struct cli *c, struct err *err)
{
	struct index_options o;
	struct rag_index *ix;
	struct rag_info info;
	int rc;

	rc = rag_open(kolm_store(c->k)->rag, c->word[0], &ix, err);
	if (rc < 0)
		return rc;
	rag_describe(ix, &info);
	index_options_again(&o, &info);
	(void)snprintf(o.dir, sizeof(o.dir), "%s", info.root);
	o.is_proof = true;
	rc = rag_check(ix, err);
	if (rc == 0)
		rc = run_job(c, &o, err);
	if (rc == 0) {
		printf("ok  %s is what ", info.name);
		say_text(stdout, info.root);
		printf(" makes: %llu docs, id %.16s...\n", (unsigned long long)info.n_docs,
			info.generation);
	}
	rag_close(ix);
	return rc;
}

/* ---- diff ---- */

static void say_change(void *arg, const struct rag_change *ch)
{
	(void)arg;
	printf("%c %s ", ch->what, ch->is_term ? "term" : "doc ");
	say_safe(stdout, ch->name, ch->len);
	if (ch->is_term)
		printf("  %u -> %u", ch->before, ch->after);
	putchar('\n');
}

int cmd_rag_diff(struct cli *c, struct err *err)
{
	struct rag_diff_opt opt = {.each = say_change};
	struct rag_index *a = NULL, *b = NULL;
	struct rag_diff df;
	int rc = rag_open(kolm_store(c->k)->rag, c->word[0], &a, err);

	if (rc == 0)
		rc = rag_open(kolm_store(c->k)->rag, c->word[1], &b, err);
	if (rc == 0)
		rc = rag_diff(a, b, flag_on(c, "--quiet") ? NULL : &opt, &df, err);
	if (rc == 0)
		printf("docs: %llu changed, %llu new, %llu gone; terms: %llu changed, %llu new, "
		       "%llu gone\n",
			(unsigned long long)df.docs_changed, (unsigned long long)df.docs_new,
			(unsigned long long)df.docs_gone, (unsigned long long)df.terms_changed,
			(unsigned long long)df.terms_new, (unsigned long long)df.terms_gone);
	rag_close(a);
	rag_close(b);
	return rc;
}

/* ---- export ---- */

/* the bulk lines, under a name of their own until all is there */
static int export_bulk(const struct rag_index *ix, int dir, const char *name, struct err *err)
{
	uint64_t left_out;
	int rc, fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_sys(err, "cannot create '%s'", name);
	rc = rag_export_bulk(ix, fd, &left_out, err);
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write '%s'", name);
	if (rc < 0)
		(void)unlinkat(dir, name, 0);
	else if (left_out > 0)
		fprintf(stderr, "kolm: %llu documents are left out: their files are gone\n",
			(unsigned long long)left_out);
	return rc;
}

/* both files or none: what stood there stays when one cannot be written */
static int export_both(const struct rag_index *ix, int dir, const char *name, struct err *err)
{
	char bulk[RAG_NAME_BYTES + 16], mapping[RAG_NAME_BYTES + 16], part[RAG_NAME_BYTES + 32];
	struct buf text = BUF_INIT;
	int rc;

	(void)snprintf(bulk, sizeof(bulk), "%s.bulk.ndjson", name);
	(void)snprintf(mapping, sizeof(mapping), "%s.mapping.json", name);
	(void)snprintf(part, sizeof(part), ".%s.tmp.%d", bulk, (int)getpid());
	rc = export_bulk(ix, dir, part, err);
	if (rc < 0)
		return rc;
	rc = rag_export_mapping(ix, &text) < 0
		     ? err_nomem(err)
		     : replace_file(dir, mapping, text.data, text.len, 0644, err);
	if (rc == 0 && renameat(dir, part, dir, bulk) < 0)
		rc = err_sys(err, "cannot replace '%s'", bulk);
	if (rc == 0)
		printf("ok wrote %s and %s\n", mapping, bulk);
	else
		(void)unlinkat(dir, part, 0);
	buf_release(&text);
	return rc;
}

int cmd_rag_export(struct cli *c, struct err *err)
{
	const char *format = flag_value(c, "--format"), *out = flag_value(c, "--out");
	struct rag_index *ix = NULL;
	int dir, rc;

	if (format == NULL || strcmp(format, "opensearch") != 0)
		return usage_error(err, "needs a format: --format opensearch");
	rc = rag_open(kolm_store(c->k)->rag, c->word[0], &ix, err);
	if (rc < 0)
		return rc;
	dir = open(out != NULL ? out : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		rc = err_sys(err, "cannot open '%s'", out);
		rag_close(ix);
		return rc;
	}
	rc = export_both(ix, dir, c->word[0], err);
	close(dir);
	rag_close(ix);
	return rc;
}
