/* artifact_compare - two JSON texts, split at a zero byte, under a comparator named by the first
 * byte. Whatever a value is, it passes where it is expected. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "artifact/artifact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"exact", "json_subset", "normalized_string", "label", "unknown"};
	const char *name, *text = (const char *)data + 1, *split;
	struct json_slice a, b;

	if (size < 2)
		return 0;
	name = names[data[0] % 5];
	split = memchr(text, '\0', size - 1);
	if (split == NULL)
		return 0;
	a = (struct json_slice){text, (size_t)(split - text)};
	b = (struct json_slice){split + 1, size - 2 - a.len};
	if (json_check(a.text, a.len, NULL) < 0 || json_check(b.text, b.len, NULL) < 0)
		return 0;
	/* as they come from documents: without blanks around */
	while (strchr(" \t\r\n", a.text[0]) != NULL)
		a = (struct json_slice){a.text + 1, a.len - 1};
	while (strchr(" \t\r\n", b.text[0]) != NULL)
		b = (struct json_slice){b.text + 1, b.len - 1};
	(void)comparator_match(name, a, b);
	(void)comparator_match(name, (struct json_slice){NULL, 0}, b);
	if (!comparator_match(name, a, a) || !comparator_match(name, b, b))
		abort();
	return 0;
}
