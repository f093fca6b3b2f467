/* artifact_signature - signature.sig of an artifact as a stranger wrote it. */
#include "artifact_pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pieces_check("signature.sig", data, size);
	return 0;
}
