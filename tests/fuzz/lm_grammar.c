/*
 * lm_grammar - patterns and schemas from recipes as automata. The first byte says which. What is
 * accepted is walked to an end: the text found must be one the automaton holds, of a schema JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "trainer/constrain_dfa.h"

enum { WALK_BYTES = 4096 };

static void walk(struct dfa *d, bool is_json, const uint8_t *data, size_t size)
{
	static char text[2 * WALK_BYTES];
	size_t n = 0;
	int state = 0;

	/* the input's bytes as far as they lead, then home */
	for (size_t i = 0; i < size && n < 256; i++) {
		int to = dfa_step(d, state, data[i]);

		if (to < 0)
			continue;
		text[n++] = (char)data[i];
		state = to;
	}
	while (!d->failed && d->state[state].dist > 0 && n < sizeof(text)) {
		int dist = d->state[state].dist;

		text[n] = (char)dfa_toward_end(d, state);
		state = dfa_step(d, state, (unsigned char)text[n++]);
		if (d->failed)
			return;
		if (state < 0 || d->state[state].dist != dist - 1)
			abort();
	}
	if (!d->failed && d->state[state].dist == 0 && is_json && json_check(text, n, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct err err = ERR_NONE;
	struct nfa f;
	struct dfa d;
	bool is_json = size > 0 && data[0] == '{';
	int rc;

	if (size < 2 || size > 65536)
		return 0;
	if (is_json) {
		text--;
		size++;
	}
	size--;
	if (is_json ? json_check(text, size, NULL) < 0 : utf8_check(text, size) != size)
		return 0;
	nfa_init(&f);
	rc = is_json ? nfa_schema(&f, (struct json_slice){text, size}, &err)
		     : nfa_regex(&f, f.start, text, size, data[0] == '"', data[0] == '?', f.accept,
			       &err);
	if (rc == 0)
		rc = nfa_finish(&f, &err);
	if (rc == 0 && dfa_init(&d, &f, &err) == 0) {
		walk(&d, is_json, data, size);
		dfa_release(&d);
	} else if (!err.text[0]) {
		abort(); /* a refusal has a sentence */
	}
	nfa_release(&f);
	return 0;
}
