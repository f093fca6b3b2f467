/*
 * pair - HEAD and head.prev are one state's, also when another process rolls back between our looks
 * at the two: here it does so as we open the one and the other.
 */
#include "tests/unit/openat_hook.h"
#include "tests/unit/store_rig.h"

static struct {
	const struct tune *tn; /* NULL: nobody rolls back */
	const char *next;      /* as this is opened */
	int left;
} other;

static void rolls_back(void)
{
	const struct tune *tn = other.tn;
	struct by by = by_self();
	struct log_entry entry = {.event = "rolled_back", .slug = "demo", .by = &by};
	struct err err = ERR_NONE;
	struct head now;

	other.tn = NULL;
	cr_assert_eq(head_rollback(tn, &entry, &now, &err), 0, "%s", err.text);
	other.tn = --other.left > 0 ? tn : NULL;
	other.next = strcmp(other.next, "HEAD") == 0 ? "head.prev" : "HEAD";
}

static bool before_openat(const char *path)
{
	if (other.tn != NULL && strcmp(path, other.next) == 0)
		rolls_back();
	return true;
}

Test(pair, is_of_one_state)
{
	struct by by = by_self();
	struct log_entry entry = {.event = "promoted", .slug = "demo", .by = &by};
	struct head hd;
	struct rig r;

	rig_open(&r);
	works(head_promote(&r.tn, "v1", &entry, &r.err));
	for (int n = 1; n <= 6; n++) {
		other.next = "head.prev";
		other.left = n;
		other.tn = &r.tn;
		works(head_load(&r.tn, &hd, &r.err));
		other.tn = NULL;
		cr_assert(strcmp(hd.head, hd.prev) != 0, "%d rollbacks: %s and %s", n, hd.head,
			hd.prev);
	}
	rig_close(&r);
}
