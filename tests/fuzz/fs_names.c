/*
 * fs_names - paths a client looks up, from the root of a store with one slug, one index and one
 * job: every component through the table, what is found rendered or opened and stamped as a lookup
 * does it. Queries are parsed, not asked. What must hold: no name leads out of the store, and a
 * place stays within its bounds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kolmfs/names.h"
#include "kolmfs/notify.h"
#include "kolmfs/query.h"

static struct store store;
static struct server server;
static char home[] = "/tmp/kolmfs-fuzz.XXXXXX";

static void put(const char *path, const char *text)
{
	int fd = openat(store.dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		abort();
}

static void clean_up(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", home);
	if (system(command) != 0)
		perror(home);
}

static void make_store(void)
{
	static const char *const folders[] = {"tune/one", "tune/one/revisions",
		"tune/one/revisions/v0", "tune/one/jobs", "tune/one/jobs/1", "rag/docs"};
	struct err err = ERR_NONE;

	if (!mkdtemp(home) || store_open(home, &store, &err) < 0)
		abort();
	atexit(clean_up);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		mkdirat(store.dir, folders[i], 0700);
	put("tune/one/tune-config.json",
		"{\"artifact\":\"a.kolm\",\"base_model\":\"/b\",\"rank\":8,\"alpha\":16}");
	put("tune/one/HEAD", "v0\n");
	put("tune/one/revisions/v0/adapter_config.json", "{}");
	put("tune/one/jobs.jsonl", "");
	/* what lies below doc/ and terms/ is looked up through libkolm */
	if (kolm_open(home, false, NULL, &server.k, &err) < 0)
		abort();
	server.st = kolm_store(server.k);
	snprintf(server.mountpoint, sizeof(server.mountpoint), "/nowhere");
	if (notify_new(&server, &err) < 0)
		abort();
}

/* a descriptor that was handed out lies in the store */
static void check_inside(int fd)
{
	char link[64], path[STORE_PATH_BYTES];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || strncmp(path, home, strlen(home)) != 0)
		abort();
}

static void look_at(const struct place *at)
{
	const struct name *what = at->what;
	char stamp[STAMP_BYTES];
	struct query qr;
	int fd;

	if (memchr(at->rest, 0, sizeof(at->rest)) == NULL ||
		memchr(at->slug, 0, sizeof(at->slug)) == NULL)
		abort();
	if (what->flags & NAME_SLOW) {
		if (query_parse(at->rest, strlen(at->rest), &qr, NULL) == 0) {
			if (utf8_check(qr.text.data, qr.text.len) < qr.text.len || qr.k < 1 ||
				qr.k > 1000)
				abort();
			query_release(&qr);
		}
	} else if (what->open) {
		fd = what->open(&server, at, NULL);
		if (fd >= 0) {
			check_inside(fd);
			close(fd);
		}
	}
	if ((what->flags & NAME_CACHED) && what->stamp)
		(void)what->stamp(&server, at, stamp, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct place at, next;
	size_t pos = 0;

	if (!server.st)
		make_store();
	names_root(&at);
	while (pos <= size) {
		const uint8_t *slash = size > pos ? memchr(data + pos, '/', size - pos) : NULL;
		size_t len = slash ? (size_t)(slash - (data + pos)) : size - pos;
		char name[2048];

		/* the kernel gives no empty name, none with NUL, and neither . nor .. */
		if (len == 0 || len >= sizeof(name) || memchr(data + pos, 0, len))
			break;
		memcpy(name, data + pos, len);
		name[len] = '\0';
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			break;
		/* what needs a whole loop behind it is not looked at here */
		if (at.folder && (strcmp(name, "jobs") == 0 || strcmp(name, "artifact") == 0))
			break;
		if (names_child(&server, &at, name, len, &next, NULL) < 0)
			break;
		if (next.what && !next.folder && (next.what->flags & (NAME_CACHED | NAME_SLOW)))
			look_at(&next);
		at = next;
		if (!at.folder)
			break;
		pos += len + 1;
	}
	return 0;
}
