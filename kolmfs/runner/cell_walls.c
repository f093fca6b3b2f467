/*
 * cell_walls - the lock-down of kolm-cell (reliability.md section 6).
 *
 * The spawner has already put this process into its own user, network, pid, mount, ipc, uts and
 * cgroup namespaces, as uid 65534 of the machine when it could, with a filter that reports every
 * network call to it. What needs the program's own libraries loaded, or the engine's threads
 * started, is done here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/wall.h"
#include "runner/cell.h"
#include "runner/egress.h"

static int missing(struct err *err, const char *what)
{
	return err_set(err, EOPNOTSUPP, "sandbox: %s unavailable (%s)", what, strerror(errno));
}

static void on_cpu_limit(int sig)
{
	(void)sig;
	_exit(CELL_CPU);
}

/* the first process of a pid namespace ignores signals without a handler */
static int check_spawner(struct err *err)
{
	struct sigaction act = {.sa_handler = on_cpu_limit};

	if ((getpid() != 1 && !wall_is_ablated("pidns")) || geteuid() != 0 ||
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
		prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return err_set(
			err, EOPNOTSUPP, "sandbox: kolm-cell is started by the spawner only");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || sigaction(SIGXCPU, &act, NULL) < 0)
		return missing(err, "parent's life line");
	return 0;
}

/*
 * An empty root that holds /dev/urandom and nothing else: the engine opens it once and aborts
 * without it. The tmpfs is mounted over /proc because that folder always exists.
 */
static int empty_root(struct err *err)
{
	const char *const root = "/proc";
	int fd;

	if (mount("none", root, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,nr_inodes=8,mode=0755") <
		0)
		return missing(err, "empty root");
	if (mkdir("/proc/dev", 0755) < 0)
		return missing(err, "empty root: /dev");
	fd = open("/proc/dev/urandom", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	if (fd < 0 || close(fd) < 0)
		return missing(err, "empty root: place for /dev/urandom");
	if (mount("/dev/urandom", "/proc/dev/urandom", NULL, MS_BIND, NULL) < 0)
		return missing(err, "empty root: /dev/urandom");
	if (mount(NULL, root, NULL,
		    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL) < 0)
		return missing(err, "read-only root");
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return missing(err, "change of root");
	return 0;
}

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return missing(err, "dropping of capabilities");
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) < 0)
		return missing(err, "dropping of capabilities");
	return 0;
}

static int limit(int what, rlim_t value, struct err *err)
{
	const struct rlimit both = {value, value};

	return setrlimit((__rlimit_resource_t)what, &both) < 0 ? missing(err, "resource limit") : 0;
}

static int limits_early(struct err *err)
{
	int rc = limit(RLIMIT_FSIZE, 0, err);

	if (rc == 0)
		rc = limit(RLIMIT_CORE, 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_MEMLOCK, 0, err);
	if (rc == 0)
		rc = limit(RLIMIT_STACK, 8 << 20, err);
	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, 32, err);
	if (rc == 0)
		rc = limit(RLIMIT_MSGQUEUE, 0, err);
	return rc;
}

int cell_walls_early(struct err *err)
{
	static const char *const random_only[] = {"/dev/urandom", NULL};
	int rc;

	umask(077);
	if (close_range(CELL_GO + 1, ~0U, 0) < 0)
		return missing(err, "closing of descriptors");
	rc = check_spawner(err);
	if (rc == 0 && !wall_is_ablated("root"))
		rc = empty_root(err);
	if (rc == 0 && !wall_is_ablated("identity"))
		rc = drop_capabilities(err);
	if (rc == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		rc = missing(err, "undumpable process");
	if (rc == 0 && !wall_is_ablated("rlimits"))
		rc = limits_early(err);
	if (wall_is_ablated("landlock"))
		return rc;
	if (rc == 0)
		rc = landlock_enter(random_only, NULL, true, err);
	if (rc == 0 && open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0)
		rc = err_set(err, EOPNOTSUPP, "sandbox: Landlock is not in force");
	return rc;
}

/* the spawner reads this process's size now and sets RLIMIT_DATA above it before it lets us go on
 */
static int handshake(struct err *err)
{
	static const char ready[] = "ready\n";
	char go;

	if (write(CELL_SAY, ready, sizeof(ready) - 1) != (ssize_t)sizeof(ready) - 1 ||
		read(CELL_GO, &go, 1) != 1)
		return missing(err, "spawner");
	close(CELL_SAY);
	close(CELL_GO);
	close(STDERR_FILENO);
	return 0;
}

int cell_walls_late(struct err *err)
{
	int rc = handshake(err);

	if (rc == 0 && !wall_is_ablated("rlimits"))
		rc = limit(RLIMIT_NOFILE, 2, err);
	if (rc == 0 && !wall_is_ablated("rlimits"))
		rc = limit(RLIMIT_NPROC, 1, err);
	if (wall_is_ablated("filter"))
		return rc;
	return rc == 0 ? cell_calls_lock(err) : rc;
}
