/* store/revision: whole or not there (BAD-INPUTS E04, H06-H08). */
#include <time.h>

#include "store_rig.h"

Test(revision, whole_or_not_there)
{
	char sha[65], want[65], rev[REV_BYTES];
	long *list;
	struct rig r;
	size_t n;
	int fd;

	rig_open(&r);
	works(fd = revision_open(&r.tn, "v3", &r.err));
	close(fd);
	cr_assert(same_file(r.tn.dir, "revisions/v0/files.json",
		"{\"spec\":\"kolm-files-1\",\"files\":[{\"name\":\"adapter_config.json\",\"bytes\":"
		"2,\"sha256\":"
		"\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"},{\"name\":"
		"\"adapter_model.safetensors\",\"bytes\":13,\"sha256\":"
		"\"670ffb851288c1820292292e6bed85dd55e4a7dec009784932cb23fcc82de614\"}]}"));
	works(revision_verify(&r.tn, "v2", sha, &r.err));
	sha256_hex("adapter of v2", 13, want);
	cr_assert_str_eq(sha, want);
	fails(revision_open(&r.tn, "v9", &r.err), ENOENT, "no revision v9 (have v0..v3)");
	fails(revision_open(&r.tn, "../v1", &r.err), EINVAL, "bad revision");
	put_text(r.tn.dir, "revisions/v2/eval.json", "{}"); /* made later: not sealed */
	works(revision_verify(&r.tn, "v2", sha, &r.err));
	put_text(r.tn.dir, "revisions/v2/adapter_model.safetensors", "adapter of v3");
	fails(revision_verify(&r.tn, "v2", sha, &r.err), EKEYREJECTED,
		"v2/adapter_model.safetensors does not match its digest");
	(void)unlinkat(r.tn.dir, "revisions/v1/adapter_config.json", 0);
	fails(revision_verify(&r.tn, "v1", sha, &r.err), EKEYREJECTED,
		"v1/adapter_config.json is missing");
	/* killed steps: an empty folder, one without its list, one with half a list */
	cr_assert_eq(mkdirat(r.tn.dir, "revisions/v7", 0700), 0);
	fails(revision_open(&r.tn, "v7", &r.err), ENOENT, "v7 is incomplete");
	put_text(r.tn.dir, "revisions/v7/adapter_config.json", "{}");
	fails(revision_open(&r.tn, "v7", &r.err), ENOENT, "v7 is incomplete");
	put_text(r.tn.dir, "revisions/v7/files.json", "{\"spec\":\"kolm-fi");
	fails(revision_open(&r.tn, "v7", &r.err), ENOENT, "v7 is incomplete");
	put_text(r.tn.dir, "revisions/v7/files.json",
		"{\"spec\":\"kolm-files-1\",\"files\":[{\"name\":\"../../"
		"HEAD\",\"bytes\":3,\"sha256\":\"x\"}]}");
	fails(revision_verify(&r.tn, "v7", sha, &r.err), EKEYREJECTED, "v7/files.json is damaged");
	(void)unlinkat(r.tn.dir, "revisions/v7/files.json", 0);
	works(revision_list(&r.tn, &list, &n, &r.err));
	cr_assert_eq(n, 4);
	cr_assert_eq(list[3], 3);
	free(list);
	works(revision_next(&r.tn, rev, &r.err)); /* the number of v7 is not used again */
	cr_assert_str_eq(rev, "v8");
	put_text(r.tn.dir, "jobs.jsonl",
		"{\"job\":1,\"state\":\"queued\",\"ts\":\"\",\"verb\":\"step\",\"rev\":\"v12\"}\n");
	works(revision_next(&r.tn, rev, &r.err));
	cr_assert_str_eq(rev, "v13");
	rig_close(&r);
}

Test(revision, is_published_once)
{
	struct rig r;
	int dir;

	rig_open(&r);
	works(dir = dir_make(r.tn.dir, "out", &r.err));
	put_text(dir, "a", "x");
	works(revision_seal(dir, &r.err));
	fails(revision_publish(&r.tn, r.tn.dir, "out", "v3", &r.err), EEXIST,
		"v3 is there already");
	works(revision_publish(&r.tn, r.tn.dir, "out", "v4", &r.err));
	works(revision_verify(&r.tn, "v4", NULL, &r.err));
	close(dir);
	works(dir = dir_make(r.tn.dir, "out", &r.err));
	cr_assert_eq(symlinkat("/etc/passwd", dir, "tokenizer.json"), 0);
	fails(revision_seal(dir, &r.err), EBADMSG,
		"\"tokenizer.json\" of the new revision is not a regular file");
	cr_assert_not(is_there(dir, "files.json"));
	close(dir);
	rig_close(&r);
}

Test(revision, of_the_reference)
{
	char sha[65] = "x";
	long *list;
	struct rig r;
	size_t n;

	rig_open(&r);
	works(dir_remove(r.tn.dir, "revisions", &r.err));
	cr_assert_eq(mkdirat(r.tn.dir, "revisions", 0700), 0);
	cr_assert_eq(mkdirat(r.tn.dir, "revisions/v0", 0700), 0);
	cr_assert_eq(mkdirat(r.tn.dir, "revisions/v1", 0700), 0);
	put_text(r.tn.dir, "revisions/v0/adapter_config.json", "{\"skeleton\": true}");
	fails(revision_verify(&r.tn, "v0", sha, &r.err), ENOENT, "v0 is incomplete");
	put_text(r.tn.dir, "tune-config.json", "{\"artifact\":\"demo.kolm\",\"base_model\":\"b\"}");
	works(revision_verify(&r.tn, "v0", sha, &r.err));
	cr_assert_str_eq(sha, "");
	fails(revision_verify(&r.tn, "v1", sha, &r.err), ENOENT, "v1 is incomplete");
	works(revision_list(&r.tn, &list, &n, &r.err));
	cr_assert_eq(n, 1);
	free(list);
	rig_close(&r);
}

Test(revision, a_hundred_thousand)
{
	struct timespec a, b;
	char name[40], rev[REV_BYTES];
	long *list;
	struct rig r;
	size_t n;

	rig_open_in(&r, "/dev/shm");
	for (int i = 10; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "revisions/v%d", i);
		cr_assert_eq(mkdirat(r.tn.dir, name, 0700), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	works(revision_list(&r.tn, &list, &n, &r.err));
	works(revision_next(&r.tn, rev, &r.err));
	clock_gettime(CLOCK_MONOTONIC, &b);
	free(list);
	cr_assert_str_eq(rev, "v20000");
	/* a fifth of the hundred thousand, in a fifth of the two seconds */
	cr_assert_lt((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9, 0.4);
	rig_close(&r);
}
