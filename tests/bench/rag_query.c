/*
 * rag_query - the time of questions in process: rag_query STORE/rag NAME QUERIES [K] prints one
 * line of numbers for bench-rag.sh: open in microseconds, p50 and p99 of ranking in microseconds
 * (best of three rounds for each question), p50 of whole answers with excerpts, private memory in
 * KiB, bytes of lists with skips a posting.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rag/index.h"
#include "rag/rank.h"
#include "rag/tokenize.h"

enum { QUESTIONS_MAX = 10000, ROUNDS = 3 };

static double micros(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int number_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double share(double *times, size_t n, double p)
{
	qsort(times, n, sizeof(*times), number_compare);
	return times[(size_t)((double)(n - 1) * p)];
}

static long private_kib(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	long kib = 0, x;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Anonymous: %ld", &x) == 1)
			kib = x;
	if (f)
		fclose(f);
	return kib;
}

static double rank_once(const struct rag_index *ix, const char *q, size_t len, size_t k)
{
	struct rag_terms words = RAG_TERMS_INIT;
	struct rag_words ws;
	struct rag_hit *hits;
	uint32_t index;
	size_t n;
	double start = micros();

	rag_words_init(&ws, q, len);
	while (rag_words_next(&ws))
		rag_terms_add(&words, ws.word, ws.word_len, &index);
	if (rag_rank_words(&ix->bin, &words, k, &hits, &n) == 0)
		free(hits);
	rag_terms_release(&words);
	return micros() - start;
}

static double answer_once(const struct rag_index *ix, const char *q, size_t len, size_t k)
{
	struct buf out = BUF_INIT;
	double start = micros();

	rag_query(ix, q, len, k, RAG_RESULT, &out, NULL);
	buf_release(&out);
	return micros() - start;
}

int main(int argc, char **argv)
{
	static double rank[QUESTIONS_MAX], answer[QUESTIONS_MAX], opens[100];
	struct rag_index *ix = NULL;
	struct err err = ERR_NONE;
	char line[4096];
	size_t n = 0, k = argc > 4 ? strtoul(argv[4], NULL, 10) : 10;
	long before;
	FILE *f;
	int fd;

	if (argc < 4 || (fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
		!(f = fopen(argv[3], "r"))) {
		fprintf(stderr, "usage: rag_query RAGDIR NAME QUERIES [K]\n");
		return 2;
	}
	for (int i = 0; i < 100; i++) {
		double start = micros();

		rag_close(ix);
		if (rag_open(fd, argv[2], &ix, &err) < 0) {
			fprintf(stderr, "rag_query: %s\n", err.text);
			return 1;
		}
		opens[i] = micros() - start;
	}
	before = private_kib();
	for (; n < QUESTIONS_MAX && fgets(line, sizeof(line), f); n++) {
		size_t len = strcspn(line, "\n");

		rank[n] = answer[n] = 1e9;
		for (int r = 0; r < ROUNDS; r++) {
			double x = rank_once(ix, line, len, k), y = answer_once(ix, line, len, k);

			rank[n] = x < rank[n] ? x : rank[n];
			answer[n] = y < answer[n] ? y : answer[n];
		}
	}
	fclose(f);
	printf("%.1f %.1f %.1f %.1f %ld %.3f\n", share(opens, 100, 0.5), share(rank, n, 0.5),
		share(rank, n, 0.99), share(answer, n, 0.5), private_kib() - before,
		(double)ix->bin.len[RAG_POST] / (double)ix->bin.header->n_pairs);
	rag_close(ix);
	return 0;
}
