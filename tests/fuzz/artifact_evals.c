/* artifact_evals - evals.json of an artifact as a stranger wrote it. */
#include "artifact_pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pieces_check("evals.json", data, size);
	return 0;
}
