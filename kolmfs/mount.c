/*
 * mount - see mount.h.
 */
#include "mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { FUSE_MAGIC = 0x65735546, EXIT_RUNTIME = 4 };

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* the real path of something that may not exist yet, or be a mount whose server died: of its
 * folder, then its name */
static int real_path(const char *path, char out[STORE_PATH_BYTES], struct err *err)
{
	char copy[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8];
	char *real = realpath(path, NULL), *slash;
	int n;

	if (!real && (errno == ENOTCONN || errno == ENOENT || errno == EIO)) {
		size_t len = strlen(path);

		if (len == 0 || len >= sizeof(copy))
			return err_set(
				err, EINVAL, "\"%s\" is no path", err_quote(quoted, path, len));
		memcpy(copy, path, len + 1);
		while (len > 1 && copy[len - 1] == '/')
			copy[--len] = '\0';
		slash = strrchr(copy, '/');
		if (slash)
			*slash = '\0';
		real = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
		if (real) {
			n = snprintf(out, STORE_PATH_BYTES, "%s/%s", strcmp(real, "/") ? real : "",
				slash ? slash + 1 : copy);
			free(real);
			return n < STORE_PATH_BYTES ? 0
						    : err_set(err, ENAMETOOLONG, "path too long");
		}
	}
	if (!real)
		return err_sys(err, "\"%s\"", err_quote(quoted, path, strlen(path)));
	n = snprintf(out, STORE_PATH_BYTES, "%s", real);
	free(real);
	return n < STORE_PATH_BYTES ? 0 : err_set(err, ENAMETOOLONG, "path too long");
}

int mount_resolve(
	const char *store, const char *mountpoint, char out[STORE_PATH_BYTES], struct err *err)
{
	char real_store[STORE_PATH_BYTES];
	int rc = real_path(store, real_store, err);

	if (rc == 0)
		rc = real_path(mountpoint, out, err);
	if (rc < 0)
		return rc;
	if (is_below(real_store, out) || is_below(out, real_store))
		return err_set(err, EINVAL,
			"store \"%s\" and mountpoint \"%s\" must not lie in each other", real_store,
			out);
	return 0;
}

void ready_tell(int fd, int status, const char *text)
{
	struct ready rd = {.status = status};

	if (fd < 0)
		return;
	snprintf(rd.text, sizeof(rd.text), "%s", text);
	if (write(fd, &rd, sizeof(rd)) != (ssize_t)sizeof(rd))
		return; /* nobody waits any more */
	close(fd);
}

int ready_wait(int fd, const char *mountpoint, struct err *err)
{
	struct ready rd;
	struct statfs fs;
	ssize_t n;

	do {
		n = read(fd, &rd, sizeof(rd));
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(rd)) {
		err_set(err, EIO, "the server ended before it was ready");
		return EXIT_RUNTIME;
	}
	if (rd.status) {
		rd.text[sizeof(rd.text) - 1] = '\0';
		err_set(err, EIO, "%s", rd.text);
		return rd.status;
	}
	/* answered only once the server serves */
	if (statfs(mountpoint, &fs) < 0 || access(mountpoint, R_OK) < 0) {
		err_sys(err, "the mount at \"%s\" does not answer", mountpoint);
		return EXIT_RUNTIME;
	}
	if (fs.f_type != FUSE_MAGIC) {
		err_set(err, EIO, "nothing is mounted at \"%s\"", mountpoint);
		return EXIT_RUNTIME;
	}
	return 0;
}
