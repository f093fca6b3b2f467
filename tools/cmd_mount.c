/*
 * cmd_mount - the friendly forms of kolmfs and of its end; and the audit log's check.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/replace.h"
#include "tools/cli.h"

#define MOUNTPOINT "/mnt/kolm"

/* kolmfs lies beside this program */
static int server_path(char out[PATH_MAX], struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 8);
	char *slash;

	if (n < 0)
		return err_sys(err, "cannot find this program's folder");
	out[n] = '\0';
	slash = strrchr(out, '/');
	memcpy(slash + 1, "kolmfs", 7);
	if (access(out, X_OK) < 0) {
		(void)err_sys(err, "cannot start '%s'", out);
		return missing_mark(err);
	}
	return 0;
}

int cmd_mount(struct cli *c, struct err *err)
{
	const char *options = flag_value(c, "-o"), *argv[9];
	char program[PATH_MAX];
	size_t n = 0;
	int rc = server_path(program, err);

	if (rc < 0)
		return rc;
	argv[n++] = program;
	if (flag_on(c, "-f"))
		argv[n++] = "-f";
	if (options != NULL) {
		argv[n++] = "-o";
		argv[n++] = options;
	}
	argv[n++] = "--";
	argv[n++] = c->store;
	/* without one kolmfs knows the default, which is the store itself with -o over */
	if (c->words > 0)
		argv[n++] = c->word[0];
	argv[n] = NULL;
	execv(program, (char **)argv);
	(void)err_sys(err, "cannot start '%s'", program);
	return missing_mark(err);
}

/* mount points in /proc/self/mountinfo have blanks and backslashes as \ooo */
static bool is_field(const char *field, size_t len, const char *path)
{
	size_t at = 0;

	for (size_t i = 0; i < len; at++) {
		char c = field[i];

		if (c == '\\' && i + 3 < len && field[i + 1] >= '0' && field[i + 1] <= '3') {
			c = (char)((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 +
				   (field[i + 3] - '0'));
			i += 4;
		} else {
			i++;
		}
		if (path[at] != c)
			return false;
	}
	return path[at] == '\0';
}

static bool is_kolmfs(const char *path)
{
	struct buf text = BUF_INIT;
	bool found = false;
	int rc = path_read("/proc/self/mountinfo", 16 << 20, &text, NULL);

	for (char *line = text.data, *end; rc == 0 && line != NULL && *line != '\0'; line = end) {
		const char *type, *from = line;

		end = strchr(line, '\n');
		if (end != NULL)
			*end++ = '\0';
		for (int i = 0; i < 4 && from != NULL; i++) {
			from = strchr(from, ' ');
			from = from != NULL ? from + 1 : NULL;
		}
		type = strstr(line, " - ");
		if (from != NULL && type != NULL && strncmp(type + 3, "fuse.kolmfs ", 12) == 0 &&
			is_field(from, strcspn(from, " "), path))
			found = true;
	}
	buf_release(&text);
	return found;
}

static int run_fusermount(const char *path, struct err *err)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return err_sys(err, "cannot start fusermount3");
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "--", path, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "cannot wait for fusermount3");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		(void)err_set(err, ENOENT, "fusermount3 is missing; install fuse3");
		return missing_mark(err);
	}
	return err_set(err, EBUSY, "fusermount3 could not unmount '%s'", path);
}

int cmd_umount(struct cli *c, struct err *err)
{
	const char *given = c->words > 0 ? c->word[0] : MOUNTPOINT;
	char path[STORE_PATH_BYTES], quoted[ERR_QUOTE_BYTES + 8], *real;
	int rc = path_absolute(given, path, err);

	if (rc < 0)
		return rc;
	/* a link to it; this reads links only, and does not ask the server */
	if (!is_kolmfs(path) && (real = realpath(path, NULL)) != NULL) {
		if (strlen(real) < sizeof(path) && is_kolmfs(real))
			strcpy(path, real);
		free(real);
	}
	err_quote(quoted, path, strlen(path));
	if (!is_kolmfs(path))
		return err_set(err, ENOENT, "no store is mounted at '%s'", quoted);
	if (umount2(path, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EBUSY)
		return err_set(err, EBUSY, "'%s' is in use: a file is open or a shell stands in it",
			quoted);
	if (errno != EPERM)
		return err_sys(err, "cannot unmount '%s'", quoted);
	return run_fusermount(path, err);
}

int cmd_log_verify(struct cli *c, struct err *err)
{
	struct log_checkpoint end;
	uint64_t lines;
	int rc = log_verify_signed(kolm_store(c->k), &lines, &end, err);

	if (rc < 0)
		return rc;
	printf("ok %llu line%s, the chain holds\n", (unsigned long long)lines,
		lines == 1 ? "" : "s");
	if (end.who[0] != '\0')
		printf("   its end, line %llu, is signed: %s\n", (unsigned long long)end.seq,
			end.who);
	else if (lines > 0)
		printf("   its end is not signed%s: lines cut off there might not be missed\n",
			end.seq == 0 ? " or noted" : "");
	return 0;
}
