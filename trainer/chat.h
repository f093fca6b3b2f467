/*
 * chat - one renderer for training and serving: a user turn (and a system turn) in the base's own
 * chat template.
 *
 * The model's own template is run (jinja.h). One that needs more of Jinja than the subset falls to
 * a named built-in recognised from its text: "smollm2", "qwen2.5", "qwen3", "qwen2", "chatml",
 * "llama3", "mistral", "gemma", "zephyr"; what is none of these is refused with -EOPNOTSUPP. A base
 * without a template gets "plain". Dates are pinned. What stands in messages never becomes a
 * control token, nor one of those that part the turns.
 */
#ifndef KOLM_CHAT_H
#define KOLM_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct chat;
struct tokenizer;

/* chat_from_template(jinja, tk, out, err): ${jinja} NULL when the base has none. ${tk} learns which
 * tokens part the turns. */
int chat_from_template(const char *jinja, struct tokenizer *tk, struct chat **out, struct err *err);

/* chat_part_turns(ch, tk, err): the last part of that. -ENOMEM. */
int chat_part_turns(const struct chat *ch, struct tokenizer *tk, struct err *err);

/* chat_name(ch): "own" when the model's own template is run, else the built-in's. */
const char *chat_name(const struct chat *ch);

/* chat_prompt(ch, tk, system, user, len, ids, n, err): token ids of the prompt up to where the
 * answer begins; ids is malloc'ed, owned by the caller. */
int chat_prompt(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, int **ids, size_t *n, struct err *err);

/* a conversation as it is trained: the prompt as it is served, the answer, its end */
struct chat_row {
	int *ids; /* malloc'ed, owned by the caller */
	size_t n;
	size_t answer; /* where it begins */
	bool apart; /* the template renders the whole conversation to other tokens than these: not
		       what other trainers would have learned from */
};

int chat_row(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, const char *answer, size_t answer_len, struct chat_row *out,
	struct err *err);

/* chat_end(ch): the id that ends an answer (end of turn): supervised in training, ends generation.
 * chat_is_end(): this or any other end token. */
int chat_end(const struct chat *ch);
int chat_is_end(const struct chat *ch, int id);
void chat_free(struct chat *ch);

#endif
