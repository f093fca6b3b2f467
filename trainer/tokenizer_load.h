/*
 * tokenizer_load - making a tokenizer. Private to the model readers, chat.c and the tokenizer's own
 * files.
 */
#ifndef KOLM_TOKENIZER_LOAD_H
#define KOLM_TOKENIZER_LOAD_H

#include "trainer/gguf.h"
#include "trainer/tokenizer.h"

/* a growing list of token ids, owned by whoever declares it */
struct ids {
	int *id;
	size_t n;
	size_t cap;
};

int ids_add(struct ids *list, int id);
void ids_release(struct ids *list);

/* tokenizer_append(tk, text, len, special, at_start, list, err): tokenizer_encode() into a list;
 * ${at_start}: nothing stands before the text. */
int tokenizer_append(const struct tokenizer *tk, const char *text, size_t len, bool special,
	bool at_start, struct ids *list, struct err *err);

/* tokenizer_added(tk, text, len, bytes): the longest added token ${text} begins with and its
 * length, -1 none; len > 0. */
int tokenizer_added(const struct tokenizer *tk, const char *text, size_t len, size_t *bytes);

/* tokenizer_text(tk, id, out): a token's own text appended, control tokens too; nothing for -1. */
int tokenizer_text(const struct tokenizer *tk, int id, struct buf *out);

/* from the metadata of a GGUF file; from the text of a tokenizer.json. Nothing is borrowed.
 * -EBADMSG "tokenizer: ...", -EOPNOTSUPP a kind that is not read. */
int tokenizer_from_gguf(const struct gguf *g, struct tokenizer **out, struct err *err);
int tokenizer_from_json(const char *text, size_t len, struct tokenizer **out, struct err *err);

/* tokenizer_set_ends(tk, bos, eos): from tokenizer_config.json; NULL leaves what is there. */
void tokenizer_set_ends(struct tokenizer *tk, const char *bos, const char *eos);

/* tokenizer_reserve(tk, id): text that spells this added token is not it from now on, as if it were
 * a control token; it is decoded as before. False when ${id} is no added token or only blanks,
 * which many texts hold. */
bool tokenizer_reserve(struct tokenizer *tk, int id);

/* tokenizer_size(tk): one more than the highest id. */
int tokenizer_size(const struct tokenizer *tk);

#endif
