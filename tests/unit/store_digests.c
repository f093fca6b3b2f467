/* store/digests: what is known of a file ends with any change of it (H07). */
#include "store/digests.h"

#include <time.h>

#include "store_rig.h"

static void sha_is(struct rig *r, const char *name, const char *text)
{
	char sha[HASH_HEX_BYTES], want[HASH_HEX_BYTES];
	int fd = openat(r->tn.dir, name, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(digests_fd(r->tn.st->digests, fd, sha, NULL), 0);
	close(fd);
	sha256_hex(text, strlen(text), want);
	cr_assert_str_eq(sha, want);
}

Test(digests, a_known_file_that_changed_is_read_again)
{
	char path[] = "revisions/v2/adapter_model.safetensors", sha[65];
	struct timespec times[2];
	struct stat st;
	struct rig r;
	int fd;

	rig_open(&r);
	nanosleep(&(struct timespec){.tv_sec = 3, .tv_nsec = 100000000}, NULL); /* settled */
	sha_is(&r, path, "adapter of v2");
	sha_is(&r, path, "adapter of v2");
	works(revision_verify(&r.tn, "v2", sha, &r.err));
	/* in place, of the same length, and with its old times put back */
	cr_assert_eq(fstatat(r.tn.dir, path, &st, 0), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	fd = openat(r.tn.dir, path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, "3", 1, 12), 1);
	cr_assert_eq(futimens(fd, times), 0);
	close(fd);
	fails(revision_verify(&r.tn, "v2", sha, &r.err), EKEYREJECTED,
		"v2/adapter_model.safetensors does not match its digest");
	sha_is(&r, path, "adapter of v3");
	/* and put right again */
	fd = openat(r.tn.dir, path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, "2", 1, 12), 1);
	close(fd);
	works(revision_verify(&r.tn, "v2", sha, &r.err));
	/* another file under the name */
	cr_assert_eq(
		renameat(r.tn.dir, "revisions/v3/adapter_model.safetensors", r.tn.dir, path), 0);
	sha_is(&r, path, "adapter of v3");
	rig_close(&r);
}
