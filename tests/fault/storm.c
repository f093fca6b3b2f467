/*
 * storm STORE ARTIFACT|- SEED COUNT - change a store at random, COUNT times or for ever, and say on
 * standard output what is about to be done ("do ...") and what was done ("ok ..."), each line one
 * write(2). With an ARTIFACT the store is made first. Whoever reads the lines knows what must be
 * there after the power was cut.
 */
#include <stdarg.h>

#include "tests/fault/rig.h"

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char line[200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(0);
}

/* 0 or a negative errno; one after a power cut ends the storm */
static int change_head(struct tune *tn, unsigned long n, bool back)
{
	struct by by = by_self();
	struct log_entry entry = {.slug = "demo", .by = &by};
	struct err err = ERR_NONE;
	struct head hd, now;
	char fields[120], to[REV_BYTES];
	int rc = head_load(tn, &hd, &err);

	if (rc < 0)
		return rc;
	(void)snprintf(to, sizeof(to), "v%ld", (rev_number(hd.head) + 1 + (long)(n % 3)) % 4);
	if (back)
		memcpy(to, hd.prev, sizeof(to));
	entry.event = back ? "rolled_back" : "promoted";
	(void)snprintf(fields, sizeof(fields), "\"revision\":\"%s\",\"previous\":\"%s\",\"n\":%lu",
		to, hd.head, n);
	entry.fields = fields;
	say("do head %s %s %s %s\n", hd.head, hd.prev, to, hd.head);
	rc = back ? head_rollback(tn, &entry, &now, &err) : head_promote(tn, to, &entry, &err);
	if (rc == 0)
		say("ok head %s %s\n", to, hd.head);
	return rc;
}

static int change_config(struct tune *tn, unsigned long n)
{
	struct err err = ERR_NONE;
	struct config cf;
	char value[24];
	int rc = config_load(tn, &cf, &err);

	if (rc < 0)
		return rc;
	(void)snprintf(value, sizeof(value), "%lu", 1 + n % 100000);
	rc = config_set(&cf, "watch.threshold_rows", value, &err);
	say("do config %llu\n", (unsigned long long)cf.generation);
	if (rc == 0)
		rc = config_save(tn, &cf, &err);
	if (rc == 0)
		say("ok config %llu\n", (unsigned long long)cf.generation);
	config_release(&cf);
	return rc;
}

static int add_row(struct tune *tn, unsigned long n)
{
	struct err err = ERR_NONE;
	char row[100];
	int len = snprintf(row, sizeof(row), "{\"input\":\"storm %lu\",\"output\":\"X\"}", n);
	int rc = captures_append(tn, row, (size_t)len, &err);

	if (rc == 0)
		rc = captures_sync(tn, &err);
	if (rc == 0)
		say("ok row %lu\n", n);
	return rc;
}

static int add_job(struct tune *tn)
{
	struct job_record jr = {.verb = "eval", .k = NAN};
	struct err err = ERR_NONE;
	int rc = journal_new(tn->dir, &jr, &err);

	if (rc < 0)
		return rc;
	say("ok job %llu\n", (unsigned long long)jr.id);
	jr.state = JOB_DONE;
	return journal_append(tn->dir, &jr, &err);
}

int main(int argc, char **argv)
{
	unsigned long n = 0, count = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	struct store st;
	struct tune tn;
	int rc = 0;

	if (argc != 5)
		return 2;
	srandom((unsigned)strtoul(argv[3], NULL, 10));
	if (strcmp(argv[2], "-") != 0)
		rig_make(argv[1], argv[2]);
	must(store_open(argv[1], &st, &rig_err));
	must(tune_open(&st, "demo", &tn, &rig_err));
	say("start\n");
	while (rc == 0 && (count == 0 || n < count)) {
		unsigned long id = ((unsigned long)random() << 31) ^ (unsigned long)random();
		int lock;

		rc = tune_lock(&tn, &lock, NULL);
		if (rc < 0)
			break;
		switch (n++ % 5) {
		case 0:
			rc = change_head(&tn, id, false);
			break;
		case 1:
			rc = add_row(&tn, id);
			break;
		case 2:
			rc = change_config(&tn, id);
			break;
		case 3:
			rc = add_job(&tn);
			break;
		default:
			rc = change_head(&tn, id, true);
		}
		close(lock);
	}
	return 0;
}
