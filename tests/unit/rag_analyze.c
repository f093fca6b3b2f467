/* The terms of mode kolm-2. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "rag/analyze.h"

static int collect(void *arg, const struct rag_token *tk)
{
	static const char kinds[] = " +/&~";

	if (((struct buf *)arg)->len)
		buf_putc(arg, '|');
	if (tk->kind != RAG_TOKEN_WORD)
		buf_putc(arg, kinds[tk->kind]);
	if (tk->is_stop)
		buf_putc(arg, '!');
	return buf_add(arg, tk->term, tk->len);
}

/* the terms of a text: + a whole, / a part, & two characters, ~ a pair, ! a stop word */
static void expect(const char *lang, const char *text, const char *terms)
{
	struct rag_analyzer an;
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_analyzer_init(&an, lang, NULL), 0);
	cr_assert_eq(rag_analyze(&an, text, strlen(text), collect, &out), 0);
	cr_expect_str_eq(buf_str(&out), terms, "%s: %s, not %s", text, buf_str(&out), terms);
	buf_release(&out);
	rag_analyzer_release(&an);
}

Test(rag_analyze, words_are_folded_and_stemmed)
{
	expect("en", "Running the trains", "run|!the|train|~run train");
	expect("en", "caf\xc3\xa9 na\xc3\xafve", "cafe|naiv|~cafe naiv");
	expect("en",
		"Stra\xc3\x9f"
		"e \xef\xbc\xa1\xef\xbc\xa2",
		"strass|ab|~strass ab");
	expect("en", "e\xcc\x81t\xc3\xa9", "ete");
	expect("none", "Running trains", "running|trains|~running trains");
}

Test(rag_analyze, languages_have_their_own_stems)
{
	expect("de", "H\xc3\xa4user", "haus");
	expect("fr", "l'\xc3\xa9tudiante", "l|etudi|~l etudi");
	expect("sv", "flickorna", "flick");
	expect("ru", "\xd0\xba\xd0\xbd\xd0\xb8\xd0\xb3\xd0\xb8",
		"\xd0\xba\xd0\xbd\xd0\xb8\xd0\xb3");
}

Test(rag_analyze, compounds_give_their_words_and_the_whole)
{
	expect("en", "foo_bar", "foo|bar|~foo bar|+foobar");
	expect("en", "e-mail", "e|mail|~e mail|+email");
	expect("en", "os.path.join", "os|path|~os path|join|~path join|+ospathjoin");
	expect("en", "3.14", "3|14|~3 14|+3.14");
	expect("en", "a--b _x_", "!a|b|x|~b x");
	expect("en", "The end. Start", "!the|end|start|~end start");
}

Test(rag_analyze, camel_case_gives_parts)
{
	expect("en", "fooBar", "foobar|/foo|/bar");
	expect("en", "XMLHttpRequest", "xmlhttprequest|/xml|/http|/request");
	expect("en", "mRNA", "mrna|/rna");
	expect("en", "sha256sum", "sha256sum|/sha|/256|/sum");
}

Test(rag_analyze, scripts_without_blanks_give_characters_and_neighbours)
{
	expect("en", "\xe4\xb8\xad\xe6\x96\x87\xe6\xa3\x80",
		"\xe4\xb8\xad|\xe6\x96\x87|&\xe4\xb8\xad\xe6\x96\x87|\xe6\xa3\x80|&"
		"\xe6\x96\x87\xe6\xa3\x80");
	/* Latin beside Han is its own word; a voiced kana keeps its mark */
	expect("en", "ABC\xe5\x85\xac", "abc|\xe5\x85\xac");
	expect("en", "\xe3\x82\xac", "\xe3\x82\xac");
}

Test(rag_analyze, what_is_no_word_gives_nothing)
{
	char run[200];

	expect("en", "", "");
	expect("en", "... -- \xf0\x9f\x98\x80 \xff\xfe", "");
	memset(run, 'x', 65);
	run[65] = '\0';
	expect("en", run, "");
	run[64] = '\0';
	expect("none", run, run);
}

static int places(void *arg, const struct rag_token *tk)
{
	size_t *at = arg;

	if (tk->kind == RAG_TOKEN_WORD) {
		at[0] = tk->start;
		at[1] = tk->end;
	}
	return 0;
}

Test(rag_analyze, a_term_knows_its_place)
{
	struct rag_analyzer an;
	size_t at[2] = {0};

	cr_assert_eq(rag_analyzer_init(&an, NULL, NULL), 0);
	cr_assert_eq(rag_analyze(&an, "one caf\xc3\xa9.", 10, places, at), 0);
	cr_expect_eq(at[0], 4);
	cr_expect_eq(at[1], 9);
	rag_analyzer_release(&an);
}

static int refuse(void *arg, const struct rag_token *tk)
{
	(void)arg;
	(void)tk;
	return -ECANCELED;
}

Test(rag_analyze, the_caller_may_end_it)
{
	struct rag_analyzer an;

	cr_assert_eq(rag_analyzer_init(&an, NULL, NULL), 0);
	cr_expect_eq(rag_analyze(&an, "one two", 7, refuse, NULL), -ECANCELED);
	rag_analyzer_release(&an);
}

Test(rag_analyze, an_unknown_language_names_those_there_are)
{
	struct rag_analyzer an;
	struct err err = ERR_NONE;

	cr_expect_eq(rag_analyzer_init(&an, "xx", &err), -EINVAL);
	cr_expect(strstr(err.text, "lang: no stemmer for \"xx\""), "%s", err.text);
	cr_expect(strstr(err.text, " en "), "%s", err.text);
	cr_expect_eq(rag_analyzer_init(&an, "english", &err), -EINVAL);
	cr_expect_eq(rag_analyzer_init(&an, "", &err), -EINVAL);
}

Test(rag_analyze, the_language_is_read_back_from_the_analyser)
{
	char lang[RAG_LANG_BYTES];

	cr_expect_eq(rag_analyzer_lang("kolm-2 sv snowball-2.2.0 unicode-14.0.0", lang), 0);
	cr_expect_str_eq(lang, "sv");
	cr_expect_eq(rag_analyzer_lang("rag-bm25-1", lang), -EINVAL);
	cr_expect_eq(rag_analyzer_lang("kolm-2 ", lang), -EINVAL);
}
