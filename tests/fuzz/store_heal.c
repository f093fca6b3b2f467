/* any bytes as captures.jsonl, and a row appended behind them: the row is found, whatever was there
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/replace.h"
#include "store/captures.h"
#include "store/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int last_row(void *arg, const struct capture_row *row, struct err *err)
{
	int *found = arg;

	(void)err;
	*found = row->input.len == 8 && memcmp(row->input.text, "\"behind\"", 8) == 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char row[] = "{\"input\":\"behind\",\"output\":1}";
	char path[] = "/dev/shm/kolm-heal-XXXXXX";
	struct capture_counts before, after;
	struct err err = ERR_NONE;
	int found = 0, fd, dir;

	if (mkdtemp(path) == NULL || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	fd = openat(dir, "captures.jsonl", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len ||
		captures_scan(fd, UINT64_MAX, NULL, NULL, &before, &err) < 0 ||
		append_line(dir, "captures.jsonl", row, sizeof(row) - 1, false, &err) < 0 ||
		captures_scan(fd, UINT64_MAX, last_row, &found, &after, &err) < 0)
		abort();
	if (!found || after.rows < before.rows + 1)
		abort();
	close(fd);
	close(dir);
	(void)dir_remove(AT_FDCWD, path, NULL);
	return 0;
}
