/* store/log_tail: who follows a slug gets each of its lines once and in order, while others write
 * and the log turns over; begins anew when the log is cut. */
#include "store/log_tail.h"
#include "store/private.h"
#include "store_rig.h"

enum { ROUNDS = 200, TURN = 17 };

static int log_fd(struct rig *r)
{
	int fd = openat(r->st.logs, "tune.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

/* line ${n} of demo up to its middle, behind others', of which some are longer than a read */
static void begin_line(struct rig *r, unsigned n)
{
	int fd = log_fd(r);

	dprintf(fd, "{\"event\":\"e\",\"pad\":\"%0*u\",\"slug\":\"other\"}\n",
		n % 50 == 0 ? 200000 : 10, n);
	dprintf(fd, "{\"event\":\"torn\",\"slug\":\"demo\"\n{\"by\":{\"slug\":\"demo\"}}\n");
	dprintf(fd, "{\"event\":\"e\",\"n\":%u,", n);
	close(fd);
}

static void end_line(struct rig *r)
{
	int fd = log_fd(r);

	dprintf(fd, "\"slug\":\"demo\"}\n");
	close(fd);
}

static void append(struct rig *r, unsigned n)
{
	begin_line(r, n);
	end_line(r);
}

/* reads what there is; the lines begin with number ${n}; the number of the one that comes */
static unsigned read_all(struct rig *r, struct tails *ts, struct follower *fo, unsigned n)
{
	struct buf line = BUF_INIT;
	char want[80];
	int rc;

	while ((rc = follower_next(ts, fo, "demo", &line, &r->err)) > 0) {
		int len = snprintf(
			want, sizeof(want), "{\"event\":\"e\",\"n\":%u,\"slug\":\"demo\"", n++);

		cr_assert_eq(strncmp(buf_str(&line), want, (size_t)len), 0, "%s is not %s",
			buf_str(&line), want);
		cr_assert_eq(strchr(line.data, '\n'), line.data + line.len - 1);
		cr_assert_eq(line.data[line.len - 2], '}');
		buf_reset(&line);
	}
	cr_assert_eq(rc, 0, "%s", r->err.text);
	buf_release(&line);
	return n;
}

static void turn(struct rig *r, unsigned n)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "tune.%06u.jsonl", n);
	cr_assert_eq(renameat(r->st.logs, "tune.jsonl", r->st.logs, name), 0);
}

Test(log_tail, each_line_once)
{
	struct follower first = {0}, late = {0};
	unsigned at_first = 0, at_late = 3;
	struct tails *ts;
	struct rig r;

	rig_open(&r);
	works(tails_new(&r.st, &ts, &r.err));
	works(follower_begin(ts, &first, &r.err)); /* there is no log */
	cr_assert_eq(read_all(&r, ts, &first, 0), 0);
	for (unsigned n = 0; n < ROUNDS; n++) {
		begin_line(&r, n);
		at_first = read_all(&r, ts, &first, at_first);
		cr_assert_eq(at_first, n);
		end_line(&r);
		if (n == 2)
			works(follower_begin(ts, &late, &r.err));
		at_first = read_all(&r, ts, &first, at_first);
		cr_assert_eq(at_first, n + 1);
		if (n % TURN == TURN - 1) { /* what comes just before it does is not lost */
			append(&r, ++n);
			turn(&r, n);
		}
		if (n > 2 && n % 5 == 0) {
			at_late = read_all(&r, ts, &late, at_late);
			cr_assert_eq(at_late, n + 1);
		}
	}
	follower_end(&first);
	follower_end(&late);
	tails_free(ts);
	rig_close(&r);
}

/* who comes seldom finds all the parts that came between, packed or not */
Test(log_tail, the_parts_between)
{
	struct follower first = {0}, late = {0};
	unsigned at_first = 1, at_late = 1;
	struct tails *ts;
	struct rig r;

	rig_open(&r);
	r.st.log_bytes = LOG_TURN_MIN;
	works(tails_new(&r.st, &ts, &r.err));
	say_line(&r, "e", 0);
	works(follower_begin(ts, &first, &r.err));
	works(follower_begin(ts, &late, &r.err));
	for (unsigned n = 1; n <= ROUNDS; n++) {
		say_line(&r, "e", (int)n);
		at_first = read_all(&r, ts, &first, at_first);
		cr_assert_eq(at_first, n + 1);
		if (n % 70 == 0) {
			at_late = read_all(&r, ts, &late, at_late);
			cr_assert_eq(at_late, n + 1);
		}
	}
	cr_assert_eq(read_all(&r, ts, &late, at_late), ROUNDS + 1);
	follower_end(&first);
	follower_end(&late);
	tails_free(ts);
	rig_close(&r);
}

Test(log_tail, a_cut_log_is_read_anew)
{
	struct follower fo = {0};
	struct tails *ts;
	struct rig r;
	int fd;

	rig_open(&r);
	works(tails_new(&r.st, &ts, &r.err));
	append(&r, 1);
	append(&r, 2);
	works(follower_begin(ts, &fo, &r.err));
	cr_assert_eq(read_all(&r, ts, &fo, 3), 3);
	fd = log_fd(&r);
	cr_assert_eq(ftruncate(fd, 0), 0);
	close(fd);
	append(&r, 7);
	cr_assert_eq(read_all(&r, ts, &fo, 7), 8);
	follower_end(&fo);
	tails_free(ts);
	rig_close(&r);
}

/* what cannot be unpacked keeps nobody from what came after it */
Test(log_tail, a_damaged_part_is_passed_over)
{
	struct follower fo = {0};
	struct buf all = BUF_INIT;
	char name[PART_NAME_BYTES];
	struct log_parts ps;
	struct tails *ts;
	struct rig r;
	size_t before;

	rig_open(&r);
	r.st.log_bytes = LOG_TURN_MIN;
	works(tails_new(&r.st, &ts, &r.err));
	say_line(&r, "e", 0);
	works(follower_begin(ts, &fo, &r.err));
	for (int n = 1; n <= 100; n++)
		say_line(&r, "e", n);
	works(parts_list(&r.st, LOG_STEM, &ps, &r.err));
	cr_assert_gt(ps.n, 3);
	put_text(r.st.logs, part_file(LOG_STEM, &ps.part[1], name), "damaged");
	do {
		struct buf line = BUF_INIT;

		before = all.len;
		works(follower_next(ts, &fo, "demo", &line, &r.err));
		(void)buf_add(&all, buf_str(&line), line.len);
		buf_release(&line);
	} while (all.len > before);
	cr_expect_eq(count_text(all.data, "\n"), 100 - (ps.part[1].number - ps.part[0].number));
	cr_expect_not_null(strstr(all.data, "\"n\":100,"));
	parts_release(&ps);
	buf_release(&all);
	follower_end(&fo);
	tails_free(ts);
	rig_close(&r);
}
