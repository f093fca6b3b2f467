/*
 * rag_eval MODE QUERIES QRELS <CORPUS: how well an index finds, on a judged set in BEIR's layout
 * (tools/rag-eval unpacks it). Every line of the corpus
 * ({"_id","title","text"}) becomes a Markdown file, these are indexed in MODE, and each judged
 * query is asked for a hundred files. Prints means over the queries that have a relevant document:
 * nDCG@10 (gains as judged), MAP and recall@100.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "rag/kolmrag.h"

enum { DEPTH = 100, CUT = 10, RELEVANT_MAX = 4096 };

struct qrel {
	char *query, *doc;
	double grade;
};

struct set {
	char **ids; /* of the corpus, in file order */
	size_t n_ids;
	struct qrel *qrels;
	size_t n_qrels;
};

struct sums {
	double ndcg, map, recall;
	size_t n;
};

static void die(const char *what)
{
	fprintf(stderr, "rag_eval: %s\n", what);
	exit(1);
}

static void *grow(void *p, size_t n, size_t size)
{
	if ((n & (n + 1)) == 0) /* 0, 1, 3, 7, ...: room for as many again */
		p = realloc(p, (2 * n + 2) * size);
	if (!p)
		die("out of memory");
	return p;
}

static void put_member(struct buf *out, struct json_slice record, const char *key)
{
	struct json_slice v;

	if (json_member(record, key, &v) && json_kind_of(v) == JSON_STRING)
		json_string(v, out);
}

static int put_file(int dir, const char *name, const struct buf *text, struct err *err)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

	if (fd < 0)
		return err_sys(err, "cannot create a file below /tmp");
	rc = write_all(fd, buf_str(text), text->len, err);
	close(fd);
	return rc;
}

static void write_doc(int dir, struct set *st, const char *line, size_t len)
{
	struct buf id = BUF_INIT, title = BUF_INIT, doc = BUF_INIT;
	struct json_slice record = {line, len};
	struct err err = ERR_NONE;
	char name[32];

	if (json_check(line, len, &err) < 0)
		die(err.text);
	put_member(&id, record, "_id");
	put_member(&title, record, "title");
	for (size_t i = 0; i < title.len; i++)
		if (title.data[i] == '\n')
			title.data[i] = ' ';
	if (title.len)
		buf_addf(&doc, "# %s\n\n", buf_str(&title));
	put_member(&doc, record, "text");
	snprintf(name, sizeof(name), "%08zu.md", st->n_ids);
	if (put_file(dir, name, &doc, &err) < 0)
		die(err.text);
	st->ids = grow(st->ids, st->n_ids, sizeof(*st->ids));
	st->ids[st->n_ids++] = buf_detach(&id);
	buf_release(&title);
	buf_release(&doc);
}

static void read_qrels(struct set *st, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		die(path);
	while (getline(&line, &cap, f) > 0) {
		char query[256], doc[256];
		double grade;

		if (sscanf(line, "%255s %255s %lf", query, doc, &grade) != 3)
			continue; /* BEIR's heading */
		st->qrels = grow(st->qrels, st->n_qrels, sizeof(*st->qrels));
		st->qrels[st->n_qrels++] = (struct qrel){strdup(query), strdup(doc), grade};
	}
	free(line);
	fclose(f);
}

static double grade_of(const struct set *st, const char *query, const char *doc)
{
	for (size_t i = 0; i < st->n_qrels; i++)
		if (strcmp(st->qrels[i].query, query) == 0 && strcmp(st->qrels[i].doc, doc) == 0)
			return st->qrels[i].grade;
	return 0;
}

static int falling(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? 1 : *x > *y ? -1 : 0;
}

/* the grades of the relevant documents of a query, best first */
static size_t ideal_of(const struct set *st, const char *query, double out[RELEVANT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < st->n_qrels && n < RELEVANT_MAX; i++)
		if (st->qrels[i].grade > 0 && strcmp(st->qrels[i].query, query) == 0)
			out[n++] = st->qrels[i].grade;
	qsort(out, n, sizeof(*out), falling);
	return n;
}

/* the signs of the query language are no part of a judged question */
static void make_plain(char *text)
{
	for (char *p = text; *p; p++)
		if (strchr("\"*~:", *p) || (strchr("+-", *p) && (p == text || p[-1] == ' ')))
			*p = ' ';
}

static void ask(const struct rag_index *ix, const struct set *st, const char *query, char *text,
	struct sums *out)
{
	double ideal[RELEVANT_MAX], dcg = 0, best = 0, precision = 0, found = 0;
	struct buf answer = BUF_INIT;
	struct err err = ERR_NONE;
	size_t relevant = ideal_of(st, query, ideal), rank = 0;
	char *save = NULL;

	if (relevant == 0)
		return;
	make_plain(text);
	if (rag_query(ix, text, strlen(text), DEPTH, RAG_PATHS, &answer, &err) < 0)
		die(err.text);
	for (char *p = answer.len ? strtok_r(answer.data, "\n", &save) : NULL; p;
		p = strtok_r(NULL, "\n", &save)) {
		size_t at = strtoul(p, NULL, 10);
		double grade = at < st->n_ids ? grade_of(st, query, st->ids[at]) : 0;

		rank++;
		if (grade <= 0)
			continue;
		found++;
		precision += found / (double)rank;
		if (rank <= CUT)
			dcg += grade / log2((double)rank + 1);
	}
	for (size_t i = 0; i < relevant && i < CUT; i++)
		best += ideal[i] / log2((double)i + 2);
	out->ndcg += dcg / best;
	out->map += precision / (double)relevant;
	out->recall += found / (double)relevant;
	out->n++;
	buf_release(&answer);
}

/* "ID\tTEXT", or {"_id":...,"text":...}; false for a line that is neither */
static bool read_query(const char *line, struct buf *id, struct buf *text)
{
	const char *tab = strchr(line, '\t');
	struct json_slice record = {line, strlen(line)};

	buf_reset(id);
	buf_reset(text);
	if (*line == '{' && json_check(line, record.len, NULL) == 0) {
		put_member(id, record, "_id");
		put_member(text, record, "text");
	} else if (tab) {
		buf_add(id, line, (size_t)(tab - line));
		buf_add(text, tab + 1, strcspn(tab + 1, "\r\n"));
	}
	if (id->failed || text->failed)
		die("out of memory");
	return id->len > 0 && text->len > 0;
}

static void ask_all(const struct rag_index *ix, const struct set *st, const char *path)
{
	struct buf id = BUF_INIT, text = BUF_INIT;
	struct sums sums = {0};
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		die(path);
	while (getline(&line, &cap, f) > 0)
		if (read_query(line, &id, &text))
			ask(ix, st, buf_str(&id), text.data, &sums);
	buf_release(&id);
	buf_release(&text);
	free(line);
	fclose(f);
	if (sums.n == 0)
		die("no query of the file is judged");
	printf("queries %zu  docs %zu  nDCG@%d %.4f  MAP %.4f  recall@%d %.4f\n", sums.n, st->n_ids,
		CUT, sums.ndcg / (double)sums.n, sums.map / (double)sums.n, DEPTH,
		sums.recall / (double)sums.n);
}

int main(int argc, char **argv)
{
	char top[] = "/tmp/rag-eval.XXXXXX";
	struct err err = ERR_NONE;
	struct set st = {0};
	struct rag_build opt = {.name = "eval", .root = "/eval", .ext = ""};
	struct rag_built built;
	struct rag_index *ix;
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int tmp, docs, index, topfd;

	if (argc != 4)
		die("usage: rag_eval MODE QUERIES QRELS <CORPUS");
	opt.mode = argv[1];
	read_qrels(&st, argv[3]);
	if (!mkdtemp(top) || (topfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		die("cannot make a folder below /tmp");
	docs = dir_make(topfd, "docs", &err);
	index = dir_make(topfd, "eval", &err);
	while ((len = getline(&line, &cap, stdin)) > 0)
		write_doc(docs, &st, line, (size_t)len);
	free(line);
	if (rag_build(docs, index, "/eval/index.json", &opt, &built, &err) < 0 ||
		rag_open(topfd, "eval", &ix, &err) < 0)
		die(err.text);
	ask_all(ix, &st, argv[2]);
	rag_close(ix);
	tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tmp < 0 || dir_remove(tmp, top + sizeof("/tmp/") - 1, &err) < 0)
		die("cannot remove the folder made below /tmp");
	return 0;
}
