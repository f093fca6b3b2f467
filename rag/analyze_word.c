#include "analyze_word.h"

#include <errno.h>
#include <libstemmer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text.h"

/* libstemmer has no call that tells its version; the package's, so that an index says what made it
 */
#define STEMMER_VERSION "snowball-2.2.0"
/* of what extract_*.c makes of a file: one more when that changes, so that an update does not mix
 * texts of both */
#define TEXT_VERSION "text-2"

/* clang-format off */
static const char *const stop_words[] = {
	"a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been",
	"before", "being", "both", "but", "by", "can", "cannot", "could", "did", "do", "does", "doing", "done", "each",
	"for", "from", "get", "had", "has", "have", "having", "he", "her", "here", "hers", "him", "his", "how", "i",
	"if", "in", "into", "is", "it", "its", "me", "my", "no", "nor", "not", "of", "on", "or", "our", "ours",
	"please", "she", "should", "so", "some", "such", "than", "that", "the", "their", "theirs", "them", "then",
	"there", "these", "they", "this", "those", "to", "too", "was", "we", "were", "what", "when", "where", "which",
	"while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your", "yours",
};

/* first and last of the scripts that are written without blanks, in order */
static const uint32_t gram_ranges[][2] = {
	{0x0e00, 0x0e7f}, {0x0e80, 0x0eff}, {0x1000, 0x109f}, {0x1100, 0x11ff}, {0x1780, 0x17ff},
	{0x2e80, 0x2fdf}, {0x3005, 0x3007}, {0x3021, 0x3029}, {0x3031, 0x3035}, {0x3041, 0x30ff}, {0x3105, 0x318f},
	{0x31a0, 0x31bf}, {0x31f0, 0x31ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa960, 0xa97f}, {0xaa60, 0xaa7f},
	{0xac00, 0xd7ff}, {0xf900, 0xfaff}, {0xff66, 0xff9f}, {0x1b000, 0x1b16f}, {0x20000, 0x323af},
};
/* clang-format on */

enum {
	STOP_WORDS = sizeof(stop_words) / sizeof(*stop_words),
	STOP_WORD_MAX = 7,
	GRAM_RANGES = sizeof(gram_ranges) / sizeof(*gram_ranges),
	FOLDED_MAX = 18, /* code points that one may become */
};

static enum rag_char ascii_char(uint32_t c)
{
	if (c >= 'a' && c <= 'z')
		return RAG_CHAR_LOWER;
	if (c >= 'A' && c <= 'Z')
		return RAG_CHAR_UPPER;
	return c >= '0' && c <= '9' ? RAG_CHAR_DIGIT : RAG_CHAR_OTHER;
}

static bool is_gram(uint32_t rune)
{
	size_t low = 0, high = GRAM_RANGES;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (rune > gram_ranges[mid][1])
			low = mid + 1;
		else
			high = mid;
	}
	return low < GRAM_RANGES && rune >= gram_ranges[low][0];
}

enum rag_char rag_char_of(uint32_t rune)
{
	if (rune < 0x80)
		return ascii_char(rune);
	switch (utf8proc_category((utf8proc_int32_t)rune)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LT:
		return RAG_CHAR_UPPER;
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_NL:
		return is_gram(rune) ? RAG_CHAR_GRAM : RAG_CHAR_LOWER;
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
		return RAG_CHAR_MARK;
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NO:
		return RAG_CHAR_DIGIT;
	default:
		return RAG_CHAR_OTHER;
	}
}

static int add_folded(struct buf *out, uint32_t rune, utf8proc_option_t options)
{
	utf8proc_int32_t folded[FOLDED_MAX];
	int boundary = 0;
	utf8proc_ssize_t n = utf8proc_decompose_char(
		(utf8proc_int32_t)rune, folded, FOLDED_MAX, options, &boundary);

	for (utf8proc_ssize_t i = 0; i < n && i < FOLDED_MAX; i++)
		rag_put_rune(out, (uint32_t)folded[i]);
	return out->failed ? -ENOMEM : 0;
}

/* canonical composition of what stands from ${from} on: the stemmers know only whole letters */
static int compose(struct buf *word, size_t from)
{
	utf8proc_int32_t runes[RAG_TOKEN_CHARS * 4];
	utf8proc_ssize_t n;

	n = utf8proc_decompose((const utf8proc_uint8_t *)buf_str(word) + from,
		(utf8proc_ssize_t)(word->len - from), runes, RAG_TOKEN_CHARS * 4, 0);
	if (n <= 0 || n > RAG_TOKEN_CHARS * 4)
		return 0;
	n = utf8proc_normalize_utf32(runes, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	word->len = from;
	for (utf8proc_ssize_t i = 0; i < n; i++)
		rag_put_rune(word, (uint32_t)runes[i]);
	return word->failed ? -ENOMEM : 0;
}

int rag_word_fold(bool is_bare, const char *text, size_t len, struct buf *out)
{
	const utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
					  UTF8PROC_IGNORE | (is_bare ? UTF8PROC_STRIPMARK : 0);
	size_t from = out->len, chars = 0;
	bool is_ascii = true;

	for (size_t pos = 0; pos < len && chars < RAG_TOKEN_CHARS; chars++) {
		uint32_t rune = rag_rune(text, len, &pos, false);

		if (rune < 0x80) {
			buf_putc(out, (char)(rune >= 'A' && rune <= 'Z' ? rune | 0x20 : rune));
		} else if (rune == 0x2019) {
			buf_putc(out, '\'');
		} else {
			is_ascii = false;
			if (add_folded(out, rune, options) < 0)
				return -ENOMEM;
		}
	}
	if (out->failed)
		return -ENOMEM;
	return is_ascii || is_bare ? 0 : compose(out, from);
}

static int drop_marks(struct buf *word, size_t from)
{
	size_t len = word->len;
	const char *text = buf_str(word);
	struct buf bare = BUF_INIT;
	int rc = 0;

	for (size_t i = from; i < len; i++)
		if (text[i] & 0x80)
			goto marked;
	return 0;
marked:
	for (size_t pos = from; rc == 0 && pos < len;)
		rc = add_folded(&bare, rag_rune(text, len, &pos, false),
			UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK);
	if (rc == 0) {
		word->len = from;
		rc = buf_add(word, buf_str(&bare), bare.len);
	}
	buf_release(&bare);
	return rc;
}

int rag_word_stem(struct rag_analyzer *an, struct buf *word, size_t from)
{
	struct sb_stemmer *stemmer = an->stemmer;
	const sb_symbol *stem;
	int n;

	if (stemmer && word->len > from) {
		stem = sb_stemmer_stem(
			stemmer, (const sb_symbol *)buf_str(word) + from, (int)(word->len - from));
		if (!stem)
			return -ENOMEM;
		n = sb_stemmer_length(stemmer);
		if (n > 0) {
			word->len = from;
			if (buf_add(word, stem, (size_t)n) < 0)
				return -ENOMEM;
		}
	}
	return drop_marks(word, from);
}

static int word_compare(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

bool rag_word_is_stop(const struct rag_analyzer *an, const char *word, size_t len)
{
	char key[STOP_WORD_MAX + 1];

	if (!an->is_english || len > STOP_WORD_MAX)
		return false;
	memcpy(key, word, len);
	key[len] = '\0';
	return bsearch(key, stop_words, STOP_WORDS, sizeof(*stop_words), word_compare);
}

static int put_languages(struct buf *out)
{
	/* those with a two-letter code: libstemmer lists only long names */
	static const char codes[][3] = {"ar", "hy", "eu", "ca", "da", "nl", "en", "fi", "fr", "de",
		"el", "hi", "hu", "id", "ga", "it", "lt", "ne", "no", "pt", "ro", "ru", "sr", "es",
		"sv", "ta", "tr", "yi"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		struct sb_stemmer *stemmer = sb_stemmer_new(codes[i], "UTF_8");

		if (stemmer)
			buf_addf(out, "%s ", codes[i]);
		sb_stemmer_delete(stemmer);
	}
	return buf_puts(out, "none");
}

static int no_language(const char *lang, struct err *err)
{
	struct buf list = BUF_INIT;
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc;

	put_languages(&list);
	rc = err_set(err, EINVAL, "lang: no stemmer for \"%s\"; there are: %s",
		err_quote(quoted, lang, strlen(lang)), buf_str(&list));
	buf_release(&list);
	return rc;
}

static bool is_code(const char *lang)
{
	return lang[0] >= 'a' && lang[0] <= 'z' && lang[1] >= 'a' && lang[1] <= 'z' && !lang[2];
}

int rag_analyzer_init(struct rag_analyzer *an, const char *lang, struct err *err)
{
	*an = (struct rag_analyzer){0};
	if (!lang)
		lang = RAG_LANG_DEFAULT;
	if (strcmp(lang, "none") != 0) {
		an->stemmer = is_code(lang) ? sb_stemmer_new(lang, "UTF_8") : NULL;
		if (!an->stemmer)
			return no_language(lang, err);
	}
	memcpy(an->lang, lang, strlen(lang) + 1);
	an->is_english = strcmp(lang, "en") == 0;
	return 0;
}

void rag_analyzer_release(struct rag_analyzer *an)
{
	sb_stemmer_delete(an->stemmer);
	buf_release(&an->word);
	buf_release(&an->term);
	buf_release(&an->last);
	buf_release(&an->pair);
	*an = (struct rag_analyzer){0};
}

const char *rag_analyzer_version(char out[64])
{
	snprintf(out, 64, STEMMER_VERSION " unicode-%s " TEXT_VERSION, utf8proc_unicode_version());
	return out;
}

int rag_analyzer_lang(const char *analyser, char out[RAG_LANG_BYTES])
{
	static const char mode[] = "kolm-2 ";
	size_t n;

	if (strncmp(analyser, mode, sizeof(mode) - 1) != 0)
		return -EINVAL;
	analyser += sizeof(mode) - 1;
	n = strcspn(analyser, " ");
	if (n == 0 || n >= RAG_LANG_BYTES)
		return -EINVAL;
	memcpy(out, analyser, n);
	out[n] = '\0';
	return 0;
}
