/*
 * temporary - which names are ours to take away when the process they tell of is gone. People keep
 * files of their own beside ours, and name artifacts as they like: a name is temporary only when it
 * ends as one we write, whatever stands before.
 */
#include "store/private.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* behind the last ".tmp." or ".removed." of a name; NULL: it has none, or nothing before it */
static const char *behind_mark(const char *name)
{
	static const char *const marks[] = {".tmp.", ".removed."};
	const char *found = NULL;

	for (size_t i = 0; i < 2; i++)
		for (const char *p = name; (p = strstr(p, marks[i])) != NULL; p++)
			if (p > name + 1 && (found == NULL || p + strlen(marks[i]) > found))
				found = p + strlen(marks[i]);
	return found;
}

/* ".N", ".probe.kolm" (compile), ".xxxxxxxx.pem" (a signing key) */
static bool end_is_ours(const char *p)
{
	size_t digits = p[0] == '.' ? strspn(p + 1, "0123456789") : 0;
	size_t hex = p[0] == '.' ? strspn(p + 1, "0123456789abcdef") : 0;

	return p[0] == '\0' || (digits > 0 && p[1 + digits] == '\0') ||
	       strcmp(p, ".probe.kolm") == 0 || (hex == 8 && strcmp(p + 9, ".pem") == 0);
}

pid_t name_owner(const char *name)
{
	const char *pid = name[0] == '.' ? behind_mark(name) : NULL;
	size_t digits = pid != NULL ? strspn(pid, "0123456789") : 0;
	int64_t x;

	return digits > 0 && end_is_ours(pid + digits) &&
			       num_whole(pid, digits, 1, INT32_MAX, &x) == 0
		       ? (pid_t)x
		       : 0;
}

/* of gc: ".vN.removed" */
static bool is_collected(const char *name)
{
	size_t n = strcspn(name[0] == '.' ? name + 1 : "", ".");

	return n > 0 && strcmp(name + 1 + n, ".removed") == 0 && rev_check(name + 1, n, NULL) == 0;
}

bool name_is_temporary(const char *name)
{
	return name_owner(name) != 0 || is_collected(name);
}
