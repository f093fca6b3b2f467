/* head - reading HEAD and head.prev. How they change is promote.c. */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"

int rev_file(int dirfd, const char *name, char out[REV_BYTES], struct err *err)
{
	char text[128], quoted[ERR_QUOTE_BYTES + 8];
	struct stat st;
	size_t from = 0, len;
	ssize_t n;
	int fd;

	/* a FIFO must not hold us up: O_NONBLOCK */
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && (errno == ELOOP || errno == ENXIO))
		return err_set(err, EUCLEAN, "%s is not a regular file", name);
	if (fd < 0)
		return err_sys(err, "cannot open %s", name);
	if (fstat(fd, &st) < 0) {
		n = err_sys(err, "cannot stat %s", name);
		close(fd);
		return (int)n;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, EUCLEAN, "%s is not a regular file", name);
	}
	n = pread(fd, text, sizeof(text), 0);
	if (n < 0) {
		n = err_sys(err, "cannot read %s at offset 0", name);
		close(fd);
		return (int)n;
	}
	close(fd);
	len = (size_t)n;
	while (len > from && strchr(" \t\r\n", text[len - 1]) != NULL && text[len - 1] != '\0')
		len--;
	while (from < len && strchr(" \t\r\n", text[from]) != NULL && text[from] != '\0')
		from++;
	if ((size_t)n == sizeof(text) || rev_check(text + from, len - from, NULL) < 0)
		return err_set(err, EUCLEAN, "%s is damaged: \"%s\" is no revision", name,
			err_quote(quoted, text, (size_t)n));
	memcpy(out, text + from, len - from);
	out[len - from] = '\0';
	return 0;
}

/* the last change in one file of the log */
static void last_change(const char *lines, struct head *out)
{
	static const char *const changes[] = {
		"\"initialised\"", "\"promoted\"", "\"rolled_back\"", "\"head_found\""};

	for (const char *p = lines, *lf; (lf = strchr(p, '\n')) != NULL; p = lf + 1) {
		struct json_slice line = {p, (size_t)(lf - p)}, event;

		if (!json_member(line, "event", &event))
			continue;
		for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
			if (event.len == strlen(changes[i]) &&
				memcmp(event.text, changes[i], event.len) == 0) {
				rev_member(line, "revision", out->head);
				rev_member(line, "previous", out->prev);
			}
	}
}

int head_logged(const struct tune *tn, struct head *out, struct err *err)
{
	struct buf lines = BUF_INIT;
	int rc = 0;

	*out = (struct head){0};
	for (size_t i = 0; rc == 0 && out->head[0] == '\0'; i++) {
		buf_reset(&lines);
		rc = log_slug_back(tn->st, tn->slug, i, &lines, err);
		if (rc == 0)
			last_change(buf_str(&lines), out);
		else if (rc == -ENOENT && i == 0) /* it turned over and has no line yet */
			rc = 0;
	}
	buf_release(&lines);
	return rc == -ENOENT ? 0 : rc;
}

enum { LOOKS_MAX = 8 };

/* H04: what the audit log knows */
static int head_missing(const struct tune *tn, struct err *err)
{
	struct head last;
	struct stat st;

	if (fstatat(tn->dir, "revisions", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, ENOENT, "not initialised");
	(void)head_logged(tn, &last, NULL);
	if (last.head[0] == '\0')
		return err_set(err, EUCLEAN, "HEAD is missing; no promotion is in the log");
	return err_set(err, EUCLEAN, "HEAD is missing; last promotion in the log is %s", last.head);
}

/*
 * The two files are not read at one instant. While a change is open (its intent is there) HEAD
 * alone says on which side of the one atomic step we are, and the intent knows the other file.
 *
 * HEAD may have gone and come back while we looked (two rollbacks). Between the two head.prev was
 * what HEAD was before: then both are read as the same revision, which no state has.
 */
static int read_pair(const struct tune *tn, struct head *out, struct err *err)
{
	for (int i = 0;; i++) {
		struct intent in = {0};
		struct head again;
		int rc, open;

		*out = (struct head){0};
		rc = rev_file(tn->dir, "HEAD", out->head, err);
		if (rc < 0)
			return rc;
		open = intent_read(tn, &in, NULL);
		if (open == 0) {
			bool after = strcmp(out->head, in.to) == 0;

			if (after || strcmp(out->head, in.from) == 0) {
				memcpy(out->prev, after ? in.from : in.prev, REV_BYTES);
				intent_release(&in);
				/* it may be of a change that began after we read HEAD */
				rc = rev_file(tn->dir, "HEAD", again.head, err);
				if (rc < 0 || strcmp(again.head, out->head) == 0 || i == LOOKS_MAX)
					return rc;
				continue;
			}
			intent_release(&in);
		}
		rc = rev_file(tn->dir, "head.prev", out->prev, err);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		/* unchanged since, and nobody began: then it was one state */
		rc = rev_file(tn->dir, "HEAD", again.head, err);
		if (rc < 0)
			return rc;
		bool settled = strcmp(again.head, out->head) == 0 &&
			       intent_read(tn, &in, NULL) == open &&
			       strcmp(out->head, out->prev) != 0;

		intent_release(&in);
		if (settled || i == LOOKS_MAX)
			return 0;
	}
}

int head_load(const struct tune *tn, struct head *out, struct err *err)
{
	char path[32];
	struct head hd;
	struct stat st;
	int rc;

	rc = read_pair(tn, &hd, err);
	if (rc == -ENOENT)
		return head_missing(tn, err);
	if (rc < 0)
		return rc;
	(void)snprintf(path, sizeof(path), "revisions/%s", hd.head);
	rc = fstatat(tn->dir, path, &st, AT_SYMLINK_NOFOLLOW);
	if (rc < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(err, "cannot stat %s", path);
	if (rc < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, EUCLEAN, "HEAD names %s, which is missing", hd.head);
	*out = hd;
	return 0;
}

int head_init(const struct tune *tn, struct err *err)
{
	struct stat st;

	if (fstatat(tn->dir, "HEAD", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, EEXIST, "\"%s\" has a HEAD already", tn->slug);
	return replace_file(tn->dir, "HEAD", "v0\n", 3, 0600, err);
}
