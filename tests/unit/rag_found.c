/*
 * How much of what is there kolm-2 finds in the texts that word splitters fail on: substrings of
 * two and more Han characters in running text, and parts of identifiers in source code. Seeded
 * sets, 200 questions each; recall@5 (of the documents that hold what is asked for, at most five)
 * >= .98.
 */
#include "rag_common.h"

#include <time.h>

enum { DOCS = 400, QUESTIONS = 200, TOP = 5, WORDS = 1500, PARTS_MAX = 4 };

static uint64_t state;

static uint32_t below(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

struct set {
	char *dir, *store;
	struct buf docs[DOCS];	/* as written */
	struct buf facts[DOCS]; /* in which what is asked for is looked up: the oracle */
	struct rag_index *ix;
	const char *ext;
};

static void set_index(struct set *st)
{
	struct rag_build opt = {.name = "docs", .created_at = FIXED_TIME, .mode = "kolm-2"};
	struct err err = ERR_NONE;
	struct rag_built built;
	char name[32];

	st->dir = scratch();
	st->store = scratch();
	for (int i = 0; i < DOCS; i++) {
		snprintf(name, sizeof(name), "%03d.%s", i, st->ext);
		put_bytes(st->dir, name, st->docs[i].data, st->docs[i].len);
	}
	opt.root = st->dir;
	opt.ext = st->ext;
	cr_assert_eq(build_with(st->dir, st->store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_geq(built.docs, DOCS);
	cr_assert_eq(open_index(st->store, "docs", &st->ix, &err), 0, "%s", err.text);
}

static void set_release(struct set *st)
{
	rag_close(st->ix);
	sweep(st->dir);
	sweep(st->store);
	for (int i = 0; i < DOCS; i++) {
		buf_release(&st->docs[i]);
		buf_release(&st->facts[i]);
	}
}

/* the documents that hold ${fact} and were found, of those there are, at most TOP */
static double recall(const struct set *st, const char *question, const char *fact)
{
	char *answer = ask(st->ix, question, TOP, RAG_PATHS), *save = NULL;
	int there = 0, found = 0;

	for (int i = 0; i < DOCS; i++)
		there += strstr(buf_str(&st->facts[i]), fact) != NULL;
	cr_assert_gt(there, 0, "nothing holds '%s'", fact);
	for (char *p = strtok_r(answer, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		found += strstr(buf_str(&st->facts[atoi(p)]), fact) != NULL;
	free(answer);
	return (double)found / (there < TOP ? there : TOP);
}

/* ${make} fills a set; ${pick} takes ${least} to ${least} + ${spread} - 1 parts of it to ask for */
static void check_recall(const char *what, const char *ext, void (*make)(struct set *),
	void (*pick)(const struct set *, uint32_t, char *), uint32_t least, uint32_t spread)
{
	struct set st = {.ext = ext};
	char text[64];
	double sum = 0;

	state = 20310203;
	make(&st);
	set_index(&st);
	for (uint32_t i = 0; i < QUESTIONS; i++) {
		pick(&st, least + i % spread, text);
		sum += recall(&st, text, text);
	}
	fprintf(stderr, "%s: recall@%d %.4f\n", what, TOP, sum / QUESTIONS);
	cr_assert_geq(sum / QUESTIONS, 0.98, "recall %.4f", sum / QUESTIONS);
	set_release(&st);
}

/* ---- Han ---- */

static void put_han(struct buf *out, uint32_t rune)
{
	char b[] = {(char)(0xe0 | rune >> 12), (char)(0x80 | (rune >> 6 & 0x3f)),
		(char)(0x80 | (rune & 0x3f))};

	buf_add(out, b, sizeof(b));
}

/* words of one to four of 900 characters, the first ones common; now and then a Latin one, a comma,
 * a full stop, kana */
static void make_han(struct set *st)
{
	static const char *const between[] = {"\xe3\x80\x82", "\xef\xbc\x8c", "\xe3\x81\xae",
		"\xe3\x81\xaf", " SQLite3 ", "\n", "2024\xe5\xb9\xb4"};
	uint32_t words[WORDS][PARTS_MAX], lens[WORDS];

	for (int i = 0; i < WORDS; i++) {
		lens[i] = 1 + below(PARTS_MAX);
		for (uint32_t j = 0; j < lens[i]; j++)
			words[i][j] = 0x4e00 + 7 * (below(30) * below(30));
	}
	for (int i = 0; i < DOCS; i++) {
		for (uint32_t n = 40 + below(120); n > 0; n--) {
			uint32_t w = below(WORDS) * below(WORDS) / WORDS;

			for (uint32_t j = 0; j < lens[w]; j++)
				put_han(&st->docs[i], words[w][j]);
			if (below(5) == 0)
				buf_puts(&st->docs[i], between[below(7)]);
		}
		buf_add(&st->facts[i], st->docs[i].data, st->docs[i].len);
	}
}

static bool is_han(const char *p)
{
	return (unsigned char)p[0] >= 0xe4 && (unsigned char)p[0] <= 0xe9;
}

/* ${n} Han characters that stand side by side in a document */
static void pick_han(const struct set *st, uint32_t n, char *out)
{
	for (;;) {
		const struct buf *doc = &st->docs[below(DOCS)];
		size_t at = below((uint32_t)doc->len), got = 0;

		while (at < doc->len && got < n && at + 3 * n <= doc->len &&
			is_han(doc->data + at + 3 * got))
			got++;
		if (got < n)
			continue;
		memcpy(out, doc->data + at, 3 * (size_t)n);
		out[3 * n] = '\0';
		return;
	}
}

Test(rag_found, substrings_of_han)
{
	check_recall("Han substrings", "txt", make_han, pick_han, 2, 5);
}

/* ---- identifiers ---- */

static void make_word(char out[16])
{
	static const char *const first[] = {"b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p",
		"r", "s", "t", "v", "w", "st", "br", "cl"},
				 *const vowel[] = {"a", "e", "i", "o", "u"},
				 *const end[] = {"", "", "n", "r", "t", "x", "m"};

	*out = '\0';
	for (uint32_t n = 2 + below(2); n > 0; n--) {
		strcat(out, first[below(19)]);
		strcat(out, vowel[below(5)]);
	}
	strcat(out, end[below(7)]);
}

static void put_upper(struct buf *out, const char *word, size_t n)
{
	for (size_t i = 0; word[i]; i++)
		buf_putc(out, (char)(i < n ? word[i] - 'a' + 'A' : word[i]));
}

/* camelCase, PascalCase, snake_case, UPPER_CASE, kebab-case, dotted.name, pkg::name, name2 */
static void put_identifier(struct buf *out, char *const *parts, uint32_t n, uint32_t style)
{
	static const char *const joints[] = {"", "", "_", "_", "-", ".", "::", ""};

	for (uint32_t i = 0; i < n; i++) {
		size_t upper = style == 3					     ? 99
			       : style == 1 || (i > 0 && (style == 0 || style == 7)) ? 1
										     : 0;

		if (i > 0)
			buf_puts(out, joints[style]);
		put_upper(out, parts[i], upper);
	}
	if (style == 7)
		buf_addf(out, "%u", below(10));
}

static void make_code(struct set *st)
{
	static char words[WORDS][16];
	static const char *const lines[] = {
		"\tint ", "\treturn ", "if (", "\tcall(", "// see ", "static void ", "import "};
	char *parts[PARTS_MAX];

	for (int i = 0; i < WORDS; i++)
		make_word(words[i]);
	for (int i = 0; i < DOCS; i++)
		for (uint32_t n = 10 + below(40); n > 0; n--) {
			uint32_t count = 2 + below(PARTS_MAX - 1);

			/* the facts: every identifier as " part part part " */
			buf_putc(&st->facts[i], ' ');
			for (uint32_t j = 0; j < count; j++) {
				parts[j] = words[below(WORDS)];
				buf_addf(&st->facts[i], "%s ", parts[j]);
			}
			buf_putc(&st->facts[i], '|');
			buf_puts(&st->docs[i], lines[below(7)]);
			put_identifier(&st->docs[i], parts, count, below(8));
			buf_puts(&st->docs[i], ";\n");
		}
}

/* one or two neighbours of an identifier, as " part part " */
static void pick_parts(const struct set *st, uint32_t n, char *out)
{
	for (;;) {
		const char *text = buf_str(&st->facts[below(DOCS)]);
		size_t at = below((uint32_t)strlen(text));
		const char *from = strchr(text + at, ' '), *p = from;

		for (uint32_t i = 0; p && i < n; i++)
			p = strpbrk(p + 1, " |");
		if (!p || *p != ' ' || p == from + 1 || memchr(from, '|', (size_t)(p - from)))
			continue;
		memcpy(out, from, (size_t)(p - from) + 1);
		out[p - from + 1] = '\0';
		return;
	}
}

Test(rag_found, parts_of_identifiers)
{
	check_recall("parts of identifiers", "c", make_code, pick_parts, 1, 2);
}

/* ---- one large file among others ---- */

enum { RECORDS = 40000 };

static double seconds_to_ask(const struct rag_index *ix, size_t k, const char *want)
{
	clock_t from = clock();
	char *answer = ask(ix, "alpha", k, RAG_PATHS);

	cr_expect_str_eq(answer, want);
	free(answer);
	return (double)(clock() - from) / CLOCKS_PER_SEC;
}

/* every record of records.json has the word: files enough for the answer are looked for behind all
 * of them, which must not mean thousands of walks */
Test(rag_found, a_file_of_many_pieces_does_not_hide_the_others_nor_cost_a_walk_for_each)
{
	struct rag_build opt = {.name = "docs", .created_at = FIXED_TIME, .mode = "kolm-2"};
	char *dir = scratch(), *store = scratch();
	struct buf records = BUF_INIT;
	struct err err = ERR_NONE;
	struct rag_index *ix = NULL;
	struct rag_built built;
	double once, all;

	for (int i = 0; i < RECORDS; i++)
		buf_addf(&records, "%c\"alpha %d\"", i ? ',' : '[', i);
	buf_puts(&records, "]");
	put_bytes(dir, "records.json", records.data, records.len);
	put_text(dir, "z.md", "a long text in which alpha stands once, and behind all the others");
	opt.root = dir;
	cr_assert_eq(build_with(dir, store, &opt, &built, &err), 0, "%s", err.text);
	cr_assert_eq(built.docs, RECORDS + 1);
	cr_assert_eq(open_index(store, "docs", &ix, &err), 0, "%s", err.text);
	once = seconds_to_ask(ix, 1, "records.json\n");
	all = seconds_to_ask(ix, 5, "records.json\nz.md\n");
	/* seven walks, for ever larger shares; by eighteen pieces each there were 2,223 */
	cr_expect_lt(all, 100 * once + 0.1, "%f s against %f s", all, once);
	rag_close(ix);
	buf_release(&records);
	sweep(dir);
	sweep(store);
}
