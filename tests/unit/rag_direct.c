/* rag_direct - a file that goes past the page cache has the bytes that were put, on a disk and
 * where there is no such thing. */
#include "rag_common.h"

#include "rag/direct.h"

enum { MIB = 1 << 20, MOST = 3 * MIB + 5 };

static void fill(char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		data[i] = (char)(i * 2654435761U >> 13);
}

/* put in pieces of ${step} bytes, then read back */
static void expect_same(int dirfd, const char *data, size_t n, size_t step)
{
	int fd = openat(dirfd, "f", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct rag_direct dr = {.fd = fd};
	struct err err = ERR_NONE;
	struct buf back = BUF_INIT;

	cr_assert(fd >= 0);
	for (size_t at = 0; at < n; at += step)
		cr_assert_eq(rag_direct_put(&dr, data + at, n - at < step ? n - at : step, &err), 0,
			"%s", err.text);
	cr_assert_eq(rag_direct_end(&dr, &err), 0, "%s", err.text);
	rag_direct_release(&dr);
	cr_assert_eq(fcntl(fd, F_GETFL) & O_DIRECT, 0, "the flag is not left behind");
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	cr_assert_eq(read_fd(fd, 2 * (size_t)MOST, &back, &err), 0, "%s", err.text);
	cr_assert_eq(back.len, n);
	cr_assert(n == 0 || memcmp(back.data, data, n) == 0, "%zu bytes by %zu", n, step);
	buf_release(&back);
	close(fd);
}

static void expect_all(const char *dir)
{
	static const size_t lens[] = {0, 1, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, MOST};
	char *data = malloc(MOST);
	int dirfd = folder_of(dir);

	cr_assert(data);
	fill(data, MOST);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		expect_same(dirfd, data, lens[i], 262144 + 77);
		expect_same(dirfd, data, lens[i], 5 * MIB);
	}
	cr_assert_eq(unlinkat(dirfd, "f", 0), 0);
	close(dirfd);
	free(data);
}

Test(rag_direct, all_bytes_on_a_disk)
{
	char *dir = scratch();

	expect_all(dir);
	sweep(dir);
}

Test(rag_direct, all_bytes_in_memory)
{
	char dir[] = "/dev/shm/kolmrag.XXXXXX";

	cr_assert(mkdtemp(dir));
	expect_all(dir);
	cr_assert_eq(rmdir(dir), 0);
}

Test(rag_direct, a_full_disk_is_said)
{
	struct rag_direct dr = {.fd = open("/dev/full", O_WRONLY | O_CLOEXEC)};
	struct err err = ERR_NONE;
	char *data = calloc(2, MIB);

	cr_assert(dr.fd >= 0 && data);
	cr_assert_eq(rag_direct_put(&dr, data, 100, &err), 0);
	cr_assert_eq(rag_direct_put(&dr, data, 2 * MIB - 100, &err), -ENOSPC);
	cr_assert(strstr(err.text, "no space left"), "%s", err.text);
	rag_direct_release(&dr);
	close(dr.fd);
	free(data);
}
