/* spawn_walls - the spawner: walls around native and foreign workers, exits, the canary's report,
 * and that nothing outlives its parent. */
#include "spawn_rig.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void run(enum spawn_kind kind, const char *const *argv, const char *const *reads,
	const char *const *writes, struct spawn_exit *ex)
{
	const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
	struct spawn_request rq = {.kind = kind,
		.argv = argv,
		.env = env,
		.cwd = "/",
		.in = -1,
		.out = -1,
		.err = -1,
		.reads = reads,
		.writes = writes};
	struct err err = ERR_NONE;
	struct spawner *sp;
	pid_t pid;
	int fd;

	cr_assert_eq(spawner_start(&sp, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_spawn(sp, &rq, &pid, &fd, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_wait(fd, ex, &err), 0, "%s", err.text);
	spawner_stop(sp);
}

static void misbehave(enum spawn_kind kind, const char *how, struct spawn_exit *ex)
{
	const char *const argv[] = {rig_self(), "--misbehave", how, NULL};

	run(kind, argv, NULL, NULL, ex);
}

Test(walls, a_native_worker_dies_at_its_first_socket)
{
	struct spawn_exit ex;

	misbehave(SPAWN_TRAINER, "socket", &ex);
	cr_assert(ex.signalled && ex.status == SIGKILL);
	cr_assert_str_eq(ex.egress, "socket");
	misbehave(SPAWN_INDEXER, "unix", &ex);
	cr_assert_str_eq(ex.egress, "socket");
	misbehave(SPAWN_TRAINER, "abort", &ex);
	cr_assert(ex.signalled && ex.status == SIGABRT && !ex.egress[0]);
}

Test(walls, a_foreign_worker_is_refused_and_recorded)
{
	struct spawn_exit ex;

	misbehave(SPAWN_WORKER, "socket", &ex);
	cr_assert(!ex.signalled && ex.status == 41);
	cr_assert_str_eq(ex.egress, "socket");
	misbehave(SPAWN_WORKER, "unix", &ex);
	cr_assert(!ex.signalled && ex.status == 41 && !ex.egress[0]);
	misbehave(SPAWN_CLUSTER, "socket", &ex);
	cr_assert(!ex.signalled && ex.status == 40 && !ex.egress[0]);
}

Test(walls, files)
{
	char dir[] = "/tmp/kolm-walls-XXXXXX", script[600];
	const char *const sh[] = {"/bin/sh", "-c", script, NULL};
	const char *writes[] = {NULL, NULL};
	struct spawn_exit ex;

	cr_assert(mkdtemp(dir));
	misbehave(SPAWN_TRAINER, "read", &ex);
	cr_assert_eq(ex.status, 41);
	writes[0] = dir;
	/* 1: writes where it may; 2: nowhere else; 4: reads nothing else; fork and exec are a
	 * foreign worker's right */
	snprintf(script, sizeof(script),
		"r=0; echo x > %s/a && mkdir %s/b && r=1; echo x > /tmp/kolm-walls-no 2>/dev/null "
		"|| r=$((r+2)); "
		"cat /etc/hostname 2>/dev/null || r=$((r+4)); cat %s/a >/dev/null && r=$((r+8)); "
		"exit $r",
		dir, dir, dir);
	run(SPAWN_WORKER, sh, NULL, writes, &ex);
	cr_assert(!ex.signalled && ex.status == 15, "status %d", ex.status);
	cr_assert_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
}

/* how it ends when it asks for 64 MiB of memory, or makes a file of 2 MiB */
static int behind_limits(const char *how, uint64_t data_bytes, uint64_t file_bytes)
{
	char dir[] = "/tmp/kolm-walls-XXXXXX";
	const char *const argv[] = {rig_self(), "--misbehave", how, NULL}, *const env[] = {NULL},
			  *const writes[] = {dir, NULL};
	struct spawn_request rq = {.kind = SPAWN_TRAINER,
		.argv = argv,
		.env = env,
		.cwd = dir,
		.in = -1,
		.out = -1,
		.err = -1,
		.writes = writes,
		.data_bytes = data_bytes,
		.file_bytes = file_bytes};
	struct err err = ERR_NONE;
	struct spawn_exit ex;
	struct spawner *sp;
	pid_t pid;
	int fd;

	cr_assert(mkdtemp(dir));
	cr_assert_eq(spawner_start(&sp, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_spawn(sp, &rq, &pid, &fd, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_wait(fd, &ex, &err), 0, "%s", err.text);
	spawner_stop(sp);
	cr_assert_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
	return ex.signalled ? -ex.status : ex.status;
}

Test(walls, memory_and_files_are_bounded)
{
	cr_expect_eq(behind_limits("file", 0, 0), 40);
	cr_expect_eq(behind_limits("file", 0, 1 << 20), -SIGXFSZ);
#ifndef __SANITIZE_ADDRESS__
	cr_expect_eq(behind_limits("memory", 0, 0), 40);
	cr_expect_eq(behind_limits("memory", 32 << 20, 0), 41);
#endif
}

Test(walls, errors_of_start)
{
	const char *const argv[] = {"/nonexistent/program", NULL}, *const env[] = {NULL};
	struct spawn_request rq = {.kind = SPAWN_TRAINER,
		.argv = argv,
		.env = env,
		.cwd = "/",
		.in = -1,
		.out = -1,
		.err = -1};
	struct err err = ERR_NONE;
	struct spawner *sp;
	pid_t pid;
	int fd;

	cr_assert_eq(spawner_start(&sp, &err), 0);
	cr_assert_eq(spawner_spawn(sp, &rq, &pid, &fd, &err), -ENOEXEC);
	cr_assert(strstr(err.text, "cannot run '/nonexistent/program'"), "%s", err.text);
	cr_assert_eq(spawner_kill(sp, 1, SIGTERM, &err), -ESRCH);
	rq.cwd = "/nonexistent";
	cr_assert_eq(spawner_spawn(sp, &rq, &pid, &fd, &err), -ENOENT);
	spawner_stop(sp);
}

Test(walls, kill_reaches_the_group)
{
	const char *const sh[] = {"/bin/sh", "-c", "sleep 100 & sleep 100", NULL},
			  *const env[] = {"PATH=/usr/bin:/bin", NULL};
	struct spawn_request rq = {.kind = SPAWN_WORKER,
		.argv = sh,
		.env = env,
		.cwd = "/",
		.in = -1,
		.out = -1,
		.err = -1};
	struct spawn_exit ex;
	struct err err = ERR_NONE;
	struct spawner *sp;
	pid_t pid;
	int fd;

	cr_assert_eq(spawner_start(&sp, &err), 0);
	cr_assert_eq(spawner_spawn(sp, &rq, &pid, &fd, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_kill(sp, pid, SIGTERM, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_wait(fd, &ex, &err), 0);
	cr_assert(ex.signalled && ex.status == SIGTERM, "%d %d", ex.signalled, ex.status);
	spawner_stop(sp);
}

/* a parent killed by SIGKILL: its pid file's children must be gone a moment later */
Test(walls, nothing_outlives_the_parent)
{
	int tell[2];
	pid_t parent, child = 0;

	cr_assert_eq(pipe(tell), 0);
	parent = fork();
	if (parent == 0) {
		const char *const argv[] = {rig_self(), "--misbehave", "sleep", NULL},
				  *const env[] = {NULL};
		struct spawn_request rq = {.kind = SPAWN_RUNNER,
			.argv = argv,
			.env = env,
			.cwd = "/",
			.in = -1,
			.out = -1,
			.err = -1};
		struct spawner *sp;
		int fd;

		if (spawner_start(&sp, NULL) < 0 || spawner_spawn(sp, &rq, &child, &fd, NULL) < 0)
			_exit(1);
		if (write(tell[1], &child, sizeof(child)) < 0)
			_exit(1);
		pause();
	}
	cr_assert_eq(read(tell[0], &child, sizeof(child)), sizeof(child));
	cr_assert_eq(kill(child, 0), 0);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	for (int i = 0; i < 200 && kill(child, 0) == 0; i++)
		usleep(10 * 1000);
	cr_assert_eq(kill(child, 0), -1);
	cr_assert_eq(errno, ESRCH);
}

Test(walls, canary_reports_every_layer)
{
	static const char *const layers[] = {"no_new_privs", "userns", "netns", "pidns", "mountns",
		"identity", "rlimits", "landlock", "seccomp", "probes"};
	struct buf report = BUF_INIT, again = BUF_INIT;
	struct err err = ERR_NONE;
	struct spawner *sp;

	cr_assert_eq(spawner_start(&sp, &err), 0);
	cr_assert_eq(spawner_walls(sp, &report, &err), 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
		char want[80];

		snprintf(want, sizeof(want), "\"%s\":\"in force\"", layers[i]);
		cr_expect(strstr(buf_str(&report), want), "%s\n%s", want, buf_str(&report));
	}
	cr_assert_eq(spawner_walls(sp, &again, &err), 0);
	cr_assert_str_eq(buf_str(&report), buf_str(&again));
	spawner_stop(sp);
	buf_release(&report);
	buf_release(&again);
}

Test(mount, places_that_cannot_be_mounted_on)
{
	char dir[] = "/tmp/kolm-mount-XXXXXX", inner[64];
	struct err err = ERR_NONE;
	struct spawner *sp;
	int fd = -1;

	cr_assert(mkdtemp(dir));
	cr_assert_eq(spawner_start(&sp, &err), 0);
	snprintf(inner, sizeof(inner), "%s/none", dir);
	cr_expect_eq(spawner_mount(sp, inner, "", &fd, &err), -ENOENT);
	cr_expect(strstr(err.text, inner));
	cr_expect_eq(spawner_mount(sp, "relative", "", &fd, &err), -EINVAL);
	cr_expect_eq(spawner_mount(sp, "/etc/passwd", "", &fd, &err), -ENOTDIR);
	cr_expect_eq(spawner_mount(sp, "/proc", "", &fd, &err), -EBUSY);
	cr_expect_eq(spawner_mount(sp, "/etc", "", &fd, &err), -ENOTEMPTY);
	cr_expect_eq(spawner_unmount(sp, dir, &err), -EINVAL);
	spawner_stop(sp);
	rmdir(dir);
}

Test(mount, mounts_heals_and_unmounts)
{
	char dir[] = "/tmp/kolm-mount-XXXXXX", again[80];
	struct err err = ERR_NONE;
	struct spawner *sp;
	struct stat st;
	int fd = -1;

	if (access("/dev/fuse", R_OK | W_OK) < 0)
		cr_skip_test("skipped: no /dev/fuse");
	cr_assert(mkdtemp(dir));
	cr_assert_eq(spawner_start(&sp, &err), 0);
	cr_assert_eq(spawner_mount(sp, dir, "fsname=a\\,b,ro,max_read=131072", &fd, &err), 0, "%s",
		err.text);
	close(fd); /* the server is dead: stale */
	cr_assert_eq(stat(dir, &st), -1);
	cr_assert_eq(errno, ENOTCONN);
	cr_assert_eq(spawner_mount(sp, dir, "fsname=again", &fd, &err), 0, "%s", err.text);
	cr_assert_eq(spawner_unmount(sp, dir, &err), 0, "%s", err.text);
	close(fd);
	cr_assert_eq(stat(dir, &st), 0);
	snprintf(again, sizeof(again), "%s/../%s/", dir, dir + 5);
	cr_assert_eq(spawner_mount(sp, again, "fsname=third", &fd, &err), 0, "%s", err.text);
	close(fd);
	spawner_stop(sp); /* what it mounted is gone with it */
	cr_assert_eq(stat(dir, &st), 0);
	rmdir(dir);
}
