#include "trainer/split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum {
	PATTERN_BYTES = 8192,
	MATCH_LIMIT = 10 * 1000 * 1000,
	DEPTH_LIMIT = 100 * 1000,
	HEAP_LIMIT_KIB = 64 * 1024,
};

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
#define TAIL	     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER	     "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER	     "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LLAMA3(digits)                                                                             \
	CONTRACTIONS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| "                                  \
		     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const char split_gpt2[] = GPT2;

static const char tekken[] = "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER
			     "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*|\\p{N}|"
			     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL;

/* names of tokenizer.ggml.pre; what each means is in llama.cpp's llama-vocab.cpp and in the models'
 * tokenizer.json files */
static const struct {
	const char *name;
	const char *pattern[SPLIT_PRESET_MAX];
	struct split_preset preset;
} presets[] = {
	{"gpt-2", {GPT2}, {false, false, false}},
	{"smollm", {"\\p{N}", GPT2}, {false, false, false}},
	{"starcoder", {"\\p{N}", GPT2}, {false, false, false}},
	{"refact", {"\\p{N}", GPT2}, {false, false, false}},
	{"llama-bpe", {LLAMA3("\\p{N}{1,3}")}, {true, false, true}},
	{"llama3", {LLAMA3("\\p{N}{1,3}")}, {true, false, true}},
	{"llama-v3", {LLAMA3("\\p{N}{1,3}")}, {true, false, true}},
	{"smaug-bpe", {LLAMA3("\\p{N}{1,3}")}, {true, false, false}}, /* SmolLM3's name */
	{"qwen2", {LLAMA3("\\p{N}")}, {false, true, false}},
	{"deepseek-r1-qwen", {LLAMA3("\\p{N}")}, {false, true, false}},
	{"tekken", {tekken}, {true, false, true}},
	{"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"},
		{false, false, false}},
};

int spans_add(struct spans *list, size_t at, size_t len)
{
	if (len == 0)
		return 0;
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct span *more = realloc(list->span, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->span = more;
		list->cap = cap;
	}
	list->span[list->n++] = (struct span){at, len};
	return 0;
}

/* PCRE2's \s has one character more (U+180E) than White_Space, which the tokenizers mean */
static int spell_pattern(struct buf *bf, const char *pattern, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (pattern[i] == '\\' && i + 1 < len) {
			char c = pattern[++i];

			if (c == 's' || c == 'S')
				buf_puts(bf, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
			else
				buf_addf(bf, "\\%c", c);
		} else {
			buf_putc(bf, pattern[i]);
		}
	}
	return bf->failed ? -ENOMEM : 0;
}

int split_compile(const char *pattern, size_t len, struct split *out, struct err *err)
{
	struct buf spelt = BUF_INIT;
	char quoted[ERR_QUOTE_BYTES + 8];
	PCRE2_UCHAR text[128];
	PCRE2_SIZE at;
	int code;

	if (len > PATTERN_BYTES)
		return err_set(err, EBADMSG, "tokenizer: a pattern of %zu bytes", len);
	if (spell_pattern(&spelt, pattern, len) < 0) {
		buf_release(&spelt);
		return err_nomem(err);
	}
	*out = (struct split){
		.code = pcre2_compile((PCRE2_SPTR)buf_str(&spelt), spelt.len,
			PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL)};
	buf_release(&spelt);
	if (out->code)
		return 0;
	pcre2_get_error_message(code, text, sizeof(text));
	return err_set(err, EBADMSG, "tokenizer: pattern \"%s\": %s",
		err_quote(quoted, pattern, len), (char *)text);
}

int split_named(const char *name, size_t len, struct split out[SPLIT_PRESET_MAX], int *n,
	struct split_preset *preset, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
		if (strlen(presets[i].name) != len || memcmp(presets[i].name, name, len))
			continue;
		*preset = presets[i].preset;
		for (*n = 0; *n < SPLIT_PRESET_MAX && presets[i].pattern[*n]; ++*n) {
			const char *pattern = presets[i].pattern[*n];
			int rc = split_compile(pattern, strlen(pattern), &out[*n], err);

			if (rc < 0)
				return rc;
		}
		return 0;
	}
	return err_set(err, EOPNOTSUPP,
		"tokenizer: pre-tokenizer \"%s\" is not known (gpt-2, smollm, starcoder, refact, "
		"llama-bpe, smaug-bpe, qwen2, "
		"deepseek-r1-qwen, tekken, default are)",
		err_quote(quoted, name, len));
}

struct matcher {
	pcre2_match_data *data;
	pcre2_match_context *context;
};

/* a piece that matches or does not, put behind those of its span, which begin at ${first} */
struct joiner {
	struct spans *out;
	size_t first;
	const struct split *sp;
	bool matched; /* the piece before */
};

static int join(struct joiner *jn, size_t at, size_t len, bool match)
{
	struct span *last = jn->out->n > jn->first ? &jn->out->span[jn->out->n - 1] : NULL;
	bool before = jn->matched, joins = false;

	if (!len)
		return 0;
	match = match != jn->sp->invert;
	jn->matched = match;
	switch (jn->sp->behavior) {
	case SPLIT_REMOVED:
		return match ? 0 : spans_add(jn->out, at, len);
	case SPLIT_WITH_PREVIOUS:
		joins = match && !before && last;
		break;
	case SPLIT_WITH_NEXT: /* a run of matches: the last one goes with what follows */
		joins = !match && before && last;
		break;
	case SPLIT_CONTIGUOUS:
		joins = match == before && last;
		break;
	case SPLIT_ISOLATED:
		break;
	}
	if (joins)
		last->len += len;
	return joins ? 0 : spans_add(jn->out, at, len);
}

/* one step over one span: its matches and what lies between them */
static int split_span(const struct split *sp, const struct matcher *mt, const char *text,
	struct span in, struct spans *out, struct err *err)
{
	PCRE2_SPTR subject = (PCRE2_SPTR)text + in.at;
	struct joiner jn = {out, out->n, sp, false};
	size_t from = 0;
	int rc = 0;

	while (from < in.len && rc == 0) {
		const PCRE2_SIZE *found;
		int code = pcre2_match(sp->code, subject, in.len, from,
			PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, mt->data, mt->context);

		if (code == PCRE2_ERROR_NOMATCH)
			break;
		if (code < 0)
			return err_set(err, EBADMSG,
				"tokenizer: a pattern needs too much work (PCRE2 error %d)", code);
		found = pcre2_get_ovector_pointer(mt->data);
		if (found[1] <= from || found[0] < from) /* \K or look-behind tricks */
			return err_set(err, EBADMSG, "tokenizer: a pattern matches backwards");
		rc = join(&jn, in.at + from, found[0] - from, false);
		if (rc == 0)
			rc = join(&jn, in.at + found[0], found[1] - found[0], true);
		from = found[1];
	}
	if (rc == 0)
		rc = join(&jn, in.at + from, in.len - from, false);
	return rc < 0 ? err_nomem(err) : 0;
}

int split_run(const struct split *split, int n, const char *text, size_t len, struct spans *out,
	struct err *err)
{
	struct matcher mt = {pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL)};
	struct spans next = {0};
	int rc = mt.data && mt.context ? 0 : err_nomem(err);

	out->n = 0;
	if (rc == 0 && spans_add(out, 0, len) < 0)
		rc = err_nomem(err);
	if (rc == 0) {
		pcre2_set_match_limit(mt.context, MATCH_LIMIT);
		pcre2_set_depth_limit(mt.context, DEPTH_LIMIT);
		pcre2_set_heap_limit(mt.context, HEAP_LIMIT_KIB);
	}
	for (int i = 0; i < n && rc == 0; i++) {
		struct spans swap = *out;

		next.n = 0;
		for (size_t k = 0; k < out->n && rc == 0; k++)
			rc = split_span(&split[i], &mt, text, out->span[k], &next, err);
		*out = next;
		next = swap;
	}
	free(next.span);
	pcre2_match_data_free(mt.data);
	pcre2_match_context_free(mt.context);
	return rc;
}
