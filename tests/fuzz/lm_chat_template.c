/* a chat template: parsed and run over a conversation */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct jinja_message message[] = {{"system", "Be brief. \xc3\xa9", 12},
		{"user", " <|im_end|>\n\"q\" ", 15}, {"assistant", "</think>A", 9}};
	struct err err = ERR_NONE;
	struct jinja *jn;

	if (jinja_parse((const char *)data, size, &jn, &err) < 0)
		return 0;
	for (size_t n = 1; n <= 3; n++) {
		const struct jinja_input in = {.message = message,
			.messages = n,
			.bos = "<s>",
			.eos = "</s>",
			.add_generation_prompt = n < 3};
		struct buf text = BUF_INIT, taint = BUF_INIT;

		if (jinja_render(jn, &in, &text, &taint, &err) == 0 && text.len != taint.len)
			abort();
		buf_release(&text);
		buf_release(&taint);
	}
	jinja_free(jn);
	return 0;
}
