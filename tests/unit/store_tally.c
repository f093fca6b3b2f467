/* store/tally: the numbers of captures_teach(), kept up to date while the file grows, is cut,
 * replaced or rewritten. */
#include "store/tally.h"
#include "store_rig.h"

enum { ROUNDS = 300, INPUTS = 12 };

static unsigned dice;

static unsigned roll(unsigned n)
{
	dice = dice * 1103515245u + 12345u;
	return (dice >> 16) % n;
}

/* some rows of each kind, torn and foreign lines among them */
static void append_rows(struct rig *r, unsigned rows)
{
	int fd = openat(r->tn.dir, "captures.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0600);

	cr_assert_geq(fd, 0);
	while (rows-- > 0) {
		unsigned input = roll(INPUTS);

		switch (roll(8)) {
		case 0:
			dprintf(fd, "{\"input\":{\"b\":%u,\"a\":1},\"output\":1,\"rev\":\"v1\"}\n",
				input);
			break;
		case 1:
			dprintf(fd, "{\"input\":{\"a\":1,\"b\":%u},\"drop\":true}\n", input);
			break;
		case 2:
			dprintf(fd, "{\"input\":{\"a\":1,\"\n");
			break;
		case 3:
			dprintf(fd, "\n[1]\n");
			break;
		default:
			dprintf(fd, "{\"output\":%u,\"input\":{\"a\": 1,\"b\":%u}}\n", roll(9),
				input);
		}
	}
	close(fd);
}

static void compare(struct rig *r, struct tally *ta, uint64_t from, const struct json_slice *cases,
	size_t ncases)
{
	struct teach_options all = {.end = UINT64_MAX, .cases = cases, .ncases = ncases};
	struct teach_options late = {
		.from = from, .end = UINT64_MAX, .cases = cases, .ncases = ncases};
	int fd = captures_open(&r->tn, &r->err);
	struct capture_counts rows;
	struct tally_counts got;
	struct teach te;

	cr_assert_geq(fd, 0);
	cr_assert_eq(tally_count(ta, fd, from, cases, ncases, &got, &r->err), 0);
	cr_assert_eq(captures_scan(fd, UINT64_MAX, NULL, NULL, &rows, &r->err), 0);
	cr_assert_eq(captures_teach(fd, &all, &te, &r->err), 0);
	cr_expect_eq(memcmp(&got.rows, &rows, sizeof(rows)), 0);
	cr_expect_eq(got.teach, te.n);
	cr_expect_eq(got.model, te.model);
	cr_expect_eq(got.superseded, te.superseded);
	cr_expect_eq(got.cases, te.cases);
	cr_expect_eq(got.dropped, te.dropped);
	teach_release(&te);
	cr_assert_eq(captures_teach(fd, &late, &te, &r->err), 0);
	cr_expect_eq(got.fresh, te.fresh);
	teach_release(&te);
	/* whoever does not care from where the fresh ones are gets the same of the rest */
	uint64_t fresh = got.fresh;

	cr_assert_eq(tally_count(ta, fd, TALLY_ANY, cases, ncases, &got, &r->err), 0);
	cr_expect_eq(got.fresh, fresh);
	cr_expect_eq(got.rows.rows, rows.rows);
	close(fd);
}

Test(tally, says_what_teach_says)
{
	static const char *const texts[] = {"{\"a\":1,\"b\":3}", "{\"b\":5,\"a\":1}"};
	const struct json_slice cases[] = {
		{texts[0], strlen(texts[0])}, {texts[1], strlen(texts[1])}};
	uint64_t from = 0;
	struct tally *ta;
	struct rig r;

	rig_open(&r);
	works(tally_new(&ta, &r.err));
	dice = 1;
	for (int i = 0; i < ROUNDS; i++) {
		struct stat st;

		append_rows(&r, roll(20));
		if (i % 20 == 19) { /* a step was taken */
			cr_assert_eq(fstatat(r.tn.dir, "captures.jsonl", &st, 0), 0);
			from = (uint64_t)st.st_size;
		}
		compare(&r, ta, from, cases, i % 30 == 29 ? 1 : 2);
	}
	tally_free(ta);
	rig_close(&r);
}

/* each a different length, so that a file written anew does not look the same by chance */
static void put_row(struct rig *r, int n)
{
	static int fd = -1;
	static ino_t ino;
	struct stat st;

	if (fd < 0 || fstatat(r->tn.dir, "captures.jsonl", &st, 0) < 0 || st.st_ino != ino) {
		if (fd >= 0)
			close(fd);
		fd = openat(r->tn.dir, "captures.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0600);
		cr_assert(fd >= 0 && fstat(fd, &st) == 0);
		ino = st.st_ino;
	}
	dprintf(fd, "{\"input\":%d,\"output\":\"%.*s\"}\n", n, n % 7, "abcdefg");
}

static size_t reads;

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
	ssize_t n = pread64(fd, data, size, at);

	reads += n > 0 ? (size_t)n : 0;
	return n;
}

/* what is known already is not read again, and what only looks like it is */
Test(tally, reads_what_is_new)
{
	struct tally_counts got;
	struct tally *ta;
	struct rig r;
	struct stat st;
	int fd;

	rig_open(&r);
	works(tally_new(&ta, &r.err));
	for (int i = 0; i < 20000; i++)
		put_row(&r, i);
	fd = captures_open(&r.tn, &r.err);
	cr_assert_geq(fd, 0);
	works(tally_count(ta, fd, 0, NULL, 0, &got, &r.err));
	cr_expect_eq(got.teach, 20000);
	cr_assert_eq(fstat(fd, &st), 0);
	put_row(&r, 20000);
	reads = 0;
	works(tally_count(ta, fd, 0, NULL, 0, &got, &r.err));
	cr_expect_eq(got.teach, 20001);
	cr_expect_lt(reads, 20000, "%zu bytes read for one row", reads);
	/* cut and written anew beyond where it was, in the same file */
	close(fd);
	fd = openat(r.tn.dir, "captures.jsonl", O_RDWR | O_TRUNC);
	cr_assert_geq(fd, 0);
	for (int i = 0; i < 40000; i++)
		put_row(&r, i / 2 + 100000);
	cr_assert_gt(lseek(fd, 0, SEEK_END), st.st_size);
	works(tally_count(ta, fd, 0, NULL, 0, &got, &r.err));
	cr_expect_eq(got.rows.rows, 40000);
	cr_expect_eq(got.teach, 20000);
	cr_expect_eq(got.superseded, 20000);
	/* one row, far from the end, says something else in as many bytes */
	(void)usleep(20000); /* file times may be that coarse */
	cr_assert_eq(pwrite(fd, "{\"input\":1     ", 15, 0), 15);
	works(tally_count(ta, fd, 0, NULL, 0, &got, &r.err));
	cr_expect_eq(got.teach, 20001);
	cr_expect_eq(got.superseded, 19999);
	/* and another file */
	close(fd);
	cr_assert_eq(unlinkat(r.tn.dir, "captures.jsonl", 0), 0);
	put_row(&r, 7);
	fd = captures_open(&r.tn, &r.err);
	works(tally_count(ta, fd, 0, NULL, 0, &got, &r.err));
	cr_expect_eq(got.teach, 1);
	close(fd);
	tally_free(ta);
	rig_close(&r);
}
