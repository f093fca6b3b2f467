/* artifact_zip - any bytes as a .kolm file. What is accepted is accepted again, with the same
 * entries, when it is written anew. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "artifact/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct artifact *af = NULL, *again = NULL;
	struct pack_entry *list;
	struct buf zip = BUF_INIT;
	struct err err = ERR_NONE;

	if (artifact_unpack((const char *)data, size, &af, &err) < 0) {
		if (err.text[0] == '\0')
			abort();
		return 0;
	}
	list = calloc(af->n + 1, sizeof(*list));
	for (size_t i = 0; i < af->n; i++) {
		list[i].name = af->entries[i].face.name;
		buf_add(&list[i].data, af->entries[i].face.data, af->entries[i].face.len);
	}
	if (zip_write(list, af->n, 0, &zip, &err) < 0 ||
		artifact_unpack(zip.data, zip.len, &again, &err) < 0 || again->n != af->n)
		abort();
	for (size_t i = 0; i < af->n; i++) {
		if (strcmp(af->entries[i].sha256, again->entries[i].sha256) != 0)
			abort();
		buf_release(&list[i].data);
	}
	free(list);
	buf_release(&zip);
	artifact_free(af);
	artifact_free(again);
	return 0;
}
