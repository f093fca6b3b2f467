/*
 * inject STORE ARTIFACT errno|alloc POINTS SEED - every state change of the store with one of its
 * system calls (or allocations) failing: the first, each one behind it, and from each one on, with
 * sixteen errors and short writes. After every fault the store is what it was before or what it
 * would be after (after, when the change said so), one recovery mends what is left, a second finds
 * nothing, no descriptor and no memory is lost.
 *
 * POINTS 0: every one of them. Else as many, drawn by SEED.
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
	failures++;
	printf("FAILED %s: %s\n  fault: %s at call %u%s, errno %s; allocation %u%s\n  %s\n",
		c->name, what, plan.site != NULL ? plan.site : "-", plan.at,
		plan.stays ? " and on" : "", plan.is_short ? "short" : err_name(plan.no),
		plan.alloc_at, plan.alloc_stays ? " and on" : "", detail);
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

/* when nothing works any more a change cannot be taken back: then it is done, its line apart */
static bool same_but(const struct change *c, const char *now, const char *after)
{
	size_t n = c->has_intent ? strlen(after) + 1 : strcspn(after, "|");

	return strncmp(now, after, n) == 0;
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
		 !(plan.stays && same_but(c, buf_str(&now), after)))
		bad(c, "it failed, and something changed", buf_str(&text));
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
	if ((double)(d->seed >> 11) / (double)(1ULL << 53) >= d->part)
		return false;
	d->done++;
	return true;
}

/* how many calls (short writes, allocations) a change makes; its state afterwards in ${after} */
static void measure(size_t i, unsigned n[3], struct buf *after)
{
	struct err err;

	for (int round = 0; round < 3; round++) {
		put_back(i);
		plan = (struct fault_plan){.balance = plan.balance,
			.armed = round < 2,
			.is_short = round == 1,
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

static uint64_t points_of(const unsigned n[3], bool of_calls)
{
	return of_calls ? (uint64_t)n[0] * 2 * ERRORS + n[1] : (uint64_t)n[2] * 2;
}

static void faults_of(size_t i, const unsigned n[3], bool of_calls, struct draw *d,
	const char *before, const char *after)
{
	plan = (struct fault_plan){.balance = plan.balance};
	for (unsigned at = 1; of_calls && at <= n[0]; at++)
		for (int k = 0; k < 2 * ERRORS; k++) {
			plan.at = at;
			plan.stays = k >= ERRORS;
			plan.no = errors[k % ERRORS];
			if (drawn(d))
				one_fault(i, before, after);
		}
	plan = (struct fault_plan){.balance = plan.balance, .is_short = true, .no = ENOSPC};
	for (unsigned at = 1; of_calls && at <= n[1]; at++) {
		plan.at = at;
		if (drawn(d))
			one_fault(i, before, after);
	}
	plan = (struct fault_plan){.balance = plan.balance};
	for (unsigned at = 1; !of_calls && at <= n[2]; at++)
		for (int k = 0; k < 2; k++) {
			plan.alloc_at = at;
			plan.alloc_stays = plan.stays = k > 0;
			if (drawn(d))
				one_fault(i, before, after);
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
		faults_of(i, n[i], of_calls, &d, buf_str(&before[i]), buf_str(&after[i]));
	printf("%s: %llu of %llu points of %d changes, %u failures\n", argv[3],
		(unsigned long long)d.done, (unsigned long long)all, CHANGES, failures);
	return failures > 0;
}
