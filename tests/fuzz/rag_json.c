#include "tests/fuzz/rag_extract.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	return extract_any("a.json", data, size);
}
