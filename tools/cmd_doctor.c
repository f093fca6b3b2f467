/*
 * cmd_doctor - what this machine has of what kolm needs, in words: each wall around recipes as a
 * canary cell found it just now, and the plain facts beside them.
 *
 * It needs neither a store nor a spawner to begin with: it is for the day on which something is
 * missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/replace.h"
#include "base/wall.h"
#include "spawner.h"
#include "tools/cli.h"

enum { FUSE_MAJOR = 10, FUSE_MINOR = 229 };
enum { LOW_DISK_MIB = 2048, LOW_MEMORY_MIB = 1024 };

enum state { STATE_OK, STATE_WARN, STATE_MISSING };

struct doctor {
	struct cli *c;
	struct spawner *sp; /* NULL: it did not start */
	bool json;
	unsigned missing;
	struct buf checks; /* JSON objects with commas */
};

/* what stands around a recipe: the canary's name for it, what it keeps out, how it comes back */
static const struct {
	const char *name, *why, *cure;
} walls[] = {
	{"no_new_privs", "a recipe cannot gain rights by starting a privileged program",
		"a kernel newer than 3.5"},
	{"userns", "a recipe runs as a user of its own that owns nothing",
		"sysctl user.max_user_namespaces=10000 and, where they exist, "
		"kernel.unprivileged_userns_clone=1 and "
		"kernel.apparmor_restrict_unprivileged_userns=0; in a container: --security-opt "
		"seccomp=unconfined, or run kolm outside"},
	{"netns", "a recipe has a network of its own, with nothing in it", "as userns"},
	{"pidns", "a recipe sees no other process, and nothing it leaves behind survives it",
		"as userns"},
	{"mountns", "a recipe's root folder is empty and cannot be written", "as userns"},
	{"identity", "no capability is left to a recipe, not even inside its namespaces",
		"start kolm as root or as an ordinary user, not with single capabilities"},
	{"rlimits", "a recipe cannot use up memory, processor or disk",
		"raise the limits kolm is started with: ulimit -a shows them"},
	{"landlock", "a second lock on files, network and signals, in case another fails",
		"Linux 5.13 or newer with landlock in its list of security modules: boot with "
		"lsm=landlock,... or enable CONFIG_SECURITY_LANDLOCK"},
	{"seccomp",
		"a recipe may make some forty harmless system calls; a network call is "
		"recorded and ends it",
		"a kernel with CONFIG_SECCOMP_FILTER (5.9 or newer for the recording); in a "
		"container: --security-opt seccomp=unconfined"},
	{"probes",
		"a cell was just told to attack: sockets, files, processes, memory; all of it "
		"failed and was seen",
		"the name is what got through: do not run artifacts from strangers here, and "
		"tell us"},
};

static void say(struct doctor *d, enum state state, const char *name, const char *value,
	const char *why, const char *cure)
{
	static const char *const words[] = {"ok", "note", "MISSING"}, *const codes[] = {"ok",
									      "warn", "missing"};
	struct buf *b = &d->checks;

	d->missing += state == STATE_MISSING;
	(void)buf_addf(b, "%s{\"name\":\"%s\",\"state\":\"%s\",\"value\":", b->len > 0 ? "," : "",
		name, codes[state]);
	(void)json_put_text(b, value);
	(void)buf_puts(b, ",\"why\":");
	(void)json_put_text(b, why);
	(void)buf_puts(b, ",\"cure\":");
	(void)json_put_text(b, state == STATE_OK ? NULL : cure);
	(void)buf_putc(b, '}');
	if (d->json)
		return;
	printf("  %-8s %-13s ", words[state], name);
	say_text(stdout, value);
	putchar('\n');
	if (state == STATE_OK)
		return;
	printf("%25swhy it matters: %s\n%25show to get it: ", "", why, "");
	say_text(stdout, cure);
	putchar('\n');
}

static void title(const struct doctor *d, const char *text)
{
	if (!d->json)
		printf("%s\n", text);
}

/* ---- the machine ---- */

static void check_machine(struct doctor *d)
{
	const char *family = "plain C: training will be several times slower";
	struct utsname un = {0};
	char text[160];

	(void)uname(&un);
	(void)snprintf(
		text, sizeof(text), "%.40s %.60s on %.40s", un.sysname, un.release, un.machine);
	say(d, STATE_OK, "system", text, "walls are built by the kernel", "");
	(void)snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	say(d, STATE_OK, "cores", text, "training uses all of them", "");
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512f"))
		family = "AVX-512";
	else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		family = "AVX2";
#elif defined(__aarch64__)
	family = "NEON";
#endif
	say(d, family[0] == 'p' ? STATE_WARN : STATE_OK, "arithmetic", family,
		"how fast a model is trained and asked", "a processor of the last ten years");
}

/* a number of kibibytes from /proc/meminfo, in MiB; -1 */
static long memory_mib(const char *key)
{
	char line[160];
	long out = -1;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f != NULL && out < 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0 &&
			sscanf(line + strlen(key), " %ld", &out) == 1)
			out /= 1024;
	if (f != NULL)
		(void)fclose(f);
	return out;
}

static void check_memory(struct doctor *d)
{
	long total = memory_mib("MemTotal:"), left = memory_mib("MemAvailable:");
	char text[120];

	(void)snprintf(text, sizeof(text), "%ld MiB, %ld MiB of it free to use", total, left);
	say(d, left >= 0 && left < LOW_MEMORY_MIB ? STATE_WARN : STATE_OK, "memory", text,
		"training a model of 135 million parameters takes about 1 GiB, larger ones more",
		"end other programs, or give a step less: kolm tune step --mem 700M");
}

/* the folder the store is in, or will be */
static void check_disk(struct doctor *d)
{
	char path[STORE_PATH_BYTES], text[STORE_PATH_BYTES + 80];
	struct statvfs vfs;
	unsigned long long mib;
	char *slash;

	(void)snprintf(path, sizeof(path), "%s", d->c->store);
	while (statvfs(path, &vfs) < 0) {
		slash = strrchr(path, '/');
		if (slash == NULL || slash == path) {
			say(d, STATE_WARN, "disk", strerror(errno), "the store lies there",
				"look at the store's folder");
			return;
		}
		*slash = '\0';
	}
	mib = (unsigned long long)vfs.f_bavail * vfs.f_frsize >> 20;
	(void)snprintf(text, sizeof(text), "%llu MiB free for the store at %s", mib, d->c->store);
	say(d,
		(vfs.f_flag & ST_RDONLY) != 0 ? STATE_MISSING
		: mib < LOW_DISK_MIB	      ? STATE_WARN
					      : STATE_OK,
		"disk", text, "captures, indexes and adapters are kept there",
		(vfs.f_flag & ST_RDONLY) != 0
			? "its file system is read-only: --store PATH names "
			  "another place"
			: "old revisions go by echo gc keep=N > SLUG/ctl in the "
			  "mount, or --store PATH on a larger disk");
}

/* ---- the store and the mount ---- */

static bool has_parent(const char *path)
{
	char folder[STORE_PATH_BYTES];
	char *slash;

	(void)snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash != NULL)
		slash[slash == folder] = '\0';
	return slash == NULL || access(folder, F_OK) == 0;
}

/* as store_open() asks for it */
static void check_store(struct doctor *d)
{
	const char *why = "captures are private text: only their owner may read them";
	char text[STORE_PATH_BYTES + 120];
	struct stat st;

	if (stat(d->c->store, &st) < 0) {
		int no = errno;
		bool is_new = no == ENOENT && has_parent(d->c->store);

		(void)snprintf(text, sizeof(text), "%s%s%s", d->c->store,
			is_new ? " is not there yet: the first command makes it" : ": ",
			is_new ? "" : strerror(no));
		say(d, is_new ? STATE_OK : STATE_MISSING, "store", text, why,
			"look at the folders above it");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s, mode %03o, of user %u", d->c->store,
		(unsigned)(st.st_mode & 0777), (unsigned)st.st_uid);
	if (!S_ISDIR(st.st_mode) || access(d->c->store, R_OK | W_OK | X_OK) < 0 ||
		st.st_uid != geteuid())
		say(d, STATE_MISSING, "store", text, why,
			"it must be a folder of yours: --store PATH names another");
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		say(d, STATE_MISSING, "store", text, why,
			"chmod go= on it: a store others may write to is not opened");
	else
		say(d, (st.st_mode & 07) != 0 ? STATE_WARN : STATE_OK, "store", text, why,
			"chmod go= on it");
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char at[PATH_MAX];

	for (const char *p = path != NULL ? path : "/usr/bin:/bin"; *p != '\0';) {
		size_t n = strcspn(p, ":");

		(void)snprintf(at, sizeof(at), "%.*s/%s", (int)n, p, program);
		if (access(at, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static void check_fuse(struct doctor *d)
{
	const char *why = "without it the store cannot be served as files; the command line works "
			  "all the same";
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), no = errno;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) ||
		st.st_rdev != makedev(FUSE_MAJOR, FUSE_MINOR))
		say(d, STATE_MISSING, "fuse", fd < 0 ? strerror(no) : "/dev/fuse is something else",
			why,
			"modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN");
	else if (geteuid() != 0 && !in_path("fusermount3"))
		say(d, STATE_MISSING, "fuse", "/dev/fuse is there, fusermount3 is not", why,
			"apt install fuse3");
	else
		say(d, STATE_OK, "fuse", geteuid() == 0 ? "/dev/fuse" : "/dev/fuse, fusermount3",
			why, "");
	if (fd >= 0)
		(void)close(fd);
}

static void check_programs(struct doctor *d)
{
	static const struct {
		const char *name, *why;
	} programs[] = {
		{"kolmfs", "it serves the mount"},
		{"kolm-runner", "it runs artifacts and asks models"},
		{"kolm-cell", "recipes run inside it, behind the walls below"},
		{"kolm-trainer", "it trains adapters"},
		{"kolm-indexer", "it builds search indexes"},
	};

	for (size_t i = 0; d->sp != NULL && i < sizeof(programs) / sizeof(programs[0]); i++) {
		const char *path = spawner_program(d->sp, programs[i].name);
		bool is_there = path != NULL && access(path, X_OK) == 0;

		say(d, is_there ? STATE_OK : STATE_MISSING, programs[i].name,
			is_there ? path : "not beside this program", programs[i].why,
			"install all of kolm's programs in one folder: make install");
	}
}

/* ---- the walls ---- */

static void check_kernel(struct doctor *d)
{
	const uint32_t notify = SECCOMP_RET_USER_NOTIF;
	int abi = landlock_abi();
	char text[120];

	if (abi > 0)
		(void)snprintf(text, sizeof(text), "version %d, fences off %s", abi,
			abi >= 6   ? "files, TCP and signals"
			: abi >= 4 ? "files and TCP"
				   : "files");
	say(d, abi > 0 ? STATE_OK : STATE_MISSING, "landlock",
		abi > 0 ? text : "the kernel has none", walls[7].why, walls[7].cure);
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &notify) == 0)
		say(d, STATE_OK, "seccomp",
			"system calls can be filtered, and what is stopped recorded", walls[8].why,
			"");
	else
		say(d, STATE_MISSING, "seccomp", strerror(errno), walls[8].why, walls[8].cure);
}

static void check_wall(struct doctor *d, struct json_slice report, size_t i)
{
	struct json_slice value;
	struct buf text = BUF_INIT;
	bool holds;

	if (!json_member(report, walls[i].name, &value) || json_string(value, &text) < 0)
		(void)buf_puts(&text, "missing: the canary does not know it");
	holds = strcmp(buf_str(&text), "in force") == 0;
	say(d, holds ? STATE_OK : STATE_MISSING, walls[i].name,
		holds ? walls[i].why : buf_str(&text), walls[i].why, walls[i].cure);
	buf_release(&text);
}

/* what no cell could be started for: which cure, by the words of the refusal */
static size_t cure_of(const char *text)
{
	static const struct {
		const char *word;
		size_t wall;
	} of[] = {{"namespace", 1}, {"Landlock", 7}, {"filter", 8}, {"listener", 8}, {"limit", 6},
		{"privs", 0}};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (strstr(text, of[i].word) != NULL)
			return of[i].wall;
	return 1;
}

static void check_walls(struct doctor *d, struct buf *report)
{
	struct err err = ERR_NONE;

	if (d->sp == NULL) {
		say(d, STATE_MISSING, "cell", "no process could be started to try it",
			"recipes are not run without walls", "raise ulimit -u and free memory");
	} else if (spawner_walls(d->sp, report, &err) < 0) {
		buf_reset(report);
		say(d, STATE_MISSING, "cell", err.text,
			"a recipe comes from a stranger: without every wall none is run",
			walls[cure_of(err.text)].cure);
	} else {
		for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++)
			check_wall(d, (struct json_slice){report->data, report->len}, i);
	}
}

static int conclude(struct doctor *d, const struct buf *report, struct err *err)
{
	struct buf out = BUF_INIT;
	int rc = 0;

	if (d->json) {
		(void)buf_addf(&out, "{\"ok\":%s,\"checks\":[%s],\"walls\":%s}",
			d->missing == 0 ? "true" : "false", buf_str(&d->checks),
			report->len > 0 ? report->data : "null");
		rc = out.failed || d->checks.failed
			     ? err_nomem(err)
			     : say_json((struct json_slice){out.data, out.len}, err);
		buf_release(&out);
	} else if (d->missing == 0) {
		puts("Everything kolm needs is here. How to begin: man kolm, under EXAMPLES.");
	} else {
		printf("%u of these %s missing. Above, under each, stands what it is for and how "
		       "to "
		       "get it.\n",
			d->missing, d->missing == 1 ? "is" : "are");
	}
	return rc < 0 ? rc : d->missing > 0 ? EXIT_MISSING : EXIT_OK;
}

int cmd_doctor(struct cli *c, struct err *err)
{
	struct doctor d = {.c = c, .json = flag_on(c, "--json")};
	struct buf report = BUF_INIT;
	int rc;

	if (spawner_start(&d.sp, NULL) < 0)
		d.sp = NULL;
	title(&d, "This machine");
	check_machine(&d);
	check_memory(&d);
	check_disk(&d);
	title(&d, "The store and the mount");
	check_store(&d);
	check_fuse(&d);
	check_programs(&d);
	title(&d, "What the kernel offers to build walls with");
	check_kernel(&d);
	title(&d, "Walls. A recipe is a program of whoever made the artifact: it runs in a process "
		  "of "
		  "its own\nbehind each of these, or not at all. They were tried just now:");
	check_walls(&d, &report);
	rc = conclude(&d, &report, err);
	spawner_stop(d.sp);
	buf_release(&report);
	buf_release(&d.checks);
	return rc;
}
