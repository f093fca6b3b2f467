/* base_wall - the filters a process puts around itself, and Landlock: each tried in a child that
 * ends behind them. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/replace.h"
#include "base/wall.h"

/* the wait status of a child that runs ${body} behind ${profile}; 77: the wall could not be built
 */
static int behind(enum wall_profile profile, int (*body)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(wall_enter(profile, NULL) < 0 ? 77 : body());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static int try_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 1;
}
static int try_exec(void)
{
	execl("/bin/true", "true", NULL);
	return errno == EPERM ? 0 : errno == ENOSYS ? 2 : 1;
}
#ifndef __SANITIZE_ADDRESS__
static int try_fork(void)
{
	return fork() < 0 ? 0 : 1;
}
#endif

static int try_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? 0
		       : 1;
}

static void *thread_main(void *arg)
{
	*(int *)arg = 5;
	return NULL;
}

/* what a worker does all day */
static int honest_work(void)
{
	char name[] = "/tmp/kolm-wall-XXXXXX", data[8];
	int fd = mkstemp(name), done = 0;
	pthread_t thread;

	if (fd < 0 || write(fd, "12345678", 8) != 8 || fsync(fd) < 0 || pread(fd, data, 8, 0) != 8)
		return 1;
	if (mmap(NULL, 8, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED || close(fd) < 0 ||
		unlink(name) < 0)
		return 2;
	if (pthread_create(&thread, NULL, thread_main, &done) != 0 ||
		pthread_join(thread, NULL) != 0 || done != 5)
		return 3;
	free(malloc(64 << 20));
	usleep(1000);
	return 0;
}

/* a thread that was there before the wall stands behind it too */
static void *late_socket(void *arg)
{
	char go;

	if (read(*(int *)arg, &go, 1) == 1)
		socket(AF_INET, SOCK_STREAM, 0);
	_exit(1);
}

Test(wall, server)
{
	cr_assert_eq(behind(WALL_SERVER, try_socket), 0);
	cr_assert_eq(behind(WALL_SERVER, try_exec), 0);
	cr_assert_eq(behind(WALL_SERVER, honest_work), 0);
}

Test(wall, worker)
{
	int status = behind(WALL_WORKER, try_socket);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	cr_assert_eq(behind(WALL_WORKER, honest_work), 0);
	cr_assert_eq(behind(WALL_WORKER, try_exec), 2 << 8);
	cr_assert_eq(behind(WALL_WORKER, try_exec_memory), 0);
#ifndef __SANITIZE_ADDRESS__
	cr_assert_eq(behind(WALL_WORKER, try_fork), 0);
#endif
}

Test(wall, binds_threads_that_were_there)
{
	int go[2], status = 0;
	pid_t pid;

	cr_assert_eq(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, late_socket, &go[0]) != 0 ||
			wall_enter(WALL_WORKER, NULL) < 0 || write(go[1], "g", 1) != 1)
			_exit(1);
		pause();
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static char dir[] = "/tmp/kolm-landlock-XXXXXX";

static int look_around(void)
{
	const char *const reads[] = {"/etc/passwd", "/nonexistent", NULL}, *const writes[] = {
										   dir, NULL};
	int home = open(dir, O_RDONLY | O_DIRECTORY), fd;

	if (landlock_enter(reads, writes, false, NULL) < 0)
		return 77;
	fd = openat(home, "made", O_RDWR | O_CREAT, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || mkdirat(home, "sub", 0700) < 0 ||
		renameat(home, "made", home, "sub/moved") < 0 || ftruncate(fd, 0) < 0)
		return 1;
	if (open("/etc/passwd", O_RDONLY) < 0)
		return 2;
	if (open("/etc/passwd", O_RDWR) >= 0 || open("/etc/group", O_RDONLY) >= 0 ||
		open("/tmp", O_RDONLY | O_DIRECTORY) >= 0)
		return 3;
	return 0;
}

Test(wall, landlock)
{
	int status = 0;
	pid_t pid;

	if (landlock_abi() == 0)
		cr_skip_test("skipped: no Landlock on this machine");
	cr_assert(mkdtemp(dir));
	pid = fork();
	if (pid == 0)
		_exit(look_around());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "exit %d", WEXITSTATUS(status));
	cr_assert_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
}

/* sealed: no TCP, not even to this machine, and no signal to who is outside */
static int reach_out(void)
{
	const char *const reads[] = {"/etc/passwd", NULL};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd;

	if (landlock_enter(reads, NULL, true, NULL) < 0)
		return 77;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (landlock_abi() >= 4 &&
		(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != EACCES))
		return 1;
	if (landlock_abi() >= 6 && (kill(getppid(), 0) == 0 || errno != EPERM))
		return 2;
	return 0;
}

Test(wall, landlock_sealed)
{
	int status = 0;
	pid_t pid;

	if (landlock_abi() < 4)
		cr_skip_test("skipped: this kernel's Landlock knows no network");
	pid = fork();
	if (pid == 0)
		_exit(reach_out());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "exit %d", WEXITSTATUS(status));
}
