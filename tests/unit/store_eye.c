/* store/eye: whose changes are counted and told, of folders that come, go and move; what is done
 * where the kernel cannot tell. */
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "store/eye.h"
#include "tests/unit/store_rig.h"

static double now_sec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* the same in another process */
#define elsewhere(statement)                                                                       \
	do {                                                                                       \
		pid_t pid_ = fork();                                                               \
		int status_ = 0;                                                                   \
		if (pid_ == 0) {                                                                   \
			statement;                                                                 \
			_exit(0);                                                                  \
		}                                                                                  \
		cr_assert_eq(waitpid(pid_, &status_, 0), pid_);                                    \
		cr_assert_eq(status_, 0, "exit %d", WEXITSTATUS(status_));                         \
	} while (0)

struct seen {
	struct eye *ey;
	const char *slug;
	uint64_t was;
};

static bool moved(struct seen *s)
{
	uint64_t is = eye_count(s->ey, s->slug);
	bool has = is != s->was;

	cr_assert_neq(is, 0);
	s->was = is;
	return has;
}

Test(eye, counts_what_any_process_does)
{
	struct rig r;
	struct seen demo, all;

	rig_open(&r);
	works(eye_open(&r.st, &demo.ey, &r.err));
	demo.slug = "demo";
	all = (struct seen){.ey = demo.ey, .slug = ""};
	cr_expect(moved(&demo)); /* the first time */
	cr_expect(moved(&all));
	cr_expect_not(moved(&demo));
	put_text(r.tn.dir, "captures.jsonl", "{}\n");
	cr_expect(moved(&demo));
	cr_expect_not(moved(&demo));
	elsewhere(put_text(r.tn.dir, "captures.jsonl", "{}\n{}\n"));
	cr_expect(moved(&demo));
	elsewhere(put_text(r.tn.dir, ".HEAD", "v1\n");
		  renameat(r.tn.dir, ".HEAD", r.tn.dir, "HEAD"));
	cr_expect(moved(&demo));
	elsewhere(revision_make(&r, "v4"));
	cr_expect(moved(&demo));
	cr_expect_not(moved(&all));
	/* reading is no change, and neither is what another slug does */
	elsewhere(same_file(r.tn.dir, "HEAD", "v1\n"));
	works(mkdirat(r.st.tune, "other", 0700));
	cr_expect_not(moved(&demo));
	cr_expect(moved(&all));
	eye_close(demo.ey);
	rig_close(&r);
}

/* revisions/ may come after the slug is watched, and be another one later */
Test(eye, revisions_come_and_go)
{
	struct rig r;
	struct seen two = {.slug = "two"};

	rig_open(&r);
	works(mkdirat(r.st.tune, "two", 0700));
	works(eye_open(&r.st, &two.ey, &r.err));
	(void)moved(&two);
	for (int i = 0; i < 3; i++) {
		works(mkdirat(r.st.tune, "two/revisions", 0700));
		cr_expect(moved(&two));
		works(mkdirat(r.st.tune, "two/revisions/v0", 0700));
		cr_expect(moved(&two), "round %d", i);
		works(unlinkat(r.st.tune, "two/revisions/v0", AT_REMOVEDIR));
		works(unlinkat(r.st.tune, "two/revisions", AT_REMOVEDIR));
		cr_expect(moved(&two));
		cr_expect_not(moved(&two));
	}
	eye_close(two.ey);
	rig_close(&r);
}

/* a name is what is asked for, not the folder that had it */
Test(eye, a_slug_of_the_same_name)
{
	struct rig r;
	struct seen demo = {.slug = "demo"}, was = {.slug = "was"};

	rig_open(&r);
	works(eye_open(&r.st, &demo.ey, &r.err));
	was.ey = demo.ey;
	(void)moved(&demo);
	cr_expect_eq(eye_count(demo.ey, "was"), 0);
	works(renameat(r.st.tune, "demo", r.st.tune, "was"));
	cr_expect_eq(eye_count(demo.ey, "demo"), 0);
	cr_expect(moved(&was));
	works(mkdirat(r.st.tune, "demo", 0700));
	cr_expect(moved(&demo));
	put_text(r.tn.dir, "captures.jsonl", "{}\n"); /* of what is "was" now */
	cr_expect(moved(&was));
	cr_expect_not(moved(&demo));
	elsewhere(close(openat(r.st.tune, "demo/HEAD", O_CREAT | O_WRONLY, 0600)));
	cr_expect(moved(&demo));
	cr_expect_not(moved(&was));
	eye_close(demo.ey);
	rig_close(&r);
}

/* more changes than the kernel keeps: what is not known counts as changed, and is watched again */
Test(eye, too_many_changes)
{
	struct rig r;
	struct seen demo = {.slug = "demo"};
	uint64_t before;

	rig_open_in(&r, "/dev/shm");
	works(eye_open(&r.st, &demo.ey, &r.err));
	(void)moved(&demo);
	before = demo.was;
	for (int i = 0; i < 20000; i++) {
		close(openat(r.tn.dir, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		unlinkat(r.tn.dir, "x", 0);
	}
	works(renameat(r.tn.dir, "revisions", r.tn.dir, "other"));
	works(mkdirat(r.tn.dir, "revisions", 0700));
	cr_expect(moved(&demo));
	cr_expect_lt(demo.was - before, 30000, "%ju events are more than it keeps",
		(uintmax_t)(demo.was - before));
	cr_expect_not(moved(&demo));
	works(mkdirat(r.tn.dir, "revisions/v0", 0700));
	cr_expect(moved(&demo));
	eye_close(demo.ey);
	rig_close(&r);
}

static void *end_soon(void *arg)
{
	usleep(200000);
	eye_end(arg);
	return NULL;
}

Test(eye, waits)
{
	struct rig r;
	struct eye *ey;
	pthread_t th;
	double at;

	rig_open(&r);
	works(eye_open(&r.st, &ey, &r.err));
	cr_assert_neq(eye_count(ey, "demo"), 0);
	/* what came before it is asked, and what another thread has seen already */
	put_text(r.tn.dir, "captures.jsonl", "{}\n");
	cr_assert_neq(eye_count(ey, "demo"), 0);
	at = now_sec();
	cr_expect(eye_wait(ey));
	cr_expect_lt(now_sec() - at, 0.5, "the first one is at once");
	/* at most once a second */
	elsewhere(put_text(r.tn.dir, "captures.jsonl", "{}\n{}\n"));
	cr_expect(eye_wait(ey));
	cr_expect_geq(now_sec() - at, 1.0);
	eye_poke(ey);
	cr_expect(eye_wait(ey));
	cr_expect_geq(now_sec() - at, 2.0);
	/* or when somebody cannot wait */
	at = now_sec();
	eye_hurry(ey);
	cr_expect(eye_wait(ey));
	cr_expect_lt(now_sec() - at, 0.5);
	/* the log of the store and the indexes tell too */
	say_line(&r, "e", 1);
	cr_expect(eye_wait(ey));
	put_text(r.st.rag, "jobs.jsonl", "{}\n");
	cr_expect(eye_wait(ey));
	/* nothing happens: only the end ends it */
	cr_assert_eq(pthread_create(&th, NULL, end_soon, ey), 0);
	at = now_sec();
	cr_expect_not(eye_wait(ey));
	cr_expect_geq(now_sec() - at, 0.2);
	cr_expect_not(eye_wait(ey));
	pthread_join(th, NULL);
	eye_close(ey);
	rig_close(&r);
}

/* exits 0 when ${ey} says it does not know, and looks by time */
static void looks_by_time(struct eye *ey)
{
	double at;

	if (eye_count(ey, "demo") != 0)
		_exit(4);
	(void)eye_wait(ey); /* told that it goes by time now */
	at = now_sec();
	for (int i = 0; i < 2; i++)
		if (!eye_wait(ey))
			_exit(3);
	at = now_sec() - at;
	if (at < 1.5 || at > 2.8)
		_exit(7);
}

/* the kernel's limit ${path} of this user namespace is ${value}; exit 9: not to be had */
static void limit(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		_exit(9);
	close(fd);
}

/* an eye where it is so, which goes by time */
static struct eye *eye_limited(const struct rig *r, const char *path, const char *value)
{
	struct eye *ey = NULL;

	if (unshare(CLONE_NEWUSER) < 0)
		_exit(9);
	limit(path, value);
	if (eye_open(&r->st, &ey, NULL) < 0)
		_exit(2);
	looks_by_time(ey);
	return ey;
}

#define WATCHES "/proc/sys/user/max_inotify_watches"

/* enough for rag/ and logs/ and not for a slug's two folders; and then more */
static void few_watches(const struct rig *r)
{
	struct eye *ey = eye_limited(r, WATCHES, "3");

	limit(WATCHES, "4");
	if (eye_count(ey, "demo") == 0)
		_exit(5);
	eye_close(ey);
}

/* a file system that is not on the list of those that nobody else writes to */
static void on_ramfs(void)
{
	char at[] = "/tmp/kolm-ramfs-XXXXXX";
	struct eye *ey;
	struct rig r;

	if (mkdtemp(at) == NULL || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", at, "ramfs", 0, NULL) < 0)
		_exit(9);
	rig_open_in(&r, at);
	if (eye_open(&r.st, &ey, NULL) < 0)
		_exit(2);
	looks_by_time(ey);
	eye_close(ey);
	rig_close(&r);
	if (umount(at) < 0 || rmdir(at) < 0)
		_exit(6);
}

Test(eye, the_kernel_cannot_tell)
{
	struct rig r;

	rig_open(&r);
	elsewhere(eye_close(eye_limited(&r, "/proc/sys/user/max_inotify_instances", "0")));
	elsewhere(few_watches(&r));
	rig_close(&r);
	elsewhere(on_ramfs());
}
