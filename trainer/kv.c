#include "trainer/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/model.h"

enum { KV_ROWS_MIN = 128 };

void kv_init(struct kv *kv, const struct model *m)
{
	*kv = (struct kv){.layers = m->layers, .width = m->kv_heads * m->head_dim};
}

void kv_release(struct kv *kv)
{
	free(kv->k);
	free(kv->v);
	free(kv->token);
	*kv = (struct kv){.layers = kv->layers, .width = kv->width};
}

static void copy_rows(const struct kv *to, const struct kv *from, int n)
{
	for (int i = 0; i < to->layers && n; i++) {
		memcpy(kv_k(to, i, 0), kv_k(from, i, 0),
			(size_t)n * (size_t)to->width * sizeof(float));
		memcpy(kv_v(to, i, 0), kv_v(from, i, 0),
			(size_t)n * (size_t)to->width * sizeof(float));
	}
}

int kv_reserve(struct kv *kv, int rows)
{
	struct kv more = *kv;
	size_t bytes;

	if (rows <= kv->rows)
		return 0;
	if (rows > INT32_MAX / 2)
		return -ENOMEM;
	more.rows = kv->rows + kv->rows / 2;
	if (more.rows < rows)
		more.rows = rows;
	more.rows = (more.rows + KV_ROWS_MIN - 1) / KV_ROWS_MIN * KV_ROWS_MIN;
	bytes = (size_t)more.layers * (size_t)more.rows * (size_t)more.width * sizeof(float);
	more.k = aligned_alloc(64, (bytes + 63) / 64 * 64);
	more.v = aligned_alloc(64, (bytes + 63) / 64 * 64);
	more.token = malloc((size_t)more.rows * sizeof(int));
	if (!more.k || !more.v || !more.token) {
		free(more.k);
		free(more.v);
		free(more.token);
		return -ENOMEM;
	}
	copy_rows(&more, kv, kv->n);
	if (kv->n)
		memcpy(more.token, kv->token, (size_t)kv->n * sizeof(int));
	free(kv->k);
	free(kv->v);
	free(kv->token);
	*kv = more;
	return 0;
}

int kv_copy(struct kv *to, const struct kv *from, int n)
{
	to->n = 0;
	if (kv_reserve(to, n) < 0)
		return -ENOMEM;
	copy_rows(to, from, n);
	if (n)
		memcpy(to->token, from->token, (size_t)n * sizeof(int));
	to->n = n;
	return 0;
}

uint64_t kv_row_bytes(const struct kv *kv)
{
	return 2 * (uint64_t)kv->layers * (uint64_t)kv->width * sizeof(float) + sizeof(*kv->token);
}

uint64_t kv_bytes(const struct kv *kv)
{
	return (uint64_t)kv->rows * kv_row_bytes(kv);
}

void kv_trim(struct kv *kv, uint64_t bytes)
{
	uint64_t fit = bytes / kv_row_bytes(kv) / KV_ROWS_MIN * KV_ROWS_MIN;
	struct kv less = *kv;

	if (kv_bytes(kv) <= bytes)
		return;
	less.k = less.v = NULL;
	less.token = NULL;
	less.rows = 0;
	if (fit == 0 || kv_copy(&less, kv, fit < (uint64_t)kv->n ? (int)fit : kv->n) < 0)
		less.n = 0;
	kv_release(kv);
	less.prompt = less.prompt < less.n ? less.prompt : less.n;
	*kv = less;
}

int kv_common(const struct kv *kv, const int *token, int n)
{
	int i = 0;

	while (i < n && i < kv->n && kv->token[i] == token[i])
		i++;
	return i;
}
