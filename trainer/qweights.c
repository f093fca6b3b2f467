#include "trainer/qweights.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/quant.h"

enum { PACK_GROUPS = 16 };

/* 32 weights of a row and their scales, which of them says the kind (qkern.h) */
struct block {
	uint16_t d; /* halves */
	uint16_t m;
	float wide_d;
	float wide_m;
	int8_t s[2];
	int8_t n[2];
	int8_t q[QK_BLOCK];
};

struct pack {
	struct qweights *qw;
	uint8_t *data;
	const struct tensor *w;
	_Atomic int unfit;
};

static uint16_t load16(const uint8_t *at)
{
	uint16_t h;

	memcpy(&h, at, sizeof(h));
	return h;
}

/* -2^n times a half, exact; false when it leaves the range */
static bool times_minus(int n, uint16_t h, uint16_t *out)
{
	uint16_t sign = (uint16_t)((h & 0x8000) ^ 0x8000);

	h &= 0x7fff;
	for (int i = 0; i < n; i++) {
		if (h >= 0x7800) /* the next would be infinity, or is already */
			return false;
		h = (uint16_t)(h < 0x400 ? h << 1 : h + 0x400);
	}
	*out = h | sign;
	return true;
}

static uint16_t negative(uint16_t h)
{
	return h ^ 0x8000;
}

static void nibbles(const uint8_t *at, int8_t *q)
{
	for (int i = 0; i < 16; i++) {
		q[i] = (int8_t)(at[i] & 15);
		q[i + 16] = (int8_t)(at[i] >> 4);
	}
}

static void iq4_nibbles(const uint8_t *at, int8_t *q)
{
	for (int i = 0; i < 16; i++) {
		q[i] = quant_iq4_values[at[i] & 15];
		q[i + 16] = quant_iq4_values[at[i] >> 4];
	}
}

static void add_fifth_bits(const uint8_t *at, int8_t *q)
{
	for (int i = 0; i < 32; i++)
		q[i] = (int8_t)(q[i] + ((at[i / 8] >> i % 8 & 1) << 4));
}

/* false: no packed form */
static bool read_block(enum tensor_type type, const uint8_t *at, struct block *bk)
{
	bk->d = load16(at);
	bk->m = 0;
	switch (type) {
	case TENSOR_Q4_0:
		nibbles(at + 2, bk->q);
		return times_minus(3, bk->d, &bk->m);
	case TENSOR_Q4_1:
		bk->m = load16(at + 2);
		nibbles(at + 4, bk->q);
		return true;
	case TENSOR_Q5_0:
		nibbles(at + 6, bk->q);
		add_fifth_bits(at + 2, bk->q);
		return times_minus(4, bk->d, &bk->m);
	case TENSOR_Q5_1:
		bk->m = load16(at + 2);
		nibbles(at + 8, bk->q);
		add_fifth_bits(at + 4, bk->q);
		return true;
	case TENSOR_IQ4_NL:
		iq4_nibbles(at + 2, bk->q);
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

/* two bits of each byte for every 32 weights */
static void two_bits(const uint8_t *at, int b, int8_t *q)
{
	for (int i = 0; i < QK_BLOCK; i++)
		q[i] = (int8_t)(at[b / 4 * 32 + i] >> b % 4 * 2 & 3);
}

/* four bits of each byte for every 32 weights */
static void four_bits(const uint8_t *at, int b, int8_t *q)
{
	for (int i = 0; i < QK_BLOCK; i++)
		q[i] = (int8_t)(at[b / 2 * 32 + i] >> b % 2 * 4 & 15);
}

static void read_q2_k(const uint8_t *at, int b, struct block *bk)
{
	two_bits(at + 16, b, bk->q);
	bk->d = load16(at + 80);
	bk->m = negative(load16(at + 82));
	for (int h = 0; h < 2; h++) {
		bk->s[h] = (int8_t)(at[2 * b + h] & 15);
		bk->n[h] = (int8_t)(at[2 * b + h] >> 4);
	}
}

/* d s (q - 4): a minimum of 4 s times -d */
static void read_q3_k(const uint8_t *at, int b, struct block *bk)
{
	two_bits(at + 32, b, bk->q);
	for (int i = 0; i < QK_BLOCK; i++)
		bk->q[i] = (int8_t)(bk->q[i] + ((at[i] >> b & 1) << 2));
	bk->d = load16(at + 108);
	bk->m = negative(bk->d);
	for (int h = 0; h < 2; h++) {
		bk->s[h] = (int8_t)quant_scale_q3(2 * b + h, at + 96);
		bk->n[h] = (int8_t)(4 * bk->s[h]);
	}
}

/* Q4_K and, with ${high} bits, Q5_K */
static void read_q45_k(
	const uint8_t *at, const uint8_t *high, const uint8_t *q, int b, struct block *bk)
{
	int scale, min;

	four_bits(q, b, bk->q);
	for (int i = 0; high && i < QK_BLOCK; i++)
		bk->q[i] = (int8_t)(bk->q[i] + ((high[i] >> b & 1) << 4));
	quant_scale_min(b, at + 4, &scale, &min);
	bk->wide_d = quant_load_half(at) * (float)scale;
	bk->wide_m = -quant_load_half(at + 2) * (float)min;
}

static void read_q6_k(const uint8_t *at, int b, struct block *bk)
{
	const uint8_t *low = at + b / 4 * 64 + b % 2 * 32, *high = at + 128 + b / 4 * 32;

	for (int i = 0; i < QK_BLOCK; i++)
		bk->q[i] =
			(int8_t)((low[i] >> b % 4 / 2 * 4 & 15) | (high[i] >> b % 4 * 2 & 3) << 4);
	bk->d = load16(at + 208);
	memcpy(bk->s, at + 192 + 2 * b, 2);
}

/* block ${b} of a super-block of 256 */
static void read_super(enum tensor_type type, const uint8_t *at, int b, struct block *bk)
{
	switch (type) {
	case TENSOR_Q2_K:
		read_q2_k(at, b, bk);
		return;
	case TENSOR_Q3_K:
		read_q3_k(at, b, bk);
		return;
	case TENSOR_Q4_K:
		read_q45_k(at, NULL, at + 16, b, bk);
		return;
	case TENSOR_Q5_K:
		read_q45_k(at, at + 16, at + 48, b, bk);
		return;
	case TENSOR_Q6_K:
		read_q6_k(at, b, bk);
		return;
	default:
		iq4_nibbles(at + 8 + 16 * b, bk->q);
		bk->wide_d = quant_load_half(at) * (float)quant_scale_iq4(b, at);
		bk->wide_m = 0;
	}
}

static void put_scales(enum qk_kind kind, uint8_t *record, int r, const struct block *bk)
{
	if (kind == QK_WIDE_NIBBLES || kind == QK_WIDE_FIVES || kind == QK_WIDE_BYTES) {
		memcpy(record + 4 * r, &bk->wide_d, 4);
		memcpy(record + 32 + 4 * r, &bk->wide_m, 4);
		return;
	}
	memcpy(record + 2 * r, &bk->d, 2);
	if (kind == QK_TWO_BYTES) {
		memcpy(record + 16 + 2 * r, bk->s, 2);
		return;
	}
	memcpy(record + 16 + 2 * r, &bk->m, 2);
	if (kind == QK_TWO_NIBBLES) {
		memcpy(record + 32 + 2 * r, bk->s, 2);
		memcpy(record + 48 + 2 * r, bk->n, 2);
	}
}

static void put_weights(int bytes, uint8_t *to, const struct block *bk)
{
	if (bytes == QK_BYTES_BYTES) {
		for (int i = 0; i < QK_BLOCK; i++)
			to[i / 4 * 32 + i % 4] = (uint8_t)bk->q[i];
		return;
	}
	for (int i = 0; i < 16; i++)
		to[i / 4 * 32 + i % 4] = (uint8_t)((bk->q[i] & 15) | bk->q[i + 16] << 4);
	for (int i = 0; bytes == QK_FIVES_BYTES && i < 4; i++) {
		int high = 0;

		for (int v = 0; v < 8; v++)
			high |= (bk->q[4 * v + i] >> 4 & 1) << v;
		to[QK_NIBBLES_BYTES + i] = (uint8_t)high;
	}
}

/* how a type is packed: kind and size of a record */
struct form {
	enum qk_kind kind;
	int header; /* bytes of scales; 0: no packed form */
	int weights;
};

static const struct form nothing,
	forms[] = {
		[TENSOR_Q4_0] = {QK_NIBBLES, QK_NARROW, QK_NIBBLES_BYTES},
		[TENSOR_Q4_1] = {QK_NIBBLES, QK_NARROW, QK_NIBBLES_BYTES},
		[TENSOR_Q5_0] = {QK_FIVES, QK_NARROW, QK_FIVES_BYTES},
		[TENSOR_Q5_1] = {QK_FIVES, QK_NARROW, QK_FIVES_BYTES},
		[TENSOR_Q8_0] = {QK_BYTES, QK_NARROW, QK_BYTES_BYTES},
		[TENSOR_Q2_K] = {QK_TWO_NIBBLES, QK_WIDE, QK_NIBBLES_BYTES},
		[TENSOR_Q3_K] = {QK_TWO_NIBBLES, QK_WIDE, QK_NIBBLES_BYTES},
		[TENSOR_Q4_K] = {QK_WIDE_NIBBLES, QK_WIDE, QK_NIBBLES_BYTES},
		[TENSOR_Q5_K] = {QK_WIDE_FIVES, QK_WIDE, QK_FIVES_BYTES},
		[TENSOR_Q6_K] = {QK_TWO_BYTES, QK_NARROW, QK_BYTES_BYTES},
		[TENSOR_IQ4_NL] = {QK_BYTES, QK_NARROW, QK_BYTES_BYTES},
		[TENSOR_IQ4_XS] = {QK_WIDE_BYTES, QK_WIDE, QK_BYTES_BYTES},
};

static const struct form *form_of(enum tensor_type type)
{
	return (size_t)type < sizeof(forms) / sizeof(forms[0]) ? &forms[type] : &nothing;
}

static bool pack_row(const struct pack *pk, const uint8_t *at, uint8_t *to, int r)
{
	const struct form *fm = form_of(pk->w->type);
	const struct quant_type *qt = quant_type_of((int)pk->w->type);
	const long blocks = qt->values / QK_BLOCK;

	for (long b = 0; b < pk->qw->blocks; b++, to += fm->header + fm->weights) {
		const uint8_t *from = at + b / blocks * qt->bytes;
		struct block bk;

		if (blocks > 1)
			read_super(pk->w->type, from, (int)(b % blocks), &bk);
		else if (!read_block(pk->w->type, from, &bk))
			return false;
		put_scales(fm->kind, to, r, &bk);
		put_weights(fm->weights, to + fm->header + 4 * r, &bk);
	}
	return true;
}

static void pack_tile(void *arg, int tile, int thread)
{
	struct pack *pk = arg;
	const size_t row_bytes = tensor_row_bytes((int)pk->w->type, pk->w->cols);
	const long first = (long)tile * PACK_GROUPS * QK_ROWS;

	(void)thread;
	for (long row = first; row < first + PACK_GROUPS * QK_ROWS && row < pk->qw->rows; row++) {
		const uint8_t *at = (const uint8_t *)pk->w->data + (size_t)row * row_bytes;
		uint8_t *to = pk->data + (size_t)(row / QK_ROWS) * pk->qw->group_bytes;

		if (!pack_row(pk, at, to, (int)(row % QK_ROWS))) {
			atomic_store(&pk->unfit, 1);
			return;
		}
	}
}

/* float weights stay in the file */
static bool take_floats(struct qweights *qw, const struct tensor *w)
{
	static const struct {
		enum tensor_type type;
		enum qk_kind kind;
	} kinds[] = {{TENSOR_F32, QK_F32}, {TENSOR_F16, QK_F16}, {TENSOR_BF16, QK_BF16}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (w->type != kinds[i].type || w->cols % QK_LANES)
			continue;
		*qw = (struct qweights){.data = w->data,
			.kind = kinds[i].kind,
			.rows = w->rows,
			.group_bytes = QK_ROWS * tensor_row_bytes((int)w->type, w->cols)};
		return true;
	}
	return false;
}

static long groups_of(const struct tensor *w)
{
	return (w->rows + QK_ROWS - 1) / QK_ROWS;
}

static size_t group_bytes(const struct tensor *w)
{
	const struct form *fm = form_of(w->type);

	return (size_t)(w->cols / QK_BLOCK) * (size_t)(fm->header + fm->weights);
}

size_t qweights_bytes(const struct tensor *w)
{
	return ((size_t)groups_of(w) * group_bytes(w) + 63) / 64 * 64;
}

bool qweights_pack(struct qweights *qw, const struct tensor *w, void *memory, struct threads *th)
{
	struct pack pk = {.qw = qw, .data = memory, .w = w};
	const long groups = groups_of(w);

	if (take_floats(qw, w))
		return true;
	*qw = (struct qweights){.kind = form_of(w->type)->kind,
		.rows = w->rows,
		.blocks = w->cols / QK_BLOCK,
		.group_bytes = group_bytes(w)};
	if (!qw->group_bytes)
		return false;
	if (w->rows % QK_ROWS) /* rows that pad the last group are zero */
		memset(pk.data + (size_t)(groups - 1) * qw->group_bytes, 0, qw->group_bytes);
	threads_run(th, (int)((groups + PACK_GROUPS - 1) / PACK_GROUPS), pack_tile, &pk);
	if (!atomic_load(&pk.unfit))
		qw->data = memory;
	return qw->data != NULL;
}
