/* store - opening the folder everything lives in; see store.h. */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"
#include "store/digests.h"

struct by by_self(void)
{
	struct by by = {.uid = geteuid(), .pid = getpid()};
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, by.comm, sizeof(by.comm) - 1);

	if (fd >= 0)
		close(fd);
	by.comm[n > 0 ? (size_t)n : 0] = '\0';
	by.comm[strcspn(by.comm, "\n")] = '\0';
	return by;
}

int store_default_path(char out[STORE_PATH_BYTES], struct err *err)
{
	const char *kolm = getenv("KOLM_HOME"), *home = getenv("HOME");
	int n;

	if (kolm != NULL && kolm[0] != '\0') {
		if (kolm[0] != '/')
			return err_set(err, ENOENT,
				"KOLM_HOME is a relative path; set HOME or give --store");
		n = snprintf(out, STORE_PATH_BYTES, "%s", kolm);
	} else {
		if (home == NULL || home[0] != '/')
			return err_set(err, ENOENT, "no home directory; set HOME or give --store");
		n = snprintf(out, STORE_PATH_BYTES, "%s/.kolm", home);
	}
	if (n >= STORE_PATH_BYTES)
		return err_set(err, ENAMETOOLONG,
			"path of the store is longer than %d; give --store", STORE_PATH_BYTES - 1);
	return 0;
}

static int check_owner(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(err, EPERM,
			"store must belong to user %u with mode 0700; '%s' belongs to user %u with "
			"mode %04o",
			(unsigned)geteuid(), path, (unsigned)st.st_uid,
			(unsigned)st.st_mode & 07777);
	return 0;
}

static int check_format(int fd, struct err *err)
{
	struct buf text = BUF_INIT;
	int64_t format = 1;
	struct err why = ERR_NONE;
	int rc = read_file(fd, "format", 64, &text, &why);

	if (rc == 0) {
		size_t n = strcspn(buf_str(&text), " \t\r\n");

		rc = num_whole(buf_str(&text), n, 1, INT32_MAX, &format);
		if (rc < 0)
			rc = err_set(err, EUCLEAN,
				"file 'format' of the store is damaged: a number expected");
		else if (format > STORE_FORMAT)
			rc = err_set(err, EOPNOTSUPP,
				"store format %lld, this program knows 1 to %d; nothing was "
				"touched",
				(long long)format, STORE_FORMAT);
	} else if (rc == -ENOENT) {
		rc = 0;
	} else {
		bool is_bad = rc == -EINVAL || rc == -ELOOP || rc == -EFBIG;

		rc = err_set(err, is_bad ? EUCLEAN : -rc, "file 'format' of the store: %.200s",
			why.text);
	}
	buf_release(&text);
	return rc;
}

static int open_root(const char *path, char real[STORE_PATH_BYTES], struct err *err)
{
	char *resolved;
	int fd;

	if (path[0] == '\0')
		return err_set(err, ENOENT, "path of the store is empty; set HOME or give --store");
	if (mkdir(path, 0700) < 0 && errno != EEXIST && errno != EROFS)
		return err_sys(err, "cannot make the store '%s' (set HOME or give --store)", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open the store '%s' (set HOME or give --store)", path);
	resolved = realpath(path, NULL);
	if (resolved == NULL || strlen(resolved) >= STORE_PATH_BYTES - 512) {
		if (resolved != NULL)
			errno = ENAMETOOLONG;
		free(resolved);
		close(fd);
		return err_sys(err, "cannot resolve '%s'", path);
	}
	(void)snprintf(real, STORE_PATH_BYTES, "%s", resolved);
	free(resolved);
	return fd;
}

/* config.json's log_max_bytes; what is no such number is as if it were not there */
static uint64_t log_limit(int dirfd)
{
	struct buf text = BUF_INIT;
	cJSON *json = NULL;
	double x = 0;

	if (read_file(dirfd, "config.json", 1024 * 1024, &text, NULL) == 0 &&
		json_parse(buf_str(&text), text.len, &json, NULL) == 0)
		x = json_get_number(json, "log_max_bytes", 0);
	cJSON_Delete(json);
	buf_release(&text);
	return x >= LOG_TURN_MIN && x < 9e15 ? (uint64_t)x : LOG_TURN_BYTES;
}

int store_open(const char *path, struct store *out, struct err *err)
{
	struct store st = {.dir = -1, .tune = -1, .rag = -1, .logs = -1};
	int rc;

	rc = st.dir = open_root(path, st.path, err);
	if (rc >= 0)
		rc = check_owner(st.dir, st.path, err);
	if (rc >= 0)
		rc = check_format(st.dir, err);
	if (rc >= 0)
		rc = st.tune = dir_make(st.dir, "tune", err);
	if (rc >= 0)
		rc = st.rag = dir_make(st.dir, "rag", err);
	if (rc >= 0)
		rc = st.logs = dir_make(st.dir, "logs", err);
	if (rc < 0) {
		store_close(&st);
		return rc;
	}
	st.known = calloc(1, sizeof(*st.known));
	if (st.known == NULL) {
		store_close(&st);
		return err_nomem(err);
	}
	st.log_bytes = log_limit(st.dir);
	reserve_make(&st);
	st.digests = digests_new();
	*out = st;
	return 0;
}

void store_close(struct store *st)
{
	int *fds[] = {&st->logs, &st->rag, &st->tune, &st->dir};

	for (size_t i = 0; i < 4; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	digests_free(st->digests);
	st->digests = NULL;
	free(st->known);
	st->known = NULL;
}

static bool add_reads(const cJSON *list, struct store_worker *out)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsString(item) || item->valuestring[0] != '/' ||
			out->nreads == WORKER_READS_MAX ||
			buf_puts(&out->reads[out->nreads++], item->valuestring) < 0)
			return false;
	}
	return true;
}

bool store_worker(const struct store *st, const char *slug, struct store_worker *out)
{
	const cJSON *workers, *entry;
	struct buf text = BUF_INIT;
	cJSON *json = NULL;
	const char *words = NULL;
	bool is_good = true;
	int rc;

	*out = (struct store_worker){0};
	rc = read_file(st->dir, "config.json", 1024 * 1024, &text, NULL);
	if (rc == 0)
		rc = json_parse(buf_str(&text), text.len, &json, NULL);
	if (rc < 0) {
		/* whose worker would be in it nobody knows: not ours in its place */
		words = rc != -ENOENT ? "" : NULL;
		goto out;
	}
	workers = cJSON_GetObjectItemCaseSensitive(json, "workers");
	entry = cJSON_IsObject(workers) ? cJSON_GetObjectItemCaseSensitive(workers, slug) : NULL;
	if (cJSON_IsString(entry)) {
		words = entry->valuestring;
	} else if (cJSON_IsObject(entry)) {
		const char *network = json_get_string(entry, "network");

		words = json_get_string(entry, "command");
		out->cluster = network != NULL && strcmp(network, "cluster") == 0;
		is_good = add_reads(cJSON_GetObjectItemCaseSensitive(entry, "reads"), out);
	}
	if (words != NULL && (words[0] == '\0' || strcmp(words, "native") == 0))
		words = NULL;
	if (words != NULL && is_good) /* short of memory: none, and refused */
		(void)buf_puts(&out->command, words);
	if (words == NULL)
		out->cluster = false;
out:
	cJSON_Delete(json);
	buf_release(&text);
	return words != NULL;
}

void store_worker_release(struct store_worker *w)
{
	buf_release(&w->command);
	for (size_t i = 0; i < w->nreads; i++)
		buf_release(&w->reads[i]);
}

int store_cpu_hours(const struct store *st, double *out, struct err *err)
{
	const cJSON *hours;
	struct buf text = BUF_INIT;
	cJSON *json = NULL;
	int rc = 0;

	*out = 0;
	if (read_file(st->dir, "config.json", 1024 * 1024, &text, NULL) == 0 &&
		json_parse(buf_str(&text), text.len, &json, NULL) == 0) {
		hours = cJSON_GetObjectItemCaseSensitive(json, "trainer_cpu_hours");
		if (cJSON_IsNumber(hours) && hours->valuedouble > 0 && hours->valuedouble < 1e6)
			*out = hours->valuedouble;
		else if (hours != NULL)
			rc = err_set(err, EINVAL,
				"config.json: trainer_cpu_hours: number above 0 expected");
	}
	cJSON_Delete(json);
	buf_release(&text);
	return rc;
}
