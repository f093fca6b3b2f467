#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "text.h"

enum { OPEN_TRIES = 16, FIRST_FILES = 256 };

/* kernels before 5.6, and filters that do not know the call: one component after the other */
static int open_stepwise(int rootfd, const char *name, int flags)
{
	int at = rootfd, fd = -1;

	for (;;) {
		const char *slash = strchr(name, '/');
		size_t len = slash ? (size_t)(slash - name) : strlen(name);
		char part[NAME_MAX + 1];

		if (len == 0 || len > NAME_MAX || (len == 2 && memcmp(name, "..", 2) == 0)) {
			fd = -EINVAL;
		} else {
			memcpy(part, name, len);
			part[len] = '\0';
			fd = openat(at, part,
				slash ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC : flags);
			if (fd < 0)
				fd = -errno;
		}
		if (at != rootfd)
			close(at);
		if (fd < 0 || !slash)
			return fd;
		at = fd;
		name = slash + 1;
	}
}

int rag_open_below(int rootfd, const char *name, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	/* EAGAIN: something was renamed while the kernel looked */
	for (int i = 0; i < OPEN_TRIES; i++) {
		long fd = syscall(SYS_openat2, rootfd, name, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno == ENOSYS || errno == EPERM)
			return open_stepwise(rootfd, name, flags | O_NOFOLLOW | O_CLOEXEC);
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

int rag_read_stat(int rootfd, const char *name, uint64_t max, struct buf *out, struct stat *st)
{
	int fd = rag_open_below(rootfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	size_t start = out->len;
	int rc = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		rc = -errno;
	else if (!S_ISREG(st->st_mode))
		rc = -EINVAL;
	else if ((uint64_t)st->st_size > max)
		rc = -EFBIG;
	while (rc == 0) {
		/* the size is a hint only: files grow, and those of /proc have none; one byte more
		 * than known finds the end */
		size_t have = out->len - start,
		       hint = (size_t)st->st_size > have ? (size_t)st->st_size - have + 1 : 65536;
		ssize_t n;

		if (buf_reserve(out, hint) < 0) {
			rc = -ENOMEM;
			break;
		}
		n = read(fd, out->data + out->len, hint);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		out->len += (size_t)n;
		if (out->len - start > max)
			rc = -EFBIG;
	}
	close(fd);
	if (rc < 0)
		out->len = start;
	return rc;
}

int rag_read_below(int rootfd, const char *name, uint64_t max, struct buf *out)
{
	struct stat st;

	return rag_read_stat(rootfd, name, max, out, &st);
}

void rag_files_release(struct rag_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		if (files->at[i].path != files->at[i].name)
			free(files->at[i].path);
		free(files->at[i].name);
	}
	free(files->at);
	*files = (struct rag_files){0};
}

/* the extension of a file name, lower-cased, equals an entry of the list, with or without that
 * entry's dot */
static bool ext_matches(const char *list, const char *name, struct buf *low)
{
	const char *dot = strrchr(name, '.');

	if (*list == '\0')
		return true;
	buf_reset(low);
	if (dot && dot != name && rag_lower(dot, strlen(dot), low) < 0)
		return false;
	while (*list) {
		size_t len = strcspn(list, ",");
		size_t skip = *list == '.' ? 0 : 1;

		if (len && low->len == len + skip && memcmp(low->data + skip, list, len) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

static int file_add(struct rag_files *files, const char *folder, const char *name)
{
	struct rag_file file;
	size_t len;

	if (files->n == files->cap) {
		size_t cap = files->cap ? files->cap * 2 : FIRST_FILES;
		struct rag_file *at = realloc(files->at, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		files->at = at;
		files->cap = cap;
	}
	if (asprintf(&file.name, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
		return -ENOMEM;
	len = strlen(file.name);
	file.path = file.name;
	if (utf8_check(file.name, len) != len) {
		struct buf text = BUF_INIT;

		if (rag_decode(file.name, len, &text) < 0) {
			buf_release(&text);
			free(file.name);
			return -ENOMEM;
		}
		file.path = buf_detach(&text);
	}
	files->at[files->n++] = file;
	return 0;
}

/* folders still to be read */
struct queue {
	char **at;
	size_t n, cap;
};

static int queue_push(struct queue *qu, const char *folder, const char *name)
{
	if (qu->n == qu->cap) {
		size_t cap = qu->cap ? qu->cap * 2 : FIRST_FILES;
		char **at = realloc(qu->at, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		qu->at = at;
		qu->cap = cap;
	}
	if (asprintf(&qu->at[qu->n], "%s%s%s", folder, *folder ? "/" : "", name) < 0)
		return -ENOMEM;
	qu->n++;
	return 0;
}

static unsigned char entry_type(DIR *dir, const struct dirent *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type;
	return fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0
		       ? DT_UNKNOWN
		       : (unsigned char)IFTODT(st.st_mode);
}

static int folder_read(DIR *dir, const char *folder, const struct rag_walk *opt,
	struct rag_files *out, struct queue *qu, struct err *err)
{
	struct buf low = BUF_INIT;
	struct dirent *de;
	int rc = 0, listed = 0;

	while (rc == 0 && (listed = dir_next(dir, "the folder", &de, *folder ? NULL : err)) > 0) {
		const char *name = de->d_name;
		unsigned char type = entry_type(dir, de);

		if (type == DT_DIR) {
			if (name[0] != '.' && strcmp(name, "node_modules") != 0)
				rc = queue_push(qu, folder, name);
		} else if (type != DT_REG) {
			out->special += type != DT_UNKNOWN; /* unknown: gone already */
		} else if (ext_matches(opt->ext, name, &low)) {
			rc = file_add(out, folder, name);
		}
		if (rc == -ENOMEM)
			err_nomem(err);
		else if (out->n > opt->max_files)
			rc = err_set(err, EFBIG, "more than %zu files; index a smaller folder",
				opt->max_files);
		else if (qu->n > opt->max_files)
			rc = err_set(err, EFBIG,
				"more than %zu files and folders; index a smaller folder",
				opt->max_files);
	}
	buf_release(&low);
	if (rc == 0 && listed < 0 && *folder)
		out->unreadable++;
	else if (rc == 0 && listed < 0)
		rc = listed;
	return rc;
}

/* a mounted kolmfs says so by what no other FUSE file system says of itself (kolmfs/fuse.c,
 * do_statfs()): no blocks, and names longer than the kernel's own limit */
static bool is_own_mount(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC && fs.f_blocks == 0 &&
	       fs.f_namelen > NAME_MAX;
}

/* a folder that cannot be read is left out and counted, the first one excepted */
static int walk_folder(int rootfd, const char *folder, const struct rag_walk *opt,
	struct rag_files *out, struct queue *qu, struct err *err)
{
	int fd, rc;
	DIR *dir;

	fd = *folder ? rag_open_below(rootfd, folder, O_RDONLY | O_DIRECTORY)
		     : openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && *folder == '\0')
		return err_sys(err, "cannot read the folder");
	if (fd < 0) {
		out->unreadable++;
		return 0;
	}
	if (is_own_mount(fd)) {
		close(fd);
		out->mounts++;
		return 0;
	}
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_nomem(err);
	}
	rc = folder_read(dir, folder, opt, out, qu, err);
	closedir(dir);
	return rc;
}

int rag_path_compare(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	struct buf x = BUF_INIT, y = BUF_INIT;
	int order;

	if (utf8_check(a, a_len) == a_len && utf8_check(b, b_len) == b_len) {
		order = utf16_compare(a, a_len, b, b_len);
	} else {
		rag_decode(a, a_len, &x);
		rag_decode(b, b_len, &y);
		order = utf16_compare(buf_str(&x), x.len, buf_str(&y), y.len);
		buf_release(&x);
		buf_release(&y);
	}
	return order ? order : strcmp(a, b);
}

static int file_compare(const void *a, const void *b)
{
	const struct rag_file *x = a, *y = b;
	int order = utf16_compare(x->path, strlen(x->path), y->path, strlen(y->path));

	return order ? order : strcmp(x->name, y->name);
}

int rag_walk(int rootfd, const struct rag_walk *opt, struct rag_files *out, struct err *err)
{
	struct queue qu = {0};
	int rc;

	*out = (struct rag_files){0};
	rc = walk_folder(rootfd, "", opt, out, &qu, err);
	while (rc == 0 && qu.n > 0) {
		char *folder = qu.at[--qu.n];

		rc = walk_folder(rootfd, folder, opt, out, &qu, err);
		free(folder);
		if (opt->tick)
			opt->tick(opt->arg, out->n);
	}
	while (qu.n > 0)
		free(qu.at[--qu.n]);
	free(qu.at);
	if (rc == 0 && out->n > 1)
		qsort(out->at, out->n, sizeof(*out->at), file_compare);
	return rc;
}
