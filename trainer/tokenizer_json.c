/*
 * tokenizer_json - a tokenizer from the tokenizer.json of the Hugging Face tokenizers library: its
 * BPE model, with the normalizers and pre-tokenizers that language models use it with. What is not
 * known is refused by name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "trainer/split.h"
#include "trainer/vocab.h"

enum { SPLITS_MAX = 16 };

static int unknown(const char *what, const char *name, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	name = name ? name : "";
	return err_set(err, EOPNOTSUPP, "tokenizer: %s \"%s\" is not known", what,
		err_quote(quoted, name, strlen(name)));
}

static bool is(const char *name, const char *wanted)
{
	return name && strcmp(name, wanted) == 0;
}

static const cJSON *member(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int add_split(struct tokenizer *tk, const char *pattern, size_t len,
	enum split_behavior behavior, bool invert, struct err *err)
{
	int rc;

	if (tk->splits == SPLITS_MAX)
		return err_set(err, EBADMSG, "tokenizer: more than %d pre-tokenizers", SPLITS_MAX);
	if (tk->mark_space)
		return unknown("pre-tokenizer", "Split behind Metaspace", err);
	rc = split_compile(pattern, len, &tk->split[tk->splits], err);
	if (rc < 0)
		return rc;
	tk->split[tk->splits].behavior = behavior;
	tk->split[tk->splits++].invert = invert;
	return 0;
}

/* a text as a pattern that matches it and nothing else */
static int quote_pattern(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_addf(out, strchr("\\^$.[]|()?*+{}", *text) ? "\\%c" : "%c", *text);
	return out->failed ? -ENOMEM : 0;
}

/* {"pattern":{"Regex":"..."}|{"String":"..."},"behavior":"Isolated","invert":false} */
static int read_split(struct tokenizer *tk, const cJSON *node, struct err *err)
{
	static const char *const behaviors[] = {[SPLIT_ISOLATED] = "Isolated",
		[SPLIT_REMOVED] = "Removed",
		[SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
		[SPLIT_WITH_NEXT] = "MergedWithNext",
		[SPLIT_CONTIGUOUS] = "Contiguous"};
	const cJSON *pattern = member(node, "pattern");
	const char *regex = json_get_string(pattern, "Regex"),
		   *text = json_get_string(pattern, "String"),
		   *name = json_get_string(node, "behavior");
	unsigned behavior = 0;
	struct buf quoted = BUF_INIT;
	int rc;

	while (behavior <= SPLIT_CONTIGUOUS && !is(name, behaviors[behavior]))
		behavior++;
	if (behavior > SPLIT_CONTIGUOUS)
		return unknown("split behavior", name, err);
	if (!regex && !(text && *text))
		return err_set(err, EBADMSG, "tokenizer: a split without a pattern");
	if ((regex ? buf_puts(&quoted, regex) : quote_pattern(&quoted, text)) < 0)
		rc = err_nomem(err);
	else
		rc = add_split(tk, buf_str(&quoted), quoted.len, (enum split_behavior)behavior,
			json_get_bool(node, "invert", false), err);
	buf_release(&quoted);
	return rc;
}

static int read_metaspace(struct tokenizer *tk, const cJSON *node, struct err *err)
{
	const char *scheme = json_get_string(node, "prepend_scheme"),
		   *mark = json_get_string(node, "replacement");

	if (mark && strcmp(mark, "\xe2\x96\x81"))
		return unknown("metaspace", mark, err);
	tk->mark_space = tk->spell_blanks = true;
	tk->mark_always =
		scheme ? is(scheme, "always") : json_get_bool(node, "add_prefix_space", true);
	tk->mark_first = is(scheme, "first");
	tk->mark_words = json_get_bool(node, "split", true);
	return 0;
}

static int read_byte_level(struct tokenizer *tk, const cJSON *node, struct err *err)
{
	tk->kind = TOKENIZER_BYTES;
	if (json_get_bool(node, "add_prefix_space", true)) {
		if (tk->splits) /* it would stand before every piece */
			return unknown("pre-tokenizer",
				"ByteLevel with add_prefix_space behind another", err);
		tk->prefix_space = true;
	}
	if (!json_get_bool(node, "use_regex", true))
		return 0;
	return add_split(tk, split_gpt2, strlen(split_gpt2), SPLIT_ISOLATED, false, err);
}

static int read_pre(struct tokenizer *tk, const cJSON *node, int depth, struct err *err)
{
	const char *type = json_get_string(node, "type");
	bool single = json_get_bool(node, "individual_digits", false);
	const cJSON *item;
	int rc = 0;

	if (!node || cJSON_IsNull(node))
		return 0;
	if (tk->kind == TOKENIZER_BYTES) /* what follows would cut the alphabet of bytes */
		return unknown("pre-tokenizer behind ByteLevel", type, err);
	if (is(type, "Sequence") && depth < 4) {
		cJSON_ArrayForEach(item, member(node, "pretokenizers"))
		{
			rc = read_pre(tk, item, depth + 1, err);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (is(type, "Split"))
		return read_split(tk, node, err);
	if (is(type, "Digits"))
		return add_split(tk, single ? "\\p{N}" : "\\p{N}+", single ? 5 : 6, SPLIT_ISOLATED,
			false, err);
	if (is(type, "Metaspace"))
		return read_metaspace(tk, node, err);
	if (is(type, "ByteLevel"))
		return read_byte_level(tk, node, err);
	return unknown("pre-tokenizer", type, err);
}

static int read_normalizer(struct tokenizer *tk, const cJSON *node, int depth, struct err *err)
{
	static const char *const forms[] = {[NORMAL_NFC] = "NFC",
		[NORMAL_NFD] = "NFD",
		[NORMAL_NFKC] = "NFKC",
		[NORMAL_NFKD] = "NFKD"};
	const char *type = json_get_string(node, "type"), *text;
	const cJSON *item;

	if (!node || cJSON_IsNull(node))
		return 0;
	if (is(type, "Sequence") && depth < 4) {
		cJSON_ArrayForEach(item, member(node, "normalizers"))
		{
			int rc = read_normalizer(tk, item, depth + 1, err);

			if (rc < 0)
				return rc;
		}
		return 0;
	}
	for (unsigned i = 0; i <= NORMAL_NFKD; i++)
		if (is(type, forms[i]))
			return normal_add(&tk->normal, (enum normal_kind)i, NULL, NULL, err);
	if (is(type, "Prepend"))
		return normal_add(
			&tk->normal, NORMAL_PREPEND, NULL, json_get_string(node, "prepend"), err);
	text = json_get_string(member(node, "pattern"), "String");
	if (!is(type, "Replace") || !text)
		return unknown("normalizer", type, err);
	if (is(text, " ") && is(json_get_string(node, "content"), "\xe2\x96\x81"))
		tk->spell_blanks = true;
	return normal_add(&tk->normal, NORMAL_REPLACE, text, json_get_string(node, "content"), err);
}

/* the highest id of vocabulary and added tokens, plus one */
static int count_ids(const cJSON *vocab, const cJSON *added, int *out, struct err *err)
{
	const cJSON *item;
	double top = -1;

	cJSON_ArrayForEach(item, vocab)
	{
		if (!cJSON_IsNumber(item) ||
			!(item->valuedouble >= 0 && item->valuedouble < TOKENIZER_MAX))
			return err_set(err, EBADMSG,
				"tokenizer: a token's id is not a small whole number");
		if (item->valuedouble > top)
			top = item->valuedouble;
	}
	cJSON_ArrayForEach(item, added)
	{
		double id = json_get_number(item, "id", -1);

		if (!(id >= 0 && id < TOKENIZER_MAX) || !json_get_string(item, "content"))
			return err_set(err, EBADMSG,
				"tokenizer: an added token without a good id and content");
		if (id > top)
			top = id;
	}
	if (top < 0)
		return err_set(err, EBADMSG, "tokenizer: no tokens");
	*out = (int)top + 1;
	return 0;
}

static int read_vocab(struct tokenizer *tk, const cJSON *vocab, const cJSON *added, struct err *err)
{
	const cJSON *item;
	int rc = 0;

	cJSON_ArrayForEach(item, added)
	{
		int id = (int)json_get_number(item, "id", 0);
		const char *text = json_get_string(item, "content");

		if (tk->token[id].kind)
			return err_set(err, EBADMSG, "tokenizer: id %d is given twice", id);
		rc = vocab_set(tk, id, text, strlen(text),
			json_get_bool(item, "special", false) ? TOKEN_CONTROL : TOKEN_USER, 0, err);
		if (rc < 0)
			return rc;
		tk->token[id].flags =
			(uint8_t)((json_get_bool(item, "normalized", false) ? ADDED_NORMALIZED
									    : 0) |
				  (json_get_bool(item, "lstrip", false) ? ADDED_LSTRIP : 0) |
				  (json_get_bool(item, "rstrip", false) ? ADDED_RSTRIP : 0) |
				  (json_get_bool(item, "single_word", false) ? ADDED_WORD : 0));
	}
	cJSON_ArrayForEach(item, vocab)
	{
		int id = (int)item->valuedouble;

		if (tk->token[id].kind == TOKEN_CONTROL || tk->token[id].kind == TOKEN_USER)
			continue; /* added tokens stand in the vocabulary too */
		if (tk->token[id].kind)
			return err_set(err, EBADMSG, "tokenizer: id %d is given twice", id);
		rc = vocab_set(tk, id, item->string, strlen(item->string), TOKEN_NORMAL, 0, err);
		if (rc < 0)
			return rc;
	}
	return vocab_index(tk, err);
}

static int read_merges(struct tokenizer *tk, const cJSON *merges, struct err *err)
{
	const cJSON *item;
	uint32_t rank = 0;
	int n = cJSON_GetArraySize(merges), rc;

	if (!cJSON_IsArray(merges) || n > TOKENIZER_MAX)
		return err_set(err, EBADMSG, "tokenizer: no list of merges");
	rc = vocab_merges(tk, (size_t)n, err);
	for (item = merges->child; item && rc == 0; item = item->next, rank++) {
		const char *left = NULL, *right = NULL;
		size_t len = 0;

		if (cJSON_IsString(item)) { /* "a b" */
			left = item->valuestring;
			right = *left ? strchr(left + 1, ' ') : NULL;
			len = right ? (size_t)(right++ - left) : 0;
		} else if (cJSON_GetArraySize(item) == 2 && cJSON_IsString(item->child) &&
			   cJSON_IsString(item->child->next)) {
			left = item->child->valuestring;
			right = item->child->next->valuestring;
			len = strlen(left);
		}
		if (!right)
			return err_set(err, EBADMSG, "tokenizer: merge %u is not two tokens", rank);
		rc = vocab_merge(tk, left, len, right, strlen(right), rank, err);
	}
	return rc;
}

/* a template that begins with a special token adds BOS */
static void read_post(struct tokenizer *tk, const cJSON *node, int depth)
{
	const cJSON *item, *first;

	if (depth < 4)
		cJSON_ArrayForEach(item, member(node, "processors")) read_post(tk, item, depth + 1);
	if (!is(json_get_string(node, "type"), "TemplateProcessing"))
		return;
	first = cJSON_GetArrayItem(member(node, "single"), 0);
	first = member(first, "SpecialToken");
	if (json_get_string(first, "id")) {
		tk->adds_bos = true;
		tokenizer_set_ends(tk, json_get_string(first, "id"), NULL);
	}
}

static int read_all(struct tokenizer *tk, const cJSON *root, const cJSON *model, struct err *err)
{
	const char *prefix = json_get_string(model, "continuing_subword_prefix"),
		   *suffix = json_get_string(model, "end_of_word_suffix");
	const char *unk = json_get_string(model, "unk_token");
	int rc;

	tk->kind = TOKENIZER_CHARS;
	tk->split = calloc(SPLITS_MAX, sizeof(tk->split[0]));
	if (!tk->split)
		return err_nomem(err);
	tk->no_bytes = !json_get_bool(model, "byte_fallback", false);
	tk->fuse_unknown = json_get_bool(model, "fuse_unk", false);
	if ((prefix && *prefix) || (suffix && *suffix))
		return unknown("BPE with subword marks", prefix && *prefix ? prefix : suffix, err);
	rc = read_normalizer(tk, member(root, "normalizer"), 0, err);
	if (rc == 0)
		rc = read_pre(tk, member(root, "pre_tokenizer"), 0, err);
	if (rc == 0)
		rc = read_vocab(tk, member(model, "vocab"), member(root, "added_tokens"), err);
	if (rc == 0)
		rc = read_merges(tk, member(model, "merges"), err);
	if (rc < 0)
		return rc;
	tk->whole_first = json_get_bool(model, "ignore_merges", false);
	tk->unknown = unk ? tokenizer_find(tk, unk) : -1;
	read_post(tk, member(root, "post_processor"), 0);
	return 0;
}

static int read_root(const cJSON *root, struct tokenizer **out, struct err *err)
{
	const cJSON *model = member(root, "model"), *vocab = member(model, "vocab");
	const char *type = json_get_string(model, "type");
	struct tokenizer *tk;
	int n = 0, rc;

	if (type ? strcmp(type, "BPE") : !member(model, "merges"))
		return unknown("model", type, err);
	if (!cJSON_IsObject(vocab))
		return err_set(err, EBADMSG, "tokenizer: no vocabulary");
	rc = count_ids(vocab, member(root, "added_tokens"), &n, err);
	if (rc < 0)
		return rc;
	tk = vocab_new(n);
	if (!tk)
		return err_nomem(err);
	rc = read_all(tk, root, model, err);
	if (rc < 0) {
		tokenizer_free(tk);
		return rc;
	}
	*out = tk;
	return 0;
}

int tokenizer_from_json(const char *text, size_t len, struct tokenizer **out, struct err *err)
{
	cJSON *root;
	int rc = json_parse(text, len, &root, err);

	if (rc < 0)
		return err_prefix(err, "tokenizer.json: ");
	rc = read_root(root, out, err);
	cJSON_Delete(root);
	return rc;
}
