/* any bytes as jobs.jsonl: replayed without a crash, a new number is above all it names, and
 * written anew it says the same */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/replace.h"
#include "store/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char path[] = "/dev/shm/kolm-journal-XXXXXX";
	struct job_record *list, *again, jr = {.verb = "step"};
	struct err err = ERR_NONE;
	long rev = -1, rev_again = -1;
	size_t n, m;
	int dir, fd;

	if (mkdtemp(path) == NULL || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	fd = openat(dir, "jobs.jsonl", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
	if (journal_load(dir, &list, &n, &err) < 0 || journal_rev_max(dir, &rev, &err) < 0 ||
		journal_compact(dir, &err) < 0 || journal_load(dir, &again, &m, &err) < 0 ||
		journal_rev_max(dir, &rev_again, &err) < 0)
		abort();
	if (n != m || rev != rev_again)
		abort();
	for (size_t i = 0; i < n; i++)
		if (list[i].id != again[i].id || list[i].state != again[i].state)
			abort();
	if (journal_new(dir, &jr, &err) < 0 || (n > 0 && jr.id <= list[n - 1].id))
		abort();
	free(list);
	free(again);
	close(dir);
	(void)dir_remove(AT_FDCWD, path, NULL);
	return 0;
}
