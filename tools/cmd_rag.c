/*
 * cmd_rag - search indexes: built, asked, attached to artifacts (FORMATS 10, 19.5).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "rag/kolmrag.h"
#include "tools/cli.h"

static const char *kib(uint64_t bytes, char out[NUM_TEXT_BYTES])
{
	return num_fixed((double)bytes / 1024, 1, out);
}

static void say_indexed(const struct rag_info *in, const char *sha256)
{
	char text[NUM_TEXT_BYTES];

	printf("ok  indexed %llu doc%s\n    name:    ", (unsigned long long)in->n_docs,
		in->n_docs == 1 ? "" : "s");
	say_text(stdout, in->name);
	printf("\n    root:    ");
	say_text(stdout, in->root);
	printf("\n    avgdl:   %s tokens/doc\n", num_fixed(in->avgdl, 0, text));
	printf("    size:    %s KB\n", kib(in->json_bytes, text));
	printf("    sha256:  %.16s...\n    next:    kolm rag query ", sha256);
	say_text(stdout, in->name);
	printf(" \"QUESTION\"\n");
}

static void read_manifest_sha(struct cli *c, const char *name, char out[65])
{
	struct buf text = BUF_INIT;
	cJSON *manifest = NULL;
	const char *sha = NULL;
	int dir = dir_open(kolm_store(c->k)->rag, name, NULL);

	out[0] = '\0';
	if (dir >= 0 && read_file(dir, "manifest.json", 1 << 20, &text, NULL) == 0 &&
		json_parse(text.data, text.len, &manifest, NULL) == 0)
		sha = json_get_string(manifest, "sha256");
	if (sha != NULL)
		(void)snprintf(out, 65, "%s", sha);
	cJSON_Delete(manifest);
	buf_release(&text);
	if (dir >= 0)
		close(dir);
}

/* the name of a part (loop_index()) */
static void put_shard(struct index_options *o)
{
	size_t n = strlen(o->name);

	(void)snprintf(o->name + n, sizeof(o->name) - n, ".%s", o->shard);
	for (char *p = o->name + n; (p = strchr(p, '/')) != NULL;)
		*p = '-';
}

int cmd_rag_index(struct cli *c, struct err *err)
{
	static const struct {
		const char *flag, *key;
	} flags[] = {{"--name", "name"}, {"--ext", "ext"}, {"--max-bytes", "maxbytes"},
		{"--mode", "mode"}, {"--lang", "lang"}, {"--mem", "mem"}, {"--shard", "shard"}};
	struct index_options o;
	struct rag_index *ix;
	struct rag_info info;
	struct job_record jr;
	unsigned seen = 0;
	char sha[65];
	const char *v;
	uint64_t id;
	int rc;

	index_options_default(&o);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if ((v = flag_value(c, flags[i].flag)) != NULL &&
			index_option(&o, flags[i].key, v, &seen, err) < 0)
			return usage_mark(err);
	rc = path_absolute(c->word[0], o.dir, err);
	if (rc < 0)
		return rc;
	if (o.name[0] == '\0') {
		rc = snprintf(o.name, sizeof(o.name), "%s", path_name(o.dir)) < (int)sizeof(o.name)
			     ? 0
			     : err_set(err, ENAMETOOLONG, "bad index name: too long");
		if (rc < 0)
			return rc;
	}
	rc = loop_index(c->k, &o, &c->by, &id, err);
	if (rc == 0)
		rc = job_finish(c, NULL, id, &jr, err);
	if (rc == 0 && o.shard[0] != '\0')
		put_shard(&o);
	if (rc == 0)
		rc = rag_open(kolm_store(c->k)->rag, o.name, &ix, err);
	if (rc < 0)
		return rc;
	rag_describe(ix, &info);
	read_manifest_sha(c, o.name, sha);
	say_indexed(&info, sha);
	rag_close(ix);
	return 0;
}

/* ---- query ---- */

#define PAINT_HIT  "\033[1;31m"
#define PAINT_PATH "\033[35m"
#define PAINT_END  "\033[0m"

/* what an answer is shown with */
struct shown {
	struct cli *c;
	const char *index;
	const struct buf *question;
	bool is_painted;
};

static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') &&
	       (term == NULL || strcmp(term, "dumb") != 0);
}

static int find_marks(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	const struct buf *const *both = arg;
	int rc = rag_hits(ix, buf_str(both[0]), both[0]->len, buf_str(both[1]), both[1]->len, out);

	return rc < 0 ? err_set(err, -rc, "cannot find the words again") : 0;
}

/* an excerpt with the words of the question in colour */
static void say_painted(const struct shown *sh, struct json_slice excerpt)
{
	struct buf text = BUF_INIT, marks = BUF_INIT;
	const struct buf *both[] = {sh->question, &text};
	const struct rag_hit_at *at;
	size_t from = 0;

	(void)json_string(excerpt, &text);
	if (kolm_index_read(sh->c->k, sh->index, find_marks, both, &marks, NULL) < 0)
		buf_reset(&marks);
	at = (const struct rag_hit_at *)(const void *)marks.data;
	for (size_t i = 0; i < marks.len / sizeof(*at); from = at[i++].end) {
		say_safe(stdout, text.data + from, at[i].start - from);
		fputs(PAINT_HIT, stdout);
		say_safe(stdout, text.data + at[i].start, at[i].end - at[i].start);
		fputs(PAINT_END, stdout);
	}
	say_safe(stdout, buf_str(&text) + from, text.len - from);
	buf_release(&text);
	buf_release(&marks);
}

static void say_matches(const struct shown *sh, struct json_slice matches)
{
	struct json_slice one, v;
	size_t pos = 0;
	int i = 0;

	while (json_next(matches, &pos, NULL, &one)) {
		printf("\n[%d] score=", ++i);
		if (json_member(one, "score", &v))
			say_preview(stdout, v, 32);
		printf("  %s", sh->is_painted ? PAINT_PATH : "");
		if (json_member(one, "path", &v))
			say_preview(stdout, v, 4096);
		printf("%s\n    ", sh->is_painted ? PAINT_END : "");
		if (!json_member(one, "excerpt", &v))
			v = (struct json_slice){"", 0};
		if (sh->is_painted)
			say_painted(sh, v);
		else
			say_preview(stdout, v, 4096);
		putchar('\n');
	}
	if (i == 0)
		printf("(no matches)\n");
}

static void say_answer(const struct shown *sh, struct json_slice answer)
{
	struct json_slice v, token;
	size_t pos = 0;

	printf("# query: ");
	say_safe(stdout, buf_str(sh->question), sh->question->len);
	printf("\n# index: ");
	say_text(stdout, sh->index);
	printf(" (");
	if (json_member(answer, "n_docs", &v))
		say_preview(stdout, v, 32);
	printf(" docs)\n# tokens:");
	if (json_member(answer, "query_tokens", &v))
		while (json_next(v, &pos, NULL, &token)) {
			putchar(' ');
			say_preview(stdout, token, 256);
		}
	putchar('\n');
	if (json_member(answer, "matches", &v))
		say_matches(sh, v);
}

int cmd_rag_query(struct cli *c, struct err *err)
{
	struct buf question = BUF_INIT, answer = BUF_INIT, damage = BUF_INIT;
	const char *k = flag_value(c, "--top-k"), *path = flag_value(c, "--path");
	const char *behind = flag_value(c, "--after");
	int64_t hits = RAG_K_DEFAULT, after = 0;
	struct json_slice result;
	int rc = 0;

	if (k != NULL && range_whole("top-k", k, 1, RAG_K_MAX, &hits, err) < 0)
		return usage_mark(err);
	if (behind != NULL && range_whole("after", behind, 0, RAG_AFTER_MAX, &after, err) < 0)
		return usage_mark(err);
	for (size_t i = 1; i < c->words; i++)
		(void)buf_addf(&question, "%s%s", i > 1 ? " " : "", c->word[i]);
	if (question.failed)
		rc = err_nomem(err);
	else if (utf8_check(buf_str(&question), question.len) < question.len)
		rc = err_set(err, EILSEQ, "query is not UTF-8 at byte %zu",
			utf8_check(buf_str(&question), question.len));
	if (rc == 0)
		rc = kolm_query(c->k, c->word[0],
			&(struct rag_request){.text = buf_str(&question),
				.len = question.len,
				.k = (size_t)hits,
				.after = (size_t)after,
				.path = path,
				.path_len = path != NULL ? strlen(path) : 0,
				.form = RAG_RESULT},
			&answer, err);
	if (rc == 0 && kolm_index_damage(c->k, c->word[0], &damage) == 1)
		fprintf(stderr, "warning: %s (its spare answered)\n", buf_str(&damage));
	buf_release(&damage);
	result = (struct json_slice){buf_str(&answer), answer.len};
	if (rc == 0 && flag_on(c, "--json"))
		rc = say_json(result, err);
	else if (rc == 0)
		say_answer(&(struct shown){c, c->word[0], &question, wants_colour()}, result);
	buf_release(&question);
	buf_release(&answer);
	return rc;
}

/* ---- the sidecar ---- */

/* the initialised slug whose artifact lies at this path, for the log; "" none */
static void slug_at(const struct cli *c, const char *path, char slug[SLUG_BYTES + 1])
{
	struct config cf;
	bool same = false;

	if (slug_of_path(path, slug, NULL) == 0 &&
		config_of(kolm_store(c->k), slug, &cf, NULL) == 0) {
		same = cf.artifact_path != NULL && strcmp(cf.artifact_path, path) == 0;
		config_release(&cf);
	}
	if (!same)
		slug[0] = '\0';
}

/* a path as somebody standing here would write it */
static void say_place(const char *path)
{
	char here[STORE_PATH_BYTES], shown[STORE_PATH_BYTES];
	size_t n = getcwd(here, sizeof(here)) != NULL ? strlen(here) : 0;

	if (n > 1 && strncmp(path, here, n) == 0 && path[n] == '/')
		say_text(stdout, path + n + 1);
	else
		say_text(stdout, path_short(path, shown));
}

int cmd_rag_attach(struct cli *c, struct err *err)
{
	char path[STORE_PATH_BYTES], slug[SLUG_BYTES + 1];
	const char *index = flag_value(c, "--index");
	struct buf sidecar = BUF_INIT;
	int rc;

	if (index == NULL)
		return usage_error(err, "needs an index: --index NAME");
	rc = path_artifact(c, path, err);
	if (rc < 0)
		return rc;
	slug_at(c, path, slug);
	rc = loop_attach(c->k, slug[0] != '\0' ? slug : NULL, path, index, &c->by, &sidecar, err);
	if (rc == 0) {
		printf("ok wrote ");
		say_place(buf_str(&sidecar));
		putchar('\n');
	}
	buf_release(&sidecar);
	return rc;
}

int cmd_rag_detach(struct cli *c, struct err *err)
{
	char path[STORE_PATH_BYTES], slug[SLUG_BYTES + 1];
	int rc = path_artifact(c, path, err);

	if (rc < 0)
		return rc;
	slug_at(c, path, slug);
	rc = loop_detach(c->k, slug[0] != '\0' ? slug : NULL, path, &c->by, err);
	if (rc == 0) {
		printf("ok removed ");
		say_place(path);
		printf(".rag.json\n");
	}
	return rc;
}

/* ---- list ---- */

struct listing {
	struct cli *c;
	bool json;
	struct buf out;
	size_t n;
};

static void list_one(void *arg, const char *name)
{
	struct listing *li = arg;
	char size[NUM_TEXT_BYTES];
	struct err err = ERR_NONE;
	struct rag_index *ix;
	struct rag_info in;

	li->n++;
	if (rag_open(kolm_store(li->c->k)->rag, name, &ix, &err) < 0) {
		if (li->json) {
			(void)buf_puts(&li->out, li->out.len > 0 ? ",{\"name\":" : "{\"name\":");
			(void)json_put_text(&li->out, name);
			(void)buf_puts(&li->out, ",\"error\":");
			(void)json_put_text(&li->out, err.text);
			(void)buf_putc(&li->out, '}');
		} else {
			printf("%-24s  ", name);
			say_text(stdout, err.text);
			putchar('\n');
		}
		return;
	}
	rag_describe(ix, &in);
	if (li->json) {
		(void)buf_puts(&li->out, li->out.len > 0 ? ",{\"name\":" : "{\"name\":");
		(void)json_put_text(&li->out, in.name);
		(void)buf_addf(&li->out, ",\"n_docs\":%llu,\"size_bytes\":%llu,\"root\":",
			(unsigned long long)in.n_docs, (unsigned long long)in.json_bytes);
		(void)json_put_text(&li->out, in.root);
		(void)buf_puts(&li->out, ",\"created_at\":");
		(void)json_put_text(&li->out, in.created_at);
		(void)buf_putc(&li->out, '}');
	} else {
		printf("%-24s  %llu docs  %sKB  ", in.name, (unsigned long long)in.n_docs,
			kib(in.json_bytes, size));
		say_text(stdout, in.root);
		putchar('\n');
	}
	rag_close(ix);
}

int cmd_rag_list(struct cli *c, struct err *err)
{
	struct listing li = {.c = c, .json = flag_on(c, "--json")};
	struct buf all = BUF_INIT;
	int rc = rag_list(kolm_store(c->k)->rag, list_one, &li, err);

	if (rc == 0 && li.json) {
		(void)buf_addf(&all, "[%s]", buf_str(&li.out));
		rc = all.failed || li.out.failed
			     ? err_nomem(err)
			     : say_json((struct json_slice){all.data, all.len}, err);
	} else if (rc == 0 && li.n == 0) {
		puts("(no indexes; kolm rag index DIR makes one)");
	}
	buf_release(&all);
	buf_release(&li.out);
	return rc;
}
