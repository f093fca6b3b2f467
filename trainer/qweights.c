#include "trainer/qweights.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/quant.h"

enum { PACK_GROUPS = 16 };

/* one block of a row: its scale and minimum as halves, its 32 weights */
struct block {
	uint16_t d;
	uint16_t m;
	int8_t q[QK_BLOCK];
};

struct pack {
	struct qweights *qw;
	const struct tensor *w;
	_Atomic int unfit;
};

static uint16_t load16(const uint8_t *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return h;
}

/* -8 times a half, exact; false when it leaves the range */
static bool times_minus_8(uint16_t h, uint16_t *out)
{
	uint16_t sign = (uint16_t)((h & 0x8000) ^ 0x8000);

	h &= 0x7fff;
	for (int i = 0; i < 3; i++) {
		if (h >= 0x7800) /* the next would be infinity, or is already */
			return false;
		h = (uint16_t)(h < 0x400 ? h << 1 : h + 0x400);
	}
	*out = h | sign;
	return true;
}

static void nibbles(const uint8_t *at, int8_t *q)
{
	for (int i = 0; i < 16; i++) {
		q[i] = (int8_t)(at[i] & 15);
		q[i + 16] = (int8_t)(at[i] >> 4);
	}
}

static void add_fifth_bits(const uint8_t *at, int8_t *q, int offset)
{
	for (int i = 0; i < 32; i++)
		q[i] = (int8_t)(q[i] + ((at[i / 8] >> i % 8 & 1) << 4) - offset);
}

/* false: no packed form */
static bool read_block(enum tensor_type type, const uint8_t *at, struct block *bk)
{
	bk->d = load16(at);
	bk->m = 0;
	switch (type) {
	case TENSOR_Q4_0:
		nibbles(at + 2, bk->q);
		return times_minus_8(bk->d, &bk->m);
	case TENSOR_Q4_1:
		bk->m = load16(at + 2);
		nibbles(at + 4, bk->q);
		return true;
	case TENSOR_Q5_0:
		nibbles(at + 6, bk->q);
		add_fifth_bits(at + 2, bk->q, 16);
		return true;
	case TENSOR_Q5_1:
		bk->m = load16(at + 2);
		nibbles(at + 8, bk->q);
		add_fifth_bits(at + 4, bk->q, 0);
		return true;
	case TENSOR_Q8_0:
		memcpy(bk->q, at + 2, QK_BLOCK);
		for (int i = 0; i < QK_BLOCK;
			i++) /* ggml never writes -128; the kernel cannot take it */
			if (bk->q[i] == -128)
				return false;
		return true;
	default:
		return false;
	}
}

static void put_block(enum qk_kind kind, uint8_t *record, int r, const struct block *bk)
{
	memcpy(record + 2 * r, &bk->d, 2);
	memcpy(record + 16 + 2 * r, &bk->m, 2);
	record += 32 + 4 * r;
	if (kind == QK_NIBBLES) {
		for (int i = 0; i < 16; i++)
			record[i / 4 * 32 + i % 4] = (uint8_t)(bk->q[i] | bk->q[i + 16] << 4);
	} else {
		for (int i = 0; i < QK_BLOCK; i++)
			record[i / 4 * 32 + i % 4] = (uint8_t)bk->q[i];
	}
}

static void pack_tile(void *arg, int tile, int thread)
{
	struct pack *pk = arg;
	const size_t row_bytes = tensor_row_bytes((int)pk->w->type, pk->w->cols);
	const size_t block_bytes = row_bytes / (size_t)pk->qw->blocks,
		     record = pk->qw->group_bytes / (size_t)pk->qw->blocks;
	const long first = (long)tile * PACK_GROUPS * QK_ROWS;

	(void)thread;
	for (long row = first; row < first + PACK_GROUPS * QK_ROWS && row < pk->qw->rows; row++) {
		const uint8_t *at = (const uint8_t *)pk->w->data + (size_t)row * row_bytes;
		uint8_t *to = pk->qw->data + (size_t)(row / QK_ROWS) * pk->qw->group_bytes;

		for (long b = 0; b < pk->qw->blocks; b++, at += block_bytes, to += record) {
			struct block bk;

			if (!read_block(pk->w->type, at, &bk)) {
				atomic_store(&pk->unfit, 1);
				return;
			}
			put_block(pk->qw->kind, to, (int)(row % QK_ROWS), &bk);
		}
	}
}

/* kind and record size of a type; false when it has no packed form */
static bool form_of(enum tensor_type type, enum qk_kind *kind, size_t *record)
{
	switch (type) {
	case TENSOR_Q4_0:
	case TENSOR_Q4_1:
		*kind = QK_NIBBLES;
		*record = QK_NIBBLES_BYTES;
		return true;
	case TENSOR_Q5_0:
	case TENSOR_Q5_1:
	case TENSOR_Q8_0:
		*kind = QK_BYTES;
		*record = QK_BYTES_BYTES;
		return true;
	default:
		return false;
	}
}

static long groups_of(const struct tensor *w)
{
	return (w->rows + QK_ROWS - 1) / QK_ROWS;
}

size_t qweights_bytes(const struct tensor *w)
{
	enum qk_kind kind;
	size_t record;

	if (!form_of(w->type, &kind, &record))
		return 0;
	return ((size_t)groups_of(w) * (size_t)(w->cols / QK_BLOCK) * record + 63) / 64 * 64;
}

bool qweights_pack(struct qweights *qw, const struct tensor *w, void *memory, struct threads *th)
{
	struct pack pk = {.qw = qw, .w = w};
	const long groups = groups_of(w);
	size_t record;

	*qw = (struct qweights){.rows = w->rows, .blocks = w->cols / QK_BLOCK};
	if (!form_of(w->type, &qw->kind, &record))
		return false;
	qw->group_bytes = (size_t)qw->blocks * record;
	qw->data = memory;
	if (w->rows % QK_ROWS) /* rows that pad the last group are zero */
		memset(qw->data + (size_t)(groups - 1) * qw->group_bytes, 0, qw->group_bytes);
	threads_run(th, (int)((groups + PACK_GROUPS - 1) / PACK_GROUPS), pack_tile, &pk);
	if (atomic_load(&pk.unfit))
		qw->data = NULL;
	return qw->data != NULL;
}
