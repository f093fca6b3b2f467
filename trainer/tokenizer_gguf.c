/*
 * tokenizer_gguf - a tokenizer from the tokenizer.ggml.* keys of a GGUF file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/split.h"
#include "trainer/vocab.h"

static int read_tokens(
	struct tokenizer *tk, const struct gguf *g, struct gguf_array texts, struct err *err)
{
	struct gguf_array kinds, scores;
	bool has_kinds = gguf_array(g, "tokenizer.ggml.token_type", &kinds),
	     has_scores = gguf_array(g, "tokenizer.ggml.scores", &scores);

	if ((has_kinds && (kinds.n != texts.n || kinds.type == GGUF_STRING)) ||
		(has_scores && (scores.n != texts.n || scores.type == GGUF_STRING)))
		return err_set(err, EBADMSG,
			"tokenizer: as many token types and scores are needed as tokens");
	if (tk->kind == TOKENIZER_SCORES && !has_scores)
		return err_set(
			err, EBADMSG, "tokenizer: GGUF has no key \"tokenizer.ggml.scores\"");
	for (int i = 0; i < tk->n; i++) {
		const char *text;
		size_t len;
		double kind = has_kinds ? gguf_next_real(&kinds) : TOKEN_NORMAL;
		double score = has_scores ? gguf_next_real(&scores) : 0;
		int rc;

		gguf_next_text(&texts, &text, &len);
		if (!(kind >= TOKEN_NORMAL && kind <= TOKEN_BYTE))
			kind = TOKEN_NORMAL;
		rc = vocab_set(tk, i, text, len, (int)kind, (float)score, err);
		if (rc < 0)
			return rc;
	}
	return vocab_index(tk, err);
}

static int read_merges(struct tokenizer *tk, const struct gguf *g, struct err *err)
{
	struct gguf_array merges;
	int rc;

	if (!gguf_array(g, "tokenizer.ggml.merges", &merges) || merges.type != GGUF_STRING ||
		merges.n > TOKENIZER_MAX)
		return err_set(
			err, EBADMSG, "tokenizer: GGUF has no list \"tokenizer.ggml.merges\"");
	rc = vocab_merges(tk, (size_t)merges.n, err);
	for (uint32_t i = 0, n = (uint32_t)merges.n; i < n && rc == 0; i++) {
		const char *text, *blank;
		size_t len;

		gguf_next_text(&merges, &text, &len);
		blank = len > 1 ? memchr(text + 1, ' ', len - 1) : NULL;
		if (!blank)
			return err_set(err, EBADMSG, "tokenizer: merge %u is not two tokens", i);
		rc = vocab_merge(tk, text, (size_t)(blank - text), blank + 1,
			(size_t)(text + len - blank - 1), i, err);
	}
	return rc;
}

static int read_split(struct tokenizer *tk, const struct gguf *g, struct err *err)
{
	struct split_preset preset;
	const char *name = "default";
	size_t len = strlen(name);
	int rc;

	gguf_text(g, "tokenizer.ggml.pre", &name, &len);
	tk->split = calloc(SPLIT_PRESET_MAX, sizeof(tk->split[0]));
	if (!tk->split)
		return err_nomem(err);
	rc = split_named(name, len, tk->split, &tk->splits, &preset, err);
	if (rc < 0)
		return rc;
	tk->whole_first = preset.whole_first;
	tk->adds_bos = preset.adds_bos;
	return preset.nfc ? normal_add(&tk->normal, NORMAL_NFC, NULL, NULL, err) : 0;
}

static int read_id(const struct tokenizer *tk, const struct gguf *g, const char *key, int *out,
	struct err *err)
{
	int64_t id;

	if (!gguf_int(g, key, &id))
		return 0;
	if (id < 0 || id >= tk->n)
		return err_set(err, EBADMSG, "tokenizer: \"%s\" is %lld of %d tokens", key,
			(long long)id, tk->n);
	*out = (int)id;
	return 0;
}

static int read_all(
	struct tokenizer *tk, const struct gguf *g, struct gguf_array texts, struct err *err)
{
	bool flag = true;
	int rc = read_tokens(tk, g, texts, err);

	if (rc == 0 && tk->kind == TOKENIZER_BYTES) {
		rc = read_merges(tk, g, err);
		if (rc == 0)
			rc = read_split(tk, g, err);
	} else if (rc == 0) {
		tk->spell_blanks = tk->fuse_unknown = tk->adds_bos = true;
		gguf_bool(g, "tokenizer.ggml.add_space_prefix", &flag);
		if (flag)
			rc = normal_add(&tk->normal, NORMAL_PREPEND, NULL, "\xe2\x96\x81", err);
		if (rc == 0)
			rc = normal_add(&tk->normal, NORMAL_REPLACE, " ", "\xe2\x96\x81", err);
	}
	if (rc == 0)
		rc = read_id(tk, g, "tokenizer.ggml.bos_token_id", &tk->bos, err);
	if (rc == 0)
		rc = read_id(tk, g, "tokenizer.ggml.eos_token_id", &tk->eos, err);
	if (rc == 0)
		rc = read_id(tk, g, "tokenizer.ggml.unknown_token_id", &tk->unknown, err);
	if (rc < 0)
		return rc;
	if (gguf_bool(g, "tokenizer.ggml.add_bos_token", &flag))
		tk->adds_bos = flag;
	return 0;
}

int tokenizer_from_gguf(const struct gguf *g, struct tokenizer **out, struct err *err)
{
	struct gguf_array texts;
	struct tokenizer *tk;
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *kind;
	size_t len;
	bool bytes;
	int rc;

	if (!gguf_text(g, "tokenizer.ggml.model", &kind, &len) ||
		!gguf_array(g, "tokenizer.ggml.tokens", &texts) || texts.type != GGUF_STRING ||
		texts.n < 1 || texts.n > TOKENIZER_MAX)
		return err_set(err, EBADMSG,
			"tokenizer: GGUF has no keys \"tokenizer.ggml.model\" and "
			"\"tokenizer.ggml.tokens\"");
	bytes = len == 4 && memcmp(kind, "gpt2", 4) == 0;
	if (!bytes && (len != 5 || memcmp(kind, "llama", 5)))
		return err_set(err, EOPNOTSUPP,
			"tokenizer: kind \"%s\" is not known (gpt2, llama are)",
			err_quote(quoted, kind, len));
	tk = vocab_new((int)texts.n);
	if (!tk)
		return err_nomem(err);
	tk->kind = bytes ? TOKENIZER_BYTES : TOKENIZER_SCORES;
	rc = read_all(tk, g, texts, err);
	if (rc < 0) {
		tokenizer_free(tk);
		return rc;
	}
	*out = tk;
	return 0;
}
