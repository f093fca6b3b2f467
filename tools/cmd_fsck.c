/* cmd_fsck - kolm fsck: the store's invariants, one line for each that does not hold. */
#include <stdio.h>

#include "store/fsck.h"
#include "tools/cli.h"

struct findings {
	unsigned n[FSCK_LOST + 1];
};

static void say(void *arg, enum fsck_kind kind, const char *path, const char *text)
{
	static const char *const words[] = {[FSCK_NOTE] = "note",
		[FSCK_DAMAGED] = "damaged",
		[FSCK_REPAIRED] = "repaired",
		[FSCK_LOST] = "moved"};
	struct findings *found = arg;

	found->n[kind]++;
	printf("%s ", words[kind]);
	say_text(stdout, path);
	printf(": ");
	say_text(stdout, text);
	putchar('\n');
}

int cmd_fsck(struct cli *c, struct err *err)
{
	struct findings found = {{0}};
	unsigned damaged = 0;
	bool repair = flag_on(c, "--repair");
	int rc = store_fsck(kolm_store(c->k), repair, say, &found, &damaged, err);

	if (rc < 0)
		return rc;
	if (damaged == 0 && found.n[FSCK_REPAIRED] + found.n[FSCK_LOST] == 0) {
		puts("ok every invariant holds");
		return EXIT_OK;
	}
	if (damaged == 0) {
		printf("ok %u repaired, %u moved to .lost\n", found.n[FSCK_REPAIRED],
			found.n[FSCK_LOST]);
		return EXIT_OK;
	}
	printf("%u damaged, %u repaired, %u moved to .lost%s\n", damaged, found.n[FSCK_REPAIRED],
		found.n[FSCK_LOST],
		repair ? "" : "; kolm fsck --repair puts right what is certain");
	return EXIT_RUN;
}
