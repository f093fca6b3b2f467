/*
 * promote - how HEAD and head.prev change (reliability.md 9.2).
 *
 * One rename decides: the exchange of HEAD with .HEAD.next (promotion) or with head.prev
 * (rollback). Before it stands the intent, so that whoever comes after a killed process knows both
 * sides; behind it come head.prev, the audit line and the end of the intent. HEAD = from is undone,
 * HEAD = to is finished. A step that fails while we live is undone the same way.
 */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/replace.h"
#include "store/revision.h"

int head_exchange(int dirfd, const char *a, const char *b, struct err *err)
{
	if (renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno == EINVAL || errno == ENOSYS)
		return -ENOSYS;
	return err_sys(err, "cannot exchange %s and %s", a, b);
}

int head_write(const struct tune *tn, const char *name, const char *rev, struct err *err)
{
	char text[REV_BYTES + 2];
	int n = snprintf(text, sizeof(text), "%s\n", rev), fd, rc;

	if (unlinkat(tn->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove old '%s'", name);
	fd = openat(tn->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create '%s'", name);
	rc = write_all(fd, text, (size_t)n, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "could not make it durable; not counted as done");
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot close '%s'", name);
	if (rc < 0)
		(void)unlinkat(tn->dir, name, 0);
	return rc;
}

/* make ${name} hold ${rev} ("" : not be there); nothing is written when it does already */
static int rev_put(const struct tune *tn, const char *name, const char *rev, struct err *err)
{
	char now[REV_BYTES] = "", text[REV_BYTES + 2];
	int rc = rev_file(tn->dir, name, now, NULL), n;

	if (rc == 0 && strcmp(now, rev) == 0)
		return 0;
	if (rev[0] == '\0') {
		if (unlinkat(tn->dir, name, 0) < 0 && errno != ENOENT)
			return err_sys(err, "cannot remove '%s'", name);
		return 0;
	}
	n = snprintf(text, sizeof(text), "%s\n", rev);
	return replace_file(tn->dir, name, text, (size_t)n, 0600, err);
}

static struct log_entry entry_of(const struct tune *tn, const struct intent *in)
{
	return (struct log_entry){.event = in->event,
		.fields = in->fields,
		.slug = tn->slug,
		.job = in->job,
		.by = in->has_by ? &in->by : NULL};
}

/* HEAD is ${to}: head.prev, durable, and the audit line */
static int finish(const struct tune *tn, const struct intent *in, bool recovered, struct err *err)
{
	struct log_entry entry = entry_of(tn, in);
	char next[REV_BYTES];
	int rc = 0;

	if (rev_file(tn->dir, HEAD_NEXT, next, NULL) == 0 && strcmp(next, in->from) == 0) {
		if (renameat(tn->dir, HEAD_NEXT, tn->dir, "head.prev") < 0)
			rc = err_sys(err, "cannot replace head.prev");
	} else {
		rc = rev_put(tn, "head.prev", in->from, err);
		if (rc == 0 && unlinkat(tn->dir, HEAD_NEXT, 0) < 0 && errno != ENOENT)
			rc = err_sys(err, "cannot remove '" HEAD_NEXT "'");
	}
	if (rc == 0)
		rc = dir_sync(tn->dir, err);
	if (rc == 0)
		rc = recovered ? log_once(tn->st, in->log_seq, &entry, true, err)
			       : log_append(tn->st, &entry, err);
	return rc;
}

/* back to HEAD = ${from} and head.prev = ${prev}; may be called at any point, and again */
static int undo(const struct tune *tn, const struct intent *in, struct err *err)
{
	char head[REV_BYTES] = "", other[REV_BYTES];
	int rc = rev_file(tn->dir, "HEAD", head, err);

	if (rc < 0)
		return rc;
	if (strcmp(head, in->from) != 0) {
		const char *name = rev_file(tn->dir, HEAD_NEXT, other, NULL) == 0 &&
						   strcmp(other, in->from) == 0
					   ? HEAD_NEXT
					   : "head.prev";

		rc = rev_file(tn->dir, name, other, NULL) == 0 && strcmp(other, in->from) == 0
			     ? head_exchange(tn->dir, name, "HEAD", err)
			     : -ENOSYS;
		if (rc == -ENOSYS)
			rc = rev_put(tn, "HEAD", in->from, err);
	}
	if (rc == 0)
		rc = rev_put(tn, "head.prev", in->prev, err);
	if (rc == 0 && unlinkat(tn->dir, HEAD_NEXT, 0) < 0 && errno != ENOENT)
		rc = err_sys(err, "cannot remove '" HEAD_NEXT "'");
	return rc == 0 ? dir_sync(tn->dir, err) : rc;
}

/* the intent is written: the change itself. ${next}: the name HEAD is exchanged with. */
static int commit(const struct tune *tn, const struct intent *in, const char *next, struct err *err)
{
	struct log_entry entry = entry_of(tn, in);
	int rc = 0;

	if (strcmp(next, HEAD_NEXT) == 0)
		rc = head_write(tn, HEAD_NEXT, in->to, err);
	if (rc == 0)
		rc = head_exchange(tn->dir, next, "HEAD", err);
	if (rc == -ENOSYS) /* two steps, which the intent makes one */
		rc = rev_put(tn, "HEAD", in->to, err);
	if (rc == 0)
		rc = finish(tn, in, false, err);
	if (rc == 0) {
		/* all that was promised is durable; an intent that stays is found done by the next
		 * recovery */
		(void)intent_remove(tn, NULL);
		return 0;
	}
	/* a line that could not be taken back tells of the change: then that stands, too. Whatever
	 * fails here, the intent stays and the next recovery decides. */
	if (log_has(tn->st, in->log_seq, &entry, NULL) == 0 && undo(tn, in, NULL) == 0)
		(void)intent_remove(tn, NULL);
	return rc;
}

static int change(const struct tune *tn, const struct head *now, const char *to, const char *next,
	const struct log_entry *entry, struct err *err)
{
	struct intent in = {.job = entry->job, .has_by = entry->by != NULL};
	int rc = log_ready(tn->st, &in.log_seq, err);

	if (rc < 0)
		return rc;
	memcpy(in.from, now->head, sizeof(in.from));
	memcpy(in.prev, now->prev, sizeof(in.prev));
	(void)snprintf(in.to, sizeof(in.to), "%s", to);
	(void)snprintf(in.event, sizeof(in.event), "%s", entry->event);
	if (in.has_by)
		in.by = *entry->by;
	in.fields = (char *)(uintptr_t)entry->fields; /* borrowed, not released */
	rc = intent_write(tn, &in, err);
	if (rc == 0)
		return commit(tn, &in, next, err);
	(void)intent_remove(
		tn, NULL); /* it may be there when only the directory could not be synced */
	return rc;
}

int head_promote(
	const struct tune *tn, const char *to, const struct log_entry *entry, struct err *err)
{
	struct head now;
	int rc, fd;

	rc = rev_check(to, strlen(to), err);
	if (rc == 0)
		rc = head_recover(tn, err);
	if (rc >= 0)
		rc = head_load(tn, &now, err);
	if (rc < 0)
		return rc;
	if (strcmp(now.head, to) == 0)
		return err_set(err, EALREADY, "HEAD is %s already", to);
	fd = revision_open(tn, to, err);
	if (fd < 0)
		return fd;
	close(fd);
	return change(tn, &now, to, HEAD_NEXT, entry, err);
}

/* ${was}: HEAD and head.prev before an attempt for which there was no room; it may have left its
 * intent */
static int rollback_again(const struct tune *tn, const struct head *was,
	const struct log_entry *entry, struct err *err)
{
	struct head now;
	int rc = head_recover(tn, err);

	if (rc >= 0)
		rc = head_load(tn, &now, err);
	if (rc < 0 || strcmp(now.head, was->prev) == 0)
		return rc;
	return change(tn, was, was->prev, "head.prev", entry, err);
}

int head_rollback(
	const struct tune *tn, const struct log_entry *entry, struct head *now, struct err *err)
{
	char sha[65];
	struct err why = ERR_NONE;
	struct head hd;
	int rc;

	rc = head_recover(tn, err);
	if (rc >= 0)
		rc = head_load(tn, &hd, err);
	if (rc < 0)
		return rc;
	if (hd.prev[0] == '\0')
		return err_set(err, ENOENT, "no prior head to roll back to");
	rc = revision_verify(tn, hd.prev, sha, &why);
	/* what could not be looked at is not known to be damaged */
	if (rc < 0 && rc != -EKEYREJECTED && rc != -ENOENT && rc != -EINVAL && rc != -ELOOP)
		return err_set(err, -rc, "%.300s; HEAD stays %s", why.text, hd.head);
	if (rc < 0)
		return err_set(err, EUCLEAN, "%s is damaged: files.json: %.300s; HEAD stays %s",
			hd.prev, why.text, hd.head);
	rc = change(tn, &hd, hd.prev, "head.prev", entry, err);
	if ((rc == -ENOSPC || rc == -EDQUOT) && reserve_free(tn->st))
		rc = rollback_again(tn, &hd, entry, err);
	if (rc < 0)
		return rc;
	memcpy(now->head, hd.prev, sizeof(now->head));
	memcpy(now->prev, hd.head, sizeof(now->prev));
	return 0;
}

/* whether what lies there can come from this change; anything else is for a person to look at */
static int check_state(
	const struct tune *tn, const struct intent *in, const char *head, struct err *err)
{
	char prev[REV_BYTES] = "", next[REV_BYTES] = "";
	int rc = rev_file(tn->dir, "head.prev", prev, NULL);
	bool known = strcmp(head, in->from) == 0 || strcmp(head, in->to) == 0;

	(void)rev_file(tn->dir, HEAD_NEXT, next, NULL);
	known = known && (rc == 0 || rc == -ENOENT);
	known = known && (strcmp(prev, in->prev) == 0 || strcmp(prev, in->from) == 0 ||
				 strcmp(prev, in->to) == 0);
	known = known &&
		(next[0] == '\0' || strcmp(next, in->from) == 0 || strcmp(next, in->to) == 0);
	if (known)
		return 0;
	return err_set(err, EUCLEAN,
		"HEAD is %s, head.prev %s, " HEAD_NEXT
		" %s, but the open change was from %s to %s; put HEAD and head.prev right, then "
		"remove "
		"tune/%s/.intent",
		head, prev[0] != '\0' ? prev : "-", next[0] != '\0' ? next : "-", in->from, in->to,
		tn->slug);
}

static int abandon(const struct tune *tn, const struct intent *in, struct err *err)
{
	struct by by = by_self();
	char fields[160];
	struct log_entry entry = {
		.event = "recovered", .fields = fields, .slug = tn->slug, .by = &by};
	int rc = undo(tn, in, err);

	(void)snprintf(fields, sizeof(fields),
		"\"what\":\"%s\",\"revision\":\"%s\",\"previous\":\"%s\"",
		strcmp(in->event, "promoted") == 0 ? "promotion_abandoned" : "rollback_abandoned",
		in->to, in->from);
	return rc == 0 ? log_once(tn->st, in->log_seq, &entry, false, err) : rc;
}

int head_recover(const struct tune *tn, struct err *err)
{
	char head[REV_BYTES] = "";
	struct intent in;
	int rc;

	rc = intent_read(tn, &in, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = rev_file(tn->dir, "HEAD", head, err);
	if (rc == -ENOENT)
		rc = err_set(err, EUCLEAN, "HEAD is missing while a change from %s to %s is open",
			in.from, in.to);
	if (rc == 0)
		rc = check_state(tn, &in, head, err);
	if (rc == 0)
		rc = strcmp(head, in.to) == 0 ? finish(tn, &in, true, err) : abandon(tn, &in, err);
	if (rc == 0)
		rc = intent_remove(tn, err);
	intent_release(&in);
	return rc == 0 ? 1 : rc;
}
