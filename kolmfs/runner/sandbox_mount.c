/*
 * sandbox_mount - mounting as root by mount(2), otherwise through fusermount3; healing what a dead
 * server left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox.h"

/* what mountinfo says of a path: 0 nothing, 1 some mount, 2 one of ours. Octal escapes (blanks) are
 * decoded in place. */
static void unescape(char *p)
{
	char *out = p;

	while (*p) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
			p[3] >= '0' && p[3] <= '7') {
			*out++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
			p += 4;
		} else {
			*out++ = *p++;
		}
	}
	*out = 0;
}

/* every line of mountinfo; the last one of a path is the mount on top */
static void each_mount(void (*each)(void *arg, const char *path, bool ours), void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		char *save = NULL, *field = strtok_r(line, " ", &save), *type = NULL;

		for (int i = 1; field && i < 5; i++)
			field = strtok_r(NULL, " ", &save);
		if (!field)
			continue;
		unescape(field);
		while ((type = strtok_r(NULL, " ", &save)) != NULL && strcmp(type, "-") != 0)
			;
		type = type ? strtok_r(NULL, " ", &save) : NULL;
		each(arg, field, type && strcmp(type, "fuse.kolmfs") == 0);
	}
	free(line);
	if (f)
		fclose(f);
}

struct look {
	const char *path;
	int found;
};

static void compare(void *arg, const char *path, bool ours)
{
	struct look *lk = arg;

	if (strcmp(path, lk->path) == 0)
		lk->found = ours ? 2 : 1;
}

static int mounted(const char *path)
{
	struct look lk = {.path = path};

	each_mount(compare, &lk);
	return lk.found;
}

/* ---- a child's view ---- */

static void take_away(void *arg, const char *path, bool ours)
{
	(void)arg;
	if (ours)
		(void)!umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

int sandbox_hide_mounts(void)
{
	int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		return -1;
	/* root of a user namespace whose mounts are another's could leave, and not come back */
	if (setns(home, CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0) {
		close(home);
		return -1;
	}
	/* private: what is taken away here stays where it is at home */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		each_mount(take_away, NULL);
	return home;
}

void sandbox_show_mounts(int home)
{
	if (home < 0)
		return;
	if (setns(home, CLONE_NEWNS) < 0)
		_exit(1); /* a spawner that sees other mounts than its parent is of no use */
	close(home);
}

/* run fusermount3 with ${args}; ${sock} is its end of the pair that brings the descriptor, -1 none
 */
static int fusermount(const char *const *args, int sock, struct err *err)
{
	char number[40];
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, "cannot start fusermount3");
	if (pid == 0) {
		const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", number, NULL};
		sigset_t none;

		snprintf(number, sizeof(number), "_FUSE_COMMFD=%d", sock);
		if (sock >= 0)
			fcntl(sock, F_SETFD, 0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execvpe("fusermount3", (char *const *)(uintptr_t)args,
			(char *const *)(uintptr_t)env);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, ENODEV,
			"FUSE is not available: fusermount3 is not installed; the kolm command "
			"works without a mount");
	return status == 0 ? 0 : err_set(err, EACCES, "fusermount3 refused");
}

static int detach(const char *path, struct err *err)
{
	const char *const args[] = {"fusermount3", "-u", "-z", "--", path, NULL};

	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EPERM)
		return fusermount(args, -1, err);
	return err_sys(err, "cannot unmount '%s'", path);
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir)) != NULL)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (dir)
		closedir(dir);
	return n == 0;
}

/* a dead server's mount answers ENOTCONN to everybody, also to us */
static int check_place(const char *path, bool may_be_full, struct err *err)
{
	struct stat st;
	int rc;

	if (stat(path, &st) < 0 && errno == ENOTCONN && mounted(path) == 2) {
		rc = detach(path, err);
		if (rc < 0)
			return rc;
	}
	if (stat(path, &st) < 0 && errno == ENOENT)
		return err_set(err, ENOENT,
			"mount point '%s' is not there; mkdir -p it, or name another folder", path);
	if (stat(path, &st) < 0 && !(errno == ENOTCONN && mounted(path)))
		return err_sys(err, "mount point '%s'", path);
	if (mounted(path) != 0)
		return err_set(
			err, EBUSY, "mount point '%s' has something mounted on it already", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "mount point '%s' is not a folder", path);
	if (!may_be_full && !is_empty(path))
		return err_set(err, ENOTEMPTY,
			"mount point '%s' is not empty; give an empty folder", path);
	return 0;
}

static int open_fuse(struct err *err)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return err_set(err, errno == EACCES || errno == EPERM ? EACCES : ENODEV,
		"FUSE is not available: /dev/fuse: %s; the kolm command works without a mount",
		strerror(errno));
}

static unsigned long flag_of(const char *word, bool *is_off)
{
	static const struct {
		const char *word;
		unsigned long flag;
		bool is_off;
	} words[] = {
		{"ro", MS_RDONLY, false},
		{"rw", MS_RDONLY, true},
		{"nosuid", MS_NOSUID, false},
		{"suid", MS_NOSUID, true},
		{"nodev", MS_NODEV, false},
		{"dev", MS_NODEV, true},
		{"noexec", MS_NOEXEC, false},
		{"exec", MS_NOEXEC, true},
		{"noatime", MS_NOATIME, false},
		{"sync", MS_SYNCHRONOUS, false},
		{"dirsync", MS_DIRSYNC, false},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i].word) == 0) {
			*is_off = words[i].is_off;
			return words[i].flag;
		}
	}
	return 0;
}

struct options {
	char source[PATH_MAX];
	unsigned long flags;
	struct buf data; /* for the kernel's fuse */
};

/* words between commas; "\," stands for a comma inside fsname */
static int split_options(const char *text, struct options *out, struct err *err)
{
	char word[PATH_MAX];
	bool is_off;

	*out = (struct options){
		.source = "kolmfs", .flags = MS_NOSUID | MS_NODEV, .data = BUF_INIT};
	while (*text) {
		unsigned long flag;
		size_t n = 0;

		while (*text && *text != ',' && n < sizeof(word) - 1) {
			if (*text == '\\' && text[1])
				text++;
			word[n++] = *text++;
		}
		if (*text && *text != ',')
			return err_set(err, EINVAL, "mount option is too long");
		text += *text == ',';
		word[n] = 0;
		flag = flag_of(word, &is_off);
		if (flag)
			out->flags = is_off ? out->flags & ~flag : out->flags | flag;
		else if (strncmp(word, "fsname=", 7) == 0)
			memcpy(out->source, word + 7, n - 6);
		else if (n > 0 && strncmp(word, "subtype=", 8) != 0)
			buf_addf(&out->data, ",%s", word);
	}
	return 0;
}

static int mount_root(const char *path, const char *text, int *fd, struct err *err)
{
	struct options opt;
	struct buf data = BUF_INIT;
	int rc = split_options(text, &opt, err), fuse;

	if (rc < 0)
		return rc;
	fuse = open_fuse(err);
	if (fuse < 0) {
		buf_release(&opt.data);
		return fuse;
	}
	buf_addf(&data, "fd=%d,rootmode=40000,user_id=%u,group_id=%u%s", fuse, getuid(), getgid(),
		buf_str(&opt.data));
	if (data.failed)
		rc = err_nomem(err);
	else if (mount(opt.source, path, "fuse.kolmfs", opt.flags, data.data) < 0)
		rc = errno == ENODEV ? err_set(err, ENODEV,
					       "FUSE is not available: the kernel has no fuse; the "
					       "kolm command works without a mount")
				     : err_sys(err, "cannot mount on '%s'", path);
	buf_release(&data);
	buf_release(&opt.data);
	if (rc < 0)
		close(fuse);
	else
		*fd = fuse;
	return rc;
}

static int mount_user(const char *path, const char *text, int *fd, struct err *err)
{
	struct buf options = BUF_INIT;
	const char *args[] = {"fusermount3", "-o", NULL, "--", path, NULL};
	int pair[2], got[WIRE_FDS], rc;
	size_t ngot = 0;
	char byte;

	rc = open_fuse(err); /* for its sentence */
	if (rc < 0)
		return rc;
	close(rc);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	buf_addf(&options, "subtype=kolmfs%s%s", *text ? "," : "", text);
	args[2] = buf_str(&options);
	rc = fusermount(args, pair[1], err);
	close(pair[1]);
	if (rc == 0 && (wire_receive(pair[0], &byte, 1, got, &ngot) < 0 || ngot != 1))
		rc = err_set(err, EACCES, "fusermount3 did not mount on '%s'", path);
	if (rc == 0)
		*fd = got[0];
	close(pair[0]);
	buf_release(&options);
	return rc;
}

/*
 * The path as the kernel lists it. Without ${may_touch} only the folder above is looked at: asking
 * a mount about itself waits for its server, who may be the one that wants it unmounted.
 */
static int real_path(const char *path, bool may_touch, char out[PATH_MAX], struct err *err)
{
	char copy[PATH_MAX], above[PATH_MAX], *name;
	size_t len = strlen(path);

	if (path[0] != '/' || len >= PATH_MAX)
		return err_set(err, EINVAL, "mount point '%.200s' is not an absolute path", path);
	if (may_touch && realpath(path, out))
		return 0;
	memcpy(copy, path, len + 1);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = 0;
	name = strrchr(copy, '/');
	*name++ = 0;
	if (!realpath(copy[0] ? copy : "/", above))
		return err_sys(err, "mount point '%.200s'", path);
	if (snprintf(out, PATH_MAX, "%s/%s", strcmp(above, "/") == 0 ? "" : above, name) >=
		PATH_MAX)
		return err_set(err, ENAMETOOLONG, "mount point '%.200s' is too long", path);
	return 0;
}

/* ---- the connection behind a mount ---- */

/* fusectl where it is mounted; otherwise, as root, an instance that is mounted nowhere */
static int open_fusectl(bool is_own)
{
	int fs, dir = -1;

	if (!is_own)
		return open("/sys/fs/fuse/connections", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fs = fsopen("fusectl", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		dir = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return dir;
}

/*
 * The file that ends the connection of the mount at ${path}, wherever the mount has gone meanwhile:
 * a path cannot, after a lazy unmount. Held open it means this connection for ever, also when its
 * number is given out again. 0: there is none.
 */
static int open_abort(const char *path)
{
	struct statx at;
	char name[32];
	int fd = 0;

	/* asks nobody: the server does not serve yet */
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &at) < 0)
		return 0;
	snprintf(name, sizeof(name), "%u/abort", at.stx_dev_minor);
	for (int is_own = 0; is_own <= 1 && fd <= 0; is_own++) {
		int dir = open_fusectl(is_own);

		if (dir < 0)
			continue;
		fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		close(dir);
	}
	return fd > 0 ? fd : 0;
}

static void forget(struct sandbox *sb, size_t i)
{
	free(sb->mounts[i].asked);
	free(sb->mounts[i].real);
	sb->mounts[i].asked = sb->mounts[i].real = NULL;
}

int sandbox_mount(
	struct sandbox *sb, const char *mountpoint, const char *options, int *fd, struct err *err)
{
	/* a word of ours: the store itself is the mount point */
	bool over = strncmp(options, "over,", 5) == 0;
	char path[PATH_MAX];
	size_t slot = 0;
	int rc;

	options += over ? 5 : 0;
	while (slot < MOUNT_MAX && sb->mounts[slot].asked)
		slot++;
	if (slot == MOUNT_MAX)
		return err_set(err, EAGAIN, "too many mounts");
	rc = real_path(mountpoint, true, path, err);
	if (rc == 0)
		rc = check_place(path, over, err);
	if (rc < 0)
		return rc;
	sb->mounts[slot].asked = strdup(mountpoint);
	sb->mounts[slot].real = strdup(path);
	if (!sb->mounts[slot].asked || !sb->mounts[slot].real)
		rc = err_nomem(err);
	else
		rc = geteuid() == 0 ? mount_root(path, options, fd, err)
				    : mount_user(path, options, fd, err);
	if (rc < 0) {
		forget(sb, slot);
		return rc;
	}
	if (sb->mounts[slot].abort > 0)
		close(sb->mounts[slot].abort);
	sb->mounts[slot].abort = open_abort(path);
	return 0;
}

int sandbox_unmount(struct sandbox *sb, const char *mountpoint, struct err *err)
{
	char path[PATH_MAX];
	int rc = real_path(mountpoint, false, path, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < MOUNT_MAX; i++) {
		if (sb->mounts[i].asked && (strcmp(sb->mounts[i].asked, mountpoint) == 0 ||
						   strcmp(sb->mounts[i].real, path) == 0)) {
			snprintf(path, sizeof(path), "%s", sb->mounts[i].real);
			forget(sb, i);
		}
	}
	switch (mounted(path)) {
	case 2:
		return detach(path, err);
	case 1:
		return err_set(err, EINVAL, "'%s' is not a kolmfs mount", mountpoint);
	default:
		return err_set(err, EINVAL, "'%s' is not mounted", mountpoint);
	}
}

void sandbox_unmount_all(struct sandbox *sb)
{
	for (size_t i = 0; i < MOUNT_MAX; i++) {
		/* a connection that has ended takes no notice */
		if (sb->mounts[i].abort > 0)
			(void)!write(sb->mounts[i].abort, "1", 1);
		if (sb->mounts[i].real && mounted(sb->mounts[i].real) == 2) {
			/* force aborts the connection even when the mount is busy; then it is taken
			 * away */
			(void)!umount2(sb->mounts[i].real, MNT_FORCE | UMOUNT_NOFOLLOW);
			if (mounted(sb->mounts[i].real) == 2)
				detach(sb->mounts[i].real, NULL);
		}
	}
}
