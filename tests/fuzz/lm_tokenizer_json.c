/* a tokenizer.json, and behind a zero byte a text for it */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/tokenizer_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *zero = memchr(text, 0, size);
	size_t len = zero ? (size_t)(zero - text) : size, rest = zero ? size - len - 1 : 0;
	struct err err = ERR_NONE;
	struct tokenizer *tk;
	struct buf out = BUF_INIT;
	static int ids[4096];
	int n;

	if (tokenizer_from_json(text, len, &tk, &err) < 0)
		return 0;
	for (int special = 0; special < 2; special++) {
		n = tokenizer_encode(
			tk, rest ? zero + 1 : "a <s> b", rest ? rest : 7, special, ids, 4096, &err);
		if (n > 0)
			tokenizer_decode(tk, ids, (size_t)n, &out);
	}
	for (int i = 0; i < n; i++)
		if (ids[i] < 0 || ids[i] >= tokenizer_size(tk))
			abort();
	buf_release(&out);
	tokenizer_free(tk);
	return 0;
}
