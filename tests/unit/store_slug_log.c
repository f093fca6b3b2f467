/* store/slug_log: one slug's lines as a text: the same bytes as the log's lines picked out anew,
 * while the log grows, turns over, is cut or written anew. */
#include "store/slug_log.h"
#include "store_rig.h"

enum { ROUNDS = 300, SPARSE_LINES = 12000 };

static unsigned dice;

static unsigned roll(unsigned n)
{
	dice = dice * 1103515245u + 12345u;
	return (dice >> 16) % n;
}

static size_t reads;

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
	ssize_t n = pread64(fd, data, size, at);

	reads += n > 0 ? (size_t)n : 0;
	return n;
}

static int log_fd(struct rig *r)
{
	int fd = openat(r->st.logs, "tune.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

/* lines of three slugs, of none, foreign and torn ones */
static void append_lines(int fd, unsigned lines)
{
	static const char *const slugs[] = {"\"demo\"", "\"other\"", "\"demo2\"", "null"};

	while (lines-- > 0)
		switch (roll(10)) {
		case 0:
			dprintf(fd, "{\"event\":\"torn\",\"slug\":\"demo\"\n");
			break;
		case 1:
			dprintf(fd, "\n\"demo\"\n{\"event\":\"x\",\"by\":{\"slug\":\"demo\"}}\n");
			break;
		default:
			dprintf(fd, "{\"event\":\"e\",\"n\":\"%0*d\",\"slug\":%s}\n",
				(int)roll(300) + 1, 0, slugs[roll(4)]);
		}
}

static struct buf wanted(struct rig *r)
{
	struct buf all = BUF_INIT;
	int rc = log_slug_back(&r->st, "demo", 0, &all, &r->err);

	cr_assert(rc == 0 || rc == -ENOENT);
	(void)buf_puts(&all, "");
	return all;
}

/* its length, and some bytes from anywhere */
static void compare(struct rig *r, struct slug_log *sl)
{
	struct buf all = wanted(r);
	struct timespec grown;
	uint64_t len;

	cr_assert_eq(slug_log_look(sl, &r->st, &len, &grown, &r->err), 0);
	cr_assert_eq(len, all.len);
	for (int i = 0; i < 5; i++) {
		size_t off = (roll(1 << 15) << 15 | roll(1 << 15)) % (all.len + 20),
		       size = roll(3000), left = off < all.len ? all.len - off : 0;
		struct buf got = BUF_INIT;

		if (i == 0)
			off = 0, size = left = all.len;
		cr_assert_eq(slug_log_read(sl, &r->st, off, size, &got, &r->err), 0);
		cr_assert_eq(got.len, size < left ? size : left, "%zu of %zu at %zu", got.len, size,
			off);
		cr_assert_eq(memcmp(buf_str(&got), all.data + off, got.len), 0);
		buf_release(&got);
	}
	buf_release(&all);
}

Test(slug_log, says_what_the_log_says)
{
	struct slug_log *sl;
	struct rig r;

	rig_open(&r);
	works(slug_log_new("demo", &sl, &r.err));
	dice = 1;
	compare(&r, sl); /* no log */
	for (int i = 0; i < ROUNDS; i++) {
		int fd = log_fd(&r);
		struct stat st;

		append_lines(fd, roll(60));
		if (i % 3 == 0) /* somebody is in the middle of a line */
			dprintf(fd, "{\"event\":\"half\",\"slug\":\"demo\"");
		compare(&r, sl);
		if (i % 3 == 0)
			dprintf(fd, i % 2 == 0 ? "}\n" : "\n");
		compare(&r, sl);
		if (i % 50 == 20) { /* cut, as fsck would not; then as long as before */
			cr_assert_eq(fstat(fd, &st), 0);
			cr_assert_eq(ftruncate(fd, st.st_size / 2), 0);
			dprintf(fd, "\n");
			while (lseek(fd, 0, SEEK_END) <= st.st_size)
				append_lines(fd, 20);
		}
		if (i % 50 == 40) /* another file */
			cr_assert_eq(renameat(r.st.logs, "tune.jsonl", r.st.logs, "old"), 0);
		compare(&r, sl);
		close(fd);
	}
	slug_log_free(sl);
	rig_close(&r);
}

/* what was read is not read again: neither to know the length nor to find a byte near the end; and
 * the log's time is told only when a line of the slug came */
Test(slug_log, reads_what_is_new)
{
	struct timespec grown, before;
	struct slug_log *sl;
	struct buf got = BUF_INIT;
	struct rig r;
	uint64_t len, more;
	int fd;

	rig_open(&r);
	works(slug_log_new("demo", &sl, &r.err));
	fd = log_fd(&r);
	for (int i = 0; i < SPARSE_LINES; i++)
		dprintf(fd, "{\"event\":\"e\",\"n\":%d,\"slug\":\"%s\"}\n", 100000 + i,
			i % 3 == 0 ? "demo" : "other");
	works(slug_log_look(sl, &r.st, &len, &before, &r.err));
	cr_assert_eq(len,
		SPARSE_LINES / 3 * strlen("{\"event\":\"e\",\"n\":100000,\"slug\":\"demo\"}\n"));
	usleep(20000); /* a file's time has the grain of the kernel's tick */
	dprintf(fd, "{\"event\":\"e\",\"slug\":\"other\"}\n");
	reads = 0;
	works(slug_log_look(sl, &r.st, &more, &grown, &r.err));
	cr_expect_eq(more, len);
	cr_expect(grown.tv_sec == before.tv_sec && grown.tv_nsec == before.tv_nsec);
	dprintf(fd, "{\"event\":\"last\",\"slug\":\"demo\"}\n");
	works(slug_log_look(sl, &r.st, &more, &grown, &r.err));
	cr_expect_eq(more, len + strlen("{\"event\":\"last\",\"slug\":\"demo\"}\n"));
	cr_expect(grown.tv_sec != before.tv_sec || grown.tv_nsec != before.tv_nsec);
	cr_expect_lt(reads, 20000, "%zu bytes read for two lines", reads);
	reads = 0;
	works(slug_log_read(sl, &r.st, len, 100, &got, &r.err));
	cr_expect_str_eq(buf_str(&got), "{\"event\":\"last\",\"slug\":\"demo\"}\n");
	cr_expect_lt(reads, 140000, "%zu bytes read for one line", reads);
	buf_release(&got);
	close(fd);
	slug_log_free(sl);
	rig_close(&r);
}
