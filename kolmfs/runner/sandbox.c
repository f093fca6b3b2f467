/*
 * sandbox - starting one child behind its walls.
 *
 * clone() makes the namespaces; the child waits until the spawner has written its id maps, then
 * builds the rest in the order that works: mounts, the filter with its listener (taken by the
 * spawner through pidfd_getfd), for all but a cell a fork - the first process of a pid namespace
 * ignores SIGTERM and must reap orphans, so a tiny init stands there - then descriptors, limits,
 * capabilities, Landlock, exec. Any failure comes back as a sentence through a pipe.
 */
#include "runner/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wall.h"
#include "runner/egress.h"

enum { NOBODY = 65534, KEEP_MAX = WIRE_FDS + 16, NICE_WORKER = 10 };

/* child to spawner: one of these, or nothing but the end of file once exec has closed the pipe */
struct news {
	int listener; /* its number in the child; -1: none and the child goes on */
	struct err err;
};

struct setup {
	const struct sandbox_spec *spec;
	int go, say; /* pipes with the spawner */
	int status;  /* where the init says how the program ended */
	int program; /* open program of a cell: as uid 65534 its path may not be reachable */
};

static unsigned long clone_flags(int kind)
{
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;

	if (kind != SPAWN_CLUSTER)
		flags |= CLONE_NEWNET;
	if (kind == SANDBOX_CELL)
		flags |= CLONE_NEWUTS | CLONE_NEWCGROUP;
	if (wall_is_ablated("netns"))
		flags &= ~(unsigned long)CLONE_NEWNET;
	if (wall_is_ablated("pidns"))
		flags &= ~(unsigned long)CLONE_NEWPID;
	if (wall_is_ablated("ipcns"))
		flags &= ~(unsigned long)(CLONE_NEWIPC | CLONE_NEWUTS);
	return flags;
}

/* ---- in the child; nothing here returns to the spawner's code ---- */

static _Noreturn void give_up(const struct setup *st, const struct err *err)
{
	const struct news news = {.listener = -1, .err = *err};

	if (write(st->say, &news, sizeof(news)) < 0)
		_exit(CELL_NO_WALLS);
	_exit(CELL_NO_WALLS);
}

static int missing(struct err *err, const char *what)
{
	return err_set(err, EOPNOTSUPP, "sandbox: %s unavailable (%s); recipes will not be run",
		what, strerror(errno));
}

static void wait_go(const struct setup *st)
{
	char go;

	if (read(st->go, &go, 1) != 1) /* the spawner is gone, or refuses */
		_exit(CELL_NO_WALLS);
}

static int first_steps(const struct setup *st, struct err *err)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	wait_go(st);
	if (st->spec->kind == SANDBOX_CELL) {
		/* refused where an unprivileged spawner mapped only itself; then there is nothing
		 * to drop */
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return missing(err, "dropping of groups");
		if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
			return missing(err, "change of identity");
	}
	if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return missing(err, "parent's life line");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return missing(err, "mount namespace");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return missing(err, "no_new_privs");
	return 0;
}

/* the program's files stay readable as they are for the server: root keeps the right to read (not
 * to write) what belongs to others, inside Landlock, and nothing else */
static int drop_capabilities(struct err *err)
{
	const unsigned keep = geteuid() == 0 ? 1u << CAP_DAC_READ_SEARCH : 0;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{keep, keep, 0}, {0, 0, 0}};

	for (unsigned long cap = 0; cap < 64; cap++) {
		if (cap < 32 && (keep >> cap & 1))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return missing(err, "dropping of capabilities");
	}
	if (syscall(SYS_capset, &head, caps) < 0)
		return missing(err, "dropping of capabilities");
	return 0;
}

/* Move every descriptor out of the way of the targets, then into place, and close the rest. The
 * pipe for bad news and the program survive until exec. */
static int install_fds(struct setup *st, struct err *err)
{
	const struct sandbox_spec *spec = st->spec;
	const int base = 10 + WIRE_FDS + 8;
	int moved[KEEP_MAX];

	if (spec->nfds > KEEP_MAX)
		return err_set(err, E2BIG, "too many descriptors for a child");
	for (size_t i = 0; i < spec->nfds; i++) {
		moved[i] = fcntl(spec->fds[i].from, F_DUPFD_CLOEXEC, base);
		if (moved[i] < 0)
			return err_sys(err, "cannot pass descriptor %d", spec->fds[i].from);
	}
	st->say = fcntl(st->say, F_DUPFD_CLOEXEC, base);
	if (st->program >= 0)
		st->program = fcntl(st->program, F_DUPFD_CLOEXEC, base);
	if (st->say < 0)
		return err_sys(err, "cannot keep a descriptor");
	/* below the parking place nothing stays */
	if (close_range(0, (unsigned)base - 1, 0) < 0)
		return err_sys(err, "cannot close descriptors");
	for (size_t i = 0; i < spec->nfds; i++) {
		if (dup2(moved[i], spec->fds[i].to) < 0)
			return err_sys(err, "cannot pass descriptor %d", spec->fds[i].to);
	}
	/* what is above closes by itself at exec */
	return close_range((unsigned)base, ~0U, CLOSE_RANGE_CLOEXEC) < 0
		       ? err_sys(err, "cannot close descriptors")
		       : 0;
}

static int limit(__rlimit_resource_t what, uint64_t bytes)
{
	const struct rlimit both = {bytes, bytes};

	return bytes == 0 ? 0 : setrlimit(what, &both);
}

static int limits(const struct sandbox_spec *spec, struct err *err)
{
	const int kind = spec->kind;
	/* the native trainer opens a base, its rows and an adapter; what Python opens nobody knows
	 */
	const rlim_t most = kind == SPAWN_TRAINER ? 64 : 1024;
	const struct rlimit no_core = {0, 0}, files = {most, most},
			    /* told by SIGXCPU, ended a little later */
		cpu = {spec->cpu_seconds, spec->cpu_seconds + 5};

	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return missing(err, "resource limit");
#ifndef __SANITIZE_ADDRESS__ /* whose shadow of memory counts as memory */
	if (limit(RLIMIT_DATA, spec->data_bytes) < 0)
		return missing(err, "memory limit");
#endif
	if (limit(RLIMIT_FSIZE, spec->file_bytes) < 0)
		return missing(err, "limit on files");
	if (spec->cpu_seconds > 0 && setrlimit(RLIMIT_CPU, &cpu) < 0)
		return missing(err, "limit of processor time");
	if (kind != SPAWN_CLUSTER && setrlimit(RLIMIT_NOFILE, &files) < 0 && errno != EPERM)
		return missing(err, "resource limit");
	if (kind == SPAWN_TRAINER || kind == SPAWN_INDEXER || kind == SPAWN_WORKER)
		setpriority(PRIO_PROCESS, 0, NICE_WORKER); /* manners, not a wall */
	return 0;
}

static _Noreturn void become_program(struct setup *st)
{
	const struct sandbox_spec *spec = st->spec;
	struct err err = ERR_NONE;
	int rc;

	rc = install_fds(st, &err);
	if (rc == 0)
		rc = limits(spec, &err);
	if (rc == 0 && chdir(spec->cwd[0] ? spec->cwd : "/") < 0)
		rc = err_sys(&err, "cannot enter '%s'", spec->cwd);
	if (rc == 0 && spec->kind != SANDBOX_CELL) {
		rc = drop_capabilities(&err);
		if (rc == 0)
			rc = sandbox_files(spec, &err);
	}
	if (rc < 0)
		give_up(st, &err);
	if (spec->kind == SANDBOX_CELL)
		syscall(SYS_execveat, st->program, "", spec->argv, spec->env, AT_EMPTY_PATH);
	else
		execve(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
			(char *const *)(uintptr_t)spec->env);
	err_set(&err, errno == ENOENT || errno == EACCES ? ENOEXEC : errno, "cannot run '%s': %s",
		spec->argv[0], strerror(errno));
	give_up(st, &err);
}

/* the first process of the namespace: waits for the program, says how it ended, and takes
 * everything else down by ending itself */
static _Noreturn void be_init(const struct setup *st, pid_t program)
{
	int status = 0;
	pid_t pid;

	if (st->status > 0)
		dup2(st->status, 0);
	close_range(1, ~0U, 0);
	do {
		pid = waitpid(-1, &status, 0);
	} while (pid != program && (pid > 0 || errno == EINTR));
	if (write(0, &status, sizeof(status)) < 0)
		_exit(1);
	_exit(0);
}

static _Noreturn void child_main(struct setup *st)
{
	struct news news = {.listener = -1};
	pid_t pid = 0;

	if (first_steps(st, &news.err) < 0 ||
		sandbox_filter(st->spec->kind, &news.listener, &news.err) < 0)
		give_up(st, &news.err);
	if (news.listener >= 0) {
		if (write(st->say, &news, sizeof(news)) != (ssize_t)sizeof(news))
			_exit(CELL_NO_WALLS);
		wait_go(st);
		close(news.listener);
	}
	if (st->spec->kind != SANDBOX_CELL) {
		pid = fork();
		if (pid < 0) {
			err_sys(&news.err, "cannot start a process");
			give_up(st, &news.err);
		}
	}
	if (pid == 0)
		become_program(st);
	be_init(st, pid);
}

/* ---- in the spawner ---- */

static int write_text(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* every id we know ourselves, as itself */
static int copy_map(pid_t pid, const char *file)
{
	char path[64], text[4096];
	unsigned inside, outside, count;
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/%s", file);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	text[0] = 0;
	while (len < sizeof(text) - 64 && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "%u %u %u\n", inside, inside, count);
	fclose(f);
	return write_text(pid, file, text);
}

/* a cell of a privileged spawner is nobody outside; everyone else stays who we are */
static int write_maps(pid_t pid, int kind, struct err *err)
{
	const bool is_root = geteuid() == 0;
	char uids[64], gids[64];
	int rc;

	if (is_root && kind != SANDBOX_CELL) {
		rc = copy_map(pid, "uid_map");
		if (rc == 0)
			rc = copy_map(pid, "gid_map");
	} else {
		const unsigned uid = is_root ? NOBODY : geteuid(),
			       gid = is_root ? NOBODY : getegid();

		snprintf(uids, sizeof(uids), "%u %u 1\n", kind == SANDBOX_CELL ? 0 : uid, uid);
		snprintf(gids, sizeof(gids), "%u %u 1\n", kind == SANDBOX_CELL ? 0 : gid, gid);
		rc = is_root ? 0 : write_text(pid, "setgroups", "deny");
		if (rc == 0)
			rc = write_text(pid, "uid_map", uids);
		if (rc == 0)
			rc = write_text(pid, "gid_map", gids);
	}
	if (rc < 0)
		return err_set(err, EOPNOTSUPP,
			"sandbox: user namespace unavailable (%s); recipes will not be run",
			strerror(-rc));
	return 0;
}

/* 1 when the child sent news, 0 when it has executed its program */
static int read_news(int say, struct news *news)
{
	size_t got = 0;

	while (got < sizeof(*news)) {
		ssize_t n = read(say, (char *)news + got, sizeof(*news) - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return got == 0 ? 0 : -EIO;
		got += (size_t)n;
	}
	return 1;
}

static int take_listener(pid_t pid, int number, struct err *err)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;

	if (pidfd >= 0) {
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
		if (fd < 0)
			err_set(err, EOPNOTSUPP,
				"sandbox: listener of the system-call filter unavailable (%s); "
				"recipes will not be run",
				strerror(errno));
		close(pidfd);
	} else {
		err_set(err, EOPNOTSUPP, "sandbox: pidfd unavailable (%s); recipes will not be run",
			strerror(errno));
	}
	return fd < 0 ? -EOPNOTSUPP : fd;
}

static int lead(struct sandbox_child *ch, int kind, int go, int say, struct err *err)
{
	struct news news;
	int rc = write_maps(ch->pid, kind, err);

	if (rc < 0)
		return rc;
	if (write(go, "g", 1) != 1)
		return err_sys(err, "cannot lead a child");
	rc = read_news(say, &news);
	if (rc == 1 && news.err.no == 0) {
		rc = take_listener(ch->pid, news.listener, err);
		if (rc < 0)
			return rc;
		ch->listener = rc;
		if (write(go, "g", 1) != 1)
			return err_sys(err, "cannot lead a child");
		rc = read_news(say, &news);
	}
	if (rc == 1) {
		*err = news.err;
		return -err->no;
	}
	return rc < 0 ? err_set(err, EIO, "child died while it was being started") : 0;
}

/* pipes of a start; -1 where there is none (any more) */
struct start_pipes {
	int go[2], say[2], status[2];
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

/* in the child this does not return */
static int clone_child(struct setup *st, struct start_pipes *pp, struct err *err)
{
	int home = sandbox_hide_mounts(), no;
	pid_t pid = (pid_t)syscall(SYS_clone, clone_flags(st->spec->kind) | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		close(pp->go[1]);
		close(pp->say[0]);
		st->go = pp->go[0];
		st->say = pp->say[1];
		st->status = pp->status[1];
		child_main(st);
	}
	no = errno;
	sandbox_show_mounts(home);
	errno = no;
	if (pid < 0 && (no == EAGAIN || no == ENOMEM))
		return err_sys(err, "cannot start a process");
	if (pid < 0)
		return err_set(err, EOPNOTSUPP,
			"sandbox: namespaces unavailable (%s); recipes will not be run",
			strerror(no));
	return pid;
}

static int start_with(
	struct setup *st, struct start_pipes *pp, struct sandbox_child *out, struct err *err)
{
	int rc = clone_child(st, pp, err);

	if (rc < 0)
		return rc;
	out->pid = rc;
	close(pp->say[1]);
	pp->say[1] = -1;
	rc = lead(out, st->spec->kind, pp->go[1], pp->say[0], err);
	if (rc < 0) {
		kill(out->pid, SIGKILL);
		waitpid(out->pid, NULL, 0);
		if (out->listener >= 0)
			close(out->listener);
		return rc;
	}
	out->status = pp->status[0];
	pp->status[0] = -1;
	return 0;
}

int sandbox_start(const struct sandbox_spec *spec, struct sandbox_child *out, struct err *err)
{
	struct start_pipes pp = {{-1, -1}, {-1, -1}, {-1, -1}};
	struct setup st = {.spec = spec, .program = -1};
	int rc;

	*out = (struct sandbox_child){.status = -1, .listener = -1};
	if (spec->kind == SANDBOX_CELL) {
		st.program = open(spec->argv[0], O_RDONLY | O_CLOEXEC);
		if (st.program < 0)
			return err_sys(err, "cannot open '%s'", spec->argv[0]);
	}
	if (pipe2(pp.go, O_CLOEXEC) < 0 || pipe2(pp.say, O_CLOEXEC) < 0 ||
		(spec->kind != SANDBOX_CELL && pipe2(pp.status, O_CLOEXEC) < 0))
		rc = err_sys(err, "cannot make a pipe");
	else
		rc = start_with(&st, &pp, out, err);
	close_pair(pp.go);
	close_pair(pp.say);
	close_pair(pp.status);
	if (st.program >= 0)
		close(st.program);
	return rc;
}
