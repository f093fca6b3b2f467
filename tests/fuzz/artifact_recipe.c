/* artifact_recipe - recipes.json of a stranger, and the source guard over any text. */
#include "artifact_pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_NONE;
	char *text = malloc(size + 1);

	memcpy(text, data, size); /* exact size: a sanitizer sees the first byte read behind it */
	if (source_guard(text, size, &err) < 0 && err.text[0] == '\0')
		abort();
	free(text);
	pieces_check("recipes.json", data, size);
	return 0;
}
