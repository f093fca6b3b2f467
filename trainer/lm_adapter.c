/*
 * lm_adapter - adapters behind kolmlm.h: loading, switching, making fresh ones.
 */
#include <errno.h>
#include <stdlib.h>

#include "trainer/lm.h"
#include "trainer/lora.h"

int lm_adapter_load(struct lm *lm, int dirfd, struct lm_adapter **out, struct err *err)
{
	struct lm_adapter *ad = calloc(1, sizeof(*ad));
	int rc;

	if (!ad)
		return err_nomem(err);
	rc = lora_load(lm->m, dirfd, &ad->lora, err);
	if (rc == 0 && !ad->lora->identity) {
		rc = infer_adapter_init(&ad->serving, lm->m, ad->lora, err);
		ad->number = ++lm->adapters;
	}
	if (rc < 0) {
		lm_adapter_free(ad);
		return rc;
	}
	*out = ad;
	return 0;
}

void lm_adapter_free(struct lm_adapter *ad)
{
	if (!ad)
		return;
	infer_adapter_release(&ad->serving);
	lora_free(ad->lora);
	free(ad);
}

void lm_use(struct lm *lm, struct lm_adapter *ad)
{
	lm->adapter = ad;
}

int lm_adapter_init(
	struct lm *lm, const struct lm_init *init, int fd, uint64_t *trainable, struct err *err)
{
	struct lora_shape shape = {
		.rank = init->rank, .alpha = (float)init->alpha, .dropout = (float)init->dropout};
	struct lora *lo;
	int rc = lora_targets_parse(init->targets, &shape.targets, err);

	if (rc == 0)
		rc = lora_new(lm->m, &shape, init->seed, &lo, err);
	if (rc < 0)
		return rc;
	*trainable = lo->params;
	rc = lora_save(lm->m, lo, fd, err);
	lora_free(lo);
	return rc;
}
