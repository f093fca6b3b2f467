/*
 * vocab - the inside of a tokenizer: tokens, their texts, merges; shared by its loaders and
 * encoders.
 */
#ifndef KOLM_VOCAB_H
#define KOLM_VOCAB_H

#include <stdint.h>

#include "trainer/added.h"
#include "trainer/normal.h"
#include "trainer/tokenizer_load.h"

/* GGUF's numbers */
enum token_kind {
	TOKEN_NORMAL = 1,
	TOKEN_UNKNOWN,
	TOKEN_CONTROL,
	TOKEN_USER,
	TOKEN_UNUSED,
	TOKEN_BYTE
};

enum tokenizer_kind {
	TOKENIZER_BYTES, /* BPE over bytes, merges by rank; token texts are stored as the bytes they
			    stand for */
	TOKENIZER_CHARS, /* BPE over characters, merges by rank, bytes as <0xXX> */
	TOKENIZER_SCORES, /* SentencePiece: any two neighbours whose text is a token, by score;
			     bytes as <0xXX> */
};

enum { TOKENIZER_MAX = 1 << 22 };

struct token {
	uint32_t at; /* in ${text} */
	uint32_t len;
	float score;
	uint8_t kind;
	uint8_t flags; /* enum added_flags */
};

struct merge {
	uint64_t pair; /* left id << 32 | right id, UINT64_MAX: free slot */
	uint32_t rank;
	int id;
};

struct split; /* one step of the pre-tokenizer, see split.h */

struct tokenizer {
	enum tokenizer_kind kind;
	struct token *token; /* owned, ${n} of them; len 0 and kind 0: an id without a token */
	int n;
	struct buf text;
	uint32_t *map; /* text -> id + 1 of normal tokens, open addressing, ${map_size} a power of
			  two */
	size_t map_size;
	struct merge *merge; /* open addressing */
	size_t merge_size;
	struct added_set added;	     /* all control and user tokens */
	struct added_set raw;	     /* those looked for in text as it comes */
	struct added_set normalized; /* those looked for behind the normaliser */
	int byte_id[256];	     /* -1: none */
	struct split *split;
	int splits;
	int bos, eos, unknown; /* -1: none */
	bool adds_bos;
	bool whole_first; /* a pre-token that is a token is not merged up (ignore_merges) */
	struct normal normal;
	bool prefix_space; /* TOKENIZER_BYTES: before every stretch of text without one */
	bool mark_space;   /* the other kinds cut text at blanks, which become U+2581 */
	bool mark_first;   /* one stands before the very first stretch of text, */
	bool mark_always;  /* or before every one */
	bool mark_words;   /* cut before every U+2581 */
	bool no_bytes;	   /* <0xXX> are tokens like any other */
	bool fuse_unknown; /* characters in a row without a token are one */
	bool spell_blanks; /* U+2581 is a blank in the text of tokens */
};

struct tokenizer *vocab_new(int n);

/* vocab_set(tk, id, text, len, kind, score): give ${id} its text, decoded from the byte alphabet
 * for TOKENIZER_BYTES. Once an id. */
int vocab_set(struct tokenizer *tk, int id, const char *text, size_t len, int kind, float score,
	struct err *err);

/* vocab_index(tk): build the maps when all tokens and the normaliser are set. vocab_merges(tk, n):
 * room for ${n} merges; vocab_merge(): add one, of texts in the file's spelling. */
int vocab_index(struct tokenizer *tk, struct err *err);
int vocab_merges(struct tokenizer *tk, size_t n, struct err *err);
int vocab_merge(struct tokenizer *tk, const char *left, size_t llen, const char *right, size_t rlen,
	uint32_t rank, struct err *err);

/* vocab_find(tk, text, len): id of a normal token, -1 none; vocab_find_merge(): NULL none */
int vocab_find(const struct tokenizer *tk, const char *text, size_t len);
const struct merge *vocab_find_merge(const struct tokenizer *tk, int left, int right);

/* bpe_piece(tk, text, len, list): merge one pre-token up and add its ids. -ENOMEM. */
int bpe_piece(const struct tokenizer *tk, const char *text, size_t len, struct ids *list);

/* spm_text(tk, text, len, at_start, list): a stretch of text of the two character kinds, cut by
 * everything but blanks. */
int spm_text(
	const struct tokenizer *tk, const char *text, size_t len, bool at_start, struct ids *list);

#endif
