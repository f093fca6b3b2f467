/*
 * export - an adapter as a GGUF file for llama.cpp, alone or folded into its base.
 *
 * Format: ggml-org/ggml docs/gguf.md; names and keys of adapters as llama.cpp reads them. Tensors
 * keep the order of the base, so the same inputs give the same bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"
#include "trainer/gguf.h"
#include "base/guard.h"
#include "trainer/lm.h"
#include "trainer/lora.h"
#include "trainer/model_map.h"
#include "trainer/quant.h"

enum { ALIGNMENT = 32, NAME_BYTES = 128 };

/* a tensor to write: bytes of its own, or rows made one after the other */
struct put {
	char name[NAME_BYTES];
	enum tensor_type type;
	int64_t rows, cols;
	const void *data; /* borrowed; NULL: ${pair} folded into ${base} */
	const struct tensor *base;
	const struct lora_pair *pair;
};

struct file {
	int fd;
	uint64_t alignment;
	struct put *put; /* owned */
	size_t n;
	struct buf keys; /* raw key-value pairs */
	uint64_t key_count;
};

static void add_u32(struct buf *b, uint32_t v)
{
	(void)buf_add(b, &v, sizeof(v));
}

static void add_u64(struct buf *b, uint64_t v)
{
	(void)buf_add(b, &v, sizeof(v));
}

static void add_text(struct buf *b, const char *text)
{
	add_u64(b, strlen(text));
	(void)buf_puts(b, text);
}

static void key_text(struct file *f, const char *key, const char *value)
{
	add_text(&f->keys, key);
	add_u32(&f->keys, GGUF_STRING);
	add_text(&f->keys, value);
	f->key_count++;
}

static void key_float(struct file *f, const char *key, float value)
{
	add_text(&f->keys, key);
	add_u32(&f->keys, GGUF_F32);
	(void)buf_add(&f->keys, &value, sizeof(value));
	f->key_count++;
}

static uint64_t put_bytes(const struct put *p)
{
	return (uint64_t)p->rows * tensor_row_bytes(p->type, p->cols);
}

static uint64_t padding(const struct file *f, uint64_t at)
{
	return (f->alignment - at % f->alignment) % f->alignment;
}

static int write_header(const struct file *f, struct err *err)
{
	struct buf head = BUF_INIT;
	uint64_t offset = 0;
	int rc;

	(void)buf_puts(&head, "GGUF");
	add_u32(&head, 3);
	add_u64(&head, f->n);
	add_u64(&head, f->key_count);
	(void)buf_add(&head, f->keys.data, f->keys.len);
	for (size_t i = 0; i < f->n; i++) {
		const struct put *p = &f->put[i];

		add_text(&head, p->name);
		add_u32(&head, p->rows == 1 ? 1 : 2); /* a vector has one dimension */
		add_u64(&head, (uint64_t)p->cols);
		if (p->rows != 1)
			add_u64(&head, (uint64_t)p->rows);
		add_u32(&head, p->type);
		add_u64(&head, offset);
		offset += put_bytes(p);
		offset += padding(f, offset);
	}
	for (uint64_t pad = padding(f, head.len); pad > 0; pad--)
		(void)buf_putc(&head, 0);
	rc = head.failed || f->keys.failed ? err_nomem(err)
					   : write_all(f->fd, head.data, head.len, err);
	buf_release(&head);
	return rc;
}

/* to the nearest IEEE half, ties to even; beyond its range infinity */
static uint16_t half_of(float value)
{
	uint32_t bits, sign, mantissa, shift, rest;
	int exponent;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000u;
	exponent = (int)(bits >> 23 & 255u) - 127;
	mantissa = (bits & 0x7fffffu) | 0x800000u;
	if (exponent > 15)
		return (uint16_t)(sign | 0x7c00u);
	if (exponent < -25)
		return (uint16_t)sign;
	shift = exponent < -14 ? 13u + (uint32_t)(-14 - exponent) : 13u;
	rest = mantissa & ((1u << shift) - 1);
	mantissa >>= shift;
	if (exponent >= -14)
		mantissa += (uint32_t)(exponent + 14)
			    << 10; /* its leading one is the last exponent bit */
	if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (mantissa & 1)))
		mantissa++;
	return (uint16_t)(sign | mantissa);
}

/* W + scale B A, row by row, as halves */
static int write_folded(int fd, const struct put *p, const struct lora *lo, struct err *err)
{
	float scale = lo->alpha / (float)lo->rank, *row;
	size_t cols = (size_t)p->cols;
	uint16_t *half;
	int rc = 0;

	row = malloc(cols * sizeof(*row));
	half = malloc(cols * sizeof(*half));
	if (!row || !half)
		rc = err_nomem(err);
	for (int64_t r = 0; rc == 0 && r < p->rows; r++) {
		tensor_row(p->base, r, row);
		for (int k = 0; k < lo->rank; k++) {
			float b = scale * p->pair->b[r * lo->rank + k];
			const float *a = p->pair->a + (size_t)k * cols;

			for (size_t c = 0; c < cols; c++)
				row[c] += b * a[c];
		}
		for (size_t c = 0; c < cols; c++)
			half[c] = half_of(row[c]);
		rc = write_all(fd, (const char *)half, cols * sizeof(*half), err);
	}
	free(row);
	free(half);
	return rc;
}

/* an alignment may be as wide as gguf_parse() lets it be */
static int write_zeros(int fd, uint64_t n, struct err *err)
{
	static const char zeros[4096];
	int rc = 0;

	for (size_t some; rc == 0 && n > 0; n -= some) {
		some = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);
		rc = write_all(fd, zeros, some, err);
	}
	return rc;
}

static int write_file(const struct file *f, const struct lora *lo, struct err *err)
{
	int rc = write_header(f, err);

	for (size_t i = 0; rc == 0 && i < f->n; i++) {
		const struct put *p = &f->put[i];

		rc = p->data ? write_all(f->fd, p->data, put_bytes(p), err)
			     : write_folded(f->fd, p, lo, err);
		if (rc == 0)
			rc = write_zeros(f->fd, padding(f, put_bytes(p)), err);
	}
	return rc;
}

/* ---- an adapter ---- */

/* B's rows as a GGUF of this architecture has them: those of a folder's q and k are permuted */
static int gguf_rows(const struct model *m, const struct model_arch *arch, const struct lora *lo,
	int module, const struct lora_pair *p, float **out, struct err *err)
{
	bool permute = (arch->flags & ARCH_PERMUTED) && !m->rows_permuted &&
		       (module == MODULE_Q || module == MODULE_K);
	size_t r = (size_t)lo->rank;
	int d = m->head_dim;

	*out = malloc((size_t)p->out * r * sizeof(**out));
	if (!*out)
		return err_nomem(err);
	for (int row = 0; row < p->out; row++) {
		int in = row % d, from = permute ? row - in + in % 2 * (d / 2) + in / 2 : row;

		memcpy(*out + (size_t)row * r, p->b + (size_t)from * r, r * sizeof(**out));
	}
	return 0;
}

static int export_adapter(
	const struct model *m, const struct lora *lo, struct file *f, struct err *err)
{
	const struct model_arch *arch = model_arch_find(m->arch, strlen(m->arch), false, err);
	size_t max = (size_t)m->layers * MODULES;
	float **b = calloc(max, sizeof(*b));
	int rc = 0;

	f->put = calloc(2 * max, sizeof(*f->put));
	if (!arch || !b || !f->put)
		rc = arch ? err_nomem(err) : -EOPNOTSUPP;
	f->alignment = ALIGNMENT;
	key_text(f, "general.type", "adapter");
	/* llama.cpp knows mistral as llama */
	key_text(f, "general.architecture", strcmp(m->arch, "mistral") == 0 ? "llama" : m->arch);
	key_text(f, "adapter.type", "lora");
	key_float(f, "adapter.lora.alpha", lo->alpha);
	for (size_t i = 0; rc == 0 && i < max; i++) {
		const struct lora_pair *p = &lo->pair[i];
		struct put *a_put = &f->put[f->n], *b_put = a_put + 1;
		enum module module = (enum module)(i % MODULES);

		if (!p->a)
			continue;
		rc = gguf_rows(m, arch, lo, module, p, &b[i], err);
		*a_put = (struct put){
			.type = TENSOR_F32, .rows = lo->rank, .cols = p->in, .data = p->a};
		*b_put = (struct put){
			.type = TENSOR_F32, .rows = p->out, .cols = lo->rank, .data = b[i]};
		(void)snprintf(a_put->name, NAME_BYTES, "blk.%zu.%s.weight.lora_a", i / MODULES,
			model_module_gguf(module));
		(void)snprintf(b_put->name, NAME_BYTES, "blk.%zu.%s.weight.lora_b", i / MODULES,
			model_module_gguf(module));
		f->n += 2;
	}
	if (rc == 0)
		rc = write_file(f, lo, err);
	for (size_t i = 0; b && i < max; i++)
		free(b[i]);
	free(b);
	return rc;
}

/* ---- a base with the adapter in it ---- */

static const struct lora_pair *pair_of(
	const struct model *m, const struct lora *lo, const struct tensor *t)
{
	for (int i = 0; i < m->layers * MODULES; i++)
		if (lo->pair[i].a && m->layer[i / MODULES].w[i % MODULES].data == t->data)
			return &lo->pair[i];
	return NULL;
}

static int list_tensors(const struct model *m, const struct lora *lo, const struct gguf *g,
	struct file *f, struct err *err)
{
	const struct tensor *t;
	size_t n = 0;

	while (gguf_tensor_at(g, n))
		n++;
	f->put = calloc(n + 1, sizeof(*f->put));
	if (!f->put)
		return err_nomem(err);
	for (f->n = 0; (t = gguf_tensor_at(g, f->n)); f->n++) {
		struct put *p = &f->put[f->n];
		size_t len;
		const char *name = gguf_tensor_name(g, f->n, &len);

		if (len >= NAME_BYTES)
			return err_set(err, EBADMSG, "GGUF tensor name of %zu bytes", len);
		*p = (struct put){
			.type = t->type, .rows = t->rows, .cols = t->cols, .data = t->data};
		memcpy(p->name, name, len);
		p->pair = pair_of(m, lo, t);
		if (!p->pair)
			continue;
		p->type = TENSOR_F16;
		p->base = t;
		p->data = NULL;
	}
	return 0;
}

static int export_merged(
	const struct model *m, const struct lora *lo, struct file *f, struct err *err)
{
	const struct model_map *mm = m->map;
	const void *raw;
	struct gguf *g;
	int64_t align = ALIGNMENT;
	size_t len;
	int rc;

	if (mm->hf_names)
		return err_set(err, EOPNOTSUPP,
			"merged is written from a GGUF base; this one is a Hugging Face folder "
			"(export peft and merge there)");
	if (mm->pieces != 1)
		return err_set(err, EOPNOTSUPP,
			"merged is written from a GGUF in one file; this base is in %zu parts",
			mm->pieces);
	rc = gguf_parse(mm->piece[0].at, mm->piece[0].bytes, &g, err);
	if (rc < 0)
		return rc;
	raw = gguf_raw_keys(g, &len, &f->key_count);
	(void)buf_add(&f->keys, raw, len);
	(void)gguf_int(g, "general.alignment", &align); /* checked when it was parsed */
	f->alignment = (uint64_t)align;
	rc = list_tensors(m, lo, g, f, err);
	if (rc == 0)
		rc = write_file(f, lo, err);
	if (rc == 0 && guard_lost(mm->piece[0].at))
		rc = err_set(err, ESTALE, "base model changed while it was read");
	gguf_free(g);
	return rc;
}

int lm_export(struct lm *lm, int dirfd, enum lm_export_form form, int fd, struct err *err)
{
	struct file f = {.fd = fd};
	struct lora *lo;
	int rc = lora_load(lm->m, dirfd, &lo, err);

	if (rc < 0)
		return rc;
	rc = form == LM_EXPORT_MERGED ? export_merged(lm->m, lo, &f, err)
				      : export_adapter(lm->m, lo, &f, err);
	buf_release(&f.keys);
	free(f.put);
	lora_free(lo);
	return rc;
}
