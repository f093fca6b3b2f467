/*
 * kv - keys and values of a sequence of tokens, and which tokens they are.
 */
#ifndef KOLM_KV_H
#define KOLM_KV_H

#include <stdint.h>

struct model;

struct kv {
	int layers;
	int width; /* kv_heads * head_dim */
	int rows;  /* with room for */
	float *k;  /* layers x rows x width, owned */
	float *v;
	int *token; /* of the first ${n} rows, owned, room for ${rows} */
	int n;
	int prompt;    /* how many of them were the prompt */
	int adapter;   /* whose keys they are; 0 the base */
	uint64_t used; /* when, for the choice of the one to give up */
};

void kv_init(struct kv *kv, const struct model *m);
void kv_release(struct kv *kv);

/* kv_reserve(kv, rows): room for ${rows}; contents stay. -ENOMEM. */
int kv_reserve(struct kv *kv, int rows);

/* kv_copy(to, from, n): the first ${n} rows. -ENOMEM. */
int kv_copy(struct kv *to, const struct kv *from, int n);

/* kv_bytes(kv): the memory it holds. kv_row_bytes(kv): what a row takes of it. */
uint64_t kv_bytes(const struct kv *kv);
uint64_t kv_row_bytes(const struct kv *kv);

/* kv_trim(kv, bytes): hold no more than that: the leading rows that fit stay, if there are any. */
void kv_trim(struct kv *kv, uint64_t bytes);

/* kv_common(kv, token, n): how many leading tokens are the same. */
int kv_common(const struct kv *kv, const int *token, int n);

/* kv_k(kv, layer, row), kv_v(): where a row's key and value lie */
static inline float *kv_k(const struct kv *kv, int layer, int row)
{
	return kv->k + ((int64_t)layer * kv->rows + row) * kv->width;
}

static inline float *kv_v(const struct kv *kv, int layer, int row)
{
	return kv->v + ((int64_t)layer * kv->rows + row) * kv->width;
}

#endif
