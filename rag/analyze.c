#include "analyze.h"

#include <errno.h>
#include <string.h>

#include "analyze_word.h"
#include "text.h"

enum { WORDS_MAX = 8 }; /* of a compound whose whole is a term too */

/* where the scanner is */
struct scan {
	struct rag_analyzer *an;
	const char *text;
	size_t len, pos;
	rag_token_each *each;
	void *arg;
	size_t word_at[WORDS_MAX], word_len[WORDS_MAX]; /* of the compound being read */
	size_t n_words;
};

static enum rag_char peek(const struct scan *sc, size_t pos, uint32_t *rune, size_t *next)
{
	*next = pos;
	*rune = rag_rune(sc->text, sc->len, next, false);
	return rag_char_of(*rune);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_of_word(enum rag_char c)
{
	return c == RAG_CHAR_LOWER || c == RAG_CHAR_UPPER || c == RAG_CHAR_DIGIT;
}

static int emit(struct scan *sc, enum rag_token_kind kind, const struct buf *term, size_t start,
	size_t end, bool is_stop)
{
	struct rag_token tk = {.kind = kind,
		.term = buf_str(term),
		.len = term->len,
		.start = start,
		.end = end,
		.is_stop = is_stop};

	if (term->failed)
		return -ENOMEM;
	if (term->len == 0 || term->len > RAG_MODE_TERM_BYTES || memchr(tk.term, 0, tk.len))
		return 0;
	return sc->each(sc->arg, &tk);
}

/* a word that counts, and its pair with the one before */
static int emit_word(struct scan *sc, const struct buf *term, size_t start, size_t end, bool stop)
{
	struct rag_analyzer *an = sc->an;
	int rc = emit(sc, RAG_TOKEN_WORD, term, start, end, stop);

	if (rc < 0)
		return rc;
	if (stop) /* pairs reach over it: "theory of gases", "theory gases" */
		return 0;
	if (an->has_last) {
		buf_reset(&an->pair);
		buf_add(&an->pair, buf_str(&an->last), an->last.len);
		buf_putc(&an->pair, ' ');
		buf_add(&an->pair, buf_str(term), term->len);
		rc = emit(sc, RAG_TOKEN_PAIR, &an->pair, an->last_start, end, false);
	}
	buf_reset(&an->last);
	buf_add(&an->last, buf_str(term), term->len);
	an->last_start = start;
	an->has_last = true;
	return rc < 0 ? rc : an->last.failed ? -ENOMEM : 0;
}

static int fold_and_stem(struct scan *sc, size_t start, size_t end, bool *is_stop)
{
	struct rag_analyzer *an = sc->an;
	int rc;

	buf_reset(&an->word);
	rc = rag_word_fold(an->is_english, sc->text + start, end - start, &an->word);
	if (rc == 0 && is_stop)
		*is_stop = rag_word_is_stop(an, buf_str(&an->word), an->word.len);
	return rc < 0 ? rc : rag_word_stem(an, &an->word, 0);
}

/*
 * The next piece of a word: it ends where a small letter meets a capital, where a capital begins a
 * word behind others (XMLHttp), and between letters and digits.
 */
static size_t piece_end(const struct scan *sc, size_t start, size_t end)
{
	uint32_t rune;
	size_t pos, next;
	enum rag_char was = peek(sc, start, &rune, &pos);

	while (pos < end) {
		enum rag_char c = peek(sc, pos, &rune, &next);

		if (c == RAG_CHAR_MARK || !is_of_word(c)) { /* an apostrophe */
			pos = next;
			continue;
		}
		if ((c == RAG_CHAR_DIGIT) != (was == RAG_CHAR_DIGIT))
			return pos;
		if (was == RAG_CHAR_LOWER && c == RAG_CHAR_UPPER)
			return pos;
		if (was == RAG_CHAR_UPPER && c == RAG_CHAR_UPPER && next < end) {
			size_t behind;

			if (peek(sc, next, &rune, &behind) == RAG_CHAR_LOWER)
				return pos;
		}
		was = c;
		pos = next;
	}
	return end;
}

static int emit_parts(struct scan *sc, size_t start, size_t end)
{
	int rc = 0;

	if (piece_end(sc, start, end) == end)
		return 0;
	for (size_t pos = start, stop; rc == 0 && pos < end; pos = stop) {
		stop = piece_end(sc, pos, end);
		if (stop - pos < 2) /* the m of mRNA */
			continue;
		rc = fold_and_stem(sc, pos, stop, NULL);
		if (rc == 0)
			rc = emit(sc, RAG_TOKEN_PART, &sc->an->word, pos, stop, false);
	}
	return rc;
}

static int emit_compound_word(struct scan *sc, size_t start, size_t len)
{
	bool is_stop = false;
	int rc = fold_and_stem(sc, start, start + len, &is_stop);

	if (rc == 0)
		rc = emit_word(sc, &sc->an->word, start, start + len, is_stop);
	return rc < 0 ? rc : emit_parts(sc, start, start + len);
}

/* foo_bar, foo-bar: "foobar"; 3.14 keeps its point */
static int emit_whole(struct scan *sc)
{
	struct rag_analyzer *an = sc->an;
	size_t start = sc->word_at[0], last = sc->n_words - 1,
	       end = sc->word_at[last] + sc->word_len[last];
	int rc = 0;

	buf_reset(&an->term);
	for (size_t i = 0; rc == 0 && i < sc->n_words; i++) {
		const char *word = sc->text + sc->word_at[i];

		if (i > 0 && word[-1] == '.' && is_digit(word[0]) && is_digit(word[-2]))
			buf_putc(&an->term, '.');
		rc = rag_word_fold(an->is_english, word, sc->word_len[i], &an->term);
	}
	if (rc == 0 && an->term.len <= RAG_TOKEN_CHARS)
		rc = rag_word_stem(an, &an->term, 0);
	if (rc == 0 && an->term.len <= RAG_TOKEN_CHARS)
		rc = emit(sc, RAG_TOKEN_WHOLE, &an->term, start, end, false);
	return rc;
}

/* apostrophes belong to English words (Snowball takes 's off) and separate in other languages */
static bool is_apostrophe(const struct scan *sc, uint32_t rune)
{
	return sc->an->is_english && (rune == '\'' || rune == 0x2019);
}

/* reads one word at sc->pos; 0: longer than RAG_TOKEN_CHARS, so it is none */
static size_t read_word(struct scan *sc)
{
	size_t start = sc->pos, pos = start, next, behind, chars = 0;
	uint32_t rune;

	while (pos < sc->len) {
		enum rag_char c = peek(sc, pos, &rune, &next);

		if (!is_of_word(c) && c != RAG_CHAR_MARK &&
			!(is_apostrophe(sc, rune) && next < sc->len &&
				is_of_word(peek(sc, next, &rune, &behind))))
			break;
		chars++;
		pos = next;
	}
	sc->pos = pos;
	return chars <= RAG_TOKEN_CHARS ? pos - start : 0;
}

/* a joint, and right behind it a word */
static bool at_joint(const struct scan *sc)
{
	uint32_t rune;
	size_t next;
	char c;

	if (sc->pos + 1 >= sc->len)
		return false;
	c = sc->text[sc->pos];
	return (c == '-' || c == '_' || c == '.') &&
	       is_of_word(peek(sc, sc->pos + 1, &rune, &next));
}

static int scan_compound(struct scan *sc)
{
	size_t n = 0;
	int rc = 0;

	for (;; sc->pos++) {
		size_t start = sc->pos, len = read_word(sc);

		if (len > 0) {
			rc = emit_compound_word(sc, start, len);
			if (n < WORDS_MAX) {
				sc->word_at[n] = start;
				sc->word_len[n] = len;
			}
			n++;
		} else {
			n = WORDS_MAX + 1; /* no whole without all of its words */
		}
		if (rc < 0 || !at_joint(sc))
			break;
	}
	sc->n_words = n;
	if (rc == 0 && n > 1 && n <= WORDS_MAX)
		rc = emit_whole(sc);
	return rc;
}

static int emit_gram(struct scan *sc, enum rag_token_kind kind, size_t start, size_t end)
{
	struct rag_analyzer *an = sc->an;
	int rc;

	buf_reset(&an->word);
	rc = rag_word_fold(false, sc->text + start, end - start, &an->word);
	return rc < 0 ? rc : emit(sc, kind, &an->word, start, end, false);
}

/* a run of a script without blanks: every character, and every two */
static int scan_grams(struct scan *sc)
{
	size_t before = SIZE_MAX;
	int rc = 0;

	sc->an->has_last = false;
	while (rc == 0 && sc->pos < sc->len) {
		uint32_t rune;
		size_t start = sc->pos, next, end;
		enum rag_char c = peek(sc, start, &rune, &next);

		if (c != RAG_CHAR_GRAM)
			break;
		for (end = next; end < sc->len && peek(sc, end, &rune, &next) == RAG_CHAR_MARK;)
			end = next;
		sc->pos = end;
		rc = emit_gram(sc, RAG_TOKEN_WORD, start, end);
		if (rc == 0 && before != SIZE_MAX)
			rc = emit_gram(sc, RAG_TOKEN_GRAM, before, end);
		before = start;
	}
	return rc;
}

int rag_analyze(
	struct rag_analyzer *an, const char *text, size_t len, rag_token_each *each, void *arg)
{
	struct scan sc = {.an = an, .text = text, .len = len, .each = each, .arg = arg};
	int rc = 0;

	an->has_last = false;
	while (rc == 0 && sc.pos < len) {
		uint32_t rune;
		size_t next;
		enum rag_char c = peek(&sc, sc.pos, &rune, &next);

		if (is_of_word(c))
			rc = scan_compound(&sc);
		else if (c == RAG_CHAR_GRAM)
			rc = scan_grams(&sc);
		else
			sc.pos = next;
	}
	return rc;
}

int rag_analyze_word(
	struct rag_analyzer *an, const char *text, size_t len, bool is_stemmed, struct buf *out)
{
	size_t from = out->len;
	int rc = rag_word_fold(an->is_english, text, len, out);

	if (rc == 0 && is_stemmed)
		rc = rag_word_stem(an, out, from);
	if (rc == 0 && memchr(buf_str(out) + from, 0, out->len - from))
		out->len = from;
	return rc;
}
