/* artifact_manifest - manifest.json of an artifact as a stranger wrote it. */
#include "artifact_pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pieces_check("manifest.json", data, size);
	return 0;
}
