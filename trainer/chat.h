/*
 * chat - one renderer for training and serving: a user turn (and a system turn) in the base's own
 * chat template.
 *
 * Named built-in templates recognised from the model's own text: "smollm2", "qwen2.5", "chatml",
 * "llama3", "mistral", "gemma", "zephyr". A base without a template gets "plain"; a template that
 * is none of these is refused with -EOPNOTSUPP. Dates are pinned.
 */
#ifndef KOLM_CHAT_H
#define KOLM_CHAT_H

#include "base/buf.h"
#include "base/err.h"

struct chat;
struct tokenizer;

/* chat_from_template(jinja, tk, out, err): ${jinja} NULL when the base has none. */
int chat_from_template(
	const char *jinja, const struct tokenizer *tk, struct chat **out, struct err *err);
const char *chat_name(const struct chat *ch);

/* chat_prompt(ch, tk, system, user, len, ids, n, err): token ids of the prompt up to where the
 * answer begins; ids is malloc'ed, owned by the caller. */
int chat_prompt(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, int **ids, size_t *n, struct err *err);

/* chat_end(ch): the id that ends an answer (end of turn): supervised in training, ends generation.
 * chat_is_end(): this or any other end token. */
int chat_end(const struct chat *ch);
int chat_is_end(const struct chat *ch, int id);
void chat_free(struct chat *ch);

#endif
