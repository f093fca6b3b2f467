/*
 * tokenizer - text to token ids and back, from GGUF metadata or tokenizer.json.
 *
 * Byte-level BPE (GPT-2 family; the pre-tokenizer pattern run by PCRE2) and SentencePiece-BPE with
 * byte fallback. Ids equal the reference tokenizers'.
 */
#ifndef KOLM_TOKENIZER_H
#define KOLM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct tokenizer;

/* tokenizer_encode(tk, text, len, special, out, cap, err): number of ids (may exceed ${cap}: then
 * -EMSGSIZE). ${special}: added tokens such as
 * <|im_start|> in the text become their ids; otherwise control tokens are ordinary text, and only
 * what a tokenizer adds for words of its own (runs of blanks, <think>) is found. No BOS is added.
 */
int tokenizer_encode(const struct tokenizer *tk, const char *text, size_t len, bool special,
	int *out, size_t cap, struct err *err);

/* tokenizer_decode(tk, ids, n, out): bytes appended; control tokens give nothing. */
int tokenizer_decode(const struct tokenizer *tk, const int *ids, size_t n, struct buf *out);

int tokenizer_bos(const struct tokenizer *tk); /* -1: none */
int tokenizer_eos(const struct tokenizer *tk);
bool tokenizer_adds_bos(const struct tokenizer *tk);
/* tokenizer_find(tk, text): id of a token's exact text, -1 none. */
int tokenizer_find(const struct tokenizer *tk, const char *text);
void tokenizer_free(struct tokenizer *tk);

#endif
