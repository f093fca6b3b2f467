/* store: slugs, revision names, opening a store, its locks (BAD-INPUTS B01-B05, B16, K03, K08, K12,
 * K13). */
#include <pthread.h>
#include <time.h>

#include "store_rig.h"

Test(slug, what_may_be_a_name)
{
	struct rig r = {.err = ERR_NONE};
	char longer[5000];
	static const char *const good[] = {"a", "_", "9", "pii-scrub", "A_b-9",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
	static const char *const bad[] = {"", ".", "..", "../../etc", "a/b", "a b", "a:b", "a\\b",
		"%2e%2e", "-a", "caf\xc3\xa9", "cafe\xcc\x81", "a\nb", "rag", "logs", "ctl",
		"README", "status", "error", "version", "tune"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		works(slug_check(good[i], strlen(good[i]), &r.err));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		fails(slug_check(bad[i], strlen(bad[i]), &r.err), EINVAL, "bad name");
	memset(longer, 'x', sizeof(longer));
	fails(slug_check(longer, 65, &r.err), ENAMETOOLONG, "name longer than 64");
	fails(slug_check(longer, 4096, &r.err), ENAMETOOLONG, "name longer than 64");
}

Test(slug, of_a_path_as_the_conformance_table_says)
{
	char path[4096], slug[SLUG_BYTES + 1];
	const char *shared = getenv("SHARED");
	struct buf text = BUF_INIT;
	struct err err = ERR_NONE;
	cJSON *json, *row;
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/data/compat/golden/slug.json",
		shared != NULL ? shared : "../shared");
	if (read_file(AT_FDCWD, path, 1 << 20, &text, &err) < 0)
		cr_skip_test("skipped: %s", err.text);
	cr_assert_eq(json_parse(text.data, text.len, &json, &err), 0, "%s", err.text);
	cJSON_ArrayForEach(row, json)
	{
		const char *from = json_get_string(row, "path"),
			   *want = json_get_string(row, "slug");
		int rc = slug_of_path(from, slug, &err);

		/* what the reference gives is kept; names it should not have given are refused */
		cr_expect_str_eq(slug, want, "%s", from);
		cr_expect_eq(rc == 0, want[0] != '\0' && want[0] != '-', "%s", from);
		n++;
	}
	cr_assert_gt(n, 15);
	cJSON_Delete(json);
	buf_release(&text);
}

Test(slug, revisions)
{
	static const char *const bad[] = {"", "v", "vv1", "v01", "v-1", "v1 ", "latest",
		"v1234567890", "V1", "1", "v1\n", "../revisions", "v\xd9\xa1"};
	struct rig r = {.err = ERR_NONE};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		fails(rev_check(bad[i], strlen(bad[i]), &r.err), EINVAL, "bad revision");
	cr_assert_eq(rev_number("v0"), 0);
	cr_assert_eq(rev_number("v999999999"), 999999999);
	cr_assert_eq(rev_number("v01"), -1);
}

Test(store, opens_makes_and_refuses)
{
	struct rig r;
	struct store again;
	struct stat sb;

	rig_open(&r);
	cr_assert_eq(fstat(r.st.tune, &sb), 0);
	cr_assert_eq(sb.st_mode & 07777, 0700);
	works(store_open(r.path, &again, &r.err));
	store_close(&again);
	put_text(r.st.dir, "format", "1\n");
	works(store_open(r.path, &again, &r.err));
	store_close(&again);
	put_text(r.st.dir, "format", "9\n");
	fails(store_open(r.path, &again, &r.err), EOPNOTSUPP,
		"store format 9, this program knows 1 to 1");
	put_text(r.st.dir, "format", "new\n");
	fails(store_open(r.path, &again, &r.err), EUCLEAN, "damaged");
	(void)unlinkat(r.st.dir, "format", 0);
	cr_assert_eq(chmod(r.path, 0770), 0);
	fails(store_open(r.path, &again, &r.err), EPERM, "with mode 0700");
	cr_assert_eq(chmod(r.path, 0700), 0);
	if (geteuid() == 0 && chown(r.path, 12345, 12345) == 0) {
		fails(store_open(r.path, &again, &r.err), EPERM, "store must belong to");
		cr_assert_eq(chown(r.path, 0, 0), 0);
	}
	fails(store_open("", &again, &r.err), ENOENT, "set HOME or give --store");
	fails(store_open("/nowhere/at/all", &again, &r.err), ENOENT, "set HOME or give --store");
	rig_close(&r);
}

Test(store, default_path)
{
	struct rig r = {.err = ERR_NONE};
	char path[STORE_PATH_BYTES];

	unsetenv("KOLM_HOME");
	setenv("HOME", "/home/x", 1);
	works(store_default_path(path, &r.err));
	cr_assert_str_eq(path, "/home/x/.kolm");
	setenv("KOLM_HOME", "/srv/kolm", 1);
	works(store_default_path(path, &r.err));
	cr_assert_str_eq(path, "/srv/kolm");
	setenv("KOLM_HOME", "kolm", 1);
	fails(store_default_path(path, &r.err), ENOENT, "set HOME or give --store");
	unsetenv("KOLM_HOME");
	setenv("HOME", "", 1);
	fails(store_default_path(path, &r.err), ENOENT, "set HOME or give --store");
	setenv("HOME", "rel", 1);
	fails(store_default_path(path, &r.err), ENOENT, "set HOME or give --store");
	unsetenv("HOME");
	fails(store_default_path(path, &r.err), ENOENT, "set HOME or give --store");
}

/* what cp -a, rsync -S and the like make of a file that was never written */
Test(store, reserve_of_a_copied_store_is_made_again)
{
	struct store again;
	struct stat sb;
	struct rig r;

	rig_open(&r);
	cr_assert_eq(fstatat(r.st.dir, ".reserve", &sb, 0), 0);
	cr_assert_eq(sb.st_size, 1 << 20);
	cr_assert_geq(sb.st_blocks, (1 << 20) / 512);
	cr_assert_eq(unlinkat(r.st.dir, ".reserve", 0), 0);
	put_text(r.st.dir, ".reserve", "");
	int fd = openat(r.st.dir, ".reserve", O_WRONLY | O_CLOEXEC);
	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	works(store_open(r.st.path, &again, &r.err));
	store_close(&again);
	cr_assert_eq(fstatat(r.st.dir, ".reserve", &sb, 0), 0);
	cr_expect_eq(sb.st_size, 1 << 20);
	cr_expect_geq(sb.st_blocks, (1 << 20) / 512);
	rig_close(&r);
}

static void *close_soon(void *arg)
{
	static const struct timespec pause = {.tv_nsec = 600 * 1000 * 1000};

	nanosleep(&pause, NULL);
	close(*(int *)arg);
	return NULL;
}

Test(store, locks)
{
	atomic_bool cancel = true;
	char want[64];
	pthread_t th;
	struct rig r;
	int a, b;

	rig_open(&r);
	works(store_lock_server(&r.st, &a, &r.err));
	(void)snprintf(want, sizeof(want), "store is in use by process %d", (int)getpid());
	fails(store_lock_server(&r.st, &b, &r.err), EBUSY, want);
	/* said to be ending: waited for */
	store_lock_ending(a);
	cr_assert_eq(pthread_create(&th, NULL, close_soon, &a), 0);
	works(store_lock_server(&r.st, &b, &r.err));
	pthread_join(th, NULL);
	close(b);
	works(store_lock_server(&r.st, &a, &r.err));
	fails(store_lock_server(&r.st, &b, &r.err), EBUSY, want);
	cr_expect_null(strstr(r.err.text, "ending"), "the mark stayed");
	close(a);
	works(store_lock_server(&r.st, &a, &r.err));
	close(a);
	works(store_lock_jobs(&r.st, NULL, &a, &r.err));
	fails(store_lock_jobs(&r.st, &cancel, &b, &r.err), ECANCELED, "cancelled");
	close(a);
	works(tune_lock_job(&r.tn, &a, &r.err));
	fails(tune_lock_job(&r.tn, &b, &r.err), EBUSY, "a job of another process is running");
	works(tune_lock(&r.tn, &b, &r.err));
	close(a);
	close(b);
	rig_close(&r);
}

static void join(void *arg, const char *name)
{
	struct buf *out = arg;

	(void)buf_addf(out, "%s ", name);
}

Test(store, slugs)
{
	struct buf names = BUF_INIT;
	struct tune tn;
	struct rig r;

	rig_open(&r);
	fails(tune_open(&r.st, "nope", &tn, &r.err), ENOENT, "no such artifact \"nope\"");
	fails(tune_open(&r.st, "..", &tn, &r.err), EINVAL, "bad name");
	works(tune_create(&r.st, "half", &tn, &r.err));
	tune_close(&tn);
	fails(tune_open(&r.st, "half", &tn, &r.err), ENOENT, "no such artifact");
	works(tune_create(&r.st, "Zed", &tn, &r.err));
	put_text(tn.dir, "tune-config.json.prev", "{}");
	tune_close(&tn);
	works(tune_list(&r.st, join, &names, &r.err));
	cr_assert_str_eq(buf_str(&names), "Zed demo ");
	buf_release(&names);
	rig_close(&r);
}

Test(store, workers_come_from_the_stores_own_config)
{
	struct store_worker w;
	struct rig r;

	rig_open(&r);
	cr_assert_not(store_worker(&r.st, "demo", &w));
	put_text(r.st.dir, "config.json",
		"{\"workers\":{\"demo\":\"python3 /w/t.py\",\"big\":{\"command\":\"torchrun "
		"t.py\",\"network\":\"cluster\",\"reads\":[\"/opt/venv\",\"/srv\"]},"
		"\"own\":\"native\",\"bad\":{\"command\":\"t.py\",\"reads\":[\"venv\"]}}}");
	cr_assert(store_worker(&r.st, "demo", &w));
	cr_assert_str_eq(buf_str(&w.command), "python3 /w/t.py");
	cr_assert_not(w.cluster);
	cr_assert_eq(w.nreads, 0);
	store_worker_release(&w);
	cr_assert(store_worker(&r.st, "big", &w));
	cr_assert(w.cluster);
	cr_assert_eq(w.nreads, 2);
	cr_assert_str_eq(w.reads[1].data, "/srv");
	store_worker_release(&w);
	cr_assert(store_worker(&r.st, "bad", &w));
	cr_assert_eq(w.command.len, 0);
	store_worker_release(&w);
	cr_assert_not(store_worker(&r.st, "own", &w));
	cr_assert_not(store_worker(&r.st, "none", &w));
	/* damaged: nobody knows whether it names another than ours */
	put_text(r.st.dir, "config.json", "{\"workers\":{\"demo\":\"python3 /w/t.py\",}}");
	cr_assert(store_worker(&r.st, "demo", &w));
	cr_assert_eq(w.command.len, 0);
	store_worker_release(&w);
	rig_close(&r);
}
