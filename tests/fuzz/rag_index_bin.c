/* rag_index_bin - an index.bin as a stranger wrote it, with checksums that fit: every offset and
 * count is looked at before it is used. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rag/index.h"
#include "rag/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* sums that fit, as far as the table of sections makes sense */
static void reseal(unsigned char *data, size_t size)
{
	struct rag_bin_header *h = (void *)data;
	uint64_t sum;

	h->file_bytes = size;
	for (uint32_t i = 0; i < h->n_sections && i < RAG_SECTIONS_MAX; i++) {
		struct rag_bin_section *sec = &h->sections[i];

		if (sec->offset > size || sec->len > size - sec->offset)
			continue;
		if (sec->id == RAG_SUMS) {
			for (uint64_t at = RAG_HEADER_BYTES, n = 0;
				at < sec->offset && (n + 1) * 4 <= sec->len;
				at += RAG_PAGE_BYTES, n++) {
				uint64_t len = sec->offset - at < RAG_PAGE_BYTES ? sec->offset - at
										 : RAG_PAGE_BYTES;
				uint32_t page = (uint32_t)XXH3_64bits(data + at, len);

				memcpy(data + sec->offset + n * 4, &page, sizeof(page));
			}
		}
		sec->xxh3 = XXH3_64bits(data + sec->offset, sec->len);
	}
	sum = XXH3_64bits(data, RAG_HEADER_BYTES - sizeof(sum));
	memcpy(data + RAG_HEADER_BYTES - sizeof(sum), &sum, sizeof(sum));
}

static void read_all(const struct rag_bin *bin)
{
	struct buf frame = BUF_INIT;
	struct rag_piece piece;
	const char *text;
	size_t len;

	for (uint32_t d = 0; d < bin->header->n_docs && d < 100; d++) {
		rag_bin_path(bin, d, &text, &len);
		rag_bin_piece(bin, d, &piece);
		rag_bin_text(bin, d, &frame, &text, &len);
	}
	buf_release(&frame);
}

static void ask_all(const struct rag_bin *bin)
{
	struct rag_want wants[8];
	struct rag_ask ask = {.wants = wants, .k = 10};
	struct rag_dict_it it;
	struct rag_hit *hits;
	char words[8][RAG_MODE_TERM_BYTES + 1];
	size_t n;

	if (rag_dict_seek(bin, "", 0, &it) < 0)
		return;
	for (int i = 0; i < 200 && rag_dict_next(&it) == 1; i++) {
		if (i % 7)
			continue;
		memcpy(words[ask.n % 8], it.word, it.len + 1);
		wants[ask.n % 8] = (struct rag_want){.word = words[ask.n % 8],
			.len = it.len,
			.weight = 1,
			.need = i % 35 == 14   ? RAG_MUST
				: i % 35 == 28 ? RAG_NOT
					       : RAG_SHOULD};
		if (++ask.n == 8)
			break;
	}
	if (rag_rank(bin, &ask, &hits, &n) == 0)
		free(hits);
}

static void run_all(const struct rag_bin *bin)
{
	size_t n = bin->header->n_docs < 4096 ? (size_t)bin->header->n_docs : 4096;
	uint32_t *map = calloc(n + 1, sizeof(*map));
	struct rag_run rn;

	for (uint32_t i = 0; map && i < n; i++)
		map[i] = i;
	if (map && rag_run_bin(&rn, bin, map, n) == 0)
		for (int i = 0; i < 1000 && rag_run_next(&rn) == 1; i++)
			for (int k = 0; k < 10000 && rag_run_pair(&rn) == 1; k++)
				;
	free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy;
	struct rag_bin bin;

	if (size < RAG_HEADER_BYTES || size > 1 << 20)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	reseal(copy, size);
	if (rag_bin_open(copy, size, true, &bin, NULL) == 0) {
		read_all(&bin);
		ask_all(&bin);
		run_all(&bin);
		rag_bin_check(&bin, NULL);
		rag_bin_close(&bin);
	}
	free(copy);
	return 0;
}
