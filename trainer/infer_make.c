/*
 * infer_make - making the engine of a model: packed weights and scratch memory; making an adapter
 * ready.
 */
#include "trainer/infer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "trainer/infer_inside.h"

enum { HUGE_PAGE = 2 << 20 };

/*
 * Packed weights of the whole model in one piece, in huge pages where the system gives them: every
 * token streams through all of it, and prefetching stops at the end of a small page.
 */
static int pack_all(struct infer *in, struct err *err)
{
	const struct model *m = in->m;
	const int n = m->layers * MODULES;
	uint8_t *at;

	in->packed_bytes = qweights_bytes(&m->head) + HUGE_PAGE;
	for (int i = 0; i < n; i++)
		in->packed_bytes += qweights_bytes(&m->layer[i / MODULES].w[i % MODULES]);
	in->packed = mmap(
		NULL, in->packed_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (in->packed == MAP_FAILED) {
		in->packed = NULL;
		return err_nomem(err);
	}
	(void)madvise(in->packed, in->packed_bytes, MADV_HUGEPAGE);
	at = in->packed + (HUGE_PAGE - (uintptr_t)in->packed % HUGE_PAGE) % HUGE_PAGE;
	for (int i = 0; i <= n; i++) {
		struct linear *ln = i < n ? &in->linear[i] : &in->head;

		ln->w = i < n ? &m->layer[i / MODULES].w[i % MODULES] : &m->head;
		ln->bias = i < n ? m->layer[i / MODULES].bias[i % MODULES] : NULL;
		qweights_pack(&ln->q, ln->w, at, in->th);
		at += qweights_bytes(ln->w);
	}
	return 0;
}

static int allocate(struct infer *in, struct err *err)
{
	const struct model *m = in->m;
	const size_t n = INFER_TOKENS, dim = (size_t)m->dim,
		     width = (size_t)m->heads * (size_t)m->head_dim, ffn = (size_t)m->ffn;
	const size_t half = (size_t)m->head_dim / 2 * (m->rope_local ? 2 : 1),
		     cols = dim > ffn ? (dim > width ? dim : width) : (ffn > width ? ffn : width);
	float *at;

	in->memory = calloc(n * (2 * dim + 2 * width + 2 * ffn + 2 * half), sizeof(float));
	in->rows.q = calloc(n, cols);
	in->rows.d = calloc(n * (cols / QK_BLOCK + 1), sizeof(float));
	in->rows.s = calloc(n * (cols / QK_BLOCK + 1), sizeof(float));
	in->rows.sum = calloc(n * 2 * (cols / QK_BLOCK + 1), sizeof(int16_t));
	in->linear = calloc((size_t)m->layers * MODULES, sizeof(in->linear[0]));
	if (!in->memory || !in->rows.q || !in->rows.d || !in->rows.s || !in->rows.sum ||
		!in->linear)
		return err_nomem(err);
	at = in->memory;
	in->x = at, at += n * dim;
	in->normed = at, at += n * dim;
	in->q = at, at += n * width;
	in->mixed = at, at += n * width;
	in->gate = at, at += n * ffn;
	in->up = at, at += n * ffn;
	in->cosine = at, at += n * half;
	in->sine = at;
	return 0;
}

int infer_new(const struct model *m, struct threads *th, const struct qkern *kn, struct infer **out,
	struct err *err)
{
	struct infer *in = calloc(1, sizeof(*in));
	int rc;

	if (!in)
		return err_nomem(err);
	in->m = m;
	in->th = th;
	in->kn = kn;
	rc = allocate(in, err);
	if (rc == 0)
		rc = pack_all(in, err);
	if (rc == 0 && model_lost(m))
		rc = err_set(err, ESTALE, "base model changed while it was read");
	if (rc < 0) {
		infer_free(in);
		return rc;
	}
	*out = in;
	return 0;
}

void infer_free(struct infer *in)
{
	if (!in)
		return;
	if (in->packed)
		munmap(in->packed, in->packed_bytes);
	free(in->linear);
	free(in->memory);
	free(in->rows.q);
	free(in->rows.d);
	free(in->rows.s);
	free(in->rows.sum);
	free(in->lora);
	free(in->score);
	free(in);
}

int infer_adapter_init(
	struct infer_adapter *ad, const struct model *m, const struct lora *lo, struct err *err)
{
	size_t total = 0;
	float *at;

	*ad = (struct infer_adapter){.lora = lo, .scale = lo->alpha / (float)lo->rank};
	for (int i = 0; i < m->layers * MODULES; i++)
		total += lo->pair[i].a ? (size_t)lo->rank * (size_t)lo->pair[i].out : 0;
	ad->memory = calloc(total + 1, sizeof(float));
	ad->bt = calloc((size_t)m->layers * MODULES, sizeof(float *));
	if (!ad->memory || !ad->bt) {
		infer_adapter_release(ad);
		return err_nomem(err);
	}
	at = ad->memory;
	for (int i = 0; i < m->layers * MODULES; i++) {
		const struct lora_pair *lp = &lo->pair[i];

		if (!lp->a)
			continue;
		ad->bt[i] = at;
		for (int r = 0; r < lo->rank; r++)
			for (int row = 0; row < lp->out; row++)
				*at++ = lp->b[(long)row * lo->rank + r];
	}
	return 0;
}

void infer_adapter_release(struct infer_adapter *ad)
{
	free(ad->memory);
	free(ad->bt);
	*ad = (struct infer_adapter){0};
}
