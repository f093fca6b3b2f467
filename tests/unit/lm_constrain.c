/*
 * lm_constrain - answers that obey a grammar. The automata against PCRE2 and by hand; then the real
 * base model (env MODEL): whatever it is asked, the answer parses and fits. LONG=1: 500 answers.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "trainer/chat.h"
#include "trainer/constrain.h"
#include "trainer/kolmlm.h"
#include "trainer/lm.h"
#include "trainer/tokenizer.h"

/* ---- automata, without a model ---- */

struct machine {
	struct nfa f;
	struct dfa d;
};

static int machine_of_regex(struct machine *m, const char *pattern, struct err *err)
{
	nfa_init(&m->f);
	int rc = nfa_regex(
		&m->f, m->f.start, pattern, strlen(pattern), false, false, m->f.accept, err);

	if (rc == 0)
		rc = nfa_finish(&m->f, err);
	return rc < 0 ? rc : dfa_init(&m->d, &m->f, err);
}

static int machine_of_schema(struct machine *m, const char *schema, struct err *err)
{
	cr_assert_eq(json_check(schema, strlen(schema), err), 0, "%s: %s", schema, err->text);
	nfa_init(&m->f);
	int rc = nfa_schema(&m->f, (struct json_slice){schema, strlen(schema)}, err);

	if (rc == 0)
		rc = nfa_finish(&m->f, err);
	return rc < 0 ? rc : dfa_init(&m->d, &m->f, err);
}

static void machine_release(struct machine *m)
{
	dfa_release(&m->d);
	nfa_release(&m->f);
}

static bool holds(struct machine *m, const char *text, size_t len)
{
	int state = 0;

	for (size_t i = 0; i < len && state >= 0; i++)
		state = dfa_step(&m->d, state, (unsigned char)text[i]);
	return state >= 0 && m->d.state[state].dist == 0;
}

static uint64_t seed = 7;

static uint32_t roll(uint32_t n)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

/* a random pattern of the subset over a small alphabet */
static void random_pattern(struct buf *out, int depth)
{
	static const char *const atoms[] = {"a", "b", "c", "[ab]", "[^a]", ".", "\\d", "\\w",
		"\xc3\xa9", "[a-c\xc3\xa9]", "\\.", "[\\d-]", "\\u00e9", "x", "\\x61", "[^\\w]",
		"\\S"};
	static const char *const repeats[] = {
		"", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}?", "{2,}"};

	for (uint32_t i = 0, n = 1 + roll(3); i < n; i++) {
		if (depth < 2 && roll(4) == 0) {
			buf_puts(out, roll(2) ? "(" : "(?:");
			random_pattern(out, depth + 1);
			if (roll(2)) {
				buf_putc(out, '|');
				random_pattern(out, depth + 1);
			}
			buf_putc(out, ')');
		} else {
			buf_puts(out, atoms[roll(sizeof(atoms) / sizeof(atoms[0]))]);
		}
		buf_puts(out, repeats[roll(sizeof(repeats) / sizeof(repeats[0]))]);
	}
}

static void random_text(char out[64])
{
	static const char *const bits[] = {"a", "b", "c", "\xc3\xa9", "1", "7", ".", "-", "x", " ",
		"\n", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

	out[0] = '\0';
	for (uint32_t i = 0, n = roll(9); i < n; i++)
		strcat(out, bits[roll(sizeof(bits) / sizeof(bits[0]))]);
}

/* a walk through the automaton that ends well, so that texts that match are met often */
static size_t random_member(struct machine *m, char *out, size_t cap)
{
	size_t n = 0;
	int state = 0;

	while (n + 1 < cap) {
		int to, byte = 0;

		if (m->d.state[state].dist == 0 && (roll(4) == 0 || m->d.state[state].is_last))
			break;
		if (m->d.state[state].dist > (int)(cap - n) - 20 && m->d.state[state].dist > 0) {
			byte = dfa_toward_end(&m->d, state);
			to = dfa_step(&m->d, state, (unsigned char)byte);
		} else {
			for (int k = 0; (to = dfa_step(&m->d, state,
						 (unsigned char)(byte = (int)roll(256)))) < 0;
				k++)
				cr_assert_lt(k, 100000);
		}
		out[n++] = (char)byte;
		state = to;
	}
	return n;
}

Test(regex, agrees_with_pcre2)
{
	size_t yes = 0, no = 0;

	for (int i = 0; i < 800; i++) {
		struct buf p = BUF_INIT, anchored = BUF_INIT;
		struct machine m;
		struct err err = ERR_NONE;
		int number;
		PCRE2_SIZE at;

		random_pattern(&p, 0);
		buf_addf(&anchored, "^(?:%s)\\z", p.data);
		pcre2_code *code = pcre2_compile((PCRE2_SPTR)anchored.data, PCRE2_ZERO_TERMINATED,
			PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_NEWLINE_ANYCRLF, &number, &at, NULL);
		cr_assert(code != NULL, "%s", p.data);
		pcre2_match_data *md = pcre2_match_data_create_from_pattern(code, NULL);
		cr_assert_eq(machine_of_regex(&m, p.data, &err), 0, "%s: %s", p.data, err.text);
		for (int k = 0; k < 12; k++) {
			char text[256];
			size_t n;

			if (k < 6) {
				random_text(text);
				n = strlen(text);
			} else {
				n = random_member(&m, text, sizeof(text));
			}
			bool want = pcre2_match(code, (PCRE2_SPTR)text, n, 0, 0, md, NULL) > 0;
			/* \S of JavaScript knows more blanks, '.' fewer ends of line, than the
			 * option above; the texts of the first kind hold none of these */
			if (k >= 6 && (strstr(p.data, "\\S") || strchr(p.data, '.')))
				continue;
			cr_assert_eq(holds(&m, text, n), want, "/%s/ on \"%.*s\" (%d)", p.data,
				(int)n, text, k);
			yes += want;
			no += !want;
		}
		pcre2_match_data_free(md);
		pcre2_code_free(code);
		machine_release(&m);
		buf_release(&p);
		buf_release(&anchored);
	}
	cr_expect_gt(yes, 2000);
	cr_expect_gt(no, 1500);
}

Test(regex, by_hand)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} rows[] = {
		{"", "", true},
		{"^abc$", "abc", true},
		{"a|^b$|", "b", true},
		{"a|b|", "", true},
		{"(a|b){3}", "aba", true},
		{"(a|b){3}", "ab", false},
		{"\\d{4}-\\d{2}", "2024-07", true},
		{"\\d{4}-\\d{2}", "2024-7", false},
		{"[^\"]*", "\xf0\x9f\x98\x80\xe2\x82\xac", true},
		{"[^\"]*", "\xed\xa0\x80", false}, /* a surrogate is no character */
		{".", "\xf4\x8f\xbf\xbf", true},
		{".", "\xf4\x90\x80\x80", false},
		{".", "\xc0\x80", false},
		{".", "\xe2\x80\xa8", false}, /* U+2028 ends a line */
		{"\\s", "\xe2\x80\xa8", true},
		{"\\u{1f600}", "\xf0\x9f\x98\x80", true},
		{"[\\u0400-\\u04ff]+", "\xd0\x9f\xd0\xb0", true},
		{"a{0}b", "b", true},
		{"(?:(?:a?){3}){2}", "aaaaaa", true},
		{"(?:(?:a?){3}){2}", "aaaaaaa", false},
		{"[]a]", "a", false},
		{"x*?y+?", "xxy", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct machine m;
		struct err err = ERR_NONE;
		int rc = machine_of_regex(&m, rows[i].pattern, &err);

		if (strcmp(rows[i].pattern, "[]a]") ==
			0) { /* JavaScript: an empty class, then "a]" */
			cr_expect_eq(rc, -EINVAL);
			nfa_release(&m.f);
			continue;
		}
		cr_assert_eq(rc, 0, "%s: %s", rows[i].pattern, err.text);
		cr_expect_eq(holds(&m, rows[i].text, strlen(rows[i].text)), rows[i].want,
			"/%s/ on %s", rows[i].pattern, rows[i].text);
		machine_release(&m);
	}
}

Test(regex, refused_with_the_place)
{
	static const struct {
		const char *pattern, *text;
		int no;
	} rows[] = {
		{"(a", "')' expected at byte 2", EINVAL},
		{"a)", "')' without '('", EINVAL},
		{"[a", "']' expected", EINVAL},
		{"*a", "unexpected character at byte 0", EINVAL},
		{"a**", "unexpected character", EINVAL},
		{"(a)\\1", "a reference to a group", EINVAL},
		{"(?=a)", "looking around", EINVAL},
		{"(?<!a)b", "looking around", EINVAL},
		{"(?<n>a)", "only (?: ) and ( )", EINVAL},
		{"\\bword", "word boundaries", EINVAL},
		{"a^b", "only at the ends", EINVAL},
		{"(a$)", "only at the ends", EINVAL},
		{"[b-a]", "range out of order", EINVAL},
		{"a{3,1}", "repeats out of order", EINVAL},
		{"a{5000}", "more than 4096 repeats", EINVAL},
		{"a{,3}", "number expected", EINVAL},
		{"\\q", "unknown escape", EINVAL},
		{"\\xg1", "hexadecimal", EINVAL},
		{"\\", "nothing behind the backslash", EINVAL},
		{"[^\\s\\S]", "matches nothing", EINVAL},
		{"((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))))",
			"nested deeper", EINVAL},
		{"((a{4000}){4000}){4000}", "more than 65536 states", E2BIG},
		{"(a{4000}b{4000}c){4000}", "more than 65536 states", E2BIG},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct machine m = {0};
		struct err err = ERR_NONE;

		cr_expect_eq(machine_of_regex(&m, rows[i].pattern, &err), -rows[i].no, "%s: %s",
			rows[i].pattern, err.text);
		cr_expect(strstr(err.text, rows[i].text) != NULL, "%s: %s", rows[i].pattern,
			err.text);
		nfa_release(&m.f);
	}
}

/* a repeat reads its atom again for each copy: neither the copies nor the atom alone is too long */
Test(regex, what_is_read_again_is_bounded, .timeout = 30)
{
	struct buf pattern = BUF_INIT;
	struct machine m = {0};
	struct err err = ERR_NONE;

	buf_putc(&pattern, '[');
	for (int i = 0; i < 1 << 20; i++)
		buf_putc(&pattern, 'a');
	buf_puts(&pattern, "]{4096}");
	cr_expect_eq(machine_of_regex(&m, buf_str(&pattern), &err), -E2BIG, "%s", err.text);
	cr_expect(strstr(err.text, "too much to read") != NULL, "%s", err.text);
	nfa_release(&m.f);
	buf_release(&pattern);
}

Test(regex, the_states_are_bounded)
{
	struct machine m;
	struct err err = ERR_NONE;
	char text[64];

	/* 2^30 subsets: the walk stops with a sentence, not with the machine's memory */
	cr_assert_eq(machine_of_regex(&m, "[ab]*a[ab]{30}", &err), 0, "%s", err.text);
	for (int i = 0; i < 40000 && !m.d.failed; i++) {
		for (size_t k = 0; k < sizeof(text); k++)
			text[k] = roll(2) ? 'a' : 'b';
		(void)holds(&m, text, sizeof(text));
	}
	cr_expect_eq(dfa_failed(&m.d, &err), -E2BIG);
	cr_expect(strstr(err.text, "too ambiguous") != NULL);
	machine_release(&m);
}

#define PERSON                                                                                     \
	"{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"    \
	"\"age\":{\"type\":\"integer\"},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"a\","  \
	"\"b\\\"\"]},\"maxItems\":2},\"ok\":{\"type\":[\"boolean\",\"null\"]}},"                   \
	"\"required\":[\"age\",\"ok\"],\"additionalProperties\":false}"

Test(schema, by_hand)
{
	static const struct {
		const char *schema, *text;
		bool want;
	} rows[] = {
		{PERSON, "{\"name\":\"Ann\",\"age\":7,\"tags\":[],\"ok\":true}", true},
		{PERSON, "{\"name\": \"Ann\", \"age\": 7, \"ok\": null}", true},
		{PERSON, "{\"age\":-3,\"ok\":false}", true},
		{PERSON, "{\"age\":7,\"tags\":[\"a\", \"b\\\"\"],\"ok\":false}", true},
		{PERSON, "{\"age\":7,\"tags\":[\"a\",\"a\",\"a\"],\"ok\":false}", false},
		{PERSON, "{\"age\":7}", false},
		{PERSON, "{,\"age\":7,\"ok\":true}", false},
		{PERSON, "{\"ok\":true,\"age\":7}", false},
		{PERSON, "{\"age\":07,\"ok\":true}", false},
		{PERSON, "{\"age\":7,\"ok\":true,\"more\":1}", false},
		{PERSON, "{\"name\":\"123456789\\n\\\\\xc3\xa9\",\"age\":7,\"ok\":true}", true},
		{PERSON, "{\"name\":\"1234567890123\",\"age\":7,\"ok\":true}", false},
		{PERSON, "{\"name\":\"a\nb\",\"age\":7,\"ok\":true}", false},
		{PERSON, "{\"name\":\"\\q\",\"age\":7,\"ok\":true}", false},
		{"{\"type\":\"number\"}", "-1.50e+10", true},
		{"{\"type\":\"number\"}", "1.", false},
		{"{\"type\":\"number\"}", "NaN", false},
		{"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}\\\\d+$\"}", "\"AB12\"", true},
		{"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}\\\\d+$\"}", "\"AB\"", false},
		{"{\"type\":\"string\",\"pattern\":\"b+\"}", "\"abc\"", true}, /* anywhere */
		{"{\"type\":\"string\",\"pattern\":\"b+\"}", "\"ac\"", false},
		{"{\"type\":\"string\",\"pattern\":\"^\\\"x\\\\\\\\$\"}", "\"\\\"x\\\\\"", true},
		{"{\"type\":\"string\",\"minLength\":2}", "\"a\"", false},
		{"{\"type\":\"string\",\"minLength\":2}", "\"\\\"\xf0\x9f\x98\x80\"", true},
		{"{\"enum\":[1,\"x\",{\"a\":[null]}]}", "{\"a\":[null]}", true},
		{"{\"type\":\"string\",\"enum\":[1,\"x\"]}", "1", false},
		{"{\"const\":\"\xc3\xa9\"}", "\"\xc3\xa9\"", true},
		{"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"type\":"
		 "\"integer\"},"
		 "\"minItems\":2}]}",
			"[1, 2,3]", true},
		{"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"type\":"
		 "\"integer\"},"
		 "\"minItems\":2}]}",
			"[1]", false},
		{"{\"type\":\"object\",\"properties\":{}}", "{}", true},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":"
		 "\"null\"}}}",
			"{\"b\":null}", true},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":"
		 "\"null\"}}}",
			"{\"a\":null,}", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct machine m;
		struct err err = ERR_NONE;

		cr_assert_eq(machine_of_schema(&m, rows[i].schema, &err), 0, "%s: %s",
			rows[i].schema, err.text);
		cr_expect_eq(holds(&m, rows[i].text, strlen(rows[i].text)), rows[i].want,
			"%s on %s", rows[i].schema, rows[i].text);
		machine_release(&m);
	}
}

/* whatever way is taken through the automaton, it is JSON */
Test(schema, every_walk_is_json)
{
	static const char *const schemas[] = {PERSON,
		"{\"type\":\"array\",\"items\":" PERSON ",\"maxItems\":3}",
		"{\"type\":\"array\",\"items\":{\"type\":\"number\"},\"minItems\":1}",
		"{\"type\":\"string\",\"pattern\":\"a|[^b]+\"}",
		"{\"type\":[\"string\",\"number\",\"null\"],\"minLength\":3}"};

	for (size_t s = 0; s < sizeof(schemas) / sizeof(schemas[0]); s++) {
		struct machine m;
		struct err err = ERR_NONE;
		char text[512];

		cr_assert_eq(machine_of_schema(&m, schemas[s], &err), 0, "%s", err.text);
		for (int i = 0; i < 400; i++) {
			size_t n = random_member(&m, text, sizeof(text));

			cr_assert(holds(&m, text, n));
			cr_assert_eq(
				json_check(text, n, &err), 0, "%.*s: %s", (int)n, text, err.text);
		}
		machine_release(&m);
	}
}

Test(schema, refused_with_the_place)
{
	static const struct {
		const char *schema, *text;
		int no;
	} rows[] = {
		{"[]", "a schema is an object", EINVAL},
		{"true", "a schema is an object", EINVAL},
		{"{}", "type, enum, const or anyOf is needed", EINVAL},
		{"{\"type\":\"text\"}", "type: object, array", EINVAL},
		{"{\"type\":\"object\"}", "an object needs properties", EINVAL},
		{"{\"type\":\"array\"}", "an array needs items", EINVAL},
		{"{\"type\":\"number\",\"minimum\":3}", "keyword \"minimum\" is not supported",
			EINVAL},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}}}",
			"grammar at /a: keyword \"$ref\" is not supported", EINVAL},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{"
		 "\"oneOf\":[]}}}}",
			"grammar at /a/items: keyword \"oneOf\"", EINVAL},
		{"{\"type\":\"object\",\"properties\":{},\"required\":[\"a\"]}", "required names",
			EINVAL},
		{"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":{}}",
			"additionalProperties", EINVAL},
		{"{\"type\":\"string\",\"maxLength\":-1}", "whole numbers", EINVAL},
		{"{\"type\":\"string\",\"maxLength\":1,\"minLength\":2}", "less than minLength",
			EINVAL},
		{"{\"type\":\"string\",\"pattern\":\"(\"}", "grammar at /: pattern: ')' expected",
			EINVAL},
		{"{\"type\":\"string\",\"pattern\":\"a\",\"maxLength\":3}", "pattern and a length",
			EINVAL},
		{"{\"type\":\"string\",\"enum\":[1]}", "no value is allowed", EINVAL},
		{"{\"enum\":[]}", "no value is allowed", EINVAL},
		{"{\"anyOf\":[]}", "no value is allowed", EINVAL},
		{"{\"type\":\"string\",\"maxLength\":60000}", "more than 65536 states", E2BIG},
		{"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":900},"
		 "\"maxItems\":900}",
			"more than 65536 states", E2BIG},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct machine m = {0};
		struct err err = ERR_NONE;

		cr_expect_eq(machine_of_schema(&m, rows[i].schema, &err), -rows[i].no, "%s: %s",
			rows[i].schema, err.text);
		cr_expect(
			strstr(err.text, rows[i].text) != NULL, "%s: %s", rows[i].schema, err.text);
		nfa_release(&m.f);
	}
}

Test(schema, nested_too_deep_is_refused)
{
	struct buf deep = BUF_INIT;
	struct machine m = {0};
	struct err err = ERR_NONE;

	for (int i = 0; i < 60; i++)
		buf_puts(&deep, "{\"type\":\"array\",\"items\":");
	buf_puts(&deep, "{\"type\":\"null\"}");
	for (int i = 0; i < 60; i++)
		buf_putc(&deep, '}');
	cr_expect_eq(machine_of_schema(&m, deep.data, &err), -EINVAL);
	cr_expect(strstr(err.text, "nested deeper than 32") != NULL, "%s", err.text);
	nfa_release(&m.f);
	buf_release(&deep);
}

/* without a model: what is held, and another answer */
/* each of the required is looked for among all properties, and an item is read for each copy */
Test(schema, what_is_read_again_is_bounded, .timeout = 30)
{
	enum { KEYS = 60000 };
	struct buf schema[2] = {BUF_INIT, BUF_INIT};

	buf_puts(&schema[0], "{\"type\":\"object\",\"required\":[\"z\"");
	for (int i = 0; i < KEYS; i++)
		buf_puts(&schema[0], ",\"z\"");
	buf_puts(&schema[0], "],\"properties\":{");
	for (int i = 0; i < KEYS; i++)
		buf_addf(&schema[0], "\"%d\":{\"type\":\"null\"},", i);
	buf_puts(&schema[0], "\"z\":{\"type\":\"null\"}}}");
	buf_puts(&schema[1], "{\"type\":\"array\",\"maxItems\":20000,\"items\":{\"title\":\"");
	for (int i = 0; i < 1 << 20; i++)
		buf_putc(&schema[1], 'a');
	buf_puts(&schema[1], "\",\"type\":\"null\"}}");
	for (int i = 0; i < 2; i++) {
		struct machine m = {0};
		struct err err = ERR_NONE;

		cr_expect_eq(
			machine_of_schema(&m, buf_str(&schema[i]), &err), -E2BIG, "%s", err.text);
		cr_expect(strstr(err.text, "too much to read") != NULL, "%s", err.text);
		nfa_release(&m.f);
		buf_release(&schema[i]);
	}
}

Test(grammar, another_answer)
{
	static const struct {
		enum lm_grammar_kind kind;
		const char *json, *mine, *shortest, *other;
	} rows[] = {
		{LM_GRAMMAR_CHOICES, "[\"low\",\"high\",\"lower\"]", "low", "low", "high"},
		{LM_GRAMMAR_CHOICES, "[\"low\"]", "low", "low", NULL},
		{LM_GRAMMAR_CHOICES, "[\"a\",\"ab\"]", "ab", "a", "a"},
		{LM_GRAMMAR_SCHEMA,
			"{\"type\":\"object\",\"properties\":{\"x\":{\"enum\":[\"p\",\"q\"]}},"
			"\"required\":[\"x\"]}",
			"{\"x\":\"p\"}", "{\"x\":\"p\"}", "{\"x\":\"q\"}"},
		{LM_GRAMMAR_REGEX, "\"a+\"", "a", "a", "aa"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lm_grammar *g = NULL;
		struct buf out = BUF_INIT;
		struct err err = ERR_NONE;

		cr_assert_eq(lm_grammar(NULL, rows[i].kind, rows[i].json, strlen(rows[i].json), &g,
				     &err),
			0, "%s", err.text);
		cr_expect(lm_grammar_holds(g, rows[i].mine, strlen(rows[i].mine)));
		cr_expect(lm_grammar_other(g, NULL, 0, &out));
		cr_expect_str_eq(buf_str(&out), rows[i].shortest);
		buf_reset(&out);
		cr_expect_eq(lm_grammar_other(g, rows[i].mine, strlen(rows[i].mine), &out),
			rows[i].other != NULL);
		if (rows[i].other)
			cr_expect_str_eq(buf_str(&out), rows[i].other);
		buf_release(&out);
		lm_grammar_free(g);
	}
}

/* ---- the real model ---- */

static struct lm *open_lm(void)
{
	const char *path = getenv("MODEL");
	struct err err = ERR_NONE;
	struct lm *lm = NULL;
	int fd;

	if (!path)
		cr_skip_test("skipped: MODEL is not set");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		cr_skip_test("skipped: %s cannot be opened", path);
	cr_assert_eq(lm_open(fd, NULL, &lm, &err), 0, "%s", err.text);
	close(fd);
	return lm;
}

static struct lm_grammar *grammar(struct lm *lm, enum lm_grammar_kind kind, const char *json)
{
	struct lm_grammar *g = NULL;
	struct err err = ERR_NONE;

	cr_assert_eq(lm_grammar(lm, kind, json, strlen(json), &g, &err), 0, "%s", err.text);
	return g;
}

static const struct {
	enum lm_grammar_kind kind;
	const char *json;
	int tokens;
} tasks[] = {
	{LM_GRAMMAR_SCHEMA,
		"{\"type\":\"object\",\"properties\":{\"label\":{\"enum\":[\"billing\",\"bug\","
		"\"praise\"]},"
		"\"sure\":{\"type\":\"boolean\"}},\"required\":[\"label\",\"sure\"]}",
		24},
	{LM_GRAMMAR_SCHEMA,
		"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":8},\"maxItems\":"
		"3}",
		24},
	{LM_GRAMMAR_SCHEMA, "{\"type\":\"string\"}", 6},
	{LM_GRAMMAR_SCHEMA,
		"{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"number\"},\"why\":{"
		"\"type\":\"string\"}},\"required\":[\"n\",\"why\"]}",
		20},
	{LM_GRAMMAR_REGEX, "\"[A-Z]{3}-\\\\d{4}\"", 12},
	{LM_GRAMMAR_REGEX, "\"(yes|no|I do not know)\\\\.\"", 8},
	{LM_GRAMMAR_CHOICES, "[\"low\",\"medium\",\"high\",\"lowest\"]", 4},
};

static const char *const topics[] = {"I was charged twice for my order.",
	"The app crashes on start.", "Lovely service, thank you!", "Where is my parcel?",
	"Reset my password, please.", "Bob owes \"three\" dollars.", "Wie sp\xc3\xa4t ist es?",
	"1 + 1 = ?", "Say nothing.", "{}"};

Test(model, every_answer_fits, .timeout = 900)
{
	struct lm *lm = open_lm();
	const size_t kinds = sizeof(tasks) / sizeof(tasks[0]),
		     ntopics = sizeof(topics) / sizeof(topics[0]);
	const int answers = getenv("LONG") ? 500 : 28;
	struct lm_grammar *g[sizeof(tasks) / sizeof(tasks[0])];

	for (size_t k = 0; k < kinds; k++)
		g[k] = grammar(lm, tasks[k].kind, tasks[k].json);
	for (int i = 0; i < answers; i++) {
		size_t k = (size_t)i % kinds;
		struct lm_generate opt = {.max_tokens = tasks[k].tokens,
			.grammar = g[k],
			.temperature = i < 2 * (int)kinds ? 0 : 1.5,
			.seed = (uint64_t)i};
		struct buf out = BUF_INIT, prompt = BUF_INIT;
		struct err err = ERR_NONE;

		buf_addf(&prompt, "Answer as told. %s", topics[(size_t)i / kinds % ntopics]);
		cr_assert_eq(lm_generate(lm, prompt.data, prompt.len, &opt, &out, &err), 0, "%s",
			err.text);
		cr_expect(lm_grammar_holds(g[k], buf_str(&out), out.len), "%zu: %s", k,
			buf_str(&out));
		if (tasks[k].kind == LM_GRAMMAR_SCHEMA)
			cr_expect_eq(json_check(buf_str(&out), out.len, &err), 0, "%s: %s",
				buf_str(&out), err.text);
		buf_release(&out);
		buf_release(&prompt);
	}
	for (size_t k = 0; k < kinds; k++)
		lm_grammar_free(g[k]);
	lm_close(lm);
}

static char *answer(struct lm *lm, const char *prompt, const struct lm_generate *opt)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_NONE;

	cr_assert_eq(lm_generate(lm, prompt, strlen(prompt), opt, &out, &err), 0, "%s", err.text);
	return buf_detach(&out);
}

/* all text allowed: not a byte changes */
Test(model, an_open_grammar_changes_nothing, .timeout = 300)
{
	struct lm *lm = open_lm();
	struct lm_grammar *g = grammar(lm, LM_GRAMMAR_REGEX, "\"[^]*\"");

	for (size_t i = 0; i < 3; i++) {
		struct lm_generate plain = {.max_tokens = 24},
				   open = {.max_tokens = 24, .grammar = g};
		char *a = answer(lm, topics[i], &plain), *b = answer(lm, topics[i], &open);

		cr_expect_str_eq(a, b);
		plain.temperature = open.temperature = 0.8;
		plain.seed = open.seed = 5;
		free(a);
		free(b);
		a = answer(lm, topics[i], &plain);
		b = answer(lm, topics[i], &open);
		cr_expect_str_eq(a, b);
		free(a);
		free(b);
	}
	lm_grammar_free(g);
	lm_close(lm);
}

/* token by token from the logits of the whole text, without drafts and snapshots */
static char *slow_answer(struct lm *lm, const char *prompt, struct lm_grammar *g, int max)
{
	float *logits;
	struct constrain c;
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;
	int *ids, all[512];
	size_t n;

	cr_assert_eq(chat_prompt(lm->m->chat, lm->m->tokenizer, NULL, prompt, strlen(prompt), &ids,
			     &n, &err),
		0);
	memcpy(all, ids, n * sizeof(int));
	free(ids);
	logits = malloc(512 * (size_t)lm_vocab(lm) * sizeof(float));
	cr_assert_eq(constrain_begin(&c, g, max, &err), 0, "%s", err.text);
	for (int left = max - 1; left >= 0; left--) {
		float *last = logits + (n - 1) * (size_t)lm_vocab(lm);
		int id;

		cr_assert_eq(lm_logits(lm, all, n, logits, &err), 0);
		cr_assert_eq(constrain_mask(&c, last, &err), 0);
		while (id = sample_greedy(last, lm_vocab(lm)), !constrain_fits(&c, id, left))
			last[id] = -INFINITY;
		if (chat_is_end(lm->m->chat, id))
			break;
		constrain_take(&c, id);
		tokenizer_decode(lm->m->tokenizer, &id, 1, &out);
		all[n++] = id;
		if (constrain_is_over(&c))
			break;
	}
	free(logits);
	return buf_detach(&out);
}

Test(model, drafts_change_nothing, .timeout = 300)
{
	struct lm *lm = open_lm();

	for (size_t k = 0; k < 4; k++) {
		struct lm_grammar *g = grammar(lm, tasks[k].kind, tasks[k].json);
		struct lm_generate opt = {.max_tokens = tasks[k].tokens, .grammar = g};
		char *fast = answer(lm, topics[k], &opt),
		     *slow = slow_answer(lm, topics[k], g, tasks[k].tokens);

		cr_expect_str_eq(fast, slow);
		free(fast);
		free(slow);
		lm_grammar_free(g);
	}
	lm_close(lm);
}

/* however few tokens there are, the answer is whole or there is a sentence */
Test(model, the_limit_never_cuts, .timeout = 300)
{
	struct lm *lm = open_lm();
	struct lm_grammar *g = grammar(lm, tasks[3].kind, tasks[3].json);
	int refused = 0;

	for (int max = 1; max < 16; max++) {
		struct lm_generate opt = {.max_tokens = max, .grammar = g};
		struct buf out = BUF_INIT;
		struct err err = ERR_NONE;
		int rc = lm_generate(lm, topics[0], strlen(topics[0]), &opt, &out, &err);

		if (rc == -ERANGE) {
			cr_expect(strstr(err.text, "max_tokens") != NULL);
			cr_expect_eq(refused, max - 1);
			refused = max;
		} else {
			cr_expect_eq(rc, 0, "%s", err.text);
			cr_expect(lm_grammar_holds(g, buf_str(&out), out.len), "%d: %s", max,
				buf_str(&out));
		}
		buf_release(&out);
	}
	cr_expect(refused >= 3 && refused <= 12, "%d", refused);
	lm_grammar_free(g);
	lm_close(lm);
}
