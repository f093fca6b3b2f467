#include "base/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"

enum { SUFFIX = sizeof("-00001-of-00002.gguf") - 1, DIGITS = 5 };

/* path of an open file as the kernel knows it; false when it has none (any more) */
static bool path_of(int fd, char path[PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n <= 0 || n == PATH_MAX - 1 || *path != '/')
		return false;
	path[n] = '\0';
	return true;
}

/* how many parts by the end of a path, and where that end begins */
static int count_of(const char *path, size_t *stem)
{
	size_t len = strlen(path);
	const char *end = path + len - SUFFIX;
	int64_t first, n;

	if (len <= SUFFIX || *end != '-' || memcmp(end + 1 + DIGITS, "-of-", 4) != 0 ||
		strcmp(end + 1 + DIGITS + 4 + DIGITS, ".gguf") != 0 ||
		num_whole(end + 1, DIGITS, 0, 99999, &first) < 0 || first != 1 ||
		num_whole(end + 1 + DIGITS + 4, DIGITS, 0, 99999, &n) < 0 || n < 2 || n > PARTS_MAX)
		return 1;
	*stem = len - SUFFIX;
	return (int)n;
}

int parts_count(int fd)
{
	char path[PATH_MAX];
	size_t stem;

	return path_of(fd, path) ? count_of(path, &stem) : 1;
}

/* the path of a part; 0 when there are none, else where its name begins */
static size_t part_path(int fd, int number, char path[PATH_MAX])
{
	size_t stem;
	int n;

	if (!path_of(fd, path))
		return 0;
	n = count_of(path, &stem);
	if (n == 1)
		return 0;
	/* the same length as before */
	snprintf(path + stem, PATH_MAX - stem, "-%05d-of-%05d.gguf", number, n);
	return (size_t)(strrchr(path, '/') + 1 - path);
}

int parts_name(int fd, int number, char *out, size_t size)
{
	char path[PATH_MAX];
	size_t name = part_path(fd, number, path);

	if (!name || strlen(path + name) >= size)
		return -ENOENT;
	strcpy(out, path + name);
	return 0;
}

int parts_open(int fd, int number, struct err *err)
{
	char path[PATH_MAX], quoted[ERR_QUOTE_BYTES + 8];
	size_t name = part_path(fd, number, path);
	struct stat st;
	int part;

	if (!name)
		return err_set(err, EBADMSG,
			"base model: the file is split, but its name does not end in "
			"-00001-of-0000N.gguf");
	err_quote(quoted, path + name, strlen(path + name));
	part = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (part < 0)
		return err_set(err, errno == ENOENT ? EBADMSG : errno,
			"base model: cannot open '%s': %s", quoted, strerror(errno));
	if (fstat(part, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(part);
		return err_set(err, EBADMSG, "base model: '%s' is not a regular file", quoted);
	}
	return part;
}

static uint64_t folder_bytes(int fd)
{
	struct dirent *de;
	uint64_t sum = 0;
	struct stat st;
	DIR *dir = fdopendir(fd);

	if (dir == NULL) {
		close(fd);
		return 0;
	}
	/* in a folder of a download cache the files are links */
	while ((de = readdir(dir)) != NULL)
		if (fstatat(dirfd(dir), de->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	closedir(dir);
	return sum;
}

uint64_t parts_bytes(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), n, part;
	struct stat st;
	uint64_t sum;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return folder_bytes(fd);
	sum = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	n = parts_count(fd);
	for (int i = 2; i <= n; i++) {
		part = parts_open(fd, i, NULL);
		if (part >= 0 && fstat(part, &st) == 0)
			sum += (uint64_t)st.st_size;
		if (part >= 0)
			close(part);
	}
	close(fd);
	return sum;
}
