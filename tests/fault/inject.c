/*
 * inject STORE ARTIFACT errno|alloc POINTS SEED - every state change of the store with one of its
 * system calls (or allocations) failing, from the first to the last: it alone, it and the next, it
 * and all of its kind behind it, it and everything behind it, with sixteen errors; and writes that
 * are short by one byte, by half, by all but one. After every fault the store is what it was before
 * or what it would be after (after, when the change said so), one recovery mends what is left, a
 * second finds nothing, no descriptor and no memory is lost.
 *
 * POINTS 0: every one of them. Else about as many, drawn by SEED. What is printed counts those in
 * which something failed, and no two alike: "and behind it" only where more than the one was hit.
 */
#include "tests/fault/fault_calls.h"
#include "tests/fault/changes.h"

#include <time.h>

static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS, ENOMEM, EMFILE, ENFILE, EACCES, EPERM,
	EFBIG, EAGAIN, EINTR, ESTALE, EBUSY, ENODEV, EUCLEAN};
enum { ERRORS = sizeof(errors) / sizeof(errors[0]) };

/* ---- one fault ---- */

static struct snapshot *fresh; /* one for each change */
static unsigned failures;

static void put_back(size_t i)
{
	char side[300];

	snapshot_restore(&fresh[i], store_path);
	(void)snprintf(side, sizeof(side), "%s.rag.json", artifact);
	(void)unlink(side);
	if (changes[i].before == make_attached)
		make_attached(NULL, NULL);
}

/* the number the next descriptor would get */
static int lowest_fd(void)
{
	int fd = dup(STDIN_FILENO);

	(void)syscall(SYS_close, fd);
	return fd;
}

static void bad(const struct change *c, const char *what, const char *detail)
{
	static const char *const behind[] = {"", " and the next", " and its kind", " and on"};

	failures++;
	printf("FAILED %s: %s\n  fault: %s at call %u, errno %s; allocation %u;%s\n  %s\n", c->name,
		what, plan.site != NULL ? plan.site : "-", plan.at,
		plan.part != PART_NONE ? "short" : err_name(plan.no), plan.alloc_at,
		behind[plan.mode], detail);
	if (failures > 20)
		exit(1);
}

/* a recovery leaves a sound store, a second one changes nothing */
static void check_repair(const struct change *c)
{
	struct buf said = BUF_INIT;
	struct store st;
	struct err err = ERR_NONE;
	unsigned damaged = 0;

	must(store_open(store_path, &st, &rig_err));
	if (store_fsck(&st, true, say_nothing, &said, &damaged, &err) < 0 || damaged > 0)
		bad(c, "damaged after a repair", said.len > 0 ? said.data : err.text);
	buf_reset(&said);
	if (store_fsck(&st, true, say_nothing, &said, &damaged, &err) < 0 || said.len > 0)
		bad(c, "a second repair found something", buf_str(&said));
	store_close(&st);
	buf_release(&said);
}

/* when more than one call fails, nothing may be left to take a change back with: then it is done,
 * or its line stands without it; but what has an intent is one with its line also then */
static bool is_mixed(const struct change *c, const char *now, const char *before, const char *after)
{
	size_t n = strcspn(now, "|"), b = strcspn(before, "|"), a = strcspn(after, "|");

	if (c->has_intent)
		return strcmp(now, after) == 0;
	return ((n == a && memcmp(now, after, n) == 0) ||
		       (n == b && memcmp(now, before, n) == 0)) &&
	       (strcmp(now + n, after + a) == 0 || strcmp(now + n, before + b) == 0);
}

/* a machine that fails for once says nothing about what lies there: that is neither damaged nor
 * missing. A repair counts what it could not look at. */
static bool blames_data(const struct change *c, int rc)
{
	static const int blames[] = {EKEYREJECTED, EBADMSG, EUCLEAN, ENOENT, ESTALE, EINVAL};
	int no = plan.alloc_hits > 0 ? ENOMEM : plan.no;

	if (c->bare == repair || plan.mode != FAULT_ONCE || rc == -no)
		return false;
	for (size_t i = 0; i < sizeof(blames) / sizeof(blames[0]); i++)
		if (rc == -blames[i])
			return true;
	return false;
}

static void judge(const struct change *c, int rc, const struct err *err, const char *before,
	const char *after)
{
	struct buf now = BUF_INIT, text = BUF_INIT;

	plan.armed = plan.alloc_armed = false;
	check_repair(c);
	rig_state(store_path, artifact, &now);
	(void)buf_addf(&text, "answer %d (%s)\n  before %s\n  after  %s\n  now    %s", rc,
		err->text, before, after, buf_str(&now));
	if (rc == 0 && strcmp(buf_str(&now), after) != 0)
		bad(c, "it said done, and it is not", buf_str(&text));
	else if (rc < 0 && !c->in_parts && strcmp(buf_str(&now), before) != 0 &&
		 !(plan.mode != FAULT_ONCE && is_mixed(c, buf_str(&now), before, after)))
		bad(c, "it failed, and something changed", buf_str(&text));
	if (blames_data(c, rc))
		bad(c, "it blames what lies there", buf_str(&text));
	if (rc < 0 && err->text[0] == '\0')
		bad(c, "it failed without a sentence", buf_str(&text));
	buf_release(&now);
	buf_release(&text);
}

static void one_fault(size_t i, const char *before, const char *after)
{
	struct err err;
	long balance;
	int fd, rc;

	put_back(i);
	fd = lowest_fd();
	plan.calls = plan.hits = plan.allocs = plan.alloc_hits = 0;
	plan.site = NULL;
	plan.leaky = false;
	balance = plan.balance;
	plan.armed = plan.at > 0;
	plan.alloc_armed = plan.alloc_at > 0;
	rc = run(&changes[i], &err);
	plan.armed = plan.alloc_armed = false;
	tzset(); /* libc keeps a copy of the zone's name */
	if (lowest_fd() != fd)
		bad(&changes[i], "a descriptor stayed open", err.text);
	if (plan.balance != balance && !plan.leaky)
		bad(&changes[i], "memory was not freed", err.text);
	judge(&changes[i], rc, &err, before, after);
}

/* ---- all of them, or some ---- */

struct draw {
	uint64_t seed;
	double part; /* of all points */
	uint64_t done;
};

static bool drawn(struct draw *d)
{
	d->seed ^= d->seed << 13;
	d->seed ^= d->seed >> 7;
	d->seed ^= d->seed << 17;
	return (double)(d->seed >> 11) / (double)(1ULL << 53) < d->part;
}

/* counted when it is none of the others: something failed, and more than once where it should */
static void one_drawn(size_t i, const char *before, const char *after, struct draw *d)
{
	if (!drawn(d))
		return;
	one_fault(i, before, after);
	d->done += plan.hits + plan.alloc_hits > (plan.mode != FAULT_ONCE);
}

/* how many calls (short writes, allocations) a change makes; its state afterwards in ${after} */
static void measure(size_t i, unsigned n[3], struct buf *after)
{
	struct err err;

	for (int round = 0; round < 3; round++) {
		put_back(i);
		plan = (struct fault_plan){.balance = plan.balance,
			.armed = round < 2,
			.part = round == 1 ? PART_HALF : PART_NONE,
			.alloc_armed = round == 2};
		if (run(&changes[i], &err) < 0) {
			plan.armed = plan.alloc_armed = false;
			printf("FAILED %s without any fault: %s\n", changes[i].name, err.text);
			exit(1);
		}
		plan.armed = plan.alloc_armed = false;
		n[round] = round == 2 ? plan.allocs : plan.calls;
	}
	/* a clean change needs no recovery, but a wreck is not one */
	check_repair(&changes[i]);
	rig_state(store_path, artifact, after);
}

/* of allocations there is one kind: all behind it */
static const enum fault_mode alloc_modes[] = {FAULT_ONCE, FAULT_TWICE, FAULT_ON};
enum { ALLOC_MODES = sizeof(alloc_modes) / sizeof(alloc_modes[0]) };

static uint64_t points_of(const unsigned n[3], bool of_calls)
{
	return of_calls ? (uint64_t)n[0] * FAULT_MODES * ERRORS +
				  (uint64_t)n[1] * (FAULT_PARTS - PART_BYTE)
			: (uint64_t)n[2] * ALLOC_MODES;
}

static void calls_of(
	size_t i, const unsigned n[3], struct draw *d, const char *before, const char *after)
{
	plan = (struct fault_plan){.balance = plan.balance};
	for (plan.at = 1; plan.at <= n[0]; plan.at++)
		for (int k = 0; k < FAULT_MODES * ERRORS; k++) {
			plan.mode = (enum fault_mode)(k / ERRORS);
			plan.no = errors[k % ERRORS];
			one_drawn(i, before, after, d);
		}
	plan = (struct fault_plan){.balance = plan.balance, .no = ENOSPC};
	for (plan.at = 1; plan.at <= n[1]; plan.at++)
		for (int k = PART_BYTE; k < FAULT_PARTS; k++) {
			plan.part = (enum fault_part)k;
			one_drawn(i, before, after, d);
		}
}

static void allocs_of(
	size_t i, const unsigned n[3], struct draw *d, const char *before, const char *after)
{
	plan = (struct fault_plan){.balance = plan.balance};
	for (plan.alloc_at = 1; plan.alloc_at <= n[2]; plan.alloc_at++)
		for (int k = 0; k < ALLOC_MODES; k++) {
			plan.mode = alloc_modes[k];
			one_drawn(i, before, after, d);
		}
}

int main(int argc, char **argv)
{
	struct buf before[CHANGES], after[CHANGES];
	unsigned n[CHANGES][3];
	uint64_t all = 0, wanted;
	struct draw d = {.part = 2};
	bool of_calls;

	if (argc != 6)
		return 2;
	store_path = argv[1];
	artifact = argv[2];
	of_calls = strcmp(argv[3], "errno") == 0;
	wanted = strtoull(argv[4], NULL, 10);
	d.seed = strtoull(argv[5], NULL, 10) * 2654435761u + 88172645463325252u;
	setvbuf(stdout, NULL, _IOLBF, 4096);
	me = by_self();
	rig_make(store_path, artifact);
	fresh = calloc(CHANGES, sizeof(*fresh));
	struct snapshot plain = snapshot_take(store_path);

	for (size_t i = 0; i < CHANGES; i++) {
		before[i] = after[i] = BUF_INIT;
		snapshot_restore(&plain, store_path);
		fresh[i] = plain;
		if (changes[i].before != NULL) {
			with_store(changes[i].before);
			fresh[i] = snapshot_take(store_path);
		}
		put_back(i);
		if (changes[i].bare == NULL)
			rig_state(store_path, artifact, &before[i]);
		measure(i, n[i], &after[i]);
		/* whoever mends it, it is mended the same way */
		if (changes[i].bare != NULL)
			(void)buf_puts(&before[i], buf_str(&after[i]));
		all += points_of(n[i], of_calls);
	}
	if (wanted > 0 && wanted < all)
		d.part = (double)wanted / (double)all;
	for (size_t i = 0; i < CHANGES; i++)
		(of_calls ? calls_of : allocs_of)(
			i, n[i], &d, buf_str(&before[i]), buf_str(&after[i]));
	printf("%s: %llu points of at most %llu, %d changes, %u failures\n", argv[3],
		(unsigned long long)d.done, (unsigned long long)all, CHANGES, failures);
	return failures > 0;
}
