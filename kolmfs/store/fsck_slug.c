/*
 * fsck_slug - the invariants of one slug: its config can be read, HEAD and head.prev name complete
 * revisions and say what the audit log says, every revision matches its digests, the journal and
 * the captures can be read (reliability.md 9.2-9.4).
 *
 * Certain is: the last good copy of a config (it is kept for that), and HEAD as a log whose chain
 * holds tells it, when that revision is whole. All else moves to .lost/ or is told.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/replace.h"
#include "store/captures.h"
#include "store/config.h"
#include "store/fsck_private.h"
#include "store/journal.h"
#include "store/revision.h"

enum { PATH_BYTES = SLUG_BYTES + 320 };

/* "tune/<slug>/<name>" */
static const char *path_of(const struct tune *tn, const char *name, char out[PATH_BYTES])
{
	(void)snprintf(out, PATH_BYTES, "tune/%s/%s", tn->slug, name);
	return out;
}

/* ---- config ---- */

/* the copy kept, when it is a good one */
static int config_kept(const struct tune *tn, struct buf *text, struct err *err)
{
	struct config cf;
	int rc = read_file(tn->dir, CONFIG_PREV, 1 << 20, text, err);

	if (rc == 0)
		rc = config_check(text->data, text->len, &cf, err);
	if (rc == 0)
		config_release(&cf);
	return rc;
}

/* ${name} becomes ${text}; what stood there is in .lost/ by the name ${lost}, "" when there was
 * nothing, also when the rest fails */
static int put_anew(const struct tune *tn, const char *name, const char *text, size_t len,
	char lost[300], struct err *err)
{
	char path[PATH_BYTES];
	int rc = lost_move(tn->st, tn->dir, name, path_of(tn, name, path), lost, err);

	if (rc < 0)
		lost[0] = '\0';
	return rc < 0 && rc != -ENOENT ? rc : replace_file(tn->dir, name, text, len, 0600, err);
}

static void check_config(struct fsck *f, const struct tune *tn)
{
	char path[PATH_BYTES], lost[300] = "", bad[320];
	struct err why = ERR_NONE, again = ERR_NONE;
	struct buf text = BUF_INIT;
	struct config cf;
	int rc;

	rc = config_load(tn, &cf, &why);
	if (rc == 0) {
		config_release(&cf);
		return;
	}
	(void)path_of(tn, CONFIG_NAME, path);
	(void)snprintf(bad, sizeof(bad), "%.300s", why.text);
	if (!f->repair || (rc != -EUCLEAN && rc != -ERANGE && rc != -EINVAL))
		fsck_tell(f, FSCK_DAMAGED, path, "%s", bad);
	else if (config_kept(tn, &text, &again) < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%s; the copy kept is no better: %.200s", bad,
			again.text);
	else if (put_anew(tn, CONFIG_NAME, text.data, text.len, lost, &again) < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%s; the last good copy is not back: %.200s%s%s",
			bad, again.text, lost[0] != '\0' ? "; the damaged one is .lost/" : "",
			lost);
	else
		fsck_mended(f, tn->slug, FSCK_REPAIRED, path, "config_restored",
			"%s; the last good copy is back%s%s", bad,
			lost[0] != '\0' ? ", the damaged one is .lost/" : "", lost);
	buf_release(&text);
}

/* ---- revisions ---- */

/* eval.json is not among the digests: it comes later and may be made again */
static void check_eval(struct fsck *f, const struct tune *tn, int dir, const char *rev)
{
	char path[PATH_BYTES], name[REV_BYTES + 32];
	struct buf text = BUF_INIT;
	struct err why = ERR_NONE;
	int rc = read_file(dir, "eval.json", 1 << 30, &text, &why);

	(void)snprintf(name, sizeof(name), "revisions/%.11s/eval.json", rev);
	if (rc == 0)
		rc = json_check(buf_str(&text), text.len, &why);
	if (rc < 0 && rc != -ENOENT && rc != -EBADMSG && rc != -EINVAL && rc != -ELOOP)
		fsck_tell(f, FSCK_DAMAGED, path_of(tn, name, path), "%.300s", why.text);
	else if (rc < 0 && rc != -ENOENT)
		fsck_lose(f, tn->slug, dir, "eval.json", path_of(tn, name, path),
			"it cannot be read; eval again");
	buf_release(&text);
}

static void check_revision(
	struct fsck *f, const struct tune *tn, int revisions, const char *rev, bool is_named)
{
	char path[PATH_BYTES], name[REV_BYTES + 16], text[400];
	struct err why = ERR_NONE;
	int dir, rc = revision_verify(tn, rev, NULL, &why);

	(void)snprintf(name, sizeof(name), "revisions/%.11s", rev);
	(void)path_of(tn, name, path);
	if (rc == 0) {
		dir = dir_open(revisions, rev, NULL);
		if (dir >= 0) {
			check_eval(f, tn, dir, rev);
			close(dir);
		}
		return;
	}
	(void)snprintf(text, sizeof(text), "%.380s", why.text);
	/* what could not be read is not known to be bad */
	if (is_named || (rc != -ENOENT && rc != -EKEYREJECTED))
		fsck_tell(f, FSCK_DAMAGED, path, "%s%s", text,
			is_named ? "; HEAD or head.prev names it, so it stays" : "");
	else
		fsck_lose(f, tn->slug, revisions, rev, path, text);
}

static void check_revisions(struct fsck *f, const struct tune *tn, const struct head *hd)
{
	int fd = dir_open(tn->dir, "revisions", NULL);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char path[PATH_BYTES];
	struct dirent *d;
	int listed = -EIO;

	if (dir == NULL && fd >= 0)
		close(fd);
	while (dir != NULL && (listed = dir_next(dir, "revisions/", &d, NULL)) > 0)
		if (rev_number(d->d_name) >= 0)
			check_revision(f, tn, fd, d->d_name,
				strcmp(d->d_name, hd->head) == 0 ||
					strcmp(d->d_name, hd->prev) == 0);
	if (listed < 0)
		fsck_tell(f, FSCK_DAMAGED, path_of(tn, "revisions", path), "it cannot be listed");
	if (dir != NULL)
		closedir(dir);
}

/* ---- HEAD and head.prev ---- */

static bool is_whole(const struct tune *tn, const char *rev)
{
	return rev[0] != '\0' && revision_verify(tn, rev, NULL, NULL) == 0;
}

/* why the file cannot be HEAD or head.prev, "" when it is fine; an errno when it could not be read
 */
static int rev_file_bad(const struct tune *tn, const char *name, char rev[REV_BYTES], char why[200])
{
	struct err err = ERR_NONE;
	struct stat sb;
	char path[32];
	int rc = rev_file(tn->dir, name, rev, &err);

	why[0] = '\0';
	if (rc == -ENOENT)
		(void)snprintf(why, 200, "%s is missing", name);
	else if (rc < 0)
		(void)snprintf(why, 200, "%.180s", err.text);
	if (rc < 0) {
		rev[0] = '\0';
		return rc;
	}
	(void)snprintf(path, sizeof(path), "revisions/%s", rev);
	rc = fstatat(tn->dir, path, &sb, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
		(void)snprintf(why, 200, "cannot stat '%s'", path);
	else if (rc < 0 || !S_ISDIR(sb.st_mode))
		(void)snprintf(why, 200, "%s names %s, which is missing", name, rev);
	else if (fstatat(tn->dir, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_nlink != 1)
		(void)snprintf(why, 200, "%s has %lu names", name, (unsigned long)sb.st_nlink);
	return rc;
}

/* it was read, or is not there: what it holds is known to be wrong */
static bool is_known(int rc)
{
	return rc == 0 || rc == -ENOENT || rc == -ENOTDIR || rc == -EUCLEAN;
}

/* ${name} holds ${rev} again; what stood there goes to .lost/ */
static void rev_file_restore(
	struct fsck *f, const struct tune *tn, const char *name, const char *why, const char *rev)
{
	char path[PATH_BYTES], lost[300] = "", text[REV_BYTES + 2];
	struct err err = ERR_NONE;
	int rc, n = snprintf(text, sizeof(text), "%s\n", rev);

	(void)path_of(tn, name, path);
	rc = put_anew(tn, name, text, (size_t)n, lost, &err);
	if (rc < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%s; %.200s%s%s", why, err.text,
			lost[0] != '\0' ? "; what stood there is .lost/" : "", lost);
	else
		fsck_mended(f, tn->slug, FSCK_REPAIRED, path, "head_restored",
			"%s; it is %s again, as the log says%s%s", why, rev,
			lost[0] != '\0' ? "; what stood there is .lost/" : "", lost);
}

/* an intent that cannot be read: nobody can finish it. When HEAD is where the log has it, there is
 * nothing to finish. */
static void check_intent(struct fsck *f, const struct tune *tn, const struct head *logged)
{
	char path[PATH_BYTES], head[REV_BYTES] = "", text[400];
	struct err why = ERR_NONE;
	struct intent in = {0};
	int rc = intent_read(tn, &in, &why);

	if (rc == 0)
		intent_release(&in); /* store_stale() told of it */
	if (rc == 0 || rc == -ENOENT)
		return;
	(void)rev_file(tn->dir, "HEAD", head, NULL);
	(void)path_of(tn, ".intent", path);
	(void)snprintf(text, sizeof(text), "%.390s", why.text);
	/* what could not be read for now may be a good one */
	if (rc == -EUCLEAN && f->chain_holds && head[0] != '\0' && strcmp(head, logged->head) == 0)
		fsck_lose(f, tn->slug, tn->dir, ".intent", path, text);
	else
		fsck_tell(f, FSCK_DAMAGED, path, "%s", text);
}

static void check_head(
	struct fsck *f, const struct tune *tn, const struct head *logged, struct head *now)
{
	char path[PATH_BYTES], why[200];
	int rc = rev_file_bad(tn, "HEAD", now->head, why);

	if (why[0] == '\0')
		return;
	if (f->repair && is_known(rc) && f->chain_holds && is_whole(tn, logged->head)) {
		rev_file_restore(f, tn, "HEAD", why, logged->head);
		memcpy(now->head, logged->head, REV_BYTES);
	} else {
		fsck_tell(f, FSCK_DAMAGED, path_of(tn, "HEAD", path), "%s%s%s", why,
			logged->head[0] != '\0' ? "; the log says it was " : "", logged->head);
	}
}

static void check_prev(
	struct fsck *f, const struct tune *tn, const struct head *logged, struct head *now)
{
	char path[PATH_BYTES], why[200];
	struct stat sb;
	bool is_there = fstatat(tn->dir, "head.prev", &sb, AT_SYMLINK_NOFOLLOW) == 0;

	int rc = rev_file_bad(tn, "head.prev", now->prev, why);

	/* not there is right for a slug that was never promoted, and for one of the reference */
	if (why[0] == '\0' || (!is_there && logged->prev[0] == '\0'))
		return;
	if (!is_known(rc)) {
		fsck_tell(f, FSCK_DAMAGED, path_of(tn, "head.prev", path), "%s", why);
	} else if (f->chain_holds && strcmp(logged->head, now->head) == 0 &&
		   is_whole(tn, logged->prev)) {
		if (f->repair)
			rev_file_restore(f, tn, "head.prev", why, logged->prev);
		else
			fsck_tell(f, FSCK_DAMAGED, path_of(tn, "head.prev", path),
				"%s; the log says it was %s", why, logged->prev);
		if (f->repair)
			memcpy(now->prev, logged->prev, REV_BYTES);
	} else if (is_there) {
		fsck_lose(f, tn->slug, tn->dir, "head.prev", path_of(tn, "head.prev", path), why);
	} else {
		fsck_tell(f, FSCK_NOTE, path_of(tn, "head.prev", path),
			"%s; there is no way back until the next promotion", why);
	}
}

/* HEAD is the truth; a change of it that the log does not know gets its line */
static void check_logged(
	struct fsck *f, const struct tune *tn, const struct head *now, const struct head *logged)
{
	char path[PATH_BYTES], fields[120];
	struct by by = by_self();
	struct log_entry entry = {
		.event = "head_found", .fields = fields, .slug = tn->slug, .by = &by};
	struct err err = ERR_NONE;

	if (now->head[0] == '\0' || logged->head[0] == '\0' || !f->chain_holds ||
		strcmp(now->head, logged->head) == 0)
		return;
	(void)path_of(tn, "HEAD", path);
	(void)snprintf(fields, sizeof(fields), "\"revision\":\"%s\",\"previous\":\"%s\"", now->head,
		now->prev);
	if (!f->repair)
		fsck_tell(f, FSCK_DAMAGED, path, "it is %s, but the log says %s", now->head,
			logged->head);
	else if (log_append(tn->st, &entry, &err) < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "it is %s, but the log says %s; %.200s", now->head,
			logged->head, err.text);
	else
		fsck_tell(f, FSCK_REPAIRED, path,
			"it is %s, but the log said %s; now the log knows", now->head,
			logged->head);
}

/* ---- the rest ---- */

void fsck_journal(struct fsck *f, const char *slug, int dirfd, const char *path)
{
	char lost[300];
	struct err why = ERR_NONE, again = ERR_NONE;
	uint64_t bad = 0;
	int rc = journal_check(dirfd, &bad, &why);

	if (rc == 0 && bad == 0)
		return;
	if (rc == 0)
		(void)err_set(&why, EUCLEAN, "%" PRIu64 " of its lines cannot be read", bad);
	if (!f->repair || (rc < 0 && rc != -EUCLEAN)) {
		fsck_tell(f, FSCK_DAMAGED, path, "%.300s", why.text);
	} else if (rc < 0) {
		fsck_lose(f, slug, dirfd, "jobs.jsonl", path, why.text);
	} else if (lost_copy(f->st, dirfd, "jobs.jsonl", path, lost, &again) < 0 ||
		   journal_compact(dirfd, &again) < 0) {
		fsck_tell(f, FSCK_DAMAGED, path, "%.300s; %.200s", why.text, again.text);
	} else {
		fsck_mended(f, slug, FSCK_REPAIRED, path, "journal_rewritten",
			"%.300s; written anew without them, as it was it is .lost/%s", why.text,
			lost);
	}
}

static void check_captures(struct fsck *f, const struct tune *tn)
{
	struct capture_counts n = {0};
	struct err why = ERR_NONE;
	char path[PATH_BYTES];
	struct stat sb;
	int fd = captures_open(tn, &why), rc = fd;

	(void)path_of(tn, "captures.jsonl", path);
	if (fd >= 0) {
		rc = captures_scan(fd, UINT64_MAX, NULL, NULL, &n, &why);
		close(fd);
	}
	if (fd < 0 && fstatat(tn->dir, "captures.jsonl", &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		!S_ISREG(sb.st_mode))
		fsck_lose(f, tn->slug, tn->dir, "captures.jsonl", path, why.text);
	else if (rc < 0 && rc != -ENOENT)
		fsck_tell(f, FSCK_DAMAGED, path, "%.300s", why.text);
	else if (n.torn + n.broken + n.oversize > 0)
		fsck_tell(f, FSCK_NOTE, path,
			"%" PRIu64 " rows; lines that are none: %" PRIu64 " torn, %" PRIu64
			" broken, %" PRIu64 " too long, the first at byte %" PRIu64,
			n.rows, n.torn, n.broken, n.oversize, n.broken_at[0]);
}

static void check_dropped(struct fsck *f, const struct tune *tn)
{
	struct capture_drops drops;
	struct err why = ERR_NONE;
	char path[PATH_BYTES];
	int rc = captures_dropped(tn, &drops, &why);

	(void)path_of(tn, ".dropped", path);
	if (rc == -EUCLEAN) /* the count begins anew */
		fsck_lose(f, tn->slug, tn->dir, ".dropped", path, why.text);
	else if (rc < 0)
		fsck_tell(f, FSCK_DAMAGED, path, "%.300s", why.text);
}

/* the artifact is not the store's own, and nothing here may change it */
static void check_artifact(struct fsck *f, const struct tune *tn)
{
	char path[PATH_BYTES], sha[HASH_HEX_BYTES];
	struct err why = ERR_NONE;
	struct config cf;
	int fd;

	if (config_load(tn, &cf, NULL) < 0)
		return;
	if (cf.artifact_path != NULL && cf.artifact_sha256 != NULL) {
		(void)path_of(tn, CONFIG_NAME, path);
		fd = open(cf.artifact_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			fsck_tell(f, FSCK_NOTE, path, "its artifact cannot be opened: %.300s",
				cf.artifact_path);
		else if (sha256_fd(fd, 0, UINT64_MAX, sha, &why) == 0 &&
			 strcmp(sha, cf.artifact_sha256) != 0)
			fsck_tell(f, FSCK_NOTE, path, "its artifact changed since init: %.300s",
				cf.artifact_path);
		if (fd >= 0)
			close(fd);
	}
	config_release(&cf);
}

void fsck_slug(struct fsck *f, const struct tune *tn)
{
	struct head now = {0}, logged;
	struct err why = ERR_NONE;
	char path[PATH_BYTES];

	check_config(f, tn);
	if (head_logged(tn, &logged, &why) < 0) {
		fsck_tell(f, FSCK_DAMAGED, path_of(tn, "HEAD", path),
			"what the log says of it cannot be read: %.300s", why.text);
		return;
	}
	check_intent(f, tn, &logged);
	check_head(f, tn, &logged, &now);
	check_prev(f, tn, &logged, &now);
	/* while a change is open, HEAD and the log may differ */
	if (faccessat(tn->dir, ".intent", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		check_logged(f, tn, &now, &logged);
	check_revisions(f, tn, &now);
	fsck_journal(f, tn->slug, tn->dir, path_of(tn, "jobs.jsonl", path));
	check_captures(f, tn);
	check_dropped(f, tn);
	check_artifact(f, tn);
}
