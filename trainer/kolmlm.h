/*
 * kolmlm - the public face of the language-model engine (libkolmlm): a base model, adapters on it,
 * generation and choice, and one training step. kolm-runner and kolm-trainer use nothing else of
 * this folder.
 *
 * Nothing here is thread-safe: one struct lm belongs to one thread; it has its own pool for the
 * work inside.
 */
#ifndef KOLM_LM_H
#define KOLM_LM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lm; /* a loaded base model with its pool, repacked weights and prompt snapshots; opaque */
struct lm_adapter; /* an adapter of one base; opaque */

struct lm_options {
	int threads;	    /* 0: as many as the machine lets this process use */
	const char *kernel; /* "auto", "avx2", "portable"; NULL is "auto" */
	bool headers_only; /* configuration and tokenizer only, for lm_adapter_init(): no repacking,
			      no pool */
};

/* lm_open(fd, opt, out, err): ${fd}: an open GGUF file or Hugging Face folder, borrowed for the
 * call. Errors as model_open(). */
int lm_open(int fd, const struct lm_options *opt, struct lm **out, struct err *err);
void lm_close(struct lm *lm);

const char *lm_arch(const struct lm *lm);
const char *lm_kernel(const struct lm *lm);   /* the kernel family in use */
const char *lm_template(const struct lm *lm); /* name of the chat template in use */
int lm_threads(const struct lm *lm);
uint64_t lm_params(const struct lm *lm);
/* lm_types(lm, out): {"F32":61,"Q4_1":210} appended as JSON, types by name. */
int lm_types(const struct lm *lm, struct buf *out);

/* lm_adapter_load(lm, dirfd, out, err): a PEFT folder; see lora_load(). Free before lm_close(). */
int lm_adapter_load(struct lm *lm, int dirfd, struct lm_adapter **out, struct err *err);
void lm_adapter_free(struct lm_adapter *ad);

struct lm_init {
	int rank;
	double alpha;
	double dropout;
	const char *targets; /* "q_proj,k_proj,v_proj,o_proj" */
	uint64_t seed;
};

/* lm_adapter_init(lm, init, fd, trainable, err): write a fresh adapter (B zero) as
 * adapter_model.safetensors to ${fd}. */
int lm_adapter_init(
	struct lm *lm, const struct lm_init *init, int fd, uint64_t *trainable, struct err *err);

enum lm_export_form {
	LM_EXPORT_ADAPTER, /* a GGUF adapter, as llama.cpp loads beside its base */
	LM_EXPORT_MERGED,  /* a GGUF of the base, the adapter folded in; adapted matrices F16 */
};
/* lm_export(lm, dirfd, form, fd, err): the PEFT folder ${dirfd} written to ${fd}; a base opened
 * with headers_only will do. -EOPNOTSUPP: merged needs a GGUF base in one file. */
int lm_export(struct lm *lm, int dirfd, enum lm_export_form form, int fd, struct err *err);

/* lm_use(lm, ad): the adapter for the calls that follow; NULL: the base alone. Snapshots are kept
 * per adapter. */
void lm_use(struct lm *lm, struct lm_adapter *ad);

struct lm_grammar; /* what an answer may be, for one struct lm; opaque */

enum lm_grammar_kind {
	LM_GRAMMAR_REGEX,   /* a pattern, as a JSON string: the whole answer */
	LM_GRAMMAR_SCHEMA,  /* a JSON schema: compact JSON, a blank allowed behind ':' and ',' */
	LM_GRAMMAR_CHOICES, /* an array of texts: one of them */
};

/*
 * lm_grammar(lm, kind, json, len, out, err): ${json} is checked JSON. -EINVAL names what is wrong
 * or cannot be expressed, -E2BIG what is too large. Free before lm_close(). A grammar remembers
 * what its answers needed: the second is faster. ${lm} NULL: one that only the two functions below
 * ask.
 */
int lm_grammar(struct lm *lm, enum lm_grammar_kind kind, const char *json, size_t len,
	struct lm_grammar **out, struct err *err);
void lm_grammar_free(struct lm_grammar *g);
/* lm_grammar_holds(g, text, len): ${text} is an answer it allows. */
bool lm_grammar_holds(struct lm_grammar *g, const char *text, size_t len);
/* lm_grammar_other(g, text, len, out): a short answer that is not ${text}; NULL: the shortest of
 * all. False when there is none (or no memory, or the grammar is too large to look). */
bool lm_grammar_other(struct lm_grammar *g, const char *text, size_t len, struct buf *out);

struct lm_generate {
	const char *system; /* NULL: as the template does without one */
	int max_tokens;	    /* 0: 256 */
	const char *const
		*stop; /* texts that end the answer (not included); NULL-terminated, may be NULL */
	double temperature;	    /* 0: greedy */
	uint64_t seed;		    /* for temperature > 0 */
	struct lm_grammar *grammar; /* NULL: any text. The answer is whole within max_tokens */
	int64_t deadline_ms; /* CLOCK_MONOTONIC milliseconds; 0 none. Past it: -ETIMEDOUT "model
				call stopped after ..." */
};

/*
 * lm_generate(lm, prompt, len, opt, out, err): ${prompt} is the user's turn in the base's chat
 * template; the answer (without end of turn) is appended to ${out} as UTF-8. -EMSGSIZE when the
 * prompt does not fit the context; -ERANGE when ${grammar} needs more tokens. Greedy output does
 * not depend on threads, snapshots or copy speculation.
 */
int lm_generate(struct lm *lm, const char *prompt, size_t len, const struct lm_generate *opt,
	struct buf *out, struct err *err);

struct lm_choice {
	const char *text;
	size_t len;
};

/*
 * lm_choose(lm, prompt, len, system, choices, n, deadline_ms, scores, best, err): the choice with
 * the highest likelihood as the whole answer: sum of log-likelihoods of its tokens, end of turn
 * included. ${scores}: n doubles, may be NULL. The first of equals wins.
 */
int lm_choose(struct lm *lm, const char *prompt, size_t len, const char *system,
	const struct lm_choice *choices, size_t n, int64_t deadline_ms, double *scores,
	size_t *best, struct err *err);

/* lm_logits(lm, tokens, n, out): logits (n x vocab) of every position through the serving path; for
 * tests. lm_tokenize(): of a text, special tokens recognised when ${special}. Returns the count, or
 * a negative errno. */
int lm_logits(struct lm *lm, const int *tokens, size_t n, float *out, struct err *err);
int lm_vocab(const struct lm *lm);
int lm_tokenize(struct lm *lm, const char *text, size_t len, bool special, int *out, size_t cap,
	struct err *err);

/*
 * lm_train_main(argc, argv, crew): the worker of PROTOCOLS section 1 (kolm-trainer is this
 * function): flags, environment, JSON lines on standard output, exit status. ${crew}: the processes
 * that share the work (crew.h), NULL for one alone. Only rank 0 speaks and writes; a crew talks
 * over sockets, so it does not close them to itself, as one alone does.
 */
struct crew;
int lm_train_main(int argc, char **argv, const struct crew *crew);

#endif
