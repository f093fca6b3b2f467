/*
 * appenders STORE ARTIFACT PROCESSES ROWS SEED - processes that append rows to one captures.jsonl,
 * one of them killed every 10 ms and put back. Afterwards every row that was acknowledged is there
 * once, and no row is glued to another.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/fault/rig.h"

enum { ROWS_MAX = 1 << 20 };

/* shared with the writers: the next row of each, and which were acknowledged */
struct writer {
	pid_t pid;
	unsigned next;
};
struct shared {
	struct writer w[256];
	unsigned char acked[]; /* writer * rows + row */
};

static unsigned rows;

static void write_rows(const char *path, struct shared *sh, unsigned who)
{
	struct writer *w = &sh->w[who];
	struct err err = ERR_NONE;
	struct store st;
	struct tune tn;

	must(store_open(path, &st, &rig_err));
	must(tune_open(&st, "demo", &tn, &rig_err));
	while (w->next < rows) {
		unsigned row =
			w->next++; /* a row that was in flight when we died is not tried again */
		char line[100];
		int n = snprintf(
			line, sizeof(line), "{\"input\":\"%u %u\",\"output\":\"X\"}", who, row);

		if (captures_append(&tn, line, (size_t)n, &err) < 0) {
			fprintf(stderr, "append: %s\n", err.text);
			_exit(1);
		}
		sh->acked[(size_t)who * rows + row] = 1;
	}
	_exit(0);
}

static pid_t start(const char *path, struct shared *sh, unsigned who)
{
	pid_t pid = fork();

	if (pid == 0)
		write_rows(path, sh, who);
	return pid;
}

struct tally {
	unsigned char *seen;
	unsigned writers, twice, foreign;
};

static int count_row(void *arg, const struct capture_row *row, struct err *err)
{
	struct tally *t = arg;
	unsigned who, n;

	(void)err;
	if (sscanf(row->input.text, "\"%u %u\"", &who, &n) != 2 || who >= t->writers || n >= rows)
		t->foreign++;
	else if (t->seen[(size_t)who * rows + n]++ != 0)
		t->twice++;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned writers, left, kills = 0, lost = 0, acked = 0, failed = 0;
	static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	struct capture_counts counts;
	struct shared *sh;
	struct tally t;
	struct store st;
	struct tune tn;

	if (argc != 6)
		return 2;
	writers = (unsigned)strtoul(argv[3], NULL, 10);
	rows = (unsigned)strtoul(argv[4], NULL, 10);
	srandom((unsigned)strtoul(argv[5], NULL, 10));
	if (writers == 0 || writers > 256 || rows > ROWS_MAX)
		return 2;
	rig_make(argv[1], argv[2]);
	sh = mmap(NULL, sizeof(*sh) + (size_t)writers * rows, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 3;
	for (unsigned i = 0; i < writers; i++)
		sh->w[i].pid = start(argv[1], sh, i);
	for (left = writers; left > 0;) {
		unsigned victim = (unsigned)random() % writers;
		int status;
		pid_t pid;

		nanosleep(&pause, NULL);
		if (sh->w[victim].pid > 0 && kill(sh->w[victim].pid, SIGKILL) == 0)
			kills++;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			for (unsigned i = 0; i < writers; i++) {
				if (sh->w[i].pid != pid)
					continue;
				failed += WIFEXITED(status) && WEXITSTATUS(status) != 0;
				sh->w[i].pid = 0;
				if (WIFSIGNALED(status))
					sh->w[i].pid = start(argv[1], sh, i);
				else
					left--;
			}
	}
	t = (struct tally){.seen = calloc((size_t)writers, rows), .writers = writers};
	must(store_open(argv[1], &st, &rig_err));
	must(tune_open(&st, "demo", &tn, &rig_err));
	must(captures_scan(
		captures_open(&tn, &rig_err), UINT64_MAX, count_row, &t, &counts, &rig_err));
	for (size_t i = 0; i < (size_t)writers * rows; i++) {
		acked += sh->acked[i];
		lost += sh->acked[i] && t.seen[i] == 0;
	}
	printf("%u rows acknowledged by %u processes, %u kills: %u lost, %u twice, %u glued, %u "
	       "torn\n",
		acked, writers, kills, lost, t.twice, (unsigned)counts.salvaged,
		(unsigned)(counts.torn + counts.broken));
	/* the three rows of the rig are foreign */
	return lost + t.twice + counts.salvaged + failed > 0 || t.foreign != 3 || acked == 0;
}
