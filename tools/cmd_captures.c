/*
 * cmd_captures - rows looked at by a person: listed, confirmed, corrected, dropped (DESIGN section
 * 4).
 *
 * A look is a row of its own, appended: nothing in captures.jsonl is ever changed. The file is read
 * twice: first only a digest of each input is kept, then the rows themselves pass by.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/num.h"
#include "tools/cli.h"

enum { ID_SHOWN = 12, ID_PREFIX_MIN = 4, PREVIEW_COLUMNS = 60, OUTPUT_BYTES_MAX = 2 << 20 };

enum row_state { ROW_WAITS, ROW_EARLIER, ROW_TEACHES, ROW_SUPERSEDED, ROW_DROPPED, ROW_CASE };

static const char *const state_names[] = {
	[ROW_WAITS] = "waits",
	[ROW_EARLIER] = "earlier",
	[ROW_TEACHES] = "teaches",
	[ROW_SUPERSEDED] = "superseded",
	[ROW_DROPPED] = "dropped",
	[ROW_CASE] = "case",
};

struct row {
	char key[HASH_HEX_BYTES]; /* of the canonical input */
	uint64_t number;
	bool by_model, drop;
	enum row_state state;
};

/* what to do with the rows that pass by the second time */
enum look { LOOK_LIST, LOOK_CONFIRM, LOOK_FIX, LOOK_DROP };

struct looking {
	struct cli *c;
	enum look look;
	char slug[SLUG_BYTES + 1];
	struct tune tn;
	bool has_tune;
	int fd;
	uint64_t end; /* rows that we append ourselves are not looked at */
	struct row *rows;
	size_t n, cap;
	const char *id;	   /* which row: an id or its beginning, or rN; NULL: all that wait */
	struct buf output; /* of fix, JSON */
	size_t matched, done;
	struct buf line; /* of a row found by id, appended only when it is the only one */
};

/* ---- first pass: which row stands how ---- */

static int key_of(struct json_slice input, char out[HASH_HEX_BYTES], struct err *err)
{
	struct buf text = BUF_INIT;
	int rc = json_canonical(input, &text) < 0 ? err_nomem(err) : 0;

	if (rc == 0)
		sha256_hex(buf_str(&text), text.len, out);
	buf_release(&text);
	return rc;
}

static int gather(void *arg, const struct capture_row *row, struct err *err)
{
	struct looking *lk = arg;
	struct row *to;

	if (lk->n == lk->cap) {
		size_t cap = lk->cap > 0 ? 2 * lk->cap : 1024;
		struct row *more = cap > SIZE_MAX / sizeof(*more)
					   ? NULL
					   : realloc(lk->rows, cap * sizeof(*more));

		if (more == NULL)
			return err_nomem(err);
		lk->rows = more;
		lk->cap = cap;
	}
	to = &lk->rows[lk->n];
	*to = (struct row){.number = row->number, .by_model = row->rev.len > 0, .drop = row->drop};
	lk->n++;
	return key_of(row->input, to->key, err);
}

static int by_key(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int rc = strcmp(x->key, y->key);

	return rc != 0 ? rc : (x->number > y->number) - (x->number < y->number);
}

static int by_number(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* rows of one input, in file order: the last one by a person decides, else the last one of the
 * model waits; one of the model that drops says nothing */
static void judge(struct row *row, size_t n, bool is_case)
{
	size_t decides = n, waits = n;

	for (size_t i = 0; i < n; i++) {
		if (!row[i].by_model)
			decides = i;
		else if (!row[i].drop)
			waits = i;
	}
	for (size_t i = 0; i < n; i++) {
		if (is_case)
			row[i].state = ROW_CASE;
		else if (decides == n)
			row[i].state = row[i].drop  ? ROW_DROPPED
				       : i == waits ? ROW_WAITS
						    : ROW_EARLIER;
		else if (row[decides].drop)
			row[i].state = ROW_DROPPED;
		else
			row[i].state = i == decides ? ROW_TEACHES : ROW_SUPERSEDED;
	}
}

static int case_keys(struct looking *lk, char (**keys)[HASH_HEX_BYTES], size_t *n, struct err *err)
{
	struct artifact *af;
	int rc = 0;

	*keys = NULL;
	*n = 0;
	/* an artifact that is gone keeps nobody from reading the rows */
	if (kolm_artifact_open(lk->c->k, lk->slug, &af, NULL) < 0)
		return 0;
	*keys = calloc(artifact_cases(af) + 1, sizeof(**keys));
	rc = *keys == NULL ? err_nomem(err) : 0;
	for (size_t i = 0; rc == 0 && i < artifact_cases(af); i++)
		rc = key_of(artifact_case(af, i)->input, (*keys)[(*n)++], err);
	artifact_free(af);
	return rc;
}

static int judge_all(struct looking *lk, struct err *err)
{
	char(*keys)[HASH_HEX_BYTES];
	size_t ncases;
	int rc = case_keys(lk, &keys, &ncases, err);

	if (rc == 0 && lk->n > 0) {
		qsort(lk->rows, lk->n, sizeof(*lk->rows), by_key);
		for (size_t i = 0, next; i < lk->n; i = next) {
			bool is_case = false;

			for (next = i + 1;
				next < lk->n && strcmp(lk->rows[i].key, lk->rows[next].key) == 0;
				next++)
				;
			for (size_t j = 0; j < ncases && !is_case; j++)
				is_case = strcmp(keys[j], lk->rows[i].key) == 0;
			judge(lk->rows + i, next - i, is_case);
		}
		qsort(lk->rows, lk->n, sizeof(*lk->rows), by_number);
	}
	free(keys);
	return rc;
}

/* ---- second pass ---- */

static bool id_text(const struct capture_row *row, struct buf *out)
{
	return row->id.len > 0 && json_kind_of(row->id) == JSON_STRING &&
	       json_string(row->id, out) == 0 && out->len > 0;
}

static bool is_asked_for(const struct looking *lk, const struct capture_row *row)
{
	struct buf id = BUF_INIT;
	int64_t number;
	bool same;

	if (lk->id[0] == 'r' &&
		num_whole(lk->id + 1, strlen(lk->id) - 1, 0, INT64_MAX, &number) == 0)
		return (uint64_t)number == row->number;
	same = id_text(row, &id) && strncmp(id.data, lk->id, strlen(lk->id)) == 0;
	buf_release(&id);
	return same;
}

/* a look at ${row}, as a line for captures.jsonl */
static int render(
	const struct looking *lk, const struct capture_row *row, struct buf *line, struct err *err)
{
	struct capture cp = {.input = row->input, .of = ""};
	struct buf id = BUF_INIT;
	char fresh[33];
	int rc;

	if (lk->look == LOOK_FIX)
		cp.output = (struct json_slice){lk->output.data, lk->output.len};
	else if (lk->look == LOOK_CONFIRM)
		cp.output = row->output;
	cp.drop = lk->look == LOOK_DROP;
	if (id_text(row, &id))
		cp.of = id.data;
	if (lk->look == LOOK_CONFIRM && row->output.len == 0)
		rc = err_set(err, EINVAL, "row r%llu has no output to confirm; fix it",
			(unsigned long long)row->number);
	else
		rc = capture_render(&cp, line, fresh) < 0 ? err_nomem(err) : 0;
	buf_release(&id);
	return rc;
}

static void say_row(const struct looking *lk, const struct capture_row *row, enum row_state state)
{
	struct buf id = BUF_INIT;
	char name[32];

	(void)lk;
	if (id_text(row, &id))
		(void)snprintf(name, sizeof(name), "%.*s", ID_SHOWN, id.data);
	else
		(void)snprintf(name, sizeof(name), "r%llu", (unsigned long long)row->number);
	say_text(stdout, name);
	printf("%*s  %-10s  ", strlen(name) < ID_SHOWN ? (int)(ID_SHOWN - strlen(name)) : 0, "",
		state_names[state]);
	say_preview(stdout, row->rev, 10);
	printf("  ");
	say_preview(stdout, row->input, PREVIEW_COLUMNS);
	printf("  ->  ");
	if (row->drop)
		printf("(drop)");
	else
		say_preview(stdout, row->output, PREVIEW_COLUMNS);
	putchar('\n');
	buf_release(&id);
}

static int put_row_json(const struct capture_row *row, enum row_state state, struct err *err)
{
	static const char null[] = "null";
	struct buf out = BUF_INIT;
	int rc = 0;

	(void)buf_addf(&out, "{\"row\":%llu,\"id\":", (unsigned long long)row->number);
	(void)buf_add(
		&out, row->id.len > 0 ? row->id.text : null, row->id.len > 0 ? row->id.len : 4);
	(void)buf_addf(&out, ",\"state\":\"%s\",\"rev\":", state_names[state]);
	(void)buf_add(
		&out, row->rev.len > 0 ? row->rev.text : null, row->rev.len > 0 ? row->rev.len : 4);
	(void)buf_puts(&out, ",\"input\":");
	(void)json_compact(row->input, &out);
	(void)buf_puts(&out, ",\"output\":");
	if (row->output.len > 0)
		(void)json_compact(row->output, &out);
	else
		(void)buf_puts(&out, null);
	(void)buf_puts(&out, "}\n");
	if (out.failed)
		rc = err_nomem(err);
	else
		(void)fwrite(out.data, 1, out.len, stdout);
	buf_release(&out);
	return rc;
}

static int pass_by(void *arg, const struct capture_row *row, struct err *err)
{
	struct looking *lk = arg;
	struct row key = {.number = row->number},
		   *r = bsearch(&key, lk->rows, lk->n, sizeof(key), by_number);
	int rc;

	if (r == NULL)
		return 0;
	if (lk->look == LOOK_LIST) {
		if (flag_on(lk->c, "--waiting") && r->state != ROW_WAITS)
			return 0;
		lk->done++;
		if (flag_on(lk->c, "--json"))
			return put_row_json(row, r->state, err);
		say_row(lk, row, r->state);
		return 0;
	}
	if (lk->id != NULL) {
		if (!is_asked_for(lk, row) || lk->matched++ > 0)
			return 0;
		return render(lk, row, &lk->line, err);
	}
	if (r->state != ROW_WAITS)
		return 0;
	buf_reset(&lk->line);
	rc = render(lk, row, &lk->line, err);
	if (rc == 0)
		rc = loop_capture_append(lk->c->k, lk->slug, buf_str(&lk->line), lk->line.len, err);
	lk->done += rc == 0;
	return rc;
}

/* ---- the verbs ---- */

static int open_rows(struct looking *lk, struct err *err)
{
	struct capture_counts counts;
	int rc = path_slug(lk->c, lk->slug, err);

	if (rc == 0)
		rc = tune_open(kolm_store(lk->c->k), lk->slug, &lk->tn, err);
	if (rc < 0)
		return rc;
	lk->has_tune = true;
	lk->fd = captures_open(&lk->tn, err);
	if (lk->fd < 0)
		return lk->fd == -ENOENT ? err_set(err, ENOENT, "no captures yet") : lk->fd;
	rc = captures_scan(lk->fd, UINT64_MAX, gather, lk, &counts, err);
	lk->end = counts.bytes;
	return rc < 0 ? rc : judge_all(lk, err);
}

static int finish_one(struct looking *lk, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	err_quote(quoted, lk->id, strlen(lk->id));
	if (lk->matched == 0)
		return err_set(err, ENOENT, "no row \"%s\"; kolm captures list shows them", quoted);
	if (lk->matched > 1)
		return err_set(err, EINVAL, "%zu rows begin with \"%s\"; write more of the id",
			lk->matched, quoted);
	rc = loop_capture_append(lk->c->k, lk->slug, buf_str(&lk->line), lk->line.len, err);
	lk->done = rc == 0;
	return rc;
}

static int look(struct looking *lk, struct err *err)
{
	struct capture_counts counts;
	int rc;

	lk->fd = -1;
	rc = open_rows(lk, err);
	if (rc == 0)
		rc = captures_scan(lk->fd, lk->end, pass_by, lk, &counts, err);
	if (rc == 0 && lk->id != NULL)
		rc = finish_one(lk, err);
	if (lk->done > 0 && lk->look != LOOK_LIST) {
		int synced = captures_sync(&lk->tn, err);

		rc = rc < 0 ? rc : synced;
	}
	if (lk->fd >= 0)
		close(lk->fd);
	if (lk->has_tune)
		tune_close(&lk->tn);
	free(lk->rows);
	buf_release(&lk->output);
	buf_release(&lk->line);
	return rc;
}

/* which rows: one by id, or all that wait; never both */
static int choose(struct looking *lk, struct err *err)
{
	bool all = flag_on(lk->c, "--all");

	lk->id = lk->c->words > 0 ? lk->c->word[0] : NULL;
	if (all == (lk->id != NULL))
		return usage_error(err, "which row? give its id (kolm captures list), or --all for "
					"every row that waits");
	if (lk->id != NULL && lk->id[0] != 'r' && strlen(lk->id) < ID_PREFIX_MIN)
		return usage_error(err, "write at least %d characters of the id", ID_PREFIX_MIN);
	return 0;
}

static int change(struct cli *c, enum look what, const char *word, struct err *err)
{
	struct looking lk = {.c = c, .look = what};
	int rc = choose(&lk, err);

	if (rc == 0)
		rc = look(&lk, err);
	if (rc == 0)
		printf("ok %s %zu row%s\n", word, lk.done, lk.done == 1 ? "" : "s");
	return rc;
}

int cmd_captures_list(struct cli *c, struct err *err)
{
	struct looking lk = {.c = c, .look = LOOK_LIST};

	/* the artifact may stand as a word here */
	if (flag_value(c, "--artifact") == NULL && flag_value(c, "--slug") == NULL && c->words > 0)
		for (int i = 0; c->verb->flags[i].name != NULL; i++)
			if (strcmp(c->verb->flags[i].name, "--artifact") == 0)
				c->value[i] = c->word[0];
	return look(&lk, err);
}

int cmd_captures_confirm(struct cli *c, struct err *err)
{
	return change(c, LOOK_CONFIRM, "confirmed", err);
}

int cmd_captures_drop(struct cli *c, struct err *err)
{
	return change(c, LOOK_DROP, "dropped", err);
}

/* FORMATS 19.2 decides whether it is JSON, as for an input */
static int read_output(struct looking *lk, struct err *err)
{
	const char *from = flag_value(lk->c, "--output");
	struct buf text = BUF_INIT;
	size_t at = 0;
	int rc = 0;

	if (from == NULL && lk->c->words < 2)
		return usage_error(err,
			"what should the output have been? give it as a word, or --output FILE");
	if (from != NULL && lk->c->words > 1)
		return usage_error(err, "the output is given twice: as a word and by --output");
	if (from != NULL)
		rc = path_read(from[0] == '@' ? from + 1 : from, OUTPUT_BYTES_MAX, &text, err);
	else
		(void)buf_puts(&text, lk->c->word[1]);
	if (rc == 0 && text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	while (at < text.len && strchr(" \t\r\n", text.data[at]) != NULL)
		at++;
	if (rc == 0 && at < text.len && strchr("{[\"", text.data[at]) != NULL &&
		json_check(text.data, text.len, NULL) == 0)
		(void)json_compact((struct json_slice){text.data + at, text.len - at}, &lk->output);
	else if (rc == 0)
		(void)json_put_string(&lk->output, buf_str(&text), text.len);
	if (rc == 0 && (text.failed || lk->output.failed))
		rc = err_nomem(err);
	buf_release(&text);
	return rc;
}

int cmd_captures_fix(struct cli *c, struct err *err)
{
	struct looking lk = {.c = c, .look = LOOK_FIX};
	int rc = choose(&lk, err);

	if (rc == 0)
		rc = read_output(&lk, err);
	if (rc == 0)
		rc = look(&lk, err);
	else
		buf_release(&lk.output);
	if (rc == 0)
		printf("ok fixed %zu row%s\n", lk.done, lk.done == 1 ? "" : "s");
	return rc;
}
