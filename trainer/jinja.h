/*
 * jinja - the part of the Jinja language that chat templates are written in: for, if, set, macro,
 * namespace, filters, tests, slices, the loop variable; blanks around blocks as Hugging Face sets
 * them (trim_blocks, lstrip_blocks).
 *
 * Untrusted templates: memory, steps and depth are bounded. Every byte that comes out is known to
 * be the template's own or a value's ("taint"), so that no value can pass for a control token.
 */
#ifndef KOLM_JINJA_H
#define KOLM_JINJA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct jinja; /* a parsed template; opaque */

/* jinja_parse(text, len, out, err): -EOPNOTSUPP "chat template line N: ..." for what is not in the
 * subset, -EBADMSG for what is not Jinja. */
int jinja_parse(const char *text, size_t len, struct jinja **out, struct err *err);
void jinja_free(struct jinja *jn);

struct jinja_message {
	const char *role;
	const char *text;
	size_t len;
};

struct jinja_input {
	const struct jinja_message *message;
	size_t messages;
	const char *bos, *eos; /* "" when there is none */
	bool add_generation_prompt;
};

/*
 * jinja_render(jn, in, text, taint, err): the template's text appended to ${text}, and for each of
 * its bytes one to ${taint}: 1 when it came from a message's text. Templates see messages,
 * bos_token, eos_token, add_generation_prompt, enable_thinking (false), strftime_now (pinned), and,
 * as transformers has it where a caller gives none, tools and documents (none).
 * -EDOM with the template's own words when it raises, -EOPNOTSUPP, -E2BIG too much work.
 */
int jinja_render(const struct jinja *jn, const struct jinja_input *in, struct buf *text,
	struct buf *taint, struct err *err);

#endif
