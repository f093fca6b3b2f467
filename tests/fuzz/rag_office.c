#include "tests/fuzz/rag_extract.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* archives of XML, and what pdftotext says; the first byte chooses */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const char *const names[] = {"a.docx", "a.odt", "a.epub", "a.pdf"};

	return size == 0 ? 0 : extract_any(names[data[0] % 4], data + 1, size - 1);
}
