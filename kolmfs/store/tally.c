/*
 * tally - see tally.h. The rows of one input decide among themselves, so of each input is kept how
 * many rows it has and what its last one says; a new row takes its input's part out of the sums and
 * puts the new one in.
 */
#include "store/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "store/private.h"

enum { SLOTS_MIN = 64 };

/* one input; all zeros: a free slot */
struct input {
	uint64_t key;	/* hash of its canonical JSON, never 0 */
	uint32_t model; /* rows with rev */
	uint32_t people : 29;
	uint32_t is_case : 1;
	uint32_t is_dropped : 1; /* its last row without rev says so */
	uint32_t is_fresh : 1;	 /* that one came at or after ${from} */
};

struct tally {
	uint64_t dev, ino, number; /* of the file, 0 none yet; of its next line */
	uint64_t mark;		   /* hash of the last bytes counted */
	uint64_t size;		   /* of the file before it was counted, and */
	struct timespec written;   /* its time */
	uint64_t from;
	uint64_t cases_id;
	struct tally_counts sums;
	struct input *slot;
	size_t cap, n; /* cap a power of two */
	/* of the count that is going on */
	uint64_t *cases; /* sorted */
	size_t ncases;
	struct buf key;
};

int tally_new(struct tally **out, struct err *err)
{
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? err_nomem(err) : 0;
}

static void reset(struct tally *ta)
{
	free(ta->slot);
	ta->slot = NULL;
	ta->cap = ta->n = 0;
	ta->dev = ta->ino = ta->number = ta->mark = 0;
	ta->sums = (struct tally_counts){0};
}

void tally_free(struct tally *ta)
{
	if (ta == NULL)
		return;
	reset(ta);
	buf_release(&ta->key);
	free(ta);
}

/* 0: no memory */
static uint64_t key_of(struct tally *ta, struct json_slice input)
{
	uint64_t key;

	buf_reset(&ta->key);
	if (json_canonical(input, &ta->key) < 0)
		return 0;
	key = XXH3_64bits(ta->key.data, ta->key.len);
	return key != 0 ? key : 1;
}

/* the slot of ${key}, or the free one where it belongs */
static struct input *find(struct input *slot, size_t cap, uint64_t key)
{
	size_t i = key & (cap - 1);

	while (slot[i].key != 0 && slot[i].key != key)
		i = (i + 1) & (cap - 1);
	return &slot[i];
}

static int grow(struct tally *ta)
{
	size_t cap = ta->cap == 0 ? SLOTS_MIN : ta->cap * 2;
	struct input *slot = calloc(cap, sizeof(*slot));

	if (slot == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ta->cap; i++)
		if (ta->slot[i].key != 0)
			*find(slot, cap, ta->slot[i].key) = ta->slot[i];
	free(ta->slot);
	ta->slot = slot;
	ta->cap = cap;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* what the rows of one input add to the sums; teach.c: decide() */
static void add_to(struct tally_counts *sums, const struct input *in, uint64_t sign)
{
	const uint64_t people = in->people, rows = in->model + people;

	if (in->is_case) {
		sums->cases += sign * rows;
	} else if (in->is_dropped) {
		sums->dropped += sign * rows;
	} else {
		sums->model += sign * in->model;
		if (people > 0) {
			sums->superseded += sign * (people - 1);
			sums->teach += sign;
			sums->fresh += sign * in->is_fresh;
		}
	}
}

static int add_row(void *arg, const struct capture_row *row, struct err *err)
{
	struct tally *ta = arg;
	uint64_t key = key_of(ta, row->input);
	struct input *in;

	if (key == 0 || (ta->n * 4 >= ta->cap * 3 && grow(ta) < 0))
		return err_nomem(err);
	in = find(ta->slot, ta->cap, key);
	if (in->key == 0) {
		in->key = key;
		in->is_case = ta->ncases > 0 &&
			      bsearch(&key, ta->cases, ta->ncases, sizeof(key), by_value) != NULL;
		ta->n++;
	}
	add_to(&ta->sums, in, UINT64_MAX); /* minus one */
	if (row->rev.len > 0) {
		in->model++;
	} else {
		in->people++;
		in->is_dropped = row->drop;
		in->is_fresh = row->offset >= ta->from;
	}
	add_to(&ta->sums, in, 1);
	return 0;
}

static int take_cases(
	struct tally *ta, const struct json_slice *cases, size_t ncases, struct err *err)
{
	ta->cases = calloc(ncases + 1, sizeof(*ta->cases));
	if (ta->cases == NULL)
		return err_nomem(err);
	for (size_t i = 0; i < ncases; i++) {
		ta->cases[i] = key_of(ta, cases[i]);
		if (ta->cases[i] == 0)
			return err_nomem(err);
	}
	qsort(ta->cases, ncases, sizeof(*ta->cases), by_value);
	ta->ncases = ncases;
	return 0;
}

/* is what was counted still the beginning of the file? */
static int is_grown(const struct tally *ta, int fd, const struct stat *st, struct err *err)
{
	uint64_t mark;
	int rc;

	if (ta->ino == 0 || st->st_dev != ta->dev || st->st_ino != ta->ino ||
		(uint64_t)st->st_size < ta->sums.rows.bytes)
		return 0;
	/* somebody wrote and appended nothing */
	if ((uint64_t)st->st_size == ta->size &&
		(st->st_mtim.tv_sec != ta->written.tv_sec ||
			st->st_mtim.tv_nsec != ta->written.tv_nsec))
		return 0;
	rc = mark_before(fd, ta->sums.rows.bytes, &mark, err);
	return rc < 0 ? rc : mark == ta->mark;
}

static int count(struct tally *ta, int fd, uint64_t from, struct err *err)
{
	uint64_t cases_id = XXH3_64bits(ta->cases, ta->ncases * sizeof(*ta->cases));
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat captures.jsonl");
	rc = is_grown(ta, fd, &st, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || cases_id != ta->cases_id || (from != TALLY_ANY && from != ta->from)) {
		reset(ta);
		ta->from = from != TALLY_ANY ? from : ta->from;
		ta->cases_id = cases_id;
	}
	ta->dev = st.st_dev;
	ta->ino = st.st_ino;
	ta->size = (uint64_t)st.st_size;
	ta->written = st.st_mtim;
	rc = captures_more(fd, &ta->number, add_row, ta, &ta->sums.rows, err);
	return rc < 0 ? rc : mark_before(fd, ta->sums.rows.bytes, &ta->mark, err);
}

int tally_count(struct tally *ta, int fd, uint64_t from, const struct json_slice *cases,
	size_t ncases, struct tally_counts *out, struct err *err)
{
	int rc = take_cases(ta, cases, ncases, err);

	if (rc == 0)
		rc = count(ta, fd, from, err);
	free(ta->cases);
	ta->cases = NULL;
	ta->ncases = 0;
	if (rc == 0)
		*out = ta->sums;
	/* half counted, or too much to keep */
	if (rc < 0 || ta->n > TALLY_INPUTS_MAX)
		reset(ta);
	return rc;
}
