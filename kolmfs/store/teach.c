/*
 * teach - which rows teach (DESIGN section 4, "Which rows teach"); the one decision for status,
 * watch and runner.
 *
 * First pass: every row becomes 40 bytes, its input a 128-bit hash of its canonical JSON. Sorted by
 * that hash, the rows of one input lie together and the decision is local. Second pass: only what
 * was chosen is read again.
 */
#include "store/captures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "store/private.h"

enum mark { MARK_SKIP, MARK_FRESH, MARK_OLD };

struct entry {
	XXH128_hash_t input, output;	/* output: only where the model's own rows teach, else 0 */
	uint64_t number, offset, order; /* order: for the choice of what is replayed */
	uint32_t len;
	bool model, drop, fresh;
	enum mark mark;
};

struct gather {
	const struct teach_options *opt;
	const struct capture_counts *counts;
	struct entry *list;
	size_t n, cap;
	struct buf key;	     /* canonical JSON of the row at hand */
	uint64_t broken_old; /* unreadable lines before the first fresh row */
};

static int value_key(struct json_slice value, struct buf *key, XXH128_hash_t *out)
{
	buf_reset(key);
	if (json_canonical(value, key) < 0)
		return -ENOMEM;
	*out = XXH3_128bits(key->data, key->len);
	return 0;
}

static uint64_t unreadable(const struct capture_counts *c)
{
	return c->torn + c->oversize + c->broken;
}

static int gather_row(void *arg, const struct capture_row *row, struct err *err)
{
	struct gather *g = arg;
	struct entry *en;

	if (g->n == g->cap) {
		size_t cap = g->cap == 0 ? 256 : g->cap * 2;

		en = realloc(g->list, cap * sizeof(*en));
		if (en == NULL)
			return err_nomem(err);
		g->list = en;
		g->cap = cap;
	}
	en = &g->list[g->n];
	*en = (struct entry){.number = row->number,
		.offset = row->offset,
		.len = (uint32_t)(row->line.len),
		.model = row->rev.len > 0,
		.drop = row->drop,
		.fresh = row->offset >= g->opt->from};
	if (value_key(row->input, &g->key, &en->input) < 0)
		return err_nomem(err);
	en->order = XXH3_64bits_withSeed(g->key.data, g->key.len, g->opt->seed);
	if (g->opt->all && !row->drop && value_key(row->output, &g->key, &en->output) < 0)
		return err_nomem(err);
	if (!en->fresh)
		g->broken_old = unreadable(g->counts);
	g->n++;
	return 0;
}

static int by_input(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = XXH128_cmp(&x->input, &y->input);

	if (c == 0)
		c = XXH128_cmp(&x->output, &y->output);
	return c != 0 ? c : (x->number > y->number) - (x->number < y->number);
}

static int by_order(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static int by_number(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int by_hash(const void *a, const void *b)
{
	return XXH128_cmp(a, b);
}

/* the model said the same again, right behind in by_input() */
static bool is_said_again(const struct entry *en, const struct entry *end)
{
	return en + 1 < end && en->model && !en->drop && en[1].model && !en[1].drop &&
	       XXH128_isEqual(en[0].output, en[1].output);
}

/* the rows of one input, in the order of by_input() */
static void decide(const struct teach_options *opt, struct entry *list, size_t n, bool is_case,
	struct teach *out)
{
	struct entry *last = NULL;

	for (size_t i = 0; i < n; i++)
		if (!list[i].model && (last == NULL || list[i].number > last->number))
			last = &list[i];
	for (size_t i = 0; i < n; i++) {
		struct entry *en = &list[i];
		uint64_t *why = NULL;

		if (is_case)
			why = &out->cases;
		else if (last != NULL && last->drop)
			why = &out->dropped;
		else if (en->model && !opt->all)
			why = &out->model;
		else if ((last != NULL && en != last) || (opt->all && is_said_again(en, list + n)))
			why = &out->superseded;
		else if (en->drop) /* with a rev: no person's word, and nothing to learn */
			why = &out->dropped;
		if (why == NULL)
			en->mark = en->fresh ? MARK_FRESH : MARK_OLD;
		else if (en->fresh)
			(*why)++;
	}
}

/* of the old rows that teach, keep the ${replay} first in an order only the seed decides */
static int choose_replay(struct entry *list, size_t n, uint64_t replay, struct err *err)
{
	struct entry **old;
	size_t count = 0;

	old = malloc((n > 0 ? n : 1) * sizeof(*old));
	if (old == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++)
		if (list[i].mark == MARK_OLD)
			old[count++] = &list[i];
	if (count > replay) {
		qsort(old, count, sizeof(*old), by_order);
		for (size_t i = (size_t)replay; i < count; i++)
			old[i]->mark = MARK_SKIP;
	}
	free(old);
	return 0;
}

static char *copy(struct json_slice value)
{
	char *text = malloc(value.len + 1);

	if (text != NULL) {
		memcpy(text, value.text, value.len);
		text[value.len] = '\0';
	}
	return text;
}

static int row_load(
	int fd, const struct entry *en, struct buf *text, struct teach_row *out, struct err *err)
{
	struct json_slice line, input, output;
	size_t got = 0;

	buf_reset(text);
	if (buf_reserve(text, en->len + 1) < 0)
		return err_nomem(err);
	while (got < en->len) {
		ssize_t n = pread(fd, text->data + got, en->len - got, (off_t)(en->offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read captures.jsonl at offset %llu",
				(unsigned long long)(en->offset + got));
		if (n == 0)
			break;
		got += (size_t)n;
	}
	line = (struct json_slice){text->data, got};
	int is_json = json_check(line.text, line.len, NULL);
	if (is_json == -ENOMEM)
		return err_nomem(err);
	if (got < en->len || is_json < 0 || !json_member(line, "input", &input) ||
		!json_member(line, "output", &output))
		return err_set(err, ESTALE, "captures.jsonl was replaced or cut");
	*out = (struct teach_row){.number = en->number,
		.input = copy(input),
		.output = copy(output),
		.input_len = input.len,
		.output_len = output.len};
	if (out->input != NULL && out->output != NULL)
		return 0;
	free(out->input);
	free(out->output);
	return err_nomem(err);
}

static int load_chosen(
	int fd, const struct entry *list, size_t n, struct teach *out, struct err *err)
{
	struct buf text = BUF_INIT;
	size_t count = 0;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		count += list[i].mark != MARK_SKIP;
	out->row = calloc(count > 0 ? count : 1, sizeof(*out->row));
	if (out->row == NULL)
		return err_nomem(err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (list[i].mark == MARK_SKIP)
			continue;
		rc = row_load(fd, &list[i], &text, &out->row[out->n], err);
		if (rc < 0)
			break;
		out->n++;
		out->fresh += list[i].mark == MARK_FRESH;
	}
	buf_release(&text);
	return rc;
}

static int case_keys(
	const struct teach_options *opt, struct buf *key, XXH128_hash_t **out, struct err *err)
{
	XXH128_hash_t *keys = calloc(opt->ncases > 0 ? opt->ncases : 1, sizeof(*keys));

	if (keys == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < opt->ncases; i++)
		if (value_key(opt->cases[i], key, &keys[i]) < 0) {
			free(keys);
			return err_nomem(err);
		}
	qsort(keys, opt->ncases, sizeof(*keys), by_hash);
	*out = keys;
	return 0;
}

int captures_teach(int fd, const struct teach_options *opt, struct teach *out, struct err *err)
{
	struct capture_counts counts;
	struct gather g = {.opt = opt, .counts = &counts};
	XXH128_hash_t *cases = NULL;
	int rc;

	*out = (struct teach){0};
	rc = case_keys(opt, &g.key, &cases, err);
	if (rc == 0)
		rc = captures_scan(fd, opt->end, gather_row, &g, &counts, err);
	if (rc < 0)
		goto out;
	out->broken = unreadable(&counts) - g.broken_old;
	if (g.n > 0)
		qsort(g.list, g.n, sizeof(*g.list), by_input);
	for (size_t i = 0, k; i < g.n; i = k) {
		for (k = i + 1; k < g.n && XXH128_isEqual(g.list[k].input, g.list[i].input); k++)
			;
		decide(opt, g.list + i, k - i,
			bsearch(&g.list[i].input, cases, opt->ncases, sizeof(*cases), by_hash) !=
				NULL,
			out);
	}
	if (g.n > 0)
		qsort(g.list, g.n, sizeof(*g.list), by_number);
	rc = choose_replay(g.list, g.n, opt->replay, err);
	if (rc == 0)
		rc = load_chosen(fd, g.list, g.n, out, err);
	if (rc < 0)
		teach_release(out);
out:
	free(cases);
	free(g.list);
	buf_release(&g.key);
	return rc;
}

void teach_release(struct teach *te)
{
	for (size_t i = 0; i < te->n; i++) {
		free(te->row[i].input);
		free(te->row[i].output);
	}
	free(te->row);
	*te = (struct teach){0};
}
