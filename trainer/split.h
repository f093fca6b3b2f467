/*
 * split - pre-tokenizer steps: regular expressions that cut text into the pieces BPE may merge
 * inside.
 */
#ifndef KOLM_SPLIT_H
#define KOLM_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* a stretch of the text, in bytes */
struct span {
	size_t at;
	size_t len;
};

struct spans {
	struct span *span;
	size_t n;
	size_t cap;
};

/* what becomes of the pieces that match */
enum split_behavior {
	SPLIT_ISOLATED,
	SPLIT_REMOVED,
	SPLIT_WITH_PREVIOUS, /* joined to the piece before */
	SPLIT_WITH_NEXT,
	SPLIT_CONTIGUOUS /* neighbours joined, what matches and what lies between alike */
};

struct split {
	pcre2_code *code; /* owned */
	enum split_behavior behavior;
	bool invert; /* what lies between matches counts as the match */
};

/* split_compile(pattern, len, out, err): -EBADMSG a pattern PCRE2 does not take. Patterns mean what
 * they mean to the Rust tokenizers: UTF-8, Unicode classes. */
int split_compile(const char *pattern, size_t len, struct split *out, struct err *err);

/* split_run(split, n, text, len, out, err): all steps over valid UTF-8; spans in order, replacing
 * what is in ${out}. */
int split_run(const struct split *split, int n, const char *text, size_t len, struct spans *out,
	struct err *err);

/* split_named(name, len, out, n, err): the steps of tokenizer.ggml.pre; out[2] at least;
 * -EOPNOTSUPP an unknown name. */
struct split_preset {
	bool whole_first;
	bool nfc;
	bool adds_bos;
};
enum { SPLIT_PRESET_MAX = 4 };
int split_named(const char *name, size_t len, struct split out[SPLIT_PRESET_MAX], int *n,
	struct split_preset *preset, struct err *err);

int spans_add(struct spans *list, size_t at, size_t len);

/* the pattern of GPT-2, which ByteLevel means by use_regex */
extern const char split_gpt2[];

#endif
