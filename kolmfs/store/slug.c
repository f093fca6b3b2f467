/* slug - the names of tune folders and of revisions (FORMATS sections 3 and 5). */
#include "store/private.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/num.h"

static bool is_name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

bool name_is_plain(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(name[i]))
			return false;
	return len > 0 && name[0] != '-';
}

int slug_check(const char *name, size_t len, struct err *err)
{
	/* what stands beside the slugs in the root of the mount */
	static const char *const taken[] = {
		"README", "version", "ctl", "error", "status", "logs", "rag", "tune"};
	char quoted[ERR_QUOTE_BYTES + 8];

	if (len > SLUG_BYTES)
		return err_set(err, ENAMETOOLONG, "name longer than %d: \"%s\"", SLUG_BYTES,
			err_quote(quoted, name, len));
	if (!name_is_plain(name, len))
		return err_set(err, EINVAL,
			"bad name \"%s\": letters, digits, _ and -, not - first",
			err_quote(quoted, name, len));
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (len == strlen(taken[i]) && memcmp(name, taken[i], len) == 0)
			return err_set(err, EINVAL,
				"bad name \"%s\": the root has a file of that name; choose another "
				"with slug=",
				taken[i]);
	return 0;
}

int slug_of_path(const char *path, char out[SLUG_BYTES + 1], struct err *err)
{
	size_t end = strlen(path), from, n = 0;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (from = end; from > 0 && path[from - 1] != '/';)
		from--;
	if (end - from >= 5 && memcmp(path + end - 5, ".kolm", 5) == 0)
		end -= 5;
	for (size_t i = from; i < end && n < SLUG_BYTES;) {
		unsigned char c = (unsigned char)path[i];
		size_t bytes = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if (bytes > end - i || utf8_check(path + i, bytes) != bytes)
			bytes = 1;
		out[n++] = is_name_char(path[i]) ? path[i] : '_';
		if (bytes == 4 && n < SLUG_BYTES) /* two UTF-16 units */
			out[n++] = '_';
		i += bytes;
	}
	out[n] = '\0';
	return slug_check(out, n, err);
}

int rev_check(const char *text, size_t len, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	int64_t n;

	if (len < 2 || len > 10 || text[0] != 'v' ||
		num_whole(text + 1, len - 1, 0, 999999999, &n) < 0 || (text[1] == '0' && len > 2))
		return err_set(err, EINVAL, "bad revision \"%s\": v and a number, such as v3",
			err_quote(quoted, text, len));
	return 0;
}

long rev_number(const char *rev)
{
	int64_t n = -1;

	if (rev_check(rev, strlen(rev), NULL) < 0 ||
		num_whole(rev + 1, strlen(rev) - 1, 0, 999999999, &n) < 0)
		return -1;
	return (long)n;
}
