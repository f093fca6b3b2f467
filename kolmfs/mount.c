/*
 * mount - see mount.h.
 */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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
		return err_sys(err, "cannot find the folder of \"%s\"",
			err_quote(quoted, path, strlen(path)));
	n = snprintf(out, STORE_PATH_BYTES, "%s", real);
	free(real);
	return n < STORE_PATH_BYTES ? 0 : err_set(err, ENAMETOOLONG, "path too long");
}

/* is the folder the root of a mount of ours? */
static bool is_ours(const char *folder)
{
	char path[STORE_PATH_BYTES + 16], text[8] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/version", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = '\0';
	close(fd);
	return strcmp(text, "kolmfs ") == 0;
}

/* the folder of ${store}'s path, itself perhaps, that is a mount of ours: a server would serve what
 * it is served. "" none. */
static void find_served(const char *store, char out[STORE_PATH_BYTES])
{
	struct statfs fs;

	snprintf(out, STORE_PATH_BYTES, "%s", store);
	while (*out) {
		bool is_there = statfs(out, &fs) == 0;

		if (is_there && fs.f_type == FUSE_MAGIC && is_ours(out))
			return;
		*strrchr(out, '/') = '\0';
		if (is_there && fs.f_type != FUSE_MAGIC)
			*out = '\0';
	}
}

int mount_resolve(const char *store, const char *mountpoint, bool over, char out[STORE_PATH_BYTES],
	struct err *err)
{
	char real_store[STORE_PATH_BYTES], served[STORE_PATH_BYTES];
	bool is_same;
	int rc = real_path(store, real_store, err);

	if (rc == 0)
		rc = real_path(mountpoint, out, err);
	if (rc < 0)
		return rc;
	find_served(real_store, served);
	if (*served)
		return err_set(err, EBUSY,
			"store \"%s\": \"%s\" is a mount of kolmfs already; use it, or unmount it "
			"first",
			real_store, served);
	is_same = strcmp(real_store, out) == 0;
	if (over)
		return is_same ? 0
			       : err_set(err, EINVAL,
					 "-o over mounts on the store itself; leave the mountpoint "
					 "\"%s\" away",
					 out);
	if (is_below(real_store, out) || is_below(out, real_store))
		return err_set(err, EINVAL,
			"store \"%s\" and mountpoint \"%s\" must not lie in each other; %s",
			real_store, out,
			is_same ? "-o over mounts on the store itself" : "choose another folder");
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

int manager_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if ((len > 0 && path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(at.sun_path))
		return -1;
	memcpy(at.sun_path, path, len);
	if (path[0] == '@')
		at.sun_path[0] = '\0'; /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void manager_tell(int *fd)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)getpid());

	if (*fd < 0)
		return;
	/* write(2): the walls know no socket call any more */
	if (write(*fd, text, (size_t)n) < 0)
		fputs("kolmfs: the service manager does not listen\n", stderr);
	close(*fd);
	*fd = -1;
}
