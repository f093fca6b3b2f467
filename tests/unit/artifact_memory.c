/* artifact_memory - short of memory an artifact is neither called forged nor read as another one.
 */
#include "artifact_craft.h"

#ifdef __SANITIZE_ADDRESS__
enum { ALLOCATIONS_MIN = 0 }; /* the allocator is the sanitizer's, none fails */
static long left;
#else
enum { ALLOCATIONS_MIN = 100 };
static long left; /* allocations until the one that fails; 0: none does */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static int now(void)
{
	return left > 0 && --left == 0;
}

void *malloc(size_t n)
{
	return now() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return now() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return now() ? NULL : __libc_realloc(p, n);
}
#endif

static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/artifact_memory.XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
}

static void teardown(void)
{
	cr_expect_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
}

TestSuite(memory, .init = setup, .fini = teardown);

/* an artifact with all there can be: receipt, Ed25519 block, credential, pack, index; its keys */
static struct buf make(struct artifact_keys *keys)
{
	static const char spec[] =
		"{\"job_id\":\"job_m\",\"task\":\"m\",\"base_model\":\"b\",\"comparator\":"
		"\"label\","
		"\"pack\":{\"a\":1},\"index\":{\"b\":2},\"recipes\":[{\"id\":\"r\",\"name\":\"n\","
		"\"source\":\"function generate(i) { return i; }\"}],\"evals\":{\"cases\":[{\"id\":"
		"\"one\",\"input\":\"hi\",\"expected\":{\"label\":\"HI\"}}]}}";
	struct compile_options opt = {.spec_dir = dir, .allow_below_gate = true};
	struct compile_result res;
	struct err err = ERR_NONE;
	struct buf data = BUF_INIT;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	cr_assert_eq(artifact_keys_load(fd, dir, true, keys, &err), 0, "%s", err.text);
	char path[100];
	snprintf(path, sizeof(path), "%s/m.kolm", dir);
	cr_assert_eq(artifact_compile(spec, sizeof(spec) - 1, path, keys, &opt, &res, &err), 0,
		"%s", err.text);
	cr_assert_eq(read_file(fd, "m.kolm", 1 << 20, &data, &err), 0, "%s", err.text);
	close(fd);
	return data;
}

/* each allocation of an opening fails once */
Test(memory, an_opening_without_it_says_so)
{
	struct artifact_keys own, stranger = {.secret = "another machine's"};
	struct buf data = make(&own);

	for (int k = 0; k < 2; k++) {
		long n = 0;
		bool ran_out = true;

		while (ran_out) {
			struct artifact *af = NULL;
			struct err err = ERR_NONE;
			int rc;

			left = ++n;
			rc = artifact_read(
				data.data, data.len, k == 0 ? &own : &stranger, &af, &err);
			ran_out = left == 0;
			left = 0;
			cr_expect(rc == 0 || rc == -ENOMEM, "allocation %ld: %s (%s)", n,
				err_name(-rc), err.text);
			if (rc == 0)
				cr_expect(
					strcmp(artifact_comparator(af), "label") == 0 &&
						artifact_trust(af) == (k == 0 ? ARTIFACT_HMAC_LOCAL
									      : ARTIFACT_ED25519),
					"allocation %ld: %s, %s", n, artifact_comparator(af),
					artifact_trust_text(af));
			artifact_free(af);
		}
		cr_expect_gt(n, ALLOCATIONS_MIN);
	}
	buf_release(&data);
}
