/*
 * rag_corpus - the texts that bench-rag measures on: rag_corpus DOCS FOLDER writes
 *   FOLDER/tree/tNNN/dNNNNNNN.txt   the documents, as files
 *   FOLDER/docs.txt                 the same, one a line, for programs that index lines
 *   FOLDER/queries.txt              1,000 questions of 2 to 6 words, one a line
 *
 * rag_corpus DOCS FOLDER FIRST begins with document FIRST, a multiple of 1,000: a corpus in parts.
 *
 * Seeded: the same DOCS give the same bytes everywhere. Words follow Zipf and Mandelbrot's law
 * (500,000 words, s 1.06, q 2.7); a quarter of the tokens comes from the 2,000 words of the
 * folder's topic; lengths are log-normal with a mean of 202 words. A question asks for words of one
 * document.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	WORDS = 500000,
	TOPIC_WORDS = 2000,
	FOLDER_DOCS = 1000,
	QUESTIONS = 1000,
	LENGTH_MAX = 4000,
	GUIDE = 1 << 16,
};

static double reach[WORDS]; /* of each rank: the share of all tokens up to it */
static uint32_t guide[GUIDE + 1];
static char names[WORDS][16];

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t next(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15);
}

static double uniform(uint64_t *state)
{
	return (double)(next(state) >> 11) * 0x1p-53;
}

/* syllables, so that frequent words are short and no two are the same */
static void name_word(uint32_t rank, char out[16])
{
	static const char first[] = "bdfgklmnprstvz", second[] = "aeiou";
	uint32_t x = rank + 1;
	size_t n = 0;

	for (; x > 0 && n < 14; x /= 70) {
		out[n++] = first[x % 14];
		out[n++] = second[x / 14 % 5];
	}
	out[n++] = (char)('a' + mix(rank) % 26);
	out[n] = '\0';
}

static void fill_law(void)
{
	double sum = 0;

	for (uint32_t r = 0; r < WORDS; r++) {
		reach[r] = sum += pow(r + 1 + 2.7, -1.06);
		name_word(r, names[r]);
	}
	for (uint32_t r = 0, g = 0; r < WORDS; r++) {
		reach[r] /= sum;
		while (g <= GUIDE && (double)g / GUIDE <= reach[r])
			guide[g++] = r;
	}
	guide[GUIDE] = WORDS - 1;
}

static uint32_t draw(uint64_t *state)
{
	double x = uniform(state);
	uint32_t low = guide[(uint32_t)(x * GUIDE)], high = guide[(uint32_t)(x * GUIDE) + 1];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (reach[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* the words of a document; returns their number */
static uint32_t make(uint32_t doc, uint32_t words[LENGTH_MAX])
{
	uint64_t state = mix(doc), topic = mix(doc / FOLDER_DOCS + 77);
	double a = uniform(&state), b = uniform(&state),
	       normal = sqrt(-2 * log(1 - a)) * cos(2 * 3.141592653589793 * b);
	double length = exp(log(202) - 0.125 + 0.5 * normal);
	uint32_t n = length < 5 ? 5 : length > LENGTH_MAX ? LENGTH_MAX : (uint32_t)length;

	for (uint32_t i = 0; i < n; i++) {
		words[i] = draw(&state);
		if (next(&state) % 4 == 0)
			words[i] = (uint32_t)(mix(topic + words[i] % TOPIC_WORDS) % WORDS);
	}
	return n;
}

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		fprintf(stderr, "rag_corpus: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return f;
}

static void finish(FILE *f)
{
	if (fclose(f) != 0) {
		perror("rag_corpus");
		exit(1);
	}
}

static void folder(const char *path)
{
	if (mkdir(path, 0777) < 0 && errno != EEXIST) {
		perror(path);
		exit(1);
	}
}

static void put_doc(const char *root, uint32_t doc, const char *text, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tree/t%04u", root, doc / FOLDER_DOCS);
	if (doc % FOLDER_DOCS == 0)
		folder(path);
	snprintf(path, sizeof(path), "%s/tree/t%04u/d%07u.txt", root, doc / FOLDER_DOCS, doc);
	f = create(path);
	fwrite(text, 1, len, f);
	finish(f);
}

static void put_docs(const char *root, uint32_t first, uint32_t end)
{
	static char text[LENGTH_MAX * 17];
	static uint32_t words[LENGTH_MAX];
	char path[4096];
	FILE *lines;

	snprintf(path, sizeof(path), "%s/docs.txt", root);
	lines = create(path);
	for (uint32_t d = first; d < end; d++) {
		uint32_t n = make(d, words);
		size_t len = 0;

		for (uint32_t i = 0; i < n; i++) {
			const char *name = names[words[i]];
			size_t k = strlen(name);

			memcpy(text + len, name, k);
			text[len + k] = i + 1 == n ? '\n' : ' ';
			len += k + 1;
		}
		fwrite(text, 1, len, lines);
		put_doc(root, d, text, len);
	}
	finish(lines);
}

static void put_questions(const char *root, uint32_t docs)
{
	static uint32_t words[LENGTH_MAX];
	uint64_t state = 4711;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/queries.txt", root);
	f = create(path);
	for (int q = 0; q < QUESTIONS; q++) {
		uint32_t n = make((uint32_t)(next(&state) % docs), words),
			 want = 2 + (uint32_t)(next(&state) % 5);

		for (uint32_t i = 0; i < want; i++)
			fprintf(f, "%s%s", i ? " " : "", names[words[next(&state) % n]]);
		fputc('\n', f);
	}
	finish(f);
}

int main(int argc, char **argv)
{
	uint32_t docs = argc == 3 || argc == 4 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0,
		 first = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	char path[4096];

	if (docs == 0 || first % FOLDER_DOCS) {
		fprintf(stderr, "usage: rag_corpus DOCS FOLDER [FIRST]\n");
		return 2;
	}
	fill_law();
	folder(argv[2]);
	snprintf(path, sizeof(path), "%s/tree", argv[2]);
	folder(path);
	put_docs(argv[2], first, first + docs);
	put_questions(argv[2], first + docs);
	return 0;
}
