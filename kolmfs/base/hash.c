/* hash - SHA-256 and XXH3; see hash.h. */
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/parts.h"

enum { CHUNK_BYTES = 1 << 20 };

void hex_encode(const unsigned char *data, size_t len, char *out)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digit[data[i] >> 4];
		out[2 * i + 1] = digit[data[i] & 15];
	}
	out[2 * len] = '\0';
}

void sha256_hex(const void *data, size_t len, char out[HASH_HEX_BYTES])
{
	unsigned char sum[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(sum, data, len);
	hex_encode(sum, sizeof(sum), out);
}

/* feed(arg, data, len) for every piece of [from, from + len) of fd; len UINT64_MAX: to the end */
static int each_chunk(int fd, uint64_t from, uint64_t len,
	void (*feed)(void *, const void *, size_t), void *arg, uint64_t *total, struct err *err)
{
	unsigned char *chunk = malloc(CHUNK_BYTES);
	uint64_t done = 0;
	int rc = 0;

	if (chunk == NULL)
		return err_nomem(err);
	while (done < len) {
		size_t want = len - done < CHUNK_BYTES ? (size_t)(len - done) : CHUNK_BYTES;
		ssize_t n = pread(fd, chunk, want, (off_t)(from + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_sys(err, "cannot read at offset %llu",
				(unsigned long long)(from + done));
		else if (n == 0 && len != UINT64_MAX)
			rc = err_set(err, EIO, "file is shorter than %llu bytes",
				(unsigned long long)(from + len));
		if (n <= 0)
			break;
		feed(arg, chunk, (size_t)n);
		done += (uint64_t)n;
	}
	free(chunk);
	if (total != NULL)
		*total = done;
	return rc;
}

static void feed_sha(void *arg, const void *data, size_t len)
{
	crypto_hash_sha256_update(arg, data, len);
}

int sha256_fd(int fd, uint64_t from, uint64_t len, char out[HASH_HEX_BYTES], struct err *err)
{
	crypto_hash_sha256_state state;
	unsigned char sum[crypto_hash_sha256_BYTES];
	int rc;

	crypto_hash_sha256_init(&state);
	rc = each_chunk(fd, from, len, feed_sha, &state, NULL, err);
	if (rc < 0)
		return rc;
	crypto_hash_sha256_final(&state, sum);
	hex_encode(sum, sizeof(sum), out);
	return 0;
}

static void feed_xxh(void *arg, const void *data, size_t len)
{
	XXH3_128bits_update(arg, data, len);
}

static void xxh_hex(XXH128_hash_t h, char out[XXH3_HEX_BYTES])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, h);
	hex_encode(c.digest, sizeof(c.digest), out);
}

static int file_digest(int fd, uint64_t *bytes, char out[XXH3_HEX_BYTES], struct err *err)
{
	XXH3_state_t *state = XXH3_createState();
	int rc;

	if (state == NULL)
		return err_nomem(err);
	XXH3_128bits_reset(state);
	rc = each_chunk(fd, 0, UINT64_MAX, feed_xxh, state, bytes, err);
	if (rc == 0)
		xxh_hex(XXH3_128bits_digest(state), out);
	XXH3_freeState(state);
	return rc;
}

static int is_base_file(const struct dirent *d)
{
	static const char *const patterns[] = {"*.json", "*.jinja", "*.model", "*.safetensors"};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (fnmatch(patterns[i], d->d_name, 0) == 0)
			return 1;
	return 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* the line of an open file, which is closed; a negative ${fd} is the error it stands for */
static int line_of(int fd, const char *name, struct buf *lines, uint64_t *bytes, struct err *err)
{
	char hex[XXH3_HEX_BYTES];
	uint64_t n = 0;
	int rc = fd;

	if (fd < 0)
		return rc;
	rc = file_digest(fd, &n, hex, err);
	close(fd);
	if (rc < 0)
		return rc;
	*bytes += n;
	return buf_addf(lines, "%s %llu %s\n", name, (unsigned long long)n, hex) < 0
		       ? err_nomem(err)
		       : 0;
}

static int folder_line(
	int dirfd, const char *name, struct buf *lines, uint64_t *bytes, struct err *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", name);
	return line_of(fd, name, lines, bytes, err);
}

/* a model in several files: their lines, as of a folder */
static int parts_digest(int fd, uint64_t *bytes, char out[XXH3_HEX_BYTES], struct err *err)
{
	struct buf lines = BUF_INIT;
	char name[256];
	int n = parts_count(fd), rc = 0;

	*bytes = 0;
	for (int i = 1; i <= n && rc == 0; i++) {
		rc = parts_name(fd, i, name, sizeof(name));
		if (rc == 0)
			rc = line_of(parts_open(fd, i, err), name, &lines, bytes, err);
		else
			rc = err_set(err, ENOENT, "base model not found");
	}
	if (rc == 0)
		xxh_hex(XXH3_128bits(buf_str(&lines), lines.len), out);
	buf_release(&lines);
	return rc;
}

int base_digest(int fd, uint64_t *bytes, char out[XXH3_HEX_BYTES], struct err *err)
{
	struct buf lines = BUF_INIT;
	struct dirent **list = NULL;
	struct stat st;
	int n, rc = 0;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat the base model");
	if (S_ISREG(st.st_mode) && parts_count(fd) > 1)
		return parts_digest(fd, bytes, out, err);
	if (S_ISREG(st.st_mode))
		return file_digest(fd, bytes, out, err);
	n = scandirat(fd, ".", &list, is_base_file, by_bytes);
	if (n < 0)
		return err_sys(err, "cannot list the base model's folder");
	*bytes = 0;
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = folder_line(fd, list[i]->d_name, &lines, bytes, err);
		free(list[i]);
	}
	free(list);
	if (rc == 0)
		xxh_hex(XXH3_128bits(buf_str(&lines), lines.len), out);
	buf_release(&lines);
	return rc;
}

uint64_t inode_number(const char *path, size_t len)
{
	uint64_t h = XXH3_64bits(path, len);

	return h > 1 ? h : h + 2;
}
