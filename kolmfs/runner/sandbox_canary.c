/*
 * sandbox_canary - proof that the walls stand: cells that try, by bare system calls, what a hostile
 * recipe would try, and one that holds still while we look at it from outside. What is reported is
 * what was seen, never what was asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wall.h"
#include "runner/egress.h"
#include "runner/sandbox.h"

enum { PROBE_MS = 10000 };

struct probe {
	struct child *cell;
	int in, out; /* our ends */
};

static int probe_open(struct sandbox *sb, const char *name, struct probe *out, struct err *err)
{
	int down[2], up[2], rc;

	if (pipe2(down, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	if (pipe2(up, O_CLOEXEC) < 0) {
		close(down[0]);
		close(down[1]);
		return err_sys(err, "cannot make a pipe");
	}
	rc = cell_start(sb, NULL, name, down[0], up[1], &out->cell, err);
	close(down[0]);
	close(up[1]);
	out->in = down[1];
	out->out = up[0];
	if (rc == 0) {
		rc = cell_wait_ready(out->cell, err);
		if (rc < 0) {
			child_kill(out->cell);
			waitpid(out->cell->box.pid, NULL, 0);
			child_free(sb, out->cell);
		}
	}
	if (rc < 0) {
		close(out->in);
		close(out->out);
	}
	return rc;
}

static void probe_close(struct sandbox *sb, struct probe *pr)
{
	close(pr->in);
	close(pr->out);
	while (!pr->cell->is_over)
		sandbox_pump(sb, false);
	child_free(sb, pr->cell);
}

/* one probe: refused when it got there and said so, or was killed for it */
static int try_probe(
	struct sandbox *sb, const char *name, bool is_network, bool *is_refused, struct err *err)
{
	struct probe pr;
	char said[2] = {0, 0};
	bool was_killed;
	int rc = probe_open(sb, name, &pr, err);

	if (rc < 0)
		return rc;
	while (!pr.cell->is_over)
		sandbox_pump(sb, false);
	if (read(pr.out, said, sizeof(said)) < 1)
		said[0] = 0;
	was_killed = WIFSIGNALED(pr.cell->wait_status) &&
		     (WTERMSIG(pr.cell->wait_status) == SIGSYS || pr.cell->egress[0]);
	*is_refused = said[0] == PROBE_READY &&
		      (said[1] == PROBE_REFUSED || (said[1] == 0 && was_killed)) &&
		      (!is_network || pr.cell->egress[0]);
	probe_close(sb, &pr);
	return 0;
}

static void put(struct buf *out, const char *layer, const char *why)
{
	buf_addf(out, "%s\"%s\":\"%s%s\"", out->len > 1 ? "," : "", layer,
		why ? "missing: " : "in force", why ? why : "");
}

static bool own_namespace(pid_t pid, const char *name)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	if (stat(path, &theirs) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return stat(path, &ours) == 0 && ours.st_ino != theirs.st_ino;
}

static bool status_has(const char *status, const char *key, const char *value)
{
	const char *at = strstr(status, key);
	size_t len = strlen(value);

	return at && strncmp(at + strlen(key), value, len) == 0 &&
	       (at[strlen(key) + len] == '\n' || at[strlen(key) + len] == '\t');
}

static void read_proc(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, size - 1);
		close(fd);
	}
	out[n > 0 ? n : 0] = 0;
}

static bool limit_is(const char *limits, const char *name, const char *value)
{
	const char *at = strstr(limits, name);

	at = at ? at + strlen(name) : NULL;
	if (!at)
		return false;
	at += strspn(at, " ");
	return strncmp(at, value, strlen(value)) == 0 && at[strlen(value)] == ' ';
}

/* all that a locked cell has; the memory limit is the spawner's, above what the engine took */
static bool has_limits(const char *limits)
{
	static const char *const want[][2] = {{"Max file size", "0"}, {"Max core file size", "0"},
		{"Max stack size", "8388608"}, {"Max processes", "1"}, {"Max open files", "2"},
		{"Max locked memory", "0"}, {"Max msgqueue size", "0"}};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (!limit_is(limits, want[i][0], want[i][1]))
			return false;
	}
	return strstr(limits, "Max data size") && !limit_is(limits, "Max data size", "unlimited");
}

/* a cell that holds still, from outside */
static void inspect(pid_t pid, struct buf *out)
{
	char status[8192], limits[4096];
	bool is_nobody;

	read_proc(pid, "status", status, sizeof(status));
	read_proc(pid, "limits", limits, sizeof(limits));
	is_nobody = geteuid() == 0 ? status_has(status, "\nUid:\t", "65534") : true;
	put(out, "no_new_privs", status_has(status, "\nNoNewPrivs:\t", "1") ? NULL : "not set");
	put(out, "userns", own_namespace(pid, "user") ? NULL : "shared with the server");
	put(out, "netns", own_namespace(pid, "net") ? NULL : "shared with the server");
	put(out, "pidns", own_namespace(pid, "pid") ? NULL : "shared with the server");
	put(out, "mountns",
		own_namespace(pid, "mnt") && own_namespace(pid, "ipc") ? NULL
								       : "shared with the server");
	put(out, "identity",
		is_nobody && status_has(status, "\nCapEff:\t", "0000000000000000") &&
				status_has(status, "\nCapBnd:\t", "0000000000000000")
			? NULL
			: "it has rights");
	put(out, "rlimits", has_limits(limits) ? NULL : "not set");
	put(out, "landlock",
		landlock_abi() > 0 ? NULL
				   : "the kernel has none"); /* the cell itself refuses to start
								when it does not bite */
	put(out, "seccomp",
		status_has(status, "\nSeccomp:\t", "2") &&
				!status_has(status, "\nSeccomp_filters:\t", "1")
			? NULL
			: "no filter");
}

static int look(struct sandbox *sb, struct buf *out, struct err *err)
{
	struct probe pr;
	struct pollfd pfd;
	char said = 0;
	int rc = probe_open(sb, "hold", &pr, err);

	if (rc < 0)
		return rc;
	pfd = (struct pollfd){.fd = pr.out, .events = POLLIN};
	if (poll(&pfd, 1, PROBE_MS) == 1 && read(pr.out, &said, 1) == 1 && said == PROBE_READY)
		inspect(pr.cell->box.pid, out);
	else
		rc = err_set(err, EOPNOTSUPP,
			"sandbox: cell unavailable (it did not get behind its walls); recipes will "
			"not be run");
	child_kill(pr.cell);
	probe_close(sb, &pr);
	return rc;
}

/* the first of ${names} that is not refused, NULL none */
static int try_all(struct sandbox *sb, const char *const *names, bool is_network,
	const char **open_door, struct err *err)
{
	bool is_refused = true;
	int rc = 0;

	for (; *names && rc == 0 && !*open_door; names++) {
		rc = try_probe(sb, *names, is_network, &is_refused, err);
		if (rc == 0 && !is_refused)
			*open_door = *names;
	}
	return rc;
}

int sandbox_canary(struct sandbox *sb, struct buf *report, struct err *err)
{
#define NAME(name) #name,
	static const char *const network[] = {CELL_NETWORK_PROBES(NAME) NULL},
				 *const others[] = {CELL_OTHER_PROBES(NAME) NULL};
#undef NAME
	const char *open_door = NULL;
	int rc;

	buf_putc(report, '{');
	rc = look(sb, report, err);
	if (rc == 0)
		rc = try_all(sb, network, true, &open_door, err);
	if (rc == 0)
		rc = try_all(sb, others, false, &open_door, err);
	put(report, "probes", open_door);
	buf_putc(report, '}');
	if (rc == 0 && report->failed)
		rc = err_nomem(err);
	return rc;
}
