/*
 * seeds - rows of --seeds split into a train part and a holdout, and rows of --examples
 * (FORMATS 18.2).
 *
 * The bucket of a row depends on its input and the split seed alone, so a row stays on its side
 * when others come and go.
 */
#include "artifact/compile.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct row {
	struct json_slice input, expected, tags;
	struct buf id;	 /* as text, empty: none */
	struct buf seen; /* the input as normalized_string sees it */
	struct buf canonical, answer;
	bool legacy, is_holdout;
};

struct rows {
	struct row *list;
	size_t n, room;
};

static void rows_release(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		buf_release(&rows->list[i].id);
		buf_release(&rows->list[i].seen);
		buf_release(&rows->list[i].canonical);
		buf_release(&rows->list[i].answer);
	}
	free(rows->list);
}

/* next_line(text, len, at, line): the next line that is neither blank nor a comment, trimmed */
static bool next_line(const char *text, size_t len, size_t *at, struct json_slice *line)
{
	while (*at < len) {
		const char *p = text + *at, *lf = memchr(p, '\n', len - *at),
			   *end = lf != NULL ? lf : text + len;

		*at = (size_t)(end - text) + 1;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
			end--;
		if (p == end || (end - p >= 2 && p[0] == '/' && p[1] == '/'))
			continue;
		*line = (struct json_slice){p, (size_t)(end - p)};
		return true;
	}
	return false;
}

/* row_read(line, row): input with expected or output, or prompt with completion; false when it is
 * no row */
static bool row_read(struct json_slice line, struct row *row)
{
	struct json_slice id;

	memset(row, 0, sizeof(*row));
	if (json_check(line.text, line.len, NULL) < 0 || json_kind_of(line) != JSON_OBJECT)
		return false;
	row->input = member_of(line, "input");
	row->expected = member_of(line, "expected");
	if (row->expected.len == 0)
		row->expected = member_of(line, "output");
	if (row->input.len == 0 || row->expected.len == 0) {
		row->input = member_of(line, "prompt");
		row->expected = member_of(line, "completion");
		row->legacy = true;
	}
	row->tags = member_of(line, "tags");
	id = member_of(line, "id");
	if (row->input.len == 0 || row->expected.len == 0)
		return false;
	if (id.len > 0 && json_kind_of(id) == JSON_STRING)
		(void)json_string(id, &row->id);
	return true;
}

static struct row *rows_add(struct rows *rows)
{
	if (rows->n == rows->room) {
		size_t room = 2 * rows->room + 64;
		struct row *list = realloc(rows->list, room * sizeof(*list));
		if (list == NULL)
			return NULL;
		rows->list = list;
		rows->room = room;
	}
	return &rows->list[rows->n++];
}

static int row_finish(struct row *row, const struct plan *plan)
{
	struct buf text = BUF_INIT;
	char hex[HASH_HEX_BYTES];
	unsigned bucket = 0;
	int rc;

	rc = json_kind_of(row->input) == JSON_STRING ? json_string(row->input, &text)
						     : json_canonical(row->input, &text);
	(void)buf_putc(&text, ' ');
	(void)buf_puts(&text, plan->split_seed);
	if (rc == 0 && !text.failed) {
		sha256_hex(buf_str(&text), text.len, hex);
		for (int i = 0; i < 8; i++) /* the first 32 bits, modulo 1000 */
			bucket = (unsigned)((bucket * 16ULL +
						    (unsigned)(hex[i] <= '9' ? hex[i] - '0'
									     : hex[i] - 'a' + 10)) %
					    1000);
		row->is_holdout = bucket < floor(plan->holdout_ratio * 1000);
		rc = comparator_text(row->input, &row->seen);
	}
	if (rc == 0)
		rc = json_canonical(row->input, &row->canonical);
	if (rc == 0)
		rc = json_canonical(row->expected, &row->answer);
	if (text.failed)
		rc = -ENOMEM;
	buf_release(&text);
	return rc < 0 ? -ENOMEM : 0;
}

static int by_text(const void *a, const void *b)
{
	const struct buf *x = a, *y = b;

	return utf16_compare(buf_str(x), x->len, buf_str(y), y->len);
}

struct tag {
	struct buf text; /* what it says */
	struct json_slice v;
	size_t order;
};

static int by_tag(const void *a, const void *b)
{
	const struct tag *x = a, *y = b;
	int order = by_text(&x->text, &y->text);

	return order != 0 ? order : x->order < y->order ? -1 : 1;
}

/* tags, sorted as texts; canonical text of each */
static int put_tags(struct json_slice tags, struct buf *out)
{
	struct json_slice v;
	struct tag *list;
	size_t n = 0, pos = 0;

	(void)buf_puts(out, "\"tags\":[");
	while (json_next(tags, &pos, NULL, &v))
		n++;
	list = calloc(n + 1, sizeof(*list));
	if (list == NULL || json_kind_of(tags) != JSON_ARRAY)
		n = 0;
	pos = 0;
	for (size_t i = 0; i < n && json_next(tags, &pos, NULL, &v); i++) {
		list[i] = (struct tag){.v = v, .order = i};
		if ((json_kind_of(v) == JSON_STRING ? json_string(v, &list[i].text)
						    : json_canonical(v, &list[i].text)) < 0)
			out->failed = true;
	}
	if (n > 1)
		qsort(list, n, sizeof(*list), by_tag);
	for (size_t i = 0; i < n; i++) {
		(void)buf_puts(out, i > 0 ? "," : "");
		(void)json_canonical(list[i].v, out);
		buf_release(&list[i].text);
	}
	out->failed |= list == NULL;
	free(list);
	return buf_putc(out, ']');
}

enum part { PART_ALL, PART_TRAIN, PART_HOLDOUT };

static int part_hash(const struct rows *rows, enum part part, char out[HASH_HEX_BYTES])
{
	struct buf text = BUF_INIT;
	int rc;

	(void)buf_putc(&text, '[');
	for (size_t i = 0; i < rows->n; i++) {
		const struct row *row = &rows->list[i];

		if (part != PART_ALL && row->is_holdout != (part == PART_HOLDOUT))
			continue;
		(void)buf_addf(&text, "%s{\"expected\":", text.len > 1 ? "," : "");
		(void)buf_add(&text, buf_str(&row->answer), row->answer.len);
		(void)buf_puts(&text, ",\"input\":");
		(void)buf_add(&text, buf_str(&row->canonical), row->canonical.len);
		(void)buf_putc(&text, ',');
		(void)put_tags(row->tags, &text);
		(void)buf_putc(&text, '}');
	}
	rc = buf_putc(&text, ']');
	sha256_hex(buf_str(&text), text.len, out);
	buf_release(&text);
	return rc;
}

/* overlap(rows, offset): how many holdout rows have the buf at ${offset} in common with a train row
 */
static int overlap(const struct rows *rows, size_t offset, size_t *out)
{
	struct buf *train = calloc(rows->n + 1, sizeof(*train));
	size_t n = 0, hits = 0;

	if (train == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < rows->n; i++)
		if (!rows->list[i].is_holdout)
			train[n++] = *(const struct buf *)((const char *)&rows->list[i] + offset);
	qsort(train, n, sizeof(*train), by_text);
	for (size_t i = 0; i < rows->n; i++)
		if (rows->list[i].is_holdout && bsearch((const char *)&rows->list[i] + offset,
							train, n, sizeof(*train), by_text) != NULL)
			hits++;
	free(train);
	*out = hits;
	return 0;
}

/* the ids taken so far, by their XXH3: open addressing, 0 is free */
struct ids {
	uint64_t *slot;
	size_t room, n;
};

static bool ids_put(struct ids *ids, uint64_t hash)
{
	size_t at = hash & (ids->room - 1);

	while (ids->slot[at] != 0 && ids->slot[at] != hash)
		at = (at + 1) & (ids->room - 1);
	if (ids->slot[at] == hash)
		return false;
	ids->slot[at] = hash;
	ids->n++;
	return true;
}

/* ids_add(ids, id): 1 when it was free and now is taken, 0 when it was taken already */
static int ids_add(struct ids *ids, const char *id)
{
	if (2 * (ids->n + 1) > ids->room) {
		struct ids more = {.room = ids->room != 0 ? 2 * ids->room : 256};

		more.slot = calloc(more.room, sizeof(*more.slot));
		if (more.slot == NULL)
			return -ENOMEM;
		for (size_t i = 0; i < ids->room; i++)
			if (ids->slot[i] != 0)
				(void)ids_put(&more, ids->slot[i]);
		free(ids->slot);
		*ids = more;
	}
	return ids_put(ids, inode_number(id, strlen(id)));
}

static int ids_of_plan(const struct plan *plan, struct ids *ids)
{
	struct buf text = BUF_INIT;
	struct json_slice v;
	size_t pos = 0;
	int rc = 0;

	(void)buf_putc(&text, '[');
	(void)buf_add(&text, buf_str(&plan->cases), plan->cases.len);
	if (buf_putc(&text, ']') < 0)
		rc = -ENOMEM;
	while (rc >= 0 && json_next(slice_of(&text), &pos, NULL, &v)) {
		char *id = member_text(v, "id");
		rc = id != NULL ? ids_add(ids, id) : 0;
		free(id);
	}
	buf_release(&text);
	return rc < 0 ? rc : 0;
}

static int add_case(struct plan *plan, struct ids *ids, const struct row *row, const char *prefix,
	size_t number)
{
	struct buf id = BUF_INIT;
	size_t len;
	int rc;

	if (row->id.len > 0)
		(void)buf_puts(&id, buf_str(&row->id));
	else
		(void)buf_addf(&id, "%s_%zu", prefix, number);
	len = id.len;
	rc = ids_add(ids, buf_str(&id));
	for (size_t i = 2; rc == 0; i++) {
		id.len = len;
		(void)buf_addf(&id, "_%zu", i);
		rc = ids_add(ids, buf_str(&id));
	}
	(void)buf_puts(&plan->cases, plan->case_count++ > 0 ? ",{\"id\":" : "{\"id\":");
	(void)json_put_text(&plan->cases, buf_str(&id));
	(void)buf_puts(&plan->cases, ",\"input\":");
	(void)buf_add(&plan->cases, row->input.text, row->input.len);
	(void)buf_puts(&plan->cases, ",\"expected\":");
	(void)buf_add(&plan->cases, row->expected.text, row->expected.len);
	(void)buf_putc(&plan->cases, '}');
	buf_release(&id);
	return rc < 0 || plan->cases.failed ? -ENOMEM : 0;
}

static int read_rows(
	struct plan *plan, const char *text, size_t len, struct rows *rows, struct err *err)
{
	struct json_slice line;
	size_t at = 0;

	while (next_line(text, len, &at, &line)) {
		struct row row, *to;

		if (!row_read(line, &row))
			continue; /* FORMATS 18.2: broken lines are skipped */
		to = rows_add(rows);
		if (to == NULL) {
			buf_release(&row.id);
			return err_nomem(err);
		}
		*to = row;
		if (row_finish(to, plan) < 0)
			return err_nomem(err);
		plan->seeds.legacy += row.legacy;
		plan->seeds.canonical += !row.legacy;
		plan->seeds.holdout += to->is_holdout;
		plan->seeds.train += !to->is_holdout;
	}
	return 0;
}

int seeds_split(struct plan *plan, const char *text, size_t len, struct err *err)
{
	struct rows rows = {NULL, 0, 0};
	struct seeds *s = &plan->seeds;
	struct ids ids = {NULL, 0, 0};
	int rc = read_rows(plan, text, len, &rows, err);

	s->present = true;
	if (rc == 0 &&
		(part_hash(&rows, PART_ALL, s->all_hash) < 0 ||
			part_hash(&rows, PART_TRAIN, s->train_hash) < 0 ||
			part_hash(&rows, PART_HOLDOUT, s->holdout_hash) < 0 ||
			overlap(&rows, offsetof(struct row, canonical), &s->input_overlap) < 0 ||
			overlap(&rows, offsetof(struct row, answer), &s->output_overlap) < 0 ||
			overlap(&rows, offsetof(struct row, seen), &s->near_duplicates) < 0))
		rc = err_nomem(err);
	for (size_t i = 0; i < rows.n && rc == 0; i++)
		if (rows.list[i].is_holdout &&
			add_case(plan, &ids, &rows.list[i], "seed", i + 1) < 0)
			rc = err_nomem(err);
	free(ids.slot);
	rows_release(&rows);
	return rc;
}

int examples_add(struct plan *plan, const char *text, size_t len, struct err *err)
{
	struct json_slice line;
	struct ids ids = {NULL, 0, 0};
	size_t at = 0, n = 0;
	int rc = ids_of_plan(plan, &ids) < 0 ? err_nomem(err) : 0;

	while (rc == 0 && next_line(text, len, &at, &line)) {
		struct row row;

		n++;
		if (!row_read(line, &row))
			rc = plan_invalid(err, "examples, row %zu: input and expected expected", n);
		else if (add_case(plan, &ids, &row, "user", n) < 0)
			rc = err_nomem(err);
		buf_release(&row.id);
	}
	free(ids.slot);
	return rc;
}
