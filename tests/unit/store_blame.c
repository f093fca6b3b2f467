/*
 * blame - a disk that does not answer says nothing about what lies on it: no slug is 'not made', no
 * open promotion 'to be removed', no revision damaged. Its calls fail here, by the name they are
 * for.
 */
#include "store/fsck.h"
#include "store/private.h"
#include "tests/unit/openat_hook.h"
#include "tests/unit/store_rig.h"

static struct {
	const char *name; /* of the file that does not answer, NULL all do */
	int no;
} disk;

static bool is_deaf(const char *path)
{
	const char *slash = strrchr(path, '/');

	errno = disk.no;
	return disk.name != NULL && strcmp(slash != NULL ? slash + 1 : path, disk.name) == 0;
}

static bool before_openat(const char *path)
{
	return !is_deaf(path);
}

int fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	return is_deaf(path) ? -1 : (int)syscall(SYS_newfstatat, dirfd, path, st, flags);
}

static void deaf(const char *name, int no)
{
	disk.name = name;
	disk.no = no;
}

static void say(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	unsigned *lost = arg;

	(void)path;
	(void)text;
	*lost += kind == FSCK_LOST;
}

Test(blame, a_slug_that_cannot_be_looked_at_is_made_all_the_same)
{
	struct tune tn;
	struct rig r;

	rig_open(&r);
	deaf("tune-config.json", EIO);
	fails(tune_open(&r.st, "demo", &tn, &r.err), EIO, "cannot stat 'tune-config.json'");
	deaf(NULL, 0);
	works(tune_open(&r.st, "demo", &tn, &r.err));
	tune_close(&tn);
	deaf("format", EMFILE);
	struct store st;

	fails(store_open(r.path, &st, &r.err), EMFILE, "file 'format' of the store: cannot open");
	deaf(NULL, 0);
	rig_close(&r);
}

Test(blame, an_intent_that_cannot_be_read_now_stays)
{
	unsigned damaged, lost = 0;
	struct intent in;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, ".intent",
		"{\"from\":\"v1\",\"to\":\"v0\",\"prev\":\"\",\"seq\":0,\"job\":0,"
		"\"event\":\"promoted\",\"fields\":\"\",\"by\":null}");
	deaf(".intent", EIO);
	fails(intent_read(&r.tn, &in, &r.err), EIO, "cannot open '.intent'");
	fails(head_recover(&r.tn, &r.err), EIO, "cannot open '.intent'");
	works(store_fsck(&r.st, true, say, &lost, &damaged, &r.err));
	cr_assert_eq(lost, 0);
	cr_assert_gt(damaged, 0);
	deaf(NULL, 0);
	cr_assert(is_there(r.tn.dir, ".intent"));
	works(intent_read(&r.tn, &in, &r.err));
	intent_release(&in);
	rig_close(&r);
}

Test(blame, a_revision_that_cannot_be_read_now_is_not_damaged)
{
	struct by by = by_self();
	struct log_entry entry = {.event = "promoted", .slug = "demo", .by = &by};
	struct head now;
	struct rig r;

	rig_open(&r);
	works(head_promote(&r.tn, "v1", &entry, &r.err));
	entry.event = "rolled_back";
	deaf("adapter_config.json", EACCES);
	fails(head_rollback(&r.tn, &entry, &now, &r.err), EACCES, "HEAD stays v1");
	cr_assert_null(strstr(r.err.text, "damaged"), "%s", r.err.text);
	deaf(NULL, 0);
	works(head_rollback(&r.tn, &entry, &now, &r.err));
	cr_assert_str_eq(now.head, "v0");
	rig_close(&r);
}
